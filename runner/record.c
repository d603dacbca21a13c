/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a run, as record.json keeps it. */
#include "runner/record.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/format.h"

static const char *const phases[] = {
	[PHASE_STARTING] = "starting",
	[PHASE_RUNNING] = "running",
	[PHASE_EXITED] = "exited",
	[PHASE_LOST] = "lost",
};

const char *phase_name(enum phase p)
{
	return phases[p];
}

void record_free(struct record *r)
{
	json_decref(r->doc);
	*r = (struct record){ 0 };
}

/* --- reading ---------------------------------------------------------- */

/* Each of these leaves *bad alone where the field is as it should be. */

/* A string that fits and is not empty; null leaves the field empty. */
static void get_text(const json_t *o, const char *key, char *buf, size_t cap,
		     int *bad)
{
	const json_t *v = json_object_get(o, key);
	size_t n = json_string_length(v);

	if (json_is_string(v) && n && n < cap &&
	    strlen(json_string_value(v)) == n)
		memcpy(buf, json_string_value(v), n + 1);
	else if (!json_is_null(v))
		*bad = 1;
}

static uint64_t get_number(const json_t *o, const char *key, uint64_t max,
			   int *bad)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);

	if (json_is_null(v))
		return 0;
	if (json_is_integer(v) && n >= 0 && (uint64_t)n <= max)
		return (uint64_t)n;
	*bad = 1;
	return 0;
}

static int get_flag(const json_t *o, const char *key, int *bad)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_boolean(v))
		*bad = 1;
	return json_is_true(v);
}

static uint64_t get_time(const json_t *o, const char *key, int *bad)
{
	char text[FORMAT_TIME_MAX] = "";
	uint64_t ns = 0;

	get_text(o, key, text, sizeof(text), bad);
	if (*text && format_parse_time(text, &ns) < 0)
		*bad = 1;
	return ns;
}

static enum phase get_phase(const json_t *o, int *bad)
{
	const char *s = json_string_value(json_object_get(o, "phase"));

	for (int p = PHASE_STARTING; s && p <= PHASE_EXITED; p++)
		if (!strcmp(s, phases[p]))
			return (enum phase)p;
	*bad = 1;
	return PHASE_STARTING;
}

/* A list of strings, @min at least; null is none. */
static void check_words(const json_t *o, const char *key, size_t min, int *bad)
{
	const json_t *v = json_object_get(o, key);
	size_t n = json_array_size(v);

	if (n < min || (v && !json_is_array(v) && !json_is_null(v)))
		*bad = 1;
	for (size_t i = 0; i < n; i++)
		if (!json_is_string(json_array_get(v, i)))
			*bad = 1;
}

static void check_text(const json_t *o, const char *key, int *bad)
{
	const json_t *v = json_object_get(o, key);

	if (v && !json_is_string(v) && !json_is_null(v))
		*bad = 1;
}

int record_parse(struct record *r, const char *text, size_t len)
{
	json_t *o;
	int bad = 0;

	*r = (struct record){ 0 };
	if (len > RECORD_MAX)
		return -EBADMSG;
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(o) ||
	    json_integer_value(json_object_get(o, "format")) != RECORD_FORMAT)
		bad = 1;
	get_text(o, "id", r->id, sizeof(r->id), &bad);
	get_text(o, "name", r->name, sizeof(r->name), &bad);
	get_text(o, "engine", r->engine, sizeof(r->engine), &bad);
	get_text(o, "verdict", r->verdict, sizeof(r->verdict), &bad);
	r->phase = get_phase(o, &bad);
	r->detached = get_flag(o, "detached", &bad);
	r->auto_remove = get_flag(o, "auto_remove", &bad);
	r->tty = get_flag(o, "tty", &bad);
	r->pid = (int)get_number(o, "pid", INT_MAX, &bad);
	r->cpus = (unsigned)get_number(o, "cpus", INT_MAX, &bad);
	r->memory = get_number(o, "memory_bytes", INT64_MAX, &bad);
	r->exit_code = (int)get_number(o, "exit_code", 255, &bad);
	r->created = get_time(o, "created", &bad);
	r->started = get_time(o, "started", &bad);
	r->ended = get_time(o, "ended", &bad);
	check_words(o, "command", 1, &bad);
	/* Of an image; those before there were any have none of it. */
	check_words(o, "env", 0, &bad);
	check_text(o, "user", &bad);
	check_text(o, "workdir", &bad);
	if (json_object_get(o, "stop_signal"))
		r->stop_signal = (int)get_number(o, "stop_signal", 64, &bad);
	r->doc = o;
	if (bad)
		record_free(r);
	return bad ? -EBADMSG : 0;
}

/* --- writing ---------------------------------------------------------- */

static json_t *clean_string(const char *s)
{
	_cleanup_free_ char *clean = NULL;

	if (format_is_utf8(s, strlen(s)))
		return json_string(s);
	clean = format_utf8(s, strlen(s));
	return clean ? json_string(clean) : NULL;
}

/* A document keeps its keys in the order they came: first things first. */
static int make_doc(struct record *r)
{
	static const char *const keys[] = { "format", "id", "name", "phase",
					    "image", "image_id", "command" };
	int bad = 0;

	if (r->doc)
		return 0;
	r->doc = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		bad |= json_object_set_new(r->doc, keys[i], json_null());
	return bad ? -ENOMEM : 0;
}

