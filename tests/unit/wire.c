/* SPDX-License-Identifier: Apache-2.0 */
/* The host/guest protocol: what comes back as it was, what is refused. */
#include "rootfs/wire.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static struct wire_reader reader;
static uint8_t exec_frame[WIRE_HDR + WIRE_EXEC_MAX];
static char *slots[WIRE_SLOTS];

/* Give the reader @n bytes, as one read. */
static void feed(const void *bytes, size_t n)
{
	size_t room;
	void *p = wire_room(&reader, &room);

	cr_assert(room >= n);
	memcpy(p, bytes, n);
	wire_filled(&reader, n);
}

static int feed_hdr(enum wire_from from, uint32_t len, uint16_t type,
		    uint16_t stream)
{
	struct wire_hdr h = { .len = len, .type = type, .stream = stream };
	struct wire_frame f;

	wire_reader_init(&reader, from);
	feed(&h, sizeof(h));
	return wire_next(&reader, &f);
}

static long put_exec(char *const *argv, char *const *env, const char *cwd)
{
	struct wire_command c = {
		.head = { .flags = WIRE_EXEC_STDIN, .pids_max = 7 },
		.argv = argv, .env = env, .cwd = cwd, .user = "nobody",
	};

	return wire_put_exec(exec_frame, sizeof(exec_frame), &c);
}

/* Decode exec_frame's first @len bytes as one frame. */
static int get_exec(size_t len, struct wire_command *c)
{
	struct wire_frame f = {
		.type = WIRE_EXEC,
		.len = (uint32_t)(len - WIRE_HDR),
		.data = exec_frame + WIRE_HDR,
	};

	return wire_get_exec(&f, slots, c);
}

Test(wire, frame_split_at_every_byte_comes_out_whole)
{
	struct wire_ready in = { .version = 1, .boot_ns = 42 }, out;
	uint8_t bytes[WIRE_HDR + sizeof(in)];
	size_t len = wire_put(bytes, WIRE_READY, &in, sizeof(in));
	struct wire_frame f;
	size_t i;

	wire_reader_init(&reader, WIRE_FROM_GUEST);
	for (i = 0; i < len; i++) {
		cr_assert_eq(wire_next(&reader, &f), 0);
		feed(bytes + i, 1);
	}
	cr_assert_eq(wire_next(&reader, &f), 1);
	cr_assert_eq(f.type, WIRE_READY);
	wire_get(&f, &out, sizeof(out));
	cr_assert_eq(out.boot_ns, 42);
	cr_assert_eq(wire_next(&reader, &f), 0);
}

Test(wire, room_is_never_empty_while_a_frame_is_unfinished)
{
	struct wire_frame f;
	uint8_t hdr[WIRE_HDR];
	size_t room, want = 3 * WIRE_EXEC_MAX;
	size_t frames = 0, sent = 0, n;
	uint8_t *p;

	wire_reader_init(&reader, WIRE_FROM_GUEST);
	wire_put_hdr(hdr, WIRE_STDOUT, WIRE_DATA_MAX);
	while (sent < want) {
		p = wire_room(&reader, &room);
		cr_assert_gt(room, 0);
		n = room < 1000 ? room : 1000;
		for (size_t i = 0; i < n; i++, sent++) {
			size_t at = sent % (WIRE_HDR + WIRE_DATA_MAX);

			p[i] = at < WIRE_HDR ? hdr[at] : 'x';
		}
		wire_filled(&reader, n);
		while (wire_next(&reader, &f) == 1) {
			cr_assert_eq(f.len, WIRE_DATA_MAX);
			cr_assert_eq(f.data[0], 'x');
			cr_assert_eq(f.data[f.len - 1], 'x');
			frames++;
		}
	}
	cr_assert_eq(frames, sent / (WIRE_HDR + WIRE_DATA_MAX));
}

