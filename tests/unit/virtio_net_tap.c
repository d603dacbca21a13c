/* SPDX-License-Identifier: Apache-2.0 */
/* What the network device waits for: limits, resets, a tap that goes away;
 * who does its work; and a real tap. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "tests/unit/net_stage.h"

#define HOUR_MS 3600000u
#define RATE(n, ms) { .size = n, .refill_ms = ms }

static struct net_stage s;

static void start(struct virtio_net_params p, bool serve)
{
	stage_start(&s, p, serve, 0, RING);
}

static void teardown(void)
{
	stage_free(&s);
}

TestSuite(virtio_net_tap, .fini = teardown, .timeout = 60);

#define NOTHING (struct virtio_net_params){ 0 }

static void transmit(uint32_t len)
{
	struct fake_seg seg = { fake_alloc(&s.f, len), len, 0 };

	fake_add(&s.f, NET_TX, &seg, 1);
}

static uint16_t used(unsigned queue)
{
	return fake_used_ring(&s.f, queue)->idx;
}

static unsigned frames_out(void)
{
	static uint8_t p[NET_HDR + NET_FRAME_MAX];
	unsigned n = 0;

	while (recv(s.peer, p, sizeof(p), MSG_DONTWAIT) > 0)
		n++;
	return n;
}

/* Turns of the loop that wait for timers. */
static void run_until(unsigned queue, uint16_t n)
{
	while (used(queue) != n)
		cr_assert_geq(ev_once(&s.f.loop, 10000), 1, "nothing happens");
}

/* --- limits --------------------------------------------------------------- */

Test(virtio_net_tap, each_direction_has_its_own_operations)
{
	start((struct virtio_net_params){ .rx.ops = RATE(3, HOUR_MS),
					  .tx.ops = RATE(5, HOUR_MS) }, false);
	for (unsigned i = 0; i < 10; i++) {
		stage_offer(&s, 1000, 1);
		stage_arrive(&s, 100, i);
		transmit(100);
	}
	fake_kick(&s.f, NET_RX);
	fake_kick(&s.f, NET_TX);
	cr_assert_eq(used(NET_RX), 3);
	cr_assert_eq(used(NET_TX), 5);
	cr_assert_eq(frames_out(), 5);
	for (int i = 0; i < 10; i++) {
		fake_kick(&s.f, NET_RX);
		fake_kick(&s.f, NET_TX);
	}
	cr_assert_eq(used(NET_RX), 3);
	cr_assert_eq(used(NET_TX), 5);
	cr_assert(stage_idle(&s), "nobody is kept busy");
}

Test(virtio_net_tap, timer_goes_on_with_the_frame_in_hand)
{
	uint64_t at[8];

	start((struct virtio_net_params){ .rx.bytes = RATE(100, 2),
					  .tx.bytes = RATE(100, 2) }, false);
	for (unsigned i = 0; i < 8; i++) {
		at[i] = stage_offer(&s, 1000, 1);
		stage_arrive(&s, 112, i);
		transmit(112);
	}
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_RX);
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TX);
	run_until(NET_RX, 8);
	run_until(NET_TX, 8);
	cr_assert_eq(frames_out(), 8);
	for (unsigned i = 0; i < 8; i++)
		stage_received(&s, at[i], 1000, 112, i);
}

Test(virtio_net_tap, reset_gives_no_tokens_back)
{
	start((struct virtio_net_params){ .tx.ops = RATE(3, HOUR_MS) }, false);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 5; i++)
			transmit(100);
		fake_kick(&s.f, NET_TX);
		fake_start(&s.f, fake_offered(&s.f), RING);
		fake_run(&s.f);
	}
	cr_assert_eq(frames_out(), 3);
}

/* --- threads -------------------------------------------------------------- */

Test(virtio_net_tap, kick_that_is_a_call_sends_at_once)
{
	start(NOTHING, true);
	transmit(100);
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TX);
	cr_assert_eq(frames_out(), 1, "before the loop turns");
	cr_assert(stage_idle(&s), "and the main thread sleeps on");
	transmit(NET_HDR + VIRTIO_NET_SHORT);
	transmit(NET_HDR + VIRTIO_NET_SHORT + 1);
	transmit(100);
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TX);
	cr_assert_eq(frames_out(), 1, "the long one is not for a vCPU");
	fake_run(&s.f);
	cr_assert_eq(frames_out(), 2, "and all stay in order");
}

Test(virtio_net_tap, kick_for_buffers_wakes_only_who_waits_for_them)
{
	uint64_t at;

	start(NOTHING, true);
	at = stage_offer(&s, 1000, 1);
	stage_arrive(&s, 100, 1);
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_RX);
	fake_run(&s.f);
	stage_received(&s, at, 1000, 100, 1);
	stage_offer(&s, 1000, 1);
	fake_kick(&s.f, NET_RX);
	stage_offer(&s, 1000, 1);
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_RX);
	cr_assert(stage_idle(&s));
}

