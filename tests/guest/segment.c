/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of compatibility mode in user mode, as modify_ldt() makes them:
 * bases, limits, rights, 16-bit code and stacks; and the instructions that
 * 64-bit mode has no more. SDM 3A 3.4.5, 5.3; 2A.
 */
#include "tests/guest/lib.h"

#define VEC_BR 5
#define LOW   0x60000000ull /* code; data and a stack follow */
#define DATA  (LOW + PAGE)
#define STACK (LOW + 2 * PAGE)
#define STACK_TOP (LOW + 3 * PAGE)

/* Selectors past those of lib.c, all DPL 3. */
enum {
	CODE_BASE = 0x63,  /* base LOW, limit 0xfff */
	CODE16 = 0x6b,	   /* the same, 16-bit */
	CODE_ONLY = 0x73,  /* flat, not readable */
	DATA_SMALL = 0x7b, /* base DATA, limit 0x7ff */
	DATA_DOWN = 0x83,  /* base DATA, from 0x800 up */
	DATA_DOWN16 = 0x8b, /* the same up to 0xffff, 16-bit */
	DATA_RO = 0x93,	   /* flat, read-only */
	STACK16 = 0x9b,	   /* STACK is its last page of 64 KiB, 16-bit */
	STACK32 = 0xa3,	   /* base STACK, limit 0xfff */
	TABLE_END = 0xa8,
};

static uint64_t table[TABLE_END / 8];
static uint8_t *code_page, *data_page, *stack_page;

static uint64_t descriptor(uint64_t base, uint64_t limit, uint64_t access,
			   uint64_t flags)
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | access << 40 |
	       (limit >> 16 & 15) << 48 | flags << 52 | (base >> 24) << 56;
}

#define SLOT(sel) table[(sel) / 8]
static void make_table(void)
{
	struct table t = { sizeof(table) - 1, pa_of(table) };

	memcpy(table, gdt, sizeof(gdt));
	SLOT(CODE_BASE) = descriptor(LOW, 0xfff, 0xfb, 4);
	SLOT(CODE16) = descriptor(LOW, 0xfff, 0xfb, 0);
	SLOT(CODE_ONLY) = descriptor(0, 0xfffff, 0xf9, 12);
	SLOT(DATA_SMALL) = descriptor(DATA, 0x7ff, 0xf3, 4);
	SLOT(DATA_DOWN) = descriptor(DATA, 0x7ff, 0xf7, 4);
	SLOT(DATA_DOWN16) = descriptor(DATA, 0x7ff, 0xf7, 0);
	SLOT(DATA_RO) = descriptor(0, 0xfffff, 0xf1, 12);
	SLOT(STACK16) = descriptor(STACK - 0xf000, 0xffff, 0xf3, 0);
	SLOT(STACK32) = descriptor(STACK, 0xfff, 0xf3, 4);
	__asm__ volatile("lgdt %0" : : "m"(t) : "memory");
}

static void map_low(void)
{
	uint64_t *pml4 = (uint64_t *)(read_cr3() & PTE_ADDR);

	pml4[0] |= PTE_U;
	*pte_of(LOW, 3) |= PTE_U;
	*pte_of(LOW, 2) = 0;
	write_cr3(read_cr3());
	code_page = alloc_page();
	data_page = alloc_page();
	stack_page = alloc_page();
	map(LOW, pa_of(code_page), 1, PTE_P | PTE_W | PTE_U);
	map(DATA, pa_of(data_page), 1, PTE_P | PTE_W | PTE_U);
	map(STACK, pa_of(stack_page), 1, PTE_P | PTE_W | PTE_U);
}

/* Code by name: 32-bit, or 16-bit, ended by int3. `9:` in it is where its
 * RIP is expected when it faults. */
#define CODE(name, bits, body)                                         \
	extern uint8_t name[], name##_end[];                           \
	__asm__(".pushsection .text\n.code" #bits "\n" #name ": " body \
		"\nint3\n" #name "_end:\n.code64\n.popsection")

static uint64_t run_at(const uint8_t *start, const uint8_t *end, uint64_t cs,
		       uint64_t arg)
{
	uint64_t base = cs == CODE_BASE || cs == CODE16 ? 0 : LOW;

	memcpy(code_page, start, (size_t)(end - start));
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(USER_DS));
	return run_user_cs(base, STACK_TOP, arg, RFLAGS_FIXED, cs);
}
#define RUN(name, cs, arg) run_at(name, name##_end, cs, arg)

