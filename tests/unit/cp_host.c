/* SPDX-License-Identifier: Apache-2.0 */
/* The host's half of a copy: how it ends, what it says, what it has. */
#include "runner/cp_host.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rootfs/tree.h"
#include "runner/base/err.h"

static char top[] = "/tmp/mayfly-cphost-XXXXXX";
static struct cp_host host;
static uint64_t place_max;
static struct err err;

static void say(void *opaque, const char *path, const char *what, int error)
{
	(void)opaque, (void)path, (void)what, (void)error;
}

static void enter(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_not_null(mkdtemp(top));
	cr_assert_eq(chdir(top), 0);
	cr_assert_eq(mkdir("in", 0755), 0);
}

static void leave(void)
{
	char cmd[64];

	cp_host_free(&host);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	cr_assert_eq(system(cmd), 0);
}

static void unpack(void)
{
	const struct tree_ops ops = { .say = say };
	struct tree_place p;

	cr_assert_eq(tree_place(&p, "in", "", &ops), 0);
	p.max = place_max;
	cr_assert_eq(cp_host_unpack(&host, &p, &err), 0, "%s", err.msg);
	close(p.dir);
}

static void put(const void *p, size_t n)
{
	cr_assert_eq(write(host.stream, p, n), (ssize_t)n);
}

static void put_hdr(enum tree_type type, const char *name, uint64_t size)
{
	struct tree_hdr h = { .type = (uint16_t)type, .size = size,
			      .name_len = (uint16_t)strlen(name) };

	put(&h, sizeof(h));
	put(name, strlen(name));
}

/* A directory, and the beginning of a file in it. */
static void put_some(void)
{
	const uint32_t five = 5;

	put(TREE_MAGIC, TREE_MAGIC_LEN);
	put_hdr(TREE_DIR, "", 0);
	put_hdr(TREE_FILE, "f\n", 0);
	put(&five, sizeof(five));
	put("hello", 5);
}

static enum cp_end hang_up(void)
{
	close(host.stream);
	host.stream = -1;
	return cp_host_wait(&host);
}

static const char *words(void)
{
	static char text[4096];
	size_t have = 0;
	ssize_t n;

	while ((n = read(host.words, text + have,
			 sizeof(text) - 1 - have)) > 0)
		have += (size_t)n;
	text[have] = '\0';
	return text;
}

static int count(const char *dir)
{
	struct dirent *e;
	DIR *d = opendir(dir);
	int n = 0;

	if (!d)
		return -1;
	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(d);
	return n;
}

TestSuite(cp_host, .init = enter, .fini = leave);

Test(cp_host, whole_tree_is_unpacked)
{
	const uint32_t zero = 0;

	unpack();
	put_some();
	put(&zero, sizeof(zero));
	put_hdr(TREE_UP, "", 0);
	put_hdr(TREE_END, "", 2);
	cr_assert_eq(hang_up(), CP_WHOLE);
	cr_assert_str_eq(words(), "");
	cr_assert_eq(access("in/f\n", F_OK), 0);
	cr_assert_gt(cp_host_bytes(&host), 5);
}

Test(cp_host, stream_that_ends_too_soon_is_cut_without_a_word)
{
	unpack();
	put_some();
	cr_assert_eq(hang_up(), CP_CUT);
	cr_assert_str_eq(words(), "");
	cr_assert_eq(count("in"), 0, "something unfinished is left");
}

Test(cp_host, damaged_stream_is_a_failure_with_a_word)
{
	unpack();
	put_some();
	put("garbage!", 8);
	cr_assert_eq(hang_up(), CP_FAILED);
	cr_assert_str_eq(words(), "in/f?: the stream is damaged: chunk\n");
	cr_assert_eq(count("in"), 0);
}

Test(cp_host, file_in_place_of_a_directory_is_refused_with_the_reason)
{
	const uint32_t zero = 0;

	cr_assert_eq(mkdir("in/f\n", 0755), 0);
	unpack();
	put_some();
	put(&zero, sizeof(zero));
	cr_assert_eq(hang_up(), CP_FAILED);
	cr_assert_str_eq(words(),
			 "in/f?: cannot be replaced: Is a directory\n");
	cr_assert_eq(count("in"), 1);
}

