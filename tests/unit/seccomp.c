/* SPDX-License-Identifier: Apache-2.0 */
/* What a locked thread may do, each attempt in a process of its own. */
#include <assert.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/lock.h"
#include "jail/seccomp_rules.h"
#include "runner/base/mem.h"

#define ALIVE 42
#define LAST_CALL 511 /* x86-64 has none above, but x32's are at 512 */
#define X32 0x40000000
#define VMM_ROLES LOCK_UNPACK /* those before it */

struct attempt {
	long nr;
	unsigned long arg[6];
};

static int vcpu(enum lock_role role)
{
	return role == LOCK_KVM_VCPU || role == LOCK_SOFT_VCPU;
}

/* The one way out that this role has. */
static _Noreturn void leave(enum lock_role role, int code)
{
	for (;;)
		syscall(vcpu(role) ? SYS_exit : SYS_exit_group, code);
}

static void lock(enum lock_role role)
{
	const struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (lock_seccomp(role) < 0)
		_exit(1);
}

/* How a child ends that is locked as @role and then does @fn: an exit code, or
 * a signal's negative number. */
static int after(enum lock_role role, void (*fn)(const void *arg),
		 const void *arg)
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		lock(role);
		fn(arg);
		leave(role, ALIVE);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void call(const void *arg)
{
	const struct attempt *a = arg;

	syscall(a->nr, a->arg[0], a->arg[1], a->arg[2], a->arg[3], a->arg[4],
		a->arg[5]);
}

static int attempt(enum lock_role role, const struct attempt *a)
{
	return after(role, call, a);
}

#ifdef MAYFLY_SAN

Test(seccomp, sanitizer_build_has_a_wide_filter_and_does_not_count_it)
{
	const struct attempt network = { .nr = SYS_socket };
	const struct attempt maps = { .nr = SYS_getppid };

	for (int i = 0; i < LOCK_ROLES; i++) {
		cr_expect(seccomp_role[i].inverted);
		cr_expect_eq(attempt(i, &network), -SIGSYS);
		cr_expect_eq(attempt(i, &maps), ALIVE);
	}
	cr_expect_eq(lock_landlock(), 0);
	cr_expect_eq(lock_seccomp(LOCK_SOFT_MAIN), 0);
}

#else

/* --- the tables --------------------------------------------------------- */

static int same(const struct seccomp_rule *a, const struct seccomp_rule *b)
{
	return a->nr == b->nr && a->nconds == b->nconds &&
	       memcmp(a->cond, b->cond, sizeof(a->cond)) == 0;
}

Test(seccomp, every_rule_has_a_reason_and_stands_once)
{
	for (int i = 0; i < LOCK_ROLES; i++) {
		const struct seccomp_role *role = &seccomp_role[i];

		cr_expect(!role->inverted);
		for (unsigned k = 0; k < role->n; k++) {
			const struct seccomp_rule *r = &role->rule[k];

			cr_expect(r->why && strlen(r->why) >= 4, "%s: %d",
				  role->name, r->nr);
			for (unsigned j = 0; j < k; j++)
				cr_expect(!same(r, &role->rule[j]), "%s: %d",
					  role->name, r->nr);
		}
	}
}

Test(seccomp, vcpu_thread_may_do_far_less)
{
	cr_expect_lt(seccomp_role[LOCK_KVM_VCPU].n * 2,
		     seccomp_role[LOCK_KVM_MAIN].n);
	cr_expect_lt(seccomp_role[LOCK_SOFT_VCPU].n * 2,
		     seccomp_role[LOCK_SOFT_MAIN].n);
}

static int allows(enum lock_role role, const struct attempt *a)
{
	for (unsigned i = 0; i < seccomp_role[role].n; i++) {
		const struct seccomp_rule *r = &seccomp_role[role].rule[i];
		int ok = r->nr == a->nr;

		for (unsigned k = 0; k < r->nconds; k++) {
			const struct seccomp_cond *c = &r->cond[k];
			uint64_t mask = c->mask ? c->mask : ~0ull;

			ok &= (a->arg[c->arg] & mask) == c->is;
		}
		if (ok)
			return 1;
	}
	return 0;
}

