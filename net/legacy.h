/* SPDX-License-Identifier: Apache-2.0 */
/*
 * legacy: the tables of iptables-legacy, which nftables does not show.
 *
 * Looked at by getsockopt(), as that program does, and only where the kernel
 * has them in this network namespace: looking would make them. Changed by the
 * program, which takes its own lock (-w). Root only; one thread.
 */
#ifndef MAYFLY_NET_LEGACY_H
#define MAYFLY_NET_LEGACY_H

#include <stdint.h>

struct err;

/* Of one family. */
struct legacy {
	int there;	/* a table `filter` */
	int drops;	/* what gets to the end of FORWARD, or its policy */
	int from, to;	/* our rules: from mfy*, and towards them */
	uint64_t hash;	/* of all but counters; 0: not there */
};

/* @family: 4, 6. -errno with words. */
int legacy_read(struct legacy *l, int family, struct err *err);

/* Insert our two rules where they are missing, or delete them where they are.
 * @l is as legacy_read() has left it. -ENOENT, with the remedy: the kernel has
 * the tables, and the program is not here. */
int legacy_insert(const struct legacy *l, int family, struct err *err);
int legacy_delete(const struct legacy *l, int family, struct err *err);

/* Its path, or NULL. */
const char *legacy_program(int family);

#endif
