/* SPDX-License-Identifier: Apache-2.0 */
/* Which numbers of a pool the host's own links leave. */
#include "net/taken.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct net_taken t;

static struct net_prefix prefix(const char *text)
{
	struct net_prefix p;

	cr_assert_eq(net_prefix_parse(&p, text, NULL), 0, "%s", text);
	return p;
}

/* "FIRST-LAST", or "", of those that are taken of @pool once @net is there. */
static const char *taken(const char *pool, const char *net)
{
	static char text[64];
	const struct net_prefix p = prefix(pool), n = prefix(net);
	unsigned first = 0, end;

	net_taken_init(&t, &p);
	net_taken_add(&t, &n);
	while (first < NET_LEASE_MAX && !net_taken_has(&t, first))
		first++;
	end = net_taken_skip(&t, first);
	cr_expect_eq(t.n, end - first, "%s in %s", net, pool);
	if (end == first)
		return "";
	snprintf(text, sizeof(text), "%u-%u", first, end - 1);
	return text;
}

Test(net_taken, what_lies_in_the_pool)
{
	cr_expect_str_eq(taken("10.0.0.0/8", "10.0.3.0/24"), "384-511");
	cr_expect_str_eq(taken("198.19.0.0/16", "198.19.0.0/31"), "0-0");
	cr_expect_str_eq(taken("198.19.0.0/16", "198.19.0.7"), "3-3");
	cr_expect_str_eq(taken("198.19.0.0/16", "198.19.255.255"),
			 "32767-32767");
	cr_expect_str_eq(taken("198.19.0.0/16", "198.19.0.0/16"), "0-32767");
	cr_expect_str_eq(taken("10.0.0.2/31", "10.0.0.3"), "0-0");
}

Test(net_taken, what_the_pool_lies_in)
{
	cr_expect_str_eq(taken("10.3.0.0/24", "10.0.0.0/8"), "0-127");
	cr_expect_str_eq(taken("10.0.0.0/8", "10.0.0.0/7"), "0-65535");
}

Test(net_taken, what_lies_elsewhere)
{
	cr_expect_str_eq(taken("198.19.0.0/16", "198.20.0.0/16"), "");
	cr_expect_str_eq(taken("198.19.0.0/16", "198.18.255.255"), "");
	cr_expect_str_eq(taken("198.19.0.0/16", "fd6d:6179:666c:79ff::/64"),
			 "");
	cr_expect_str_eq(taken("198.19.0.0/16", "0.0.0.0/0"), "");
	/* Behind the last number that there is. */
	cr_expect_str_eq(taken("10.0.0.0/8", "10.128.0.0/9"), "");
	cr_expect_str_eq(taken("10.0.0.0/8", "10.1.255.0/24"), "65408-65535");
}

Test(net_taken, uplinks_of_another_pool)
{
	const struct net_prefix p = prefix("10.0.1.0/24");
	const struct net_prefix n = prefix("10.0.1.8/31");

	net_taken_init(&t, &p);
	net_taken_add_uplink(&t, &n, 4);
	cr_expect_eq(t.n, 0);
	net_taken_add_uplink(&t, &n, 132);
	net_taken_add_uplink(&t, &n, 133);
	cr_expect_eq(t.n, 1);
	cr_expect(net_taken_has(&t, 4));
	cr_expect_eq(net_taken_skip(&t, 3), 3);
	cr_expect_eq(net_taken_skip(&t, 4), 5);
	cr_expect_not(net_taken_has(&t, NET_LEASE_MAX));
	cr_expect_not(net_taken_has(&t, UINT32_MAX));
}

Test(net_taken, none_of_no_pool)
{
	const struct net_prefix all = prefix("0.0.0.0/1");
	static struct net_taken none;

	net_taken_add(&none, &all);
	cr_expect_eq(none.n, 0);
	cr_expect_eq(net_taken_skip(&none, 7), 7);
}
