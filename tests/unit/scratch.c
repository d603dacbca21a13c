/* SPDX-License-Identifier: Apache-2.0 */
/* The scratch disk: a sparse, nameless copy of its template. */
#include "runner/scratch.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static int template(off_t size)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, size), 0);
	return fd;
}

Test(scratch, data_is_copied_and_holes_stay_holes)
{
	const off_t size = 10ll << 30, at[] = { 0, 4096, 1 << 20, size - 3 };
	int t = template(size), fd;
	struct stat st;
	char buf[3];

	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(pwrite(t, "abc", 3, at[i]), 3);
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
	int fd = scratch_create(template(1 << 20), NULL);
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_size, 1 << 20);
	cr_assert_eq(st.st_blocks, 0);
	close(fd);
}

Test(scratch, the_template_is_not_written_to)
{
	int t = template(8192), fd;
	char buf[4] = "";

	cr_assert_eq(pwrite(t, "abc", 3, 0), 3);
	fd = scratch_create(t, NULL);
	cr_assert_eq(pwrite(fd, "xyz", 3, 0), 3);
	cr_assert_eq(pread(t, buf, 3, 0), 3);
	cr_assert_str_eq(buf, "abc");
	close(fd);
}

Test(scratch, a_directory_that_is_not_there_is_named_with_the_way_out)
{
	struct err err = { 0 };

	setenv("TMPDIR", "/nowhere", 1);
	cr_assert_eq(scratch_create(template(4096), &err), -ENOENT);
	cr_assert(strstr(err.msg, "/nowhere"));
	cr_assert(strstr(err.hint, "TMPDIR"));
}
