/* SPDX-License-Identifier: Apache-2.0 */
/* What root can do to the agent: signals, its memory, its registers. */
#include "tests/system/liar/liar.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENT	  1
#define AGENT_FDS 64 /* it has no more than this */

static int is_sock(int fd, enum sock which)
{
	struct sockaddr_vm a = { 0 };
	socklen_t len = sizeof(int);
	int domain = 0, listens = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    domain != AF_VSOCK)
		return 0;
	len = sizeof(int);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
	if (which == LISTENER)
		return listens;
	len = sizeof(a);
	return !listens && !getpeername(fd, (struct sockaddr *)&a, &len) &&
	       a.svm_cid == VMADDR_CID_HOST;
}

int steal(enum sock which)
{
	int pidfd = (int)syscall(SYS_pidfd_open, AGENT, 0);

	if (pidfd < 0)
		give_up("pidfd_open");
	for (int n = 0; n < AGENT_FDS; n++) {
		int fd = (int)syscall(SYS_pidfd_getfd, pidfd, n, 0);

		if (fd >= 0 && is_sock(fd, which)) {
			close(pidfd);
			return fd;
		}
		if (fd >= 0)
			close(fd);
	}
	errno = ENOENT;
	give_up("no such socket of PID 1");
}

void hold_agent(void)
{
	int status;

	if (ptrace(PTRACE_SEIZE, AGENT, NULL, NULL) ||
	    ptrace(PTRACE_INTERRUPT, AGENT, NULL, NULL) ||
	    waitpid(AGENT, &status, __WALL) != AGENT)
		give_up("ptrace");
}

static int every_signal(const uint64_t *arg)
{
	(void)arg;
	for (int n = 1; n <= 64; n++)
		if (kill(AGENT, n) && errno != EINVAL)
			give_up("kill");
	return LIAR_SAYS;
}

static int kill_all(const uint64_t *arg)
{
	(void)arg;
	kill(-1, SIGKILL);
	return LIAR_SAYS;
}

static int hold(const uint64_t *arg)
{
	(void)arg;
	hold_agent();
	say("held\n");
	stay();
}

/* It goes on at address 0. */
static int derail(const uint64_t *arg)
{
	struct user_regs_struct regs;

	(void)arg;
	hold_agent();
	if (ptrace(PTRACE_GETREGS, AGENT, NULL, &regs))
		give_up("PTRACE_GETREGS");
	regs.rip = 0;
	regs.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, AGENT, NULL, &regs) ||
	    ptrace(PTRACE_DETACH, AGENT, NULL, NULL))
		give_up("PTRACE_SETREGS");
	stay();
}

/* Its code becomes breakpoints. */
static int overwrite(const uint64_t *arg)
{
	int fd = open("/proc/1/mem", O_WRONLY | O_CLOEXEC);
	unsigned long from, to;
	static char int3[4096];
	char rights[8], line[256];
	FILE *maps = fopen("/proc/1/maps", "re");

	(void)arg;
	if (fd < 0 || !maps)
		give_up("/proc/1");
	memset(int3, 0xcc, sizeof(int3));
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 ||
		    strcmp(rights, "r-xp") || strstr(line, "[v"))
			continue;
		for (; from < to; from += sizeof(int3))
			if (pwrite(fd, int3, sizeof(int3), (off_t)from) < 0)
				give_up("write /proc/1/mem");
	}
	fclose(maps);
	close(fd);
	/* Our end wakes it. */
	return LIAR_SAYS;
}

static int hang_up(const uint64_t *arg)
{
	(void)arg;
	if (shutdown(steal(CONTROL), SHUT_RDWR))
		give_up("shutdown");
	stay();
}

const struct lie agent_lies[] = {
	{ "every-signal", every_signal }, { "kill-all", kill_all },
	{ "hold", hold },		  { "derail", derail },
	{ "overwrite", overwrite },	  { "hang-up", hang_up },
	{ 0 },
};
