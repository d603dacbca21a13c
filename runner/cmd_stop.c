/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly stop, kill, wait and rm: the ends of runs. */
#include "runner/cmd.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/opts.h"
#include "runner/signo.h"
#include "runner/targets.h"

#define NS_PER_SEC 1000000000ull
#define STOP_NS	   (10 * NS_PER_SEC)
/* Of the supervisor, to see the VM die and to write out what it had sent. */
#define GRACE_NS   (30 * NS_PER_SEC)

/* --- options ---------------------------------------------------------- */

static int set_signal(void *field, const char *arg, struct err *err)
{
	int n = signo_parse(arg), r;

	if (n < 0) {
		r = err_say(err, -EINVAL, "no such signal");
		err_hint(err, "a name or a number from 1 to %d: TERM, 15",
			 SIGNO_MAX);
		return r;
	}
	*(int *)field = n;
	return 0;
}

/* As config_set_duration(), but nothing is allowed: at once. */
static int set_patience(void *field, const char *arg, struct err *err)
{
	uint64_t ns;

	if (config_parse_duration(arg, &ns) == 0 && !ns) {
		*(uint64_t *)field = 0;
		return 0;
	}
	return config_set_duration(field, arg, err);
}

struct stop {
	int signo; /* 0: none was given */
	uint64_t timeout_ns;
};

static const struct opt stop_options[] = {
	{ "signal", 's', "SIGNAL", NULL,
	  "what the command gets (what its image says, else TERM)",
	  set_signal, offsetof(struct stop, signo) },
	{ "timeout", 't', "DURATION", NULL,
	  "how long it has to end; then the VM is killed (10s)", set_patience,
	  offsetof(struct stop, timeout_ns) },
};

const struct opt_table cmd_stop_table = {
	.command = "stop",
	.usage = "[OPTIONS] NAME...",
	.about = "Ask the commands of runs to end, by a signal, and kill the "
		 "VMs of those that do\nnot. Comes back when they are over.",
	.opt = stop_options,
	.nopts = ARRAY_SIZE(stop_options),
	.mixed = 1,
};

static const struct opt kill_options[] = {
	{ "signal", 's', "SIGNAL", NULL, "name or number (KILL)", set_signal,
	  0 },
};

const struct opt_table cmd_kill_table = {
	.command = "kill",
	.usage = "[OPTIONS] NAME...",
	.about = "Send a signal to the commands of runs. KILL is for the whole "
		 "VM, which is gone\nwhen this comes back; the run's exit code "
		 "is 137.",
	.opt = kill_options,
	.nopts = ARRAY_SIZE(kill_options),
	.mixed = 1,
};

static const struct opt wait_options[] = {
	{ "format", 0, "table|json", NULL, "how to print it", opt_format, 0 },
};

const struct opt_table cmd_wait_table = {
	.command = "wait",
	.usage = "[OPTIONS] NAME...",
	.about = "Wait for runs to end, print the exit code of each, and exit "
		 "with that of the\nlast.",
	.opt = wait_options,
	.nopts = ARRAY_SIZE(wait_options),
	.mixed = 1,
};

static const struct opt rm_options[] = {
	{ "force", 'f', NULL, NULL, "kill those that run", opt_flag, 0 },
};

const struct opt_table cmd_rm_table = {
	.command = "rm",
	.usage = "[OPTIONS] NAME...",
	.about = "Remove runs that are over, with what they have written.",
	.opt = rm_options,
	.nopts = ARRAY_SIZE(rm_options),
	.mixed = 1,
};

/* --- stop ------------------------------------------------------------- */

static int is_over(const struct target *t)
{
	return state_record(t->state)->phase >= PHASE_EXITED;
}

/* All are asked before any is waited for: they take their time together. */
static int ask_to_stop(struct target *t, void *opaque, struct err *err)
{
	const struct stop *o = opaque;
	int signo = o->signo ? o->signo : state_record(t->state)->stop_signal;
	int r = 0;

	if (!is_over(t))
		r = target_ask(t, CONTROL_STOP, signo ? signo : SIGTERM,
			       o->timeout_ns, err);
	/* Between the look and the step it has ended: so be it. */
	return r == -ESRCH ? 0 : r;
}

