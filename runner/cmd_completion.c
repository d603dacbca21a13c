/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly completion: what a shell needs to complete our command lines. */
#include "runner/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/opts.h"
#include "runner/state.h"

/*
 * Each script is made of the tables and of a few functions that do not depend
 * on them. What may stand somewhere is a `kind`: a word of opts.h (FILE, NAME,
 * a|b|c, ...), or - where we know nothing to offer. Names of runs are asked
 * for when they are wanted: `mayfly completion names`.
 */

#define KIND_MAX 64
#define SIGNALS	 "HUP|INT|QUIT|KILL|USR1|USR2|TERM|CONT|STOP"

/* runner/completion/: the functions, as strings. */
extern const char completion_bash[], completion_zsh[], completion_fish[];

const struct opt_table cmd_completion_table = {
	.command = "completion",
	.usage = "bash|zsh|fish|names",
	.about = "Print a script that makes a shell complete mayfly's command "
		 "lines.\n\n"
		 "  bash  . <(mayfly completion bash)\n"
		 "  zsh   . <(mayfly completion zsh)\n"
		 "  fish  mayfly completion fish | source\n\n"
		 "`make install` puts them where the shells find them. `names` "
		 "is what the scripts\nask for: the runs that there are.",
};

/* --- kinds ------------------------------------------------------------ */

static int known(const char *kind)
{
	static const char *const names[] = { "FILE", "NAME", "PATH", "SIGNAL",
					     "COMMAND" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(kind, names[i]))
			return 1;
	return strchr(kind, '|') != NULL;
}

/* Of an option's argument. NAME there is a new one, PATH the guest's. */
static const char *argument_kind(const struct opt *o)
{
	if (!strcmp(o->arg, "SIGNAL"))
		return SIGNALS;
	if (!strcmp(o->arg, "NAME") || !strcmp(o->arg, "PATH"))
		return "-";
	/* What may follow a file is not a word of its own. */
	if (!strncmp(o->arg, "FILE[", 5))
		return "FILE";
	return known(o->arg) ? o->arg : "-";
}

/*
 * Of the first operand and of those that follow it, from the first line of
 * the usage: its words without brackets, dots, and whatever stands at a colon.
 */
struct operands {
	char first[KIND_MAX], next[KIND_MAX];
};

static void operand_kinds(const struct opt_table *t, struct operands *k)
{
	char line[256], *word, *rest = line;
	int n = 0, again = 0;

	strcpy(k->first, "-");
	strcpy(k->next, "-");
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(t->usage, "\n"),
		 t->usage);
	while (n < 2 && (word = strsep(&rest, " "))) {
		char kind[KIND_MAX];
		size_t len;

		word += strspn(word, "[");
		len = strcspn(word, ".]");
		/* "--kernel FILE" is an option that has to be there. */
		if (*word == '-' && word[strspn(word, "-")])
			strsep(&rest, " ");
		if (!len || *word == '-' || !strncmp(word, "OPTIONS", len))
			continue;
		snprintf(kind, sizeof(kind), "%.*s", (int)len, word);
		if (strchr(kind, ':'))
			strcpy(kind, "PATH");
		if (known(kind))
			strcpy(n ? k->next : k->first, kind);
		again = !n && strstr(word, "...");
		n++;
	}
	if (again)
		strcpy(k->next, k->first);
}

/* --- bash ------------------------------------------------------------- */


static void bash_argument(const struct opt_table *t)
{
	for (size_t i = 0; i < t->nopts; i++) {
		const struct opt *o = &t->opt[i];

		if (!o->name || !o->arg)
			continue;
		printf("\t%s:--%s", t->command, o->name);
		if (o->letter)
			printf(" | %s:-%c", t->command, o->letter);
		printf(") REPLY='%s' ;;\n", argument_kind(o));
	}
}

static void bash_options(const struct opt_table *t)
{
	printf("\t%s) REPLY='", t->command);
	for (size_t i = 0; i < t->nopts; i++) {
		const struct opt *o = &t->opt[i];

		if (o->name && o->letter)
			printf("-%c ", o->letter);
		if (o->name)
			printf("--%s ", o->name);
	}
	printf("--help' ;;\n");
}

