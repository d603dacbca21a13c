/* SPDX-License-Identifier: Apache-2.0 */
/* Disks of the user's: who may have them at once. */
#include "runner/drive.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

static char dir[] = "/tmp/test-drive-XXXXXX";
static struct config config;
static const struct ctl_rate none[2];

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
	setenv("TMPDIR", dir, 1);
	config_init(&config);
}

static void tear_down(void)
{
	unlink("a.img");
	cr_assert_eq(rmdir(dir), 0, "something is left in %s", dir);
}

TestSuite(drive, .init = set_up, .fini = tear_down);

static void file(off_t size)
{
	int fd = open("a.img", O_RDWR | O_CREAT | O_TRUNC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, size), 0);
	close(fd);
}

static int add(struct machine *m, enum config_drive_mode mode,
	       struct err *err)
{
	char path[] = "a.img";
	const struct config_drive d = { path, mode };

	machine_init(m, &config);
	return drive_add(m, &d, none, err);
}

Test(drive, nobody_reads_what_another_writes_and_one_writes)
{
	static const enum config_drive_mode R = CONFIG_DRIVE_READ,
					    W = CONFIG_DRIVE_WRITE,
					    C = CONFIG_DRIVE_COW;
	static const struct {
		enum config_drive_mode first, second;
		int code;
	} t[] = {
		{ R, R, 0 },	  { R, C, 0 },	    { C, C, 0 },
		{ R, W, -EBUSY }, { C, W, -EBUSY }, { W, R, -EBUSY },
		{ W, C, -EBUSY }, { W, W, -EBUSY },
	};

	file(1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct machine one, two;
		struct err err = { 0 };

		cr_assert_eq(add(&one, t[i].first, NULL), 0);
		cr_expect_eq(add(&two, t[i].second, &err), t[i].code, "%zu: %s",
			     i, err.msg);
		cr_expect_eq(!*err.hint, !t[i].code);
		machine_free(&two);
		machine_free(&one);
		/* And it is free again. */
		cr_expect_eq(add(&one, W, NULL), 0);
		machine_free(&one);
	}
}

Test(drive, the_lock_lives_as_long_as_the_vmms_descriptor)
{
	struct machine one, two;
	struct err err = { 0 };
	int kept;

	file(4096);
	cr_assert_eq(add(&one, CONFIG_DRIVE_WRITE, NULL), 0);
	kept = dup(one.fd[0]); /* as it goes by SCM_RIGHTS */
	machine_free(&one);
	cr_expect_eq(add(&two, CONFIG_DRIVE_WRITE, &err), -EBUSY);
	machine_free(&two);
	close(kept);
	cr_expect_eq(add(&two, CONFIG_DRIVE_WRITE, NULL), 0);
	machine_free(&two);
}

Test(drive, kinds_of_disk)
{
	struct machine m;
	struct stat base, upper;

	file(1 << 20);
	cr_assert_eq(add(&m, CONFIG_DRIVE_READ, NULL), 0);
	cr_expect_eq(m.boot.disk[0].kind, CTL_DISK_READ);
	cr_expect_eq(fcntl(m.fd[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	machine_free(&m);
	cr_assert_eq(add(&m, CONFIG_DRIVE_WRITE, NULL), 0);
	cr_expect_eq(m.boot.disk[0].kind, CTL_DISK_DRIVE);
	cr_expect_eq(fcntl(m.fd[0], F_GETFL) & O_ACCMODE, O_RDWR);
	machine_free(&m);
	cr_assert_eq(add(&m, CONFIG_DRIVE_COW, NULL), 0);
	cr_expect_eq(m.boot.disk[0].kind, CTL_DISK_COW);
	cr_expect_eq(m.boot.disk[0].nfds, 2);
	cr_expect_eq(fcntl(m.fd[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_expect_eq(fcntl(m.fd[1], F_GETFL) & O_ACCMODE, O_RDWR);
	cr_assert_eq(fstat(m.fd[0], &base), 0);
	cr_assert_eq(fstat(m.fd[1], &upper), 0);
	cr_expect_eq(base.st_size, upper.st_size);
	cr_expect_eq(upper.st_blocks, 0);
	machine_free(&m);
}

static void refused(int code, const char *word)
{
	struct err err = { 0 };
	struct machine m;

	cr_expect_eq(add(&m, CONFIG_DRIVE_WRITE, &err), code, "%s", err.msg);
	cr_expect(strstr(err.msg, word), "%s", err.msg);
	machine_free(&m);
}

Test(drive, what_is_no_disk_is_refused)
{
	refused(-ENOENT, "a.img");
	file(0);
	refused(-EINVAL, "empty");
	file(4097);
	refused(-EINVAL, "sectors");
	unlink("a.img");
	cr_assert_eq(mkfifo("a.img", 0600), 0);
	refused(-EINVAL, "block device");
	unlink("a.img");
	cr_assert_eq(mkdir("a.img", 0700), 0);
	refused(-EISDIR, "a.img");
	rmdir("a.img");
}

Test(drive, rates_are_per_second)
{
	const struct config_rates rates = { .bytes = { 1000, 5 } };
	struct ctl_rate out[2];

	drive_rates(&rates, out);
	cr_expect_eq(out[0].size + out[0].burst + out[0].refill_ms, 0);
	cr_expect_eq(out[1].size, 1000);
	cr_expect_eq(out[1].burst, 5);
	cr_expect_eq(out[1].refill_ms, 1000);
}
