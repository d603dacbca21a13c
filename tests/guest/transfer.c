/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors and those who look at them: far transfers, call gates, segment
 * loads, LDT and TSS, IRET, LAR, LSL, VERR, VERW. SDM 3A chapters 3, 5, 8.
 * What TCG does not check at all is left out there.
 */
#include "tests/guest/lib.h"

#define VEC_TS 10

enum { /* selectors past those of lib.c */
	CODE_NP = 0x60,	   /* 64-bit, not present */
	CODE_DPL3 = 0x68,  /* 64-bit, for user mode */
	CODE_CONF = 0x70,  /* 64-bit, conforming */
	CODE_LD = 0x78,	   /* L and D: reserved */
	CODE_EXEC = 0x80,  /* not readable */
	CODE_SMALL = 0x88, /* 32-bit, limit 0xfff */
	DATA_DPL3 = 0x90,
	DATA_SMALL = 0x98, /* limit 0x1234 */
	LDT = 0xa0,	   /* 16 bytes each from here */
	TSS2 = 0xb0,
	TSS_BUSY = 0xc0,
	TSS_NP = 0xd0,
	GATE = 0xe0, /* present, DPL 3 */
	GATE_DPL0 = 0xf0,
	GATE_NP = 0x100,
	GATE_TYPE = 0x110, /* upper half not 0 */
	GATE_32 = 0x120,   /* to 32-bit code */
	GATE_DATA = 0x130, /* to data */
	GATE_NULL = 0x140,
	GATE_CONF = 0x150, /* to conforming code */
	GATE_FAR = 0x160,  /* to no address at all */
	GATE_SAME = 0x170, /* DPL 3, to user code */
	TABLE_END = 0x180,
};

static uint64_t table[TABLE_END / 8], ldt[4];
static struct tss small_tss;
static uint8_t gate_stack[4096] __attribute__((aligned(16)));
static uint8_t fault_stack[4096] __attribute__((aligned(16)));

#define SLOT(sel) table[(sel) / 8]

static void set_system(unsigned sel, unsigned type, uint64_t base,
		       uint64_t limit)
{
	SLOT(sel) = limit | (base & 0xffffff) << 16 | (uint64_t)type << 40 |
		    (base >> 24 & 0xff) << 56;
	SLOT(sel + 8) = base >> 32;
}

static void set_call_gate(unsigned sel, unsigned type, uint64_t to,
			  uint64_t cs)
{
	SLOT(sel) = (to & 0xffff) | cs << 16 | (uint64_t)type << 40 |
		    (to >> 16 & 0xffff) << 48;
	SLOT(sel + 8) = to >> 32;
}

extern uint8_t gate_entry[], gate_back[];
__asm__(".text\n"
	"gate_entry: mov %rsp, %rax; mov (%rsp), %r8; mov 8(%rsp), %r9\n"
	"mov 16(%rsp), %r10; mov 24(%rsp), %r11\n"
	"mov %cs, %r12d; mov %ss, %r13d\n"
	"gate_back: lretq");

static void make_table(void)
{
	struct table t = { sizeof(table) - 1, pa_of(table) };
	uint64_t entry = pa_of(gate_entry);

	memcpy(table, gdt, sizeof(gdt));
	SLOT(CODE_NP) = 0x00af1b000000ffff;
	SLOT(CODE_DPL3) = 0x00affb000000ffff;
	SLOT(CODE_CONF) = 0x00af9f000000ffff;
	SLOT(CODE_LD) = 0x00ef9b000000ffff;
	SLOT(CODE_EXEC) = 0x00cf99000000ffff;
	SLOT(CODE_SMALL) = 0x00409b0000000fff;
	SLOT(DATA_DPL3) = 0x00cff3000000ffff;
	SLOT(DATA_SMALL) = 0x0040930000001234;
	set_system(LDT, 0x82, pa_of(ldt), sizeof(ldt) - 1);
	set_system(TSS2, 0x89, pa_of(&small_tss), sizeof(small_tss) - 1);
	set_system(TSS_BUSY, 0x8b, pa_of(&tss), sizeof(tss) - 1);
	set_system(TSS_NP, 0x09, pa_of(&tss), sizeof(tss) - 1);
	set_call_gate(GATE, 0xec, entry, KERNEL_CS);
	set_call_gate(GATE_DPL0, 0x8c, entry, KERNEL_CS);
	set_call_gate(GATE_NP, 0x6c, entry, KERNEL_CS);
	set_call_gate(GATE_TYPE, 0xec, entry, KERNEL_CS);
	SLOT(GATE_TYPE + 8) |= 0x100000000000;
	set_call_gate(GATE_32, 0xec, entry, KERNEL_CS32);
	set_call_gate(GATE_DATA, 0xec, entry, KERNEL_DS);
	set_call_gate(GATE_NULL, 0xec, entry, 0);
	set_call_gate(GATE_CONF, 0xec, entry, CODE_CONF);
	set_call_gate(GATE_FAR, 0xec, 1ull << 47, KERNEL_CS);
	ldt[1] = 0x0040930000000fff;
	__asm__ volatile("lgdt %0" : : "m"(t) : "memory");
}

