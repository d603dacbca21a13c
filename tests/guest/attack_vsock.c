/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that no driver sends (virtio 1.2, 5.10.6), to a host that echoes,
 * floods, does not read, or hangs up. A bad packet costs its connection; only
 * one without a header stops the device.
 */
#include "tests/guest/attack.h"

#include "runner/virtio/vsock_conn.h"

#define HDR	((uint32_t)sizeof(struct vsock_hdr))
#define TX	((struct vsock_hdr *)BUFFERS)
#define PAYLOAD (BUFFERS + 64)
#define RX_AT	(BUFFERS + 0x400000)
#define RX_LEN	4096u
#define NRX	32u
#define ALLOC	0x40000u
#define DIALLED 7000u
#define LONG	30000000000ull /* ticks */

static uint64_t rx_bytes; /* of payload, since the last counting() */
static uint32_t rx_fwd;	  /* all of it */

/* --- a guest's end of the device ------------------------------------------ */

static void refill(struct dev *d, unsigned i)
{
	struct ring *r = &d->q[VSOCK_RX];

	r->desc[i] = (struct vring_desc){ RX_AT + i * RX_LEN, RX_LEN,
					  VRING_DESC_F_WRITE, 0 };
	offer(d, VSOCK_RX, (uint16_t)i);
}

static int begin(struct dev *d)
{
	int ok = start(d);

	for (unsigned i = 0; i < NRX; i++)
		refill(d, i);
	kick(d, VSOCK_RX);
	rx_fwd = 0;
	return ok;
}

static struct vsock_hdr header(uint16_t op, uint32_t port)
{
	return (struct vsock_hdr){ .src_cid = ATTACK_CID,
				   .dst_cid = VSOCK_CID_HOST,
				   .src_port = 9000, .dst_port = port,
				   .type = VSOCK_TYPE_STREAM, .op = op,
				   .buf_alloc = ALLOC, .fwd_cnt = rx_fwd };
}

/* Send @h and @len bytes, whatever h->len says. Whether it was taken. */
static int send_raw(struct dev *d, const struct vsock_hdr *h, uint32_t len)
{
	struct seg s[] = { { BUFFERS, HDR, 0 }, { PAYLOAD, len, 0 } };
	struct vring_used_elem e;

	*TX = *h;
	submit(d, VSOCK_TX, s, len ? 2 : 1);
	return await(d, VSOCK_TX, &e) == 1;
}

static int send_op(struct dev *d, uint16_t op, uint32_t port)
{
	struct vsock_hdr h = header(op, port);

	return send_raw(d, &h, 0);
}

static int send_data(struct dev *d, uint32_t port, uint32_t len)
{
	struct vsock_hdr h = header(VSOCK_OP_RW, port);

	h.len = len;
	return send_raw(d, &h, len);
}

/* A packet that has come, and its buffer back; false when there is none. */
static int packet(struct dev *d, struct vsock_hdr *h)
{
	struct ring *r = &d->q[VSOCK_RX];
	unsigned at = r->seen % r->size, id;

	if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->seen)
		return 0;
	id = r->used->ring[at].id;
	*h = *(struct vsock_hdr *)(RX_AT + id * RX_LEN);
	r->seen++;
	refill(d, id);
	kick(d, VSOCK_RX);
	rx_bytes += h->len;
	rx_fwd += h->len;
	return 1;
}

/* Wait for a packet of this kind; those before it are dropped. Port 0: any. */
static int expect_for(struct dev *d, uint16_t op, uint32_t host_port,
		      uint64_t ticks)
{
	uint64_t from = rdtsc();
	struct vsock_hdr h;

	while (rdtsc() - from < ticks)
		if (packet(d, &h) && h.op == op &&
		    (!host_port || h.src_port == host_port))
			return 1;
	return 0;
}

static int expect(struct dev *d, uint16_t op, uint32_t host_port)
{
	return expect_for(d, op, host_port, LONG);
}

