/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor: what this host has, and the command that mends what it has not.
 *
 * Each function looks at one side of the host and adds lines to a report. An
 * empty file in the scratch directory, a guest of a few instructions and a VM
 * whose guest never runs are made, and are gone when the function returns; what
 * stays is the empty cgroup below which VMs have theirs. One thread.
 */
#ifndef MAYFLY_DOCTOR_H
#define MAYFLY_DOCTOR_H

#include <stddef.h>

struct cgroup;
struct jail_report;

#define DOCTOR_LINES	 48
#define DOCTOR_WORDS_MAX 640

enum health {
	DOCTOR_OK,
	DOCTOR_WARN, /* it works, with less */
	DOCTOR_FAIL,
};

struct doctor_line {
	enum health health;
	const char *what; /* a literal */
	char words[DOCTOR_WORDS_MAX];
	char remedy[DOCTOR_WORDS_MAX]; /* what to type or do, or empty */
};

struct doctor {
	struct doctor_line line[DOCTOR_LINES];
	size_t n;
};

/* Add a line; a remedy goes to the last one by doctor_remedy(). */
void doctor_say(struct doctor *d, enum health h, const char *what,
		const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void doctor_remedy(struct doctor *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void doctor_host(struct doctor *d);    /* kernel, memory, limits */
void doctor_engines(struct doctor *d); /* what may run guests, and what does */
void doctor_files(struct doctor *d);   /* ours, scratch, the runs' directory */
void doctor_net(struct doctor *d);     /* for networks of guests */
void doctor_jail(struct doctor *d);    /* what keeps a VM in, by trial */

/* Its lines: those of the layers that are on or missing. */
void doctor_layers(struct doctor *d, const struct jail_report *r,
		   const struct cgroup *cg);

#endif
