/* SPDX-License-Identifier: Apache-2.0 */
/* The image of a run, in the store. */
#include "runner/config_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/opts.h"

void config_image_free(struct config_image *ci)
{
	if (!ci)
		return;
	store_close_files(&ci->files);
	image_free(&ci->img);
	free(ci->argv);
	free(ci);
}

#define LATEST ":latest" /* what a name without a tag means */

/* @text as people would write it. */
static const char *shown(const char *text, char buf[REFERENCE_MAX])
{
	size_t tag = sizeof(LATEST) - 1, n;
	struct reference ref;

	if (reference_parse(&ref, text, NULL) < 0)
		return text;
	reference_short(&ref, buf);
	n = strlen(buf);
	if (n > tag && !strcmp(buf + n - tag, LATEST))
		buf[n - tag] = '\0';
	return buf;
}

/* The name in the store that is nearest to @name: 1, or 0 for none. */
static int nearest(const struct store *s, const char *name,
		   char buf[REFERENCE_MAX])
{
	char want[REFERENCE_MAX], has[REFERENCE_MAX];
	struct store_list list;
	const char *wanted = shown(name, want), *near = NULL;

	if (store_list(s, &list, NULL) < 0)
		return 0;
	shown(name, want);
	for (size_t i = 0; i < list.n && !near; i++)
		for (char **full = list.items[i].names; *full && !near; full++) {
			const char *candidate = shown(*full, has);

			near = opts_nearest(wanted, &candidate, 1);
		}
	if (near)
		memmove(buf, near, strlen(near) + 1);
	store_free_list(&list);
	return near != NULL;
}

static int not_here(const struct store *s, const char *name, struct err *err)
{
	char near[REFERENCE_MAX];
	int r = err_say(err, -ENOENT, "image %s: not here", name);

	if (s && nearest(s, name, near))
		err_hint(err, "did you mean %s? Else: mayfly pull %s", near,
			 name);
	else
		err_hint(err, "`mayfly pull %s` gets it; a command for the "
			      "built-in root stands behind --", name);
	return r;
}

static int find(struct store *s, struct config_image *ci, struct err *err)
{
	char id[IMAGE_HEX_MAX];
	int r = store_lock(s, STORE_SHARED, err);

	if (r < 0)
		return r;
	r = store_resolve(s, ci->name, id, err);
	if (r == -ENOENT)
		return not_here(s, ci->name, err);
	return r < 0 ? r : store_open_image(s, id, &ci->img, &ci->files, err);
}

int config_image_open(struct config_image **ci, const char *name,
		      struct err *err)
{
	struct store *s = NULL;
	int r;

	*ci = calloc(1, sizeof(**ci));
	if (!*ci)
		return err_set(err, -ENOMEM, "image %s", name);
	(*ci)->name = name;
	r = store_open(&s, 0, err);
	if (r == -ENOENT)
		r = not_here(NULL, name, err);
	else if (r == 0)
		r = find(s, *ci, err);
	store_free(s);
	if (r < 0) {
		config_image_free(*ci);
		*ci = NULL;
	}
	return r;
}
