/* SPDX-License-Identifier: Apache-2.0 */
/* Entries as lines: where they begin, which are shown, what JSON says. */
#include "runner/log_view.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/mem.h"

#define S 1000000000ull

/* Each stream's output lands in a file of its own. */
static struct log_view view;
static char text[1 << 20];

static void open_view(void)
{
	signal(SIGPIPE, SIG_IGN);
	view = (struct log_view){ 0 };
	for (int i = 0; i < 2; i++)
		view.fd[i] = open("/tmp", O_TMPFILE | O_RDWR, 0600);
}

static void close_view(void)
{
	log_free(&view);
	close(view.fd[0]);
	close(view.fd[1]);
}

TestSuite(log_view, .init = open_view, .fini = close_view);

static struct journal_entry entry(int stream, uint64_t time, const void *data,
				  size_t len)
{
	return (struct journal_entry){ .stream = (enum journal_stream)stream,
				       .time_ns = time,
				       .data = data,
				       .len = len };
}

static void show(int stream, const char *s)
{
	const struct journal_entry e = entry(stream, S, s, strlen(s));

	cr_assert_eq(log_show(&view, &e), 0);
}

static const char *shown(int stream)
{
	ssize_t n = pread(view.fd[stream - 1], text, sizeof(text) - 1, 0);

	cr_assert_geq(n, 0);
	text[n] = '\0';
	return text;
}

Test(log_view, bytes_as_they_were_on_their_streams)
{
	show(1, "out");
	show(2, "err\n");
	show(1, "put\n\n");
	cr_assert_eq(log_finish(&view), 0);
	cr_assert_str_eq(shown(1), "output\n\n");
	cr_assert_str_eq(shown(2), "err\n");
}

/* A line of one stream that the other one interrupts. */
static const struct {
	int stream;
	const char *text;
} mixed[] = { { 1, "one\ntw" }, { 2, "err 1\nerr" }, { 1, "o\n" },
	      { 2, " 2\n" },	{ 1, "three" } };

static uint64_t count(void)
{
	struct log_view v = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(mixed); i++) {
		const struct journal_entry e =
			entry(mixed[i].stream, S, mixed[i].text,
			      strlen(mixed[i].text));

		log_count(&v, &e);
	}
	return v.lines;
}

Test(log_view, last_lines_are_counted_by_their_beginnings)
{
	static const struct {
		uint64_t tail;
		const char *out, *err;
	} t[] = {
		{ 0, "", "" },
		{ 1, "three", "" },
		{ 2, "three", "err 2\n" },
		{ 3, "three", "err 1\nerr 2\n" },
		{ 4, "two\nthree", "err 1\nerr 2\n" },
		{ 5, "one\ntwo\nthree", "err 1\nerr 2\n" },
	};

	cr_assert_eq(count(), 5);
	for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
		close_view();
		open_view();
		view.skip = 5 - t[k].tail;
		for (size_t i = 0; i < ARRAY_SIZE(mixed); i++)
			show(mixed[i].stream, mixed[i].text);
		cr_expect_str_eq(shown(1), t[k].out, "tail %zu: %s", k, text);
		cr_expect_str_eq(shown(2), t[k].err, "tail %zu: %s", k, text);
	}
}

Test(log_view, time_stands_once_before_each_line)
{
	view.times = 1;
	show(1, "a\nb");
	show(1, "c\n");
	show(2, "\n");
	cr_assert_str_eq(shown(1), "1970-01-01T00:00:01.000000000Z a\n"
				   "1970-01-01T00:00:01.000000000Z bc\n");
	cr_assert_str_eq(shown(2), "1970-01-01T00:00:01.000000000Z \n");
}

Test(log_view, entries_before_a_time_are_left_out)
{
	struct journal_entry e = entry(1, 5, "old\n", 4);

	view.since_ns = 6;
	cr_assert_eq(log_show(&view, &e), 0);
	log_count(&view, &e);
	cr_assert_eq(view.lines, 0);
	e.time_ns = 6;
	cr_assert_eq(log_show(&view, &e), 0);
	cr_assert_str_eq(shown(1), "old\n");
}

/* Line @n of what was printed, as an object. */
static json_t *object(int n)
{
	const char *p = shown(1), *end;
	json_t *o;

	while (n-- && (p = strchr(p, '\n')))
		p++;
	cr_assert(p && *p, "no such line");
	end = strchr(p, '\n');
	cr_assert(end);
	o = json_loadb(p, (size_t)(end - p), 0, NULL);
	cr_assert(json_is_object(o), "%s", p);
	return o;
}