/* Ends with @vector and @error at the last instruction before int3, or
 * (VEC_USER_EXIT) runs through. */
#define ENDS(name, cs, arg, vector_, error_, what)                         \
	do {                                                               \
		int ok_;                                                   \
		RUN(name, cs, arg);                                        \
		ok_ = trap.vector == (vector_) && trap.error == (error_);  \
		check(ok_, what);                                          \
		if (!ok_)                                                  \
			print("     vector %x error %x rip %x\n",          \
			      trap.vector, trap.error, trap.f.rip);        \
	} while (0)

/* --- code segments ------------------------------------------------------ */

CODE(c_call, 32, "mov $1, %eax; call 1f; add $4, %eax; jmp 2f\n"
	"1: add $2, %eax; ret\n2: nop");
CODE(c_loop, 32, "mov $1000, %ecx; xor %eax, %eax\n"
	"1: inc %eax; dec %ecx; jnz 1b");
CODE(c_far_jmp, 32, "mov $0x1000, %eax; jmp *%eax");
CODE(c_far_call, 32, "mov $0x1000, %eax; call *%eax");
CODE(c_far_ret, 32, "push $0x7fffffff; ret");
CODE(c_edge, 32, "jmp . + 0xffe");
CODE(c_16, 16, "mov $0x1234, %ax; push %ax; pop %bx; call 1f; jmp 2f\n"
	"1: mov %sp, %cx; ret\n2: mov %bx, %ax");
CODE(c_16_wide, 16, "mov $0x12345678, %eax");
CODE(c_16_mem, 16, "mov $0x7b, %ax; mov %ax, %ds; mov $0xfff8, %bx\n"
	"movw $0x5a5a, 0x10(%bx); mov 8, %ax");
CODE(c_16_wrap, 16, "mov $0x7b, %ax; mov %ax, %ds; mov $0xffff, %bx\n"
	"mov $5, %si; mov 3(%bx,%si), %al");

static void code_segments(void)
{
	check_eq(RUN(c_call, CODE_BASE, 0), 7,
		 "a code segment with a base: call, ret, jmp");
	check(trap.vector == VEC_USER_EXIT && trap.f.cs == CODE_BASE &&
	      trap.f.rip == (uint64_t)(c_call_end - c_call),
	      "EIP counts from the base");
	check_eq(RUN(c_call, USER_CS32, 0), 7, "the same flat, right after");
	check_eq(RUN(c_loop, CODE_BASE, 0), 1000, "a loop in it");
	ENDS(c_far_jmp, CODE_BASE, 0, VEC_GP, 0, "jmp past the limit: #GP");
	check_eq(trap.f.rip, 5, "at the jmp");
	ENDS(c_far_call, CODE_BASE, 0, VEC_GP, 0, "call past the limit: #GP");
	check(trap.f.rip == 5 && trap.f.rsp == STACK_TOP,
	      "at the call, with nothing pushed");
	ENDS(c_far_ret, CODE_BASE, 0, VEC_GP, 0, "ret past the limit: #GP");
	check(trap.f.rip == 5 && trap.f.rsp == STACK_TOP - 4,
	      "at the ret, with nothing popped");
	code_page[0xffe] = 0x90;
	code_page[0xfff] = 0x90;
	ENDS(c_edge, CODE_BASE, 0, VEC_GP, 0, "running past the limit: #GP");
	check_eq(trap.f.rip, 0x1000, "after the last instruction");
	code_page[0xfff] = 0xb0; /* mov imm, %al */
	ENDS(c_edge, CODE_BASE, 0, VEC_GP, 0, "an instruction across it: #GP");
	check_eq(trap.f.rip, 0xfff, "at that instruction");
}

