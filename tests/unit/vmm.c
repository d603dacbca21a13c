/* SPDX-License-Identifier: Apache-2.0 */
/* The real mayfly-vmm, by its control socket: before, at and after CTL_GO. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/vmm/ctl.h"
#include "tests/unit/kernel.h"

enum { GUEST_ENDED, FAILED, LAUNCHER_GONE }; /* its exit codes */

static pid_t vmm;
static int control, console;

/* mov $0x3f8,%edx; mov $'x',%al; out %al,(%dx); mov $0xa,%al; out %al,(%dx);
 * mov $0xfe,%al; out %al,$0x64; hlt */
static const uint8_t says_x_and_resets[] =
	"\xba\xf8\x03\0\0\xb0x\xee\xb0\n\xee\xb0\xfe\xe6\x64\xf4\xeb\xfd";
static const uint8_t sleeps[] = "\xf4\xeb\xfd";

/* mayfly-vmm lies two directories above the tests. */
static _Noreturn void child(int sock)
{
	char path[4096], name[] = "mayfly-vmm", *argv[] = { name, NULL };
	char *no_environment[] = { NULL };
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);

	path[MAX(n, 0)] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/mayfly-vmm");
	dup2(sock, CTL_FD);
	execve(path, argv, no_environment);
	_exit(127);
}

static void boot(const void *code, size_t len)
{
	struct ctl_boot b = {
		.type = CTL_BOOT, .version = CTL_VERSION,
		.engine = CTL_ENGINE_SOFT, .ncpus = 1, .ram = 64 << 20,
		.kvm_fd = CTL_NO_FD, .kernel_fd = 0, .initrd_fd = CTL_NO_FD,
		.console_out_fd = 1, .console_in_fd = CTL_NO_FD,
		.vsock_listen_fd = CTL_NO_FD, .net = { .fd = CTL_NO_FD },
	};
	int pair[2], p[2], fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				pair), 0);
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	vmm = fork();
	cr_assert_geq(vmm, 0);
	if (vmm == 0)
		child(pair[1]);
	close(pair[1]);
	control = pair[0];
	console = p[0];
	fds[0] = kernel(code, len);
	fds[1] = p[1];
	cr_assert_eq(ctl_send_boot(control, &b, fds, 2), 0);
	close(fds[0]);
	close(fds[1]);
}

static int how_it_ends(void)
{
	int status;

	cr_assert_eq(waitpid(vmm, &status, 0), vmm);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void expect(enum ctl_type type, struct ctl_event *e)
{
	cr_assert_eq(ctl_recv_event(control, e), 1);
	cr_assert_eq(e->type, type, "%u: %s", e->type, e->msg);
}

static void send_type(uint32_t type, size_t len)
{
	const struct ctl_word w = { .type = type };

	cr_assert_eq(io_send_fds(control, &w, len, NULL, 0), 0);
}

Test(vmm, guest_runs_after_the_word_and_not_before, .timeout = 60)
{
	struct ctl_event e;
	char said[8] = "";
	struct pollfd p;

	boot(says_x_and_resets, sizeof(says_x_and_resets));
	expect(CTL_STARTED, &e);
	p = (struct pollfd){ .fd = console, .events = POLLIN };
	cr_expect_eq(poll(&p, 1, 200), 0);
	cr_assert_eq(ctl_send_go(control), 0);
	expect(CTL_STOPPED, &e);
	cr_expect_eq(e.stop, CTL_STOP_RESET);
	cr_expect_eq(read(console, said, sizeof(said) - 1), 2);
	cr_expect_str_eq(said, "x\n");
	cr_expect_eq(how_it_ends(), GUEST_ENDED);
}

Test(vmm, word_may_come_before_it_is_asked_for, .timeout = 60)
{
	struct ctl_event e;

	boot(says_x_and_resets, sizeof(says_x_and_resets));
	cr_assert_eq(ctl_send_go(control), 0);
	expect(CTL_STARTED, &e);
	expect(CTL_STOPPED, &e);
	cr_expect_eq(how_it_ends(), GUEST_ENDED);
}

Test(vmm, launcher_that_leaves_before_the_word_ends_it, .timeout = 60)
{
	boot(sleeps, sizeof(sleeps));
	close(control);
	cr_expect_eq(how_it_ends(), LAUNCHER_GONE);
}

Test(vmm, launcher_that_leaves_a_waiting_one_ends_it, .timeout = 60)
{
	struct ctl_event e;

	boot(sleeps, sizeof(sleeps));
	expect(CTL_STARTED, &e);
	close(control);
	cr_expect_eq(how_it_ends(), LAUNCHER_GONE);
}

Test(vmm, query_before_the_word_is_a_failure, .timeout = 60)
{
	struct ctl_event e;

	boot(sleeps, sizeof(sleeps));
	cr_assert_eq(ctl_send_query(control), 0);
	expect(CTL_STARTED, &e);
	expect(CTL_FAILED, &e);
	cr_expect_eq(e.code, -EPROTO);
	cr_expect_eq(how_it_ends(), FAILED);
}

Test(vmm, garbage_before_the_word_is_a_failure, .timeout = 60)
{
	struct ctl_event e;

	boot(sleeps, sizeof(sleeps));
	send_type(CTL_GO, 3);
	expect(CTL_STARTED, &e);
	expect(CTL_FAILED, &e);
	cr_expect_eq(how_it_ends(), FAILED);
}

Test(vmm, word_twice_or_garbage_ends_a_running_one, .timeout = 60)
{
	const struct {
		uint32_t type;
		size_t len;
	} bad[] = { { CTL_GO, sizeof(struct ctl_word) },
		    { CTL_BOOT, sizeof(struct ctl_word) },
		    { CTL_QUERY, 3 }, { CTL_QUERY, 1 } };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct ctl_event e;

		boot(sleeps, sizeof(sleeps));
		cr_assert_eq(ctl_send_go(control), 0);
		expect(CTL_STARTED, &e);
		cr_assert_eq(ctl_send_query(control), 0);
		expect(CTL_STATS, &e);
		send_type(bad[i].type, bad[i].len);
		cr_expect_eq(how_it_ends(), LAUNCHER_GONE);
	}
}

/* Of one thread; "2" is a filter: proc(5). */
static int is_locked(const char *tid)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)vmm,
		 tid);
	cr_assert_eq(io_read_file(path, 65536, &text, NULL), 0);
	return strstr(text, "\nSeccomp:\t2\n") &&
	       strstr(text, "\nNoNewPrivs:\t1\n");
}

Test(vmm, every_thread_is_locked_before_the_word, .timeout = 60)
{
	struct ctl_event e;
	unsigned threads = 0;
	struct dirent *d;
	char path[64];
	DIR *dir;

	boot(sleeps, sizeof(sleeps));
	expect(CTL_STARTED, &e);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)vmm);
	dir = opendir(path);
	cr_assert_not_null(dir);
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.') {
			cr_expect(is_locked(d->d_name), "%s", d->d_name);
			threads++;
		}
	closedir(dir);
	cr_expect_geq(threads, 2);
	close(control);
	cr_expect_eq(how_it_ends(), LAUNCHER_GONE);
}
