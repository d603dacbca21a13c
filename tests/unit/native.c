/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers of vector and x87 instructions: what control registers forbid,
 * and what is not the host's but ours: FIP, FDP, FOP, images outside 64-bit
 * mode, the state in the host's registers. That they compute what the host
 * computes is diff_forms.c's.
 */
#include "tests/unit/native_world.h"

static void start(struct bench *t)
{
	memset(t, 0, sizeof(*t));
	soft_init(t);
}

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

/* ST0's tag and the host's own tags. */
Test(native, x87_state_goes_back_when_asked)
{
	static struct bench t;
	static struct state s;
	uint8_t image[512] __attribute__((aligned(16)));

	start(&t);
	quiet_state(&s);
	memcpy(t.bytes, "\xd9\xe8", 2); /* fld1 */
	decode(t.bytes, sizeof(t.bytes), DECODE_64, &t.in);
	soft_prepare(&t);
	soft_start(&t, &s);
	run_uops(t.cpu, t.uops);
	cr_expect(t.cpu->fpu_live);
	cr_expect_eq(t.cpu->fx[4], 0, "not yet");
	fpu_sync(t.cpu);
	cr_expect_not(t.cpu->fpu_live);
	cr_expect_eq(t.cpu->fx[4], 0x80);
	cr_expect_eq(t.cpu->fx[32 + 9], 0x3f);
	__asm__ volatile("fxsave64 %0" : "=m"(image));
	cr_expect_eq(image[4], 0, "the host's is empty");
}

Test(native, x87_state_is_in_memory_while_something_is_unmasked)
{
	static struct bench t;
	static struct state s;

	start(&t);
	quiet_state(&s);
	memcpy(t.bytes, "\xd9\xe8", 2);
	decode(t.bytes, sizeof(t.bytes), DECODE_64, &t.in);
	soft_prepare(&t);
	s.fx[0] = 0x7e;
	soft_start(&t, &s);
	run_uops(t.cpu, t.uops);
	cr_expect_not(t.cpu->fpu_live);
	cr_expect_eq(t.cpu->fx[4], 0x80);
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
