/* SPDX-License-Identifier: Apache-2.0 */
/* Ports of the guest, as the host reaches them: the agent's own process behind
 * a Unix socket, servers in a network namespace. */
#include "rootfs/agent/dial.h"
#include "tests/unit/agent_net_stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PORT	    8080
#define DEADLINE_MS 20000
#define LOTS	    (8u << 20)

static struct sockaddr_un door = { .sun_family = AF_UNIX };
static socklen_t door_len = sizeof(door);
static pid_t dialer;

/*
 * The kernel makes an IPv6 address the host's own a moment after it was added,
 * from a work queue. A socket that was connected to it before that looks for
 * it on the link, for ever: the way there has not changed, the table of what is
 * local has.
 */
static int await_own(void)
{
	return system("timeout 20 sh -c 'until ip -6 route get fd01::2 | "
		      "grep -q ^local; do sleep 0.01; done'");
}

static void setup(void)
{
	struct wire_net net = { .flags = WIRE_NET_V6,
				.v6 = { 0xfd, 0x01, [15] = 2 } };
	int fd;

	signal(SIGPIPE, SIG_IGN);
	enter_network();
	cr_assert_eq(system("ip link add eth0 type veth peer name far && "
			    "ip link set eth0 up && "
			    "ip addr add 198.18.0.2/30 dev eth0 && "
			    "ip addr add fd01::2/64 dev eth0 nodad"), 0);
	cr_assert_eq(await_own(), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&door,
			  sizeof(door.sun_family)), 0);
	cr_assert_eq(listen(fd, 300), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&door, &door_len), 0);
	dialer = fork();
	if (!dialer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, 3);
		close_range(4, ~0u, 0);
		_exit(dial_serve(3, &net) ? 1 : 0);
	}
	close(fd);
}

static void teardown(void)
{
	kill(dialer, SIGKILL);
}

TestSuite(agent_dial, .init = setup, .fini = teardown);

static int knock(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&door, door_len), 0);
	return fd;
}

static void ask(int fd, uint16_t kind)
{
	struct wire_dial dial = { .port = PORT, .kind = kind };
	uint8_t frame[WIRE_HDR + sizeof(dial)];
	size_t n = wire_put(frame, WIRE_DIAL, &dial, sizeof(dial));

	cr_assert_eq(send(fd, frame, n, 0), (ssize_t)n);
}

/* All of it, or what there is until the end. */
static size_t get(int fd, void *buf, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t have = 0;
	ssize_t n = 1;

	while (have < len && n > 0) {
		cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1, "silence");
		n = recv(fd, (char *)buf + have, len - have, 0);
		have += n > 0 ? (size_t)n : 0;
	}
	return have;
}

/* What DIALED says; -1 for an end without it. */
static int answer(int fd)
{
	uint8_t frame[WIRE_HDR + sizeof(struct wire_dialed)];
	struct wire_dialed dialed;
	struct wire_hdr h;

	if (get(fd, frame, sizeof(frame)) != sizeof(frame))
		return -1;
	memcpy(&h, frame, sizeof(h));
	memcpy(&dialed, frame + WIRE_HDR, sizeof(dialed));
	cr_assert(h.type == WIRE_DIALED && h.len == sizeof(dialed));
	return (int)dialed.error;
}

static int dial(uint16_t kind, int error)
{
	int fd = knock();

	ask(fd, kind);
	cr_assert_eq(answer(fd), error);
	return fd;
}

static int serve_on(const char *addr, int type)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_port = htons(PORT) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(PORT) };
	int is_v4 = inet_pton(AF_INET, addr, &v4.sin_addr) == 1, on = 1;
	int fd = socket(is_v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!is_v4)
		cr_assert_eq(inet_pton(AF_INET6, addr, &v6.sin6_addr), 1);
	cr_assert_eq(is_v4 ? bind(fd, (struct sockaddr *)&v4, sizeof(v4)) :
			     bind(fd, (struct sockaddr *)&v6, sizeof(v6)), 0);
	if (type == SOCK_STREAM)
		cr_assert_eq(listen(fd, 300), 0);
	return fd;
}

static const char *const places[] = { "127.0.0.1", "::1", "198.18.0.2",
				      "fd01::2", "0.0.0.0", "::" };

Test(agent_dial, server_is_found_wherever_it_listens)
{
	char c;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int server = serve_on(places[i], SOCK_STREAM);
		int host = dial(WIRE_DIAL_TCP, 0);
		int guest = accept(server, NULL, NULL);

		cr_assert_eq(send(host, "a", 1, 0), 1);
		cr_assert(get(guest, &c, 1) == 1 && c == 'a', "%s", places[i]);
		cr_assert_eq(send(guest, "b", 1, 0), 1);
		cr_assert(get(host, &c, 1) == 1 && c == 'b', "%s", places[i]);
		close(host);
		cr_assert_eq(get(guest, &c, 1), 0);
		close(guest);
		close(server);
	}
}

