/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines by table. */
#include "runner/opts.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define WORD_MAX  64 /* longer words are not typing errors */
#define NEAR_MAX  3  /* more typing errors than this make another word */
#define NAMES_MAX 64

#define HELP_COLUMNS	80
#define HELP_MARGIN_MAX 30

int opt_flag(void *field, const char *arg, struct err *err)
{
	(void)arg;
	(void)err;
	*(int *)field = 1;
	return 0;
}

int opt_string(void *field, const char *arg, struct err *err)
{
	(void)err;
	*(const char **)field = arg;
	return 0;
}

int opt_format(void *field, const char *arg, struct err *err)
{
	int *format = field;

	if (!strcmp(arg, "json"))
		*format = FORMAT_JSON;
	else if (!strcmp(arg, "table"))
		*format = FORMAT_TABLE;
	else
		return err_say(err, -EINVAL, "must be table or json");
	return 0;
}

int opt_json(void *field, const char *arg, struct err *err)
{
	(void)field;
	return strcmp(arg, "json") ? err_say(err, -EINVAL, "must be json") : 0;
}

int opt_is_optional(const struct opt *o)
{
	return o->arg && !strncmp(o->arg, "[=", 2);
}

/* What follows it as a word of its own belongs to it. */
static int takes_word(const struct opt *o)
{
	return o->arg && !opt_is_optional(o);
}