static int see_it_stop(struct target *t, void *opaque, struct err *err)
{
	const struct stop *o = opaque;
	uint64_t patience = o->timeout_ns;
	int r = 0, code;

	if (__builtin_add_overflow(patience, GRACE_NS, &patience))
		patience = 0;
	if (!is_over(t))
		r = target_await(t, patience, &code, err);
	/* It took its record along, or died of something worse. */
	if (r < 0 && r != -ENOENT && r != -ECHILD)
		return r;
	puts(t->word);
	return 0;
}

int cmd_stop(int argc, char **argv, struct err *err)
{
	struct stop o = { 0, STOP_NS };
	struct targets t;
	int r = targets_parse(&t, &cmd_stop_table, &o, argc, argv, err);

	if (r != 1)
		return r;
	targets_each(&t, ask_to_stop, &o);
	targets_each(&t, see_it_stop, &o);
	return targets_end(&t);
}

/* --- kill ------------------------------------------------------------- */

static int kill_one(struct target *t, void *opaque, struct err *err)
{
	const int signo = *(const int *)opaque;
	int r = signo == SIGKILL ?
			target_kill(t, err) :
			target_ask(t, CONTROL_SIGNAL, signo, 0, err);

	if (r == 0)
		puts(t->word);
	return r;
}

int cmd_kill(int argc, char **argv, struct err *err)
{
	int signo = SIGKILL;
	struct targets t;
	int r = targets_parse(&t, &cmd_kill_table, &signo, argc, argv, err);

	if (r != 1)
		return r;
	targets_each(&t, kill_one, &signo);
	return targets_end(&t);
}

/* --- wait ------------------------------------------------------------- */

struct waiting {
	int format;
	int last; /* exit code */
	json_t *list;
};

static int wait_one(struct target *t, void *opaque, struct err *err)
{
	struct waiting *w = opaque;
	const struct record *rec = state_record(t->state);
	int code = rec->exit_code;
	int r = is_over(t) && rec->phase == PHASE_EXITED ?
			0 :
			target_await(t, 0, &code, err);
	json_t *o;

	if (r < 0)
		return r;
	w->last = code;
	if (w->format != FORMAT_JSON) {
		printf("%d\n", code);
		fflush(stdout); /* the next may take its time */
		return 0;
	}
	o = json_object();
	r = json_object_set_new(o, "id", json_string(rec->id));
	r |= json_object_set_new(o, "name", *rec->name ? json_string(rec->name)
						       : json_null());
	r |= json_object_set_new(o, "exit_code", json_integer(code));
	r |= json_array_append_new(w->list, o);
	return r ? err_set(err, -ENOMEM, "%s", t->word) : 0;
}

int cmd_wait(int argc, char **argv, struct err *err)
{
	struct waiting w = { 0 };
	struct targets t;
	int r = targets_parse(&t, &cmd_wait_table, &w.format, argc, argv, err);

	if (r != 1)
		return r;
	if (w.format == FORMAT_JSON)
		w.list = json_array();
	targets_each(&t, wait_one, &w);
	r = targets_end(&t);
	if (w.format == FORMAT_JSON) {
		const int said = record_print(w.list, 0, r < 0 ? NULL : err);

		r = r < 0 ? r : said;
	}
	return r < 0 ? r : w.last;
}

/* --- rm --------------------------------------------------------------- */

static int remove_one(struct target *t, void *opaque, struct err *err)
{
	const int force = *(const int *)opaque;
	int r = 0;

	if (force && !is_over(t)) {
		r = target_kill(t, err);
		if (r == 0 || r == -ESRCH)
			r = state_refresh(t->state);
		/* It may have taken its record along. */
		if (r < 0 && r != -ENOENT)
			return err->msg[0] ? r :
					     err_set(err, r, "%s", t->word);
	}
	if (r == 0)
		r = state_remove(t->state, err);
	if (r < 0 && r != -ENOENT)
		return r;
	puts(t->word);
	return 0;
}

int cmd_rm(int argc, char **argv, struct err *err)
{
	int force = 0;
	struct targets t;
	int r = targets_parse(&t, &cmd_rm_table, &force, argc, argv, err);

	if (r != 1)
		return r;
	targets_each(&t, remove_one, &force);
	return targets_end(&t);
}
