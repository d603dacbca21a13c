/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every vector and x87 instruction, run by the soft engine's handlers and by
 * the host, on the same random states: registers, flags, memory and
 * exceptions must be the same. MAYFLY_SEED repeats a run, MAYFLY_LONG=1 makes
 * it longer.
 */
#include "tests/unit/native_worlds.h"

/* --- comparing --------------------------------------------------------- */

/*
 * MXCSR's flags after an unmasked exception that the SDM leaves open, or that
 * cannot be learnt from running masked:
 * - With overflow or underflow unmasked, PE is about the result before its
 *   exponent is bounded (SDM 1 4.9.1.4 ff); only the trap handler could care.
 * - DPPS and DPPD raise after each of their steps (SDM 2A DPPS), we at the
 *   end of them all.
 */
static uint32_t mxcsr_known(const struct insn *in, uint32_t mxcsr)
{
	uint32_t unmasked = ~mxcsr >> 7 & mxcsr;

	if (in->map == 3 && (in->opcode & 0xfe) == 0x40)
		return ~MXCSR_FLAGS;
	return unmasked & 0x18 ? ~0x20u : UINT32_MAX;
}

/* A conversion between MMX and XMM that raises #XM may have entered MMX state
 * before (SDM 3A 12.5 says nothing of it; processors did). */
static int x87_known(const struct insn *in, const struct state *s)
{
	return s->vector != 1 + EXC_XM || !(in->attr & INSN_MMX);
}

/* FIP, FDP, FOP, their selectors and MXCSR_MASK in memory are the processor's
 * own way (SDM 1 8.1.8); x87_pointers_are_the_guests is about ours. */
static void forget_pointers(const struct insn *in, struct state *s)
{
	uint8_t *m;

	if (s->vector || !in->nopnd || !(in->o[0].access & OPND_W) ||
	    (in->op != OP_FXSAVE && in->op != OP_X87_ENV))
		return;
	m = s->data + (s->gpr[X86_RDI] - DATA); /* no fault: it is inside */
	if (in->op == OP_FXSAVE) {
		memset(m + 6, 0, 18);
		memset(m + 28, 0, 4);
	} else {
		memset(m + (in->osize == 2 ? 6 : 12), 0,
		       in->osize == 2 ? 8 : 16);
	}
}

static const char *differs(const struct state *a, const struct state *b,
			   const struct insn *in)
{
	uint32_t ma, mb, known = UINT32_MAX;
	unsigned i;

	if (a->vector != b->vector)
		return "exception";
	for (i = 0; i < 16; i++)
		if (i != X86_RSP && a->gpr[i] != b->gpr[i])
			return "general register";
	if ((a->rflags ^ b->rflags) & ARITH)
		return "flags";
	if (memcmp(a->fx + 160, b->fx + 160, 256))
		return "XMM";
	memcpy(&ma, a->fx + 24, 4);
	memcpy(&mb, b->fx + 24, 4);
	if (b->vector == 1 + EXC_XM)
		known = mxcsr_known(in, mb);
	if ((ma ^ mb) & known)
		return "MXCSR";
	if (!x87_known(in, b))
		return memcmp(a->data, b->data, DATA_SIZE) ? "memory" : NULL;
	if (memcmp(a->fx, b->fx, 5))
		return "x87 control, status or tags";
	if (memcmp(a->fx + 32, b->fx + 32, 128))
		return "x87 registers";
	if (memcmp(a->data, b->data, DATA_SIZE))
		return "memory";
	return NULL;
}

