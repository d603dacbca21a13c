/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the host/guest protocol: encode, decode, refuse. */
#include "rootfs/wire.h"

#include <errno.h>

/* What a frame of each type may be. from is 1 + enum wire_from: a hole in
 * the table is nobody's frame. */
static const struct rule {
	uint32_t from, min, max;
} rules[WIRE_TYPES] = {
#define RULE(who, lo, hi) { 1 + WIRE_FROM_##who, (lo), (hi) }
#define FIXED(who, type)  RULE(who, sizeof(type), sizeof(type))
	[WIRE_READY] = FIXED(GUEST, struct wire_ready),
	[WIRE_EXEC] = RULE(HOST, sizeof(struct wire_exec), WIRE_EXEC_MAX),
	[WIRE_STARTED] = FIXED(GUEST, struct wire_started),
	[WIRE_STDIN] = RULE(HOST, 1, WIRE_DATA_MAX),
	[WIRE_STDIN_EOF] = RULE(HOST, 0, 0),
	[WIRE_STDIN_ACK] = FIXED(GUEST, struct wire_ack),
	[WIRE_STDOUT] = RULE(GUEST, 1, WIRE_DATA_MAX),
	[WIRE_STDERR] = RULE(GUEST, 1, WIRE_DATA_MAX),
	[WIRE_SIGNAL] = FIXED(HOST, struct wire_signal),
	[WIRE_WINCH] = FIXED(HOST, struct wire_winch),
	[WIRE_EXIT] = FIXED(GUEST, struct wire_exit),
	[WIRE_MOUNT] = RULE(HOST, sizeof(struct wire_mount) + 2,
			    sizeof(struct wire_mount) + WIRE_PATH_MAX),
	[WIRE_MOUNTED] = FIXED(GUEST, struct wire_mounted),
	[WIRE_KILL] = RULE(HOST, 0, 0),
	[WIRE_NET] = FIXED(HOST, struct wire_net),
	[WIRE_DIAL] = FIXED(HOST, struct wire_dial),
	[WIRE_DIALED] = FIXED(GUEST, struct wire_dialed),
#undef FIXED
#undef RULE
};

void wire_reader_init(struct wire_reader *r, enum wire_from from)
{
	r->from = from;
	r->head = 0;
	r->tail = 0;
}

void *wire_room(struct wire_reader *r, size_t *room)
{
	uint32_t have = r->tail - r->head;

	/* Move the unfinished frame to the front, but not for every read. */
	if (!have || sizeof(r->buf) - r->tail < WIRE_HDR + WIRE_DATA_MAX) {
		memmove(r->buf, r->buf + r->head, have);
		r->head = 0;
		r->tail = have;
	}
	*room = sizeof(r->buf) - r->tail;
	return r->buf + r->tail;
}

void wire_filled(struct wire_reader *r, size_t n)
{
	assert(n <= sizeof(r->buf) - r->tail);
	r->tail += (uint32_t)n;
}

static int hdr_ok(const struct wire_hdr *h, enum wire_from from)
{
	const struct rule *rule;

	if (h->type >= WIRE_TYPES || h->stream)
		return 0;
	rule = &rules[h->type];
	return rule->from == 1u + from && h->len >= rule->min &&
	       h->len <= rule->max;
}

int wire_next(struct wire_reader *r, struct wire_frame *f)
{
	uint32_t have = r->tail - r->head;
	struct wire_hdr h;

	if (have < WIRE_HDR)
		return 0;
	memcpy(&h, r->buf + r->head, sizeof(h));
	if (!hdr_ok(&h, r->from))
		return -EPROTO;
	if (have - WIRE_HDR < h.len)
		return 0;
	f->type = h.type;
	f->len = h.len;
	f->data = r->buf + r->head + WIRE_HDR;
	r->head += WIRE_HDR + h.len;
	return 1;
}

/* A place in a payload and where it ends. */
struct cursor {
	uint8_t *p, *end;
};