Test(virtio_net_tap, limited_and_blocked_frames_are_the_main_threads)
{
	start((struct virtio_net_params){ .tx.ops = RATE(1, HOUR_MS) }, true);
	transmit(100);
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TX);
	cr_assert_eq(frames_out(), 0);
	fake_run(&s.f);
	cr_assert_eq(frames_out(), 1);
	teardown();
	start(NOTHING, true);
	for (int i = 0; i < RING; i++) {
		s.f.heap = FAKE_HEAP;
		transmit(60000);
	}
	for (int i = 0; i < 10; i++)
		fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TX);
	fake_run(&s.f);
	cr_assert_lt(used(NET_TX), RING);
	for (int i = 0; i < RING && used(NET_TX) < RING; i++) {
		frames_out();
		fake_run(&s.f);
	}
	cr_assert_eq(used(NET_TX), RING);
}

/* One turn of the loop is bounded; others get theirs. */
Test(virtio_net_tap, turn_ends_before_the_ring_does)
{
	struct virtio_net_params p = { 0 };
	int room = 16 << 20;

	start(p, false);
	if (setsockopt(s.peer, SOL_SOCKET, SO_SNDBUFFORCE, &room,
		       sizeof(room)) < 0)
		cr_skip_test("only root has sockets with so much room");
	for (unsigned i = 0; i < RING; i++) {
		s.f.heap = FAKE_HEAP;
		stage_offer(&s, 65562, 1);
		stage_arrive(&s, 65562, i);
	}
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_RX);
	ev_once(&s.f.loop, 0);
	cr_assert_gt(used(NET_RX), 0);
	cr_assert_leq(used(NET_RX), VIRTIO_NET_ROUND / 65562 + 2);
	fake_run(&s.f);
	cr_assert_eq(used(NET_RX), RING);
}

/* --- an end --------------------------------------------------------------- */

static unsigned link_up(void)
{
	uint16_t v = 0;

	virtio_mmio_access(s.f.dev, CFG + 6, &v, 2, 0);
	return v;
}

Test(virtio_net_tap, tap_that_goes_away_takes_the_link_down)
{
	uint32_t generation;

	start(NOTHING, false);
	stage_offer(&s, 1000, 1);
	fake_kick(&s.f, NET_RX);
	generation = fake_read(&s.f, VIRTIO_MMIO_GENERATION);
	cr_assert_eq(link_up(), 1);
	fake_write(&s.f, VIRTIO_MMIO_INTR_ACK, ~0u);
	close(s.peer);
	s.peer = -1;
	fake_run(&s.f);
	cr_assert(stage_idle(&s), "a loop without rest");
	cr_assert_eq(link_up(), 0);
	cr_assert(fake_read(&s.f, VIRTIO_MMIO_INTR_STATUS) &
		  VIRTIO_ISR_CONFIG);
	cr_assert_neq(fake_read(&s.f, VIRTIO_MMIO_GENERATION), generation);
	for (int i = 0; i < 3; i++)
		transmit(100);
	fake_kick(&s.f, NET_TX);
	cr_assert_eq(used(NET_TX), 3, "frames are lost, not held");
	cr_assert_not(fake_broken(&s.f));
	fake_start(&s.f, fake_offered(&s.f), RING);
	fake_run(&s.f);
	cr_assert_eq(link_up(), 0, "for good");
}

Test(virtio_net_tap, sender_sees_that_it_is_gone)
{
	start(NOTHING, true);
	close(s.peer);
	s.peer = -1;
	transmit(100);
	fake_kick(&s.f, NET_TX);
	cr_assert_eq(used(NET_TX), 1);
	cr_assert_eq(link_up(), 0);
	transmit(100);
	fake_write(&s.f, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TX);
	cr_assert_eq(used(NET_TX), 2);
}

Test(virtio_net_tap, reset_forgets_frames_and_buffers_in_hand)
{
	uint64_t at;

	start(NOTHING, false);
	stage_offer(&s, 100, 1);
	fake_kick(&s.f, NET_RX);
	stage_arrive(&s, 500, 1); /* waits */
	fake_run(&s.f);
	for (int i = 0; i < RING; i++) {
		s.f.heap = FAKE_HEAP + 4096;
		transmit(60000);
	}
	fake_kick(&s.f, NET_TX); /* blocked */
	fake_write(&s.f, VIRTIO_MMIO_STATUS, 0);
	fake_run(&s.f);
	cr_assert(stage_idle(&s));
	frames_out();
	fake_start(&s.f, fake_offered(&s.f), RING);
	fake_run(&s.f);
	at = stage_offer(&s, 100, 1);
	stage_arrive(&s, 90, 2);
	fake_kick(&s.f, NET_RX);
	stage_received(&s, at, 100, 90, 2);
	transmit(100);
	fake_kick(&s.f, NET_TX);
	cr_assert_eq(frames_out(), 1);
}

