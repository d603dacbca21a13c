/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly image import and mayfly pull: images come into the store. */
#include "runner/cmd.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "rootfs/reference.h"
#include "rootfs/store.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/image_import.h"
#include "runner/image_pull.h"
#include "runner/interrupt.h"
#include "runner/opts.h"
#include "runner/progress.h"

const struct opt_table cmd_image_table = {
	.command = "image",
	.usage = "COMMAND [OPTIONS] ...",
	.about = "Work with the images that `mayfly run IMAGE` takes.",
};

/* --- import ------------------------------------------------------------- */

struct import_options {
	const char *name;
	uint64_t max_size;
	int quiet;
};

static const struct opt import_options[] = {
	{ "name", 0, "NAME", NULL,
	  "what to call it; an image that had the name keeps its id only",
	  opt_string, offsetof(struct import_options, name) },
	{ "max-size", 0, "SIZE", NULL,
	  "refuse an image whose files are larger (16g)", config_set_output,
	  offsetof(struct import_options, max_size) },
	{ "quiet", 'q', NULL, NULL, "show no progress", opt_flag,
	  offsetof(struct import_options, quiet) },
};

const struct opt_table cmd_image_import_table = {
	.command = "image import",
	.usage = "[OPTIONS] SOURCE",
	.about = "Take an image into the store, and print its id.\n\n"
		 "  oci:DIR[:TAG]               an OCI layout\n"
		 "  oci-archive:FILE[:TAG]      a tar of one\n"
		 "  docker-archive:FILE[:TAG]   what `docker save` writes\n"
		 "  tar:FILE                    a root's files, maybe compressed\n"
		 "  dir:DIR                     the same, in a directory\n\n"
		 "FILE may be -, standard input. Layers that the store has are "
		 "not read again.",
	.opt = import_options,
	.nopts = ARRAY_SIZE(import_options),
	.mixed = 1,
};

/* @name may be NULL. 0, -errno with words, or 128 + the signal. */
static int import(const struct image_source *s, const struct reference *name,
		  const struct import_options *o, struct err *err)
{
	struct interrupt stop = INTERRUPT_NONE;
	struct image_import im = { .source = s, .name = name,
				   .max_size = o->max_size, .stop = &stop };
	struct progress progress;
	char id[IMAGE_HEX_MAX];
	int r;

	progress_init(&progress, o->quiet);
	im.progress = &progress;
	r = store_open(&im.store, 1, err);
	if (r == 0)
		r = interrupt_open(&stop, err);
	if (r == 0)
		r = image_import(&im, id, err);
	store_free(im.store);
	interrupt_close(&stop);
	if (r == -EINTR && stop.signal) {
		*err = (struct err){ 0 };
		return 128 + stop.signal;
	}
	if (r == 0)
		puts(id);
	return r;
}

int cmd_image_import(int argc, char **argv, struct err *err)
{
	struct import_options o = { .max_size = IMAGE_SIZE_DEFAULT };
	struct image_source s;
	struct reference name;
	struct opt_rest rest;
	int r = opts_parse(&cmd_image_import_table, &o, argc, argv, &rest,
			   err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_image_import_table);
	if (rest.first + 1 != argc) {
		err_say(err, -EINVAL, rest.first == argc
				? "image import: no source"
				: "image import: takes one source");
		err_hint(err, "`mayfly help image import` lists them");
		return -EINVAL;
	}
	r = image_source_parse(&s, argv[rest.first], err);
	if (r == 0 && o.name)
		r = reference_parse(&name, o.name, err);
	if (r == 0 && o.name && *name.digest)
		r = err_say(err, -EINVAL, "--name %s: a name that is given has "
			    "no digest", o.name);
	if (r < 0)
		return err_wrap(err, "image import");
	return import(&s, o.name ? &name : NULL, &o, err);
}

/* --- pull ---------------------------------------------------------------- */

static const struct opt pull_options[] = {
	{ "insecure", 0, NULL, NULL,
	  "also without TLS, or with a certificate of nobody's", opt_flag,
	  offsetof(struct image_pull, insecure) },
	{ "max-size", 0, "SIZE", NULL,
	  "refuse an image whose files are larger (16g)", config_set_output,
	  offsetof(struct image_pull, max_size) },
	{ "quiet", 'q', NULL, NULL, "show no progress", opt_flag,
	  offsetof(struct image_pull, quiet) },
};

const struct opt_table cmd_pull_table = {
	.command = "pull",
	.usage = "[OPTIONS] REFERENCE",
	.about = "Fetch an image from a registry, and print its id. REFERENCE "
		 "is as Docker has it:\n[HOST[:PORT]/]NAME[:TAG], or "
		 "NAME@sha256:DIGEST; docker:// may stand before it.\n"
		 "`debian` is docker.io/library/debian:latest. skopeo does the "
		 "transfer; `skopeo\nlogin HOST` gives it a password.",
	.opt = pull_options,
	.nopts = ARRAY_SIZE(pull_options),
	.mixed = 1,
};

int cmd_pull(int argc, char **argv, struct err *err)
{
	struct image_pull p = { .max_size = IMAGE_SIZE_DEFAULT };
	char id[IMAGE_HEX_MAX];
	struct opt_rest rest;
	int r = opts_parse(&cmd_pull_table, &p, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_pull_table);
	if (rest.first + 1 != argc) {
		err_say(err, -EINVAL, rest.first == argc
				? "pull: no image"
				: "pull: takes one image");
		err_hint(err, "mayfly pull [HOST/]NAME[:TAG]");
		return -EINVAL;
	}
	p.ref = argv[rest.first];
	r = image_pull(&p, id, err);
	if (r == 0)
		puts(id);
	return r;
}
