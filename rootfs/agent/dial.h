/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial: ports of the guest, for the host.
 *
 * One process for all streams that begin with WIRE_DIAL (rootfs/wire.h): a
 * child of PID 1 that owns the listener, made before any program of the guest
 * runs. It dies with the run's command, as all else in the guest.
 *
 * Where a server listens is not known: on loopback as like as on eth0, by IPv4
 * or IPv6. So each dial tries 127.0.0.1, ::1 and eth0's addresses in turn. One
 * that refuses costs nothing, for all of them are here.
 *
 * Memory is mapped at the start, and touched only where one side takes less
 * than the other gives.
 */
#ifndef MAYFLY_AGENT_DIAL_H
#define MAYFLY_AGENT_DIAL_H

#include <sys/types.h>

#include "rootfs/wire.h"

/* The listener at WIRE_DIAL_PORT, or -errno. */
int dial_listen(void);
/* Serve @listener, which is non-blocking, until it breaks: -errno. */
int dial_serve(int listener, const struct wire_net *net);

#endif
