/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is imported from, as the user names it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/image_import.h"

static const struct {
	const char *name;
	int has_tag;
} kinds[] = {
	[IMAGE_OCI] = { "oci:", 1 },
	[IMAGE_OCI_ARCHIVE] = { "oci-archive:", 1 },
	[IMAGE_DOCKER_ARCHIVE] = { "docker-archive:", 1 },
	[IMAGE_TAR] = { "tar:", 0 },
	[IMAGE_DIR] = { "dir:", 0 },
};

static int is_there(const struct image_source *s)
{
	return !strcmp(s->path, "-") || access(s->path, F_OK) == 0;
}

/*
 * A colon may be of the path, part it from the tag, or stand in the tag: the
 * longest path that is there counts. Where none is, the first colon does.
 */
static void split(struct image_source *s, const char *rest)
{
	size_t n = strlen(rest);

	for (;;) {
		const char *colon;

		snprintf(s->path, sizeof(s->path), "%.*s", (int)n, rest);
		s->want = rest[n] ? rest + n + 1 : NULL;
		if (is_there(s))
			return;
		colon = memrchr(rest, ':', n);
		if (!colon)
			return;
		n = (size_t)(colon - rest);
	}
}

int image_source_parse(struct image_source *s, const char *text,
		       struct err *err)
{
	const char *rest = NULL;

	*s = (struct image_source){ .text = text };
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && !rest; i++) {
		size_t n = strlen(kinds[i].name);

		if (strncmp(text, kinds[i].name, n))
			continue;
		s->kind = (enum image_kind)i;
		rest = text + n;
	}
	if (!rest) {
		err_say(err, -EINVAL, "%s: not a source of images", text);
		return err_hint(err, "oci:DIR, oci-archive:FILE, "
				     "docker-archive:FILE, tar:FILE or "
				     "dir:DIR; `mayfly pull` takes one from a "
				     "registry");
	}
	if (!*rest || *rest == ':')
		return err_say(err, -EINVAL, "%s: no file is named", text);
	if (strlen(rest) >= sizeof(s->path))
		return err_set(err, -ENAMETOOLONG, "%s", kinds[s->kind].name);
	if (kinds[s->kind].has_tag)
		split(s, rest);
	else
		strcpy(s->path, rest);
	if (s->want && !*s->want)
		return err_say(err, -EINVAL, "%s: the tag is empty", text);
	if (!strcmp(s->path, "-") &&
	    (s->kind == IMAGE_OCI || s->kind == IMAGE_DIR))
		return err_say(err, -EINVAL, "%s: standard input is no "
					     "directory", text);
	return 0;
}
