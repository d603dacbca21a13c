/* SPDX-License-Identifier: Apache-2.0 */
/* Exception delivery and far transfers, on flat fake memory. */
#include "tests/unit/soft_fake.h"

#define RFLAGS_STEP (RFLAGS_IF | RFLAGS_TF | RFLAGS_NT)

static struct cpu *const cpu = &fake.cpu;

static void setup(void)
{
	fake_reset();
	for (unsigned v = 0; v < 64; v++)
		fake_gate(v, 0x6000 + v, FAKE_KERNEL_CS, 0x8e, 0);
}

TestSuite(except, .init = setup);

/* One exception of @vec at 0x5000, with everything that it leads to. */
static const struct uop *do_raise(struct cpu *c, const struct uop *op)
{
	cpu_raise_err(c, op, (unsigned)op->imm, op->aux);
}

static const struct uop *do_fault(struct cpu *c, const struct uop *op)
{
	cpu_raise_pf(c, op, op->imm, op->aux);
}

static void raise_vec(unsigned vec, uint8_t err)
{
	fake_run((struct uop){ .fn = do_raise, .len = 3, .imm = vec,
			       .aux = err });
}

static uint64_t stack(unsigned slot)
{
	return fake_get64(cpu->r[X86_RSP] + slot * 8);
}

Test(except, same_level_frame_is_aligned_and_complete)
{
	cpu->r[X86_RSP] = 0x8005;
	cpu->rflags |= RFLAGS_STEP;
	raise_vec(EXC_GP, 0x42);
	cr_assert_eq(cpu->rip, 0x6000 + EXC_GP);
	cr_assert_eq(cpu->r[X86_RSP], 0x8000 - 48);
	cr_assert_eq(stack(0), 0x42);
	cr_assert_eq(stack(1), 0x5000);
	cr_assert_eq(stack(2), FAKE_KERNEL_CS);
	cr_assert_eq(stack(3), 2 | RFLAGS_STEP | RFLAGS_RF);
	cr_assert_eq(stack(4), 0x8005);
	cr_assert_eq(stack(5), FAKE_KERNEL_SS);
	cr_assert_eq(cpu->rflags & RFLAGS_STEP, 0);
}

Test(except, trap_gate_keeps_if)
{
	fake_gate(EXC_UD, 0x6000, FAKE_KERNEL_CS, 0x8f, 0);
	cpu->rflags |= RFLAGS_IF;
	raise_vec(EXC_UD, 0);
	cr_assert(cpu->rflags & RFLAGS_IF);
	cr_assert_eq(cpu->r[X86_RSP], 0x8000 - 40, "no error code");
}

Test(except, user_fault_switches_to_rsp0_and_null_ss)
{
	fake_user();
	fake_run((struct uop){ .fn = do_fault, .len = 2, .imm = 0xdead0,
			       .aux = 6 });
	cr_assert_eq(cpu->cpl, 0);
	cr_assert_eq(cpu->mode, TLB_KERNEL);
	cr_assert_eq(cpu->r[X86_RSP], 0x9000 - 48);
	cr_assert_eq(stack(0), 6);
	cr_assert_eq(stack(2), FAKE_USER_CS);
	cr_assert_eq(stack(5), FAKE_USER_SS);
	cr_assert_eq(cpu->seg[X86_SS].sel, 0);
	cr_assert(cpu->seg[X86_SS].unusable);
	cr_assert_eq(cpu->cr2, 0xdead0);
}

Test(except, ist_switches_stack_at_the_same_level)
{
	fake_gate(EXC_MC, 0x6000, FAKE_KERNEL_CS, 0x8e, 2);
	raise_vec(EXC_MC, 0);
	cr_assert_eq(cpu->r[X86_RSP], 0xa000 - 40);
	cr_assert_eq(cpu->seg[X86_SS].sel, FAKE_KERNEL_SS);
}

Test(except, int_n_returns_behind_itself_without_rf)
{
	fake_run((struct uop){ .fn = except_int, .len = 2, .imm = 0x20 });
	cr_assert_eq(cpu->rip, 0x6020);
	cr_assert_eq(stack(0), 0x5002);
	cr_assert_eq(stack(2) & RFLAGS_RF, 0);
}

