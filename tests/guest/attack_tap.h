/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attack_tap: the network of an attack, as attack-run plays it: a tap in a
 * network of its own, where nobody else is.
 */
#ifndef MAYFLY_TESTS_GUEST_ATTACK_TAP_H
#define MAYFLY_TESTS_GUEST_ATTACK_TAP_H

#include "runner/vmm/ctl.h"

struct attack_tap {
	int sock; /* sends to the guest; -1: there is no network */
};

/* Leaves the network that this process was in. Where it may not make one of
 * its own, the machine has no network device, and the payloads say so. */
void attack_tap_init(struct attack_tap *t);
/* Name a fresh tap in the message. False: it cannot be made. */
int attack_tap_give(struct attack_tap *t, struct ctl_boot *b, int *fds, int *n);
/* A burst of datagrams of many sizes, none of which the guest asked for. */
void attack_tap_flood(struct attack_tap *t);
void attack_tap_up(struct attack_tap *t, int up);
/* The device goes, whoever has it open. */
void attack_tap_remove(struct attack_tap *t);

#endif
