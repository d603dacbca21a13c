/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports: clients on one side, on the other what stands for a guest
 * behind the run's vsock socket. All in a network of their own. */
#include "runner/publish.h"
#include "tests/unit/agent_net_stage.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "rootfs/wire.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/state.h"

#define DEADLINE_MS 20000
#define LOTS	    (8u << 20)

/* Ports of the guest, by what it does with who dials them. */
enum { ECHO = 80, REFUSE, GONE, SILENT, GIVE, EMPTY };
#define EMPTIES 30000

static char top[] = "/tmp/mayfly-publish-XXXXXX";
static struct state *state;
static struct publish *publish;
static pid_t guest, launcher;

/* --- the guest ----------------------------------------------------------- */

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i % 251 ^ i >> 16);
}

static void give(int fd)
{
	static uint8_t data[LOTS];
	size_t sent = 0;
	ssize_t n = 1;

	for (size_t i = 0; i < LOTS; i++)
		data[i] = pattern(i);
	for (; sent < LOTS && n > 0; sent += n > 0 ? (size_t)n : 0)
		n = send(fd, data + sent, LOTS - sent, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
}

/* Bytes or datagrams, whichever: what came goes back, then the end does. */
static void echo(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	shutdown(fd, SHUT_WR);
	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
}

/* Many datagrams of no bytes, for one. */
static void give_empty(int fd)
{
	static const uint16_t lengths[EMPTIES];
	char word[16];

	if (recv(fd, word, sizeof(word), 0) > 0 &&
	    send(fd, lengths, sizeof(lengths), MSG_NOSIGNAL) > 0)
		pause();
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	uint8_t frame[WIRE_HDR + sizeof(struct wire_dial)];
	struct wire_dialed dialed = { 0 };
	struct wire_dial dial;
	char line[64] = "";
	size_t n = 0;

	while (!strchr(line, '\n') && recv(fd, line + n, 1, 0) == 1)
		n++;
	if (strcmp(line, "CONNECT 1025\n") ||
	    io_read_full(fd, frame, sizeof(frame)) != sizeof(frame))
		_exit(3);
	memcpy(&dial, frame + WIRE_HDR, sizeof(dial));
	if (dial.port == SILENT)
		pause();
	if (dial.port != GONE) {
		dialed.error = dial.port == REFUSE ? ECONNREFUSED : 0;
		send(fd, "OK 1073741824\n", 14, MSG_NOSIGNAL);
		send(fd, frame, wire_put(frame, WIRE_DIALED, &dialed,
					 sizeof(dialed)), MSG_NOSIGNAL);
	}
	if (dial.port == ECHO)
		echo(fd);
	if (dial.port == GIVE)
		give(fd);
	if (dial.port == EMPTY)
		give_empty(fd);
	close(fd);
	return NULL;
}

static pid_t start_guest(int listener)
{
	pid_t pid = fork();
	pthread_t t;
	int fd;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	io_set_nonblock(listener, 0);
	while ((fd = accept(listener, NULL, NULL)) >= 0)
		pthread_create(&t, NULL, serve, (void *)(intptr_t)fd);
	_exit(0);
}

/* --- the launcher -------------------------------------------------------- */

static struct config_net net;
static struct err err;

static void want(const char *arg)
{
	cr_assert_eq(config_add_publish(&net, arg, &err), 0, "%s", err.msg);
}

static void setup(void)
{
	static char word[] = "true", *argv[] = { word, NULL };
	struct config c;
	struct state_new new = { .name = "web", .config = &c };
	int listener;

	signal(SIGPIPE, SIG_IGN);
	enter_network();
	cr_assert_not_null(mkdtemp(top));
	setenv("MAYFLY_STATE_DIR", top, 1);
	config_init(&c);
	c.argv = argv;
	cr_assert_eq(state_create(&state, &new, &err), 0, "%s", err.msg);
	listener = state_listen_vsock(state, &err);
	cr_assert_geq(listener, 0);
	guest = start_guest(listener);
	close(listener);
}

static void teardown(void)
{
	char line[64];

	if (launcher)
		kill(launcher, SIGKILL);
	kill(guest, SIGKILL);
	publish_close(&publish);
	state_discard(&state);
	snprintf(line, sizeof(line), "rm -rf %s", top);
	cr_expect_eq(system(line), 0);
}

TestSuite(publish, .init = setup, .fini = teardown, .timeout = 120);

static void open_ports(void)
{
	cr_assert_eq(publish_open(&publish, &net.publish, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(publish_record(publish, state, &err), 0);
}

static void start(void)
{
	struct ev_loop loop;
	int ready[2];
	char c;

	open_ports();
	cr_assert_eq(pipe(ready), 0);
	launcher = fork();
	if (launcher) {
		close(ready[1]);
		cr_assert_eq(read(ready[0], &c, 1), 0);
		close(ready[0]);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ev_loop_init(&loop) < 0 ||
	    publish_start(publish, &loop, state) < 0)
		_exit(1);
	close(ready[0]);
	close(ready[1]);
	_exit(ev_run(&loop) ? 1 : 0);
}

/* What the record says of port number @i. */
static json_int_t recorded(size_t i, const char *key)
{
	const json_t *ports =
		json_object_get(state_record(state)->doc, "ports");

	return json_integer_value(
		json_object_get(json_array_get(ports, i), key));
}

/* --- clients ------------------------------------------------------------- */

static int connect_to(const char *addr, uint16_t port, int type)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(port) };
	int is_v4 = inet_pton(AF_INET, addr, &v4.sin_addr) == 1;
	int fd = socket(is_v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);

	if (!is_v4)
		cr_assert_eq(inet_pton(AF_INET6, addr, &v6.sin6_addr), 1);
	cr_assert_eq(is_v4 ? connect(fd, (struct sockaddr *)&v4, sizeof(v4)) :
			     connect(fd, (struct sockaddr *)&v6, sizeof(v6)),
		     0, "%s:%u: %s", addr, port, strerror(errno));
	return fd;
}

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

static void expect_echo(int fd, const char *words)
{
	char buf[64];

	cr_assert_eq(send(fd, words, strlen(words), 0),
		     (ssize_t)strlen(words));
	cr_assert_eq(get(fd, buf, strlen(words)), strlen(words));
	cr_assert(!memcmp(buf, words, strlen(words)));
}

Test(publish, guest_is_reached_at_every_address_and_each_way_ends_by_itself)
{
	static const char *const addr[] = { "127.0.0.1", "127.9.9.9", "::1" };
	char c;

	want("8080:80");
	start();
	for (size_t i = 0; i < ARRAY_SIZE(addr); i++) {
		int fd = connect_to(addr[i], 8080, SOCK_STREAM);

		expect_echo(fd, "hello");
		shutdown(fd, SHUT_WR);
		cr_assert_eq(get(fd, &c, 1), 0);
		close(fd);
	}
}

Test(publish, refused_client_is_reset_at_once)
{
	struct pollfd p = { .events = POLLIN };
	char c;

	want("8081:81");
	want("8082:82");
	start();
	for (uint16_t port = 8081; port <= 8082; port++) {
		p.fd = connect_to("127.0.0.1", port, SOCK_STREAM);
		cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1);
		cr_assert_eq(recv(p.fd, &c, 1, 0), -1);
		cr_assert_eq(errno, ECONNRESET);
		close(p.fd);
	}
}

