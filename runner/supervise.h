/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervise: a run with all that belongs to it.
 *
 * Settles the engine (and takes soft where kvm fails before the guest is up),
 * keeps the record that ps and the like read, launches the machine, runs the
 * command, writes the report. Detached, the caller gets the id as soon as the
 * command runs; the process that returns 0 without words is the supervisor.
 */
#ifndef MAYFLY_SUPERVISE_H
#define MAYFLY_SUPERVISE_H

#include <stdint.h>

#include "runner/config.h"

struct err;

/* The exit code, or -errno with words; words with an exit code are to be
 * printed as well. @begin is when mayfly started, CLOCK_MONOTONIC. */
int supervise(const struct config *c, uint64_t begin, struct err *err);

#endif