static void code16(void)
{
	uint64_t v = RUN(c_16, CODE16, 0);

	check_eq(v & 0xffff, 0x1234, "16-bit code: 16-bit operands");
	check_eq((STACK_TOP - trap.f.rcx) & 0xffff, 2,
		 "a call pushes two bytes");
	check_eq(RUN(c_16_wide, CODE16, 0), 0x12345678, "66: 32-bit ones");
	check_eq(RUN(c_16_mem, CODE16, 0) & 0xffff, 0x5a5a,
		 "16-bit addresses wrap");
	data_page[7] = 0x77;
	check_eq(RUN(c_16_wrap, CODE16, 0) & 0xff, 0x77,
		 "base, index and displacement together");
}

/* --- data segments -------------------------------------------------------- */

#define DS(sel) "mov $" #sel ", %eax; mov %eax, %ds\n"
#define ES(sel) "mov $" #sel ", %eax; mov %eax, %es\n"
CODE(c_last, 32, DS(0x7b) "mov 0x7ff, %al");
CODE(c_past, 32, DS(0x7b) "mov 0x800, %al");
CODE(c_cross, 32, DS(0x7b) "mov 0x7fd, %eax");
CODE(c_store, 32, DS(0x7b) "movl $1, 0x7fc");
CODE(c_store_past, 32, DS(0x7b) "movl $1, 0x7fd");
CODE(c_negative, 32, DS(0x7b) "mov -1, %al");
CODE(c_down_low, 32, DS(0x83) "mov 0x7ff, %al");
CODE(c_down, 32, DS(0x83) "mov 0x800, %al");
CODE(c_down_top, 32, DS(0x83) "mov $0xa0000000, %ebx; mov (%ebx), %al");
CODE(c_down16, 32, DS(0x8b) "mov 0x10000, %al");
CODE(c_ro, 32, DS(0x93) "mov 0x60001000, %al; movb $1, 0x60001000");
CODE(c_exec_only, 32, "mov %cs:0x60001000, %al");
CODE(c_null, 32, "xor %eax, %eax; mov %eax, %ds; mov 0x60001000, %al");
CODE(c_null_es, 32, "xor %eax, %eax; mov %eax, %es\n"
	"mov $0x60001000, %edi; stosb");
CODE(c_stos, 32, ES(0x7b) "mov $0x7f0, %edi; mov $32, %ecx; rep stosb");
CODE(c_movs, 32, DS(0x7b) ES(0x3b) "mov $0x7fe, %esi; mov $0x60001800, %edi\n"
	"mov $4, %ecx; rep movsb");
CODE(c_bt, 32, DS(0x7b) "mov $-8, %eax; bts %eax, 4");
CODE(c_bt_low, 32, DS(0x7b) "mov $-40, %eax; bts %eax, 4");
CODE(c_bt_past, 32, DS(0x7b) "mov $0x4000, %eax; bt %eax, 0");
CODE(c_xlat, 32, DS(0x7b) "mov $0x7ff, %ebx; mov $0, %al; xlat");
CODE(c_xlat_wrap, 32, DS(0x7b) "mov $-1, %ebx; mov $9, %al; xlat");
CODE(c_sse, 32, DS(0x7b) "movups 0x7f1, %xmm0");
CODE(c_fld, 32, DS(0x7b) "fldt 0x7f7");
CODE(c_lea, 32, DS(0x7b) "lea 0x12345678, %eax");
CODE(c_moffs, 32, DS(0x3b) ".byte 0xa0, 0, 0x10, 0, 0x60");
CODE(c_gs, 32, "mov $0x7b, %eax; mov %eax, %gs; movl $0x1234, %gs:0x20\n"
	"mov 0x60001020, %eax");
CODE(c_xadd, 32, DS(0x7b) "mov $1, %eax; lock xadd %eax, 0x7fe");
CODE(c_lds, 32, DS(0x7b) "lds 0x7fb, %eax");

/* --- the end of the address space --------------------------------------- */

CODE(w_load, 32, "mov 0xfffffffe, %eax");
CODE(w_store, 32, "movl $0x12345678, 0xffffffff");
CODE(w_sse, 32, "movups 0xfffffff8, %xmm0; movups %xmm0, 0x60001000\n"
	"mov 0x60001008, %eax");