Test(except, int_n_from_user_needs_gate_dpl_and_faults_at_itself)
{
	fake_user();
	fake_run((struct uop){ .fn = except_int, .len = 2, .imm = 0x20 });
	cr_assert_eq(cpu->rip, 0x6000 + EXC_GP);
	cr_assert_eq(stack(0), 0x20 * 8 + 2, "IDT bit, not EXT");
	cr_assert_eq(stack(1), 0x5000);

	setup();
	fake_user();
	fake_gate(0x20, 0x6000, FAKE_KERNEL_CS, 0xee, 0);
	fake_run((struct uop){ .fn = except_int, .len = 2, .imm = 0x20 });
	cr_assert_eq(cpu->rip, 0x6000);
}

Test(except, absent_gate_is_np_with_ext)
{
	fake_gate(EXC_UD, 0x6000, FAKE_KERNEL_CS, 0x0e, 0);
	raise_vec(EXC_UD, 0);
	cr_assert_eq(cpu->rip, 0x6000 + EXC_NP);
	cr_assert_eq(stack(0), EXC_UD * 8 + 3);
}

Test(except, two_contributory_faults_are_a_double_fault)
{
	fake_gate(EXC_GP, 0x6000, FAKE_KERNEL_CS, 0x0e, 0);
	raise_vec(EXC_GP, 0);
	cr_assert_eq(cpu->rip, 0x6000 + EXC_DF);
	cr_assert_eq(stack(0), 0);
	cr_assert_eq(stack(1), 0x5000);
}

Test(except, page_fault_on_the_stack_of_a_gp_is_served_alone)
{
	cpu->r[X86_RSP] = 0x20000;
	fake_gate(EXC_PF, 0x6000, FAKE_KERNEL_CS, 0x8e, 2);
	raise_vec(EXC_GP, 0);
	cr_assert_eq(cpu->rip, 0x6000, "contributory, then #PF: no #DF");
	cr_assert_eq(cpu->r[X86_RSP], 0xa000 - 48);
}

Test(except, page_fault_twice_is_double_then_triple)
{
	cpu->r[X86_RSP] = 0x20000;
	fake_gate(EXC_DF, 0x6000, FAKE_KERNEL_CS, 0x8e, 2);
	fake_run((struct uop){ .fn = do_fault, .imm = 0x30000 });
	cr_assert_eq(cpu->rip, 0x6000);
	cr_assert(!cpu->shutdown);

	setup();
	cpu->r[X86_RSP] = 0x20000;
	fake_run((struct uop){ .fn = do_fault, .imm = 0x30000 });
	cr_assert(cpu->shutdown);
}

Test(except, empty_idt_is_a_triple_fault)
{
	cpu->idtr.limit = 0;
	fake_run((struct uop){ .fn = except_int3, .len = 1 });
	cr_assert(cpu->shutdown);
}

Test(except, noncanonical_stack_is_ss)
{
	fake_gate(EXC_SS, 0x6000, FAKE_KERNEL_CS, 0x8e, 2);
	cpu->r[X86_RSP] = 1ull << 60;
	raise_vec(EXC_UD, 0);
	cr_assert_eq(cpu->rip, 0x6000);
	cr_assert_eq(stack(0), 1, "EXT");
}

Test(except, debug_exception_keeps_its_reason_in_dr6)
{
	cpu->dr7 = DR7_GD | DR7_FIXED;
	cpu->dr6 = DR6_FIXED;
	fake_run((struct uop){ .fn = ctrl_from_dr, .len = 3, .imm = 7 });
	cr_assert_eq(cpu->rip, 0x6000 + EXC_DB);
	cr_assert_eq(cpu->dr6, DR6_FIXED | DR6_BD);
	cr_assert_eq(cpu->dr7, DR7_FIXED);
	cr_assert_eq(stack(0), 0x5000);
}

/* --- returns --------------------------------------------------------------- */

static void iret_frame(uint64_t rip, uint64_t cs, uint64_t flags, uint64_t rsp,
		       uint64_t ss)
{
	uint64_t frame[5] = { rip, cs, flags, rsp, ss };

	cpu->r[X86_RSP] = 0x8000;
	memcpy(fake.ram + 0x8000, frame, sizeof(frame));
}

