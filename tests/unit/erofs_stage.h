/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs_stage: an image made of layers, and all that can be seen of it, by
 * three who know nothing of each other: the reader of erofs_read.h, Linux where
 * it mounts a file (6.12 and later, as root), and fsck.erofs.
 */
#ifndef MAYFLY_TESTS_EROFS_STAGE_H
#define MAYFLY_TESTS_EROFS_STAGE_H

#include "tests/unit/layer_stage.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define erofs_must(x) cr_assert(x, "the image is broken: %s", #x)
#include "tests/unit/erofs_read.h"

#include "rootfs/erofs.h"
#include "rootfs/unpack.h"
#include "runner/base/mem.h"

/* --- lists ------------------------------------------------------------- */

/* What a tree looks like, a line for each name. */
struct line {
	char *path, *text;
	uint64_t ino;
	const char *first; /* of the names of its inode */
};

struct list {
	struct line *v;
	size_t n, room;
};

static void list_add(struct list *l, const char *path, uint64_t ino,
		     char *text)
{
	if (l->n == l->room) {
		l->room = l->room * 2 + 64;
		l->v = realloc(l->v, l->room * sizeof(*l->v));
		cr_assert_not_null(l->v);
	}
	l->v[l->n++] = (struct line){ strdup(path), text, ino, NULL };
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct line *)a)->path,
		      ((const struct line *)b)->path);
}

static int by_ino(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->ino != y->ino ? (x->ino < y->ino ? -1 : 1) : by_path(a, b);
}

static void list_sort(struct list *l)
{
	size_t i;

	qsort(l->v, l->n, sizeof(*l->v), by_ino);
	for (i = 0; i < l->n; i++)
		l->v[i].first = i && l->v[i].ino == l->v[i - 1].ino ?
					l->v[i - 1].first : l->v[i].path;
	qsort(l->v, l->n, sizeof(*l->v), by_path);
}

static void list_free(struct list *l)
{
	while (l->n--) {
		free(l->v[l->n].path);
		free(l->v[l->n].text);
	}
	free(l->v);
}

static void lists_are_equal(const struct list *a, const struct list *b,
			    const char *who)
{
	size_t i;

	for (i = 0; i < a->n && i < b->n; i++) {
		cr_assert_str_eq(a->v[i].path, b->v[i].path, "%s: %s or %s?",
				 who, a->v[i].path, b->v[i].path);
		cr_assert_str_eq(a->v[i].text, b->v[i].text,
				 "%s: %s\nis  %s\nnot %s", who, a->v[i].path,
				 b->v[i].text, a->v[i].text);
		cr_assert_str_eq(a->v[i].first, b->v[i].first, "%s: links of %s",
				 who, a->v[i].path);
	}
	cr_assert_eq(a->n, b->n, "%s: %zu or %zu names", who, a->n, b->n);
}

__attribute__((unused)) static const struct line *
list_find(const struct list *l, const char *path)
{
	struct line key = { .path = (char *)path };

	return bsearch(&key, l->v, l->n, sizeof(key), by_path);
}

/* FNV-1a, for contents and whatever is too long for a line. */
static uint64_t sum(const void *p, size_t n)
{
	uint64_t v = 0xcbf29ce484222325;
	const uint8_t *b = p;

	while (n--)
		v = (v ^ *b++) * 0x100000001b3;
	return v;
}

struct seen {
	uint32_t mode, uid, gid, nlink;
	uint64_t rdev, size;
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint64_t data; /* the sum of a file or link */
	const char *xattrs;
};

/* Sizes of directories are each file system's own. */
static char *line_of(const struct seen *s)
{
	char *text;

	cr_assert(asprintf(&text, "%o %u:%u %u dev %llx size %llu time %lld.%09u"
			   " sum %llx%s", s->mode, s->uid, s->gid, s->nlink,
			   (unsigned long long)s->rdev,
			   S_ISDIR(s->mode) ? 0ull :
			   (unsigned long long)s->size, (long long)s->mtime_s,
			   s->mtime_ns, (unsigned long long)s->data,
			   s->xattrs) > 0);
	return text;
}

static int strings_by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_xattrs(struct seen *s, char **each, size_t n)
{
	static char all[1 << 18];
	size_t i, at = 0;

	all[0] = '\0';
	s->xattrs = all;
	qsort(each, n, sizeof(*each), strings_by_name);
	for (i = 0; i < n; i++) {
		at += (size_t)snprintf(all + at, sizeof(all) - at, " %s",
				       each[i]);
		cr_assert(at < sizeof(all));
		free(each[i]);
	}
}

