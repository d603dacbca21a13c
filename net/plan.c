/* SPDX-License-Identifier: Apache-2.0 */
/* Names and addresses from the number of a lease. */
#include "net/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

/* Locally administered, individual (IEEE 802, 8.4); "m", "ay" as in mayfly. */
static const uint8_t tap_mac[6] = { 0x02, 0x6d, 0x61, 0x79, 0x66, 0x01 };
static const uint8_t guest_mac[6] = { 0x02, 0x6d, 0x61, 0x79, 0x66, 0x02 };

/* Numbers of links have to fit as well: "mfy" and eight digits. */
#define POOL_LEN_MIN 8
#define POOL_LEN_MAX 31

static int overlaps(const struct net_prefix *a, const struct net_prefix *b)
{
	return net_prefix_covers(a, b) || net_prefix_covers(b, a);
}

int net_pool_check(const struct net_prefix *pool, struct err *err)
{
	uint8_t first = pool->addr.b[0];

	if (!net_prefix_valid(pool) || pool->addr.family != 4 ||
	    pool->len < POOL_LEN_MIN || pool->len > POOL_LEN_MAX)
		return err_say(err, -EINVAL, "a pool is a network of IPv4 with "
			       "a length of %d to %d", POOL_LEN_MIN,
			       POOL_LEN_MAX);
	if (overlaps(pool, net_ours(0)))
		return err_say(err, -EINVAL, "guests have addresses in there");
	if (first == 0 || first == 127 || first >= 224)
		return err_say(err, -EINVAL, "a link cannot have such addresses");
	return 0;
}

unsigned net_pool_leases(const struct net_prefix *pool)
{
	return net_pool_check(pool, NULL) < 0 ? 0 : 1U << (31 - pool->len);
}

static struct net_addr must_read(const char *text)
{
	struct net_addr a = { 0 };

	net_addr_read(&a, text);
	return a;
}

static struct net_addr uplink6(unsigned n)
{
	struct net_prefix six;

	return net_prefix_parse(&six, NET_POOL6, NULL) < 0 ?
		       (struct net_addr){ 0 } : net_addr_plus(&six.addr, n);
}

struct net_addr net_plan_up6(unsigned lease)
{
	return uplink6(2 * lease + 1);
}

int net_plan_make(struct net_plan *plan, const struct net_host *host,
		  unsigned lease, const struct net_prefix *pool,
		  struct err *err)
{
	struct net_prefix standard;
	struct net_plan p = { .has_v6 = host->has_v6 != 0, .lease = lease };
	int rc;

	if (net_prefix_parse(&standard, NET_POOL4, err) < 0)
		return -EINVAL;
	p.pool = pool ? *pool : standard;
	rc = net_pool_check(&p.pool, err);
	if (rc < 0)
		return rc;
	if (lease >= net_pool_leases(&p.pool))
		return err_say(err, -ERANGE, "the pool has %u leases, and no "
			       "%u", net_pool_leases(&p.pool), lease);
	p.mtu = host->mtu ? host->mtu : NET_MTU;
	if (p.mtu < NET_MTU_MIN || p.mtu > NET_MTU_MAX)
		return err_say(err, -EINVAL, "an MTU is %d to %d bytes",
			       NET_MTU_MIN, NET_MTU_MAX);
	snprintf(p.link, sizeof(p.link), NET_HOST_LINK "%u", lease);
	memcpy(p.tap_mac, tap_mac, sizeof(p.tap_mac));
	memcpy(p.guest_mac, guest_mac, sizeof(p.guest_mac));
	p.gate4 = (struct net_prefix){ must_read(NET_GATE4), NET_GUEST4_LEN };
	p.gate6 = (struct net_prefix){ must_read(NET_GATE6), NET_GUEST6_LEN };
	p.guest4 = must_read(NET_GUEST4);
	p.guest6 = must_read(NET_GUEST6);
	p.host4 = net_addr_plus(&p.pool.addr, 2 * lease);
	p.up4 = net_addr_plus(&p.pool.addr, 2 * lease + 1);
	p.host6 = uplink6(2 * lease);
	p.up6 = net_plan_up6(lease);
	*plan = p;
	return 0;
}

