/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest writes to its serial port. */
#include "runner/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

#define DRAIN_ROUNDS 64 /* times CONSOLE_CHUNK is more than a pipe holds */

/* Who dies says why: the agent first, and then the kernel, without an init. */
static const char panic_words[] = "Kernel panic - not syncing: ";
static const char agent_words[] = "mayfly-agent: ";

static void remember(struct console *c, const char *p, size_t n)
{
	if (n > CONSOLE_RING) {
		c->end += n - CONSOLE_RING;
		p += n - CONSOLE_RING;
		n = CONSOLE_RING;
	}
	while (n) {
		size_t at = c->end % CONSOLE_RING;
		size_t k = MIN(n, CONSOLE_RING - at);

		memcpy(c->ring + at, p, k);
		c->end += k;
		p += k;
		n -= k;
	}
}

/* What a pipe or a terminal does not take at once is lost: the guest must not
 * make us wait for its reader, nor fill a disk. */
static void keep(struct console *c, const char *p, size_t n)
{
	while (c->file >= 0 && n) {
		ssize_t k = write(c->file, p, MIN(n, c->file_room));

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN)
			return;
		if (k < 0) {
			log_info("console file: %s", strerror(errno));
			close_fd(&c->file);
			return;
		}
		p += k;
		n -= (size_t)k;
		c->file_room -= (size_t)k;
		if (!c->file_room) {
			dprintf(c->file, "\n[mayfly keeps no more than %u MiB]\n",
				CONSOLE_FILE_MAX >> 20);
			close_fd(&c->file);
		}
	}
}

/* 1 while there may be more. */
static int take(struct console *c)
{
	char buf[CONSOLE_CHUNK];
	ssize_t n;

	if (c->fd < 0)
		return 0;
	n = read(c->fd, buf, sizeof(buf));
	if (n < 0)
		return errno == EINTR;
	if (n == 0) {
		ev_del(&c->ev);
		close_fd(&c->fd);
		if (c->saw)
			c->saw(c->opaque, buf, 0);
		return 0;
	}
	remember(c, buf, (size_t)n);
	if (c->saw)
		c->saw(c->opaque, buf, (size_t)n);
	keep(c, buf, (size_t)n);
	return 1;
}

static void on_readable(struct ev *ev, uint32_t events)
{
	(void)events;
	take(container_of(ev, struct console, ev));
}

int console_init(struct console *c, struct ev_loop *loop, const char *path,
		 int *writer, struct err *err)
{
	struct stat st;
	int p[2], r;

	*c = (struct console){ .fd = -1, .file = -1 };
	if (path) {
		/* O_NONBLOCK: a FIFO that nobody reads is an error, no wait. */
		c->file = open(path,
			       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
				       O_NOCTTY | O_NONBLOCK,
			       0666);
		if (c->file < 0)
			return err_set(err, -errno, "console: open %s", path);
		c->file_room = fstat(c->file, &st) == 0 && S_ISREG(st.st_mode) ?
				       CONSOLE_FILE_MAX :
				       SIZE_MAX;
	}
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_set(err, -errno, "console pipe");
	c->fd = p[0];
	*writer = p[1];
	r = io_set_nonblock(c->fd, 1);
	c->ev = (struct ev){ .fd = c->fd, .fn = on_readable };
	if (r == 0)
		r = ev_set(loop, &c->ev, EPOLLIN);
	return r < 0 ? err_set(err, r, "console pipe") : 0;
}

void console_free(struct console *c)
{
	ev_del(&c->ev);
	close_fd(&c->fd);
	close_fd(&c->file);
}

void console_drain(struct console *c)
{
	for (int i = 0; i < DRAIN_ROUNDS && take(c); i++)
		;
}

static char at(const struct console *c, size_t pos)
{
	return c->ring[pos % CONSOLE_RING];
}

static size_t oldest(const struct console *c)
{
	return c->end > CONSOLE_RING ? c->end - CONSOLE_RING : 0;
}

/* Where the last line that holds @words starts, or end. */
static size_t find_words(const struct console *c, const char *words)
{
	const size_t n = strlen(words);
	size_t line = oldest(c), found = c->end;

	for (size_t p = line; p + n <= c->end; p++) {
		size_t k = 0;

		while (k < n && at(c, p + k) == words[k])
			k++;
		if (k == n)
			found = line;
		if (at(c, p) == '\n')
			line = p + 1;
	}
	return found;
}

/* The start of the last @lines lines that hold something. */
static size_t find_last(const struct console *c, int lines)
{
	size_t p = c->end;

	while (p > oldest(c) && (at(c, p - 1) == '\n' || at(c, p - 1) == '\r'))
		p--;
	for (; p > oldest(c); p--)
		if (at(c, p - 1) == '\n' && --lines == 0)
			break;
	return p;
}

/* One line from @p, printable; returns where the next one starts. */
static size_t copy_line(const struct console *c, size_t p, char *line)
{
	size_t n = 0;

	for (; p < c->end && at(c, p) != '\n'; p++) {
		char ch = at(c, p);

		if (ch == '\r' || n == CONSOLE_LINE_MAX - 1)
			continue;
		if (ch == '\t')
			ch = ' ';
		line[n++] = ch >= ' ' && ch <= '~' ? ch : '?';
	}
	line[n] = '\0';
	return MIN(p + 1, c->end);
}

int console_line(const struct console *c, size_t *pos,
		 char line[CONSOLE_LINE_MAX])
{
	size_t p = MIN(find_words(c, agent_words), find_words(c, panic_words));
	size_t n = 0, most = CONSOLE_PANIC;

	if (p == c->end) {
		p = find_last(c, CONSOLE_LINES);
		most = CONSOLE_LINES;
	}
	while (p < c->end && n <= *pos) {
		p = copy_line(c, p, line);
		n++;
	}
	if (n <= *pos || *pos >= most)
		return 0;
	(*pos)++;
	return 1;
}

/* What stands after @words in the line at @p. */
static int copy_after(const struct console *c, size_t p, const char *words,
		      char *line)
{
	char *found;

	if (p == c->end)
		return 0;
	copy_line(c, p, line);
	found = strstr(line, words);
	if (!found)
		return 0;
	found += strlen(words);
	memmove(line, found, strlen(found) + 1);
	return 1;
}

int console_panic(const struct console *c, char line[CONSOLE_LINE_MAX])
{
	size_t panic = find_words(c, panic_words);
	size_t agent = find_words(c, agent_words);

	if (panic == c->end)
		return 0;
	return (agent < panic && copy_after(c, agent, agent_words, line)) ||
	       copy_after(c, panic, panic_words, line);
}