static void dump(const char *who, const struct state *s)
{
	unsigned i, j;

	printf("  %s: vec %d fl %03llx fcw %02x%02x fsw %02x%02x ftw %02x "
	       "mxcsr %02x%02x rdi %llx\n", who, (int)s->vector - 1,
	       (unsigned long long)(s->rflags & ARITH), s->fx[1], s->fx[0],
	       s->fx[3], s->fx[2], s->fx[4], s->fx[25], s->fx[24],
	       (unsigned long long)s->gpr[7]);
	for (i = 0; i < 16; i++) {
		printf("    %2u %016llx x", i, (unsigned long long)s->gpr[i]);
		for (j = 16; j--;)
			printf("%02x", s->fx[160 + 16 * i + j]);
		for (j = 10; i < 8 && j--;)
			printf("%s%02x", j == 9 ? " st " : "",
			       s->fx[32 + 16 * i + j]);
		printf("\n");
	}
}

static void compare(struct bench *t)
{
	static struct state start, ours, theirs;
	const char *what;
	unsigned i;

	random_state(t, &start);
	/* what no register can hold is not to be compared */
	memcpy(t->cpu->fx, start.fx, 512);
	fpu_accept(t->cpu);
	memcpy(start.fx, t->cpu->fx, 512);
	ours = theirs = start;
	soft_run(t, &ours);
	host_run(&theirs);
	forget_pointers(&t->in, &ours);
	forget_pointers(&t->in, &theirs);
	t->cases++;
	what = differs(&ours, &theirs, &t->in);
	if (!what)
		return;
	t->bad++;
	if (t->shown[t->in.map][t->in.opcode])
		return;
	t->shown[t->in.map][t->in.opcode] = 1;
	printf("%s:", what);
	for (i = 0; i < t->in.len; i++)
		printf(" %02x", t->bytes[i]);
	printf("\n");
	if (getenv("MAYFLY_DUMP")) {
		dump("start", &start);
		dump("ours", &ours);
		dump("host", &theirs);
	}
}

/* --- every form -------------------------------------------------------- */

static int ours_to_run(const struct insn *in)
{
	unsigned i;

	switch (in->op) {
	case OP_SIMD:
	case OP_X87:
	case OP_X87_ENV:
	case OP_LDMXCSR:
	case OP_STMXCSR:
	case OP_FXSAVE:
	case OP_FXRSTOR:
	case OP_FWAIT:
		break;
	default:
		return 0;
	}
	for (i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_GPR && in->o[i].reg == X86_RSP)
			return 0;
	return 1;
}

static void one_form(struct bench *t, unsigned long states)
{
	if (decode(t->bytes, sizeof(t->bytes), DECODE_64, &t->in) !=
		    DECODE_OK || !ours_to_run(&t->in))
		return;
	soft_prepare(t);
	host_prepare(t->bytes, t->in.len);
	while (states--)
		compare(t);
}

/* Prefix, REX, opcode, ModRM with a register or [rdi], random immediate. */
static void build(struct bench *t, uint8_t prefix, uint8_t rex, unsigned map,
		  unsigned opcode, unsigned modrm)
{
	uint8_t *p = t->bytes;

	if (prefix)
		*p++ = prefix;
	*p++ = 0x40 | rex;
	if (map)
		*p++ = 0x0f;
	if (map > 1)
		*p++ = map == 2 ? 0x38 : 0x3a;
	*p++ = (uint8_t)opcode;
	*p++ = (uint8_t)modrm;
	*p++ = (uint8_t)next_random(t);
	memset(p, 0, (size_t)(t->bytes + sizeof(t->bytes) - p));
}

static void start(struct bench *t)
{
	const char *seed = getenv("MAYFLY_SEED");

	memset(t, 0, sizeof(*t));
	t->seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) | 1;
	printf("MAYFLY_SEED=%llu\n", (unsigned long long)t->seed);
	host_init();
	soft_init(t);
}

static void finish(struct bench *t)
{
	printf("%lu cases, %lu mismatches\n", t->cases, t->bad);
	cr_expect_eq(t->bad, 0);
	cr_expect_gt(t->cases, 0);
	engine_soft.free(t->engine);
	gmem_free(&t->gm);
}

static unsigned long states(unsigned long normal)
{
	const char *env = getenv("MAYFLY_LONG");

	return env && *env == '1' ? normal * 40 : normal;
}

