/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly-net dns, started, heard and ended. */
#include "runner/forwarder.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/jail.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

#define SEND_NS 10000000000ull

void forwarder_init(struct forwarder *f)
{
	*f = (struct forwarder){ .pid = -1, .pidfd = -1, .control = -1 };
	dialler_init(&f->dialler);
}

/* In the child, on its way into the jail. */
static void tell_failure(int control_fd, const struct err *err)
{
	forward_tell(control_fd, 0, err);
}

/* Descriptors on their way count as one process's: send_boot() in machine.c. */
static int send_all(int control, const struct forward_params *p,
		    struct err *err)
{
	uint64_t until = io_now_ns() + SEND_NS;
	int r;

	while ((r = forward_send(control, p, err)) == -ETOOMANYREFS &&
	       io_now_ns() < until)
		usleep(1000);
	return r;
}

static int serves(struct forwarder *f, struct err *err)
{
	uint32_t layers;
	int r = forward_hear(f->control, &layers, err);

	if (r < 0)
		return r;
	jail_report_program(&f->jail, layers);
	r = f->strict ? jail_report_strict(&f->jail, err) : 0;
	if (r < 0)
		return err_wrap(err, "the DNS forwarder");
	r = dialler_open(&f->dialler, f->loop, f->control, f->resolver,
			 f->nresolvers, f->heard, f->opaque);
	return r < 0 ? err_set(err, r, "watch the DNS forwarder") : 0;
}

static void on_word(struct ev *ev, uint32_t events)
{
	struct forwarder *f = container_of(ev, struct forwarder, on_word);
	struct err err = { 0 };

	(void)events;
	ev_del(ev);
	f->heard(f->opaque, serves(f, &err) < 0 ? &err : NULL);
}

static int watch(struct forwarder *f, const struct forwarder_params *p,
		 struct err *err)
{
	int r;

	f->loop = p->loop;
	f->heard = p->heard;
	f->opaque = p->opaque;
	f->nresolvers = p->forward->nupstreams;
	memcpy(f->resolver, p->forward->resolver, sizeof(f->resolver));
	f->on_word = (struct ev){ .fd = f->control, .fn = on_word };
	r = ev_set(f->loop, &f->on_word, EPOLLIN);
	return r < 0 ? err_set(err, r, "watch") : 0;
}

int forwarder_start(struct forwarder *f, const struct forwarder_params *p,
		    struct err *err)
{
	char name[] = "mayfly-net", mode[] = "dns";
	char *argv[] = { name, mode, fault_text(), NULL };
	struct jail_params jail = {
		.program_fd = p->program_fd,
		.cgroup_fd = -1,
		.keep_stderr = log_get_level() > LOG_QUIET,
		.argv = argv,
		.ids = p->config->uid_range,
		.tasks = 1,
		.nofile = FORWARD_NOFILE,
		.patience_ns = p->config->boot_timeout_ns,
		.failed = tell_failure,
	};
	struct jail_process process;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, -errno, "DNS forwarder");
	f->control = pair[0];
	f->strict = p->config->strict;
	jail.control_fd = pair[1];
	r = jail_start(&jail, &f->jail, &process, err);
	close(pair[1]);
	f->pid = process.pid;
	f->pidfd = process.pidfd;
	if (r == 0)
		r = send_all(f->control, p->forward, err);
	/* One that failed has left its reason in the socket. */
	if (r == -EPIPE || r == -ECONNRESET) {
		*err = (struct err){ 0 };
		r = 0;
	}
	if (r == 0)
		r = watch(f, p, err);
	fault_point("launcher", "forwarder");
	return r < 0 ? err_wrap(err, "the DNS forwarder") : 0;
}

void forwarder_unwatch(struct forwarder *f)
{
	ev_del(&f->on_word);
	dialler_close(&f->dialler);
}

void forwarder_stop(struct forwarder *f)
{
	forwarder_unwatch(f);
	close_fd(&f->control);
	if (f->pid > 0) {
		kill(f->pid, SIGKILL); /* not reaped yet: it is its own */
		waitpid(f->pid, NULL, WNOHANG);
	}
	f->pid = -1;
	close_fd(&f->pidfd);
}
