/* SPDX-License-Identifier: Apache-2.0 */
/* Names and addresses of a lease, and tables: whole, or none. That the kernel
 * takes them and what they do is for net_fence.c. */
#include "net/plan.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/table.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

static struct net_prefix prefix(const char *text)
{
	struct net_prefix p;

	cr_assert_eq(net_prefix_parse(&p, text, NULL), 0, "%s", text);
	return p;
}

static void is(const struct net_addr *a, const char *want)
{
	char text[NET_ADDR_MAX];

	cr_expect_str_eq(net_addr_format(a, text), want);
}

static const struct net_host host = { .has_v6 = 1 };

Test(net_plan, addresses_are_those_of_the_lease)
{
	struct net_prefix pool = prefix("10.200.0.0/24");
	struct net_plan p;

	cr_assert_eq(net_plan_make(&p, &host, 0, NULL, NULL), 0);
	cr_expect_str_eq(p.link, "mfy0");
	cr_expect_eq(p.mtu, NET_MTU);
	is(&p.host4, "198.19.0.0");
	is(&p.up4, "198.19.0.1");
	is(&p.guest4, "198.18.0.2");
	is(&p.gate6.addr, "fd6d:6179:666c:7900::1");
	cr_assert_eq(net_plan_make(&p, &host, 32767, NULL, NULL), 0);
	cr_expect_str_eq(p.link, "mfy32767");
	is(&p.host4, "198.19.255.254");
	is(&p.up4, "198.19.255.255");
	is(&p.host6, "fd6d:6179:666c:79ff::fffe");
	is(&p.up6, "fd6d:6179:666c:79ff::ffff");
	cr_expect_eq(net_plan_make(&p, &host, 32768, NULL, NULL), -ERANGE);
	cr_assert_eq(net_plan_make(&p, &host, 127, &pool, NULL), 0);
	is(&p.up4, "10.200.0.255");
	cr_expect_eq(net_plan_make(&p, &host, 128, &pool, NULL), -ERANGE);
}

Test(net_plan, pool_is_judged)
{
	static const char *const bad[] = { "198.18.0.0/24", "198.18.0.0/15",
		"127.0.0.0/8", "0.0.0.0/8", "224.0.0.0/8", "10.0.0.1/32",
		"64.0.0.0/7", "fd00::/16", "198.18.0.2/31" };
	struct net_prefix p;
	struct err err;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		p = prefix(bad[i]);
		err = (struct err){ 0 };
		cr_expect_eq(net_pool_check(&p, &err), -EINVAL, "%s", bad[i]);
		cr_expect(*err.msg);
		cr_expect_eq(net_pool_leases(&p), 0);
	}
	p = prefix("10.0.0.0/8");
	cr_expect_eq(net_pool_leases(&p), 1U << 23);
	p = prefix("10.0.0.2/31");
	cr_expect_eq(net_pool_leases(&p), 1);
}

Test(net_plan, mtu_is_bounded)
{
	struct net_host h = { .mtu = 1280 };
	struct net_plan p;

	cr_expect_eq(net_plan_make(&p, &h, 0, NULL, NULL), 0);
	h.mtu = 1279;
	cr_expect_eq(net_plan_make(&p, &h, 0, NULL, NULL), -EINVAL);
	h.mtu = 65521;
	cr_expect_eq(net_plan_make(&p, &h, 0, NULL, NULL), -EINVAL);
}

Test(net_plan, from_a_message_is_judged)
{
	struct net_plan p, q;

	cr_assert_eq(net_plan_make(&p, &host, 7, NULL, NULL), 0);
	cr_expect(net_plan_valid(&p));
#define BREAK(change) do {                                      \
		q = p;                                          \
		q.change;                                       \
		cr_expect(!net_plan_valid(&q), "%s", #change);  \
	} while (0)
	BREAK(lease = 8);
	BREAK(lease = 1U << 31);
	BREAK(mtu = 0);
	BREAK(mtu = 1 << 20);
	BREAK(has_v6 = 2);
	BREAK(link[0] = 'x');
	BREAK(link[sizeof(q.link) - 1] = 'x');
	BREAK(guest_mac[5] = 9);
	BREAK(tap_mac[0] = 1);
	BREAK(gate4.len = 8);
	BREAK(gate6.addr.b[15] = 2);
	BREAK(guest4.family = 6);
	BREAK(up4.b[3]++);
	BREAK(host6.b[0] = 0);
	BREAK(pool.len = 200);
	BREAK(pool.addr.family = 0);
}

