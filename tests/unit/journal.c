/* SPDX-License-Identifier: Apache-2.0 */
/* What was written is read: after rotations, while it grows, from rubble. */
#include "runner/journal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

static char root[] = "/tmp/mayfly-unit-journal-XXXXXX";
static int dir;

static void open_root(void)
{
	cr_assert(mkdtemp(root));
	dir = open(root, O_RDONLY | O_DIRECTORY);
}

static void close_root(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	cr_expect_eq(system(cmd), 0);
}

TestSuite(journal, .init = open_root, .fini = close_root);

static struct journal *writer(void)
{
	struct journal *j;

	cr_assert_eq(journal_create(&j, dir, NULL), 0);
	return j;
}

static struct journal_reader *reader(void)
{
	struct journal_reader *r;

	cr_assert_eq(journal_open(&r, dir, NULL), 0);
	return r;
}

static off_t size_of(const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0) < 0 ? -1 : st.st_size;
}

/* 1 where the next entry is this text. */
static int next_is(struct journal_reader *r, enum journal_stream stream,
		   const char *text)
{
	struct journal_entry e;

	return journal_next(r, &e) == 1 && e.stream == stream &&
	       e.len == strlen(text) && !memcmp(e.data, text, e.len);
}

Test(journal, streams_and_order_are_kept)
{
	struct journal *j = writer();
	struct journal_reader *r = reader();
	struct journal_entry e;
	uint64_t before;

	cr_assert_eq(journal_next(r, &e), 0);
	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, "one\n", 4), 0);
	cr_assert_eq(journal_write(j, JOURNAL_STDERR, "\0\xff", 2), 0);
	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, "", 0), 0);
	cr_assert_eq(journal_next(r, &e), 1);
	before = e.time_ns;
	cr_assert(e.stream == JOURNAL_STDOUT && e.len == 4);
	cr_assert_eq(memcmp(e.data, "one\n", 4), 0);
	cr_assert_eq(journal_next(r, &e), 1);
	cr_assert(e.stream == JOURNAL_STDERR && e.len == 2);
	cr_assert_geq(e.time_ns, before);
	cr_assert_eq(journal_next(r, &e), 0);
	cr_assert_eq(journal_next(r, &e), 0);
	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, "two", 3), 0);
	cr_assert(next_is(r, JOURNAL_STDOUT, "two"));
	journal_reader_free(&r);
	journal_free(&j);
	journal_free(&j);
	journal_reader_free(&r);
}

Test(journal, long_write_becomes_several_entries)
{
	const size_t len = 5 * JOURNAL_DATA_MAX + 17;
	_cleanup_free_ char *in = malloc(len);
	_cleanup_free_ char *out = malloc(len);
	struct journal *j = writer();
	struct journal_reader *r = reader();
	struct journal_entry e;
	size_t got = 0;

	for (size_t i = 0; i < len; i++)
		in[i] = (char)(i * 7 + i / 251);
	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, in, len), 0);
	while (journal_next(r, &e) == 1) {
		memcpy(out + got, e.data, e.len);
		got += e.len;
	}
	cr_assert_eq(got, len);
	cr_assert_eq(memcmp(in, out, len), 0);
	journal_reader_free(&r);
	journal_free(&j);
}

/* Entries that count: @n of them, 64 KiB each. */
static void fill(struct journal *j, uint32_t from, uint32_t n)
{
	static uint32_t block[JOURNAL_DATA_MAX / 4];

	for (uint32_t i = from; i < from + n; i++) {
		block[0] = i;
		cr_assert_eq(journal_write(j, JOURNAL_STDOUT, block,
					   sizeof(block)), 0);
	}
}

static uint32_t number(const struct journal_entry *e)
{
	uint32_t v;

	memcpy(&v, e->data, sizeof(v));
	return v;
}

Test(journal, two_files_are_all_that_is_kept)
{
	struct journal *j = writer();
	struct journal_reader *r;
	struct journal_entry e;
	uint32_t last = 0, n = 0;

	fill(j, 0, 1000); /* 64 MiB */
	cr_assert_leq(size_of("log"), (off_t)JOURNAL_FILE_MAX);
	cr_assert_leq(size_of("log.1"), (off_t)JOURNAL_FILE_MAX);
	cr_assert_eq(size_of("log.new"), -1);
	r = reader();
	while (journal_next(r, &e) == 1) {
		cr_assert_eq(e.stream, JOURNAL_STDOUT);
		cr_assert(!n || number(&e) == last + 1);
		last = number(&e);
		n++;
	}
	cr_assert_eq(last, 999);
	cr_assert_gt(n, 255);
	journal_reader_free(&r);
	journal_free(&j);
}

Test(journal, follower_misses_nothing_over_rotations)
{
	struct journal *j = writer();
	struct journal_reader *r = reader();
	struct journal_entry e;
	uint32_t want = 0;

	for (uint32_t i = 0; i < 1200; i += 3) {
		fill(j, i, 3);
		while (journal_next(r, &e) == 1)
			cr_assert_eq(number(&e), want++);
	}
	cr_assert_eq(want, 1200);
	journal_reader_free(&r);
	journal_free(&j);
}

