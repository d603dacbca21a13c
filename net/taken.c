/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a pool that the host's own links are in the way of. */
#include "net/taken.h"

#include <string.h>

#include "runner/base/mem.h"

void net_taken_init(struct net_taken *t, const struct net_prefix *pool)
{
	memset(t, 0, sizeof(*t));
	t->pool = *pool;
}

static uint32_t number_of(const struct net_addr *a)
{
	return (uint32_t)a->b[0] << 24 | (uint32_t)a->b[1] << 16 |
	       (uint32_t)a->b[2] << 8 | a->b[3];
}

/* Two addresses each, from the pool's first on. @first to @end - 1. */
static void range(const struct net_taken *t, const struct net_prefix *net,
		  unsigned *first, unsigned *end)
{
	uint32_t from = number_of(&net->addr) - number_of(&t->pool.addr);

	*first = *end = 0;
	/* A link that has everything says nothing. */
	if (t->pool.addr.family != 4 || net->addr.family != 4 || !net->len)
		return;
	if (net_prefix_covers(net, &t->pool)) {
		*end = NET_LEASE_MAX;
	} else if (net_prefix_covers(&t->pool, net)) {
		*first = MIN(from / 2, NET_LEASE_MAX);
		*end = *first + (net->len >= 31 ? 1 : 1u << (31 - net->len));
	}
	*end = MIN(*end, MIN(net_pool_leases(&t->pool), NET_LEASE_MAX));
}

static void add(struct net_taken *t, unsigned number)
{
	if (net_taken_has(t, number))
		return;
	t->bits[number / 8] |= (uint8_t)(1u << number % 8);
	t->n++;
}

void net_taken_add(struct net_taken *t, const struct net_prefix *net)
{
	unsigned first, end;

	range(t, net, &first, &end);
	for (unsigned i = first; i < end; i++)
		add(t, i);
}

void net_taken_add_uplink(struct net_taken *t, const struct net_prefix *net,
			  unsigned number)
{
	unsigned first, end;

	range(t, net, &first, &end);
	for (unsigned i = first; i < end; i++)
		if (i != number)
			add(t, i);
}

int net_taken_has(const struct net_taken *t, unsigned number)
{
	return number < NET_LEASE_MAX && t->bits[number / 8] >> number % 8 & 1;
}

unsigned net_taken_skip(const struct net_taken *t, unsigned number)
{
	while (net_taken_has(t, number))
		number++;
	return number;
}
