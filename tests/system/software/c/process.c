/* SPDX-License-Identifier: Apache-2.0 */
/* fork, exec, pipes, shared memory, timers; what a child's end is told as. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void tell(const char *name, int status)
{
	if (WIFEXITED(status))
		printf("%s: exit %d\n", name, WEXITSTATUS(status));
	else
		printf("%s: signal %d core %d\n", name, WTERMSIG(status), 0);
	fflush(stdout);
}

static void ends(void)
{
	static const int sig[] = { 0, SIGKILL, SIGSEGV, SIGFPE, SIGTERM };
	int status;

	for (unsigned i = 0; i < sizeof(sig) / sizeof(sig[0]); i++) {
		pid_t p = fork();

		if (!p) {
			if (sig[i])
				raise(sig[i]);
			_exit(40 + (int)i);
		}
		waitpid(p, &status, 0);
		tell("child", status);
	}
}

/* Bytes through a chain of children, each adding one. */
static void chain(void)
{
	int in = -1, fd[2];
	unsigned char buf[4096];
	unsigned long sum = 0, total = 0;
	ssize_t n;

	for (int i = 0; i < 6; i++) {
		if (pipe(fd))
			exit(2);
		if (!fork()) {
			close(fd[0]);
			for (int k = 0; i == 0 && k < 50; k++) {
				memset(buf, k, sizeof(buf));
				if (write(fd[1], buf, sizeof(buf)) < 0)
					_exit(1);
			}
			while (i && (n = read(in, buf, sizeof(buf))) > 0) {
				for (ssize_t k = 0; k < n; k++)
					buf[k]++;
				if (write(fd[1], buf, (size_t)n) != n)
					_exit(1);
			}
			_exit(0);
		}
		close(fd[1]);
		if (in >= 0)
			close(in);
		in = fd[0];
	}
	while ((n = read(in, buf, sizeof(buf))) > 0) {
		total += (unsigned long)n;
		for (ssize_t k = 0; k < n; k++)
			sum += buf[k];
	}
	close(in);
	while (wait(NULL) > 0)
		;
	printf("chain: %lu bytes, sum %lu\n", total, sum);
}

static void copies(void)
{
	volatile int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	volatile int *own = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 1 << 18; i += 512)
		own[i] = i;
	for (int k = 0; k < 20; k++) {
		if (!fork()) {
			for (int i = 0; i < 1 << 18; i += 512) {
				own[i] += k;
				*shared += own[i] & 1;
			}
			_exit(0);
		}
		wait(NULL);
	}
	printf("copies: %d %d\n", *shared, own[512]);
}

static void spawned(void)
{
	char *argv[] = { "sh", "-c", "echo spawned $0 $X; exit 5", "arg", NULL };
	char *no[] = { "/no/such/program", NULL };
	int status;
	pid_t p;

	setenv("X", "variable", 1);
	fflush(stdout);
	if (!posix_spawnp(&p, "sh", NULL, NULL, argv, environ)) {
		waitpid(p, &status, 0);
		tell("sh", status);
	}
	printf("no program: %d\n", posix_spawn(&p, no[0], NULL, NULL, no,
					       environ));
	if (!(p = vfork())) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	waitpid(p, &status, 0);
	tell("true", status);
}

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
}

static void timers(void)
{
	struct itimerval it = { { 0, 2000 }, { 0, 2000 } };
	volatile double d = 1;

	signal(SIGALRM, tick);
	setitimer(ITIMER_REAL, &it, NULL);
	while (ticks < 10)
		d = d * 1.5 - d / 2;
	memset(&it, 0, sizeof(it));
	setitimer(ITIMER_REAL, &it, NULL);
	printf("timers: %g\n", d);
}

static void sockets(void)
{
	int s[2], fd = open("/dev/zero", O_RDONLY);
	char buf[64] = "";
	struct pollfd p;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s))
		exit(2);
	p = (struct pollfd){ s[1], POLLIN, 0 };
	printf("poll %d\n", poll(&p, 1, 10));
	if (!fork())
		_exit(write(s[0], "hello", 5) != 5);
	wait(NULL);
	printf("poll %d", poll(&p, 1, 1000));
	printf(" read %zd %s zero %zd\n", read(s[1], buf, sizeof(buf)), buf,
	       read(fd, buf, 9));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ends();
	chain();
	copies();
	spawned();
	timers();
	sockets();
	return 0;
}
