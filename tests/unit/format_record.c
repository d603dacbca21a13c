/* SPDX-License-Identifier: Apache-2.0 */
/* Times and columns as people read them, and record.json from any bytes. */
#include "runner/format.h"
#include "runner/record.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/mem.h"

#define S 1000000000ull

Test(format, time_and_back)
{
	static const uint64_t t[] = { 1, S - 1, S, 951782400 * S,
				      1795253400ull * S + 123456789,
				      UINT64_MAX / S * S - 1 };

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		char buf[FORMAT_TIME_MAX];
		uint64_t back = 0;

		format_time(t[i], buf);
		cr_assert_eq(format_parse_time(buf, &back), 0, "%s", buf);
		cr_assert_eq(back, t[i], "%s", buf);
	}
}

Test(format, time_is_rfc3339)
{
	char buf[FORMAT_TIME_MAX];

	format_time(951782400 * S + 5, buf);
	cr_assert_str_eq(buf, "2000-02-29T00:00:00.000000005Z");
}

Test(format, what_is_no_time)
{
	static const char *const t[] = {
		"", "now", "2026-11-21", "2026-11-21T09:30:00Z",
		"2026-11-21T09:30:00.123456789",
		"2026-11-21T09:30:00.123456789+",
		"2026-02-30T09:30:00.123456789Z",
		"2026-11-21T24:30:00.123456789Z",
		"2026-11-21T09:60:00.123456789Z",
		"2026-11-21T09:30:00.12345678 Z",
		"2026-11-21T09:30:00.-23456789Z",
		"2026-11-21 09:30:00.123456789Z",
		"1969-11-21T09:30:00.123456789Z",
		"9999-11-21T09:30:00.123456789Z",
		"+026-11-21T09:30:00.123456789Z",
	};
	uint64_t ns;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		cr_expect_eq(format_parse_time(t[i], &ns), -EINVAL, "%s", t[i]);
}

Test(format, spans)
{
	static const struct {
		uint64_t sec;
		const char *text;
	} t[] = {
		{ 0, "0 s" },	     { 3, "3 s" },	   { 59, "59 s" },
		{ 60, "1 minute" },  { 179, "2 minutes" }, { 3600, "1 hour" },
		{ 86399, "23 hours" }, { 86400, "1 day" },
		{ 1000 * 86400ull, "1000 days" },
	};
	char buf[FORMAT_SPAN_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		format_span(t[i].sec * S + 1, buf);
		cr_expect_str_eq(buf, t[i].text);
	}
	format_span(UINT64_MAX, buf);
	cr_expect_str_eq(buf, "213503 days");
}

Test(format, sizes)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} t[] = {
		{ 0, "0 B" }, { 1023, "1023 B" }, { 1024, "1 KiB" },
		{ 512ull << 20, "512 MiB" }, { 3ull << 29, "1.5 GiB" },
		{ 1ull << 50, "1024 TiB" },
	};
	char buf[FORMAT_SPAN_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		format_size(t[i].bytes, buf);
		cr_expect_str_eq(buf, t[i].text);
	}
}

Test(format, every_byte_becomes_utf8)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "plain", "plain" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\xa6\x8b",
		  "\xc3\xa9\xe2\x82\xac\xf0\x9f\xa6\x8b" },
		{ "\xff", "\xef\xbf\xbd" },
		{ "a\xc3", "a\xef\xbf\xbd" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xf4\x90\x80\x80",
		  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\x80z", "\xef\xbf\xbdz" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		_cleanup_free_ char *s = format_utf8(t[i].in, strlen(t[i].in));

		cr_expect_str_eq(s, t[i].out);
		cr_expect(format_is_utf8(s, strlen(s)));
	}
	/* Every two bytes, and every three that begin so that they may be. */
	for (unsigned v = 0; v < 1 << 24; v += v < 0xe00000 ? 256 : 1) {
		const char b[] = { (char)(v >> 16), (char)(v >> 8), (char)v };
		_cleanup_free_ char *s = format_utf8(b, 3);

		cr_assert(format_is_utf8(s, strlen(s)) || !*s);
	}
}

static void expect_words(char **words, const char *first)
{
	cr_assert_not_null(words);
	cr_expect_str_eq(words[0], first);
	cr_expect_null(words[1]);
	free(words);
}

static struct record sample(void)
{
	static char *const words[] = { "sh", "-c", "echo \xff\x1b[31m", NULL };
	struct record r = { .phase = PHASE_EXITED, .id = "0123456789ab",
			    .name = "a", .detached = 1, .engine = "soft",
			    .cpus = 2, .memory = 512ull << 20, .pid = 77,
			    .created = 5 * S, .started = 6 * S, .ended = 7 * S,
			    .exit_code = 3, .verdict = "runtime_error" };

