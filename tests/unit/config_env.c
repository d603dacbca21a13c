/* SPDX-License-Identifier: Apache-2.0 */
/* Variables from files, by Docker's rules, and what goes before what. */
#include "runner/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"

static struct config c;
static struct err err;

static void fresh(void)
{
	config_init(&c);
	err = (struct err){ 0 };
	setenv("TEST_OWN", "mine", 1);
	unsetenv("TEST_UNSET");
}

static void clear(void)
{
	config_free(&c);
}

TestSuite(config_env, .init = fresh, .fini = clear);

/* --env-file with these bytes. */
static void add_file(const void *bytes, size_t n)
{
	static char path[4][40];
	static int used;
	char *p = path[used++];
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	snprintf(p, sizeof(path[0]), "/proc/self/fd/%d", fd);
	cr_assert_eq(config_add_env_file(&c.env_files, p, &err), 0);
}

static void add_text(const char *text)
{
	add_file(text, strlen(text));
}

static void expect_env(const char *const *want)
{
	size_t n = 0;

	cr_assert_eq(config_load_env(&c, &err), 0, "%s", err.msg);
	for (; want[n]; n++) {
		cr_assert_lt(n, c.env.n, "no %s", want[n]);
		cr_assert_str_eq(c.env.v[n], want[n]);
	}
	cr_assert_eq(c.env.n, n);
}

#define EXPECT_ENV(...) expect_env((const char *const[]){ __VA_ARGS__, NULL })

Test(config_env, lines_are_names_and_values)
{
	add_text("# comment\n\nA=1\n  B=two words # kept \n#C=3\nD=\n"
		 "E=\"quoted\"\nF=x=y\nTEST_OWN\nTEST_UNSET\nG=last");
	EXPECT_ENV("A=1", "B=two words # kept ", "D=", "E=\"quoted\"", "F=x=y",
		   "TEST_OWN=mine", "G=last");
}

Test(config_env, line_ends_and_marks_of_other_systems_do_not_count)
{
	add_text("\xef\xbb\xbf"
		 "A=1\r\nB=2\r\n\r\n");
	EXPECT_ENV("A=1", "B=2");
}

Test(config_env, an_empty_file_sets_nothing)
{
	add_text("");
	cr_assert_eq(config_load_env(&c, &err), 0);
	cr_assert_eq(c.env.n, 0);
}

Test(config_env, options_go_before_files_and_later_before_earlier)
{
	cr_assert_eq(config_add_env(&c.env, "B=option", &err), 0);
	cr_assert_eq(config_add_env(&c.env, "C=old", &err), 0);
	cr_assert_eq(config_add_env(&c.env, "C=new", &err), 0);
	add_text("A=1\nB=1\nAB=1\n");
	add_text("A=2\n");
	EXPECT_ENV("A=2", "B=option", "AB=1", "C=new");
}

static void expect_refusal(const char *line, const char *why)
{
	cr_assert_lt(config_load_env(&c, &err), 0);
	cr_assert(strstr(err.msg, line), "%s", err.msg);
	cr_assert(strstr(err.msg, why), "%s", err.msg);
	cr_assert(strstr(err.msg, "/proc/self/fd/"), "%s", err.msg);
}

Test(config_env, a_line_without_a_name_is_refused)
{
	add_text("A=1\n\n=x\n");
	expect_refusal("line 3", "no name");
}

Test(config_env, a_name_with_a_blank_is_refused)
{
	add_text("A B=1\n");
	expect_refusal("line 1", "blank");
}

Test(config_env, a_nul_byte_is_refused)
{
	add_file("A=1\nB=\0x\n", 9);
	expect_refusal("line 2", "NUL");
}

Test(config_env, too_many_variables_are_refused)
{
	static char text[40000];
	size_t n = 0;

	for (int i = 0; i < 1025; i++)
		n += (size_t)sprintf(text + n, "V%d=\n", i);
	add_text(text);
	expect_refusal("line 1025", "1024");
}

Test(config_env, a_huge_file_is_refused)
{
	cr_assert_eq(config_add_env_file(&c.env_files, "/dev/zero", &err), 0);
	cr_assert_eq(config_load_env(&c, &err), -EFBIG);
	cr_assert(strstr(err.msg, "/dev/zero: more than"), "%s", err.msg);
}

Test(config_env, a_missing_file_is_named)
{
	cr_assert_eq(config_add_env_file(&c.env_files, "/no/such", &err), 0);
	cr_assert_eq(config_load_env(&c, &err), -ENOENT);
	cr_assert(strstr(err.msg, "--env-file /no/such"), "%s", err.msg);
}
