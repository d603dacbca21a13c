/* SPDX-License-Identifier: Apache-2.0 */
/* liar NAME [NUMBER...]: find the lie, and tell it. */
#include "tests/system/liar/liar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void give_up(const char *what)
{
	fprintf(stderr, "liar: %s: %s\n", what, strerror(errno));
	exit(2);
}

void stay(void)
{
	for (;;)
		pause();
}

int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	static const struct lie *const all[] = { agent_lies, frame_lies,
						 machine_lies, serve_lies };
	uint64_t arg[LIAR_ARGS] = { 0 };

	for (int i = 2; i < argc && i - 2 < LIAR_ARGS; i++)
		arg[i - 2] = strtoull(argv[i], NULL, 0);
	for (size_t i = 0; argc > 1 && i < sizeof(all) / sizeof(*all); i++)
		for (const struct lie *l = all[i]; l->name; l++)
			if (!strcmp(l->name, argv[1]))
				return l->fn(arg);
	fprintf(stderr, "liar: nothing of that name\n");
	return 2;
}
