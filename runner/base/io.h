/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io: reads and writes that finish, and file descriptors by message.
 *
 * All functions retry EINTR and return 0/-errno or a byte count.
 */
#ifndef MAYFLY_BASE_IO_H
#define MAYFLY_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

/* Write all of @len bytes. */
int io_write_all(int fd, const void *buf, size_t len);

/* Read up to @len bytes, stopping only at end of file. Bytes read or -errno. */
ssize_t io_read_full(int fd, void *buf, size_t len);
ssize_t io_pread_full(int fd, void *buf, size_t len, off_t off);

/* Read a whole small file, NUL-terminated, at most @max bytes; -EFBIG past it.
 * The caller frees *@buf. */
int io_read_file(const char *path, size_t max, char **buf, size_t *len);

/*
 * The same for a file that one of our own programs has left in @dir: regular, and
 * this user's. -ENOENT; -EBADMSG for anything else that is there, or is longer.
 * Opens nothing that could wait or lead elsewhere.
 */
int io_read_own(int dir, const char *name, size_t max, char **buf, size_t *len);

/* One datagram with @nfds descriptors (at most IO_FDS_MAX, of the 253 that
 * Linux takes: SCM_MAX_FD). -ETOOMANYREFS: the user's other messages on their
 * way have more descriptors than one process may; they will arrive. */
#define IO_FDS_MAX 224
int io_send_fds(int sock, const void *buf, size_t len, const int *fds,
		size_t nfds);

/* Received descriptors are O_CLOEXEC and owned by the caller; *@nfds is the
 * room on entry. Returns the length, 0 at end of file, or -errno; -EMSGSIZE
 * (with every descriptor closed) for a truncated message. */
ssize_t io_recv_fds(int sock, void *buf, size_t len, int *fds, size_t *nfds);

int io_set_nonblock(int fd, int on);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t io_now_ns(void);

#endif
