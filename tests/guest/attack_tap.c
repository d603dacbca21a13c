/* SPDX-License-Identifier: Apache-2.0 */
/* The network of an attack. */
#include "tests/guest/attack_tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/guest/attack_host.h"

#define NAME	"tap0"
#define MASK	0xfffffffcu
#define DISCARD 9 /* RFC 863 */
#define BURST	64

static struct sockaddr_in address(uint32_t host, uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(host) };
}

void attack_tap_init(struct attack_tap *t)
{
	t->sock = -1;
	if (access("/dev/net/tun", R_OK | W_OK) == 0 &&
	    unshare(CLONE_NEWNET) == 0)
		t->sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC |
				 SOCK_NONBLOCK, 0);
}

/* An address for the kernel, which answers ARP for it, and a neighbour for
 * the guest, who need not answer. */
static int configure(struct attack_tap *t)
{
	struct ifreq ifr = { .ifr_name = NAME };
	struct sockaddr_in a = address(ATTACK_HOST_IP, 0);
	struct arpreq arp = { .arp_flags = ATF_PERM | ATF_COM,
			      .arp_dev = NAME };

	memcpy(&ifr.ifr_addr, &a, sizeof(a));
	if (ioctl(t->sock, SIOCSIFADDR, &ifr) < 0)
		return 0;
	a = address(MASK, 0);
	memcpy(&ifr.ifr_netmask, &a, sizeof(a));
	if (ioctl(t->sock, SIOCSIFNETMASK, &ifr) < 0)
		return 0;
	attack_tap_up(t, 1);
	a = address(ATTACK_GUEST_IP, 0);
	memcpy(&arp.arp_pa, &a, sizeof(a));
	arp.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(arp.arp_ha.sa_data, attack_mac, sizeof(attack_mac));
	return ioctl(t->sock, SIOCSARP, &arp) == 0;
}

int attack_tap_give(struct attack_tap *t, struct ctl_boot *b, int *fds, int *n)
{
	struct ifreq ifr = { .ifr_name = NAME,
			     .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd;

	if (t->sock < 0)
		return 1;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 || !configure(t))
		return 0;
	b->net.fd = *n;
	b->net.mtu = 1500;
	memcpy(b->net.mac, attack_mac, sizeof(attack_mac));
	fds[(*n)++] = fd;
	return 1;
}

void attack_tap_flood(struct attack_tap *t)
{
	struct sockaddr_in to = address(ATTACK_GUEST_IP, DISCARD);
	static char data[8000]; /* fragments, too */

	for (unsigned i = 0; t->sock >= 0 && i < BURST; i++)
		if (sendto(t->sock, data, i * 997 % sizeof(data), MSG_DONTWAIT,
			   (struct sockaddr *)&to, sizeof(to)) < 0)
			return;
}

void attack_tap_up(struct attack_tap *t, int up)
{
	struct ifreq ifr = { .ifr_name = NAME, .ifr_flags = up ? IFF_UP : 0 };

	ioctl(t->sock, SIOCSIFFLAGS, &ifr);
}

void attack_tap_remove(struct attack_tap *t)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} m = { .h = { .nlmsg_len = sizeof(m), .nlmsg_type = RTM_DELLINK,
		       .nlmsg_flags = NLM_F_REQUEST } };
	struct ifreq ifr = { .ifr_name = NAME };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || ioctl(t->sock, SIOCGIFINDEX, &ifr) < 0)
		return;
	m.i.ifi_index = ifr.ifr_ifindex;
	send(fd, &m, sizeof(m), 0);
	close(fd);
}
