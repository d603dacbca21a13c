/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish: ports of the host that are ports of the guest (-p).
 *
 * The launcher listens, and carries each connection over the run's own vsock
 * socket to the agent, which dials the port in the guest (WIRE_DIAL): so a
 * server on the guest's loopback is reached, and no rule of a firewall, no
 * network of the guest's and no root is needed. To the host's own firewall it
 * is a server like any other, which is why a port without an address is one of
 * all addresses, as users of Docker expect: unlike Docker's, which are rules
 * ahead of those for input, it is closed to others wherever ufw and the like
 * close what was not opened.
 *
 *	publish_open()	 the ports are ours, or somebody else is named: before
 *			 anything of the VM is made
 *	publish_record() what they are becomes a part of the run's record
 *	publish_start()	 the command runs: clients are let in
 *	publish_stop()	 all connections end; the ports stay ours
 *	publish_close()
 *
 * Clients that come before publish_start() wait in the kernel's queue; so do
 * those for whom there is no connection left (WIRE_DIALS_MAX). A client that
 * the guest refuses is reset at once. Memory is mapped once, for that many, and
 * touched only where one end takes less than the other gives.
 *
 * UDP: what one address of a client sends is one stream, until it was idle for
 * a minute; the one that is idle for longest makes room for a new one.
 *
 * One thread, the loop's; all functions take NULL.
 */
#ifndef MAYFLY_PUBLISH_H
#define MAYFLY_PUBLISH_H

#include "runner/base/ev.h"
#include "runner/config.h"

struct err;
struct json_t;
struct publish;
struct state;

/* *@out is NULL where there is nothing to publish. */
int publish_open(struct publish **out, const struct config_publishes *c,
		 struct err *err);
/* What they are, a list that is the caller's; NULL without memory. */
struct json_t *publish_ports(const struct publish *p);
int publish_record(const struct publish *p, struct state *s, struct err *err);
/* @s and @loop stay until publish_stop(). */
int publish_start(struct publish *p, struct ev_loop *loop, struct state *s);
void publish_stop(struct publish *p);
void publish_close(struct publish **p);

#endif
