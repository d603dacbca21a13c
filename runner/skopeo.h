/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skopeo: the program that speaks to registries, run once.
 *
 * It has our environment, for that is where it finds passwords and proxies, and
 * dies with us. On a terminal it draws its progress itself; its last word on
 * why it has failed becomes ours, in one line with a remedy. One thread.
 */
#ifndef MAYFLY_SKOPEO_H
#define MAYFLY_SKOPEO_H

struct err;
struct interrupt;
struct reference;

struct skopeo_copy {
	const struct reference *from;
	const char *to; /* "oci:DIR:TAG" */
	int insecure;	/* plain HTTP and certificates of nobody's are fine */
	int loud;	/* there is a terminal to draw progress on */
	/* Asked now and then: 0, or -errno with words to end it with. */
	int (*check)(void *opaque, struct err *err);
	void *opaque;
};

/* Copy one image for linux/amd64, its layers as they are. 0; -errno with words;
 * -EINTR where a signal came. */
int skopeo_copy(const struct skopeo_copy *c, struct interrupt *stop,
		struct err *err);

/* What @text, all that it wrote to its standard error, says of a failure, as
 * our error. Always negative. */
int skopeo_explain(const struct skopeo_copy *c, const char *text,
		   struct err *err);

#endif