Test(wire, only_types_of_the_other_side_are_taken)
{
	cr_assert_eq(feed_hdr(WIRE_FROM_HOST, 16, WIRE_READY, 0), -EPROTO);
	cr_assert_eq(feed_hdr(WIRE_FROM_GUEST, 4, WIRE_SIGNAL, 0), -EPROTO);
	cr_assert_eq(feed_hdr(WIRE_FROM_HOST, 4, WIRE_SIGNAL, 0), 0);
	cr_assert_eq(feed_hdr(WIRE_FROM_HOST, 0, WIRE_STDIN_EOF, 0), 1);
}

Test(wire, every_unknown_type_and_stream_is_refused)
{
	uint32_t v;

	for (v = WIRE_TYPES; v <= UINT16_MAX; v++)
		cr_assert_eq(feed_hdr(WIRE_FROM_GUEST, 16, (uint16_t)v, 0),
			     -EPROTO);
	for (v = 1; v <= UINT16_MAX; v++)
		cr_assert_eq(feed_hdr(WIRE_FROM_GUEST, 16, WIRE_READY,
				      (uint16_t)v), -EPROTO);
	cr_assert_eq(feed_hdr(WIRE_FROM_GUEST, 16, 0, 0), -EPROTO);
}

Test(wire, wrong_lengths_are_refused_from_the_header_alone)
{
	static const uint32_t huge[] = { WIRE_DATA_MAX + 1, WIRE_EXEC_MAX + 1,
					 INT32_MAX, 0x80000000u, UINT32_MAX };
	unsigned bit, i;

	for (bit = 0; bit < 32; bit++)
		cr_assert_eq(feed_hdr(WIRE_FROM_GUEST,
				      sizeof(struct wire_exit) ^ (1u << bit),
				      WIRE_EXIT, 0), -EPROTO);
	for (i = 0; i < sizeof(huge) / sizeof(huge[0]); i++)
		cr_assert_eq(feed_hdr(WIRE_FROM_GUEST, huge[i], WIRE_STDOUT,
				      0), -EPROTO);
	cr_assert_eq(feed_hdr(WIRE_FROM_GUEST, 0, WIRE_STDERR, 0), -EPROTO);
	cr_assert_eq(feed_hdr(WIRE_FROM_HOST, 1, WIRE_STDIN_EOF, 0), -EPROTO);
	cr_assert_eq(feed_hdr(WIRE_FROM_HOST, WIRE_EXEC_MAX + 1, WIRE_EXEC,
			      0), -EPROTO);
	cr_assert_eq(feed_hdr(WIRE_FROM_HOST, sizeof(struct wire_exec) - 1,
			      WIRE_EXEC, 0), -EPROTO);
}

Test(wire, exec_comes_back_as_it_was)
{
	char *argv[] = { "sh", "-c", "", NULL };
	char *env[] = { "A=1", "B=", NULL };
	struct wire_command c;
	long len = put_exec(argv, env, "/tmp");

	cr_assert_gt(len, 0);
	cr_assert_eq(get_exec((size_t)len, &c), 0);
	cr_assert_eq(c.head.argc, 3);
	cr_assert_eq(c.head.envc, 2);
	cr_assert_eq(c.head.pids_max, 7);
	cr_assert_str_eq(c.argv[0], "sh");
	cr_assert_str_eq(c.argv[2], "");
	cr_assert_null(c.argv[3]);
	cr_assert_str_eq(c.env[1], "B=");
	cr_assert_null(c.env[2]);
	cr_assert_str_eq(c.cwd, "/tmp");
	cr_assert_str_eq(c.user, "nobody");
}

Test(wire, exec_cut_or_followed_by_bytes_is_refused)
{
	char *argv[] = { "true", NULL }, *env[] = { "A=1", NULL };
	struct wire_command c;
	long len = put_exec(argv, env, "");
	long cut;

	for (cut = WIRE_HDR; cut < len; cut++)
		cr_assert_eq(get_exec((size_t)cut, &c), -EPROTO, "at %ld", cut);
	exec_frame[len] = 0;
	cr_assert_eq(get_exec((size_t)len + 1, &c), -EPROTO);
	cr_assert_eq(get_exec((size_t)len, &c), 0);
}

