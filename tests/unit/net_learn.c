/* SPDX-License-Identifier: Apache-2.0 */
/* What the forwarder may have opened, and what it may not. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "net/learn.h"
#include "net/plan.h"
#include "net/rule.h"
#include "runner/base/mem.h"

#define S UINT64_C(1000000000)

static struct net_rules rules;
static struct learn l;
static struct keep_learned answer[KEEP_LEARN_MAX];

/* The kernel: what it was asked last, and what it says. */
static struct {
	int says;
	unsigned calls, n;
	char set[KEEP_LEARN_MAX][32];
	uint8_t key[KEEP_LEARN_MAX][LEARN_KEY_MAX];
	size_t key_len[KEEP_LEARN_MAX];
	uint32_t timeout[KEEP_LEARN_MAX];
} kernel;

static int add(void *opaque, const struct nfnl_element *e, unsigned count)
{
	cr_assert_eq(opaque, &kernel);
	cr_assert(count > 0 && count <= NFNL_ADD_MAX);
	kernel.calls++;
	kernel.n = count;
	for (unsigned i = 0; i < count; i++) {
		strcpy(kernel.set[i], e[i].set);
		memcpy(kernel.key[i], e[i].key, e[i].key_len);
		kernel.key_len[i] = e[i].key_len;
		kernel.timeout[i] = e[i].timeout_s;
	}
	return kernel.says;
}

static void start(void)
{
	cr_assert_eq(net_rules_allow(&rules, "web.test", NULL), 0);
	cr_assert_eq(net_rules_deny(&rules, "203.0.112.7", NULL), 0);
	cr_assert_eq(learn_init(&l, &rules, S), 0);
	l.add = add;
	l.opaque = &kernel;
}

static void end(void)
{
	learn_free(&l);
}

TestSuite(net_learn, .init = start, .fini = end);

static struct keep_learn v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d,
			    uint16_t port, uint32_t ttl)
{
	return (struct keep_learn){ .family = 4, .port = port, .ttl = ttl,
				    .addr = { a, b, c, d } };
}

static int ask(const struct keep_learn *q, unsigned n, uint64_t now)
{
	memset(answer, 0x55, sizeof(answer));
	return learn_answer(&l, q, n * sizeof(*q), now, answer);
}

static int ask_one(struct keep_learn q, uint64_t now)
{
	cr_assert_eq(ask(&q, 1, now), 1);
	return answer[0].error;
}

Test(net_learn, public_address_is_added_with_its_port_and_time)
{
	cr_expect_eq(ask_one(v4(93, 184, 216, 34, 0, 300), S), 0);
	cr_expect_str_eq(kernel.set[0], NET_SET_ADDR4);
	cr_expect_eq(kernel.key_len[0], 4u);
	cr_expect_arr_eq(kernel.key[0], "\x5d\xb8\xd8\x22", 4);
	cr_expect_eq(kernel.timeout[0], 300u);
	cr_expect_eq(ask_one(v4(93, 184, 216, 34, 443, 300), S), 0);
	cr_expect_str_eq(kernel.set[0], NET_SET_ADDR4_PORT);
	cr_expect_eq(kernel.key_len[0], 8u);
	cr_expect_arr_eq(kernel.key[0], "\x5d\xb8\xd8\x22\x01\xbb\0\0", 8);
}

Test(net_learn, ipv6_has_sets_of_its_own)
{
	struct keep_learn q = { .family = 6, .ttl = 60,
				.addr = { 0x26, 0x06, 0x28, 0 } };

	cr_expect_eq(ask_one(q, S), 0);
	cr_expect_str_eq(kernel.set[0], NET_SET_ADDR6);
	cr_expect_eq(kernel.key_len[0], 16u);
	q.port = 80;
	cr_expect_eq(ask_one(q, S), 0);
	cr_expect_str_eq(kernel.set[0], NET_SET_ADDR6_PORT);
	cr_expect_eq(kernel.key_len[0], 20u);
}

