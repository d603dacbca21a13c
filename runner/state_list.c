/* SPDX-License-Identifier: Apache-2.0 */
/* All runs: finding one among them, and removing what is over. */
#include "runner/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/opts.h"
#include "runner/state_dir.h"

#define PREFIX_MIN 2
#define NEAR_NAMES 256

/* A supervisor that has written its last record is about to go, as soon as a
 * busy host lets it. */
#define LAST_STEPS 3000
#define LAST_STEP  10000000

/* --- lists ------------------------------------------------------------ */

static int add_one(int root, const char *id, void *opaque)
{
	struct state_list *l = opaque;
	_cleanup_fd_ int dir = state_open_dir(root, id);
	struct record r, *v;

	if (dir < 0 || state_read_record(dir, id, &r) < 0)
		return 0;
	v = realloc(l->v, (l->n + 1) * sizeof(*v));
	if (!v) {
		record_free(&r);
		return -ENOMEM;
	}
	l->v = v;
	v[l->n++] = r;
	return 0;
}

static int youngest_first(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	if (x->created != y->created)
		return x->created < y->created ? 1 : -1;
	return strcmp(x->id, y->id);
}

static int list_root(int root, struct state_list *l, struct err *err)
{
	int r = state_each(root, add_one, l);

	if (r < 0) {
		state_list_free(l);
		return err_set(err, r, "state directory: list");
	}
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), youngest_first);
	return 0;
}

int state_list(struct state_list *l, struct err *err)
{
	_cleanup_fd_ int root = state_open_root(0, err);

	*l = (struct state_list){ 0 };
	if (root < 0)
		return root == -ENOENT ? 0 : root;
	return list_root(root, l, err);
}

void state_list_free(struct state_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		record_free(&l->v[i]);
	free(l->v);
	*l = (struct state_list){ 0 };
}

/* --- finding one ------------------------------------------------------ */

static int open_run(struct state **out, int *root, const char *id)
{
	struct state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	*s = (struct state){ .root = -1, .lock = -1 };
	s->dir = state_open_dir(*root, id);
	r = s->dir < 0 ? s->dir : state_read_record(s->dir, id, &s->rec);
	if (r < 0)
		state_close(&s);
	else
		s->root = steal_fd(root);
	*out = s;
	return r;
}

static int unknown(const struct state_list *l, const char *word,
		   struct err *err)
{
	const char *names[NEAR_NAMES], *near;
	size_t n = 0;

	for (size_t i = 0; i < l->n && n < NEAR_NAMES; i++)
		if (*l->v[i].name)
			names[n++] = l->v[i].name;
	near = opts_nearest(word, names, n);
	err_say(err, -ENOENT, "%s: no such run", word);
	if (near)
		err_hint(err, "did you mean %s?", near);
	else
		err_hint(err, "`mayfly ps -a` lists them");
	return -ENOENT;
}

/* The id that @word stands for, or NULL with *@code. */
static const char *match(const struct state_list *l, const char *word,
			 int *code, struct err *err)
{
	const char *found = NULL;
	size_t len = strlen(word);

	for (size_t i = 0; i < l->n && len; i++)
		if (!strcmp(l->v[i].name, word))
			return l->v[i].id;
	for (size_t i = 0; i < l->n && len >= PREFIX_MIN; i++) {
		if (strncmp(l->v[i].id, word, len))
			continue;
		if (found) {
			*code = err_say(err, -ENOTUNIQ,
					"%s: %s and %s begin so", word, found,
					l->v[i].id);
			err_hint(err, "give more digits");
			return NULL;
		}
		found = l->v[i].id;
	}
	if (!found)
		*code = unknown(l, word, err);
	return found;
}

int state_find(struct state **out, const char *id_or_name, struct err *err)
{
	_cleanup_fd_ int root = state_open_root(0, err);
	struct state_list l = { 0 };
	const char *id;
	int r = 0;

	*out = NULL;
	if (root == -ENOENT)
		return unknown(&l, id_or_name, err);
	if (root < 0)
		return root;
	if (state_is_id(id_or_name) &&
	    open_run(out, &root, id_or_name) == 0)
		return 0;
	r = list_root(root, &l, err);
	if (r < 0)
		return r;
	id = match(&l, id_or_name, &r, err);
	if (id) {
		r = open_run(out, &root, id);
		/* It went between the look and the step. */
		if (r == -ENOENT)
			unknown(&l, id_or_name, err);
		else if (r < 0)
			err_set(err, r, "%s: read its record", id_or_name);
	}
	state_list_free(&l);
	return r;
}

/* --- removing --------------------------------------------------------- */

static int await_unlocked(const struct state *s)
{
	for (int i = 0; i < LAST_STEPS; i++) {
		const struct timespec step = { 0, LAST_STEP };

		if (!state_live(s))
			return 0;
		if (s->rec.phase < PHASE_EXITED)
			return -EBUSY;
		nanosleep(&step, NULL);
	}
	return -EBUSY;
}

int state_remove(struct state *s, struct err *err)
{
	_cleanup_fd_ int lock = -1;
	int r = await_unlocked(s);

	if (r < 0) {
		err_say(err, r, "%s: is running", state_label(s));
		err_hint(err, "stop it first (mayfly stop %s), or use rm -f",
			 state_label(s));
		return r;
	}
	lock = state_lock_root(s->root, err);
	if (lock < 0)
		return lock;
	r = state_remove_dir(s->root, s->rec.id, s->dir, NULL);
	return r < 0 ? err_set(err, r, "%s: remove its record", state_label(s))
		     : 0;
}

struct pruning {
	state_removed_fn removed;
	void *opaque;
	struct err *err;
	int code;
};

static int prune_one(int root, const char *id, void *opaque)
{
	struct pruning *p = opaque;
	_cleanup_fd_ int dir = state_open_dir(root, id);
	struct record rec = { 0 };
	uint64_t bytes = 0;
	int r, known;

	if (dir == -ENOENT)
		return 0;
	/* The root is locked, so what has no lock is not about to take it. */
	if (dir >= 0 && state_is_locked(dir))
		return 0;
	known = dir >= 0 && state_read_record(dir, id, &rec) == 0;
	r = dir < 0 && dir != -ENOTDIR && dir != -ELOOP ?
		    dir :
		    state_remove_dir(root, id, dir, &bytes);
	if (r == 0)
		p->removed(id, known ? &rec : NULL, bytes, p->opaque);
	else if (p->code == 0)
		p->code = err_set(p->err, r, "%s: remove its directory", id);
	record_free(&rec);
	return 0;
}

int state_prune(state_removed_fn removed, void *opaque, struct err *err)
{
	struct pruning p = { removed, opaque, err, 0 };
	_cleanup_fd_ int root = state_open_root(0, err);
	_cleanup_fd_ int lock = -1;
	int r;

	if (root < 0)
		return root == -ENOENT ? 0 : root;
	lock = state_lock_root(root, err);
	if (lock < 0)
		return lock;
	r = state_each(root, prune_one, &p);
	if (r < 0 && p.code == 0)
		return err_set(err, r, "state directory: list");
	return p.code;
}
