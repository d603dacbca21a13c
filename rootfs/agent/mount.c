/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host wants mounted before its command.
 *
 * Paths are the host's and lead through the image's own links: an image that
 * is hostile may have a thing mounted elsewhere in its own guest, no more.
 * Volumes lie on the scratch disk, outside of the root that commands see, so
 * that the only way to them is where they are bound.
 */
#include "rootfs/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOWHERE 64 /* room for "/proc/self/fd/N/volumes/N" */

/* The directories on the way to @path. */
static void make_parents(char *path)
{
	char *p;

	for (p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
}

int make_dirs(char *path)
{
	struct stat st;
	int error;

	make_parents(path);
	if (!mkdir(path, 0755))
		return 0;
	error = errno;
	/* A slash at the end, or a way in by "..", says other than EEXIST. */
	if (!stat(path, &st))
		return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	return error;
}

static int mount_tmpfs(const struct wire_mount *m, char *path)
{
	char data[64] = "mode=1777";
	int error = make_dirs(path);

	if (error)
		return error;
	if (m->size) {
		say_add(data, sizeof(data), ",size=");
		say_add_num(data, sizeof(data), m->size);
	}
	return mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, data) ?
		       errno :
		       0;
}

/* A file to mount a file on. */
static int make_file(char *path)
{
	struct stat st;
	int fd;

	if (!stat(path, &st))
		return 0;
	make_parents(path);
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int mount_volume(const struct wire_mount *m, char *path, int upper)
{
	char source[NOWHERE] = "/proc/self/fd/";
	struct stat st;
	int error;

	say_add_num(source, sizeof(source), (uint64_t)upper);
	say_add(source, sizeof(source), "/" MOUNT_VOLUMES "/");
	say_add_num(source, sizeof(source), m->number);
	if (stat(source, &st))
		return errno;
	error = S_ISDIR(st.st_mode) ? make_dirs(path) : make_file(path);
	if (error)
		return error;
	return mount(source, path, NULL, MS_BIND, NULL) ? errno : 0;
}

/* The root with all that it is mounted as, anything else as it is there. */
static int seal(const char *path)
{
	const unsigned long how = MS_REMOUNT | MS_RDONLY | MS_NOATIME;

	return mount(NULL, path, NULL, strcmp(path, "/") ? how | MS_BIND : how,
		     NULL) ? errno : 0;
}

int mount_do(const struct wire_mount *m, char *path, int upper)
{
	switch (m->kind) {
	case WIRE_MOUNT_TMPFS:
		return mount_tmpfs(m, path);
	case WIRE_MOUNT_DIR:
		return make_dirs(path);
	case WIRE_MOUNT_VOLUME:
		return mount_volume(m, path, upper);
	default: /* WIRE_MOUNT_SEAL; nothing else comes out of a frame */
		return seal(path);
	}
}
