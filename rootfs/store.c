/* SPDX-License-Identifier: Apache-2.0 */
/* Images and their layers on the host's disk: the root, its lock, names. */
#include "rootfs/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "rootfs/document.h"
#include "rootfs/store_dir.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

/* Who looks at an image is done in less. */
#define LOCK_MOMENT_NS 200000000ull
#define LOCK_STEP_NS   2000000
#define LOCK_LATER_NS  20000000

#define PREFIX_MIN 4

/* --- the root --------------------------------------------------------- */

static int root_path(char path[PATH_MAX], struct err *err)
{
	const char *own = getenv("MAYFLY_DATA_DIR");
	const char *xdg = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	int n;

	if (own && *own && *own != '/')
		return err_say(err, -EINVAL,
			       "MAYFLY_DATA_DIR: %s: not an absolute path",
			       own);
	if (own && *own)
		n = snprintf(path, PATH_MAX, "%s", own);
	else if (geteuid() == 0)
		n = snprintf(path, PATH_MAX, "/var/lib/mayfly");
	else if (xdg && *xdg == '/')
		n = snprintf(path, PATH_MAX, "%s/mayfly", xdg);
	else if (home && *home == '/')
		n = snprintf(path, PATH_MAX, "%s/.local/share/mayfly", home);
	else
		n = -1;
	if (n < 0) {
		err_say(err, -EINVAL, "image store: HOME is not set");
		err_hint(err, "name a directory: MAYFLY_DATA_DIR=/path");
		return -EINVAL;
	}
	return n < PATH_MAX ? 0 : err_set(err, -ENAMETOOLONG, "image store");
}

/* Like mkdir -p, and ours alone where it is new. */
static int make_path(const char *path)
{
	char part[PATH_MAX];
	const char *s = path;

	do {
		s = strchr(s + 1, '/');
		s = s ? s : path + strlen(path);
		memcpy(part, path, (size_t)(s - path));
		part[s - path] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST && !*s)
			return -errno;
	} while (*s);
	return 0;
}

static int root_failed(int code, const char *path, struct err *err)
{
	err_set(err, code, "image store %s", path);
	err_hint(err, "name a directory of your own: MAYFLY_DATA_DIR=/path");
	return code;
}

/* Its owner may have put a link in its place: where that leads is ours, too. */
static int open_root(struct store *s, int create, struct err *err)
{
	struct stat st;
	int r = create ? make_path(s->path) : 0;

	if (r < 0)
		return root_failed(r, s->path, err);
	s->root = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0 && errno == ENOENT && !create)
		return -ENOENT;
	if (s->root < 0 || fstat(s->root, &st) < 0)
		return root_failed(-errno, s->path, err);
	if (st.st_uid == geteuid() && !(st.st_mode & 022))
		return 0;
	err_say(err, -EPERM, "image store %s: %s", s->path,
		st.st_uid != geteuid() ? "belongs to another user" :
					 "others can write to it");
	err_hint(err, "name a directory of your own: MAYFLY_DATA_DIR=/path");
	return -EPERM;
}

static int open_below(struct store *s, struct err *err)
{
	const struct {
		const char *name;
		int *fd;
	} dirs[] = {
		{ "names", &s->names },
		{ "images", &s->images },
		{ "layers", &s->layers },
		{ "tmp", &s->tmp },
	};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		*dirs[i].fd = store_open_dir(s->root, dirs[i].name);
		if (*dirs[i].fd == -ENOENT) {
			if (mkdirat(s->root, dirs[i].name, 0700) < 0 &&
			    errno != EEXIST)
				return store_failed(err, -errno, "make %s",
						    dirs[i].name);
			*dirs[i].fd = store_open_dir(s->root, dirs[i].name);
		}
		if (*dirs[i].fd < 0)
			return store_failed(err, *dirs[i].fd, "%s",
					    dirs[i].name);
	}
	s->lock = openat(s->root, STORE_LOCK,
			 O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return s->lock < 0 ? store_failed(err, -errno, "lock") : 0;
}

