/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DNS forwarder between a guest, an upstream, a launcher and a keeper that do
 * what the input says: its tables stay whole, and the guest hears of no address that it
 * may not reach, nor of one that the keeper has not opened.
 */
#include "net/forward.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/dns.h"
#include "net/forward_impl.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "tests/fuzz/bytes.h"

#define STEPS 96
#define DIALS (FORWARD_TCP_MAX + 2)

struct world {
	struct forward *f;
	struct sockaddr_un tcp;
	socklen_t tcp_len;
	int guest, keeper, control, listener;
	int up[FORWARD_SOCKETS];
	int dial[DIALS];
	struct dns_query heard[FORWARD_SOCKETS]; /* the last one */
	int stream[FORWARD_STREAMS]; /* the upstream's ends of connections */
	struct dns_query streamed[FORWARD_STREAMS];
	uint8_t opened[256]; /* by the last byte of an address */
	int is_list, gone; /* the result that it has to end with */
};

static void pair_of(int type, int *ours, int *theirs)
{
	int fd[2];

	must(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fd) == 0);
	*ours = fd[0];
	*theirs = fd[1];
}

static void listen_at(struct world *w, int *theirs)
{
	w->tcp_len = sizeof(w->tcp);
	*theirs = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	w->tcp = (struct sockaddr_un){ .sun_family = AF_UNIX };
	must(bind(*theirs, (struct sockaddr *)&w->tcp, sizeof(sa_family_t)) == 0);
	must(listen(*theirs, DIALS) == 0);
	must(getsockname(*theirs, (struct sockaddr *)&w->tcp, &w->tcp_len) == 0);
}

static void begin(struct world *w, struct bytes *b)
{
	static struct forward_params p;
	uint8_t how = take8(b);
	struct err err;

	memset(w, 0, sizeof(*w));
	forward_params_init(&p);
	pair_of(SOCK_DGRAM, &w->guest, &p.udp[0]);
	pair_of(SOCK_SEQPACKET, &w->keeper, &p.keeper);
	pair_of(SOCK_SEQPACKET, &w->control, &p.control);
	listen_at(w, &p.tcp[0]);
	for (unsigned i = 0; i < FORWARD_SOCKETS; i++)
		pair_of(SOCK_DGRAM, &w->up[i], &p.upstream[0][i]);
	for (unsigned i = 0; i < DIALS; i++)
		w->dial[i] = -1;
	for (unsigned i = 0; i < FORWARD_STREAMS; i++)
		w->stream[i] = -1;
	p.nupstreams = how & 1 ? 0 : 1;
	p.patience_ms = p.idle_ms = 3600000;
	w->is_list = how >> 1 & 1;
	if (w->is_list) {
		must(net_rules_allow(&p.rules, "*.a:80", &err) == 0);
		must(net_rules_allow(&p.rules, "b.a", &err) == 0);
	}
	must(net_rules_deny(&p.rules, "d.a", &err) == 0);
	must(net_rules_deny(&p.rules, "1.2.3.128/25", &err) == 0);
	must(forward_open(&w->f, &p, &err) == 0);
	forward_params_close(&p);
}

/* --- what the guest hears ------------------------------------------------ */

static void judge(const struct world *w, const uint8_t *msg, size_t len)
{
	struct dns_answer a;

	if (len == DNS_HEADER) /* FORMERR, NOTIMP */
		return;
	must(dns_parse_answer(&a, msg, len) == 0 || a.q.type > 127 ||
	     (a.q.type != DNS_A && a.q.type != DNS_AAAA));
	if (a.q.type != DNS_A && a.q.type != DNS_AAAA)
		return;
	for (unsigned i = 0; i < a.naddrs; i++) {
		must(net_answerable(&w->f->rules, &a.addr[i]));
		must(!w->is_list || w->opened[a.addr[i].b[3]]);
	}
}

