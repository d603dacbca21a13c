/* SPDX-License-Identifier: Apache-2.0 */
/* What the entries of a layer do to the tree of those below. */
#include "rootfs/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rootfs/merge_tree.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* What Linux has room for in a device number: include/linux/kdev_t.h. */
#define MAJOR_MAX 0xfffu
#define MINOR_MAX 0xfffffu

struct merge {
	struct merge_tree tree;
	unsigned layers;
	uint64_t index_bytes;
	uint64_t target_bytes; /* of links followed */
	/* Where the entry before this one was put: most have the same
	 * directory. Forgotten when a way may lead elsewhere. */
	const char *last_way;
	size_t last_len;
	struct merge_node *last_dir;
};

/* What a path is to be to who reads of it: short, and of one line. */
struct shown {
	char text[100];
};

static const char *show(struct shown *s, const char *path, size_t len)
{
	size_t n = MIN(len, sizeof(s->text) - 4), i;

	for (i = 0; i < n; i++)
		s->text[i] = path[i] < ' ' || path[i] > '~' ? '?' : path[i];
	strcpy(s->text + n, n < len ? "..." : "");
	return s->text;
}

static int fail(struct err *err, int code, const struct layer_item *item,
		const char *what)
{
	struct shown s;

	if (code != -ENOMEM && code != -EFBIG)
		code = -EBADMSG;
	return err_say(err, code, "%s: %s",
		       show(&s, item->path, item->e.path_len), what);
}

/* The words for what stops a walk. */
static const char *why(int code)
{
	switch (code) {
	case -ENOENT:
		return "its directory is not there";
	case -ENOTDIR:
		return "what should be its directory is none";
	case -ELOOP:
		return "too many symbolic links on the way";
	case -ENAMETOOLONG:
		return "a symbolic link on the way has too long a name in it";
	case -EFBIG:
		return "too many files in the image";
	case -E2BIG:
		return "symbolic links lead too far";
	default:
		return "no memory";
	}
}

static void forget_way(struct merge *m)
{
	m->last_dir = NULL;
}

static int is_dir(const struct merge_node *n)
{
	return n->inode->item.e.type == LAYER_DIR;
}

/* --- ways -------------------------------------------------------------- */

/* What is left to be walked: of the path, and of each link met on the way. */
struct walk {
	struct merge_node *at;
	unsigned depth, links;
	struct {
		const char *p;
		size_t len;
	} rest[MERGE_LINKS_MAX + 1];
};

/* The next name: 0 where nothing is left. */
static size_t next_name(struct walk *w, const char **name)
{
	size_t n = 0;

	while (w->depth) {
		const char *p = w->rest[w->depth - 1].p;
		size_t len = w->rest[w->depth - 1].len;

		while (len && *p == '/')
			p++, len--;
		while (n < len && p[n] != '/')
			n++;
		w->rest[w->depth - 1].p = p + n;
		w->rest[w->depth - 1].len = len - n;
		*name = p;
		if (n)
			return n;
		w->depth--;
	}
	return 0;
}

static int follow(struct merge *m, struct walk *w,
		  const struct merge_inode *link)
{
	const char *target = link->item.link;
	size_t len = link->item.e.link_len;

	if (w->links++ == MERGE_LINKS_MAX)
		return -ELOOP;
	m->target_bytes += len;
	if (m->target_bytes > MERGE_TARGETS_MAX)
		return -E2BIG;
	if (*target == '/')
		w->at = &m->tree.root;
	w->rest[w->depth].p = target;
	w->rest[w->depth++].len = len;
	return 0;
}

static int make_dir(struct merge *m, struct merge_node *at, const char *name,
		    size_t len, struct merge_node **made)
{
	const struct layer_item item = {
		.e = { .type = LAYER_DIR, .mode = 0755 },
	};
	struct merge_inode *inode;
	int ret;

	inode = merge_tree_inode(&m->tree, &item, m->layers);
	if (!inode)
		return -ENOMEM;
	ret = merge_tree_add(&m->tree, at, name, len, inode, made);
	if (ret)
		merge_tree_put(&m->tree, inode);
	return ret;
}

