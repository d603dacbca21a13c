/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever bytes a guest runs, in whatever state: the soft engine comes back
 * when kicked. Random instructions on random registers, tables and pages that
 * are the guest's own to overwrite, a device that writes into its code. What
 * is wrong shows as a crash, a sanitizer's report or a round without end.
 * MAYFLY_FUZZ_ROUNDS and MAYFLY_FUZZ_SEED make more of it; MAYFLY_FUZZ_SAY
 * names each round, the last of which is the one that crashed.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/cpuid.h"

#define RAM   (2ull << 20)
#define PML4  0x1000u
#define PDPT  0x2000u
#define PD    0x3000u
#define PT    0x4000u
#define PT2   0x5000u
#define GDT   0x6000u
#define IDT   0x7000u
#define TSS   0x8000u
#define CODE  0x10000u
#define CODE_SIZE 0x4000u
#define HIGH  0xffff800000000000ull /* alias of the low half's first part */

#define P_W_U 7u
#define LARGE 0x80u
#define GLOBAL 0x100u
#define NX    (1ull << 63)

struct fuzz {
	struct gmem gm;
	struct engine *engine;
	uint8_t *ram;
	uint64_t seed;
	pthread_mutex_t lock; /* of engine: a stopped one is made anew */
	_Atomic unsigned long round;
	_Atomic int stop;
};

static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static unsigned below(struct fuzz *f, unsigned n)
{
	return (unsigned)(next(&f->seed) >> 11) % n;
}

static void put64(struct fuzz *f, uint64_t at, uint64_t v)
{
	memcpy(f->ram + at, &v, 8);
}

/* --- the bus: registers that answer with something ------------------------- */

static void mmio(void *opaque, uint64_t gpa, void *data, unsigned len,
		 int write)
{
	(void)opaque;
	if (len != 1 && len != 2 && len != 4 && len != 8)
		abort();
	if (!write)
		memset(data, (int)gpa, len);
}

static void pio(void *opaque, uint16_t port, void *data, unsigned len,
		int write)
{
	(void)opaque;
	if (len != 1 && len != 2 && len != 4)
		abort();
	if (!write)
		memset(data, port, len);
}

/* --- the machine ------------------------------------------------------------ */

static void make_pages(struct fuzz *f)
{
	memset(f->ram + PML4, 0, 5 * 4096);
	put64(f, PML4, PDPT | P_W_U);
	put64(f, PML4 + 256 * 8, PDPT | P_W_U);
	put64(f, PML4 + 511 * 8, PML4 | P_W_U); /* the tables themselves */
	put64(f, PDPT, PD | P_W_U);
	put64(f, PDPT + 3 * 8, 0xc0000000u | P_W_U | LARGE); /* devices */
	put64(f, PD, PT | P_W_U);
	put64(f, PD + 8, PT2 | P_W_U);
	put64(f, PD + 2 * 8, 0 | P_W_U | LARGE | GLOBAL);
	put64(f, PD + 3 * 8, RAM | P_W_U | LARGE); /* nothing there */
	for (unsigned i = 0; i < 512; i++)
		put64(f, PT + i * 8, i * 4096u | P_W_U |
		      (i & 1 ? GLOBAL : 0));
	for (unsigned i = 0; i < 512; i++)
		put64(f, PT2 + i * 8, below(f, 600) * 4096ull | below(f, 8) |
		      (uint64_t)below(f, 2) << 63);
}

static void make_tables(struct fuzz *f)
{
	static const uint64_t gdt[] = {
		0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, /* 10, 18 */
		0x00008b0000000067 | (uint64_t)TSS << 16, 0, /* 20 */
		0x00cffb000000ffff, 0x00cff3000000ffff, /* 30, 38 */
		0x00affb000000ffff, 0x00cf9b000000ffff, /* 40, 48 */
		0x008ffb000000ffff, 0x00008f000000ffff, /* 50, 58: 16 bits */
	};
	static const uint8_t dpl[] = { 0x8e, 0x8f, 0xee, 0xef };

	memcpy(f->ram + GDT, gdt, sizeof(gdt));
	memset(f->ram + TSS, 0, 4096);
	for (unsigned at = 4; at < 0x5c; at += 8)
		put64(f, TSS + at, 0x20000 + below(f, 0x100) * 16u);
	for (unsigned v = 0; v < 256; v++) {
		uint32_t to = CODE + below(f, CODE_SIZE);

		put64(f, IDT + v * 16, (to & 0xffff) | 0x10u << 16 |
		      (uint64_t)(below(f, 4) ? 0 : below(f, 8)) << 32 |
		      (uint64_t)dpl[below(f, 4)] << 40 |
		      (uint64_t)(to >> 16) << 48);
		put64(f, IDT + v * 16 + 8, 0);
	}
}