static char *xattr_text(const char *prefix, const char *name, size_t len,
			const void *value, size_t value_len)
{
	char *text;

	cr_assert(asprintf(&text, "%s%.*s=%zu:%llx", prefix, (int)len, name,
			   value_len, (unsigned long long)sum(value, value_len))
		  > 0);
	return text;
}

/* --- what the reader sees ---------------------------------------------- */

struct reader {
	const struct er_image *im;
	struct list *list;
};

#define XATTRS_SEEN 8192

static void reader_xattrs(const struct er_node *n, struct seen *s)
{
	static const char *const prefixes[] = {
		[EROFS_XATTR_USER] = "user.",
		[EROFS_XATTR_TRUSTED] = "trusted.",
		[EROFS_XATTR_SECURITY] = "security.",
		[EROFS_XATTR_ACL_ACCESS] = "system.posix_acl_access",
		[EROFS_XATTR_ACL_DEFAULT] = "system.posix_acl_default",
	};
	static char *each[XATTRS_SEEN];
	struct erofs_xattr_entry e;
	const char *name;
	const uint8_t *value;
	size_t pos = 0, count = 0;

	while (er_xattr(n, &pos, &e, &name, &value)) {
		cr_assert(e.name_index <= EROFS_XATTR_SECURITY &&
			  prefixes[e.name_index]);
		cr_assert(count < XATTRS_SEEN);
		each[count++] = xattr_text(prefixes[e.name_index], name,
					   e.name_len, value, e.value_size);
	}
	add_xattrs(s, each, count);
}

static void reader_visit(void *opaque, const char *path, size_t len,
			 const struct er_node *n)
{
	struct reader *r = opaque;
	struct seen s = {
		.mode = n->i.mode, .uid = n->i.uid, .gid = n->i.gid,
		.nlink = n->i.nlink, .size = n->i.size,
		.mtime_s = (int64_t)n->i.mtime, .mtime_ns = n->i.mtime_nsec,
	};

	(void)len;
	if (S_ISCHR(s.mode) || S_ISBLK(s.mode))
		s.rdev = makedev(n->i.u >> 8 & 0xfff,
				 (n->i.u & 0xff) | (n->i.u >> 12 & 0xfff00));
	if (S_ISREG(s.mode) && s.size)
		s.data = sum(r->im->p + n->i.u * (uint64_t)EROFS_BLOCK, s.size);
	if (S_ISLNK(s.mode))
		s.data = sum(er_data(r->im, n, 0), s.size);
	reader_xattrs(n, &s);
	list_add(r->list, path, n->nid, line_of(&s));
}

/* --- what a file system shows ------------------------------------------ */

static struct list *walk_list;
static size_t walk_prefix;

static void file_xattrs(const char *path, struct seen *s)
{
	static char names[1 << 16], value[1 << 16], *each[XATTRS_SEEN];
	ssize_t len = llistxattr(path, names, sizeof(names)), n;
	size_t count = 0;
	const char *name;

	for (name = names; len > 0 && name < names + len;
	     name += strlen(name) + 1) {
		n = lgetxattr(path, name, value, sizeof(value));
		cr_assert(n >= 0, "%s: %s: %s", path, name, strerror(errno));
		cr_assert(count < XATTRS_SEEN);
		each[count++] = xattr_text("", name, strlen(name), value,
					   (size_t)n);
	}
	add_xattrs(s, each, count);
}

static uint64_t file_sum(const char *path, const struct stat *st)
{
	char target[PATH_MAX];
	uint64_t v;
	ssize_t n;
	void *p;
	int fd;

	if (S_ISLNK(st->st_mode)) {
		n = readlink(path, target, sizeof(target));
		cr_assert_eq(n, st->st_size, "%s: link of %zd", path, n);
		return sum(target, (size_t)n);
	}
	if (!S_ISREG(st->st_mode) || !st->st_size)
		return 0;
	fd = open(path, O_RDONLY);
	p = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	cr_assert(fd >= 0 && p != MAP_FAILED, "%s: %s", path, strerror(errno));
	v = sum(p, (size_t)st->st_size);
	munmap(p, (size_t)st->st_size);
	close(fd);
	return v;
}

static int walk_one(const char *path, const struct stat *st, int type,
		    struct FTW *ftw)
{
	struct seen s = {
		.mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid,
		.nlink = (uint32_t)st->st_nlink, .rdev = st->st_rdev,
		.size = (uint64_t)st->st_size,
		.mtime_s = st->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
	};

