/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that no driver sends and buffers that none offers (virtio 1.2, 5.1.6),
 * to a tap that floods, goes down and goes away. A bad frame is lost; only a
 * ring or a receive buffer that breaks the rules stops the device.
 */
#include "tests/guest/attack.h"

#include "runner/virtio/net_frame.h"

#define HDR	12u
#define PACKET	((struct net_hdr *)BUFFERS)
#define FRAME	(BUFFERS + HDR)
#define RX_AT	(BUFFERS + 0x400000)
#define RX_LEN	2048u
#define NRX	32u
#define RX	0u
#define TX	1u
#define CONFIG_STATUS 6
#define LONG	30000000000ull /* ticks */

static const uint16_t odd[] = { 0, 1, 2, 13, 14, 33, 34, 47, 48, 53, 54, 1499,
				1500, 32767, 32768, 65534, 65535 };
#define ODD (sizeof(odd) / sizeof(odd[0]))

/* Of @len bytes behind the header; TCP over IPv4 or IPv6, and plain. */
static void make_frame(unsigned v6, uint32_t len)
{
	uint8_t *p = (uint8_t *)FRAME;
	uint32_t ip = len - 14 - (v6 ? 40 : 0), at = v6 ? 54 : 34;

	memset(p, 0, len < 256 ? len : 256);
	memset(p, 0xff, 6);
	memcpy(p + 6, attack_mac, 6);
	p[12] = v6 ? 0x86 : 0x08;
	p[13] = v6 ? 0xdd : 0x00;
	p[14] = v6 ? 0x60 : 0x45;
	p[v6 ? 18 : 16] = (uint8_t)(ip >> 8);
	p[v6 ? 19 : 17] = (uint8_t)ip;
	p[v6 ? 20 : 23] = 6;
	p[at + 12] = 0x50;
}

static struct net_hdr tso(unsigned v6)
{
	return (struct net_hdr){ .flags = NET_HDR_NEEDS_CSUM,
				 .gso_type = v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4,
				 .hdr_len = v6 ? 74 : 54, .gso_size = 1440,
				 .csum_start = v6 ? 54 : 34,
				 .csum_offset = 16 };
}

/* Whether the device took it, and wrote nothing. */
static int send_packet(struct dev *d, const struct net_hdr *h, uint32_t len)
{
	struct seg s = { BUFFERS, len, 0 };
	struct vring_used_elem e;

	*PACKET = *h;
	submit(d, TX, &s, 1);
	return await(d, TX, &e) == 1 && e.len == 0;
}

/* Each field of the header, each odd value, on a frame that would be good. */
static void fields(struct dev *d)
{
	unsigned wrong = 0;

	start(d);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		make_frame(v6, 3000);
		for (unsigned i = 0; i < 256; i++) {
			struct net_hdr h = tso(v6);

			h.flags = (uint8_t)i;
			wrong += !send_packet(d, &h, HDR + 3000);
			h = tso(v6);
			h.gso_type = (uint8_t)i;
			wrong += !send_packet(d, &h, HDR + 3000);
		}
		for (unsigned k = 0; k < 5; k++)
			for (unsigned i = 0; i < ODD; i++) {
				struct net_hdr h = tso(v6);

				memcpy((uint8_t *)&h + 2 + 2 * k, &odd[i], 2);
				wrong += !send_packet(d, &h, HDR + 3000);
				h.gso_type = NET_GSO_NONE;
				wrong += !send_packet(d, &h, HDR + 3000);
			}
	}
	check_eq(wrong, 0, "every field of the header");
	check(works(d), "and it works");
}

static void checksums(struct dev *d)
{
	unsigned wrong = 0;

	start(d);
	for (unsigned len = 60; len < 66000; len += len < 70 ? 1 : 16000) {
		make_frame(len & 1, len > 65000 ? 65550 : len);
		for (unsigned i = 0; i < ODD * ODD; i++) {
			struct net_hdr h = { .flags = NET_HDR_NEEDS_CSUM,
					     .csum_start = odd[i / ODD],
					     .csum_offset = odd[i % ODD] };

			wrong += !send_packet(d, &h, HDR + len);
		}
	}
	check_eq(wrong, 0, "checksums anywhere");
	check(works(d), "and it works");
}

