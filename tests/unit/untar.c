/* SPDX-License-Identifier: Apache-2.0 */
/* Tars of layers: each kind of entry, each way to say it. */
#include <archive.h>
#include <archive_entry.h>

#include "tests/unit/tar_stage.h"

static struct tape tape;
static struct made made;

static void done(void)
{
	made_free(&made);
	tape_free(&tape);
}

static void finish(void)
{
	tape_end(&tape);
	make(&made, &tape);
}

Test(untar, each_type_is_what_it_was)
{
	ADD(&tape, "./", '5', .mode = 0755);
	ADD(&tape, "./dir/", '5', .mode = 01777, .uid = 7, .gid = 8,
	    .mtime = 12345);
	ADD(&tape, "dir/file", .mode = 04711, .data = "hello", .len = 5);
	ADD(&tape, "dir/empty", 'v');
	ADD(&tape, "dir/link", '2', .link = "../../out/of//it", .mode = 0777);
	ADD(&tape, "hard", '1', .link = "./dir//file");
	ADD(&tape, "null", '3', .major = 1, .minor = 3);
	ADD(&tape, "sda", '4', .major = 8, .minor = 1048575);
	ADD(&tape, "fifo", '6');
	ADD(&tape, "contiguous", '7');
	finish();
	expect(&made, LAYER_DIR, "");
	expect(&made, LAYER_DIR, "dir");
	cr_expect_eq(made.item.e.mode, 01777);
	cr_expect(made.item.e.uid == 7 && made.item.e.gid == 8);
	cr_expect_eq(made.item.e.mtime_s, 12345);
	expect(&made, LAYER_FILE, "dir/file");
	cr_expect_eq(made.item.e.mode, 04711);
	expect_data(&made, "hello", 5);
	expect(&made, LAYER_FILE, "dir/empty");
	cr_expect(made.item.e.size == 0 && made.item.e.data == 0);
	expect(&made, LAYER_SYMLINK, "dir/link");
	cr_expect_str_eq(made.link, "../../out/of//it");
	expect(&made, LAYER_HARDLINK, "hard");
	cr_expect_str_eq(made.link, "dir/file");
	expect(&made, LAYER_CHAR, "null");
	cr_expect(made.item.e.major == 1 && made.item.e.minor == 3);
	expect(&made, LAYER_BLOCKDEV, "sda");
	cr_expect(made.item.e.major == 8 && made.item.e.minor == 1048575);
	expect(&made, LAYER_FIFO, "fifo");
	expect(&made, LAYER_FILE, "contiguous");
	expect_end(&made);
	cr_expect_eq(made.u.entries, 10);
	done();
}

Test(untar, old_tars_have_directories_by_their_slash)
{
	ADD(&tape, "d/", 'v', .magic = "\0\0\0\0\0\0\0");
	ADD(&tape, "d/f", 'v', .magic = "\0\0\0\0\0\0\0", .data = "x",
	    .len = 1);
	finish();
	expect(&made, LAYER_DIR, "d");
	expect(&made, LAYER_FILE, "d/f");
	expect_end(&made);
	done();
}

Test(untar, prefix_goes_before_the_name)
{
	ADD(&tape, "name", .prefix = "some/where");
	finish();
	expect(&made, LAYER_FILE, "some/where/name");
	expect_end(&made);
	done();
}

Test(untar, gnu_has_long_names_and_large_numbers)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[150] = '/';
	name[299] = '\0';
	ADD(&tape, "././@LongLink", 'L', .magic = "ustar  ", .data = name,
	    .len = 300);
	ADD(&tape, "././@LongLink", 'K', .magic = "ustar  ", .data = name,
	    .len = 300);
	ADD(&tape, "cut", '2', .magic = "ustar  ", .link = "cut",
	    .owner = "\200\0\0\0\377\377\377\376",
	    .time = "\377\377\377\377\377\377\377\377\377\377\377\376");
	finish();
	expect(&made, LAYER_SYMLINK, name);
	cr_expect_str_eq(made.link, name);
	cr_expect_eq(made.item.e.uid, 0xfffffffe);
	cr_expect_eq(made.item.e.mtime_s, -2);
	expect_end(&made);
	done();
}

