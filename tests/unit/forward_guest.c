/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that asks the DNS forwarder much, wrongly, slowly, by TCP. */
#include "tests/unit/forward_stage.h"

#include <fcntl.h>

#include "runner/base/io.h"

static struct stage s;

static void go(void)
{
	stage_init(&s, 1);
	stage_go(&s);
}

/* --- what may be asked -------------------------------------------------- */

Test(forward_guest, broken_queries_are_told_so, .timeout = 60)
{
	uint8_t q[512], back[512];
	size_t n;

	go();
	n = ask_bytes(q, sizeof(q), 7, "a.test", DNS_A, 0);
	q[5] = 2;
	cr_assert_eq(send(s.guest, q, n, 0), (ssize_t)n);
	cr_assert(ready(s.guest, LONG_MS));
	cr_assert_eq(recv(s.guest, back, sizeof(back), 0), DNS_HEADER);
	cr_expect_eq(back[3] & 15, DNS_FORMERR);
	q[5] = 1;
	q[2] = 5 << 3; /* UPDATE */
	cr_assert_eq(send(s.guest, q, n, 0), (ssize_t)n);
	cr_assert(ready(s.guest, LONG_MS));
	cr_assert_eq(recv(s.guest, back, sizeof(back), 0), DNS_HEADER);
	cr_expect_eq(back[2] & 0xf8, 0x80 | 5 << 3);
	cr_expect_eq(back[3] & 15, DNS_NOTIMP);
	/* answers, and what is shorter than a header */
	q[2] = 0x80;
	cr_assert_eq(send(s.guest, q, n, 0), (ssize_t)n);
	for (size_t k = 0; k < DNS_HEADER; k++)
		cr_assert_eq(send(s.guest, q, k, 0), (ssize_t)k);
	cr_expect(guest_hears_nothing(&s));
	stage_end(&s);
}

Test(forward_guest, transfers_any_and_other_classes_are_refused, .timeout = 60)
{
	static const unsigned type[] = { 0, DNS_OPT, 128, 249, 251, 252, 255 };
	uint8_t q[512];
	size_t n;

	go();
	for (unsigned i = 0; i < ARRAY_SIZE(type); i++) {
		guest_asks(&s, 7, "a.test", type[i]);
		expect_rcode(&s, 7, DNS_REFUSED);
	}
	n = ask_bytes(q, sizeof(q), 7, "version.bind", DNS_TXT, 0);
	q[n - 1] = 3; /* CHAOS */
	cr_assert_eq(send(s.guest, q, n, 0), (ssize_t)n);
	expect_rcode(&s, 7, DNS_REFUSED);
	cr_expect(up_hears_nothing(&s, 0));
	stage_end(&s);
}

Test(forward_guest, names_that_cannot_be_judged_are_refused, .timeout = 60)
{
	uint8_t q[512];
	size_t n;

	go();
	n = ask_bytes(q, sizeof(q), 7, "axb.test", DNS_A, 0);
	q[14] = '.';
	cr_assert_eq(send(s.guest, q, n, 0), (ssize_t)n);
	expect_rcode(&s, 7, DNS_NXDOMAIN);
	q[14] = 0;
	cr_assert_eq(send(s.guest, q, n, 0), (ssize_t)n);
	expect_rcode(&s, 7, DNS_NXDOMAIN);
	stage_end(&s);
}

/* They may name addresses that nobody has opened. */
Test(forward_guest, services_have_no_records, .timeout = 60)
{
	go();
	guest_asks(&s, 7, "a.test", DNS_HTTPS);
	expect_rcode(&s, 7, DNS_NOERROR);
	guest_asks(&s, 7, "a.test", DNS_SVCB);
	expect_rcode(&s, 7, DNS_NOERROR);
	cr_expect(up_hears_nothing(&s, 0));
	stage_end(&s);
}

Test(forward_guest, other_records_are_passed_on, .timeout = 60)
{
	static const char text[] = "\14hello, world";
	uint8_t buf[512];
	struct dns_answer a;
	struct heard h;
	size_t n;

	go();
	guest_asks(&s, 7, "a.test", DNS_TXT);
	up_hears(&s, 0, &h);
	h.q.edns = 0;
	n = dns_build_answer(buf, sizeof(buf), &h.q, DNS_NOERROR, NULL);
	buf[7] = 1;
	memcpy(buf + n, "\xc0\x0c\0\x10\0\1\0\0\0\x3c\0\x0d", 12);
	memcpy(buf + n + 12, text, 13);
	up_says(&s, 0, &h, buf, n + 25);
	cr_assert(ready(s.guest, LONG_MS));
	cr_assert_eq(recv(s.guest, buf, sizeof(buf), 0), (ssize_t)n + 25);
	cr_assert_eq(dns_parse_answer(&a, buf, n + 25), 0);
	cr_expect_eq(a.id, 7);
	cr_expect_eq(memcmp(buf + n + 12, text, 13), 0);
	stage_end(&s);
}

