/* SPDX-License-Identifier: Apache-2.0 */
/* The probe in the whole jail, in a part of it, in none. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/steps.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/confine.h"
#include "tests/jail/outside.h"

#define SIX                                                            \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |    \
	 CLONE_NEWUTS | CLONE_NEWCGROUP)

/* As launch.c gives them, each once. */
static void describe(const struct outside *o, struct machine *m,
		     struct config *c)
{
	int fd[GIVEN];

	config_init(c);
	machine_init(m, c);
	for (int i = 0; i < GIVEN; i++)
		fd[i] = o->give[i] < 0 ? -1 :
					 fcntl(o->give[i], F_DUPFD_CLOEXEC, 0);
	m->boot.ncpus = TASKS - 2;
	m->boot.guest_cid = 3;
	m->boot.kernel_fd = machine_give(m, fd[GIVEN_KERNEL]);
	m->boot.initrd_fd = machine_give(m, fd[GIVEN_PROGRAM]);
	machine_disk(m, CTL_DISK_SCRATCH, &fd[GIVEN_DISK], 1, NULL);
	if (fd[GIVEN_SETUID] >= 0)
		machine_disk(m, CTL_DISK_READ, &fd[GIVEN_SETUID], 1, NULL);
	m->boot.console_out_fd = machine_give(m, fd[GIVEN_CONSOLE]);
	m->boot.vsock_listen_fd = machine_give(m, fd[GIVEN_LISTENER]);
	m->boot.console_in_fd = machine_give(m, fd[GIVEN_TERMINAL]);
	machine_stream(m, 1024, fd[GIVEN_STREAM]);
	if (fd[GIVEN_KVM] >= 0) {
		m->boot.engine = CTL_ENGINE_KVM;
		m->boot.kvm_fd = machine_give(m, fd[GIVEN_KVM]);
	}
}

void start_whole(struct outside *o, struct started *s)
{
	struct config c;
	struct err err = { 0 };

	describe(o, &s->m, &c);
	outside_leak(o);
	if ((!o->no_cgroup && confine(&s->m, &c, NULL, &err) < 0) ||
	    machine_start(&s->m, o->program_fd, &err) < 0)
		die("%s", err.msg);
	outside_stop_leak(o);
	config_free(&c);
	s->on = s->m.jail.on | STEPS;
}

/* --- layers alone ------------------------------------------------------- */

static unsigned long flags_of(uint32_t layers)
{
	unsigned long f = SIGCHLD;

	if (layers & NSPACE)
		f |= SIX;
	if (layers & ROOT)
		f |= CLONE_NEWNS | CLONE_NEWUTS;
	if (layers & (NSPACE | ROOT) && geteuid())
		f |= CLONE_NEWUSER;
	return f;
}

/* In the order of jail.c, for the same reasons. */
static int put_on(uint32_t layers, uint32_t uid, uint32_t gid, struct err *err)
{
	struct jail_word w = { .id = 1900000000 };
	int r = 0;

	if (layers & (NSPACE | ROOT) && uid)
		r = ids_map_self(uid, gid, err);
	if (r == 0 && layers & ROOT)
		r = room_enter(err);
	if (r == 0 && layers & CAPS)
		r = caps_forbid_regaining(err);
	if (r == 0 && layers & UID)
		r = ids_become(&w, err);
	if (r == 0 && layers & CAPS)
		r = caps_drop(err);
	if (r == 0 && layers & NNP &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	return r;
}

static _Noreturn void child(const struct outside *o, uint32_t layers,
			    int control, uint32_t uid, uint32_t gid)
{
	char name[] = "mayfly-vmm", *argv[] = { name, NULL };
	int program = fcntl(o->program_fd, F_DUPFD_CLOEXEC, CONTROL_FD + 1);
	struct err err = { 0 };

	if (put_on(layers, uid, gid, &err) < 0)
		die("layers %#x: %s", layers, err.msg);
	if (control == CONTROL_FD)
		fcntl(control, F_SETFD, 0);
	else
		dup2(control, CONTROL_FD);
	syscall(SYS_execveat, program, "", argv, environ, AT_EMPTY_PATH);
	die("execute the probe");
}

void start_alone(struct outside *o, struct started *s, uint32_t layers)
{
	uint32_t uid = geteuid(), gid = getegid();
	struct config c;
	int pair[2];

	describe(o, &s->m, &c);
	config_free(&c);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	outside_leak(o);
	s->m.pid = (pid_t)syscall(SYS_clone, flags_of(layers), 0, 0, 0, 0);
	if (s->m.pid == 0)
		child(o, layers, pair[1], uid, gid);
	if (s->m.pid < 0)
		die("clone");
	outside_stop_leak(o);
	close(pair[1]);
	s->m.control = pair[0];
	if (ctl_send_boot(pair[0], &s->m.boot, s->m.fd, s->m.nfds) < 0 ||
	    ctl_send_go(pair[0]) < 0)
		die("send the boot message");
	s->on = layers;
}

/* --- both --------------------------------------------------------------- */

void start_work(struct outside *o, struct started *s, enum work work,
		uint32_t lock, int role)
{
	struct world w = o->world;

	w.work = work;
	w.lock = lock;
	w.role = role;
	w.on = s->on;
	if (send(s->m.control, &w, sizeof(w), MSG_NOSIGNAL) != sizeof(w))
		die("send the world");
}

int started_said(struct started *s, struct said *said)
{
	ssize_t n;

	do
		n = recv(s->m.control, said, sizeof(*said), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(*said);
}

void started_end(struct started *s)
{
	machine_free(&s->m);
}
