/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signo: signals by name, as commands, options and images have them.
 */
#ifndef MAYFLY_SIGNO_H
#define MAYFLY_SIGNO_H

/* "TERM", "SIGTERM", "15", "RTMIN+3": a number from 1 to SIGNO_MAX, those of
 * the guest's kernel; -1: no such signal. */
#define SIGNO_MAX 64
int signo_parse(const char *s);

#endif
