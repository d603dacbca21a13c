/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_image: a run on an image of the store.
 *
 * What the image says of its command is a default, which options override. Its
 * files are opened once, under the store's lock, before the run begins: from
 * then on the image may be removed or named anew, and this run does not see
 * it. One thread.
 */
#ifndef MAYFLY_CONFIG_IMAGE_H
#define MAYFLY_CONFIG_IMAGE_H

#include "rootfs/image.h"
#include "rootfs/store.h"
#include "runner/config.h"

struct err;

struct config_image {
	const char *name; /* as the user has it; borrowed */
	struct image img;
	struct store_files files; /* of its disk */
	char **argv;		  /* the command; its words are borrowed */
};

/* image_find.c. -ENOENT, with the way to get it, where it is not in the store. The caller
 * frees *@ci, after the config that it was applied to. */
int config_image_open(struct config_image **ci, const char *name,
		      struct err *err);
/* Takes NULL. */
void config_image_free(struct config_image *ci);

/* The command, environment, user, directory and stop signal of a run on @ci
 * with @args, a list of words that may be empty. */
int config_image_apply(struct config *c, struct config_image *ci, char **args,
		       struct err *err);

/* The same without an image: --entrypoint and words. The caller frees *@argv,
 * a list of borrowed words that may be empty. */
int config_command(const struct config *c, char *const *entrypoint,
		   char *const *args, char ***argv, struct err *err);

#endif
