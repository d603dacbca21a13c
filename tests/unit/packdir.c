/* SPDX-License-Identifier: Apache-2.0 */
/* Directories to tars, and what a layer of them is. */
#include <fcntl.h>
#include <ftw.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "rootfs/packdir.h"
#include "tests/unit/tar_stage.h"

static char top[] = "/tmp/mayfly-packdir-XXXXXX";
static struct tape tape;
static struct made made;
static struct packdir p;
static struct err err;

static void enter(void)
{
	umask(022);
	cr_assert(mkdtemp(top) && chdir(top) == 0 && mkdir("d", 0755) == 0);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void leave(void)
{
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(nftw(top, remove_one, 64, FTW_DEPTH | FTW_PHYS), 0);
	tape_free(&tape);
}

TestSuite(packdir, .init = enter, .fini = leave);

static int pack(int owners)
{
	struct stat st;
	int r;

	p = (struct packdir){
		.dir = open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.out = memfd_create("tar", MFD_CLOEXEC), .owners = owners,
	};
	err = (struct err){ 0 };
	r = packdir(&p, &err);
	cr_assert_eq(fstat(p.out, &st), 0);
	tape_free(&tape);
	tape_room(&tape, (size_t)st.st_size);
	cr_assert_eq(pread(p.out, tape.p, tape.len, 0), (ssize_t)tape.len);
	close(p.dir);
	close(p.out);
	return r;
}

static void put(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert(fd >= 0 && write(fd, data, len) == (ssize_t)len, "%s", path);
	close(fd);
}

Test(packdir, each_type_and_its_attributes)
{
	const struct timespec at[2] = { { 5, 6 }, { 1700000000, 123456789 } };
	char *big = calloc(1, 300000);

	big[299999] = 1;
	put("d/file", big, 300000);
	cr_assert_eq(chmod("d/file", 02751), 0);
	cr_assert_eq(utimensat(AT_FDCWD, "d/file", at, 0), 0);
	cr_assert_eq(link("d/file", "d/hard"), 0);
	cr_assert_eq(symlink("\xff/../nowhere", "d/link"), 0);
	cr_assert_eq(mkfifo("d/pipe", 0600), 0);
	cr_assert_eq(mkdir("d/sub", 0700), 0);
	put("d/sub/cafe\xcc\x81", "1", 1);
	put("d/sub/caf\xc3\xa9", "2", 1);
	put("d/sub/\xff\xfe", "3", 1);
	cr_assert_eq(pack(0), 0, "%s", err.msg);
	cr_expect(p.left_out == 0 && !*err.msg);
	make(&made, &tape);
	expect(&made, LAYER_DIR, "");
	cr_expect_eq(made.item.e.mode, 0755);
	expect(&made, LAYER_FILE, "file");
	cr_expect_eq(made.item.e.mode, 02751);
	cr_expect(made.item.e.mtime_s == 1700000000 &&
		  made.item.e.mtime_ns == 123456789);
	expect_data(&made, big, 300000);
	expect(&made, LAYER_HARDLINK, "hard");
	cr_expect_str_eq(made.link, "file");
	expect(&made, LAYER_SYMLINK, "link");
	cr_expect_str_eq(made.link, "\xff/../nowhere");
	expect(&made, LAYER_FIFO, "pipe");
	expect(&made, LAYER_DIR, "sub");
	cr_expect_eq(made.item.e.mode, 0700);
	expect(&made, LAYER_FILE, "sub/cafe\xcc\x81");
	expect_data(&made, "1", 1);
	expect(&made, LAYER_FILE, "sub/caf\xc3\xa9");
	expect_data(&made, "2", 1);
	expect(&made, LAYER_FILE, "sub/\xff\xfe");
	expect_end(&made);
	made_free(&made);
	free(big);
}

Test(packdir, owners_and_devices_are_roots_to_give)
{
	put("d/f", "", 0);
	if (geteuid() != 0)
		cr_skip_test("not root");
	cr_assert_eq(chown("d/f", 3000000, 5), 0);
	cr_assert_eq(mknod("d/n", S_IFCHR | 0600, makedev(10, 300000)), 0);
	cr_assert_eq(pack(1), 0, "%s", err.msg);
	make(&made, &tape);
	expect(&made, LAYER_DIR, "");
	expect(&made, LAYER_FILE, "f");
	cr_expect(made.item.e.uid == 3000000 && made.item.e.gid == 5);
	expect(&made, LAYER_CHAR, "n");
	cr_expect(made.item.e.major == 10 && made.item.e.minor == 300000);
	made_free(&made);
	cr_assert_eq(pack(0), 0, "%s", err.msg);
	make(&made, &tape);
	expect(&made, LAYER_DIR, "");
	expect(&made, LAYER_FILE, "f");
	cr_expect(made.item.e.uid == 0 && made.item.e.gid == 0);
	made_free(&made);
}

Test(packdir, xattrs_go_along)
{
	put("d/f", "", 0);
	if (setxattr("d/f", "user.x", "a\0b", 3, 0) < 0 &&
	    setxattr("d/f", "trusted.x", "a\0b", 3, 0) < 0)
		cr_skip_test("no xattrs in /tmp");
	cr_assert_eq(pack(0), 0, "%s", err.msg);
	make(&made, &tape);
	expect(&made, LAYER_DIR, "");
	expect(&made, LAYER_FILE, "f");
	cr_expect_gt(made.item.e.xattrs_len, sizeof(struct layer_xattr) + 3);
	cr_expect_arr_eq(made.item.xattrs + made.item.e.xattrs_len - 3, "a\0b",
			 3);
	made_free(&made);
}

Test(packdir, the_same_tree_is_the_same_tar)
{
	struct tape first;
	char name[16];

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "d/%d", i * 7919 % 200);
		put(name, name, 5);
		cr_assert_eq(truncate(name, 0), 0);
	}
	cr_assert_eq(pack(0), 0);
	first = tape;
	tape = (struct tape){ 0 };
	/* in another order in the directory */
	for (int i = 0; i < 200; i += 3) {
		char other[32];

		snprintf(name, sizeof(name), "d/%d", i);
		snprintf(other, sizeof(other), "d/a-long-name-%d", i);
		cr_assert_eq(rename(name, other), 0);
		cr_assert_eq(rename(other, name), 0);
	}
	cr_assert_eq(pack(0), 0);
	cr_assert_eq(tape.len, first.len);
	/* but for the time of the directory itself */
	cr_expect_arr_eq(tape.p + 4096, first.p + 4096, tape.len - 4096);
	tape_free(&first);
}

