/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's netns as a keeper makes it, with a namespace in the guest's place, one
 * that is the world, and one that has the same fence by nft. */
#ifndef MAYFLY_TESTS_UNIT_FENCE_VM_H
#define MAYFLY_TESTS_UNIT_FENCE_VM_H

#include "net/nl.h"
#include "net/plan.h"
#include "tests/unit/fence_same.h"
#include "tests/unit/fence_text.h"

enum { WORLD, BY_NFT, VM, GUEST };

static struct server server, forwarder;
static struct net_plan plan;
static int has_v6 = 1;

static void set_sysctls(void)
{
	const struct net_sysctl *s;

	for (unsigned i = 0; (s = net_plan_sysctl(i)); i++)
		sh(VM, "printf '%s' >/proc/sys/%s", s->value, s->path);
}

/* Links, addresses and routes as a keeper makes them. */
static void make_path(void)
{
	struct net_host host = { has_v6, 0 };
	char h4[NET_ADDR_MAX], u4[NET_ADDR_MAX], h6[NET_ADDR_MAX];
	char u6[NET_ADDR_MAX], world[512];

	make_namespaces(4);
	cr_assert_eq(net_plan_make(&plan, &host, 7, NULL, NULL), 0);
	net_addr_format(&plan.host4, h4);
	net_addr_format(&plan.up4, u4);
	net_addr_format(&plan.host6, h6);
	net_addr_format(&plan.up6, u6);
	for (int ns = 0; ns < 4; ns++)
		sh(ns, "cd /proc/sys/net/ipv6/conf; echo 0 >default/accept_dad;"
		   " echo 0 >all/accept_dad");
	make_veth(WORLD, "w0", VM, NET_UPLINK);
	make_veth(GUEST, "eth0", VM, NET_TAP);
	snprintf(world, sizeof(world), "ip link set w0 up; "
		 "ip addr add %s/31 dev w0; ip addr add %s/127 dev w0; "
		 "ip route add %s dev w0 table 77; "
		 "ip route add %s dev w0 table 77", h4, h6, u4, u6);
	own_everything(WORLD, world);
	sh(BY_NFT, "ip link add " NET_TAP " type veth peer name other");
	sh(VM, "ip link set " NET_TAP " address 02:6d:61:79:66:01; "
	   "ip addr add " NET_GATE4 "/30 dev " NET_TAP "; "
	   "ip addr add %s/31 dev " NET_UPLINK "; "
	   "ip addr add %s/127 dev " NET_UPLINK, u4, u6);
	set_sysctls();
	sh(VM, "ip link set " NET_TAP " up; ip link set " NET_UPLINK " up; "
	   "ip addr add " NET_GATE6 "/64 dev " NET_TAP "; "
	   "ip neigh add " NET_GUEST4 " dev " NET_TAP
	   " lladdr 02:6d:61:79:66:02 nud permanent; "
	   "ip neigh add " NET_GUEST6 " dev " NET_TAP
	   " lladdr 02:6d:61:79:66:02 nud permanent; "
	   "ip route add default via %s; ip -6 route add default via %s", h4,
	   h6);
	sh(GUEST, "echo 0 0 >/proc/sys/net/ipv4/ping_group_range; "
	   "ip link set lo up; "
	   "ip link set eth0 address 02:6d:61:79:66:02 up; "
	   "ip addr add " NET_GUEST4 "/30 dev eth0; "
	   "ip addr add " NET_GUEST6 "/64 dev eth0; "
	   "ip route add default via " NET_GATE4 "; "
	   "ip -6 route add default via " NET_GATE6);
	start_server(&server, WORLD, GUEST);
	/* The forwarder's place, on all addresses of the netns. */
	start_server(&forwarder, VM, GUEST);
}

static void own(struct net_rules *rs, const char *what)
{
	struct net_prefix p;

	cr_assert_eq(net_prefix_parse(&p, what, NULL), 0);
	cr_assert_eq(net_rules_own(rs, &p, NULL), 0);
}

/* The fence, as a keeper loads it; and what the kernel has is what it has of
 * nft's doing. */
static void put_up(const struct net_rules *rs)
{
	static char text[FENCE_TEXT_MAX];
	static _Alignas(8) char batch[NET_TABLE_MAX];
	struct err err = { 0 };
	struct nfnl *n;
	int len = net_plan_vm_table(&plan, rs, batch, sizeof(batch), &err);

	cr_assert_gt(len, 0, "%s", err.msg);
	sh(VM, "nft flush ruleset");
	enter(VM);
	cr_assert_eq(nfnl_open(&n, &err), 0, "%s", err.msg);
	enter(GUEST);
	cr_assert_eq(nfnl_send(n, batch, (size_t)len, &err), 0, "%s", err.msg);
	nfnl_close(n);
	cr_assert_gt(fence_text(&plan, rs, text, sizeof(text)), 0);
	sh(BY_NFT, "nft flush ruleset");
	cr_assert_eq(load(BY_NFT, text), 0, "nft did not take:\n%s", text);
	expect_same(VM, BY_NFT);
}

#endif
