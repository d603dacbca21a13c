/* SPDX-License-Identifier: Apache-2.0 */
/* Leases of network numbers: who has one, who may have it next. */
#include "net/lease.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "tests/unit/root_stage.h"

#define CROWD 30
#define TURNS 200

TestSuite(net_lease, .init = open_root, .fini = close_root);

static struct net_lease taken(const char *id)
{
	struct err err = { 0 };
	struct net_lease l;

	cr_assert_eq(net_lease_take(&l, state, 0, NET_LEASE_MAX, id, NULL,
				    &err),
		     0, "%s", err.msg);
	return l;
}

static int leases(void)
{
	int n = net_lease_count(state);

	cr_assert_geq(n, 0);
	return n;
}

static int add_file(const struct net_lease_info *i, void *opaque)
{
	(void)i;
	++*(int *)opaque;
	return 0;
}

static int files(void)
{
	int n = 0;

	cr_assert_eq(net_lease_each(state, add_file, &n), 0);
	return n;
}

static int copy(const struct net_lease_info *i, void *opaque)
{
	*(struct net_lease_info *)opaque = *i;
	return 1;
}

Test(net_lease, lowest_free_number_first)
{
	struct net_lease a = taken("aaaaaaaaaaaa"), b = taken("bbbbbbbbbbbb");
	struct net_lease c = taken("cccccccccccc"), d;

	cr_assert_eq(a.number, 0);
	cr_assert_eq(b.number, 1);
	cr_assert_eq(c.number, 2);
	cr_assert_str_eq(c.uplink, "mfy2");
	cr_assert_eq(leases(), 3);
	net_lease_drop(&b);
	net_lease_drop(&b);
	cr_assert_eq(leases(), 2);
	d = taken("dddddddddddd");
	cr_assert_eq(d.number, 1);
	net_lease_drop(&a);
	net_lease_drop(&c);
	net_lease_drop(&d);
	cr_assert_eq(leases(), 0);
	cr_assert_eq(files(), 0);
}

Test(net_lease, a_full_pool_is_said_so)
{
	struct net_lease a = taken("aaaaaaaaaaaa"), b;
	struct err err = { 0 };

	cr_assert_eq(net_lease_take(&b, state, 0, 1, "b", NULL, &err),
		     -EADDRINUSE);
	cr_assert_str_eq(err.msg, "all 1 networks of the pool are in use");
	cr_assert(*err.hint);
	net_lease_drop(&b);
	cr_assert_eq(net_lease_take(&b, state, 5, 7, "b", "pasta", &err), 0);
	cr_assert_eq(b.number, 5);
	cr_assert_str_eq(b.uplink, "pasta");
	net_lease_drop(&a);
	net_lease_drop(&b);
}

Test(net_lease, file_says_whose_it_is)
{
	struct net_lease_info i = { 0 };
	struct net_lease a = taken("0123456789ab");

	cr_assert_eq(net_lease_each(state, copy, &i), 1);
	cr_assert_eq(i.number, 0);
	cr_assert(i.held);
	cr_assert_str_eq(i.id, "0123456789ab");
	cr_assert_str_eq(i.uplink, "mfy0");
	net_lease_drop(&a);
}

Test(net_lease, alias_tells_directories_apart)
{
	char one[NET_ALIAS_MAX], two[NET_ALIAS_MAX], path[64];
	struct net_lease a = taken("0123456789ab"), b;
	int other;

	snprintf(path, sizeof(path), "%s/other", root);
	cr_assert_eq(mkdir(path, 0700), 0);
	other = open(path, O_RDONLY | O_DIRECTORY);
	cr_assert_eq(net_lease_take(&b, other, 0, 1, "0123456789ab", NULL,
				    NULL), 0);
	cr_assert_eq(net_lease_alias(&a, "0123456789ab", one), 0);
	cr_assert_eq(net_lease_alias(&b, "0123456789ab", two), 0);
	cr_assert_eq(strncmp(one, "mayfly:0123456789ab ", 20), 0);
	cr_assert_str_neq(one, two);
	net_lease_drop(&a);
	net_lease_drop(&b);
	close(other);
}