static int connect(struct dev *d, uint32_t port)
{
	return send_op(d, VSOCK_OP_REQUEST, port) &&
	       expect(d, VSOCK_OP_RESPONSE, port);
}

/* --- attacks -------------------------------------------------------------- */

/* Nothing of this belongs to a connection: RST, or no answer at all. */
static void strays(struct dev *d)
{
	unsigned wrong = !begin(d);
	struct vsock_hdr h;

	for (unsigned op = 0; op < 20; op++) {
		wrong += !send_op(d, (uint16_t)op, 77);
		if (op != VSOCK_OP_RST)
			wrong += !expect(d, VSOCK_OP_RST, 77);
	}
	wrong += !send_op(d, 0xffff, 78) || !expect(d, VSOCK_OP_RST, 78);
	h = header(VSOCK_OP_REQUEST, 79);
	h.type = 2; /* SEQPACKET, which is not offered */
	wrong += !send_raw(d, &h, 0) || !expect(d, VSOCK_OP_RST, 79);
	h = header(VSOCK_OP_RW, 80);
	h.len = 0xffffffff;
	wrong += !send_raw(d, &h, 100) || !expect(d, VSOCK_OP_RST, 80);
	check_eq(wrong, 0, "packets without a connection");
	h = header(VSOCK_OP_REQUEST, PORT_ECHO);
	for (unsigned i = 0; i < 64; i++) {
		h.src_cid = (uint64_t)i << (i % 50) | 8;
		send_raw(d, &h, 0);
		h.src_cid = ATTACK_CID;
		h.dst_cid = i == VSOCK_CID_HOST ? ~0ull : i;
		send_raw(d, &h, 0);
		h.dst_cid = VSOCK_CID_HOST;
		h.src_cid |= 1ull << (32 + i % 32);
		send_raw(d, &h, 0);
	}
	check(send_op(d, VSOCK_OP_RW, 81) && expect(d, VSOCK_OP_RST, 81),
	      "wrong CIDs are not heard");
}

static unsigned reap(struct dev *d)
{
	struct ring *r = &d->q[VSOCK_TX];
	uint16_t n = (uint16_t)(r->used->idx - r->seen);

	r->seen += n;
	return n;
}

/* 80 packets that call for an RST each, and no buffer for one: the device
 * takes what it can answer, waits for buffers, and then forgets none. */
static void unanswered(struct dev *d)
{
	uint8_t heard[80] = { 0 };
	unsigned wrong = !start(d), answers = 0, taken = 0;
	struct vsock_hdr h;

	for (unsigned i = 0; i < 80; i++) {
		struct seg s = { PAYLOAD + i * 64, HDR, 0 };

		h = header(VSOCK_OP_REQUEST, 1);
		h.src_port = 1000 + i;
		*(struct vsock_hdr *)(PAYLOAD + i * 64) = h;
		/* the ring has 64 entries */
		while (i - taken >= 60)
			taken += reap(d);
		submit(d, VSOCK_TX, &s, 1);
	}
	for (unsigned i = 0; i < NRX; i++)
		refill(d, i);
	kick(d, VSOCK_RX);
	for (uint64_t from = rdtsc(); answers < 80 && rdtsc() - from < LONG;) {
		if (!packet(d, &h))
			continue;
		answers++;
		if (h.op == VSOCK_OP_RST && h.dst_port - 1000 < 80)
			wrong += heard[h.dst_port - 1000]++;
		else
			wrong++;
	}
	check(answers == 80 && !wrong, "an RST for each, late");
}

/* As fast as they go. */
static void requests(struct dev *d)
{
	struct seg s = { BUFFERS, HDR, 0 };
	unsigned offered = 0, taken = 0, answers = 0;
	struct vsock_hdr h;

	begin(d);
	*TX = header(VSOCK_OP_REQUEST, 1);
	while (answers < 10000 && status(d) == ALL_OK) {
		if (offered < 10000 && offered - taken < 48) {
			submit(d, VSOCK_TX, &s, 1);
			offered++;
		}
		taken += reap(d);
		while (packet(d, &h))
			answers += h.op == VSOCK_OP_RST;
	}
	check(answers == 10000, "10,000 requests, an RST for each");
}

