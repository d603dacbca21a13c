/* SPDX-License-Identifier: Apache-2.0 */
/* A file tree to a stream: the side that reads files. */
#include "rootfs/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

/* What a directory is read by. It is read again from where we left it after
 * each directory in it, so that one buffer serves all depths. */
#define DENTS_SIZE 4096

/* What getdents64(2) gives. */
struct dent {
	uint64_t ino;
	int64_t next;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

struct level {
	int fd;
	dev_t dev;
	int64_t next;	 /* where the directory is to be read on */
	size_t path_len; /* of the directory's own path */
};

struct pack {
	int out;
	const struct tree_ops *ops;
	int incomplete;
	uint64_t entries;
	unsigned depth;
	struct level level[TREE_DEPTH_MAX];
	struct tree_path path;
	size_t used;
	uint8_t buf[2 * TREE_CHUNK_MAX];
	_Alignas(8) char dents[DENTS_SIZE];
};

static int flush(struct pack *k)
{
	size_t at = 0;
	ssize_t n;

	while (at < k->used) {
		n = write(k->out, k->buf + at, k->used - at);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			at += (size_t)n;
	}
	if (k->ops->moved)
		k->ops->moved(k->ops->opaque, k->used);
	k->used = 0;
	return 0;
}

/* Room for @n bytes at the end of the buffer. */
static int reserve(struct pack *k, size_t n)
{
	return n <= sizeof(k->buf) - k->used ? 0 : flush(k);
}

static int put(struct pack *k, const void *p, size_t n)
{
	int ret = reserve(k, n);

	if (ret)
		return ret;
	memcpy(k->buf + k->used, p, n);
	k->used += n;
	return 0;
}

static int put_u32(struct pack *k, uint32_t v)
{
	return put(k, &v, sizeof(v));
}

static int put_hdr(struct pack *k, const struct tree_hdr *h, const char *name)
{
	int ret = put(k, h, sizeof(*h));

	return ret ? ret : put(k, name, h->name_len);
}

/* Head and name of a FILE, LINK or DIR. */
static int put_entry(struct pack *k, enum tree_type type, const struct stat *st,
		     const char *name, uint64_t size)
{
	struct tree_hdr h = {
		.type = (uint16_t)type,
		.name_len = (uint16_t)strlen(name),
		.mode = type == TREE_LINK ? 0 : st->st_mode & 07777,
		.mtime_s = st->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.size = size,
	};

	k->entries++;
	return put_hdr(k, &h, name);
}

/* Left out for an error: the copy is not whole. 0, to go on. */
static int leave_out(struct pack *k, const char *what, int error)
{
	k->incomplete = 1;
	k->ops->say(k->ops->opaque, k->path.text, what, error);
	return 0;
}

/* Left out by rule. */
static int skip(struct pack *k, const char *what)
{
	k->ops->say(k->ops->opaque, k->path.text, what, 0);
	return 0;
}

/* Until its end, wherever that is by then: files of proc have no size. */
static int pack_data(struct pack *k, int fd)
{
	const size_t head = sizeof(uint32_t);
	uint32_t len;
	ssize_t n;
	int ret;

	for (;;) {
		ret = reserve(k, head + TREE_CHUNK_MAX);
		if (ret)
			return ret;
		n = read(fd, k->buf + k->used + head, TREE_CHUNK_MAX);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			leave_out(k, "cannot be read", errno);
			return put_u32(k, TREE_SPOILT);
		}
		len = (uint32_t)n;
		memcpy(k->buf + k->used, &len, head);
		k->used += head + len;
		if (!len)
			return 0;
	}
}