static void guest_listens(struct world *w)
{
	static uint8_t buf[65536];
	ssize_t n;

	while ((n = recv(w->guest, buf, sizeof(buf), 0)) > 0)
		judge(w, buf, (size_t)n);
	for (unsigned i = 0; i < DIALS; i++) {
		ssize_t at = 0;

		if (w->dial[i] < 0)
			continue;
		n = recv(w->dial[i], buf, sizeof(buf), 0);
		/* Answers leave whole, as far as there is room for them. */
		while (n - at >= 2 && n - at - 2 >= (buf[at] << 8 | buf[at + 1])) {
			size_t len = (size_t)buf[at] << 8 | buf[at + 1];

			judge(w, buf + at + 2, len);
			at += 2 + (ssize_t)len;
		}
		must(n < 0 || at == n);
	}
}

/* --- what everybody does -------------------------------------------------- */

static size_t query(struct bytes *b, uint8_t *buf, size_t size)
{
	static const char *const names[] = { "a", "b.a", "c.a", "d.a", "B.A",
					     "4.3.2.1.in-addr.arpa", ".", "e" };
	static const uint16_t types[] = { DNS_A, DNS_AAAA, DNS_TXT, DNS_HTTPS,
					  255, DNS_A, DNS_A, DNS_CNAME };
	uint8_t how = take8(b);
	struct dns_question q = { .type = types[how >> 3 & 7], .class = 1 };
	size_t n;

	must(dns_name_parse(&q.name, names[how & 7]) == 0);
	n = dns_build_query(buf, size, how, &q, how & 64 ? 1232 : 0);
	if (how & 128)
		take(b, buf + take8(b) % n, 1);
	return n;
}

static void guest_asks(struct world *w, struct bytes *b, int raw)
{
	uint8_t buf[512];
	size_t n = raw ? take8(b) : query(b, buf, sizeof(buf));

	if (raw)
		take(b, buf, n);
	(void)!send(w->guest, buf, n, MSG_NOSIGNAL);
}

static void guest_dials(struct world *w, uint8_t i)
{
	int *fd = &w->dial[i % DIALS];

	if (*fd >= 0) {
		close_fd(fd);
		return;
	}
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(*fd, (struct sockaddr *)&w->tcp, w->tcp_len) < 0)
		close_fd(fd);
}

static void guest_streams(struct world *w, struct bytes *b, uint8_t i)
{
	uint8_t buf[2 + 512];
	size_t n;

	if (i & 128) {
		n = take8(b);
		take(b, buf, n);
	} else {
		n = query(b, buf + 2, sizeof(buf) - 2);
		buf[0] = (uint8_t)(n >> 8);
		buf[1] = (uint8_t)n;
		n += 2;
	}
	if (w->dial[i % DIALS] >= 0)
		(void)!send(w->dial[i % DIALS], buf, n, MSG_NOSIGNAL);
}

/* The forwarder picks one of them at random; the first that was asked, from
 * that of @i on, or else that one. */
static unsigned asked_socket(struct world *w, uint8_t i)
{
	uint8_t buf[DNS_UDP_MIN];

	for (unsigned k = i; k < i + FORWARD_SOCKETS && !(i & 0x80); k++) {
		unsigned at = k % FORWARD_SOCKETS;
		ssize_t n = recv(w->up[at], buf, sizeof(buf), 0);

		if (n <= 0)
			continue;
		must(dns_parse_query(&w->heard[at], buf, (size_t)n) == 0);
		return at;
	}
	return i % FORWARD_SOCKETS;
}

/* An answer to @q, of which something may be amiss. */
static size_t answer(struct bytes *b, uint8_t *buf, size_t size,
		     const struct dns_query *q)
{
	struct dns_answer a = { .ttl = take8(b) };
	uint8_t how = take8(b);
	size_t n;

	if (how & 16)
		must(dns_name_parse(&a.link[a.nlinks++],
				    how & 32 ? "x.test" : "d.a") == 0);
	for (; a.naddrs < (how & 3u) * 3; a.naddrs++) {
		struct net_addr *to = &a.addr[a.naddrs];

		*to = net_addr4(1, 2, 3, take8(b));
		if (q->q.type == DNS_AAAA)
			*to = (struct net_addr){ 6, { 0x26, 0, 0, take8(b) } };
	}
	n = dns_build_answer(buf, size, q, how & 4 ? take8(b) & 15 : 0, &a);
	if (how & 128)
		buf[2] |= 2; /* TC */
	if (how & 8)
		take(b, buf + take16(b) % n, 1);
	if (how & 64)
		n -= take8(b) % n;
	return n;
}