static const char *member(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

Test(log_view, json_has_an_object_for_each_line)
{
	view.json = 1;
	for (size_t i = 0; i < ARRAY_SIZE(mixed); i++)
		show(mixed[i].stream, mixed[i].text);
	cr_assert_eq(log_finish(&view), 0);
	cr_assert_str_eq(member(object(0), "text"), "one");
	cr_assert_str_eq(member(object(0), "stream"), "stdout");
	cr_assert_str_eq(member(object(0), "time"),
			 "1970-01-01T00:00:01.000000000Z");
	cr_assert_str_eq(member(object(1), "text"), "err 1");
	cr_assert_str_eq(member(object(1), "stream"), "stderr");
	cr_assert_str_eq(member(object(2), "text"), "two");
	cr_assert_str_eq(member(object(3), "text"), "err 2");
	cr_assert_str_eq(member(object(4), "text"), "three");
	cr_assert(json_is_true(json_object_get(object(4), "partial")));
	cr_assert_null(json_object_get(object(3), "partial"));
}

Test(log_view, json_has_what_is_no_text_as_base64)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *coded;
	} t[] = {
		{ "\xff\n", 2, "/w==" },
		{ "\xff\xfe\n", 3, "//4=" },
		{ "\x80\x00\x01\n", 4, "gAAB" },
		{ "\xc3\x28zz\n", 5, "wyh6eg==" },
	};

	view.json = 1;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		const struct journal_entry e = entry(1, S, t[i].bytes, t[i].len);

		cr_assert_eq(log_show(&view, &e), 0);
		cr_expect_str_eq(member(object((int)i), "base64"), t[i].coded);
	}
}

Test(log_view, json_escapes_what_it_must)
{
	view.json = 1;
	show(1, "tab\t quote\" \x1b[0m \xe2\x82\xac\n");
	cr_assert_str_eq(member(object(0), "text"),
			 "tab\t quote\" \x1b[0m \xe2\x82\xac");
	cr_assert_null(strchr(shown(1), '\x1b'));
}

Test(log_view, line_without_end_comes_in_parts)
{
	static char block[10000];
	size_t all = 0;

	memset(block, 'x', sizeof(block) - 1);
	view.json = 1;
	for (int i = 0; i < 20; i++)
		show(1, block);
	show(1, "\n");
	for (int i = 0; i < 4; i++) {
		json_t *o = object(i);

		all += strlen(member(o, "text"));
		cr_assert_eq(json_object_get(o, "partial") != NULL, i < 3);
	}
	cr_assert_eq(all, 20 * (sizeof(block) - 1));
}

Test(log_view, lost_bytes_are_told)
{
	struct journal_entry e = { .stream = JOURNAL_LOST, .lost = 77 };

	log_count(&view, &e);
	cr_assert_eq(log_show(&view, &e), 0);
	cr_assert_str_eq(shown(1), "");
	cr_assert(strstr(shown(2), "77 bytes"));
	view.json = 1;
	cr_assert_eq(log_show(&view, &e), 0);
	cr_assert_eq(json_integer_value(json_object_get(object(0),
							"lost_bytes")), 77);
}

Test(log_view, loss_before_what_is_asked_for_is_not_told)
{
	struct journal_entry e = { .stream = JOURNAL_LOST, .lost = 77,
				   .time_ns = 5 };

	view.since_ns = 6;
	cr_assert_eq(log_show(&view, &e), 0);
	view.since_ns = 0;
	view.skip = 1;
	cr_assert_eq(log_show(&view, &e), 0);
	cr_assert_str_eq(shown(2), "");
	show(1, "skipped\n");
	cr_assert_eq(log_show(&view, &e), 0);
	cr_assert(strstr(shown(2), "77 bytes"));
}

Test(log_view, reader_that_is_gone_is_an_error)
{
	struct journal_entry e = entry(1, S, "x\n", 2);
	int p[2];

	cr_assert_eq(pipe(p), 0);
	close(p[0]);
	dup2(p[1], view.fd[0]);
	cr_assert_eq(log_show(&view, &e), -EPIPE);
	view.json = 1;
	cr_assert_eq(log_show(&view, &e), -EPIPE);
}