Test(wire, exec_with_any_byte_changed_never_reads_outside)
{
	char *argv[] = { "a", "bc", NULL }, *env[] = { "A=1", NULL };
	struct wire_command c;
	size_t len = (size_t)put_exec(argv, env, "/");
	uint8_t *copy = malloc(len - WIRE_HDR);
	struct wire_frame f = { .type = WIRE_EXEC, .data = copy,
				.len = (uint32_t)(len - WIRE_HDR) };
	size_t at;
	unsigned v;

	/* malloc'ed to size: the address sanitizer sees a byte too far. */
	for (at = 0; at < f.len; at++) {
		for (v = 0; v < 256; v++) {
			memcpy(copy, exec_frame + WIRE_HDR, f.len);
			copy[at] = (uint8_t)v;
			if (wire_get_exec(&f, slots, &c))
				continue;
			cr_assert(c.argv[0] >= (char *)copy &&
				  c.user < (char *)copy + f.len);
		}
	}
	free(copy);
}

Test(wire, exec_with_hostile_counts_is_refused)
{
	static const uint32_t counts[] = { WIRE_STRINGS_MAX + 1, INT32_MAX,
					   0x80000000u, UINT32_MAX };
	char *argv[] = { "true", NULL }, *env[] = { NULL };
	size_t len = (size_t)put_exec(argv, env, "");
	struct wire_exec head;
	struct wire_command c;
	unsigned i;

	memcpy(&head, exec_frame + WIRE_HDR, sizeof(head));
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		head.argc = counts[i];
		head.envc = 0;
		memcpy(exec_frame + WIRE_HDR, &head, sizeof(head));
		cr_assert_eq(get_exec(len, &c), -EPROTO);
		head.argc = 1;
		head.envc = counts[i];
		memcpy(exec_frame + WIRE_HDR, &head, sizeof(head));
		cr_assert_eq(get_exec(len, &c), -EPROTO);
	}
	head.argc = head.envc = 0;
	memcpy(exec_frame + WIRE_HDR, &head, sizeof(head));
	cr_assert_eq(get_exec(len, &c), -EPROTO);
}

Test(wire, exec_refuses_strings_with_nul_env_without_name_relative_cwd)
{
	char *argv[] = { "abc", NULL }, *none[] = { NULL };
	char *nameless[] = { "=x", NULL }, *plain[] = { "x", NULL };
	struct wire_command c;
	long len = put_exec(argv, none, "");

	exec_frame[WIRE_HDR + sizeof(struct wire_exec) + 4 + 1] = 0;
	cr_assert_eq(get_exec((size_t)len, &c), -EPROTO);
	len = put_exec(argv, nameless, "");
	cr_assert_eq(get_exec((size_t)len, &c), -EPROTO);
	len = put_exec(argv, plain, "");
	cr_assert_eq(get_exec((size_t)len, &c), -EPROTO);
	len = put_exec(argv, none, "tmp");
	cr_assert_eq(get_exec((size_t)len, &c), -EPROTO);
}

Test(wire, exec_too_big_to_send_is_e2big)
{
	char *big = malloc(WIRE_EXEC_MAX + 1);
	char *argv[] = { "echo", big, NULL }, *none[] = { NULL };

	memset(big, 'x', WIRE_EXEC_MAX);
	big[WIRE_EXEC_MAX] = '\0';
	cr_assert_eq(put_exec(argv, none, ""), -E2BIG);
	big[WIRE_EXEC_MAX - 60] = '\0';
	cr_assert_eq(put_exec(argv, none, ""), -E2BIG);
	big[WIRE_EXEC_MAX - 100] = '\0';
	cr_assert_gt(put_exec(argv, none, ""), 0);
	free(big);
}

static const struct wire_mount tmpfs = { .kind = WIRE_MOUNT_TMPFS, .size = 7 };

