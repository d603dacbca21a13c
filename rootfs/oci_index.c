/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the images of an index: OCI image spec, image-index.md. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rootfs/document.h"
#include "rootfs/oci.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

#define REF_NAME "org.opencontainers.image.ref.name"
/* What BuildKit adds beside an image is marked so. */
#define BESIDE	 "vnd.docker.reference.type"

struct entry {
	const char *name; /* borrowed; "": none */
	enum oci_kind kind;
	int rank; /* how well it fits: 0 by its silence; 2 the best */
	struct oci_blob blob;
};

/* 1, and the kind, for what may lead to an image. */
static int read_kind(struct doc *d, const json_t *o, enum oci_kind *kind)
{
	static const struct {
		const char *type;
		enum oci_kind kind;
	} types[] = {
		{ "application/vnd.oci.image.manifest.v1+json", OCI_MANIFEST },
		{ "application/vnd.docker.distribution.manifest.v2+json",
		  OCI_MANIFEST },
		{ "application/vnd.oci.image.index.v1+json", OCI_INDEX },
		{ "application/vnd.docker.distribution.manifest.list.v2+json",
		  OCI_INDEX },
	};
	const char *type = doc_line(d, o, "mediaType");

	for (size_t i = 0; type && i < ARRAY_SIZE(types); i++)
		if (!strcmp(type, types[i].type)) {
			*kind = types[i].kind;
			return 1;
		}
	return 0;
}

/* -1: for another machine. */
static int read_rank(struct doc *d, const json_t *o)
{
	const json_t *p = doc_object(d, o, "platform");
	const char *arch = doc_line(d, p, "architecture");
	const char *os = doc_line(d, p, "os");

	if (!p)
		return 0;
	if (!arch || !os || strcmp(arch, "amd64") || strcmp(os, "linux"))
		return -1;
	/* A variant ("v3") asks for more than every CPU has. */
	return doc_line(d, p, "variant") ? 1 : 2;
}

/* 1 one to choose from, else 0. */
static int read_entry(struct doc *d, const json_t *o, struct entry *e)
{
	const json_t *notes = doc_object(d, o, "annotations");
	const char *name = doc_line(d, notes, REF_NAME);

	if (!json_is_object(o)) {
		doc_fail(d, -EBADMSG, "\"manifests\" holds what is no object");
		return 0;
	}
	e->name = name ? name : "";
	doc_digest(d, o, "digest", e->blob.digest);
	e->blob.size = doc_number(d, o, "size");
	e->rank = read_rank(d, o);
	return read_kind(d, o, &e->kind) && e->rank >= 0 &&
	       !doc_line(d, notes, BESIDE);
}

/* "a, b, c": names, or digests of those that have none, each once. */
static void list(char *buf, size_t cap, const struct entry *e, size_t n)
{
	char item[100];
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n && at < cap; i++) {
		size_t j = 0;

		while (strcmp(e[j].name, e[i].name))
			j++;
		if (j < i && *e[i].name)
			continue;
		doc_clean(item, sizeof(item),
			  *e[i].name ? e[i].name : e[i].blob.digest);
		at += (size_t)snprintf(buf + at, cap - at, "%s%s",
				       at ? ", " : "", item);
	}
}

static void take(struct oci_choice *out, const struct entry *e)
{
	out->kind = e->kind;
	out->blob = e->blob;
	doc_clean(out->name, sizeof(out->name), e->name);
}

/* One of @n that fit. By one name the best is taken, if it says at all what it
 * is for; and one image may have several names. */
static void choose(struct doc *d, struct oci_choice *out,
		   const struct entry *e, size_t n)
{
	const struct entry *best = e;
	char words[300];

	for (size_t i = 1; i < n; i++)
		if (e[i].rank > best->rank)
			best = e + i;
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(e[i].blob.digest, best->blob.digest))
			continue;
		if (best->rank && !strcmp(e[i].name, best->name))
			continue;
		list(words, sizeof(words), e, n);
		doc_fail(d, -EINVAL, "several images: %s", words);
		return;
	}
	take(out, best);
}

static void pick(struct doc *d, struct oci_choice *out, struct entry *e,
		 size_t n, const char *want)
{
	char words[300], clean[100];
	size_t named = 0;

	if (!n) {
		doc_fail(d, -ENOTSUP, "no image for linux/amd64");
		return;
	}
	for (size_t i = 0; want && i < n; i++)
		if (!strcmp(e[i].name, want))
			e[named++] = e[i];
	if (!want) {
		choose(d, out, e, n);
	} else if (named) {
		choose(d, out, e, named);
	} else {
		doc_clean(clean, sizeof(clean), want);
		list(words, sizeof(words), e, n);
		doc_fail(d, -ENOENT, "no image is named %s: there is %s",
			 clean, words);
	}
}

static void read_all(struct doc *d, struct oci_choice *out, const char *want)
{
	const json_t *all = doc_list(d, d->root, "manifests");
	struct entry *e = calloc(json_array_size(all) + 1, sizeof(*e));
	size_t n = 0;

	if (!e)
		doc_fail(d, -ENOMEM, "out of memory");
	for (size_t i = 0; !d->code && i < json_array_size(all); i++)
		n += (size_t)read_entry(d, json_array_get(all, i), e + n);
	if (!d->code)
		pick(d, out, e, n, want);
	free(e);
}

int oci_read_index(struct oci_choice *out, const char *text, size_t len,
		   const char *want, struct err *err)
{
	_cleanup_doc_ struct doc d;

	*out = (struct oci_choice){ .name = "" };
	if (doc_open(&d, text, len, "image index", err) < 0)
		return d.code;
	if (!json_is_object(d.root))
		doc_fail(&d, -EBADMSG, "not an object");
	else if (doc_number(&d, d.root, "schemaVersion") != 2)
		doc_fail(&d, -ENOTSUP, "its version is not 2");
	if (!d.code)
		read_all(&d, out, want);
	return d.code;
}
