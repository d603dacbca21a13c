/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: text for nft, written piece by piece into a buffer of a fixed size.
 *
 * What does not fit makes the whole text void: a table without its end would
 * be a fence with a hole. What enters it is numbers, addresses and networks as
 * net/addr.h prints them, and words of this program: never a user's word.
 */
#ifndef MAYFLY_NET_TABLE_H
#define MAYFLY_NET_TABLE_H

#include <stddef.h>

#include "net/addr.h"

struct err;

struct table {
	char *buf;
	size_t size, len;
	int bad; /* did not fit, or had what is no address */
};

/* @size is not 0. */
void table_open(struct table *t, char *buf, size_t size);
void table_put(struct table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* "10.0.0.0/8" */
void table_prefix(struct table *t, const struct net_prefix *p);
/* An interval set of networks, without its closing brace's need of elements:
 * open, any number of elements of its family, close. */
void table_set_open(struct table *t, const char *name, int family);
void table_set_element(struct table *t, const struct net_prefix *p, int *n);
void table_set_close(struct table *t, int n);
/* The length, or -E2BIG with words and an empty buffer. */
int table_end(struct table *t, struct err *err);

#endif
