/* SPDX-License-Identifier: Apache-2.0 */
/* The disks that attack-run gives to its guests, in the order of their slots,
 * and what they must be afterwards. */
#ifndef MAYFLY_TESTS_GUEST_ATTACK_DISKS_H
#define MAYFLY_TESTS_GUEST_ATTACK_DISKS_H

#include "runner/vmm/ctl.h"

#define ATTACK_FILES 9

struct attack_disks {
	int fd[ATTACK_FILES]; /* -1: not made yet */
};

void attack_disks_init(struct attack_disks *d);
void attack_disks_free(struct attack_disks *d);

/* Describe them in @b; descriptors to send go to @fds, of which there are *@n.
 * Files that are there already stay what they are. */
void attack_disks_give(struct attack_disks *d, struct ctl_boot *b, int *fds,
		       int *n);

/* NULL, or what is wrong with them. */
const char *attack_disks_judge(const struct attack_disks *d);

#endif
