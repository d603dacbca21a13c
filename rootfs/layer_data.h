/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer_data: the file that holds what the files of a layer hold.
 *
 * Written from its beginning to its end, in large pieces, without its blocks
 * of zeros.
 */
#ifndef MAYFLY_LAYER_DATA_H
#define MAYFLY_LAYER_DATA_H

#include <stddef.h>
#include <stdint.h>

struct err;

struct layer_data {
	int fd;
	uint8_t *buf;
	uint64_t at; /* where its first byte belongs: a block's begin */
	size_t have; /* bytes in it; zeros behind them */
};

/* @fd is an empty file, borrowed. To be freed in any case. */
int layer_data_begin(struct layer_data *d, int fd, struct err *err);
/* Bytes that belong at @at, which is not before those of the last call. */
int layer_data_put(struct layer_data *d, uint64_t at, const uint8_t *p,
		   size_t len, struct err *err);
/* It is @size bytes at last. */
int layer_data_end(struct layer_data *d, uint64_t size, struct err *err);
void layer_data_free(struct layer_data *d);

#endif
