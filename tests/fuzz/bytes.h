/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes: an input taken apart from its front. Behind its end there are zeros,
 * so that a target need not ask.
 */
#ifndef MAYFLY_TESTS_FUZZ_BYTES_H
#define MAYFLY_TESTS_FUZZ_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer calls it with every input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
	const uint8_t *p;
	size_t n;
};

static inline void take(struct bytes *b, void *out, size_t len)
{
	size_t n = len < b->n ? len : b->n;

	memset(out, 0, len);
	if (!n)
		return;
	memcpy(out, b->p, n);
	b->p += n;
	b->n -= n;
}

static inline uint8_t take8(struct bytes *b)
{
	uint8_t v;

	take(b, &v, sizeof(v));
	return v;
}

static inline uint16_t take16(struct bytes *b)
{
	uint16_t v;

	take(b, &v, sizeof(v));
	return v;
}

static inline uint32_t take32(struct bytes *b)
{
	uint32_t v;

	take(b, &v, sizeof(v));
	return v;
}

static inline uint64_t take64(struct bytes *b)
{
	uint64_t v;

	take(b, &v, sizeof(v));
	return v;
}

/* What must hold whatever the input. assert() is not for tests: NDEBUG. */
#define must(x)                                                          \
	do {                                                             \
		if (!(x)) {                                              \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, \
				__LINE__, #x);                           \
			abort();                                         \
		}                                                        \
	} while (0)

#endif
