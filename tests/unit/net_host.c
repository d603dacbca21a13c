/* SPDX-License-Identifier: Apache-2.0 */
/* resolv.conf as others write it, and what is remembered of a host. */
#include "net/host.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/host_memory.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "tests/unit/root_stage.h"

/* --- /etc/resolv.conf ---------------------------------------------------- */

static struct net_resolver found[NET_RESOLVERS_MAX];

static const char *parsed(const char *text, size_t len)
{
	static char all[NET_RESOLVERS_MAX * (NET_ADDR_MAX + 8)];
	unsigned n = net_resolvers_parse(found, text, len);
	char one[NET_ADDR_MAX];

	all[0] = '\0';
	for (unsigned i = 0; i < n; i++) {
		strcat(all, i ? " " : "");
		strcat(all, net_addr_format(&found[i].addr, one));
	}
	return all;
}

#define expect_resolvers(text, want) \
	cr_expect_str_eq(parsed(text, sizeof(text) - 1), want)

Test(net_resolvers, as_resolvers_read_it)
{
	expect_resolvers("", "");
	expect_resolvers("nameserver 127.0.0.53\noptions edns0\nsearch a\n",
			 "127.0.0.53");
	expect_resolvers("# nameserver 1.1.1.1\n;nameserver 1.1.1.1\n"
			 "nameserver\t10.0.0.1 \nnameserver 10.0.0.2",
			 "10.0.0.1 10.0.0.2");
	expect_resolvers("nameserver fd00::1\r\nnameserver 10.0.0.1 # ours\n",
			 "fd00::1 10.0.0.1");
	/* resolv.conf(5): three of them. */
	expect_resolvers("nameserver 10.0.0.1\nnameserver 10.0.0.2\n"
			 "nameserver 10.0.0.3\nnameserver 10.0.0.4\n",
			 "10.0.0.1 10.0.0.2 10.0.0.3");
}

Test(net_resolvers, link_local_ones_have_their_link)
{
	expect_resolvers("nameserver fe80::1%lo\n", "fe80::1");
	cr_expect_eq(found[0].scope, 1);
	expect_resolvers("nameserver fe80::1%7\n", "fe80::1");
	cr_expect_eq(found[0].scope, 7);
	expect_resolvers("nameserver fe80::1%nosuchlink\n", "");
	expect_resolvers("nameserver fe80::1%\n", "");
	expect_resolvers("nameserver fe80::1%4294967297\n", "");
}

Test(net_resolvers, what_is_none_is_passed_over)
{
	char line[4096];

	expect_resolvers("nameserver\nnameserver \nnameserverx 10.0.0.1\n"
			 " nameserver 10.0.0.1\nNAMESERVER 10.0.0.1\n", "");
	expect_resolvers("nameserver 10.0.0\nnameserver example.org\n"
			 "nameserver 10.0.0.256\nnameserver ::g\n", "");
	expect_resolvers("nameserver 10.0.0.1\0.7\nnameserver 10.0.0.2\n",
			 "10.0.0.1 10.0.0.2");
	memset(line, '1', sizeof(line));
	memcpy(line, "nameserver ", 11);
	cr_expect_str_eq(parsed(line, sizeof(line)), "");
	memcpy(line + sizeof(line) - 22, "\nnameserver 10.0.0.9 \n", 22);
	cr_expect_str_eq(parsed(line, sizeof(line)), "10.0.0.9");
}

/* --- host.json --------------------------------------------------------------- */

TestSuite(net_memory, .init = open_root, .fini = close_root);

/* Zeroed whole, so that two can be compared. */
static struct host_memory *sample(void)
{
	struct host_memory *m = calloc(1, sizeof(*m));

	cr_assert(m);
	m->shared.has_v6 = 1;
	m->shared.router4 = (struct net_router){ .was_off = 1, .nclosed = 2,
						 .closed = { 1, 77 } };
	m->shared.router6.all_closed = 1;
	m->open4 = (struct host_links){ .n = 1, .index = { 5 } };
	m->accept_redirects = 1;
	strcpy(m->chain[0].name, "ip filter FORWARD");
	m->chain[0].targets = UINT64_MAX;
	m->nchains = 1;
	m->generation = UINT32_MAX;
	m->nrules = 28;
	strcpy(m->mark, "mark_x");
	m->loaded = 1;
	m->legacy = 1ull << 63;
	return m;
}

