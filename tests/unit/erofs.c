/* SPDX-License-Identifier: Apache-2.0 */
/* Images of erofs: that Linux, fsck.erofs and we agree on what is in them. */
#include "tests/unit/erofs_stage.h"

#include <time.h>

static char bytes[3 * 4096];

static void fill_bytes(void)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 4096);
}
TestSuite(erofs, .init = fill_bytes);

/* The text of a path's line. */
static const char *text(const struct image *im, const char *path)
{
	const struct line *l = list_find(&im->list, path);

	cr_assert_not_null(l, "%s is not there", path);
	return l->text;
}

static void has(const struct image *im, const char *path, const char *what)
{
	const char *t = text(im, path);

	cr_assert(strstr(t, what), "%s: no %s in %s", path, what, t);
}

Test(erofs, no_layer_is_an_empty_root)
{
	struct image im;

	image_make(&im, NULL, 0);
	image_check(&im);
	cr_assert_eq(im.list.n, 1);
	has(&im, "", "40755 0:0 2 ");
	image_free(&im);
}

Test(erofs, every_kind_of_file)
{
	struct stage_layer l;
	struct image im;

	layer_begin(&l);
	ADD(&l, LAYER_DIR, "", .mode = 01751, .uid = 1, .gid = 2, .mtime_s = 77);
	ADD(&l, LAYER_DIR, "d", .mode = 02775, .uid = 4294967294, .gid = 70000);
	ADD(&l, LAYER_FILE, "d/empty", .mode = 0600);
	ADD(&l, LAYER_FILE, "d/one", .mode = 04755, .data = "x", .size = 1,
	    .mtime_s = 1700000000, .mtime_ns = 123456789);
	ADD(&l, LAYER_FILE, "d/block", .mode = 0644, .data = bytes,
	    .size = 4096);
	ADD(&l, LAYER_FILE, "d/more", .mode = 06111, .data = bytes,
	    .size = 4097, .mtime_s = -5, .mtime_ns = 999999999);
	ADD(&l, LAYER_FILE, "d/three", .data = bytes, .size = sizeof(bytes));
	ADD(&l, LAYER_FILE, "d/zeros", .mode = 0644, .size = 1 << 20);
	ADD(&l, LAYER_SYMLINK, "d/link", .link = "../x", .mode = 0777);
	ADD(&l, LAYER_CHAR, "null", .mode = 0666, .major = 1, .minor = 3);
	ADD(&l, LAYER_CHAR, "big", .major = 4095, .minor = 0xfffff);
	ADD(&l, LAYER_BLOCKDEV, "sda", .mode = 0660, .gid = 6, .major = 8,
	    .minor = 256 + 17);
	ADD(&l, LAYER_FIFO, "fifo", .mode = 0622);
	ADD(&l, LAYER_SOCKET, "socket", .mode = 0755);
	ADD(&l, LAYER_HARDLINK, "hard", .link = "d/one");
	ADD(&l, LAYER_HARDLINK, "d/hard", .link = "hard");
	ADD(&l, LAYER_HARDLINK, "null2", .link = "null");
	ADD(&l, LAYER_HARDLINK, "link2", .link = "d/link");
	image_make(&im, &l, 1);
	image_check(&im);
	has(&im, "", "41751 1:2 3 ");
	has(&im, "", "time 77.000000000");
	has(&im, "d", "42775 4294967294:70000 2 ");
	has(&im, "d/one", "104755 0:0 3 dev 0 size 1 time 1700000000.123456789");
	has(&im, "d/more", "106111 0:0 1 dev 0 size 4097 time -5.999999999");
	has(&im, "d/empty", "100600 0:0 1 dev 0 size 0 ");
	has(&im, "big", "20000 0:0 1 dev ffffffff ");
	has(&im, "sda", "60660 0:6 1 dev 100811 ");
	cr_assert_str_eq(list_find(&im.list, "hard")->first, "d/hard");
	cr_assert_str_eq(list_find(&im.list, "null2")->first, "null");
	image_free(&im);
	layer_close(&l);
}

