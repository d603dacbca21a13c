/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly doctor: what works on this host, and what to do about the rest. */
#include "runner/cmd.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/doctor.h"
#include "runner/opts.h"

static const struct opt doctor_options[] = {
	{ "format", 0, "table|json", NULL, "how to print it", opt_format, 0 },
};

const struct opt_table cmd_doctor_table = {
	.command = "doctor",
	.usage = "[OPTIONS]",
	.about = "Look at what mayfly needs on this host and print a line for "
		 "each: ok, warn (it\nworks, with less) or fail, with the "
		 "command that mends it. A VM is made for that,\nwhose guest "
		 "never runs, and asked what keeps it in. The exit code is 1 "
		 "where\nsomething fails.",
	.opt = doctor_options,
	.nopts = ARRAY_SIZE(doctor_options),
};

static const char *const health_name[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_WARN] = "warn",
	[DOCTOR_FAIL] = "fail",
};

void doctor_say(struct doctor *d, enum health h, const char *what,
		const char *fmt, ...)
{
	struct doctor_line *l = &d->line[d->n];
	va_list ap;

	assert(d->n < DOCTOR_LINES);
	d->n++;
	l->health = h;
	l->what = what;
	va_start(ap, fmt);
	vsnprintf(l->words, sizeof(l->words), fmt, ap);
	va_end(ap);
}

void doctor_remedy(struct doctor *d, const char *fmt, ...)
{
	struct doctor_line *l = &d->line[d->n - 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->remedy, sizeof(l->remedy), fmt, ap);
	va_end(ap);
}

static void print_table(const struct doctor *d)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct doctor_line *l = &d->line[i];

		printf("%-4s  %-18s %s\n", health_name[l->health], l->what,
		       l->words);
		if (l->remedy[0])
			printf("      %-18s -> %s\n", "", l->remedy);
	}
}

/* Paths may be anything; JSON is UTF-8. */
static json_t *text(const char *s)
{
	json_t *v = json_string(s);

	return v ? v : json_string("not UTF-8");
}

static int print_json(const struct doctor *d, int healthy)
{
	json_t *doc = json_object(), *checks = json_array();
	int r = json_object_set_new(doc, "healthy", json_boolean(healthy));

	for (size_t i = 0; i < d->n; i++) {
		const struct doctor_line *l = &d->line[i];
		json_t *o = json_object();

		r |= json_object_set_new(o, "status",
					 text(health_name[l->health]));
		r |= json_object_set_new(o, "check", text(l->what));
		r |= json_object_set_new(o, "result", text(l->words));
		r |= json_object_set_new(o, "remedy",
					 l->remedy[0] ? text(l->remedy)
						      : json_null());
		r |= json_array_append_new(checks, o);
	}
	r |= json_object_set_new(doc, "checks", checks);
	if (r == 0)
		r = json_dumpf(doc, stdout, JSON_INDENT(2));
	json_decref(doc);
	putchar('\n');
	return r < 0 ? -ENOMEM : 0;
}

int cmd_doctor(int argc, char **argv, struct err *err)
{
	struct doctor d = { 0 };
	int format = FORMAT_TABLE, bad = 0;
	struct opt_rest rest;
	int r = opts_parse(&cmd_doctor_table, &format, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_doctor_table);
	if (rest.first < argc)
		return err_say(err, -EINVAL, "doctor: takes no operand");
	doctor_host(&d);
	doctor_engines(&d);
	doctor_files(&d);
	doctor_net(&d);
	doctor_jail(&d);
	for (size_t i = 0; i < d.n; i++)
		bad |= d.line[i].health == DOCTOR_FAIL;
	if (format == FORMAT_TABLE)
		print_table(&d);
	else
		r = print_json(&d, !bad);
	return r < 0 ? err_set(err, r, "doctor") : bad;
}