/* --- a real tap ----------------------------------------------------------- */

/* In a network of the test's own. */
static int open_tap(short flags)
{
	struct ifreq ifr = { .ifr_name = "tap0", .ifr_flags = flags };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		cr_skip_test("a network of its own: %s", strerror(errno));
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		cr_skip_test("open /dev/net/tun: %s", strerror(errno));
	cr_assert_eq(ioctl(fd, TUNSETIFF, &ifr), 0, "%s", strerror(errno));
	return fd;
}

/* What the kernel sends on its own account, as soon as it may. */
static void set_up(int up)
{
	struct ifreq ifr = { .ifr_name = "tap0" };
	int sock = socket(AF_INET, SOCK_DGRAM, 0);

	cr_assert_eq(ioctl(sock, SIOCGIFFLAGS, &ifr), 0);
	ifr.ifr_flags = up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP;
	cr_assert_eq(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
	close(sock);
}

Test(virtio_net_tap, tap_that_is_down_loses_frames_and_comes_back)
{
	struct virtio_net_params p = { 0 };
	int fd = open_tap(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);

	s.peer = -1;
	stage_boot(&s, fd, p, false, 0, RING);
	for (int i = 0; i < 32; i++)
		stage_offer(&s, 2000, 1);
	fake_kick(&s.f, NET_RX);
	for (int round = 1; round <= 3; round++) {
		transmit(100); /* EIO */
		fake_kick(&s.f, NET_TX);
		cr_assert_eq(used(NET_TX), 2 * round - 1);
		cr_assert(stage_idle(&s));
		cr_assert_eq(link_up(), 1);
		set_up(1);
		transmit(100);
		fake_kick(&s.f, NET_TX);
		cr_assert_eq(used(NET_TX), 2 * round);
		/* Unasked, the kernel discovers its neighbours. */
		for (uint16_t n = used(NET_RX); used(NET_RX) == n;)
			cr_assert_geq(ev_once(&s.f.loop, 10000), 1);
		set_up(0);
		fake_run(&s.f);
	}
	cr_assert_not(fake_broken(&s.f));
}

/* Neighbour discovery, unasked: a frame that nobody has to send. */
Test(virtio_net_tap, kernel_and_driver_see_frames_of_each_other)
{
	struct virtio_net_params p = { 0 };
	int fd = open_tap(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	const uint8_t *frame;
	uint64_t at;

	s.peer = -1;
	stage_boot(&s, fd, p, false, 0, RING);
	at = stage_offer(&s, 2000, 1);
	fake_kick(&s.f, NET_RX);
	set_up(1);
	while (used(NET_RX) == 0)
		cr_assert_geq(ev_once(&s.f.loop, 10000), 1);
	frame = fake_ptr(&s.f, at);
	cr_assert_eq(frame[10], 1); /* num_buffers, which no tap writes */
	cr_assert_eq(frame[NET_HDR + 12], 0x86);
	cr_assert_eq(frame[NET_HDR + 13], 0xdd);
}

/* The device goes, whoever has it open. */
static void remove_tap(void)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} m = { .h = { .nlmsg_len = sizeof(m), .nlmsg_type = RTM_DELLINK,
		       .nlmsg_flags = NLM_F_REQUEST },
		.i = { .ifi_index = (int)if_nametoindex("tap0") } };
	int sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	cr_assert_eq(send(sock, &m, sizeof(m), 0), sizeof(m));
	close(sock);
}

/* Nothing is to be read or written then: poll() says POLLERR alone. */
Test(virtio_net_tap, tap_that_is_removed_takes_the_link_down)
{
	struct virtio_net_params p = { 0 };
	int fd = open_tap(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);

	s.peer = -1;
	stage_boot(&s, fd, p, false, 0, RING);
	stage_offer(&s, 2000, 1);
	fake_kick(&s.f, NET_RX);
	cr_assert(stage_idle(&s));
	remove_tap();
	for (int i = 0; i < 100 && link_up(); i++)
		ev_once(&s.f.loop, 100);
	cr_assert_eq(link_up(), 0);
	cr_assert(stage_idle(&s), "a loop without rest");
}

Test(virtio_net_tap, tap_of_another_kind_is_refused)
{
	struct virtio_net_params p = { 0 };
	struct err err = { 0 };

	s.peer = -1;
	p.fd = open_tap(IFF_TAP | IFF_NO_PI);
	fake_init(&s.f);
	cr_assert_null(virtio_net_new(&s.f.host, 5, &p, &err));
	cr_assert_eq(err.code, -EINVAL);
	cr_assert_not_null(strstr(err.msg, "tap0"));
	cr_assert_geq(fcntl(p.fd, F_GETFD), 0, "still the caller's");
	close(p.fd);
}