/* --- many at once ------------------------------------------------------- */

Test(forward_guest, same_question_is_asked_once, .timeout = 60)
{
	static const char *const spelt[] = { "a.test", "A.test", "a.TEST" };
	struct sockaddr_in at;
	struct dns_answer a;
	struct heard h;
	int fd[30];

	go();
	for (unsigned i = 0; i < 30; i++) {
		fd[i] = bound(SOCK_DGRAM, &at);
		cr_assert_eq(connect(fd[i], (struct sockaddr *)&s.guest_udp,
				     sizeof(s.guest_udp)), 0);
		guest_asks_by(fd[i], (uint16_t)i, spelt[i % 3], DNS_A,
			      i & 1 ? 1232 : 0);
	}
	up_hears(&s, 0, &h);
	cr_expect(up_hears_nothing(&s, 0));
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(&s, 0, &h, DNS_NOERROR, &a);
	for (unsigned i = 0; i < 30; i++) {
		struct dns_name n;

		guest_hears_by(fd[i], &a);
		cr_assert_eq(dns_name_parse(&n, spelt[i % 3]), 0);
		cr_expect_eq(a.id, i);
		cr_expect_eq(memcmp(a.q.name.b, n.b, n.len), 0);
		cr_expect_eq(a.naddrs, 1);
		close(fd[i]);
	}
	stage_end(&s);
}

/* What the guest has sent, and the forwarder has not read. */
static int unread(const struct stage *st)
{
	struct pollfd p = { .fd = st->f->udp[0].ev.fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* 100000 questions, and nobody answers: so many are under way, no more are
 * read. Once they are answered it goes on. */
Test(forward_guest, flood_is_bounded, .timeout = 60)
{
	unsigned asked = 0;
	struct heard h[ASKS_MAX];
	struct dns_answer a;
	char name[32];

	go();
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		guest_asks(&s, (uint16_t)i, name, DNS_A);
	}
	for (; asked < ASKS_MAX; asked++)
		up_hears(&s, 0, &h[asked]);
	cr_expect(up_hears_nothing(&s, 0));
	make(&a, REPLY(ADDRS("1.2.3.4")));
	while (asked-- > 0)
		up_answers(&s, 0, &h[asked], DNS_NOERROR, &a);
	for (unsigned i = 0; i < ASKS_MAX; i++) {
		guest_hears(&s, &a);
		cr_expect_eq(a.naddrs, 1);
	}
	/* whatever the kernel has kept, and then somebody else */
	for (int last = 0, told = 0; !told;) {
		if (!last && !unread(&s)) {
			guest_asks(&s, 7, "last.test", DNS_A);
			last = 1;
		}
		if (ready(s.up[0], 1)) {
			up_hears(&s, 0, &h[0]);
			make(&a, REPLY(ADDRS("1.2.3.4")));
			up_answers(&s, 0, &h[0], DNS_NOERROR, &a);
		}
		while (!told && ready(s.guest, 0)) {
			guest_hears(&s, &a);
			cr_expect_eq(a.naddrs, 1);
			told = a.q.name.b[1] == 'l';
		}
	}
	stage_end(&s);
}

/* What costs no upstream anything costs the host a CPU: that is bounded by the
 * time that has passed, whatever it was. */
Test(forward_guest, flood_of_forbidden_names_is_slowed, .timeout = 60)
{
	uint64_t begin = io_now_ns(), passed = 0, answers = 0, sent = 0;
	uint8_t buf[512];

	stage_init(&s, 1);
	deny(&s, "a.test");
	stage_go(&s);
	while (passed < SECOND / 2 || sent < 10000 || answers <= 1000) {
		for (unsigned i = 0; i < 50; i++)
			guest_asks(&s, (uint16_t)sent++, "a.test", DNS_A);
		while (recv(s.guest, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			answers++;
		passed = io_now_ns() - begin;
	}
	cr_expect_leq(answers, (passed + SECOND) / QUERY_COST + 1, "%llu of %llu",
		      (unsigned long long)answers, (unsigned long long)sent);
	stage_end(&s);
}

static unsigned hears_one(int ms)
{
	struct dns_answer a;

	if (!ready(s.guest, ms))
		return 0;
	guest_hears(&s, &a);
	cr_expect_eq(a.naddrs, 1);
	return 1;
}

Test(forward_guest, many_clients_of_one_question_are_bounded, .timeout = 60)
{
	unsigned turns = 0, answers = 0;
	struct dns_answer a;
	struct heard h;

	go();
	for (unsigned i = 0; i < 3 * WAITERS_MAX; i++)
		guest_asks(&s, (uint16_t)i, "a.test", DNS_A);
	/* more than can wait have been sent: there are several turns */
	while (answers < WAITERS_MAX) {
		up_hears(&s, 0, &h);
		make(&a, REPLY(ADDRS("1.2.3.4")));
		up_answers(&s, 0, &h, DNS_NOERROR, &a);
		turns++;
		while (answers < WAITERS_MAX && !ready(s.up[0], 0))
			answers += hears_one(1);
	}
	while (hears_one(SHORT_MS))
		answers++;
	cr_expect_leq(answers, turns * WAITERS_MAX);
	stage_end(&s);
}

/* --- TCP ---------------------------------------------------------------- */

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&s.guest_tcp,
			     sizeof(s.guest_tcp)), 0);
	return fd;
}

