/* SPDX-License-Identifier: Apache-2.0 */
/* A stream to a file tree: the side that believes nothing. */
#include "rootfs/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat() */
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is not whole yet has this name and 16 random digits. */
#define UNFINISHED ".mayfly-cp-"

/* A chunk of nothing but such blocks of zeros becomes a hole. */
#define BLOCK 4096

struct level {
	int fd;
	int made;	 /* by us: the entry's mode and time are set at UP */
	size_t path_len; /* of the parent */
	struct tree_hdr hdr;
};

struct unpack {
	int in;
	const struct tree_place *place;
	unsigned flags;
	mode_t umask;
	const struct tree_ops *ops;
	int incomplete;
	uint64_t entries, taken;
	char unfinished[sizeof(UNFINISHED) + 16];
	unsigned depth;
	struct level level[TREE_DEPTH_MAX];
	struct tree_path path;
	size_t head, tail;
	uint8_t buf[TREE_CHUNK_MAX];
	union {
		uint8_t chunk[TREE_CHUNK_MAX];
		uint64_t words[TREE_CHUNK_MAX / sizeof(uint64_t)];
	};
};

static int failed(struct unpack *u, const char *what, int error)
{
	u->ops->say(u->ops->opaque, u->path.text, what, error);
	return -error;
}

/* The stream is none. */
static int bad(struct unpack *u, const char *what)
{
	u->ops->say(u->ops->opaque, u->path.text, what, 0);
	return -EPROTO;
}

/* Before it is: holes are bytes as well. */
static int take(struct unpack *u, uint64_t bytes)
{
	uint64_t max = u->place->max;

	if (max && bytes > max - u->taken) {
		u->ops->say(u->ops->opaque, u->path.text,
			    "is more than may be copied", 0);
		return -E2BIG;
	}
	u->taken += bytes;
	if (u->ops->took)
		u->ops->took(u->ops->opaque, bytes);
	return 0;
}

/* --- reading ------------------------------------------------------------ */

static int fill(struct unpack *u)
{
	ssize_t n;

	do
		n = read(u->in, u->buf, sizeof(u->buf));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return failed(u, "the stream cannot be read", errno);
	if (!n)
		return failed(u, "the stream ends too soon", EPIPE);
	u->head = 0;
	u->tail = (size_t)n;
	if (u->ops->moved)
		u->ops->moved(u->ops->opaque, u->tail);
	return 0;
}

static int get(struct unpack *u, void *p, size_t n)
{
	size_t have;
	int ret;

	while (n) {
		if (u->head == u->tail) {
			ret = fill(u);
			if (ret)
				return ret;
		}
		have = u->tail - u->head < n ? u->tail - u->head : n;
		memcpy(p, u->buf + u->head, have);
		u->head += have;
		p = (uint8_t *)p + have;
		n -= have;
	}
	return 0;
}

static int is_name(const char *s, size_t len)
{
	return len && len <= NAME_MAX && !memchr(s, '/', len) &&
	       !memchr(s, '\0', len) &&
	       !(s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.')));
}

static int hdr_ok(const struct tree_hdr *h)
{
	int bare = h->type == TREE_UP || h->type == TREE_END;

	if (h->type < TREE_FILE || h->type > TREE_END || h->pad ||
	    h->mode & ~07777u || h->mtime_ns >= 1000000000u)
		return 0;
	if (bare && (h->name_len || h->mode || h->mtime_s || h->mtime_ns))
		return 0;
	if (h->type == TREE_LINK)
		return h->size && h->size < PATH_MAX && !h->mode;
	return h->type == TREE_END || !h->size;
}

/* --- making ------------------------------------------------------------- */

static int name_dir(const struct unpack *u)
{
	return u->depth ? u->level[u->depth - 1].fd : u->place->dir;
}

static mode_t mode_of(const struct unpack *u, const struct tree_hdr *h)
{
	mode_t mode = h->mode;

	if (u->flags & TREE_EXACT_MODES)
		return mode;
	mode &= 0777 & ~u->umask;
	return h->type == TREE_DIR ? mode | 0700 : mode;
}

static void times_of(const struct tree_hdr *h, struct timespec ts[2])
{
	ts[0].tv_sec = 0;
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_sec = h->mtime_s;
	ts[1].tv_nsec = h->mtime_ns;
}

/* What we made gets its name. What has that name goes, be it a link. */
static int finish(struct unpack *u, int dir, const char *name)
{
	struct stat st;
	int error;

	if (!renameat(dir, u->unfinished, dir, name))
		return 0;
	error = errno;
	/* Landlock refuses first what no file system would do. */
	if (error == EACCES && !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) &&
	    S_ISDIR(st.st_mode))
		error = EISDIR;
	return failed(u, "cannot be replaced", error);
}

