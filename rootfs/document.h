/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document: JSON that somebody else wrote, read with strict types.
 *
 * Private to the readers of images (oci*.c, image*.c). The first thing that is
 * wrong is kept, in words that name the document and the field; readers go on
 * and look at `code` in the end. A field that is null counts as not there:
 * encoders write that for an empty list. Strings have no NUL (the parser
 * refuses it) and are UTF-8.
 */
#ifndef MAYFLY_DOCUMENT_H
#define MAYFLY_DOCUMENT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* Longest string but for those in a list of words, which may have the size of
 * one argument of a program (MAX_ARG_STRLEN). */
#define DOC_TEXT_MAX 4096u
#define DOC_WORD_MAX (128u << 10)
#define DOC_TIME_MAX 36

struct doc {
	json_t *root; /* an object or a list */
	const char *what;
	struct err *err;
	int code; /* 0, or the first failure */
};

/* Parse; @what names it in words. 0 or doc->code. Call doc_close() after. */
int doc_open(struct doc *d, const char *text, size_t len, const char *what,
	     struct err *err);
void doc_close(struct doc *d);
#define _cleanup_doc_ __attribute__((cleanup(doc_close)))

/* Keep a failure, if it is the first. */
void doc_fail(struct doc *d, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Fields of @o, which may be NULL: NULL or 0 where it is not there. */
const json_t *doc_object(struct doc *d, const json_t *o, const char *key);
const json_t *doc_list(struct doc *d, const json_t *o, const char *key);
/* Not empty. Borrowed. */
const char *doc_text(struct doc *d, const json_t *o, const char *key);
/* The same, without control characters. */
const char *doc_line(struct doc *d, const json_t *o, const char *key);
/* At most INT64_MAX. A field that must be there. */
uint64_t doc_number(struct doc *d, const json_t *o, const char *key);
/* "sha256:HEX", which must be there. */
void doc_digest(struct doc *d, const json_t *o, const char *key,
		char hex[65]);
/* A time of RFC 3339 in ns; 0 where it is none, or before 1970. */
uint64_t doc_time(struct doc *d, const json_t *o, const char *key);
/* The other way: "2026-11-21T09:30:00.123456789Z". */
void doc_format_time(uint64_t ns, char buf[DOC_TIME_MAX]);

/* Copies, which the caller frees: */
char *doc_copy(struct doc *d, const char *s); /* NULL gives NULL */
/* a list of strings, never NULL but without memory; */
char **doc_words(struct doc *d, const json_t *o, const char *key);
/* the keys of an object, or its keys and values in turn. */
char **doc_keys(struct doc *d, const json_t *o, const char *key);
char **doc_pairs(struct doc *d, const json_t *o, const char *key);
void doc_free_words(char **words);

/* No control character: C0, DEL, or C1 as UTF-8 has it. */
int doc_is_line(const char *s);
/* Any bytes as part of a message: cut, and '?' for what steers terminals. */
void doc_clean(char *buf, size_t cap, const char *s);

#endif