Test(agent_dial, refusal_is_told_and_ends_the_stream)
{
	int host = dial(WIRE_DIAL_TCP, ECONNREFUSED), server;
	char c;

	cr_assert_eq(get(host, &c, 1), 0);
	close(host);
	/* Who starts late is reached all the same. */
	server = serve_on("127.0.0.1", SOCK_STREAM);
	close(dial(WIRE_DIAL_TCP, 0));
	close(server);
}

Test(agent_dial, first_frame_that_is_none_ends_the_stream)
{
	static const uint8_t nonsense[WIRE_HDR + 4] = { 4, 0, 0, 0, 99 };
	struct wire_dial no_port = { .kind = WIRE_DIAL_TCP };
	uint8_t frame[WIRE_HDR + sizeof(no_port)];
	int fd = knock();

	cr_assert_eq(send(fd, nonsense, sizeof(nonsense), 0),
		     (ssize_t)sizeof(nonsense));
	cr_assert_eq(answer(fd), -1);
	close(fd);
	fd = knock();
	wire_put(frame, WIRE_DIAL, &no_port, sizeof(no_port));
	/* It may come in pieces. */
	cr_assert_eq(send(fd, frame, 3, 0), 3);
	cr_assert_eq(send(fd, frame + 3, sizeof(frame) - 3, 0),
		     (ssize_t)sizeof(frame) - 3);
	cr_assert_eq(answer(fd), -1);
	close(fd);
}

Test(agent_dial, each_direction_ends_by_itself)
{
	int server = serve_on("127.0.0.1", SOCK_STREAM);
	int host = dial(WIRE_DIAL_TCP, 0);
	int guest = accept(server, NULL, NULL);
	char buf[8];

	cr_assert_eq(send(host, "all", 3, 0), 3);
	cr_assert_eq(shutdown(host, SHUT_WR), 0);
	cr_assert_eq(get(guest, buf, sizeof(buf)), 3);
	/* The guest has the end, and may answer for as long as it likes. */
	cr_assert_eq(send(guest, "answer", 6, 0), 6);
	cr_assert_eq(get(host, buf, 6), 6);
	cr_assert_eq(send(guest, "more", 4, 0), 4);
	close(guest);
	cr_assert_eq(get(host, buf, sizeof(buf)), 4);
	close(host);

	host = dial(WIRE_DIAL_TCP, 0);
	guest = accept(server, NULL, NULL);
	cr_assert_eq(shutdown(guest, SHUT_WR), 0);
	cr_assert_eq(get(host, buf, 1), 0);
	cr_assert_eq(send(host, "late", 4, 0), 4);
	cr_assert_eq(get(guest, buf, 4), 4);
	close(host);
	cr_assert_eq(get(guest, buf, 1), 0);
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i % 251 ^ i >> 16);
}

static void *write_lots(void *arg)
{
	static uint8_t data[LOTS];
	int fd = *(int *)arg;
	size_t sent = 0;
	ssize_t n = 1;

	for (size_t i = 0; i < LOTS; i++)
		data[i] = pattern(i);
	for (; sent < LOTS && n > 0; sent += n > 0 ? (size_t)n : 0)
		n = send(fd, data + sent, LOTS - sent, 0);
	shutdown(fd, SHUT_WR);
	return NULL;
}

/* What came until the end, byte for byte, by pieces of odd sizes. */
static void expect_lots(int fd)
{
	static uint8_t buf[50021];
	size_t have = 0, n;

	do {
		n = get(fd, buf, 1 + have * 7 % sizeof(buf));
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(buf[i], pattern(have + i));
		have += n;
	} while (n);
	cr_assert_eq(have, LOTS);
}

Test(agent_dial, megabytes_pass_both_ways_and_none_waits_for_another)
{
	int server = serve_on("127.0.0.1", SOCK_STREAM);
	int stuck = dial(WIRE_DIAL_TCP, 0);
	int deaf = accept(server, NULL, NULL);
	int host = dial(WIRE_DIAL_TCP, 0);
	int guest = accept(server, NULL, NULL);
	pthread_t t[2];

	/* One that reads nothing, with all the room it has full. */
	pthread_create(&t[0], NULL, write_lots, &stuck);
	pthread_create(&t[1], NULL, write_lots, &host);
	expect_lots(guest);
	pthread_join(t[1], NULL);
	pthread_create(&t[1], NULL, write_lots, &guest);
	expect_lots(host);
	pthread_join(t[1], NULL);
	/* And then that one reads. */
	expect_lots(deaf);
	pthread_join(t[0], NULL);
}