static struct host_memory *read_back(void)
{
	struct host_memory *m = malloc(sizeof(*m));
	struct err err = { 0 };

	cr_assert(m);
	cr_assert_eq(host_memory_read(state, m, &err), 0, "%s", err.msg);
	return m;
}

static int is_empty(const struct host_memory *m)
{
	const uint8_t *p = (const uint8_t *)m;

	for (size_t i = 0; i < sizeof(*m); i++)
		if (p[i])
			return 0;
	return 1;
}

Test(net_memory, comes_back_as_it_was)
{
	_cleanup_free_ struct host_memory *m = sample(), *again = NULL;

	cr_assert_eq(host_memory_write(state, m, NULL), 0);
	again = read_back();
	cr_assert_arr_eq(m, again, sizeof(*m));
	cr_assert_eq(host_memory_remove(state, NULL), 0);
	cr_assert_eq(host_memory_remove(state, NULL), 0);
	free(again);
	again = read_back();
	cr_assert(is_empty(again));
}

static char *text_of(void)
{
	static char text[8192];
	char path[96];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/net/host.json", root);
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	cr_assert_gt(n, 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static void put(const char *text, size_t len)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/net/host.json", root);
	fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
	cr_assert_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static void replace(const char *text, const char *what, const char *with)
{
	char now[9000];
	const char *at = strstr(text, what);

	cr_assert(at, "%s", what);
	snprintf(now, sizeof(now), "%.*s%s%s", (int)(at - text), text, with,
		 at + strlen(what));
	put(now, strlen(now));
}

Test(net_memory, damaged_is_none)
{
	static const char *const hurt[][2] = {
		{ "\"chains\"", "\"chain\"" },
		{ "28", "\"28\"" },
		{ "77", "-77" },
		{ "77", "99999999999999" },
		{ "77", "77,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,"
			"7,7,7,7,7,7,7,7,7" },
		{ "\"ip filter FORWARD\"", "7" },
	};
	_cleanup_free_ struct host_memory *m = sample();
	_cleanup_free_ char *text = NULL;

	cr_assert_eq(host_memory_write(state, m, NULL), 0);
	text = strdup(text_of());
	for (size_t i = 0; i < ARRAY_SIZE(hurt); i++) {
		_cleanup_free_ struct host_memory *now = NULL;

		replace(text, hurt[i][0], hurt[i][1]);
		now = read_back();
		cr_expect(is_empty(now), "%s", hurt[i][1]);
	}
	for (size_t len = 0; len < strlen(text) - 2; len += 7) {
		_cleanup_free_ struct host_memory *now = NULL;

		put(text, len);
		now = read_back();
		cr_expect(is_empty(now), "%zu bytes", len);
	}
}

Test(net_memory, of_another_boot_is_none)
{
	_cleanup_free_ struct host_memory *m = sample(), *now = NULL;
	_cleanup_free_ char *text = NULL;
	char *at;

	cr_assert_eq(host_memory_write(state, m, NULL), 0);
	text = strdup(text_of());
	at = strstr(text, "\"where\": \"") + strlen("\"where\": \"");
	*at = *at == '0' ? '1' : '0';
	put(text, strlen(text));
	now = read_back();
	cr_assert(is_empty(now));
}

Test(net_memory, lock_is_shared_or_not)
{
	int a = host_memory_lock(state, LOCK_SH, 0, NULL), b;

	cr_assert_eq(a, -ENOENT);
	a = host_memory_lock(state, LOCK_SH, 1, NULL);
	b = host_memory_lock(state, LOCK_SH, 1, NULL);
	cr_assert_geq(a, 0);
	cr_assert_geq(b, 0);
	cr_assert_eq(flock(a, LOCK_EX | LOCK_NB), -1);
	close(b);
	cr_assert_eq(flock(a, LOCK_EX | LOCK_NB), 0);
	close(a);
}

/* Waiting takes a minute. */
Test(net_memory, lock_of_others_is_not_waited_for, .timeout = 35)
{
	struct err err = { 0 };
	int a = host_memory_lock(state, LOCK_EX, 1, NULL);

	cr_assert_geq(a, 0);
	cr_expect_eq(host_memory_lock(state, LOCK_EX | LOCK_NB, 1, &err),
		     -EBUSY);
	cr_expect_eq(host_memory_lock(state, LOCK_SH | LOCK_NB, 1, NULL),
		     -EBUSY);
	cr_expect(err.msg[0]);
	close(a);
}
