/* SPDX-License-Identifier: Apache-2.0 */
/* The trees that a run copies into its guest, and out of it. */
#include "runner/copies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/tree.h"
#include "runner/base/mem.h"
#include "runner/transfer.h"

#define A_TREE (1u << 20) /* of copies_moved() */

struct copy {
	struct transfer_task task;
	struct tree_place place; /* of one that comes out */
	char name[NAME_MAX + 1]; /* of the source; "" its contents */
	char number[24];	 /* of a volume */
	char *real;		 /* and where it is */
};

struct group {
	struct copy v[CONFIG_COPIES_MAX];
	size_t n;
};

struct copies {
	struct group group[COPIES_GROUPS];
	uint64_t left;	/* of --copy-out-max */
	uint64_t moved; /* by those that are over */
	struct err err;
	/* While a group is under way: */
	enum copies_group which;
	size_t next;
	int busy; /* there is a transfer */
	int result;
	const char *why; /* it was cut */
	struct transfer transfer;
	struct ev_loop *loop;
	struct state *state;
	void (*done)(void *opaque, int result);
	void *opaque;
};

/* --- the host's side ----------------------------------------------------- */

static int source_ok(const char *what, const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return err_set(err, -errno, "%s: %s", what, path);
	if (S_ISLNK(st.st_mode))
		return 0;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_say(err, -EINVAL,
			       "%s: %s: is no file, directory or link", what,
			       path);
	if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0)
		return err_set(err, -errno, "%s: %s", what, path);
	return 0;
}

static int open_volume(struct copy *c, const struct config_copy *from,
		       size_t number, struct err *err)
{
	c->real = realpath(from->host, NULL);
	if (!c->real)
		return err_set(err, -errno, "--volume: %s", from->host);
	snprintf(c->number, sizeof(c->number), "%zu", number);
	c->task = (struct transfer_task){
		.what = "--volume",
		.argv = { (char *)WIRE_TREE_VOLUME, c->number, from->guest },
		.host = c->real,
	};
	return source_ok("--volume", c->real, err);
}

static int open_in(struct copy *c, const struct config_copy *from,
		   const char *user, struct err *err)
{
	if (transfer_name(c->name, from->host) < 0)
		return err_set(err, -ENAMETOOLONG, "--copy-in: %s", from->host);
	c->task = (struct transfer_task){
		.what = "--copy-in",
		.argv = { (char *)WIRE_TREE_PUT, c->name, from->guest,
			  (char *)(user ? user : "") },
		.host = from->host,
	};
	return source_ok("--copy-in", from->host, err);
}

static void say_error(void *opaque, const char *path, const char *what,
		      int error)
{
	err_set(opaque, -error, "--copy-out: %s: %s", path, what);
}

static int open_out(struct copy *c, const struct config_copy *from,
		    struct err *err)
{
	const struct tree_ops ops = { .say = say_error, .opaque = err };
	int r;

