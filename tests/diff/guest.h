/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest: runs the cases of host.h on the soft engine.
 *
 * A guest that stays in user mode (CPL 3, paging on, Linux's selectors): each
 * exception goes through its IDT to a stub in kernel memory that writes its
 * vector to a port, which is where the outcome is read off. The same at the
 * end of a case, by INT 80. One owner, one thread.
 */
#ifndef MAYFLY_TESTS_DIFF_GUEST_H
#define MAYFLY_TESTS_DIFF_GUEST_H

#include "tests/diff/host.h"

struct guest;

/* NULL: no memory, or the engine refuses, with words on stderr. */
struct guest *guest_new(void);
void guest_free(struct guest *g); /* takes NULL */
/* Run @c, its outcome in @c->soft. 0, or -1 with words in guest_why(). */
int guest_run(struct guest *g, struct diff_case *c);
const char *guest_why(const struct guest *g);

#endif
