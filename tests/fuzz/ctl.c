/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, either way: what ctl_recv_boot() lets through is within
 * its limits, names each descriptor once, and leaves none open; what it says
 * after that is a whole word or nothing; what comes from a VMM that was taken
 * over is one of the events.
 */
#include "runner/vmm/ctl.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "tests/fuzz/bytes.h"

#define FDS 4

/* A good message, but for what the input says: up to 8 fields. */
static size_t make_boot(struct bytes *b, struct ctl_boot *m)
{
	size_t len = sizeof(*m);
	uint8_t n = take8(b);

	memset(m, 0, sizeof(*m));
	*m = (struct ctl_boot){
		.type = CTL_BOOT, .version = CTL_VERSION,
		.engine = CTL_ENGINE_SOFT, .ncpus = 1, .ram = 64 << 20,
		.ndisks = 1, .guest_cid = 3, .nstreams = 1,
		.kvm_fd = CTL_NO_FD, .initrd_fd = CTL_NO_FD,
		.console_out_fd = CTL_NO_FD, .console_in_fd = CTL_NO_FD,
		.vsock_listen_fd = CTL_NO_FD, .net = { .fd = CTL_NO_FD },
		.disk = { { .fd = 1, .nfds = 1, .kind = CTL_DISK_SCRATCH } },
		.stream = { { .fd = 2 } },
	};
	for (unsigned i = 0; i < (n & 7); i++) {
		size_t at = take16(b) % (sizeof(*m) / 4) * 4;
		int32_t v = n & 8 ? (int32_t)take32(b) : (int8_t)take8(b);

		/* the first fields are where the numbers are */
		if (n & 16)
			at %= 160;
		memcpy((uint8_t *)m + at, &v, sizeof(v));
	}
	if (n & 32)
		len = take16(b) % (sizeof(*m) + 8);
	return MIN(len, sizeof(*m));
}

static void boot(struct bytes *b, const int pair[2], const int *some)
{
	unsigned nfds = take8(b) % (FDS + 1), got = IO_FDS_MAX;
	int fds[IO_FDS_MAX], before = dup(some[0]), after;
	static struct ctl_boot m, out;
	struct err err = { 0 };
	size_t len = make_boot(b, &m);

	close(before);
	if (!len || io_send_fds(pair[0], &m, len, some, nfds) < 0)
		return;
	if (ctl_recv_boot(pair[1], &out, fds, &got, &err) < 0) {
		must(got == 0 && err.code < 0 && err.msg[0]);
	} else {
		must(got == nfds && out.ncpus && out.kernel_fd >= 0);
		must(out.ndisks <= CTL_DISKS && out.nstreams <= CTL_STREAMS);
		must(out.kernel_fd < (int)nfds);
		must(out.kernel_fd != out.initrd_fd);
		must(out.net.fd == CTL_NO_FD ||
		     (out.net.fd >= 0 && out.net.fd < (int)nfds &&
		      out.net.mtu <= CTL_NET_MTU_MAX));
		for (unsigned i = 0; i < out.ndisks; i++)
			must(out.disk[i].nfds && out.disk[i].fd >= 0 &&
			     out.disk[i].nfds <= CTL_PARTS &&
			     out.disk[i].fd + out.disk[i].nfds <= nfds);
		must(strnlen(out.cmdline, CTL_CMDLINE) < CTL_CMDLINE);
		while (got)
			close(fds[--got]);
	}
	/* The lowest free number is what it was. */
	after = dup(some[0]);
	must(after == before);
	close(after);
}

static void event(struct bytes *b, const int pair[2])
{
	struct ctl_event e, out;
	uint8_t n = take8(b);

	memset(&e, n & 1 ? 'x' : 0, sizeof(e));
	e.type = n >> 1 & 15;
	e.stop = n >> 5;
	take(b, &e.vcpu_ns, 8);
	must(io_send_fds(pair[1], &e, sizeof(e) - (take8(b) ? 0 : 1), NULL,
			 0) == 0);
	if (ctl_recv_event(pair[0], &out) != 1)
		return;
	must(out.type == CTL_STARTED || out.type == CTL_FAILED ||
	     out.type == CTL_STATS || out.type == CTL_STOPPED);
	must(out.type != CTL_STOPPED ||
	     (out.stop >= CTL_STOP_RESET && out.stop <= CTL_STOP_ERROR));
	must(memchr(out.msg, '\0', sizeof(out.msg)));
	must(memchr(out.hint, '\0', sizeof(out.hint)));
}

/* What a launcher says after the boot message. */
static void word(struct bytes *b, const int pair[2])
{
	struct ctl_word w[2] = { { .type = take8(b) }, { 0 } };
	size_t len = take8(b) % (sizeof(w) + 1);
	int r;

	if (!len || io_send_fds(pair[0], w, len, NULL, 0) < 0)
		return;
	r = ctl_recv_word(pair[1]);
	must(r < 0 || r == CTL_GO || r == CTL_QUERY);
	must(r < 0 || (len == sizeof(w[0]) && (uint32_t)r == w[0].type));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	int pair[2], some[FDS];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	for (unsigned i = 0; i < FDS; i++)
		some[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (unsigned i = 0; b.n && i < 16; i++) {
		uint8_t what = take8(&b);

		if (what & 1)
			event(&b, pair);
		else if (what & 2)
			word(&b, pair);
		else
			boot(&b, pair, some);
	}
	for (unsigned i = 0; i < FDS; i++)
		close(some[i]);
	close(pair[0]);
	close(pair[1]);
	return 0;
}
