/* SPDX-License-Identifier: Apache-2.0 */
/* What a keeper hears, and notices, while it holds a network. */
#include "net/keep_wire.h"
#include "tests/unit/keep_stage.h"

TestSuite(net_keep_hold, .init = stage_open, .fini = stage_close,
	  .timeout = 120);

/* --- addresses that the host gets ------------------------------------------- */

Test(net_keep_hold, later_addresses_are_in_their_sets)
{
	const struct net_addr two[] = {
		net_addr4(93, 184, 216, 34),
		net_addr_from(6, (uint8_t[16]){ 0x26, 0x06, [15] = 1 }),
	};

	start_ready(HOST_ID, 0);
	cr_expect_not(has_element(NET_SET_LATER4, "93.184.216.34"));
	OK(keep_own(&keep, two, 2, &err));
	SOON(has_element(NET_SET_LATER6, "2606::1"));
	cr_expect(has_element(NET_SET_LATER4, "93.184.216.34"));
	/* Again is no error. */
	OK(keep_own(&keep, two, 1, &err));
	OK(keep_own(&keep, &(struct net_addr){ 4, { 1, 1, 1, 1 } }, 1, &err));
	SOON(has_element(NET_SET_LATER4, "1.1.1.1"));
	cr_expect(has_element(NET_SET_LATER4, "93.184.216.34"));
}

/* A fence that is not whole is none. */
Test(net_keep_hold, more_addresses_than_fit_in_end_the_network)
{
	struct net_addr a[KEEP_OWN_MAX];

	start_ready(HOST_ID, 0);
	for (uint8_t i = 0; i <= NET_LATER_MAX / KEEP_OWN_MAX; i++) {
		for (uint8_t j = 0; j < KEEP_OWN_MAX; j++)
			a[j] = net_addr4(93, 1, i, j);
		while (keep_own(&keep, a, KEEP_OWN_MAX, &err) == -EAGAIN)
			usleep(1000);
	}
	cr_expect_eq(await(KEEP_READY), -ENFILE, "%s", err.msg);
	cr_expect(strstr(err.msg, "refuse a new address of the host"), "%s",
		  err.msg);
}

static void expect_end(const void *words, size_t len)
{
	start_ready(HOST_ID, 0);
	cr_assert_eq(send(keep.control, words, len, 0), (ssize_t)len);
	cr_expect_eq(await(KEEP_READY), -EPROTO, "%s", err.msg);
}

Test(net_keep_hold, no_address_at_all_ends_it)
{
	const struct keep_own o = { .type = KEEP_OWN };

	expect_end(&o, sizeof(o));
}

Test(net_keep_hold, more_than_a_message_has_ends_it)
{
	struct keep_own o = { .type = KEEP_OWN, .n = UINT32_MAX };

	for (uint8_t i = 0; i < KEEP_OWN_MAX; i++)
		o.addr[i] = net_addr4(8, 8, 8, i);
	expect_end(&o, sizeof(o));
}

Test(net_keep_hold, address_that_is_none_ends_it)
{
	const struct keep_own o = { .type = KEEP_OWN, .n = 2,
				    .addr = { { 4, { 8, 8, 8, 8 } },
					      { 5, { 8, 8, 8, 8 } } } };

	expect_end(&o, sizeof(o));
}

Test(net_keep_hold, address_twice_ends_it)
{
	const struct keep_own o = { .type = KEEP_OWN, .n = 2,
				    .addr = { { 4, { 8, 8, 8, 8 } },
					      { 4, { 8, 8, 8, 8 } } } };

	expect_end(&o, sizeof(o));
}

Test(net_keep_hold, word_of_another_time_ends_it)
{
	const struct keep_uplink u = { .type = KEEP_UPLINK };

	expect_end(&u, sizeof(u));
}

Test(net_keep_hold, launcher_waits_for_no_keeper_that_does_not_read)
{
	struct net_addr a = net_addr4(8, 8, 8, 8);
	int r = 0;

	start_ready(HOST_ID, 0);
	kill(keep.pid, SIGSTOP);
	for (int i = 0; r == 0 && i < 100000; i++)
		r = keep_own(&keep, &a, 1, &err);
	cr_expect_eq(r, -EAGAIN, "%s", err.msg);
}

/* --- the uplink ------------------------------------------------------------- */

static void remove_link(const char *name)
{
	struct rt *rt;

	OK(rt_open(&rt, &err));
	OK(rt_link_del(rt, name, &err));
	rt_close(rt);
}

Test(net_keep_hold, uplink_that_is_removed_ends_it)
{
	start_ready(HOST_ID, 0);
	remove_link(plan.link);
	cr_expect_eq(await(KEEP_READY), -ENODEV, "%s", err.msg);
	cr_expect(strstr(err.msg, "somebody has removed a link"), "%s", err.msg);
}

static int remove_tap(const void *unused)
{
	(void)unused;
	remove_link(NET_TAP);
	return 0;
}

Test(net_keep_hold, tap_that_is_removed_ends_it)
{
	start_ready(HOST_ID, 0);
	cr_expect_eq(inside(remove_tap, NULL), 0);
	cr_expect_eq(await(KEEP_READY), -ENODEV, "%s", err.msg);
}

static int other_link(const void *unused)
{
	const struct rt_link l = { .name = "other0" };
	const struct rt_link peer = { .name = "other1" };
	struct rt *rt;
	int r;

	(void)unused;
	if (rt_open(&rt, NULL) < 0)
		return 1;
	r = rt_veth_add(rt, &l, &peer, keep.netns, NULL);
	if (r == 0)
		r = rt_link_del(rt, "other0", NULL);
	rt_close(rt);
	return r < 0 ? 2 : 0;
}

Test(net_keep_hold, other_links_are_no_concern_of_its)
{
	const struct net_addr a = net_addr4(8, 8, 8, 8);

	start_ready(HOST_ID, 0);
	cr_expect_eq(inside(other_link, NULL), 0);
	OK(keep_own(&keep, &a, 1, &err));
	SOON(has_element(NET_SET_LATER4, "8.8.8.8"));
	cr_expect_eq(waitpid(keep.pid, NULL, WNOHANG), 0);
}