/* By words: an interpreted CPU is to look at every one of them. */
static int is_zero(const uint64_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n / sizeof(*p); i++) {
		if (p[i])
			return 0;
	}
	return 1;
}

static int write_at(struct unpack *u, int fd, const uint8_t *p, size_t n,
		    uint64_t at)
{
	ssize_t put;

	while (n) {
		put = pwrite(fd, p, n, (off_t)at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return failed(u, "cannot be written",
				      put ? errno : ENOSPC);
		p += put;
		n -= (size_t)put;
		at += (uint64_t)put;
	}
	return 0;
}

/* The next @len bytes of the stream to the file, at @at. *@end is where what
 * was written ends. */
static int write_chunk(struct unpack *u, int fd, uint32_t len, uint64_t at,
		       uint64_t *end)
{
	int ret = get(u, u->chunk, len);

	if (ret || (!(at % BLOCK) && !(len % BLOCK) && is_zero(u->words, len)))
		return ret;
	*end = at + len;
	return write_at(u, fd, u->chunk, len, at);
}

/* The chunks of a file. 1 if it is to be forgotten. */
static int write_chunks(struct unpack *u, int fd)
{
	uint64_t at = 0, end = 0;
	uint32_t len;
	int ret;

	for (;;) {
		ret = get(u, &len, sizeof(len));
		if (ret)
			return ret;
		if (len == TREE_SPOILT)
			return 1;
		if (len > TREE_CHUNK_MAX)
			return bad(u, "the stream is damaged: chunk");
		if (!len)
			break;
		ret = take(u, len);
		if (!ret)
			ret = write_chunk(u, fd, len, at, &end);
		if (ret)
			return ret;
		at += len;
	}
	/* A hole at the end is not there yet. */
	if (end < at && ftruncate(fd, (off_t)at))
		return failed(u, "cannot be written", errno);
	return 0;
}

static int create(struct unpack *u, int dir)
{
	const int how = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir, u->unfinished, how, 0600);

	return fd < 0 ? failed(u, "cannot be created", errno) : fd;
}

/* Before the mode is set: a change of owner takes set-user-ID away. */
static int give_away(struct unpack *u, int fd)
{
	const struct tree_owner *o = u->place->owner;

	return o ? fchown(fd, o->uid, o->gid) : 0;
}

static int make_file(struct unpack *u, const struct tree_hdr *h,
		     const char *name)
{
	int dir = name_dir(u), fd = create(u, dir);
	struct timespec ts[2];
	int ret;

	if (fd < 0)
		return fd;
	times_of(h, ts);
	ret = write_chunks(u, fd);
	if (!ret && (give_away(u, fd) || fchmod(fd, mode_of(u, h)) ||
		     futimens(fd, ts)))
		ret = failed(u, "mode and time cannot be set", errno);
	/* Here a file system may say at last that it has no room. */
	if (close(fd) && !ret)
		ret = failed(u, "cannot be written", errno);
	if (!ret)
		ret = finish(u, dir, name);
	if (ret)
		unlinkat(dir, u->unfinished, 0);
	if (ret == 1) {
		u->incomplete = 1;
		ret = 0;
	}
	return ret;
}

