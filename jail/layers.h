/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layers: what keeps a VM in, one bit of a mask each.
 *
 * Every layer is on where the host allows it. What it does not allow is told
 * with the reason and the remedy, for --verbose, the report and doctor; with
 * --strict it is an error. Plain data; any thread.
 */
#ifndef MAYFLY_JAIL_LAYERS_H
#define MAYFLY_JAIL_LAYERS_H

#include <stdint.h>

struct err;

enum jail_layer {
	JAIL_NAMESPACES, /* mount, pid, net, ipc, uts, cgroup: all or none */
	JAIL_ROOT,	 /* an empty, read-only root directory */
	JAIL_UID,	 /* a user that nothing else of the host is */
	JAIL_RLIMITS,
	JAIL_CAPS,     /* none that it has, and none to regain */
	JAIL_NNP,      /* no_new_privs */
	JAIL_MEMORY,   /* by a cgroup of the host; with the next two */
	JAIL_CPU,
	JAIL_PIDS,
	JAIL_LANDLOCK, /* no path, no network, no signal to others */
	JAIL_SECCOMP,  /* a filter for each role of thread */
	JAIL_LAYERS,
};

/* The last two are the program's own work, and it tells of them. */
#define JAIL_OWN ((1u << JAIL_LANDLOCK) | (1u << JAIL_SECCOMP))

struct jail_missing {
	enum jail_layer layer;
	char why[120];
	char remedy[120];
};

struct jail_report {
	uint32_t on; /* mask of 1 << enum jail_layer */
	unsigned nmissing;
	struct jail_missing missing[JAIL_LAYERS];
};

/* "namespaces", as in the report and in doctor. */
const char *jail_layer_name(enum jail_layer l);

void jail_report_on(struct jail_report *r, enum jail_layer l);
/* The first reason for a layer stays; it is off from then on. */
void jail_report_missing(struct jail_report *r, enum jail_layer l,
			 const char *remedy, const char *why, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * The program has locked itself in, and says by @told which of JAIL_OWN it has.
 * For those that it has not this asks the kernel why.
 */
void jail_report_program(struct jail_report *r, uint32_t told);

#define JAIL_NAMES_MAX 160
/* "namespaces, empty_root, ..." of a mask; empty for 0. */
const char *jail_layer_names(uint32_t mask, char names[JAIL_NAMES_MAX]);
/* The mask of what is missing. */
uint32_t jail_report_lacks(const struct jail_report *r);

/* For --strict: -EPERM with words for the first layer that is missing, and the
 * names of the others. */
int jail_report_strict(const struct jail_report *r, struct err *err);

#endif
