/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a launcher does with the network of its host, one step at a time, for
 * tests/system/net_host.sh. The directory of runs is $MAYFLY_STATE_DIR, the
 * host the network namespace that this is started in.
 *
 *	apply [6]		net_host_apply(); prints how long it took, in us
 *	hold ID NETNS [POOL]	take a lease, make its link with the other end,
 *				up0, in the namespace of that file, apply,
 *				print the number; wait for a byte or the end
 *				of standard input, and drop the lease
 *	look [POOL]		what net_host_look() finds
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/host.h"
#include "net/lease.h"
#include "net/nl.h"
#include "net/plan.h"
#include "net/taken.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

static int apply(int state, int v6, struct err *err)
{
	const struct net_host_want want = { .v6 = v6 };
	uint64_t begin = io_now_ns();
	int r = net_host_apply(state, &want, err);

	if (r == 0)
		printf("%llu\n",
		       (unsigned long long)(io_now_ns() - begin) / 1000);
	return r;
}

static int make_link(const struct net_lease *l, const struct net_plan *plan,
		     const char *id, int netns, struct err *err)
{
	const struct net_prefix host4 = { plan->host4, 31 };
	const struct net_prefix host6 = { plan->host6, 127 };
	char alias[NET_ALIAS_MAX];
	const struct rt_link ours = { .name = l->uplink, .up = 1,
				      .alias = alias };
	const struct rt_link theirs = { .name = "up0" };
	struct rt *rt;
	int r = net_lease_alias(l, id, alias), index = 0;

	if (r < 0)
		return err_set(err, r, "alias");
	r = rt_open(&rt, err);
	if (r < 0)
		return r;
	r = rt_veth_add(rt, &ours, &theirs, netns, err);
	if (r == 0) {
		index = rt_link_index(rt, l->uplink);
		r = rt_addr_add(rt, (unsigned)index, &host4, err);
	}
	if (r == 0 && plan->has_v6)
		r = rt_addr_add(rt, (unsigned)index, &host6, err);
	rt_close(rt);
	return r;
}

static int hold(int state, int argc, char **argv, struct err *err)
{
	const struct net_host_want want = { .v6 = 0 };
	struct net_lease l = NET_LEASE_NONE;
	struct net_host h = { 0 };
	struct net_prefix pool;
	struct net_plan plan;
	_cleanup_fd_ int netns = -1;
	unsigned from = 0;
	char byte;
	int r;

	if (argc < 2)
		return err_say(err, -EINVAL, "hold ID NETNS");
	netns = open(argv[1], O_RDONLY | O_CLOEXEC);
	r = netns < 0 ? err_set(err, -errno, "%s", argv[1])
		      : net_prefix_parse(&pool, argc > 2 ? argv[2] : NET_POOL4,
					 err);
	if (r < 0)
		return r;
	do {
		if (r == -EEXIST)
			net_lease_drop(&l);
		r = net_lease_take(&l, state, from, NET_LEASE_MAX, argv[0],
				   NULL, err);
		from = l.number + 1;
		if (r == 0)
			r = net_plan_make(&plan, &h, l.number, &pool, err);
		if (r == 0)
			r = net_lease_note(&l, &plan.up4);
		if (r == 0)
			r = make_link(&l, &plan, argv[0], netns, err);
	} while (r == -EEXIST);
	if (r == 0)
		r = net_host_apply(state, &want, err);
	if (r == 0) {
		printf("%u\n", l.number);
		fflush(stdout);
		r = read(STDIN_FILENO, &byte, 1) < 0 ? -errno : 0;
	}
	net_lease_drop(&l);
	return r;
}

static int look(const char *of, struct err *err)
{
	struct net_host h;
	struct net_host_notes n;
	static struct net_rules rules;
	static struct net_taken taken;
	struct net_prefix pool;
	char text[NET_PREFIX_MAX];
	int r = net_prefix_parse(&pool, of ? of : NET_POOL4, err);

	if (r == 0) {
		net_taken_init(&taken, &pool);
		r = net_host_look(&h, &rules, &taken, &n, err);
	}
	if (r < 0)
		return r;
	printf("taken %u\n", taken.n);
	printf("mtu %u\nipv6 %s\ndefault %d %d\n", h.mtu,
	       n.no_v6 ? n.no_v6 : "yes", n.has_default4, n.has_default6);
	for (unsigned i = 0; i < rules.nown; i++)
		printf("own %s\n", net_prefix_format(&rules.own[i], text));
	for (unsigned i = 0; i < n.nresolvers; i++)
		printf("resolver %s\n",
		       net_addr_format(&n.resolver[i].addr, text));
	return 0;
}

int main(int argc, char **argv)
{
	const char *dir = getenv("MAYFLY_STATE_DIR");
	int state = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	const char *what = argc > 1 ? argv[1] : "";
	struct err err = { 0 };
	int r = -EINVAL;

	if (state < 0)
		err_say(&err, r, "MAYFLY_STATE_DIR: no directory");
	else if (!strcmp(what, "apply"))
		r = apply(state, argc > 2, &err);
	else if (!strcmp(what, "hold"))
		r = hold(state, argc - 2, argv + 2, &err);
	else if (!strcmp(what, "look"))
		r = look(argc > 2 ? argv[2] : NULL, &err);
	else
		err_say(&err, r, "apply, hold or look");
	if (r < 0)
		err_print(&err);
	return r < 0;
}
