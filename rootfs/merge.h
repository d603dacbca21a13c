/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge: the tree that layers make, one over the other (rootfs/layer.h).
 *
 *	- A later entry replaces an earlier one of its name and all below it. A
 *	  directory over a directory leaves what is in it, and has the later
 *	  one's attributes.
 *	- Whiteouts and opaque marks of a layer act on the layers below it,
 *	  wherever in the layer they stand: they are done first.
 *	- Directories that are missing on the way are made: root's, 0755, 1970.
 *	- A symbolic link on the way is followed inside the tree; ".." ends at
 *	  the root. The last name of a path is never followed.
 *	- A hard link needs its target to be there by then; its own attributes
 *	  do not count.
 *
 * Indexes come from tars that anyone may have made. Work and memory grow with
 * their size and no faster: names are found by a hash with a key that nobody
 * knows, nothing recurses, what links lead to is counted, and so is all that
 * is kept:
 *
 *	LAYER_INDEXES_MAX bytes of all indexes
 *	LAYER_ENTRIES_MAX names in the tree at any time
 *	MERGE_LINKS_MAX   symbolic links on one way
 *	MERGE_TARGETS_MAX bytes of links followed, in all
 *
 * The tree borrows names, links and xattrs from the indexes, which must stay.
 * It belongs to one thread.
 */
#ifndef MAYFLY_MERGE_H
#define MAYFLY_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "rootfs/layer.h"

struct err;
struct merge;

#define MERGE_LINKS_MAX	  40
#define MERGE_TARGETS_MAX ((uint64_t)1 << 28)

struct merge_inode {
	struct layer_item item; /* but for its path */
	unsigned layer;		/* whose data its data is in, from 0 on */
	uint32_t names;
	struct merge_node *children; /* of a directory, the first */
	uint64_t place; /* 0, for who lays inodes out */
};

struct merge_node {
	struct merge_node *parent; /* the root's is the root */
	struct merge_node *next, *prev;
	struct merge_node *chain; /* of the hash */
	struct merge_inode *inode;
	const char *name; /* without a NUL */
	uint16_t name_len;
};

/* A tree of a root directory. */
int merge_new(struct merge **m, struct err *err);
void merge_free(struct merge *m);

/* Put a layer on it: 0, or with words -EBADMSG, -EFBIG or -ENOMEM, after which
 * the tree is good for nothing but merge_free(). */
int merge_layer(struct merge *m, const void *index, size_t size,
		struct err *err);

/* Put the names of each directory into the order of their bytes. 0 or
 * -ENOMEM. */
int merge_sort(struct merge *m);

struct merge_node *merge_root(const struct merge *m);
/* Of the whole tree, the root's among them. */
uint64_t merge_inodes(const struct merge *m);

#endif
