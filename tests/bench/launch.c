/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch ENGINE VMM KERNEL [hold [DISK [TAP]]]: what `mayfly boot` does between its
 * probe and the guest's first byte on the serial port, and nothing else: for
 * hosts whose KVM the probe refuses, and which yet run a bare payload.
 *
 * Copies that first byte to stdout and ends; with "hold" it goes on to copy
 * what there is, and ends with its standard input. DISK is vda, read-only; "-" for none. TAP is
 * the name of one that the network has.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/machine.h"

#define RAM (64ull << 20)

static int give_tap(struct machine *m, const char *name, struct err *err)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_set(err, -errno, "tap %s", name);
	machine_net(m, fd, 0, mac, NULL);
	return 0;
}

static int describe(struct machine *m, const char *engine, const char *kernel,
		    const char *disk, int console, struct err *err)
{
	int fd;

	if (strcmp(engine, "kvm") == 0) {
		fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return err_set(err, -errno, "open /dev/kvm");
		m->boot.engine = CTL_ENGINE_KVM;
		m->boot.kvm_fd = machine_give(m, fd);
	}
	fd = machine_open_file("kernel", kernel, err);
	if (fd < 0)
		return fd;
	m->boot.kernel_fd = machine_give(m, fd);
	m->boot.console_out_fd = machine_give(m, console);
	if (!disk || !strcmp(disk, "-"))
		return 0;
	fd = machine_open_disk("disk", disk, err);
	if (fd < 0)
		return fd;
	machine_disk(m, CTL_DISK_READ, &fd, 1, NULL);
	return 0;
}

/* Until the guest's first byte; 0, or -1 with words on stderr. */
static int serve(struct machine *m, int console)
{
	struct pollfd p[] = { { .fd = console, .events = POLLIN },
			      { .fd = m->control, .events = POLLIN } };
	struct ctl_event e;
	char byte;

	while (poll(p, 2, -1) > 0) {
		if (p[0].revents & POLLIN)
			return read(console, &byte, 1) == 1 &&
			       write(1, &byte, 1) == 1 ? 0 : -1;
		if (!p[1].revents)
			continue;
		if (machine_event(m, &e) <= 0)
			break;
		if (e.type != CTL_STARTED) {
			fprintf(stderr, "launch: %s\n", e.msg);
			return -1;
		}
	}
	fprintf(stderr, "launch: mayfly-vmm ended\n");
	return -1;
}

/* What the console has, until the end of stdin. */
static void pass_on(int console)
{
	struct pollfd p[] = { { .fd = console, .events = POLLIN },
			      { .fd = 0, .events = POLLIN } };
	char buf[256];
	ssize_t n;

	while (poll(p, 2, -1) > 0) {
		if (p[1].revents && read(0, buf, sizeof(buf)) <= 0)
			return;
		if (!p[0].revents)
			continue;
		n = read(console, buf, sizeof(buf));
		if (n <= 0 || write(1, buf, (size_t)n) != n)
			return;
	}
}

int main(int argc, char **argv)
{
	struct config config;
	struct err err = { 0 };
	struct machine m;
	int pipes[2], vmm, r;

	if (argc < 4) {
		fprintf(stderr, "usage: launch ENGINE VMM KERNEL "
			"[hold [DISK [TAP]]]\n");
		return 2;
	}
	config_init(&config);
	config.memory = RAM;
	machine_init(&m, &config);
	vmm = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (vmm < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return 2;
	r = describe(&m, argv[1], argv[3], argc > 5 ? argv[5] : NULL, pipes[1],
		     &err);
	if (r == 0 && argc > 6)
		r = give_tap(&m, argv[6], &err);
	if (r == 0)
		r = machine_start(&m, vmm, &err);
	if (r < 0)
		fprintf(stderr, "launch: %s\n", err.msg);
	else
		r = serve(&m, pipes[0]);
	if (r == 0 && argc > 4)
		pass_on(pipes[0]);
	machine_free(&m);
	return r < 0;
}
