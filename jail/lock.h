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
 * signal to another process, as far as this kernel's Landlock goes.
 * Descriptors that are open already stay what they are.
 *
 * The ABI (> 0), 0 where the kernel has no Landlock, or -errno.
 */
int lock_landlock(void);

/* The same, but for what is below directory @dir: there, files can be read and
 * directories listed, or files, directories and symbolic links be made and
 * removed. */
enum lock_below { LOCK_BELOW_READ, LOCK_BELOW_MAKE };
int lock_landlock_below(int dir, enum lock_below what);

/* What kind of thread this is: jail/seccomp_rules.c has what each may do. */
enum lock_role {
	LOCK_KVM_MAIN,
	LOCK_KVM_VCPU,
	LOCK_SOFT_MAIN,
	LOCK_SOFT_VCPU,
	LOCK_UNPACK, /* a child of the launcher: runner/cp_host.c */
	/* mayfly-unpack, by what it is asked: runner/unpack/main.c */
	LOCK_LAYER,
	LOCK_ARCHIVE,
	LOCK_PACK,
	LOCK_DNS, /* mayfly-net, forwarding a guest's queries: net/forward.h */
	LOCK_KEEP, /* mayfly-net, holding a VM's network: net/keep.h */
	LOCK_ROLES,
};

/* The descriptor by which LOCK_DNS may be given others: its control socket. */
#define LOCK_DNS_CONTROL 3

/* The first of the two descriptors by which LOCK_DNS may send to an address of
 * its choice: its sockets towards the guest. */
#define LOCK_DNS_UDP 4

/*
 * The calling thread keeps the system calls of @role; any other kills the
 * process, all threads of it.
 *
 * LOCK_UNPACK and LOCK_ARCHIVE may make files and directories, LOCK_PACK opens
 * them for reading, so Landlock must say where.
 *
 * 1, 0 where the kernel has no filters, or -errno. Sanitizer builds install a
 * filter that is far wider and return 0: it does not count as this layer.
 */
int lock_seccomp(enum lock_role role);

#endif