Test(packdir, sockets_are_left_out_with_a_word)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "d/sock" };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	close(s);
	put("d/z", "", 0);
	cr_assert_eq(pack(0), 0, "%s", err.msg);
	cr_expect_eq(p.left_out, 1);
	cr_expect_str_eq(p.first, "sock");
	make(&made, &tape);
	expect(&made, LAYER_DIR, "");
	expect(&made, LAYER_FILE, "z");
	expect_end(&made);
	made_free(&made);
}

Test(packdir, too_deep_is_said)
{
	int fd = open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	for (int i = 0; i < PACKDIR_DEPTH_MAX + 1; i++) {
		int next;

		cr_assert_eq(mkdirat(fd, "x", 0700), 0);
		next = openat(fd, "x", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cr_assert_geq(next, 0);
		close(fd);
		fd = next;
	}
	close(fd);
	r = pack(0);
	cr_expect_eq(r, -ELOOP);
	cr_expect(strstr(err.msg, "too deep"), "%s", err.msg);
}

Test(packdir, nobody_who_reads_is_an_error)
{
	struct err e = { 0 };

	put("d/f", "", 0);
	p = (struct packdir){
		.dir = open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.out = open("/dev/full", O_WRONLY | O_CLOEXEC),
	};
	cr_expect_lt(packdir(&p, &e), 0);
	cr_expect(strstr(e.msg, "No space left on device"), "%s", e.msg);
	close(p.dir);
	close(p.out);
}
