/* SPDX-License-Identifier: Apache-2.0 */
/* How the values of a run's network read. */
#include "runner/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "net/rule.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

Test(config_net, a_tap_is_named_behind_the_word)
{
	static const struct {
		const char *arg, *tap;
		int code;
	} t[] = {
		{ NULL, NULL, 0 },
		{ "tap=tap0", "tap0", 0 },
		{ "tap=a-name_of.15", "a-name_of.15", 0 },
		{ "tap=fifteen_letters", "fifteen_letters", 0 },
		{ "tap=sixteen_letters_", NULL, -EINVAL },
		{ "tap=", NULL, -EINVAL },
		{ "tap=.", NULL, -EINVAL },
		{ "tap=..", NULL, -EINVAL },
		{ "tap=a/b", NULL, -EINVAL },
		{ "tap=a b", NULL, -EINVAL },
		{ "tap=a:1", NULL, -EINVAL },
		{ "tap", NULL, -EINVAL },
		{ "tap0", NULL, -EINVAL },
		{ "host", NULL, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct config_net n = { 0 };
		int r = config_set_net(&n, t[i].arg, NULL);

		cr_expect_eq(r, t[i].code, "%s: %d", t[i].arg, r);
		if (r == 0) {
			cr_expect(n.on);
			cr_expect(!t[i].tap == !n.tap &&
				  (!n.tap || !strcmp(n.tap, t[i].tap)));
		}
	}
}

Test(config_net, rules_ask_for_a_network)
{
	struct config_net n = { 0 };

	cr_assert_eq(config_add_allow(&n, "web.example:80", NULL), 0);
	cr_assert_eq(config_add_deny(&n, "10.0.0.0/8", NULL), 0);
	cr_assert_eq(config_add_allow(&n, "[::1", NULL), -EINVAL);
	cr_assert(n.on);
	cr_assert_eq(n.rules->nallow, 1);
	cr_assert_eq(n.rules->ndeny, 1);
	cr_assert_eq(config_check_net(&n, NULL), 0);
	config_net_free(&n);
	cr_assert_null(n.rules);
}

Test(config_net, first_address_that_could_have_a_port_is_told)
{
	struct config_net n = { 0 };

	cr_assert_eq(config_add_allow(&n, "2620:fe::fe", NULL), 0);
	cr_assert_str_empty(n.doubt);
	cr_assert_eq(config_add_deny(&n, "2001:db8::1:80", NULL), 0);
	cr_assert_eq(config_add_allow(&n, "2001:db8::2:80", NULL), 0);
	cr_assert_str_eq(n.doubt, "--deny 2001:db8::1:80 is an address; "
			 "[2001:db8::1]:80, if the end is a port");
	config_net_free(&n);
}

Test(config_net, no_more_resolvers_than_resolv_conf_takes)
{
	struct config_net n = { 0 };

	cr_assert_eq(config_add_dns(&n, "nine", NULL), -EINVAL);
	cr_assert_eq(config_add_dns(&n, "9.9.9.9:53", NULL), -EINVAL);
	cr_assert_eq(config_add_dns(&n, "fe80::1", NULL), -EINVAL);
	cr_assert_eq(config_add_dns(&n, "127.0.0.53", NULL), 0);
	cr_assert_eq(config_add_dns(&n, "2620:fe::fe", NULL), 0);
	cr_assert_eq(config_add_dns(&n, "9.9.9.9", NULL), 0);
	cr_assert_eq(config_add_dns(&n, "8.8.8.8", NULL), -E2BIG);
	cr_assert_eq(n.ndns, 3);
	cr_assert_eq(n.dns[1].family, 6);
}

Test(config_net, packets_have_a_size_that_ipv6_can_use)
{
	static const struct {
		const char *text;
		unsigned mtu;
	} t[] = {
		{ "1280", 1280 }, { "1500", 1500 }, { "65520", 65520 },
		{ "1279", 0 },	  { "65521", 0 },   { "0", 0 },
		{ "-1500", 0 },	  { "1500b", 0 },   { "", 0 },
		{ "9999999999999999999999", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct config_net n = { 0 };
		int r = config_set_mtu(&n, t[i].text, NULL);

		cr_expect_eq(r, t[i].mtu ? 0 : -ERANGE, "%s", t[i].text);
		cr_expect_eq(n.mtu, t[i].mtu, "%s", t[i].text);
	}
}

Test(config_net, a_pool_is_a_network_of_ipv4)
{
	struct config_net n = { 0 };

	cr_assert_eq(config_set_net_pool(&n, "10.99.0.0/16", NULL), 0);
	cr_assert_eq(n.pool.len, 16);
	cr_assert_not(n.on);
	cr_assert_eq(config_set_net_pool(&n, "10.99.0.1/16", NULL), -EINVAL);
	cr_assert_eq(config_set_net_pool(&n, "fd00::/64", NULL), -EINVAL);
	cr_assert_eq(config_set_net_pool(&n, "198.18.0.0/16", NULL), -EINVAL);
}

Test(config_net, what_needs_a_network_says_so)
{
	struct config_net dns = { .ndns = 1 }, mtu = { .mtu = 1500 },
			  rate = { .rates.ops.size = 1 };
	struct err err = { 0 };

	cr_assert_eq(config_check_net(&dns, &err), -EINVAL);
	cr_assert_str_eq(err.msg, "--dns without a network");
	cr_assert_str_eq(err.hint, "add --net");
	cr_assert_eq(config_check_net(&mtu, NULL), -EINVAL);
	cr_assert_eq(config_check_net(&rate, NULL), -EINVAL);
	rate.on = mtu.on = dns.on = 1;
	cr_assert_eq(config_check_net(&dns, NULL), 0);
	cr_assert_eq(config_check_net(&mtu, NULL), 0);
	cr_assert_eq(config_check_net(&rate, NULL), 0);
}

Test(config_net, nothing_holds_a_guest_at_a_device_of_the_users)
{
	struct config_net n = { .tap = "tap0" };
	struct err err = { 0 };

	cr_assert_eq(config_add_deny(&n, "10.0.0.0/8", NULL), 0);
	cr_assert_eq(config_check_net(&n, &err), -EINVAL);
	cr_assert_str_eq(err.msg, "--deny with --net=tap=tap0: nothing of ours "
				  "is between the guest and that device");
	config_net_free(&n);
}
