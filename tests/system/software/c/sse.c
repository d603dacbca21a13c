/* SPDX-License-Identifier: Apache-2.0 */
/* Intrinsics of SSE2 to SSE4.2 on random vectors. */
#include <nmmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint64_t seed = 123456789123456789u;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t hash = 14695981039346656037u;

static void mix(uint64_t v)
{
	hash = (hash ^ v) * 1099511628211u;
	hash ^= hash >> 31;
}

static void mixv(__m128i v)
{
	mix((uint64_t)_mm_cvtsi128_si64(v));
	mix((uint64_t)_mm_extract_epi64(v, 1));
}

#define PS(x) mixv(_mm_castps_si128(x))
#define PD(x) mixv(_mm_castpd_si128(x))

static void do_int(__m128i a, __m128i b)
{
	mixv(_mm_add_epi8(a, b)); mixv(_mm_adds_epi16(a, b));
	mixv(_mm_subs_epu8(a, b)); mixv(_mm_madd_epi16(a, b));
	mixv(_mm_mulhi_epu16(a, b)); mixv(_mm_mul_epu32(a, b));
	mixv(_mm_sad_epu8(a, b)); mixv(_mm_avg_epu16(a, b));
	mixv(_mm_packs_epi32(a, b)); mixv(_mm_packus_epi16(a, b));
	mixv(_mm_unpacklo_epi8(a, b)); mixv(_mm_unpackhi_epi64(a, b));
	mixv(_mm_shuffle_epi32(a, 0x1b)); mixv(_mm_shufflehi_epi16(a, 0x93));
	mixv(_mm_sll_epi32(a, _mm_set_epi64x(0, (long long)next() & 63)));
	mixv(_mm_srai_epi16(a, 5)); mixv(_mm_slli_si128(a, 3));
	mixv(_mm_cmpgt_epi32(a, b)); mixv(_mm_cmpeq_epi8(a, b));
	mix((uint64_t)_mm_movemask_epi8(a));
	/* SSSE3 */
	mixv(_mm_shuffle_epi8(a, b)); mixv(_mm_alignr_epi8(a, b, 7));
	mixv(_mm_hadd_epi16(a, b)); mixv(_mm_hsubs_epi16(a, b));
	mixv(_mm_maddubs_epi16(a, b)); mixv(_mm_mulhrs_epi16(a, b));
	mixv(_mm_sign_epi8(a, b)); mixv(_mm_abs_epi32(a));
	/* SSE4.1, SSE4.2 */
	mixv(_mm_blendv_epi8(a, b, _mm_srli_epi16(a, 3)));
	mixv(_mm_blend_epi16(a, b, 0xa5)); mixv(_mm_mpsadbw_epu8(a, b, 5));
	mixv(_mm_minpos_epu16(a)); mixv(_mm_mullo_epi32(a, b));
	mixv(_mm_max_epi8(a, b)); mixv(_mm_min_epu32(a, b));
	mixv(_mm_cvtepi8_epi64(a)); mixv(_mm_cvtepu16_epi32(b));
	mixv(_mm_packus_epi32(a, b)); mixv(_mm_cmpgt_epi64(a, b));
	mix((uint64_t)_mm_testz_si128(a, b) | (uint64_t)_mm_testc_si128(a, b) << 1);
	mixv(_mm_insert_epi8(a, (int)next(), 11));
	mix((uint64_t)_mm_extract_epi16(a, 6));
	mix(_mm_crc32_u64(hash & 0xffffffff, (uint64_t)_mm_cvtsi128_si64(a)));
	mix(_mm_crc32_u8((uint32_t)hash, (uint8_t)next()));
	mix(_mm_popcnt_u64(hash));
}

#define STR(M) \
	mix((uint64_t)_mm_cmpestri(a, la, b, lb, M)); \
	mixv(_mm_cmpestrm(a, la, b, lb, M)); \
	mix((uint64_t)_mm_cmpistri(a, b, M)); \
	mixv(_mm_cmpistrm(a, b, M)); \
	mix((uint64_t)_mm_cmpistrc(a, b, M)); \
	mix((uint64_t)_mm_cmpestro(a, la, b, lb, M))

