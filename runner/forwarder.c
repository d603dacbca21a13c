/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly-net dns, started, heard and ended. */
#include "runner/forwarder.h"

#include <errno.h>
#include <signal.h>
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
	fault_point("launcher", "forwarder");
	return r < 0 ? err_wrap(err, "the DNS forwarder") : 0;
}

int forwarder_heard(struct forwarder *f, struct err *err)
{
	uint32_t layers;
	int r;

	if (f->heard)
		return err_say(err, -EIO, "the DNS forwarder has ended");
	f->heard = 1;
	r = forward_hear(f->control, &layers, err);
	if (r < 0)
		return r;
	jail_report_program(&f->jail, layers);
	r = f->strict ? jail_report_strict(&f->jail, err) : 0;
	return r < 0 ? err_wrap(err, "the DNS forwarder") : 0;
}

void forwarder_stop(struct forwarder *f)
{
	close_fd(&f->control);
	if (f->pid > 0) {
		kill(f->pid, SIGKILL); /* not reaped yet: it is its own */
		waitpid(f->pid, NULL, WNOHANG);
	}
	f->pid = -1;
	close_fd(&f->pidfd);
}