static unsigned put_prefixes(struct fuzz *f, uint8_t *p)
{
	static const uint8_t prefix[] = { 0x66, 0x66, 0xf2, 0xf3, 0xf3, 0x67,
					  0xf0, 0x64, 0x65, 0x2e };
	unsigned n = 0;

	while (below(f, 3) == 0 && n < 6)
		p[n++] = prefix[below(f, sizeof(prefix))];
	if (below(f, 2))
		p[n++] = (uint8_t)(0x40 | below(f, 16));
	return n;
}

/* One instruction's worth of bytes, most of them meaning something. */
static unsigned put_insn(struct fuzz *f, uint8_t *p)
{
	unsigned n = put_prefixes(f, p), map = below(f, 8);

	if (map >= 3)
		p[n++] = 0x0f;
	if (map == 6)
		p[n++] = 0x38;
	if (map == 7)
		p[n++] = 0x3a;
	p[n++] = (uint8_t)below(f, 256);
	p[n++] = (uint8_t)below(f, 256);
	for (unsigned more = below(f, 6); more; more--)
		p[n++] = (uint8_t)(below(f, 3) ? below(f, 256) : 0);
	return n;
}

static void make_code(struct fuzz *f)
{
	uint8_t insn[32];
	unsigned at = 0, n;

	while (at < CODE_SIZE) {
		n = put_insn(f, insn);
		if (n > CODE_SIZE - at)
			n = CODE_SIZE - at;
		memcpy(f->ram + CODE + at, insn, n);
		at += n;
	}
}

static uint64_t interesting(struct fuzz *f)
{
	static const uint64_t v[] = {
		0, 1, 8, 0x10, 0xfff, 0x1000, CODE, CODE + 0x1000 - 3, RAM,
		RAM - 1, RAM - 7, RAM - 16, 0x20000, 0x1fff8, IDT, GDT, TSS,
		PT, PML4, 0xfee00000, 0xfee00300, 0xfec00000, 0xfec00010,
		0xd0000000, 0xfffffffc, 0xffffffff, 0x7ffffffffffe,
		0x800000000000, HIGH - 1, HIGH, HIGH | (RAM - 4),
		0xffffff8000000000, 0xfffffffffffffff8, 0xffffffffffffffff,
		0x400000, 0x5ffffc, 0x200000, 0x600000, 0x80000000,
		0x8000000000000000, 0x1b, 0x20, 0x48, 0x38, 0x43, 0xc0000080,
		0x830, 0x832, 0x6e0, 0x277, 0x10,
	};
	uint64_t x = v[below(f, sizeof(v) / sizeof(v[0]))];

	return below(f, 4) ? x : x + (uint64_t)below(f, 64) - 32;
}

static void set_seg(struct x86_seg *s, uint16_t sel, unsigned type, int user,
		    int l, int db)
{
	*s = (struct x86_seg){ .limit = 0xffffffff, .sel = sel, .s = 1, .p = 1,
			       .g = 1, .type = (uint8_t)type,
			       .dpl = user ? 3 : 0, .l = (uint8_t)l,
			       .db = (uint8_t)db };
}

/* Bases, limits and rights that compatibility mode has to mind. */
static void odd_segments(struct fuzz *f, struct vcpu_state *s)
{
	static const uint32_t limits[] = { 0, 0xfff, 0xffff, CODE + 0x1800,
					   RAM - 1, 0x7fffffff, 0xffffffff };
	static const uint8_t types[] = { 1, 3, 5, 7, 9, 11, 15 };

	for (unsigned i = 0; i < X86_SREGS; i++) {
		struct x86_seg *g = &s->seg[i];

		if (below(f, 2))
			continue;
		g->limit = limits[below(f, sizeof(limits) / sizeof(*limits))];
		if (below(f, 2))
			g->base = interesting(f) & 0xffffffff;
		if (i == X86_CS) {
			g->base &= 0xfff;
			continue;
		}
		g->type = types[below(f, i == X86_SS ? 4 : sizeof(types))];
		g->db = (uint8_t)below(f, 2);
		g->unusable = !below(f, 8);
	}
}

