/* SPDX-License-Identifier: Apache-2.0 */
/* The host CPU as an oracle, in a child process. */
#include "tests/diff/host.h"

#include <asm/ldt.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define HANG_MS 60000 /* a batch takes milliseconds */

struct host {
	pid_t pid;
	int to[2], from[2];
	unsigned max;
	struct diff_case *cases;
};

struct area {
	uint64_t gpr[16];
	uint64_t flags, fsbase, gsbase;
	uint16_t sreg[4];
	uint64_t frame[5];
	uint64_t host_rsp, host_fs;
	uint32_t mxcsr, pad;
	uint64_t exit64;
	struct __attribute__((packed)) {
		uint32_t offset;
		uint16_t selector;
	} exit32;
	uint8_t fx[512] __attribute__((aligned(64)));
};
_Static_assert(offsetof(struct area, flags) == AREA_FLAGS, "enter.h");
_Static_assert(offsetof(struct area, sreg) == AREA_SREG, "enter.h");
_Static_assert(offsetof(struct area, frame) == AREA_FRAME, "enter.h");
_Static_assert(offsetof(struct area, host_fs) == AREA_HOST_FS, "enter.h");
_Static_assert(offsetof(struct area, mxcsr) == AREA_MXCSR, "enter.h");
_Static_assert(offsetof(struct area, exit64) == AREA_EXIT64, "enter.h");
_Static_assert(offsetof(struct area, exit32) == AREA_EXIT32, "enter.h");
_Static_assert(offsetof(struct area, fx) == AREA_FX, "enter.h");

void diff_enter(void);
void diff_on_signal(int sig, siginfo_t *si, void *ctx);
void diff_signal(int sig, siginfo_t *si, void *ctx);
extern const uint8_t diff_leave[], diff_leave_end[], diff_back[];

static struct area *const area = (struct area *)(uintptr_t)DIFF_AREA;
static struct diff_case *volatile now; /* the case that runs */

/* --- alike on both sides ------------------------------------------------ */

void diff_fill(uint8_t *p, unsigned len)
{
	uint64_t z = 1;

	for (unsigned i = 0; i < len; i += 8) {
		z = z * 6364136223846793005ull + 1442695040888963407ull;
		z ^= z >> 29;
		memcpy(p + i, &z, 8);
	}
}

void diff_put_code(uint8_t *code, const struct diff_case *c)
{
	uint32_t at = c->code_at - DIFF_CODE, exit = DIFF_AREA;
	uint8_t bytes[DIFF_CODE_MAX + 8], *p = bytes + c->code_len;
	uint32_t len = c->code_len;

	memcpy(bytes, c->code, len);
	*p++ = 0xff;
	if (c->compat) { /* jmp far [disp32] */
		*p++ = 0x2d;
		exit += AREA_EXIT32;
	} else { /* jmp [disp32] */
		*p++ = 0x24;
		*p++ = 0x25;
		exit += AREA_EXIT64;
	}
	memcpy(p, &exit, 4);
	len = (uint32_t)(p + 4 - bytes);
	if (len > DIFF_CODE_SIZE - at)
		len = DIFF_CODE_SIZE - at;
	memcpy(code + at, bytes, len);
}

/* --- the child ---------------------------------------------------------- */

static void take_fault(struct diff_out *o, const mcontext_t *mc)
{
	static const int order[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
		REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11,
		REG_R12, REG_R13, REG_R14, REG_R15,
	};

	for (int i = 0; i < 16; i++)
		o->s.gpr[i] = (uint64_t)mc->gregs[order[i]];
	o->s.rip = (uint64_t)mc->gregs[REG_RIP];
	o->s.rflags = (uint64_t)mc->gregs[REG_EFL];
	memcpy(o->s.fx, mc->fpregs, sizeof(o->s.fx));
	o->vec = (int32_t)mc->gregs[REG_TRAPNO];
	o->err = (uint32_t)mc->gregs[REG_ERR];
	o->cr2 = o->vec == 14 ? (uint64_t)mc->gregs[REG_CR2] : 0;
}

/* From diff_on_signal. */
void diff_signal(int sig, siginfo_t *si, void *ctx)
{
	mcontext_t *mc = &((ucontext_t *)ctx)->uc_mcontext;
	struct diff_out *o = &now->host;
	uint64_t rip = (uint64_t)mc->gregs[REG_RIP];

	(void)sig;
	(void)si;
	if (now->stepping && mc->gregs[REG_TRAPNO] == 1 &&
	    o->steps < DIFF_STEPS_MAX) {
		o->steps++;
		o->trace = diff_trace(o->trace, rip);
		if (rip == DIFF_LEAVE)
			mc->gregs[REG_EFL] &= ~0x100ll;
		return;
	}
	take_fault(o, mc);
	mc->gregs[REG_RIP] = (long long)(uintptr_t)diff_back;
	mc->gregs[REG_EFL] = 2;
	/* CS and SS at the ends of the field */
	mc->gregs[REG_CSGSFS] = DIFF_CS64 | (long long)DIFF_DS << 48;
}

