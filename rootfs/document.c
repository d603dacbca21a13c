/* SPDX-License-Identifier: Apache-2.0 */
/* JSON that somebody else wrote, read with strict types. */
#include "rootfs/document.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "rootfs/image.h"
#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* Objects and lists: the parser makes some 200 bytes of each "{}". */
#define NODES_MAX (1u << 16)

/* --- the document ----------------------------------------------------- */

void doc_fail(struct doc *d, int code, const char *fmt, ...)
{
	char words[ERR_MSG_MAX];
	va_list ap;

	if (d->code)
		return;
	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	d->code = err_say(d->err, code, "%s: %s", d->what, words);
}

static size_t count_nodes(const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '{' || text[i] == '[';
	return n;
}

int doc_open(struct doc *d, const char *text, size_t len, const char *what,
	     struct err *err)
{
	json_error_t e;
	char words[160];

	*d = (struct doc){ .what = what, .err = err };
	if (len > IMAGE_TEXT_MAX || count_nodes(text, len) > NODES_MAX) {
		doc_fail(d, -EBADMSG, "too large");
		return d->code;
	}
	d->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
	if (!d->root) {
		doc_clean(words, sizeof(words), e.text);
		doc_fail(d, -EBADMSG, "line %d: %s", e.line, words);
	}
	return d->code;
}

void doc_close(struct doc *d)
{
	json_decref(d->root);
	d->root = NULL;
}

/* --- fields ----------------------------------------------------------- */

static const json_t *get(struct doc *d, const json_t *o, const char *key,
			 json_type type, const char *name)
{
	const json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v))
		return NULL;
	if (json_typeof(v) == type)
		return v;
	doc_fail(d, -EBADMSG, "\"%s\" is not %s", key, name);
	return NULL;
}

const json_t *doc_object(struct doc *d, const json_t *o, const char *key)
{
	return get(d, o, key, JSON_OBJECT, "an object");
}

const json_t *doc_list(struct doc *d, const json_t *o, const char *key)
{
	return get(d, o, key, JSON_ARRAY, "a list");
}

const char *doc_text(struct doc *d, const json_t *o, const char *key)
{
	const json_t *v = get(d, o, key, JSON_STRING, "a string");

	if (!v || !json_string_length(v))
		return NULL;
	if (json_string_length(v) > DOC_TEXT_MAX) {
		doc_fail(d, -EBADMSG, "\"%s\" is too long", key);
		return NULL;
	}
	return json_string_value(v);
}

const char *doc_line(struct doc *d, const json_t *o, const char *key)
{
	const char *s = doc_text(d, o, key);

	if (!s || doc_is_line(s))
		return s;
	doc_fail(d, -EBADMSG, "\"%s\" has control characters", key);
	return NULL;
}

uint64_t doc_number(struct doc *d, const json_t *o, const char *key)
{
	const json_t *v = get(d, o, key, JSON_INTEGER, "a number");

	if (v && json_integer_value(v) >= 0)
		return (uint64_t)json_integer_value(v);
	doc_fail(d, -EBADMSG, "\"%s\" is %s", key, v ? "negative" : "missing");
	return 0;
}

void doc_digest(struct doc *d, const json_t *o, const char *key, char hex[65])
{
	const char *s = doc_text(d, o, key);

	hex[0] = '\0';
	if (!s)
		doc_fail(d, -EBADMSG, "\"%s\" is missing", key);
	else if (!strncmp(s, "sha256:", 7) && image_is_hex(s + 7))
		memcpy(hex, s + 7, 65);
	else
		doc_fail(d, -EBADMSG, "\"%s\" is not a sha256 digest", key);
}

/* --- times ------------------------------------------------------------ */

/* Exactly @n digits, below @end. -1 otherwise. */
static int digits(const char **s, int n, int end)
{
	int v = 0;

	for (; n; n--, (*s)++) {
		if (**s < '0' || **s > '9')
			return -1;
		v = v * 10 + **s - '0';
	}
	return v < end ? v : -1;
}

static int sign(const char **s, char c)
{
	return *(*s)++ == c ? 0 : -1;
}

/* ".5" as ns: digits past the ninth do not count. */
static uint64_t fraction(const char **s)
{
	uint64_t ns = 0, unit = 100000000;

	if (**s != '.')
		return 0;
	for ((*s)++; **s >= '0' && **s <= '9'; (*s)++, unit /= 10)
		ns += (uint64_t)(**s - '0') * unit;
	return ns;
}

/* "Z" or "+01:30", in seconds. */
static int zone(const char **s, long *east)
{
	const char c = *(*s)++;
	int h, m;

	*east = 0;
	if (c == 'Z' || c == 'z')
		return 0;
	if (c != '+' && c != '-')
		return -1;
	h = digits(s, 2, 24);
	if (h < 0 || sign(s, ':') < 0)
		return -1;
	m = digits(s, 2, 60);
	*east = (h * 60l + m) * (c == '-' ? -60 : 60);
	return m < 0 ? -1 : 0;
}