CODE(w_cmpxchg, 32, "mov 0xfffffffc, %eax; mov 0, %edx; mov $1, %ebx\n"
	"mov $2, %ecx; lock cmpxchg8b 0xfffffffc; setz %al");
CODE(w_xadd, 32, "mov $0x10000, %eax; lock xadd %eax, 0xfffffffe");
CODE(w_bound, 32, "xor %eax, %eax; movl $-1, 0xfffffffc; movl $1, 0\n"
	"bound %eax, 0xfffffffc");

/* Page 0 and the last one below 4 GiB, for user mode. */
static void map_ends(uint64_t first, uint64_t last)
{
	uint64_t pt = pa_of(alloc_page()), *e = (uint64_t *)pt;

	for (uint64_t i = 0; i < 512; i++)
		e[i] = i * PAGE | PTE_P | PTE_W;
	*pte_of(0, 3) |= PTE_U;
	*pte_of(0, 2) = pt | PTE_P | PTE_W | PTE_U;
	*pte_of(0xfffff000, 3) |= PTE_U;
	*pte_of(0xfffff000, 2) = 0;
	write_cr3(read_cr3());
	map(0, first, 1, PTE_P | PTE_W | PTE_U);
	map(0xfffff000, last, 1, PTE_P | PTE_W | PTE_U);
}

/* Linear addresses have 32 bits; the limit of 4 GiB refuses nothing. */
static void wraps(void)
{
	uint8_t *first = alloc_page(), *last = alloc_page();

	map_ends(pa_of(first), pa_of(last));
	last[4094] = 0x11;
	last[4095] = 0x22;
	first[0] = 0x33;
	first[1] = 0x44;
	check_eq(RUN(w_load, USER_CS32, 0), 0x44332211,
		 "a load across 4 GiB goes on at 0");
	ENDS(w_store, USER_CS32, 0, VEC_USER_EXIT, 0, "a store as well");
	check(last[4095] == 0x78 && first[0] == 0x56 && first[2] == 0x12,
	      "to both ends");
	check_eq(RUN(w_sse, USER_CS32, 0) & 0xffffff, 0x123456,
		 "16 bytes across it");
	check_eq(RUN(w_cmpxchg, USER_CS32, 0) & 0xff, 1,
		 "lock cmpxchg8b across it compares");
	check(last[4092] == 1 && first[0] == 2, "and stores");
	RUN(w_xadd, USER_CS32, 0);
	check(trap.vector == VEC_USER_EXIT && first[0] == 3,
	      "lock xadd across it");
	ENDS(w_bound, USER_CS32, 0, VEC_USER_EXIT, 0, "bound across it");
}

