/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fpu_image: the FXSAVE64 image, SDM 1 table 10-2, for x87.c and fxsave.c.
 */
#ifndef MAYFLY_SOFT_FPU_IMAGE_H
#define MAYFLY_SOFT_FPU_IMAGE_H

#include <stdint.h>
#include <string.h>

#define FXI_FCW	  0
#define FXI_FSW	  2
#define FXI_FOP	  6
#define FXI_FIP	  8
#define FXI_FDP	  16
#define FXI_MXCSR 24
#define FXI_MASK  28
#define FXI_ST	  32
#define FXI_XMM	  160
#define FXI_SIZE  416 /* that is written; the rest is software's */

#define FSW_FLAGS 0x003fu
#define FSW_ES_B  0x8080u
#define FOP_MASK  0x07ffu

struct image {
	uint8_t b[512];
} __attribute__((aligned(64)));

static inline uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void put16(uint8_t *p, uint64_t v)
{
	uint16_t x = (uint16_t)v;

	memcpy(p, &x, sizeof(x));
}

static inline void put32(uint8_t *p, uint64_t v)
{
	uint32_t x = (uint32_t)v;

	memcpy(p, &x, sizeof(x));
}

static inline void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* The unmasked ones of the x87 exceptions that FSW holds. */
static inline int fpu_pending(const uint8_t *fx)
{
	return get16(fx + FXI_FSW) & ~get16(fx + FXI_FCW) & FSW_FLAGS;
}

#endif