static int iret(void)
{
	return fake_try((struct uop){ .fn = far_iret, .len = 2, .aux = 8 });
}

Test(except, iret_to_user_restores_all)
{
	iret_frame(0x1234, FAKE_USER_CS, 0x3202, 0x7000, FAKE_USER_SS);
	cr_assert_eq(iret(), 0);
	cr_assert_eq(cpu->rip, 0x1234);
	cr_assert_eq(cpu->cpl, 3);
	cr_assert_eq(cpu->mode, TLB_USER);
	cr_assert_eq(cpu->r[X86_RSP], 0x7000);
	cr_assert_eq(cpu_rflags(cpu), 0x3202);
	cr_assert_eq(atomic_load(&cpu->attention) & ATTN_STATE, ATTN_STATE);
}

Test(except, iret_from_user_keeps_if_and_iopl)
{
	fake_user();
	cpu->rflags |= RFLAGS_IF;
	iret_frame(0x1234, FAKE_USER_CS, 0x3002, 0x7000, FAKE_USER_SS);
	cr_assert_eq(iret(), 0);
	cr_assert_eq(cpu_rflags(cpu), 0x202);
}

Test(except, iret_to_compatibility_mode)
{
	iret_frame(0x1234, FAKE_USER_CS32, 0x202, 0x7000, FAKE_USER_SS);
	cr_assert_eq(iret(), 0);
	cr_assert(!cpu->code64 && cpu->code32);
}

Test(except, iret_refuses_what_it_must_and_changes_nothing)
{
	static const struct {
		uint64_t rip, cs, ss;
		uint32_t err;
	} bad[] = {
		{ 1ull << 60, FAKE_USER_CS, FAKE_USER_SS, 0 },
		{ 0x1234, 0, FAKE_USER_SS, 0 },
		{ 0x1234, FAKE_USER_CS, 3, 0 },
		{ 0x1234, FAKE_USER_CS, FAKE_KERNEL_SS | 3, 0x10 },
		{ 0x1234, FAKE_USER_SS, FAKE_USER_SS, 0x18 },
		{ 0x1234, 0x103, FAKE_USER_SS, 0x100 },
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		iret_frame(bad[i].rip, bad[i].cs, 0x202, 0x7000, bad[i].ss);
		cr_assert_eq(iret(), 1 + EXC_GP, "case %u", i);
		cr_assert_eq(cpu->exc.err, bad[i].err, "case %u", i);
		cr_assert_eq(cpu->r[X86_RSP], 0x8000);
		cr_assert_eq(cpu->cpl, 0);
	}
	cpu->rflags |= RFLAGS_NT;
	iret_frame(0x1234, FAKE_USER_CS, 0x202, 0x7000, FAKE_USER_SS);
	cr_assert_eq(iret(), 1 + EXC_GP);
}

Test(except, kernel_may_return_to_a_null_stack_segment)
{
	iret_frame(0x1234, FAKE_KERNEL_CS, 2, 0x7000, 0);
	cr_assert_eq(iret(), 0);
	cr_assert(cpu->seg[X86_SS].unusable);
}

Test(except, syscall_and_sysret)
{
	fake_user();
	cpu->star = 0x0010ull << 48 | (uint64_t)FAKE_KERNEL_CS << 32;
	cpu->lstar = 0x6789;
	cpu->sfmask = RFLAGS_IF | RFLAGS_DF;
	cpu->rflags |= RFLAGS_IF | RFLAGS_DF;
	cr_assert_eq(fake_try((struct uop){ .fn = far_syscall, .len = 2 }), 0);
	cr_assert_eq(cpu->rip, 0x6789);
	cr_assert_eq(cpu->cpl, 0);
	cr_assert_eq(cpu->r[X86_RCX], 0x5002);
	cr_assert_eq(cpu->r[X86_R11], 0x602);
	cr_assert_eq(cpu_rflags(cpu), 2);
	cr_assert_eq(cpu->seg[X86_SS].sel, FAKE_KERNEL_SS);

	cpu->r[X86_RCX] = 1ull << 47;
	cr_assert_eq(fake_try((struct uop){ .fn = far_sysret, .aux = 8 }),
		     1 + EXC_GP);
	cr_assert_eq(cpu->cpl, 0, "the fault is the kernel's");
	cpu->r[X86_RCX] = 0x5002;
	cr_assert_eq(fake_try((struct uop){ .fn = far_sysret, .aux = 8 }), 0);
	cr_assert_eq(cpu->rip, 0x5002);
	cr_assert_eq(cpu->cpl, 3);
	cr_assert_eq(cpu->seg[X86_CS].sel, FAKE_USER_CS);
	cr_assert_eq(cpu_rflags(cpu), 0x602);
}