	cr_assert_eq(record_put_words(&r, "command", words), 0);
	cr_assert_eq(record_put(&r, "image", "debian"), 0);
	cr_assert_eq(record_put_json(&r, "report", "{\"host\": {}}"), 0);
	return r;
}

Test(record, comes_back_as_it_went)
{
	struct record r = sample(), b;
	_cleanup_free_ char *text = record_format(&r), *again = NULL;
	char line[64];

	cr_assert_eq(record_parse(&b, text, strlen(text)), 0);
	cr_assert_eq(b.phase, PHASE_EXITED);
	cr_assert_str_eq(b.id, r.id);
	cr_assert_str_eq(b.name, "a");
	cr_assert_str_eq(b.engine, "soft");
	cr_assert_str_eq(b.verdict, "runtime_error");
	record_image(&b, line, sizeof(line));
	cr_assert_str_eq(line, "debian");
	cr_assert(b.detached && !b.auto_remove && !b.tty);
	cr_assert(b.cpus == 2 && b.memory == 512ull << 20 && b.pid == 77);
	cr_assert(b.created == 5 * S && b.started == 6 * S && b.ended == 7 * S);
	cr_assert_eq(b.exit_code, 3);
	record_command(&b, line, sizeof(line));
	cr_assert_str_eq(line, "sh -c echo \xef\xbf\xbd?[31m");
	again = record_format(&b);
	cr_assert_str_eq(text, again);
	record_free(&r);
	record_free(&b);
}

Test(record, command_line_is_cut_between_characters)
{
	static char *const words[] = { "ab\xe2\x82\xac", "\xc2\x9bx", NULL };
	struct record r = { 0 };
	char line[16];

	cr_assert_eq(record_put_words(&r, "command", words), 0);
	for (size_t cap = 1; cap < sizeof(line); cap++) {
		record_command(&r, line, cap);
		cr_expect_lt(strlen(line), cap);
		cr_expect(format_is_utf8(line, strlen(line)));
	}
	cr_expect_str_eq(line, "ab\xe2\x82\xac ?x");
	record_free(&r);
}

Test(record, ports_are_told_once_for_all_addresses)
{
	static const char text[] =
		"[{\"host\":\"0.0.0.0\",\"host_port\":8080,\"guest_port\":80,"
		"\"protocol\":\"tcp\"},"
		"{\"host\":\"::\",\"host_port\":8080,\"guest_port\":80,"
		"\"protocol\":\"tcp\"}, 7, {\"host\":\"x\"},"
		"{\"host\":\"::1\",\"host_port\":53,\"guest_port\":5353,"
		"\"protocol\":\"udp\"},"
		"{\"host\":\"127.0.0.1\",\"host_port\":1,\"guest_port\":2,"
		"\"protocol\":\"tcp\"}]";
	struct record r = { 0 };
	char line[64];

	record_ports(&r, line, sizeof(line));
	cr_assert_str_empty(line);
	cr_assert_eq(record_put_json(&r, "ports", text), 0);
	record_ports(&r, line, sizeof(line));
	cr_assert_str_eq(line, "8080->80/tcp, [::1]:53->5353/udp, "
			       "127.0.0.1:1->2/tcp");
	for (size_t cap = 1; cap < sizeof(line); cap++) {
		record_ports(&r, line, cap);
		cr_expect_lt(strlen(line), cap);
		if (cap > 3 && cap < sizeof("8080->80/tcp, [::1]:53->5353/udp, "
					    "127.0.0.1:1->2/tcp"))
			cr_expect_str_eq(line + strlen(line) - 3, "...",
					 "%zu: %s", cap, line);
	}
	record_ports(&r, line, 40);
	cr_assert_str_eq(line, "8080->80/tcp, [::1]:53->5353/udp, ...");
	r.phase = PHASE_EXITED;
	record_ports(&r, line, sizeof(line));
	cr_assert_str_empty(line);
	record_free(&r);
}

Test(record, ports_side_by_side_are_a_range)
{
	static const struct {
		const char *host;
		int from, to;
		const char *proto;
	} t[] = {
		{ "0.0.0.0", 80, 8, "tcp" }, { "::", 80, 8, "tcp" },
		{ "0.0.0.0", 81, 9, "tcp" }, { "::", 81, 9, "tcp" },
		{ "0.0.0.0", 82, 9, "tcp" }, { "0.0.0.0", 83, 10, "udp" },
		{ "::1", 84, 11, "udp" },    { "::1", 85, 12, "udp" },
		{ "::1", 84, 11, "udp" },    { "::1", 83, 10, "udp" },
	};
	json_t *list = json_array();
	struct record r = { 0 };
	char line[128];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		json_array_append_new(
			list, json_pack("{s:s, s:i, s:i, s:s}", "host",
					t[i].host, "host_port", t[i].from,
					"guest_port", t[i].to, "protocol",
					t[i].proto));
	r.doc = json_pack("{s:o}", "ports", list);
	record_ports(&r, line, sizeof(line));
	cr_assert_str_eq(line, "80-81->8-9/tcp, 82->9/tcp, 83->10/udp, "
			       "[::1]:84-85->11-12/udp, [::1]:83->10/udp");
	record_free(&r);
}

