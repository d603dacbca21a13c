/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: nothing malformed gets through, no descriptor stays. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/vmm/ctl.h"

#define NFDS 3

static int pair[2], sent[NFDS];

static void setup(void)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				pair), 0);
	for (int i = 0; i < NFDS; i++)
		sent[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static struct ctl_boot good(void)
{
	struct ctl_boot b = {
		.type = CTL_BOOT, .version = CTL_VERSION,
		.engine = CTL_ENGINE_SOFT, .ncpus = 1, .ram = 64 << 20,
		.ndisks = 1, .guest_cid = 3, .nstreams = 1,
		.kvm_fd = CTL_NO_FD, .kernel_fd = 0, .initrd_fd = CTL_NO_FD,
		.console_out_fd = CTL_NO_FD, .console_in_fd = CTL_NO_FD,
		.vsock_listen_fd = CTL_NO_FD, .net = { .fd = CTL_NO_FD },
		.disk = { { .fd = 1, .nfds = 1, .kind = CTL_DISK_READ } },
		.stream = { { .port = 1024, .fd = 2 } },
		.cmdline = "console=ttyS0",
	};
	return b;
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int i = 0; i < 1024; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static int pass(const struct ctl_boot *b, size_t len, struct ctl_boot *out,
		int *fds, unsigned *nfds)
{
	struct err err = { 0 };
	int r;

	cr_assert_eq(io_send_fds(pair[0], b, len, sent, NFDS), 0);
	r = ctl_recv_boot(pair[1], out, fds, nfds, &err);
	cr_expect_eq(r, err.code);
	return r;
}

Test(ctl, boot_message_arrives_whole, .init = setup)
{
	struct ctl_boot b = good(), got;
	int fds[IO_FDS_MAX];
	unsigned n = IO_FDS_MAX;

	cr_assert_eq(pass(&b, sizeof(b), &got, fds, &n), 0);
	cr_expect_eq(n, NFDS);
	cr_expect_eq(memcmp(&b, &got, sizeof(b)), 0);
}

static void refused(struct ctl_boot b, const char *why)
{
	unsigned before = open_fds(), n = IO_FDS_MAX;
	int fds[IO_FDS_MAX];
	struct ctl_boot got;

	cr_expect_eq(pass(&b, sizeof(b), &got, fds, &n), -EPROTO, "%s", why);
	cr_expect_eq(n, 0, "%s", why);
	cr_expect_eq(open_fds(), before, "%s: descriptors left", why);
}

#define REFUSED(change)                   \
	do {                              \
		struct ctl_boot b = good(); \
		change;                   \
		refused(b, #change);      \
	} while (0)

Test(ctl, every_bad_field_is_refused, .init = setup)
{
	REFUSED(b.type = CTL_STARTED);
	REFUSED(b.version = CTL_VERSION + 1);
	REFUSED(b.engine = 0);
	REFUSED(b.engine = CTL_ENGINE_KVM); /* without its descriptor */
	REFUSED(b.ncpus = 0);
	REFUSED(b.ncpus = 65);
	REFUSED(b.ndisks = CTL_DISKS + 1);
	REFUSED(b.nstreams = UINT32_MAX);
	REFUSED(b.guest_cid = 2);
	REFUSED(b.guest_cid = 0); /* with a stream */
	REFUSED(b.verbose = 77);
	REFUSED(b.kernel_fd = CTL_NO_FD);
	REFUSED(b.kernel_fd = NFDS);
	REFUSED(b.kernel_fd = -2);
	REFUSED(b.disk[0].fd = 0); /* the kernel's */
	REFUSED(b.disk[0].fd = CTL_NO_FD);
	REFUSED(b.disk[0].fd = -1);
	REFUSED(b.disk[0].fd = INT32_MAX);
	REFUSED(b.disk[0].nfds = 0);
	REFUSED(b.disk[0].nfds = 2); /* the stream's */
	REFUSED(b.disk[0].nfds = CTL_PARTS + 1);
	REFUSED(b.disk[0].nfds = UINT32_MAX);
	REFUSED(b.disk[0].kind = 0);
	REFUSED(b.disk[0].kind = CTL_DISK_COW); /* without an upper */
	REFUSED(b.disk[0].kind = CTL_DISK_COW + 1);
	REFUSED(b.disk[0].pad = 1);
	REFUSED(b.disk[0].bytes.pad = 1);
	REFUSED(b.stream[0].fd = INT32_MAX);
	REFUSED(b.nstreams = 0); /* leaves a descriptor unnamed */
	REFUSED(memset(b.cmdline, 'x', sizeof(b.cmdline)));
}

static const struct ctl_net net = { .fd = 2, .mtu = 1500,
				    .mac = { 2, 0, 0, 0, 0, 1 } };

/* The stream's descriptor as that of a network device. */
#define REFUSED_NET(change)                       \
	do {                                      \
		struct ctl_boot b = good();       \
		b.nstreams = 0;                   \
		b.net = net;                      \
		change;                           \
		refused(b, #change);              \
	} while (0)

Test(ctl, network_arrives, .init = setup)
{
	struct ctl_boot b = good(), got;
	int fds[IO_FDS_MAX];
	unsigned n = IO_FDS_MAX;

	b.nstreams = 0;
	b.net = net;
	cr_assert_eq(pass(&b, sizeof(b), &got, fds, &n), 0);
	cr_expect_eq(memcmp(&b, &got, sizeof(b)), 0);
	b.net.mtu = 0; /* not told */
	n = IO_FDS_MAX;
	cr_assert_eq(pass(&b, sizeof(b), &got, fds, &n), 0);
}

Test(ctl, every_bad_field_of_a_network_is_refused, .init = setup)
{
	REFUSED_NET(b.net.fd = 0); /* the kernel's */
	REFUSED_NET(b.net.fd = NFDS);
	REFUSED_NET(b.net.fd = -2);
	REFUSED_NET(b.net.fd = CTL_NO_FD); /* with values */
	REFUSED_NET(b.net.mtu = CTL_NET_MTU_MIN - 1);
	REFUSED_NET(b.net.mtu = CTL_NET_MTU_MAX + 1);
	REFUSED_NET(b.net.mac[0] = 3); /* a group's */
	REFUSED_NET(memset(b.net.mac, 0, sizeof(b.net.mac)));
	REFUSED_NET(b.net.pad = 1);
	REFUSED_NET(b.net.rx_ops.pad = 1);
	REFUSED_NET(b.net.tx_bytes.pad = 1);
}

/* As many as there can be: an image of all parts, drives with a copy. */
Test(ctl, disk_of_many_files_arrives, .init = setup)
{
	struct ctl_boot b = good(), got;
	int many[IO_FDS_MAX], fds[IO_FDS_MAX];
	unsigned n = 0, have = IO_FDS_MAX;
	struct err err = { 0 };

	b.nstreams = 0;
	n++;
	b.disk[0] = (struct ctl_disk){ .fd = 1, .nfds = CTL_PARTS,
				       .kind = CTL_DISK_READ };
	n += CTL_PARTS;
	for (b.ndisks = 1; b.ndisks < CTL_DISKS; b.ndisks++, n += 2)
		b.disk[b.ndisks] = (struct ctl_disk){
			.fd = (int32_t)n, .nfds = 2, .kind = CTL_DISK_COW };
	for (unsigned i = 0; i < n; i++)
		many[i] = sent[i % NFDS];
	cr_assert_eq(ctl_send_boot(pair[0], &b, many, n), 0);
	cr_assert_eq(ctl_recv_boot(pair[1], &got, fds, &have, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(have, n);
	/* One file twice, and one not at all. */
	b.disk[3].fd--;
	cr_assert_eq(ctl_send_boot(pair[0], &b, many, n), 0);
	have = IO_FDS_MAX;
	cr_assert_eq(ctl_recv_boot(pair[1], &got, fds, &have, &err), -EPROTO);
}

Test(ctl, written_file_is_the_one_above)
{
	struct ctl_disk d = { .fd = 7 };

	d.kind = CTL_DISK_READ;
	cr_assert_eq(ctl_disk_written(&d), CTL_NO_FD);
	d.kind = CTL_DISK_SCRATCH;
	cr_assert_eq(ctl_disk_written(&d), 7);
	d.kind = CTL_DISK_DRIVE;
	cr_assert_eq(ctl_disk_written(&d), 7);
	d.kind = CTL_DISK_COW;
	cr_assert_eq(ctl_disk_written(&d), 8);
}

Test(ctl, short_and_empty_messages_are_refused, .init = setup)
{
	unsigned before = open_fds(), n = IO_FDS_MAX;
	struct ctl_boot b = good(), got;
	int fds[IO_FDS_MAX];

	cr_expect_eq(pass(&b, sizeof(b) - 1, &got, fds, &n), -EPROTO);
	cr_expect_eq(open_fds(), before);
	close(pair[0]);
	n = IO_FDS_MAX;
	cr_expect_eq(ctl_recv_boot(pair[1], &got, fds, &n, NULL), -EPROTO);
}

Test(ctl, events_are_checked_and_terminated, .init = setup)
{
	struct ctl_event e = { .type = CTL_STOPPED, .stop = CTL_STOP_RESET };
	struct ctl_event got;

	memset(e.msg, 'x', sizeof(e.msg));
	cr_assert_eq(ctl_send_event(pair[0], &e), 0);
	cr_expect_eq(ctl_recv_event(pair[1], &got), 1);
	cr_expect_eq(strlen(got.msg), sizeof(got.msg) - 1);
	e.stop = 9;
	cr_assert_eq(ctl_send_event(pair[0], &e), 0);
	cr_expect_eq(ctl_recv_event(pair[1], &got), -EPROTO);
	e.type = CTL_BOOT;
	cr_assert_eq(ctl_send_event(pair[0], &e), 0);
	cr_expect_eq(ctl_recv_event(pair[1], &got), -EPROTO);
	close(pair[0]);
	cr_expect_eq(ctl_recv_event(pair[1], &got), 0);
}

Test(ctl, words_of_an_event_drive_no_terminal, .init = setup)
{
	struct ctl_event e = { .type = CTL_FAILED };
	struct ctl_event got;

	strcpy(e.msg, "a b~\033]52;c;x\a\n\x7f\x9b");
	strcpy(e.hint, "\033[2J\r");
	cr_assert_eq(ctl_send_event(pair[0], &e), 0);
	cr_assert_eq(ctl_recv_event(pair[1], &got), 1);
	cr_expect_str_eq(got.msg, "a b~?]52;c;x????");
	cr_expect_str_eq(got.hint, "?[2J?");
}

Test(ctl, query_with_descriptors_is_refused, .init = setup)
{
	struct ctl_word q = { .type = CTL_QUERY };
	unsigned before = open_fds();

	cr_assert_eq(ctl_send_query(pair[0]), 0);
	cr_expect_eq(ctl_recv_word(pair[1]), CTL_QUERY);
	cr_assert_eq(io_send_fds(pair[0], &q, sizeof(q), sent, NFDS), 0);
	cr_expect_eq(ctl_recv_word(pair[1]), -EMSGSIZE);
	cr_expect_eq(open_fds(), before);
}

Test(ctl, launcher_says_go_or_query_and_nothing_else, .init = setup)
{
	struct ctl_word w = { .type = CTL_BOOT };

	cr_assert_eq(ctl_send_go(pair[0]), 0);
	cr_expect_eq(ctl_recv_word(pair[1]), CTL_GO);
	cr_assert_eq(io_send_fds(pair[0], &w, sizeof(w), NULL, 0), 0);
	cr_expect_eq(ctl_recv_word(pair[1]), -EPROTO);
	w.type = CTL_GO;
	cr_assert_eq(io_send_fds(pair[0], &w, sizeof(w) - 1, NULL, 0), 0);
	cr_expect_eq(ctl_recv_word(pair[1]), -EPROTO);
	close(pair[0]);
	cr_expect_eq(ctl_recv_word(pair[1]), 0);
}

/* The launcher's question and the guest's end cross each other. */
Test(ctl, event_before_an_end_that_left_a_query_unread_is_heard, .init = setup)
{
	struct ctl_event e = { .type = CTL_STOPPED, .stop = CTL_STOP_POWEROFF };

	cr_assert_eq(ctl_send_query(pair[0]), 0);
	cr_assert_eq(ctl_send_event(pair[1], &e), 0);
	close(pair[1]);
	memset(&e, 0, sizeof(e));
	cr_expect_eq(ctl_recv_event(pair[0], &e), 1);
	cr_expect_eq(e.stop, CTL_STOP_POWEROFF);
	cr_expect_eq(ctl_recv_event(pair[0], &e), 0);
}