/* Text over a small alphabet, so that things match; ends somewhere. */
static void do_strings(void)
{
	char s[16], t[16];
	int la = (int)(next() % 20) - 2, lb = (int)(next() % 20) - 2;
	__m128i a, b;

	for (int i = 0; i < 16; i++) {
		s[i] = "abcd\0"[next() % 41 / 8 % 5];
		t[i] = "abcd\0"[next() % 41 / 8 % 5];
	}
	a = _mm_loadu_si128((const __m128i *)s);
	b = _mm_loadu_si128((const __m128i *)t);
	STR(_SIDD_UBYTE_OPS | _SIDD_CMP_EQUAL_ANY);
	STR(_SIDD_SBYTE_OPS | _SIDD_CMP_RANGES | _SIDD_MOST_SIGNIFICANT);
	STR(_SIDD_UWORD_OPS | _SIDD_CMP_EQUAL_EACH | _SIDD_NEGATIVE_POLARITY);
	STR(_SIDD_UBYTE_OPS | _SIDD_CMP_EQUAL_ORDERED | _SIDD_UNIT_MASK);
	STR(_SIDD_SWORD_OPS | _SIDD_CMP_EQUAL_ORDERED |
	    _SIDD_MASKED_NEGATIVE_POLARITY);
}

static void do_float(__m128i i, __m128i j)
{
	__m128 a = _mm_cvtepi32_ps(i), b = _mm_castsi128_ps(j);
	__m128d c = _mm_cvtepi32_pd(i), d = _mm_castsi128_pd(j);

	PS(_mm_add_ps(a, b)); PS(_mm_mul_ps(a, b)); PS(_mm_div_ps(b, a));
	PS(_mm_sqrt_ps(b)); PS(_mm_min_ps(a, b)); PS(_mm_max_ss(a, b));
	PS(_mm_cmplt_ps(a, b)); PS(_mm_cmpunord_ps(a, b));
	PS(_mm_shuffle_ps(a, b, 0x4e)); PS(_mm_hadd_ps(a, b));
	PS(_mm_addsub_ps(a, b)); PS(_mm_dp_ps(a, b, 0xf3));
	PS(_mm_round_ps(a, _MM_FROUND_TO_ZERO)); PS(_mm_insert_ps(a, b, 0x9c));
	PS(_mm_blendv_ps(a, b, a)); PS(_mm_cvtpd_ps(d));
	PD(_mm_sub_pd(c, d)); PD(_mm_div_pd(c, d)); PD(_mm_sqrt_sd(c, d));
	PD(_mm_dp_pd(c, d, 0x31)); PD(_mm_floor_pd(d)); PD(_mm_cvtps_pd(b));
	PD(_mm_addsub_pd(c, d)); PD(_mm_unpackhi_pd(c, d));
	mixv(_mm_cvtps_epi32(b)); mixv(_mm_cvttpd_epi32(d));
	mix((uint64_t)_mm_comilt_ss(a, b)); mix((uint64_t)_mm_ucomige_sd(c, d));
	mix((uint64_t)_mm_cvttsd_si64(d)); mix((uint64_t)_mm_movemask_pd(d));
	mix(_mm_getcsr());
	_mm_setcsr(0x1f80 | (uint32_t)(seed & 3) << 13 |
		   (uint32_t)(seed >> 2 & 1) << 15 | (uint32_t)(seed >> 3 & 1) << 6);
}

int main(void)
{
	for (int i = 1; i <= 3000; i++) {
		__m128i a = _mm_set_epi64x((long long)next(),
					   (long long)next());
		__m128i b = _mm_set_epi64x((long long)next(),
					   (long long)next());

		do_int(a, b);
		do_strings();
		do_float(a, b);
		if (i % 250 == 0)
			printf("%d %016llx\n", i, (unsigned long long)hash);
	}
	return 0;
}
