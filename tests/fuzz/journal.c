/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the two files of a journal, read to their end and shown as
 * JSON lines with times. An input is the first file's share (a byte of 256ths)
 * and then both.
 */
#include "runner/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/log_view.h"
#include "tests/fuzz/bytes.h"

static char dir[4096];
static int dirfd_, null = -1;

static void remove_dir(void)
{
	unlinkat(dirfd_, "log", 0);
	unlinkat(dirfd_, "log.1", 0);
	rmdir(dir);
}

static void make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/mayfly-fuzz-XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(dir));
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
	null = open("/dev/null", O_WRONLY);
	must(dirfd_ >= 0 && null >= 0);
	atexit(remove_dir);
}

static void put(const char *name, const void *p, size_t n)
{
	int fd = openat(dirfd_, name, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	must(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	close(fd);
}

static void show(struct journal_reader *j, uint8_t how)
{
	struct log_view v = { .json = how & 1, .times = how >> 1 & 1,
			      .skip = how >> 4, .fd = { null, null } };
	struct journal_entry e;
	unsigned n = 0;

	while (journal_next(j, &e) == 1) {
		must(e.len <= JOURNAL_DATA_MAX);
		must(!e.len == (e.stream == JOURNAL_LOST));
		must(log_show(&v, &e) == 0);
		must(n++ < 100000);
	}
	must(log_finish(&v) == 0);
	log_free(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	struct journal_reader *j = NULL;
	struct err err = { 0 };
	uint8_t how, share;
	size_t first;

	if (null < 0)
		make_dir();
	how = take8(&b);
	share = take8(&b);
	first = b.n * share / 256;
	put("log.1", b.p, first);
	put("log", b.p + first, b.n - first);
	if (journal_open(&j, dirfd_, &err) == 0)
		show(j, how);
	journal_reader_free(&j);
	return 0;
}
