/* SPDX-License-Identifier: Apache-2.0 */
/* Upstreams that lie, fail, are slow or are not there. */
#include "tests/unit/forward_stage.h"

static struct stage s;

/* The answer that @h should have; for a test to spoil. */
static size_t honest(uint8_t *buf, size_t size, const struct heard *h)
{
	struct dns_answer a;

	make(&a, REPLY(ADDRS("6.6.6.6")));
	return dns_build_answer(buf, size, &h->q, DNS_NOERROR, &a);
}

/* And the truth at last. */
static void then_the_truth(const struct heard *h)
{
	struct dns_answer a;

	await_read(&s);
	cr_expect(guest_hears_nothing(&s));
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(&s, 0, h, DNS_NOERROR, &a);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	cr_expect(up_hears_nothing(&s, 0));
}

static void asked(struct heard *h)
{
	stage_init(&s, 1);
	stage_go(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_hears(&s, 0, h);
}

/* --- forged ------------------------------------------------------------- */

Test(forward_lies, answers_with_another_id_do_not_count, .timeout = 60)
{
	uint8_t buf[512];
	struct heard h;
	size_t n;

	asked(&h);
	n = honest(buf, sizeof(buf), &h);
	for (unsigned i = 1; i < 1000; i++) {
		unsigned id = (h.q.id + i * 61) & 0xffff;

		if (id == h.q.id)
			continue;
		buf[0] = (uint8_t)(id >> 8);
		buf[1] = (uint8_t)id;
		up_says(&s, 0, &h, buf, n);
	}
	then_the_truth(&h);
	stage_end(&s);
}

Test(forward_lies, answers_to_another_question_do_not_count, .timeout = 60)
{
	struct heard h, other;
	uint8_t buf[512];
	size_t n;

	asked(&h);
	other = h;
	cr_assert_eq(dns_name_parse(&other.q.q.name, "b.test"), 0);
	n = honest(buf, sizeof(buf), &other);
	up_says(&s, 0, &h, buf, n);
	other = h;
	other.q.q.type = DNS_AAAA;
	n = honest(buf, sizeof(buf), &other);
	up_says(&s, 0, &h, buf, n);
	other = h;
	other.q.q.class = 3;
	n = honest(buf, sizeof(buf), &other);
	up_says(&s, 0, &h, buf, n);
	/* none, and two */
	n = honest(buf, sizeof(buf), &h);
	buf[5] = 0;
	up_says(&s, 0, &h, buf, n);
	buf[5] = 2;
	up_says(&s, 0, &h, buf, n);
	then_the_truth(&h);
	stage_end(&s);
}

Test(forward_lies, what_is_no_answer_does_not_count, .timeout = 60)
{
	uint8_t buf[512];
	struct heard h;
	size_t n;

	asked(&h);
	n = honest(buf, sizeof(buf), &h);
	for (size_t k = 0; k < 24; k++)
		up_says(&s, 0, &h, buf, k);
	buf[2] &= 0x7f; /* a query */
	up_says(&s, 0, &h, buf, n);
	buf[2] |= 0x80 | 4 << 3; /* NOTIFY */
	up_says(&s, 0, &h, buf, n);
	then_the_truth(&h);
	stage_end(&s);
}

/* Right in all but the port that asked. */
Test(forward_lies, answers_to_another_socket_do_not_count, .timeout = 60)
{
	struct heard h, other;
	char name[32];
	uint8_t buf[512];
	size_t n;

	asked(&h);
	for (unsigned i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		guest_asks(&s, 8, name, DNS_A);
		up_hears(&s, 0, &other);
		if (other.from.sin_port == h.from.sin_port)
			continue;
		n = honest(buf, sizeof(buf), &h);
		up_says(&s, 0, &other, buf, n);
	}
	then_the_truth(&h);
	stage_end(&s);
}

Test(forward_lies, answers_from_another_address_do_not_count, .timeout = 60)
{
	struct sockaddr_in at;
	int liar = bound(SOCK_DGRAM, &at);
	uint8_t buf[512];
	struct heard h;
	size_t n;

	asked(&h);
	n = honest(buf, sizeof(buf), &h);
	cr_assert_eq(sendto(liar, buf, n, 0, (struct sockaddr *)&h.from,
			    sizeof(h.from)), (ssize_t)n);
	then_the_truth(&h);
	close(liar);
	stage_end(&s);
}

Test(forward_lies, an_answer_counts_once, .timeout = 60)
{
	struct dns_answer a;
	struct heard h;

	asked(&h);
	make(&a, REPLY(ADDRS("1.2.3.4")));
	for (unsigned i = 0; i < 5; i++)
		up_answers(&s, 0, &h, DNS_NOERROR, &a);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	cr_expect(guest_hears_nothing(&s));
	stage_end(&s);
}

/* --- broken ------------------------------------------------------------- */

/* It has the id and the question: who sends it could send anything. The guest
 * hears of a failure at once, for nobody else is there to ask. */
static void fails(const uint8_t *tail, size_t len, unsigned answers)
{
	struct dns_query q;
	struct heard h;
	uint8_t buf[DNS_MESSAGE_MAX];
	size_t n;

	up_hears(&s, 0, &h);
	q = h.q;
	q.edns = 0;
	n = dns_build_answer(buf, sizeof(buf), &q, DNS_NOERROR, NULL);
	buf[7] = (uint8_t)answers;
	memcpy(buf + n, tail, len);
	up_says(&s, 0, &h, buf, n + len);
	expect_rcode(&s, 7, DNS_SERVFAIL);
}

Test(forward_lies, loops_and_broken_records_are_failures, .timeout = 60)
{
	/* of "a.test", which takes 12 to 23 */
	static const uint8_t self[] = { 0xc0, 24, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4,
					1, 2, 3, 4 };
	static const uint8_t forward[] = { 0xc0, 26, 0, 1, 0, 1, 0, 0, 0, 9, 0,
					   4, 1, 2, 3, 4 };
	static const uint8_t alias[] = { 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2,
					 0xc0, 12 };
	static const uint8_t shorter[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0,
					   4, 1, 2, 3 };
	static const uint8_t longer[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0,
					  5, 1, 2, 3, 4, 5 };
	static const uint8_t huge[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0xff,
					0xff, 1, 2, 3, 4 };
	const struct {
		const uint8_t *p;
		size_t len;
	} c[] = { { self, sizeof(self) },	{ forward, sizeof(forward) },
		  { alias, sizeof(alias) },	{ shorter, sizeof(shorter) },
		  { longer, sizeof(longer) },	{ huge, sizeof(huge) } };

	stage_init(&s, 1);
	stage_go(&s);
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		guest_asks(&s, 7, "a.test", DNS_A);
		fails(c[i].p, c[i].len, 1);
	}
	guest_asks(&s, 7, "a.test", DNS_A);
	fails(self, 0, 255); /* as many as it says are not there */
	stage_end(&s);
}