static int put(struct record *r, const char *key, json_t *value)
{
	if (make_doc(r) < 0) {
		json_decref(value);
		return -ENOMEM;
	}
	return json_object_set_new(r->doc, key, value) < 0 ? -ENOMEM : 0;
}

int record_put(struct record *r, const char *key, const char *value)
{
	return put(r, key, value ? clean_string(value) : json_null());
}

int record_put_words(struct record *r, const char *key, char *const *words)
{
	json_t *list = json_array();

	for (; *words; words++)
		if (json_array_append_new(list, clean_string(*words)) < 0) {
			json_decref(list);
			return -ENOMEM;
		}
	return put(r, key, list);
}

int record_put_json(struct record *r, const char *key, const char *text)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	return o ? put(r, key, o) : -EINVAL;
}

static json_t *text_or_null(const char *s)
{
	return *s ? json_string(s) : json_null();
}

static json_t *time_or_null(uint64_t ns)
{
	char text[FORMAT_TIME_MAX];

	if (!ns)
		return json_null();
	format_time(ns, text);
	return json_string(text);
}

static json_t *number_or_null(int known, uint64_t v)
{
	return known ? json_integer((json_int_t)v) : json_null();
}

/* What steers a terminal stands in strings only, where JSON has a way to write
 * it that does not: the encoder uses that for C0 alone. */
static char *escape(const char *text)
{
	char *out = malloc(6 * strlen(text) + 1), *to = out;
	size_t n;

	if (!out)
		return NULL;
	for (; *text; text += n ? n : 1) {
		n = *text == '\n' ? 0 : control_len(text);
		if (n)
			to += sprintf(to, "\\u%04X",
				      (unsigned char)text[n - 1]);
		else
			*to++ = *text;
	}
	*to = '\0';
	return out;
}

char *record_dump(const struct json_t *doc)
{
	/* Digits that say something: the report has times in ms. */
	_cleanup_free_ char *text = json_dumps(doc, JSON_INDENT(2) |
						    JSON_REAL_PRECISION(12));

	return text ? escape(text) : NULL;
}

int record_print(json_t *doc, int bad, struct err *err)
{
	_cleanup_free_ char *text = bad || !doc ? NULL : record_dump(doc);

	json_decref(doc);
	if (!text)
		return err_set(err, -ENOMEM, "print");
	puts(text);
	return 0;
}

char *record_format(struct record *r)
{
	int bad = make_doc(r);
	const int over = r->phase == PHASE_EXITED;

	bad |= put(r, "format", json_integer(RECORD_FORMAT));
	bad |= put(r, "id", text_or_null(r->id));
	bad |= put(r, "name", text_or_null(r->name));
	bad |= put(r, "phase", json_string(phases[r->phase]));
	bad |= put(r, "detached", json_boolean(r->detached));
	bad |= put(r, "auto_remove", json_boolean(r->auto_remove));
	bad |= put(r, "tty", json_boolean(r->tty));
	bad |= put(r, "stop_signal",
		   number_or_null(r->stop_signal != 0,
				  (unsigned)r->stop_signal));
	bad |= put(r, "created", time_or_null(r->created));
	bad |= put(r, "started", time_or_null(r->started));
	bad |= put(r, "ended", time_or_null(r->ended));
	bad |= put(r, "pid", number_or_null(r->pid != 0, (unsigned)r->pid));
	bad |= put(r, "engine", text_or_null(r->engine));
	bad |= put(r, "cpus", number_or_null(r->cpus != 0, r->cpus));
	bad |= put(r, "memory_bytes", number_or_null(1, r->memory));
	bad |= put(r, "verdict", text_or_null(r->verdict));
	bad |= put(r, "exit_code", number_or_null(over, (unsigned)r->exit_code));
	return bad ? NULL : record_dump(r->doc);
}

/* --- showing ---------------------------------------------------------- */

void record_command(const struct record *r, char *buf, size_t cap)
{
	const json_t *list = json_object_get(r->doc, "command");
	size_t at = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *w = json_string_value(json_array_get(list, i));
		size_t n = strlen(w);

		if (i && at + 1 < cap)
			buf[at++] = ' ';
		n = MIN(n, cap - 1 - at);
		memcpy(buf + at, w, n);
		at += n;
	}
	/* Not a part of a character. */
	while (at && !format_is_utf8(buf, at))
		at--;
	buf[at] = '\0';
	control_hide(buf);
}

void record_image(const struct record *r, char *buf, size_t cap)
{
	const char *s = json_string_value(json_object_get(r->doc, "image"));
	size_t n = s ? MIN(strlen(s), cap - 1) : 0;

	if (!s)
		s = "-", n = 1;
	memcpy(buf, s, n);
	while (n && !format_is_utf8(buf, n))
		n--;
	buf[n] = '\0';
	control_hide(buf);
}

const char *record_user(const struct record *r)
{
	return json_string_value(json_object_get(r->doc, "user"));
}

const char *record_workdir(const struct record *r)
{
	return json_string_value(json_object_get(r->doc, "workdir"));
}

char **record_env(const struct record *r)
{
	const json_t *list = json_object_get(r->doc, "env");
	size_t n = json_array_size(list);
	char **env = n ? calloc(n + 1, sizeof(*env)) : NULL;

	for (size_t i = 0; env && i < n; i++)
		env[i] = (char *)json_string_value(json_array_get(list, i));
	return env;
}
