/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/net/tun: Documentation/networking/tuntap.rst. */
#include "net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "runner/base/err.h"
#include "runner/base/io.h"

#define TUN "/dev/net/tun"

int tap_open(struct err *err)
{
	int fd = open(TUN, O_RDWR | O_CLOEXEC), r;

	if (fd >= 0)
		return fd;
	r = err_set(err, -errno, "open " TUN);
	if (r == -ENOENT || r == -ENODEV || r == -ENXIO)
		err_hint(err, "sudo modprobe tun; in a container: --device "
			      TUN);
	else if (r == -EACCES)
		err_hint(err, "sudo chmod 0666 " TUN ", as distributions have "
			      "it, or run mayfly as root");
	else if (r == -EPERM)
		err_hint(err, "the cgroup of this container forbids the "
			      "device: --device " TUN);
	return r;
}

static int explain(const char *name, int code, struct err *err)
{
	err_set(err, code, "tap %s", name);
	if (code == -EBUSY)
		err_hint(err, "another program has it open");
	else if (code == -EPERM)
		err_hint(err, "it has to belong to this user: ip tuntap add %s "
			      "mode tap user $USER vnet_hdr", name);
	else if (code == -EINVAL)
		err_hint(err, "it has to be a tap of one queue: ip tuntap add "
			      "%s mode tap vnet_hdr", name);
	return code;
}

int tap_attach(int fd, const char *name, struct err *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header = TAP_HEADER, r;

	if (strlen(name) >= sizeof(ifr.ifr_name))
		return err_say(err, -EINVAL, "%s: too long for a link's name",
			       name);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return explain(name, -errno, err);
	/* A name with % in it would have become another one. */
	if (strcmp(ifr.ifr_name, name))
		return err_say(err, -EINVAL, "%s: no name for a tap", name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		return explain(name, -errno, err);
	r = io_set_nonblock(fd, 1);
	return r < 0 ? err_set(err, r, "tap %s", name) : 0;
}