Test(forward_lies, longer_answers_than_were_asked_for_do_not_count, .timeout = 60)
{
	static uint8_t buf[65000];
	struct heard h;
	size_t n;

	asked(&h);
	n = honest(buf, 512, &h);
	up_says(&s, 0, &h, buf, sizeof(buf));
	up_says(&s, 0, &h, buf, DNS_MESSAGE_MAX + 1);
	cr_expect_gt(n, 0);
	then_the_truth(&h);
	stage_end(&s);
}

Test(forward_lies, more_addresses_than_fit_are_cut, .timeout = 60)
{
	struct dns_answer a = { .ttl = 300, .naddrs = 1 };
	static uint8_t buf[DNS_MESSAGE_MAX];
	struct heard h;
	size_t n, one;

	stage_init(&s, 1);
	stage_go(&s);
	guest_asks_by(s.guest, 7, "a.test", DNS_A, 1232);
	up_hears(&s, 0, &h);
	a.addr[0] = net_addr4(1, 2, 3, 4);
	h.q.edns = 0;
	n = dns_build_answer(buf, sizeof(buf), &h.q, DNS_NOERROR, &a);
	for (one = n - 16; n + 16 <= sizeof(buf); n += 16) {
		memcpy(buf + n, buf + one, 16);
		if (!++buf[7])
			buf[6]++;
	}
	up_says(&s, 0, &h, buf, n);
	guest_hears(&s, &a);
	cr_expect_eq(a.naddrs, DNS_ADDRS_MAX);
	cr_expect_eq(a.nanswer, DNS_ADDRS_MAX);
	stage_end(&s);
}

