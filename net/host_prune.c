/* SPDX-License-Identifier: Apache-2.0 */
/* What runs have left on the host, and all that they share, out again. */
#include "net/host.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "net/flows.h"
#include "net/host_impl.h"
#include "net/lease.h"
#include "net/nl.h"
#include "net/plan.h"
#include "net/ruleset.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/mem.h"

#define LINKS_MAX  256 /* removed at one go; the others at the next */
#define ROUNDS	   64
#define WORDS_SIZE (HOST_CHAIN_MAX + 64)

struct pruning {
	int state;
	net_host_told_fn told;
	void *opaque;
	struct err *err;
	int code; /* the first failure */
	int kept; /* links of ours that are not to be removed */
};

static void fail(struct pruning *p, int r, const struct err *why)
{
	if (r < 0 && p->code == 0) {
		p->code = r;
		if (p->err)
			*p->err = *why;
	}
}

static void tell(struct pruning *p, enum net_host_done done, const char *fmt,
		 ...) __attribute__((format(printf, 3, 4)));

static void tell(struct pruning *p, enum net_host_done done, const char *fmt,
		 ...)
{
	char what[WORDS_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	p->told(done, what, p->opaque);
}

/* --- flows --------------------------------------------------------------- */

struct source {
	const struct net_addr *addr;
	int taken;
};

static int look_at(const struct rt_seen_addr *a, void *opaque)
{
	struct source *s = opaque;

	s->taken |= a->on_link.len && net_prefix_has(&a->on_link, s->addr);
	return 0;
}

/* Those of one address, unless somebody has it again: a run of another directory,
 * which knows nothing of our numbers. How many there were, or -errno. */
static int forget(struct rt *rt, const struct net_addr *source)
{
	struct source s = { .addr = source };
	int r = rt_addr_each(rt, look_at, &s);

	return r < 0 || s.taken ? r : net_flows_forget(source);
}

/* With the number in our hands: of a run that was killed nobody has done it. */
static void forget_flows(struct pruning *p, const struct net_lease *l)
{
	const struct net_addr six = net_plan_up6(l->number);
	struct net_lease_info i;
	struct err err = { 0 };
	struct rt *rt = NULL;
	int four = 0, r;

	net_lease_read(l, &i);
	if (geteuid() || !i.addr.family)
		return;
	r = rt_open(&rt, &err);
	if (r == 0)
		r = four = forget(rt, &i.addr);
	if (r >= 0)
		r = forget(rt, &six);
	rt_close(rt);
	if (r < 0)
		fail(p, err_set(&err, r, "flows of run %s", i.id), &err);
	else if (four + r)
		tell(p, NET_HOST_REMOVED, "%d flows of run %s", four + r, i.id);
}

/* --- links --------------------------------------------------------------- */

struct seen {
	struct rt_seen_link v[LINKS_MAX];
	unsigned n;
};

static int collect(const struct rt_seen_link *l, void *opaque)
{
	struct seen *s = opaque;

	if (s->n < LINKS_MAX &&
	    !strncmp(l->name, NET_HOST_LINK, sizeof(NET_HOST_LINK) - 1))
		s->v[s->n++] = *l;
	return 0;
}

static int number_of(const char *name, unsigned *number)
{
	char again[IF_NAMESIZE];

	if (sscanf(name, NET_HOST_LINK "%9u", number) != 1)
		return -EINVAL;
	snprintf(again, sizeof(again), NET_HOST_LINK "%u", *number);
	return strcmp(again, name) || *number >= NET_LEASE_MAX ? -EINVAL : 0;
}

/* With the number in our hands nobody makes a link of that name. */
static void prune_link(struct pruning *p, struct rt *rt,
		       const struct rt_seen_link *link)
{
	struct net_lease l = NET_LEASE_NONE;
	struct err err = { 0 };
	unsigned number;
	int r = number_of(link->name, &number);

	if (r == 0)
		r = net_lease_seize(&l, p->state, number);
	if (r < 0) {
		p->kept++;
		if (r != -EBUSY)
			tell(p, NET_HOST_KEPT, "link %s, which is not ours",
			     link->name);
		return;
	}
	if (net_lease_has_alias(&l, link->alias)) {
		r = rt_link_del(rt, link->name, &err);
		if (r == 0)
			tell(p, NET_HOST_REMOVED, "link %s", link->name);
		else if (r != -ENODEV)
			fail(p, r, &err);
		forget_flows(p, &l);
	} else {
		p->kept++;
		tell(p, NET_HOST_KEPT, "link %s, of another directory of runs",
		     link->name);
	}
	net_lease_drop(&l);
}

static void prune_links(struct pruning *p)
{
	_cleanup_free_ struct seen *s = calloc(1, sizeof(*s));
	struct rt *rt = NULL;
	struct err err = { 0 };
	int r = s ? rt_open(&rt, &err) : -ENOMEM;

	if (r == 0) {
		r = rt_link_each(rt, collect, s);
		if (r < 0)
			err_set(&err, r, "links of the host");
	}
	for (unsigned i = 0; r == 0 && i < s->n; i++)
		prune_link(p, rt, &s->v[i]);
	/* What could not be looked at may be in use. */
	p->kept += r < 0;
	fail(p, r, &err);
	rt_close(rt);
}

/* --- files of leases ------------------------------------------------------ */

static int prune_lease(const struct net_lease_info *i, void *opaque)
{
	struct pruning *p = opaque;
	struct net_lease l;

	if (i->held || net_lease_seize(&l, p->state, i->number) < 0)
		return 0;
	forget_flows(p, &l);
	net_lease_drop(&l);
	tell(p, NET_HOST_REMOVED, "lease %u of run %s", i->number,
	     *i->id ? i->id : "?");
	return 0;
}

static void prune_leases(struct pruning *p)
{
	struct err err = { 0 };
	int r = net_lease_each(p->state, prune_lease, p);

	if (r < 0)
		fail(p, err_set(&err, r, "leases of networks"), &err);
}

/* --- what is shared -------------------------------------------------------- */

static void put_back(struct pruning *p, const struct host_memory *m,
		     const struct ruleset *rs, int family)
{
	const int was_off = family == 6 ? m->shared.router6.was_off
					: m->shared.router4.was_off;
	struct err err = { 0 };
	int r;

	if (!was_off || !forward_is_on(family))
		return;
	if (host_is_shared(m, rs)) {
		tell(p, NET_HOST_KEPT, "%s = 1, which rules of others may need "
		     "that have come since", forward_name(family));
		return;
	}
	r = forward_put_back(m, family, &err);
	fail(p, r, &err);
	if (r == 0)
		tell(p, NET_HOST_RESTORED, "%s = 0", forward_name(family));
}

static void delete_legacy(struct pruning *p)
{
	static const char *const name[] = { "iptables", "ip6tables" };
	struct legacy l[2];
	struct err err = { 0 };

	if (host_read_legacy(l, &err) < 0) {
		fail(p, err.code, &err);
		return;
	}
	for (int i = 0; i < 2; i++) {
		int r;

		if (!l[i].from && !l[i].to)
			continue;
		r = legacy_delete(&l[i], i ? 6 : 4, &err);
		fail(p, r, &err);
		if (r == 0)
			tell(p, NET_HOST_REMOVED, "rules in %s-legacy FORWARD",
			     name[i]);
	}
}

static void delete_rules(struct pruning *p, const struct ruleset *rs)
{
	struct err err = { 0 };
	int r = ruleset_delete(rs, &err);

	fail(p, r, &err);
	if (r < 0)
		return;
	for (unsigned i = 0; i < rs->n; i++) {
		const struct ruleset_chain *c = &rs->chain[i];

		if (c->ntags && !c->owned)
			tell(p, NET_HOST_REMOVED, "rules in %s %s %s",
			     ruleset_family(c->family), c->table, c->name);
	}
	if (rs->has_table)
		tell(p, NET_HOST_REMOVED, "table inet " NET_TABLE);
}

/* More rules with our tag than one look has room for go at the next. */
static int has_more(const struct ruleset *rs)
{
	for (unsigned i = 0; i < rs->n; i++)
		if (rs->chain[i].ntags == RULESET_TAGS_MAX &&
		    !rs->chain[i].owned)
			return 1;
	return 0;
}

/* Forwarding first, while the fence stands; what was, last of all. */
static void prune_shared(struct pruning *p)
{
	struct host_memory m;
	struct ruleset rs;
	struct err err = { 0 };
	int r = host_memory_read(p->state, &m, &err);

	if (r == 0)
		r = ruleset_read(&rs, &err);
	if (r < 0) {
		fail(p, r, &err);
		return;
	}
	put_back(p, &m, &rs, 6);
	put_back(p, &m, &rs, 4);
	fault_point("prune", "forward");
	delete_legacy(p);
	fault_point("prune", "legacy");
	delete_rules(p, &rs);
	for (int i = 0; i < ROUNDS && p->code == 0 && has_more(&rs); i++) {
		r = ruleset_read(&rs, &err);
		if (r == 0)
			r = ruleset_delete(&rs, &err);
		fail(p, r, &err);
	}
	fault_point("prune", "rules");
	if (p->code == 0)
		fail(p, host_memory_remove(p->state, &err), &err);
}

int net_host_prune(int state, net_host_told_fn told, void *opaque,
		   struct err *err)
{
	struct pruning p = { state, told, opaque, err, 0, 0 };
	_cleanup_fd_ int lock = host_memory_lock(state, LOCK_EX, 0, err);
	int n;

	if (lock < 0)
		return lock == -ENOENT ? 0 : lock;
	if (geteuid() == 0)
		prune_links(&p);
	prune_leases(&p);
	n = net_lease_count(state);
	if (n < 0) {
		struct err why = { 0 };

		fail(&p, err_set(&why, n, "leases of networks"), &why);
	}
	if (geteuid() == 0 && n > 0)
		tell(&p, NET_HOST_KEPT, "what is shared: %d of the runs %s "
		     "a network", n, n == 1 ? "has" : "have");
	if (geteuid() == 0 && n == 0 && !p.kept)
		prune_shared(&p);
	return p.code;
}