/* Decode a MOUNT payload of @m, then @n bytes of @path. */
static int get_mount(const struct wire_mount *m, const char *path, size_t n)
{
	static uint8_t payload[sizeof(*m) + 2 * WIRE_PATH_MAX];
	struct wire_frame f = { .type = WIRE_MOUNT, .data = payload,
				.len = (uint32_t)(sizeof(*m) + n) };
	struct wire_mount out;
	char *got;

	memcpy(payload, m, sizeof(*m));
	memcpy(payload + sizeof(*m), path, n);
	return wire_get_mount(&f, &out, &got);
}

Test(wire, mount_comes_back_as_it_was)
{
	uint8_t buf[WIRE_HDR + sizeof(tmpfs) + 8];
	long n = wire_put_mount(buf, sizeof(buf), &tmpfs, "/a b");
	struct wire_mount m;
	struct wire_frame f;
	char *path;

	cr_assert_eq(n, (long)(WIRE_HDR + sizeof(tmpfs) + 5));
	wire_reader_init(&reader, WIRE_FROM_HOST);
	feed(buf, (size_t)n);
	cr_assert_eq(wire_next(&reader, &f), 1);
	cr_assert_eq(wire_get_mount(&f, &m, &path), 0);
	cr_assert_eq(m.size, 7);
	cr_assert_str_eq(path, "/a b");
	cr_assert_eq(wire_put_mount(buf, sizeof(buf), &tmpfs, "/12345678"),
		     -E2BIG);
}

Test(wire, mount_path_is_absolute_and_ends_where_the_frame_does)
{
	static char longest[WIRE_PATH_MAX + 1];

	memset(longest, '/', sizeof(longest));
	longest[WIRE_PATH_MAX - 1] = '\0';
	cr_assert_eq(get_mount(&tmpfs, "/a", 3), 0);
	cr_assert_eq(get_mount(&tmpfs, longest, WIRE_PATH_MAX), 0);
	cr_assert_eq(get_mount(&tmpfs, longest, WIRE_PATH_MAX + 1), -EPROTO);
	cr_assert_eq(get_mount(&tmpfs, "/a", 2), -EPROTO);
	cr_assert_eq(get_mount(&tmpfs, "/a\0", 4), -EPROTO);
	cr_assert_eq(get_mount(&tmpfs, "/\0a", 4), -EPROTO);
	cr_assert_eq(get_mount(&tmpfs, "a/", 3), -EPROTO);
	cr_assert_eq(get_mount(&tmpfs, "", 1), -EPROTO);
	cr_assert_eq(get_mount(&tmpfs, "", 0), -EPROTO);
}