/* Frames that are as long as they may be, cut into any segments. */
static void oversize(struct dev *d)
{
	static const uint32_t lens[] = { 54, 55, 74, 75, 1514, 9014, 65549,
					 65550, 65551, 70000, 1 << 20 };
	unsigned wrong = 0;

	start(d);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		for (unsigned k = 0; k < ODD; k++) {
			struct net_hdr h = tso(k & 1);

			make_frame(k & 1, lens[i]);
			h.gso_size = odd[k];
			wrong += !send_packet(d, &h, HDR + lens[i]);
		}
	check_eq(wrong, 0, "oversize segments");
	check(works(d), "and it works");
}

static void lengths(struct dev *d)
{
	struct net_hdr h = { 0 };
	unsigned wrong = 0;

	start(d);
	make_frame(0, 100);
	for (uint32_t len = 1; len < 80; len++)
		wrong += !send_packet(d, &h, len);
	check_eq(wrong, 0, "frames too short for what they are");
	for (unsigned i = 0; i < 3000; i++) {
		uint32_t *p = (uint32_t *)BUFFERS;

		for (unsigned k = 0; k < 40; k++)
			p[k] = next_random();
		if (i & 1)
			h = tso(i >> 1 & 1);
		else
			memcpy(&h, p, sizeof(h));
		wrong += !send_packet(d, &h, next_random() % 70000 + 1);
	}
	check_eq(wrong, 0, "frames of noise");
	check(works(d), "and it works");
}

/* The header changes while the device looks at it. */
static void double_fetch(struct dev *d)
{
	struct ring *r = &d->q[TX];
	struct net_hdr good = tso(0), bad = { 0xff, 0xff, 0xffff, 1, 0xffff,
					      0xfffe, 0xffff };
	struct net_hdr *h = PACKET;
	unsigned n = 0;

	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	make_frame(0, 3000);
	r->desc[0] = (struct vring_desc){ BUFFERS, HDR + 3000, 0, 0 };
	for (unsigned i = 0; i < 40; i++) {
		uint64_t from = rdtsc();

		for (unsigned k = 0; k < 200; k++)
			offer(d, TX, 0);
		kick(d, TX);
		for (; rdtsc() - from < LONG && r->used->idx != r->offered;
		     n++) {
			*h = n & 1 ? good : bad;
			/* the address that the rules look at, too */
			((volatile uint8_t *)FRAME)[30] = (uint8_t)n;
			((volatile uint8_t *)FRAME)[23] = n & 2 ? 6 : 17;
		}
		r->seen = r->used->idx;
	}
	check(r->seen == r->offered, "a header that changes");
	check(recovers(d), "and it recovers");
}

/* --- receiving ------------------------------------------------------------ */

static void refill(struct dev *d, unsigned i, uint32_t len)
{
	d->q[RX].desc[i] = (struct vring_desc){ RX_AT + i * RX_LEN, len,
						VRING_DESC_F_WRITE, 0 };
	offer(d, RX, (uint16_t)i);
}

/* Give back what came, until so many did; whether they came in time. */
static int receive(struct dev *d, unsigned want, uint32_t len)
{
	struct ring *r = &d->q[RX];
	uint64_t from = rdtsc();
	unsigned n = 0;

	while (n < want) {
		if (rdtsc() - from > LONG)
			return 0;
		for (; r->seen != r->used->idx; r->seen++, n++) {
			unsigned at = r->seen % r->size;

			refill(d, (unsigned)r->used->ring[at].id, len);
		}
		kick(d, RX);
	}
	return 1;
}

static void pause_for(uint64_t ticks)
{
	for (uint64_t from = rdtsc(); rdtsc() - from < ticks;)
		__asm__ volatile("pause");
}

