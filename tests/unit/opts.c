/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines by table: parsing, precedence, suggestions. */
#include "runner/opts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

struct sample {
	int flag, other;
	const char *word, *name;
	const char *may; /* "": without an argument */
};

static int refuse(void *field, const char *arg, struct err *err)
{
	(void)field;
	(void)arg;
	return err_say(err, -EINVAL, "never right");
}

static int may(void *field, const char *arg, struct err *err)
{
	return opt_string(field, arg ? arg : "", err);
}

static const struct opt options[] = {
	{ .help = "A group" },
	{ "flag", 'f', NULL, NULL, "", opt_flag,
	  offsetof(struct sample, flag) },
	{ "other", 'o', NULL, NULL, "", opt_flag,
	  offsetof(struct sample, other) },
	{ "memory", 'm', "SIZE", "TEST_MEMORY", "", opt_string,
	  offsetof(struct sample, word) },
	{ "name", 0, "NAME", NULL, "", opt_string,
	  offsetof(struct sample, name) },
	{ "may", 'y', "[=WORD]", NULL, "", may, offsetof(struct sample, may) },
	{ "refused", 'r', "X", NULL, "", refuse, 0 },
	/* Only `[=` says that it may be left out. */
	{ "place", 'p', "[A:]B", NULL, "", opt_string,
	  offsetof(struct sample, name) },
};

static const struct opt_table table = {
	.command = "test",
	.usage = "",
	.about = "",
	.opt = options,
	.nopts = ARRAY_SIZE(options),
};

static const struct opt_table mixed = {
	.command = "test",
	.usage = "",
	.about = "",
	.opt = options,
	.nopts = ARRAY_SIZE(options),
	.mixed = 1,
};

static struct sample got;
static struct opt_rest rest;
static struct err err;

static int parse(const struct opt_table *t, char **words)
{
	int n = 0;

	while (words[n])
		n++;
	got = (struct sample){ 0 };
	err = (struct err){ 0 };
	return opts_parse(t, &got, n, words, &rest, &err);
}
#define WORDS(...)  ((char *[]){ (char *)"test", __VA_ARGS__, NULL })
#define PARSE(...)  parse(&table, WORDS(__VA_ARGS__))

Test(opts, all_spellings_of_an_argument_are_the_same)
{
	cr_assert_eq(PARSE("--memory", "5"), 0);
	cr_assert_str_eq(got.word, "5");
	cr_assert_eq(PARSE("--memory=6"), 0);
	cr_assert_str_eq(got.word, "6");
	cr_assert_eq(PARSE("-m", "7"), 0);
	cr_assert_str_eq(got.word, "7");
	cr_assert_eq(PARSE("-m8"), 0);
	cr_assert_str_eq(got.word, "8");
	cr_assert_eq(PARSE("-fom", "9"), 0);
	cr_assert_str_eq(got.word, "9");
	cr_assert(got.flag && got.other);
}

Test(opts, they_end_at_the_first_operand)
{
	cr_assert_eq(PARSE("-f", "image", "--other"), 0);
	cr_assert_eq(rest.first, 2);
	cr_assert_not(rest.dashes);
	cr_assert_not(got.other);
}

Test(opts, they_end_at_two_dashes)
{
	cr_assert_eq(PARSE("-f", "--", "-o"), 0);
	cr_assert_eq(rest.first, 3);
	cr_assert(rest.dashes);
	cr_assert_not(got.other);
}

Test(opts, they_may_follow_operands_in_a_mixed_table)
{
	char **w = WORDS("a", "-f", "b", "-m", "5", "c", "--", "-o", "d");

	cr_assert_eq(parse(&mixed, w), 0);
	cr_assert(got.flag && rest.dashes && !got.other);
	cr_assert_str_eq(got.word, "5");
	cr_assert_eq(rest.first, 5);
	cr_assert_str_eq(w[5], "a");
	cr_assert_str_eq(w[6], "b");
	cr_assert_str_eq(w[7], "c");
	cr_assert_str_eq(w[8], "-o");
	cr_assert_str_eq(w[9], "d");
	cr_assert_null(w[10]);
}

