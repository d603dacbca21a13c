/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knock: a program in the guest that wants what only the host may have. It
 * connects to the agent's port by each CID that could lead there, and says
 * what came; a frame would begin with READY.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int answers(unsigned from, unsigned to)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = from,
				 .svm_port = VMADDR_PORT_ANY };
	struct timeval limit = { .tv_sec = 5 };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	char byte;
	int n = 0;

	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit,
		   sizeof(limit));
	if (from == VMADDR_CID_ANY || !bind(fd, (void *)&a, sizeof(a))) {
		a.svm_cid = to;
		a.svm_port = 1024;
		if (!connect(fd, (void *)&a, sizeof(a)))
			n = recv(fd, &byte, 1, 0) == 1;
	}
	close(fd);
	return n;
}

int main(void)
{
	static const unsigned from[] = { VMADDR_CID_ANY, VMADDR_CID_LOCAL,
					 VMADDR_CID_HOST };
	unsigned own = 0, i, cid;
	int fd = open("/dev/vsock", O_RDONLY), n = 0;

	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &own))
		return 2;
	for (i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		for (cid = 0; cid < 5; cid++)
			n += answers(from[i], cid);
		n += answers(from[i], own);
	}
	printf("own CID %u, %d answers\n", own, n);
	return n != 0;
}
