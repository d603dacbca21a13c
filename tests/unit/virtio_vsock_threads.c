/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock device between three threads that sleep when they have nothing to
 * do: a driver that asks for notifications as Linux does (EVENT_IDX, barriers
 * and all), the event loop, and a program on the host. A notification that is
 * lost, or credit that is never given back, stops the bytes.
 */
#include <pthread.h>

#include "tests/unit/vsock_fake.h"

#define PACKET_MAX 16384u
#define TX_SIZE	   64u
#define RX_SIZE	   32u

/* What the driver knows. Byte i of either stream is pattern(i). */
static struct driver {
	uint32_t alloc; /* its receive buffer, as it tells the device */
	uint64_t to_host, to_guest; /* bytes to carry */
	bool eager; /* never sleeps; offers when the last was taken */
	unsigned pause; /* the host naps every so many reads; 0: never */
	uint64_t sent, got;
	uint32_t dev_alloc, dev_fwd, told; /* credit, theirs and ours */
	uint64_t tx_at[TX_SIZE];
	bool tx_used[TX_SIZE];
	pthread_mutex_t lock;
	pthread_cond_t irq;
	unsigned irqs;
} d;

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 0x9e3779b97f4a7c15ull >> 32);
}

static void raise_irq(void *opaque, unsigned gsi)
{
	(void)opaque;
	(void)gsi;
	pthread_mutex_lock(&d.lock);
	d.irqs++;
	pthread_cond_signal(&d.irq);
	pthread_mutex_unlock(&d.lock);
}

static void barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint16_t *event_field(unsigned qi, bool avail)
{
	struct fake_queue *q = &f.q[qi];

	return avail ? (uint16_t *)&fake_used_ring(&f, qi)->ring[q->size]
		     : &fake_avail(&f, qi)->ring[q->size];
}

/* Offered from idx @old on: kick if the device wants to hear (2.7.10). */
static void kick_if_wanted(unsigned qi, uint16_t old)
{
	uint16_t now = f.q[qi].avail_idx, event;

	barrier();
	event = __atomic_load_n(event_field(qi, true), __ATOMIC_RELAXED);
	if ((uint16_t)(now - event - 1) < (uint16_t)(now - old))
		fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, qi);
}

/* Whether used chains came meanwhile (2.7.7). */
static bool ask_for_irq(unsigned qi)
{
	__atomic_store_n(event_field(qi, false), f.q[qi].seen_used,
			 __ATOMIC_RELAXED);
	barrier();
	return __atomic_load_n(&fake_used_ring(&f, qi)->idx,
			       __ATOMIC_ACQUIRE) != f.q[qi].seen_used;
}

static void offer_rx(unsigned i)
{
	*fake_desc(&f, VSOCK_RX, i) = (struct vring_desc){
		rx_at[i], RXBUF, VRING_DESC_F_WRITE, 0 };
	fake_offer(&f, VSOCK_RX, (uint16_t)i);
}

static void write_packet(uint8_t *p, uint16_t op, uint32_t len)
{
	struct vsock_hdr h = hdr(op, PORT);

	h.len = len;
	h.buf_alloc = d.alloc;
	h.fwd_cnt = d.told = (uint32_t)d.got;
	memcpy(p, &h, HDR);
	for (uint32_t k = 0; k < len; k++)
		p[HDR + k] = pattern(d.sent + k);
	d.sent += len;
}

/* False when the ring is full. */
static bool send_packet(uint16_t op, uint32_t len)
{
	unsigned i = 0;

	while (i < TX_SIZE && d.tx_used[i])
		i++;
	if (i == TX_SIZE)
		return false;
	d.tx_used[i] = true;
	write_packet(fake_ptr(&f, d.tx_at[i]), op, len);
	*fake_desc(&f, VSOCK_TX, i) =
		(struct vring_desc){ d.tx_at[i], HDR + len, 0, 0 };
	fake_offer(&f, VSOCK_TX, (uint16_t)i);
	kick_if_wanted(VSOCK_TX, (uint16_t)(f.q[VSOCK_TX].avail_idx - 1));
	return true;
}

static bool take_rx(void)
{
	uint16_t old = f.q[VSOCK_RX].avail_idx;
	struct vring_used_elem e;
	bool moved = false;

	while (fake_take(&f, VSOCK_RX, &e)) {
		uint8_t *p = fake_ptr(&f, rx_at[e.id]);
		struct vsock_hdr h;

		memcpy(&h, p, HDR);
		d.dev_alloc = h.buf_alloc;
		d.dev_fwd = h.fwd_cnt;
		cr_assert_neq(h.op, VSOCK_OP_RST, "reset at %llu and %llu",
			      (unsigned long long)d.sent,
			      (unsigned long long)d.got);
		for (uint32_t k = 0; k < h.len; k++)
			cr_assert_eq(p[HDR + k], pattern(d.got + k));
		d.got += h.len;
		offer_rx(e.id);
		moved = true;
	}
	if (moved)
		kick_if_wanted(VSOCK_RX, old);
	return moved;
}

static bool take_tx(void)
{
	struct vring_used_elem e;
	bool moved = false;

	while (fake_take(&f, VSOCK_TX, &e)) {
		d.tx_used[e.id] = false;
		moved = true;
	}
	return moved;
}

static bool tx_is_idle(void)
{
	return f.q[VSOCK_TX].seen_used == f.q[VSOCK_TX].avail_idx;
}

