/* SPDX-License-Identifier: Apache-2.0 */
/* The soft engine from outside: what its callers do between two runs. */
#include <criterion/criterion.h>
#include <string.h>

#include "runner/engine/engine.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/regs.h"

#define RAM  (2ull << 20)
#define CODE 0x100000ull

static struct {
	struct gmem gm;
	struct engine *engine;
	struct vcpu_state boot;
	uint32_t out; /* the last value on a port */
} t;

static void mmio(void *opaque, uint64_t gpa, void *data, unsigned len,
		 int write)
{
	(void)opaque, (void)gpa;
	if (!write)
		memset(data, 0xff, len);
}

/* A port access ends the run. */
static void pio(void *opaque, uint16_t port, void *data, unsigned len,
		int write)
{
	(void)opaque, (void)port;
	if (write)
		memcpy(&t.out, data, len);
	engine_soft.kick(t.engine, 0);
}

static void start(void)
{
	static const struct engine_bus bus = { .mmio = mmio, .pio = pio };
	struct engine_params p = { .gm = &t.gm, .bus = &bus, .ncpus = 1,
				   .kvm_fd = -1 };

	memset(&t, 0, sizeof(t));
	cr_assert_eq(gmem_init(&t.gm, RAM, NULL), 0);
	cr_assert_eq(engine_soft.create(&p, &t.engine, NULL), 0);
	cr_assert_eq(regs_boot(&t.gm, CODE, &t.boot), 0);
}

static void finish(void)
{
	engine_soft.free(t.engine);
	gmem_free(&t.gm);
}

TestSuite(soft_engine, .init = start, .fini = finish);

static uint32_t run_from_start(void)
{
	struct engine_exit x;

	cr_assert_eq(engine_soft.set_state(t.engine, 0, &t.boot, NULL), 0);
	engine_soft.run(t.engine, 0, &x);
	cr_assert_eq(x.reason, ENGINE_EXIT_INTR, "%s", x.msg);
	return t.out;
}

Test(soft_engine, kick_does_not_hide_a_device_write_into_code)
{
	/* mov $1, %al; out %al, $0x80; hlt */
	static const uint8_t code[] = { 0xb0, 1, 0xe6, 0x80, 0xf4 };
	static const uint8_t two = 2;
	struct engine_exit x;

	cr_assert_eq(gmem_write(&t.gm, CODE, code, sizeof(code)), 0);
	cr_assert_eq(run_from_start(), 1);
	cr_assert_eq(gmem_write(&t.gm, CODE + 1, &two, 1), 0);
	engine_soft.kick(t.engine, 0);
	engine_soft.run(t.engine, 0, &x);
	cr_assert_eq(x.reason, ENGINE_EXIT_INTR);
	cr_assert_eq(run_from_start(), 2);
}

/* Whatever thread runs next, and whatever it did with its own x87. */
Test(soft_engine, x87_state_is_whole_between_runs)
{
	/* fld1; out %al, $0x80; jmp, where a kick is seen; fldpi; ... */
	static const uint8_t code[] = { 0xd9, 0xe8, 0xe6, 0x80, 0xeb, 0,
					0xd9, 0xeb, 0xe6, 0x80, 0xeb, 0 };
	struct vcpu_state s;
	struct engine_exit x;
	uint16_t control;

	cr_assert_eq(gmem_write(&t.gm, CODE, code, sizeof(code)), 0);
	memcpy(t.boot.fxsave, "\x7f\x0f", 2); /* rounds towards zero */
	run_from_start();
	cr_assert_eq(engine_soft.get_state(t.engine, 0, &s, NULL), 0);
	cr_expect_eq(s.fxsave[4], 0x80, "one register in use");
	cr_expect_arr_eq(s.fxsave + 32 + 7, "\x80\xff\x3f", 3, "1.0");
	__asm__ volatile("fnstcw %0; fninit; fldz" : "=m"(control));
	cr_expect_eq(control, 0x37f, "the host's own");
	__asm__ volatile("fninit");
	engine_soft.run(t.engine, 0, &x);
	cr_assert_eq(engine_soft.get_state(t.engine, 0, &s, NULL), 0);
	cr_expect_eq(s.fxsave[4], 0xc0);
	cr_expect_arr_eq(s.fxsave, "\x7f\x0f", 2);
	cr_expect_arr_eq(s.fxsave + 32 + 16 + 7, "\x80\xff\x3f", 3, "1.0");
}

/* Everything that regs_boot() maps becomes a user's. */
static void open_tables(uint64_t table, unsigned levels)
{
	uint64_t *e = gmem_ptr(&t.gm, table, 4096);

	cr_assert_not_null(e);
	for (unsigned i = 0; i < 512; i++) {
		if (!(e[i] & 1))
			continue;
		e[i] |= 4;
		if (levels > 1 && !(e[i] & 0x80))
			open_tables(e[i] & ~0xfffull, levels - 1);
	}
}

/* Which bits one instruction leaves, at privilege level @cpl. */
static uint32_t missing_after(const uint8_t code[8], uint8_t cpl)
{
	struct engine_exit x;

	finish();
	start();
	cr_assert_eq(gmem_write(&t.gm, CODE, code, 8), 0);
	open_tables(t.boot.cr3, 4);
	t.boot.seg[X86_CS].dpl = t.boot.seg[X86_SS].dpl = cpl;
	cr_assert_eq(engine_soft.set_state(t.engine, 0, &t.boot, NULL), 0);
	engine_soft.run(t.engine, 0, &x);
	cr_assert_eq(x.reason, ENGINE_EXIT_SHUTDOWN, "#UD and no IDT: %s",
		     x.msg);
	return engine_soft.isa_missing(t.engine);
}

Test(soft_engine, instructions_of_later_levels_are_noted_in_user_mode)
{
	static const struct {
		const char *name;
		uint32_t bits;
		uint8_t code[8];
	} insn[] = {
		{ "vxorps", ENGINE_ISA_V3, { 0xc5, 0xf8, 0x57, 0xc0 } },
		{ "andn", ENGINE_ISA_V3, { 0xc4, 0xe2, 0x70, 0xf2, 0xc0 } },
		{ "vpxord", ENGINE_ISA_V3, { 0x62, 0xf1, 0x7d, 0x48, 0xef } },
		{ "movbe", ENGINE_ISA_V3, { 0x0f, 0x38, 0xf0, 0x07 } },
		{ "aesenc", ENGINE_ISA_OTHER,
		  { 0x66, 0x0f, 0x38, 0xdc, 0xc0 } },
		{ "pclmulqdq", ENGINE_ISA_OTHER,
		  { 0x66, 0x0f, 0x3a, 0x44, 0xc0, 0x00 } },
		{ "rdrand", ENGINE_ISA_OTHER, { 0x0f, 0xc7, 0xf0 } },
		{ "adcx", ENGINE_ISA_OTHER, { 0x66, 0x0f, 0x38, 0xf6, 0xc0 } },
		{ "ud2", 0, { 0x0f, 0x0b } },
		{ "push %es", 0, { 0x06 } },
	};

	for (size_t i = 0; i < sizeof(insn) / sizeof(insn[0]); i++) {
		cr_assert_eq(missing_after(insn[i].code, 3), insn[i].bits,
			     "%s", insn[i].name);
		cr_assert_eq(missing_after(insn[i].code, 0), 0,
			     "%s by the kernel", insn[i].name);
	}
}