Test(wire, mount_has_what_its_kind_has_and_nothing_else)
{
	static const struct {
		struct wire_mount m;
		int ret;
	} cases[] = {
		{ { WIRE_MOUNT_TMPFS, 0, UINT64_MAX }, 0 },
		{ { WIRE_MOUNT_DIR, 0, 0 }, 0 },
		{ { WIRE_MOUNT_VOLUME, UINT32_MAX, 0 }, 0 },
		{ { WIRE_MOUNT_SEAL, 0, 0 }, 0 },
		{ { 0, 0, 0 }, -EPROTO },
		{ { WIRE_MOUNT_SEAL + 1, 0, 0 }, -EPROTO },
		{ { UINT32_MAX, 0, 0 }, -EPROTO },
		{ { WIRE_MOUNT_TMPFS, 1, 0 }, -EPROTO },
		{ { WIRE_MOUNT_DIR, 0, 1 }, -EPROTO },
		{ { WIRE_MOUNT_VOLUME, 1, 1 }, -EPROTO },
		{ { WIRE_MOUNT_SEAL, 1, 0 }, -EPROTO },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(get_mount(&cases[i].m, "/a", 3), cases[i].ret,
			     "case %zu", i);
}

static const struct wire_net both = {
	.flags = WIRE_NET_FLAGS,
	.mtu = 1500,
	.v4 = { 198, 18, 0, 2 },
	.v4_gateway = { 198, 18, 0, 1 },
	.v6 = { 0xfd, [15] = 2 },
	.v6_gateway = { 0xfd, [15] = 1 },
	.v4_len = 30,
	.v6_len = 64,
	.ndns = 2,
	.dns = { { 4, { 0 }, { 198, 18, 0, 1 } }, { 6, { 0 }, { 0xfd } } },
};

/* Through a reader, as from the host. */
static int get_net(const struct wire_net *in, struct wire_net *out)
{
	uint8_t bytes[WIRE_HDR + sizeof(*in)];
	size_t n = wire_put(bytes, WIRE_NET, in, sizeof(*in));
	struct wire_frame f;

	wire_reader_init(&reader, WIRE_FROM_HOST);
	feed(bytes, n);
	cr_assert_eq(wire_next(&reader, &f), 1);
	return wire_get_net(&f, out);
}

static int net_ret(const struct wire_net *in)
{
	struct wire_net out;

	return get_net(in, &out);
}

Test(wire, net_comes_back_as_it_was)
{
	struct wire_net out, none = { 0 };

	cr_assert_eq(get_net(&both, &out), 0);
	cr_assert_eq(memcmp(&both, &out, sizeof(out)), 0);
	cr_assert_eq(net_ret(&none), 0);
}

/* Every byte in which two families, a gateway or a server could be told
 * wrongly: all that is not used is 0. */
Test(wire, net_has_nothing_that_its_flags_and_counts_leave_out)
{
	const size_t from = offsetof(struct wire_net, v4);
	struct wire_net none = { 0 };
	size_t at;

	for (at = from; at < sizeof(none); at++) {
		memset(&none, 0, sizeof(none));
		((uint8_t *)&none)[at] = 7;
		cr_assert_eq(net_ret(&none), -EPROTO, "byte %zu", at);
	}
}

Test(wire, net_out_of_range_is_refused)
{
	struct wire_net n;
	unsigned i;

#define REFUSED(field, value)                                        \
	do {                                                          \
		n = both;                                             \
		n.field = (value);                                    \
		cr_assert_eq(net_ret(&n), -EPROTO, #field);           \
	} while (0)
	for (i = 3; i < 32; i++)
		REFUSED(flags, WIRE_NET_FLAGS | 1u << i);
	REFUSED(mtu, 1279);
	REFUSED(mtu, 65536);
	REFUSED(mtu, UINT32_MAX);
	REFUSED(v4_len, 0);
	REFUSED(v4_len, 33);
	REFUSED(v6_len, 129);
	REFUSED(ndns, 1);
	REFUSED(ndns, 3);
	REFUSED(ndns, 4);
	REFUSED(ndns, 255);
	REFUSED(dns[0].family, 6 + 1);
	REFUSED(dns[0].addr[4], 1);
	REFUSED(dns[1].pad[2], 1);
	REFUSED(flags, WIRE_NET_V6);
	REFUSED(flags, WIRE_NET_V4);
#undef REFUSED
	n = (struct wire_net){ .mtu = 68 };
	cr_assert_eq(net_ret(&n), 0);
	n.mtu = 67;
	cr_assert_eq(net_ret(&n), -EPROTO);
	n = (struct wire_net){ .flags = WIRE_NET_V4, .v4_len = 24 };
	cr_assert_eq(net_ret(&n), -EPROTO);
}

Test(wire, dial_names_a_port_and_a_kind)
{
	static const struct {
		struct wire_dial d;
		int ret;
	} cases[] = {
		{ { 80, WIRE_DIAL_TCP }, 0 },
		{ { 65535, WIRE_DIAL_UDP }, 0 },
		{ { 0, WIRE_DIAL_TCP }, -EPROTO },
		{ { 80, 0 }, -EPROTO },
		{ { 80, WIRE_DIAL_UDP + 1 }, -EPROTO },
		{ { 80, 65535 }, -EPROTO },
	};
	struct wire_dial out;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire_dial in = cases[i].d;
		struct wire_frame f = { .type = WIRE_DIAL, .len = sizeof(in),
					.data = (uint8_t *)&in };

		cr_assert_eq(wire_get_dial(&f, &out), cases[i].ret, "case %zu",
			     i);
		f.len--;
		cr_assert_eq(wire_get_dial(&f, &out), -EPROTO);
	}
}