static int step(struct merge *m, struct walk *w, const char *name, size_t len,
		int make)
{
	struct merge_node *n;
	int ret;

	if (len == 1 && name[0] == '.')
		return 0;
	if (len == 2 && name[0] == '.' && name[1] == '.') {
		w->at = w->at->parent;
		return 0;
	}
	if (len > LAYER_NAME_MAX)
		return -ENAMETOOLONG;
	n = merge_tree_find(&m->tree, w->at, name, len);
	if (!n) {
		ret = make ? make_dir(m, w->at, name, len, &n) : -ENOENT;
		if (ret)
			return ret;
	}
	if (n->inode->item.e.type == LAYER_SYMLINK)
		return follow(m, w, n->inode);
	if (!is_dir(n))
		return -ENOTDIR;
	w->at = n;
	return 0;
}

/* To the directory @way, which is made with @make. */
static int walk(struct merge *m, const char *way, size_t len, int make,
		struct merge_node **dir)
{
	struct walk w;
	const char *name;
	size_t n;
	int ret;

	if (m->last_dir && len == m->last_len &&
	    !memcmp(way, m->last_way, len)) {
		*dir = m->last_dir;
		return 0;
	}
	w.at = &m->tree.root;
	w.links = 0;
	w.depth = 1;
	w.rest[0].p = way;
	w.rest[0].len = len;
	while ((n = next_name(&w, &name))) {
		ret = step(m, &w, name, n, make);
		if (ret)
			return ret;
	}
	*dir = m->last_dir = w.at;
	m->last_way = way;
	m->last_len = len;
	return 0;
}

/* A path as its way and its last name. */
struct split {
	const char *way, *name;
	size_t way_len, name_len;
};

static struct split split(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);
	struct split s = { .way = path, .name = path, .name_len = len };

	if (slash) {
		s.way_len = (size_t)(slash - path);
		s.name = slash + 1;
		s.name_len = len - s.way_len - 1;
	}
	return s;
}

/* What has the path, NULL where nothing has. -errno where a limit is met. */
static int find(struct merge *m, const char *path, size_t len,
		struct merge_node **found)
{
	struct split s = split(path, len);
	struct merge_node *dir;
	int ret;

	*found = NULL;
	if (!len) {
		*found = &m->tree.root;
		return 0;
	}
	ret = walk(m, s.way, s.way_len, 0, &dir);
	if (ret == -ENOENT || ret == -ENOTDIR || ret == -ELOOP ||
	    ret == -ENAMETOOLONG)
		return 0;
	if (ret)
		return ret;
	*found = merge_tree_find(&m->tree, dir, s.name, s.name_len);
	return 0;
}

/* --- entries ----------------------------------------------------------- */

/* A whiteout or an opaque mark: nothing is there yet but layers below. */
static int take_away(struct merge *m, const struct layer_item *item,
		     struct err *err)
{
	struct merge_node *n;
	int ret = find(m, item->path, item->e.path_len, &n);

	if (ret)
		return fail(err, ret, item, why(ret));
	if (!n)
		return 0;
	forget_way(m);
	if (item->e.type == LAYER_WHITEOUT)
		merge_tree_remove(&m->tree, n);
	else
		merge_tree_clear(&m->tree, n);
	return 0;
}

/* The inode that a hard link leads to. */
static int link_inode(struct merge *m, const struct layer_item *item,
		      struct merge_inode **inode, struct err *err)
{
	struct shown path, link;
	struct merge_node *n;
	int ret = find(m, item->link, item->e.link_len, &n);

	if (ret)
		return fail(err, ret, item, why(ret));
	show(&path, item->path, item->e.path_len);
	show(&link, item->link, item->e.link_len);
	if (!n)
		return err_say(err, -EBADMSG,
			       "%s: a hard link to %s, which is not there",
			       path.text, link.text);
	if (is_dir(n))
		return err_say(err, -EBADMSG,
			       "%s: a hard link to %s, which is a directory",
			       path.text, link.text);
	*inode = n->inode;
	return 0;
}

static int is_way(const struct merge_node *n)
{
	return is_dir(n) || n->inode->item.e.type == LAYER_SYMLINK;
}

/* @inode gets the name that @item has. */
static int put_name(struct merge *m, const struct layer_item *item,
		    struct merge_inode *inode, struct err *err)
{
	struct split s = split(item->path, item->e.path_len);
	struct merge_node *dir, *n;
	int ret = walk(m, s.way, s.way_len, 1, &dir);