/* fsck.erofs takes the image apart: files, directories and links. */
Test(erofs, fsck_extracts_what_went_in)
{
	struct list after = { 0 };
	struct stage_layer l;
	struct image im;
	char to[128];
	size_t i;

	layer_begin(&l);
	ADD(&l, LAYER_DIR, "", .mode = 0755, .mtime_s = 5);
	ADD(&l, LAYER_DIR, "a", .mode = 0700, .mtime_s = 6);
	ADD(&l, LAYER_FILE, "a/f", .mode = 0640, .data = bytes, .size = 5000,
	    .mtime_s = 1600000000, .mtime_ns = 1);
	ADD(&l, LAYER_FILE, "g", .mode = 0400, .mtime_s = 8);
	ADD(&l, LAYER_SYMLINK, "a/s", .mode = 0777, .link = "f", .mtime_s = 9);
	image_make(&im, &l, 1);
	snprintf(to, sizeof(to), "%s/out", im.dir);
	run("fsck.erofs --extract=%s --preserve-perms %s >/dev/null 2>&1", to,
	    im.file);
	list_tree(to, &after);
	cr_assert_eq(after.n, im.list.n);
	for (i = 0; i < after.n; i++) {
		const char *a = after.v[i].text, *b = im.list.v[i].text;

		cr_assert_str_eq(after.v[i].path, im.list.v[i].path);
		cr_assert_eq(strtoul(a, NULL, 8), strtoul(b, NULL, 8), "%s %s",
			     a, b);
		cr_assert_str_eq(strstr(a, "size"), strstr(b, "size"));
	}
	list_free(&after);
	image_free(&im);
	layer_close(&l);
}

/* --- directories ------------------------------------------------------- */

/* @n files of names of @len bytes. */
static void many(struct stage_layer *l, unsigned n, size_t len)
{
	char name[256];
	unsigned i;

	layer_begin(l);
	ADD(l, LAYER_DIR, "d", .mode = 0755);
	for (i = 0; i < n; i++) {
		/* not in their order */
		snprintf(name, sizeof(name), "d/%0*u", (int)len,
			 (i * 7919u) % n);
		ADD(l, LAYER_FILE, name, .mode = 0644, .mtime_s = i);
	}
}

Test(erofs, directories_of_all_sizes)
{
	static const unsigned counts[] = { 0, 1, 2, 3, 100, 100000 };
	struct stage_layer l;
	struct image im;

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		many(&l, counts[i], 9);
		image_make(&im, &l, 1);
		image_check(&im);
		cr_assert_eq(im.list.n, counts[i] + 2);
		image_free(&im);
		layer_close(&l);
	}
}

/* A block takes 12 bytes a name, and the name; "." and ".." are 27. */
Test(erofs, blocks_that_are_just_full)
{
	struct stage_layer l;
	struct image im;
	char name[300];
	int rest, more, i;

	for (rest = 4096 - 27 - 20 * 200 - 14; rest <= 4096 - 27 - 20 * 200 - 10;
	     rest++) {
		for (more = 0; more < 2; more++) {
			layer_begin(&l);
			for (i = 0; i < 20; i++) {
				snprintf(name, sizeof(name), "%0188d", i);
				ADD(&l, LAYER_FILE, name, .mode = 0644);
			}
			memset(name, 'z', sizeof(name));
			ADD(&l, LAYER_FILE, name, .path_len = (size_t)rest);
			if (more)
				ADD(&l, LAYER_FILE, "zzzzzzzzzzzzzzzzzzzzzzzzzz"
				    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
				    "zzzzzzzz", .mode = 0644);
			image_make(&im, &l, 1);
			image_check(&im);
			cr_assert_eq(im.list.n, 22u + (unsigned)more);
			image_free(&im);
			layer_close(&l);
		}
	}
}

