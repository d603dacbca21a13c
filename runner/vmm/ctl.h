/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl: the control socket between launcher and mayfly-vmm.
 *
 * SOCK_SEQPACKET, one fixed-size struct a message, descriptors by SCM_RIGHTS.
 * mayfly-vmm finds its end at descriptor CTL_FD. In order:
 *
 *	launcher -> vmm	 CTL_BOOT     once, with every descriptor
 *			 CTL_GO	      once: the guest may run
 *	vmm -> launcher	 CTL_STARTED  locked down; waits for CTL_GO, then runs
 *			 CTL_FAILED   instead of STARTED, or of a guest that
 *				      runs: what went wrong
 *			 CTL_STOPPED  the guest ended itself, or broke
 *	launcher -> vmm	 CTL_QUERY    any time after CTL_GO
 *	vmm -> launcher	 CTL_STATS    the answer
 *
 * CTL_GO may be sent before CTL_STARTED is there: between CTL_BOOT and CTL_GO
 * the launcher does what must be done before the first instruction, while the
 * VMM prepares. A launcher that says anything else is treated as one that is
 * gone. Either end closing ends the other: the VMM exits on HUP.
 */
#ifndef MAYFLY_VMM_CTL_H
#define MAYFLY_VMM_CTL_H

#include <assert.h>
#include <stdint.h>

#include "runner/base/err.h"

#define CTL_FD	     3
#define CTL_VERSION  6
#define CTL_DISKS    12
#define CTL_PARTS    128 /* files of a disk */
#define CTL_STREAMS  4
#define CTL_CMDLINE  2048 /* with its NUL */
#define CTL_NO_FD    (-1)

enum ctl_type {
	CTL_BOOT = 1,
	CTL_STARTED,
	CTL_FAILED,
	CTL_STOPPED,
	CTL_QUERY,
	CTL_STATS,
	CTL_GO,
};

enum ctl_engine { CTL_ENGINE_KVM = 1, CTL_ENGINE_SOFT };

enum ctl_disk_kind {
	CTL_DISK_READ = 1, /* 1 to CTL_PARTS files, one after the other */
	CTL_DISK_SCRATCH,  /* one file that nobody reads after the VM */
	CTL_DISK_DRIVE,	   /* one file that somebody does: FLUSH is meant */
	CTL_DISK_COW,	   /* two: a base, and what keeps the changes to it */
};

/* A token bucket (runner/virtio/limiter.h). A size or a time of 0: none. */
struct ctl_rate {
	uint64_t size, burst;
	uint32_t refill_ms, pad;
};

struct ctl_disk {
	int32_t fd;    /* index of the first in the message's descriptors */
	uint32_t nfds; /* the others follow it there */
	uint32_t kind; /* enum ctl_disk_kind */
	uint32_t pad;
	struct ctl_rate ops, bytes;
};

/* The network device: a tap without packet information, with virtio's header
 * of CTL_NET_HDR bytes before each frame (runner/virtio/net.h). */
#define CTL_NET_HDR	12
#define CTL_NET_MTU_MIN 68
#define CTL_NET_MTU_MAX 65535

struct ctl_net {
	int32_t fd;   /* index, or CTL_NO_FD: no device, and all else is 0 */
	uint32_t mtu; /* 0: the guest is not told */
	uint8_t mac[6];
	uint16_t pad;
	struct ctl_rate rx_ops, rx_bytes, tx_ops, tx_bytes; /* as guests see */
};

/* A guest connection to host port `port` (CID 2) becomes this stream, once. */
struct ctl_stream {
	uint32_t port;
	int32_t fd;
};

struct ctl_boot {
	uint32_t type, version;
	uint32_t engine; /* enum ctl_engine */
	uint32_t ncpus;
	uint64_t ram; /* bytes */
	uint32_t ndisks, nstreams;
	uint32_t guest_cid; /* 0: no vsock device */
	uint32_t verbose;   /* enum log_level */
	/* indices into the message's descriptors, or CTL_NO_FD */
	int32_t kvm_fd, kernel_fd, initrd_fd;
	int32_t console_out_fd; /* guest serial output; O_NONBLOCK by the VMM */
	int32_t console_in_fd;	/* guest serial input */
	int32_t vsock_listen_fd; /* hybrid protocol listener, or CTL_NO_FD */
	struct ctl_net net;
	struct ctl_disk disk[CTL_DISKS];
	struct ctl_stream stream[CTL_STREAMS];
	char cmdline[CTL_CMDLINE];
};

