/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep: the network of one VM, and the process that holds it.
 *
 * A VM with a network has a network namespace of its own. One process lives
 * there, `mayfly-net keep`, the keeper: it makes what is in the namespace,
 * locks itself in, and is from then on what keeps the namespace alive and what
 * adds the addresses that the DNS forwarder has learned. When it dies, and it
 * dies with its launcher, the kernel removes all of it. keep.c has the theory
 * of operation.
 *
 * The launcher, in this order, while it has one thread:
 *
 *	keep_start()	the process, in its namespaces
 *	keep_setup()	what it is to make; does not wait
 *	(the launcher makes the uplink meanwhile: root a veth pair with one
 *	 end in .netns, without root pasta)
 *	keep_uplink()	up0 is there; does not wait
 *	keep_recv()	KEEP_TAP with the descriptors, then KEEP_READY; or why
 *			not
 *	keep_stop()	in any case
 *
 * KEEP_TAP comes as soon as there is a tap, KEEP_READY when the fence stands
 * and the uplink has its addresses: no guest instruction before that. After
 * KEEP_READY it says only why it ends, if it has to. .pidfd becomes readable when
 * it has ended; its VM has no network any more then, and no way around its fence.
 *
 * The forwarder's socket is SOCK_SEQPACKET. A datagram is one to
 * KEEP_LEARN_MAX `struct keep_learn`, and is answered by one of as many
 * `struct keep_learned`, in order. Answers come in the order of the questions,
 * so several may be on their way. Elements are in the kernel when the answer
 * comes. What is malformed ends the connection: the forwarder is broken.
 */
#ifndef MAYFLY_NET_KEEP_H
#define MAYFLY_NET_KEEP_H

#include <assert.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct net_addr;
struct net_plan;
struct net_rules;

/* --- in the launcher --------------------------------------------------- */

/* Who the keeper is on the host, in struct keep_params. */
#define KEEP_SELF UINT32_MAX /* the caller: without root */

struct keep_params {
	int program_fd; /* mayfly-net, open for reading; borrowed */
	/* Root: a user and group that nothing else of the host is. */
	uint32_t host_id;
	/* As if the host let us make no user namespace. Root needs none: the
	 * keeper is that user then, with CAP_NET_ADMIN. */
	int no_user_ns;
};

struct keep {
	pid_t pid;   /* -1: none */
	int pidfd;
	int control; /* SOCK_SEQPACKET to the keeper */
	int netns;   /* the VM's, for RTM_NEWLINK and setns() */
	int userns;  /* its owner; -1 where there is none but the host's */
	uint32_t become; /* without one: who the keeper shall be */
	/* When KEEP_READY was said, which may be long before it was heard;
	 * CLOCK_MONOTONIC, 0: not yet. */
	uint64_t ready_ns;
	uint32_t layers; /* with that, its word: mask of jail/layers.h, JAIL_OWN */
};

/* What comes with KEEP_TAP; -1 for v6 where the plan has none. The caller's. */
struct keep_fds {
	int tap;	/* IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, non-blocking */
	int udp4, tcp4; /* listeners for DNS on tap0, non-blocking */
	int udp6, tcp6;
};

enum keep_type {
	KEEP_GO = 1, /* launcher to keeper */
	KEEP_SETUP,
	KEEP_UPLINK,
	KEEP_OWN,
	KEEP_TAP,	/* keeper to launcher */
	KEEP_READY,
	KEEP_FAILED,
};

/* Nothing there: what keep_stop() does nothing with. */
void keep_init(struct keep *k);

/* 0, or -errno with words and the remedy. */
int keep_start(struct keep *k, const struct keep_params *p, struct err *err);

/* @learn_fd: the keeper's end of the forwarder's socket; borrowed. -1: nobody
 * will ask, and the keeper only holds the namespace. */
int keep_setup(struct keep *k, const struct net_plan *plan,
	       const struct net_rules *rules, int learn_fd, struct err *err);

/* @configured: up0 has its addresses and routes already (pasta). Else the
 * keeper gives it those of the plan. */
int keep_uplink(struct keep *k, int configured, struct err *err);

/*
 * After KEEP_READY: addresses that the host has got since keep_setup(), each
 * once. New flows to them are refused from when the keeper has read this. Never
 * waits: -EAGAIN, the keeper does not read. That they do not fit in, the keeper
 * says, and ends.
 */
#define KEEP_OWN_MAX 32
int keep_own(struct keep *k, const struct net_addr *a, unsigned n,
	     struct err *err);

/*
 * The next word of the keeper: KEEP_TAP, with @fds filled in, or KEEP_READY.
 * Waits @timeout_ms at most (-1: no end); 0: nothing came. -errno with the
 * keeper's words when it has failed or is gone.
 */
int keep_recv(struct keep *k, struct keep_fds *fds, int timeout_ms,
	      struct err *err);

void keep_fds_close(struct keep_fds *fds);

/* SIGKILL. What it has made goes with it, which takes the kernel some 20 ms:
 * that is not waited for, nor is the process reaped unless it has ended. */
void keep_stop(struct keep *k);
/* The same, and wait until the process is no more. */
void keep_end(struct keep *k);

/* --- the forwarder's questions ------------------------------------------ */

#define KEEP_LEARN_MAX 32

/* An address of a name that the rules allow. */
struct keep_learn {
	uint8_t family; /* 4 or 6 */
	uint8_t zero;
	uint16_t port;	/* that the rule names; 0: any */
	uint32_t ttl;	/* seconds; clamped to KEEP_TTL_MIN ... KEEP_TTL_MAX */
	uint8_t addr[16]; /* network order; the rest 0 */
};
static_assert(sizeof(struct keep_learn) == 24, "datagrams of the forwarder");

#define KEEP_TTL_MIN 30
#define KEEP_TTL_MAX 3600

struct keep_learned {
	/*
	 * 0	   it is open now
	 * -EPERM  the rules do not let a name open this address or port
	 * -EAGAIN too many in a short time
	 * -ENFILE the set is full
	 * else what the kernel has said
	 */
	int32_t error;
};

/* --- in mayfly-net: runner/net/main.c ----------------------------------- */

#define KEEP_CONTROL_FD 3
#define KEEP_TUN_FD	4 /* /dev/net/tun, opened in the namespace; no tap yet */

struct keeper;

/* Everything up to KEEP_READY but for the locks. *@become: who to be then, or
 * KEEP_SELF. */
int keeper_make(struct keeper **out, uint32_t *become, struct err *err);
/* Tell the launcher: KEEP_READY, or why not. */
int keeper_ready(uint32_t layers);
void keeper_failed(const struct err *err);
/* Until the launcher hangs up. */
void keeper_hold(struct keeper *k);

#endif