Test(untar, pax_overrides_what_the_header_says)
{
	char text[512];
	size_t n = pax_record(text, "path", "./the/name", 10);

	n += pax_record(text + n, "mtime", "1234567890.5", 12);
	n += pax_record(text + n, "uid", "4294967295", 10);
	n += pax_record(text + n, "gid", "100000", 6);
	n += pax_record(text + n, "comment", "of no interest", 14);
	ADD(&tape, "PaxHeaders/x", 'x', .data = text, .len = n);
	ADD(&tape, "short");
	PAX(&tape, "linkpath", "long");
	ADD(&tape, "link", '2', .link = "short");
	finish();
	expect(&made, LAYER_FILE, "the/name");
	cr_expect_eq(made.item.e.mtime_s, 1234567890);
	cr_expect_eq(made.item.e.mtime_ns, 500000000);
	cr_expect_eq(made.item.e.uid, UINT32_MAX);
	cr_expect_eq(made.item.e.gid, 100000);
	expect(&made, LAYER_SYMLINK, "link");
	cr_expect_str_eq(made.link, "long");
	expect_end(&made);
	done();
}

/* In C.UTF-8 libarchive would make one file of the first two. */
Test(untar, names_come_out_byte_for_byte)
{
	static const char *const names[] = {
		"cafe\xcc\x81", "caf\xc3\xa9", "raw\xff\xfe", "\xed\xa0\x80",
		"new\nline", "\xe6\x97\xa5", "\xf0\x9f\x92\xa9", "\xc0\xaf",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		PAX(&tape, "path", names[i]);
		ADD(&tape, "x");
		PAX(&tape, "linkpath", names[i]);
		ADD(&tape, "link", '2', .link = "x");
		PAX(&tape, "linkpath", names[i]);
		ADD(&tape, "hard", '1', .link = "x");
		ADD(&tape, names[i], .magic = "ustar  ");
	}
	finish();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		expect(&made, LAYER_FILE, names[i]);
		expect(&made, LAYER_SYMLINK, "link");
		cr_expect_str_eq(made.link, names[i]);
		expect(&made, LAYER_HARDLINK, "hard");
		cr_expect_str_eq(made.link, names[i]);
		expect(&made, LAYER_FILE, names[i]);
	}
	expect_end(&made);
	done();
}

Test(untar, binary_pax_headers_are_taken_as_they_are)
{
	char text[128];
	size_t n = pax_record(text, "hdrcharset", "BINARY", 6);

	n += pax_record(text + n, "path", "\xff\xe9", 2);
	ADD(&tape, "PaxHeaders/x", 'x', .data = text, .len = n);
	ADD(&tape, "x");
	finish();
	expect(&made, LAYER_FILE, "\xff\xe9");
	expect_end(&made);
	done();
}

Test(untar, what_is_about_all_entries_is_no_entry)
{
	char text[64];
	size_t n = pax_record(text, "comment", "0123456789abcdef", 16);

	ADD(&tape, "pax_global_header", 'g', .data = text, .len = n);
	ADD(&tape, "volume", 'V', .magic = "ustar  ");
	ADD(&tape, "dumped/", 'D', .magic = "ustar  ", .data = "Yfile\0\0",
	    .len = 7);
	ADD(&tape, "f", .data = "x", .len = 1);
	finish();
	expect(&made, LAYER_DIR, "dumped");
	expect(&made, LAYER_FILE, "f");
	expect_data(&made, "x", 1);
	expect_end(&made);
	done();
}

/* --- xattrs ------------------------------------------------------------- */

static void expect_xattr(size_t *pos, const char *name, const char *value,
			 size_t len)
{
	const char *n;
	const void *v;
	size_t nlen, vlen;

	cr_assert_eq(layer_next_xattr(&made.item, pos, &n, &nlen, &v, &vlen),
		     1, "no %s", name);
	cr_expect(nlen == strlen(name) && !memcmp(n, name, nlen), "%s", name);
	cr_expect(vlen == len && !memcmp(v, value, len), "%s", name);
}

