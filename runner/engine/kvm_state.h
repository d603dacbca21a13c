/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm_state: architectural state into and out of a KVM vCPU.
 *
 * Stateless. Only between two KVM_RUNs, from any thread; the vCPU's CPUID is
 * set before its state, since KVM judges some registers by it.
 */
#ifndef MAYFLY_ENGINE_KVM_STATE_H
#define MAYFLY_ENGINE_KVM_STATE_H

struct err;
struct vcpu_state;

int kvm_state_set(int vcpu_fd, const struct vcpu_state *s, struct err *err);
int kvm_state_get(int vcpu_fd, struct vcpu_state *s, struct err *err);

#endif
