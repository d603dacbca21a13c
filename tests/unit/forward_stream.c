/* SPDX-License-Identifier: Apache-2.0 */
/* Truncated answers are asked for again by TCP, by connections of the launcher. */
#include "tests/unit/forward_stage.h"

#include "runner/base/io.h"

static struct stage s;

static void go(unsigned nupstreams)
{
	stage_init(&s, nupstreams);
	stage_go(&s);
}

/* An upstream says by UDP that there is more than @a. */
static void up_cuts(unsigned i, const struct dns_answer *a)
{
	uint8_t buf[512];
	struct heard h;
	size_t n;

	up_hears(&s, i, &h);
	n = dns_build_answer(buf, sizeof(buf), &h.q, DNS_NOERROR, a);
	buf[2] |= 2; /* TC */
	up_says(&s, i, &h, buf, n);
}

static void up_cuts_to(unsigned i, const char *addr)
{
	struct dns_answer a;

	make(&a, REPLY(ADDRS(addr)));
	up_cuts(i, &a);
}

/* The launcher connects it: the other end. */
static int connected(unsigned upstream)
{
	struct forward_dial d;

	launcher_hears(&s, &d);
	cr_assert_eq(d.upstream, upstream, "%u", d.upstream);
	return launcher_connects(&s, &d);
}

/* What is asked on it. */
static void hears_by(int fd, struct heard *h)
{
	uint8_t buf[2 + 512];
	ssize_t n;

	cr_assert(ready(fd, LONG_MS), "nothing is asked");
	n = recv(fd, buf, sizeof(buf), 0);
	cr_assert_gt(n, 2);
	cr_assert_eq((buf[0] << 8 | buf[1]) + 2, n);
	cr_assert_eq(dns_parse_query(&h->q, buf + 2, (size_t)n - 2), 0);
	h->edns = h->q.edns;
}

static size_t framed(uint8_t *buf, size_t size, const struct heard *h,
		     const struct dns_answer *a)
{
	size_t n = dns_build_answer(buf + 2, size - 2, &h->q, DNS_NOERROR, a);

	cr_assert(n);
	buf[0] = (uint8_t)(n >> 8);
	buf[1] = (uint8_t)n;
	return n + 2;
}

static void says_by(int fd, const void *data, size_t len)
{
	cr_assert_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The forwarder is done with it. */
static void expect_closed(int fd)
{
	uint8_t asked[512];

	do
		cr_assert(ready(fd, LONG_MS), "a connection stays");
	while (recv(fd, asked, sizeof(asked), 0) > 0);
	close(fd);
}

static void tcp_answers(int fd, const struct reply *r)
{
	uint8_t buf[512];
	struct dns_answer a;
	struct heard h;

	hears_by(fd, &h);
	make(&a, r);
	says_by(fd, buf, framed(buf, sizeof(buf), &h, &a));
}

/* --- what is asked, what is answered ------------------------------------- */

Test(forward_stream, addresses_that_were_cut_come_whole, .timeout = 60)
{
	uint8_t buf[2048];
	struct dns_answer a;
	struct heard h;
	int fd;

	go(2);
	guest_asks_by(s.guest, 7, "A.test", DNS_A, 1232);
	up_cuts_to(0, "9.9.9.9");
	fd = connected(0);
	hears_by(fd, &h);
	cr_expect_eq(h.q.q.type, DNS_A);
	cr_expect(h.q.rd && h.edns);
	cr_expect(guest_hears_nothing(&s));
	a = (struct dns_answer){ .ttl = 300 };
	for (; a.naddrs < DNS_ADDRS_MAX; a.naddrs++)
		a.addr[a.naddrs] = net_addr4(1, 2, 3, (uint8_t)a.naddrs);
	says_by(fd, buf, framed(buf, sizeof(buf), &h, &a));
	guest_hears(&s, &a);
	cr_expect_eq(a.id, 7);
	cr_expect_not(a.truncated);
	cr_expect_eq(a.naddrs, DNS_ADDRS_MAX);
	expect_closed(fd);
	/* it is in good health */
	guest_asks(&s, 8, "b.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4")));
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	stage_end(&s);
}

/* They are judged and opened as those by UDP are. */
Test(forward_stream, rules_are_the_same, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];
	int fd;

	stage_init(&s, 1);
	allow(&s, "*.test");
	deny(&s, "evil.test");
	stage_go(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts(0, NULL);
	fd = connected(0);
	tcp_answers(fd, REPLY(ADDRS("10.0.0.1", "1.2.3.4")));
	cr_assert_eq(keeper_hears(&s, l), 1);
	cr_expect_eq(memcmp(l[0].addr, "\1\2\3\4", 4), 0);
	keeper_says(&s, 1, NULL);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	close(fd);
	guest_asks(&s, 8, "b.test", DNS_A);
	up_cuts(0, NULL);
	fd = connected(0);
	tcp_answers(fd, REPLY(.chain = { "EVIL.test" }, ADDRS("1.2.3.4")));
	expect_rcode(&s, 8, DNS_NXDOMAIN);
	close(fd);
	stage_end(&s);
}

