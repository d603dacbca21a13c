/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly completion: what a shell needs to complete our command lines. */
#include "runner/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rootfs/store.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/opts.h"
#include "runner/state.h"

/*
 * Each script is made of the tables and of a few functions that do not depend
 * on them. What may stand somewhere is a `kind`: a word of opts.h (FILE, NAME,
 * a|b|c, ...), or - where we know nothing to offer. Names of runs and images
 * are asked for when they are wanted: `mayfly completion names`, `... images`.
 */

#define KIND_MAX 64
#define SIGNALS	 "HUP|INT|QUIT|KILL|USR1|USR2|TERM|CONT|STOP"
#define SHORT_ID 12

/* runner/completion/: the functions, as strings. */
extern const char completion_bash[], completion_zsh[], completion_fish[];

const struct opt_table cmd_completion_table = {
	.command = "completion",
	.usage = "bash|zsh|fish|names|images",
	.about = "Print a script that makes a shell complete mayfly's command "
		 "lines.\n\n"
		 "  bash  . <(mayfly completion bash)\n"
		 "  zsh   . <(mayfly completion zsh)\n"
		 "  fish  mayfly completion fish | source\n\n"
		 "`make install` puts them where the shells find them. `names` "
		 "and `images` are what\nthe scripts ask for: the runs and "
		 "the images that there are.",
};

/* --- kinds ------------------------------------------------------------ */

static int known(const char *kind)
{
	static const char *const names[] = { "FILE", "NAME", "PATH", "SIGNAL",
					     "COMMAND", "IMAGE", "SOURCE" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(kind, names[i]))
			return 1;
	/* Words to choose from; in capitals they are what stands for others. */
	return strchr(kind, '|') &&
	       !strpbrk(kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
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


/* A pattern of `case`: "image ls" is one word. */
static void bash_word(const char *s)
{
	for (; *s; s++)
		printf(*s == ' ' ? "\\ " : "%c", *s);
}

static void bash_argument(const struct opt_table *t)
{
	for (size_t i = 0; i < t->nopts; i++) {
		const struct opt *o = &t->opt[i];

		if (!o->name || !o->arg || opt_is_optional(o))
			continue;
		putchar('\t');
		bash_word(t->command);
		printf(":--%s", o->name);
		if (o->letter) {
			printf(" | ");
			bash_word(t->command);
			printf(":-%c", o->letter);
		}
		printf(") REPLY='%s' ;;\n", argument_kind(o));
	}
}

static void bash_options(const struct opt_table *t)
{
	putchar('\t');
	bash_word(t->command);
	printf(") REPLY='");
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
	putchar('\t');
	bash_word(t->command);
	printf(":0) REPLY='%s' ;;\n\t", k.first);
	bash_word(t->command);
	printf(":*) REPLY='%s' ;;\n", k.next);
}

static void bash_mixed(const struct opt_table *t)
{
	if (!t->mixed)
		return;
	putchar('\t');
	bash_word(t->command);
	printf(") ;;\n");
}

/* Those of commands of commands as well. */
static void each_table(void (*fn)(const struct opt_table *))
{
	for (size_t i = 0; i < ncommands; i++) {
		size_t n;
		const struct cmd *sub = cmd_subs(&commands[i], &n);

		if (commands[i].name)
			fn(commands[i].table);
		for (size_t k = 0; k < n; k++)
			fn(sub[k].table);
	}
}

static void bash_groups(void)
{
	printf("_mayfly_group() # COMMAND: it has commands of its own\n{\n"
	       "\tcase $1 in\n");
	for (size_t i = 0; i < ncommands; i++) {
		size_t n;
		const struct cmd *sub = cmd_subs(&commands[i], &n);

		if (!sub)
			continue;
		printf("\t%s) REPLY='", commands[i].name);
		for (size_t k = 0; k < n; k++)
			printf("%s%s", k ? " " : "", sub[k].name);
		printf("' ;;\n");
	}
	printf("\t*) return 1 ;;\n\tesac\n}\n\n");
}

static void bash(void)
{
	printf("# bash completion for mayfly: `mayfly completion bash`\n\n"
	       "_mayfly_commands='");
	for (size_t i = 0, n = 0; i < ncommands; i++)
		if (commands[i].name)
			printf("%s%s", n++ ? " " : "", commands[i].name);
	printf("'\n\n");
	bash_groups();
	printf("_mayfly_argument() # COMMAND:OPTION\n{\n\tcase $1 in\n");
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
	else if (!strcmp(kind, "IMAGE"))
		printf("_mayfly_images");
	else if (!strcmp(kind, "SOURCE"))
		printf("_mayfly_sources");
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
		printf("--%s%s", o->name,
		       opt_is_optional(o) ? "=-" : o->arg ? "=" : "");
	putchar('[');
	zsh_text(o->help);
	putchar(']');
	if (o->arg) {
		printf(opt_is_optional(o) ? "::" : ":");
		zsh_text(o->arg);
		putchar(':');
		zsh_action(argument_kind(o));
	}
	putchar('\'');
}

static void zsh_list(const struct cmd *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!list[i].name)
			continue;
		printf("\t\t'%s:", list[i].name);
		zsh_text(list[i].about);
		printf("'\n");
	}
}

