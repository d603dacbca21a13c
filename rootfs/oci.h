/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci: what the JSON of an image says.
 *
 * Readers of the documents that lead to an image: an index (index.json of an
 * OCI layout, or an image index below it, or Docker's manifest list), a
 * manifest (OCI, Docker's version 2 schema 2), manifest.json of a docker save
 * archive, and the config. Sources: the OCI image specification 1.1
 * (image-layout.md, image-index.md, manifest.md, descriptor.md, config.md)
 * and Docker's "Image Manifest Version 2, Schema 2".
 *
 * All of it is hostile. A document has at most IMAGE_TEXT_MAX bytes, is read
 * whole from a buffer that the caller keeps, and is typed strictly: a field
 * that is there and of the wrong kind is an error, one that is not known is
 * skipped. Who reads it has compared its bytes with the digest that names it
 * (sha256 is the only one taken) and its length with the descriptor's size.
 * Words in errors are clean of control characters.
 *
 * Pure: no files, any thread. 0, -EBADMSG (it is not what it should be),
 * -ENOTSUP (it is, but nothing that we can use), -ENOENT (no such choice),
 * -EINVAL (a choice must be made: the caller adds the hint that says how) or
 * -ENOMEM, all with words.
 */
#ifndef MAYFLY_OCI_H
#define MAYFLY_OCI_H

#include <stddef.h>
#include <stdint.h>

#include "rootfs/image.h"

/* How many indexes may lead to a manifest, one in the other. */
#define OCI_NEST_MAX 4

/* What kind of document a descriptor leads to. */
enum oci_kind { OCI_MANIFEST, OCI_INDEX };

/* A descriptor: descriptor.md. */
struct oci_blob {
	char digest[IMAGE_HEX_MAX];
	uint64_t size; /* in bytes, at most INT64_MAX */
};

/* "sha256:" and 64 small hex digits. 0 or -EBADMSG with words. */
int oci_read_digest(char hex[IMAGE_HEX_MAX], const char *text,
		    struct err *err);

/* --- index ------------------------------------------------------------ */

struct oci_choice {
	enum oci_kind kind;
	struct oci_blob blob;
	/* org.opencontainers.image.ref.name, printable; cut; "": none */
	char name[256];
};

/*
 * Choose the image for linux/amd64. @want is a name among the annotations
 * org.opencontainers.image.ref.name, or NULL: then there must be one image
 * only (several architectures of it do no harm), else the error lists them.
 * Below the first index @want is NULL.
 */
int oci_read_index(struct oci_choice *out, const char *text, size_t len,
		   const char *want, struct err *err);

/* --- manifest --------------------------------------------------------- */

struct oci_manifest {
	struct oci_blob config;
	unsigned nlayers; /* bottom first */
	struct oci_blob layers[IMAGE_LAYERS_MAX];
};

/* Refuses schema 1, artifacts that are no images, layers that are encrypted,
 * or that are to be fetched from elsewhere. */
int oci_read_manifest(struct oci_manifest *m, const char *text, size_t len,
		      struct err *err);

/* --- docker save ------------------------------------------------------ */

/* One image of manifest.json. Paths are relative, without empty, "." or ".."
 * components; yet open them beneath the archive only. */
struct oci_saved {
	char *config;
	char **layers; /* ends with NULL; bottom first; at most IMAGE_LAYERS_MAX */
	char **tags;   /* ends with NULL; as they stand there, printable */
};

/* @want is one of the tags, compared as references, or NULL: then there must
 * be one image only. The caller frees @s, which is empty after an error. */
int oci_read_saved(struct oci_saved *s, const char *text, size_t len,
		   const char *want, struct err *err);
void oci_free_saved(struct oci_saved *s);

/* --- config ----------------------------------------------------------- */

/*
 * Fill @img, which is empty: created, what there is to run, and @nlayers
 * layers with the diff_ids. Refuses an image for another machine or system.
 * @img is empty after an error.
 */
int oci_read_config(struct image *img, const char *text, size_t len,
		    unsigned nlayers, struct err *err);

#endif
