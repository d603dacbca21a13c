/* SPDX-License-Identifier: Apache-2.0 */
/*
 * siphash: SipHash-2-4 (Aumasson and Bernstein, 2012), a hash with a key.
 *
 * Names come from who would have them all fall into one bucket: with a key that
 * they do not know they cannot.
 */
#ifndef MAYFLY_SIPHASH_H
#define MAYFLY_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t siphash_rotl(uint64_t v, int n)
{
	return v << n | v >> (64 - n);
}

static inline void siphash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = siphash_rotl(v[1], 13) ^ v[0];
	v[0] = siphash_rotl(v[0], 32);
	v[2] += v[3];
	v[3] = siphash_rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = siphash_rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = siphash_rotl(v[1], 17) ^ v[2];
	v[2] = siphash_rotl(v[2], 32);
}

static inline void siphash_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	siphash_round(v);
	siphash_round(v);
	v[0] ^= word;
}

/* Of @first, as eight bytes, little-endian, and then @len of @data. */
static inline uint64_t siphash(const uint64_t key[2], uint64_t first,
			       const void *data, size_t len)
{
	uint64_t v[4] = {
		key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573,
	};
	uint64_t last = (uint64_t)(len + sizeof(first)) << 56, word;
	const uint8_t *p = data;
	int i;

	siphash_word(v, first);
	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		siphash_word(v, word);
	}
	while (len--)
		last |= (uint64_t)p[len] << 8 * len;
	siphash_word(v, last);
	v[2] ^= 0xff;
	for (i = 0; i < 4; i++)
		siphash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
