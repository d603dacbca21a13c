/* SPDX-License-Identifier: Apache-2.0 */
/* Who changes the host's nftables tells everybody: nfnetlink's group. */
#include "net/host.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define READS 256 /* at one go: somebody may write without an end */

int net_host_watch(struct err *err)
{
	_cleanup_fd_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC |
						 SOCK_NONBLOCK,
				     NETLINK_NETFILTER);
	const struct sockaddr_nl all = { .nl_family = AF_NETLINK };
	const int group = NFNLGRP_NFTABLES;

	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)&all, sizeof(all)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
		       sizeof(group)) < 0)
		return err_set(err, -errno, "watch the host's nftables");
	return steal_fd(&fd);
}

int net_host_changed(int fd)
{
	char byte;
	int some = 0;

	for (int i = 0; i < READS; i++) {
		/* ENOBUFS: there was more than the kernel has kept. */
		if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) < 0 &&
		    errno != ENOBUFS && errno != EINTR)
			break;
		some = 1;
	}
	return some;
}
