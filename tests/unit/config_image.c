/* SPDX-License-Identifier: Apache-2.0 */
/* What an image says of a command, and what options make of it. */
#include "runner/config_image.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/signo.h"

#define LIST(...) ((char *[]){ __VA_ARGS__, NULL })
#define NONE	  ((char *[]){ NULL })

static char *nothing[1];
static struct config config;
static struct config_image ci;
static struct err err;

static void set_up(void)
{
	config_init(&config);
	ci = (struct config_image){ .name = "img" };
	ci.img.env = ci.img.entrypoint = ci.img.cmd = nothing;
}

static void tear_down(void)
{
	free(ci.argv);
	config_free(&config);
}

TestSuite(config_image, .init = set_up, .fini = tear_down);

static int apply(char **args)
{
	err = (struct err){ 0 };
	free(ci.argv);
	ci.argv = NULL;
	return config_image_apply(&config, &ci, args, &err);
}

static void expect_words(char *const *got, char **want)
{
	size_t i;

	for (i = 0; want[i] && got[i]; i++)
		cr_expect_str_eq(got[i], want[i]);
	cr_expect(!want[i] && !got[i], "%s and not %s at %zu",
		  got[i] ? got[i] : "the end",
		  want[i] ? want[i] : "the end", i);
}

static void expect_command(char **args, char **want)
{
	cr_assert_eq(apply(args), 0, "%s", err.msg);
	expect_words(config.argv, want);
}

Test(config_image, entry_point_and_words_are_the_command)
{
	char **e = LIST("/entry", "-x"), **c = LIST("serve", "80");
	char **args = LIST("sh", "-c", "true");

	ci.img.entrypoint = e;
	ci.img.cmd = c;
	expect_command(NONE, LIST("/entry", "-x", "serve", "80"));
	expect_command(args, LIST("/entry", "-x", "sh", "-c", "true"));
	ci.img.entrypoint = NONE;
	expect_command(NONE, c);
	expect_command(args, args);
	ci.img.cmd = NONE;
	ci.img.entrypoint = e;
	expect_command(NONE, e);
}

Test(config_image, an_entry_point_of_the_users_forgets_the_images_words)
{
	ci.img.entrypoint = LIST("/entry");
	ci.img.cmd = LIST("serve");
	config.entrypoint = "sh";
	expect_command(NONE, LIST("sh"));
	expect_command(LIST("-l"), LIST("sh", "-l"));
}

Test(config_image, without_a_command_it_says_what_is_missing)
{
	cr_assert_eq(apply(NONE), -EINVAL);
	cr_expect_str_eq(err.msg, "image img: it says no command to run");
	cr_expect(strstr(err.hint, "mayfly run img CMD"));
}

Test(config_image, users_and_directories_of_options_go_first)
{
	char user[] = "app:grp", dir[] = "/srv";

	ci.img.cmd = LIST("x");
	ci.img.user = user;
	ci.img.workdir = dir;
	cr_assert_eq(apply(NONE), 0);
	cr_expect_str_eq(config.user, "app:grp");
	cr_expect_str_eq(config.workdir, "/srv");
	config.user = "0";
	config.workdir = "/";
	cr_assert_eq(apply(NONE), 0);
	cr_expect_str_eq(config.user, "0");
	cr_expect_str_eq(config.workdir, "/");
}

Test(config_image, an_image_that_names_neither_leaves_both)
{
	char empty[] = "";

	ci.img.cmd = LIST("x");
	cr_assert_eq(apply(NONE), 0);
	cr_expect_null(config.user);
	cr_expect_null(config.workdir);
	ci.img.user = ci.img.workdir = empty;
	cr_assert_eq(apply(NONE), 0);
	cr_expect_null(config.user);
	cr_expect_null(config.workdir);
}

Test(config_image, variables_of_options_go_before_those_of_the_image)
{
	static const char *const want[] = { "PATH=/bin", "A=mine", "C=3",
					    "D=4" };

	ci.img.cmd = LIST("x");
	ci.img.env = LIST("PATH=/bin", "A=1", "C=2", "=no", "none", "C=3");
	cr_assert_eq(config_add_env(&config.env, "A=mine", NULL), 0);
	cr_assert_eq(config_add_env(&config.env, "D=4", NULL), 0);
	cr_assert_eq(apply(NONE), 0);
	cr_assert_eq(config.env.n, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		cr_expect_str_eq(config.env.v[i], want[i]);
}

Test(config_image, as_many_variables_as_both_may_have)
{
	static char text[2048][8], *env[1025];

	for (int i = 0; i < 2048; i++)
		snprintf(text[i], sizeof(text[i]), "V%d=", i);
	for (int i = 0; i < 1024; i++) {
		env[i] = text[i];
		cr_assert_eq(config_add_env(&config.env, text[1024 + i],
					    NULL), 0);
	}
	ci.img.cmd = LIST("x");
	ci.img.env = env;
	cr_assert_eq(apply(NONE), 0, "%s", err.msg);
	cr_expect_eq(config.env.n, 2048);
}

Test(config_image, stop_signals)
{
	static const struct {
		char text[12];
		int n;
	} t[] = {
		{ "SIGTERM", 15 }, { "quit", 3 }, { "9", 9 },
		{ "SIGRTMIN+3", 37 }, { "RTMAX", 64 }, { "64", 64 },
		/* None, and so what is sent to those that have none. */
		{ "SIGNOT", 0 }, { "65", 0 }, { "0", 0 }, { "-1", 0 },
		{ "", 0 },
	};

	ci.img.cmd = LIST("x");
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		ci.img.stop_signal = (char *)t[i].text;
		cr_assert_eq(apply(NONE), 0);
		cr_expect_eq(config.stop_signal, t[i].n, "%s: %d", t[i].text,
			     config.stop_signal);
	}
}

Test(config_image, without_an_image_an_entry_point_is_in_front)
{
	char **argv;

	config.entrypoint = "sh";
	cr_assert_eq(config_command(&config, NULL, LIST("-c", "x"), &argv,
				    NULL), 0);
	expect_words(argv, LIST("sh", "-c", "x"));
	free(argv);
	config.entrypoint = NULL;
	cr_assert_eq(config_command(&config, NULL, NONE, &argv, NULL), 0);
	cr_expect_null(*argv);
	free(argv);
}
