/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random layers, merged and by a model that is too plain to be wrong: a list of
 * paths without links in them, searched from its start each time.
 */
#include "tests/unit/merge_stage.h"

#include "runner/base/mem.h"

#define NAMES_MAX 400

struct thing {
	int type;
	uint32_t uid;
	char link[64];
};

struct name {
	char path[1024]; /* "/a/b", with no link in it; the root's is "" */
	struct thing *thing;
};

struct model {
	struct name names[NAMES_MAX];
	size_t n;
	struct thing things[4096];
	size_t nthings;
};

static uint64_t seed;

static unsigned pick(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

static struct name *model_find(struct model *m, const char *path)
{
	for (size_t i = 0; i < m->n; i++) {
		if (!strcmp(m->names[i].path, path))
			return &m->names[i];
	}
	return NULL;
}

static struct thing *new_thing(struct model *m, int type, uint32_t uid,
			       const char *link)
{
	struct thing *t = &m->things[m->nthings++];

	cr_assert(m->nthings < 4096);
	t->type = type;
	t->uid = uid;
	strcpy(t->link, link ? link : "");
	return t;
}

static void model_set(struct model *m, const char *path, struct thing *t)
{
	struct name *n = model_find(m, path);

	if (!n) {
		cr_assert(m->n < NAMES_MAX);
		n = &m->names[m->n++];
		strcpy(n->path, path);
	}
	n->thing = t;
}

/* What is below a path goes, and with @self what has it. */
static void model_remove(struct model *m, const char *path, int self)
{
	size_t i, k = 0, len = strlen(path);

	for (i = 0; i < m->n; i++) {
		const char *p = m->names[i].path;
		int below = !strncmp(p, path, len) && p[len] == '/';

		if (!below && !(self && !strcmp(p, path)))
			m->names[k++] = m->names[i];
	}
	m->n = k;
}

/* The path of a directory, links replaced by what they say. 0, or -1 where
 * there is no such. */
static int resolve(struct model *m, const char *way, int make, char *out)
{
	char todo[4096], next[4096], *name, *rest;
	int links = 0;

	strcpy(todo, way);
	*out = '\0';
	for (;;) {
		struct name *n;
		char *end;

		for (name = todo; *name == '/';)
			name++;
		if (!*name)
			return 0;
		end = name + strcspn(name, "/");
		rest = *end ? end + 1 : end;
		*end = '\0';
		if (!strcmp(name, "..")) {
			if (*out)
				*strrchr(out, '/') = '\0';
		} else if (strcmp(name, ".") != 0) {
			size_t was = strlen(out);

			cr_assert(was + strlen(name) < 1000);
			strcat(strcat(out, "/"), name);
			n = model_find(m, out);
			if (!n && !make)
				return -1;
			if (!n) {
				model_set(m, out, new_thing(m, LAYER_DIR, 0,
							    NULL));
			} else if (n->thing->type == LAYER_SYMLINK) {
				if (links++ == MERGE_LINKS_MAX)
					return -1;
				out[was] = '\0';
				if (n->thing->link[0] == '/')
					*out = '\0';
				cr_assert(strlen(rest) < 3000);
				sprintf(next, "%s/%s", n->thing->link, rest);
				strcpy(todo, next);
				continue;
			} else if (n->thing->type != LAYER_DIR) {
				return -1;
			}
		}
		memmove(todo, rest, strlen(rest) + 1);
	}
}

/* The same for the last name as well, which is not followed. */
static int resolve_name(struct model *m, const char *path, int make, char *out)
{
	const char *slash = strrchr(path, '/');
	char way[256];

	snprintf(way, sizeof(way), "%.*s", slash ? (int)(slash - path) : 0,
		 path);
	if (resolve(m, way, make, out))
		return -1;
	strcat(strcat(out, "/"), slash ? slash + 1 : path);
	return 0;
}

static void model_take_away(struct model *m, const struct entry *e)
{
	char path[1024] = "";

	if (*e->path && resolve_name(m, e->path, 0, path))
		return;
	model_remove(m, path, e->type == LAYER_WHITEOUT);
}

static int model_put(struct model *m, const struct entry *e)
{
	char path[1024], link[1024];
	struct name *n, *to = NULL;
	struct thing *t;

	if (!*e->path) {
		model_find(m, "")->thing->uid = e->uid;
		return 0;
	}
	if (e->type == LAYER_HARDLINK) {
		if (resolve_name(m, e->link, 0, link))
			return -1;
		to = model_find(m, link);
		if (!to || to->thing->type == LAYER_DIR)
			return -1;
	}
	t = to ? to->thing : NULL;
	if (resolve_name(m, e->path, 1, path))
		return -1;
	n = model_find(m, path);
	if (n && n->thing->type == LAYER_DIR && e->type == LAYER_DIR) {
		n->thing->uid = e->uid;
		return 0;
	}
	if (!t)
		t = new_thing(m, e->type, e->uid, e->link);
	model_remove(m, path, 0);
	model_set(m, path, t);
	return 0;
}

static const char *model_text(struct model *m, char *text)
{
	char *v[NAMES_MAX];
	size_t i, k;

	for (i = 0; i < m->n; i++) {
		const struct thing *t = m->names[i].thing;
		unsigned names = 0;

		for (k = 0; k < m->n; k++)
			names += m->names[k].thing == t;
		cr_assert(asprintf(&v[i], "%s%s %c %u %u %s", m->names[i].path,
				   *m->names[i].path ? "" : "/",
				   " fshdcbps"[t->type], t->uid, names,
				   t->link) > 0);
	}
	return join(v, m->n, text);
}

/* --- random layers ----------------------------------------------------- */

struct random_entry {
	struct entry e;
	char path[64], link[64];
};

static void random_path(char *p)
{
	unsigned depth = pick(4);

	p[0] = '\0';
	do {
		sprintf(p + strlen(p), "%s%c", *p ? "/" : "", 'a' + pick(4));
	} while (depth--);
}

static void random_target(char *p)
{
	static const char *const parts[] = { "a", "b", "c", "d", "..", ".",
					     "../..", "/", "x" };
	unsigned n = 1 + pick(4);

	strcpy(p, pick(3) ? "" : "/");
	while (n--)
		sprintf(p + strlen(p), "%s%s",
			*p && p[strlen(p) - 1] != '/' ? "/" : "",
			parts[pick(9)]);
}

static void random_entry(struct random_entry *r, int away)
{
	static const enum layer_type types[] = {
		LAYER_DIR, LAYER_DIR, LAYER_DIR, LAYER_FILE, LAYER_FILE,
		LAYER_SYMLINK, LAYER_SYMLINK, LAYER_HARDLINK, LAYER_FIFO,
	};

	random_path(r->path);
	r->e = (struct entry){ .path = r->path };
	if (away) {
		r->e.type = pick(2) ? LAYER_WHITEOUT : LAYER_OPAQUE;
		return;
	}
	r->e.type = types[pick(ARRAY_SIZE(types))];
	r->e.uid = 1 + pick(1000000);
	if (r->e.type == LAYER_DIR && !pick(20))
		r->path[0] = '\0';
	if (r->e.type == LAYER_SYMLINK)
		random_target(r->link);
	else if (r->e.type == LAYER_HARDLINK)
		random_path(r->link);
	else
		return;
	r->e.link = r->link;
}

/* A layer that the model has taken; 1 where its last entry is one that must
 * be refused. */
static int random_layer(struct model *m, struct stage_layer *l)
{
	struct random_entry v[24];
	unsigned n = 0, want = 1 + pick(20), away = pick(3) ? 0 : pick(4);
	unsigned at, gone = 0;
	int bad = 0;

	while (n < away) {
		random_entry(&v[n], 1);
		model_take_away(m, &v[n++].e);
	}
	while (n < away + want && !bad) {
		random_entry(&v[n], 0);
		bad = model_put(m, &v[n++].e) != 0;
	}
	/* what takes away acts first, wherever it is */
	layer_begin(l);
	for (at = away; at < n; at++) {
		while (gone < away && pick(2))
			layer_add(l, &v[gone++].e);
		layer_add(l, &v[at].e);
	}
	while (gone < away)
		layer_add(l, &v[gone++].e);
	return bad;
}

/* 1 where it ends in one that must be refused. */
static int one_stack(uint64_t s, struct model *m, struct tree *t)
{
	struct stage_layer l;
	unsigned layers;
	int bad = 0, ret;

	seed = s;
	memset(m, 0, sizeof(*m));
	model_set(m, "", new_thing(m, LAYER_DIR, 0, NULL));
	for (layers = 1 + pick(6); layers && !bad; layers--) {
		bad = random_layer(m, &l);
		ret = tree_layer(t, &l);
		cr_assert(ret == (bad ? -EBADMSG : 0), "stack %llu: %d, %s",
			  (unsigned long long)s, ret, t->err.msg);
		layer_close(&l);
	}
	return bad;
}

Test(merge_model, random_stacks, .timeout = 300)
{
	static struct model m;
	static char text[TEXT_MAX];
	const char *env = getenv("RUNS");
	uint64_t runs = env ? strtoull(env, NULL, 0) : 4000, i;
	unsigned whole = 0;

	for (i = 1; i <= runs; i++) {
		struct tree *t = tree_new();

		if (!one_stack(i, &m, t)) {
			whole++;
			model_text(&m, text);
			cr_assert_str_eq(tree_text(t), text,
					 "stack %llu\nis\n%swanted\n%s",
					 (unsigned long long)i, t->text, text);
		}
		tree_free(t);
	}
	cr_assert_gt(whole, runs / 20, "%u of them were whole", whole);
}
