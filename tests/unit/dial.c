/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to resolvers, for a forwarder that may be anybody's by now. */
#include "net/dial.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define LONG_NS UINT64_C(20000000000)

static struct ev_loop loop;
static struct dialler d;
static struct forward_resolver resolver[2];
static int listener, theirs, ours; /* theirs: the forwarder's end */
static unsigned nfailed;
static int failure;

static void on_failure(void *opaque, struct err *err)
{
	cr_assert_eq(opaque, &d);
	cr_expect(*err->msg);
	failure = err->code;
	nfailed++;
}

/* A server at a port of its own, for the first; nobody, for the second. */
static void resolvers(int backlog)
{
	struct sockaddr_in at[2];

	for (unsigned i = 0; i < 2; i++) {
		socklen_t len = sizeof(at[i]);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		at[i] = (struct sockaddr_in){ .sin_family = AF_INET,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		cr_assert_eq(bind(fd, (struct sockaddr *)&at[i], len), 0);
		cr_assert_eq(getsockname(fd, (struct sockaddr *)&at[i], &len),
			     0);
		resolver[i] = (struct forward_resolver){
			.addr = net_addr4(127, 0, 0, 1),
			.port = ntohs(at[i].sin_port) };
		if (i == 0) {
			listener = fd;
			cr_assert_eq(listen(fd, backlog), 0);
		}
		/* The other is bound, and so nobody else's. */
	}
}

static void begin(int backlog)
{
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	resolvers(backlog);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				pair), 0);
	ours = pair[0];
	theirs = pair[1];
	cr_assert_eq(fcntl(theirs, F_SETFL, O_NONBLOCK), 0);
	cr_assert_eq(ev_loop_init(&loop), 0);
	dialler_init(&d);
	cr_assert_eq(dialler_open(&d, &loop, ours, resolver, 2, on_failure, &d),
		     0);
}

static void end(void)
{
	dialler_close(&d);
	dialler_close(&d);
	for (unsigned i = 0; i < DIALS_MAX; i++)
		cr_expect_eq(d.dial[i].ev.fd, -1);
	close_fd(&ours);
	close_fd(&theirs);
	ev_loop_free(&loop);
}

static int asks(uint32_t stream, uint32_t upstream)
{
	struct forward_dial word = { stream, upstream };

	return send(theirs, &word, sizeof(word), MSG_NOSIGNAL) == sizeof(word);
}

/* What the forwarder hears: 0, its descriptor in *@fd; or -EAGAIN. */
static int heard(struct forward_dialled *said, int *fd)
{
	size_t n = 1;
	ssize_t r;

	*fd = -1;
	r = io_recv_fds(theirs, said, sizeof(*said), fd, &n);
	if (r == -EAGAIN)
		return -EAGAIN;
	cr_assert_eq(r, sizeof(*said), "%zd", r);
	cr_expect_eq(n, said->error == 0);
	return 0;
}

static void hears(struct forward_dialled *said, int *fd)
{
	uint64_t until = io_now_ns() + LONG_NS;

	while (heard(said, fd) == -EAGAIN) {
		cr_assert_lt(io_now_ns(), until, "no answer");
		cr_assert_geq(ev_once(&loop, 100), 0);
	}
}

static void expect_failure(int code)
{
	uint64_t until = io_now_ns() + LONG_NS;

	while (!nfailed && io_now_ns() < until)
		cr_assert_geq(ev_once(&loop, 100), 0);
	cr_expect_eq(nfailed, 1);
	cr_expect_eq(failure, code, "%d", failure);
	end();
	nfailed = 0;
}

static unsigned under_way(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < DIALS_MAX; i++)
		n += d.dial[i].ev.fd >= 0;
	return n;
}

/* --- what it is for ------------------------------------------------------- */

Test(dial, connection_is_made_and_given_away, .timeout = 60)
{
	struct forward_dialled said;
	char byte = 0;
	int fd, peer;

	begin(16);
	cr_assert(asks(7, 0));
	hears(&said, &fd);
	cr_expect_eq(said.stream, 7);
	cr_assert_eq(said.error, 0);
	cr_expect(fcntl(fd, F_GETFL) & O_NONBLOCK);
	cr_expect_eq(under_way(), 0);
	peer = accept(listener, NULL, NULL);
	cr_assert_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	cr_assert_eq(recv(peer, &byte, 1, 0), 1);
	cr_expect_eq(byte, 'x');
	/* nobody else has it */
	close(fd);
	cr_expect_eq(recv(peer, &byte, 1, 0), 0);
	close(peer);
	end();
}

