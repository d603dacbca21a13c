/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep-run PROGRAM LEASE [USER]: a launcher that does nothing but make the
 * network of lease LEASE, by PROGRAM, a mayfly-net. Says "ready" when it stands,
 * and takes it down at the end of its input. As root, in a network namespace
 * that is to be the host, with the keeper as user USER.
 *
 * Exit code 1, and why on stderr, where it did not come to stand.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/keep.h"
#include "net/nl.h"
#include "net/plan.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/mem.h"

#define USER	2000000000
#define WAIT_MS 60000

static int lead_out(const struct keep *k, const struct net_plan *p,
		    struct err *err)
{
	const struct rt_link here = { .name = p->link, .up = 1, .mtu = p->mtu,
				      .alias = NET_ALIAS "keep-run" };
	const struct rt_link there = { .name = NET_UPLINK, .mtu = p->mtu };
	const struct net_prefix addr = { p->host4, 31 };
	struct rt *rt;
	int r = rt_open(&rt, err);

	if (r < 0)
		return r;
	r = rt_veth_add(rt, &here, &there, k->netns, err);
	if (r == 0)
		r = rt_link_index(rt, p->link);
	if (r > 0)
		r = rt_addr_add(rt, (unsigned)r, &addr, err);
	rt_close(rt);
	fault_point("launcher", "veth");
	return r;
}

static int await(struct keep *k, int type, struct keep_fds *fds,
		 struct err *err)
{
	int r = keep_recv(k, fds, WAIT_MS, err);

	if (r == type || r < 0)
		return r;
	return err_say(err, -1, "word %d and not %d", r, type);
}

static int run(struct keep *k, const struct keep_params *p, unsigned lease,
	       struct keep_fds *fds, struct err *err)
{
	static const struct net_host host = { .has_v6 = 1 };
	static struct net_rules rules;
	struct net_plan plan;
	int r = net_plan_make(&plan, &host, lease, NULL, err);

	if (r == 0)
		r = net_rules_own(&rules, &plan.pool, err);
	if (r == 0)
		r = keep_start(k, p, err);
	if (r == 0)
		r = keep_setup(k, &plan, &rules, -1, err);
	if (r == 0)
		r = lead_out(k, &plan, err);
	if (r == 0)
		r = keep_uplink(k, 0, err);
	if (r == 0)
		r = await(k, KEEP_TAP, fds, err);
	fault_point("launcher", "tap");
	if (r >= 0)
		r = await(k, KEEP_READY, fds, err);
	fault_point("launcher", "ready");
	return r;
}

int main(int argc, char **argv)
{
	struct keep_fds fds = { -1, -1, -1, -1, -1 };
	struct keep_params p = { .host_id = USER };
	struct err err = { 0 };
	struct keep k;
	char c;
	int r;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: keep-run PROGRAM LEASE [USER]\n");
		return 2;
	}
	keep_init(&k);
	p.program_fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (argc == 4)
		p.host_id = (uint32_t)strtoul(argv[3], NULL, 10);
	r = run(&k, &p, (unsigned)atoi(argv[2]), &fds, &err);
	if (r < 0) {
		err_print(&err);
	} else {
		printf("ready\n");
		fflush(stdout);
		while (read(STDIN_FILENO, &c, 1) > 0)
			;
	}
	keep_fds_close(&fds);
	keep_end(&k);
	return r < 0;
}