/* A connected pair, abused until it is reset. */
static void echo(struct dev *d)
{
	unsigned wrong = 0;

	check(begin(d) && connect(d, PORT_ECHO), "connect");
	rx_bytes = 0;
	wrong += !send_data(d, PORT_ECHO, 1000);
	while (rx_bytes < 1000 && expect(d, VSOCK_OP_RW, PORT_ECHO))
		;
	check_eq(rx_bytes, 1000, "echo");
	wrong += !send_op(d, VSOCK_OP_CREDIT_REQUEST, PORT_ECHO);
	wrong += !expect(d, VSOCK_OP_CREDIT_UPDATE, PORT_ECHO);
	/* a second request on the same pair of ports */
	wrong += !send_op(d, VSOCK_OP_REQUEST, PORT_ECHO);
	wrong += !expect(d, VSOCK_OP_RST, PORT_ECHO);
	wrong += !send_data(d, PORT_ECHO, 10);
	wrong += !expect(d, VSOCK_OP_RST, PORT_ECHO);
	/* the stream is used up, once and for all */
	wrong += !send_op(d, VSOCK_OP_REQUEST, PORT_ECHO);
	wrong += !expect(d, VSOCK_OP_RST, PORT_ECHO);
	check_eq(wrong, 0, "a connection that is no more");
}

/* The host reads nothing. The guest sends all that its credit gives, and then
 * some: the buffer is not a byte longer than was said. */
static void overflow(struct dev *d)
{
	unsigned sent = 0;
	struct vsock_hdr h;
	int rst = 0;

	check(begin(d) && connect(d, PORT_DEAF), "connect to a deaf host");
	while (!rst && sent < 64 << 20) {
		if (!send_data(d, PORT_DEAF, 60000))
			break;
		sent += 60000;
		while (packet(d, &h))
			rst |= h.op == VSOCK_OP_RST;
	}
	if (!rst)
		rst = expect(d, VSOCK_OP_RST, PORT_DEAF);
	check(rst && sent < 8 << 20, "credit overrun is a reset");
	check(status(d) == ALL_OK, "and the device goes on");
}

/* The host sends for ever; the guest lies about its credit and lets the queue
 * run full, then takes it up again. */
static void source(struct dev *d)
{
	struct vsock_hdr h;
	struct ring *r = &d->q[VSOCK_RX];
	unsigned wrong = 0;

	check(begin(d) && connect(d, PORT_SOURCE), "connect to a source");
	for (unsigned i = 0; i < 30; i++) {
		/* all buffers used up, and the host has more */
		for (uint64_t from = rdtsc();
		     (uint16_t)(r->used->idx - r->seen) < NRX &&
		     rdtsc() - from < LONG;)
			__asm__ volatile("pause");
		wrong += (uint16_t)(r->used->idx - r->seen) != NRX;
		while (packet(d, &h))
			wrong += h.op != VSOCK_OP_RW;
		h = header(VSOCK_OP_CREDIT_UPDATE, PORT_SOURCE);
		wrong += !send_raw(d, &h, 0);
	}
	check_eq(wrong, 0, "a full receive queue, and on");
	for (unsigned i = 0; i < 300; i++) {
		h = header(VSOCK_OP_CREDIT_UPDATE, PORT_SOURCE);
		h.buf_alloc = next_random();
		h.fwd_cnt = next_random();
		wrong += !send_raw(d, &h, 0);
		while (packet(d, &h))
			;
	}
	check_eq(wrong, 0, "credit of any kind");
	/* shut it down while the host sends */
	h = header(VSOCK_OP_SHUTDOWN, PORT_SOURCE);
	h.flags = 0xffffffff;
	wrong += !send_raw(d, &h, 0) || !expect(d, VSOCK_OP_RST, PORT_SOURCE);
	check_eq(wrong, 0, "shutdown with flags unknown");
}

