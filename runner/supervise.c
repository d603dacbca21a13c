/* SPDX-License-Identifier: Apache-2.0 */
/* A run with all that belongs to it: engine, record, report, notices. */
#include "runner/supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/base/fault.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/config_image.h"
#include "runner/control.h"
#include "runner/copies.h"
#include "runner/detach.h"
#include "runner/jail_tell.h"
#include "runner/journal.h"
#include "runner/launch.h"
#include "runner/meta.h"
#include "runner/network.h"
#include "runner/publish.h"
#include "runner/run.h"
#include "runner/session.h"
#include "runner/state.h"
#include "runner/stats.h"
#include "runner/trace.h"

struct supervisor {
	const struct config *config;
	struct err *err;
	struct run_result result;
	struct machine machine;
	struct state *state; /* NULL: this run has no record */
	struct ev_loop loop; /* of this attempt; outlives who listens on it */
	struct control control;
	struct network *network; /* of this attempt */
	struct network_facts net;
	struct publish *publish; /* ports of the host */
	struct copies *copies; /* what goes in and comes out */
	struct journal *journal; /* of a detached run */
	struct detach detach;
	int started; /* the command ran */
	struct trace trace;
	int scratch; /* for reports, or -1 */
};

static void show_console(const struct console *c)
{
	char line[CONSOLE_LINE_MAX];
	size_t pos = 0;

	while (console_line(c, &pos, line))
		dprintf(STDERR_FILENO, "  | %s\n", line);
}

/* --- the record ------------------------------------------------------- */

/* A foreground run that nobody named does without where none can be kept. */
static int open_record(struct supervisor *sv)
{
	const struct config *c = sv->config;
	const struct state_new n = {
		.name = c->name,
		.detached = c->detach,
		.auto_remove = c->auto_remove,
		.tty = c->tty,
		.config = c,
	};
	int r = state_create(&sv->state, &n, sv->err);

	/* The way to the guest's agent is in there. */
	if (r < 0 && sv->copies && !sv->err->hint[0])
		return err_hint(sv->err, "files are copied by way of the run's "
					 "record: MAYFLY_STATE_DIR says where "
					 "that may be");
	if (r < 0 && c->net.on && !sv->err->hint[0])
		return err_hint(sv->err, "networks are kept with the records "
					 "of runs: MAYFLY_STATE_DIR says where "
					 "those may be");
	if (r < 0 && !c->detach && !c->name && !sv->copies && !c->net.on) {
		log_info("no record of this run: %s", sv->err->msg);
		*sv->err = (struct err){ 0 };
		return 0;
	}
	if (r == 0)
		r = publish_record(sv->publish, sv->state, sv->err);
	if (r == 0 && c->detach)
		r = journal_create(&sv->journal, state_dirfd(sv->state),
				   sv->err);
	return r;
}

/* As if this attempt had never been. */
static void drop_attempt(struct supervisor *sv)
{
	network_close(&sv->network);
	control_free(&sv->control);
	journal_free(&sv->journal);
	state_discard(&sv->state);
	ev_loop_free(&sv->loop);
}

static void close_record(struct supervisor *sv, const struct meta *meta)
{
	int keep = sv->started && sv->config->detach &&
		   !sv->config->auto_remove;

	if (!sv->state)
		return;
	journal_free(&sv->journal);
	if (keep && state_exited(sv->state, meta) < 0)
		log_info("the record of the run could not be written");
	if (keep)
		state_close(&sv->state);
	else
		state_discard(&sv->state);
	/* Who waits for the end may want the name for another run. */
	control_ended(&sv->control, sv->result.exit_code);
}

static void on_locked(void *opaque)
{
	struct supervisor *sv = opaque;

	jail_tell(&sv->machine.jail);
}

static int record_network(struct supervisor *sv)
{
	_cleanup_free_ char *text = meta_network_text(sv->config, &sv->net);

	return text ? state_put_network(sv->state, text) : -ENOMEM;
}

static int on_started(void *opaque)
{
	struct supervisor *sv = opaque;
	const struct config *c = sv->config;
	int r = 0;

	if (sv->network)
		r = record_network(sv);
	if (r == 0 && sv->state)
		r = state_running(sv->state, machine_engine_name(&sv->machine),
				  sv->result.ncpus);
	/* As in open_record(): a disk that is full is no reason to end it. */
	if (r < 0 && !c->detach && !c->name) {
		log_info("the record of the run could not be written");
		r = 0;
	}
	if (r == 0)
		r = publish_start(sv->publish, &sv->loop, sv->state);
	/* A run that nobody can be told of shall not be. */
	if (r == 0 && c->detach)
		r = detach_tell(&sv->detach, 0, state_id(sv->state), NULL);
	sv->started = r == 0;
	return r;
}

