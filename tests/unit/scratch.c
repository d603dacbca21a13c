/* SPDX-License-Identifier: Apache-2.0 */
/* The scratch disk: a sparse, nameless copy of its template. */
#include "runner/scratch.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"

static char dir[] = "/tmp/test-scratch-XXXXXX";

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(dir));
	setenv("TMPDIR", dir, 1);
}

static void tear_down(void)
{
	cr_assert_eq(rmdir(dir), 0, "something is left in %s", dir);
}

TestSuite(scratch, .init = set_up, .fini = tear_down);

static int image(off_t size)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, size), 0);
	return fd;
}

/* The template of an image. */
static int packed(int raw)
{
	int fd = image(0);

	cr_assert_eq(scratch_pack(raw, fd), 0);
	close(raw);
	return fd;
}

Test(scratch, data_is_copied_and_holes_stay_holes)
{
	const off_t size = 10ll << 30, at[] = { 0, 4096, 1 << 20, size - 3 };
	int raw = image(size), t, fd;
	struct stat st;
	char buf[3];

	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(pwrite(raw, "abc", 3, at[i]), 3);
	t = packed(raw);
	cr_assert_eq(fstat(t, &st), 0);
	cr_assert_lt(st.st_size, 4 * 4096 + 4096);
	fd = scratch_create(t, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_size, size);
	cr_assert_lt(st.st_blocks, 4096, "%ld blocks", (long)st.st_blocks);
	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(pread(fd, buf, 3, at[i]), 3);
		cr_assert_eq(memcmp(buf, "abc", 3), 0);
	}
	close(fd);
}

Test(scratch, an_empty_template_gives_an_empty_disk)
{
	int fd = scratch_create(packed(image(1 << 20)), NULL);
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_size, 1 << 20);
	cr_assert_eq(st.st_blocks, 0);
	close(fd);
}

Test(scratch, the_template_is_not_written_to)
{
	int t = packed(image(8192)), fd = scratch_create(t, NULL);
	struct stat before, after;

	cr_assert_eq(fstat(t, &before), 0);
	cr_assert_eq(pwrite(fd, "xyz", 3, 0), 3);
	cr_assert_eq(fstat(t, &after), 0);
	cr_assert_eq(before.st_size, after.st_size);
	cr_assert_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	close(fd);
}