static void arm_breakpoints(struct fuzz *f, struct vcpu_state *s)
{
	for (unsigned i = 0; i < 4; i++)
		s->dr[i] = below(f, 2) ? CODE + below(f, CODE_SIZE) :
			   below(f, 2) ? 0x20000 + below(f, 0x1000) :
					 interesting(f);
	s->dr7 |= (next(&f->seed) & 0xffff23ff);
	s->cr4 |= below(f, 2) ? 8 : 0; /* DE */
	s->rflags |= below(f, 2) ? 0x10000 : 0; /* RF */
}

static void make_state(struct fuzz *f, struct vcpu_state *s)
{
	unsigned user = below(f, 3) == 0, mode = below(f, 8);
	int l = mode < 6, db = mode == 6;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = interesting(f);
	if (below(f, 4))
		s->gpr[X86_RSP] = 0x20000 + below(f, 0x200) * 8u;
	s->rip = CODE + (below(f, 2) ? below(f, CODE_SIZE) :
				       0xff0 + below(f, 32));
	s->rflags = 2 | (next(&f->seed) & 0x44dd5);
	if (below(f, 4))
		s->rflags &= ~0x100ull; /* TF */
	set_seg(&s->seg[X86_CS], l ? (user ? 0x43 : 0x10) :
		db ? (user ? 0x33 : 0x48) : (user ? 0x53 : 0x58), 11,
		(int)user, l, db);
	for (unsigned i = 0; i < X86_SREGS; i++)
		if (i != X86_CS)
			set_seg(&s->seg[i], user ? 0x3b : 0x18, 3, (int)user,
				0, 1);
	s->seg[X86_FS].base = interesting(f) & ((1ull << 47) - 1);
	s->seg[X86_GS].base = CODE;
	s->tr = (struct x86_seg){ .base = TSS, .limit = 0x67, .sel = 0x20,
				  .type = 11, .p = 1 };
	s->ldtr.unusable = 1;
	s->gdtr = (struct x86_table){ GDT, 0x5f };
	s->idtr = (struct x86_table){ IDT, 0xfff };
	s->cr0 = 0x80000033 | (below(f, 2) ? 0x10000 : 0) |
		 (below(f, 2) ? 0x40000 : 0);
	s->cr3 = PML4;
	s->cr4 = 0x6a0 | (below(f, 4) ? 0 : 0x100000) |
		 (below(f, 8) ? 0 : 0x200000) | 0x10000;
	s->efer = 0xd01;
	s->star = 0x0033001000000000;
	s->lstar = CODE + below(f, CODE_SIZE);
	s->sfmask = below(f, 2) ? 0x700 : 0;
	s->sysenter_cs = 0x10;
	s->sysenter_eip = CODE + below(f, CODE_SIZE);
	s->sysenter_esp = 0x20000;
	s->kernel_gs_base = interesting(f) & ((1ull << 47) - 1);
	s->pat = 0x0007040600070406;
	s->apic_base = 0xfee00900 | (below(f, 4) ? 0 : 0x400);
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	if (!l)
		odd_segments(f, s);
	if (!below(f, 4))
		arm_breakpoints(f, s);
	s->fxsave[0] = (uint8_t)(below(f, 2) ? 0x7f : below(f, 256));
	s->fxsave[1] = 3;
	s->fxsave[24] = (uint8_t)below(f, 256);
	s->fxsave[25] = (uint8_t)(below(f, 2) ? 0x1f : below(f, 256));
	for (unsigned i = 32; i < 416; i++)
		s->fxsave[i] = (uint8_t)below(f, 256);
}

/* --- rounds ----------------------------------------------------------------- */

/* Kicks, writes into code as a device would, and ends a round that hangs. */
static void *outside(void *arg)
{
	struct fuzz *f = arg;
	uint64_t s = 88172645463325252ull;
	unsigned long last = 0, same = 0;

	while (!f->stop) {
		struct timespec t = { 0, 50000 + (long)(next(&s) % 400000) };
		uint64_t bytes = next(&s);

		nanosleep(&t, NULL);
		pthread_mutex_lock(&f->lock);
		if (s % 3 == 0)
			gmem_write(&f->gm, CODE + next(&s) % CODE_SIZE,
				   &bytes, 8);
		if (s % 5 == 0)
			engine_soft.irq_pulse(f->engine, s / 5 % 24);
		engine_soft.kick(f->engine, 0);
		pthread_mutex_unlock(&f->lock);
		same = f->round == last ? same + 1 : 0;
		last = f->round;
		if (same > 100000) {
			fprintf(stderr, "round %lu hangs\n", last);
			abort();
		}
	}
	return NULL;
}

