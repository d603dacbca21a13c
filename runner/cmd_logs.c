/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly logs: what a detached command has written. */
#include "runner/cmd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/format.h"
#include "runner/log_view.h"
#include "runner/opts.h"
#include "runner/state.h"

#define TAIL_ALL UINT64_MAX
/* A supervisor that is killed leaves no event behind, only its lock. */
#define LOOK_MS 500
/* A rotation between counting and printing makes the count wrong. */
#define TRIES 8

struct logs {
	int follow, times, format;
	uint64_t tail;
	uint64_t since_ns; /* a span, 0: all */
};

static int set_tail(void *field, const char *arg, struct err *err)
{
	uint64_t *tail = field;
	char *end;

	if (!strcmp(arg, "all")) {
		*tail = TAIL_ALL;
		return 0;
	}
	errno = 0;
	*tail = strtoull(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno)
		return err_say(err, -EINVAL, "not a number of lines, or all");
	return 0;
}

static const struct opt logs_options[] = {
	{ "follow", 'f', NULL, NULL, "go on until the run ends", opt_flag,
	  offsetof(struct logs, follow) },
	{ "tail", 'n', "N", NULL, "only the last N lines", set_tail,
	  offsetof(struct logs, tail) },
	{ "since", 0, "DURATION", NULL,
	  "only what was written in this time: 90, 5m, 1h30m",
	  config_set_duration, offsetof(struct logs, since_ns) },
	{ "timestamps", 't', NULL, NULL, "the time before each line", opt_flag,
	  offsetof(struct logs, times) },
	{ "format", 0, "table|json", NULL,
	  "json: an object for each line, with time and stream", opt_format,
	  offsetof(struct logs, format) },
};

const struct opt_table cmd_logs_table = {
	.command = "logs",
	.usage = "[OPTIONS] NAME",
	.about = "Print what the command of a run -d has written, standard "
		 "output and standard\nerror each to its own. The last 16 to 32 "
		 "MiB are kept.",
	.opt = logs_options,
	.nopts = ARRAY_SIZE(logs_options),
	.mixed = 1,
};

/* The run will write no more. */
static int is_over(struct state *s)
{
	return state_refresh(s) < 0 || state_record(s)->phase >= PHASE_EXITED;
}

/* Nothing to do until something is written, or nobody reads any more. */
static int rest(struct journal_reader *j, const struct log_view *v)
{
	struct pollfd p[] = { { .fd = journal_watch(j), .events = POLLIN },
			      { .fd = v->fd[0] } };

	if (poll(p, ARRAY_SIZE(p), LOOK_MS) > 0 && (p[1].revents & POLLERR))
		return -EPIPE;
	journal_woken(j);
	return 0;
}

static int show(struct state *s, struct journal_reader *j, struct log_view *v,
		int follow)
{
	struct journal_entry e;
	int r, over = !follow;

	if (follow)
		journal_watch(j);
	for (;;) {
		/* Looked at before the last entries are, so that none is
		 * left. */
		over = over || is_over(s);
		while ((r = journal_next(j, &e)) == 1) {
			r = log_show(v, &e);
			if (r < 0)
				return r;
		}
		if (r < 0 && r != -EAGAIN)
			return r;
		if (over)
			return log_finish(v);
		r = rest(j, v);
		if (r < 0)
			return r;
	}
}

/* How many lines there are, from which file on. */
static int count(int dir, const struct log_view *like, uint64_t *lines,
		 uint64_t *number, struct err *err)
{
	struct log_view v = { .since_ns = like->since_ns };
	struct journal_reader *j;
	struct journal_entry e;
	int r = journal_open(&j, dir, err);

	if (r < 0)
		return r;
	*number = journal_number(j);
	while (journal_next(j, &e) == 1)
		log_count(&v, &e);
	*lines = v.lines;
	journal_reader_free(&j);
	return 0;
}

/* Open the journal, and say how many lines to leave out. */
static int open_at(struct journal_reader **j, int dir, struct log_view *v,
		   uint64_t tail, struct err *err)
{
	uint64_t lines = 0, number = 0;
	int r;

	if (tail == TAIL_ALL)
		return journal_open(j, dir, err);
	for (int i = 0; i < TRIES; i++) {
		r = count(dir, v, &lines, &number, err);
		if (r < 0)
			return r;
		r = journal_open(j, dir, err);
		if (r < 0 || journal_number(*j) == number)
			break;
		if (i + 1 < TRIES)
			journal_reader_free(j);
	}
	v->skip = lines > tail ? lines - tail : 0;
	return r;
}

static int no_journal(struct state *s, struct err *err)
{
	const struct record *r = state_record(s);
	int code;

	if (r->detached)
		return err_say(err, -ENOENT, "%s: it has no log",
			       state_label(s));
	code = err_say(err, -ENOENT, "%s: it runs in the foreground",
		       state_label(s));
	err_hint(err, "its output goes where it was started; run -d keeps it");
	return code;
}

static int print_logs(struct state *s, const struct logs *o, struct err *err)
{
	struct log_view v = {
		.json = o->format == FORMAT_JSON,
		.times = o->times,
		.fd = { STDOUT_FILENO, STDERR_FILENO },
	};
	uint64_t now = format_now();
	struct journal_reader *j = NULL;
	int r;

	if (o->since_ns)
		v.since_ns = now > o->since_ns ? now - o->since_ns : 0;
	r = open_at(&j, state_dirfd(s), &v, o->tail, err);
	if (r == -ENOENT)
		return no_journal(s, err);
	if (r < 0)
		return err_wrap(err, "%s", state_label(s));
	r = show(s, j, &v, o->follow);
	journal_reader_free(&j);
	log_free(&v);
	/* What SIGPIPE would do to another program here. */
	if (r == -EPIPE)
		return 128 + SIGPIPE;
	if (r == -EBADMSG)
		return err_say(err, r, "%s: its log is damaged from here on",
			       state_label(s));
	return r < 0 ? err_set(err, r, "%s: print its log", state_label(s)) : 0;
}

int cmd_logs(int argc, char **argv, struct err *err)
{
	struct logs o = { .tail = TAIL_ALL };
	struct opt_rest left;
	struct state *s;
	int r = opts_parse(&cmd_logs_table, &o, argc, argv, &left, err);

	if (r < 0)
		return r;
	if (left.help)
		return opts_help(&cmd_logs_table);
	if (left.first + 1 != argc) {
		r = err_say(err, -EINVAL, "logs: takes one name");
		err_hint(err, "`mayfly ps -a` lists the runs");
		return r;
	}
	r = state_find(&s, argv[left.first], err);
	if (r < 0)
		return r;
	r = print_logs(s, &o, err);
	state_close(&s);
	return r;
}
