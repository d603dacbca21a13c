/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start the command: a new session, in its cgroup from its first instruction.
 *
 * The child shares our memory until it executes (CLONE_VM | CLONE_VFORK): no
 * page table is copied, and it leaves the errno of what failed in struct
 * spawn. It has a stack of its own, so nothing of ours is overwritten.
 */
#include "rootfs/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *env_get(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; *env; env++) {
		if (!strncmp(*env, name, len) && (*env)[len] == '=')
			return *env + len + 1;
	}
	return NULL;
}

static void env_default(struct spawn *sp, size_t *n, const char *name,
			char *entry)
{
	if (!env_get(sp->cmd.env, name))
		sp->env[(*n)++] = entry;
}

void spawn_env(struct spawn *sp)
{
	char *const *given;
	size_t n = 0;

	sp->home[0] = '\0';
	say_add(sp->home, sizeof(sp->home), "HOME=");
	say_add(sp->home, sizeof(sp->home), sp->user.home);
	env_default(sp, &n, "PATH", "PATH=" AGENT_PATH);
	env_default(sp, &n, "HOME", sp->home);
	env_default(sp, &n, "HOSTNAME", "HOSTNAME=" AGENT_HOSTNAME);
	if (sp->cmd.head.flags & WIRE_EXEC_TTY)
		env_default(sp, &n, "TERM", "TERM=xterm");
	for (given = sp->cmd.env; *given; given++)
		sp->env[n++] = *given;
	sp->env[n] = NULL;
}

int spawn_exec(const char *path, char *const *argv, char *const *env)
{
	char file[PATH_MAX];
	size_t len, nlen = strlen(argv[0]);
	int error = ENOENT;

	if (strchr(argv[0], '/') || !nlen) {
		execve(argv[0], argv, env);
		return errno;
	}
	for (;; path += len + 1) {
		len = strcspn(path, ":");
		/* An empty element is the working directory: "./name". */
		if (len + nlen + 3 <= sizeof(file)) {
			memcpy(file, path, len);
			if (!len)
				file[len++] = '.';
			file[len] = '/';
			memcpy(file + len + 1, argv[0], nlen + 1);
			execve(file, argv, env);
			if (errno != ENOENT && errno != ENOTDIR &&
			    errno != EACCES)
				return errno;
			if (errno == EACCES)
				error = EACCES;
			len = strcspn(path, ":");
		}
		if (!path[len])
			return error;
	}
}

uint32_t spawn_exit_code(enum wire_stage stage, int error)
{
	return stage == WIRE_STAGE_EXEC && error == ENOENT ? 127 : 126;
}

/* Volumes are where no path leads. */
static int is_volume(const struct spawn *sp)
{
	return sp->cmd.head.flags & WIRE_EXEC_AGENT &&
	       !strcmp(sp->cmd.argv[0], WIRE_TREE_VOLUME);
}

/* As with Docker, a working directory that is not there is made. (The child
 * owns the frame's bytes while we wait.) */
static int enter_cwd(const struct spawn *sp)
{
	char *cwd = (char *)sp->cmd.cwd;

	if (is_volume(sp))
		return fchdir(sp->upper) ? errno : 0;
	if (!chdir(*cwd ? cwd : "/"))
		return 0;
	if (errno == ENOENT && !make_dirs(cwd) && !chdir(cwd))
		return 0;
	return errno;
}

static int become(const struct user *u)
{
	gid_t gid = u->gid;

	if (!u->uid && !u->gid && !u->ngroups)
		return 0;
	/* The bare calls: libc's would tell its threads, which are ours. */
	if (syscall(SYS_setgroups, u->ngroups, u->groups) ||
	    syscall(SYS_setresgid, gid, gid, gid) ||
	    syscall(SYS_setresuid, u->uid, u->uid, u->uid))
		return errno;
	return 0;
}

/* By descriptor: no path leads to us, and none has to. */
static int exec_self(struct spawn *sp)
{
	syscall(SYS_execveat, sp->self, "", sp->cmd.argv, sp->env,
		AT_EMPTY_PATH);
	return errno;
}

static _Noreturn void fail(struct spawn *sp, enum wire_stage stage, int error)
{
	sp->stage = stage;
	sp->error = error;
	_exit(127);
}

static _Noreturn void child(struct spawn *sp)
{
	const char *path = env_get(sp->env, "PATH");
	sigset_t none;
	int i, error;

	setsid();
	/* The sources are above 2 and close-on-exec; the copies are not. */
	for (i = 0; i < 3; i++) {
		if (dup2(sp->fd[i], i) < 0)
			fail(sp, WIRE_STAGE_FORK, errno);
	}
	if (sp->cmd.head.flags & WIRE_EXEC_TTY)
		ioctl(STDIN_FILENO, TIOCSCTTY, 0);
	error = enter_cwd(sp);
	if (error)
		fail(sp, WIRE_STAGE_CWD, error);
	error = become(&sp->user);
	if (error)
		fail(sp, WIRE_STAGE_USER, error);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (sp->cmd.head.flags & WIRE_EXEC_AGENT)
		error = exec_self(sp);
	else
		error = spawn_exec(path, sp->cmd.argv, sp->env);
	fail(sp, WIRE_STAGE_EXEC, error);
}

/*
 * clone3(2) whose child calls fn(arg), which does not return, on the stack that
 * @args names. The kernel keeps all registers but rax, rcx and r11 for both.
 */
static long clone3_call(struct clone_args *args, void (*fn)(struct spawn *),
			struct spawn *arg)
{
	long ret = SYS_clone3;
	register struct spawn *a __asm__("r12") = arg;
	register void *f __asm__("r13") = (void *)fn;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r12, %%rdi\n\t"
			 "call *%%r13\n\t"
			 "ud2\n"
			 "1:"
			 : "+a"(ret)
			 : "D"(args), "S"(sizeof(*args)), "r"(a), "r"(f)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

pid_t spawn_start(struct spawn *sp)
{
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)sp->stack,
		.stack_size = sizeof(sp->stack),
	};
	long pid;

	if (sp->cgroup >= 0) {
		/* Moving a running process would cost an RCU grace period. */
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)sp->cgroup;
	}
	sp->stage = WIRE_STAGE_RUN;
	sp->error = 0;
	pid = clone3_call(&args, child, sp);
	if (pid < 0) {
		sp->stage = WIRE_STAGE_FORK;
		sp->error = (int)-pid;
	}
	return sp->error ? -1 : (pid_t)pid;
}