Test(cp_host, more_than_the_place_may_take_is_told_apart)
{
	const uint32_t zero = 0;

	place_max = 3 * TREE_ENTRY_COST;
	unpack();
	put_some();
	put(&zero, sizeof(zero));
	put_hdr(TREE_DIR, "d", 0); /* its last byte is the end of it */
	cr_assert_eq(hang_up(), CP_OVER);
	cr_assert(strstr(words(), "more than may be copied"));
	cr_assert_eq(cp_host_taken(&host), 2 * TREE_ENTRY_COST + 5);
	cr_assert_eq(count("in"), 1);
}

Test(cp_host, killed_child_has_failed)
{
	unpack();
	kill(host.pid, SIGKILL);
	cr_assert_eq(hang_up(), CP_FAILED);
}

/* In a world of its own, where kill(-1) would find nobody else. */
static _Noreturn void kill_twice(void)
{
	int sock[2];
	char ch = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock) < 0)
		_exit(2);
	/* The bystander: gives back what it gets. */
	if (!fork())
		_exit(read(sock[1], &ch, 1) != 1 || write(sock[1], &ch, 1) != 1);
	close(sock[1]);
	unpack();
	hang_up();
	cp_host_kill(&host);
	_exit(write(sock[0], &ch, 1) != 1 || read(sock[0], &ch, 1) != 1);
}

static int exit_code_of(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ?
		       WEXITSTATUS(status) : -1;
}

Test(cp_host, killing_one_that_has_ended_kills_nobody)
{
	pid_t pid = fork();
	int code;

	if (!pid) {
		if (unshare(CLONE_NEWPID) < 0 &&
		    unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
			_exit(77);
		pid = fork();
		if (!pid)
			kill_twice();
		_exit(exit_code_of(pid));
	}
	code = exit_code_of(pid);
	if (code == 77)
		cr_skip_test("no PID namespace");
	cr_assert_eq(code, 0, "%d", code);
}

static int fds_of_child(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)host.pid);
	return count(path);
}

static int has_status(const char *line)
{
	char path[64], text[4096];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)host.pid);
	f = fopen(path, "re");
	cr_assert_not_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return strstr(text, line) != NULL;
}

Test(cp_host, unpacker_has_stream_words_and_directory_alone)
{
	unpack();
	put(TREE_MAGIC, TREE_MAGIC_LEN);
	/* Once the root is opened, it waits for more. */
	put_hdr(TREE_DIR, "", 0);
	while (cp_host_bytes(&host) < TREE_MAGIC_LEN ||
	       fds_of_child() != 4)
		usleep(1000);
	cr_assert(has_status("NoNewPrivs:\t1"));
	cr_assert(has_status("Seccomp:\t2"));
	cr_assert_eq(hang_up(), CP_CUT);
}

/* As deep as Landlock goes: landlock_restrict_self(2), E2BIG. Only the making
 * of devices is refused on the way. */
static int landlock_is_full(void)
{
	struct landlock_ruleset_attr a = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK,
	};
	int fd = (int)syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);

	if (fd < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 0;
	while (!syscall(SYS_landlock_restrict_self, fd, 0))
		;
	close(fd);
	return errno == E2BIG;
}

Test(cp_host, unpacker_that_cannot_lock_itself_in_does_not_unpack)
{
	if (!landlock_is_full())
		cr_skip_test("no Landlock in this kernel");
	unpack();
	cr_expect_eq(hang_up(), CP_FAILED);
	cr_expect_str_eq(words(), "unpack: the process cannot lock itself in: "
				  "Argument list too long\n");
}

Test(cp_host, packer_says_what_it_cannot_find)
{
	cr_assert_eq(cp_host_pack(&host, "none", &err), 0);
	cr_assert_str_eq(words(), "none: cannot be read: "
				  "No such file or directory\n");
	cr_assert_eq(cp_host_wait(&host), CP_FAILED);
}

Test(cp_host, packer_without_a_reader_is_cut)
{
	int fd = open("in/big", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	cr_assert_eq(ftruncate(fd, 10 << 20), 0);
	close(fd);
	cr_assert_eq(cp_host_pack(&host, "in", &err), 0);
	cr_assert_eq(hang_up(), CP_CUT);
	cr_assert_str_eq(words(), "");
}