static void upstream_says(struct world *w, struct bytes *b, uint8_t i)
{
	static uint8_t buf[DNS_MESSAGE_MAX];
	unsigned k = asked_socket(w, i);

	if (w->heard[k].q.name.len)
		(void)!send(w->up[k], buf,
			    answer(b, buf, sizeof(buf), &w->heard[k]),
			    MSG_NOSIGNAL);
}

/* By TCP, of which it is asked the first. */
static void upstream_streams(struct world *w, struct bytes *b, uint8_t how)
{
	static uint8_t buf[2 + DNS_MESSAGE_MAX];
	unsigned i = 0;
	size_t n;
	int *fd;

	while (i < FORWARD_STREAMS - 1 && w->stream[i] < 0)
		i++;
	fd = &w->stream[i];
	if (recv(*fd, buf, sizeof(buf), 0) > 2)
		must(dns_parse_query(&w->streamed[i], buf + 2,
				     (size_t)buf[0] << 8 | buf[1]) == 0);
	if (*fd < 0 || !w->streamed[i].q.name.len || how > 250) {
		close_fd(fd);
		return;
	}
	n = answer(b, buf + 2, sizeof(buf) - 2, &w->streamed[i]);
	buf[0] = (uint8_t)(n >> 8);
	buf[1] = (uint8_t)n;
	n += 2;
	if (how & 1)
		take(b, buf, 2);
	if (how & 2)
		n = MIN(n, take8(b));
	(void)!send(*fd, buf, n, MSG_NOSIGNAL);
	if (how & 4)
		close_fd(fd);
}

/* Whatever it gives is new: an old one of that place is over. */
static void launcher_connects(struct world *w, const struct forward_dialled *said)
{
	int pair[2];

	pair_of(SOCK_STREAM, &pair[0], &pair[1]);
	close_fd(&w->stream[said->stream]);
	w->stream[said->stream] = pair[0];
	w->streamed[said->stream].q.name.len = 0;
	must(io_send_fds(w->control, said, sizeof(*said), &pair[1], 1) == 0);
	close(pair[1]);
}

static void launcher_says(struct world *w, struct bytes *b, uint8_t how)
{
	struct forward_dialled said = { 0 };
	struct forward_dial d;
	ssize_t n = recv(w->control, &d, sizeof(d), 0);

	if (n < 0) {
		if (how < 253)
			return;
		/* It has not been asked, or it has and has not yet answered. */
		said.stream = how == 253 ? take8(b) : FORWARD_STREAMS;
		said.error = how == 253 ? 0 : -EIO;
		w->gone = -EPROTO;
		(void)!send(w->control, &said, sizeof(said), MSG_NOSIGNAL);
		return;
	}
	must(n == sizeof(d) && d.upstream == 0 && d.stream < FORWARD_STREAMS);
	said.stream = d.stream;
	if (how & 1)
		launcher_connects(w, &said);
	else if ((said.error = how & 2 ? -ECONNREFUSED : -ETIMEDOUT))
		(void)!send(w->control, &said, sizeof(said), MSG_NOSIGNAL);
}

static void keeper_says(struct world *w, struct bytes *b, uint8_t how)
{
	static const int said[] = { 0, -EPERM, -EAGAIN, -ENFILE };
	struct keep_learned l[KEEP_LEARN_MAX] = { 0 };
	struct keep_learn asked[KEEP_LEARN_MAX];
	ssize_t n = recv(w->keeper, asked, sizeof(asked), 0);

	if (n <= 0 && how < 250)
		return;
	n = n < 0 ? 1 : n / (ssize_t)sizeof(*asked);
	must(w->is_list || how >= 250);
	for (ssize_t i = 0; i < n; i++) {
		l[i].error = how & 1 ? said[take8(b) & 3] : 0;
		if (l[i].error == 0)
			w->opened[asked[i].addr[3]] = 1;
	}
	if (how >= 250) {
		w->gone = -EPIPE;
		n = 0;
	}
	(void)!send(w->keeper, l, (size_t)n * sizeof(*l) + (n ? 0 : 1),
		    MSG_NOSIGNAL);
}