static int put_string(struct cursor *c, const char *s)
{
	size_t n = strlen(s);
	uint32_t len = (uint32_t)n;

	if (n >= WIRE_EXEC_MAX || (size_t)(c->end - c->p) < sizeof(len) + n + 1)
		return -E2BIG;
	memcpy(c->p, &len, sizeof(len));
	memcpy(c->p + sizeof(len), s, n + 1);
	c->p += sizeof(len) + n + 1;
	return 0;
}

/* The number of strings, or -E2BIG. */
static long put_list(struct cursor *c, char *const *list)
{
	long n;

	for (n = 0; list[n]; n++) {
		if (n >= (long)WIRE_STRINGS_MAX || put_string(c, list[n]))
			return -E2BIG;
	}
	return n;
}

long wire_put_exec(void *buf, size_t cap, const struct wire_command *cmd)
{
	struct wire_exec head = cmd->head;
	uint8_t *payload = (uint8_t *)buf + WIRE_HDR;
	struct cursor c;
	long argc, envc;
	uint32_t len;

	if (cap > WIRE_HDR + WIRE_EXEC_MAX)
		cap = WIRE_HDR + WIRE_EXEC_MAX;
	if (cap < WIRE_HDR + sizeof(head))
		return -E2BIG;
	c.p = payload + sizeof(head);
	c.end = (uint8_t *)buf + cap;
	argc = put_list(&c, cmd->argv);
	if (argc < 0)
		return argc;
	envc = put_list(&c, cmd->env);
	if (envc < 0)
		return envc;
	if (argc + envc > (long)WIRE_STRINGS_MAX || put_string(&c, cmd->cwd) ||
	    put_string(&c, cmd->user))
		return -E2BIG;
	head.argc = (uint32_t)argc;
	head.envc = (uint32_t)envc;
	len = (uint32_t)(c.p - payload);
	memcpy(payload, &head, sizeof(head));
	wire_put_hdr(buf, WIRE_EXEC, len);
	return (long)(WIRE_HDR + len);
}

static char *get_string(struct cursor *c)
{
	size_t left = (size_t)(c->end - c->p);
	uint32_t len;
	char *s;

	if (left < sizeof(len) + 1)
		return NULL;
	memcpy(&len, c->p, sizeof(len));
	left -= sizeof(len) + 1;
	s = (char *)c->p + sizeof(len);
	/* The first NUL must be the one that ends it. */
	if (len > left || memchr(s, 0, (size_t)len + 1) != s + len)
		return NULL;
	c->p += sizeof(len) + len + 1;
	return s;
}

/* "NAME=value", the name not empty. */
static int is_env(const char *s)
{
	return s[0] != '=' && strchr(s, '=');
}

int wire_get_exec(const struct wire_frame *f, char **slots,
		  struct wire_command *cmd)
{
	struct wire_exec *h = &cmd->head;
	struct cursor c = { f->data, f->data + f->len };
	uint32_t i;

	if (f->len < sizeof(*h))
		return -EPROTO;
	memcpy(h, c.p, sizeof(*h));
	c.p += sizeof(*h);
	if (!h->argc || h->argc > WIRE_STRINGS_MAX ||
	    h->envc > WIRE_STRINGS_MAX - h->argc ||
	    h->flags & ~(uint32_t)WIRE_EXEC_FLAGS)
		return -EPROTO;
	cmd->argv = slots;
	for (i = 0; i < h->argc; i++) {
		*slots = get_string(&c);
		if (!*slots++)
			return -EPROTO;
	}
	*slots++ = NULL;
	cmd->env = slots;
	for (i = 0; i < h->envc; i++) {
		*slots = get_string(&c);
		if (!*slots || !is_env(*slots++))
			return -EPROTO;
	}
	*slots = NULL;
	cmd->cwd = get_string(&c);
	cmd->user = cmd->cwd ? get_string(&c) : NULL;
	if (!cmd->user || (cmd->cwd[0] && cmd->cwd[0] != '/'))
		return -EPROTO;
	return c.p == c.end ? 0 : -EPROTO;
}

