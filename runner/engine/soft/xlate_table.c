/* SPDX-License-Identifier: Apache-2.0 */
/* Which handlers have templates. */
#include <assert.h>

#include "runner/engine/soft/xlate_code.h"

static unsigned row_hash(uop_fn fn)
{
	return (unsigned)(((uintptr_t)fn * 0x9e3779b97f4a7c15ull) >>
			  (64 - ROW_BITS));
}

struct row *xlate_row(struct xlate_table *t, uop_fn fn)
{
	unsigned h = row_hash(fn);

	while (t->row[h].fn && t->row[h].fn != fn)
		h = (h + 1) & (ROWS - 1);
	if (!t->row[h].fn) {
		/* there are so many handlers and no more */
		assert(t->n < ROWS / 4 * 3);
		t->n++;
		t->row[h].fn = fn;
	}
	return &t->row[h];
}

void xlate_add(struct xlate_table *t, uop_fn fn, enum xlate_kind kind,
	       unsigned size, unsigned op)
{
	if (fn)
		*xlate_row(t, fn) = (struct row){ fn, (uint8_t)kind,
					       (uint8_t)size, (uint8_t)op };
}

void xlate_add_forms(struct xlate_table *t, const struct forms *f,
		     enum xlate_kind kind, unsigned op)
{
	for (unsigned form = 0; form < FORMS; form++)
		for (unsigned size = 0; size < 4; size++)
			xlate_add(t, f->fn[form][size], kind + form, size, op);
}
