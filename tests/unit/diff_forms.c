/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every instruction form that the decoder knows, on the soft engine and on
 * the host CPU: random encodings, random states; registers, flags, x87 and
 * SSE state, memory and faults compared.
 *
 * DIFF_N sets the states per form, MAYFLY_LONG=1 means 10,000. A table by form
 * is written to DIFF_TABLE, or diff-table.txt in the build directory.
 * DIFF_SEED repeats a run; DIFF_FORM takes only the forms whose line in the
 * table contains it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/diff/check.h"
#include "tests/diff/gen.h"
#include "tests/diff/guest.h"

#define BATCH	   64u
#define SAMPLE	   40
#define LONG	   10000
#define SHOWN_MAX  40u /* forms whose first mismatch is told in full */

struct run {
	struct host *host;
	struct guest *guest;
	struct diff_forms forms;
	struct rng rng;
	unsigned n; /* cases in the batch */
	struct insn in[BATCH];
	struct diff_form *form[BATCH];
	unsigned long states, bad, bad_forms;
	unsigned long faults[32]; /* by vector */
};

static unsigned long env_number(const char *name, unsigned long def)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : def;
}

static unsigned long states_per_form(void)
{
	const char *s = getenv("MAYFLY_LONG");

	return env_number("DIFF_N", s && *s == '1' ? LONG : SAMPLE);
}

static void compare(struct run *t, unsigned k)
{
	struct diff_case *c = &host_cases(t->host)[k];
	struct diff_form *f = t->form[k];
	const char *what;

	cr_assert_eq(guest_run(t->guest, c), 0, "%s: %s", f->name,
		     guest_why(t->guest));
	what = host_answers() ? diff_check(c, &t->in[k]) : NULL;
	t->states++;
	f->states++;
	if (c->soft.vec != DIFF_END)
		t->faults[c->soft.vec & 31]++;
	if (!what)
		return;
	t->bad++;
	if (f->bad++)
		return;
	if (t->bad_forms++ < SHOWN_MAX) {
		printf("%s: %s differs\n", f->name, what);
		diff_print(c, &t->in[k]);
	}
}

static void flush(struct run *t)
{
	cr_assert_eq(host_run(t->host, t->n), 0,
		     "the host's side died or hangs");
	for (unsigned k = 0; k < t->n; k++)
		compare(t, k);
	t->n = 0;
}

/* Anywhere on the two pages: across them, or up against their end. */
static uint32_t place(struct rng *r, unsigned len)
{
	uint32_t border = DIFF_CODE + 0x1000;

	switch (rnd_below(r, 16)) {
	case 0:
		return border - rnd_below(r, len + 1);
	case 1:
		return border + 0x1000 - rnd_below(r, len + 1);
	default:
		return DIFF_CODE + rnd_below(r, 0xc00);
	}
}

/* A far pointer in the code itself: to what follows. */
static void aim_far(struct diff_case *c, const struct gen_insn *g)
{
	uint32_t next = c->code_at + g->len;
	uint16_t cs = DIFF_CS32;

	if (g->in.nopnd && g->in.o[0].kind == OPND_FAR && next & 1) {
		memcpy(c->code + g->imm_at, &next, g->imm_len);
		memcpy(c->code + g->imm_at + g->imm_len, &cs, 2);
	}
}

static int make_case(struct run *t, struct diff_form *f)
{
	struct diff_case *c = &host_cases(t->host)[t->n];
	struct gen_insn g;

	if (gen_insn(&t->rng, f, &g))
		return 0;
	c->compat = f->compat;
	gen_state(&t->rng, c);
	c->code_at = place(&t->rng, g.len);
	gen_aim(&t->rng, c, &g, c->code_at);
	memcpy(c->code, g.bytes, g.len);
	aim_far(c, &g);
	memset(c->code + g.len, 0x90, 8); /* for branches to land on */
	c->code_len = g.len + 8;
	/* gen_aim() may have set its displacement */
	decode(c->code, g.len, f->compat ? DECODE_32 : DECODE_64,
	       &t->in[t->n]);
	t->form[t->n] = f;
	if (++t->n == BATCH)
		flush(t);
	return 1;
}

/* From BUILD/tests/unit/diff_forms to BUILD/diff-table.txt. */
static void table_path(char *path, size_t size)
{
	const char *env = getenv("DIFF_TABLE");
	ssize_t n = readlink("/proc/self/exe", path, size - 32);

	path[n < 0 ? 0 : n] = '\0';
	for (unsigned i = 0; i < 3 && strrchr(path, '/'); i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/diff-table.txt");
	if (env)
		snprintf(path, size, "%s", env);
}

static void write_table(const struct diff_forms *fs)
{
	char path[4096];
	FILE *out;

	table_path(path, sizeof(path));
	out = fopen(path, "w");
	cr_assert(out, "%s", path);
	fprintf(out, "# mode bytes operands: states mismatches, or why not\n");
	for (unsigned i = 0; i < fs->n; i++) {
		const struct diff_form *f = &fs->f[i];

		if (f->excluded)
			fprintf(out, "%-70s not run: %s\n", f->name,
				f->excluded);
		else
			fprintf(out, "%-70s %8lu %6lu\n", f->name, f->states,
				f->bad);
	}
	fclose(out);
}

static void print_faults(const struct run *t)
{
	static const char *const name[32] = {
		"DE", "DB", "NMI", "BP", "OF", "BR", "UD", "NM", "DF", NULL,
		"TS", "NP", "SS", "GP", "PF", NULL, "MF", "AC", "MC", "XM",
	};

	printf("faults:");
	for (unsigned i = 0; i < 32; i++)
		if (t->faults[i])
			printf(" #%s %lu", name[i] ? name[i] : "?",
			       t->faults[i]);
	printf("\n");
}

static void run_form(struct run *t, struct diff_form *f, unsigned long each)
{
	const char *filter = getenv("DIFF_FORM");
	unsigned long made = 0, tries = 0;

	if (f->excluded || (filter && !strstr(f->name, filter)))
		return;
	while (made < each && tries++ < each + 100)
		made += (unsigned long)make_case(t, f);
	cr_expect_eq(made, each, "%s: no encodings", f->name);
}

Test(diff_forms, every_form_does_what_the_host_does, .timeout = 3000)
{
	static struct run t;
	unsigned long each = states_per_form(), out = 0;
	uint64_t seed = env_number("DIFF_SEED", (unsigned long)time(NULL));

	if (host_cannot())
		cr_skip_test("%s", host_cannot());
	t.rng.s = seed;
	t.host = host_new(BATCH);
	t.guest = guest_new();
	cr_assert(t.host && t.guest);
	diff_forms_init(&t.forms);
	for (unsigned i = 0; i < t.forms.n; i++) {
		run_form(&t, &t.forms.f[i], each);
		out += t.forms.f[i].excluded != NULL;
	}
	flush(&t);
	write_table(&t.forms);
	print_faults(&t);
	printf("%u forms, %lu of them not run, %lu states, %lu mismatches in "
	       "%lu forms, seed %llu\n", t.forms.n, out, t.states, t.bad,
	       t.bad_forms, (unsigned long long)seed);
	cr_expect_eq(t.bad, 0, "DIFF_SEED=%llu", (unsigned long long)seed);
	guest_free(t.guest);
	host_free(t.host);
	diff_forms_free(&t.forms);
}