/* --- segments and control registers ------------------------------------------ */

static int load_seg(unsigned n, uint16_t sel)
{
	cpu->r[X86_RAX] = sel;
	return fake_try((struct uop){ .fn = seg_mov_to, .len = 2, .imm = n,
				      .r0 = SLOT_OFF(X86_RAX), .aux = 2 });
}

Test(except, segment_loads)
{
	fake_put64(FAKE_GDT + 0x38, 0x12cf92345678ffff);
	cr_assert_eq(load_seg(X86_FS, 0x38), 0);
	cr_assert_eq(cpu->r[SLOT_SEG + X86_FS], 0x12345678);
	cr_assert_eq(fake_get64(FAKE_GDT + 0x38), 0x12cf93345678ffff,
		     "accessed");
	cr_assert_eq(load_seg(X86_DS, 0x38), 0);
	cr_assert_eq(cpu->r[SLOT_SEG + X86_DS], 0, "no base in 64-bit mode");
	cr_assert_eq(cpu->seg[X86_DS].base, 0x12345678);
	cr_assert_eq(load_seg(X86_FS, 0), 0);
	cr_assert_eq(cpu->r[SLOT_SEG + X86_FS], 0);
	cr_assert_eq(load_seg(X86_DS, FAKE_TSS), 1 + EXC_GP);
	cr_assert_eq(load_seg(X86_SS, FAKE_KERNEL_CS), 1 + EXC_GP);
	cr_assert_eq(load_seg(X86_DS, 0x40), 1 + EXC_GP, "past the limit");
	cr_assert_eq(load_seg(X86_DS, 0x0c), 1 + EXC_GP, "no LDT");
	fake_put64(FAKE_GDT + 0x38, 0x00cf13000000ffff);
	cr_assert_eq(load_seg(X86_DS, 0x38), 1 + EXC_NP);
	cr_assert_eq(load_seg(X86_SS, 0x38), 1 + EXC_SS);
	cr_assert_eq(load_seg(X86_SS, FAKE_KERNEL_SS), 0);
	cr_assert_eq(cpu->shadow, SHADOW_SS);
}

static int to_cr(unsigned n, uint64_t v)
{
	cpu->r[X86_RAX] = v;
	return fake_try((struct uop){ .fn = ctrl_to_cr, .len = 3, .imm = n,
				      .r0 = SLOT_OFF(X86_RAX), .aux = 8 });
}

Test(except, control_register_rules)
{
	cr_assert_eq(to_cr(0, CR0_PG), 1 + EXC_GP, "PG without PE");
	cr_assert_eq(to_cr(0, CR0_PE | CR0_PG | CR0_NW), 1 + EXC_GP);
	cr_assert_eq(to_cr(0, CR0_PE), 1 + EXC_GP, "PG off in 64-bit code");
	cr_assert_eq(to_cr(4, 0), 1 + EXC_GP, "PAE off in long mode");
	cr_assert_eq(to_cr(4, CR4_PAE | 1u << 12), 1 + EXC_GP, "LA57");
	cr_assert_eq(to_cr(0, CR0_PE | CR0_PG | CR0_WP), 0);
	cr_assert_eq(cpu->cr0, CR0_PE | CR0_PG | CR0_WP | CR0_ET);
}

