/* SPDX-License-Identifier: Apache-2.0 */
/* The names and inodes of a tree of layers. */
#include "rootfs/merge_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "rootfs/siphash.h"

#define POOL_BLOCK	(256u << 10)
#define BUCKETS_FIRST	1024u
/* Of what is sorted: the bytes of a name by which most are told apart. */
#define HEAD_LEN	8u

/* --- memory ------------------------------------------------------------ */

static void pool_init(struct merge_pool *p, size_t size)
{
	*p = (struct merge_pool){ .size = size };
}

static void *pool_get(struct merge_pool *p)
{
	void *v = p->freed, **block;

	if (v) {
		memcpy(&p->freed, v, sizeof(void *));
		return v;
	}
	if ((size_t)(p->end - p->at) < p->size) {
		block = malloc(POOL_BLOCK);
		if (!block)
			return NULL;
		*block = p->blocks;
		p->blocks = block;
		p->at = (char *)block + 16;
		p->end = (char *)block + POOL_BLOCK;
	}
	v = p->at;
	p->at += p->size;
	return v;
}

static void pool_put(struct merge_pool *p, void *v)
{
	memcpy(v, &p->freed, sizeof(void *));
	p->freed = v;
}

static void pool_destroy(struct merge_pool *p)
{
	void **block = p->blocks, **next;

	for (; block; block = next) {
		next = *block;
		free(block);
	}
}

/* --- names ------------------------------------------------------------- */

static struct merge_node **bucket(const struct merge_tree *t,
				  const struct merge_node *dir,
				  const char *name, size_t len)
{
	uint64_t h = siphash(t->key, (uintptr_t)dir, name, len);

	return &t->buckets[h & (t->nbuckets - 1)];
}

struct merge_node *merge_tree_find(const struct merge_tree *t,
				   const struct merge_node *dir,
				   const char *name, size_t len)
{
	struct merge_node *n = *bucket(t, dir, name, len);

	while (n && (n->parent != dir || n->name_len != len ||
		     memcmp(n->name, name, len)))
		n = n->chain;
	return n;
}

/* Twice as many buckets, where there is memory for them. */
static void grow(struct merge_tree *t)
{
	size_t i, old = t->nbuckets;
	struct merge_node **was = t->buckets, *n, *next, **b;

	t->buckets = calloc(old * 2, sizeof(*t->buckets));
	if (!t->buckets) {
		t->buckets = was;
		return;
	}
	t->nbuckets = old * 2;
	for (i = 0; i < old; i++) {
		for (n = was[i]; n; n = next) {
			next = n->chain;
			b = bucket(t, n->parent, n->name, n->name_len);
			n->chain = *b;
			*b = n;
		}
	}
	free(was);
}

struct merge_inode *merge_tree_inode(struct merge_tree *t,
				     const struct layer_item *item,
				     unsigned layer)
{
	struct merge_inode *i = pool_get(&t->inodes);

	if (!i)
		return NULL;
	*i = (struct merge_inode){ .item = *item, .layer = layer };
	i->item.path = NULL;
	t->count++;
	return i;
}

void merge_tree_put(struct merge_tree *t, struct merge_inode *inode)
{
	if (inode->names)
		return;
	t->count--;
	pool_put(&t->inodes, inode);
}

int merge_tree_add(struct merge_tree *t, struct merge_node *dir,
		   const char *name, size_t len, struct merge_inode *inode,
		   struct merge_node **made)
{
	struct merge_node *n, **b;

	if (t->names >= LAYER_ENTRIES_MAX)
		return -EFBIG;
	n = pool_get(&t->nodes);
	if (!n)
		return -ENOMEM;
	if (t->names >= t->nbuckets)
		grow(t);
	b = bucket(t, dir, name, len);
	*n = (struct merge_node){
		.parent = dir,
		.next = dir->inode->children,
		.chain = *b,
		.inode = inode,
		.name = name,
		.name_len = (uint16_t)len,
	};
	*b = n;
	if (n->next)
		n->next->prev = n;
	dir->inode->children = n;
	inode->names++;
	t->names++;
	*made = n;
	return 0;
}

/* A node with nothing below it. */
static void drop(struct merge_tree *t, struct merge_node *n)
{
	struct merge_node **b = bucket(t, n->parent, n->name, n->name_len);

	while (*b != n)
		b = &(*b)->chain;
	*b = n->chain;
	if (n->prev)
		n->prev->next = n->next;
	else
		n->parent->inode->children = n->next;
	if (n->next)
		n->next->prev = n->prev;
	n->inode->names--;
	merge_tree_put(t, n->inode);
	pool_put(&t->nodes, n);
	t->names--;
}

void merge_tree_clear(struct merge_tree *t, struct merge_node *node)
{
	struct merge_node *n = node, *up;

	for (;;) {
		while (n->inode->children)
			n = n->inode->children;
		if (n == node)
			return;
		up = n->parent;
		drop(t, n);
		n = up;
	}
}

void merge_tree_remove(struct merge_tree *t, struct merge_node *node)
{
	merge_tree_clear(t, node);
	drop(t, node);
}

void merge_tree_replace(struct merge_tree *t, struct merge_node *node,
			struct merge_inode *inode)
{
	struct merge_inode *old = node->inode;

