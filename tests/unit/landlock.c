/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock alone, without a filter: no path, no network, no neighbour. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/lock.h"

#ifdef MAYFLY_SAN

Test(landlock, sanitizer_build_goes_without)
{
	cr_expect_eq(lock_landlock(), 0);
	cr_expect_geq(open("/", O_RDONLY), 0);
}

#else

/* In a child that is locked: what @fn returns. The ABI goes to it. */
static int locked(int (*fn)(int abi))
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		int abi = lock_landlock();

		_exit(abi < 0 ? 101 : abi == 0 ? 102 : fn(abi));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 102)
		cr_skip_test("no Landlock in this kernel");
	return WEXITSTATUS(status);
}

#define MUST(x)                                                               \
	do {                                                                  \
		if (!(x))                                                     \
			return 1;                                             \
	} while (0)

static int paths(int abi)
{
	(void)abi;
	MUST(open("/", O_RDONLY) < 0 && errno == EACCES);
	MUST(open("/dev/null", O_RDWR) < 0 && errno == EACCES);
	MUST(open("/proc/self/status", O_RDONLY) < 0 && errno == EACCES);
	MUST(mkdir("/tmp/mayfly-landlock", 0700) < 0 && errno == EACCES);
	MUST(unlink("/etc/hostname") < 0 && errno == EACCES);
	MUST(rename("/etc/hostname", "/tmp/x") < 0);
	return 0;
}

Test(landlock, no_path_opens)
{
	cr_expect_eq(locked(paths), 0);
}

static int below(int abi)
{
	(void)abi;
	/* 9: a directory that was open before */
	MUST(openat(9, "status", O_RDONLY) < 0 && errno == EACCES);
	MUST(openat(9, ".", O_RDONLY | O_DIRECTORY) < 0 && errno == EACCES);
	return 0;
}

Test(landlock, nothing_opens_below_a_directory_that_is_open)
{
	cr_assert_eq(dup2(open("/proc/self", O_RDONLY | O_DIRECTORY), 9), 9);
	cr_expect_eq(locked(below), 0);
}

/* 9: a directory; in it a file "f" */
static int reads_below(int abi)
{
	(void)abi;
	if (lock_landlock_below(9, LOCK_BELOW_READ) < 0)
		return 2;
	MUST(openat(9, "f", O_RDONLY) >= 0);
	MUST(openat(9, ".", O_RDONLY | O_DIRECTORY) >= 0);
	MUST(openat(9, "f", O_WRONLY) < 0 && errno == EACCES);
	MUST(openat(9, "new", O_WRONLY | O_CREAT, 0600) < 0 && errno == EACCES);
	MUST(unlinkat(9, "f", 0) < 0 && errno == EACCES);
	MUST(openat(9, "..", O_RDONLY | O_DIRECTORY) < 0 && errno == EACCES);
	MUST(open("/", O_RDONLY) < 0 && errno == EACCES);
	return 0;
}

static int makes_below(int abi)
{
	(void)abi;
	if (lock_landlock_below(9, LOCK_BELOW_MAKE) < 0)
		return 2;
	MUST(openat(9, "new", O_WRONLY | O_CREAT | O_EXCL, 0600) >= 0);
	MUST(mkdirat(9, "dir", 0700) == 0);
	MUST(symlinkat("f", 9, "link") == 0);
	MUST(openat(9, "dir", O_RDONLY | O_DIRECTORY) >= 0);
	MUST(unlinkat(9, "f", 0) == 0);
	MUST(openat(9, "new", O_RDONLY) < 0 && errno == EACCES);
	MUST(mknodat(9, "fifo", S_IFIFO | 0600, 0) < 0 && errno == EACCES);
	MUST(mkdirat(9, "../out", 0700) < 0 && errno == EACCES);
	MUST(open("/", O_RDONLY) < 0 && errno == EACCES);
	return 0;
}

/* How @fn ends that locks itself in, below a directory with a file. */
static int with_directory(int (*fn)(int abi))
{
	char top[] = "/tmp/mayfly-landlock-XXXXXX";
	int status;
	pid_t pid;

	cr_assert(mkdtemp(top));
	cr_assert_eq(dup2(open(top, O_RDONLY | O_DIRECTORY), 9), 9);
	close(openat(9, "f", O_WRONLY | O_CREAT, 0600));
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit(fn(0));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	unlinkat(9, "f", 0);
	unlinkat(9, "new", 0);
	unlinkat(9, "link", 0);
	unlinkat(9, "dir", AT_REMOVEDIR);
	cr_assert_eq(rmdir(top), 0, "something else is in it");
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int nothing(int abi)
{
	(void)abi;
	return 0;
}

Test(landlock, below_a_directory_is_what_was_granted)
{
	locked(nothing); /* or there is no Landlock: skipped */
	cr_expect_eq(with_directory(reads_below), 0);
	cr_expect_eq(with_directory(makes_below), 0);
}

static int files(int abi)
{
	char b[4];

	(void)abi;
	MUST(read(9, b, sizeof(b)) == sizeof(b));
	MUST(write(8, b, sizeof(b)) == sizeof(b));
	MUST(ftruncate(8, 1) == 0);
	return 0;
}

Test(landlock, descriptors_that_are_open_stay_what_they_are)
{
	cr_assert_eq(dup2(open("/proc/self/status", O_RDONLY), 9), 9);
	cr_assert_eq(dup2(open("/tmp", O_TMPFILE | O_RDWR, 0600), 8), 8);
	cr_expect_eq(locked(files), 0);
}

static int network(int abi)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM, 0);

	MUST(abi < 4 || s < 0 ||
	     (connect(s, (struct sockaddr *)&in, sizeof(in)) < 0 &&
	      errno == EACCES));
	return 0;
}

Test(landlock, no_address_connects)
{
	cr_expect_eq(locked(network), 0);
}

static struct sockaddr_un name = { .sun_family = AF_UNIX };
static socklen_t name_len = sizeof(name);

static int neighbours(int abi)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	MUST(abi < 6 || (kill(getppid(), 0) < 0 && errno == EPERM));
	MUST(abi < 6 ||
	     (connect(s, (struct sockaddr *)&name, name_len) < 0 &&
	      errno == EPERM));
	MUST(raise(0) == 0);
	return 0;
}

Test(landlock, no_neighbour_is_reached)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	/* a name of the kernel's choice, not in any file system */
	cr_assert_eq(bind(s, (struct sockaddr *)&name, sizeof(sa_family_t)),
		     0);
	cr_assert_eq(getsockname(s, (struct sockaddr *)&name, &name_len), 0);
	cr_assert_eq(listen(s, 1), 0);
	cr_expect_eq(locked(neighbours), 0);
}

#endif
