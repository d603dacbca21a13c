/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drive: a disk of the user's, for --drive.
 *
 * A file or block device that the guest sees after its own two disks. It is
 * locked (flock) for as long as a descriptor of this opening lives, which goes
 * to mayfly-vmm: shared where nothing is written to it, else for this VM
 * alone. So no two VMs write to one file, and none reads what another writes.
 */
#ifndef MAYFLY_DRIVE_H
#define MAYFLY_DRIVE_H

#include "runner/machine.h"

/* Open, lock, and give to the machine as its next disk. */
int drive_add(struct machine *m, const struct config_drive *d,
	      const struct ctl_rate rate[2], struct err *err);

/* The rates of a disk, as machine_disk() takes them. */
void drive_rates(const struct config_rates *rates, struct ctl_rate out[2]);

#endif