static void closer(struct dev *d)
{
	unsigned wrong = 0;

	check(begin(d) && connect(d, PORT_CLOSER), "connect to a closer");
	for (unsigned i = 0; i < 50; i++)
		wrong += !send_data(d, PORT_CLOSER, 60000);
	wrong += !send_op(d, VSOCK_OP_RST, PORT_CLOSER);
	wrong += !send_op(d, VSOCK_OP_RST, PORT_CLOSER);
	wrong += !send_op(d, VSOCK_OP_RW, 90) || !expect(d, VSOCK_OP_RST, 90);
	check_eq(wrong, 0, "to a host that has hung up");
}

/* 200 programs dial; the guest answers each with something else. */
static void dialled(struct dev *d)
{
	static const uint16_t answer[] = { VSOCK_OP_RST, VSOCK_OP_RESPONSE,
					   VSOCK_OP_RW, VSOCK_OP_REQUEST,
					   VSOCK_OP_SHUTDOWN, 99 };
	unsigned seen = 0, wrong = !begin(d), tries = 0;
	uint64_t from;

	print("%s\n", SAY_DIAL);
	for (from = rdtsc(); seen < 100 && rdtsc() - from < 3 * LONG;) {
		struct vsock_hdr h, reply;

		if (!packet(d, &h) || h.op != VSOCK_OP_REQUEST)
			continue;
		wrong += h.dst_port != DIALLED;
		reply = header(answer[seen++ % 6], h.src_port);
		reply.src_port = h.dst_port;
		wrong += !send_raw(d, &reply, 0);
	}
	check(seen == 100 && !wrong, "a hundred dialled, answered oddly");
	print("%s\n", SAY_DROP);
	wrong += !send_op(d, VSOCK_OP_RW, 91) || !expect(d, VSOCK_OP_RST, 91);
	check_eq(wrong, 0, "and on");
	/* Once more, with a reset in between and nobody to answer. The first
	 * callers hold the table for two seconds yet: new ones are refused. */
	do {
		print("%s\n%s\n", SAY_DROP, SAY_DIAL);
		tries++;
	} while (!expect_for(d, VSOCK_OP_REQUEST, 0, LONG / 10) && tries < 10);
	/* those that still wait are heard by the device started anew */
	check(tries < 10 && begin(d) && send_op(d, VSOCK_OP_RW, 92) &&
	      expect(d, VSOCK_OP_RST, 92), "a reset with callers on the line");
	print("%s\n", SAY_DROP);
}

static void no_header(struct dev *d)
{
	unsigned wrong = 0;

	for (uint32_t len = 1; len < HDR; len += 7) {
		struct seg s = { BUFFERS, len, 0 };

		begin(d);
		submit(d, VSOCK_TX, &s, 1);
		wrong += !breaks(d);
	}
	check_eq(wrong, 0, "a packet shorter than its header");
	check(recovers(d), "and it recovers");
}

/* Headers of noise, most of them to ports of the table. */
static void noise(struct dev *d)
{
	unsigned wrong = !begin(d);

	for (unsigned i = 0; i < 3000; i++) {
		struct vsock_hdr h = header((uint16_t)(next_random() % 9),
					    PORT_ECHO + next_random() % 5);
		uint8_t *p = (uint8_t *)&h;

		h.src_port = next_random() % 8;
		h.len = next_random() % 200;
		if (i % 4 == 0)
			p[next_random() % HDR] ^= (uint8_t)next_random();
		wrong += !send_raw(d, &h, next_random() % 200);
		while (packet(d, &h))
			;
	}
	check_eq(wrong, 0, "headers of noise");
	check(recovers(d), "and it recovers");
}

int main(void)
{
	struct dev *d = attack_dev(VSOCK);

	strays(d);
	unanswered(d);
	requests(d);
	echo(d);
	overflow(d);
	source(d);
	closer(d);
	dialled(d);
	no_header(d);
	noise(d);
	return 0;
}