static void zsh_command(const struct cmd *c)
{
	const struct opt_table *t = c->table;
	struct operands k;

	operand_kinds(t, &k);
	printf("\t%s)\n\t\t_arguments -s -S%s", c->name,
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

/* One with commands of its own: the same, a level down. */
static void zsh_group(const struct cmd *c, const struct cmd *sub, size_t n)
{
	printf("\t%s)\n\t\tstate=\n\t\tlocal -a commands\n\t\tcommands=(\n",
	       c->name);
	zsh_list(sub, n);
	printf("\t\t)\n\t\t_arguments -C '(- *)'{-h,--help}"
	       "'[print the commands]' \\\n\t\t\t"
	       "'1: :{_describe command commands}' '*:: :->rest'\n"
	       "\t\t[[ $state == rest ]] || return\n"
	       "\t\tcase $words[1] in\n");
	for (size_t i = 0; i < n; i++)
		zsh_command(&sub[i]);
	printf("\t\tesac ;;\n");
}

static void zsh(void)
{
	printf("#compdef mayfly\n# zsh completion for mayfly: `mayfly "
	       "completion zsh`\n\n"
	       "_mayfly_commands()\n{\n\tlocal -a commands\n\tcommands=(\n");
	zsh_list(commands, ncommands);
	printf("\t)\n\t_describe command commands\n}\n\n"
	       "_mayfly()\n{\n\tlocal curcontext=$curcontext state line\n"
	       "\t_arguments -C '(- *)'{-h,--help}'[print the commands]' \\\n"
	       "\t\t'(- *)--version[print the version]' \\\n"
	       "\t\t'1: :_mayfly_commands' '*:: :->rest'\n"
	       "\t[[ $state == rest ]] || return\n"
	       "\tcase $words[1] in\n");
	for (size_t i = 0; i < ncommands; i++) {
		size_t n;
		const struct cmd *sub = cmd_subs(&commands[i], &n);

		if (sub)
			zsh_group(&commands[i], sub, n);
		else if (commands[i].name)
			zsh_command(&commands[i]);
	}
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
	} else if (!strcmp(kind, "IMAGE")) {
		printf(" -a '(__mayfly_images)'");
	} else if (!strcmp(kind, "SOURCE")) {
		printf(" -F -a '(__mayfly_sources)'");
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
		if (o->arg && !opt_is_optional(o)) {
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
		size_t n;
		const struct cmd *sub = cmd_subs(&commands[i], &n);

		if (!commands[i].name)
			continue;
		printf("complete -c mayfly -n __fish_use_subcommand -a %s -d ",
		       commands[i].name);
		fish_text(commands[i].about);
		putchar('\n');
		for (size_t k = 0; k < n; k++) {
			printf("complete -c mayfly -n '__mayfly_in %s' -a %s "
			       "-d ", commands[i].name, sub[k].name);
			fish_text(sub[k].about);
			putchar('\n');
		}
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

/* Nobody waits at a prompt for a removal to end. */
static int give_up(void *opaque)
{
	(void)opaque;
	return -EAGAIN;
}

/* The names of each image, or its id. */
static void images(void)
{
	struct store_list l = { 0 };
	struct store *s = NULL;

	if (store_open(&s, 0, NULL) < 0)
		return;
	store_on_wait(s, give_up, NULL);
	if (store_lock(s, STORE_SHARED, NULL) < 0 ||
	    store_list(s, &l, NULL) < 0) {
		store_free(s);
		return;
	}
	for (size_t i = 0; i < l.n; i++) {
		const struct store_item *it = &l.items[i];

		for (char **n = it->names; n && *n; n++) {
			char name[REFERENCE_MAX];
			struct reference ref;

			if (reference_parse(&ref, *n, NULL) < 0)
				continue;
			reference_short(&ref, name);
			printf("%s\n", name);
		}
		if (!it->names || !it->names[0])
			printf("%.*s\n", SHORT_ID, it->id);
	}
	store_free_list(&l);
	store_free(s);
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
		{ "images", images },
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