enum ctl_stop {
	CTL_STOP_RESET = 1, /* the guest asked for a reset (i8042, panic) */
	CTL_STOP_POWEROFF,  /* ACPI sleep state S5 */
	CTL_STOP_SHUTDOWN,  /* triple fault */
	CTL_STOP_ERROR,	    /* the engine gave up; words in msg */
};

/* What mayfly-vmm does before its vCPUs start, in order. */
enum ctl_stage {
	CTL_STAGE_EXEC,	  /* by the jail: until main() */
	CTL_STAGE_BOOT,	  /* the message of that name is here */
	CTL_STAGE_MEMORY, /* the guest's is mapped */
	CTL_STAGE_ENGINE, /* and the VM made */
	CTL_STAGE_DEVICES,
	CTL_STAGE_KERNEL, /* kernel and initramfs are loaded */
	CTL_STAGES,
};

struct ctl_event {
	uint32_t type; /* STARTED, FAILED, STOPPED, STATS */
	uint32_t stop; /* enum ctl_stop */
	int32_t code;  /* FAILED: -errno */
	uint32_t ncpus; /* STARTED: what the engine really has */
	uint64_t vcpu_ns;	 /* CPU time of all vCPU threads */
	uint64_t start_ns;	 /* CLOCK_MONOTONIC: STARTED, the vCPUs are
				  * ready; after that, when they were let go */
	uint64_t instructions; /* STATS, soft only, else 0 */
	/* STATS, STOPPED: ENGINE_ISA_* of engine.h. A program that died of
	 * SIGILL with ENGINE_ISA_V3 here was made for x86-64-v3 or later. */
	uint32_t isa_missing;
	uint32_t layers; /* STARTED: what locks the VMM; a bit an enum jail_layer */
	uint64_t stage_ns[CTL_STAGES]; /* STARTED: CLOCK_MONOTONIC at the end */
	char msg[ERR_MSG_MAX];
	char hint[ERR_HINT_MAX];
};

/* CTL_GO, CTL_QUERY */
struct ctl_word {
	uint32_t type, pad;
};

static_assert(sizeof(struct ctl_disk) == 64, "ctl_disk has no hidden padding");
static_assert(sizeof(struct ctl_net) == 112, "ctl_net has no hidden padding");
static_assert(sizeof(struct ctl_boot) == 64 + 112 + 64 * CTL_DISKS +
	      8 * CTL_STREAMS + CTL_CMDLINE, "ctl_boot has no hidden padding");
static_assert(sizeof(struct ctl_event) == 48 + 8 * CTL_STAGES + ERR_MSG_MAX + ERR_HINT_MAX,
	      "ctl_event has no hidden padding");

/* The index of the file that the guest's writes go to, or CTL_NO_FD. */
static inline int32_t ctl_disk_written(const struct ctl_disk *d)
{
	if (d->kind == CTL_DISK_READ)
		return CTL_NO_FD;
	return d->kind == CTL_DISK_COW ? d->fd + 1 : d->fd;
}

/* Both ends. Receive validates the type, the size and every index. */
int ctl_send_boot(int sock, const struct ctl_boot *b, const int *fds,
		  unsigned nfds);
int ctl_recv_boot(int sock, struct ctl_boot *b, int *fds, unsigned *nfds,
		  struct err *err);
int ctl_send_event(int sock, const struct ctl_event *e);
/* 1 an event, 0 end of file, or -errno. Strings come NUL-terminated. */
int ctl_recv_event(int sock, struct ctl_event *e);
int ctl_send_go(int sock);
int ctl_send_query(int sock);
/* CTL_GO or CTL_QUERY, 0 end of file, or -errno. */
int ctl_recv_word(int sock);

#endif