Test(publish, megabytes_come_whole_to_a_slow_reader)
{
	static uint8_t buf[50021];
	size_t have = 0, n;
	int fd;

	want("127.0.0.1:8084:84");
	start();
	fd = connect_to("127.0.0.1", 8084, SOCK_STREAM);
	do {
		n = get(fd, buf, 1 + have * 7 % sizeof(buf));
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(buf[i], pattern(have + i));
		have += n;
	} while (n);
	cr_assert_eq(have, LOTS);
}

static int count_files(pid_t pid)
{
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* More than are let in, at a guest that never answers: they wait, and who comes
 * to another port is served as soon as they go. */
Test(publish, flood_does_not_grow_the_launcher)
{
	enum { FLOOD = 400 };
	static int fd[FLOOD];
	int before, last;

	want("8083:83");
	want("8080:80");
	start();
	before = count_files(launcher);
	for (int i = 0; i < FLOOD; i++)
		fd[i] = connect_to("127.0.0.1", 8083, SOCK_STREAM);
	cr_assert_leq(count_files(launcher), before + 2 * WIRE_DIALS_MAX);
	for (int i = 0; i < FLOOD; i++)
		close(fd[i]);
	kill(guest, SIGKILL);
	/* The guest's end lets all of them go; and nobody is there any more. */
	last = connect_to("127.0.0.1", 8080, SOCK_STREAM);
	while (count_files(launcher) > before + 2)
		usleep(10000);
	close(last);
}

Test(publish, connections_over_the_limit_wait_for_their_turn)
{
	static int fd[WIRE_DIALS_MAX];
	struct pollfd p = { .events = POLLIN };

	want("8080:80");
	start();
	for (int i = 0; i < WIRE_DIALS_MAX; i++) {
		fd[i] = connect_to("127.0.0.1", 8080, SOCK_STREAM);
		expect_echo(fd[i], "x");
	}
	p.fd = connect_to("127.0.0.1", 8080, SOCK_STREAM);
	cr_assert_eq(send(p.fd, "y", 1, 0), 1);
	cr_assert_eq(poll(&p, 1, 100), 0);
	close(fd[7]);
	cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1);
	expect_echo(fd[8], "z");
}