/* CVE-2020-16843: the host sends, the guest has no buffers, then it has. */
static void starve(struct dev *d)
{
	static const uint32_t lens[] = { RX_LEN, 12, 13, 60, 300 };
	unsigned wrong = 0;

	print(SAY_NET_FLOOD "\n");
	for (unsigned i = 0; i < 25; i++) {
		start_with(d, d->features & ~(i & 1 ? VIRTIO_F_EVENT_IDX : 0),
			   NRX);
		pause_for(50000000);
		for (unsigned k = 0; k < NRX; k++)
			refill(d, k, lens[i % 5]);
		kick(d, RX);
		wrong += !receive(d, i % 5 && i % 5 < 3 ? 0 : 200, lens[i % 5]);
	}
	print(SAY_NET_QUIET "\n");
	check_eq(wrong, 0, "a flood, and buffers that run out");
	check(recovers(d), "and it recovers");
}

static void bad_buffers(struct dev *d)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
	} t[] = {
		{ BUFFERS, 4096, 0 },
		{ BUFFERS, 11, VRING_DESC_F_WRITE },
		{ BUFFERS, 0, VRING_DESC_F_WRITE },
		{ ATTACK_RAM - 8, 64, VRING_DESC_F_WRITE },
		{ BUFFERS, 4096, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT },
	};
	unsigned wrong = 0;

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		start(d);
		d->q[RX].desc[0] = (struct vring_desc){ t[i].addr, t[i].len,
							t[i].flags, 0 };
		offer(d, RX, 0);
		kick(d, RX);
		wrong += !breaks(d);
	}
	check_eq(wrong, 0, "receive buffers that are none");
	check(recovers(d), "and it recovers");
}

/* --- the tap -------------------------------------------------------------- */

static uint16_t link_status(const struct dev *d)
{
	return *(volatile uint16_t *)(d->base + VIRTIO_MMIO_CONFIG +
				      CONFIG_STATUS);
}

static void down_and_up(struct dev *d)
{
	struct net_hdr h = { 0 };
	unsigned wrong = 0;

	start(d);
	print(SAY_NET_FLOOD "\n");
	for (unsigned i = 0; i < 5; i++) {
		print(SAY_NET_DOWN "\n");
		for (unsigned k = 0; k < 2000; k++) {
			make_frame(k & 1, 100);
			wrong += !send_packet(d, &h, HDR + 100);
		}
		print(SAY_NET_UP "\n");
	}
	print(SAY_NET_QUIET "\n");
	check_eq(wrong, 0, "a tap that goes down and up");
	check(recovers(d), "and frames arrive again");
	check_eq(link_status(d), 1, "the link stayed");
}

/* The last: it does not come back. */
static void gone(struct dev *d)
{
	struct net_hdr h = { 0 };
	uint64_t from = rdtsc();
	unsigned wrong = 0;

	start(d);
	for (unsigned k = 0; k < NRX; k++)
		refill(d, k, RX_LEN);
	kick(d, RX);
	print(SAY_NET_GONE "\n");
	while (link_status(d) && rdtsc() - from < LONG)
		wrong += !send_packet(d, &h, HDR + 100);
	check_eq(link_status(d), 0, "a tap that is gone is a link down");
	check(reg_read(d, VIRTIO_MMIO_INTR_STATUS) & VIRTIO_ISR_CONFIG,
	      "and the driver is told");
	check(reg_read(d, VIRTIO_MMIO_GENERATION) != 0, "of another config");
	for (unsigned k = 0; k < 1000; k++)
		wrong += !send_packet(d, &h, HDR + 100);
	check_eq(wrong, 0, "frames to nobody");
	check(start(d), "and it starts");
}

int main(void)
{
	struct dev *d;

	if (!attack_has(NET)) {
		check(!attack_has(NET), "no device is there");
		skip("all of it", "attack-run may make no tap");
		return 0;
	}
	d = attack_dev(NET);
	check(recovers(d), "ARP is answered");
	fields(d);
	checksums(d);
	oversize(d);
	lengths(d);
	double_fetch(d);
	starve(d);
	bad_buffers(d);
	down_and_up(d);
	gone(d);
	return 0;
}