/* --- the run ---------------------------------------------------------- */

static int run_on(struct supervisor *sv, struct console *console)
{
	const struct launch l = {
		.config = sv->config,
		.console = console,
		.loop = &sv->loop,
		.state = sv->state,
		.network = sv->network,
		.trace = &sv->trace,
		.scratch = sv->config->stats || sv->config->meta ?
				   &sv->scratch : NULL,
	};
	_cleanup_fd_ int agent = -1;
	struct run_params p = {
		.config = sv->config,
		.limits = &run_limits,
		.loop = &sv->loop,
		.console = console,
		.machine = &sv->machine,
		.trace = &sv->trace,
		.copies = sv->copies,
		.network = sv->network,
		.state = sv->state,
		.control = sv->state ? &sv->control : NULL,
		.journal = sv->journal,
		.locked = on_locked,
		.started = on_started,
		.opaque = sv,
	};
	int r = launch(&sv->machine, &l, &agent, sv->err);

	if (r < 0)
		return r;
	p.agent_fd = steal_fd(&agent);
	r = run_command(&p, &sv->result, sv->err);
	publish_stop(sv->publish);
	return r;
}

/* One attempt on the engine that the machine has. */
static int attempt(struct supervisor *sv)
{
	struct console console = { .fd = -1, .file = -1 };
	const struct run_result *result = &sv->result;
	int r = ev_loop_init(&sv->loop);

	if (r < 0)
		return err_set(sv->err, r, "epoll");
	r = open_record(sv);
	trace_mark(&sv->trace, TRACE_RECORD);
	fault_point("launcher", "record");
	if (r == 0)
		r = network_open(&sv->network, sv->config, sv->state, &sv->net,
				 sv->err);
	if (sv->network)
		trace_mark(&sv->trace, TRACE_NETWORK);
	if (r == 0)
		r = run_on(sv, &console);
	if (result->verdict == VERDICT_VM_CRASH && !result->engine_failed)
		show_console(&console);
	console_free(&console);
	return r;
}

/*
 * Engine auto means that the command runs: where kvm gives up before the
 * guest is ready, nothing was read or written yet, and soft takes over.
 */
static int on_some_engine(struct supervisor *sv)
{
	const struct config *c = sv->config;
	struct machine *m = &sv->machine;
	int r = machine_pick_engine(m, c->engine, sv->err);

	trace_mark(&sv->trace, TRACE_ENGINE);
	if (r < 0)
		return r;
	r = attempt(sv);
	if (!sv->result.engine_failed || c->engine != CONFIG_ENGINE_AUTO ||
	    m->boot.engine != CTL_ENGINE_KVM)
		return r;
	log_info("engine kvm: %s; taking engine soft", sv->err->msg);
	drop_attempt(sv);
	machine_free(m);
	machine_init(m, c);
	close_fd(&sv->scratch);
	snprintf(m->engine_why, sizeof(m->engine_why), "%s", sv->err->msg);
	*sv->err = (struct err){ 0 };
	sv->result = (struct run_result){ .begin_ns = sv->result.begin_ns };
	return attempt(sv);
}

/* What a person at a terminal would wonder about. */
static void notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void notice(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!isatty(STDERR_FILENO) && log_get_level() == LOG_QUIET)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "mayfly: %s\n", text);
}

static void tell_limit(const struct config *c, const struct run_result *r)
{
	switch (r->verdict) {
	case VERDICT_TIMEOUT:
		notice("the command was ended after its --timeout of %g s",
		       (double)c->timeout_ns / 1e9);
		break;
	case VERDICT_CPU_TIMEOUT:
		notice("the command was ended after its --cpu-time of %g s",
		       (double)c->cpu_time_ns / 1e9);
		break;
	case VERDICT_OUTPUT_LIMIT:
		notice("the command was ended at its --max-output of %llu "
		       "bytes",
		       (unsigned long long)c->output_max);
		break;
	case VERDICT_PIDS_LIMIT:
		notice("the command was ended at its --pids-limit of %u",
		       c->pids_max);
		break;
	case VERDICT_OOM:
		notice("the command was ended for want of memory: -m gives it "
		       "more than %llu MiB",
		       (unsigned long long)(c->memory / CONFIG_MIB));
		break;
	case VERDICT_DISK_FULL:
		notice("the command found its disk full");
		break;
	default:
		break;
	}
}