/* The other process is there when a byte of it is. */
static pid_t holder(struct net_lease_info *i)
{
	int ready[2], hold[2];
	char byte = 0;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	cr_assert_eq(pipe(hold), 0);
	pid = fork();
	if (pid == 0) {
		struct net_lease l = taken("0123456789ab");

		close(hold[1]);
		if (write(ready[1], &l.number, 1) != 1)
			_exit(1);
		while (read(hold[0], &byte, 1) > 0)
			;
		pause();
	}
	close(ready[1]);
	close(hold[0]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	cr_assert_eq(net_lease_each(state, copy, i), 1);
	return pid;
}

Test(net_lease, sigkill_frees_and_leaves_the_name_of_the_dead)
{
	struct net_lease_info i;
	struct net_lease l;
	pid_t pid = holder(&i);

	cr_assert(i.held);
	cr_assert_eq(net_lease_seize(&l, state, 0), -EBUSY);
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	cr_assert_eq(leases(), 0);
	cr_assert_eq(net_lease_each(state, copy, &i), 1);
	cr_assert_not(i.held);
	cr_assert_str_eq(i.id, "0123456789ab");
	cr_assert_eq(net_lease_seize(&l, state, 0), 0);
	net_lease_drop(&l);
	cr_assert_eq(files(), 0);
}

Test(net_lease, number_of_the_dead_is_taken_again)
{
	struct net_lease_info i;
	pid_t pid = holder(&i);
	struct net_lease l;

	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	l = taken("bbbbbbbbbbbb");
	cr_assert_eq(l.number, 0);
	cr_assert_eq(net_lease_each(state, copy, &i), 1);
	cr_assert(i.held);
	cr_assert_str_eq(i.id, "bbbbbbbbbbbb");
	net_lease_drop(&l);
}

Test(net_lease, descriptor_does_not_survive_exec)
{
	struct net_lease l = taken("aaaaaaaaaaaa");

	cr_assert(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
	cr_assert(fcntl(l.dir, F_GETFD) & FD_CLOEXEC);
	net_lease_drop(&l);
}

/* Each takes, puts a mark on the number that nobody else may have put there,
 * takes it away and drops. */
static int contend(unsigned who)
{
	char id[16], mark[32];

	snprintf(id, sizeof(id), "%012u", who);
	for (int i = 0; i < TURNS; i++) {
		struct net_lease l;
		int fd;

		if (net_lease_take(&l, state, 0, CROWD, id, NULL, NULL) < 0)
			return 2;
		snprintf(mark, sizeof(mark), "mark-%u", l.number);
		fd = openat(state, mark, O_CREAT | O_EXCL | O_WRONLY, 0600);
		if (fd < 0)
			return 3;
		close(fd);
		if (unlinkat(state, mark, 0) < 0)
			return 4;
		net_lease_drop(&l);
	}
	return 0;
}

Test(net_lease, thirty_at_once_share_no_number, .timeout = 120)
{
	int status;

	for (unsigned i = 0; i < CROWD; i++)
		if (fork() == 0)
			_exit(contend(i));
	for (unsigned i = 0; i < CROWD; i++) {
		cr_assert_geq(wait(&status), 0);
		cr_assert_eq(status, 0, "status %#x", status);
	}
	cr_assert_eq(files(), 0);
}

static void put(const char *name, const char *text)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/net/leases/%s", root, name);
	f = fopen(path, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
}

Test(net_lease, what_is_no_lease_is_passed_over)
{
	struct net_lease a = taken("aaaaaaaaaaaa");
	char path[96];

	snprintf(path, sizeof(path), "%s/net/leases/4", root);
	cr_assert_eq(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/net/leases/5", root);
	cr_assert_eq(symlink("0", path), 0);
	put("007", "x y\n");
	put("70000", "x y\n");
	put("1x", "x y\n");
	cr_assert_eq(files(), 1);
	net_lease_drop(&a);
}

Test(net_lease, address_is_noted_behind_the_rest)
{
	const struct net_addr four = net_addr4(198, 119, 255, 255);
	struct net_lease a = taken("0123456789ab"), b;
	struct net_lease_info i;

	net_lease_read(&a, &i);
	cr_assert_eq(i.addr.family, 0);
	cr_assert_eq(net_lease_note(&a, &four), 0);
	cr_assert_eq(net_lease_each(state, copy, &i), 1);
	cr_assert_str_eq(i.id, "0123456789ab");
	cr_assert_str_eq(i.uplink, "mfy0");
	cr_assert(net_addr_equal(&i.addr, &four));
	/* It goes with whoever had it. */
	put("0", "x y 1.2.3.4\n");
	net_lease_drop(&a);
	put("0", "x y 1.2.3.4\n");
	b = taken("cccccccccccc");
	net_lease_read(&b, &i);
	cr_assert_str_eq(i.id, "cccccccccccc");
	cr_assert_eq(i.addr.family, 0);
	net_lease_drop(&b);
}

Test(net_lease, hostile_text_says_nothing)
{
	static const char *const text[] = {
		"", "x", "x y", "\x1b[31m y\n", "x \x07\n", "x y z\n",
		"x y 1.2.3.4 z\n", "x y \n", "x y 1.2.3\n", "x  1.2.3.4\n",
		"0123456789012345678901234567890123456789 y\n",
		"x 0123456789abcdef0\n", "\n", " \n",
	};
	struct net_lease_info i;
	struct net_lease a = taken("aaaaaaaaaaaa");

	net_lease_drop(&a);
	for (size_t k = 0; k < ARRAY_SIZE(text); k++) {
		put("0", text[k]);
		cr_assert_eq(net_lease_each(state, copy, &i), 1);
		cr_assert_eq(strlen(i.id) + strlen(i.uplink), 0, "%zu: %s %s",
			     k, i.id, i.uplink);
	}
}

Test(net_lease, number_that_was_seized_is_nobody_elses)
{
	struct net_lease l, a;

	cr_assert_eq(leases(), 0);
	cr_assert_eq(net_lease_seize(&l, state, 0), 0);
	a = taken("aaaaaaaaaaaa");
	cr_assert_eq(a.number, 1);
	net_lease_drop(&l);
	net_lease_drop(&a);
	cr_assert_eq(files(), 0);
}
