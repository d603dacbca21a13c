/* SPDX-License-Identifier: Apache-2.0 */
/* The table of subcommands, and what only needs the table. */
#include "runner/cmd.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/opts.h"

#define NAMES_MAX 48

struct version {
	int format;
};

static const struct opt version_options[] = {
	{ "format", 0, "table|json", NULL, "how to print it", opt_format,
	  offsetof(struct version, format) },
};

static const struct opt_table version_table = {
	.command = "version",
	.usage = "[OPTIONS]",
	.about = "Print the version.",
	.opt = version_options,
	.nopts = ARRAY_SIZE(version_options),
};

static const struct opt_table help_table = {
	.command = "help",
	.usage = "[COMMAND [SUBCOMMAND]]",
	.about = "List the commands, or say what one does and lists its "
		 "options.",
};

static int cmd_version(int argc, char **argv, struct err *err);
static int cmd_help(int argc, char **argv, struct err *err);
static int cmd_image(int argc, char **argv, struct err *err);
static int cmd_net(int argc, char **argv, struct err *err);

static const struct cmd image_commands[] = {
	{ "import", "take an image from files", cmd_image_import,
	  &cmd_image_import_table },
	{ "ls", "list images", cmd_image_ls, &cmd_image_ls_table },
	{ "inspect", "print all that is known of images as JSON",
	  cmd_image_inspect, &cmd_image_inspect_table },
	{ "rm", "remove images, or names of them", cmd_image_rm,
	  &cmd_image_rm_table },
	{ "prune", "remove what no name leads to", cmd_image_prune,
	  &cmd_image_prune_table },
};

static const struct cmd net_commands[] = {
	{ "ls", "list the runs that have a network", cmd_net_ls,
	  &cmd_net_ls_table },
	{ "prune", "remove what networks have left on the host", cmd_net_prune,
	  &cmd_net_prune_table },
};

/* A row without a name opens a group. */
const struct cmd commands[] = {
	{ .about = "Run" },
	{ "run", "run a command in a microVM of its own", cmd_run,
	  &cmd_run_table },
	{ "exec", "run one more command in a microVM that runs", cmd_exec,
	  &cmd_exec_table },
	{ "cp", "copy files into a microVM that runs, or out of it", cmd_cp,
	  &cmd_cp_table },
	{ "boot", "boot a kernel with its console on the terminal", cmd_boot,
	  &cmd_boot_table },
	{ .about = "Images" },
	{ "pull", "fetch an image from a registry", cmd_pull,
	  &cmd_pull_table },
	{ "image", "import, list and remove images", cmd_image,
	  &cmd_image_table },
	{ .about = "Runs that are there" },
	{ "ps", "list runs", cmd_ps, &cmd_ps_table },
	{ "logs", "print what a detached command has written", cmd_logs,
	  &cmd_logs_table },
	{ "wait", "wait for runs to end, and print their exit codes", cmd_wait,
	  &cmd_wait_table },
	{ "stop", "ask commands to end, and kill those that do not", cmd_stop,
	  &cmd_stop_table },
	{ "kill", "send a signal to commands, or kill their VMs", cmd_kill,
	  &cmd_kill_table },
	{ "inspect", "print all that is known of runs as JSON", cmd_inspect,
	  &cmd_inspect_table },
	{ "rm", "remove runs that are over", cmd_rm, &cmd_rm_table },
	{ "prune", "remove all that is over, and what was left behind",
	  cmd_prune, &cmd_prune_table },
	{ "net", "list networks of runs, and remove what they have left",
	  cmd_net, &cmd_net_table },
	{ .about = "This program" },
	{ "doctor", "say what works on this host, and what is missing",
	  cmd_doctor, &cmd_doctor_table },
	{ "completion", "print what a shell needs to complete command lines",
	  cmd_completion, &cmd_completion_table },
	{ "version", "print the version", cmd_version, &version_table },
	{ "help", "print this, or the options of a command", cmd_help,
	  &help_table },
};
const size_t ncommands = ARRAY_SIZE(commands);

static const struct {
	const char *name;
	const struct cmd *sub;
	size_t n;
} groups[] = {
	{ "image", image_commands, ARRAY_SIZE(image_commands) },
	{ "net", net_commands, ARRAY_SIZE(net_commands) },
};

