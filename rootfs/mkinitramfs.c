/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkinitramfs INIT OUT: the guest's initramfs, a cpio archive of a few nodes
 * and one program. Needs no root, and gives the same bytes for the same INIT.
 *
 * Format "newc", Documentation/driver-api/early-userspace/buffer-format.rst:
 * a header of hex fields, the name, the data; name and data end on 4 bytes.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"

#define INIT_MAX (4u << 20)

struct node {
	const char *name;
	uint32_t mode;
	uint32_t major, minor;
};

/*
 * Sorted by name, a directory before what is in it. The kernel gives init
 * /dev/console as its descriptors 0 to 2; the agent says its last words to
 * /dev/kmsg, also before it has mounted anything.
 */
static const struct node nodes[] = {
	{ "dev", S_IFDIR | 0755, 0, 0 },
	{ "dev/console", S_IFCHR | 0600, 5, 1 },
	{ "dev/kmsg", S_IFCHR | 0600, 1, 11 },
	{ "init", S_IFREG | 0755, 0, 0 },
	{ "lower", S_IFDIR | 0755, 0, 0 },
	{ "root", S_IFDIR | 0755, 0, 0 },
	{ "upper", S_IFDIR | 0755, 0, 0 },
};

static void pad4(FILE *out, size_t n)
{
	static const char zero[3];

	fwrite(zero, 1, -n & 3, out);
}

static void put(FILE *out, uint32_t ino, const struct node *n,
		const char *data, size_t len)
{
	size_t name_len = strlen(n->name) + 1;
	uint32_t links = S_ISDIR(n->mode) ? 2 : 1;

	/* magic ino mode uid gid nlink mtime filesize devmajor devminor
	 * rdevmajor rdevminor namesize check */
	fprintf(out,
		"070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		ino, n->mode, 0u, 0u, links, 0u, (uint32_t)len, 0u, 0u,
		n->major, n->minor, (uint32_t)name_len, 0u);
	fwrite(n->name, 1, name_len, out);
	pad4(out, 110 + name_len);
	fwrite(data, 1, len, out);
	pad4(out, len);
}

static int write_archive(FILE *out, const char *init, size_t init_len)
{
	static const struct node trailer = { "TRAILER!!!", 0, 0, 0 };
	uint32_t i;

	for (i = 0; i < ARRAY_SIZE(nodes); i++)
		put(out, i + 1, &nodes[i], init,
		    S_ISREG(nodes[i].mode) ? init_len : 0);
	put(out, 0, &trailer, init, 0);
	return fflush(out) || ferror(out) ? -EIO : 0;
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *init = NULL;
	size_t len;
	FILE *out;
	int ret;

	if (argc != 3) {
		fprintf(stderr, "usage: mkinitramfs INIT OUT\n");
		return 2;
	}
	ret = io_read_file(argv[1], INIT_MAX, &init, &len);
	if (ret) {
		fprintf(stderr, "mkinitramfs: %s: %s\n", argv[1],
			strerror(-ret));
		return 1;
	}
	out = fopen(argv[2], "we");
	if (!out || write_archive(out, init, len) || fclose(out)) {
		fprintf(stderr, "mkinitramfs: write %s failed\n", argv[2]);
		remove(argv[2]);
		return 1;
	}
	return 0;
}
