/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console: what the guest writes to its serial port.
 *
 * The VMM holds the writing end of a pipe; this is the reading end. The last
 * bytes stay in a ring, for a report when the guest dies, and where the user
 * asked for a file, the first CONSOLE_FILE_MAX bytes go there. The bytes are
 * the guest's: nothing of them reaches a terminal but through console_line(),
 * which leaves printable ASCII only.
 */
#ifndef MAYFLY_CONSOLE_H
#define MAYFLY_CONSOLE_H

#include <stddef.h>

#include "runner/base/ev.h"

struct err;

#define CONSOLE_RING	 (16u << 10)
#define CONSOLE_CHUNK	 4096
#define CONSOLE_FILE_MAX (64u << 20)
#define CONSOLE_LINE_MAX 200
#define CONSOLE_LINES	 10 /* shown where nothing says what matters */
#define CONSOLE_PANIC	 24 /* shown from a panic's first line on */

struct console {
	struct ev ev;
	int fd;	    /* owned, -1 once the writer is gone */
	int file;   /* owned, or -1 */
	size_t file_room; /* bytes that may still go there */
	size_t end; /* bytes seen: the ring ends there */
	char ring[CONSOLE_RING];
	/* Told of new bytes, CONSOLE_CHUNK at the most, and of the end by
	 * n = 0; or NULL. mayfly boot passes them on. */
	void (*saw)(void *opaque, const char *bytes, size_t n);
	void *opaque;
};

/* *@writer is the caller's, to hand to the VMM. @path may be NULL. */
int console_init(struct console *c, struct ev_loop *loop, const char *path,
		 int *writer, struct err *err);
void console_free(struct console *c);

/* Take what is in the pipe now; for after the VMM's end. */
void console_drain(struct console *c);

/*
 * Walk the lines worth showing: from the agent's last words or the kernel's
 * panic on, or the last few. *@pos starts at 0; returns 0 at the end.
 */
int console_line(const struct console *c, size_t *pos,
		 char line[CONSOLE_LINE_MAX]);

/* Why the kernel panicked: the agent's words or its own. 0: it did not. */
int console_panic(const struct console *c, char line[CONSOLE_LINE_MAX]);

#endif