/* What unpacks has files to make, and a parser has memory to. */
static int may_pass(enum lock_role role, int nr)
{
	if (nr == SYS_openat)
		return role == LOCK_UNPACK || role == LOCK_ARCHIVE ||
		       role == LOCK_PACK;
	return (nr == SYS_mmap || nr == SYS_mremap) && role >= LOCK_LAYER &&
	       role <= LOCK_PACK;
}

/* Doors, whatever the tables say one day. */
Test(seccomp, no_role_opens_connects_maps_or_makes_processes)
{
	static const int doors[] = {
		SYS_open, SYS_openat, SYS_openat2, SYS_creat, SYS_socket,
		SYS_connect, SYS_bind, SYS_execve, SYS_execveat, SYS_fork,
		SYS_vfork, SYS_clone, SYS_clone3, SYS_ptrace, SYS_mount,
		SYS_setns, SYS_unshare, SYS_bpf, SYS_keyctl, SYS_prctl,
		SYS_mmap, SYS_mprotect, SYS_pkey_mprotect, SYS_mremap,
		SYS_remap_file_pages, SYS_shmat, SYS_memfd_create,
		SYS_personality, SYS_arch_prctl, SYS_seccomp, SYS_kill,
		SYS_tkill, SYS_process_vm_readv, SYS_process_vm_writev,
		SYS_pidfd_open, SYS_pidfd_getfd, SYS_io_uring_setup,
		SYS_userfaultfd, SYS_perf_event_open, SYS_dup, SYS_fcntl,
		SYS_rt_sigaction, SYS_modify_ldt, SYS_iopl, SYS_ioperm,
	};

	for (int i = 0; i < LOCK_ROLES; i++)
		for (size_t k = 0; k < ARRAY_SIZE(doors); k++)
			for (unsigned j = 0; j < seccomp_role[i].n; j++)
				cr_expect(seccomp_role[i].rule[j].nr !=
						  doors[k] ||
					  may_pass(i, doors[k]),
					  "%s: %d", seccomp_role[i].name,
					  doors[k]);
}

/* --- the filters -------------------------------------------------------- */

/* -1 is no descriptor and no address; nothing happens. */
static struct attempt of_rule(const struct seccomp_rule *r)
{
	struct attempt a = { .nr = r->nr, .arg = { -1ul } };

	for (unsigned i = 0; i < r->nconds; i++)
		a.arg[r->cond[i].arg] = r->cond[i].is;
	return a;
}

static void what_the_table_allows(enum lock_role role)
{
	for (unsigned i = 0; i < seccomp_role[role].n; i++) {
		struct attempt a = of_rule(&seccomp_role[role].rule[i]);

		/* without a signal's frame on the stack there is no return */
		if (a.nr == SYS_rt_sigreturn)
			continue;
		if (a.nr == SYS_exit || a.nr == SYS_exit_group)
			a.arg[0] = ALIVE;
		cr_expect_eq(attempt(role, &a), ALIVE, "%s: %ld",
			     seccomp_role[role].name, a.nr);
	}
}

static void what_it_does_not(enum lock_role role)
{
	for (long nr = -1; nr <= LAST_CALL; nr++) {
		const struct attempt a = { .nr = nr, .arg = { -1ul } };

		/* uretprobe and uprobe: the kernel's own, past any filter, and
		 * a SIGILL for who comes from elsewhere */
		if (nr == 335 || nr == 336)
			continue;
		if (!allows(role, &a))
			cr_expect_eq(attempt(role, &a), -SIGSYS, "%s: %ld",
				     seccomp_role[role].name, nr);
	}
}