/* --- far jumps, calls and returns ---------------------------------------- */

static struct {
	uint64_t off;
	uint16_t sel;
} __attribute__((packed)) ptr;

static void far_try(uint64_t sel, uint64_t off)
{
	ptr.off = off;
	ptr.sel = (uint16_t)sel;
	TRY("rex.w ljmp *%0", : : "m"(ptr) : "memory");
}

#define FAR(sel, off, vec, err, name)         \
	do {                                  \
		far_try(sel, off);            \
		check_trap(vec, err, name);   \
	} while (0)

static void far_checks(void)
{
	uint64_t here = pa_of(gate_back);

	FAR(0, here, VEC_GP, 0, "ljmp to a null selector: #GP(0)");
	FAR(3, here, VEC_GP, 0, "with an RPL, too");
	FAR(KERNEL_DS, here, VEC_GP, KERNEL_DS, "to data: #GP(sel)");
	FAR(CODE_NP, here, VEC_NP, CODE_NP, "not present: #NP(sel)");
	FAR(CODE_DPL3, here, VEC_GP, CODE_DPL3, "to another level: #GP");
	FAR(KERNEL_CS | 3, here, VEC_GP, KERNEL_CS, "RPL 3 in ring 0: #GP");
	FAR(TABLE_END, here, VEC_GP, TABLE_END, "past the table: #GP");
	FAR(4 | 8, here, VEC_GP, 4 | 8, "in an LDT that is not there: #GP");
	FAR(LDT, here, VEC_GP, LDT, "to an LDT: #GP");
	FAR(TSS2, here, VEC_GP, TSS2, "to a task: #GP in long mode");
	if (!cpu_is_tcg()) {
		FAR(CODE_LD, here, VEC_GP, CODE_LD, "L and D set: #GP");
		FAR(KERNEL_CS, 1ull << 47, VEC_GP, 0, "to nowhere: #GP(0)");
	}
	FAR(CODE_SMALL, 0x1000, VEC_GP, 0, "past a limit: #GP(0)");
	TRY("mov %%rsp, %%rbx; pushq %0; pushq $77f; lretq",
	    "\n\tmov %%rbx, %%rsp" : : "r"((uint64_t)CODE_CONF)
	    : "rbx", "memory");
	check_trap(VEC_NONE, 0, "lretq to conforming code of level 0");
	TRY("mov %%rsp, %%rbx; pushq $0; pushq $77f; lretq",
	    "\n\tmov %%rbx, %%rsp" : : : "rbx", "memory");
	check(trap.vector == VEC_GP && trap.error == 0,
	      "lretq to a null selector: #GP(0)");
	TRY("mov %%rsp, %%rbx; pushq %0; pushq $77f; lretq",
	    "\n\tmov %%rbx, %%rsp" : : "r"((uint64_t)CODE_NP)
	    : "rbx", "memory");
	check(trap.vector == VEC_NP && trap.error == CODE_NP,
	      "to one not present: #NP");
	__asm__ volatile("pushq %0; pushq $1f; lretq\n1:" : :
			 "r"((uint64_t)KERNEL_CS) : "memory");
}

/* --- call gates ------------------------------------------------------------ */

