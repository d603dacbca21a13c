/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine: one mayfly-vmm process and what it is given.
 *
 *	machine_init()
 *	machine_pick_engine(), machine_give(), machine_disk(), ...: describe it
 *	machine_start()	 jailed child, one boot message
 *	machine_event()	 whenever .control is readable
 *	machine_kill()	 SIGKILL and reap; safe at any point, and twice
 *	machine_free()	 the same, and closes all
 *
 * Descriptors given to the machine are owned by it and closed here once they
 * are sent: when the VMM dies, its disks and pipes are closed for good. The
 * process is owned by pidfd and dies with the launcher (jail/jail.h). One
 * thread.
 */
#ifndef MAYFLY_MACHINE_H
#define MAYFLY_MACHINE_H

#include <sys/types.h>

#include "jail/cgroup.h"
#include "jail/jail.h"
#include "runner/base/io.h"
#include "runner/config.h"
#include "runner/vmm/ctl.h"

struct machine {
	struct ctl_boot boot;
	int fd[IO_FDS_MAX];
	unsigned nfds;
	char engine_why[ERR_MSG_MAX]; /* auto: why not kvm, or empty */
	struct jail_ids ids;	    /* whom mayfly-vmm may be */
	struct jail_report jail;    /* what keeps it in; after CTL_STARTED */
	int strict;  /* the guest runs only if no layer is missing */
	int hold;    /* it never does: doctor looks at what there is */
	int unfenced; /* it does not before machine_fenced() */
	int started; /* CTL_STARTED was there */
	int went;    /* the guest may run */
	struct cgroup cgroup;	    /* the host's: runner/confine.h */
	struct cgroup_limits limits; /* its values */
	struct cgroup_usage usage;  /* and what it used, after machine_kill() */
	int in_cgroup;		    /* it was born there */
	pid_t pid;
	int pidfd;
	int control;	 /* -1 before start */
	uint64_t boot_timeout_ns, start_ns; /* 0: none; not started */
	int wait_status; /* as waitpid() gives it, after machine_kill() */
	uint64_t peak;	 /* bytes of memory that it had at once; then, too */
	uint64_t cpu_ns; /* and its CPU time */
};

void machine_init(struct machine *m, const struct config *c);
void machine_free(struct machine *m);

/* Settle which engine: opens and probes /dev/kvm where that is asked for. */
int machine_pick_engine(struct machine *m, enum config_engine want,
			struct err *err);
const char *machine_engine_name(const struct machine *m);

/* Take ownership of @fd; its index in the boot message. */
int32_t machine_give(struct machine *m, int fd);
/* The next disk, of @nfds files (ctl.h says how many each kind has), which are
 * owned from here on. @rate: operations and bytes, or NULL: as they come. */
void machine_disk(struct machine *m, enum ctl_disk_kind kind, const int *fds,
		  unsigned nfds, const struct ctl_rate rate[2]);
/*
 * The guest's network: @fd is a tap as ctl.h wants it, owned from here on.
 * @mtu 0: the guest is not told. @rate: operations and bytes, which each
 * direction has for itself; or NULL.
 */
void machine_net(struct machine *m, int fd, unsigned mtu, const uint8_t mac[6],
		 const struct ctl_rate rate[2]);
/* A guest's connection to @port becomes this stream. */
void machine_stream(struct machine *m, uint32_t port, int fd);

/* Append to the kernel command line, with a blank between. */
int machine_cmdline(struct machine *m, const char *words, struct err *err);

/* Open what the user named: a regular file or a block device, read-only. */
int machine_open_file(const char *what, const char *path, struct err *err);
/* The same, of a size that a disk may have. */
int machine_open_disk(const char *what, const char *path, struct err *err);

int machine_start(struct machine *m, int program_fd, struct err *err);
/* After that, to .unfenced: its network is as it should be, and so the guest may
 * run. */
int machine_fenced(struct machine *m, struct err *err);
/* In ns, of the time until it is ready; 0: there is no limit. */
uint64_t machine_boot_left(const struct machine *m);

/*
 * 1 and an event, 0 when mayfly-vmm is gone, or -errno. CTL_STARTED completes
 * the report on the jail; to .strict it is CTL_FAILED where something is
 * missing, and else lets the guest run.
 */
int machine_event(struct machine *m, struct ctl_event *e);

void machine_kill(struct machine *m);
/* Then: was it killed for reaching the memory limit of its cgroup? */
int machine_is_oom(const struct machine *m);

#endif