static int pack_file(struct pack *k, int dir, const char *file,
		     const char *name)
{
	/* It may be something else by now: wait for no one. */
	int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
			O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int ret;

	if (fd < 0 || fstat(fd, &st)) {
		ret = leave_out(k, "cannot be opened", errno);
	} else if (!S_ISREG(st.st_mode)) {
		ret = leave_out(k, "changed while it was opened", 0);
	} else {
		ret = put_entry(k, TREE_FILE, &st, name, 0);
		if (!ret)
			ret = pack_data(k, fd);
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

static int pack_link(struct pack *k, int dir, const char *file,
		     const char *name, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir, file, target, sizeof(target));
	int ret;

	if (n <= 0 || (size_t)n >= sizeof(target))
		return leave_out(k, "cannot be read", n < 0 ? errno : 0);
	ret = put_entry(k, TREE_LINK, st, name, (uint64_t)n);
	return ret ? ret : put(k, target, (size_t)n);
}

/* File systems whose files are no files: they have no end, or take effect. */
static int is_made_up(int fd)
{
	static const uint32_t magic[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC,	  CGROUP_SUPER_MAGIC,
		DEBUGFS_MAGIC,	  TRACEFS_MAGIC,  CGROUP2_SUPER_MAGIC,
		BPF_FS_MAGIC,	  SECURITYFS_MAGIC, DEVPTS_SUPER_MAGIC,
	};
	struct statfs fs;
	size_t i;

	if (fstatfs(fd, &fs))
		return 0;
	for (i = 0; i < sizeof(magic) / sizeof(magic[0]); i++) {
		if ((uint32_t)fs.f_type == magic[i])
			return 1;
	}
	return 0;
}

/* Enter it; its entries come next. */
static int pack_dir(struct pack *k, int dir, const char *file, const char *name,
		    size_t parent_len)
{
	struct level *l = &k->level[k->depth];
	struct stat st;
	int fd, error;

	if (k->depth == TREE_DEPTH_MAX)
		return leave_out(k, "is too deep", 0);
	fd = openat(dir, file, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		error = errno;
		if (fd >= 0)
			close(fd);
		return leave_out(k, "cannot be opened", error);
	}
	if (k->depth && st.st_dev != l[-1].dev && is_made_up(fd)) {
		close(fd);
		return skip(k, "is another kind of file system, left out");
	}
	l->fd = fd;
	l->dev = st.st_dev;
	l->next = 0;
	l->path_len = parent_len;
	k->depth++;
	return put_entry(k, TREE_DIR, &st, name, 0);
}

/* What @file in @dir is, as @name. A directory is only begun. */
static int pack_entry(struct pack *k, int dir, const char *file,
		      const char *name)
{
	size_t len = k->path.len;
	unsigned depth = k->depth;
	struct stat st;
	int ret;

	tree_path_add(&k->path, file);
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW))
		ret = leave_out(k, "cannot be read", errno);
	else if (S_ISREG(st.st_mode))
		ret = pack_file(k, dir, file, name);
	else if (S_ISLNK(st.st_mode))
		ret = pack_link(k, dir, file, name, &st);
	else if (S_ISDIR(st.st_mode))
		ret = pack_dir(k, dir, file, name, len);
	else
		ret = skip(k, "is no file, directory or link, left out");
	if (k->depth == depth)
		tree_path_cut(&k->path, len);
	return ret;
}

static int is_dot(const char *name)
{
	return name[0] == '.' &&
	       (!name[1] || (name[1] == '.' && !name[2]));
}

/* The entries of the deepest directory, until one of them is a directory.
 * 1 when there is no more. */
static int pack_entries(struct pack *k)
{
	struct level *l = &k->level[k->depth - 1];
	unsigned depth = k->depth;
	struct dent *d;
	long n, at;
	int ret;

	n = syscall(SYS_getdents64, l->fd, k->dents, sizeof(k->dents));
	if (n < 0)
		leave_out(k, "cannot be read", errno);
	if (n <= 0)
		return 1;
	for (at = 0; at < n; at += d->reclen) {
		d = (struct dent *)(k->dents + at);
		if (is_dot(d->name))
			continue;
		l->next = d->next;
		ret = pack_entry(k, l->fd, d->name, d->name);
		if (ret || k->depth != depth)
			return ret;
	}
	return 0;
}

static int leave_dir(struct pack *k)
{
	static const struct tree_hdr up = { .type = TREE_UP };
	struct level *l = &k->level[--k->depth];

	close(l->fd);
	tree_path_cut(&k->path, l->path_len);
	if (k->depth &&
	    lseek(l[-1].fd, l[-1].next, SEEK_SET) != l[-1].next)
		leave_out(k, "cannot be read on", errno);
	return put_hdr(k, &up, "");
}

static int pack_all(struct pack *k, const char *path)
{
	struct tree_hdr end = { .type = TREE_END };
	int ret = put(k, TREE_MAGIC, TREE_MAGIC_LEN);

	if (!ret)
		ret = pack_entry(k, AT_FDCWD, path, "");
	if (!ret && !k->entries)
		return -ENOENT;
	while (!ret && k->depth) {
		ret = pack_entries(k);
		if (ret == 1)
			ret = leave_dir(k);
	}
	if (ret)
		return ret;
	end.size = k->entries;
	ret = put_hdr(k, &end, "");
	return ret ? ret : flush(k);
}

int tree_pack(int out, const char *path, const struct tree_ops *ops)
{
	struct pack k;
	int ret;

	k.out = out;
	k.ops = ops;
	k.incomplete = 0;
	k.entries = 0;
	k.depth = 0;
	k.used = 0;
	tree_path_cut(&k.path, 0);
	ret = pack_all(&k, path);
	while (k.depth)
		close(k.level[--k.depth].fd);
	return ret ? ret : k.incomplete;
}