static int make_link(struct unpack *u, const struct tree_hdr *h,
		     const char *name)
{
	const struct tree_owner *o = u->place->owner;
	char target[PATH_MAX];
	int ret, dir = name_dir(u);
	struct timespec ts[2];

	ret = get(u, target, (size_t)h->size);
	if (ret)
		return ret;
	target[h->size] = '\0';
	if (strlen(target) != h->size)
		return bad(u, "the stream is damaged: link");
	if (symlinkat(target, dir, u->unfinished))
		return failed(u, "cannot be created", errno);
	if (o && fchownat(dir, u->unfinished, o->uid, o->gid,
			  AT_SYMLINK_NOFOLLOW))
		ret = failed(u, "cannot be given away", errno);
	times_of(h, ts);
	/* A file system without times for links is good enough. */
	if (utimensat(dir, u->unfinished, ts, AT_SYMLINK_NOFOLLOW))
		(void)0;
	if (!ret)
		ret = finish(u, dir, name);
	if (ret)
		unlinkat(dir, u->unfinished, 0);
	return ret;
}

/* @name "" is the place itself. */
static int make_dir(struct unpack *u, const struct tree_hdr *h,
		    const char *name, size_t parent_len)
{
	const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct level *l = &u->level[u->depth];
	int dir = name_dir(u);

	if (u->depth == TREE_DEPTH_MAX)
		return bad(u, "the stream is damaged: too deep");
	l->made = *name && !mkdirat(dir, name, 0700);
	if (*name && !l->made && errno != EEXIST)
		return failed(u, "cannot be created", errno);
	l->fd = openat(dir, *name ? name : ".", how);
	if (l->fd < 0)
		return failed(u, l->made ? "cannot be opened" :
			      "is there, and no directory to copy into", errno);
	l->hdr = *h;
	l->path_len = parent_len;
	u->depth++;
	return 0;
}

static int leave_dir(struct unpack *u)
{
	struct level *l = &u->level[--u->depth];
	struct timespec ts[2];
	int ret = 0;

	times_of(&l->hdr, ts);
	if (l->made && (give_away(u, l->fd) ||
	    fchmod(l->fd, mode_of(u, &l->hdr)) || futimens(l->fd, ts)))
		ret = failed(u, "mode and time cannot be set", errno);
	close(l->fd);
	tree_path_cut(&u->path, l->path_len);
	return ret;
}

/* --- entries ------------------------------------------------------------ */

static int make_entry(struct unpack *u, const struct tree_hdr *h,
		      const char *name)
{
	size_t len = u->path.len;
	unsigned depth = u->depth;
	int ret;

	if (depth)
		tree_path_add(&u->path, name);
	u->entries++;
	ret = take(u, TREE_ENTRY_COST);
	if (ret)
		return ret;
	if (h->type == TREE_DIR)
		ret = make_dir(u, h, name, len);
	else if (!*name)
		ret = failed(u, "is a directory", EISDIR);
	else if (!depth && u->place->only_dir)
		ret = failed(u, "is to be a directory", ENOTDIR);
	else if (h->type == TREE_FILE)
		ret = make_file(u, h, name);
	else
		ret = make_link(u, h, name);
	/* A message names what failed: the path stays for it. */
	if (!ret && u->depth == depth)
		tree_path_cut(&u->path, len);
	return ret;
}

static int get_hdr(struct unpack *u, struct tree_hdr *h,
		   char name[NAME_MAX + 1])
{
	int first = !u->entries;
	int ret = get(u, h, sizeof(*h));

	if (ret)
		return ret;
	if (!hdr_ok(h))
		return bad(u, "the stream is damaged: entry");
	name[0] = '\0';
	if (h->type >= TREE_UP)
		return first ? bad(u, "the stream is damaged: start") : 0;
	if (first)
		return h->name_len ? bad(u, "the stream is damaged: start") : 0;
	if (h->name_len > NAME_MAX)
		return bad(u, "the stream is damaged: name");
	ret = get(u, name, h->name_len);
	if (ret)
		return ret;
	name[h->name_len] = '\0';
	return is_name(name, h->name_len) ?
		       0 : bad(u, "the stream is damaged: name");
}

