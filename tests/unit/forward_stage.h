/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DNS forwarder in a thread, and all that it talks to: guest, upstreams and
 * keeper are the test, on loopback. Whatever is waited for comes, or the test
 * has failed; nobody measures how long it takes. Where the forwarder has little
 * patience it is turned by hand: it then waits for a test that is held up.
 */
#ifndef MAYFLY_TESTS_UNIT_FORWARD_STAGE_H
#define MAYFLY_TESTS_UNIT_FORWARD_STAGE_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/dns.h"
#include "net/forward.h"
#include "net/forward_impl.h"
#include "net/keep.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define LONG_MS	 20000 /* what comes, comes sooner */
#define SHORT_MS 50    /* what must not come gets a chance */
#define NEVER_MS 600000

struct stage {
	struct forward_params p;
	struct forward *f;
	pthread_t thread;
	int result;
	int control, keeper; /* the test's ends */
	int up[FORWARD_UPSTREAMS];
	struct sockaddr_in guest_udp, guest_tcp; /* the forwarder's */
	int guest; /* a UDP socket of the guest's */
	struct err err;
};

/* What an upstream has heard. */
struct heard {
	struct dns_query q;
	struct sockaddr_in from;
	uint16_t edns; /* the size that it takes; 0: no EDNS */
};

static struct forward *by_hand; /* NULL: it has a thread */

static inline int ready(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t until = io_now_ns() + (uint64_t)ms * 1000000;

	if (!by_hand)
		return poll(&p, 1, ms) > 0;
	while (poll(&p, 1, 0) <= 0) {
		if (io_now_ns() >= until)
			return 0;
		cr_assert_geq(forward_turn(by_hand, 10), 0);
	}
	return 1;
}

static inline int bound(int type, struct sockaddr_in *at)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*at);

	*at = (struct sockaddr_in){ .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)at, sizeof(*at)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)at, &len), 0);
	return fd;
}

static inline void allow(struct stage *s, const char *rule)
{
	cr_assert_eq(net_rules_allow(&s->p.rules, rule, &s->err), 0);
}

static inline void deny(struct stage *s, const char *rule)
{
	cr_assert_eq(net_rules_deny(&s->p.rules, rule, &s->err), 0);
}