Test(agent_dial, guest_that_hangs_up_frees_its_writer)
{
	int server = serve_on("127.0.0.1", SOCK_STREAM);
	int host = dial(WIRE_DIAL_TCP, 0);
	int guest = accept(server, NULL, NULL);
	struct linger now = { .l_onoff = 1 };
	pthread_t t;
	char c;

	pthread_create(&t, NULL, write_lots, &host);
	setsockopt(guest, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(guest);
	cr_assert_eq(get(host, &c, 1), 0);
	pthread_join(t, NULL);
}

Test(agent_dial, so_many_at_once_and_the_next_waits_for_its_turn)
{
	static int fd[WIRE_DIALS_MAX];
	int server = serve_on("127.0.0.1", SOCK_STREAM), last;
	struct pollfd p = { .events = POLLIN };

	for (int i = 0; i < WIRE_DIALS_MAX; i++)
		fd[i] = dial(WIRE_DIAL_TCP, 0);
	last = knock();
	ask(last, WIRE_DIAL_TCP);
	p.fd = last;
	cr_assert_eq(poll(&p, 1, 100), 0);
	for (int i = 0; i < WIRE_DIALS_MAX; i++) {
		close(accept(server, NULL, NULL));
		close(fd[i]);
	}
	cr_assert_eq(answer(last), 0);
	close(last);
}

/* --- datagrams -------------------------------------------------------- */

static void send_datagram(int fd, const void *p, uint16_t len)
{
	static uint8_t buf[2 + UINT16_MAX];

	memcpy(buf, &len, sizeof(len));
	memcpy(buf + sizeof(len), p, len);
	cr_assert_eq(send(fd, buf, sizeof(len) + len, 0),
		     (ssize_t)sizeof(len) + len);
}

static uint8_t datagram[UINT16_MAX];

static size_t get_datagram(int fd)
{
	uint16_t len;

	cr_assert_eq(get(fd, &len, sizeof(len)), sizeof(len));
	cr_assert_eq(get(fd, datagram, len), len);
	return len;
}

static ssize_t echo(int server)
{
	static uint8_t buf[UINT16_MAX];
	struct pollfd p = { .fd = server, .events = POLLIN };
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	ssize_t n;

	cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1, "no datagram");
	n = recvfrom(server, buf, sizeof(buf), 0, (struct sockaddr *)&from,
		     &len);
	cr_assert_eq(sendto(server, buf, (size_t)n, 0,
			    (struct sockaddr *)&from, len), n);
	return n;
}

Test(agent_dial, datagrams_keep_their_sizes)
{
	static const uint16_t sizes[] = { 1, 0, 1472, 65507, 2, 9000 };
	static uint8_t data[UINT16_MAX];
	int server = serve_on("127.0.0.1", SOCK_DGRAM);
	int host = dial(WIRE_DIAL_UDP, 0);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = pattern(i);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		send_datagram(host, data, sizes[i]);
		cr_assert_eq(echo(server), sizes[i]);
		cr_assert_eq(get_datagram(host), sizes[i]);
		cr_assert_eq(memcmp(datagram, data, sizes[i]), 0);
	}
	/* One that no socket takes is lost, and those behind it are not. */
	send_datagram(host, data, UINT16_MAX);
	for (int i = 0; i < 3; i++)
		send_datagram(host, data, 5);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(echo(server), 5);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(get_datagram(host), 5);
	close(host);
}

/* As a client does: nobody knows how long the news of a refusal takes. */
static void send_until_there(int host, int server, const char *p)
{
	struct pollfd there = { .fd = server, .events = POLLIN };

	for (int i = 0; i < 100; i++) {
		send_datagram(host, p, 2);
		if (poll(&there, 1, 200) == 1)
			return;
	}
	cr_assert_fail("%s: nothing arrives", p);
}

Test(agent_dial, datagrams_find_their_server_and_find_it_again)
{
	int host = dial(WIRE_DIAL_UDP, 0), server;

	send_datagram(host, "lost", 4);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		server = serve_on(places[i], SOCK_DGRAM);
		send_until_there(host, server, places[i]);
		/* It may be one that was on its way before. */
		cr_assert_eq(echo(server), (ssize_t)get_datagram(host), "%s",
			     places[i]);
		close(server);
		/* Nobody is there: it is known from the next one on. */
		send_datagram(host, "lost", 4);
	}
	close(host);
}