/* 1 when the whole tree is there. */
static int unpack_one(struct unpack *u)
{
	char name[NAME_MAX + 1];
	struct tree_hdr h;
	int first = !u->entries;
	int ret = get_hdr(u, &h, name);

	if (ret)
		return ret;
	/* UP belongs inside, END outside, anything else once outside. */
	if (h.type == TREE_UP ? !u->depth :
	    h.type == TREE_END ? u->depth || h.size != u->entries :
				 !u->depth && !first)
		return bad(u, "the stream is damaged: order");
	if (h.type == TREE_UP)
		return leave_dir(u);
	if (h.type == TREE_END)
		return 1;
	return make_entry(u, &h, first ? u->place->name : name);
}

static int unpack_all(struct unpack *u)
{
	char magic[TREE_MAGIC_LEN];
	int ret = get(u, magic, sizeof(magic));

	if (!ret && memcmp(magic, TREE_MAGIC, sizeof(magic)))
		ret = bad(u, "the stream is no file tree");
	while (!ret)
		ret = unpack_one(u);
	return ret < 0 ? ret : 0;
}

static int choose_name(struct unpack *u)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t random[8];
	char *p;
	size_t i;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return failed(u, "no random number", errno);
	strcpy(u->unfinished, UNFINISHED);
	p = u->unfinished + strlen(UNFINISHED);
	for (i = 0; i < sizeof(random); i++) {
		*p++ = digits[random[i] >> 4];
		*p++ = digits[random[i] & 15];
	}
	*p = '\0';
	return 0;
}

int tree_unpack(int in, const struct tree_place *p, unsigned flags,
		const struct tree_ops *ops)
{
	struct unpack u;
	int ret;

	u.in = in;
	u.place = p;
	u.flags = flags;
	u.umask = umask(022);
	umask(u.umask);
	u.ops = ops;
	u.incomplete = 0;
	u.entries = u.taken = 0;
	u.depth = 0;
	u.head = u.tail = 0;
	tree_path_cut(&u.path, 0);
	tree_path_add(&u.path, p->shown);
	if (p->below)
		tree_path_add(&u.path, p->name);
	ret = choose_name(&u);
	if (!ret)
		ret = unpack_all(&u);
	while (u.depth)
		close(u.level[--u.depth].fd);
	return ret ? ret : u.incomplete;
}

/* --- where to ----------------------------------------------------------- */

static int no_place(const struct tree_ops *ops, const char *dest,
		    const char *what, int error)
{
	ops->say(ops->opaque, dest, what, error);
	return -error;
}

/* @dest is no directory: its parent is, and the last component the name. */
static int place_new(struct tree_place *p, const char *dest,
		     const struct tree_ops *ops)
{
	size_t len = strlen(dest), end = len, at;
	char parent[PATH_MAX];

	while (end && dest[end - 1] == '/')
		end--;
	for (at = end; at && dest[at - 1] != '/'; at--)
		;
	if (!is_name(dest + at, end - at) || at >= sizeof(parent))
		return no_place(ops, dest, "is no name for a copy", EINVAL);
	memcpy(p->name, dest + at, end - at);
	p->name[end - at] = '\0';
	p->only_dir = end < len;
	memcpy(parent, at ? dest : ".", at ? at : 1);
	parent[at ? at : 1] = '\0';
	p->dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0)
		return no_place(ops, parent, "cannot be opened", errno);
	return 0;
}

int tree_place(struct tree_place *p, const char *dest, const char *name,
	       const struct tree_ops *ops)
{
	struct stat st;

	memset(p, 0, sizeof(*p));
	p->dir = -1;
	p->shown = dest;
	if (*name && !is_name(name, strlen(name)))
		return no_place(ops, name, "is no name for a copy", EINVAL);
	p->dir = open(dest, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->dir >= 0) {
		strcpy(p->name, name);
		p->below = *name != '\0';
		return 0;
	}
	if (errno == ENOENT || (errno == ENOTDIR && !stat(dest, &st)))
		return place_new(p, dest, ops);
	return no_place(ops, dest, "cannot be opened", errno);
}
