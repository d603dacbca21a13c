/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a guest's console, and what is shown. */
#include "runner/console.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"

static struct ev_loop loop;
static struct console c;
static int writer;

static void open_console(void)
{
	cr_assert_eq(ev_loop_init(&loop), 0);
	cr_assert_eq(console_init(&c, &loop, NULL, &writer, NULL), 0);
}

static void close_console(void)
{
	console_free(&c);
	ev_loop_free(&loop);
	close(writer);
}

TestSuite(console, .init = open_console, .fini = close_console);

static void say(const char *s)
{
	cr_assert_eq(write(writer, s, strlen(s)), (ssize_t)strlen(s));
	console_drain(&c);
}

static int count(char *last)
{
	char line[CONSOLE_LINE_MAX];
	size_t pos = 0;
	int n = 0;

	while (console_line(&c, &pos, line)) {
		n++;
		strcpy(last, line);
	}
	return n;
}

Test(console, nothing_said_shows_nothing)
{
	char last[CONSOLE_LINE_MAX] = "";

	cr_assert_eq(count(last), 0);
	cr_assert_eq(console_panic(&c, last), 0);
}

Test(console, last_lines_are_shown)
{
	char last[CONSOLE_LINE_MAX], text[32];

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "line %d\r\n", i);
		say(text);
	}
	cr_assert_eq(count(last), CONSOLE_LINES);
	cr_assert_str_eq(last, "line 99");
}

Test(console, a_line_without_its_end_counts)
{
	char last[CONSOLE_LINE_MAX];

	say("one\ntwo");
	cr_assert_eq(count(last), 2);
	cr_assert_str_eq(last, "two");
}

Test(console, panic_shows_from_its_first_line_and_gives_its_words)
{
	char last[CONSOLE_LINE_MAX], words[CONSOLE_LINE_MAX];
	char line[CONSOLE_LINE_MAX];
	size_t pos = 0;

	say("boring\n[1.5] Kernel panic - not syncing: it broke\n");
	say("Call Trace:\n a\n b\n");
	cr_assert_eq(count(last), 4);
	cr_assert(console_line(&c, &pos, line));
	cr_assert_str_eq(line, "[1.5] Kernel panic - not syncing: it broke");
	cr_assert(console_panic(&c, words));
	cr_assert_str_eq(words, "it broke");
}

Test(console, the_agents_words_before_a_panic_are_the_reason)
{
	char last[CONSOLE_LINE_MAX], words[CONSOLE_LINE_MAX];

	say("boring\n[1.4] mayfly-agent: no disk\n");
	cr_assert_not(console_panic(&c, words));
	say("[1.5] Kernel panic - not syncing: Attempted to kill init!\n");
	cr_assert_eq(count(last), 2);
	cr_assert(console_panic(&c, words));
	cr_assert_str_eq(words, "no disk");
}

Test(console, terminal_controls_do_not_get_through)
{
	char last[CONSOLE_LINE_MAX];

	say("a\033[2Jb\tc\007\377\n");
	cr_assert_eq(count(last), 1);
	cr_assert_str_eq(last, "a?[2Jb c??");
}

Test(console, only_the_end_of_much_is_kept)
{
	char last[CONSOLE_LINE_MAX], text[1001];

	memset(text, 'x', 999);
	text[999] = '\n';
	text[1000] = '\0';
	for (int i = 0; i < 100; i++)
		say(text);
	say("end\n");
	cr_assert_eq(count(last), CONSOLE_LINES);
	cr_assert_str_eq(last, "end");
}

Test(console, a_file_gets_every_byte)
{
	char path[] = "/tmp/test-console-XXXXXX", buf[16] = "";
	struct console d;
	int fd = mkstemp(path), w;

	cr_assert_eq(console_init(&d, &loop, path, &w, NULL), 0);
	cr_assert_eq(write(w, "a\0b", 3), 3);
	console_drain(&d);
	cr_assert_eq(pread(fd, buf, sizeof(buf), 0), 3);
	cr_assert_eq(memcmp(buf, "a\0b", 3), 0);
	console_free(&d);
	close(w);
	close(fd);
	unlink(path);
}

Test(console, a_file_that_cannot_be_written_is_named)
{
	struct err err = { 0 };
	struct console d;
	int w = -1;

	cr_assert_lt(console_init(&d, &loop, "/nowhere/x", &w, &err), 0);
	cr_assert(strstr(err.msg, "/nowhere/x"));
	console_free(&d);
}

/* The console with a file at @path in place of the suite's. */
static void open_file(const char *path)
{
	close_console();
	cr_assert_eq(ev_loop_init(&loop), 0);
	cr_assert_eq(console_init(&c, &loop, path, &writer, NULL), 0);
}

Test(console, file_is_cut_before_it_fills_a_disk)
{
	static char block[32768];
	char path[] = "/tmp/mayfly-console.XXXXXX";
	int fd = mkstemp(path);
	struct stat st;

	cr_assert_geq(fd, 0);
	open_file(path);
	memset(block, 'x', sizeof(block));
	for (size_t n = 0; n < CONSOLE_FILE_MAX + (1u << 20); n += sizeof(block)) {
		cr_assert_eq(write(writer, block, sizeof(block)),
			     (ssize_t)sizeof(block));
		console_drain(&c);
	}
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_gt(st.st_size, (off_t)CONSOLE_FILE_MAX);
	cr_assert_lt(st.st_size, (off_t)CONSOLE_FILE_MAX + 100);
	cr_assert_eq(c.file, -1);
	unlink(path);
	close(fd);
}

Test(console, pipe_that_nobody_reads_holds_nothing_up, .timeout = 60)
{
	static char block[32768];
	char dir[] = "/tmp/mayfly-console.XXXXXX", path[64];
	ssize_t n, got = 0;
	int fd;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	cr_assert_eq(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	cr_assert_geq(fd, 0);
	open_file(path);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(write(writer, block, sizeof(block)),
			     (ssize_t)sizeof(block));
		console_drain(&c);
	}
	while ((n = read(fd, block, sizeof(block))) > 0)
		got += n;
	cr_assert_eq(errno, EAGAIN);
	cr_assert_gt(got, 0);
	/* It goes on with what comes once there is room. */
	say("again");
	cr_assert_eq(read(fd, block, sizeof(block)), 5);
	close(fd);
	unlink(path);
	rmdir(dir);
}
