/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions as signals: what the handler is told, and that the program goes
 * on where the handler says. */
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf again;
static volatile char *page;
static const char *what;

/* Addresses differ from run to run: those of our page are told by offset. */
static void report(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *u = ctx;
	long at = (char *)si->si_addr - (char *)page;

	/* A handler gets AC as it was: it would be hit by its own. */
	__asm__ volatile("sub $128, %%rsp\n pushf\n andl $~0x40000, (%%rsp)\n"
			 "popf\n add $128, %%rsp" : : : "cc", "memory");
	printf("%s: signal %d code %d trap %d error %d eflags %x", what, sig,
	       si->si_code, (int)u->uc_mcontext.gregs[REG_TRAPNO],
	       (int)u->uc_mcontext.gregs[REG_ERR],
	       (unsigned)u->uc_mcontext.gregs[REG_EFL] & 0x50000);
	if (at >= 0 && at < 16384)
		printf(" at page+%ld", at);
	else if (si->si_addr == (void *)u->uc_mcontext.gregs[REG_RIP])
		printf(" at rip");
	else if ((uintptr_t)si->si_addr < 65536)
		printf(" at %p", si->si_addr);
	printf("\n");
	fflush(stdout);
	siglongjmp(again, 1);
}

static void catch(int sig, void (*fn)(int, siginfo_t *, void *))
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = fn;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sigaction(sig, &sa, NULL);
}

#define TRY(TEXT, ...) do { \
	what = TEXT; \
	if (!sigsetjmp(again, 1)) { \
		__VA_ARGS__; \
		printf("%s: nothing\n", what); \
	} } while (0)

static void faults(void)
{
	volatile int zero = 0, one = 1, min = -2147483647 - 1, minus = -1;
	volatile long lmin = -9223372036854775807L - 1, lminus = -1;

	TRY("div by zero", one = one / zero);
	TRY("div overflow", one = min / minus);
	TRY("div overflow 64", one = (int)(lmin / lminus));
	TRY("null read", one = *(volatile int *)16);
	TRY("null write", *(volatile int *)24 = 1);
	TRY("read only", page[5] = 1);
	TRY("no access", one = page[4096 + 7]);
	TRY("across", one = *(volatile int *)(page + 4094));
	TRY("past the file", one = page[8192]);
	TRY("not canonical", one = *(volatile int *)0x8000000000000000);
	TRY("kernel", one = *(volatile int *)0xffffffff81000000);
	TRY("execute data", ((void (*)(void))(uintptr_t)page)());
	TRY("ud2", __asm__ volatile("ud2"));
	TRY("int3", __asm__ volatile("int3"));
	TRY("int 0x81", __asm__ volatile("int $0x81"));
	TRY("hlt", __asm__ volatile("hlt"));
	TRY("cli", __asm__ volatile("cli"));
	TRY("in", __asm__ volatile("inb $0x60, %%al" : : : "rax"));
	TRY("rdmsr", __asm__ volatile("rdmsr" : : "c"(0x10) : "rax", "rdx"));
	TRY("mov cr3", __asm__ volatile("mov %%cr3, %%rax" : : : "rax"));
	TRY("bad ds", __asm__ volatile("mov %0, %%ds" : : "r"(0x1234)));
	TRY("movaps", __asm__ volatile("movaps 1(%%rsp), %%xmm0" : : : "xmm0"));
	TRY("ldmxcsr", one = -1; __asm__ volatile("ldmxcsr %0" : : "m"(one)));
	TRY("alignment", __asm__ volatile(
		"sub $128, %%rsp\n pushf\n orl $0x40000, (%%rsp)\n popf\n"
		"mov 1(%%rsp), %%eax\n"
		"pushf\n andl $~0x40000, (%%rsp)\n popf\n add $128, %%rsp"
		: : : "rax", "cc", "memory"));
}

static void floats(void)
{
	volatile double x = 0, y = 1, big = 1e308;
	volatile long double lx = 0, ly = 1;

	feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
	TRY("sse zero divide", y = y / x);
	TRY("sse invalid", y = x / x);
	TRY("sse overflow", y = big * big);
	TRY("sse underflow", y = 1e-300 / big);
	TRY("x87 zero divide", ly = ly / lx; __asm__ volatile("fwait"));
	TRY("x87 invalid", ly = lx / lx; __asm__ volatile("fwait"));
	fesetenv(FE_DFL_ENV);
	feenableexcept(FE_INEXACT);
	TRY("sse inexact", y = 1.0 / (big / 1e307 * 3));
	TRY("x87 inexact", ly = 1.0L / 3 * (ly + 2) / 7;
	    __asm__ volatile("fwait"));
	fesetenv(FE_DFL_ENV);
	TRY("masked", y = 1.0 / x);
	printf("%g %Lg\n", y, ly);
}

/* The handler repairs: it makes the page writable, or skips the instruction. */
static volatile int repaired;

static void repair(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *u = ctx;

	repaired++;
	if (sig == SIGSEGV)
		mprotect((void *)((uintptr_t)si->si_addr & ~4095ul), 4096,
			 PROT_READ | PROT_WRITE);
	else if (sig == SIGILL)
		u->uc_mcontext.gregs[REG_RIP] += 2;
}

static void repairs(void)
{
	unsigned char flags = 0;

	catch(SIGSEGV, repair);
	catch(SIGILL, repair);
	for (int i = 0; i < 100; i++) {
		mprotect((void *)page, 4096, PROT_READ);
		page[i]++;
		__asm__ volatile("cmp %%rax, %%rax\n ud2\n sete %0"
				 : "=m"(flags) : : "cc");
		repaired += flags;
	}
	printf("repaired %d\n", repaired);
}

/* The trap flag: a count of instructions, and where each was. */
static volatile int steps;
static volatile unsigned long trail, first;

static void step(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *u = ctx;
	unsigned long rip = (unsigned long)u->uc_mcontext.gregs[REG_RIP];

	(void)sig;
	if (!steps++)
		first = rip;
	trail = trail * 31 + rip - first + (unsigned long)si->si_code;
}

static void single_steps(void)
{
	unsigned long a = 1, b = 10;
	char from[64] = "abc", to[64];

	catch(SIGTRAP, step);
	__asm__ volatile(
		"sub $128, %%rsp\n"
		"pushf\n orl $0x100, (%%rsp)\n popf\n"
		"1: imul $3, %0\n xor %1, %0\n dec %1\n jnz 1b\n"
		"mov $5, %%ecx\n cld\n rep movsb\n"
		"push %0\n pop %0\n cpuid\n nop\n"
		"pushf\n andl $~0x100, (%%rsp)\n popf\n nop\n"
		"add $128, %%rsp\n"
		: "+&r"(a), "+&r"(b) : "S"(from), "D"(to)
		: "rax", "rbx", "rcx", "rdx", "cc", "memory");
	printf("%d steps, %lx, trail %lx\n", steps, a, trail);
}

int main(void)
{
	static char stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	FILE *f = tmpfile();

	sigaltstack(&ss, NULL);
	if (!f || ftruncate(fileno(f), 4096))
		return 2;
	page = mmap(NULL, 16384, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mmap((void *)(page + 4096), 8192, PROT_READ, MAP_PRIVATE | MAP_FIXED,
	     fileno(f), 0);
	mprotect((void *)(page + 4096), 4096, PROT_NONE);
	mprotect((void *)page, 4096, PROT_READ);
	for (int s = SIGILL; s <= SIGSEGV; s++)
		if (s != SIGKILL && s != SIGABRT)
			catch(s, report);
	faults();
	floats();
	repairs();
	single_steps();
	return 0;
}
