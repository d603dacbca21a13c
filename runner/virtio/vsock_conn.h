/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_conn: one connection of the vsock device, shared by vsock.c (packets),
 * vsock_conn.c (host sockets) and vsock_dial.c (the hybrid protocol). Nobody
 * else includes this.
 *
 * Everything here is touched by the main thread only; the device's lock is
 * held because the rings need it.
 *
 * Guest to host, a packet's payload goes straight from guest memory into the
 * socket; what the socket does not take waits in the connection's buffer. The
 * guest knows the size of that buffer and may not send more than fits (credit,
 * virtio 1.2 5.10.6.3), so it never overflows.
 *
 * Host to guest nothing is buffered: a connection whose socket is readable
 * owes the guest data, and when the guest has a receive buffer and credit the
 * socket is read straight into it. Meanwhile the socket is not polled: the
 * writer on the host meets a full socket.
 *
 *	HELLO ------> REQUESTED --RESPONSE--+
 *	(host program)		   	    v
 *	(guest REQUEST) ----------------> OPEN --> CLOSING: an RST is owed
 *					     \---> DRAINING: the guest is gone,
 *						   the host has yet to read
 */
#ifndef MAYFLY_VIRTIO_VSOCK_CONN_H
#define MAYFLY_VIRTIO_VSOCK_CONN_H

#include "runner/virtio/vsock.h"

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

/* 5.10.6 */
struct vsock_hdr {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));
static_assert(sizeof(struct vsock_hdr) == 44, "5.10.6");

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE,
	VSOCK_OP_RST,
	VSOCK_OP_SHUTDOWN,
	VSOCK_OP_RW,
	VSOCK_OP_CREDIT_UPDATE,
	VSOCK_OP_CREDIT_REQUEST,
};

#define VSOCK_TYPE_STREAM 1

/* Flags of SHUTDOWN: what its sender will not do any more. */
#define VSOCK_SHUT_RCV	1
#define VSOCK_SHUT_SEND 2
#define VSOCK_SHUT_BOTH 3

enum conn_state {
	CONN_FREE,
	CONN_HELLO,	/* the host program has yet to say CONNECT */
	CONN_REQUESTED, /* the guest has yet to answer */
	CONN_OPEN,
	CONN_CLOSING,  /* no socket; free once the RST is sent */
	CONN_DRAINING, /* no guest; free once the buffer is empty */
};

/* Packets that a connection owes the guest, the most urgent first. */
#define OWE_RST	     0x01
#define OWE_REQUEST  0x02
#define OWE_RESPONSE 0x04
#define OWE_DATA     0x08 /* the socket is readable */
#define OWE_CREDIT   0x10
#define OWE_SHUTDOWN 0x20

#define VSOCK_HELLO_MAX 32

/* Host ports of connections that the host begins, as Firecracker's. */
#define VSOCK_FIRST_PORT (1u << 30)

struct vsock_conn {
	struct vsock *v;
	struct ev ev; /* .fd owned */
	enum conn_state state;
	uint32_t host_port, guest_port;
	uint8_t owes;
	bool queued;  /* in v->fifo */
	bool starved; /* data to send, no credit */
	uint8_t guest_shut, host_shut;

	uint32_t peer_alloc, peer_fwd; /* the guest's buffer, as it says */
	uint32_t sent;		       /* bytes, modulo 2^32 as all counts */
	uint32_t fwd, told_fwd;	       /* delivered to the host */

	uint8_t *buf; /* VSOCK_BUF bytes of the arena, a ring */
	uint32_t head, len;
	bool backed; /* the ring was used */

	uint64_t deadline; /* ns, 0 for none */
	char hello[VSOCK_HELLO_MAX];
	unsigned nhello;
};

/* Answers to packets that belong to no connection. */
#define VSOCK_RSTS_MAX 64
struct vsock_rst {
	uint32_t host_port, guest_port;
};

struct vsock {
	struct virtio_dev dev;
	uint64_t guest_cid; /* all of the config space (5.10.4) */
	unsigned nstreams;
	struct virtio_vsock_stream stream[VSOCK_STREAMS_MAX]; /* fd -1: used */
	struct ev listen; /* .fd owned, -1 for none */
	struct ev timer;  /* .fd owned */
	bool timer_armed;
	uint32_t next_port;

	uint8_t *arena;
	struct vsock_conn conn[VSOCK_CONNS];

	/* Connections that owe something, each at most once. */
	uint8_t fifo[VSOCK_CONNS];
	unsigned fifo_head, fifo_len;

	struct vsock_rst rst[VSOCK_RSTS_MAX];
	unsigned rst_head, rst_len;
	bool tx_stalled; /* no room for the RST that a packet may call for */
};
static_assert(VSOCK_CONNS <= 256, "fifo holds bytes");

/* vsock.c */

/* virtio_enter(), and all connections dropped when it says no. */
bool vsock_enter(struct vsock *v);
void vsock_leave(struct vsock *v);
/* Send what is owed, as far as the guest's buffers reach. */
void vsock_send_owed(struct vsock *v);

/* vsock_conn.c */

/* NULL when the table is full, and then @fd is still the caller's. */
struct vsock_conn *conn_new(struct vsock *v, int fd, enum conn_state state);
struct vsock_conn *conn_find(struct vsock *v, uint32_t host_port,
			     uint32_t guest_port);
void conn_free(struct vsock_conn *c);
/* Close the socket, owe an RST. */
void conn_reset(struct vsock_conn *c);
/* Poll for what the state calls for; after every change of it. */
void conn_update(struct vsock_conn *c);

void conn_owe(struct vsock_conn *c, uint8_t what);
/* The next one that owes something, taken off the queue; NULL for none. */
struct vsock_conn *conn_next_owing(struct vsock *v);

/* What the guest said. */
void conn_credit(struct vsock_conn *c, uint32_t alloc, uint32_t fwd);
void conn_receive(struct vsock_conn *c, const struct virtq_chain *chain,
		  uint32_t len);
void conn_guest_shutdown(struct vsock_conn *c, uint32_t flags);
void conn_guest_rst(struct vsock_conn *c);

/* Read from the socket into a receive buffer, behind the header. Bytes, or 0
 * when there is nothing to send now (OWE_DATA is cleared). */
uint32_t conn_fill(struct vsock_conn *c, const struct virtq_chain *chain);

/* The guest has two seconds to answer, then the connection is reset; where the
 * host began it, not before its caller has hung up. */
void conn_set_deadline(struct vsock_conn *c);
void vsock_arm_timer(struct vsock *v);
void vsock_on_timer(struct ev *ev, uint32_t events);

/* vsock_dial.c */

/* Poll the listener, if there is one. */
void vsock_listen(struct vsock *v);
void vsock_on_listen(struct ev *ev, uint32_t events);

/* A socket in HELLO is readable. */
void conn_hello(struct vsock_conn *c);
/* The guest accepted: tell the program. */
void conn_established(struct vsock_conn *c);

/* "CONNECT <port>\n", any case. */
bool vsock_parse_hello(const char *s, unsigned len, uint32_t *port);

#endif
