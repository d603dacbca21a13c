/* SPDX-License-Identifier: Apache-2.0 */
/* Tars of images to a directory, and nowhere else. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>

#include "rootfs/unarchive.h"
#include "tests/unit/tar_stage.h"

/* TOP/in is where it goes, TOP/out what it must not touch. */
static char top[] = "/tmp/mayfly-unarchive-XXXXXX";
static struct tape tape;
static struct unarchive u;
static struct err err;

static void enter(void)
{
	cr_assert(mkdtemp(top) && chdir(top) == 0);
	cr_assert(mkdir("in", 0700) == 0 && mkdir("out", 0700) == 0);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void leave(void)
{
	cr_assert_eq(rmdir("out"), 0, "something was made outside");
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(nftw(top, remove_one, 64, FTW_DEPTH | FTW_PHYS), 0);
	tape_free(&tape);
}

TestSuite(unarchive, .init = enter, .fini = leave);

static int make_it(uint64_t data_max, uint64_t files_max)
{
	int r;

	tape_end(&tape);
	u = (struct unarchive){
		.source = tape_next, .opaque = &tape,
		.dir = open("in", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.data_max = data_max, .files_max = files_max,
	};
	cr_assert_geq(u.dir, 0);
	err = (struct err){ 0 };
	r = unarchive(&u, &err);
	close(u.dir);
	tape_free(&tape);
	return r;
}

static void expect_file(const char *path, const char *text)
{
	char buf[256] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	cr_assert_geq(fd, 0, "%s: %m", path);
	cr_expect_geq(read(fd, buf, sizeof(buf) - 1), 0);
	cr_expect_str_eq(buf, text);
	cr_expect(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600);
	close(fd);
}

#define FILE_OF(text) .data = text, .len = sizeof(text) - 1

Test(unarchive, an_image_of_oci)
{
	ADD(&tape, "oci-layout", FILE_OF("{}"), .mode = 04777);
	ADD(&tape, "./blobs/", '5', .mode = 0);
	ADD(&tape, "blobs/sha256/", '5');
	ADD(&tape, "blobs/sha256/abc", FILE_OF("blob"));
	ADD(&tape, "/index.json", FILE_OF("[]"));
	cr_assert_eq(make_it(100, 100), 0, "%s", err.msg);
	expect_file("in/oci-layout", "{}");
	expect_file("in/blobs/sha256/abc", "blob");
	expect_file("in/index.json", "[]");
	cr_expect_eq(u.bytes, 8);
	cr_expect_eq(u.files, 5);
}

Test(unarchive, an_image_of_docker_with_links_between_its_layers)
{
	char to[64];

	ADD(&tape, "1/", '5');
	ADD(&tape, "1/layer.tar", FILE_OF("one"));
	ADD(&tape, "2/layer.tar", '2', .link = "../1/layer.tar");
	ADD(&tape, "manifest.json", FILE_OF("[]"));
	cr_assert_eq(make_it(100, 100), 0, "%s", err.msg);
	expect_file("in/1/layer.tar", "one");
	cr_expect_eq(readlink("in/2/layer.tar", to, sizeof(to)), 14);
}

Test(unarchive, a_file_that_comes_again_replaces_the_first)
{
	ADD(&tape, "f", FILE_OF("first"));
	ADD(&tape, "f", FILE_OF("second"));
	ADD(&tape, "l", '2', .link = "f");
	ADD(&tape, "l", FILE_OF("file"));
	cr_assert_eq(make_it(100, 100), 0, "%s", err.msg);
	expect_file("in/f", "second");
	expect_file("in/l", "file");
}

static void refuse(int error, const char *words)
{
	int r = make_it(100, 4);

	cr_expect_eq(r, -error, "%d: %s", r, err.msg);
	cr_expect(strstr(err.msg, words), "not \"%s\": %s", words, err.msg);
}

Test(unarchive, links_that_lead_out_are_not_made)
{
	static const char *const bad[] = { "..", "../out", "/etc/passwd",
					   "a/../../out/x", "./../out" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ADD(&tape, "l", '2', .link = bad[i]);
		refuse(EBADMSG, "l: a link that leads out");
	}
	ADD(&tape, "d/l", '2', .link = "../../out");
	refuse(EBADMSG, "d/l: a link that leads out");
}

/* One that was made is followed by nobody. */
Test(unarchive, nothing_goes_through_a_link)
{
	cr_assert_eq(symlink("../out", "in/way"), 0);
	ADD(&tape, "way/x", FILE_OF("evil"));
	cr_expect_eq(make_it(100, 4), -ENOTDIR, "%s", err.msg);
	ADD(&tape, "way/d/", '5');
	cr_expect_eq(make_it(100, 4), -ENOTDIR, "%s", err.msg);
	ADD(&tape, "way", FILE_OF("a file now"));
	cr_expect_eq(make_it(100, 4), 0, "%s", err.msg);
	expect_file("in/way", "a file now");
}

Test(unarchive, names_stay_below)
{
	ADD(&tape, "../out/x", FILE_OF("evil"));
	refuse(EBADMSG, "out of the tree");
	ADD(&tape, "a/../../out/x", FILE_OF("evil"));
	refuse(EBADMSG, "out of the tree");
	ADD(&tape, "1/2/3/4/5/6/7/8/9", FILE_OF("deep"));
	refuse(ENAMETOOLONG, "1/2/3");
}

Test(unarchive, other_types_are_refused)
{
	static const char types[] = "1346";

	for (int i = 0; types[i]; i++) {
		ADD(&tape, "x", types[i], .link = "y");
		refuse(EBADMSG, "nothing that images are made of");
	}
	ADD(&tape, "d/", '5');
	ADD(&tape, "d", FILE_OF("a file now"));
	refuse(EISDIR, "d: make it");
}

Test(unarchive, quotas)
{
	ADD(&tape, "a", .data = "", .len = 0);
	ADD(&tape, "b", FILE_OF("1"), .size = "00000000145");
	refuse(EFBIG, "b: larger than what is left");
	for (int i = 0; i < 5; i++) {
		char name[] = { (char)('a' + i), 0 };

		ADD(&tape, name);
	}
	refuse(EFBIG, "e: more than 4 files");
	ADD(&tape, "1/2/3/4/5/x");
	refuse(EFBIG, "more than 4 files");
}

Test(unarchive, holes_are_refused)
{
	char text[128];
	size_t n = pax_record(text, "GNU.sparse.size", "50", 2);

	n += pax_record(text + n, "GNU.sparse.map", "0,1", 3);
	ADD(&tape, "x", 'x', .data = text, .len = n);
	ADD(&tape, "f", FILE_OF("1"));
	refuse(EBADMSG, "f: it has holes");
}