int net_plan_valid(const struct net_plan *plan)
{
	struct net_host host = { plan->has_v6, plan->mtu };
	struct net_plan p;

	/* There is one plan for a lease. */
	if (!plan->mtu || net_plan_make(&p, &host, plan->lease, &plan->pool,
					NULL) < 0)
		return 0;
	return plan->has_v6 == p.has_v6 &&
	       !memcmp(plan->link, p.link, sizeof(p.link)) &&
	       !memcmp(plan->tap_mac, p.tap_mac, sizeof(p.tap_mac)) &&
	       !memcmp(plan->guest_mac, p.guest_mac, sizeof(p.guest_mac)) &&
	       net_addr_equal(&plan->gate4.addr, &p.gate4.addr) &&
	       plan->gate4.len == p.gate4.len &&
	       net_addr_equal(&plan->gate6.addr, &p.gate6.addr) &&
	       plan->gate6.len == p.gate6.len &&
	       net_addr_equal(&plan->guest4, &p.guest4) &&
	       net_addr_equal(&plan->guest6, &p.guest6) &&
	       net_addr_equal(&plan->host4, &p.host4) &&
	       net_addr_equal(&plan->up4, &p.up4) &&
	       net_addr_equal(&plan->host6, &p.host6) &&
	       net_addr_equal(&plan->up6, &p.up6);
}

const char *net_learned_set(const struct net_addr *a, uint16_t port)
{
	if (a->family == 6)
		return port ? NET_SET_ADDR6_PORT : NET_SET_ADDR6;
	return port ? NET_SET_ADDR4_PORT : NET_SET_ADDR4;
}

size_t net_learned_key(const struct net_addr *a, uint16_t port,
		       uint8_t key[20])
{
	size_t n = net_addr_bits(a) / 8;

	memset(key, 0, 20);
	memcpy(key, a->b, n);
	if (!port)
		return n;
	/* nftables pads each part of a key to four bytes. */
	key[n] = port >> 8;
	key[n + 1] = port & 0xff;
	return n + 4;
}

/*
 * Errors at once, to a guest that asks for many: the kernel's own limit is one
 * a second for a destination (Documentation/networking/ip-sysctl.rst,
 * icmp_ratemask), the table has its own. The neighbour tables are shared with
 * the host: a guest fills them with nothing (arp_*, rp_filter, accept_*).
 */
static const struct net_sysctl sysctls[] = {
	{ "net/ipv4/ip_forward", "1" },
	{ "net/ipv4/icmp_ratemask", "0" },
	{ "net/ipv4/conf/all/rp_filter", "1" },
	{ "net/ipv4/conf/tap0/rp_filter", "1" },
	{ "net/ipv4/conf/all/accept_redirects", "0" },
	{ "net/ipv4/conf/all/send_redirects", "0" },
	{ "net/ipv4/conf/tap0/send_redirects", "0" },
	{ "net/ipv4/conf/tap0/arp_ignore", "1" },
	{ "net/ipv4/conf/tap0/proxy_arp", "0" },
	{ "net/ipv6/conf/all/forwarding", "1" },
	{ "net/ipv6/conf/tap0/accept_ra", "0" },
	{ "net/ipv6/conf/tap0/accept_dad", "0" },
	{ "net/ipv6/conf/tap0/accept_redirects", "0" },
	{ "net/ipv6/conf/tap0/addr_gen_mode", "1" },
	{ "net/ipv6/icmp/ratemask", "\n" }, /* none */
};

const struct net_sysctl *net_plan_sysctl(unsigned i)
{
	return i < ARRAY_SIZE(sysctls) ? &sysctls[i] : NULL;
}