static void data_segments(void)
{
	ENDS(c_last, USER_CS32, 0, VEC_USER_EXIT, 0, "the last byte");
	ENDS(c_past, USER_CS32, 0, VEC_GP, 0, "the one after it: #GP");
	check_eq(trap.f.rip - LOW, 7, "at the instruction");
	ENDS(c_cross, USER_CS32, 0, VEC_GP, 0, "across the limit: #GP");
	ENDS(c_store, USER_CS32, 0, VEC_USER_EXIT, 0, "a store up to it");
	ENDS(c_store_past, USER_CS32, 0, VEC_GP, 0, "and across it: #GP");
	ENDS(c_negative, USER_CS32, 0, VEC_GP, 0, "a negative offset: #GP");
	ENDS(c_down_low, USER_CS32, 0, VEC_GP, 0,
	     "expand-down: below its limit: #GP");
	ENDS(c_down, USER_CS32, 0, VEC_USER_EXIT, 0, "above it: fine");
	ENDS(c_down_top, USER_CS32, 0, VEC_PF, PF_U | PF_P,
	     "far above it: only paging objects");
	ENDS(c_down16, USER_CS32, 0, VEC_GP, 0,
	     "a 16-bit one ends at 64 KiB: #GP");
	ENDS(c_ro, USER_CS32, 0, VEC_GP, 0, "a store to read-only data: #GP");
	check_eq(trap.f.rip - LOW, 12, "the load before it is fine");
	ENDS(c_exec_only, CODE_ONLY, 0, VEC_GP, 0,
	     "a load from an execute-only segment: #GP");
	ENDS(c_null, USER_CS32, 0, VEC_GP, 0, "a null DS: #GP");
	ENDS(c_null_es, USER_CS32, 0, VEC_GP, 0, "stosb with a null ES: #GP");
	ENDS(c_stos, USER_CS32, 0, VEC_GP, 0, "rep stosb up to the limit: #GP");
	check(trap.f.rcx == 16 && trap.f.rdi == 0x800, "after what fits");
	ENDS(c_movs, USER_CS32, 0, VEC_GP, 0, "rep movsb from it: #GP");
	check(trap.f.rcx == 2 && trap.f.rsi == 0x800, "after what fits");
	ENDS(c_sse, USER_CS32, 0, VEC_GP, 0, "16 bytes across it: #GP");
	ENDS(c_fld, USER_CS32, 0, VEC_GP, 0, "10 bytes across it: #GP");
	ENDS(c_xadd, USER_CS32, 0, VEC_GP, 0, "a locked add across it: #GP");
	ENDS(c_lds, USER_CS32, 0, VEC_GP, 0, "a far pointer across it: #GP");
	write_cr0(read_cr0() | CR0_TS);
	ENDS(c_sse, USER_CS32, 0, VEC_NM, 0, "with TS, #NM comes first");
	ENDS(c_fld, USER_CS32, 0, VEC_NM, 0, "for x87 as well");
	write_cr0(read_cr0() & ~CR0_TS);
	check_eq(RUN(c_lea, USER_CS32, 0), 0x12345678, "lea asks for nothing");
	data_page[0] = 0x42;
	check_eq(RUN(c_moffs, USER_CS32, 0) & 0xff, 0x42, "mov moffs");
	check_eq(RUN(c_gs, USER_CS32, 0), 0x1234, "gs with a base");
}

static void far_bits(void)
{
	data_page[3] = 0;
	ENDS(c_bt, USER_CS32, 0, VEC_USER_EXIT, 0, "bts before its operand");
	check_eq(data_page[3], 1, "which is where it should be");
	ENDS(c_bt_low, USER_CS32, 0, VEC_GP, 0, "before the segment: #GP");
	ENDS(c_bt_past, USER_CS32, 0, VEC_GP, 0, "behind it: #GP");
	ENDS(c_xlat, USER_CS32, 0, VEC_USER_EXIT, 0, "xlat of the last byte");
	data_page[8] = 0x99;
	check_eq(RUN(c_xlat_wrap, USER_CS32, 0) & 0xff, 0x99,
		 "xlat wraps at 32 bits");
}

/* --- stacks ---------------------------------------------------------------- */

#define SS(sel) "mov $" #sel ", %eax; mov %eax, %ss\n"
CODE(s_16, 32, SS(0x9b) "mov $0xabcd0000, %esp; push $0x1111; mov %esp, %eax");
CODE(s_16_call, 32, SS(0x9b) "mov $0x1234f800, %esp; call 1f\n"
	"1: pop %ebx; pushal; popal; enter $16, $1; leave; mov %esp, %eax");
CODE(s_16_low, 32, SS(0x9b) "mov $2, %esp; push %eax");
CODE(s_32, 32, SS(0xa3) "mov $0x1000, %esp; push $0x2222; mov (%esp), %eax");
CODE(s_32_past, 32, SS(0xa3) "mov $0x1000, %esp; pop %eax");
CODE(s_32_call, 32, SS(0xa3) "mov $0x1004, %esp; call .");
CODE(s_32_pusha, 32, SS(0xa3) "mov $16, %esp; pushal");
CODE(s_32_enter, 32, SS(0xa3) "mov $0x20, %esp; enter $0x40, $0");
CODE(s_32_mem, 32, SS(0xa3) "mov $0x1000, %ebp; mov (%ebp), %eax");
CODE(s_32_mem2, 32, SS(0xa3) "mov $0x60001000, %esp\n"
	"mov %ds:(%esp), %eax");
CODE(s_iret, 32, SS(0xa3) "mov $0x1000, %esp; iret");
CODE(s_seg, 32, "push %ds; mov %esp, %eax; pop %es; push %fs; pop %fs");
CODE(s_nest, 32, "mov $0x60002100, %ebp; movl $0xa1, 0x600020fc\n"
	"movl $0xa2, 0x600020f8; enter $8, $3; mov -4(%ebp), %eax\n"
	"mov -8(%ebp), %ecx; mov -12(%ebp), %edx");