Test(untar, xattrs_come_in_order_and_once)
{
	char text[1024];
	size_t n = 0, pos = 0;

	n += pax_record(text + n, "SCHILY.xattr.user.z", "a\0b\n", 4);
	n += pax_record(text + n, "LIBARCHIVE.xattr.user.%7a", "YQBiCg", 6);
	n += pax_record(text + n, "SCHILY.xattr.security.capability", "\1", 1);
	n += pax_record(text + n, "SCHILY.xattr.user.a", "", 0);
	n += pax_record(text + n, "SCHILY.xattr.user.aa", "2", 1);
	n += pax_record(text + n, "SCHILY.xattr.trusted.overlay.opaque", "y", 1);
	n += pax_record(text + n, "SCHILY.xattr.user.overlay.redirect", "/", 1);
	n += pax_record(text + n, "SCHILY.xattr.com.apple.x", "y", 1);
	n += pax_record(text + n, "SCHILY.xattr.user.", "y", 1);
	n += pax_record(text + n, "SCHILY.xattr.system.posix_acl_access",
			"acl", 3);
	n += pax_record(text + n, "SCHILY.xattr.system.other", "no", 2);
	ADD(&tape, "PaxHeaders/x", 'x', .data = text, .len = n);
	ADD(&tape, "f");
	ADD(&tape, "g");
	finish();
	expect(&made, LAYER_FILE, "f");
	expect_xattr(&pos, "security.capability", "\1", 1);
	expect_xattr(&pos, "system.posix_acl_access", "acl", 3);
	expect_xattr(&pos, "user.a", "", 0);
	expect_xattr(&pos, "user.aa", "2", 1);
	expect_xattr(&pos, "user.z", "a\0b\n", 4);
	cr_expect_eq(pos, made.item.e.xattrs_len);
	expect(&made, LAYER_FILE, "g");
	cr_expect_eq(made.item.e.xattrs_len, 0);
	expect_end(&made);
	done();
}

Test(untar, xattrs_beyond_their_limit_refuse_the_layer)
{
	char *big = malloc(70000);

	memset(big, 'x', 70000);
	tape_pax(&tape, "SCHILY.xattr.user.big", big, 70000);
	ADD(&tape, "f");
	finish();
	expect_refused(&made, EBADMSG, "f has too large xattrs");
	free(big);
	done();
}

/* --- data --------------------------------------------------------------- */

static uint8_t *noise(size_t len)
{
	uint8_t *p = malloc(len);
	uint32_t x = 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24) | 1;
	}
	return p;
}

Test(untar, data_is_whole_in_pieces_of_any_size)
{
	static const size_t sizes[] = { 1, 511, 512, 513, 4095, 4096, 4097,
					262143, 262144, 262145, 1000000 };
	static const size_t pieces[] = { 0, 512, 700, 1, 65536, 262144 };
	uint8_t *p = noise(1000000 + ARRAY_SIZE(sizes));

	for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			ADD(&tape, "f", .data = p + i, .len = sizes[i]);
		tape.piece = pieces[k];
		finish();
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			expect(&made, LAYER_FILE, "f");
			cr_expect_eq(made.item.e.data % LAYER_BLOCK, 0);
			expect_data(&made, p + i, sizes[i]);
		}
		expect_end(&made);
		cr_expect_eq(made.u.data_size % LAYER_BLOCK, 0);
		done();
	}
	free(p);
}

Test(untar, zeros_become_holes)
{
	size_t len = 3 << 20;
	uint8_t *p = calloc(1, len);
	struct stat st;

	p[1 << 20] = 1;
	p[len - 1] = 2;
	ADD(&tape, "f", .data = p, .len = len);
	ADD(&tape, "zeros", .data = p, .len = 1 << 20);
	finish();
	expect(&made, LAYER_FILE, "f");
	expect_data(&made, p, len);
	expect(&made, LAYER_FILE, "zeros");
	expect_data(&made, p, 1 << 20);
	cr_assert_eq(fstat(made.u.data, &st), 0);
	cr_expect_eq(st.st_blocks * 512, 2 * LAYER_BLOCK);
	free(p);
	done();
}

static void expect_sparse(void)
{
	uint8_t *p = calloc(1, 1 << 20);
	struct stat st;

	memset(p + 4096, 'a', 512);
	memset(p + 500000, 'b', 10);
	expect(&made, LAYER_FILE, "sparse");
	expect_data(&made, p, 1 << 20);
	cr_assert_eq(fstat(made.u.data, &st), 0);
	cr_expect_eq(st.st_blocks * 512, 2 * LAYER_BLOCK);
	expect(&made, LAYER_FILE, "next");
	expect_end(&made);
	free(p);
	done();
}

