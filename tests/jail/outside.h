/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outside: a host for the probe to reach into, and ways to start it.
 *
 * For run.c. Whatever cannot be made here ends the program: exit code 2.
 */
#ifndef MAYFLY_TESTS_JAIL_OUTSIDE_H
#define MAYFLY_TESTS_JAIL_OUTSIDE_H

#include "runner/machine.h"
#include "tests/jail/probe.h"

struct outside {
	struct world world; /* of which the probe gets a copy */
	int program_fd;	    /* the probe */
	int give[GIVEN];    /* -1: this host has none */
	int root;	    /* we are, and not only of a user namespace */
	pid_t user_of_terminal;
	int landlock;	    /* the kernel's ABI, 0: none */
	int dirfd;	    /* of world.dir */
	int leak[3];	    /* while something is started */
	int no_cgroup;	    /* who dies cannot remove it */
};

/* One that has been started, by any of the ways. */
struct started {
	struct machine m;
	uint32_t on; /* layers and STEPS, without the probe's own */
};

_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* @probe: its path. @is_private: our mount, uts and ipc namespaces are nobody
 * else's, and root need not make some. */
void outside_make(struct outside *o, const char *probe, int is_private);
void outside_free(struct outside *o);
/* What probes have made by success is not to hinder the next ones. */
void outside_tidy(struct outside *o);
/* What a host's programs have open, and a careless launcher lets through. */
void outside_leak(struct outside *o);
void outside_stop_leak(struct outside *o);

/* As mayfly run does. */
void start_whole(struct outside *o, struct started *s);
/* With these layers and no other; what mayfly's jail does besides, neither. */
void start_alone(struct outside *o, struct started *s, uint32_t layers);
/* What the probe is to do; then its words until it ends. 0 after the last. */
void start_work(struct outside *o, struct started *s, enum work work,
		uint32_t lock, int role);
int started_said(struct started *s, struct said *said);
void started_end(struct started *s);

/* death.c: a number of launchers, each of which dies early. 1: none leaves a
 * process. */
int launchers_die(struct outside *o, const char *vmm);

#endif
