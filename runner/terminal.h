/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal: the user's terminal, raw while a guest has it.
 *
 * terminal_raw() remembers the settings, terminal_restore() puts them back;
 * both do nothing where the descriptor is not a terminal, or is one whose
 * foreground is another's: a shell that has taken its terminal back does not
 * want it changed. The owner restores on every way out, so it takes signals by
 * signalfd while the terminal is raw, the one that stops it as well:
 * terminal_pause() then, and terminal_resume() when it goes on.
 */
#ifndef MAYFLY_TERMINAL_H
#define MAYFLY_TERMINAL_H

#include <stdint.h>
#include <termios.h>

#define TERMINAL_TYPE_MAX 64

struct terminal {
	int fd; /* borrowed; -1: nothing to restore */
	struct termios before;
};

int terminal_raw(struct terminal *t, int fd);
void terminal_restore(struct terminal *t);

void terminal_pause(const struct terminal *t);
void terminal_resume(const struct terminal *t);

/* 0, or -ENOTTY; a terminal may say 0 by 0. */
int terminal_size(int fd, uint16_t *rows, uint16_t *cols);

/* The caller's TERM, or NULL where it is none that could be one: a guest's
 * programs make file names of it. */
const char *terminal_type(void);

#endif