static uint64_t parse_time(const char *s)
{
	struct tm tm = { 0 };
	uint64_t ns;
	long east;
	time_t t;

	tm.tm_year = digits(&s, 4, 2500);
	if (tm.tm_year < 1970 || sign(&s, '-') < 0)
		return 0;
	tm.tm_mon = digits(&s, 2, 13);
	if (tm.tm_mon < 1 || sign(&s, '-') < 0)
		return 0;
	tm.tm_mday = digits(&s, 2, 32);
	if (tm.tm_mday < 1 || (*s != 'T' && *s != 't' && *s != ' '))
		return 0;
	s++;
	tm.tm_hour = digits(&s, 2, 24);
	if (tm.tm_hour < 0 || sign(&s, ':') < 0)
		return 0;
	tm.tm_min = digits(&s, 2, 60);
	if (tm.tm_min < 0 || sign(&s, ':') < 0)
		return 0;
	tm.tm_sec = digits(&s, 2, 61);
	if (tm.tm_sec < 0)
		return 0;
	ns = fraction(&s);
	if (zone(&s, &east) < 0 || *s)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	t = timegm(&tm) - east;
	return t < 0 ? 0 : (uint64_t)t * 1000000000u + ns;
}

uint64_t doc_time(struct doc *d, const json_t *o, const char *key)
{
	const char *s = doc_text(d, o, key);

	return s ? parse_time(s) : 0;
}

void doc_format_time(uint64_t ns, char buf[DOC_TIME_MAX])
{
	const time_t t = (time_t)(ns / 1000000000u);
	struct tm tm;
	size_t n;

	gmtime_r(&t, &tm);
	n = strftime(buf, DOC_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, DOC_TIME_MAX - n, ".%09uZ",
		 (unsigned)(ns % 1000000000u));
}

/* --- copies ----------------------------------------------------------- */

char *doc_copy(struct doc *d, const char *s)
{
	char *copy = s ? strdup(s) : NULL;

	if (s && !copy)
		doc_fail(d, -ENOMEM, "out of memory");
	return copy;
}

void doc_free_words(char **words)
{
	for (char **w = words; w && *w; w++)
		free(*w);
	free(words);
}

/* Room for @n words and the NULL. */
static char **room(struct doc *d, size_t n, const char *key)
{
	char **words;

	if (n > IMAGE_WORDS_MAX) {
		doc_fail(d, -EBADMSG, "\"%s\" has more than %d entries", key,
			 IMAGE_WORDS_MAX);
		n = 0;
	}
	words = calloc(n + 1, sizeof(*words));
	if (!words)
		doc_fail(d, -ENOMEM, "out of memory");
	return words;
}

/* A string, empty or not, at the end of @words, which has room. */
static void add(struct doc *d, char **words, const json_t *v, const char *key)
{
	if (!json_is_string(v))
		doc_fail(d, -EBADMSG, "\"%s\" holds what is no string", key);
	else if (json_string_length(v) >= DOC_WORD_MAX)
		doc_fail(d, -EBADMSG, "\"%s\" holds too long a string", key);
	else
		*words = doc_copy(d, json_string_value(v));
}

char **doc_words(struct doc *d, const json_t *o, const char *key)
{
	const json_t *list = doc_list(d, o, key);
	char **words = room(d, json_array_size(list), key);

	for (size_t i = 0; !d->code && i < json_array_size(list); i++)
		add(d, words + i, json_array_get(list, i), key);
	return words;
}

static char **fields(struct doc *d, const json_t *o, const char *key,
		     int values)
{
	json_t *map = (json_t *)doc_object(d, o, key);
	char **words = room(d, json_object_size(map) << values, key), **w;
	const char *name;
	json_t *v;

	w = words;
	json_object_foreach(map, name, v) {
		if (d->code)
			break;
		if (strlen(name) >= DOC_WORD_MAX) {
			doc_fail(d, -EBADMSG, "\"%s\" holds too long a string",
				 key);
			break;
		}
		*w = doc_copy(d, name);
		if (!*w++)
			break;
		if (values)
			add(d, w++, v, key);
	}
	return words;
}

char **doc_keys(struct doc *d, const json_t *o, const char *key)
{
	return fields(d, o, key, 0);
}

char **doc_pairs(struct doc *d, const json_t *o, const char *key)
{
	return fields(d, o, key, 1);
}

/* --- words for people ------------------------------------------------- */

int doc_is_line(const char *s)
{
	while (*s && !control_len(s))
		s++;
	return !*s;
}

void doc_clean(char *buf, size_t cap, const char *s)
{
	size_t n = 0, skip;

	for (; *s && n + 1 < cap; s += skip ? skip : 1) {
		skip = control_len(s);
		buf[n++] = skip ? '?' : *s;
	}
	/* Cut, the last character may be a part of one: it goes. */
	if (*s && n && ((unsigned char)buf[n - 1] & 0x80)) {
		while (n && ((unsigned char)buf[n - 1] & 0xc0) == 0x80)
			n--;
		n -= n > 0;
	}
	buf[n] = '\0';
}
