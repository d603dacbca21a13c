/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as a program of the guest: what a session with WIRE_EXEC_AGENT
 * runs. A process like any other, of the user that was asked for.
 */
#include "rootfs/agent/agent.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "rootfs/tree.h"

/* One line on standard error: "path: what: strerror(error)". */
static void say(void *opaque, const char *path, const char *what, int error)
{
	char line[PATH_MAX + 256] = "";
	const size_t cap = sizeof(line) - 1; /* the newline's */
	char *p;

	(void)opaque;
	say_add(line, cap, path);
	say_add(line, cap, ": ");
	say_add(line, cap, what);
	if (error) {
		say_add(line, cap, ": ");
		say_add(line, cap, strerror(error));
	}
	/* A name may hold a newline; a line may not. */
	for (p = line; *p; p++) {
		if (*p == '\n')
			*p = '?';
	}
	*p++ = '\n';
	if (write(STDERR_FILENO, line, (size_t)(p - line)) < 0)
		(void)0; /* nobody listens */
}

static const struct tree_ops ops = { .say = say };

static int tree_in(const char *name, const char *path)
{
	struct tree_place p;

	if (tree_place(&p, path, name, &ops))
		return 1;
	return tree_unpack(STDIN_FILENO, &p, TREE_EXACT_MODES, &ops) != 0;
}

int tool_main(int argc, char **argv)
{
	/* A lost host ends the stream: there may be something to remove. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (argc == 2 && !strcmp(argv[0], WIRE_TREE_OUT))
		return tree_pack(STDOUT_FILENO, argv[1], &ops) != 0;
	if (argc == 3 && !strcmp(argv[0], WIRE_TREE_IN))
		return tree_in(argv[1], argv[2]);
	return 2; /* this is no program for a host */
}