static void other_arguments(enum lock_role role)
{
	static const uint64_t differ[] = { 1, 2, 64, 1 << 30, 1ull << 32 };

	for (unsigned i = 0; i < seccomp_role[role].n; i++) {
		const struct seccomp_rule *r = &seccomp_role[role].rule[i];

		for (unsigned k = 0; k < r->nconds * ARRAY_SIZE(differ); k++) {
			struct attempt a = of_rule(r);

			a.arg[r->cond[k % r->nconds].arg] ^=
				differ[k / r->nconds];
			if (!allows(role, &a))
				cr_expect_eq(attempt(role, &a), -SIGSYS,
					     "%s: %ld", seccomp_role[role].name,
					     a.nr);
		}
	}
}

static void x32(enum lock_role role)
{
	for (unsigned i = 0; i < seccomp_role[role].n; i++) {
		struct attempt a = of_rule(&seccomp_role[role].rule[i]);

		a.nr |= X32;
		cr_expect_eq(attempt(role, &a), -SIGSYS, "%s: %ld",
			     seccomp_role[role].name, a.nr);
	}
}

static void each_role(void (*fn)(enum lock_role role))
{
	for (int i = 0; i < LOCK_ROLES; i++)
		fn(i);
}

Test(seccomp, allowed_calls_pass, .timeout = 60)
{
	each_role(what_the_table_allows);
}

Test(seccomp, every_other_number_kills, .timeout = 120)
{
	each_role(what_it_does_not);
}

Test(seccomp, allowed_calls_with_other_arguments_kill, .timeout = 60)
{
	each_role(other_arguments);
}

Test(seccomp, unpacker_lends_nobody_its_owners_rights)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	struct attempt mode = { SYS_fchmod, { -1ul, 0755 } };
	struct attempt file = { SYS_openat, { -1ul, 0, (unsigned)flags, 0600 } };

	cr_expect_eq(attempt(LOCK_UNPACK, &mode), ALIVE);
	cr_expect_eq(attempt(LOCK_UNPACK, &file), ALIVE);
	for (unsigned long bit = S_ISVTX; bit <= S_ISUID; bit <<= 1) {
		mode.arg[1] = bit | 0755;
		file.arg[3] = bit | 0600;
		cr_expect_eq(attempt(LOCK_UNPACK, &mode), -SIGSYS);
		cr_expect_eq(attempt(LOCK_UNPACK, &file), -SIGSYS);
	}
}

/* A connected socket sends anywhere if it is told where. */
Test(seccomp, forwarder_chooses_addresses_towards_the_guest_only)
{
	struct attempt a = { SYS_sendto, { -1ul, 0, 0, MSG_NOSIGNAL, 8, 16 } };

	cr_expect_eq(attempt(LOCK_DNS, &a), -SIGSYS);
	for (unsigned long fd = 0; fd < 8; fd++) {
		int guest = fd - LOCK_DNS_UDP < 2;

		a.arg[0] = fd;
		cr_expect_eq(attempt(LOCK_DNS, &a), guest ? ALIVE : -SIGSYS,
			     "%lu", fd);
	}
	a.arg[4] = 0;
	cr_expect_eq(attempt(LOCK_DNS, &a), ALIVE);
}

/* Whoever can write to another of its sockets gives it nothing. */
Test(seccomp, forwarder_takes_descriptors_from_the_launcher_only)
{
	struct attempt a = { SYS_recvmsg, { 0, 0, MSG_CMSG_CLOEXEC } };

	for (unsigned long fd = 0; fd < 8; fd++) {
		a.arg[0] = fd;
		cr_expect_eq(attempt(LOCK_DNS, &a),
			     fd == LOCK_DNS_CONTROL ? ALIVE : -SIGSYS, "%lu",
			     fd);
	}
	a.arg[0] = LOCK_DNS_CONTROL;
	a.arg[2] = 0;
	cr_expect_eq(attempt(LOCK_DNS, &a), -SIGSYS);
}

Test(seccomp, calls_of_x32_kill, .timeout = 60)
{
	each_role(x32);
}

