/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysctl: settings of the kernel, by their files below /proc/sys.
 *
 * Those that belong to a namespace are the calling thread's. Paths are formats
 * of printf(3), "net/ipv6/conf/%s/forwarding"; one that is too long is of no
 * file. Nothing is allocated.
 */
#ifndef MAYFLY_BASE_SYSCTL_H
#define MAYFLY_BASE_SYSCTL_H

/* A number that is never negative. -1: there is none, or it is not ours to
 * read. */
long sysctl_number(const char *below, ...)
	__attribute__((format(printf, 1, 2)));

/* 0, -ENOENT where there is no such setting, -EROFS in many containers. */
int sysctl_write(const char *value, const char *below, ...)
	__attribute__((format(printf, 2, 3)));

/* What an administrator can do where users get no user namespace, but @code:
 * about the first setting that is in the way, or in a container.
 * user_namespaces(7) */
const char *sysctl_userns_remedy(int code);

#endif
