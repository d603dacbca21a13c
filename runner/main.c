/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly: from the command line to an exit code; only this prints errors. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/cmd.h"
#include "runner/verdict.h"

static int dispatch(int argc, char **argv, struct err *err)
{
	const struct cmd *c;
	const char *name;

	if (argc < 2) {
		err_say(err, -EINVAL, "no command");
		err_hint(err, "mayfly run -- CMD, or `mayfly help`");
		return -EINVAL;
	}
	name = argv[1];
	if (!strcmp(name, "--version"))
		name = "version";
	else if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	c = cmd_find(name, err);
	return c ? c->run(argc - 1, argv + 1, err) : -EINVAL;
}

/*
 * What the caller left us may be odd. A standard descriptor that is closed
 * would be taken by the first file that we open; a caller's SIG_IGN for
 * SIGCHLD would reap our children; and a closed pipe is an error to handle,
 * not one to die of.
 */
static void settle(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

/* What helps against some failures wherever they come from. */
static void advise(struct err *err)
{
	if (err->hint[0])
		return;
	if (err->code == -EMFILE)
		err_hint(err, "allow more: ulimit -n 1024");
	else if (err->code == -ENFILE)
		err_hint(err, "allow more: sudo sysctl fs.file-max=1000000");
	else if (err->code == -ENOMEM)
		err_hint(err, "ask for less with -m, or allow more: ulimit -v "
			      "unlimited");
}

int main(int argc, char **argv)
{
	struct err err = { 0 };
	int r;

	settle();
	r = dispatch(argc, argv, &err);
	/* A reader that has seen enough is no error, here as elsewhere. */
	if (fflush(stdout) && r == 0)
		r = errno == EPIPE ? 128 + SIGPIPE :
				     err_set(&err, -errno, "standard output");
	if (err.msg[0])
		advise(&err);
	err_print(&err);
	return r < 0 ? EXIT_INTERNAL : r;
}