Test(opts, a_mixed_table_refuses_what_follows_operands_as_well)
{
	cr_assert_eq(parse(&mixed, WORDS("a", "--flga")), -EINVAL);
	cr_assert_str_eq(err.hint, "did you mean --flag?");
	cr_assert_eq(parse(&mixed, WORDS("a", "-m")), -EINVAL);
	cr_assert_eq(parse(&mixed, WORDS("a", "--help")), 0);
	cr_assert(rest.help);
}

Test(opts, one_dash_is_an_operand)
{
	cr_assert_eq(PARSE("-", "-f"), 0);
	cr_assert_eq(rest.first, 1);
}

Test(opts, flag_beats_environment_beats_default)
{
	setenv("TEST_MEMORY", "env", 1);
	cr_assert_eq(PARSE("-f"), 0);
	cr_assert_str_eq(got.word, "env");
	cr_assert_eq(PARSE("-m", "flag"), 0);
	cr_assert_str_eq(got.word, "flag");
	setenv("TEST_MEMORY", "", 1);
	cr_assert_eq(PARSE("-f"), 0);
	cr_assert_null(got.word);
}

Test(opts, help_is_seen_in_both_spellings)
{
	cr_assert_eq(PARSE("-f", "--help"), 0);
	cr_assert(rest.help);
	cr_assert_eq(PARSE("-h"), 0);
	cr_assert(rest.help);
}

Test(opts, unknown_option_names_the_nearest)
{
	cr_assert_eq(PARSE("--memroy=5"), -EINVAL);
	cr_assert_str_eq(err.msg, "test: --memroy: unknown option");
	cr_assert_str_eq(err.hint, "did you mean --memory?");
	cr_assert_eq(PARSE("--hlep"), -EINVAL);
	cr_assert_str_eq(err.hint, "did you mean --help?");
	cr_assert_eq(PARSE("--zzzzzzzz"), -EINVAL);
	cr_assert_null(strstr(err.hint, "did you mean"));
	cr_assert_eq(PARSE("-z"), -EINVAL);
	cr_assert_str_eq(err.msg, "test: -z: unknown option");
}

Test(opts, missing_argument_and_needless_argument_are_refused)
{
	cr_assert_eq(PARSE("--memory"), -EINVAL);
	cr_assert_eq(PARSE("-m"), -EINVAL);
	cr_assert_eq(PARSE("--flag=1"), -EINVAL);
	cr_assert_eq(PARSE("--memory="), -EINVAL);
}

Test(opts, an_argument_that_may_be_left_out_comes_behind_its_sign_alone)
{
	cr_assert_eq(PARSE("--may", "word"), 0);
	cr_assert_str_eq(got.may, "");
	cr_assert_eq(rest.first, 2);
	cr_assert_eq(PARSE("--may=a=b", "word"), 0);
	cr_assert_str_eq(got.may, "a=b");
	cr_assert_eq(rest.first, 2);
	cr_assert_eq(PARSE("--may"), 0);
	cr_assert_str_eq(got.may, "");
	cr_assert_eq(PARSE("-yf", "word"), 0);
	cr_assert_str_eq(got.may, "");
	cr_assert(got.flag);
	cr_assert_eq(PARSE("-p", "word"), 0);
	cr_assert_str_eq(got.name, "word");
	cr_assert_eq(PARSE("--may="), -EINVAL);
	cr_assert_str_eq(err.msg, "test: --may: the argument is empty");
}

Test(opts, refusal_names_option_and_argument)
{
	cr_assert_eq(PARSE("--refused", "abc"), -EINVAL);
	cr_assert_str_eq(err.msg, "test: --refused abc: never right");
}

Test(opts, very_long_words_are_only_unknown)
{
	char word[5000] = "--";

	memset(word + 2, 'a', sizeof(word) - 3);
	word[sizeof(word) - 1] = '\0';
	cr_assert_eq(PARSE(word), -EINVAL);
}

Test(opts, a_beginning_is_near)
{
	const char *const names[] = { "interactive", "env" };

	cr_assert_str_eq(opts_nearest("inter", names, 2), "interactive");
	cr_assert_str_eq(opts_nearest("envlist", names, 2), "env");
	cr_assert_null(opts_nearest("x", names, 2));
}
