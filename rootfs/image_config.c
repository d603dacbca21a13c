/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a config that image.json has in the same form. */
#include "rootfs/image_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/mem.h"

/* OCI image spec, config.md: "Env, array of strings". A variable without '='
 * is one that a builder unset; nobody else has it. */
static void read_env(struct doc *d, const json_t *config, struct image *img)
{
	char **to;

	img->env = to = doc_words(d, config, "Env");
	if (!to)
		return;
	for (char **w = img->env; *w; w++) {
		if (**w == '=')
			doc_fail(d, -EBADMSG, "\"Env\": a variable without "
					      "a name");
		if (strchr(*w, '=')) {
			*to++ = *w;
		} else {
			free(*w);
		}
	}
	*to = NULL;
}

/* Builders write absolute paths; what is none is seen from the root. */
static void read_workdir(struct doc *d, const json_t *config,
			 struct image *img)
{
	const char *s = doc_line(d, config, "WorkingDir");

	if (s && *s != '/') {
		if (asprintf(&img->workdir, "/%s", s) < 0) {
			img->workdir = NULL;
			doc_fail(d, -ENOMEM, "out of memory");
		}
	} else {
		img->workdir = doc_copy(d, s);
	}
}

void image_config_read(struct doc *d, const json_t *config, struct image *img)
{
	read_env(d, config, img);
	read_workdir(d, config, img);
	img->entrypoint = doc_words(d, config, "Entrypoint");
	img->cmd = doc_words(d, config, "Cmd");
	img->user = doc_copy(d, doc_line(d, config, "User"));
	img->stop_signal = doc_copy(d, doc_line(d, config, "StopSignal"));
	img->labels = doc_pairs(d, config, "Labels");
	img->ports = doc_keys(d, config, "ExposedPorts");
	img->volumes = doc_keys(d, config, "Volumes");
}

/* --- writing ---------------------------------------------------------- */

static json_t *list(char *const *words)
{
	json_t *a = json_array();

	for (; words && *words; words++)
		if (json_array_append_new(a, json_string(*words)) < 0) {
			json_decref(a);
			return NULL;
		}
	return a;
}

/* Keys with what follows each (@values), or with an empty object. */
static json_t *map(char *const *words, int values)
{
	json_t *o = json_object();

	for (; words && *words; words += 1 + values)
		if (json_object_set_new(o, words[0],
					values ? json_string(words[1]) :
						 json_object()) < 0) {
			json_decref(o);
			return NULL;
		}
	return o;
}

static json_t *text(const char *s)
{
	return s ? json_string(s) : json_null();
}

json_t *image_config_write(const struct image *img)
{
	json_t *o = json_object();
	int bad = 0;

	bad |= json_object_set_new(o, "Entrypoint", list(img->entrypoint));
	bad |= json_object_set_new(o, "Cmd", list(img->cmd));
	bad |= json_object_set_new(o, "Env", list(img->env));
	bad |= json_object_set_new(o, "WorkingDir", text(img->workdir));
	bad |= json_object_set_new(o, "User", text(img->user));
	bad |= json_object_set_new(o, "StopSignal", text(img->stop_signal));
	bad |= json_object_set_new(o, "Labels", map(img->labels, 1));
	bad |= json_object_set_new(o, "ExposedPorts", map(img->ports, 0));
	bad |= json_object_set_new(o, "Volumes", map(img->volumes, 0));
	if (bad) {
		json_decref(o);
		o = NULL;
	}
	return o;
}
