/* SPDX-License-Identifier: Apache-2.0 */
/* The base library: error words, whole reads, descriptors, the loop. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/base/sysctl.h"

Test(err, words_of_each_level_are_kept_in_order)
{
	struct err err = { 0 };

	cr_expect_eq(err_set(&err, -ENOENT, "open %s", "a.img"), -ENOENT);
	cr_expect_eq(err_wrap(&err, "disk %d", 0), -ENOENT);
	cr_expect_eq(err_hint(&err, "look for it"), -ENOENT);
	cr_expect_str_eq(err.msg,
			 "disk 0: open a.img: No such file or directory");
	cr_expect_str_eq(err.hint, "look for it");
	cr_expect_eq(err_say(&err, -EINVAL, "no"), -EINVAL);
	cr_expect_str_eq(err.msg, "no");
	cr_expect_str_empty(err.hint, "a hint belongs to its error");
}

Test(err, nobody_to_tell_is_still_a_failure)
{
	cr_expect_eq(err_set(NULL, -EPERM, "x"), -EPERM);
	cr_expect_eq(err_say(NULL, -EPERM, "x"), -EPERM);
	cr_expect_lt(err_wrap(NULL, "x"), 0);
	cr_expect_lt(err_hint(NULL, "x"), 0);
}

Test(err, what_steers_a_terminal_is_not_in_words)
{
	struct err err = { 0 };

	err_say(&err, -EINVAL, "\033[31m%s\xc2\x9b" "1m", "a\nb\x7f");
	cr_expect_str_eq(err.msg, "?[31ma?b??1m");
	err_wrap(&err, "%s", "\t\xc3\xa9\xc2\xa0");
	cr_expect_str_eq(err.msg, "?\xc3\xa9\xc2\xa0: ?[31ma?b??1m");
	err_hint(&err, "%s", "\r\xc2");
	cr_expect_str_eq(err.hint, "?\xc2");
	err_set(&err, -ENOENT, "%s", "\a");
	cr_expect_str_eq(err.msg, "?: No such file or directory");
}

Test(err, long_words_are_cut_not_overrun)
{
	char name[2 * ERR_MSG_MAX];
	struct err err = { 0 };

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	err_set(&err, -EIO, "%s", name);
	cr_expect_eq(strlen(err.msg), ERR_MSG_MAX - 1u);
	err_wrap(&err, "%s", name);
	err_hint(&err, "%s", name);
	cr_expect_eq(strlen(err.msg), ERR_MSG_MAX - 1u);
	cr_expect_eq(strlen(err.hint), ERR_HINT_MAX - 1u);
}

Test(io, file_larger_than_asked_for_is_refused)
{
	char path[] = "/tmp/mayfly-base-XXXXXX";
	_cleanup_fd_ int fd = mkstemp(path);
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	cr_assert_geq(fd, 0);
	cr_assert_eq(io_write_all(fd, "hello", 5), 0);
	cr_expect_eq(io_read_file(path, 4, &text, &len), -EFBIG);
	cr_expect_null(text);
	cr_assert_eq(io_read_file(path, 5, &text, &len), 0);
	cr_expect_eq(len, 5u);
	cr_expect_str_eq(text, "hello");
	unlink(path);
}

Test(io, file_of_our_own_is_read_and_nothing_else)
{
	char path[] = "/tmp/mayfly-base-XXXXXX";
	_cleanup_free_ char *text = NULL;
	_cleanup_fd_ int dir = -1, fd = -1;
	size_t len = 0;

	cr_assert_not_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dir, "own", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(io_write_all(fd, "hello", 5), 0);
	cr_assert_eq(symlinkat("own", dir, "link"), 0);
	cr_assert_eq(mkfifoat(dir, "fifo", 0600), 0);
	cr_expect_eq(io_read_own(dir, "none", 9, &text, &len), -ENOENT);
	cr_expect_eq(io_read_own(dir, "link", 9, &text, &len), -EBADMSG);
	cr_expect_eq(io_read_own(dir, "fifo", 9, &text, &len), -EBADMSG);
	cr_expect_eq(io_read_own(dir, ".", 9, &text, &len), -EBADMSG);
	cr_expect_eq(io_read_own(dir, "own", 4, &text, &len), -EBADMSG);
	cr_expect_null(text);
	cr_assert_eq(io_read_own(dir, "own", 5, &text, &len), 0);
	cr_expect_eq(len, 5u);
	cr_expect_str_eq(text, "hello");
	unlinkat(dir, "own", 0);
	unlinkat(dir, "link", 0);
	unlinkat(dir, "fifo", 0);
	rmdir(path);
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(io, descriptors_travel_and_surplus_ones_are_closed)
{
	int sv[2], got[2], in[3], before;
	size_t n = ARRAY_SIZE(got);
	char byte = 'x';

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	for (int i = 0; i < 3; i++)
		in[i] = open("/dev/null", O_RDONLY);
	cr_assert_eq(io_send_fds(sv[0], &byte, 1, in, 2), 0);
	cr_assert_eq(io_recv_fds(sv[1], &byte, 1, got, &n), 1);
	cr_expect_eq(n, 2u);
	cr_expect(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	close(got[0]);
	close(got[1]);

	n = ARRAY_SIZE(got);
	before = open_descriptors();
	cr_assert_eq(io_send_fds(sv[0], &byte, 1, in, 3), 0);
	cr_expect_eq(io_recv_fds(sv[1], &byte, 1, got, &n), -EMSGSIZE);
	cr_expect_eq(n, 0u);
	cr_expect_eq(open_descriptors(), before);
	cr_expect_eq(io_send_fds(sv[0], &byte, 1, in, IO_FDS_MAX + 1),
		     -E2BIG);
}

struct source {
	struct ev ev;
	struct source *victim;
	int calls;
};

static void drop_the_other(struct ev *ev, uint32_t events)
{
	struct source *s = container_of(ev, struct source, ev);

	(void)events;
	s->calls++;
	ev_del(&s->victim->ev);
}

Test(ev, source_removed_by_another_is_not_called)
{
	struct source a = { 0 }, b = { 0 };
	struct ev_loop loop;
	int p[2];

	cr_assert_eq(ev_loop_init(&loop), 0);
	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(write(p[1], "x", 1), 1);
	a.ev = (struct ev){ .fd = p[0], .fn = drop_the_other };
	b.ev = (struct ev){ .fd = dup(p[0]), .fn = drop_the_other };
	a.victim = &b;
	b.victim = &a;
	cr_assert_eq(ev_set(&loop, &a.ev, EPOLLIN), 0);
	cr_assert_eq(ev_set(&loop, &b.ev, EPOLLIN), 0);
	cr_assert_eq(ev_once(&loop, 1000), 2);
	cr_expect_eq(a.calls + b.calls, 1);
	ev_loop_free(&loop);
}

Test(ev, timer_fires_once)
{
	int fd = ev_timer_fd();

	cr_assert_geq(fd, 0);
	cr_assert_eq(ev_timer_arm(fd, 1000), 0);
	while (!ev_drain(fd))
		usleep(100);
	usleep(2000);
	cr_expect_eq(ev_drain(fd), 0u);
	close(fd);
}

Test(log, flood_from_one_place_is_cut)
{
	uint64_t begin = io_now_ns();
	struct log_limit l = { 0 };
	int spoken = 0, seconds;

	for (int i = 0; i < 1000; i++)
		spoken += log_allow(&l);
	/* ten a second, and it sees the end of one and the beginning of another */
	seconds = (int)((io_now_ns() - begin) / 1000000000) + 2;
	cr_expect_geq(spoken, 10);
	cr_expect_leq(spoken, 10 * seconds);
}