/* All but the forwarder; rules and times may then be changed. */
static inline void stage_init(struct stage *s, unsigned nupstreams)
{
	struct forward_resolver r[FORWARD_UPSTREAMS];
	struct sockaddr_in at;
	int pair[2];

	memset(s, 0, sizeof(*s));
	signal(SIGPIPE, SIG_IGN);
	forward_params_init(&s->p);
	for (unsigned i = 0; i < nupstreams; i++) {
		s->up[i] = bound(SOCK_DGRAM, &at);
		r[i] = (struct forward_resolver){
			.addr = net_addr4(127, 0, 0, 1),
			.port = ntohs(at.sin_port) };
	}
	if (nupstreams)
		cr_assert_eq(forward_upstreams(&s->p, r, nupstreams, &s->err),
			     0, "%s", s->err.msg);
	s->p.udp[0] = bound(SOCK_DGRAM, &s->guest_udp);
	s->p.tcp[0] = bound(SOCK_STREAM, &s->guest_tcp);
	cr_assert_eq(listen(s->p.tcp[0], 64), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	s->p.control = pair[0];
	s->control = pair[1];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	s->p.keeper = pair[0];
	s->keeper = pair[1];
	s->guest = bound(SOCK_DGRAM, &at);
	cr_assert_eq(connect(s->guest, (struct sockaddr *)&s->guest_udp,
			     sizeof(s->guest_udp)), 0);
	s->p.patience_ms = s->p.idle_ms = NEVER_MS;
}

static inline void stage_open(struct stage *s)
{
	cr_assert_eq(forward_open(&s->f, &s->p, &s->err), 0, "%s", s->err.msg);
	forward_params_close(&s->p); /* nothing is left in it */
}

static inline void *stage_thread(void *arg)
{
	struct stage *s = arg;

	s->result = forward_serve(s->f);
	return NULL;
}

static inline void stage_go(struct stage *s)
{
	stage_open(s);
	cr_assert_eq(pthread_create(&s->thread, NULL, stage_thread, s), 0);
}

static inline void stage_go_by_hand(struct stage *s)
{
	stage_open(s);
	by_hand = s->f;
}

/* How it ended. */
static inline int stage_join(struct stage *s)
{
	if (!by_hand)
		pthread_join(s->thread, NULL);
	else
		s->result = forward_serve(by_hand);
	by_hand = NULL;
	forward_free(s->f);
	s->f = NULL;
	close_fd(&s->control);
	close_fd(&s->keeper);
	close_fd(&s->guest);
	return s->result;
}

static inline void stage_end(struct stage *s)
{
	close_fd(&s->control);
	cr_expect_eq(stage_join(s), 0);
}

/* It has read all that is there for it: no more than that can be lost. */
static inline void await_read(struct stage *s)
{
	struct pollfd p = { .events = POLLIN };

	for (unsigned i = 0; i < FORWARD_SOCKETS; i++) {
		p.fd = s->f->upstream[0][i].ev.fd;
		while (poll(&p, 1, 0) > 0)
			poll(NULL, 0, 1);
	}
}

/* --- the guest ---------------------------------------------------------- */

static inline size_t ask_bytes(uint8_t *buf, size_t size, uint16_t id,
			       const char *name, unsigned type, unsigned edns)
{
	struct dns_question q = { .type = (uint16_t)type,
				  .class = DNS_CLASS_IN };
	size_t n;

	cr_assert_eq(dns_name_parse(&q.name, name), 0, "%s", name);
	n = dns_build_query(buf, size, id, &q, (uint16_t)edns);
	cr_assert(n);
	return n;
}

static inline void guest_asks_by(int fd, uint16_t id, const char *name,
				 unsigned type, unsigned edns)
{
	uint8_t buf[512];
	size_t n = ask_bytes(buf, sizeof(buf), id, name, type, edns);

	cr_assert_eq(send(fd, buf, n, 0), (ssize_t)n);
}

static inline void guest_asks(struct stage *s, uint16_t id, const char *name,
			      unsigned type)
{
	guest_asks_by(s->guest, id, name, type, 0);
}

static inline void guest_hears_by(int fd, struct dns_answer *a)
{
	uint8_t buf[DNS_MESSAGE_MAX];
	ssize_t n;

	cr_assert(ready(fd, LONG_MS), "no answer to the guest");
	n = recv(fd, buf, sizeof(buf), 0);
	cr_assert_gt(n, 0);
	cr_assert_eq(dns_parse_answer(a, buf, (size_t)n), 0);
}

static inline void guest_hears(struct stage *s, struct dns_answer *a)
{
	guest_hears_by(s->guest, a);
}

static inline int guest_hears_nothing(struct stage *s)
{
	return !ready(s->guest, SHORT_MS);
}

static inline void expect_rcode(struct stage *s, uint16_t id, unsigned rcode)
{
	struct dns_answer a;

	guest_hears(s, &a);
	cr_expect_eq(a.id, id, "%u", a.id);
	cr_expect_eq(a.rcode, rcode, "%u: %u", id, a.rcode);
	cr_expect_eq(a.naddrs, 0);
}

/* --- upstreams ---------------------------------------------------------- */

static inline void up_hears(struct stage *s, unsigned i, struct heard *h)
{
	uint8_t buf[DNS_MESSAGE_MAX];
	socklen_t len = sizeof(h->from);
	ssize_t n;

	cr_assert(ready(s->up[i], LONG_MS), "upstream %u was not asked", i);
	n = recvfrom(s->up[i], buf, sizeof(buf), 0,
		     (struct sockaddr *)&h->from, &len);
	cr_assert_gt(n, 0);
	cr_assert_eq(dns_parse_query(&h->q, buf, (size_t)n), 0);
	h->edns = h->q.edns ? (uint16_t)(buf[n - 8] << 8 | buf[n - 7]) : 0;
}

static inline int up_hears_nothing(struct stage *s, unsigned i)
{
	return !ready(s->up[i], SHORT_MS);
}

static inline void up_says(struct stage *s, unsigned i, const struct heard *h,
			   const void *msg, size_t len)
{
	cr_assert_eq(sendto(s->up[i], msg, len, 0,
			    (const struct sockaddr *)&h->from, sizeof(h->from)),
		     (ssize_t)len);
}

/*
 * It listens no more, and its port is closed to all. The port stays taken: one
 * that is free may be somebody else's a moment later, who is silent.
 */
static inline void up_closes(struct stage *s, unsigned i)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	cr_assert_eq(getsockname(s->up[i], (struct sockaddr *)&at, &len), 0);
	cr_assert_eq(connect(s->up[i], (struct sockaddr *)&at, len), 0);
}

/* It is there again. */
static inline void up_opens(struct stage *s, unsigned i)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	int one = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(getsockname(s->up[i], (struct sockaddr *)&at, &len), 0);
	setsockopt(s->up[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, len), 0);
	close(s->up[i]);
	s->up[i] = fd;
}