/* Time passes. */
static void wait_long(struct world *w, uint8_t how)
{
	struct forward *f = w->f;

	for (unsigned i = 0; i < ASKS_MAX && how & 1; i++)
		f->ask[i].deadline = 0;
	for (unsigned i = 0; i < FORWARD_TCP_MAX && how & 2; i++)
		f->conn[i].deadline = 0;
	f->tokens = how & 4 ? 0 : SECOND;
	f->deaf[0] = f->refuses[0] = 0;
}

/* --- what must hold -------------------------------------------------------- */

static void streams_are_whole(const struct forward *f)
{
	for (unsigned i = 0; i < FORWARD_STREAMS; i++) {
		const struct stream *t = &f->stream[i];

		must((t->state == STREAM_ASKS) == (t->ev.fd >= 0));
		must(t->state != STREAM_ASKS || t->ask);
		must(t->state == STREAM_FREE || !t->ask ||
		     (t->ask->stream == t && t->ask->state == ASK_SENT));
	}
	for (unsigned i = 0; i < ASKS_MAX; i++) {
		const struct ask *k = &f->ask[i];

		must(k->state == ASK_FREE || !k->stream ||
		     (k->stream->ask == k && k->stream->state != STREAM_FREE));
	}
}

static void whole(const struct forward *f)
{
	unsigned nasks = 0, waiters = 0, conns[FORWARD_TCP_MAX] = { 0 };
	const struct waiter *w;

	for (w = f->free_waiter; w; w = w->next)
		waiters++;
	for (unsigned i = 0; i < ASKS_MAX; i++) {
		const struct ask *k = &f->ask[i];

		if (k->state == ASK_FREE)
			continue;
		nasks++;
		must(k->waiters && k->ntries >= 1 && k->ntries <= TRIES_MAX);
		for (w = k->waiters; w; w = w->next) {
			waiters++;
			if (w->conn)
				conns[w->conn - f->conn]++;
		}
	}
	must(nasks == f->nasks && waiters == WAITERS_MAX);
	streams_are_whole(f);
	must(f->tokens <= SECOND);
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++)
		must(conns[i] == (f->conn[i].ev.fd >= 0 && f->conn[i].waits));
}

static void step(struct world *w, struct bytes *b)
{
	uint8_t what = take8(b), how = take8(b);

	switch (what % 14) {
	case 0:
	case 1:
		guest_asks(w, b, 0);
		break;
	case 2:
		guest_asks(w, b, 1);
		break;
	case 3:
		guest_dials(w, how);
		break;
	case 4:
	case 5:
		guest_streams(w, b, how);
		break;
	case 6:
	case 7:
		upstream_says(w, b, how);
		break;
	case 8:
		keeper_says(w, b, how);
		break;
	case 9:
	case 10:
		launcher_says(w, b, how);
		break;
	case 11:
	case 12:
		upstream_streams(w, b, how);
		break;
	default:
		wait_long(w, how);
	}
}

static void end(struct world *w)
{
	forward_free(w->f);
	close(w->guest);
	close(w->keeper);
	close(w->control);
	for (unsigned i = 0; i < FORWARD_SOCKETS; i++)
		close(w->up[i]);
	for (unsigned i = 0; i < DIALS; i++)
		close_fd(&w->dial[i]);
	for (unsigned i = 0; i < FORWARD_STREAMS; i++)
		close_fd(&w->stream[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct bytes b = { data, size };

	signal(SIGPIPE, SIG_IGN); /* the guest's ends */
	begin(&w, &b);
	for (unsigned i = 0; i < STEPS && b.n && !w.f->loop.stop; i++) {
		step(&w, &b);
		for (unsigned k = 0; k < 8 && !w.f->loop.stop; k++)
			if (forward_turn(w.f, 0) <= 0)
				break;
		whole(w.f);
		guest_listens(&w);
	}
	must(!w.f->loop.stop || (w.gone && w.f->result == w.gone));
	end(&w);
	return 0;
}
