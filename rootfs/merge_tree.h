/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge_tree: names, inodes, and the hash by which a name is found in its
 * directory. Inside of merge.
 */
#ifndef MAYFLY_MERGE_TREE_H
#define MAYFLY_MERGE_TREE_H

#include "rootfs/merge.h"

/* Pieces of one size, taken from large blocks and given back to a list. */
struct merge_pool {
	size_t size;
	void *freed;
	char *at, *end;
	void *blocks;
};

struct merge_tree {
	struct merge_node root;
	struct merge_pool nodes, inodes;
	struct merge_node **buckets;
	size_t nbuckets; /* a power of two */
	size_t names;	 /* without the root's */
	size_t count;	 /* inodes */
	uint64_t key[2];
};

int merge_tree_init(struct merge_tree *t);
void merge_tree_destroy(struct merge_tree *t);

struct merge_node *merge_tree_find(const struct merge_tree *t,
			     const struct merge_node *dir, const char *name,
			     size_t len);

/* An inode without a name: it goes with its last one, or by merge_tree_put(). NULL
 * without memory. */
struct merge_inode *merge_tree_inode(struct merge_tree *t,
			       const struct layer_item *item, unsigned layer);
void merge_tree_put(struct merge_tree *t, struct merge_inode *inode);

/* A new name for @inode. 0, -ENOMEM, or -EFBIG where there are too many. */
int merge_tree_add(struct merge_tree *t, struct merge_node *dir, const char *name,
	     size_t len, struct merge_inode *inode, struct merge_node **made);
/* @node becomes a name of @inode, and what was below it is gone. */
void merge_tree_replace(struct merge_tree *t, struct merge_node *node,
		  struct merge_inode *inode);
/* All that is in a directory, or the node too. */
void merge_tree_clear(struct merge_tree *t, struct merge_node *node);
void merge_tree_remove(struct merge_tree *t, struct merge_node *node);

int merge_tree_sort(struct merge_tree *t);

#endif