static int round_of(struct fuzz *f)
{
	struct engine_exit x;
	struct vcpu_state s;

	make_pages(f);
	make_tables(f);
	make_code(f);
	gmem_wrote(&f->gm, 0, CODE + CODE_SIZE);
	make_state(f, &s);
	/* refused where the guest left its APIC in a mode that has no way
	 * back: all else is set by then */
	(void)engine_soft.set_state(f->engine, 0, &s, NULL);
	for (unsigned n = 0; n < 3; n++) {
		engine_soft.run(f->engine, 0, &x);
		if (x.reason != ENGINE_EXIT_INTR)
			return 1;
	}
	return 0;
}

static void make_engine(struct fuzz *f)
{
	static const struct engine_bus bus = { .mmio = mmio, .pio = pio };
	struct engine_params p = { .gm = &f->gm, .bus = &bus, .ncpus = 1,
				   .kvm_fd = -1 };
	static struct cpuid_table cpuid;

	pthread_mutex_lock(&f->lock);
	engine_soft.free(f->engine);
	cr_assert_eq(engine_soft.create(&p, &f->engine, NULL), 0);
	cpuid_build_soft(&cpuid, 0, 1);
	cr_assert_eq(engine_soft.set_cpuid(f->engine, 0, cpuid.leaf, cpuid.n,
					   NULL), 0);
	pthread_mutex_unlock(&f->lock);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

static void start(struct fuzz *f)
{
	pthread_mutex_init(&f->lock, NULL);
	cr_assert_eq(gmem_init(&f->gm, RAM, NULL), 0);
	f->ram = gmem_ptr(&f->gm, 0, RAM);
	make_engine(f);
}

static void finish(struct fuzz *f)
{
	engine_soft.free(f->engine);
	gmem_free(&f->gm);
	pthread_mutex_destroy(&f->lock);
}

Test(soft_fuzz, any_bytes_in_any_state_come_back)
{
	uint64_t rounds = number("MAYFLY_FUZZ_ROUNDS", 600);
	uint64_t seed = number("MAYFLY_FUZZ_SEED", 1);
	int say = !!getenv("MAYFLY_FUZZ_SAY");
	struct fuzz f = { .round = 0 };
	pthread_t t;

	start(&f);
	cr_assert_eq(pthread_create(&t, NULL, outside, &f), 0);
	for (uint64_t i = seed; i < seed + rounds; i++) {
		if (say)
			fprintf(stderr, "round %llu\n",
				(unsigned long long)i);
		f.seed = i * 0x9e3779b97f4a7c15ull | 1;
		if (round_of(&f))
			make_engine(&f);
		f.round++;
	}
	f.stop = 1;
	pthread_join(t, NULL);
	finish(&f);
}

/* block.c sizes its buffers by EMIT_MAX. */
Test(soft_fuzz, no_instruction_makes_more_uops_than_promised)
{
	struct fuzz f = { .seed = 1 };
	struct uop uops[32];
	struct cpu *cpu;
	unsigned most = 0;

	start(&f);
	cpu = ((struct soft *)f.engine)->cpu;
	for (unsigned i = 0; i < 1000000; i++) {
		/* far from the start: displacements from RIP overflow */
		struct emitter e = { .uops = uops, .cpu = cpu, .off = 4000 };
		uint8_t bytes[32] = { 0 };
		struct insn in;

		cpu->code64 = i % 4 < 2;
		cpu->code32 = i % 4 == 2;
		put_insn(&f, bytes);
		if (decode(bytes, DECODE_MAX, cpu->code64 ? DECODE_64 :
			   cpu->code32 ? DECODE_32 : DECODE_16, &in))
			continue;
		if (native_full(((struct soft *)f.engine)->native))
			native_reset(((struct soft *)f.engine)->native);
		e.len = in.len;
		emit_insn(&e, &in);
		most = e.n > most ? e.n : most;
		cr_assert(e.n >= 1 && e.n <= EMIT_MAX, "%u uops for op %u",
			  e.n, in.op);
	}
	cr_assert_geq(most, 3, "the worst ones were among them");
	finish(&f);
}
