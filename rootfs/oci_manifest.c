/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is made of: OCI image spec, manifest.md; Docker's "Image
 * Manifest Version 2, Schema 2"; manifest.json of docker save. */
#include <errno.h>
#include <string.h>

#include "rootfs/document.h"
#include "rootfs/oci.h"
#include "rootfs/reference.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* --- manifest --------------------------------------------------------- */

static int is_one_of(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(s, list[i]))
			return 1;
	return 0;
}

static void read_blob(struct doc *d, const json_t *o, struct oci_blob *b)
{
	doc_digest(d, o, "digest", b->digest);
	b->size = doc_number(d, o, "size");
}

static void check_type(struct doc *d)
{
	static const char *const types[] = {
		"application/vnd.oci.image.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json",
	};
	const char *type = doc_line(d, d->root, "mediaType");
	char clean[100];

	if (!json_is_object(d->root)) {
		doc_fail(d, -EBADMSG, "not an object");
		return;
	}
	if (doc_number(d, d->root, "schemaVersion") == 1)
		doc_fail(d, -ENOTSUP, "Docker's schema 1, which is no longer "
				      "in use: the image must be built or "
				      "pushed anew");
	else if (doc_number(d, d->root, "schemaVersion") != 2)
		doc_fail(d, -ENOTSUP, "its version is not 2");
	/* OCI manifests may go without. */
	if (type && !is_one_of(type, types, ARRAY_SIZE(types))) {
		doc_clean(clean, sizeof(clean), type);
		doc_fail(d, -ENOTSUP, "not one of an image: %s", clean);
	}
}

static void read_config(struct doc *d, struct oci_manifest *m)
{
	static const char *const types[] = {
		"application/vnd.oci.image.config.v1+json",
		"application/vnd.docker.container.image.v1+json",
	};
	const json_t *config = doc_object(d, d->root, "config");
	const char *type = doc_line(d, config, "mediaType");
	char clean[100];

	read_blob(d, config, &m->config);
	if (type && is_one_of(type, types, ARRAY_SIZE(types)))
		return;
	/* manifest.md, "Guidelines for Artifact Usage". */
	doc_clean(clean, sizeof(clean), type ? type : "no type");
	doc_fail(d, -ENOTSUP, "an artifact, not an image: %s", clean);
}

static void check_layer(struct doc *d, unsigned i, const char *type)
{
	static const char *const types[] = {
		"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.v1.tar+gzip",
		"application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar",
		"application/vnd.docker.image.rootfs.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.diff.tar.zstd",
	};
	char clean[100];

	if (!type) {
		doc_fail(d, -EBADMSG, "layer %u has no media type", i + 1);
		return;
	}
	if (is_one_of(type, types, ARRAY_SIZE(types)))
		return;
	if (strstr(type, "nondistributable") || strstr(type, ".foreign."))
		doc_fail(d, -ENOTSUP, "layer %u may not be distributed: its "
				      "maker has it alone", i + 1);
	if (strstr(type, "+encrypted"))
		doc_fail(d, -ENOTSUP, "layer %u is encrypted: decrypt the "
				      "image first", i + 1);
	doc_clean(clean, sizeof(clean), type);
	doc_fail(d, -ENOTSUP, "layer %u is not a tar: %s", i + 1, clean);
}

static void read_layers(struct doc *d, struct oci_manifest *m)
{
	const json_t *list = doc_list(d, d->root, "layers");
	const size_t n = json_array_size(list);

	if (!n)
		doc_fail(d, -EBADMSG, "the image has no layers");
	if (n > IMAGE_LAYERS_MAX)
		doc_fail(d, -ENOTSUP, "%zu layers: %d are the most", n,
			 IMAGE_LAYERS_MAX);
	for (unsigned i = 0; !d->code && i < n; i++) {
		const json_t *o = json_array_get(list, i);

		check_layer(d, i, doc_line(d, o, "mediaType"));
		read_blob(d, o, m->layers + i);
		m->nlayers++;
	}
}

int oci_read_manifest(struct oci_manifest *m, const char *text, size_t len,
		      struct err *err)
{
	_cleanup_doc_ struct doc d;

	memset(m, 0, sizeof(*m));
	if (doc_open(&d, text, len, "image manifest", err) < 0)
		return d.code;
	check_type(&d);
	if (!d.code)
		read_config(&d, m);
	if (!d.code && m->config.size > IMAGE_TEXT_MAX)
		doc_fail(&d, -EBADMSG, "the config is too large");
	read_layers(&d, m);
	return d.code;
}

