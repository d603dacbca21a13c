/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly exec: one more command in a microVM that runs. */
#include "runner/cmd.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/base/mem.h"
#include "runner/opts.h"
#include "runner/session.h"
#include "runner/state.h"
#include "runner/verdict.h"

#define FIELD(f) offsetof(struct config, f)
static const struct opt exec_options[] = {
	{ "interactive", 'i', NULL, NULL, "hand on standard input", opt_flag,
	  FIELD(interactive) },
	{ "tty", 't', NULL, NULL,
	  "give the command a terminal; with -i yours, raw", opt_flag,
	  FIELD(tty) },
	{ "env", 'e', "NAME=VALUE", NULL,
	  "set a variable; NAME alone hands on your own", config_add_env,
	  FIELD(env) },
	{ "env-file", 0, "FILE", NULL,
	  "take variables from a file, one NAME=VALUE a line",
	  config_add_env_file, FIELD(env_files) },
	{ "user", 'u', "USER[:GROUP]", NULL,
	  "names of the image, or numbers, to run the command as (root)",
	  config_set_user, FIELD(user) },
	{ "workdir", 'w', "DIR", NULL, "directory to run the command in",
	  config_set_workdir, FIELD(workdir) },
};

const struct opt_table cmd_exec_table = {
	.command = "exec",
	.usage = "[OPTIONS] NAME [--] CMD [ARG...]",
	.about = "Run one more command in a microVM that runs, and exit as it "
		 "does. NAME is a\nrun's name, its id, or the beginning of "
		 "one. The command ends with the VM's\nown; what it leaves "
		 "running is killed at its end.\n\n"
		 "Exit codes: the command's own, 128+N for signal N, 125 "
		 "mayfly failed, there is\nno such user, or the VM ended "
		 "first, 126 cannot be executed, 127 not found,\n141 standard "
		 "output was closed by its reader.",
	.opt = exec_options,
	.nopts = ARRAY_SIZE(exec_options),
};

struct exec {
	struct ev_loop loop;
	struct state *state;
	struct session *session;
	struct ev signals;
	const struct config *config;
	struct err *err;
	int signalled; /* one signal was handed on */
	int ended;     /* exit_code is the command's */
	int exit_code; /* or -errno */
};

static void leave(struct exec *x, int exit_code)
{
	x->exit_code = exit_code;
	session_stop(x->session);
	ev_stop(&x->loop);
}

static void leave_if_flushed(struct exec *x)
{
	if (x->ended && session_is_flushed(x->session))
		leave(x, x->exit_code);
}

static void on_ready(struct session *s)
{
	(void)s;
}

static void on_started(struct session *s)
{
	(void)s;
}

static void on_ended(struct session *s)
{
	struct exec *x = s->p.opaque;
	struct run_result r = { .exit = s->exit };

	verdict_from_exit(&r, x->config->argv[0], x->config->user, x->err);
	/* What the CPU missed only the run's own mayfly could ask. */
	if (!strcmp(state_record(x->state)->engine, "soft"))
		verdict_explain(&r, s->tail, s->tail_len, x->err);
	x->ended = 1;
	x->exit_code = r.exit_code;
	leave_if_flushed(x);
}

static int no_session(struct exec *x, const char *label, const char *why)
{
	int r = err_say(x->err, -EBUSY, "%s: no session: %s", label, why);

	err_hint(x->err, "it may have its %d commands at once already",
		 WIRE_SESSIONS_MAX);
	return r;
}

static void on_lost(struct session *s, const char *why)
{
	struct exec *x = s->p.opaque;
	const char *label = state_label(x->state);

	if (x->ended)
		return;
	if (s->ready_ns)
		leave(x, err_say(x->err, -ESRCH,
				 "%s: the VM ended before the command did",
				 label));
	else
		leave(x, no_session(x, label, why));
}

static void on_broke(struct session *s, const char *stream, int error)
{
	struct exec *x = s->p.opaque;

	/* What SIGPIPE would do to a command here. */
	if (error == -EPIPE)
		leave(x, 128 + SIGPIPE);
	else
		leave(x, err_set(x->err, error, "%s", stream));
}

static void on_moved(struct session *s)
{
	leave_if_flushed(s->p.opaque);
}