static void run_case(struct diff_case *c)
{
	struct diff_out *o = &c->host;

	memcpy((void *)(uintptr_t)DIFF_DATA, c->data, DIFF_DATA_SIZE);
	diff_put_code((uint8_t *)(uintptr_t)DIFF_CODE, c);
	memcpy(area->gpr, c->in.gpr, sizeof(area->gpr));
	memcpy(area->fx, c->in.fx, sizeof(area->fx));
	area->fsbase = c->in.fsbase;
	area->gsbase = c->in.gsbase;
	area->sreg[3] = c->compat ? DIFF_GS32 : 0;
	area->frame[0] = c->code_at;
	area->frame[1] = c->compat ? DIFF_CS32 : DIFF_CS64;
	area->frame[2] = c->in.rflags;
	area->frame[3] = c->in.gpr[4];
	area->frame[4] = DIFF_DS;
	now = c;
	o->steps = 0;
	o->trace = 0;
	o->vec = DIFF_END; /* unless diff_signal() says otherwise */
	diff_enter();
	if (o->vec == DIFF_END) {
		memcpy(o->s.gpr, area->gpr, sizeof(o->s.gpr));
		memcpy(o->s.fx, area->fx, sizeof(o->s.fx));
		o->s.rflags = area->flags;
		o->s.rip = DIFF_LEAVE;
		o->err = 0;
		o->cr2 = 0;
	}
	memcpy(o->s.sreg, area->sreg, sizeof(o->s.sreg));
	o->s.fsbase = area->fsbase;
	o->s.gsbase = area->gsbase;
	memcpy(o->data, (void *)(uintptr_t)DIFF_DATA, DIFF_DATA_SIZE);
}

static uint8_t *map_at(uint32_t addr, size_t len, int prot)
{
	void *p = mmap((void *)(uintptr_t)addr, len, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE |
		       MAP_POPULATE, -1, 0);

	if (p != (void *)(uintptr_t)addr) {
		perror("differential test: map low memory");
		_exit(3);
	}
	return p;
}

static void map_all(void)
{
	uint8_t *p;

	map_at(DIFF_DATA, DIFF_DATA_SIZE, PROT_READ | PROT_WRITE);
	p = map_at(DIFF_RO, 0x1000, PROT_READ | PROT_WRITE);
	diff_fill(p, 0x1000);
	mprotect(p, 0x1000, PROT_READ);
	map_at(DIFF_CODE, DIFF_CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	map_at(DIFF_AREA, 0x1000, PROT_READ | PROT_WRITE);
	p = map_at(DIFF_LEAVE, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC);
	memcpy(p, diff_leave, (size_t)(diff_leave_end - diff_leave));
	area->mxcsr = 0x1f80;
	area->exit64 = DIFF_LEAVE;
	area->exit32.offset = DIFF_LEAVE;
	area->exit32.selector = DIFF_CS64;
}

/* A segment that is not flat, for 32-bit code. */
static void make_segment(void)
{
	struct user_desc *d = (struct user_desc *)area;
	long ret;

	*d = (struct user_desc){
		.entry_number = DIFF_GS32 >> 3, .base_addr = DIFF_GSBASE,
		.limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1,
		.useable = 1,
	};

	/* set_thread_area() is a 32-bit system call; area lies low */
	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(243), "b"(d)
			 : "memory", "r8", "r9", "r10", "r11");
	if ((int)ret) {
		fputs("differential test: set_thread_area\n", stderr);
		_exit(3);
	}
}

/* From here on: read, write, sigreturn, exit. The rest kills. */
static void lock_up(void)
{
#define ALLOW(nr)                                            \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1),     \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xc000003e, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_read), ALLOW(SYS_write), ALLOW(SYS_rt_sigreturn),
		ALLOW(SYS_exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { sizeof(f) / sizeof(f[0]), f };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog)) {
		perror("differential test: seccomp");
		_exit(3);
	}
}

static void child(struct host *h)
{
	static const int sigs[] = { SIGFPE, SIGSEGV, SIGILL, SIGTRAP, SIGBUS };
	static uint8_t stack[1 << 17];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = {
		.sa_sigaction = diff_on_signal,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
	};
	uint32_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	map_all();
	make_segment();
	sigaltstack(&ss, NULL);
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &sa, NULL);
	dup2(h->to[0], 0);
	dup2(h->from[1], 1);
	syscall(SYS_close_range, 2, ~0u, 0);
	lock_up();
	while (read(0, &n, sizeof(n)) == sizeof(n)) {
		for (uint32_t i = 0; i < n; i++)
			run_case(&h->cases[i]);
		if (write(1, &n, sizeof(n)) != sizeof(n))
			break;
	}
	_exit(0);
}

/* --- the parent --------------------------------------------------------- */

const char *host_cannot(void)
{
	if (!(getauxval(AT_HWCAP2) & 2)) /* HWCAP2_FSGSBASE */
		return "the host's kernel does not let us set FS and GS";
	if (!__builtin_cpu_supports("sse4.2") ||
	    !__builtin_cpu_supports("popcnt"))
		return "the host is no x86-64-v2";
	return NULL;
}

int host_answers(void)
{
#ifdef __SANITIZE_ADDRESS__
	return 0;
#else
	return 1;
#endif
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
	fflush(NULL);
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
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
	munmap(h->cases, sizeof(*h->cases) * h->max);
	free(h);
}

struct diff_case *host_cases(struct host *h)
{
	return h->cases;
}

int host_run(struct host *h, unsigned n)
{
	struct pollfd p = { .fd = h->from[0], .events = POLLIN };
	uint32_t v = n;

	if (!host_answers())
		return 0;
	if (write(h->to[1], &v, sizeof(v)) != sizeof(v) ||
	    poll(&p, 1, HANG_MS) != 1 ||
	    read(h->from[0], &v, sizeof(v)) != sizeof(v) || v != n)
		return -1;
	return 0;
}
