/* SPDX-License-Identifier: Apache-2.0 */
/* The first jail: a child of the launcher gives up all that it can. */
#include "jail/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stddef.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

/*
 * Theory of operation
 *
 * mayfly-vmm runs next to a guest that may take it over. What the process
 * cannot reach, the guest cannot reach, so the launcher opens everything
 * beforehand, and the child walks down these steps before the program starts.
 * Each step either succeeds or ends the child; none is "best effort", but
 * where one names what it does without.
 *
 *   session      A session of its own: a terminal's ^C goes to the launcher,
 *		  which decides. Should: not be reachable by job control.
 *   parent	  SIGKILL when the launcher's thread ends. The parent may have
 *		  died before the call: looked at afterwards, so no gap.
 *   signals	  Dispositions and mask as a new process has them; the
 *		  launcher's own must not leak through execve().
 *   room	  Working directory /, umask 077. (The empty root directory and
 *		  the namespaces are later steps of this list.)
 *   limits	  No core file: it would hold the guest's memory.
 *   privileges	  no_new_privs, then the ambient and bounding sets, then every
 *		  capability. Mustn't: regain one by execve() as user 0, hence
 *		  the bounding set and the locked securebits, both of which need
 *		  CAP_SETPCAP and so come before the last drop. A caller
 *		  without capabilities has none to lose there.
 *   descriptors  0, 1 (and 2) are /dev/null, 3 is the control socket, 4 the
 *		  program, closed by execve(); everything above is gone. Last,
 *		  since the steps above may need what the launcher had open.
 *   program	  execveat() of the open binary with an empty environment: no
 *		  path is looked up, no variable reaches the program.
 *
 * The program's own steps (dumpable, Landlock, seccomp) follow in
 * runner/vmm/main.c: execve() resets the first, and the last two would forbid
 * the execve().
 */

#define PROGRAM_FD (JAIL_CONTROL_FD + 1)

static int step_session(struct jail *j, struct err *err)
{
	(void)j;
	return setsid() < 0 ? err_set(err, -errno, "setsid") : 0;
}

static int step_parent(struct jail *j, struct err *err)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_set(err, -errno, "PR_SET_PDEATHSIG");
	if (getppid() != j->parent)
		return err_say(err, -ESRCH, "the launcher is gone");
	return 0;
}

static int step_signals(struct jail *j, struct err *err)
{
	/* struct kernel_sigaction: SIG_DFL, and nothing else */
	const unsigned long none_of_it[4] = { 0 };
	sigset_t none;

	(void)j;
	/*
	 * By system call, for libc keeps two signals to itself, and what it
	 * spawns (make's recipes, for one) starts with those ignored. SIGKILL
	 * and SIGSTOP refuse, and are right already.
	 */
	for (int n = 1; n < NSIG; n++)
		(void)syscall(SYS_rt_sigaction, n, none_of_it, NULL, NSIG / 8);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return err_set(err, -errno, "sigprocmask");
	return 0;
}

static int step_room(struct jail *j, struct err *err)
{
	(void)j;
	umask(077);
	return chdir("/") < 0 ? err_set(err, -errno, "chdir /") : 0;
}

static int step_limits(struct jail *j, struct err *err)
{
	const struct rlimit none = { 0, 0 };

	(void)j;
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_set(err, -errno, "RLIMIT_CORE");
	return 0;
}

/* The two things that only CAP_SETPCAP may do. */
static int forbid_regaining(struct err *err)
{
	for (cap_value_t c = 0; CAP_IS_SUPPORTED(c); c++)
		if (cap_drop_bound(c) < 0)
			return err_set(err, -errno, "drop bounding set");
	/* No capability for being user 0, none kept over a change of user. */
	if (cap_set_secbits(
		    SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
		    SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
		    SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
		    SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED) < 0)
		return err_set(err, -errno, "securebits");
	return 0;
}

static void cleanup_cap(cap_t *c)
{
	if (*c)
		cap_free(*c);
}

static int step_privileges(struct jail *j, struct err *err)
{
	_cleanup_(cleanup_cap) cap_t none = cap_init();
	_cleanup_(cleanup_cap) cap_t now = cap_get_proc();
	cap_flag_value_t setpcap = CAP_CLEAR;
	int r;

	(void)j;
	if (!none || !now)
		return err_set(err, -errno, "capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, -errno, "PR_SET_NO_NEW_PRIVS");
	if (cap_reset_ambient() < 0)
		return err_set(err, -errno, "clear ambient set");
	cap_get_flag(now, CAP_SETPCAP, CAP_EFFECTIVE, &setpcap);
	r = setpcap == CAP_SET ? forbid_regaining(err) : 0;
	if (r < 0)
		return r;
	if (cap_set_proc(none) < 0)
		return err_set(err, -errno, "drop capabilities");
	return 0;
}

static int place(int from, int to, int flags, struct err *err)
{
	return dup3(from, to, flags) < 0
		       ? err_set(err, -errno, "descriptor %d", to)
		       : 0;
}

static int step_descriptors(struct jail *j, struct err *err)
{
	int null, control, program, r;

	/*
	 * Move all three above the range that is filled, so that no dup3()
	 * covers a descriptor that is still needed.
	 */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_set(err, -errno, "open /dev/null");
	null = fcntl(null, F_DUPFD_CLOEXEC, PROGRAM_FD + 1);
	control = fcntl(j->control_fd, F_DUPFD_CLOEXEC, PROGRAM_FD + 1);
	program = fcntl(j->program_fd, F_DUPFD_CLOEXEC, PROGRAM_FD + 1);
	if (null < 0 || control < 0 || program < 0)
		return err_set(err, -errno, "move descriptors");
	r = place(null, STDIN_FILENO, 0, err);
	if (r == 0)
		r = place(null, STDOUT_FILENO, 0, err);
	if (r == 0 && !j->keep_stderr)
		r = place(null, STDERR_FILENO, 0, err);
	if (r == 0)
		r = place(control, JAIL_CONTROL_FD, 0, err);
	if (r < 0)
		return r;
	j->control_fd = JAIL_CONTROL_FD;
	r = place(program, PROGRAM_FD, O_CLOEXEC, err);
	if (r == 0 && close_range(PROGRAM_FD + 1, ~0u, 0) < 0)
		r = err_set(err, -errno, "close_range");
	return r;
}

static int step_program(struct jail *j, struct err *err)
{
	char *const no_environment[] = { NULL };

	(void)syscall(SYS_execveat, PROGRAM_FD, "", j->argv, no_environment,
		      AT_EMPTY_PATH);
	return err_set(err, -errno, "execute");
}

int jail_enter(struct jail *j, struct err *err)
{
	static const struct {
		const char *name;
		int (*fn)(struct jail *j, struct err *err);
	} step[] = {
		{ "session", step_session },
		{ "parent", step_parent },
		{ "signals", step_signals },
		{ "room", step_room },
		{ "limits", step_limits },
		{ "privileges", step_privileges },
		{ "descriptors", step_descriptors },
		{ "program", step_program },
	};

	for (size_t i = 0; i < ARRAY_SIZE(step); i++) {
		int r = step[i].fn(j, err);

		if (r < 0) {
			err_wrap(err, "jail: %s", step[i].name);
			return r;
		}
	}
	return 0; /* not reached: the last step only comes back to fail */
}