int store_open(struct store **out, int create, struct err *err)
{
	struct store *s = calloc(1, sizeof(*s));
	int r;

	*out = NULL;
	if (!s)
		return err_set(err, -ENOMEM, "image store");
	s->root = s->names = s->images = s->layers = s->tmp = s->lock = -1;
	r = root_path(s->path, err);
	if (r == 0)
		r = open_root(s, create, err);
	if (r == 0)
		r = open_below(s, err);
	if (r < 0) {
		store_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	store_unlock(s);
	close_fd(&s->lock);
	close_fd(&s->tmp);
	close_fd(&s->layers);
	close_fd(&s->images);
	close_fd(&s->names);
	close_fd(&s->root);
	free(s);
}

const char *store_path(const struct store *s)
{
	return s->path;
}

/* --- the lock --------------------------------------------------------- */

/* 0, or -EWOULDBLOCK when the moment is over. */
static int try_lock(int fd, int how, long every)
{
	const uint64_t until = io_now_ns() + LOCK_MOMENT_NS;
	const struct timespec step = { 0, every };

	while (flock(fd, how | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || io_now_ns() > until)
			return -errno;
		nanosleep(&step, NULL);
	}
	return 0;
}

void store_on_wait(struct store *s, store_waits_fn waits, void *opaque)
{
	s->waits = waits;
	s->opaque = opaque;
}

int store_lock(struct store *s, enum store_hold how, struct err *err)
{
	const int op = how == STORE_EXCLUSIVE ? LOCK_EX : LOCK_SH;
	int r, told = 0;

	if (how == STORE_NONE || how == s->held) {
		if (how == STORE_NONE)
			store_unlock(s);
		return 0;
	}
	/* A change lets go first: flock(2). */
	s->held = STORE_NONE;
	/* Not to wait in flock(): who has blocked the signals that would end
	 * it, to clean up after them, would never hear of one. */
	while ((r = try_lock(s->lock, op, told ? LOCK_LATER_NS :
						 LOCK_STEP_NS)) ==
	       -EWOULDBLOCK) {
		if (!told++)
			log_info("image store: waiting for another mayfly");
		r = s->waits ? s->waits(s->opaque) : 0;
		if (r < 0)
			break;
	}
	if (r < 0)
		return store_failed(err, r, "lock");
	s->held = how;
	return 0;
}

void store_unlock(struct store *s)
{
	/* A child may have the descriptor still. */
	if (s->lock >= 0)
		flock(s->lock, LOCK_UN);
	s->held = STORE_NONE;
}

/* --- names ------------------------------------------------------------ */

struct search {
	const char *prefix;
	unsigned found;
	char id[IMAGE_HEX_MAX];
	char list[ERR_MSG_MAX / 2]; /* of all that match, cut */
};

static int match_id(int dir, const char *name, void *opaque)
{
	struct search *f = opaque;
	const size_t n = strlen(f->list);

	(void)dir;
	if (!image_is_hex(name) || strncmp(name, f->prefix, strlen(f->prefix)))
		return 0;
	memcpy(f->id, name, IMAGE_HEX_MAX);
	snprintf(f->list + n, sizeof(f->list) - n, "%s%.16s",
		 f->found++ ? ", " : "", name);
	return 0;
}

int store_find_id(const struct store *s, const char *text,
		  char id[IMAGE_HEX_MAX], struct err *err)
{
	struct search f = { .prefix = text };
	int r;

	if (!strncmp(f.prefix, "sha256:", 7))
		f.prefix += 7;
	if (strlen(f.prefix) < PREFIX_MIN ||
	    f.prefix[strspn(f.prefix, "0123456789abcdef")])
		return 0;
	r = store_each(s->images, match_id, &f);
	if (r < 0)
		return store_failed(err, r, "images");
	if (f.found > 1)
		return err_say(err, -EINVAL, "%s: several images begin so: %s",
			       f.prefix, f.list);
	memcpy(id, f.id, sizeof(f.id));
	return f.found > 0;
}

/* 1 found, 0 not; -ENOENT with words where the image is gone. */
static int find_name(const struct store *s, const struct reference *ref,
		     char id[IMAGE_HEX_MAX], struct err *err)
{
	char file[REFERENCE_FILE_MAX], name[REFERENCE_MAX];
	int r = reference_encode(ref, file, err);
	struct stat st;

	if (r < 0)
		return r;
	r = store_read_name(s, file, id);
	if (r == -ENOENT)
		return 0;
	reference_short(ref, name);
	if (r == 0 && fstatat(s->images, id, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r == 0)
		return 1;
	if (r != -ENOENT && r != -EBADMSG)
		return store_failed(err, r, "name %s", name);
	err_say(err, r, "image %s: %s", name,
		r == -ENOENT ? "it is gone, only its name is there" :
			       "the file of its name is damaged");
	err_hint(err, "mayfly pull %s", name);
	return r;
}

int store_resolve(const struct store *s, const char *text,
		  char id[IMAGE_HEX_MAX], struct err *err)
{
	char name[REFERENCE_MAX];
	struct reference ref;
	int bad, r;

	assert(s->held != STORE_NONE);
	bad = reference_parse(&ref, text, err);
	r = bad ? 0 : find_name(s, &ref, id, err);
	if (r == 0)
		r = store_find_id(s, text, id, bad ? NULL : err);
	if (r > 0)
		return 0;
	if (bad || r < 0)
		return bad ? bad : r;
	reference_short(&ref, name);
	err_say(err, -ENOENT, "image %s: not there", name);
	err_hint(err, "mayfly pull %s", name);
	return -ENOENT;
}

int store_tag(struct store *s, const struct reference *name, const char *id,
	      struct err *err)
{
	struct store_stage *st = NULL;
	char file[REFERENCE_FILE_MAX];
	struct stat sb;
	int r = reference_encode(name, file, err);

	assert(s->held != STORE_NONE);
	if (r < 0)
		return r;
	if (!image_is_hex(id) ||
	    fstatat(s->images, id, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return err_say(err, -ENOENT, "image %s: not there", id);
	r = store_begin_stage(s, &st, err);
	if (r < 0)
		return r;
	r = store_prepare_name(st, 0, id);
	if (r == 0)
		r = store_publish_name(st, 0, file);
	if (r == 0 && fsync(s->names) < 0)
		r = -errno;
	store_end_stage(st);
	return r < 0 ? store_failed(err, r, "write a name") : 0;
}