static void stacks(void)
{
	check_eq(RUN(s_16, USER_CS32, 0), 0xabcdfffc,
		 "a 16-bit stack: SP wraps, the rest of ESP stays");
	check_eq(RUN(s_16_call, USER_CS32, 0), 0x1234f800,
		 "call, pusha, enter and leave on it");
	ENDS(s_16_low, USER_CS32, 0, VEC_SS, 0, "a push that wraps: #SS");
	check_eq(RUN(s_32, USER_CS32, 0), 0x2222, "a stack with a base");
	ENDS(s_32_past, USER_CS32, 0, VEC_SS, 0, "pop past its limit: #SS");
	ENDS(s_32_call, USER_CS32, 0, VEC_SS, 0, "call there: #SS");
	ENDS(s_32_pusha, USER_CS32, 0, VEC_SS, 0, "pusha below it: #SS");
	check_eq(trap.f.rsp, 16, "which leaves ESP");
	ENDS(s_32_enter, USER_CS32, 0, VEC_SS, 0, "enter below it: #SS");
	ENDS(s_32_mem, USER_CS32, 0, VEC_SS, 0, "(%ebp) past it: #SS");
	ENDS(s_32_mem2, USER_CS32, 0, VEC_USER_EXIT, 0, "in DS: fine");
	ENDS(s_iret, USER_CS32, 0, VEC_SS, 0, "iret past it: #SS");
	check_eq(RUN(s_seg, USER_CS32, 0), STACK_TOP - 4, "push %ds: 4 bytes");
	RUN(s_nest, USER_CS32, 0);
	check(trap.f.rax == 0xa1 && trap.f.rcx == 0xa2 &&
	      trap.f.rdx == STACK_TOP - 4,
	      "enter with three levels copies two frames and adds its own");
}

/* --- instructions of their own ---------------------------------------------- */

/* What each gives for every AL and both CF and AF, summed up. */
#define DECIMAL(name, insn)                                                \
	CODE(name, 32,                                                     \
	     "xor %ebx, %ebx; xor %esi, %esi\n"                            \
	     "1: mov %esi, %eax; shl $8, %eax; mov %esi, %ecx; shr $4, %ecx\n" \
	     "and $0x11, %ecx; or $2, %ecx; push %ecx; popf\n"             \
	     "mov %esi, %eax\n" insn "\n"                                  \
	     "pushf; pop %ecx; and $0x8d5, %ecx; shl $16, %ecx\n"          \
	     "movzwl %ax, %eax; or %ecx, %eax\n"                           \
	     "imul $31, %ebx; add %eax, %ebx\n"                            \
	     "inc %esi; cmp $0x1000, %esi; jne 1b; mov %ebx, %eax")
DECIMAL(d_daa, "daa");
DECIMAL(d_das, "das");
DECIMAL(d_aaa, "aaa");
DECIMAL(d_aas, "aas");
DECIMAL(d_aam, "aam");
DECIMAL(d_aam7, ".byte 0xd4, 7");
DECIMAL(d_aad, "aad");
DECIMAL(d_aad7, ".byte 0xd5, 7");
DECIMAL(d_salc, ".byte 0xd6");
CODE(d_aam0, 32, ".byte 0xd4, 0");
CODE(i_bound, 32, "movl $-5, 0x60001000; movl $5, 0x60001004\n"
	"mov $-5, %eax; bound %eax, 0x60001000; mov $5, %eax\n"
	"bound %eax, 0x60001000");
CODE(i_bound_out, 32, "movl $-5, 0x60001000; movl $5, 0x60001004\n"
	"mov $6, %eax; bound %eax, 0x60001000");
CODE(i_bound16, 32, "movl $0x0005fffb, 0x60001000; mov $0x1fffa, %eax\n"
	"boundw %ax, 0x60001000");
CODE(i_arpl, 32, "mov $0x10, %eax; mov $3, %ecx; arpl %cx, %ax; setz %cl\n"
	"arpl %ax, %ax; setz %ch");
