/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deny: a host that lacks something, for one program.
 *
 *	deny WHAT PROGRAM [ARG...]
 *
 * runs the program where the system calls of WHAT fail as on a host without
 * it: landlock, seccomp, namespaces (a container whose filter does not know
 * clone3(), and refuses clone() with a namespace), or user_namespaces alone.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ARG0  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, \
		       offsetof(struct seccomp_data, args[0]))
#define FAIL(e) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (e))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* Not this call: over the next @n. */
#define UNLESS(call, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, (n))

static struct sock_filter no_user_namespaces[] = {
	NR,
	UNLESS(SYS_clone, 3),
	ARG0,
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 1),
	FAIL(EPERM),
	ALLOW,
};

#define CLONE_NAMESPACES                                                    \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |         \
	 CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWUSER)

static struct sock_filter no_landlock[] = {
	NR,
	UNLESS(SYS_landlock_create_ruleset, 1),
	FAIL(EOPNOTSUPP), /* built in, and not switched on */
	ALLOW,
};

static struct sock_filter no_seccomp[] = {
	NR,
	UNLESS(SYS_seccomp, 1),
	FAIL(ENOSYS),
	ALLOW,
};

static struct sock_filter no_namespaces[] = {
	NR,
	UNLESS(SYS_clone3, 1),
	FAIL(ENOSYS),
	UNLESS(SYS_unshare, 1),
	FAIL(EPERM),
	UNLESS(SYS_clone, 3),
	ARG0,
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NAMESPACES, 0, 1),
	FAIL(EPERM),
	ALLOW,
};

#define OF(filter) { sizeof(filter) / sizeof((filter)[0]), filter }
static const struct {
	const char *what;
	struct sock_fprog prog;
} denial[] = {
	{ "landlock", OF(no_landlock) },
	{ "seccomp", OF(no_seccomp) },
	{ "namespaces", OF(no_namespaces) },
	{ "user_namespaces", OF(no_user_namespaces) },
};

int main(int argc, char **argv)
{
	size_t i = 0, n = sizeof(denial) / sizeof(denial[0]);

	while (argc > 2 && i < n && strcmp(argv[1], denial[i].what))
		i++;
	if (argc < 3 || i == n) {
		fprintf(stderr, "deny landlock|seccomp|[user_]namespaces PROGRAM "
				"[ARG...]\n");
		return 2;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &denial[i].prog) < 0) {
		perror("deny: filter");
		return 2;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