	/* What is below may have its other names. */
	inode->names++;
	merge_tree_clear(t, node);
	node->inode = inode;
	old->names--;
	merge_tree_put(t, old);
}

/* --- order ------------------------------------------------------------- */

struct sort_item {
	uint64_t head; /* first bytes that differ, as a number */
	struct merge_node *node;
};

struct sorter {
	struct sort_item *items; /* twice as many as there is room for */
	size_t room;
};

static int name_order(const struct merge_node *a, const struct merge_node *b)
{
	return layer_name_compare(a->name, a->name_len, b->name, b->name_len);
}

/* Is @a behind @b? */
static int is_behind(const struct sort_item *a, const struct sort_item *b)
{
	if (a->head != b->head)
		return a->head > b->head;
	return name_order(a->node, b->node) > 0;
}

/* Runs of @run items, two by two, from @from to @to. qsort() would do it as
 * well, but asks the system how much memory there is. */
static void merge_runs(const struct sort_item *from, struct sort_item *to,
		       size_t n, size_t run)
{
	size_t at, a, b, a_end, b_end, k = 0;

	for (at = 0; at < n; at = b_end) {
		a = at;
		b = a_end = n - at < run ? n : at + run;
		b_end = n - b < run ? n : b + run;
		while (a < a_end || b < b_end) {
			if (b == b_end ||
			    (a < a_end && !is_behind(&from[a], &from[b])))
				to[k++] = from[a++];
			else
				to[k++] = from[b++];
		}
	}
}

static struct sort_item *sort(struct sort_item *v, struct sort_item *spare,
			      size_t n)
{
	struct sort_item *t;
	size_t run;

	for (run = 1; run < n; run *= 2) {
		merge_runs(v, spare, n, run);
		t = v;
		v = spare;
		spare = t;
	}
	return v;
}

/* How many bytes all names begin with. */
static size_t common_len(const struct merge_node *first)
{
	const struct merge_node *n = first->next;
	size_t len = first->name_len, i;

	for (; n && len; n = n->next) {
		if (n->name_len < len)
			len = n->name_len;
		for (i = 0; i < len && n->name[i] == first->name[i];)
			i++;
		len = i;
	}
	return len;
}

/* Behind the end of a name there are zeros, which are in none. */
static uint64_t head_of(const struct merge_node *n, size_t skip)
{
	uint64_t v = 0;
	size_t i;

	for (i = skip; i < skip + HEAD_LEN; i++)
		v = v << 8 | (i < n->name_len ? (uint8_t)n->name[i] : 0);
	return v;
}

static int make_room(struct sorter *s, size_t n)
{
	if (n <= s->room)
		return 0;
	free(s->items);
	s->room = 0;
	s->items = calloc(n * 2, sizeof(*s->items));
	if (!s->items)
		return -ENOMEM;
	s->room = n;
	return 0;
}

static int sort_children(struct sorter *s, struct merge_inode *dir)
{
	struct merge_node *n, *prev = NULL;
	struct sort_item *sorted;
	size_t count = 0, i, skip;
	int done = 1;

	for (n = dir->children; n; n = n->next, count++)
		done = done && (!n->next || name_order(n, n->next) < 0);
	if (done)
		return 0;
	if (make_room(s, count))
		return -ENOMEM;
	skip = common_len(dir->children);
	for (n = dir->children, i = 0; n; n = n->next, i++)
		s->items[i] = (struct sort_item){ head_of(n, skip), n };
	sorted = sort(s->items, s->items + s->room, count);
	for (i = 0; i < count; i++) {
		n = sorted[i].node;
		n->prev = prev;
		n->next = i + 1 < count ? sorted[i + 1].node : NULL;
		prev = n;
	}
	dir->children = sorted[0].node;
	return 0;
}

int merge_tree_sort(struct merge_tree *t)
{
	struct merge_node *n = &t->root;
	struct sorter s = { 0 };
	int ret = 0;

	while (!ret) {
		ret = sort_children(&s, n->inode);
		if (n->inode->children) {
			n = n->inode->children;
			continue;
		}
		while (n != &t->root && !n->next)
			n = n->parent;
		if (n == &t->root)
			break;
		n = n->next;
	}
	free(s.items);
	return ret;
}

/* --- life -------------------------------------------------------------- */

int merge_tree_init(struct merge_tree *t)
{
	const struct layer_item root = {
		.e = { .type = LAYER_DIR, .mode = 0755 },
	};
	/* What the kernel gives each process at random: no call, no file. */
	const void *random = (const void *)getauxval(AT_RANDOM);

	*t = (struct merge_tree){ .nbuckets = BUCKETS_FIRST };
	if (random)
		memcpy(t->key, random, sizeof(t->key));
	pool_init(&t->nodes, sizeof(struct merge_node));
	pool_init(&t->inodes, sizeof(struct merge_inode));
	t->buckets = calloc(t->nbuckets, sizeof(*t->buckets));
	t->root.parent = &t->root;
	t->root.name = "";
	t->root.inode = merge_tree_inode(t, &root, 0);
	if (!t->buckets || !t->root.inode)
		return -ENOMEM;
	t->root.inode->names = 1;
	return 0;
}

void merge_tree_destroy(struct merge_tree *t)
{
	pool_destroy(&t->nodes);
	pool_destroy(&t->inodes);
	free(t->buckets);
}