static void gate_checks(void)
{
	FAR(GATE_NP, 0, VEC_NP, GATE_NP, "a call gate not present: #NP");
	FAR(GATE_TYPE, 0, VEC_GP, GATE_TYPE, "one with a wrong upper half");
	FAR(GATE_32, 0, VEC_GP, KERNEL_CS32, "one to 32-bit code: #GP");
	FAR(GATE_DATA, 0, VEC_GP, KERNEL_DS, "one to data: #GP");
	FAR(GATE_NULL, 0, VEC_GP, 0, "one to nothing: #GP(0)");
	if (!cpu_is_tcg())
		FAR(GATE_FAR, 0, VEC_GP, 0, "one to no address: #GP(0)");
	FAR(GATE_DPL0 | 3, 0, VEC_GP, GATE_DPL0, "RPL above its DPL: #GP");
}

static void gate_same_level(void)
{
	uint64_t sp, at, cs, before, after;

	ptr.sel = GATE;
	__asm__ volatile("mov %%rsp, %3; rex.w lcall *%5\n1: mov %%rsp, %4\n"
			 "sub %%rax, %3; lea 1b(%%rip), %%r10\n"
			 "sub %%r10, %%r8"
			 : "=&a"(sp), "=&r"(at), "=&r"(cs), "=&b"(before),
			   "=&d"(after) : "m"(ptr)
			 : "r8", "r9", "r10", "r11", "r12", "r13", "memory",
			   "cc");
	(void)sp, (void)at, (void)cs, (void)after;
	check_eq(before, 16, "a call gate at the same level: CS and RIP");
}

static void gates_from_user(void)
{
	extern uint8_t g_call[], g_jmp[], g_end[];
	static struct {
		uint32_t off;
		uint16_t sel;
	} __attribute__((packed)) to;
	uint64_t code = user_code(g_call, g_end), sp = user_stack();
	uint64_t old = tss.rsp[0];

	__asm__ volatile("jmp 1f\n"
			 "g_call: lcall *(%rdi); int3\n"
			 "g_jmp: ljmp *(%rdi)\n"
			 "g_end:\n1:");
	/* the pointer goes onto the user's stack page */
	to.sel = GATE | 3;
	memcpy((void *)((*pte_of(sp - PAGE, 1) & PTE_ADDR)), &to, sizeof(to));
	tss.rsp[0] = pa_of(gate_stack + sizeof(gate_stack));
	run_user(code, sp, sp - PAGE, RFLAGS_FIXED);
	tss.rsp[0] = old;
	check(trap.vector == VEC_USER_EXIT && trap.f.cs == USER_CS &&
	      trap.f.rsp == sp, "a call gate from user mode, and lretq");
	check_eq(trap.f.rax, pa_of(gate_stack + sizeof(gate_stack)) - 32,
		 "on RSP0, four words in");
	check(trap.f.r8 == code + 2 && trap.f.r9 == USER_CS &&
	      trap.f.r10 == sp && trap.f.r11 == USER_DS,
	      "RIP, CS, RSP and SS");
	check(trap.f.r12 == KERNEL_CS && trap.f.r13 == 0,
	      "with the kernel's CS and a null SS");
	run_user(code + (uint64_t)(g_jmp - g_call), sp, sp - PAGE,
		 RFLAGS_FIXED);
	check(trap.vector == VEC_GP && trap.error == KERNEL_CS,
	      "a jump cannot raise the privilege: #GP");
	to.sel = GATE_DPL0 | 3;
	memcpy((void *)((*pte_of(sp - PAGE, 1) & PTE_ADDR)), &to, sizeof(to));
	run_user(code, sp, sp - PAGE, RFLAGS_FIXED);
	check(trap.vector == VEC_GP && trap.error == GATE_DPL0,
	      "the kernel's own gate: #GP");
}

/* --- segment registers ------------------------------------------------------ */