	(void)ftw;
	cr_assert(type != FTW_NS && type != FTW_DNR, "%s", path);
	s.data = file_sum(path, st);
	file_xattrs(path, &s);
	list_add(walk_list, path + walk_prefix + (path[walk_prefix] == '/'),
		 st->st_ino, line_of(&s));
	return 0;
}

static void list_tree(const char *dir, struct list *l)
{
	walk_list = l;
	walk_prefix = strlen(dir);
	cr_assert_eq(nftw(dir, walk_one, 100, FTW_PHYS), 0);
	list_sort(l);
}

/* --- images ------------------------------------------------------------ */

struct image {
	char dir[64], file[80], mnt[80]; /* dir, and in it */
	struct unpack_root root;
	uint8_t *p;
	uint64_t size;
	struct er_image er;
	struct list list;
};

static void run(const char *fmt, const char *a, const char *b)
{
	char cmd[400];
	int r;

	snprintf(cmd, sizeof(cmd), fmt, a, b);
	r = system(cmd);
	cr_assert_eq(r, 0, "%s: %d", cmd, r);
}

static void append(int to, int from, uint64_t *at, uint64_t size)
{
	void *p;

	if (!size)
		return;
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, from, 0);
	cr_assert(p != MAP_FAILED);
	cr_assert_eq(pwrite(to, p, size, (off_t)*at), (ssize_t)size);
	munmap(p, size);
	*at += size;
}

static int build(struct stage_layer *layers, unsigned n, int out,
		 struct unpack_root *root, struct err *err)
{
	int index[EROFS_LAYERS_MAX];
	unsigned i;

	for (i = 0; i < n; i++) {
		layer_end(&layers[i]);
		index[i] = layers[i].index;
	}
	return erofs_build(out, index, n, root, err);
}

/* The disk that a guest would have, in a file. */
static void image_make(struct image *im, struct stage_layer *layers, unsigned n)
{
	const char *tmp = getenv("TMPDIR");
	struct err err = { 0 };
	unsigned i;
	int fd;

	*im = (struct image){ .p = NULL };
	snprintf(im->dir, sizeof(im->dir), "%s/erofs-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert_not_null(mkdtemp(im->dir));
	snprintf(im->file, sizeof(im->file), "%s/disk", im->dir);
	snprintf(im->mnt, sizeof(im->mnt), "%s/mnt", im->dir);
	cr_assert_eq(mkdir(im->mnt, 0700), 0);
	fd = open(im->file, O_RDWR | O_CREAT | O_EXCL, 0600);
	cr_assert(fd >= 0);
	cr_assert_eq(build(layers, n, fd, &im->root, &err), 0, "%s", err.msg);
	cr_assert_eq(lseek(fd, 0, SEEK_END), (off_t)im->root.size);
	im->size = im->root.size;
	for (i = 0; i < n; i++)
		append(fd, layers[i].data, &im->size, layers[i].data_size);
	im->p = mmap(NULL, im->size, PROT_READ, MAP_SHARED, fd, 0);
	cr_assert(im->p != MAP_FAILED);
	close(fd);
	er_open(&im->er, im->p, im->size, im->root.size);
	cr_assert_eq(im->er.sb.blocks, im->size / EROFS_BLOCK);
	cr_assert_eq(im->er.sb.inos, im->root.inodes);
	er_walk(&im->er, reader_visit, &(struct reader){ &im->er, &im->list });
	list_sort(&im->list);
}

/* 0 where this kernel or this user cannot. */
static int image_mount(const struct image *im)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
	    mount("", "/", NULL, MS_PRIVATE | MS_REC, NULL))
		return 0;
	return mount(im->file, im->mnt, "erofs", MS_RDONLY, NULL) == 0;
}

/* What Linux sees is what the reader has seen. */
static void image_against_linux(const struct image *im)
{
	struct list l = { 0 };

	if (!image_mount(im)) {
		fprintf(stderr, "no erofs of a file on this host\n");
		return;
	}
	list_tree(im->mnt, &l);
	lists_are_equal(&im->list, &l, "Linux");
	list_free(&l);
	cr_assert_eq(umount2(im->mnt, MNT_DETACH), 0);
}

static void image_against_fsck(const struct image *im)
{
	run("fsck.erofs %s >%s.log 2>&1", im->file, im->file);
}

static void image_free(struct image *im)
{
	munmap(im->p, im->size);
	list_free(&im->list);
	run("rm -rf %s%s", im->dir, "");
}

/* All that is asked of any image. */
__attribute__((unused)) static void image_check(const struct image *im)
{
	image_against_fsck(im);
	image_against_linux(im);
}

#endif