	if (transfer_name(c->name, from->guest) < 0)
		return err_set(err, -ENAMETOOLONG, "--copy-out: %s",
			       from->guest);
	r = tree_place(&c->place, from->host, c->name, &ops);
	if (r < 0)
		return r;
	if (faccessat(c->place.dir, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return err_set(err, -errno, "--copy-out: %s", from->host);
	c->task = (struct transfer_task){
		.what = "--copy-out",
		.argv = { (char *)WIRE_TREE_OUT, from->guest },
		.place = &c->place,
	};
	return 0;
}

static int open_all(struct copies *c, const struct config *config,
		    struct err *err)
{
	const struct config_copies *const from[] = {
		[COPIES_VOLUMES] = &config->volumes,
		[COPIES_IN] = &config->copies_in,
		[COPIES_OUT] = &config->copies_out,
	};
	int r = 0;

	for (int g = 0; g < COPIES_GROUPS; g++)
		for (size_t i = 0; r == 0 && i < from[g]->n; i++) {
			struct copy *k = &c->group[g].v[i];

			k->place.dir = -1;
			c->group[g].n++;
			if (g == COPIES_VOLUMES)
				r = open_volume(k, &from[g]->v[i], i, err);
			else if (g == COPIES_IN)
				r = open_in(k, &from[g]->v[i], config->user,
					    err);
			else
				r = open_out(k, &from[g]->v[i], err);
			k->task.label = "guest";
		}
	return r;
}

int copies_open(struct copies **out, const struct config *config,
		struct err *err)
{
	int r;

	*out = NULL;
	if (!config->volumes.n && !config->copies_in.n &&
	    !config->copies_out.n)
		return 0;
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return err_set(err, -ENOMEM, "copies");
	(*out)->left = config->copy_out_max;
	r = open_all(*out, config, err);
	if (r < 0)
		copies_close(out);
	return r;
}

size_t copies_count(const struct copies *c, enum copies_group g)
{
	return c ? c->group[g].n : 0;
}

/* --- one after the other ------------------------------------------------- */

static struct copy *current(struct copies *c)
{
	return &c->group[c->which].v[c->next];
}

/* The first failure is the owner's to tell. */
static void failed(struct copies *c, const struct err *err)
{
	if (c->result == 0) {
		c->result = err->code;
		c->err = *err;
		return;
	}
	fprintf(stderr, "mayfly: %s\n", err->msg);
}

/* What is left of the group will not be. */
static void give_up(struct copies *c)
{
	for (; c->next < c->group[c->which].n; c->next++) {
		struct err err = { 0 };
		const struct transfer_task *k = &current(c)->task;

		err_say(&err, -ECANCELED, "%s: %s: not copied: %s", k->what,
			k->argv[1], c->why);
		failed(c, &err);
	}
}

static void count(struct copies *c)
{
	uint64_t taken = cp_host_taken(&c->transfer.host);

	c->moved += transfer_moved(&c->transfer) + A_TREE;
	if (c->which == COPIES_OUT)
		c->left -= MIN(c->left, taken);
}

static int is_over(const struct copies *c)
{
	return c->next == c->group[c->which].n ||
	       (c->which != COPIES_OUT && c->result < 0);
}

static void go_on(struct copies *c);

static void on_done(struct transfer *t, void *opaque)
{
	struct copies *c = opaque;
	struct err err = { 0 };

	c->busy = 0;
	count(c);
	if (!c->why && transfer_outcome(t, &err) < 0) {
		if (err.code == -E2BIG && c->which == COPIES_OUT)
			err_hint(&err, "--copy-out-max allows more");
		failed(c, &err);
	}
	transfer_free(t);
	if (!c->why)
		c->next++;
	go_on(c);
}

static void go_on(struct copies *c)
{
	while (!c->why && !is_over(c)) {
		struct copy *k = current(c);
		struct err err = { 0 };

		/* 0 would be no limit. */
		k->place.max = c->left ? c->left : 1;
		if (transfer_start(&c->transfer, &k->task, c->loop, c->state,
				   on_done, c, &err) == 0) {
			c->busy = 1;
			return;
		}
		failed(c, &err);
		c->next++;
	}
	if (c->why)
		give_up(c);
	c->done(c->opaque, c->result);
}

void copies_begin(struct copies *c, enum copies_group g, struct ev_loop *loop,
		  struct state *state, void (*done)(void *opaque, int result),
		  void *opaque)
{
	c->which = g;
	c->next = 0;
	c->result = 0;
	c->loop = loop;
	c->state = state;
	c->done = done;
	c->opaque = opaque;
	go_on(c);
}

void copies_cut(struct copies *c, const char *why)
{
	if (!c || !c->busy || c->why)
		return;
	c->why = why;
	transfer_cut(&c->transfer);
}

int copies_finish(struct copies *c, const char *why)
{
	if (!c->busy)
		return c->result;
	transfer_free(&c->transfer);
	c->busy = 0;
	if (!c->why)
		c->why = why;
	give_up(c);
	return c->result;
}

void copies_close(struct copies **copies)
{
	struct copies *c = *copies;

	if (!c)
		return;
	if (c->busy)
		transfer_free(&c->transfer);
	for (int g = 0; g < COPIES_GROUPS; g++)
		for (size_t i = 0; i < c->group[g].n; i++) {
			close_fd(&c->group[g].v[i].place.dir);
			free(c->group[g].v[i].real);
		}
	free(c);
	*copies = NULL;
}

const struct err *copies_error(const struct copies *c)
{
	return &c->err;
}

uint64_t copies_moved(const struct copies *c)
{
	return c->moved + (c->busy ? transfer_moved(&c->transfer) : 0);
}