/* --- failing, slow, gone ------------------------------------------------ */

static void two(void)
{
	stage_init(&s, 2);
	s.p.patience_ms = 200;
	stage_go_by_hand(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
}

Test(forward_lies, silent_upstream_is_followed_by_the_next, .timeout = 60)
{
	struct heard h;

	two();
	up_hears(&s, 0, &h);
	second_answers(&s);
	/* and comes last from now on */
	guest_asks(&s, 8, "b.test", DNS_A);
	second_answers(&s);
	cr_expect(up_hears_nothing(&s, 0));
	stage_end(&s);
}

Test(forward_lies, upstream_that_fails_is_followed_by_the_next, .timeout = 60)
{
	static const unsigned rcode[] = { DNS_SERVFAIL, DNS_REFUSED, 9, 15 };
	struct heard h;

	stage_init(&s, 2);
	stage_go(&s);
	for (unsigned i = 0; i < ARRAY_SIZE(rcode); i++) {
		guest_asks(&s, 7, "a.test", DNS_A);
		up_hears(&s, 0, &h);
		up_answers(&s, 0, &h, rcode[i], NULL);
		second_answers(&s);
	}
	stage_end(&s);
}

Test(forward_lies, nobody_answers_is_a_failure, .timeout = 60)
{
	struct heard h;

	two();
	for (unsigned i = 0; i < 3; i++)
		up_hears(&s, i & 1, &h);
	expect_rcode(&s, 7, DNS_SERVFAIL);
	stage_end(&s);
}

/* More is there to be read than is read at once, and the answer comes last of
 * all: its time is up before it is read. */
Test(forward_lies, answer_that_came_in_time_counts_however_late_it_is_read,
     .timeout = 60)
{
	int fd[FORWARD_TCP_MAX];
	struct dns_answer a;
	struct heard h;

	stage_init(&s, 1);
	s.p.patience_ms = 200;
	stage_go_by_hand(&s);
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		cr_assert_eq(connect(fd[i], (struct sockaddr *)&s.guest_tcp,
				     sizeof(s.guest_tcp)), 0);
		while (s.f->conn[i].ev.fd < 0)
			cr_assert_geq(forward_turn(s.f, 10), 0);
	}
	guest_asks(&s, 7, "a.test", DNS_A);
	up_hears(&s, 0, &h);
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++)
		cr_assert_eq(send(fd[i], "", 1, 0), 1);
	guest_asks(&s, 8, ".", 255);
	for (unsigned i = 0; i < FORWARD_SOCKETS; i++) {
		struct heard other = h;
		socklen_t len = sizeof(other.from);

		cr_assert_eq(getsockname(s.f->upstream[0][i].ev.fd,
					 (struct sockaddr *)&other.from, &len),
			     0);
		if (other.from.sin_port != h.from.sin_port)
			up_says(&s, 0, &other, "", 1);
	}
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(&s, 0, &h, DNS_NOERROR, &a);
	while (ask_deadline(s.f) > io_now_ns())
		poll(NULL, 0, 10);
	expect_rcode(&s, 8, DNS_REFUSED);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	cr_expect(up_hears_nothing(&s, 0));
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++)
		close(fd[i]);
	stage_end(&s);
}

Test(forward_lies, late_answer_is_welcome_while_others_are_asked, .timeout = 60)
{
	struct dns_answer a;
	struct heard h, next;

	two();
	up_hears(&s, 0, &h);
	up_hears(&s, 1, &next);
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(&s, 0, &h, DNS_NOERROR, &a);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	stage_end(&s);
}

/* Patience is for ten minutes here. */
Test(forward_lies, nobody_is_waited_for_who_is_not_there, .timeout = 60)
{
	char name[32];

	stage_init(&s, 1);
	up_closes(&s, 0);
	stage_go(&s);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		guest_asks(&s, 7, name, DNS_A);
		expect_rcode(&s, 7, DNS_SERVFAIL);
	}
	stage_end(&s);
}

