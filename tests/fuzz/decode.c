/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction decoder on any bytes in any mode. What it says of them does
 * not depend on bytes past the instruction's end.
 */
#include "runner/engine/soft/decode.h"
#include "tests/fuzz/bytes.h"

#define LONGEST 15

static void same(const struct insn *a, const struct insn *b)
{
	must(a->op == b->op && a->len == b->len && a->nopnd == b->nopnd &&
	     a->disp == b->disp && a->imm == b->imm && a->imm2 == b->imm2);
}

static void in_mode(const uint8_t *p, size_t n, enum decode_mode mode)
{
	struct insn in, again;

	memset(&in, 0, sizeof(in));
	memset(&again, 0, sizeof(again));
	if (decode(p, n, mode, &in) != DECODE_OK)
		return;
	must(in.len >= 1 && in.len <= LONGEST && in.len <= n);
	must(in.nopnd <= 4);
	/* Exactly its bytes, on the heap: one more read is a report. */
	uint8_t *exact = malloc(in.len);

	must(exact);
	memcpy(exact, p, in.len);
	must(decode(exact, in.len, mode, &again) == DECODE_OK);
	same(&in, &again);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < size && at < 64; at++) {
		in_mode(data + at, size - at, DECODE_64);
		in_mode(data + at, size - at, DECODE_32);
		in_mode(data + at, size - at, DECODE_16);
	}
	return 0;
}
