/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference: the name of an image, as Docker's grammar has it.
 *
 *	[docker://][HOST[:PORT]/]PATH[:TAG][@sha256:HEX]
 *
 * The first part is a host if it has a '.', a ':' or capitals, or is
 * "localhost"; without one the host is docker.io, where a PATH of one part
 * stands below library/. Without tag and digest the tag is "latest". So
 * "debian" is docker.io/library/debian:latest. (The grammar is that of
 * github.com/distribution/reference; the OCI distribution specification,
 * "Pulling manifests", has the same for paths and tags.)
 *
 * Pure: no files, nothing allocated, any thread. A parsed reference is ASCII
 * without blanks or control characters: it may be printed as it is.
 */
#ifndef MAYFLY_REFERENCE_H
#define MAYFLY_REFERENCE_H

struct err;

#define REFERENCE_NAME_MAX 256 /* HOST[:PORT]/PATH and a NUL */
#define REFERENCE_TAG_MAX  129
#define REFERENCE_HEX_MAX  65 /* 64 hex digits and a NUL */
/* What any of the printers below writes, with its NUL. */
#define REFERENCE_MAX \
	(9 + 2 * REFERENCE_NAME_MAX + REFERENCE_TAG_MAX + 8 + REFERENCE_HEX_MAX)
/* A name of a file: NAME_MAX and a NUL. */
#define REFERENCE_FILE_MAX 256

struct reference {
	char host[REFERENCE_NAME_MAX]; /* "docker.io", "localhost:5000" */
	char path[REFERENCE_NAME_MAX]; /* "library/debian" */
	char tag[REFERENCE_TAG_MAX];   /* "": there is a digest, and no tag */
	char digest[REFERENCE_HEX_MAX]; /* "": none */
};

/* 0, or -EINVAL with words that name @text and, where there is one, a
 * remedy. */
int reference_parse(struct reference *r, const char *text, struct err *err);

/* "docker.io/library/debian:latest": what reference_parse() takes to the same
 * reference, and all that names an image in the store. */
void reference_full(const struct reference *r, char buf[REFERENCE_MAX]);
/* For people: "debian:latest", "localhost:5000/a/b:1". */
void reference_short(const struct reference *r, char buf[REFERENCE_MAX]);
/* "docker://docker.io/library/debian:latest", as skopeo takes it: where there
 * is a digest it wants no tag. */
void reference_skopeo(const struct reference *r, char buf[REFERENCE_MAX]);

/* The full name as one of a file, "docker.io%2Flibrary%2Fdebian%3Alatest".
 * -ENAMETOOLONG with words. */
int reference_encode(const struct reference *r, char buf[REFERENCE_FILE_MAX],
		     struct err *err);
/* Back: -EINVAL for what reference_encode() does not write. */
int reference_decode(struct reference *r, const char *file);

#endif