static const struct session_ops session_ops = {
	.ready = on_ready,
	.started = on_started,
	.ended = on_ended,
	.lost = on_lost,
	.broke = on_broke,
	.moved = on_moved,
};

/* The first is the command's; who insists leaves, and the agent kills it. */
static void on_signal(struct ev *ev, uint32_t events)
{
	struct exec *x = container_of(ev, struct exec, signals);
	int signo = ev_signal(ev->fd);

	(void)events;
	if (!signo)
		return;
	if (x->session->ready_ns && !x->signalled && !x->ended) {
		x->signalled = 1;
		session_signal(x->session, signo);
	} else {
		leave(x, 128 + signo);
	}
}

static int open_session(struct exec *x, int agent)
{
	const struct config *c = x->config;
	struct session_params p = {
		.ops = &session_ops,
		.opaque = x,
		.loop = &x->loop,
		.agent_fd = agent,
		.fd = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO },
		.flags = session_flags(c),
		.argv = c->argv,
		.env = &c->env,
		.workdir = c->workdir,
		.user = c->user,
	};

	return session_open(&x->session, &p, x->err);
}

static int converse(struct exec *x, const sigset_t *signals)
{
	_cleanup_fd_ int fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	int r;

	if (fd < 0)
		return err_set(x->err, -errno, "signalfd");
	x->signals = (struct ev){ .fd = fd, .fn = on_signal };
	r = ev_set(&x->loop, &x->signals, EPOLLIN);
	if (r == 0)
		r = ev_run(&x->loop);
	ev_del(&x->signals);
	return r < 0 ? err_set(x->err, r, "event loop") : x->exit_code;
}

static int exec(const struct config *c, struct state *state, struct err *err)
{
	struct exec x = { .state = state, .config = c, .err = err };
	_cleanup_fd_ int agent = -1;
	sigset_t signals, before;
	int r;

	/* Until there is a command, a signal is ours to die of: a VM that is
	 * stuck may be long in answering. */
	agent = state_connect_agent(state, err);
	if (agent < 0)
		return agent;
	r = ev_loop_init(&x.loop);
	if (r < 0)
		return err_set(err, r, "epoll");
	session_forwarded_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	r = open_session(&x, steal_fd(&agent));
	if (r == 0)
		r = converse(&x, &signals);
	session_close(&x.session);
	sigprocmask(SIG_SETMASK, &before, NULL);
	ev_loop_free(&x.loop);
	return r;
}

/* What the image of the run says of commands. The list is the caller's. */
static int take_defaults(struct config *c, const struct record *rec,
			 char ***env, struct err *err)
{
	*env = record_env(rec);
	if (!c->user)
		c->user = record_user(rec);
	if (!c->workdir)
		c->workdir = record_workdir(rec);
	return config_default_env(c, *env, err);
}

/* NAME [--] CMD [ARG...] */
static int take_operands(struct config *c, char **argv, struct err *err)
{
	int r;

	c->argv = argv[0] ? argv + 1 : argv;
	if (argv[0] && argv[1] && !strcmp(argv[1], "--"))
		c->argv++;
	if (argv[0] && c->argv[0])
		return 0;
	r = err_say(err, -EINVAL, "exec: no %s", argv[0] ? "command" : "name");
	err_hint(err, "mayfly exec NAME CMD [ARG...]; `mayfly ps` lists names");
	return r;
}

int cmd_exec(int argc, char **argv, struct err *err)
{
	_cleanup_free_ char **env = NULL;
	struct state *state = NULL;
	struct opt_rest rest;
	struct config c;
	int r;

	config_init(&c);
	r = opts_parse(&cmd_exec_table, &c, argc, argv, &rest, err);
	if (r == 0 && rest.help) {
		config_free(&c);
		return opts_help(&cmd_exec_table);
	}
	if (r == 0)
		r = take_operands(&c, argv + rest.first, err);
	if (r == 0 && config_load_env(&c, err) < 0)
		r = err_wrap(err, "exec");
	if (r == 0)
		r = state_find(&state, argv[rest.first], err);
	if (r == 0)
		r = take_defaults(&c, state_record(state), &env, err);
	if (r == 0)
		r = exec(&c, state, err);
	state_close(&state);
	config_free(&c);
	return r;
}