static int is_same(const void *a, size_t n, const void *b, size_t len)
{
	return n == len && !memcmp(a, b, len);
}

/* A datagram may be lost; one that comes must be the one that was sent, or once
 * more the one before that, which was taken for lost. */
static void expect_datagram(int fd, const void *data, size_t len)
{
	static struct { const void *data; size_t len; } last[1024];
	static char buf[65536];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n = -1;

	cr_assert_lt(fd, (int)ARRAY_SIZE(last));
	do {
		cr_assert_eq(send(fd, data, len, 0), (ssize_t)len);
		while (poll(&p, 1, 200) == 1) {
			n = recv(fd, buf, sizeof(buf), 0);
			cr_assert_geq(n, 0);
			if (is_same(buf, (size_t)n, data, len))
				break;
			cr_assert(last[fd].data &&
				  is_same(buf, (size_t)n, last[fd].data,
					  last[fd].len), "%zd bytes", n);
			n = -1;
		}
	} while (n < 0);
	last[fd].data = data;
	last[fd].len = len;
}

Test(publish, datagrams_come_back_from_the_address_they_were_sent_to)
{
	static uint8_t big[20000];
	int a, b, c;

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = pattern(i);
	want("5353:80/udp");
	start();
	/* Connected sockets hear nobody else. */
	a = connect_to("127.0.0.1", 5353, SOCK_DGRAM);
	b = connect_to("127.9.9.9", 5353, SOCK_DGRAM);
	c = connect_to("::1", 5353, SOCK_DGRAM);
	expect_datagram(a, "one", 3);
	expect_datagram(b, "other", 5);
	expect_datagram(c, "", 0);
	expect_datagram(a, big, sizeof(big));
	expect_datagram(b, big, 1472);
}