Test(forward_lies, who_is_not_there_holds_up_nobody, .timeout = 60)
{
	struct dns_answer a;
	struct heard h;
	char name[32];

	stage_init(&s, 3);
	up_closes(&s, 0);
	up_closes(&s, 2);
	stage_go(&s);
	/* all at once, so that what is under way is there twice and more */
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		guest_asks(&s, 7, name, DNS_A);
	}
	make(&a, REPLY(ADDRS("1.2.3.4")));
	for (unsigned i = 0; i < 40; i++) {
		up_hears(&s, 1, &h);
		up_answers(&s, 1, &h, DNS_NOERROR, &a);
		expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	}
	stage_end(&s);
}

/* The kernel tells a socket's error once: here to the second that uses it. */
Test(forward_lies, refusal_is_that_of_all_who_have_asked, .timeout = 60)
{
	struct dns_answer a;
	struct heard h;

	stage_init(&s, 2);
	for (unsigned i = 1; i < FORWARD_SOCKETS; i++)
		cr_assert_geq(dup2(s.p.upstream[0][0], s.p.upstream[0][i]), 0);
	up_closes(&s, 0);
	guest_asks(&s, 7, "a.test", DNS_A);
	guest_asks(&s, 8, "b.test", DNS_A);
	stage_go(&s);
	make(&a, REPLY(ADDRS("1.2.3.4")));
	for (unsigned i = 0; i < 2; i++) {
		up_hears(&s, 1, &h);
		up_answers(&s, 1, &h, DNS_NOERROR, &a);
		expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	}
	stage_end(&s);
}

Test(forward_lies, who_comes_back_is_asked_again, .timeout = 60)
{
	struct dns_answer a;
	struct heard h;

	stage_init(&s, 1);
	up_closes(&s, 0);
	stage_go(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
	expect_rcode(&s, 7, DNS_SERVFAIL);
	up_opens(&s, 0);
	do {
		guest_asks(&s, 7, "a.test", DNS_A);
		while (!ready(s.up[0], 1) && !ready(s.guest, 1))
			;
		if (ready(s.guest, 0))
			expect_rcode(&s, 7, DNS_SERVFAIL);
	} while (!ready(s.up[0], 0));
	up_hears(&s, 0, &h);
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(&s, 0, &h, DNS_NOERROR, &a);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	stage_end(&s);
}

Test(forward_lies, all_that_fail_are_asked_once, .timeout = 60)
{
	static const unsigned rcode[] = { DNS_SERVFAIL, DNS_REFUSED, 9 };
	struct heard h;

	stage_init(&s, 3);
	stage_go(&s);
	for (unsigned i = 0; i < ARRAY_SIZE(rcode); i++) {
		guest_asks(&s, 7, "a.test", DNS_A);
		for (unsigned k = 0; k < 3; k++) {
			up_hears(&s, k, &h);
			up_answers(&s, k, &h, rcode[i], NULL);
		}
		expect_rcode(&s, 7, DNS_SERVFAIL);
	}
	for (unsigned k = 0; k < 3; k++)
		cr_expect(up_hears_nothing(&s, k));
	stage_end(&s);
}

Test(forward_lies, without_an_upstream_all_fails, .timeout = 60)
{
	stage_init(&s, 0);
	stage_go(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
	expect_rcode(&s, 7, DNS_SERVFAIL);
	stage_end(&s);
}

Test(forward_lies, slow_upstream_keeps_nobody_waiting, .timeout = 60)
{
	struct heard slow, quick;
	struct dns_answer a;

	asked(&slow);
	for (unsigned i = 0; i < 20; i++) {
		guest_asks(&s, 9, "b.test", DNS_A);
		up_hears(&s, 0, &quick);
		make(&a, REPLY(ADDRS("1.2.3.5")));
		up_answers(&s, 0, &quick, DNS_NOERROR, &a);
		expect_addrs(&s, REPLY(ADDRS("1.2.3.5")));
	}
	then_the_truth(&slow);
	stage_end(&s);
}

Test(forward_lies, upstream_without_edns_is_asked_without, .timeout = 60)
{
	struct dns_answer a;
	struct heard h;

	asked(&h);
	cr_expect_gt(h.edns, 0);
	h.q.edns = 0;
	up_answers(&s, 0, &h, DNS_FORMERR, NULL);
	up_hears(&s, 0, &h);
	cr_expect_eq(h.edns, 0);
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(&s, 0, &h, DNS_NOERROR, &a);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	stage_end(&s);
}
