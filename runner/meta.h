/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta: the report of a run, for --meta: as JSON, or as judges know it.
 *
 * Three objects keep apart who says what: the top level is the verdict,
 * "host" is measured here, "guest" is reported by the guest and no more than
 * its word. The file appears whole or not at all: written beside its final
 * name and renamed; but what is there and no plain file (/dev/stdout, a pipe)
 * is written to. One thread.
 */
#ifndef MAYFLY_META_H
#define MAYFLY_META_H

#include "jail/layers.h"
#include "jail/cgroup.h"
#include "runner/config.h"
#include "runner/verdict.h"

struct err;
struct json_t;
struct network_facts;
struct publish;

struct meta {
	const struct config *config;
	const struct run_result *result;
	const char *engine;	 /* NULL: none was chosen */
	const char *engine_why;	 /* auto: why not kvm; NULL or empty */
	const struct jail_report *jail; /* NULL, or what kept the VM in */
	/* With a jail: the host's cgroup, and what the VM used of it. */
	const struct cgroup_limits *limits;
	const struct cgroup_usage *usage;
	const struct network_facts *network; /* NULL: not known */
	const struct publish *publish; /* NULL: no ports of the host's */
	uint64_t disk_stored; /* bytes of its disk on the host; 0: not known */
	const struct err *error; /* NULL or no code: nothing to say */
};

/* Before the run: can a file be put there? */
int meta_check(const char *path, struct err *err);

/* The same for another document, which messages call @what. */
int meta_check_file(const char *what, const char *path, struct err *err);
int meta_write_file(const char *what, const char *path, const char *text,
		    struct err *err);

int meta_write(const struct meta *m, const char *path, struct err *err);

/* The document as a string that the caller frees, or NULL. */
char *meta_format(const struct meta *m);
/* The same as key:value lines (meta_isolate.c). */
char *meta_format_isolate(const struct meta *m);
/* Its part on the network (meta_network.c): the caller's, null where there is
 * none; NULL without memory. The same as a string that the caller frees. */
struct json_t *meta_network(const struct config *c,
			    const struct network_facts *f);
char *meta_network_text(const struct config *c, const struct network_facts *f);

#endif