static void bash_operands(const struct opt_table *t)
{
	struct operands k;

	operand_kinds(t, &k);
	printf("\t%s:0) REPLY='%s' ;;\n\t%s:*) REPLY='%s' ;;\n", t->command,
	       k.first, t->command, k.next);
}

static void bash_mixed(const struct opt_table *t)
{
	if (t->mixed)
		printf("\t%s) ;;\n", t->command);
}

static void each_table(void (*fn)(const struct opt_table *))
{
	for (size_t i = 0; i < ncommands; i++)
		if (commands[i].name)
			fn(commands[i].table);
}

static void bash(void)
{
	printf("# bash completion for mayfly: `mayfly completion bash`\n\n"
	       "_mayfly_commands='");
	for (size_t i = 0, n = 0; i < ncommands; i++)
		if (commands[i].name)
			printf("%s%s", n++ ? " " : "", commands[i].name);
	printf("'\n\n_mayfly_argument() # COMMAND:OPTION\n{\n\tcase $1 in\n");
	each_table(bash_argument);
	printf("\t*) return 1 ;;\n\tesac\n}\n\n"
	       "_mayfly_options() # COMMAND\n{\n\tREPLY=\n\tcase $1 in\n");
	each_table(bash_options);
	printf("\tesac\n}\n\n"
	       "_mayfly_operands() # COMMAND NUMBER\n{\n\tREPLY=-\n"
	       "\tcase $1:$2 in\n");
	each_table(bash_operands);
	printf("\tesac\n}\n\n"
	       "_mayfly_mixed() # COMMAND: options may follow operands\n{\n"
	       "\tcase $1 in\n");
	each_table(bash_mixed);
	printf("\t*) return 1 ;;\n\tesac\n}\n\n%s", completion_bash);
}

/* --- zsh -------------------------------------------------------------- */


/* Inside '...' and a spec's [...] or :...: part. */
static void zsh_text(const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			printf("'\\'");
		else if (strchr(":[]\\", *s))
			putchar('\\');
		putchar(*s);
	}
}

static void zsh_action(const char *kind)
{
	if (!strcmp(kind, "FILE"))
		printf("_files");
	else if (!strcmp(kind, "NAME"))
		printf("_mayfly_names");
	else if (!strcmp(kind, "PATH"))
		printf("_mayfly_paths");
	else if (!strcmp(kind, "COMMAND"))
		printf("_mayfly_commands");
	else if (!strcmp(kind, "-"))
		putchar(' ');
	else {
		putchar('(');
		for (; *kind; kind++)
			putchar(*kind == '|' ? ' ' : *kind);
		putchar(')');
	}
}

/* '*' lets an option come again: the last one counts, or all of them do. */
static void zsh_option(const struct opt *o)
{
	printf(" \\\n\t\t\t'*");
	if (o->letter)
		printf("'{-%c%s,--%s%s}'", o->letter, o->arg ? "+" : "",
		       o->name, o->arg ? "=" : "");
	else
		printf("--%s%s", o->name, o->arg ? "=" : "");
	putchar('[');
	zsh_text(o->help);
	putchar(']');
	if (o->arg) {
		putchar(':');
		zsh_text(o->arg);
		putchar(':');
		zsh_action(argument_kind(o));
	}
	putchar('\'');
}

static void zsh_command(const struct opt_table *t)
{
	struct operands k;

	operand_kinds(t, &k);
	printf("\t%s)\n\t\t_arguments -s -S%s", t->command,
	       t->mixed ? "" : " -A '-*'");
	for (size_t i = 0; i < t->nopts; i++)
		if (t->opt[i].name)
			zsh_option(&t->opt[i]);
	printf(" \\\n\t\t\t'(- *)'{-h,--help}'[print the options]'"
	       " \\\n\t\t\t'1: :");
	zsh_action(k.first);
	printf("' \\\n\t\t\t'*: :");
	zsh_action(k.next);
	printf("' ;;\n");
}

