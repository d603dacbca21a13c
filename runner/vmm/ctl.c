/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket between launcher and mayfly-vmm. */
#include "runner/vmm/ctl.h"

#include <errno.h>
#include <string.h>

#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"

/* The seven plain ones, every stream, one image of all parts, and a base and
 * what is above it for every other disk. More fail in machine_give(). */
static_assert(7 + CTL_STREAMS + CTL_PARTS + 2 * (CTL_DISKS - 1) <= IO_FDS_MAX,
	      "a boot message fits one datagram");

int ctl_send_boot(int sock, const struct ctl_boot *b, const int *fds,
		  unsigned nfds)
{
	return io_send_fds(sock, b, sizeof(*b), fds, nfds);
}

/* Every index names a descriptor that came, and no two name the same. */
static int take_index(int32_t idx, unsigned nfds, uint8_t *seen)
{
	if (idx < 0 || (unsigned)idx >= nfds || seen[idx])
		return 0;
	seen[idx] = 1;
	return 1;
}

static int take_disk(const struct ctl_disk *d, unsigned nfds, uint8_t *seen)
{
	for (unsigned i = 0; i < d->nfds; i++)
		if (d->fd < 0 || d->fd >= IO_FDS_MAX ||
		    !take_index(d->fd + (int32_t)i, nfds, seen))
			return 0;
	return 1;
}

static int indices_ok(const struct ctl_boot *b, unsigned nfds)
{
	const int32_t plain[] = { b->kvm_fd,	     b->kernel_fd,
				  b->initrd_fd,	     b->console_out_fd,
				  b->console_in_fd,  b->vsock_listen_fd,
				  b->net.fd };
	uint8_t seen[IO_FDS_MAX] = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
		if (plain[i] != CTL_NO_FD && !take_index(plain[i], nfds, seen))
			return 0;
	for (unsigned i = 0; i < b->ndisks; i++)
		if (!take_disk(&b->disk[i], nfds, seen))
			return 0;
	for (unsigned i = 0; i < b->nstreams; i++)
		if (!take_index(b->stream[i].fd, nfds, seen))
			return 0;
	/* A descriptor that nothing names would stay open unowned. */
	return nfds <= sizeof(seen) && !memchr(seen, 0, nfds);
}

static int disk_ok(const struct ctl_disk *d)
{
	unsigned most = d->kind == CTL_DISK_READ ? CTL_PARTS :
			d->kind == CTL_DISK_COW	 ? 2 : 1;
	unsigned least = d->kind == CTL_DISK_COW ? 2 : 1;

	return d->kind >= CTL_DISK_READ && d->kind <= CTL_DISK_COW &&
	       d->nfds >= least && d->nfds <= most &&
	       !(d->pad | d->ops.pad | d->bytes.pad);
}

static int net_ok(const struct ctl_net *n)
{
	static const struct ctl_net none = { .fd = CTL_NO_FD };

	if (n->fd == CTL_NO_FD)
		return !memcmp(n, &none, sizeof(none));
	/* IEEE 802: the lowest bit of the first byte is a group's. */
	return (!n->mtu || (n->mtu >= CTL_NET_MTU_MIN &&
			    n->mtu <= CTL_NET_MTU_MAX)) &&
	       !(n->mac[0] & 1) && memcmp(n->mac, none.mac, sizeof(n->mac)) &&
	       !(n->pad | n->rx_ops.pad | n->rx_bytes.pad | n->tx_ops.pad |
		 n->tx_bytes.pad);
}