/* What the 6.1 kernel's decompressor does between two page table depths. */
Test(except, long_mode_can_be_left_and_entered_again)
{
	seg_set_flat(cpu, X86_CS, FAKE_USER_CS32, 0, 0);
	cpu_update_mode(cpu);
	cr_assert(cpu->code32);
	cr_assert_eq(to_cr(0, CR0_PE), 0);
	cr_assert_eq(cpu->efer & EFER_LMA, 0);
	cr_assert_eq(to_cr(4, 0), 0);
	cr_assert_eq(to_cr(0, CR0_PE | CR0_PG), 1 + EXC_GP, "LME without PAE");
	cr_assert_eq(to_cr(4, CR4_PAE), 0);
	cr_assert_eq(to_cr(0, CR0_PE | CR0_PG), 0);
	cr_assert_neq(cpu->efer & EFER_LMA, 0);
	cr_assert_eq(fake_try((struct uop){ .fn = far_jmp, .aux = 4,
			.imm = (uint64_t)FAKE_KERNEL_CS << 32 | 0x4321 }), 0);
	cr_assert(cpu->code64);
	cr_assert_eq(cpu->rip, 0x4321);
}

Test(except, flags_need_their_privilege)
{
	fake_user();
	cr_assert_eq(fake_try((struct uop){ .fn = flags_cli, .len = 1 }),
		     1 + EXC_GP);
	cpu->r[X86_RSP] = 0x7000;
	fake_put64(0x7000, RFLAGS_IF | RFLAGS_IOPL | RFLAGS_CF | RFLAGS_AC);
	cr_assert_eq(fake_try((struct uop){ .fn = flags_popf, .len = 1,
					    .aux = 8 }), 0);
	cr_assert_eq(cpu_rflags(cpu), 2 | RFLAGS_CF | RFLAGS_AC);
	cr_assert_eq(cpu->r[X86_RSP], 0x7008);
}

Test(except, sti_casts_a_shadow_only_when_it_sets_if)
{
	fake_try((struct uop){ .fn = flags_sti, .len = 1 });
	cr_assert_eq(cpu->shadow, SHADOW_STI);
	cpu->shadow = 0;
	fake_try((struct uop){ .fn = flags_sti, .len = 1 });
	cr_assert_eq(cpu->shadow, 0);
}

/* --- ports --------------------------------------------------------------------- */

static void bus_pio(void *opaque, uint16_t port, void *data, unsigned len,
		    int write)
{
	(void)opaque, (void)port;
	if (!write)
		memset(data, 0x5a, len);
}

Test(except, user_ports_need_the_bitmap)
{
	static const struct engine_bus bus = { .pio = bus_pio };
	struct uop in = { .fn = pio_op_in, .len = 2, .aux = SYS_IMM | 2,
			  .imm = 0x17 };

	fake.soft.bus = &bus;
	fake.ram[FAKE_TSS_AT + 0x66] = 0x68;
	fake_user();
	cr_assert_eq(fake_try(in), 1 + EXC_GP, "no bitmap within the limit");
	cpu->tr.limit = 0x70;
	fake.ram[FAKE_TSS_AT + 0x68 + 3] = 1; /* port 0x18 */
	cr_assert_eq(fake_try(in), 1 + EXC_GP, "the second byte's port");
	fake.ram[FAKE_TSS_AT + 0x68 + 3] = 2;
	cr_assert_eq(fake_try(in), 0);
	cr_assert_eq(cpu->r[X86_RAX], 0x5a5a);
}

/* --- model-specific registers ---------------------------------------------------- */

Test(except, msr_rules)
{
	uint64_t v;

	cpu->lapic = lapic_new(cpu);
	cr_assert_eq(msr_write(cpu, 0xc0000082, 1ull << 60), -1, "canonical");
	cr_assert_eq(msr_write(cpu, 0x277, 0x0007040600070402), -1, "PAT 2");
	cr_assert_eq(msr_write(cpu, 0x277, 0x0007040600070406), 0);
	cr_assert_eq(msr_write(cpu, 0xc0000080, 0), -1, "LME with paging on");
	cr_assert_eq(msr_write(cpu, 0xc0000080, EFER_LME | EFER_NXE), 0);
	cr_assert_eq(cpu->efer, EFER_LME | EFER_LMA | EFER_NXE);
	cr_assert_eq(msr_read(cpu, 0x12345, &v), -1);
	cr_assert_eq(msr_write(cpu, 0x10a, 0), -1, "read-only");
	cr_assert_eq(msr_write(cpu, 0x10, 0), 0);
	cr_assert_eq(msr_read(cpu, 0x10, &v), 0);
	cr_assert(v < 1000000000, "the TSC starts over");
	cr_assert_eq(cpu->tsc_adjust, cpu->tsc_offset);
	lapic_free(cpu->lapic);
}
