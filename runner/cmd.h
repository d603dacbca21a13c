/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd: the subcommands.
 *
 * Each takes its own argv (argv[0] is its name) and gives the exit code, or
 * -errno with words; main() prints them and exits 125. Words with an exit
 * code are printed as well: the command in the guest could not be started.
 */
#ifndef MAYFLY_CMD_H
#define MAYFLY_CMD_H

#include <stddef.h>

struct err;
struct opt_table;

struct cmd {
	const char *name;  /* NULL: `about` heads the group that follows */
	const char *about; /* one line */
	int (*run)(int argc, char **argv, struct err *err);
	const struct opt_table *table; /* for help and completion */
};

/* All of them, in the order of `mayfly help`. */
extern const struct cmd commands[];
extern const size_t ncommands;

/* The commands that a command has of its own, `image ls`; NULL and 0: none.
 * In their tables names are whole, "image ls". */
const struct cmd *cmd_subs(const struct cmd *c, size_t *n);

/* NULL, and words that name the nearest. */
const struct cmd *cmd_find(const char *name, struct err *err);

int cmd_run(int argc, char **argv, struct err *err);
int cmd_exec(int argc, char **argv, struct err *err);
int cmd_cp(int argc, char **argv, struct err *err);
int cmd_boot(int argc, char **argv, struct err *err);
int cmd_ps(int argc, char **argv, struct err *err);
int cmd_logs(int argc, char **argv, struct err *err);
int cmd_wait(int argc, char **argv, struct err *err);
int cmd_stop(int argc, char **argv, struct err *err);
int cmd_kill(int argc, char **argv, struct err *err);
int cmd_inspect(int argc, char **argv, struct err *err);
int cmd_rm(int argc, char **argv, struct err *err);
int cmd_prune(int argc, char **argv, struct err *err);
int cmd_image_import(int argc, char **argv, struct err *err);
int cmd_image_ls(int argc, char **argv, struct err *err);
int cmd_image_inspect(int argc, char **argv, struct err *err);
int cmd_image_rm(int argc, char **argv, struct err *err);
int cmd_image_prune(int argc, char **argv, struct err *err);
int cmd_net_ls(int argc, char **argv, struct err *err);
int cmd_net_prune(int argc, char **argv, struct err *err);
int cmd_pull(int argc, char **argv, struct err *err);
int cmd_doctor(int argc, char **argv, struct err *err);
int cmd_completion(int argc, char **argv, struct err *err);

extern const struct opt_table cmd_run_table;
extern const struct opt_table cmd_exec_table;
extern const struct opt_table cmd_cp_table;
extern const struct opt_table cmd_boot_table;
extern const struct opt_table cmd_ps_table;
extern const struct opt_table cmd_logs_table;
extern const struct opt_table cmd_wait_table;
extern const struct opt_table cmd_stop_table;
extern const struct opt_table cmd_kill_table;
extern const struct opt_table cmd_inspect_table;
extern const struct opt_table cmd_rm_table;
extern const struct opt_table cmd_prune_table;
extern const struct opt_table cmd_image_table;
extern const struct opt_table cmd_image_import_table;
extern const struct opt_table cmd_image_ls_table;
extern const struct opt_table cmd_image_inspect_table;
extern const struct opt_table cmd_image_rm_table;
extern const struct opt_table cmd_image_prune_table;
extern const struct opt_table cmd_net_table;
extern const struct opt_table cmd_net_ls_table;
extern const struct opt_table cmd_net_prune_table;
extern const struct opt_table cmd_pull_table;
extern const struct opt_table cmd_doctor_table;
extern const struct opt_table cmd_completion_table;

#endif
