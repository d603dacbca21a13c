/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly: the table of subcommands, and the only place that prints errors. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/cmd.h"
#include "runner/opts.h"
#include "runner/verdict.h"

static int cmd_version(int argc, char **argv, struct err *err);
static int cmd_help(int argc, char **argv, struct err *err);

static const struct cmd commands[] = {
	{ "run", "run a command in a microVM of its own", cmd_run,
	  &cmd_run_table },
	{ "boot", "boot a kernel with its console on the terminal", cmd_boot,
	  &cmd_boot_table },
	{ "doctor", "say what works on this host, and what is missing",
	  cmd_doctor, &cmd_doctor_table },
	{ "version", "print the version", cmd_version, NULL },
	{ "help", "print this, or the options of a command", cmd_help, NULL },
};

static const struct cmd *find_command(const char *name, struct err *err)
{
	const char *names[ARRAY_SIZE(commands)], *near;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
		names[i] = commands[i].name;
	}
	err_say(err, -EINVAL, "%s: unknown command", name);
	near = opts_nearest(name, names, ARRAY_SIZE(names));
	if (near)
		err_hint(err, "did you mean mayfly %s?", near);
	else
		err_hint(err, "`mayfly help` lists the commands");
	return NULL;
}

static int cmd_version(int argc, char **argv, struct err *err)
{
	(void)argv;
	if (argc > 1)
		return err_say(err, -EINVAL, "version: takes no argument");
	printf("mayfly %s\n", MAYFLY_VERSION);
	return 0;
}

static void usage(void)
{
	printf("usage: mayfly COMMAND [OPTIONS] ...\n\n"
	       "Run a command in a one-shot microVM: boot, run, report, "
	       "vanish.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].about);
	printf("\n`mayfly help COMMAND` lists the options.\n");
}

static int cmd_help(int argc, char **argv, struct err *err)
{
	const struct cmd *c;

	if (argc < 2) {
		usage();
		return 0;
	}
	c = find_command(argv[1], err);
	if (!c)
		return -EINVAL;
	if (c->table)
		return opts_help(c->table);
	printf("usage: mayfly %s\n\n%s\n", c->name, c->about);
	return 0;
}

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
	c = find_command(name, err);
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
}

int main(int argc, char **argv)
{
	struct err err = { 0 };
	int r;

	settle();
	r = dispatch(argc, argv, &err);
	if (fflush(stdout) && r == 0)
		r = err_set(&err, -errno, "standard output");
	if (err.msg[0])
		fprintf(stderr, "mayfly: %s\n", err.msg);
	if (err.msg[0] && err.hint[0])
		fprintf(stderr, "hint: %s\n", err.hint);
	return r < 0 ? EXIT_INTERNAL : r;
}