/* Levenshtein distance, with a swap of neighbours counted once. */
static size_t distance(const char *a, const char *b)
{
	size_t row[3][WORD_MAX + 1], n = strlen(a), m = strlen(b);
	size_t *two = row[0], *one = row[1], *cur = row[2];

	if (n > WORD_MAX || m > WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= m; j++)
		two[j] = one[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *spare = two;

		cur[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t d = one[j - 1] + (a[i - 1] != b[j - 1]);

			d = MIN(d, one[j] + 1);
			d = MIN(d, cur[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				d = MIN(d, two[j - 2] + 1);
			cur[j] = d;
		}
		two = one;
		one = cur;
		cur = spare;
	}
	return one[m];
}

const char *opts_nearest(const char *word, const char *const *candidates,
			 size_t n)
{
	size_t best = SIZE_MAX, len = strlen(word);
	const char *near = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *c = candidates[i];
		size_t d = distance(word, c), ends = strlen(c);

		/* A beginning is as good as one typing error, and what goes on
		 * where a name ends, as in --network, as two. */
		if (len >= 3 && !strncmp(word, c, len))
			d = MIN(d, 1);
		if (ends >= 3 && !strncmp(word, c, ends))
			d = MIN(d, 2);
		if (d < best) {
			best = d;
			near = c;
		}
	}
	return best <= MIN(NEAR_MAX, (len + 2) / 3) ? near : NULL;
}

static int unknown(const struct opt_table *t, const char *word, size_t len,
		   struct err *err)
{
	const char *names[NAMES_MAX] = { "help" }, *near;
	char name[WORD_MAX + 1];
	size_t n = 1;
	int r;

	r = err_say(err, -EINVAL, "%s: %.*s: unknown option", t->command,
		    (int)len + 2, word - 2);
	snprintf(name, sizeof(name), "%.*s", (int)len, word);
	for (size_t i = 0; i < t->nopts && n < NAMES_MAX; i++)
		if (t->opt[i].name)
			names[n++] = t->opt[i].name;
	near = opts_nearest(name, names, n);
	if (near)
		err_hint(err, "did you mean --%s?", near);
	else
		err_hint(err, "`mayfly help %s` lists the options", t->command);
	return r;
}

/* @shown: how the user gave it, --name or NAME= of the environment. */
static int apply(const struct opt_table *t, const struct opt *o, void *config,
		 const char *arg, const char *shown, struct err *err)
{
	const char *gap = strchr(shown, '=')   ? "" :
			  opt_is_optional(o) ? "=" : " ";
	int r;

	if (arg && !*arg)
		return err_say(err, -EINVAL, "%s: %s: the argument is empty",
			       t->command, shown);
	r = o->set((char *)config + o->offset, arg, err);
	if (r < 0)
		err_wrap(err, "%s: %s%s%s", t->command, shown, arg ? gap : "",
			 arg ? arg : "");
	return r;
}

static int from_environment(const struct opt_table *t, void *config,
			    struct err *err)
{
	for (size_t i = 0; i < t->nopts; i++) {
		const struct opt *o = &t->opt[i];
		const char *v = o->env ? getenv(o->env) : NULL;
		char shown[WORD_MAX];
		int r;

		if (!v || !*v)
			continue;
		snprintf(shown, sizeof(shown), "%s=", o->env);
		r = apply(t, o, config, v, shown, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --name, --name=ARG, --name ARG (not if it is optional). Returns the words used, 0 for --help. */
static int long_option(const struct opt_table *t, void *config, char **argv,
		       struct err *err)
{
	const char *word = argv[0] + 2, *eq = strchr(word, '=');
	size_t len = eq ? (size_t)(eq - word) : strlen(word);
	const char *arg = eq ? eq + 1 : NULL;
	const struct opt *o = NULL;
	char shown[WORD_MAX];
	int used = 1, r;

	if (!strcmp(word, "help"))
		return 0;
	for (size_t i = 0; i < t->nopts && !o; i++)
		if (t->opt[i].name && strlen(t->opt[i].name) == len &&
		    !memcmp(t->opt[i].name, word, len))
			o = &t->opt[i];
	if (!o)
		return unknown(t, word, len, err);
	snprintf(shown, sizeof(shown), "--%s", o->name);
	if (!o->arg && arg)
		return err_say(err, -EINVAL, "%s: %s: takes no argument",
			       t->command, shown);
	if (takes_word(o) && !arg) {
		arg = argv[1];
		used = 2;
		if (!arg)
			return err_say(err, -EINVAL, "%s: %s: needs %s",
				       t->command, shown, o->arg);
	}
	r = apply(t, o, config, arg, shown, err);
	return r < 0 ? r : used;
}

/* -x, -xy (flags), -mARG, -m ARG. Returns the words used, 0 for -h. */
static int short_options(const struct opt_table *t, void *config, char **argv,
			 struct err *err)
{
	for (const char *p = argv[0] + 1; *p; p++) {
		const char shown[] = { '-', *p, '\0' };
		const struct opt *o = NULL;
		const char *arg = NULL;
		int used = 1, r;

		for (size_t i = 0; i < t->nopts && !o; i++)
			if (t->opt[i].letter == *p)
				o = &t->opt[i];
		if (!o && *p == 'h')
			return 0;
		if (!o) {
			r = err_say(err, -EINVAL, "%s: %s: unknown option",
				    t->command, shown);
			err_hint(err, "`mayfly help %s` lists the options",
				 t->command);
			return r;
		}
		if (takes_word(o)) {
			arg = p[1] ? p + 1 : argv[1];
			used = p[1] ? 1 : 2;
			if (!arg)
				return err_say(err, -EINVAL, "%s: %s: needs %s",
					       t->command, shown, o->arg);
		}
		r = apply(t, o, config, arg, shown, err);
		if (r < 0)
			return r;
		if (takes_word(o))
			return used;
	}
	return 1;
}

/* Move the @n words at @w before the @before words that precede them. */
static void move_up(char **w, int n, int before)
{
	for (; n > 0; n--, w++) {
		char *word = *w;

		memmove(w - before + 1, w - before,
			(size_t)before * sizeof(*w));
		w[-before] = word;
	}
}

int opts_parse(const struct opt_table *t, void *config, int argc, char **argv,
	       struct opt_rest *rest, struct err *err)
{
	int i, used, operands = 0;
	int r = from_environment(t, config, err);

	*rest = (struct opt_rest){ 0 };
	if (r < 0)
		return r;
	for (i = 1; i < argc && !rest->dashes; i += used) {
		if (argv[i][0] != '-' || !argv[i][1]) {
			if (!t->mixed)
				break;
			operands++;
			used = 1;
			continue;
		}
		if (!strcmp(argv[i], "--")) {
			rest->dashes = used = 1;
		} else {
			used = argv[i][1] == '-'
				       ? long_option(t, config, argv + i, err)
				       : short_options(t, config, argv + i,
						       err);
			if (used < 0)
				return used;
			rest->help = used == 0;
			if (rest->help)
				return 0;
		}
		move_up(argv + i, used, operands);
	}
	rest->first = i - operands;
	return 0;
}

/* "-m, --memory SIZE", "    --net[=tap=NAME]" */
static int help_left(const struct opt *o, char left[WORD_MAX])
{
	return snprintf(left, WORD_MAX, "%s%c%s--%s%s%s", o->letter ? "-" : " ",
			o->letter ? o->letter : ' ', o->letter ? ", " : "  ",
			o->name, takes_word(o) ? " " : "",
			o->arg ? o->arg : "");
}

/* Words of @text from column @at on, in lines that begin at @margin. */
static int help_words(const char *text, int at, int margin)
{
	while (*text) {
		int n = (int)strcspn(text, " ");

		if (at > margin && at + 1 + n >= HELP_COLUMNS) {
			printf("\n%*s", margin, "");
			at = margin;
		}
		at += printf("%s%.*s", at > margin ? " " : "", n, text);
		text += n + (text[n] == ' ');
	}
	return at;
}

static void help_option(const struct opt *o, int margin)
{
	char left[WORD_MAX];
	int n, at;

	if (!o->name) {
		printf("\n%s:\n", o->help);
		return;
	}
	n = help_left(o, left);
	if (4 + n > margin)
		at = printf("  %s\n%*s", left, margin, "") - 3 - n;
	else
		at = printf("  %-*s", margin - 2, left);
	at = help_words(o->help, at, margin);
	if (o->env) {
		snprintf(left, sizeof(left), "[%s]", o->env);
		help_words(left, at, margin);
	}
	putchar('\n');
}

/* Where help begins: all names before it but the odd long one. */
static int help_margin(const struct opt_table *t)
{
	char left[WORD_MAX];
	int margin = 0;

	for (size_t i = 0; i < t->nopts; i++) {
		int n = t->opt[i].name ? 4 + help_left(&t->opt[i], left) : 0;

		if (n <= HELP_MARGIN_MAX)
			margin = MAX(margin, n);
	}
	return margin;
}

int opts_help(const struct opt_table *t)
{
	const char *line = t->usage;
	int margin = help_margin(t);

	for (const char *lead = "usage:"; line; lead = "      ") {
		const char *end = strchr(line, '\n');
		int n = end ? (int)(end - line) : (int)strlen(line);

		printf("%s mayfly %s%s%.*s\n", lead, t->command, n ? " " : "",
		       n, line);
		line = end ? end + 1 : NULL;
	}
	printf("\n%s\n", t->about);
	if (t->nopts && t->opt[0].name)
		printf("\noptions:\n");
	for (size_t i = 0; i < t->nopts; i++)
		help_option(&t->opt[i], margin);
	return fflush(stdout) ? -errno : 0;
}
