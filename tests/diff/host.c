/* SPDX-License-Identifier: Apache-2.0 */
/* The host CPU as an oracle, in a child process. */
#include "tests/diff/host.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define AREA 0x200000u /* registers in and out, and the trampolines */

struct host {
	pid_t pid;
	int to[2], from[2];
	unsigned max;
	struct host_case *cases;
};

/* What the trampolines address absolutely. */
struct area {
	struct host_regs regs;
	uint64_t host_rsp, stack_flags;
	uint64_t exit_at;
	uint8_t enter[512], leave[512];
};

static struct area *const area = (struct area *)(uintptr_t)AREA;
static sigjmp_buf back;
static volatile sig_atomic_t caught;
static uint64_t fault_rip;
static uint64_t fault_gpr[16], fault_flags;

#define ADDR(field) (AREA + (uint32_t)offsetof(struct area, field))

/* mov reg, [abs32] or the reverse: REX.W 8b/89, ModRM SIB without base. */
static uint8_t *mov_abs(uint8_t *p, int reg, uint32_t addr, int store)
{
	*p++ = (uint8_t)(0x48 | (reg >= 8 ? 4 : 0));
	*p++ = store ? 0x89 : 0x8b;
	*p++ = (uint8_t)(4 | (reg & 7) << 3);
	*p++ = 0x25;
	memcpy(p, &addr, 4);
	return p + 4;
}

static uint8_t *byte2(uint8_t *p, uint8_t a, uint8_t b)
{
	*p++ = a;
	*p++ = b;
	return p;
}

static uint8_t *push_abs(uint8_t *p, uint32_t addr, int pop)
{
	p = byte2(p, pop ? 0x8f : 0xff, pop ? 0x04 : 0x34);
	*p++ = 0x25;
	memcpy(p, &addr, 4);
	return p + 4;
}

/* jmp [abs32] */
static uint8_t *jmp_abs(uint8_t *p, uint32_t addr)
{
	p = byte2(p, 0xff, 0x24);
	*p++ = 0x25;
	memcpy(p, &addr, 4);
	return p + 4;
}

static void make_trampolines(void)
{
	static const int saved[] = { 3, 5, 12, 13, 14, 15 };
	uint8_t *p = area->enter;

	for (int i = 0; i < 6; i++) { /* push callee-saved */
		if (saved[i] >= 8)
			*p++ = 0x41;
		*p++ = (uint8_t)(0x50 | (saved[i] & 7));
	}
	p = mov_abs(p, 4, ADDR(host_rsp), 1);
	p = push_abs(p, ADDR(regs.rflags), 0);
	*p++ = 0x9d; /* popfq */
	for (int r = 0; r < 16; r++)
		p = mov_abs(p, r, ADDR(regs.gpr) + 8u * (unsigned)r, 0);
	p = jmp_abs(p, ADDR(regs.rip));

	p = area->leave;
	for (int r = 0; r < 16; r++)
		p = mov_abs(p, r, ADDR(regs.gpr) + 8u * (unsigned)r, 1);
	p = mov_abs(p, 4, ADDR(host_rsp), 0);
	*p++ = 0x9c; /* pushfq */
	p = push_abs(p, ADDR(regs.rflags), 1);
	*p++ = 0xfc; /* cld */
	for (int i = 5; i >= 0; i--) {
		if (saved[i] >= 8)
			*p++ = 0x41;
		*p++ = (uint8_t)(0x58 | (saved[i] & 7));
	}
	*p++ = 0xc3;
	area->exit_at = (uint64_t)(uintptr_t)area->leave;
}

static void on_fault(int sig, siginfo_t *si, void *ctx)
{
	static const int order[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
		REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11,
		REG_R12, REG_R13, REG_R14, REG_R15,
	};
	ucontext_t *uc = ctx;

	(void)si;
	for (int i = 0; i < 16; i++)
		fault_gpr[i] = (uint64_t)uc->uc_mcontext.gregs[order[i]];
	fault_flags = (uint64_t)uc->uc_mcontext.gregs[REG_EFL];
	fault_rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	caught = sig;
	siglongjmp(back, 1);
}

static void run_case(struct host_case *c)
{
	uint8_t *code = (uint8_t *)(uintptr_t)HOST_CODE;
	void (*enter)(void) = (void (*)(void))(uintptr_t)area->enter;

	memcpy((void *)(uintptr_t)HOST_WINDOW_AT, c->data_in, HOST_WINDOW);
	memcpy(code, c->code, c->code_len);
	jmp_abs(code + c->code_len, ADDR(exit_at));
	area->regs = c->in;
	area->regs.rip = HOST_CODE;
	c->signal = 0;
	if (!sigsetjmp(back, 1)) {
		enter();
		c->out = area->regs;
		c->out.rip = HOST_CODE + c->code_len;
	} else {
		/* the fault left the guest's flags: DF would break memcpy */
		__asm__ volatile("cld");
		c->signal = caught;
		memcpy(c->out.gpr, fault_gpr, sizeof(fault_gpr));
		c->out.rflags = fault_flags;
		c->out.rip = fault_rip;
	}
	memcpy(c->data_out, (void *)(uintptr_t)HOST_WINDOW_AT, HOST_WINDOW);
}

static void map_at(uint32_t addr, size_t len)
{
	void *p = mmap((void *)(uintptr_t)addr, len,
		       PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)(uintptr_t)addr) {
		perror("differential test: map low memory");
		_exit(3);
	}
}

static void child(struct host *h)
{
	static const int sigs[] = { SIGFPE, SIGSEGV, SIGILL, SIGTRAP, SIGBUS };
	static uint8_t stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | SA_ONSTACK };
	uint32_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(h->to[1]);
	close(h->from[0]);
	map_at(HOST_DATA, HOST_DATA_SIZE);
	map_at(HOST_CODE, 0x2000);
	map_at(AREA, 0x2000);
	make_trampolines();
	sigaltstack(&ss, NULL);
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &sa, NULL);
	while (read(h->to[0], &n, sizeof(n)) == sizeof(n)) {
		for (uint32_t i = 0; i < n; i++)
			run_case(&h->cases[i]);
		if (write(h->from[1], &n, sizeof(n)) != sizeof(n))
			break;
	}
	_exit(0);
}

struct host *host_new(unsigned max_cases)
{
	struct host *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->max = max_cases;
	h->cases = mmap(NULL, sizeof(*h->cases) * max_cases,
			PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (h->cases == MAP_FAILED || pipe(h->to) || pipe(h->from)) {
		free(h);
		return NULL;
	}
	h->pid = fork();
	if (h->pid == 0)
		child(h);
	close(h->to[0]);
	close(h->from[1]);
	return h;
}

void host_free(struct host *h)
{
	if (!h)
		return;
	close(h->to[1]);
	close(h->from[0]);
	waitpid(h->pid, NULL, 0);
	munmap(h->cases, sizeof(*h->cases) * h->max);
	free(h);
}

struct host_case *host_cases(struct host *h)
{
	return h->cases;
}

int host_run(struct host *h, unsigned n)
{
	uint32_t v = n;

	if (write(h->to[1], &v, sizeof(v)) != sizeof(v) ||
	    read(h->from[0], &v, sizeof(v)) != sizeof(v) || v != n)
		return -1;
	return 0;
}