/* --- docker save ------------------------------------------------------ */

void oci_free_saved(struct oci_saved *s)
{
	free(s->config);
	doc_free_words(s->layers);
	doc_free_words(s->tags);
	*s = (struct oci_saved){ .config = NULL };
}

/* Relative, no component empty, "." or "..". */
static int is_inside(const char *path)
{
	for (;; path++) {
		const size_t n = strcspn(path, "/");

		if (!n || (n <= 2 && !strncmp(path, "..", n)))
			return 0;
		path += n;
		if (!*path)
			return 1;
	}
}

static void check_path(struct doc *d, const char *path)
{
	char clean[100];

	if (is_inside(path))
		return;
	doc_clean(clean, sizeof(clean), path);
	doc_fail(d, -EBADMSG, "a path that leads elsewhere: %s", clean);
}

static void read_one(struct doc *d, const json_t *o, struct oci_saved *s)
{
	size_t n = 0;

	s->config = doc_copy(d, doc_line(d, o, "Config"));
	if (!s->config)
		doc_fail(d, -EBADMSG, "\"Config\" is missing");
	else
		check_path(d, s->config);
	s->layers = doc_words(d, o, "Layers");
	for (; s->layers && s->layers[n]; n++)
		check_path(d, s->layers[n]);
	if (!n)
		doc_fail(d, -EBADMSG, "the image has no layers");
	if (n > IMAGE_LAYERS_MAX)
		doc_fail(d, -ENOTSUP, "%zu layers: %d are the most", n,
			 IMAGE_LAYERS_MAX);
	s->tags = doc_words(d, o, "RepoTags");
	for (char **t = s->tags; t && *t; t++)
		if (!doc_is_line(*t))
			doc_fail(d, -EBADMSG, "\"RepoTags\" has control "
					      "characters");
}

/* Do two names mean the same? */
static int is_same(const char *a, const char *b)
{
	struct reference x, y;
	char s[REFERENCE_MAX], t[REFERENCE_MAX];

	if (reference_parse(&x, a, NULL) < 0 || reference_parse(&y, b, NULL) < 0)
		return !strcmp(a, b);
	reference_full(&x, s);
	reference_full(&y, t);
	return !strcmp(s, t);
}

static int has_tag(const json_t *o, const char *want)
{
	const json_t *tags = json_object_get(o, "RepoTags");

	for (size_t i = 0; i < json_array_size(tags); i++) {
		const char *t = json_string_value(json_array_get(tags, i));

		if (t && is_same(t, want))
			return 1;
	}
	return 0;
}

/* All tags of all images, cut to @cap. */
static void list_tags(char *buf, size_t cap, const json_t *all)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *tags = json_object_get(json_array_get(all, i),
						     "RepoTags");

		for (size_t j = 0; j < json_array_size(tags); j++) {
			const char *t =
				json_string_value(json_array_get(tags, j));

			if (!t || at + 3 >= cap)
				continue;
			strcpy(buf + at, at ? ", " : "");
			at += strlen(buf + at);
			doc_clean(buf + at, cap - at, t);
			at += strlen(buf + at);
		}
	}
	if (!at)
		strcpy(buf, "none has a name");
}

static const json_t *find(struct doc *d, const char *want)
{
	const size_t n = json_array_size(d->root);
	char words[300], clean[100];

	if (!n)
		doc_fail(d, -EBADMSG, "not a list of images");
	if (!want && n == 1)
		return json_array_get(d->root, 0);
	for (size_t i = 0; want && i < n; i++)
		if (has_tag(json_array_get(d->root, i), want))
			return json_array_get(d->root, i);
	list_tags(words, sizeof(words), d->root);
	if (!want) {
		doc_fail(d, -EINVAL, "several images: %s", words);
	} else {
		doc_clean(clean, sizeof(clean), want);
		doc_fail(d, -ENOENT, "no image is named %s: there is %s",
			 clean, words);
	}
	return NULL;
}

int oci_read_saved(struct oci_saved *s, const char *text, size_t len,
		   const char *want, struct err *err)
{
	_cleanup_doc_ struct doc d;
	const json_t *o;

	*s = (struct oci_saved){ .config = NULL };
	if (doc_open(&d, text, len, "manifest.json", err) < 0)
		return d.code;
	o = find(&d, want);
	if (o)
		read_one(&d, o, s);
	if (d.code < 0)
		oci_free_saved(s);
	return d.code;
}