CODE(i_les, 32, "movl $0x1234, 0x60001000; movw $0x7b, 0x60001004\n"
	"les 0x60001000, %eax; mov %es, %ecx");
CODE(i_evex, 32, ".byte 0x62, 0xf1, 0x7c, 0x48, 0x28, 0xc0");
CODE(i_syscall, 32, "syscall");
CODE(i_loop, 32, "mov $3, %ecx; xor %eax, %eax\n1: inc %eax; loop 1b");
CODE(i_jcxz, 32, "mov $0x10000, %ecx; xor %eax, %eax; jcxz 1f; inc %eax\n"
	"1: nop");

/* The numbers are an Intel processor's. */
#define SUM_DAA 0x41c82800
#define SUM_DAS 0xb164e800
#define SUM_AAA 0x40e42800
#define SUM_AAS 0x756be800
#define SUM_AAM 0x17d1fc00
#define SUM_AAM7 0x8bdd420
#define SUM_AAD 0xbdd00800
#define SUM_AAD7 0xbdaf8000
#define SUM_SALC 0x986f8000

static void decimal(void)
{
	check_eq(RUN(d_daa, USER_CS32, 0), SUM_DAA, "daa");
	check_eq(RUN(d_das, USER_CS32, 0), SUM_DAS, "das");
	check_eq(RUN(d_aam, USER_CS32, 0), SUM_AAM, "aam");
	check_eq(RUN(d_aam7, USER_CS32, 0), SUM_AAM7, "aam, base 7");
	check_eq(RUN(d_salc, USER_CS32, 0), SUM_SALC, "salc");
	ENDS(d_aam0, USER_CS32, 0, VEC_DE, 0, "aam, base 0: #DE");
	if (cpu_is_tcg()) {
		skip("aaa, aad", "TCG has other flags where undefined");
		return;
	}
	check_eq(RUN(d_aaa, USER_CS32, 0), SUM_AAA, "aaa");
	check_eq(RUN(d_aas, USER_CS32, 0), SUM_AAS, "aas");
	check_eq(RUN(d_aad, USER_CS32, 0), SUM_AAD, "aad");
	check_eq(RUN(d_aad7, USER_CS32, 0), SUM_AAD7, "aad, base 7");
}

static void others(void)
{
	ENDS(i_bound, USER_CS32, 0, VEC_USER_EXIT, 0, "bound: inside");
	ENDS(i_bound_out, USER_CS32, 0, VEC_BR, 0, "bound: outside: #BR");
	check_eq(trap.f.rip - LOW, 25, "at the instruction");
	ENDS(i_bound16, USER_CS32, 0, VEC_BR, 0, "of 16 bits: #BR");
	check_eq(RUN(i_arpl, USER_CS32, 0), 0x13, "arpl raises the RPL");
	check_eq(trap.f.rcx & 0xffff, 1, "and ZF says so");
	check_eq(RUN(i_les, USER_CS32, 0), 0x1234, "les: the offset");
	check_eq(trap.f.rcx & 0xffff, 0x7b, "and the selector");
	check_eq(RUN(i_loop, USER_CS32, 0), 3, "loop");
	check_eq(RUN(i_jcxz, USER_CS32, 0), 0, "jcxz looks at CX");
	if (cpu_is_tcg())
		return;
	ENDS(i_syscall, USER_CS32, 0, VEC_UD, 0, "syscall: #UD");
}

int main(void)
{
	struct table t;

	make_table();
	__asm__ volatile("sgdt %0" : "=m"(t));
	check(t.base == pa_of(table) && t.limit == sizeof(table) - 1,
	      "the table is in place");
	if (cpu_is_limited()) {
		skip("segments", "this KVM keeps its own segments there");
		return 0;
	}
	map_low();
	write_cr4(read_cr4() | CR4_OSFXSR);
	write_cr0(read_cr0() & ~(CR0_EM | CR0_TS));
	code16();
	decimal();
	others();
	if (cpu_is_tcg()) {
		skip("limits", "TCG has none");
		return 0;
	}
	code_segments();
	data_segments();
	far_bits();
	stacks();
	wraps();
	return 0;
}
