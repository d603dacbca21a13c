/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease: the numbers of networks, one for each run that has one.
 *
 *	<state>/net/leases/<number>	"<run id> <uplink>[ <address>]\n"
 *
 * A number belongs to whoever holds its file's lock, an open-file-description
 * lock (fcntl F_OFD_SETLK) that goes with the last copy of the descriptor:
 * O_CLOEXEC, and whoever forks without executing closes it. So a number
 * survives no crash, and no process number is ever looked at. A file whose lock
 * nobody holds is free, whatever it says.
 *
 * Taking needs no other lock. A file is only ever removed by who holds its
 * lock, so that a lock on a file that still has its name (st_nlink) is a lock
 * on the number.
 *
 * @state is a descriptor of the directory of runs, borrowed. One thread per
 * object. Functions give 0 or -errno; with words where they take a struct err.
 */
#ifndef MAYFLY_NET_LEASE_H
#define MAYFLY_NET_LEASE_H

#include "net/plan.h"

struct err;

#define NET_LEASE_MAX	 65536	/* numbers there are at the most */
#define NET_LEASE_ID_MAX 24	/* of a run, with its NUL */

struct net_lease {
	int fd;	 /* locked; -1: none */
	int dir; /* of the leases */
	unsigned number;
	char uplink[IFNAMSIZ];
};

#define NET_LEASE_NONE { .fd = -1, .dir = -1 }

/*
 * Take the lowest free number from @first to @end - 1 for run @id. @uplink is
 * what leads out of its network, for `mayfly net ls`: NULL stands for
 * NET_HOST_LINK with the number, a veth's. -EADDRINUSE: none is free.
 *
 * Two directories of runs know nothing of each other's leases. Where the
 * kernel says that a link of that name is there (-EEXIST), who wants it drops
 * this lease and takes one from number + 1 on.
 */
int net_lease_take(struct net_lease *l, int state, unsigned first, unsigned end,
		   const char *id, const char *uplink, struct err *err);
/* Note what the host knows the guest's flows by, for whoever finds the lease
 * when nobody holds it. -errno: it is not noted. */
int net_lease_note(const struct net_lease *l, const struct net_addr *a);
/* Remove the file, then let go of it. Takes one that is not held. */
void net_lease_drop(struct net_lease *l);

/* What the alias of a run's links says (IFLA_IFALIAS): "mayfly:<id> <dir>", with
 * the directory of leases by device and inode, so that none is ever taken for
 * one's own that another directory's run has. */
#define NET_ALIAS_MAX 96
int net_lease_alias(const struct net_lease *l, const char *id,
		    char alias[NET_ALIAS_MAX]);
/* Is a link of that alias one of @l's directory of runs? What it says of the run
 * does not matter: who holds the number has the link. */
int net_lease_has_alias(const struct net_lease *l, const char *alias);

struct net_lease_info {
	unsigned number;
	int held; /* somebody lives who has it */
	char id[NET_LEASE_ID_MAX], uplink[IFNAMSIZ]; /* or empty */
	struct net_addr addr; /* or .family 0 */
};

/* What is written of one's own, or of one that was seized. */
void net_lease_read(const struct net_lease *l, struct net_lease_info *i);
/* Call @fn for each file there is, held or not, in no order. Stops where it
 * gives other than 0, and gives that. No directory yet: 0. */
int net_lease_each(int state,
		   int (*fn)(const struct net_lease_info *i, void *opaque),
		   void *opaque);
/* The number of leases that are held, or -errno. */
int net_lease_count(int state);

/* Take number @number, if nobody has it, so that its leftovers may be removed;
 * then net_lease_drop(). -EBUSY: it is held. The file is made if there is none
 * and says what it said. */
int net_lease_seize(struct net_lease *l, int state, unsigned number);

#endif
