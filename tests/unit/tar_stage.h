/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tar_stage: tars put together byte by byte, honest ones and others, and what
 * comes of them.
 */
#ifndef MAYFLY_TESTS_TAR_STAGE_H
#define MAYFLY_TESTS_TAR_STAGE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/layer.h"
#include "rootfs/untar.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* --- writing ------------------------------------------------------------ */

struct tape {
	uint8_t *p;
	size_t len, room;
	/* as a source: how far, how much at once (0: all) */
	size_t at, piece;
};

/* A member, in the words of a test: what is not said is a file of nobody. */
struct member {
	const char *name;
	int type; /* '0' if 0; 'v': a NUL */
	const char *link;
	const void *data;
	size_t len;
	unsigned mode, uid, gid, major, minor;
	long mtime;
	const char *size;  /* the field as it stands there, 12 bytes */
	const char *owner; /* of 8 bytes */
	const char *time;  /* of 12 */
	const char *magic; /* 8; ustar's otherwise */
	const char *prefix;
	size_t pad; /* bytes of zeros behind the data instead of the right */
	int no_pad;
};

static inline void *tape_room(struct tape *t, size_t len)
{
	if (t->room - t->len < len) {
		t->room = t->room * 2 + len;
		t->p = realloc(t->p, t->room);
		cr_assert(t->p);
	}
	memset(t->p + t->len, 0, len);
	t->len += len;
	return t->p + t->len - len;
}

static inline void tape_bytes(struct tape *t, const void *p, size_t len)
{
	if (len)
		memcpy(tape_room(t, len), p, len);
}