static void expect_damaged(struct scratch_head h, struct scratch_extent e)
{
	int t = image(0);
	struct err err = { 0 };

	memcpy(h.magic, h.magic[0] ? h.magic : SCRATCH_MAGIC, sizeof(h.magic));
	cr_assert_eq(pwrite(t, &h, sizeof(h), 0), sizeof(h));
	cr_assert_eq(pwrite(t, &e, sizeof(e), sizeof(h)), sizeof(e));
	cr_expect_eq(scratch_create(t, &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "scratch template: the file is damaged");
	close(t);
}

Test(scratch, a_damaged_template_is_refused)
{
	const struct scratch_head one = { .size = 8192, .extents = 1 };

	expect_damaged((struct scratch_head){ .magic = "notours" },
		       (struct scratch_extent){ 0 });
	expect_damaged((struct scratch_head){ .size = UINT64_MAX },
		       (struct scratch_extent){ 0 });
	expect_damaged((struct scratch_head){ .extents = UINT64_MAX },
		       (struct scratch_extent){ 0 });
	expect_damaged((struct scratch_head){ .extents = 2 },
		       (struct scratch_extent){ 0 });
	expect_damaged(one, (struct scratch_extent){ .at = 8193 });
	expect_damaged(one, (struct scratch_extent){ .at = 8192, .len = 1 });
	expect_damaged(one, (struct scratch_extent){ .at = 4096,
						     .len = UINT64_MAX });
	expect_damaged(one, (struct scratch_extent){ .len = 5 }); /* no bytes */
	cr_expect_eq(scratch_create(image(3), NULL), -EBADMSG);
}

Test(scratch, a_directory_that_is_not_there_is_named_with_the_way_out)
{
	struct err err = { 0 };

	setenv("TMPDIR", "/nowhere", 1);
	cr_assert_eq(scratch_create(packed(image(4096)), &err), -ENOENT);
	cr_assert(strstr(err.msg, "/nowhere"));
	cr_assert(strstr(err.hint, "TMPDIR"));
}

/* --- templates of other sizes ------------------------------------------ */

#define SIZE (32ull << 20)

static char cache[] = "/tmp/test-scratch-cache-XXXXXX";

static void with_cache(void)
{
	set_up();
	cr_assert_not_null(mkdtemp(cache));
	setenv("MAYFLY_CACHE", cache, 1);
}

static int entries(void)
{
	char path[64];
	int n = -2;
	DIR *d;

	snprintf(path, sizeof(path), "%s/scratch", cache);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return d ? n : 0;
}

static void entry(char path[128], uint64_t size)
{
	char name[SCRATCH_NAME];

	scratch_name(size, name);
	snprintf(path, 128, "%s/scratch/%s", cache, name);
}

static void without_cache(void)
{
	char path[128];

	entry(path, SIZE);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	cr_assert_eq(rmdir(cache), 0);
	tear_down();
}

TestSuite(template, .init = with_cache, .fini = without_cache);

static void expect_disk(int t, uint64_t size)
{
	unsigned char magic[2];
	struct stat st;
	int fd;

	cr_assert_geq(t, 0);
	fd = scratch_create(t, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect_eq((uint64_t)st.st_size, size);
	cr_expect_lt(st.st_blocks, 1024);
	cr_assert_eq(pread(fd, magic, 2, 1024 + 56), 2);
	cr_expect_eq(magic[0] | magic[1] << 8, 0xef53); /* ext4's s_magic */
	close(fd);
	close(t);
}

Test(template, is_made_once_and_found_again)
{
	struct stat one, two;
	char path[128];

	expect_disk(scratch_template(SIZE, NULL), SIZE);
	entry(path, SIZE);
	cr_assert_eq(stat(path, &one), 0);
	setenv("PATH", "/nowhere", 1);
	expect_disk(scratch_template(SIZE, NULL), SIZE);
	cr_assert_eq(stat(path, &two), 0);
	cr_expect_eq(one.st_ino, two.st_ino);
	cr_expect_eq(entries(), 1);
}

Test(template, a_damaged_one_is_made_anew)
{
	char path[128];

	expect_disk(scratch_template(SIZE, NULL), SIZE);
	entry(path, SIZE);
	cr_assert_eq(truncate(path, 0), 0);
	expect_disk(scratch_template(SIZE, NULL), SIZE);
	cr_assert_eq(chmod(path, 0666), 0);
	expect_disk(scratch_template(SIZE, NULL), SIZE);
	cr_expect_eq(entries(), 1);
}

Test(template, one_that_was_cut_off_is_made_anew)
{
	char path[128];
	struct stat st;

	entry(path, SIZE);
	expect_disk(scratch_template(SIZE, NULL), SIZE);
	cr_assert_eq(stat(path, &st), 0);
	for (off_t n = st.st_size - 1; n > 0; n /= 2) {
		cr_assert_eq(truncate(path, n), 0);
		expect_disk(scratch_template(SIZE, NULL), SIZE);
	}
}

Test(template, runs_without_a_place_to_keep_it)
{
	setenv("MAYFLY_CACHE", "/proc/nowhere", 1);
	expect_disk(scratch_template(SIZE, NULL), SIZE);
	setenv("MAYFLY_CACHE", cache, 1);
	cr_expect_eq(entries(), 0);
}

Test(template, many_at_once_make_one)
{
	for (int i = 0; i < 8; i++)
		if (fork() == 0) {
			int fd = scratch_template(SIZE, NULL);

			_exit(fd < 0);
		}
	for (int i = 0; i < 8; i++) {
		int status;

		cr_assert_gt(wait(&status), 0);
		cr_expect_eq(status, 0);
	}
	cr_expect_eq(entries(), 1);
	expect_disk(scratch_template(SIZE, NULL), SIZE);
}

Test(template, sizes_have_names_of_their_own)
{
	char one[SCRATCH_NAME], two[SCRATCH_NAME];

	scratch_name(SIZE, one);
	scratch_name(SIZE + 4096, two);
	cr_expect_str_neq(one, two);
	cr_expect_eq(strncmp(one, "33554432-", 9), 0, "%s", one);
}
