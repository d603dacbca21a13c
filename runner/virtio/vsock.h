/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock: stream sockets between guest and host (virtio 1.2, 5.10).
 *
 * The host's end of every connection is a connected SOCK_STREAM unix socket.
 * Two ways to get one:
 *
 *	the guest connects to CID 2, port P: if P is in the table of streams
 *	and its descriptor not yet used, that descriptor is the connection;
 *	anything else is refused with RST.
 *
 *	a program on the host connects to the listener and writes
 *	"CONNECT <port>\n" (Firecracker's hybrid protocol); the guest's port is
 *	asked, and on success "OK <hostport>\n" comes first. A refusal closes.
 *
 * Owns all descriptors given to it, from success of virtio_vsock_new() on.
 * Memory is fixed: VSOCK_CONNS connections, each with VSOCK_BUF bytes of
 * address space that are only backed while the host reads slower than the
 * guest writes.
 */
#ifndef MAYFLY_VIRTIO_VSOCK_H
#define MAYFLY_VIRTIO_VSOCK_H

#include "runner/virtio/virtio.h"

#define VSOCK_CONNS	  256
#define VSOCK_BUF	  (128u << 10)
#define VSOCK_STREAMS_MAX 8
#define VSOCK_CID_HOST	  2
#define VSOCK_CID_MIN	  3

struct virtio_vsock_stream {
	uint32_t port;
	int fd; /* connected SOCK_STREAM; made non-blocking */
};

struct virtio_vsock_params {
	uint64_t guest_cid; /* >= VSOCK_CID_MIN */
	unsigned nstreams;  /* <= VSOCK_STREAMS_MAX */
	struct virtio_vsock_stream stream[VSOCK_STREAMS_MAX];
	int listen_fd; /* listening SOCK_STREAM unix socket, or -1 */
};

/* NULL and *err on failure; then the descriptors remain the caller's. */
struct virtio_dev *virtio_vsock_new(const struct virtio_host *host,
				    unsigned gsi,
				    const struct virtio_vsock_params *p,
				    struct err *err);

#endif