/* An answer as servers make it. */
static inline void up_answers(struct stage *s, unsigned i,
			      const struct heard *h, unsigned rcode,
			      const struct dns_answer *a)
{
	uint8_t buf[DNS_MESSAGE_MAX];
	size_t n = dns_build_answer(buf, sizeof(buf), &h->q, rcode, a);

	cr_assert(n);
	up_says(s, i, h, buf, n);
}

/* @addrs: up to four of them, as text, NULL after the last. */
struct reply {
	const char *chain[4], *addrs[4];
	uint32_t ttl;
};

static inline void make(struct dns_answer *a, const struct reply *r)
{
	memset(a, 0, sizeof(*a));
	a->ttl = r->ttl;
	while (a->nlinks < 4 && r->chain[a->nlinks]) {
		cr_assert_eq(dns_name_parse(&a->link[a->nlinks],
					    r->chain[a->nlinks]), 0);
		a->nlinks++;
	}
	while (a->naddrs < 4 && r->addrs[a->naddrs]) {
		cr_assert_eq(net_addr_read(&a->addr[a->naddrs],
					   r->addrs[a->naddrs]), 0);
		a->naddrs++;
	}
}

#define REPLY_TTL(t, ...) (&(const struct reply){ .ttl = (t), __VA_ARGS__ })
#define REPLY(...) REPLY_TTL(300, __VA_ARGS__)
#define ADDRS(...) .addrs = { __VA_ARGS__ }

static inline void up_replies(struct stage *s, const struct reply *r)
{
	struct dns_answer a;
	struct heard h;

	up_hears(s, 0, &h);
	make(&a, r);
	up_answers(s, 0, &h, DNS_NOERROR, &a);
}

/* Asked for @type of "a.test", with the id 7: does the guest get @want? */
static inline void expect_addrs(struct stage *s, const struct reply *want)
{
	struct dns_answer a, w;

	guest_hears(s, &a);
	make(&w, want);
	cr_expect_eq(a.rcode, 0, "%u", a.rcode);
	cr_expect_eq(a.ttl, a.naddrs + a.nlinks ? w.ttl : UINT32_MAX, "%u",
		     a.ttl);
	cr_expect_eq(a.nlinks, w.nlinks);
	cr_assert_eq(a.naddrs, w.naddrs, "%u, not %u", a.naddrs, w.naddrs);
	cr_expect_eq(memcmp(a.addr, w.addr, w.naddrs * sizeof(*w.addr)), 0);
}

/* The guest gets what the second of two upstreams says, which is asked now. */
static inline void second_answers(struct stage *s)
{
	struct dns_answer a;
	struct heard h;

	up_hears(s, 1, &h);
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(s, 1, &h, DNS_NOERROR, &a);
	expect_addrs(s, REPLY(ADDRS("1.2.3.4")));
}

/* --- the launcher ------------------------------------------------------- */

static inline void launcher_hears(struct stage *s, struct forward_dial *d)
{
	cr_assert(ready(s->control, LONG_MS), "no connection was asked for");
	cr_assert_eq(recv(s->control, d, sizeof(*d), 0), sizeof(*d));
}

static inline void launcher_says(struct stage *s, const struct forward_dial *d,
				 int error)
{
	struct forward_dialled said = { .stream = d->stream, .error = error };

	cr_assert_eq(send(s->control, &said, sizeof(said), 0), sizeof(said));
}

/* The upstream's end of a connection. */
static inline int launcher_connects(struct stage *s,
				    const struct forward_dial *d)
{
	struct forward_dialled said = { .stream = d->stream };
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		     0);
	cr_assert_eq(io_set_nonblock(pair[0], 1), 0);
	cr_assert_eq(io_send_fds(s->control, &said, sizeof(said), &pair[0], 1),
		     0);
	close(pair[0]);
	return pair[1];
}

/* --- the keeper --------------------------------------------------------- */

static inline unsigned keeper_hears(struct stage *s,
				    struct keep_learn l[KEEP_LEARN_MAX])
{
	ssize_t n;

	cr_assert(ready(s->keeper, LONG_MS), "the keeper was not asked");
	n = recv(s->keeper, l, KEEP_LEARN_MAX * sizeof(*l), 0);
	cr_assert_gt(n, 0);
	cr_assert_eq((size_t)n % sizeof(*l), 0);
	return (unsigned)((size_t)n / sizeof(*l));
}

static inline void keeper_says(struct stage *s, unsigned n, const int *error)
{
	struct keep_learned l[KEEP_LEARN_MAX] = { 0 };

	for (unsigned i = 0; error && i < n; i++)
		l[i].error = error[i];
	cr_assert_eq(send(s->keeper, l, n * sizeof(*l), 0),
		     (ssize_t)(n * sizeof(*l)));
}

#endif