Test(journal, follower_that_is_too_slow_is_told)
{
	struct journal *j = writer();
	struct journal_reader *r = reader();
	struct journal_entry e;
	uint32_t n = 0;
	int lost = 0;

	fill(j, 0, 10);
	cr_assert_eq(journal_next(r, &e), 1);
	cr_assert_eq(number(&e), 0);
	fill(j, 10, 1200);
	while (journal_next(r, &e) == 1) {
		if (e.stream == JOURNAL_LOST) {
			cr_assert_gt(e.lost, 0);
			lost++;
			continue;
		}
		cr_assert_gt(number(&e), n);
		n = number(&e);
	}
	cr_assert_eq(lost, 1);
	cr_assert_eq(n, 1209);
	journal_reader_free(&r);
	journal_free(&j);
}

/* A reader against a writer in another process, small entries and all. One that
 * is a file behind would lose what it has not read: it is waited for. */
Test(journal, follower_keeps_up_with_another_process, .timeout = 120)
{
	enum { N = 700000, AHEAD = JOURNAL_FILE_MAX / 2 / 64 };
	_Atomic uint32_t *read_up_to = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct journal *j = writer();
	struct journal_reader *r = reader();
	struct journal_entry e;
	uint32_t want = 0;
	pid_t pid;
	int code;

	cr_assert_neq(read_up_to, MAP_FAILED);
	pid = fork();

	if (!pid) {
		for (uint32_t i = 0; i < N; i++) {
			uint32_t v[12] = { i };

			while (i - *read_up_to > AHEAD)
				usleep(1000);
			if (journal_write(j, JOURNAL_STDOUT, v, sizeof(v)) < 0)
				_exit(1);
			if (i % 1000 == 0)
				usleep(500);
		}
		_exit(0);
	}
	cr_assert_geq(journal_watch(r), 0);
	while (want < N) {
		struct pollfd p = { .fd = journal_watch(r), .events = POLLIN };

		journal_woken(r);
		while ((code = journal_next(r, &e)) == 1) {
			cr_assert_eq(e.stream, JOURNAL_STDOUT,
				     "lost %llu after %u",
				     (unsigned long long)e.lost, want);
			cr_assert_eq(number(&e), want);
			*read_up_to = ++want;
		}
		cr_assert(code == 0 || code == -EAGAIN);
		if (want < N)
			poll(&p, 1, 1000);
	}
	waitpid(pid, &code, 0);
	cr_assert_eq(code, 0);
	cr_assert_geq(size_of("log.1"), 0);
	journal_reader_free(&r);
	journal_free(&j);
}

Test(journal, file_cut_anywhere_gives_what_was_whole)
{
	struct journal *j = writer();
	char path[64];
	off_t size;

	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, "first", 5), 0);
	cr_assert_eq(journal_write(j, JOURNAL_STDERR, "second", 6), 0);
	journal_free(&j);
	snprintf(path, sizeof(path), "%s/log", root);
	size = size_of("log");
	for (off_t cut = size - 1; cut >= 0; cut--) {
		struct journal_reader *r;
		struct journal_entry e;
		int code;

		cr_assert_eq(truncate(path, cut), 0);
		code = journal_open(&r, dir, NULL);
		if (cut < 16) {
			cr_assert_eq(code, -EBADMSG);
			continue;
		}
		cr_assert_eq(code, 0);
		if (cut >= 16 + 16 + 5)
			cr_assert(next_is(r, JOURNAL_STDOUT, "first"));
		code = journal_next(r, &e);
		cr_assert_eq(code, cut == 16 || cut == 37 ? 0 : -EAGAIN,
			     "cut at %ld: %d", (long)cut, code);
		journal_reader_free(&r);
	}
}