static void two_byte_forms(struct bench *t, unsigned map, unsigned long n)
{
	static const uint8_t prefix[4] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned p, op, w, reg;
	uint8_t rex;

	for (p = 0; p < 4; p++)
	for (op = 0; op < 256; op++)
	for (w = 0; w < 2; w++)
	for (reg = 0; reg < 8; reg++) {
		if (map == 1 && (op == 0x38 || op == 0x3a))
			continue; /* the other two maps */
		rex = (uint8_t)(w << 3 | (next_random(t) & 5));
		build(t, prefix[p], rex, map, op,
		      0xc0 | reg << 3 | (next_random(t) & 7));
		one_form(t, n);
		build(t, prefix[p], rex & 12, map, op, reg << 3 | 7);
		one_form(t, n);
	}
}

Test(native, vector_instructions_do_as_the_host, .timeout = 600)
{
	static struct bench t;
	unsigned map;

	start(&t);
	for (map = 1; map < 4; map++)
		two_byte_forms(&t, map, states(20));
	finish(&t);
}

Test(native, x87_instructions_do_as_the_host, .timeout = 600)
{
	static struct bench t;
	unsigned op, modrm, p;

	start(&t);
	for (p = 0; p < 2; p++)
	for (op = 0xd8; op <= 0xdf; op++) {
		for (modrm = 0xc0; modrm < 0x100; modrm++) {
			build(&t, p ? 0x66 : 0, 0, 0, op, modrm);
			one_form(&t, states(40));
		}
		for (modrm = 7; modrm < 0x40; modrm += 8) {
			build(&t, p ? 0x66 : 0, 0, 0, op, modrm);
			one_form(&t, states(200));
		}
	}
	build(&t, 0, 0, 0, 0x9b, 0);
	one_form(&t, states(200));
	finish(&t);
}

/* --- what depends on control registers, and on nothing of the host ----- */

/* The vector raised, or -1. */
static int run_bytes(struct bench *t, const char *bytes, struct state *s)
{
	memcpy(t->bytes, bytes, strlen(bytes));
	cr_assert_eq(decode(t->bytes, sizeof(t->bytes), DECODE_64, &t->in),
		     DECODE_OK);
	soft_prepare(t);
	soft_run(t, s);
	return (int)s->vector - 1;
}

static void quiet_state(struct state *s)
{
	static const uint8_t init[] = { 0x7f, 0x03 };

	memset(s, 0, sizeof(*s));
	s->gpr[X86_RDI] = DATA + 0x100;
	memcpy(s->fx, init, 2);
	memcpy(s->fx + 24, &(uint32_t){ MXCSR_MASKS }, 4);
}

Test(native, control_registers_forbid)
{
	static const char *const bytes[4] = {
		"\x0f\x28\xca", "\x0f\xfc\xca", "\xd9\xe8", "\x9b",
	}; /* movaps, paddb mm, fld1, fwait */
	static const struct {
		uint64_t cr0, cr4;
		int vec[4];
	} row[] = {
		{ 0, CR4_OSFXSR, { -1, -1, -1, -1 } },
		{ CR0_EM, CR4_OSFXSR, { EXC_UD, EXC_UD, EXC_NM, -1 } },
		{ CR0_TS, CR4_OSFXSR, { EXC_NM, EXC_NM, EXC_NM, -1 } },
		{ CR0_TS | CR0_MP, CR4_OSFXSR,
		  { EXC_NM, EXC_NM, EXC_NM, EXC_NM } },
		{ CR0_TS, 0, { EXC_UD, EXC_NM, EXC_NM, -1 } },
		{ 0, 0, { EXC_UD, -1, -1, -1 } },
	};
	static struct bench t;
	static struct state s;
	unsigned i, j;

	start(&t);
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		t.cpu->cr0 = CR0_PE | CR0_NE | row[i].cr0;
		t.cpu->cr4 = row[i].cr4;
		for (j = 0; j < 4; j++) {
			quiet_state(&s);
			cr_expect_eq(run_bytes(&t, bytes[j], &s),
				     row[i].vec[j], "row %u, %u", i, j);
		}
	}
}

