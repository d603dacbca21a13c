/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap: the file whose other side is a network interface.
 *
 * It belongs to the network namespace in which tap_open() was called, and the
 * interface is gone with its last descriptor, unless somebody else has made it
 * persistent. Each read and write is one frame behind a virtio-net header of
 * TAP_HEADER bytes.
 */
#ifndef MAYFLY_NET_TAP_H
#define MAYFLY_NET_TAP_H

struct err;

#define TAP_HEADER 12 /* struct virtio_net_hdr_v1: virtio 1.2 5.1.6 */

/* /dev/net/tun, no interface yet. A descriptor, or -errno with the remedy. */
int tap_open(struct err *err);

/*
 * Make @name, or attach to it where there is such a tap: IFF_TAP, IFF_NO_PI,
 * IFF_VNET_HDR with TAP_HEADER, one queue, non-blocking. Offloads are off.
 */
int tap_attach(int fd, const char *name, struct err *err);

#endif