static inline void tape_sum(uint8_t *h)
{
	unsigned sum = 0;

	memset(h + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += h[i];
	sprintf((char *)h + 148, "%06o", sum);
}

static inline void tape_add(struct tape *t, const struct member *m)
{
	uint8_t *h = tape_room(t, 512);
	int type = m->type ? m->type : '0';

	strncpy((char *)h, m->name, 100);
	sprintf((char *)h + 100, "%07o", m->mode);
	if (m->owner)
		memcpy(h + 108, m->owner, 8);
	else
		sprintf((char *)h + 108, "%07o", m->uid);
	sprintf((char *)h + 116, "%07o", m->gid);
	if (m->size)
		memcpy(h + 124, m->size, 12);
	else
		sprintf((char *)h + 124, "%011lo", (unsigned long)m->len);
	if (m->time)
		memcpy(h + 136, m->time, 12);
	else
		sprintf((char *)h + 136, "%011lo", (unsigned long)m->mtime);
	h[156] = (uint8_t)(type == 'v' ? 0 : type);
	if (m->link)
		strncpy((char *)h + 157, m->link, 100);
	memcpy(h + 257, m->magic ? m->magic : "ustar\0" "00", 8);
	sprintf((char *)h + 329, "%07o", m->major);
	sprintf((char *)h + 337, "%07o", m->minor);
	if (m->prefix)
		strncpy((char *)h + 345, m->prefix, 155);
	tape_sum(h);
	tape_bytes(t, m->data, m->data ? m->len : 0);
	if (m->data && !m->no_pad)
		tape_room(t, -m->len % 512);
}

#define ADD(t, ...) tape_add(t, &(struct member){ .name = __VA_ARGS__ })

/* One record of a pax header: @key=@value. */
static inline size_t pax_record(char *to, const char *key, const void *value,
				size_t len)
{
	size_t n = strlen(key) + len + 3, digits = 1;
	int at;

	for (size_t limit = 10; n + digits >= limit; limit *= 10)
		digits++;
	at = sprintf(to, "%zu %s=", n + digits, key);
	memcpy(to + at, value, len);
	to[n + digits - 1] = '\n';
	return n + digits;
}

static inline void tape_pax(struct tape *t, const char *key, const void *value,
			    size_t len)
{
	char *text = malloc(len + strlen(key) + 32);
	size_t n = pax_record(text, key, value, len);

	ADD(t, "PaxHeaders/x", 'x', .data = text, .len = n);
	free(text);
}

#define PAX(t, key, text) tape_pax(t, key, text, strlen(text))

static inline void tape_end(struct tape *t)
{
	tape_room(t, 1024);
}

static inline void tape_free(struct tape *t)
{
	free(t->p);
	*t = (struct tape){ 0 };
}

static inline ssize_t tape_next(void *opaque, const uint8_t **p,
				struct err *err)
{
	struct tape *t = opaque;
	size_t n = t->len - t->at;

	(void)err;
	if (t->piece)
		n = MIN(n, t->piece);
	*p = t->p + t->at;
	t->at += n;
	return (ssize_t)n;
}

/* --- reading what came of it -------------------------------------------- */

struct made {
	int r;
	struct err err;
	struct untar u;
	uint8_t *index;
	size_t index_size;
	struct layer_reader reader;
	struct layer_item item;
	char path[LAYER_PATH_MAX + 1], link[LAYER_LINK_MAX + 1];
};

static inline void made_open(struct made *m)
{
	struct stat st;

	cr_assert_eq(fstat(m->u.index, &st), 0);
	m->index_size = (size_t)st.st_size;
	m->index = malloc(m->index_size + 1);
	cr_assert_eq(pread(m->u.index, m->index, m->index_size, 0),
		     (ssize_t)m->index_size);
	cr_assert_eq(layer_open(&m->reader, m->index, m->index_size, &m->err),
		     0, "%s", m->err.msg);
	cr_assert_eq(fstat(m->u.data, &st), 0);
	cr_assert_eq((uint64_t)st.st_size, m->u.data_size);
}

static inline void make_within(struct made *m, struct tape *t, uint64_t data,
			       uint64_t entries)
{
	*m = (struct made){
		.u = { .source = tape_next, .opaque = t,
		       .data = memfd_create("data", MFD_CLOEXEC),
		       .index = memfd_create("index", MFD_CLOEXEC),
		       .data_max = data, .entries_max = entries },
	};
	cr_assert(m->u.data >= 0 && m->u.index >= 0);
	m->r = untar(&m->u, &m->err);
	if (m->r == 0)
		made_open(m);
}

static inline void make(struct made *m, struct tape *t)
{
	make_within(m, t, 1 << 30, 1 << 20);
}

static inline void made_free(struct made *m)
{
	close(m->u.data);
	close(m->u.index);
	free(m->index);
}

/* The next entry, its strings ended. */
static inline int made_next(struct made *m)
{
	int r = layer_next(&m->reader, &m->item);

	cr_assert_geq(r, 0);
	if (r) {
		memcpy(m->path, m->item.path, m->item.e.path_len);
		m->path[m->item.e.path_len] = '\0';
		memcpy(m->link, m->item.link, m->item.e.link_len);
		m->link[m->item.e.link_len] = '\0';
	}
	return r;
}

/* It is this one. */
static inline void expect(struct made *m, enum layer_type type,
			  const char *path)
{
	cr_assert_eq(m->r, 0, "%s", m->err.msg);
	cr_assert_eq(made_next(m), 1, "no %s", path);
	cr_expect_str_eq(m->path, path);
	cr_expect_eq(m->item.e.type, type, "%s: %u", path, m->item.e.type);
}

static inline void expect_end(struct made *m)
{
	cr_assert_eq(m->r, 0, "%s", m->err.msg);
	cr_expect_eq(made_next(m), 0, "%s", m->path);
}

/* The data of the file that is there. */
static inline void expect_data(struct made *m, const void *data, size_t len)
{
	uint8_t *p = malloc(len + 1);

	cr_assert_eq(m->item.e.size, len);
	cr_assert_eq(pread(m->u.data, p, len, (off_t)m->item.e.data),
		     (ssize_t)len);
	cr_expect_arr_eq(p, data, len);
	free(p);
}

static inline void expect_refused(struct made *m, int error, const char *words)
{
	cr_expect_eq(m->r, -error, "%d: %s", m->r, m->err.msg);
	cr_expect(strstr(m->err.msg, words), "not \"%s\": %s", words,
		  m->err.msg);
}

#endif
