/* SPDX-License-Identifier: Apache-2.0 */
/* A debugger's means: single steps, breakpoints by int3 and by the debug
 * registers, watched data, registers read and changed. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile unsigned char watched[16] __attribute__((aligned(16)));
static volatile int changed;

static __attribute__((noinline)) int work(int n)
{
	char from[32] = "some text", to[32];
	void *s = from, *d = to;
	unsigned long c = 9;

	for (int i = 0; i < n; i++) {
		watched[i & 15] = (unsigned char)i;
		changed += watched[(i + 5) & 15];
	}
	__asm__ volatile("cld\n rep movsb\n"
			 "pushf\n pop %%rax\n mov %%ss, %%eax\n mov %%eax, %%ss\n"
			 "nop\n" : "+S"(s), "+D"(d), "+c"(c) : : "rax", "memory");
	return changed + to[3];
}

static pid_t start(int n)
{
	pid_t p = fork();

	if (!p) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(work(n) & 0x7f);
	}
	waitpid(p, NULL, 0);
	return p;
}

static long poke_dr(pid_t p, int n, unsigned long v)
{
	return ptrace(PTRACE_POKEUSER, p,
		      offsetof(struct user, u_debugreg) + 8 * (size_t)n, v);
}

static unsigned long peek_dr(pid_t p, int n)
{
	return (unsigned long)ptrace(PTRACE_PEEKUSER, p,
		offsetof(struct user, u_debugreg) + 8 * (size_t)n, NULL);
}

static struct user_regs_struct regs(pid_t p)
{
	struct user_regs_struct r;

	memset(&r, 0, sizeof(r));
	ptrace(PTRACE_GETREGS, p, NULL, &r);
	return r;
}

static void tell_end(pid_t p, int status)
{
	if (WIFSTOPPED(status)) {
		kill(p, SIGKILL);
		waitpid(p, &status, 0);
	}
	printf(" end %x\n", status);
}

/* Steps inside work(): how many, and the way that they took. */
static void steps(void)
{
	pid_t p = start(5);
	unsigned long at = (unsigned long)(uintptr_t)work;
	unsigned long trail = 0, flags = 0;
	unsigned n = 0, all = 0;
	int status = 0;

	while (!ptrace(PTRACE_SINGLESTEP, p, NULL, NULL) &&
	       waitpid(p, &status, 0) == p && WIFSTOPPED(status)) {
		struct user_regs_struct r = regs(p);

		all++;
		if (WSTOPSIG(status) != SIGTRAP)
			break;
		if (r.rip < at || r.rip >= at + 400)
			continue;
		n++;
		trail = trail * 31 + r.rip - at;
		flags = flags * 31 + (r.eflags & 0x10cd5);
	}
	printf("steps %u trail %lx flags %lx many %d", n, trail, flags,
	       all >= n);
	tell_end(p, status);
}

/* RW 0 execute, 1 write, 3 read or write (SDM 3B 17.2.4); LEN as it has it. */
static void debug_registers(const char *name, unsigned long addr, unsigned rw,
			    unsigned len)
{
	pid_t p = start(20);
	int status, hits = 0;
	unsigned long trail = 0, dr6 = 0;

	if (poke_dr(p, 0, addr) ||
	    poke_dr(p, 7, 1ul | (unsigned long)rw << 16 |
			  (unsigned long)len << 18)) {
		printf("%s: errno %d\n", name, errno);
		kill(p, SIGKILL);
		waitpid(p, NULL, 0);
		return;
	}
	while (!ptrace(PTRACE_CONT, p, NULL, NULL) &&
	       waitpid(p, &status, 0) == p && WIFSTOPPED(status) &&
	       WSTOPSIG(status) == SIGTRAP) {
		hits++;
		trail = trail * 31 + regs(p).rip -
			(unsigned long)(uintptr_t)work;
		dr6 |= peek_dr(p, 6);
		poke_dr(p, 6, 0);
	}
	printf("%s: %d hits, trail %lx, dr6 %lx", name, hits, trail, dr6);
	tell_end(p, status);
}

static void breakpoint(void)
{
	pid_t p = start(3);
	unsigned long at = (unsigned long)(uintptr_t)work;
	long word = ptrace(PTRACE_PEEKTEXT, p, at, NULL);
	struct user_regs_struct r;
	int status;

	ptrace(PTRACE_POKETEXT, p, at, (word & ~0xffl) | 0xcc);
	ptrace(PTRACE_CONT, p, NULL, NULL);
	waitpid(p, &status, 0);
	r = regs(p);
	printf("int3: signal %d at +%ld argument %d", WSTOPSIG(status),
	       (long)(r.rip - at), (int)r.rdi);
	ptrace(PTRACE_POKETEXT, p, at, word);
	r.rip = at;
	r.rdi = 12;
	ptrace(PTRACE_SETREGS, p, NULL, &r);
	ptrace(PTRACE_CONT, p, NULL, NULL);
	waitpid(p, &status, 0);
	tell_end(p, status);
}

static void system_calls(void)
{
	pid_t p = start(1);
	int status, n = 0;
	unsigned long last = 0;

	while (!ptrace(PTRACE_SYSCALL, p, NULL, NULL) &&
	       waitpid(p, &status, 0) == p && WIFSTOPPED(status)) {
		last = regs(p).orig_rax;
		n++;
	}
	printf("calls %d, the last %lu", n, last);
	tell_end(p, status);
}

static void floats(void)
{
	pid_t p = start(1);
	struct user_fpregs_struct f;

	ptrace(PTRACE_GETFPREGS, p, NULL, &f);
	f.xmm_space[4] = 0x12345678;
	f.mxcsr = 0x3f80;
	f.cwd = 0x27f;
	ptrace(PTRACE_SETFPREGS, p, NULL, &f);
	memset(&f, 0, sizeof(f));
	ptrace(PTRACE_GETFPREGS, p, NULL, &f);
	printf("fp: %x %x %x %x", f.xmm_space[4], f.mxcsr, f.cwd, f.ftw);
	f.mxcsr = 0xffffffff;
	printf(" bad mxcsr %ld", ptrace(PTRACE_SETFPREGS, p, NULL, &f));
	kill(p, SIGKILL);
	waitpid(p, NULL, 0);
	printf("\n");
}

int main(void)
{
	unsigned long w = (unsigned long)(uintptr_t)watched;

	setvbuf(stdout, NULL, _IONBF, 0);
	steps();
	breakpoint();
	debug_registers("execute", (unsigned long)(uintptr_t)work, 0, 0);
	debug_registers("write 1", w + 3, 1, 0);
	debug_registers("write 4", w + 8, 1, 3);
	debug_registers("read 2", w + 6, 3, 1);
	debug_registers("read 8", w, 3, 2);
	debug_registers("misaligned", w + 1, 1, 3);
	debug_registers("kernel", 0xffffffff81000000, 1, 0);
	system_calls();
	floats();
	return 0;
}