/* "aaa...bbb", as all four forms store it, in @map's blocks first. */
static void add_sparse(const char *name, int type, const char *map,
		       const char *magic)
{
	char data[1024 + 512] = "";
	size_t at = 0;

	if (map) {
		strcpy(data, map);
		at = 512;
	}
	memset(data + at, 'a', 512);
	memset(data + at + 512, 'b', 10);
	ADD(&tape, name, type, .data = data, .len = at + 522, .magic = magic);
	ADD(&tape, "next");
	finish();
}

Test(untar, sparse_files_of_old_gnu_tar)
{
	uint8_t *h;

	add_sparse("sparse", 'S', NULL, "ustar  ");
	made_free(&made);
	h = tape.p;
	sprintf((char *)h + 386, "%011o", 4096);
	sprintf((char *)h + 398, "%011o", 512);
	sprintf((char *)h + 410, "%011o", 500000);
	sprintf((char *)h + 422, "%011o", 10);
	sprintf((char *)h + 483, "%011o", 1 << 20);
	tape_sum(h);
	tape.at = 0;
	make(&made, &tape);
	expect_sparse();
}

Test(untar, sparse_files_of_pax_0_0)
{
	char text[512];
	size_t n = 0;

	n += pax_record(text + n, "GNU.sparse.size", "1048576", 7);
	n += pax_record(text + n, "GNU.sparse.numblocks", "2", 1);
	n += pax_record(text + n, "GNU.sparse.offset", "4096", 4);
	n += pax_record(text + n, "GNU.sparse.numbytes", "512", 3);
	n += pax_record(text + n, "GNU.sparse.offset", "500000", 6);
	n += pax_record(text + n, "GNU.sparse.numbytes", "10", 2);
	ADD(&tape, "x", 'x', .data = text, .len = n);
	add_sparse("sparse", '0', NULL, NULL);
	expect_sparse();
}

Test(untar, sparse_files_of_pax_0_1)
{
	char text[512];
	size_t n = 0;

	n += pax_record(text + n, "GNU.sparse.size", "1048576", 7);
	n += pax_record(text + n, "GNU.sparse.numblocks", "2", 1);
	n += pax_record(text + n, "GNU.sparse.map", "4096,512,500000,10", 18);
	n += pax_record(text + n, "GNU.sparse.name", "sparse", 6);
	n += pax_record(text + n, "path", "GNUSparseFile.1/sparse", 22);
	ADD(&tape, "x", 'x', .data = text, .len = n);
	add_sparse("cut", '0', NULL, NULL);
	expect_sparse();
}

Test(untar, sparse_files_of_pax_1_0)
{
	char text[512];
	size_t n = 0;

	n += pax_record(text + n, "GNU.sparse.major", "1", 1);
	n += pax_record(text + n, "GNU.sparse.minor", "0", 1);
	n += pax_record(text + n, "GNU.sparse.name", "sparse", 6);
	n += pax_record(text + n, "GNU.sparse.realsize", "1048576", 7);
	ADD(&tape, "x", 'x', .data = text, .len = n);
	add_sparse("cut", '0', "2\n4096\n512\n500000\n10\n", NULL);
	expect_sparse();
}

/* --- whiteouts ---------------------------------------------------------- */

Test(untar, whiteouts_of_any_type)
{
	ADD(&tape, ".wh.gone");
	ADD(&tape, "a/b/.wh.gone", .data = "data", .len = 4, .mode = 0644,
	    .uid = 5, .mtime = 9);
	ADD(&tape, "./a/.wh.d/", '5');
	ADD(&tape, "a/.wh.link", '2', .link = "x");
	ADD(&tape, "a/.wh.char", '3', .major = 1);
	ADD(&tape, "a/.wh.hard", '1', .link = "x");
	ADD(&tape, "a/.wh...odd");
	ADD(&tape, "a/.whatever");
	finish();
	expect(&made, LAYER_WHITEOUT, "gone");
	expect(&made, LAYER_WHITEOUT, "a/b/gone");
	cr_expect(!made.item.e.mode && !made.item.e.uid &&
		  !made.item.e.mtime_s && !made.item.e.size);
	expect(&made, LAYER_WHITEOUT, "a/d");
	expect(&made, LAYER_WHITEOUT, "a/link");
	expect(&made, LAYER_WHITEOUT, "a/char");
	expect(&made, LAYER_WHITEOUT, "a/hard");
	expect(&made, LAYER_WHITEOUT, "a/..odd");
	expect(&made, LAYER_FILE, "a/.whatever");
	expect_end(&made);
	done();
}

