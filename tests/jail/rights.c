/* SPDX-License-Identifier: Apache-2.0 */
/* Out by a right: capabilities, privileged calls, code, limits. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "tests/jail/probe.h"

/* --- capabilities ------------------------------------------------------- */

static int have_a_capability(const struct world *w)
{
	struct __user_cap_header_struct h = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct d[2];

	(void)w;
	if (syscall(SYS_capget, &h, d) < 0)
		return BROKEN;
	for (int i = 0; i < 2; i++)
		if (d[i].effective | d[i].permitted | d[i].inheritable)
			return REACHED;
	for (int c = 0; c < 64; c++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1)
			return REACHED;
	return HELD;
}

static int may_regain_a_capability(const struct world *w)
{
	(void)w;
	for (int c = 0; c < 64; c++)
		if (prctl(PR_CAPBSET_READ, c) == 1)
			return REACHED;
	return HELD;
}

static int may_gain_by_execve(const struct world *w)
{
	(void)w;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
}

static int become_root(const struct world *w)
{
	(void)w;
	return setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0;
}

static int have_a_group(const struct world *w)
{
	(void)w;
	return getgroups(0, NULL) > 0;
}

/*
 * Calls that ask for a capability before they look at their arguments, which
 * are such that they do no more than that.
 */
static int call_for_the_privileged(const struct world *w)
{
	static const struct {
		long nr, arg[3];
	} call[] = {
		{ SYS_pivot_root, { 0 } },	{ SYS_swapon, { 0 } },
		{ SYS_swapoff, { 0 } },		{ SYS_sethostname, { 0, -1 } },
		{ SYS_setdomainname, { 0, -1 } }, { SYS_init_module, { 0 } },
		{ SYS_delete_module, { 0 } },	{ SYS_kexec_load, { 0, 99 } },
		{ SYS_reboot, { 0 } },		{ SYS_acct, { -1 } },
		{ SYS_syslog, { 8, 0, 99 } },	{ SYS_iopl, { 3 } },
	};

	(void)w;
	for (size_t i = 0; i < ARRAY_SIZE(call); i++) {
		const long *a = call[i].arg;

		if (syscall(call[i].nr, a[0], a[1], a[2]) == 0 ||
		    (errno != EPERM && errno != ENOSYS))
			return REACHED;
	}
	return HELD;
}

/* --- code, and the kernel's larger interfaces ---------------------------- */

static int make_memory_executable(const struct world *w)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)w;
	return p != MAP_FAILED &&
	       mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0;
}

static int map_executable_memory(const struct world *w)
{
	(void)w;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static int map_a_file_as_code(const struct world *w)
{
	(void)w;
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE,
		    given[GIVEN_PROGRAM], 0) != MAP_FAILED;
}

static int execute_memory(const struct world *w)
{
	char name[] = "program", what[] = "reached";
	char *argv[] = { name, what, NULL }, *none[] = { NULL };
	int fd = memfd_create("probe", 0);
	char buf[65536];
	ssize_t n;

	(void)w;
	for (off_t at = 0; (n = pread(given[GIVEN_PROGRAM], buf, sizeof(buf),
				      at)) > 0; at += n)
		if (pwrite(fd, buf, (size_t)n, at) != n)
			return BROKEN;
	syscall(SYS_execveat, fd, "", argv, none, AT_EMPTY_PATH);
	return HELD;
}

static int make_a_process(const struct world *w)
{
	pid_t pid = fork();

	(void)w;
	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static int load_a_program_into_the_kernel(const struct world *w)
{
	static const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr a = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uint64_t)(uintptr_t)code,
		.insn_cnt = ARRAY_SIZE(code),
		.license = (uint64_t)(uintptr_t)"GPL",
	};

	(void)w;
	return syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a)) >= 0;
}

static int make_a_ring(const struct world *w)
{
	char params[120] = { 0 };

	(void)w;
	return syscall(SYS_io_uring_setup, 1, params) >= 0;
}

