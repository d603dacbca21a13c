/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly cp: files and directories into a microVM that runs, or out of it. */
#include "runner/cmd.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/tree.h"
#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/opts.h"
#include "runner/state.h"
#include "runner/transfer.h"

struct cp_config {
	const char *user;
	int quiet;
};

#define FIELD(f) offsetof(struct cp_config, f)
static const struct opt cp_options[] = {
	{ "user", 'u', "USER[:GROUP]", NULL,
	  "who reads or owns the files in the guest (root)", config_set_user,
	  FIELD(user) },
	{ "quiet", 'q', NULL, NULL, "show no progress", opt_flag,
	  FIELD(quiet) },
};

const struct opt_table cmd_cp_table = {
	.command = "cp",
	.usage = "[OPTIONS] NAME:PATH PATH\n[OPTIONS] PATH NAME:PATH",
	.about = "Copy a file or a directory out of a microVM that runs, or "
		 "into it. NAME is a\nrun's name, its id, or the beginning of "
		 "one. PATH in the guest starts at /.\n\n"
		 "Where the second path is a directory, the copy is made in "
		 "it; of a source that\nends in /. the contents are. A path "
		 "of the host that holds a colon is written\nwith ./ in front. "
		 "Links are copied as links; devices, sockets and pipes are "
		 "left\nout. Files are there whole or not at all.\n\n"
		 "Exit codes: 0 all is copied, 125 it is not, 128+N stopped "
		 "by signal N.",
	.opt = cp_options,
	.nopts = ARRAY_SIZE(cp_options),
	.mixed = 1,
};

/* What was asked for. */
struct copy {
	const char *label;	/* the run, as the user named it */
	const char *guest;	/* the path there */
	const char *host;
	int out;		/* of the guest */
	char name[NAME_MAX + 1]; /* of the source; "" its contents */
};

struct cp {
	struct ev_loop loop;
	struct transfer transfer;
	struct ev signals;
	int signo; /* what stopped us, or 0 */
};

static void on_signal(struct ev *ev, uint32_t events)
{
	struct cp *cp = container_of(ev, struct cp, signals);
	int signo = ev_signal(ev->fd);

	(void)events;
	if (!signo)
		return;
	/* Who insists does not wait for the child to clean up. */
	if (cp->signo)
		transfer_kill(&cp->transfer);
	cp->signo = signo;
	transfer_cut(&cp->transfer);
}

static void on_done(struct transfer *t, void *opaque)
{
	struct cp *cp = opaque;

	(void)t;
	ev_stop(&cp->loop);
}

static int converse(struct cp *cp, const struct transfer_task *task,
		    struct state *state, const sigset_t *signals,
		    struct err *err)
{
	_cleanup_fd_ int fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	int r;

	if (fd < 0)
		return err_set(err, -errno, "signalfd");
	cp->signals = (struct ev){ .fd = fd, .fn = on_signal };
	r = ev_set(&cp->loop, &cp->signals, EPOLLIN);
	if (r < 0)
		return err_set(err, r, "epoll");
	r = transfer_start(&cp->transfer, task, &cp->loop, state, on_done, cp,
			   err);
	if (r < 0)
		return err_wrap(err, "cp");
	r = ev_run(&cp->loop);
	if (r < 0)
		err_set(err, r, "event loop");
	else if (cp->signo)
		r = 128 + cp->signo;
	else
		r = transfer_outcome(&cp->transfer, err);
	transfer_free(&cp->transfer);
	ev_del(&cp->signals);
	return r;
}

static int copy(const struct copy *c, const struct cp_config *config,
		struct state *state, struct tree_place *place, struct err *err)
{
	const struct transfer_task task = {
		.what = "cp",
		.label = c->label,
		.user = config->user,
		.argv = {
			(char *)(c->out ? WIRE_TREE_OUT : WIRE_TREE_IN),
			(char *)(c->out ? c->guest : c->name),
			(char *)(c->out ? NULL : c->guest),
		},
		.host = c->out ? NULL : c->host,
		.place = place,
		.quiet = config->quiet,
	};
	struct cp cp = { .signo = 0 };
	sigset_t signals, before;
	int r = ev_loop_init(&cp.loop);

	if (r < 0)
		return err_set(err, r, "epoll");
	session_forwarded_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	r = converse(&cp, &task, state, &signals, err);
	sigprocmask(SIG_SETMASK, &before, NULL);
	ev_loop_free(&cp.loop);
	return r;
}

/* --- operands ------------------------------------------------------------ */

/* Split NAME:PATH in place; the path, or NULL for one of the host's. */
static char *split(char *arg)
{
	char *colon = strchr(arg, ':');

	if (!colon || *arg == '/' || *arg == '.')
		return NULL;
	*colon = '\0';
	return colon + 1;
}

static int take_operands(struct copy *c, char **argv, struct err *err)
{
	char *from, *to;
	int n = 0;

	while (argv[n])
		n++;
	if (n != 2) {
		err_say(err, -EINVAL, "cp: %d operands, not two", n);
		return err_hint(err, "mayfly cp NAME:PATH PATH, or mayfly cp "
				     "PATH NAME:PATH");
	}
	from = split(argv[0]);
	to = split(argv[1]);
	if (!from == !to) {
		err_say(err, -EINVAL, from ? "cp: both paths are of a guest" :
					     "cp: neither path is of a guest");
		return err_hint(err, "one of them is NAME:PATH; `mayfly ps` "
				     "lists names");
	}
	c->out = from != NULL;
	c->label = c->out ? argv[0] : argv[1];
	c->guest = c->out ? from : to;
	c->host = c->out ? argv[1] : argv[0];
	if (!*c->guest || !*c->host)
		return err_say(err, -EINVAL, "cp: a path is empty");
	from = (char *)(c->out ? c->guest : c->host);
	if (transfer_name(c->name, from) < 0)
		return err_set(err, -ENAMETOOLONG, "cp: %s", from);
	return 0;
}

static void say_error(void *opaque, const char *path, const char *what,
		      int error)
{
	err_set(opaque, -error, "cp: %s: %s", path, what);
}

/* What can be known of the host's path by now. */
static int look_at_host(const struct copy *c, struct tree_place *place,
			struct err *err)
{
	const struct tree_ops ops = { .say = say_error, .opaque = err };
	struct stat st;

	place->dir = -1;
	if (c->out)
		return tree_place(place, c->host, c->name, &ops);
	if (lstat(c->host, &st) < 0)
		return err_set(err, -errno, "cp: %s", c->host);
	return 0;
}

int cmd_cp(int argc, char **argv, struct err *err)
{
	struct cp_config config = { 0 };
	struct tree_place place = { .dir = -1 };
	struct copy c = { 0 };
	struct state *state = NULL;
	struct opt_rest rest;
	int r = opts_parse(&cmd_cp_table, &config, argc, argv, &rest, err);

	if (r == 0 && rest.help)
		return opts_help(&cmd_cp_table);
	if (r == 0)
		r = take_operands(&c, argv + rest.first, err);
	if (r == 0)
		r = state_find(&state, c.label, err);
	if (r == 0)
		r = look_at_host(&c, &place, err);
	if (r == 0)
		r = copy(&c, &config, state, &place, err);
	close_fd(&place.dir);
	state_close(&state);
	return r;
}