Test(publish, more_clients_of_datagrams_than_there_is_room_for)
{
	static int fd[WIRE_DIALS_MAX + 10];

	want("5353:80/udp");
	want("8080:80");
	start();
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = connect_to("127.0.0.1", 5353, SOCK_DGRAM);
		expect_datagram(fd[i], &fd[i], sizeof(fd[i]));
	}
	/* The first is a new one again; and they do not keep others out. */
	expect_datagram(fd[0], &fd[0], sizeof(fd[0]));
	expect_echo(connect_to("::1", 8080, SOCK_STREAM), "there");
}

/* None is lost to who reads, and none of many turns is for them alone. */
Test(publish, empty_datagrams_leave_the_loop_its_turns)
{
	int fd, most = 0, all = 0, n, turns = 0, room = 64 << 20;
	struct ev_loop loop;
	char byte;

	want("5353:85/udp");
	open_ports();
	cr_assert_eq(ev_loop_init(&loop), 0);
	cr_assert_eq(publish_start(publish, &loop, state), 0);
	fd = connect_to("127.0.0.1", 5353, SOCK_DGRAM);
	/* The kernel may be late to hand them over: for many turns, then. */
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room,
				sizeof(room)), 0);
	cr_assert_eq(send(fd, "many", 4, 0), 4);
	while (all < EMPTIES && turns++ < 10000) {
		cr_assert_geq(ev_once(&loop, DEADLINE_MS), 0);
		for (n = 0; recv(fd, &byte, 1, MSG_DONTWAIT) == 0;)
			n++;
		all += n;
		most = n > most ? n : most;
	}
	cr_expect_eq(all, EMPTIES, "%d", all);
	cr_expect_leq(most, EMPTIES / 10, "%d", most);
	publish_close(&publish);
	ev_loop_free(&loop);
}

/* --- ports --------------------------------------------------------------- */

Test(publish, port_0_is_one_that_is_free_and_the_same_everywhere)
{
	want("0:80");
	want("127.0.0.1:0:80");
	start();
	cr_assert_gt(recorded(0, "host_port"), 1023);
	cr_assert_eq(recorded(0, "host_port"), recorded(1, "host_port"));
	cr_assert_neq(recorded(0, "host_port"), recorded(2, "host_port"));
	cr_assert_eq(recorded(2, "guest_port"), 80);
	for (size_t i = 0; i < 3; i++)
		expect_echo(connect_to(i == 1 ? "::1" : "127.0.0.1",
				       (uint16_t)recorded(i, "host_port"),
				       SOCK_STREAM), "hi");
}

static void expect_taken(const char *arg, const char *by)
{
	struct publish *other = NULL;

	net.publish.n = 0;
	want(arg);
	cr_assert_eq(publish_open(&other, &net.publish, &err), -EADDRINUSE);
	cr_assert_null(other);
	cr_assert(strstr(err.msg, by), "%s: %s", arg, err.msg);
	cr_assert(strstr(err.msg, "-p "), "%s", err.msg);
}

Test(publish, run_that_has_a_port_is_named)
{
	static const char *const ways[] = { "8080:1", "127.0.0.1:8080:1",
					    "[::]:8080:1", "[::1]:8080:1" };

	want("8080:80");
	want("127.0.0.1:9090:80/udp");
	open_ports();
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		expect_taken(ways[i], "run web (");
	expect_taken("9090:1/udp", "run web (");
	cr_assert(strstr(err.hint, "mayfly stop web"), "%s", err.hint);
}

Test(publish, process_that_has_a_port_is_named)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6,
				   .sin6_port = htons(8080) };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	char who[64];

	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	snprintf(who, sizeof(who), "(process ");
	expect_taken("8080:1", who);
	expect_taken("127.0.0.1:8080:1", who);
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	expect_taken("8080:1/udp", who);
}

Test(publish, address_of_another_host_is_none)
{
	want("203.0.113.7:80:80");
	cr_assert_eq(publish_open(&publish, &net.publish, &err),
		     -EADDRNOTAVAIL);
	cr_assert(strstr(err.msg, "no address of this host"), "%s", err.msg);
}