static void int_80(const void *arg)
{
	long nr = 20; /* getpid */

	(void)arg;
	__asm__ volatile("int $0x80" : "+a"(nr) : : "memory");
}

Test(seccomp, calls_of_i386_kill)
{
	for (int i = 0; i < LOCK_ROLES; i++) {
		int r = after(i, int_80, NULL);

		/* a kernel without 32-bit programs has no such gate */
		cr_expect(r == -SIGSYS || r == -SIGSEGV, "%d", r);
	}
}

Test(seccomp, executable_memory_kills)
{
	const struct attempt map = { SYS_mmap, {
		0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		-1ul } };
	const struct attempt protect = { SYS_mprotect, {
		0, 4096, PROT_READ | PROT_EXEC } };

	for (int i = 0; i < LOCK_ROLES; i++) {
		cr_expect_eq(attempt(i, &map), -SIGSYS);
		cr_expect_eq(attempt(i, &protect), -SIGSYS);
	}
}

/* --- threads, signals, the C library ------------------------------------ */

static void *refused_call(void *arg)
{
	(void)arg;
	lock(LOCK_SOFT_VCPU);
	syscall(SYS_getppid);
	return NULL;
}

Test(seccomp, refused_call_of_one_thread_ends_all, .timeout = 60)
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		pthread_t t;

		pthread_create(&t, NULL, refused_call, NULL);
		for (;;)
			pause();
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void be_signalled(const void *arg)
{
	(void)arg;
	/* pending since before: delivered at the end of this call */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(unsigned long){ 0 }, NULL,
		8);
}

Test(seccomp, signal_comes_and_the_thread_goes_on)
{
	sigset_t usr1;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	for (int i = 0; i < VMM_ROLES; i++) {
		int status;
		pid_t pid = fork();

		cr_assert_geq(pid, 0);
		if (pid == 0) {
			signal(SIGUSR1, on_signal);
			sigprocmask(SIG_BLOCK, &usr1, NULL);
			raise(SIGUSR1);
			lock(i);
			be_signalled(NULL);
			leave(i, ALIVE);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == ALIVE);
	}
}

/* What the C library does for words about an error, on any thread. */
static void make_words(const void *arg)
{
	char text[128];

	(void)arg;
	snprintf(text, sizeof(text), "%s at %#llx", strerror(EFAULT),
		 1ull << 40);
}

static void read_clocks(const void *arg)
{
	struct timespec ts;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
}

Test(seccomp, words_about_an_error_can_be_made)
{
	for (int i = 0; i < LOCK_ROLES; i++)
		cr_expect_eq(after(i, make_words, NULL), ALIVE);
}

Test(seccomp, clocks_can_be_read)
{
	for (int i = 0; i < VMM_ROLES; i++)
		cr_expect_eq(after(i, read_clocks, NULL), ALIVE);
}

void __stack_chk_fail(void);

/*
 * PID 1 of a namespace ignores its own SIGABRT. What ends it is the filter,
 * which abort() runs into, as a stack that was smashed and an assertion do.
 */
static int as_pid_1(enum lock_role role, int how)
{
	unsigned long flags = CLONE_NEWPID | SIGCHLD;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		flags |= CLONE_NEWUSER;
	pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0);
	if (pid < 0)
		return 0;
	if (pid == 0) {
		close(STDERR_FILENO);
		lock(role);
		if (how == 0)
			abort();
		if (how == 1)
			__stack_chk_fail();
		__assert_fail("1 == 2", "here", 1, "it");
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
}

Test(seccomp, abort_ends_pid_1_of_a_namespace, .timeout = 60)
{
	for (int i = 0; i < LOCK_ROLES; i++)
		for (int how = 0; how < 3; how++) {
			int r = as_pid_1(i, how);

			if (r == 0)
				cr_skip_test("no pid namespace here");
			cr_expect_eq(r, SIGSYS, "%d", r);
		}
}

#endif
