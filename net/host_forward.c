/* SPDX-License-Identifier: Apache-2.0 */
/* The host's switches of forwarding: on, and back as they were. */
#include "net/host_impl.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "net/nl.h"
#include "runner/base/err.h"
#include "runner/base/sysctl.h"

#define PATH_SIZE 128
#define REDIRECTS "net/ipv4/conf/all/accept_redirects"

struct family {
	const char *name, *all;
	int version;
};
static const struct family families[] = {
	{ "net.ipv4.ip_forward", "net/ipv4/ip_forward", 4 },
	{ "net.ipv6.conf.all.forwarding", "net/ipv6/conf/all/forwarding", 6 },
};

static const struct family *get(int family)
{
	return &families[family == 6];
}

const char *forward_name(int family)
{
	return get(family)->name;
}

static int write_switch(const char *path, int on, struct err *err)
{
	int r = sysctl_write(on ? "1" : "0", "%s", path);

	return r < 0 ? err_set(err, r, "write %d to /proc/sys/%s", on, path) : 0;
}

int forward_is_on(int family)
{
	return sysctl_number("%s", get(family)->all) == 1;
}

/* --- what is about to be changed ----------------------------------------- */

struct noting {
	const struct family *f;
	struct net_router *router;
	struct host_links *open;
};

static void link_path(char path[PATH_SIZE], const struct family *f,
		      const char *link)
{
	snprintf(path, PATH_SIZE, "net/ipv%d/conf/%s/forwarding", f->version,
		 link);
}

static int note_link(const struct rt_seen_link *l, void *opaque)
{
	struct noting *n = opaque;
	char path[PATH_SIZE];

	if (!strncmp(l->name, NET_HOST_LINK, sizeof(NET_HOST_LINK) - 1))
		return 0;
	link_path(path, n->f, l->name);
	if (sysctl_number("%s", path) == 1) {
		if (n->open->n < NET_CLOSED_MAX)
			n->open->index[n->open->n++] = l->index;
	} else if (n->router->nclosed < NET_CLOSED_MAX) {
		n->router->closed[n->router->nclosed++] = l->index;
	} else {
		n->router->all_closed = 1;
	}
	return 0;
}

int forward_note(struct host_memory *m, int family, struct err *err)
{
	struct noting n = {
		get(family),
		family == 6 ? &m->shared.router6 : &m->shared.router4,
		family == 6 ? &m->open6 : &m->open4,
	};
	struct rt *rt;
	int r;

	if (forward_is_on(family))
		return 0;
	r = rt_open(&rt, err);
	if (r < 0)
		return r;
	*n.router = (struct net_router){ .was_off = 1 };
	n.open->n = 0;
	r = rt_link_each(rt, note_link, &n);
	rt_close(rt);
	if (r < 0)
		return err_set(err, r, "links of the host");
	if (family == 4)
		m->accept_redirects =
			sysctl_number(REDIRECTS) == 1;
	return 0;
}

int forward_turn_on(int family, struct err *err)
{
	return forward_is_on(family) ? 0
				     : write_switch(get(family)->all, 1, err);
}

int forward_put_back(const struct host_memory *m, int family, struct err *err)
{
	const struct host_links *open = family == 6 ? &m->open6 : &m->open4;
	int r = write_switch(get(family)->all, 0, err);

	if (r == 0 && family == 4)
		r = write_switch(REDIRECTS, m->accept_redirects, err);
	for (unsigned i = 0; r == 0 && i < open->n; i++) {
		char path[PATH_SIZE], name[IF_NAMESIZE];

		if (!if_indextoname(open->index[i], name))
			continue;
		link_path(path, get(family), name);
		r = write_switch(path, 1, err);
	}
	return r;
}

/* --- who else forwards --------------------------------------------------- */

static void chain_name(const struct ruleset_chain *c, char name[HOST_CHAIN_MAX])
{
	snprintf(name, HOST_CHAIN_MAX, "%s %s %s", ruleset_family(c->family),
		 c->table, c->name);
}

void host_note_chains(struct host_memory *m, const struct ruleset *rs)
{
	m->nchains = rs->n;
	for (unsigned i = 0; i < rs->n; i++) {
		chain_name(&rs->chain[i], m->chain[i].name);
		m->chain[i].targets = rs->chain[i].targets;
	}
}

static int is_known(const struct host_memory *m, const struct ruleset_chain *c)
{
	char name[HOST_CHAIN_MAX];

	chain_name(c, name);
	for (unsigned i = 0; i < m->nchains; i++)
		if (!strcmp(m->chain[i].name, name))
			return m->chain[i].targets == c->targets;
	return 0;
}

int host_is_shared(const struct host_memory *m, const struct ruleset *rs)
{
	for (unsigned i = 0; i < rs->n; i++)
		if (!is_known(m, &rs->chain[i]))
			return 1;
	return 0;
}
