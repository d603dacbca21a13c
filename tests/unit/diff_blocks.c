/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random blocks of up to 20 instructions, with branches and faults inside, on
 * the soft engine and on the host CPU: everything compared at their end or
 * fault. A block that differs is told with the instructions that it takes.
 *
 * DIFF_N sets their number, MAYFLY_LONG=1 means three million; DIFF_SEED repeats
 * a run, DIFF_BLOCK one block of it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/diff/block.h"
#include "tests/diff/check.h"
#include "tests/diff/guest.h"

#define BATCH	  32u
#define SAMPLE	  20000
#define LONG	  3000000
#define SHOWN_MAX 10u

struct run {
	struct host *host;
	struct guest *guest;
	struct diff_forms forms;
	struct diff_block block[BATCH];
	uint64_t seed[BATCH];
	unsigned long blocks, insns, faults, steps, bad;
};

static unsigned long env_number(const char *name, unsigned long def)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : def;
}

/* Case 0 is used to try. */
static int still_differs(struct run *t, struct diff_block *b)
{
	struct diff_case *c = host_cases(t->host);

	block_put(b, c);
	cr_assert_eq(host_run(t->host, 1), 0, "the host's side died or hangs");
	cr_assert_eq(guest_run(t->guest, c), 0, "%s", guest_why(t->guest));
	return block_check(b, c) != NULL;
}

static void shrink(struct run *t, struct diff_block *b)
{
	static struct diff_block less;
	unsigned k = 0;

	while (k < b->n) {
		less = *b;
		block_remove(&less, k);
		if (still_differs(t, &less)) {
			*b = less;
			k = 0;
		} else {
			k++;
		}
	}
}

static void tell(struct run *t, unsigned k, const char *what)
{
	struct diff_case *c = host_cases(t->host);
	struct diff_block b = t->block[k];

	block_make(&b, c, &t->forms, t->seed[k]);
	if (!still_differs(t, &b)) {
		printf("DIFF_BLOCK=%llu: %s differed once only\n",
		       (unsigned long long)t->seed[k], what);
		return;
	}
	shrink(t, &b);
	still_differs(t, &b);
	printf("DIFF_BLOCK=%llu: %s differs%s\n",
	       (unsigned long long)t->seed[k], block_check(&b, c),
	       c->stepping ? " (single steps)" : "");
	diff_print(c, NULL);
}

static void compare(struct run *t, unsigned n)
{
	const char *what[BATCH];

	cr_assert_eq(host_run(t->host, n), 0, "the host's side died or hangs");
	for (unsigned k = 0; k < n; k++) {
		struct diff_case *c = &host_cases(t->host)[k];

		cr_assert_eq(guest_run(t->guest, c), 0, "%s",
			     guest_why(t->guest));
		what[k] = host_answers() ? block_check(&t->block[k], c) : NULL;
		t->blocks++;
		t->insns += t->block[k].n;
		t->faults += c->soft.vec != DIFF_END;
		t->steps += c->soft.steps;
	}
	for (unsigned k = 0; k < n; k++)
		if (what[k] && t->bad++ < SHOWN_MAX)
			tell(t, k, what[k]);
}

static void run(struct run *t, uint64_t first, unsigned long count)
{
	unsigned n = 0;

	for (unsigned long i = 0; i < count; i++) {
		struct diff_case *c = &host_cases(t->host)[n];

		t->seed[n] = first + i;
		block_make(&t->block[n], c, &t->forms, t->seed[n]);
		block_put(&t->block[n], c);
		if (++n == BATCH || i + 1 == count) {
			compare(t, n);
			n = 0;
		}
	}
}

Test(diff_blocks, random_blocks_do_what_the_host_does, .timeout = 3000)
{
	static struct run t;
	const char *is_long = getenv("MAYFLY_LONG");
	unsigned long n = env_number("DIFF_N", is_long && *is_long == '1' ?
				     LONG : SAMPLE);
	uint64_t seed = env_number("DIFF_SEED", (unsigned long)time(NULL));

	if (host_cannot())
		cr_skip_test("%s", host_cannot());
	t.host = host_new(BATCH);
	t.guest = guest_new();
	cr_assert(t.host && t.guest);
	diff_forms_init(&t.forms);
	if (getenv("DIFF_BLOCK"))
		run(&t, env_number("DIFF_BLOCK", 0), 1);
	else
		run(&t, seed << 32, n);
	printf("%lu blocks, %lu instructions, %lu faults, %lu steps, "
	       "%lu mismatches, DIFF_SEED=%llu\n", t.blocks, t.insns,
	       t.faults, t.steps, t.bad, (unsigned long long)seed);
	cr_expect_eq(t.bad, 0, "DIFF_SEED=%llu", (unsigned long long)seed);
	guest_free(t.guest);
	host_free(t.host);
	diff_forms_free(&t.forms);
}
