/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: does /dev/kvm really run guests right?
 *
 * A descriptor that opens proves little: some nested hosts offer a KVM that
 * runs kernel mode and then loses the first system call. So a guest of a few
 * dozen instructions does what every Linux guest does in its first
 * milliseconds, and tells after each step what it saw. Only a wrong result,
 * or no result within PROBE_LIMIT_MS, refuses the host.
 *
 * The guest runs in a forked child, so that nothing of it (the VM, KVM's
 * worker threads, a hang in KVM_RUN) stays in the caller. Call from a process
 * with one thread. Nothing is kept between calls but the cache file.
 */
#ifndef MAYFLY_ENGINE_PROBE_H
#define MAYFLY_ENGINE_PROBE_H

#include <stdint.h>

/* A right one answers in 10; a busy host, or a nested one, in a second. */
#define PROBE_LIMIT_MS 5000
#define PROBE_WHY_MAX  200

struct probe_result {
	int ok;		 /* guests can be trusted to it */
	int cached;	 /* an earlier probe's answer, since this boot */
	uint64_t ns;	 /* what the probe took; 0 when cached */
	char why[PROBE_WHY_MAX]; /* !ok: the first wrong step, in words */
};

/*
 * Run the guest on @kvm_fd (an open /dev/kvm, borrowed). Returns 0 with the
 * verdict in @r, or -errno where the probe itself could not be run; r->ok is
 * 0 and r->why says so then, too.
 */
int probe_kvm(int kvm_fd, struct probe_result *r);

/*
 * The same, answered from a small file of this user's that is good for this
 * boot and this mayfly version, where there is one; it is written otherwise.
 * Trouble with the file is no error: the probe runs.
 */
int probe_kvm_cached(int kvm_fd, struct probe_result *r);

#endif