static void zsh(void)
{
	printf("#compdef mayfly\n# zsh completion for mayfly: `mayfly "
	       "completion zsh`\n\n"
	       "_mayfly_commands()\n{\n\tlocal -a commands\n\tcommands=(\n");
	for (size_t i = 0; i < ncommands; i++) {
		if (!commands[i].name)
			continue;
		printf("\t\t'%s:", commands[i].name);
		zsh_text(commands[i].about);
		printf("'\n");
	}
	printf("\t)\n\t_describe command commands\n}\n\n"
	       "_mayfly()\n{\n\tlocal curcontext=$curcontext state line\n"
	       "\t_arguments -C '(- *)'{-h,--help}'[print the commands]' \\\n"
	       "\t\t'(- *)--version[print the version]' \\\n"
	       "\t\t'1: :_mayfly_commands' '*:: :->rest'\n"
	       "\t[[ $state == rest ]] || return\n"
	       "\tcase $words[1] in\n");
	each_table(zsh_command);
	printf("\tesac\n}\n\n%s", completion_zsh);
}

/* --- fish ------------------------------------------------------------- */


static void fish_text(const char *s)
{
	putchar('\'');
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
	putchar('\'');
}

static void fish_offer(const char *kind)
{
	if (!strcmp(kind, "FILE")) {
		printf(" -F");
	} else if (!strcmp(kind, "NAME")) {
		printf(" -a '(__mayfly_names)'");
	} else if (!strcmp(kind, "PATH")) {
		printf(" -F -a '(__mayfly_paths)'");
	} else if (!strcmp(kind, "COMMAND")) {
		printf(" -a '");
		for (size_t i = 0, n = 0; i < ncommands; i++)
			if (commands[i].name)
				printf("%s%s", n++ ? " " : "",
				       commands[i].name);
		putchar('\'');
	} else if (strcmp(kind, "-")) {
		printf(" -a '");
		for (; *kind; kind++)
			putchar(*kind == '|' ? ' ' : *kind);
		putchar('\'');
	}
}

static void fish_command(const struct opt_table *t)
{
	struct operands k;

	for (size_t i = 0; i < t->nopts; i++) {
		const struct opt *o = &t->opt[i];

		if (!o->name)
			continue;
		printf("complete -c mayfly -n '__mayfly_is %s' -l %s",
		       t->command, o->name);
		if (o->letter)
			printf(" -s %c", o->letter);
		if (o->arg) {
			printf(strcmp(argument_kind(o), "FILE") ? " -x"
								: " -r");
			fish_offer(argument_kind(o));
		}
		printf(" -d ");
		fish_text(o->help);
		putchar('\n');
	}
	operand_kinds(t, &k);
	if (!strcmp(k.first, "-"))
		return;
	printf("complete -c mayfly -n '__mayfly_is %s'", t->command);
	fish_offer(k.first);
	putchar('\n');
}

static void fish(void)
{
	printf("# fish completion for mayfly: `mayfly completion fish`\n\n%s",
	       completion_fish);
	for (size_t i = 0; i < ncommands; i++) {
		if (!commands[i].name)
			continue;
		printf("complete -c mayfly -n __fish_use_subcommand -a %s -d ",
		       commands[i].name);
		fish_text(commands[i].about);
		putchar('\n');
	}
	each_table(fish_command);
}

/* ---------------------------------------------------------------------- */

/* The name of each run, or its id. Where runs cannot be listed there is nothing
 * to offer, and no place for an error. */
static void names(void)
{
	struct state_list l = { 0 };

	if (state_list(&l, NULL) < 0)
		return;
	for (size_t i = 0; i < l.n; i++)
		printf("%s\n", l.v[i].name[0] ? l.v[i].name : l.v[i].id);
	state_list_free(&l);
}

int cmd_completion(int argc, char **argv, struct err *err)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} script[] = {
		{ "bash", bash },
		{ "zsh", zsh },
		{ "fish", fish },
		{ "names", names },
	};
	struct opt_rest rest;
	int r = opts_parse(&cmd_completion_table, NULL, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_completion_table);
	for (size_t i = 0; rest.first + 1 == argc && i < ARRAY_SIZE(script);
	     i++) {
		if (!strcmp(argv[rest.first], script[i].name)) {
			script[i].print();
			return 0;
		}
	}
	err_say(err, -EINVAL, "completion: needs the name of a shell");
	err_hint(err, "bash, zsh or fish");
	return -EINVAL;
}
