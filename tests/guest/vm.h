/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm: one virtual machine with the test devices of testdev.h, for payloads.
 *
 * vm_run() makes it, runs the payload on the calling thread until it exits,
 * and frees it. Debug text goes to standard output, unbuffered by lines.
 */
#ifndef MAYFLY_TESTS_GUEST_VM_H
#define MAYFLY_TESTS_GUEST_VM_H

#include <stdint.h>

struct engine_ops;
struct err;

struct vm_options {
	const struct engine_ops *ops;
	int kvm_fd;	  /* -1 for soft */
	uint32_t flags;	  /* TD_FLAG_* */
	uint64_t ram;	  /* bytes */
};

/* The payload's exit code, or -errno when it could not be run to its end. */
int vm_run(const struct vm_options *o, const char *payload, struct err *err);

#endif