Test(record, every_truncation_is_refused)
{
	struct record r = sample(), b;
	_cleanup_free_ char *text = record_format(&r);

	for (size_t n = 0; n < strlen(text); n++)
		cr_assert_eq(record_parse(&b, text, n), -EBADMSG);
	record_free(&r);
}

/* Each line of the document, replaced by what it may not be. */
Test(record, wrong_fields_are_refused)
{
	static const struct {
		const char *from, *to;
	} t[] = {
		{ "\"format\": 1", "\"format\": 2" },
		{ "\"format\": 1", "\"format\": \"1\"" },
		{ "\"id\": \"0123456789ab\"", "\"id\": \"0123456789abc\"" },
		{ "\"id\": \"0123456789ab\"", "\"id\": 7" },
		{ "\"name\": \"a\"", "\"name\": []" },
		{ "\"name\": \"a\"", "\"name\": \"\"" },
		{ "\"phase\": \"exited\"", "\"phase\": \"lost\"" },
		{ "\"phase\": \"exited\"", "\"phase\": null" },
		{ "\"detached\": true", "\"detached\": 1" },
		{ "\"pid\": 77", "\"pid\": -1" },
		{ "\"pid\": 77", "\"pid\": 4294967296" },
		{ "\"pid\": 77", "\"pid\": 1.5" },
		{ "\"cpus\": 2", "\"cpus\": 99999999999999999999" },
		{ "\"memory_bytes\": 536870912", "\"memory_bytes\": -1" },
		{ "\"exit_code\": 3", "\"exit_code\": 256" },
		{ "\"created\": \"1970", "\"created\": \"197x" },
		{ "\"ended\": \"1970-01-01T00:00:07.000000000Z\"",
		  "\"ended\": 7" },
		{ "\"sh\"", "7" },
		{ "\"engine\": \"soft\"", "\"engine\": \"softer than\"" },
		{ "\"tty\": false", "\"pty\": false" },
		{ "\"tty\": false", "\"tty\": false, \"tty\": true" },
		{ "\"verdict\"", "\"\xff\"" },
	};
	struct record r = sample(), b;
	_cleanup_free_ char *text = record_format(&r);

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		const char *at = strstr(text, t[i].from);
		char bad[4096];

		cr_assert(at, "%s", t[i].from);
		snprintf(bad, sizeof(bad), "%.*s%s%s", (int)(at - text), text,
			 t[i].to, at + strlen(t[i].from));
		cr_expect_eq(record_parse(&b, bad, strlen(bad)), -EBADMSG, "%s",
			     t[i].to);
	}
	record_free(&r);
}

Test(record, other_documents_are_refused)
{
	static const char *const t[] = { "", "{}", "[]", "null", "7", "\"\"",
					 "{\"format\": 1}" };
	_cleanup_free_ char *deep = malloc(100000), *huge = NULL;
	struct record b;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		cr_expect_eq(record_parse(&b, t[i], strlen(t[i])), -EBADMSG);
	memset(deep, '[', 100000);
	cr_expect_eq(record_parse(&b, deep, 100000), -EBADMSG);
	huge = calloc(1, RECORD_MAX + 1);
	cr_expect_eq(record_parse(&b, huge, RECORD_MAX + 1), -EBADMSG);
	cr_expect_eq(record_parse(&b, huge, RECORD_MAX), -EBADMSG);
}

Test(record, an_image_gives_defaults_to_more_commands)
{
	static char *env[] = { "A=b c", NULL };
	struct record r = sample(), b;
	_cleanup_free_ char *text = NULL;

	r.stop_signal = 3;
	cr_assert_eq(record_put_words(&r, "env", env), 0);
	cr_assert_eq(record_put(&r, "user", "app"), 0);
	cr_assert_eq(record_put(&r, "workdir", NULL), 0);
	text = record_format(&r);
	cr_assert_eq(record_parse(&b, text, strlen(text)), 0);
	cr_expect_eq(b.stop_signal, 3);
	cr_expect_str_eq(record_user(&b), "app");
	cr_expect_null(record_workdir(&b));
	expect_words(record_env(&b), "A=b c");
	record_free(&r);
	record_free(&b);
}

Test(record, without_an_image_there_are_none)
{
	struct record r = sample(), b;
	_cleanup_free_ char *text = record_format(&r);

	cr_assert_eq(record_parse(&b, text, strlen(text)), 0);
	cr_expect_eq(b.stop_signal, 0);
	cr_expect_null(record_user(&b));
	cr_expect_null(record_workdir(&b));
	cr_expect_null(record_env(&b));
	record_free(&r);
	record_free(&b);
}
