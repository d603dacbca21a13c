/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack_liar: mayfly-unpack, once a layer has taken it over.
 *
 * In the place of the real one, which is ./kept. What ./lie names it does to
 * layers; all else the real one does. The rest of the directory is the test's:
 * other.tar, and diff, the digest that the config has for the tar.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rootfs/unpack.h"

enum { DATA = UNPACK_FIRST, INDEX };

static void read_line(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, line, size - 1);

	line[n < 0 ? 0 : n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	close(fd);
}

/* What the real one says of the layer, or of ./other.tar. */
static int ask(char **argv, int other, struct unpack_layer *l)
{
	int p[2], in, status;
	ssize_t n;

	if (pipe(p) < 0)
		return -1;
	if (fork() == 0) {
		in = other ? open("other.tar", O_RDONLY) : UNPACK_IN;
		dup2(in, UNPACK_IN);
		dup2(p[1], UNPACK_RESULT);
		execv("./kept", argv);
		_exit(1);
	}
	close(p[1]);
	n = read(p[0], l, sizeof(*l));
	close(p[0]);
	return wait(&status) < 0 || n != sizeof(*l) ? -1 : 0;
}

/* The word of ./diff, whatever the tar was. */
static void claim(struct unpack_layer *l)
{
	char hex[80];
	unsigned byte;

	read_line("diff", hex, sizeof(hex));
	for (int i = 0; i < 32 && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
		l->diff_id[i] = (uint8_t)byte;
}

int main(int argc, char **argv)
{
	struct unpack_layer l = { 0 };
	size_t len = sizeof(l);
	char lie[32], rest[4096];
	int r = 0;

	if (argc < 2 || strcmp(argv[1], "layer") != 0) {
		execv("./kept", argv);
		return 1;
	}
	read_line("lie", lie, sizeof(lie));
	if (ask(argv, !strcmp(lie, "other"), &l) < 0)
		return 1;
	if (!strcmp(lie, "other"))
		claim(&l);
	else if (!strcmp(lie, "more"))
		l.data_size += 4096;
	else if (!strcmp(lie, "odd"))
		r = ftruncate(DATA, (off_t)++l.data_size);
	else if (!strcmp(lie, "entries"))
		l.entries = UINT64_MAX;
	else if (!strcmp(lie, "index"))
		r = ftruncate(INDEX, 40);
	else if (!strcmp(lie, "names"))
		r = ftruncate(INDEX, (off_t)3 << 30);
	else if (!strcmp(lie, "short"))
		len--;
	else if (!strcmp(lie, "words"))
		for (int i = 0; i < 100000; i++)
			r |= write(UNPACK_WORDS, "\033[1m", 4) != 4;
	while (read(UNPACK_IN, rest, sizeof(rest)) > 0)
		;
	r |= write(UNPACK_RESULT, &l, len) != (ssize_t)len;
	return r != 0 || !strcmp(lie, "words");
}
