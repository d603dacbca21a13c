/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More sessions than the run's own: a forked child of PID 1 for each.
 *
 * The host makes a connection; nobody else may. A program of the guest gets
 * no root through us: the peer's CID is what the kernel says it is, and no
 * socket in the guest can have the host's.
 *
 * PID 1 keeps a place per child, and when it ends kills and removes its
 * cgroup. That may have to wait for processes to die, so it is tried again
 * whenever something did; a cgroup that will not go is left behind once its
 * place is needed.
 */
#include "rootfs/agent/session.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "rootfs/agent/dial.h"

/* In a child: not one of our descriptors but those it was given, and not a
 * byte of ours. */
static void forget(struct session *s)
{
	close_fd(&s->sv.ctl);
	close_fd(&s->sv.listener);
	close_fd(&s->child_fd);
	close_fd(&s->fd_limit);
	close_fd(&s->fd_in);
	close_fd(&s->fd_out);
	close_fd(&s->fd_err);
	close_fd(&s->spawn.cgroup);
	munmap(s, sizeof(*s));
}

static _Noreturn void serve_child(struct session *s, int conn, uint32_t number)
{
	struct serve sv = {
		.ctl = conn,
		.listener = -1,
		.self = s->sv.self,
		.upper = s->sv.upper,
		.number = number,
		.cgroups = s->sv.cgroups,
	};

	forget(s);
	prctl(PR_SET_NAME, "mayfly-session");
	_exit(session_serve(&sv) ? 1 : 0);
}

/* A place without a child: best one whose last cgroup is gone. */
static struct place *find_place(struct more *m)
{
	struct place *p, *last = NULL;

	for (p = m->place; p < m->place + WIRE_SESSIONS_MAX; p++) {
		if (!p->number)
			return p;
		if (!p->pid)
			last = p;
	}
	return last;
}

static void start_child(struct session *s, struct place *p, int conn)
{
	struct more *m = &s->more;
	pid_t pid;

	m->last = m->last < UINT32_MAX ? m->last + 1 : 1;
	pid = fork();
	if (!pid)
		serve_child(s, conn, m->last);
	if (pid < 0)
		return;
	m->used += !p->number;
	p->number = m->last;
	p->pid = pid;
}

int more_is_host(const struct sockaddr_vm *a)
{
	return a->svm_family != AF_VSOCK || a->svm_cid == VMADDR_CID_HOST;
}

void more_accept(struct session *s)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);
	int conn = accept4(s->sv.listener, (struct sockaddr *)&peer, &len,
			   SOCK_CLOEXEC);
	struct place *p;

	if (conn < 0)
		return;
	p = more_is_host(&peer) ? find_place(&s->more) : NULL;
	if (p)
		start_child(s, p, conn);
	close(conn);
}

int more_dialer(struct session *s, const struct wire_net *net)
{
	int listener = dial_listen(), error = 0;
	pid_t pid;

	if (listener < 0)
		return -listener;
	pid = fork();
	if (pid < 0)
		error = errno;
	if (!pid) {
		forget(s);
		prctl(PR_SET_NAME, "mayfly-dial");
		_exit(dial_serve(listener, net) ? 1 : 0);
	}
	close(listener);
	return error;
}

void more_reaped(struct session *s, pid_t pid)
{
	struct more *m = &s->more;
	struct place *p;

	for (p = m->place; m->used && p < m->place + WIRE_SESSIONS_MAX; p++) {
		if (p->pid == pid)
			p->pid = 0;
	}
}

static int is_swept(const struct session *s, const struct place *p)
{
	char path[CGROUP_PATH_MAX];

	if (!s->sv.cgroups)
		return 1;
	cgroup_path(path, s->sv.cgroups, p->number);
	return cgroup_remove(path) != -EBUSY;
}

void more_sweep(struct session *s)
{
	struct more *m = &s->more;
	struct place *p;

	for (p = m->place; m->used && p < m->place + WIRE_SESSIONS_MAX; p++) {
		if (!p->number || p->pid || !is_swept(s, p))
			continue;
		p->number = 0;
		m->used--;
	}
}