static int guest_dials(const char *name, unsigned type)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint8_t q[512];
	size_t n = ask_bytes(q + 2, sizeof(q) - 2, 9, name, type, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&s.guest_tcp,
			     sizeof(s.guest_tcp)), 0);
	q[0] = 0;
	q[1] = (uint8_t)n;
	says_by(fd, q, n + 2);
	return fd;
}

/* Who asks by UDP is told to ask by TCP, and nobody is for that. */
Test(forward_stream, other_records_come_by_tcp_to_who_asks_by_it, .timeout = 60)
{
	static uint8_t buf[2 + DNS_STREAM_MAX], back[2 + DNS_STREAM_MAX];
	size_t n, all, at, got = 0;
	struct dns_answer a;
	struct heard h;
	int guest, fd;

	go(1);
	guest_asks(&s, 7, "a.test", DNS_TXT);
	up_cuts(0, NULL);
	guest_hears(&s, &a);
	cr_expect(a.truncated);
	cr_expect_not(ready(s.control, SHORT_MS));
	guest = guest_dials("a.test", DNS_TXT);
	up_cuts(0, NULL);
	fd = connected(0);
	hears_by(fd, &h);
	h.q.edns = 0;
	all = n = framed(buf, sizeof(buf), &h, NULL);
	while (all + 12 + 255 + 1 <= 60000) {
		memcpy(buf + all, "\xc0\x0c\0\x10\0\1\0\0\0\x3c\1\0\xff", 13);
		for (unsigned i = 0; i < 255; i++)
			buf[all + 13 + i] = (uint8_t)(all + i);
		all += 13 + 255;
		buf[2 + 7]++;
	}
	buf[0] = (uint8_t)((all - 2) >> 8);
	buf[1] = (uint8_t)(all - 2);
	/* in pieces, the length by itself */
	says_by(fd, buf, 1);
	says_by(fd, buf + 1, 1);
	for (at = 2; at < all; at += 1999)
		says_by(fd, buf + at, MIN(1999, all - at));
	while (got < all) {
		ssize_t k;

		cr_assert(ready(guest, LONG_MS));
		k = recv(guest, back + got, sizeof(back) - got, 0);
		cr_assert_gt(k, 0);
		got += (size_t)k;
	}
	cr_expect_eq(got, all);
	cr_expect_eq(memcmp(back + n, buf + n, all - n), 0);
	expect_closed(fd);
	close(guest);
	stage_end(&s);
}

/* --- those that lie, or do not come --------------------------------------- */

/* @len bytes of @data are what comes by TCP: another upstream is asked. */
static void expect_next(const void *data, size_t len, int ends)
{
	struct heard h;
	int fd;

	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts(0, NULL);
	fd = connected(0);
	hears_by(fd, &h);
	says_by(fd, data, len);
	if (ends)
		shutdown(fd, SHUT_WR);
	expect_closed(fd);
}

Test(forward_stream, nonsense_by_tcp_is_a_failure, .timeout = 60)
{
	static const uint8_t none[2] = { 0 }, tiny[2] = { 0, 11 };
	static const uint8_t cut[3] = { 0xff, 0xff, 1 };
	static const uint8_t zeros[64] = { 0, 12 };

	go(2);
	expect_next(none, 2, 0);
	second_answers(&s);
	expect_next(tiny, 2, 0);
	second_answers(&s);
	expect_next(zeros, sizeof(zeros), 0);
	second_answers(&s);
	expect_next(cut, 3, 1);
	second_answers(&s);
	expect_next(cut, 1, 1);
	second_answers(&s);
	expect_next(cut, 0, 1);
	second_answers(&s);
	stage_end(&s);
}

Test(forward_stream, answer_to_something_else_is_a_failure, .timeout = 60)
{
	uint8_t buf[512];
	struct dns_answer a;
	struct heard h;

	go(2);
	for (unsigned i = 0; i < 3; i++) {
		int fd;
		size_t n;

		guest_asks(&s, 7, "a.test", DNS_A);
		up_cuts(0, NULL);
		fd = connected(0);
		hears_by(fd, &h);
		make(&a, REPLY(ADDRS("6.6.6.6")));
		n = framed(buf, sizeof(buf), &h, &a);
		if (i == 0)
			buf[3] ^= 1; /* the id */
		else if (i == 1)
			buf[2 + 13] ^= 1; /* a letter of the name */
		else
			buf[4] &= 0x7f; /* it is no answer */
		says_by(fd, buf, n);
		expect_closed(fd);
		second_answers(&s);
	}
	stage_end(&s);
}