Test(erofs, names_are_bytes)
{
	static const char *const names[] = {
		"\xff\xfe", "\x01", "!", "-", "..x", ".-", "...", ".a", "\xc3",
		"\xc3\xa4", "a\nb", " ", "~", "\x7f", "..\x01",
	};
	struct stage_layer l;
	struct image im;
	char name[256];
	size_t i;

	layer_begin(&l);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		ADD(&l, LAYER_FILE, names[i], .mode = 0600);
	memset(name, 0xe9, 255);
	name[255] = '\0';
	ADD(&l, LAYER_FILE, name, .mode = 0601);
	image_make(&im, &l, 1);
	image_check(&im);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		has(&im, names[i], "100600 ");
	has(&im, name, "100601 ");
	image_free(&im);
	layer_close(&l);
}

/* --- xattrs and links -------------------------------------------------- */

Test(erofs, xattrs_of_every_kind)
{
	/* version 2, then user, group, other: tag, permissions, id */
	static const uint8_t acl[] = { 2, 0, 0, 0,
		1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 232, 3, 0, 0,
		4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0, 255, 255, 255, 255,
		32, 0, 5, 0, 255, 255, 255, 255 };
	static const uint8_t caps[20] = { 1, 0, 0, 2, 0, 4 };
	struct stage_layer l;
	struct image im;

	layer_begin(&l);
	ADD(&l, LAYER_DIR, "", .mode = 0755, .xattr = "user.root",
	    .value = "r", .value_len = 1);
	ADD(&l, LAYER_FILE, "u", .mode = 0644, .xattr = "user.name",
	    .value = "value", .value_len = 5);
	ADD(&l, LAYER_FILE, "empty", .mode = 0644, .xattr = "user.x");
	ADD(&l, LAYER_FILE, "t", .mode = 0644, .xattr = "trusted.t",
	    .value = "\0\1\2", .value_len = 3);
	ADD(&l, LAYER_FILE, "ping", .mode = 0755,
	    .xattr = "security.capability", .value = caps,
	    .value_len = sizeof(caps));
	ADD(&l, LAYER_DIR, "acl", .mode = 0755,
	    .xattr = "system.posix_acl_default", .value = acl,
	    .value_len = sizeof(acl));
	ADD(&l, LAYER_FILE, "acl/f", .mode = 0755,
	    .xattr = "system.posix_acl_access", .value = acl,
	    .value_len = sizeof(acl));
	ADD(&l, LAYER_SYMLINK, "s", .link = "u", .mode = 0777,
	    .xattr = "trusted.on.link", .value = "x", .value_len = 1);
	image_make(&im, &l, 1);
	image_check(&im);
	has(&im, "", " user.root=1:");
	has(&im, "u", " user.name=5:");
	has(&im, "empty", " user.x=0:");
	has(&im, "ping", " security.capability=20:");
	has(&im, "acl", " system.posix_acl_default=44:");
	has(&im, "acl/f", " system.posix_acl_access=44:");
	has(&im, "s", " trusted.on.link=1:");
	image_free(&im);
	layer_close(&l);
}

Test(erofs, xattrs_that_mean_nothing_or_too_much_are_left_out)
{
	static const char *const names[] = {
		"trusted.overlay.opaque", "user.overlay.redirect", "user.",
		"security.", "btrfs.compression", "system.nfs4_acl", "x",
		"system.posix_acl_accessx",
	};
	struct stage_layer l;
	struct image im;
	char name[8];
	size_t i;

	layer_begin(&l);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%zu", i);
		ADD(&l, LAYER_FILE, name, .xattr = names[i], .value = "y",
		    .value_len = 1);
	}
	image_make(&im, &l, 1);
	image_check(&im);
	for (i = 1; i < im.list.n; i++)
		cr_assert_null(strchr(im.list.v[i].text, '='), "%s",
			       im.list.v[i].text);
	image_free(&im);
	layer_close(&l);
}

