/* SPDX-License-Identifier: Apache-2.0 */
/* The files that mayfly brings along. */
#include "runner/artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

static const struct {
	const char *title, *name;
} table[ARTIFACT_COUNT] = {
	[ARTIFACT_VMM] = { "VM monitor", "mayfly-vmm" },
	[ARTIFACT_KERNEL] = { "guest kernel", "guest/vmlinux" },
	[ARTIFACT_AGENT] = { "guest agent", "guest/agent.cpio" },
	[ARTIFACT_BASE] = { "root image", "guest/base.img" },
	[ARTIFACT_SCRATCH] = { "scratch template", "guest/scratch.pack" },
	[ARTIFACT_UNPACK] = { "image unpacker", "mayfly-unpack" },
	[ARTIFACT_NET] = { "network keeper", "mayfly-net" },
};

const char *artifact_title(enum artifact which)
{
	return table[which].title;
}

const char *artifact_name(enum artifact which)
{
	return table[which].name;
}

static int has_vmm(const char *dir)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", dir, table[ARTIFACT_VMM].name);
	return access(path, F_OK) == 0;
}

int artifacts_find(struct artifacts *a, struct err *err)
{
	char self[PATH_MAX - sizeof("/../lib/mayfly")];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return err_set(err, -errno, "read /proc/self/exe");
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return err_say(err, -ENOENT, "%s: not a path", self);
	*slash = '\0';
	snprintf(a->dir, sizeof(a->dir), "%s/../lib/mayfly", self);
	/* Not installed: messages had better speak of the build tree. */
	if (!has_vmm(a->dir))
		snprintf(a->dir, sizeof(a->dir), "%s", self);
	return 0;
}

int artifact_open(const struct artifacts *a, enum artifact which,
		  struct err *err)
{
	char path[PATH_MAX + 32];
	int fd, r;

	snprintf(path, sizeof(path), "%s/%s", a->dir, table[which].name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	r = err_set(err, -errno, "%s: open %s", table[which].title, path);
	if (r == -ENOENT)
		err_hint(err, "run `make` in the source tree, or install it "
			      "again");
	else if (r == -EACCES)
		err_hint(err, "it was built by another user; `make install` "
			      "puts it where all can read it");
	return r;
}
