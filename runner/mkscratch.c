/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkscratch make IMAGE: make the empty disk that runs have by default.
 * mkscratch pack IMAGE OUT: pack it as their template.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/scratch.h"

static int create(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	return fd < 0 ? err_set(err, -errno, "create %s", path) : fd;
}

static int make(const char *path, struct err *err)
{
	_cleanup_fd_ int raw = create(path, err);

	return raw < 0 ? raw : scratch_make(raw, SCRATCH_SIZE, err);
}

static int pack(const char *path, const char *to, struct err *err)
{
	_cleanup_fd_ int raw = open(path, O_RDONLY | O_CLOEXEC), out = -1;
	int r;

	if (raw < 0)
		return err_set(err, -errno, "open %s", path);
	out = create(to, err);
	if (out < 0)
		return out;
	r = scratch_pack(raw, out);
	return r < 0 ? err_set(err, r, "pack %s", path) : 0;
}

int main(int argc, char **argv)
{
	const char *out = argv[argc - 1];
	struct err err = { 0 };
	int r;

	if (argc == 3 && !strcmp(argv[1], "make")) {
		r = make(argv[2], &err);
	} else if (argc == 4 && !strcmp(argv[1], "pack")) {
		r = pack(argv[2], out, &err);
	} else {
		fprintf(stderr, "usage: mkscratch make IMAGE\n"
				"       mkscratch pack IMAGE OUT\n");
		return 2;
	}
	if (r == 0)
		return 0;
	fprintf(stderr, "mkscratch: %s\n", err.msg);
	unlink(out);
	return 1;
}
