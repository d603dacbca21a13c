/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree: a file tree as a stream of bytes, between host and guest.
 *
 *	magic, one entry without a name (what is copied), END
 *
 * An entry is a struct tree_hdr, its name, and by its type:
 *
 *	FILE	chunks: u32 n (1 to TREE_CHUNK_MAX), n bytes; then u32 0, or
 *		TREE_SPOILT where the file could not be read to its end
 *	LINK	`size` bytes: where the symbolic link points
 *	DIR	the entries in it, then UP
 *
 * A name is one component of a path, so an entry can be nowhere but in the
 * directory whose DIR it follows; and who unpacks holds that directory by
 * descriptor, and opens it following no link. There is nothing in a stream
 * that could name a place outside: no path, no owner, no device, no hard link.
 * END counts the entries: a stream without it is not the whole tree.
 *
 * Both sides need a fixed amount of memory, and a descriptor for each directory
 * they are in, TREE_DEPTH_MAX at most. Nothing is allocated, no state is
 * global. Compiled with glibc for the launcher and musl for the agent.
 */
#ifndef MAYFLY_TREE_H
#define MAYFLY_TREE_H

#include <assert.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TREE_MAGIC     "mayftree"
#define TREE_MAGIC_LEN 8
#define TREE_DEPTH_MAX 256
#define TREE_CHUNK_MAX 65536u
#define TREE_SPOILT    UINT32_MAX

enum tree_type { TREE_FILE = 1, TREE_LINK, TREE_DIR, TREE_UP, TREE_END };

struct tree_hdr {
	uint16_t type;
	uint16_t name_len; /* 1 to NAME_MAX; 0: the first entry, UP and END */
	uint32_t mode;	   /* of FILE and DIR: permissions, & 07777 */
	int64_t mtime_s;
	uint32_t mtime_ns; /* below 10^9 */
	uint32_t pad;	   /* 0 */
	uint64_t size;	   /* of LINK: below PATH_MAX; of END: FILE, LINK and
			    * DIR entries before; else 0 */
};

static_assert(sizeof(struct tree_hdr) == 32, "tree_hdr");
static_assert(offsetof(struct tree_hdr, size) == 24, "tree_hdr");

struct tree_ops {
	/* For the user: what happened to @path. An errno, or 0. */
	void (*say)(void *opaque, const char *path, const char *what,
		    int error);
	/* So many bytes of the stream have passed; or NULL. */
	void (*moved)(void *opaque, uint64_t bytes);
	/* So many bytes of tree_place's `max` are taken; or NULL. */
	void (*took)(void *opaque, uint64_t bytes);
	void *opaque;
};

/*
 * Write what @path is to @out. A symbolic link is copied as such, unless a
 * slash follows its name. What is no file, directory or link is left out with
 * a word, and so are the directories of proc and its like below @path.
 *
 * 0; 1 where parts could not be read, which are missing then; -errno where
 * there is no whole stream: -EPIPE is the other end's doing. All is said, but
 * for what @out refused.
 */
int tree_pack(int out, const char *path, const struct tree_ops *ops);

/* What an entry takes besides its data: a file system gives it an inode and,
 * mostly, a block. */
#define TREE_ENTRY_COST 4096u

struct tree_owner {
	uint32_t uid, gid;
};

/* Where a tree goes, known before a byte of it is read. */
struct tree_place {
	int dir;		 /* O_PATH */
	char name[NAME_MAX + 1]; /* in it; "": the tree is merged into it */
	int only_dir;		 /* @name must be a directory */
	const char *shown;	 /* for messages; borrowed */
	int below;		 /* @name is in @shown, else it is @shown */
	/* For the caller to set. */
	uint64_t max; /* bytes that it may take, with all entries; 0: any */
	const struct tree_owner *owner; /* NULL: who unpacks */
};

/*
 * cp's rules: @dest itself where it is a directory and @name is "", @dest/@name
 * where it is a directory, else @dest, which need not be there, but whose
 * parent must. 0 with @p->dir to be closed by the caller, or -errno, said.
 */
int tree_place(struct tree_place *p, const char *dest, const char *name,
	       const struct tree_ops *ops);

enum tree_flags {
	/* Modes are as they were. Else the caller's umask holds, no
	 * set-user-ID, set-group-ID or sticky bit comes through, and a
	 * directory can be entered and removed by its owner. */
	TREE_EXACT_MODES = 1,
};

/*
 * Make the tree that is read from @in, which may be hostile. Files and links
 * are made beside the name that they get at last, so they are there whole or
 * not at all, and nothing is written through what was there. A directory that
 * is there gets the new entries and stays as it is else.
 *
 * 0 with the whole tree there, 1 with all of it but files that could not be
 * read (the other side has named them), or -errno, said: -EPIPE where the
 * stream ends too soon, -EPROTO where it is none, -E2BIG where it is more than
 * the place may take.
 */
int tree_unpack(int in, const struct tree_place *p, unsigned flags,
		const struct tree_ops *ops);

/* Inside: the path that is being worked on, for messages. Cut if too long. */
struct tree_path {
	size_t len;
	char text[PATH_MAX];
};

/* Append "/@name", or @name where it is the first. */
static inline void tree_path_add(struct tree_path *p, const char *name)
{
	size_t n = strlen(name);

	if (p->len && p->text[p->len - 1] != '/' &&
	    p->len < sizeof(p->text) - 1)
		p->text[p->len++] = '/';
	if (n > sizeof(p->text) - 1 - p->len)
		n = sizeof(p->text) - 1 - p->len;
	memcpy(p->text + p->len, name, n);
	p->len += n;
	p->text[p->len] = '\0';
}

static inline void tree_path_cut(struct tree_path *p, size_t len)
{
	p->len = len;
	p->text[len] = '\0';
}

#endif
