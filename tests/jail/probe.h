/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: attempts to reach something out of the jail.
 *
 * run.c, outside, starts probe.c, inside, as the launcher starts mayfly-vmm,
 * or with one layer of the jail alone, or with none. Inside, each attempt is
 * made by a child of its own, and what became of it is sent outside, where it
 * is held against the attempt's claims: both link the same tables.
 */
#ifndef MAYFLY_TESTS_JAIL_PROBE_H
#define MAYFLY_TESTS_JAIL_PROBE_H

#include <stdint.h>
#include <sys/types.h>

#include "jail/layers.h"

#define BIT(layer) (1u << (layer))

/* Sets of layers, short enough for tables. */
enum {
	NSPACE = BIT(JAIL_NAMESPACES),
	ROOT = BIT(JAIL_ROOT),
	UID = BIT(JAIL_UID),
	RLIM = BIT(JAIL_RLIMITS),
	CAPS = BIT(JAIL_CAPS),
	NNP = BIT(JAIL_NNP),
	LANDLOCK = BIT(JAIL_LANDLOCK),
	SECCOMP = BIT(JAIL_SECCOMP),
	/* What jail.c does besides, of which there is no report. */
	STEPS = BIT(JAIL_LAYERS),
};

/* Where jail.h puts the control socket, and run.c what else. */
#define CONTROL_FD 3

#define FDS_MAX 4096 /* no descriptor is above that */
#define TASKS	8    /* that run.c lets the probe have */

enum outcome {
	HELD,	 /* it came to nothing */
	REACHED, /* it is out */
	ABSENT,	 /* this kernel has no such thing */
	BROKEN,	 /* the probe itself failed */
};

/* What is outside; from run.c, in one message. */
struct world {
	uint32_t work;	/* enum work */
	uint32_t lock;	/* LANDLOCK, SECCOMP: what the probe is to put on */
	int32_t role;	/* enum lock_role */
	uint32_t on;	/* layers that have been put on outside */
	/* A process of the user that mayfly has, and something in it. */
	int32_t victim;
	uint64_t victim_secret; /* its address */
	int32_t launcher;
	int32_t shm_key;
	uint16_t port; /* TCP and UDP, 127.0.0.1 */
	uint16_t nfds; /* that came with the boot message */
	char abstract[32];
	char queue[32]; /* POSIX */
	/* "secret" to read, "socket", "program"; everybody may write to it */
	char dir[64];
	char nodename[65];
	uint64_t file_size; /* the limit */
	struct {
		uint32_t bytes;
		int32_t type;
		unsigned char data[128];
	} handle; /* of the secret */
};

enum work {
	TRY_ALL,   /* each probe: a struct said each */
	SWEEP,	   /* each system call, see sweep.h: the same */
	STAY,	   /* wait for the end of the control socket */
};

struct said {
	uint32_t index;
	uint32_t outcome; /* of SWEEP: what waitpid() gave */
};

enum {
	FOR_ROOT = 1,  /* only root could do that anyway */
	MAY_LACK = 2,  /* a host need not have what it takes */
	NOT_BARE = 4,  /* held if the process has a user or namespaces */
	OWN_TASKS = 8, /* held if nobody else's are counted */
};

struct probe {
	const char *name;
	/* Each of these holds it, with all the others off. */
	uint32_t by;
	/* It is only tried with these on. */
	uint32_t base;
	unsigned flags;
	int landlock; /* the ABI from which LANDLOCK does */
	int (*reach)(const struct world *w);
};

extern const struct probe probe_paths[], probe_fds[], probe_others[],
	probe_rights[];

/* NULL after the last. */
const struct probe *probe_at(unsigned i);

/* Descriptors as they were given, for the probes: see run.c, give(). */
enum { GIVEN_KERNEL, GIVEN_PROGRAM, GIVEN_SETUID, GIVEN_DISK, GIVEN_CONSOLE,
       GIVEN_LISTENER, GIVEN_STREAM, GIVEN_TERMINAL, GIVEN_KVM, GIVEN };
extern int given[GIVEN];
#endif
