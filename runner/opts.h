/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opts: command lines by table.
 *
 * Each subcommand has one `struct opt_table`; it drives the parser, --help,
 * shell completion, the check of the manual page and the suggestions for a
 * mistyped name, so that these cannot differ. Options end at the first operand
 * (unless the table is .mixed) or at `--`. An option with an environment
 * variable takes it as its default: flag, then environment, then what the
 * structure held before. Nothing is allocated; strings are borrowed from argv
 * and the environment. Errors name the option and, where there is one, the
 * nearest spelling.
 */
#ifndef MAYFLY_OPTS_H
#define MAYFLY_OPTS_H

#include <stddef.h>

struct err;

/*
 * Put @arg (NULL for a flag) into the field that the table names. Returns 0
 * or -errno with words that do not repeat the option's name.
 */
typedef int (*opt_fn)(void *field, const char *arg, struct err *err);

/*
 * Words for arguments and operands also say what completion offers: FILE a
 * file of the host, SIGNAL a signal, COMMAND a subcommand, a|b|c one of these;
 * and where it is an operand, NAME a run, PATH a run and its colon or a file.
 * "[=WORD]" is an argument that may be left out, and is taken behind `=` only:
 * the setter gets NULL where there is none.
 */
struct opt {
	const char *name; /* without dashes; NULL: `help` heads a group */
	char letter;	  /* or 0 */
	const char *arg;  /* what --help calls the argument; NULL: a flag */
	const char *env;  /* variable that gives the default, or NULL */
	const char *help; /* one line */
	opt_fn set;
	size_t offset; /* of the field in the subcommand's structure */
};

struct opt_table {
	const char *command; /* "run" */
	const char *usage;   /* what follows the name; lines parted by \n */
	const char *about;   /* a paragraph for --help */
	const struct opt *opt;
	size_t nopts;
	int mixed; /* options may follow operands, up to `--` */
};

/* Its argument may be left out. */
int opt_is_optional(const struct opt *o);

struct opt_rest {
	int first;  /* index of the first operand in argv */
	int dashes; /* it was preceded by "--" */
	int help;   /* --help was asked for; nothing else counts */
};

/*
 * argv[0] is the subcommand's own name. A table that is .mixed has the words
 * of argv put in order: options, then operands.
 */
int opts_parse(const struct opt_table *t, void *config, int argc, char **argv,
	       struct opt_rest *rest, struct err *err);

/* Print the usage, the paragraph and the table on stdout. */
int opts_help(const struct opt_table *t);

/* The candidate nearest to @word, or NULL where none is near. */
const char *opts_nearest(const char *word, const char *const *candidates,
			 size_t n);

/* Setters that fit any program: int flag, const char * string, and an int
 * that is an enum opt_format. */
enum opt_format { FORMAT_TABLE, FORMAT_JSON };

int opt_flag(void *field, const char *arg, struct err *err);
int opt_string(void *field, const char *arg, struct err *err);
int opt_format(void *field, const char *arg, struct err *err);
/* Scripts ask everyone for JSON: for those who print nothing else. */
int opt_json(void *field, const char *arg, struct err *err);

#endif
