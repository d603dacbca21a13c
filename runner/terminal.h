/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal: the user's terminal, raw while a guest has it.
 *
 * terminal_raw() remembers the settings, terminal_restore() puts them back;
 * both do nothing where the descriptor is not a terminal. The owner restores
 * on every way out, so it takes signals by signalfd while the terminal is
 * raw.
 */
#ifndef MAYFLY_TERMINAL_H
#define MAYFLY_TERMINAL_H

#include <termios.h>

struct terminal {
	int fd; /* borrowed; -1: nothing to restore */
	struct termios before;
};

int terminal_raw(struct terminal *t, int fd);
void terminal_restore(struct terminal *t);

#endif
