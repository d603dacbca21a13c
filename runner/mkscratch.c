/* SPDX-License-Identifier: Apache-2.0 */
/* mkscratch IMAGE OUT: pack a disk image as the template of scratch disks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/mem.h"
#include "runner/scratch.h"

int main(int argc, char **argv)
{
	_cleanup_fd_ int raw = -1, out = -1;
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: mkscratch IMAGE OUT\n");
		return 2;
	}
	raw = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (raw >= 0)
		out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			   0644);
	r = raw < 0 || out < 0 ? -errno : scratch_pack(raw, out);
	if (r == 0)
		return 0;
	fprintf(stderr, "mkscratch: %s: %s\n", argv[1], strerror(-r));
	if (out >= 0)
		unlink(argv[2]);
	return 1;
}