Test(journal, rubble_is_refused)
{
	static const struct journal_head bad[] = {
		{ 0, 1, 4, 0 },
		{ JOURNAL_MARK, 0, 4, 0 },
		{ JOURNAL_MARK, 4, 4, 0 },
		{ JOURNAL_MARK, 1, 0, 0 },
		{ JOURNAL_MARK, 1, JOURNAL_DATA_MAX + 1, 0 },
		{ JOURNAL_MARK, 1, UINT32_MAX, 0 },
		{ JOURNAL_MARK, JOURNAL_LOST, 4, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct journal *j = writer();
		struct journal_reader *r = reader();
		struct journal_entry e;
		int fd = openat(dir, "log", O_WRONLY | O_APPEND);

		cr_assert_eq(write(fd, &bad[i], sizeof(bad[i])), 16);
		cr_assert_eq(write(fd, "abcdefgh", 8), 8);
		close(fd);
		cr_assert_eq(journal_next(r, &e), -EBADMSG, "%zu", i);
		cr_assert_eq(journal_next(r, &e), -EBADMSG);
		journal_reader_free(&r);
		journal_free(&j);
	}
}

Test(journal, what_is_no_journal_is_not_opened)
{
	struct journal_reader *r;
	int fd;

	cr_assert_eq(journal_open(&r, dir, NULL), -ENOENT);
	cr_assert_eq(mkfifoat(dir, "log", 0600), 0);
	cr_assert_eq(journal_open(&r, dir, NULL), -EBADMSG);
	unlinkat(dir, "log", 0);
	cr_assert_eq(symlinkat("/etc/passwd", dir, "log"), 0);
	cr_assert_eq(journal_open(&r, dir, NULL), -EBADMSG);
	unlinkat(dir, "log", 0);
	fd = openat(dir, "log", O_WRONLY | O_CREAT, 0600);
	cr_assert_eq(write(fd, "some text that is long enough", 29), 29);
	close(fd);
	cr_assert_eq(journal_open(&r, dir, NULL), -EBADMSG);
	cr_assert_null(r);
}

Test(journal, bytes_that_find_no_room_are_counted)
{
	struct rlimit small = { 64, RLIM_INFINITY }, all = { RLIM_INFINITY,
							     RLIM_INFINITY };
	struct journal *j = writer();
	struct journal_reader *r = reader();
	struct journal_entry e;
	uint64_t lost = 0;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, "fits", 4), 0);
	cr_assert_lt(journal_write(j, JOURNAL_STDOUT,
				   "this is more than can be kept", 29), 0);
	cr_assert_lt(journal_write(j, JOURNAL_STDERR, "and this ......", 15),
		     0);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, "again", 5), 0);
	cr_assert(next_is(r, JOURNAL_STDOUT, "fits"));
	while (journal_next(r, &e) == 1 && e.stream == JOURNAL_LOST)
		lost += e.lost;
	cr_assert_eq(lost, 29 + 15);
	cr_assert(e.len == 5 && !memcmp(e.data, "again", 5));
	cr_assert_eq(journal_next(r, &e), 0);
	journal_reader_free(&r);
	journal_free(&j);
}

/* The most that a file may have from now on. */
static void limit_files(rlim_t size)
{
	const struct rlimit l = { size, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* 1 where the next entry tells of @n bytes. */
static int next_lost(struct journal_reader *r, uint64_t n)
{
	struct journal_entry e;

	return journal_next(r, &e) == 1 && e.stream == JOURNAL_LOST &&
	       e.lost == n;
}

/* A disk that is full has room for small things again and again. */
Test(journal, loss_is_told_once_and_not_for_each_attempt)
{
	static const char big[500];
	struct journal *j = writer();
	struct journal_reader *r = reader();

	limit_files(200);
	for (int i = 0; i < 9; i++)
		cr_assert_lt(journal_write(j, JOURNAL_STDOUT, big, 500), 0);
	limit_files(RLIM_INFINITY);
	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, "again", 5), 0);
	cr_assert(next_lost(r, 9 * 500));
	cr_assert(next_is(r, JOURNAL_STDOUT, "again"));
	journal_reader_free(&r);
	journal_free(&j);
}

Test(journal, loss_at_the_end_is_told)
{
	static const char big[500];
	struct journal *j = writer();
	struct journal_reader *r = reader();
	struct journal_entry e;

	limit_files(200);
	cr_assert_eq(journal_write(j, JOURNAL_STDOUT, "fits", 4), 0);
	cr_assert_lt(journal_write(j, JOURNAL_STDOUT, big, 500), 0);
	journal_free(&j);
	cr_assert(next_is(r, JOURNAL_STDOUT, "fits"));
	cr_assert(next_lost(r, 500));
	cr_assert_eq(journal_next(r, &e), 0);
	journal_reader_free(&r);
}

/* A follower has read the half of an entry that is then cut off again. */
Test(journal, entry_in_place_of_one_that_was_cut_off_is_whole)
{
	struct journal_head h = { .mark = JOURNAL_MARK,
				  .stream = JOURNAL_STDOUT, .len = 100 };
	struct journal *j = writer();
	struct journal_reader *r = reader();
	_cleanup_fd_ int fd = openat(dir, "log", O_WRONLY | O_APPEND);
	struct journal_entry e;

	cr_assert_eq(write(fd, &h, sizeof(h)), (ssize_t)sizeof(h));
	cr_assert_eq(write(fd, "half", 4), 4);
	cr_assert_eq(journal_next(r, &e), -EAGAIN);
	cr_assert_eq(ftruncate(fd, sizeof(struct journal_file)), 0);
	cr_assert_eq(journal_write(j, JOURNAL_STDERR, "another entry", 13), 0);
	cr_assert(next_is(r, JOURNAL_STDERR, "another entry"));
	cr_assert_eq(journal_next(r, &e), 0);
	journal_reader_free(&r);
	journal_free(&j);
}
