/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a journal as text or as lines of JSON. */
#include "runner/log_view.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "runner/format.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

static const char *const names[] = { "stdout", "stderr" };

/* A descriptor that another program has made O_NONBLOCK is waited for. */
static int put(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);
		struct pollfd w = { .fd = fd, .events = POLLOUT };

		if (n < 0 && errno == EAGAIN)
			poll(&w, 1, -1);
		else if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* --- JSON ------------------------------------------------------------- */

static char *base64(const char *s, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789+/";
	char *out = malloc(BASE64_LEN(len) + 1), *p = out;

	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = MIN(len - i, 3u);
		uint32_t v = 0;

		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (k < n ? (unsigned char)s[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			*p++ = k > n ? '=' : digits[v >> (18 - 6 * k) & 63];
	}
	*p = '\0';
	return out;
}

static int put_object(const struct log_view *v, json_t *o, int bad)
{
	_cleanup_free_ char *text = bad ? NULL : json_dumps(o, JSON_COMPACT);
	int r;

	json_decref(o);
	if (!text)
		return -ENOMEM;
	r = put(v->fd[0], text, strlen(text));
	return r < 0 ? r : put(v->fd[0], "\n", 1);
}

static json_t *with_time(uint64_t ns, int *bad)
{
	char time[FORMAT_TIME_MAX];
	json_t *o = json_object();

	format_time(ns, time);
	*bad |= json_object_set_new(o, "time", json_string(time));
	return o;
}

/* What was gathered of a line. Text where it is text, else base64. */
static int put_line(struct log_view *v, int i, int partial)
{
	struct log_stream *s = &v->stream[i];
	_cleanup_free_ char *coded = NULL;
	json_t *o, *text;
	int bad = 0;

	o = with_time(s->time_ns, &bad);
	bad |= json_object_set_new(o, "stream", json_string(names[i]));
	text = json_stringn(s->line, s->len);
	if (text) {
		bad |= json_object_set_new(o, "text", text);
	} else {
		coded = base64(s->line, s->len);
		bad |= !coded ||
		       json_object_set_new(o, "base64", json_string(coded));
	}
	if (partial)
		bad |= json_object_set_new(o, "partial", json_true());
	s->len = 0;
	return put_object(v, o, bad);
}

static int gather(struct log_view *v, int i, const char *p, size_t len)
{
	struct log_stream *s = &v->stream[i];
	int r = 0;

	if (!s->line)
		s->line = malloc(LOG_LINE_MAX);
	if (!s->line)
		return -ENOMEM;
	while (len && r == 0) {
		size_t n = MIN(len, LOG_LINE_MAX - s->len);

		memcpy(s->line + s->len, p, n);
		s->len += n;
		p += n;
		len -= n;
		if (s->len == LOG_LINE_MAX)
			r = put_line(v, i, 1);
	}
	return r;
}

/* --- lines ------------------------------------------------------------ */

/* A part of a line; the line's end is its last byte, or not in it. */
static int show_part(struct log_view *v, int i, const char *p, size_t len,
		     int first)
{
	int ends = p[len - 1] == '\n', r;
	char time[FORMAT_TIME_MAX];

	if (v->json) {
		r = gather(v, i, p, len - (size_t)ends);
		return r == 0 && ends ? put_line(v, i, 0) : r;
	}
	if (first && v->times) {
		format_time(v->stream[i].time_ns, time);
		strcat(time, " ");
		r = put(v->fd[i], time, strlen(time));
		if (r < 0)
			return r;
	}
	return put(v->fd[i], p, len);
}

static int is_output(const struct log_view *v, const struct journal_entry *e)
{
	return e->time_ns >= v->since_ns && (e->stream == JOURNAL_STDOUT ||
					     e->stream == JOURNAL_STDERR);
}

void log_count(struct log_view *v, const struct journal_entry *e)
{
	struct log_stream *s = &v->stream[e->stream == JOURNAL_STDERR];
	const uint8_t *p = e->data, *end;

	if (!is_output(v, e))
		return;
	end = p + e->len;
	while (p < end) {
		const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));

		v->lines += !s->open;
		s->open = !nl;
		p = nl ? nl + 1 : end;
	}
}

static int tell_lost(const struct log_view *v, const struct journal_entry *e)
{
	char text[96];
	int bad = 0, n;

	if (e->time_ns < v->since_ns || v->lines < v->skip)
		return 0;
	if (v->json) {
		json_t *o = with_time(e->time_ns, &bad);

		bad |= json_object_set_new(o, "lost_bytes",
					   json_integer((json_int_t)e->lost));
		return put_object(v, o, bad);
	}
	n = snprintf(text, sizeof(text),
		     "mayfly: %llu bytes of output could not be kept\n",
		     (unsigned long long)e->lost);
	return put(v->fd[1], text, (size_t)n);
}

int log_show(struct log_view *v, const struct journal_entry *e)
{
	const int i = e->stream == JOURNAL_STDERR;
	struct log_stream *s = &v->stream[i];
	const uint8_t *p = e->data, *end;
	int r = 0;

	if (e->stream == JOURNAL_LOST)
		return tell_lost(v, e); /* which has no data */
	end = p + e->len;
	if (!is_output(v, e))
		return 0;
	/* All of it as it is, where nobody asks for lines. */
	if (!v->json && !v->times && !v->skip)
		return put(v->fd[i], p, e->len);
	while (p < end && r == 0) {
		const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *next = nl ? nl + 1 : end;
		int first = !s->open;

		if (first) {
			s->shown = v->lines++ >= v->skip;
			s->time_ns = e->time_ns;
		}
		s->open = !nl;
		if (s->shown)
			r = show_part(v, i, (const char *)p,
				      (size_t)(next - p), first);
		p = next;
	}
	return r;
}

int log_finish(struct log_view *v)
{
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++)
		if (v->stream[i].len)
			r = put_line(v, i, 1);
	return r;
}

void log_free(struct log_view *v)
{
	for (int i = 0; i < 2; i++) {
		free(v->stream[i].line);
		v->stream[i].line = NULL;
	}
}