static int handle_page_faults(const struct world *w)
{
	(void)w;
	return syscall(SYS_userfaultfd, 1 /* user mode only */) >= 0;
}

static int count_events(const struct world *w)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(a),
		.config = PERF_COUNT_SW_CPU_CLOCK,
	};

	(void)w;
	return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0) >= 0;
}

/* --- limits: what is too much fails, and kills nobody -------------------- */

static int open_too_many(const struct world *w)
{
	int fd, most = 0;

	(void)w;
	while (most < FDS_MAX && (fd = dup(CONTROL_FD)) >= 0)
		most = fd;
	return most >= 600;
}

static int write_too_far(const struct world *w)
{
	return pwrite(given[GIVEN_DISK], "x", 1, (off_t)w->file_size) == 1 ||
	       errno != EFBIG;
}

static int lock_memory(const struct world *w)
{
	static char page[4096];

	(void)w;
	return mlock(page, sizeof(page)) == 0;
}

static int queue_messages(const struct world *w)
{
	char name[40];

	snprintf(name, sizeof(name), "%s-own", w->queue);
	if (mq_open(name, O_RDWR | O_CREAT, 0600, NULL) < 0)
		return HELD;
	mq_unlink(name);
	return REACHED;
}

static int dump_core(const struct world *w)
{
	struct rlimit l;

	(void)w;
	return getrlimit(RLIMIT_CORE, &l) < 0 || l.rlim_max != 0;
}

static int make_too_many_processes(const struct world *w)
{
	pid_t pid[2 * TASKS];
	int n = 0;

	(void)w;
	while (n < 2 * TASKS && (pid[n] = fork()) >= 0) {
		if (pid[n] == 0)
			_exit(pause());
		n++;
	}
	for (int i = 0; i < n; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	return n >= 2 * TASKS;
}

#define KILLED SECCOMP
const struct probe probe_rights[] = {
	{ "have a capability", CAPS, .flags = FOR_ROOT,
	  .reach = have_a_capability },
	{ "may regain a capability", CAPS, .flags = NOT_BARE,
	  .reach = may_regain_a_capability },
	{ "may gain by execve", NNP | LANDLOCK | KILLED,
	  .reach = may_gain_by_execve },
	{ "become root", UID | KILLED, .flags = FOR_ROOT,
	  .reach = become_root },
	{ "have a group", UID, .flags = FOR_ROOT | MAY_LACK,
	  .reach = have_a_group },
	{ "call for the privileged", CAPS | UID | KILLED, .flags = FOR_ROOT,
	  .reach = call_for_the_privileged },
	{ "make memory executable", KILLED, .reach = make_memory_executable },
	{ "map executable memory", KILLED, .reach = map_executable_memory },
	{ "map a file as code", KILLED, .reach = map_a_file_as_code },
	{ "execute memory", KILLED, .reach = execute_memory },
	{ "make a process", KILLED, .reach = make_a_process },
	{ "load a program into the kernel", CAPS | UID | KILLED,
	  .flags = FOR_ROOT | MAY_LACK,
	  .reach = load_a_program_into_the_kernel },
	{ "make an io_uring", KILLED, .flags = MAY_LACK,
	  .reach = make_a_ring },
	{ "handle page faults", KILLED, .flags = MAY_LACK,
	  .reach = handle_page_faults },
	{ "count events", KILLED, .flags = MAY_LACK, .reach = count_events },
	{ "open too many", RLIM, .reach = open_too_many },
	{ "write too far", RLIM, .reach = write_too_far },
	{ "lock memory", RLIM, .reach = lock_memory },
	{ "queue messages", RLIM, .flags = MAY_LACK,
	  .reach = queue_messages },
	{ "dump core", RLIM, .reach = dump_core },
	{ "make too many processes", RLIM, .flags = OWN_TASKS,
	  .reach = make_too_many_processes },
	{ .name = NULL },
};
