/* SPDX-License-Identifier: Apache-2.0 */
/* The network of a run, of all its parts. */
#include "runner/network_impl.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jail/layers.h"
#include "net/flows.h"
#include "net/tap.h"
#include "runner/artifact.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/drive.h"
#include "runner/machine.h"

/*
 * The order of a start. L is the launcher, K the keeper, F the forwarder.
 *
 *   1. L looks at the host, clones K, takes a lease, and sees to it that what
 *	all VMs share is there; K executes meanwhile.
 *   2. L makes the veth pair, or starts pasta, and sends K its plan.
 *   3. K makes the tap, which L waits for, the addresses and the fence, which
 *	it does not: L opens the run's files and starts mayfly-vmm.
 *   4. In the loop: pasta says that up0 is there, and K hears of it; K says
 *	that the fence stands. Then, and not before, L sends CTL_GO
 *	(machine_fenced()): no instruction of the guest runs without its fence.
 *   5. L starts F, which locks itself in and says so, long before the guest
 *	has anything to ask.
 */

static_assert(CONFIG_DNS_MAX == FORWARD_UPSTREAMS, "all that may be named");
static_assert(NET_RESOLVERS_MAX == FORWARD_UPSTREAMS, "all that there are");

/* --- the keeper ----------------------------------------------------------- */

/*
 * Root's keeper is the user of our own process number, in the range of which
 * mayfly-vmm has that of its own: no two living processes have one number. As
 * with that, root of a user namespace that lacks the range goes without.
 */
static int start_keeper(struct network *n, struct err *err)
{
	const struct jail_ids *ids = &n->c->uid_range;
	struct keep_params p = {
		.program_fd = n->program,
		.host_id = geteuid() ? KEEP_SELF :
				       ids->first +
					       (uint32_t)getpid() % ids->count,
	};
	int r = keep_start(&n->keep, &p, err);

	if (r != -EPERM || p.host_id == KEEP_SELF || n->c->strict)
		return r;
	log_info("network: %s: the keeper is our own user", err->msg);
	*err = (struct err){ 0 };
	p.host_id = KEEP_SELF;
	return keep_start(&n->keep, &p, err);
}

static int setup_keeper(struct network *n, struct err *err)
{
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, n->learn) < 0)
		return err_set(err, -errno, "socket of the DNS forwarder");
	r = keep_setup(&n->keep, &n->plan, &n->rules, n->learn[1], err);
	/* Of the keeper's end there is one, whose closing means something. */
	close_fd(&n->learn[1]);
	return r;
}

/* --- --net=tap=NAME -------------------------------------------------------- */

static int take_tap(struct network *n, struct err *err)
{
	const char *name = n->c->net.tap;
	int r;

	if (!if_nametoindex(name)) {
		r = err_say(err, -ENODEV, "%s: there is no such interface",
			    name);
		err_hint(err, "sudo ip tuntap add dev %s mode tap user $USER "
			      "vnet_hdr", name);
		return r;
	}
	n->fds.tap = tap_open(err);
	r = n->fds.tap < 0 ? n->fds.tap :
			     tap_attach(n->fds.tap, name, err);
	snprintf(n->facts->link, sizeof(n->facts->link), "%s", name);
	n->facts->mtu = n->c->net.mtu;
	n->facts->kind = "tap";
	return r;
}

/* --- what the agent makes of it --------------------------------------------- */

static void wire_dns(struct wire_net *w, const struct net_addr *a)
{
	struct wire_net_dns *d = &w->dns[w->ndns++];

	d->family = a->family;
	memcpy(d->addr, a->b, sizeof(d->addr));
}