Test(net_plan, keys_of_sets_are_those_of_nftables)
{
	struct net_addr a = net_addr4(1, 2, 3, 4);
	uint8_t key[20];

	cr_expect_eq(net_learned_key(&a, 0, key), 4);
	cr_expect(!memcmp(key, "\1\2\3\4\0\0\0\0", 8));
	cr_expect_eq(net_learned_key(&a, 0x1234, key), 8);
	cr_expect(!memcmp(key, "\1\2\3\4\x12\x34\0\0", 8));
	cr_expect_str_eq(net_learned_set(&a, 1), "learned4_port");
	a = (struct net_addr){ 6, { [15] = 9 } };
	cr_expect_str_eq(net_learned_set(&a, 0), "learned6");
	cr_expect_eq(net_learned_key(&a, 0, key), 16);
	cr_expect_eq(net_learned_key(&a, 80, key), 20);
	cr_expect(key[15] == 9 && key[16] == 0 && key[17] == 80 && !key[18]);
}

/* As many and as long as they can be, each one unlike the others. */
static void fill(struct net_rules *rs)
{
	char text[NET_RULE_MAX];

	memset(rs, 0, sizeof(*rs));
	for (unsigned i = 0; i < NET_RULES_MAX; i++) {
		snprintf(text, sizeof(text),
			 "[fd11:1111:2222:3333:4444:5555:66%02x:8000/117]:%d",
			 i, i & 1 ? 853 : 60000);
		cr_assert_eq(net_rules_deny(rs, text, NULL), 0, "%s", text);
		/* The last one is the name. */
		if (i)
			cr_assert_eq(net_rules_allow(rs, text, NULL), 0);
	}
	cr_assert_eq(net_rules_allow(rs, "a.b", NULL), 0);
	for (unsigned i = 0; i < NET_OWN_MAX; i++) {
		struct net_prefix p;

		snprintf(text, sizeof(text),
			 "fd11:1111:2222:3333:4444:5555:6666:10%02x", i);
		p = prefix(text);
		cr_assert_eq(net_rules_own(rs, &p, NULL), 0);
	}
}

Test(net_table, fits_the_most_rules_that_there_can_be)
{
	static _Alignas(8) char buf[NET_TABLE_MAX];
	static struct net_rules rs;
	struct net_shared shared = { .has_v6 = 1 };
	struct err err = { 0 };
	struct net_plan p;

	fill(&rs);
	cr_assert_eq(net_plan_make(&p, &host, 0, NULL, NULL), 0);
	cr_assert_gt(net_plan_vm_table(&p, &rs, buf, sizeof(buf), &err), 0,
		     "%s", err.msg);
	shared.router4 = shared.router6 = (struct net_router){
		.was_off = 1, .nclosed = NET_CLOSED_MAX };
	for (unsigned i = 0; i < NET_CLOSED_MAX; i++)
		shared.router4.closed[i] = shared.router6.closed[i] =
			INT32_MAX - i;
	cr_assert_gt(net_plan_host_table(&shared, buf, NET_HOST_TABLE_MAX,
					 &err), 0, "%s", err.msg);
}

Test(net_table, of_a_vm_is_whole_or_void)
{
	static _Alignas(8) char buf[NET_TABLE_MAX + 1], whole[NET_TABLE_MAX];
	struct net_rules rs = { 0 };
	struct net_plan p;
	int n;

	cr_assert_eq(net_plan_make(&p, &host, 0, NULL, NULL), 0);
	n = net_plan_vm_table(&p, &rs, whole, sizeof(whole), NULL);
	cr_assert_gt(n, 0);
	for (int size = 0; size <= n; size++) {
		buf[size] = 'x';
		cr_assert_eq(net_plan_vm_table(&p, &rs, buf, size, NULL),
			     size == n ? n : -E2BIG, "%d", size);
		cr_assert_eq(buf[size], 'x', "%d", size);
	}
	cr_expect_eq(memcmp(buf, whole, n), 0);
}