Test(forward_stream, the_first_answer_counts, .timeout = 60)
{
	struct dns_answer one, two;
	uint8_t buf[1024];
	struct heard h;
	size_t n;
	int fd;

	go(1);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts(0, NULL);
	fd = connected(0);
	hears_by(fd, &h);
	make(&one, REPLY(ADDRS("1.2.3.4")));
	make(&two, REPLY(ADDRS("6.6.6.6")));
	n = framed(buf, sizeof(buf), &h, &one);
	n += framed(buf + n, sizeof(buf) - n, &h, &two);
	says_by(fd, buf, n);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	expect_closed(fd);
	cr_expect(guest_hears_nothing(&s));
	stage_end(&s);
}

/* What has no connection is not tried for a while. */
Test(forward_stream, without_tcp_a_cut_answer_is_good_for_what_it_has,
     .timeout = 60)
{
	struct forward_dial d;

	go(1);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts_to(0, "1.2.3.4");
	launcher_hears(&s, &d);
	launcher_says(&s, &d, -ECONNREFUSED);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts_to(0, "1.2.3.5");
	expect_addrs(&s, REPLY(ADDRS("1.2.3.5")));
	cr_expect_not(ready(s.control, SHORT_MS));
	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts(0, NULL);
	expect_rcode(&s, 7, DNS_SERVFAIL);
	stage_end(&s);
}

Test(forward_stream, connection_that_comes_too_late_is_closed, .timeout = 60)
{
	struct forward_dial d;

	stage_init(&s, 1);
	s.p.patience_ms = 100;
	stage_go_by_hand(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts_to(0, "1.2.3.4");
	launcher_hears(&s, &d);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	expect_closed(launcher_connects(&s, &d));
	stage_end(&s);
}

Test(forward_stream, silence_by_tcp_has_an_end, .timeout = 60)
{
	int fd;

	stage_init(&s, 1);
	s.p.patience_ms = 100;
	stage_go_by_hand(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts_to(0, "1.2.3.4");
	fd = connected(0);
	says_by(fd, "", 1);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	expect_closed(fd);
	stage_end(&s);
}

/* It is asked for by UDP twice, for it is slow; the second has what is whole. */
Test(forward_stream, whole_answer_by_udp_ends_it, .timeout = 60)
{
	struct dns_answer a;
	struct heard slow, h;
	uint8_t buf[512];
	size_t n;
	int fd;

	stage_init(&s, 2);
	s.p.patience_ms = 200;
	stage_go_by_hand(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_hears(&s, 0, &slow);
	up_hears(&s, 1, &h);
	n = dns_build_answer(buf, sizeof(buf), &slow.q, DNS_NOERROR, NULL);
	buf[2] |= 2;
	up_says(&s, 0, &slow, buf, n);
	fd = connected(0);
	hears_by(fd, &slow);
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(&s, 1, &h, DNS_NOERROR, &a);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	expect_closed(fd);
	stage_end(&s);
}

Test(forward_stream, so_many_at_once, .timeout = 60)
{
	struct forward_dial d[FORWARD_STREAMS];
	char name[32];

	go(1);
	for (unsigned i = 0; i < FORWARD_STREAMS; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		guest_asks(&s, (uint16_t)i, name, DNS_A);
		up_cuts(0, NULL);
		launcher_hears(&s, &d[i]);
	}
	guest_asks(&s, 99, "late.test", DNS_A);
	up_cuts(0, NULL);
	expect_rcode(&s, 99, DNS_SERVFAIL);
	cr_expect_not(ready(s.control, SHORT_MS));
	/* in another order than they were asked for */
	for (unsigned i = FORWARD_STREAMS; i-- > 0;) {
		int fd = launcher_connects(&s, &d[i]);

		tcp_answers(fd, REPLY(ADDRS("1.2.3.4")));
		expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
		close(fd);
	}
	stage_end(&s);
}

/* --- the launcher's words -------------------------------------------------- */

static void expect_end(const struct forward_dialled *said, size_t len)
{
	cr_assert_eq(send(s.control, said, len, 0), (ssize_t)len);
	cr_expect_eq(stage_join(&s), -EPROTO);
}

Test(forward_stream, words_of_the_launcher_that_make_no_sense_are_the_end,
     .timeout = 60)
{
	struct forward_dialled said = { .error = -EIO };

	go(1);
	expect_end(&said, sizeof(said)); /* nobody has asked */
	go(1);
	said.stream = FORWARD_STREAMS;
	expect_end(&said, sizeof(said));
	go(1);
	said.stream = 0;
	expect_end(&said, 3);
	go(1);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_cuts(0, NULL);
	said.error = 0; /* and nothing with it */
	cr_assert(ready(s.control, LONG_MS));
	expect_end(&said, sizeof(said));
}