#define LOAD(reg, sel, vec, err, name)                                     \
	do {                                                               \
		TRY("mov %w0, %%" #reg, : : "r"((uint64_t)(sel)) : "memory"); \
		check_trap(vec, err, name);                                \
	} while (0)

static void segment_loads(void)
{
	uint64_t v;

	LOAD(ds, CODE_EXEC, VEC_GP, CODE_EXEC, "execute-only code as DS: #GP");
	LOAD(ds, KERNEL_CS, VEC_NONE, 0, "readable code is fine");
	LOAD(ds, KERNEL_DS | 3, VEC_GP, KERNEL_DS, "RPL above DPL: #GP");
	LOAD(ds, CODE_CONF | 3, VEC_NONE, 0, "but for conforming code");
	LOAD(ds, TSS2, VEC_GP, TSS2, "a system segment: #GP");
	LOAD(ds, 3, VEC_NONE, 0, "a null selector with RPL 3");
	LOAD(ss, DATA_DPL3, VEC_GP, DATA_DPL3, "SS of another DPL: #GP");
	LOAD(ss, KERNEL_DS | 3, VEC_GP, KERNEL_DS, "SS with another RPL: #GP");
	LOAD(ss, KERNEL_CS, VEC_GP, KERNEL_CS, "code as SS: #GP");
	if (!cpu_is_tcg())
		LOAD(ss, 3, VEC_GP, 0, "a null SS with RPL 3: #GP(0)");
	LOAD(ss, 0, VEC_NONE, 0, "a null SS in ring 0 of 64-bit mode");
	LOAD(ss, KERNEL_DS, VEC_NONE, 0, "and back");
	LOAD(fs, 8 | 4, VEC_GP, 8 | 4, "from an LDT not loaded: #GP");
	SLOT(DATA_SMALL) &= ~(1ull << 40);
	LOAD(gs, DATA_SMALL, VEC_NONE, 0, "a segment not yet accessed");
	check_eq(SLOT(DATA_SMALL) >> 40 & 1, 1, "is marked so");
	__asm__ volatile("mov %%gs, %0" : "=r"(v));
	check_eq(v, DATA_SMALL, "the selector reads back");
	LOAD(ds, KERNEL_DS, VEC_NONE, 0, "DS again");
}

static void tables(void)
{
	TRY("lldt %w0", : : "r"((uint64_t)TSS2) : "memory");
	check_trap(VEC_GP, TSS2, "lldt of a TSS: #GP");
	TRY("lldt %w0", : : "r"((uint64_t)(LDT | 4)) : "memory");
	check_trap(VEC_GP, LDT | 4, "lldt of an LDT's selector: #GP");
	SLOT(LDT) &= ~(1ull << 47);
	TRY("lldt %w0", : : "r"((uint64_t)LDT) : "memory");
	check_trap(VEC_NP, LDT, "lldt not present: #NP");
	SLOT(LDT) |= 1ull << 47;
	TRY("lldt %w0", : : "r"((uint64_t)LDT) : "memory");
	check_trap(VEC_NONE, 0, "lldt");
	LOAD(fs, 8 | 4, VEC_NONE, 0, "a segment from the LDT");
	LOAD(fs, 32 | 4, VEC_GP, 32 | 4, "past its limit: #GP");
	__asm__ volatile("lldt %w0" : : "r"(0ull));
	LOAD(fs, 8 | 4, VEC_GP, 8 | 4, "a null LDT has no segments");
	LOAD(fs, 0, VEC_NONE, 0, "a null selector");
	if (!cpu_is_tcg()) {
		TRY("ltr %w0", : : "r"(0ull) : "memory");
		check_trap(VEC_GP, 0, "ltr of null: #GP(0)");
	}
	TRY("ltr %w0", : : "r"((uint64_t)TSS_BUSY) : "memory");
	check_trap(VEC_GP, TSS_BUSY, "ltr of a busy one: #GP");
	TRY("ltr %w0", : : "r"((uint64_t)TSS_NP) : "memory");
	check_trap(VEC_NP, TSS_NP, "ltr of one not present: #NP");
	TRY("ltr %w0", : : "r"((uint64_t)LDT) : "memory");
	check_trap(VEC_GP, LDT, "ltr of an LDT: #GP");
}

/* --- questions about selectors ------------------------------------------------ */

/* The answer, or -1 where ZF is clear. */
#define ASK(insn, sel)                                                \
	({                                                            \
		uint64_t v_ = 0x5555;                                 \
		uint8_t zf_;                                          \
		__asm__ volatile(insn " %2, %0; setz %1"              \
				 : "+r"(v_), "=q"(zf_)                \
				 : "r"((uint64_t)(sel)) : "cc");      \
		zf_ ? v_ : -1ull;                                     \
	})
#define VERIFY(insn, sel)                                             \
	({                                                            \
		uint8_t zf_;                                          \
		__asm__ volatile(insn " %w1; setz %0" : "=q"(zf_)     \
				 : "r"((uint64_t)(sel)) : "cc");      \
		zf_;                                                  \
	})

static void questions(void)
{
	const uint64_t no = -1ull;

	check_eq(ASK("lsl", DATA_SMALL), 0x1234, "lsl of bytes");
	check_eq(ASK("lsl", KERNEL_DS), 0xffffffff, "lsl of pages");
	check_eq(ASK("lsl", TSS2), sizeof(small_tss) - 1, "lsl of a TSS");
	check_eq(ASK("lsl", GATE), no, "lsl of a gate: no");
	check_eq(ASK("lsl", 0), no, "lsl of null: no");
	check_eq(ASK("lsl", TABLE_END), no, "lsl past the table: no");
	check_eq(ASK("lsl", KERNEL_DS | 3), no, "lsl with RPL above DPL: no");
	check_eq(ASK("lsl", CODE_CONF | 3), 0xffffffff, "conforming: yes");
	/* bits 19:16 are undefined */
	check_eq(ASK("lar", KERNEL_CS) & ~0xf0000ull, 0xa09b00, "lar of code");
	check_eq(ASK("lar", CODE_NP) & ~0xf0000ull, 0xa01b00,
		 "lar of one not present");
	check_eq(ASK("lar", GATE) & 0xff00, 0xec00, "lar of a call gate");
	check_eq(ASK("lar", TSS2) & 0xff00, 0x8900, "lar of a TSS");
	check_eq(ASK("lar", LDT + 8), no, "lar of type 0: no");
	check_eq(VERIFY("verr", KERNEL_CS), 1, "verr of readable code");
	check_eq(VERIFY("verr", CODE_EXEC), 0, "verr of execute-only: no");
	check_eq(VERIFY("verr", DATA_DPL3 | 3), 1, "verr of data");
	check_eq(VERIFY("verr", KERNEL_DS | 3), 0, "verr with RPL: no");
	check_eq(VERIFY("verr", TSS2), 0, "verr of a system segment: no");
	check_eq(VERIFY("verr", 0), 0, "verr of null: no");
	check_eq(VERIFY("verw", KERNEL_DS), 1, "verw of data");
	check_eq(VERIFY("verw", RO_SEL), 0, "verw of read-only data: no");
	check_eq(VERIFY("verw", KERNEL_CS), 0, "verw of code: no");
}

/* --- IRET --------------------------------------------------------------------- */

/* IRETQ in ring 0 to @cs and @ss, at 77: where that is ring 0. */
#define IRET(cs_, ss_, flags_)                                          \
	TRY("mov %%rsp, %%rbx; pushq %1; push %%rbx; pushq %2; pushq %0;" \
	    "pushq $77f; iretq",                                        \
	    "\n\tmov %%rbx, %%rsp" : : "r"((uint64_t)(cs_)),            \
	    "r"((uint64_t)(ss_)), "r"((uint64_t)(flags_))               \
	    : "rbx", "memory")
#define IRET_CHECK(cs_, ss_, vec_, err_, name)                          \
	do {                                                            \
		IRET(cs_, ss_, RFLAGS_FIXED);                           \
		check(trap.vector == (vec_) && trap.error == (err_), name); \
	} while (0)

static void irets(void)
{
	IRET_CHECK(0, KERNEL_DS, VEC_GP, 0, "iretq to a null CS: #GP(0)");
	IRET_CHECK(CODE_NP, KERNEL_DS, VEC_NP, CODE_NP, "not present: #NP");
	IRET_CHECK(CODE_DPL3, KERNEL_DS, VEC_GP, CODE_DPL3,
		   "RPL below DPL: #GP");
	IRET_CHECK(TABLE_END, KERNEL_DS, VEC_GP, TABLE_END,
		   "past the table: #GP");
	IRET_CHECK(KERNEL_CS, DATA_DPL3, VEC_GP, DATA_DPL3,
		   "SS of another level: #GP");
	IRET_CHECK(KERNEL_CS, KERNEL_CS, VEC_GP, KERNEL_CS,
		   "code as SS: #GP");
	if (!cpu_is_tcg()) {
		IRET_CHECK(CODE_LD, KERNEL_DS, VEC_GP, CODE_LD,
			   "L and D: #GP");
		IRET_CHECK(KERNEL_CS, NP_SEL, VEC_SS, NP_SEL,
			   "SS not present: #SS");
	}
	IRET_CHECK(KERNEL_CS, 0, VEC_NONE, 0, "a null SS in ring 0: fine");
	IRET_CHECK(USER_CS, 0, VEC_GP, 0, "but not for ring 3: #GP(0)");
	IRET_CHECK(USER_CS, DATA_DPL3, VEC_GP, DATA_DPL3,
		   "SS with another RPL: #GP");
	if (!cpu_is_tcg())
		IRET_CHECK(CODE_SMALL, KERNEL_DS, VEC_GP, 0,
			   "past a limit: #GP(0)");
	__asm__ volatile("mov %0, %%ss" : : "r"(KERNEL_DS));
	TRY("mov %%rsp, %%rbx; pushq $0x18; push %%rbx; pushq $2;"
	    "pushq $0x10; pushq $77f; pushfq; orq $0x4000, (%%rsp); popfq;"
	    "iretq", "\n\tmov %%rbx, %%rsp; pushfq; andq $~0x4000, (%%rsp);"
	    "popfq" : : : "rbx", "memory", "cc");
	check(trap.vector == VEC_GP && trap.error == 0,
	      "iretq with NT set: #GP(0)");
}

/* Between 64-bit and compatibility mode, both in ring 0: a 32-bit IRET takes
 * no stack from its frame then, one in 64-bit mode always does. */
static void iret_modes(void)
{
	uint64_t sp, after, mark;

	__asm__ volatile("mov %%rsp, %0; mov %%rsp, %%rbx\n"
			 "pushq $0x18; push %%rbx; pushq $2; pushq $0x48\n"
			 "pushq $1f; iretq\n"
			 ".code32\n"
			 "1: mov %%esp, %%ecx; pushl $2; pushl $0x48\n"
			 "pushl $2f; iretl\n"
			 "2: cmp %%esp, %%ecx; jne 3f\n"
			 "mov $0x1234, %%edx\n"
			 "3: pushl $2; pushl $0x10; pushl $4f; iretl\n"
			 ".code64\n"
			 "4: mov %%rsp, %1; mov %%rbx, %%rsp"
			 : "=&r"(sp), "=&r"(after), "=&d"(mark)
			 : : "rbx", "rcx", "memory", "cc");
	check_eq(mark, 0x1234, "iretq to 32-bit code, iretl within it");
	check_eq(after, sp, "and iretl back to 64-bit code");
	__asm__ volatile("mov %%rsp, %%rbx; sub $20, %%rsp\n"
			 "movl $1f, (%%rsp); movl $0x10, 4(%%rsp)\n"
			 "movl $2, 8(%%rsp); movl %%ebx, 12(%%rsp)\n"
			 "movl $0x18, 16(%%rsp); iretl\n"
			 "1: mov %%rsp, %0; mov %%rbx, %%rsp; mov %%rbx, %1"
			 : "=&r"(after), "=&r"(sp) : : "rbx", "memory", "cc");
	check_eq(after, sp, "iretl in 64-bit code: five words of four bytes");
}

/* In user mode: within the level, and not to the kernel. */
static void user_irets(void)
{
	extern uint8_t r_same[], r_up[], r_end[];
	uint64_t code = user_code(r_same, r_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "r_same: mov %rsp, %rbx; lea 2f(%rip), %rcx\n"
			 "pushq $0x3b; push %rbx; pushq $0x3202; pushq $0x43\n"
			 "push %rcx; iretq\n"
			 "2: int3\n"
			 "r_up: mov %rsp, %rbx; pushq $0x18; push %rbx\n"
			 "pushq $2; pushq $0x10; push %rdi; iretq\n"
			 "r_end:\n1:");
	__asm__ volatile("mov %0, %%ds; mov %1, %%es" : :
			 "r"(KERNEL_DS), "r"((uint64_t)(DATA_DPL3 | 3)));
	run_user(code, sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_USER_EXIT && trap.f.rsp == sp,
	      "iretq in user mode");
	check_eq(trap.f.rflags & (RFLAGS_IF | RFLAGS_IOPL3), 0,
		 "changes neither IF nor IOPL");
	run_user(code + (uint64_t)(r_up - r_same), sp, pa_of(gate_back),
		 RFLAGS_FIXED);
	check(trap.vector == VEC_GP && trap.error == KERNEL_CS,
	      "iretq from user mode to the kernel: #GP");
}

static void outer_segments(void)
{
	extern uint8_t o_get[], o_end[];
	uint64_t code = user_code(o_get, o_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "o_get: mov %ds, %eax; mov %es, %ebx\n"
			 "mov %fs, %ecx; int3\n"
			 "o_end:\n1:");
	__asm__ volatile("mov %0, %%ds; mov %1, %%es; mov %2, %%fs" : :
			 "r"(KERNEL_DS), "r"((uint64_t)(DATA_DPL3 | 3)),
			 "r"((uint64_t)CODE_CONF));
	run_user(code, sp, 0, RFLAGS_FIXED);
	check_eq(trap.f.rax, 0, "the way out makes an inner DS null");
	check_eq(trap.f.rbx, DATA_DPL3 | 3, "keeps one for everybody");
	check_eq(trap.f.rcx, CODE_CONF, "and conforming code");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %1, %%fs" : :
			 "r"(KERNEL_DS), "r"(0));
}

