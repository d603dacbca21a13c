/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest writes to its console, and what of it is shown: printable
 * lines, a few of them, whatever it claims of panics. The input is said once,
 * and again and again after a byte that says how often.
 */
#include "runner/console.h"

#include <unistd.h>

#include "tests/fuzz/bytes.h"

static void printable(const char *line)
{
	must(memchr(line, '\0', CONSOLE_LINE_MAX));
	for (; *line; line++)
		must(*line >= ' ' && *line <= '~');
}

static void shown(const struct console *c)
{
	char line[CONSOLE_LINE_MAX];
	size_t pos = 0;
	unsigned n = 0;

	while (console_line(c, &pos, line)) {
		printable(line);
		must(++n <= CONSOLE_PANIC);
	}
	if (console_panic(c, line))
		printable(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	unsigned times = take8(&b) % 8 + 1u;
	static struct console c;
	struct ev_loop loop;
	int writer;

	must(ev_loop_init(&loop) == 0);
	must(console_init(&c, &loop, NULL, &writer, NULL) == 0);
	while (b.n && times--) {
		must(write(writer, b.p, b.n) == (ssize_t)b.n);
		console_drain(&c);
	}
	shown(&c);
	close(writer);
	console_drain(&c);
	console_free(&c);
	ev_loop_free(&loop);
	return 0;
}