Test(untar, opaque_directories_and_what_aufs_kept)
{
	ADD(&tape, ".wh..wh..opq");
	ADD(&tape, "a/b/.wh..wh..opq");
	ADD(&tape, ".wh..wh.aufs");
	ADD(&tape, ".wh..wh.plnk/", '5');
	ADD(&tape, ".wh..wh.plnk/12.34", .data = "x", .len = 1);
	ADD(&tape, "a/.wh..wh.foo");
	ADD(&tape, "a/.wh..wh..opq/x");
	finish();
	expect(&made, LAYER_OPAQUE, "");
	expect(&made, LAYER_OPAQUE, "a/b");
	expect_end(&made);
	cr_expect_eq(made.u.data_size, 0);
	done();
}

static void refuse(const char *name, const char *words)
{
	ADD(&tape, name);
	finish();
	expect_refused(&made, EBADMSG, words);
	done();
}

Test(untar, whiteouts_of_nothing_refuse_the_layer)
{
	refuse(".wh.", "whites nothing out");
	refuse("a/.wh..", "whites nothing out");
	refuse("a/.wh...", "whites nothing out");
	refuse(".wh.a/b", "in a whiteout");
	refuse("x/.wh.a/.wh.b", "in a whiteout");
}

/* --- names -------------------------------------------------------------- */

Test(untar, names_stay_in_the_tree)
{
	ADD(&tape, "/etc//passwd");
	ADD(&tape, "./././x");
	ADD(&tape, "..x/x../...");
	ADD(&tape, "d/.", '5');
	ADD(&tape, "/"); /* a directory by its slash */
	finish();
	expect(&made, LAYER_FILE, "etc/passwd");
	expect(&made, LAYER_FILE, "x");
	expect(&made, LAYER_FILE, "..x/x../...");
	expect(&made, LAYER_DIR, "d");
	expect(&made, LAYER_DIR, "");
	expect_end(&made);
	done();
	refuse("..", "out of the tree");
	refuse("../x", "out of the tree");
	refuse("a/../../x", "out of the tree");
	refuse("a/..", "out of the tree");
	refuse("/..", "out of the tree");
	refuse("", "no directory");
}

Test(untar, links_lead_to_names_in_the_tree)
{
	ADD(&tape, "a", '1', .link = "../x");
	finish();
	expect_refused(&made, EBADMSG, "out of the tree");
	done();
	ADD(&tape, "a", '1', .link = "./");
	finish();
	expect_refused(&made, EBADMSG, "link to nothing");
	done();
	ADD(&tape, "a", '2', .link = "");
	finish();
	expect_refused(&made, EBADMSG, "link to nothing");
	done();
}

static void long_name(size_t len, size_t component)
{
	char *name = malloc(len + 1);

	memset(name, 'n', len);
	for (size_t i = component; i < len; i += component + 1)
		name[i] = '/';
	name[len] = '\0';
	tape_pax(&tape, "path", name, len);
	ADD(&tape, "cut");
	finish();
	free(name);
}

Test(untar, names_have_limits)
{
	long_name(255, 255);
	cr_assert_eq(made.r, 0, "%s", made.err.msg);
	done();
	long_name(256, 256);
	expect_refused(&made, ENAMETOOLONG, "too long");
	done();
	long_name(4095, 255);
	cr_assert_eq(made.r, 0, "%s", made.err.msg);
	done();
	long_name(4097, 255);
	expect_refused(&made, ENAMETOOLONG, "too long");
	done();
	long_name(100000, 200);
	expect_refused(&made, ENAMETOOLONG, "too long");
	done();
}

