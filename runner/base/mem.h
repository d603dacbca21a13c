/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem: one owner for every resource.
 *
 * `_cleanup_fd_ int fd = -1;` closes at the end of the scope; steal_fd() hands
 * ownership on. The same for pointers. Both are no-ops on -1 and NULL.
 */
#ifndef MAYFLY_BASE_MEM_H
#define MAYFLY_BASE_MEM_H

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_fd_ _cleanup_(cleanup_fd)
#define _cleanup_free_ _cleanup_(cleanup_free)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(p, type, field) \
	((type *)((char *)(p) - offsetof(type, field)))

static inline void cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/* Close and forget; safe to call twice. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void *steal_ptr_(void **p)
{
	void *v = *p;

	*p = NULL;
	return v;
}
#define steal_ptr(p) ((__typeof__(*(p)))steal_ptr_((void **)(p)))

#endif