static void make_wire(struct network *n)
{
	const struct net_plan *plan = &n->plan;
	struct wire_net *w = &n->wire;

	w->mtu = n->facts->mtu;
	w->flags = n->c->net.publish.n ? WIRE_NET_DIAL : 0;
	if (n->c->net.tap) {
		for (unsigned i = 0; i < n->c->net.ndns; i++)
			wire_dns(w, &n->c->net.dns[i]);
		return;
	}
	w->flags |= WIRE_NET_V4;
	memcpy(w->v4, plan->guest4.b, sizeof(w->v4));
	memcpy(w->v4_gateway, plan->gate4.addr.b, sizeof(w->v4_gateway));
	w->v4_len = plan->gate4.len;
	wire_dns(w, &plan->gate4.addr);
	if (!plan->has_v6)
		return;
	w->flags |= WIRE_NET_V6;
	memcpy(w->v6, plan->guest6.b, sizeof(w->v6));
	memcpy(w->v6_gateway, plan->gate6.addr.b, sizeof(w->v6_gateway));
	w->v6_len = plan->gate6.len;
	wire_dns(w, &plan->gate6.addr);
}

const struct wire_net *network_wire(const struct network *n)
{
	return n ? &n->wire : NULL;
}

/* --- in order --------------------------------------------------------------- */

static void init(struct network *n, const struct config *c,
		 struct network_facts *facts)
{
	n->c = c;
	n->facts = facts;
	n->program = -1;
	n->lease = (struct net_lease)NET_LEASE_NONE;
	network_guard_init(&n->guard);
	n->learn[0] = n->learn[1] = -1;
	n->fds = (struct keep_fds){ -1, -1, -1, -1, -1 };
	keep_init(&n->keep);
	pasta_init(&n->pasta);
	forwarder_init(&n->forwarder);
	*facts = (struct network_facts){ .begin_ns = io_now_ns() };
}

static int begin(struct network *n, struct state *state, struct err *err)
{
	struct artifacts a;
	int r = artifacts_find(&a, err);

	if (r == 0)
		r = n->program = artifact_open(&a, ARTIFACT_NET, err);
	if (r >= 0)
		r = network_look(n, err);
	if (r == 0)
		r = start_keeper(n, err);
	if (r < 0)
		return r;
	fault_point("launcher", "keeper");
	r = network_lead_out(n, state, err);
	if (r == 0)
		r = setup_keeper(n, err);
	if (r == 0 && !geteuid())
		r = keep_uplink(&n->keep, 0, err);
	fault_point("launcher", "uplink");
	return r;
}

int network_open(struct network **out, const struct config *c,
		 struct state *state, struct network_facts *facts,
		 struct err *err)
{
	struct network *n;
	char mtu[24] = "";
	int r;

	*out = NULL;
	if (!c->net.on)
		return 0;
	n = calloc(1, sizeof(*n));
	if (!n)
		return err_set(err, -ENOMEM, "network");
	*out = n;
	init(n, c, facts);
	r = c->net.tap ? take_tap(n, err) : begin(n, state, err);
	if (r < 0)
		return err_wrap(err, "network");
	make_wire(n);
	if (facts->mtu)
		snprintf(mtu, sizeof(mtu), ", MTU %u", facts->mtu);
	log_info("network: %s%s%s%s", facts->kind,
		 *facts->link ? " by " : "", facts->link, mtu);
	if (*facts->no_v6)
		log_info("network: no IPv6: %s", facts->no_v6);
	return 0;
}

/* The keeper's word may be that it has failed, or be yet to come: it has as
 * long as the guest has to boot. */
static int await_tap(struct network *n, struct err *err)
{
	uint64_t ms = n->c->boot_timeout_ns / 1000000 + 1;
	int r = keep_recv(&n->keep, &n->fds, (int)MIN(ms, (uint64_t)INT_MAX),
			  err);

	if (r == 0)
		r = err_say(err, -ETIMEDOUT, "no tap was made within the "
			    "--boot-timeout of %g s",
			    (double)n->c->boot_timeout_ns / 1e9);
	else if (r > 0 && r != KEEP_TAP)
		r = err_say(err, -EPROTO, "the keeper began with word %d", r);
	return r < 0 ? r : 0;
}

/* Others may be on the link: a number that they have hardly got. Locally
 * administered, of one station: IEEE 802, 8.2. */
static int some_mac(uint8_t mac[6], struct err *err)
{
	if (getrandom(mac, 6, 0) != 6)
		return err_set(err, -errno, "a MAC address");
	mac[0] = (uint8_t)((mac[0] & ~1u) | 2);
	return 0;
}