Test(untar, link_targets_have_limits)
{
	char *to = malloc(5000);

	memset(to, 't', 5000);
	tape_pax(&tape, "linkpath", to, 4095);
	ADD(&tape, "l", '2', .link = "cut");
	finish();
	cr_assert_eq(made.r, 0, "%s", made.err.msg);
	done();
	tape_pax(&tape, "linkpath", to, 4096);
	ADD(&tape, "l", '2', .link = "cut");
	finish();
	expect_refused(&made, EBADMSG, "too far");
	free(to);
	done();
}

/* --- quotas ------------------------------------------------------------- */

static void make_with(uint64_t data, uint64_t entries)
{
	tape_end(&tape);
	make_within(&made, &tape, data, entries);
}

Test(untar, quota_of_data_counts_blocks)
{
	ADD(&tape, "a", .data = "1", .len = 1);
	ADD(&tape, "b", .data = "2", .len = 1);
	make_with(8192, 100);
	cr_assert_eq(made.r, 0, "%s", made.err.msg);
	cr_expect_eq(made.u.data_size, 8192);
	done();
	ADD(&tape, "a", .data = "1", .len = 1);
	ADD(&tape, "b", .data = "2", .len = 1);
	make_with(8191, 100);
	expect_refused(&made, EFBIG, "with b");
	done();
}

Test(untar, quota_of_data_counts_holes_before_they_are_made)
{
	char text[256];
	size_t n;

	ADD(&tape, "bomb", .size = "\200\0\0\0\177\377\377\377\377\377\377");
	make_with(1 << 20, 100);
	expect_refused(&made, EFBIG, "the files are larger than 1048576 bytes");
	done();
	n = pax_record(text, "GNU.sparse.size", "1000000000000", 13);
	n += pax_record(text + n, "GNU.sparse.map", "0,1", 3);
	ADD(&tape, "PaxHeaders/x", 'x', .data = text, .len = n);
	ADD(&tape, "bomb", .data = "x", .len = 1);
	make_with(UINT64_C(1) << 34, 100);
	expect_refused(&made, EFBIG, "bomb");
	done();
}

Test(untar, quota_of_entries)
{
	for (int i = 0; i < 3; i++)
		ADD(&tape, "f");
	make_with(0, 3);
	cr_assert_eq(made.r, 0, "%s", made.err.msg);
	done();
	for (int i = 0; i < 4; i++)
		ADD(&tape, "f");
	make_with(0, 3);
	expect_refused(&made, EFBIG, "more entries than 3");
	done();
}

/* --- what libarchive writes --------------------------------------------- */

static la_ssize_t keep(struct archive *a, void *opaque, const void *p,
		       size_t len)
{
	(void)a;
	tape_bytes(opaque, p, len);
	return (la_ssize_t)len;
}

static void with_format(int (*format)(struct archive *a), int pads)
{
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();

	cr_assert_eq(format(a), ARCHIVE_OK);
	archive_write_set_bytes_in_last_block(a, pads);
	cr_assert_eq(archive_write_open(a, &tape, NULL, keep, NULL), 0);
	archive_entry_set_pathname(e, "usr/bin/x");
	archive_entry_set_mode(e, S_IFREG | 0755);
	archive_entry_set_uid(e, 1000);
	archive_entry_set_mtime(e, 1700000000, 0);
	archive_entry_set_size(e, 6);
	cr_assert_eq(archive_write_header(a, e), ARCHIVE_OK);
	cr_assert_eq(archive_write_data(a, "binary", 6), 6);
	archive_entry_free(e);
	archive_write_free(a);
	make(&made, &tape);
	expect(&made, LAYER_FILE, "usr/bin/x");
	cr_expect(made.item.e.mode == 0755 && made.item.e.uid == 1000);
	cr_expect_eq(made.item.e.mtime_s, 1700000000);
	expect_data(&made, "binary", 6);
	expect_end(&made);
	cr_expect_eq(tape.at, tape.len, "the source is read to its end");
	done();
}

Test(untar, formats_that_libarchive_writes)
{
	with_format(archive_write_set_format_v7tar, 512);
	with_format(archive_write_set_format_ustar, 10240);
	with_format(archive_write_set_format_gnutar, 1 << 20);
	with_format(archive_write_set_format_pax, 10240);
	with_format(archive_write_set_format_pax_restricted, 10240);
}