long wire_put_mount(void *buf, size_t cap, const struct wire_mount *m,
		    const char *path)
{
	uint8_t *payload = (uint8_t *)buf + WIRE_HDR;
	size_t n = strlen(path) + 1;
	uint32_t len = (uint32_t)(sizeof(*m) + n);

	if (n > WIRE_PATH_MAX || cap < WIRE_HDR + sizeof(*m) + n)
		return -E2BIG;
	memcpy(payload, m, sizeof(*m));
	memcpy(payload + sizeof(*m), path, n);
	wire_put_hdr(buf, WIRE_MOUNT, len);
	return (long)(WIRE_HDR + len);
}

/* What a kind does not use is 0. */
static int mount_ok(const struct wire_mount *m)
{
	return m->kind >= WIRE_MOUNT_TMPFS && m->kind <= WIRE_MOUNT_SEAL &&
	       (m->kind == WIRE_MOUNT_TMPFS || !m->size) &&
	       (m->kind == WIRE_MOUNT_VOLUME || !m->number);
}

int wire_get_mount(const struct wire_frame *f, struct wire_mount *m,
		   char **path)
{
	size_t n;

	if (f->len < sizeof(*m) + 2)
		return -EPROTO;
	memcpy(m, f->data, sizeof(*m));
	*path = (char *)f->data + sizeof(*m);
	n = f->len - sizeof(*m);
	/* The first NUL is the last byte. */
	if (n > WIRE_PATH_MAX || memchr(*path, 0, n) != *path + n - 1)
		return -EPROTO;
	return mount_ok(m) && **path == '/' ? 0 : -EPROTO;
}

static int is_zero(const uint8_t *p, size_t n)
{
	while (n--) {
		if (*p++)
			return 0;
	}
	return 1;
}

/* What is not there is 0, and what is there is no address of nobody. */
static int net_family_ok(const uint8_t *addr, const uint8_t *gateway,
			 size_t size, uint8_t len, int there)
{
	if (there)
		return !is_zero(addr, size) && len && len <= size * 8;
	return is_zero(addr, size) && is_zero(gateway, size) && !len;
}

static int net_dns_ok(const struct wire_net_dns *d, int there)
{
	if (!there)
		return is_zero((const uint8_t *)d, sizeof(*d));
	if (!is_zero(d->pad, sizeof(d->pad)))
		return 0;
	return d->family == 6 ||
	       (d->family == 4 && is_zero(d->addr + 4, sizeof(d->addr) - 4));
}

static int net_mtu_ok(const struct wire_net *net)
{
	uint32_t min = net->flags & WIRE_NET_V6 ? 1280 : WIRE_NET_MTU_MIN;

	return !net->mtu || (net->mtu >= min && net->mtu <= WIRE_NET_MTU_MAX);
}

int wire_get_net(const struct wire_frame *f, struct wire_net *net)
{
	unsigned i;

	if (f->len != sizeof(*net))
		return -EPROTO;
	memcpy(net, f->data, sizeof(*net));
	if (net->flags & ~(uint32_t)WIRE_NET_FLAGS || net->pad ||
	    net->ndns > WIRE_NET_DNS_MAX || !net_mtu_ok(net))
		return -EPROTO;
	if (!net_family_ok(net->v4, net->v4_gateway, sizeof(net->v4),
			   net->v4_len, net->flags & WIRE_NET_V4) ||
	    !net_family_ok(net->v6, net->v6_gateway, sizeof(net->v6),
			   net->v6_len, net->flags & WIRE_NET_V6))
		return -EPROTO;
	for (i = 0; i < WIRE_NET_DNS_MAX; i++) {
		if (!net_dns_ok(&net->dns[i], i < net->ndns))
			return -EPROTO;
	}
	return 0;
}

int wire_get_dial(const struct wire_frame *f, struct wire_dial *dial)
{
	if (f->len != sizeof(*dial))
		return -EPROTO;
	memcpy(dial, f->data, sizeof(*dial));
	return dial->port && (dial->kind == WIRE_DIAL_TCP ||
			      dial->kind == WIRE_DIAL_UDP) ? 0 : -EPROTO;
}