Test(native, unmasked_exception_without_osxmmexcpt_is_ud)
{
	static struct bench t;
	static struct state s;

	start(&t);
	t.cpu->cr4 = CR4_OSFXSR;
	quiet_state(&s);
	memset(s.fx + 24, 0, 4);
	s.fx[160 + 3] = 0x3f; /* 0.5 / 0 */
	cr_expect_eq(run_bytes(&t, "\xf3\x0f\x5e\xc1", &s), EXC_UD);
}

Test(native, x87_pointers_are_the_guests)
{
	static struct bench t;
	static struct state s;
	uint64_t fip, fdp;
	uint16_t fop;

	start(&t);
	quiet_state(&s);
	cr_expect_eq(run_bytes(&t, "\xd9\x47\x08", &s), -1); /* fld [rdi+8] */
	memcpy(&fop, s.fx + 6, 2);
	memcpy(&fip, s.fx + 8, 8);
	memcpy(&fdp, s.fx + 16, 8);
	cr_expect_eq(fop, 0x147);
	cr_expect_eq(fip, CODE);
	cr_expect_eq(fdp, DATA + 0x108);
	/* fnstenv [rdi] tells of the same, and changes nothing of it */
	cr_expect_eq(run_bytes(&t, "\xd9\x37", &s), -1);
	memcpy(&fip, s.data + 0x100 + 12, 4);
	cr_expect_eq((uint32_t)fip, CODE);
	cr_expect_eq(run_bytes(&t, "\xdb\xe3", &s), -1); /* fninit */
	memcpy(&fip, s.fx + 8, 8);
	cr_expect_eq(fip, 0);
}

Test(native, fxsave_outside_64_bit_mode_leaves_xmm8_alone)
{
	static struct bench t;
	static struct state s;
	unsigned at = 0x100 + 160 + 16 * 8;

	start(&t);
	t.cpu->code64 = 0;
	quiet_state(&s);
	memset(s.fx + 160, 0x11, 256);
	memset(s.data + 0x100, 0x22, 512);
	cr_expect_eq(run_bytes(&t, "\x0f\xae\x07", &s), -1); /* fxsave */
	cr_expect_eq(s.data[at - 1], 0x11);
	cr_expect_eq(s.data[at], 0x22);
	cr_expect_eq(run_bytes(&t, "\x0f\xae\x0f", &s), -1); /* fxrstor */
	cr_expect_eq(s.fx[160 + 16 * 8], 0x11);
}

Test(native, reserved_mxcsr_bits_are_gp)
{
	static struct bench t;
	static struct state s;

	start(&t);
	quiet_state(&s);
	s.data[0x102] = 1;
	cr_expect_eq(run_bytes(&t, "\x0f\xae\x17", &s), EXC_GP); /* ldmxcsr */
	s.data[0x100 + 26] = 1;
	cr_expect_eq(run_bytes(&t, "\x0f\xae\x0f", &s), EXC_GP); /* fxrstor */
}

Test(native, thunks_are_shared_and_forgotten)
{
	struct native *n = native_new();
	struct insn in;
	native_fn a, b;

	cr_assert_not_null(n);
	decode((const uint8_t *)"\x66\x0f\xfc\xca", 4, DECODE_64, &in);
	a = native_get(n, &in);
	decode((const uint8_t *)"\x66\x45\x0f\xfc\xff", 5, DECODE_64, &in);
	cr_expect_eq(native_get(n, &in), a, "one thunk for all registers");
	decode((const uint8_t *)"\x66\x0f\xfd\xca", 4, DECODE_64, &in);
	b = native_get(n, &in);
	cr_expect_neq(a, b);
	native_reset(n);
	cr_expect_eq(native_get(n, &in), a, "from the start again");
	native_free(n);
}
