/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from either side: however the stream is cut into reads, the same
 * frames come out of it; an EXEC that is accepted can be written again, and is
 * the same bytes.
 */
#include "rootfs/wire.h"
#include "tests/fuzz/bytes.h"

/* What a decoder made of a stream. */
struct seen {
	uint32_t frames, hash;
	int end;
};

static void hash(struct seen *s, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		s->hash = (s->hash ^ b[i]) * 16777619u;
}

/* wire_get() of a type that has one size may take it all. */
static void right_size(const struct wire_frame *f)
{
	static const uint32_t size[WIRE_TYPES] = {
		[WIRE_READY] = sizeof(struct wire_ready),
		[WIRE_STARTED] = sizeof(struct wire_started),
		[WIRE_STDIN_ACK] = sizeof(struct wire_ack),
		[WIRE_SIGNAL] = sizeof(struct wire_signal),
		[WIRE_WINCH] = sizeof(struct wire_winch),
		[WIRE_EXIT] = sizeof(struct wire_exit),
		[WIRE_MOUNTED] = sizeof(struct wire_mounted),
		[WIRE_NET] = sizeof(struct wire_net),
		[WIRE_DIAL] = sizeof(struct wire_dial),
		[WIRE_DIALED] = sizeof(struct wire_dialed),
	};

	must(f->type && f->type < WIRE_TYPES);
	must(!size[f->type] || f->len == size[f->type]);
}

static void exec_twice(const struct wire_frame *f)
{
	static char *slots[WIRE_SLOTS];
	static uint8_t again[WIRE_HDR + WIRE_EXEC_MAX];
	struct wire_command c;
	long n;

	if (wire_get_exec(f, slots, &c) < 0)
		return;
	must(c.argv[0]);
	n = wire_put_exec(again, sizeof(again), &c);
	must(n == (long)(WIRE_HDR + f->len));
	must(!memcmp(again + WIRE_HDR + sizeof(struct wire_exec),
		     f->data + sizeof(struct wire_exec),
		     f->len - sizeof(struct wire_exec)));
}

static void mount_twice(const struct wire_frame *f)
{
	uint8_t again[WIRE_HDR + sizeof(struct wire_mount) + WIRE_PATH_MAX];
	struct wire_mount m;
	char *path;
	long n;

	if (wire_get_mount(f, &m, &path) < 0)
		return;
	must(*path == '/' && m.kind);
	n = wire_put_mount(again, sizeof(again), &m, path);
	must(n == (long)(WIRE_HDR + f->len));
	must(!memcmp(again + WIRE_HDR, f->data, f->len));
}

/* What the agent does with it must not depend on bytes that were let pass. */
static void net_is_sane(const struct wire_frame *f)
{
	struct wire_net net;

	if (wire_get_net(f, &net) < 0)
		return;
	must(net.v4_len <= 32 && net.v6_len <= 128);
	must(!net.v4_len == !(net.flags & WIRE_NET_V4));
	must(!net.v6_len == !(net.flags & WIRE_NET_V6));
	must(net.ndns <= WIRE_NET_DNS_MAX && net.mtu <= WIRE_NET_MTU_MAX);
	for (unsigned i = 0; i < net.ndns; i++)
		must(net.dns[i].family == 4 || net.dns[i].family == 6);
}

static void dial_is_sane(const struct wire_frame *f)
{
	struct wire_dial dial;

	if (wire_get_dial(f, &dial) == 0)
		must(dial.port && dial.kind && dial.kind <= WIRE_DIAL_UDP);
}

static struct seen decode(const uint8_t *p, size_t n, enum wire_from from,
			  size_t chunk)
{
	static struct wire_reader r;
	struct seen s = { .hash = 2166136261u };
	struct wire_frame f;

	wire_reader_init(&r, from);
	while (n && s.end >= 0) {
		size_t room, k;
		void *to = wire_room(&r, &room);

		must(room);
		k = chunk < n ? chunk : n;
		k = k < room ? k : room;
		memcpy(to, p, k);
		p += k;
		n -= k;
		wire_filled(&r, k);
		while ((s.end = wire_next(&r, &f)) > 0) {
			right_size(&f);
			s.frames++;
			hash(&s, &f.type, sizeof(f.type));
			hash(&s, f.data, f.len);
			if (f.type == WIRE_EXEC)
				exec_twice(&f);
			if (f.type == WIRE_MOUNT)
				mount_twice(&f);
			if (f.type == WIRE_NET)
				net_is_sane(&f);
			if (f.type == WIRE_DIAL)
				dial_is_sane(&f);
		}
	}
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	uint8_t how = take8(&b);
	enum wire_from from = how & 1 ? WIRE_FROM_HOST : WIRE_FROM_GUEST;
	struct seen whole = decode(b.p, b.n, from, SIZE_MAX);
	struct seen cut = decode(b.p, b.n, from, (how >> 1) + 1u);

	must(whole.frames == cut.frames && whole.hash == cut.hash &&
	     (whole.end < 0) == (cut.end < 0));
	return 0;
}