	if (ret)
		return fail(err, ret, item, why(ret));
	n = merge_tree_find(&m->tree, dir, s.name, s.name_len);
	if (!n) {
		ret = merge_tree_add(&m->tree, dir, s.name, s.name_len, inode,
				     &n);
		return ret ? fail(err, ret, item, why(ret)) : 0;
	}
	if (is_way(n))
		forget_way(m);
	merge_tree_replace(&m->tree, n, inode);
	return 0;
}

static int put_link(struct merge *m, const struct layer_item *item,
		    struct err *err)
{
	struct merge_inode *inode = NULL;
	int ret = link_inode(m, item, &inode, err);

	return ret ? ret : put_name(m, item, inode, err);
}

static void set_attributes(struct merge_inode *inode,
			   const struct layer_item *item)
{
	inode->item = *item;
	inode->item.path = NULL;
}

/* A directory where one is: it stays, as this one. */
static int put_dir_on_dir(struct merge *m, const struct layer_item *item,
			  int *done, struct err *err)
{
	struct split s = split(item->path, item->e.path_len);
	struct merge_node *dir, *n = &m->tree.root;
	int ret;

	if (item->e.path_len) {
		ret = walk(m, s.way, s.way_len, 1, &dir);
		if (ret)
			return fail(err, ret, item, why(ret));
		n = merge_tree_find(&m->tree, dir, s.name, s.name_len);
	}
	*done = n && is_dir(n);
	if (*done)
		set_attributes(n->inode, item);
	return 0;
}

static int put(struct merge *m, const struct layer_item *item, struct err *err)
{
	struct merge_inode *inode;
	int done = 0, ret;

	if (item->e.major > MAJOR_MAX || item->e.minor > MINOR_MAX)
		return fail(err, -EBADMSG, item, "no such device number");
	if (item->e.type == LAYER_HARDLINK)
		return put_link(m, item, err);
	if (item->e.type == LAYER_DIR) {
		ret = put_dir_on_dir(m, item, &done, err);
		if (ret || done)
			return ret;
	}
	inode = merge_tree_inode(&m->tree, item, m->layers);
	if (!inode)
		return fail(err, -ENOMEM, item, why(-ENOMEM));
	ret = put_name(m, item, inode, err);
	if (ret)
		merge_tree_put(&m->tree, inode);
	return ret;
}

/* --- layers ------------------------------------------------------------ */

static int takes_away(const struct layer_item *item)
{
	return item->e.type == LAYER_WHITEOUT || item->e.type == LAYER_OPAQUE;
}

/* One pass over the entries: those that take away, or the others. */
static int pass(struct merge *m, const void *index, size_t size, int away,
		struct err *err)
{
	struct layer_reader r;
	struct layer_item item;
	int ret = layer_open(&r, index, size, err), more;

	while (!ret) {
		more = layer_next(&r, &item);
		if (more < 0)
			return err_say(err, more,
				       "the index of a layer is damaged");
		if (!more)
			break;
		if (takes_away(&item) != away)
			continue;
		ret = away ? take_away(m, &item, err) : put(m, &item, err);
	}
	return ret;
}

int merge_layer(struct merge *m, const void *index, size_t size,
		struct err *err)
{
	int ret;

	m->index_bytes += size;
	if (m->index_bytes > LAYER_INDEXES_MAX)
		return err_say(err, -EFBIG, "too many files in the image");
	ret = pass(m, index, size, 1, err);
	if (!ret)
		ret = pass(m, index, size, 0, err);
	m->layers++;
	return ret;
}

int merge_new(struct merge **m, struct err *err)
{
	*m = calloc(1, sizeof(**m));
	if (*m && !merge_tree_init(&(*m)->tree))
		return 0;
	merge_free(*m);
	*m = NULL;
	return err_set(err, -ENOMEM, "the tree of the image");
}

void merge_free(struct merge *m)
{
	if (!m)
		return;
	merge_tree_destroy(&m->tree);
	free(m);
}

int merge_sort(struct merge *m)
{
	return merge_tree_sort(&m->tree);
}

struct merge_node *merge_root(const struct merge *m)
{
	return (struct merge_node *)&m->tree.root;
}

uint64_t merge_inodes(const struct merge *m)
{
	return m->tree.count;
}