static size_t framed(uint8_t *buf, size_t size, uint16_t id, const char *name,
		     unsigned type)
{
	size_t n = ask_bytes(buf + 2, size - 2, id, name, type, 0);

	buf[0] = (uint8_t)(n >> 8);
	buf[1] = (uint8_t)n;
	return n + 2;
}

static void take(int fd, void *buf, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t k;

		cr_assert(ready(fd, LONG_MS));
		k = recv(fd, (uint8_t *)buf + n, len - n, 0);
		cr_assert_gt(k, 0);
		n += (size_t)k;
	}
}

static void tcp_hears(int fd, struct dns_answer *a)
{
	uint8_t len[2], buf[65535];
	size_t n;

	take(fd, len, 2);
	n = (size_t)len[0] << 8 | len[1];
	take(fd, buf, n);
	cr_assert_eq(dns_parse_answer(a, buf, n), 0);
}

static int is_closed(int fd)
{
	uint8_t byte;

	return ready(fd, LONG_MS) && recv(fd, &byte, 1, 0) <= 0;
}

Test(forward_guest, what_udp_cannot_carry_comes_by_tcp, .timeout = 60)
{
	struct dns_answer all = { .ttl = 300 }, a;
	uint8_t q[512];
	struct heard h;
	size_t n;
	int fd;

	go();
	for (; all.naddrs < DNS_ADDRS_MAX; all.naddrs++)
		all.addr[all.naddrs] = net_addr4(1, 2, 3, (uint8_t)all.naddrs);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_hears(&s, 0, &h);
	up_answers(&s, 0, &h, DNS_NOERROR, &all);
	guest_hears(&s, &a);
	cr_expect(a.truncated);
	cr_expect_eq(a.naddrs, 0);
	fd = dial();
	n = framed(q, sizeof(q), 8, "a.test", DNS_A);
	cr_assert_eq(send(fd, q, n, 0), (ssize_t)n);
	up_hears(&s, 0, &h);
	up_answers(&s, 0, &h, DNS_NOERROR, &all);
	tcp_hears(fd, &a);
	cr_expect_eq(a.id, 8);
	cr_expect_not(a.truncated);
	cr_expect_eq(a.naddrs, DNS_ADDRS_MAX);
	close(fd);
	stage_end(&s);
}

Test(forward_guest, tcp_takes_queries_in_any_pieces, .timeout = 60)
{
	uint8_t q[1024];
	struct dns_answer a;
	size_t n = 0;
	int fd;

	go();
	fd = dial();
	/* one that is answered at once, one that is not, one again */
	n += framed(q, sizeof(q), 1, "a.test", 255);
	n += framed(q + n, sizeof(q) - n, 2, "a.test", DNS_A);
	n += framed(q + n, sizeof(q) - n, 3, "b.test", 255);
	for (int pieces = 0; pieces < 2; pieces++) {
		size_t step = pieces ? 1 : n;

		for (size_t i = 0; i < n; i += step)
			cr_assert_eq(send(fd, q + i, step, 0), (ssize_t)step);
		up_replies(&s, REPLY(ADDRS("1.2.3.4")));
		for (unsigned i = 1; i <= 3; i++) {
			tcp_hears(fd, &a);
			cr_expect_eq(a.id, i);
			cr_expect_eq(a.rcode, i == 2 ? 0 : DNS_REFUSED);
			cr_expect_eq(a.naddrs, i == 2);
		}
	}
	close(fd);
	stage_end(&s);
}

