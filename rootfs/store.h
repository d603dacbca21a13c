/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: images and their layers on the host's disk.
 *
 *	lock			flock: shared while one looks or adds, exclusive to
 *				remove
 *	names/NAME		the id of an image; NAME is reference_encode()d
 *	images/ID/		image.json, root.erofs
 *	layers/DIGEST/		layer.json, data, index (rootfs/layer.h)
 *	tmp/XXXXXX/		staging: `lock`, which its maker holds by flock;
 *				what nobody holds is litter
 *
 * The root is $MAYFLY_DATA_DIR, else /var/lib/mayfly for root, else
 * $XDG_DATA_HOME/mayfly, else ~/.local/share/mayfly. It must be ours, and not
 * writable by others; below it everything is opened from a descriptor and no
 * link is followed.
 *
 * Nothing is changed once it has its name: it is made in staging, written to
 * the disk (fdatasync), and moved to its place by one rename. So a process
 * may be killed at any moment, and any number may add the same thing at once:
 * the first wins, the others drop theirs. What is there but damaged is
 * replaced by the next that comes with a good one.
 *
 * Removing takes the name first, then the image, then the layers that no
 * image has any more. Files that a VM has open stay until it ends.
 *
 * Locks: a function that needs one says so; it asserts that the caller holds
 * it. Hold it shared from the first look at a layer until the image that
 * needs it is committed; not while something is fetched from the network.
 *
 * A struct store belongs to one thread. Sizes are in bytes; disk use counts
 * blocks (st_blocks). Functions give 0, a descriptor (the caller's, O_CLOEXEC)
 * or -errno with words: -ENOENT, -EBADMSG where the store is damaged, and what
 * the file system says (-ENOSPC, -EDQUOT, ...).
 */
#ifndef MAYFLY_STORE_H
#define MAYFLY_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "rootfs/image.h"
#include "rootfs/reference.h"

struct store;
struct store_stage;

/* --- the whole -------------------------------------------------------- */

/* With @create made where it is not there, else -ENOENT without words. */
int store_open(struct store **s, int create, struct err *err);
/* Lets go of the lock, too. Takes NULL. */
void store_free(struct store *s);
/* Where it is, for words. */
const char *store_path(const struct store *s);

enum store_hold { STORE_NONE, STORE_SHARED, STORE_EXCLUSIVE };

/* Called when the lock is not to be had within a moment, and again after each
 * further one: 0, or the -errno to give up with. */
typedef int (*store_waits_fn)(void *opaque);
/* Whoever in here waits for the lock calls it from now on; NULL: waits for as
 * long as it takes. */
void store_on_wait(struct store *s, store_waits_fn waits, void *opaque);

/* A lock that is held is changed, not atomically. */
int store_lock(struct store *s, enum store_hold how, struct err *err);
void store_unlock(struct store *s);

/* --- names ------------------------------------------------------------ */

/*
 * The id of what @text names: a reference, else 4 or more hex digits that one
 * id only begins with ("sha256:" may stand before them). -ENOENT hints at
 * pull; -EINVAL: no name at all, or several ids, which the words list. Shared.
 */
int store_resolve(const struct store *s, const char *text,
		  char id[IMAGE_HEX_MAX], struct err *err);

/* Let @name mean image @id, whatever it meant before. Shared. */
int store_tag(struct store *s, const struct reference *name, const char *id,
	      struct err *err);

/* --- to look ---------------------------------------------------------- */

/* image.json of @id. The caller frees @img. Shared. */
int store_read_image(const struct store *s, const char *id, struct image *img,
		     struct err *err);

/* Files of a disk, one after the other: root.erofs, then the data of each
 * layer, bottom first. Those without a byte are left out. */
#define STORE_FILES_MAX (1 + IMAGE_LAYERS_MAX)
struct store_files {
	unsigned n;
	int fds[STORE_FILES_MAX]; /* read-only */
};

/* Open the disk of @id. Every file has the size that the record gives it.
 * The caller frees @img, and closes the files. Shared. */
int store_open_image(const struct store *s, const char *id, struct image *img,
		     struct store_files *files, struct err *err);
void store_close_files(struct store_files *files);

/* Both files of a layer, read-only, and what is known of it. -ENOENT without
 * words; -EBADMSG where it is damaged: make it anew. Shared. */
struct store_layer {
	struct image_layer info;
	int data, index;
};
int store_open_layer(const struct store *s, const char *digest,
		     struct store_layer *l, struct err *err);

struct store_item {
	char id[IMAGE_HEX_MAX];
	struct image img; /* empty where damaged */
	char *damage;	  /* words; NULL: none */
	char **names;	  /* full references, sorted; ends with NULL */
	uint64_t own;	  /* disk use: without its layers, */
	uint64_t all;	  /* with them, */
	uint64_t unique;  /* with those that no other image has */
};

struct store_list {
	size_t n;
	struct store_item *items; /* by first name, those without one last */
	uint64_t total;		  /* disk use, every layer once */
	/* What store_prune() would give back of it: unnamed images, and layers
	 * of no image that has a name. Litter is in neither. */
	uint64_t unused;
};

/* Zeroes @list first; the caller frees it. Shared. */
int store_list(const struct store *s, struct store_list *list,
	       struct err *err);
void store_free_list(struct store_list *list);

/* --- to add ----------------------------------------------------------- */

/* A directory of one's own, below tmp/. Takes the lock shared for a moment
 * where it is not held. The caller ends it by store_end_stage(), which removes
 * what is left in it. */
int store_begin_stage(struct store *s, struct store_stage **st,
		      struct err *err);
void store_end_stage(struct store_stage *st); /* takes NULL */
/* Its directory: borrowed. Any name may be used in it but `lock` and those
 * that store_begin_part() makes ("part-N"). */
int store_stage_dir(const struct store_stage *st);
/* The same as a path, for other programs. Lives as long as the stage. */
const char *store_stage_path(const struct store_stage *st);

/* What the files directly in its directory @name take on the disk. */
uint64_t store_stage_usage(const struct store_stage *st, const char *name);

/* A directory in a stage that is to become a layer or an image. */
struct store_part {
	struct store_stage *stage;
	int dir; /* -1: none, or committed */
	char name[24];
};
#define STORE_PART_NONE { .dir = -1 }

int store_begin_part(struct store_stage *st, struct store_part *p,
		     struct err *err);
/* A new empty file in it, read and write. */
int store_part_file(const struct store_part *p, const char *name,
		    struct err *err);
/* Remove it; nothing where it was committed. store_end_stage() does it, too. */
void store_drop_part(struct store_part *p);

/* `data` and `index` in @p become layer @l->digest; their sizes are those in
 * @l. Ends @p, also by an error. Shared. */
int store_commit_layer(struct store_part *p, const struct image_layer *l,
		       struct err *err);

/* `root.erofs` in @p becomes image @img->id with this record, and @names
 * (there may be none) mean it from then on. All of its layers are there. Where
 * the image is there already it stays as it is, and gets the names; where that
 * was made from other layers its files must be the same, else -EEXIST. Ends
 * @p, also by an error. Shared. */
int store_commit_image(struct store_part *p, const struct image *img,
		       const struct reference *names, size_t nnames,
		       struct err *err);

/* --- to remove -------------------------------------------------------- */

struct store_freed {
	unsigned names, images, layers, stages;
	uint64_t bytes; /* disk use */
};

/*
 * Take away what @text names, as store_resolve() has it: a name, and with an
 * image's last name the image and the layers that only it had. An id takes its
 * only name along; several are -EBUSY and listed, unless @all. A damaged image
 * goes like any other. Exclusive. Adds to *@freed.
 */
int store_remove(struct store *s, const char *text, int all,
		 struct store_freed *freed, struct err *err);

/* Take away names of nothing, images without names, layers without images,
 * and staging that nobody holds. Exclusive. Adds to *@freed. */
int store_prune(struct store *s, struct store_freed *freed, struct err *err);

#endif
