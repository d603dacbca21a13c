/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock: what a process does to itself before it meets hostile bytes.
 *
 *	lock_landlock()	 while the process has one thread
 *	(threads are made)
 *	lock_seccomp()	 each thread, as the last thing that it sets up
 *
 * Nothing here can be undone. libc only, for mayfly-vmm has nothing else.
 */
#ifndef MAYFLY_JAIL_LOCK_H
#define MAYFLY_JAIL_LOCK_H

/*
 * No path of any file system, no network address, no abstract socket and no
 * signal to another process: whatever this kernel's Landlock can refuse.
 * Descriptors that are open already stay what they are.
 *
 * The ABI (> 0), 0 where the kernel has no Landlock, or -errno.
 */
int lock_landlock(void);

#endif