Test(forward_guest, tcp_that_makes_no_sense_is_closed, .timeout = 60)
{
	static const unsigned length[] = { 0, 11, DNS_QUERY_MAX + 1, 65535 };
	uint8_t q[512];
	size_t n;
	int fd;

	go();
	for (unsigned i = 0; i < ARRAY_SIZE(length); i++) {
		fd = dial();
		q[0] = (uint8_t)(length[i] >> 8);
		q[1] = (uint8_t)length[i];
		cr_assert_eq(send(fd, q, 2, 0), 2);
		cr_expect(is_closed(fd));
		close(fd);
	}
	fd = dial();
	n = framed(q, sizeof(q), 1, "a.test", DNS_A);
	q[4] = 0x80; /* an answer */
	cr_assert_eq(send(fd, q, n, 0), (ssize_t)n);
	cr_expect(is_closed(fd));
	close(fd);
	stage_end(&s);
}

/* More connections than there may be, each with a byte now and then. */
Test(forward_guest, connections_that_dawdle_make_room, .timeout = 60)
{
	int fd[FORWARD_TCP_MAX], late;
	uint8_t q[512];
	struct dns_answer a;
	size_t n;

	stage_init(&s, 1);
	s.p.idle_ms = 300;
	stage_go_by_hand(&s);
	n = framed(q, sizeof(q), 7, "a.test", DNS_A);
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++) {
		fd[i] = dial();
		cr_assert_eq(send(fd[i], q, 1, 0), 1);
	}
	late = dial();
	cr_assert_eq(send(late, q, n, 0), (ssize_t)n);
	for (size_t k = 1; k + 1 < n && !ready(s.up[0], 30); k++)
		for (unsigned i = 0; i < FORWARD_TCP_MAX; i++)
			(void)!send(fd[i], q + k, 1, MSG_NOSIGNAL);
	up_replies(&s, REPLY(ADDRS("1.2.3.4")));
	tcp_hears(late, &a);
	cr_expect_eq(a.naddrs, 1);
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++) {
		cr_expect(is_closed(fd[i]));
		close(fd[i]);
	}
	cr_expect(is_closed(late));
	close(late);
	stage_end(&s);
}

/* It goes before the answer comes; and before it has taken one. */
Test(forward_guest, connection_may_end_at_any_time, .timeout = 60)
{
	uint8_t q[512];
	struct heard h;
	size_t n;

	go();
	n = framed(q, sizeof(q), 7, "a.test", DNS_A);
	for (unsigned i = 0; i < 3 * FORWARD_TCP_MAX; i++) {
		struct linger now = { 1, 0 };
		int fd = dial();

		cr_assert_eq(send(fd, q, n, 0), (ssize_t)n);
		up_hears(&s, 0, &h);
		if (i & 1)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
		up_answers(&s, 0, &h, DNS_NXDOMAIN, NULL);
	}
	guest_asks(&s, 7, "a.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4")));
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	stage_end(&s);
}

/* Nobody takes the answers: soon no query is read either. Others are served. */
Test(forward_guest, connection_that_reads_nothing_holds_up_nobody, .timeout = 60)
{
	uint8_t q[512];
	size_t n, sent = 0;
	int fd;

	go();
	fd = dial();
	n = framed(q, sizeof(q), 7, "a.test", 255);
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	for (int full = 0; full < 20;) {
		ssize_t k = send(fd, q + sent % n, n - sent % n, 0);

		if (k > 0) {
			sent += (size_t)k;
			full = 0;
		} else {
			full++;
			poll(NULL, 0, 10);
		}
	}
	guest_asks(&s, 7, "a.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4")));
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	close(fd);
	stage_end(&s);
}

/* By TCP comes more than the guest may ask, all the time. */
Test(forward_guest, connections_that_ask_without_end_hold_up_nobody, .timeout = 60)
{
	int fd[FORWARD_TCP_MAX];
	unsigned turns = 0;
	uint8_t q[512], back[4096];
	enum { BEFORE = 50 };
	size_t n = 0;

	stage_init(&s, 1);
	stage_open(&s);
	while (n + 64 < sizeof(q))
		n += framed(q + n, sizeof(q) - n, 7, "a.test", 255);
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++) {
		fd[i] = dial();
		cr_assert_eq(fcntl(fd[i], F_SETFL, O_NONBLOCK), 0);
	}
	for (int round = 0; turns < 1000 && !s.f->nasks; round++) {
		for (unsigned i = 0; i < FORWARD_TCP_MAX; i++) {
			(void)!send(fd[i], q, n, 0);
			while (recv(fd[i], back, sizeof(back), 0) > 0)
				;
		}
		cr_assert_geq(forward_turn(s.f, -1), 0);
		turns += round > BEFORE;
		if (round == BEFORE) {
			s.f->tokens = 0; /* as they are after a while */
			guest_asks(&s, 7, "late.test", DNS_A);
			while (!unread(&s))
				poll(NULL, 0, 1);
		}
	}
	cr_expect_leq(turns, 40, "%u", turns);
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++)
		close(fd[i]);
	forward_free(s.f);
}
