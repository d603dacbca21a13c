/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nft: the program of that name, with a script.
 *
 * One script is one transaction of the kernel: all of it, or nothing. The
 * program runs in the caller's network namespace, with an empty environment
 * and no descriptor of ours, and dies with the thread that has started it.
 * What it complains of comes back as words. One thread.
 */
#ifndef MAYFLY_NET_NFT_H
#define MAYFLY_NET_NFT_H

#include <stddef.h>
#include <sys/types.h>

struct err;

#define NFT_TIMEOUT_MS 60000 /* one that hangs, not one that waits for a CPU */

struct nft {
	pid_t pid; /* -1: none */
	int pidfd;
	int words; /* its error output */
};

void nft_init(struct nft *n);

/* Its path, or NULL with the remedy. */
const char *nft_find(struct err *err);

/* Start it with a script, and go on; @n was nft_init(). */
int nft_start(struct nft *n, const char *script, size_t len, struct err *err);
/* Wait for it. 0, or -errno with its first line. */
int nft_finish(struct nft *n, int timeout_ms, struct err *err);
/* In any case; kills what has not ended. */
void nft_free(struct nft *n);

/* All of that, one after the other. */
int nft_run(const char *script, size_t len, struct err *err);

#endif