const struct cmd *cmd_subs(const struct cmd *c, size_t *n)
{
	*n = 0;
	for (size_t i = 0; c->name && i < ARRAY_SIZE(groups); i++) {
		if (strcmp(c->name, groups[i].name))
			continue;
		*n = groups[i].n;
		return groups[i].sub;
	}
	return NULL;
}

/* One of @group's commands, or with NULL one of all. */
static const struct cmd *find(const struct cmd *group, const char *name,
			      struct err *err)
{
	size_t n = ncommands, nnames = 0;
	const struct cmd *list = group ? cmd_subs(group, &n) : commands;
	const char *of = group ? group->name : "", *gap = group ? " " : "";
	const char *names[NAMES_MAX], *near;

	for (size_t i = 0; i < n; i++) {
		if (!list[i].name)
			continue;
		if (!strcmp(list[i].name, name))
			return &list[i];
		if (nnames < NAMES_MAX)
			names[nnames++] = list[i].name;
	}
	err_say(err, -EINVAL, "%s%s%s: unknown command", of, gap, name);
	near = opts_nearest(name, names, nnames);
	if (near)
		err_hint(err, "did you mean mayfly %s%s%s?", of, gap, near);
	else
		err_hint(err, "`mayfly help%s%s` lists the commands", gap, of);
	return NULL;
}

const struct cmd *cmd_find(const char *name, struct err *err)
{
	return find(NULL, name, err);
}

/* Of a command that has others: its usage, and these. */
static int help_group(const struct cmd *group)
{
	size_t n;
	const struct cmd *sub = cmd_subs(group, &n);
	int r = opts_help(group->table);

	printf("\ncommands:\n");
	for (size_t i = 0; i < n; i++)
		printf("  %-11s %s\n", sub[i].name, sub[i].about);
	printf("\n`mayfly help %s COMMAND` lists the options of one.\n",
	       group->name);
	return r;
}

static int help_of(const struct cmd *c)
{
	size_t n;

	return cmd_subs(c, &n) ? help_group(c) : opts_help(c->table);
}

/* argv[0] is the group's own name. */
static int run_group(const struct cmd *group, int argc, char **argv,
		     struct err *err)
{
	const struct cmd *c;

	if (argc < 2) {
		err_say(err, -EINVAL, "%s: no command", group->name);
		return err_hint(err, "`mayfly help %s` lists them",
				group->name);
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help_group(group);
	c = find(group, argv[1], err);
	return c ? c->run(argc - 1, argv + 1, err) : -EINVAL;
}

static int cmd_image(int argc, char **argv, struct err *err)
{
	return run_group(cmd_find("image", NULL), argc, argv, err);
}

static int cmd_net(int argc, char **argv, struct err *err)
{
	return run_group(cmd_find("net", NULL), argc, argv, err);
}

static int cmd_version(int argc, char **argv, struct err *err)
{
	struct version v = { 0 };
	struct opt_rest rest;
	int r = opts_parse(&version_table, &v, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&version_table);
	if (rest.first < argc)
		return err_say(err, -EINVAL, "version: takes no operand");
	printf(v.format == FORMAT_JSON ? "{ \"mayfly\": \"%s\" }\n"
				       : "mayfly %s\n",
	       MAYFLY_VERSION);
	return 0;
}

static void list(void)
{
	printf("usage: mayfly COMMAND [OPTIONS] ...\n\n"
	       "Run a command in a one-shot microVM: boot, run, report, "
	       "vanish.\n");
	for (size_t i = 0; i < ncommands; i++) {
		const struct cmd *c = &commands[i];

		if (c->name)
			printf("  %-11s %s\n", c->name, c->about);
		else
			printf("\n%s:\n", c->about);
	}
	printf("\n`mayfly help COMMAND` lists its options; mayfly(1) says "
	       "more.\n");
}

static int cmd_help(int argc, char **argv, struct err *err)
{
	const struct cmd *c;
	struct opt_rest rest;
	int r = opts_parse(&help_table, NULL, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&help_table);
	if (rest.first == argc) {
		list();
		return 0;
	}
	c = cmd_find(argv[rest.first], err);
	for (int i = rest.first + 1; c && i < argc; i++) {
		size_t n;

		if (!cmd_subs(c, &n))
			return err_say(err, -EINVAL, "help: takes one command");
		c = find(c, argv[i], err);
	}
	return c ? help_of(c) : -EINVAL;
}
