/* SPDX-License-Identifier: Apache-2.0 */
/* Integer arithmetic of every width, on operands from a generator. */
#include <stdint.h>
#include <stdio.h>

static uint64_t seed = 88172645463325252u;

static uint64_t next(void)
{
	static const uint64_t edge[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff,
		0x8000, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffff, 0x8000000000000000, ~0ull };

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	if (!(seed & 7))
		return edge[seed / 8 % (sizeof(edge) / sizeof(edge[0]))];
	return seed >> (seed >> 58);
}

static uint64_t hash = 14695981039346656037u;

static void mix(uint64_t v)
{
	hash = (hash ^ v) * 1099511628211u;
	hash ^= hash >> 29;
}

/* What a type can do; T's result wraps by unsigned U. */
#define OPS(NAME, T, U) \
static void NAME(T a, T b, unsigned s) \
{ \
	T r; \
	mix((uint64_t)((U)a + (U)b)); \
	mix((uint64_t)((U)a - (U)b)); \
	mix((uint64_t)((U)a * (U)b)); \
	mix((uint64_t)(a & b) ^ (uint64_t)(a | b) ^ (uint64_t)(T)~a); \
	mix(a < b ? 1 : a == b ? 2 : 3); \
	s %= 8 * sizeof(T); \
	mix((uint64_t)(T)((U)a << s)); \
	mix((uint64_t)(T)(a >> s)); \
	mix((uint64_t)(U)((U)a << s | (U)a >> ((8 * sizeof(T) - s) % \
		(8 * sizeof(T))))); \
	if (b && !((T)-1 < 0 && b == (T)-1)) { \
		mix((uint64_t)(T)(a / b)); \
		mix((uint64_t)(T)(a % b)); \
	} \
	mix(__builtin_add_overflow(a, b, &r)); \
	mix(__builtin_sub_overflow(a, b, &r)); \
	mix(__builtin_mul_overflow(a, b, &r)); \
	mix((uint64_t)(T)(a / 7) + (uint64_t)(T)(a % 10) * 3); \
}

OPS(do_i8, int8_t, uint8_t)
OPS(do_u8, uint8_t, uint8_t)
OPS(do_i16, int16_t, uint16_t)
OPS(do_u16, uint16_t, uint16_t)
OPS(do_i32, int32_t, uint32_t)
OPS(do_u32, uint32_t, uint32_t)
OPS(do_i64, int64_t, uint64_t)
OPS(do_u64, uint64_t, uint64_t)

static void do_bits(uint64_t a)
{
	mix((uint64_t)__builtin_popcountll(a));
	mix((uint64_t)__builtin_popcount((unsigned)a));
	mix((uint64_t)__builtin_ffsll((long long)a));
	mix((uint64_t)__builtin_parityll(a));
	mix(__builtin_bswap64(a) ^ __builtin_bswap32((uint32_t)a) ^
	    __builtin_bswap16((uint16_t)a));
	if (a) {
		mix((uint64_t)__builtin_clzll(a));
		mix((uint64_t)__builtin_ctzll(a));
	}
}

static void do_wide(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 p = (unsigned __int128)a * b + c;
	__int128 q = (__int128)(int64_t)a * (int64_t)b - (int64_t)c;

	mix((uint64_t)p);
	mix((uint64_t)(p >> 64));
	mix((uint64_t)(q >> 3));
	mix((uint64_t)(q >> 67));
	if (c) {
		mix((uint64_t)(p / c));
		mix((uint64_t)(p % c));
		mix((uint64_t)(p << (c & 127)));
	}
}

int main(void)
{
	for (int i = 1; i <= 20000; i++) {
		uint64_t a = next(), b = next(), c = next();
		unsigned s = (unsigned)(c >> 7);

		do_i8((int8_t)a, (int8_t)b, s);
		do_u8((uint8_t)a, (uint8_t)b, s);
		do_i16((int16_t)a, (int16_t)b, s);
		do_u16((uint16_t)a, (uint16_t)b, s);
		do_i32((int32_t)a, (int32_t)b, s);
		do_u32((uint32_t)a, (uint32_t)b, s);
		do_i64((int64_t)a, (int64_t)b, s);
		do_u64(a, b, s);
		do_bits(a);
		do_wide(a, b, c);
		if (i % 1000 == 0)
			printf("%d %016llx\n", i, (unsigned long long)hash);
	}
	return 0;
}