int network_give(struct network *n, struct machine *m, struct err *err)
{
	struct ctl_rate rate[2];
	uint8_t mac[6];
	int r;

	if (!n)
		return 0;
	if (n->c->net.tap) {
		r = some_mac(mac, err);
	} else {
		r = await_tap(n, err);
		memcpy(mac, n->plan.guest_mac, sizeof(mac));
		m->unfenced = 1;
	}
	if (r < 0)
		return err_wrap(err, "network");
	drive_rates(&n->c->net.rates, rate);
	machine_net(m, steal_fd(&n->fds.tap), n->facts->mtu, mac, rate);
	return 0;
}

static int connect_upstreams(const struct network *n,
			     struct forward_params *p, struct err *err)
{
	const struct config_net *c = &n->c->net;
	const struct net_host_notes *notes = &n->notes;
	struct forward_resolver r[FORWARD_UPSTREAMS] = { { .port = 0 } };
	unsigned k = c->ndns ? c->ndns : notes->nresolvers;
	int ret;

	for (unsigned i = 0; i < k; i++) {
		r[i].addr = c->ndns ? c->dns[i] : notes->resolver[i].addr;
		r[i].scope = c->ndns ? 0 : notes->resolver[i].scope;
	}
	/* resolv.conf(5): without any it is this host. */
	if (!k)
		r[k++].addr = net_addr4(127, 0, 0, 1);
	ret = forward_upstreams(p, r, k, err);
	if (ret != -ENETUNREACH && ret != -EHOSTUNREACH &&
	    ret != -EADDRNOTAVAIL && ret != -EINVAL && ret != -EACCES)
		return ret;
	/* A host without a network may run what does not need one; and one with
	 * a resolver that is none: fe80::1 without its link, 255.255.255.255. */
	log_info("network: no DNS: %s", err->msg);
	*err = (struct err){ 0 };
	return 0;
}

/* --- while the guest runs ----------------------------------------------------- */

static void unwatch(struct network *n)
{
	ev_del(&n->on_keep);
	ev_del(&n->on_pasta);
	ev_del(&n->on_pasta_end);
	forwarder_unwatch(&n->forwarder);
	network_guard_unwatch(&n->guard);
}

void network_fail(struct network *n, struct err *err)
{
	unwatch(n);
	err_wrap(err, "network");
	n->ops->failed(n->opaque, err);
}

static int watch(struct network *n, struct ev *ev, int fd, ev_fn fn)
{
	*ev = (struct ev){ .fd = fd, .fn = fn };
	return fd < 0 ? 0 : ev_set(n->loop, ev, EPOLLIN);
}

static void on_forwarder(void *opaque, struct err *err)
{
	struct network *n = opaque;

	if (err) {
		network_fail(n, err);
		return;
	}
	n->facts->ready_ns = io_now_ns();
	if (n->c->strict)
		n->ops->ready(n->opaque);
}

static int start_forwarder(struct network *n, struct err *err)
{
	struct forward_params p;
	const struct forwarder_params fp = {
		.program_fd = n->program,
		.config = n->c,
		.forward = &p,
		.loop = n->loop,
		.heard = on_forwarder,
		.opaque = n,
	};
	int r;

	forward_params_init(&p);
	p.rules = n->rules;
	r = connect_upstreams(n, &p, err);
	p.keeper = steal_fd(&n->learn[0]);
	p.udp[0] = steal_fd(&n->fds.udp4);
	p.tcp[0] = steal_fd(&n->fds.tcp4);
	p.udp[1] = steal_fd(&n->fds.udp6);
	p.tcp[1] = steal_fd(&n->fds.tcp6);
	if (r == 0)
		r = forwarder_start(&n->forwarder, &fp, err);
	forward_params_close(&p);
	return r;
}

/* For --strict. Root's keeper is nobody on the host without a user namespace as
 * well, but has CAP_NET_ADMIN over it then. */
static int judge_keeper(const struct network *n, struct err *err)
{
	struct jail_report report = { .on = 0 };
	int r;

	if (n->keep.userns < 0)
		jail_report_missing(&report, JAIL_NAMESPACES,
				    "sudo sysctl user.max_user_namespaces=15000; "
				    "in a container: --security-opt "
				    "seccomp=unconfined",
				    "no user namespace of its own");
	jail_report_program(&report, n->keep.layers);
	r = jail_report_strict(&report, err);
	return r < 0 ? err_wrap(err, "the keeper") : 0;
}