/* As many bytes of xattrs as an entry may have, in one and in thousands. */
Test(erofs, xattrs_to_the_limit)
{
	static char value[LAYER_XATTRS_MAX];
	static uint8_t many_x[LAYER_XATTRS_MAX];
	struct layer_xattr x = { 10, 10 };
	struct stage_layer l;
	struct image im;
	char name[32];
	unsigned i;

	memset(value, 'v', sizeof(value));
	for (i = 0; (i + 1) * 24 <= sizeof(many_x); i++) {
		snprintf(name, sizeof(name), "user.%05uvvvvvvvvvv", i);
		memcpy(many_x + i * 24, &x, 4);
		memcpy(many_x + i * 24 + 4, name, 20);
	}
	layer_begin(&l);
	ADD(&l, LAYER_FILE, "one", .xattr = "user.x", .value = value,
	    .value_len = LAYER_XATTRS_MAX - 10);
	ADD(&l, LAYER_FILE, "many", .xattrs = many_x, .xattrs_len = i * 24);
	ADD(&l, LAYER_SYMLINK, "link", .link = "x", .xattr = "trusted.x",
	    .value = value, .value_len = 4090);
	ADD(&l, LAYER_DIR, "dir", .xattr = "user.x", .value = value,
	    .value_len = 4010);
	image_make(&im, &l, 1);
	image_check(&im);
	has(&im, "one", " user.x=65526:");
	has(&im, "many", " user.02729=10:");
	image_free(&im);
	layer_close(&l);
}

/* Each length, so that each place in a block is come by. */
Test(erofs, links_of_all_lengths)
{
	struct stage_layer l;
	struct image im;
	char target[4096], name[16];
	size_t len;

	memset(target, 'x', sizeof(target));
	layer_begin(&l);
	for (len = 1; len <= LAYER_LINK_MAX; len += len < 80 ? 1 : 61) {
		snprintf(name, sizeof(name), "%zu", len);
		ADD(&l, LAYER_SYMLINK, name, .link = target, .link_len = len,
		    .mode = 0777);
	}
	for (len = 4020; len <= LAYER_LINK_MAX; len++) {
		snprintf(name, sizeof(name), "x%zu", len);
		ADD(&l, LAYER_SYMLINK, name, .link = target, .link_len = len,
		    .mode = 0777);
	}
	image_make(&im, &l, 1);
	image_check(&im);
	has(&im, "x4095", "120777 0:0 1 dev 0 size 4095 ");
	image_free(&im);
	layer_close(&l);
}

/* --- layers ------------------------------------------------------------ */

Test(erofs, data_is_found_in_its_layer)
{
	struct stage_layer l[3];
	struct image im;

	for (int i = 0; i < 3; i++)
		layer_begin(&l[i]);
	ADD(&l[0], LAYER_FILE, "a", .data = bytes, .size = 100);
	ADD(&l[0], LAYER_FILE, "b", .data = bytes + 1, .size = 8000);
	/* l[1] has no data at all */
	ADD(&l[1], LAYER_HARDLINK, "c", .link = "b");
	ADD(&l[1], LAYER_WHITEOUT, "b");
	ADD(&l[2], LAYER_FILE, "x", .data = bytes + 2, .size = 4096);
	ADD(&l[2], LAYER_FILE, "a", .data = bytes + 3, .size = 4096);
	cr_assert_eq(build(l, 2, memfd_create("x", 0), &im.root,
			   &(struct err){ 0 }), -EBADMSG);
	layer_close(&l[1]);
	layer_begin(&l[1]);
	ADD(&l[1], LAYER_HARDLINK, "c", .link = "b");
	image_make(&im, l, 3);
	image_check(&im);
	cr_assert_eq(im.list.n, 5);
	cr_assert_str_eq(list_find(&im.list, "c")->first, "b");
	image_free(&im);
	for (int i = 0; i < 3; i++)
		layer_close(&l[i]);
}