static void tell(const struct config *c, const struct machine *m,
		 const struct run_result *r)
{
	if (r->ncpus && r->ncpus < c->cpus.n)
		notice("engine %s has %u of the %u CPUs asked for",
		       machine_engine_name(m), r->ncpus, c->cpus.n);
	tell_limit(c, r);
	if (r->ready_ns)
		log_info("engine %s, up after %.1f ms", machine_engine_name(m),
			 (double)(r->ready_ns - r->begin_ns) / 1e6);
	log_info("verdict %s, exit code %d", verdict_name(r->verdict),
		 r->exit_code);
}

/* What the guest's writes took here; they are gone then. */
static uint64_t disk_stored(struct supervisor *sv)
{
	struct stat st = { 0 };

	if (sv->scratch >= 0)
		fstat(sv->scratch, &st);
	close_fd(&sv->scratch);
	return (uint64_t)st.st_blocks * 512;
}

static void show_stats(struct supervisor *sv, const struct meta *meta)
{
	const struct stats stats = { .vmm_peak = sv->machine.peak };
	char text[1024];

	stats_format(&stats, meta, text, sizeof(text));
	dprintf(STDERR_FILENO, "%s", text);
}

/* The first thing that failed is the one to tell. */
static int write_reports(struct supervisor *sv, const struct meta *meta,
			 int code)
{
	const struct config *c = sv->config;
	struct err why = { 0 };
	int r = 0;

	if (c->stats)
		show_stats(sv, meta);
	if (c->meta)
		r = meta_write(meta, c->meta, &why);
	if (r == 0 && c->trace)
		r = trace_write(&sv->trace, meta, c->trace, &why);
	if (r == 0 || code < 0 || sv->err->code)
		return code;
	*sv->err = why;
	return r;
}

static int run(struct supervisor *sv)
{
	const struct config *c = sv->config;
	struct run_result *result = &sv->result;
	struct meta meta = {
		.config = c,
		.result = result,
		.engine_why = sv->machine.engine_why,
		.jail = &sv->machine.jail,
		.limits = &sv->machine.limits,
		.usage = &sv->machine.usage,
		.network = &sv->net,
		.error = sv->err,
	};
	sigset_t signals, before;
	int r;

	/* None may end us while there is a record to remove: run_command()
	 * takes those that come before it, the last lines those after. */
	session_forwarded_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	control_init(&sv->control);
	machine_init(&sv->machine, c);
	r = config_check_host(c, sv->err);
	if (r == 0)
		r = copies_open(&sv->copies, c, sv->err);
	if (r == 0)
		r = publish_open(&sv->publish, &c->net.publish, sv->err);
	if (r == 0)
		r = on_some_engine(sv);
	if (r < 0)
		verdict_set(result, VERDICT_INTERNAL, EXIT_INTERNAL);
	trace_mark(&sv->trace, TRACE_DRAIN);
	machine_free(&sv->machine);
	trace_mark(&sv->trace, TRACE_REAP);
	network_close(&sv->network);
	tell(c, &sv->machine, result);
	meta.publish = sv->publish;
	meta.disk_stored = disk_stored(sv);
	if (result->ncpus)
		meta.engine = machine_engine_name(&sv->machine);
	r = write_reports(sv, &meta, r);
	fault_point("launcher", "reports");
	close_record(sv, &meta);
	fault_point("launcher", "end");
	copies_close(&sv->copies);
	publish_close(&sv->publish);
	ev_loop_free(&sv->loop);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r < 0 ? r : result->exit_code;
}

int supervise(const struct config *c, uint64_t begin, struct err *err)
{
	struct supervisor sv = {
		.config = c,
		.err = err,
		.result = { .begin_ns = begin },
		.loop = { .epfd = -1 },
		.detach = { .fd = -1 },
		.scratch = -1,
	};
	const struct detach_keep files = {
		.fds = c->image ? c->image->files.fds : NULL,
		.n = c->image ? c->image->files.n : 0,
	};
	struct detach_report report;
	int r;

	trace_mark(&sv.trace, TRACE_OPTIONS);
	fault_point("launcher", "options");

	if (*c->net.doubt)
		notice("%s", c->net.doubt);
	if (!c->detach)
		return run(&sv);
	r = detach_fork(&sv.detach, &files, &report, err);
	if (r < 0)
		return r;
	if (r > 0) {
		if (*report.id)
			printf("%s\n", report.id);
		*err = report.err;
		return report.code;
	}
	r = run(&sv);
	if (!sv.started)
		detach_tell(&sv.detach, r, NULL, err);
	/* Whom it may concern was told; nobody hears words here. */
	*err = (struct err){ 0 };
	return 0;
}