/* What a guest asks before the forwarder serves, it asks again. But for --strict
 * its jail has to be known first. */
static void fenced(struct network *n)
{
	struct err err = { 0 };
	int r;

	n->fenced = 1;
	n->facts->fenced_ns = MAX(n->keep.ready_ns, n->facts->begin_ns);
	log_info("network: ready after %.1f ms",
		 (double)(n->facts->fenced_ns - n->facts->begin_ns) / 1e6);
	r = n->c->strict ? judge_keeper(n, &err) : 0;
	if (r == 0)
		r = network_guard_fenced(n, &err);
	if (r == 0 && !n->c->strict)
		n->ops->ready(n->opaque);
	if (r == 0)
		r = start_forwarder(n, &err);
	if (r < 0)
		network_fail(n, &err);
}

static void on_keep(struct ev *ev, uint32_t events)
{
	struct network *n = container_of(ev, struct network, on_keep);
	struct err err = { 0 };
	int r = keep_recv(&n->keep, &n->fds, 0, &err);

	(void)events;
	if (r == KEEP_READY && !n->fenced) {
		fenced(n);
		return;
	}
	if (r > 0)
		err_say(&err, -EPROTO, "the keeper said word %d too many", r);
	if (r)
		network_fail(n, &err);
}

static void on_pasta(struct ev *ev, uint32_t events)
{
	struct network *n = container_of(ev, struct network, on_pasta);
	struct err err = { 0 };
	int r;

	(void)events;
	ev_del(&n->on_pasta);
	r = pasta_wait(&n->pasta, 0, &err);
	if (r == 0)
		r = keep_uplink(&n->keep, 1, &err);
	if (r < 0)
		network_fail(n, &err);
}

static void on_pasta_end(struct ev *ev, uint32_t events)
{
	struct network *n = container_of(ev, struct network, on_pasta_end);
	struct err err = { 0 };

	(void)events;
	/* Its first word may be why. */
	if (n->on_pasta.events) {
		on_pasta(&n->on_pasta, EPOLLIN);
		return;
	}
	pasta_ended(&n->pasta, &err);
	network_fail(n, &err);
}

int network_watch(struct network *n, struct ev_loop *loop,
		  const struct network_ops *ops, void *opaque,
		  struct err *err)
{
	int r;

	if (!n || n->c->net.tap)
		return 0;
	n->loop = loop;
	n->ops = ops;
	n->opaque = opaque;
	r = watch(n, &n->on_keep, n->keep.control, on_keep);
	if (r == 0)
		r = watch(n, &n->on_pasta, n->pasta.ready, on_pasta);
	if (r == 0)
		r = watch(n, &n->on_pasta_end, n->pasta.pidfd, on_pasta_end);
	if (r == 0)
		r = network_guard_watch(n);
	return r < 0 ? err_set(err, r, "watch the network") : 0;
}

void network_unwatch(struct network *n)
{
	if (n)
		unwatch(n);
}

/* Before somebody else has the lease. Without root they are pasta's sockets;
 * without a plan there were none. */
static void forget_flows(const struct network *n)
{
	int r;

	if (geteuid() || !n->plan.link[0])
		return;
	r = net_flows_forget(&n->plan.up4);
	if (r >= 0 && n->plan.has_v6)
		r = net_flows_forget(&n->plan.up6);
	if (r < 0)
		log_info("network: the host keeps the guest's flows until "
			 "they time out: %s", strerror(-r));
}

void network_close(struct network **out)
{
	struct network *n = *out;

	if (!n)
		return;
	*out = NULL;
	unwatch(n);
	forwarder_stop(&n->forwarder);
	pasta_stop(&n->pasta);
	keep_stop(&n->keep);
	keep_fds_close(&n->fds);
	forget_flows(n);
	net_lease_drop(&n->lease);
	network_guard_close(&n->guard);
	close_fd(&n->learn[0]);
	close_fd(&n->learn[1]);
	close_fd(&n->program);
	free(n);
}
