/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that sends any packet and offers any buffer, and a network that
 * sends, reads and goes away at any moment, limited or not. What comes out is
 * a frame whose header may stand as it is; a reset brings the device back.
 * Time is the input's.
 */
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "runner/virtio/net.h"
#include "runner/virtio/net_frame.h"
#include "tests/fuzz/device.h"

#define TX_AT	(FUZZ_DATA + 0x8000)
#define RX_AT	(FUZZ_DATA + 0x20000)
#define TIME_MS 10u

static int peer = -1;

/* --- time ----------------------------------------------------------------- */

static struct {
	uint64_t now;
	struct {
		uint64_t alarm; /* ns; 0: not armed */
		int fd;
	} timer[2];
	unsigned n;
} fake = { .now = 1 };

/* libFuzzer has the other clocks. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	ts->tv_sec = (time_t)(fake.now / 1000000000u);
	ts->tv_nsec = (long)(fake.now % 1000000000u);
	return 0;
}

int timerfd_create(clockid_t clock, int flags)
{
	(void)clock;
	(void)flags;
	must(fake.n < 2);
	fake.timer[fake.n].alarm = 0;
	fake.timer[fake.n].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return fake.timer[fake.n++].fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *t,
		    struct itimerspec *old)
{
	unsigned i = fd == fake.timer[0].fd ? 0 : 1;

	(void)flags;
	(void)old;
	must(i < fake.n && fd == fake.timer[i].fd);
	fake.timer[i].alarm = fake.now +
			      (uint64_t)t->it_value.tv_sec * 1000000000u +
			      (uint64_t)t->it_value.tv_nsec;
	must(fake.timer[i].alarm > fake.now);
	return 0;
}

static void pass_time(struct fuzz *f, uint64_t ns)
{
	uint64_t one = 1;

	fake.now += ns;
	for (unsigned i = 0; i < fake.n; i++) {
		if (!fake.timer[i].alarm || fake.now < fake.timer[i].alarm)
			continue;
		fake.timer[i].alarm = 0;
		must(write(fake.timer[i].fd, &one, sizeof(one)) == 8);
	}
	fuzz_turns(f);
}

/* --- the network ---------------------------------------------------------- */

/* Whatever the guest did: what is out may be out. */
static void look(struct fuzz *f)
{
	static uint8_t p[NET_HDR + NET_FRAME_MAX + 1];
	struct net_hdr h, same;
	ssize_t n;

	while ((n = recv(peer, p, sizeof(p), MSG_DONTWAIT)) > 0) {
		must(n >= NET_HDR + NET_FRAME_MIN);
		must(n <= NET_HDR + NET_FRAME_MAX);
		memcpy(&h, p, sizeof(h));
		same = h;
		must(net_judge_tx(&same, p + NET_HDR, (uint32_t)n - NET_HDR,
				  f->dev->features) == NET_SEND);
		must(!memcmp(&h, &same, sizeof(h)));
	}
}

static void arrive(struct bytes *b)
{
	static uint8_t p[NET_HDR + NET_FRAME_MAX + 16];
	static const uint32_t len[] = { 1, 12, 25, 26, 60, 512, 1514, 4096,
					9014, 65562, 65563, 300, 1500, 2000,
					26, 70 };
	uint8_t how = take8(b);

	p[0] = how & 0x10 ? take8(b) : 0;
	p[1] = how & 0x20 ? take8(b) : 0;
	/* One that is lost, where nobody reads. */
	if (send(peer, p, len[how & 15], MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

/* --- the guest ------------------------------------------------------------ */

/* An Ethernet frame that looks like one, and its header; both may be off. */
static void transmit(struct fuzz *f, struct bytes *b)
{
	static const uint32_t len[] = { 14, 34, 54, 60, 74, 128, 1500, 30000 };
	uint8_t how = take8(b), *p = fuzz_ptr(f, TX_AT), v6 = how & 1;
	struct net_hdr h = { 0 };
	struct fuzz_seg s[3];
	uint32_t n = len[how >> 1 & 7] + NET_HDR, at = v6 ? 54 : 34;

	memset(p, 0, NET_HDR + 128);
	p += NET_HDR;
	p[12] = v6 ? 0x86 : 0x08;
	p[13] = v6 ? 0xdd : 0;
	p[14] = v6 ? 0x60 : 0x45;
	p[v6 ? 18 : 16] = (uint8_t)((n - NET_HDR - (v6 ? 54 : 14)) >> 8);
	p[v6 ? 19 : 17] = (uint8_t)(n - NET_HDR - (v6 ? 54 : 14));
	p[v6 ? 20 : 23] = how & 0x10 ? 17 : 6;
	p[at + 12] = 0x50;
	if (how & 0x20) {
		h = (struct net_hdr){ .flags = 1,
				      .gso_type = how & 0x40 ? (v6 ? 4 : 1) : 0,
				      .gso_size = 500,
				      .csum_start = (uint16_t)at,
				      .csum_offset = how & 0x10 ? 6 : 16 };
		memcpy(p - NET_HDR, &h, sizeof(h));
	}
	for (unsigned i = how & 0x80 ? take8(b) & 7 : 0; i; i--) {
		uint8_t where = take8(b);

		p[where % 128 - NET_HDR] = take8(b);
	}
	s[0] = (struct fuzz_seg){ TX_AT, MIN(n, take8(b) + 1u), false };
	s[1] = (struct fuzz_seg){ TX_AT + s[0].len, n - s[0].len, false };
	fuzz_offer(f, NET_TX, s, 2);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TX);
}

static void offer(struct fuzz *f, struct bytes *b)
{
	static const uint32_t len[] = { 12, 13, 1526, 65562, 1, 4096, 300,
					100000 };
	uint8_t how = take8(b);
	unsigned n = (how >> 3 & 3) + 1;
	struct fuzz_seg s[4];

	for (unsigned i = 0; i < n; i++)
		s[i] = (struct fuzz_seg){ RX_AT + (how >> 5) * 0x8000u +
					  i * 0x1000u, len[how & 7], true };
	fuzz_offer(f, NET_RX, s, n);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_RX);
}

static void own(struct fuzz *f, struct bytes *b, unsigned what)
{
	uint8_t how;

	switch (what - FUZZ_COMMON) {
	case 0:
		how = take8(b);
		pass_time(f, how * (uint64_t)take16(b) * 100);
		break;
	case 1:
		transmit(f, b);
		break;
	case 2:
		arrive(b);
		break;
	case 3:
		offer(f, b);
		break;
	case 4:
		fuzz_start(f, take32(b));
		break;
	case 5:
		fuzz_turns(f);
		look(f);
		break;
	default:
		shutdown(peer, take8(b) & 1 ? SHUT_RDWR : SHUT_WR);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_params p = { .mtu = 1500, .mac = { 2 } };
	const struct limiter_rate ops = { 3, 1, TIME_MS };
	const struct limiter_rate bytes = { 4096, 0, TIME_MS };
	struct bytes b = { data, size };
	static struct fuzz f;
	uint8_t how = take8(&b);
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	fake.n = 0;
	fuzz_begin(&f);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	peer = pair[0];
	p.fd = pair[1];
	if (how & 1)
		p.rx.ops = p.tx.bytes = ops;
	if (how & 2)
		p.rx.bytes = p.tx.ops = bytes;
	f.host.serve = how >> 2 & 1;
	f.dev = virtio_net_new(&f.host, 5, &p, NULL);
	must(f.dev);
	fuzz_steps(&f, &b, FUZZ_COMMON + 7, own);
	look(&f);
	fuzz_end(&f);
	close(peer);
	return 0;
}
