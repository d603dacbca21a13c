/* SPDX-License-Identifier: Apache-2.0 */
/* The user of a run: signals, and what other programs ask by its socket. */
#include "runner/run_parts.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/control.h"

/* Send @signo to the command; the VM dies after @ns. The first signal makes
 * the verdict, the earliest end counts. */
static void stop(struct run *run, int signo, uint64_t ns)
{
	uint64_t end;

	if (__builtin_add_overflow(io_now_ns(), ns, &end))
		end = UINT64_MAX;
	session_signal(run->session, signo);
	if (run->stop_signal && run->stop_ns <= end)
		return;
	if (!run->stop_signal)
		run->stop_signal = signo;
	run->stop_ns = end;
	ev_timer_arm(run->grace_fd, ns);
}

static void stop_now(struct run *run, int signo)
{
	if (run->state >= STATE_DRAIN) {
		run_finish(run); /* output that nobody takes is given up */
		return;
	}
	run_settle(run);
	verdict_stopped(run->result,
			run->stop_signal ? run->stop_signal : signo);
	run_drain(run);
}

static void on_signal(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, signals);
	int signo = ev_signal(ev->fd);

	(void)events;
	if (!signo)
		return;
	if (run->state == STATE_COMMAND && !run->stop_signal)
		stop(run, signo, run->p->config->stop_timeout_ns);
	else
		stop_now(run, signo);
}

static int ask_signal(void *opaque, int signo)
{
	struct run *run = opaque;

	if (run->state < STATE_COMMAND)
		return -EAGAIN;
	if (run->state != STATE_COMMAND)
		return -ESRCH;
	session_signal(run->session, signo);
	return 0;
}

static int ask_stop(void *opaque, int signo, uint64_t timeout_ns)
{
	struct run *run = opaque;

	if (run->state == STATE_COMMAND && timeout_ns)
		stop(run, signo, timeout_ns);
	else if (run->state == STATE_COPY_OUT && timeout_ns)
		run_copies_hurry(run, timeout_ns);
	else
		stop_now(run, signo);
	return 0;
}

static int ask_kill(void *opaque)
{
	stop_now(opaque, SIGKILL);
	return 0;
}

static const struct control_ops control_ops = {
	.signal = ask_signal,
	.stop = ask_stop,
	.kill = ask_kill,
};

int run_user_open(struct run *run, const sigset_t *signals)
{
	int r;

	run->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	r = run_watch(run, &run->signals, run->signal_fd, on_signal);
	if (r < 0)
		return err_set(run->err, r, "set up the run");
	if (!run->p->control)
		return 0;
	return control_listen(run->p->control, run->p->loop, run->p->state,
			      &control_ops, run, run->err);
}

void run_user_close(struct run *run)
{
	ev_del(&run->signals);
	close_fd(&run->signal_fd);
}
