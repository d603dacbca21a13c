/* SPDX-License-Identifier: Apache-2.0 */
/* -p: what is understood, and what is refused with words. */
#include "runner/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

static struct config_net net;
#define list net.publish
static struct err err;

static int add(const char *arg)
{
	err = (struct err){ 0 };
	return config_add_publish(&net, arg, &err);
}

static void is(const char *arg, int family, const uint8_t *addr,
	       unsigned host, unsigned guest, int udp)
{
	struct config_publish *p = &list.v[0];

	list.n = 0;
	cr_assert_eq(add(arg), 0, "%s: %s", arg, err.msg);
	cr_assert_eq(list.n, 1);
	cr_assert(p->family == family && p->host_port == host &&
		  p->guest_port == guest && p->udp == udp, "%s", arg);
	cr_assert(!memcmp(p->addr, addr, sizeof(p->addr)), "%s", arg);
}

Test(config_publish, mappings_are_understood)
{
	static const uint8_t any[16], lo4[16] = { 127, 0, 0, 1 };
	static const uint8_t lo6[16] = { [15] = 1 }, any6[16];

	is("8080:80", 0, any, 8080, 80, 0);
	is("8080:80/tcp", 0, any, 8080, 80, 0);
	is("53:5353/udp", 0, any, 53, 5353, 1);
	is("0:80", 0, any, 0, 80, 0);
	is("80", 0, any, 0, 80, 0);
	is(":80", 0, any, 0, 80, 0);
	is("127.0.0.1:65535:65535", 4, lo4, 65535, 65535, 0);
	is("127.0.0.1::80", 4, lo4, 0, 80, 0);
	is("0.0.0.0:1:1", 4, any, 1, 1, 0);
	is("[::1]:8080:80", 6, lo6, 8080, 80, 0);
	is("[::]:8080:80/udp", 6, any6, 8080, 80, 1);
}

Test(config_publish, nonsense_is_refused_with_words)
{
	static const char *const bad[] = {
		"", ":", "/", "/udp", "80:", "80:0", "0", "65536:80",
		"80:65536", "-1:80", "+1:80", " 80:80", "80 :80", "80:80 ",
		"a:80", "80:b", "0x50:80", "80:80/", "80:80/sctp",
		"80:80/udp/tcp", "80:80/UDP", ":80:80", "localhost:80:80",
		"127.0.0.1:80:80:80", "1.2.3:80:80", "::1:80:80", "[]:80:80",
		"[::1:80:80", "::1]:80:80", "[127.0.0.1]:80:80", "[::1]80:80",
		"[fe80::1%eth0]:80:80", "000000000080:80",
		"99999999999999999999:80",
		"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]:1:1",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_expect_lt(add(bad[i]), 0, "'%s'", bad[i]);
		cr_expect(err.msg[0] && err.hint[0], "'%s'", bad[i]);
	}
	cr_expect_eq(list.n, 0);
}

Test(config_publish, addresses_that_nothing_listens_at_are_refused)
{
	cr_expect_eq(add("[::ffff:127.0.0.1]:8080:80"), -EINVAL);
	cr_expect(strstr(err.msg, "an IPv4 address"), "%s", err.msg);
	cr_expect_str_eq(err.hint, "write the IPv4 address");
	cr_expect_eq(add("[fe80::1]:8080:80"), -EINVAL);
	cr_expect_eq(add("[febf::1]:8080:80"), -EINVAL);
	cr_expect(strstr(err.msg, "a link-local address"), "%s", err.msg);
	cr_expect(*err.hint);
	cr_expect_eq(list.n, 0);
	cr_expect_eq(add("[fec0::1]:8080:80"), 0);
	cr_expect_eq(add("[::fffe:127.0.0.1]:8080:80"), 0);
}

Test(config_publish, range_is_so_many_ports)
{
	static const struct {
		const char *arg;
		unsigned host, guest, n;
	} t[] = {
		{ "8080-8082:80-82/udp", 8080, 80, 3 },
		{ "127.0.0.1:1-1:65535-65535", 1, 65535, 1 },
		{ "1-32:65504-65535", 1, 65504, 32 },
		{ "80-81", 0, 80, 2 },
		{ "0:80-81", 0, 80, 2 },
		{ "[::1]::80-81", 0, 80, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		list.n = 0;
		cr_assert_eq(add(t[i].arg), 0, "%s: %s", t[i].arg, err.msg);
		cr_expect_eq(list.n, t[i].n, "%s", t[i].arg);
		for (size_t k = 0; k < list.n; k++) {
			cr_expect_eq(list.v[k].guest_port, t[i].guest + k);
			cr_expect_eq(list.v[k].host_port,
				     t[i].host ? t[i].host + k : 0);
			cr_expect_eq(list.v[k].family, list.v[0].family);
			cr_expect_eq(list.v[k].udp, list.v[0].udp);
		}
	}
}

Test(config_publish, ranges_that_are_none_have_words)
{
	static const char *const bad[] = {
		"80-82:80", "80:80-82", "8000-8001:80-82", "82-80:82-80",
		"0-1:1-2", "1-2:0-1", "1-65536:1-65536", "1-:1-2", "-2:1-2",
		"1--2:1-2", "1-2-3:1-3", "1-2:", "80-82:0", "000001-000002:1-2",
		"65535-65536:1-2",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_expect_lt(add(bad[i]), 0, "'%s'", bad[i]);
		cr_expect(err.msg[0] && err.hint[0], "'%s'", bad[i]);
	}
	cr_expect_eq(add("1-33:1-33"), -E2BIG);
	cr_expect_eq(add("1-65535:1-65535"), -E2BIG);
	cr_expect_eq(list.n, 0);
	cr_assert_eq(add("10-12:10-12"), 0);
	cr_expect_eq(add("8-10:1-3"), -EINVAL);
	cr_expect(strstr(err.msg, "port 10 is taken"), "%s", err.msg);
}

Test(config_publish, one_place_is_given_once)
{
	cr_assert_eq(net.on, 0);
	cr_assert_eq(add("8080:80"), 0);
	cr_assert_eq(net.on, 1);
	cr_assert_eq(add("8080:81"), -EINVAL);
	cr_assert_neq(strstr(err.msg, "8080"), NULL);
	cr_assert_eq(add("127.0.0.1:8080:80"), -EINVAL);
	cr_assert_eq(add("8080:80/udp"), 0);
	cr_assert_eq(add("127.0.0.1:9:80"), 0);
	cr_assert_eq(add("127.0.0.2:9:80"), 0);
	cr_assert_eq(add("[::1]:9:80"), 0);
	cr_assert_eq(add("9:80"), -EINVAL);
	cr_assert_eq(add("0:80"), 0);
	cr_assert_eq(add("0:80"), 0);
}

Test(config_publish, there_is_room_for_so_many)
{
	char arg[32];

	for (unsigned i = 1; i <= CONFIG_PUBLISHES_MAX; i++) {
		snprintf(arg, sizeof(arg), "%u:80", i);
		cr_assert_eq(add(arg), 0);
	}
	cr_assert_eq(add("1000:80"), -E2BIG);
}