Test(dial, refusal_is_told, .timeout = 60)
{
	struct forward_dialled said;
	int fd;

	begin(16);
	cr_assert(asks(3, 1));
	hears(&said, &fd);
	cr_expect_eq(said.stream, 3);
	cr_expect_eq(said.error, -ECONNREFUSED);
	cr_expect_eq(under_way(), 0);
	end();
}

/* A queue that is full: what asks to be let in is not heard. */
static void nobody_answers(int fd[4])
{
	for (unsigned i = 0; i < 4; i++) {
		fd[i] = forward_connect(&resolver[0], SOCK_STREAM);
		cr_assert_geq(fd[i], 0);
	}
}

Test(dial, silence_has_an_end, .timeout = 60)
{
	struct forward_dialled said;
	int full[4], fd;

	begin(0);
	nobody_answers(full);
	d.patience = 100000000;
	cr_assert(asks(3, 0));
	hears(&said, &fd);
	cr_expect_eq(said.stream, 3);
	cr_expect_eq(said.error, -ETIMEDOUT, "%d", said.error);
	cr_expect_eq(under_way(), 0);
	end();
}

/* --- too much ------------------------------------------------------------- */

Test(dial, so_many_are_under_way_at_once, .timeout = 60)
{
	struct forward_dialled said;
	int full[4], fd;

	begin(0);
	nobody_answers(full);
	d.patience = LONG_NS;
	for (unsigned i = 0; i < DIALS_MAX + 4; i++)
		cr_assert(asks(i, 0));
	for (unsigned i = 0; i < 100; i++) {
		cr_assert_geq(ev_once(&loop, 0), 0);
		cr_assert_leq(under_way(), DIALS_MAX);
	}
	cr_expect_eq(under_way(), DIALS_MAX);
	cr_expect_eq(heard(&said, &fd), -EAGAIN);
	/* its end is heard all the same */
	close_fd(&theirs);
	expect_failure(-EIO);
}

/* Words wait in the socket of who sends them. They are read on with time. */
Test(dial, so_many_in_a_second, .timeout = 60)
{
	uint64_t from = io_now_ns(), passed;
	struct forward_dialled said;
	unsigned sent = 0, got = 0;
	int fd;

	begin(16);
	while (got < 2 * DIALS_PER_SECOND) {
		while (asks(sent % FORWARD_STREAMS, 1))
			sent++;
		cr_assert_geq(ev_once(&loop, 10), 0);
		while (heard(&said, &fd) == 0) {
			cr_expect_eq(said.stream, got % FORWARD_STREAMS);
			got++;
		}
		passed = io_now_ns() - from;
		cr_assert_leq(got, DIALS_PER_SECOND + 1 +
				   passed / (1000000000u / DIALS_PER_SECOND));
	}
	cr_expect_gt(sent, got);
	end();
}

/* Who never reads has few descriptors on their way, and then none. */
Test(dial, who_does_not_read_is_found_out, .timeout = 60)
{
	unsigned n = 0;
	int fd;

	begin(16);
	while (!nfailed) {
		d.tokens = 1000000000;
		(void)asks(n, 0);
		cr_assert_geq(ev_once(&loop, 1000), 0);
		/* the resolver's side, which takes them all */
		while (poll(&(struct pollfd){ listener, POLLIN, 0 }, 1, 0) > 0) {
			fd = accept(listener, NULL, NULL);
			close(fd);
			n++;
		}
		cr_assert_lt(n, 64);
	}
	/* as many as an honest one may have to read */
	cr_expect_geq(n, FORWARD_STREAMS);
	expect_failure(-EPROTO);
}

/* --- nonsense -------------------------------------------------------------- */

Test(dial, words_that_make_no_sense_are_the_end, .timeout = 60)
{
	const struct forward_dial word = { 0, 0 };
	struct { struct forward_dial word; char more; } longer = { .more = 1 };

	begin(16);
	cr_assert(asks(0, 2));
	expect_failure(-EPROTO);
	begin(16);
	cr_assert(asks(0, UINT32_MAX));
	expect_failure(-EPROTO);
	begin(16);
	cr_assert_gt(send(theirs, &word, sizeof(word) - 1, 0), 0);
	expect_failure(-EPROTO);
	begin(16);
	cr_assert_gt(send(theirs, &longer, sizeof(longer), 0), 0);
	expect_failure(-EPROTO);
	begin(16);
	cr_assert_eq(send(theirs, &word, 0, 0), 0);
	expect_failure(-EIO);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(dial, descriptors_are_not_taken, .timeout = 60)
{
	struct forward_dial word = { 1, 1 };
	struct forward_dialled said;
	unsigned before;
	int fd;

	begin(16);
	before = open_descriptors();
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(io_send_fds(theirs, &word, sizeof(word), &listener,
					 1), 0);
		hears(&said, &fd);
	}
	cr_expect_eq(open_descriptors(), before);
	end();
}
