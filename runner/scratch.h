/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch: the disk that takes a run's writes and dies with it.
 *
 * A nameless file with the content of a template, sparse where the template
 * is. It is gone when its last descriptor closes, whatever ends the process.
 */
#ifndef MAYFLY_SCRATCH_H
#define MAYFLY_SCRATCH_H

struct err;

/* Returns a descriptor that the caller owns, or -errno. */
int scratch_create(int template_fd, struct err *err);

/* An empty nameless file in @dir: O_TMPFILE, or created and unlinked. */
int scratch_file(const char *dir, struct err *err);

/* Where it is made: TMPDIR, else /var/tmp, else /tmp. */
const char *scratch_dir(void);

#endif