Test(net_learn, no_name_opens_what_is_special_or_denied)
{
	static const uint8_t never[][4] = {
		{ 10, 0, 0, 1 }, { 127, 0, 0, 1 }, { 192, 168, 1, 1 },
		{ 169, 254, 169, 254 }, { 100, 64, 0, 1 }, { 198, 18, 0, 1 },
		{ 224, 0, 0, 1 }, { 0, 0, 0, 0 }, { 255, 255, 255, 255 },
		{ 203, 0, 112, 7 },
	};
	static const struct keep_learn v6[] = {
		{ .family = 6, .addr = { 0 } },
		{ .family = 6, .addr = { [15] = 1 } },
		{ .family = 6, .addr = { 0xfd } },
		{ .family = 6, .addr = { 0xfe, 0x80 } },
		{ .family = 6, .addr = { [10] = 0xff, 0xff, 93, 184, 216, 34 } },
		{ .family = 6, .addr = { 0x20, 0x02, 10, 0, 0, 1 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		const uint8_t *a = never[i];

		cr_expect_eq(ask_one(v4(a[0], a[1], a[2], a[3], 0, 60), S),
			     -EPERM, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(v6); i++)
		cr_expect_eq(ask_one(v6[i], S), -EPERM, "%zu", i);
	cr_expect_eq(kernel.calls, 0u);
}

Test(net_learn, one_refusal_leaves_the_others)
{
	const struct keep_learn q[] = { v4(10, 0, 0, 1, 0, 60),
					v4(93, 184, 216, 34, 0, 60),
					v4(93, 184, 216, 35, 0, 60) };

	cr_expect_eq(ask(q, 3, S), 3);
	cr_expect_eq(answer[0].error, -EPERM);
	cr_expect_eq(answer[1].error, 0);
	cr_expect_eq(answer[2].error, 0);
	cr_expect_eq(kernel.n, 2u);
}

Test(net_learn, time_is_clamped)
{
	ask_one(v4(8, 8, 8, 1, 0, 0), S);
	cr_expect_eq(kernel.timeout[0], 30u);
	ask_one(v4(8, 8, 8, 2, 0, UINT32_MAX), S);
	cr_expect_eq(kernel.timeout[0], 3600u);
}

Test(net_learn, longest_time_of_an_address_counts)
{
	cr_expect_eq(ask_one(v4(8, 8, 8, 8, 0, 600), S), 0);
	cr_expect_eq(ask_one(v4(8, 8, 8, 8, 0, 60), 2 * S), 0);
	cr_expect_eq(kernel.calls, 1u, "it is open for longer already");
	cr_expect_eq(ask_one(v4(8, 8, 8, 8, 0, 700), 3 * S), 0);
	cr_expect_eq(kernel.calls, 2u);
	cr_expect_eq(kernel.timeout[0], 700u);
	/* It ends at 703 s: at 660, 60 more are longer than that. */
	cr_expect_eq(ask_one(v4(8, 8, 8, 8, 0, 60), 660 * S), 0);
	cr_expect_eq(kernel.calls, 3u);
	cr_expect_eq(ask_one(v4(8, 8, 8, 8, 0, 60), 2000 * S), 0);
	cr_expect_eq(kernel.calls, 4u, "it has ended");
}

Test(net_learn, what_the_kernel_refuses_is_not_taken_for_open)
{
	const struct keep_learn q[] = { v4(8, 8, 8, 8, 0, 60),
					v4(8, 8, 8, 8, 0, 90),
					v4(10, 0, 0, 1, 0, 60) };

	kernel.says = -ENFILE;
	cr_expect_eq(ask(q, 3, S), 3);
	cr_expect_eq(answer[0].error, -ENFILE);
	cr_expect_eq(answer[1].error, -ENFILE);
	cr_expect_eq(answer[2].error, -EPERM);
	kernel.says = 0;
	cr_expect_eq(ask_one(v4(8, 8, 8, 8, 0, 60), S), 0);
	cr_expect_eq(kernel.calls, 2u);
}

Test(net_learn, broken_questions_end_the_conversation)
{
	struct keep_learn q[KEEP_LEARN_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(q); i++)
		q[i] = v4(8, 8, 8, (uint8_t)i, 0, 60);
	cr_expect_eq(learn_answer(&l, q, 0, S, answer), -EBADMSG);
	cr_expect_eq(learn_answer(&l, q, sizeof(*q) - 1, S, answer), -EBADMSG);
	cr_expect_eq(learn_answer(&l, q, sizeof(*q) + 1, S, answer), -EBADMSG);
	cr_expect_eq(ask(q, KEEP_LEARN_MAX + 1, S), -EBADMSG);
	cr_expect_eq(ask(q, KEEP_LEARN_MAX, S), KEEP_LEARN_MAX);
	for (unsigned family = 0; family < 256; family++) {
		q[1].family = (uint8_t)family;
		if (family != 4 && family != 6)
			cr_expect_eq(ask(q, 2, S), -EBADMSG, "%u", family);
	}
	q[1] = v4(8, 8, 8, 8, 0, 60);
	q[1].addr[4] = 1;
	cr_expect_eq(ask(q, 2, S), -EBADMSG, "an address behind the address");
	q[1] = v4(8, 8, 8, 8, 0, 60);
	q[1].zero = 1;
	cr_expect_eq(ask(q, 2, S), -EBADMSG);
}

static uint64_t fill(uint64_t now, unsigned *refused)
{
	unsigned n = 0;

	*refused = 0;
	for (unsigned i = 0; i < 2 * LEARN_BURST; i++) {
		int r = ask_one(v4(20, (uint8_t)(now / S), (uint8_t)(i >> 8),
				   (uint8_t)i, 0, 60), now);

		cr_assert(r == 0 || r == -EAGAIN, "%d", r);
		n += r == 0;
		*refused += r == -EAGAIN;
	}
	return n;
}

Test(net_learn, flood_is_held_up)
{
	unsigned refused;

	cr_expect_eq(fill(S, &refused), LEARN_BURST);
	cr_expect_eq(refused, LEARN_BURST);
	cr_expect_eq(fill(2 * S, &refused), LEARN_SECOND);
	/* What is open stays so, at no cost. */
	cr_expect_eq(ask_one(v4(20, 1, 0, 0, 0, 30), 2 * S), 0);
	cr_expect_eq(fill(200 * S, &refused), LEARN_BURST, "no more than that");
}

Test(net_learn, who_takes_all_room_gets_no_more)
{
	unsigned full = 0;

	for (unsigned i = 0; i < 2 * LEARN_SLOTS; i++) {
		int r;

		l.tokens = UINT64_C(1) << 20;
		r = ask_one(v4(20, (uint8_t)(i >> 16), (uint8_t)(i >> 8),
			       (uint8_t)i, 0, 60), S);
		cr_assert(r == 0 || r == -ENFILE, "%d", r);
		full += r == -ENFILE;
	}
	cr_expect_gt(full, 0u);
	cr_expect_leq(2 * LEARN_SLOTS - full, LEARN_SLOTS);
	/* All of them are over. */
	cr_expect_eq(ask_one(v4(30, 0, 0, 1, 0, 60), 100 * S), 0);
}
