/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge_stage: trees of layers as text.
 */
#ifndef MAYFLY_TESTS_MERGE_STAGE_H
#define MAYFLY_TESTS_MERGE_STAGE_H

#include "tests/unit/layer_stage.h"

#include <errno.h>

#include "rootfs/merge.h"

/* --- trees as text ----------------------------------------------------- */

#define TEXT_MAX (1 << 16)

struct tree {
	struct merge *m;
	void *maps[8];
	size_t sizes[8];
	unsigned n;
	struct err err;
	char text[TEXT_MAX];
};

static int tree_layer(struct tree *t, struct stage_layer *l)
{
	size_t size;
	void *p;

	layer_end(l);
	size = (size_t)lseek(l->index, 0, SEEK_END);
	p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, l->index, 0);
	cr_assert(p != MAP_FAILED);
	t->maps[t->n] = p;
	t->sizes[t->n++] = size;
	return merge_layer(t->m, p, size, &t->err);
}

static struct tree *tree_new(void)
{
	struct tree *t = calloc(1, sizeof(*t));

	cr_assert_not_null(t);
	cr_assert_eq(merge_new(&t->m, &t->err), 0);
	return t;
}

static void tree_free(struct tree *t)
{
	merge_free(t->m);
	while (t->n--)
		munmap(t->maps[t->n], t->sizes[t->n]);
	free(t);
}

static int by_string(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A line of what a test can tell apart: path, type, uid (a serial number in
 * the model's tests), how many names, target. */
static char *line(const char *path, const struct merge_inode *i)
{
	char *s;

	cr_assert(asprintf(&s, "/%s %c %u %u %.*s", path,
			   " fshdcbps"[i->item.e.type], i->item.e.uid,
			   i->names, i->item.e.type == LAYER_SYMLINK ?
			   (int)i->item.e.link_len : 0, i->item.link) > 0);
	return s;
}

static void lines(const struct merge_node *dir, const char *path, char **v,
		  size_t *n)
{
	const struct merge_node *c, *before = NULL;

	v[(*n)++] = line(path, dir->inode);
	for (c = dir->inode->children; c; before = c, c = c->next) {
		char below[8192];

		cr_assert(c->parent == dir && c->prev == before);
		if (before)
			cr_assert(layer_name_compare(before->name,
						     before->name_len, c->name,
						     c->name_len) < 0);
		snprintf(below, sizeof(below), "%s%s%.*s", path,
			 *path ? "/" : "", (int)c->name_len, c->name);
		lines(c, below, v, n);
	}
}

static const char *join(char **v, size_t n, char *text)
{
	size_t i, at = 0;

	qsort(v, n, sizeof(*v), by_string);
	text[0] = '\0';
	for (i = 0; i < n; i++) {
		at += (size_t)snprintf(text + at, TEXT_MAX - at, "%s\n", v[i]);
		cr_assert(at < TEXT_MAX);
		free(v[i]);
	}
	return text;
}

static const char *tree_text(struct tree *t)
{
	static char *v[4096];
	size_t n = 0;

	cr_assert_eq(merge_sort(t->m), 0);
	lines(merge_root(t->m), "", v, &n);
	return join(v, n, t->text);
}

#endif