/* --- the TSS -------------------------------------------------------------------- */

/* Its stacks where they are not: the fault that says so has an IST stack. */
static void bad_stacks(void)
{
	struct gate ts = idt[VEC_TS], ss = idt[VEC_SS], df = idt[VEC_DF];
	uint64_t old = tss.rsp[0], sp = user_stack();
	extern uint8_t b_int3[], b_end[];
	uint64_t code = user_code(b_int3, b_end);

	__asm__ volatile("jmp 1f\nb_int3: ud2\nb_end:\n1:");
	idt[VEC_TS].ist = idt[VEC_SS].ist = idt[VEC_DF].ist = 1;
	tss.ist[0] = pa_of(fault_stack + sizeof(fault_stack));
	tss.rsp[0] = 1ull << 47;
	run_user(code, sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_SS && trap.error == 1 && trap.f.rip == code,
	      "RSP0 no address: #SS, EXT");
	tss.rsp[0] = WINDOW + 0x100000;
	idt[VEC_PF].ist = 1;
	run_user(code, sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_PF && trap.error == PF_W &&
	      trap.cr2 >> 12 == (tss.rsp[0] - 8) >> 12,
	      "RSP0 not mapped: #PF, as the supervisor's");
	idt[VEC_PF].ist = 0;
	tss.rsp[0] = old;
	/* a TSS that ends after IST1: no IST2 */
	small_tss = tss;
	idt[VEC_UD].ist = 2;
	set_system(TSS2, 0x89, pa_of(&small_tss), 36 + 7);
	__asm__ volatile("ltr %w0" : : "r"((uint64_t)TSS2));
	check_eq(SLOT(TSS2) >> 41 & 1, 1, "ltr marks it busy");
	TRY("ud2", : : : "memory");
	check(trap.vector == VEC_TS && trap.error == (TSS2 | 1),
	      "an IST entry past the limit: #TS(TR), EXT");
	idt[VEC_UD].ist = 0;
	SLOT(TSS_SEL) &= ~(2ull << 40);
	__asm__ volatile("ltr %w0" : : "r"((uint64_t)TSS_SEL));
	idt[VEC_TS] = ts;
	idt[VEC_SS] = ss;
	idt[VEC_DF] = df;
}

int main(void)
{
	struct table t;

	make_table();
	__asm__ volatile("sgdt %0" : "=m"(t));
	check(t.base == pa_of(table), "the table is in place");
	if (cpu_is_limited()) {
		skip("descriptors", "this KVM emulates next to none of it");
		return 0;
	}
	far_checks();
	gate_checks();
	gate_same_level();
	gates_from_user();
	segment_loads();
	tables();
	questions();
	irets();
	iret_modes();
	user_irets();
	outer_segments();
	if (cpu_is_tcg()) {
		skip("bad stacks", "TCG looks at them less closely");
		return 0;
	}
	bad_stacks();
	return 0;
}
