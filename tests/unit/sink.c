/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in and out without waiting, and without touching what is shared. */
#include "runner/sink.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/base/mem.h"

static struct ev_loop loop;
static int moves;

static void moved(struct sink *k, void *opaque)
{
	(void)k;
	(void)opaque;
	moves++;
}

static void open_loop(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(ev_loop_init(&loop), 0);
}

TestSuite(sink, .init = open_loop);

static void open_sink(struct sink *k, int fd)
{
	struct stream s;

	cr_assert_eq(stream_private(&s, fd, O_WRONLY), 0);
	cr_assert_eq(sink_init(k, &loop, &s, moved, NULL), 0);
}

static size_t fill(struct sink *k)
{
	static const char bytes[65536] = { 1 };
	size_t all = 0, n;

	while ((n = MIN(sink_room(k), sizeof(bytes))) > 0) {
		sink_put(k, bytes, n);
		all += n;
	}
	return all;
}

static size_t empty(int fd, size_t most)
{
	static char buf[65536];
	size_t all = 0;

	while (all < most) {
		ssize_t n = read(fd, buf, MIN(sizeof(buf), most - all));

		if (n <= 0)
			break;
		all += (size_t)n;
		ev_once(&loop, 0);
	}
	return all;
}

Test(sink, slow_reader_fills_it_and_nothing_is_lost)
{
	struct sink k;
	size_t put;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	open_sink(&k, p[1]);
	put = fill(&k);
	cr_assert_geq(put, SINK_SIZE);
	cr_assert_eq(sink_room(&k), 0);
	cr_assert_eq(empty(p[0], put), put);
	cr_assert_eq(k.len, 0);
	cr_assert_gt(moves, 0);
	sink_free(&k);
}

Test(sink, shared_pipe_stays_blocking)
{
	struct sink k;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	open_sink(&k, p[1]);
	cr_assert_eq(k.s.kind, STREAM_POLLED);
	cr_assert_not(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	sink_free(&k);
	cr_assert_not(fcntl(p[1], F_GETFL) & O_NONBLOCK);
}

Test(sink, shared_description_is_written_in_parts_that_do_not_block)
{
	struct stream s;
	struct sink k;
	size_t put;
	int p[2];

	/* As if the pipe could not be opened once more. */
	cr_assert_eq(pipe(p), 0);
	s = (struct stream){ .fd = dup(p[1]), .kind = STREAM_SHARED };
	cr_assert_eq(sink_init(&k, &loop, &s, moved, NULL), 0);
	put = fill(&k);
	for (int i = 0; i < 100; i++)
		ev_once(&loop, 0); /* would hang here */
	cr_assert_eq(empty(p[0], put), put);
	sink_free(&k);
}

Test(sink, closed_reader_is_an_error_and_later_bytes_vanish)
{
	struct sink k;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	open_sink(&k, p[1]);
	close(p[0]);
	sink_put(&k, "x", 1);
	cr_assert_eq(k.error, -EPIPE);
	cr_assert_eq(sink_room(&k), SINK_SIZE);
	sink_put(&k, "y", 1);
	sink_free(&k);
}

Test(sink, socket_does_not_block)
{
	struct sink k;
	size_t put;
	int p[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	open_sink(&k, p[1]);
	cr_assert_eq(k.s.kind, STREAM_SOCKET);
	put = fill(&k);
	cr_assert_eq(empty(p[0], put), put);
	cr_assert_not(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	sink_free(&k);
}

Test(sink, file_and_null_device_take_all_at_once)
{
	int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	int null = open("/dev/null", O_RDWR);
	static const char bytes[100000];
	struct sink k;

	open_sink(&k, null);
	cr_assert_eq(k.s.kind, STREAM_INSTANT);
	sink_put(&k, bytes, sizeof(bytes));
	cr_assert_eq(k.len, 0);
	sink_free(&k);
	open_sink(&k, file);
	cr_assert_eq(k.s.kind, STREAM_INSTANT);
	sink_put(&k, bytes, sizeof(bytes));
	cr_assert_eq(k.len, 0);
	/* The offset is shared, as it is for any program that writes there. */
	cr_assert_eq(lseek(file, 0, SEEK_CUR), (off_t)sizeof(bytes));
	sink_free(&k);
}

Test(sink, full_device_is_an_error)
{
	int full = open("/dev/full", O_WRONLY);
	struct sink k;

	open_sink(&k, full);
	sink_put(&k, "x", 1);
	cr_assert_eq(k.error, -ENOSPC);
	sink_free(&k);
}

Test(sink, reading_a_pipe_whose_writers_are_gone_ends)
{
	struct stream s;
	char buf[8];
	int p[2];

	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(write(p[1], "ab", 2), 2);
	close(p[1]);
	cr_assert_eq(stream_private(&s, p[0], O_RDONLY), 0);
	cr_assert_eq(stream_read(&s, buf, sizeof(buf)), 2);
	cr_assert_eq(stream_read(&s, buf, sizeof(buf)), 0);
	stream_close(&s);
}

Test(sink, reading_an_empty_pipe_does_not_wait)
{
	struct stream s;
	char buf[8];
	int p[2];

	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(stream_private(&s, p[0], O_RDONLY), 0);
	cr_assert_eq(stream_read(&s, buf, sizeof(buf)), -EAGAIN);
	cr_assert_not(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	stream_close(&s);
}