Test(net_table, of_the_host_is_whole_or_void)
{
	static char buf[NET_HOST_TABLE_MAX + 1], whole[NET_HOST_TABLE_MAX];
	const struct net_shared shared = { .has_v6 = 1 };
	int n;

	n = net_plan_host_table(&shared, whole, sizeof(whole), NULL);
	cr_assert_eq(n, (int)strlen(whole));
	for (int size = 1; size <= n + 1; size++) {
		buf[size] = 'x';
		cr_assert_eq(net_plan_host_table(&shared, buf, size, NULL),
			     size > n ? n : -E2BIG, "%d", size);
		cr_assert_eq(buf[size], 'x', "%d", size);
		cr_assert_str_eq(buf, size > n ? whole : "");
	}
}

Test(net_table, takes_nothing_that_is_not_valid)
{
	_Alignas(8) char buf[NET_HOST_TABLE_MAX];
	struct net_shared shared = { 0 };
	struct net_rules rs = { 0 };
	struct net_plan p;
	struct table t;

	cr_assert_eq(net_plan_make(&p, &host, 0, NULL, NULL), 0);
	rs.nown = 1;
	cr_expect_eq(net_plan_vm_table(&p, &rs, buf, sizeof(buf), NULL),
		     -EINVAL);
	rs.nown = 0;
	p.mtu = 1;
	cr_expect_eq(net_plan_vm_table(&p, &rs, buf, sizeof(buf), NULL),
		     -EINVAL);
	shared.router6.nclosed = NET_CLOSED_MAX + 1;
	cr_expect_eq(net_plan_host_table(&shared, buf, sizeof(buf), NULL),
		     -EINVAL);
	cr_expect_str_eq(buf, "");
	table_open(&t, buf, sizeof(buf));
	table_put(&t, "text");
	table_prefix(&t, &(struct net_prefix){ .len = 8 });
	cr_expect_eq(table_end(&t, NULL), -E2BIG);
	cr_expect_str_eq(buf, "");
}

Test(net_table, mark_says_what_serves_others)
{
	struct net_shared a = { .has_v6 = 0 }, b = a;
	char one[NET_MARK_MAX], two[NET_MARK_MAX];

	b.router4.was_off = b.router4.nclosed = 1;
	b.router4.closed[0] = 7;
	cr_assert_eq(net_plan_host_mark(&a, one), 0);
	cr_assert_eq(net_plan_host_mark(&b, two), 0);
	cr_expect(net_mark_serves(one, one));
	cr_expect(net_mark_serves(two, one));
	cr_expect_not(net_mark_serves(one, two));
	b.router4.closed[0] = 8;
	cr_assert_eq(net_plan_host_mark(&b, one), 0);
	cr_expect(net_mark_serves(one, two));
	a.has_v6 = 1;
	cr_assert_eq(net_plan_host_mark(&a, one), 0);
	cr_expect_not(net_mark_serves(two, one));
	cr_expect_not(net_mark_serves("", two));
	cr_expect_not(net_mark_serves("mark_01234567", two));
	cr_expect_not(net_mark_serves("mark_01234567_x", "mark_01234567_0"));
}

Test(net_table, mark_tells_tables_of_the_host_apart)
{
	struct net_shared a = { .has_v6 = 0 }, b;
	char one[NET_MARK_MAX], two[NET_MARK_MAX];
	static char text[NET_HOST_TABLE_MAX];

	cr_assert_eq(net_plan_host_mark(&a, one), 0);
	cr_assert_gt(net_plan_host_table(&a, text, sizeof(text), NULL), 0);
	cr_expect(strstr(text, one));
	b = a;
	cr_assert_eq(net_plan_host_mark(&b, two), 0);
	cr_expect_str_eq(one, two);
	b.router4.was_off = b.router4.all_closed = 1;
	cr_assert_eq(net_plan_host_mark(&b, two), 0);
	cr_expect_str_neq(one, two);
	b = a;
	b.has_v6 = 1;
	cr_assert_eq(net_plan_host_mark(&b, two), 0);
	cr_expect_str_neq(one, two);
}