static bool send_some(void)
{
	uint32_t room = d.dev_alloc - ((uint32_t)d.sent - d.dev_fwd);
	uint64_t left = d.to_host - d.sent;
	uint32_t len = (uint32_t)MIN(MIN(room, left), 1 + d.sent % PACKET_MAX);
	bool moved = false;

	/* Linux 6.12 has no more under way than its own buffer holds. */
	len = MIN(len, d.alloc - MIN(d.alloc, (uint32_t)d.sent - d.dev_fwd));
	if (d.eager)
		len = MIN(len, tx_is_idle());
	if (len)
		moved = send_packet(VSOCK_OP_RW, len);
	if ((uint32_t)d.got - d.told >= d.alloc / 2)
		moved |= send_packet(VSOCK_OP_CREDIT_UPDATE, 0);
	return moved;
}

static void sleep_until_irq(void)
{
	pthread_mutex_lock(&d.lock);
	while (!d.irqs) {
		struct timespec t;

		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec += 60;
		cr_assert_eq(pthread_cond_clockwait(&d.irq, &d.lock,
						    CLOCK_MONOTONIC, &t), 0,
			     "asleep at %llu sent (%u known delivered), "
			     "%llu received",
			     (unsigned long long)d.sent, d.dev_fwd,
			     (unsigned long long)d.got);
	}
	d.irqs = 0;
	pthread_mutex_unlock(&d.lock);
}

static void drive(void)
{
	while (d.sent < d.to_host || d.got < d.to_guest) {
		bool moved = take_rx();

		moved |= take_tx();
		moved |= send_some();
		if (moved || d.eager || ask_for_irq(VSOCK_RX) || ask_for_irq(VSOCK_TX))
			continue;
		sleep_until_irq();
	}
}

static void *loop_main(void *arg)
{
	(void)arg;
	cr_assert_eq(ev_run(&f.loop), 0);
	return NULL;
}

/* Checks what comes from the guest; the bytes read. */
static uint64_t host_read(uint64_t from)
{
	static unsigned reads;
	uint8_t buf[8192];
	ssize_t n = recv(host, buf, sizeof(buf), MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++)
		cr_assert_eq(buf[i], pattern(from + (uint64_t)i));
	if (d.pause && ++reads % d.pause == 0)
		usleep(1000);
	return n > 0 ? (uint64_t)n : 0;
}

static uint64_t host_write(uint64_t from)
{
	uint8_t buf[8192];
	size_t len = MIN(sizeof(buf), d.to_guest - from);
	ssize_t n;

	for (size_t i = 0; i < len; i++)
		buf[i] = pattern(from + i);
	n = send(host, buf, len, MSG_DONTWAIT);
	return n > 0 ? (uint64_t)n : 0;
}

static void *host_main(void *arg)
{
	uint64_t in = 0, sent = 0;

	(void)arg;
	while (in < d.to_host || sent < d.to_guest) {
		short want = sent < d.to_guest ? POLLIN | POLLOUT : POLLIN;
		struct pollfd p = { .fd = host, .events = want };

		poll(&p, 1, -1);
		if (p.revents & POLLOUT)
			sent += host_write(sent);
		if (p.revents & POLLIN)
			in += host_read(in);
	}
	return NULL;
}

static void stop_loop(struct ev *ev, uint32_t events)
{
	(void)events;
	ev_stop(ev->loop);
}

static void connect_driver(void)
{
	struct vsock_hdr h;

	f.dev->host.irq = raise_irq;
	fake_start(&f, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX, TX_SIZE);
	for (unsigned i = 0; i < RX_SIZE; i++) {
		rx_at[i] = fake_alloc(&f, RXBUF);
		offer_rx(i);
	}
	for (unsigned i = 0; i < TX_SIZE; i++)
		d.tx_at[i] = fake_alloc(&f, HDR + PACKET_MAX);
	cr_assert(send_packet(VSOCK_OP_REQUEST, 0));
	fake_run(&f);
	h = expect(VSOCK_OP_RESPONSE);
	offer_rx(0);
	d.dev_alloc = h.buf_alloc;
}

static void carry(uint32_t alloc, uint64_t to_host, uint64_t to_guest,
		  unsigned pause)
{
	struct ev stop = { .fn = stop_loop };
	pthread_t loop, program;
	int done[2];

	d = (struct driver){ .eager = d.eager,
			     .alloc = alloc,
			     .to_host = to_host,
			     .to_guest = to_guest,
			     .pause = pause,
			     .lock = PTHREAD_MUTEX_INITIALIZER,
			     .irq = PTHREAD_COND_INITIALIZER };
	connect_driver();
	cr_assert_eq(pipe(done), 0);
	stop.fd = done[0];
	cr_assert_eq(ev_set(&f.loop, &stop, EPOLLIN), 0);
	pthread_create(&loop, NULL, loop_main, NULL);
	pthread_create(&program, NULL, host_main, NULL);
	drive();
	pthread_join(program, NULL);
	cr_assert_eq(write(done[1], "", 1), 1);
	pthread_join(loop, NULL);
	ev_del(&stop);
}

TestSuite(virtio_vsock_threads, .init = setup, .fini = teardown, .timeout = 120);

Test(virtio_vsock_threads, no_notification_is_lost)
{
	carry(ALLOC, 16 << 20, 16 << 20, 0);
}

Test(virtio_vsock_threads, nor_with_bytes_in_one_direction)
{
	carry(ALLOC, 16 << 20, 0, 0);
}

/* Each packet comes just when the device has found no more. */
Test(virtio_vsock_threads, nor_at_the_moment_of_falling_asleep)
{
	d.eager = true;
	carry(ALLOC, 60000, 0, 0);
}

Test(virtio_vsock_threads, a_slow_host_stops_nothing_for_good)
{
	carry(ALLOC, 4 << 20, 0, 4);
}

Test(virtio_vsock_threads, a_guest_with_a_small_buffer_is_told_in_time)
{
	carry(16 << 10, 1 << 20, 0, 16);
}