static const char *boot_flaw(const struct ctl_boot *b, unsigned nfds)
{
	if (b->type != CTL_BOOT || b->version != CTL_VERSION)
		return "type or version";
	if (b->engine != CTL_ENGINE_KVM && b->engine != CTL_ENGINE_SOFT)
		return "engine";
	if (!b->ncpus || b->ncpus > ENGINE_CPUS_MAX)
		return "ncpus";
	if (b->ndisks > CTL_DISKS || b->nstreams > CTL_STREAMS)
		return "counts";
	for (unsigned i = 0; i < b->ndisks; i++)
		if (!disk_ok(&b->disk[i]))
			return "disk";
	if (!net_ok(&b->net))
		return "net";
	/* virtio 1.2 5.10.4: CIDs 0 to 2 and 2^32 - 1 are reserved. */
	if (b->guest_cid == 1 || b->guest_cid == 2 ||
	    b->guest_cid == UINT32_MAX)
		return "guest_cid";
	if (!b->guest_cid &&
	    (b->nstreams || b->vsock_listen_fd != CTL_NO_FD))
		return "streams without guest_cid";
	if (b->verbose > LOG_DEBUG)
		return "verbose";
	if (!memchr(b->cmdline, '\0', sizeof(b->cmdline)))
		return "cmdline";
	if (!indices_ok(b, nfds))
		return "descriptors";
	if (b->kernel_fd == CTL_NO_FD)
		return "kernel_fd";
	if ((b->engine == CTL_ENGINE_KVM) != (b->kvm_fd != CTL_NO_FD))
		return "kvm_fd";
	return NULL;
}

int ctl_recv_boot(int sock, struct ctl_boot *b, int *fds, unsigned *nfds,
		  struct err *err)
{
	size_t got = *nfds;
	const char *flaw;
	ssize_t n;

	*nfds = 0;
	n = io_recv_fds(sock, b, sizeof(*b), fds, &got);
	if (n < 0)
		return err_set(err, (int)n, "control socket: receive");
	flaw = (size_t)n != sizeof(*b) ? "size" : boot_flaw(b, (unsigned)got);
	if (flaw) {
		while (got)
			close(fds[--got]);
		return err_say(err, -EPROTO, "boot message: bad %s", flaw);
	}
	*nfds = (unsigned)got;
	return 0;
}

/* One plain message of exactly @len bytes: 1, 0 at end of file or -errno. */
static int recv_exact(int sock, void *buf, size_t len)
{
	size_t none = 0;
	ssize_t n = io_recv_fds(sock, buf, len, NULL, &none);

	/* An end that closes with a message of ours unread resets the
	 * connection. That is told once; what it sent before is still there. */
	if (n == -ECONNRESET) {
		none = 0;
		n = io_recv_fds(sock, buf, len, NULL, &none);
	}
	if (n <= 0)
		return (int)n;
	return (size_t)n == len ? 1 : -EPROTO;
}

int ctl_send_event(int sock, const struct ctl_event *e)
{
	return io_send_fds(sock, e, sizeof(*e), NULL, 0);
}

/* Words of a process that a guest may have taken over, for the user's
 * terminal: nothing in them is to steer it. */
static void tame(char *words, size_t size)
{
	words[size - 1] = '\0';
	for (; *words; words++)
		if (*words < ' ' || *words > '~')
			*words = '?';
}

int ctl_recv_event(int sock, struct ctl_event *e)
{
	int r = recv_exact(sock, e, sizeof(*e));

	if (r <= 0)
		return r;
	tame(e->msg, sizeof(e->msg));
	tame(e->hint, sizeof(e->hint));
	switch (e->type) {
	case CTL_STARTED:
	case CTL_FAILED:
	case CTL_STATS:
		return 1;
	case CTL_STOPPED:
		return e->stop >= CTL_STOP_RESET && e->stop <= CTL_STOP_ERROR
			       ? 1
			       : -EPROTO;
	default:
		return -EPROTO;
	}
}

static int send_word(int sock, enum ctl_type type)
{
	struct ctl_word w = { .type = type };

	return io_send_fds(sock, &w, sizeof(w), NULL, 0);
}

int ctl_send_go(int sock)
{
	return send_word(sock, CTL_GO);
}

int ctl_send_query(int sock)
{
	return send_word(sock, CTL_QUERY);
}

int ctl_recv_word(int sock)
{
	struct ctl_word w;
	int r = recv_exact(sock, &w, sizeof(w));

	if (r <= 0)
		return r;
	return w.type == CTL_GO || w.type == CTL_QUERY ? (int)w.type : -EPROTO;
}
