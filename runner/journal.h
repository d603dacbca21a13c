/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal: what a detached command wrote, with time and stream.
 *
 * Two files in the run's directory: `log`, and once that has JOURNAL_FILE_MAX
 * bytes, `log.1`, which was `log` before; what was `log.1` is gone. A file is
 *
 *	struct journal_file		a number that grows by one each file
 *	struct journal_head, bytes	again and again
 *
 * with numbers as the host has them. One process writes, any number read, and
 * nobody waits: a reader takes what is there and can be woken for more. The
 * number in a file is how a reader that was slower than a rotation finds the
 * file after its own. Files are the user's own, and still every length is
 * checked: a reader stops where the bytes make no sense.
 */
#ifndef MAYFLY_JOURNAL_H
#define MAYFLY_JOURNAL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct journal;
struct journal_reader;

#define JOURNAL_FILE_MAX (16u << 20)
#define JOURNAL_DATA_MAX 65536u /* bytes in one entry */
#define JOURNAL_MAGIC	 0x316a796c6679616dull /* "mayflyj1" */
#define JOURNAL_MARK	 0x4a6cu

enum journal_stream {
	JOURNAL_STDOUT = 1,
	JOURNAL_STDERR = 2,
	JOURNAL_LOST = 3, /* a u64: so many bytes could not be kept */
};

struct journal_file {
	uint64_t magic;
	uint64_t number; /* from 1 */
};

struct journal_head {
	uint16_t mark; /* JOURNAL_MARK */
	uint16_t stream;
	uint32_t len; /* 1 to JOURNAL_DATA_MAX */
	uint64_t time_ns; /* CLOCK_REALTIME */
};

static_assert(sizeof(struct journal_file) == 16, "journal_file");
static_assert(sizeof(struct journal_head) == 16, "journal_head");

/* --- the writer: the supervisor -------------------------------------- */

/* In the directory @dirfd, which is borrowed. */
int journal_create(struct journal **out, int dirfd, struct err *err);
/* What is missing at the end is told now: before the run is said to be over. */
void journal_free(struct journal **j);

/*
 * Keep @len bytes (any number). 0, or -errno where they could not be kept,
 * -ENOSPC for one: the command may go on, a later call tries anew, and the
 * reader is told how much is missing.
 */
int journal_write(struct journal *j, enum journal_stream stream,
		  const void *data, size_t len);

/* --- the reader ------------------------------------------------------ */

struct journal_entry {
	enum journal_stream stream;
	uint64_t time_ns;
	uint64_t lost; /* JOURNAL_LOST, or files that were rotated away */
	const uint8_t *data; /* until the next call */
	size_t len;	     /* 0 for JOURNAL_LOST */
};

/* From the oldest entry. -ENOENT without words: no journal was kept. */
int journal_open(struct journal_reader **out, int dirfd, struct err *err);
void journal_reader_free(struct journal_reader **r);

/* 1 an entry; 0 none for now, and nothing half; -EAGAIN none for now, and the
 * last is only half there; -EBADMSG: from here on it makes no sense. */
int journal_next(struct journal_reader *r, struct journal_entry *e);

/* The number of the file that the next entry comes from, or an earlier one. */
uint64_t journal_number(const struct journal_reader *r);

/* A descriptor that is readable after the journal, or anything else in the
 * run's directory, changed, for poll(); empty it with journal_woken() before
 * the next journal_next(). The reader's. */
int journal_watch(struct journal_reader *r);
void journal_woken(struct journal_reader *r);

#endif