Test(sysctl, numbers_are_read_and_nothing_else)
{
	char many[512];

	memset(many, 'x', sizeof(many) - 1);
	many[sizeof(many) - 1] = 0;
	cr_expect_gt(sysctl_number("kernel/%s", "pid_max"), 300);
	cr_expect_eq(sysctl_number("kernel/ostype"), -1, "\"Linux\"");
	cr_expect_eq(sysctl_number("kernel"), -1, "a directory");
	cr_expect_eq(sysctl_number("kernel/nothing_of_that_name"), -1);
	cr_expect_eq(sysctl_number("kernel/pid_max/%s", many), -1);
}

Test(sysctl, what_is_not_there_is_not_written)
{
	char many[512];

	memset(many, '/', sizeof(many) - 1);
	many[sizeof(many) - 1] = 0;
	cr_expect_eq(sysctl_write("1", "net/%s/nothing", "ipv4"), -ENOENT);
	cr_expect_eq(sysctl_write("1", "kernel%spid_max", many), -ENOENT,
		     "too long, though a way to a file");
	cr_expect_lt(sysctl_write("1", "kernel/ostype"), 0, "for nobody");
}

/* A user namespace has a number of its own, of those that may be in it. */
Test(sysctl, remedy_is_for_the_setting_that_is_in_the_way)
{
	static const char none[] = "sudo sysctl user.max_user_namespaces=15000";
	int status;
	pid_t pid;

	cr_expect_str_eq(sysctl_userns_remedy(-ENOSPC), none);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER) < 0)
			_exit(2);
		if (!strcmp(sysctl_userns_remedy(-EPERM), none) ||
		    sysctl_write("0", "user/max_user_namespaces") < 0)
			_exit(3);
		_exit(strcmp(sysctl_userns_remedy(-EPERM), none) != 0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 2)
		cr_skip_test("no user namespaces here");
	cr_expect_eq(WEXITSTATUS(status), 0, "%d", WEXITSTATUS(status));
}