Test(erofs, same_layers_same_bytes)
{
	struct stage_layer l;
	struct image a, b;

	many(&l, 1000, 20);
	image_make(&a, &l, 1);
	image_make(&b, &l, 1);
	cr_assert_eq(a.size, b.size);
	cr_assert_arr_eq(a.p, b.p, a.size);
	image_free(&b);
	layer_close(&l);
	many(&l, 1000, 21);
	image_make(&b, &l, 1);
	cr_assert(memcmp(a.er.sb.uuid, b.er.sb.uuid, 16) != 0);
	cr_assert_eq(a.er.sb.uuid[6] >> 4, 8);
	image_free(&a);
	image_free(&b);
	layer_close(&l);
}

Test(erofs, most_layers_and_one_more)
{
	static struct stage_layer l[EROFS_LAYERS_MAX];
	int index[EROFS_LAYERS_MAX + 1];
	struct err err = { 0 };
	struct image im;
	char name[8];

	for (unsigned i = 0; i < EROFS_LAYERS_MAX; i++) {
		layer_begin(&l[i]);
		snprintf(name, sizeof(name), "%u", i);
		ADD(&l[i], LAYER_FILE, name, .data = name, .size = 8);
		index[i] = l[i].index;
	}
	image_make(&im, l, EROFS_LAYERS_MAX);
	image_check(&im);
	cr_assert_eq(im.list.n, EROFS_LAYERS_MAX + 1);
	index[EROFS_LAYERS_MAX] = l[0].index;
	cr_assert_eq(erofs_build(memfd_create("x", 0), index,
				 EROFS_LAYERS_MAX + 1, &im.root, &err), -EFBIG);
	image_free(&im);
}

Test(erofs, disk_beyond_what_erofs_addresses_is_refused)
{
	struct stage_layer l[2];
	struct unpack_root r;
	struct err err = { 0 };

	for (int i = 0; i < 2; i++) {
		layer_begin(&l[i]);
		l[i].data_size = LAYER_DATA_MAX; /* said, and not there */
	}
	cr_assert_eq(build(l, 1, memfd_create("x", 0), &r, &err), 0);
	cr_assert_eq(build(l, 2, memfd_create("x", 0), &r, &err), -EFBIG);
}

Test(erofs, a_file_that_cannot_be_written_is_an_error)
{
	struct stage_layer l;
	struct unpack_root r;
	struct err err = { 0 };

	many(&l, 10, 3);
	cr_assert_eq(build(&l, 1, open("/dev/null", O_RDONLY), &r, &err),
		     -EBADF);
	cr_assert(strstr(err.msg, "write the image"), "%s", err.msg);
	layer_close(&l);
}

Test(erofs, a_million_files, .timeout = 300)
{
	struct stage_layer l;
	struct unpack_root r;
	struct err err = { 0 };
	struct timespec a, b;
	char path[64];
	unsigned i;
	int out = memfd_create("out", 0);

	layer_begin(&l);
	for (i = 0; i < 1000000; i++) {
		snprintf(path, sizeof(path), "usr/share/%u/%u/file-%u", i % 97,
			 i % 89, i);
		ADD(&l, LAYER_FILE, path, .mode = 0644);
	}
	layer_end(&l);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	cr_assert_eq(build(&l, 1, out, &r, &err), 0, "%s", err.msg);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	fprintf(stderr, "10^6 files: %.2f s of CPU time, %llu bytes\n",
		(double)(b.tv_sec - a.tv_sec) +
		(double)(b.tv_nsec - a.tv_nsec) / 1e9,
		(unsigned long long)r.size);
	cr_assert_eq(r.inodes, 1000000 + 97 * 89 + 97 + 3);
	layer_close(&l);
}
