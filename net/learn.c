/* SPDX-License-Identifier: Apache-2.0 */
/* May this address be open, and until when? */
#include "net/learn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/plan.h"
#include "net/rule.h"
#include "runner/base/mem.h"

#define TOKEN 1000
#define NS    UINT64_C(1000000000)

int learn_init(struct learn *l, const struct net_rules *rules, uint64_t now_ns)
{
	*l = (struct learn){ .rules = rules, .tokens = LEARN_BURST * TOKEN,
			     .last_ns = now_ns };
	l->slot = calloc(LEARN_SLOTS, sizeof(*l->slot));
	return l->slot ? 0 : -ENOMEM;
}

void learn_free(struct learn *l)
{
	free(l->slot);
	l->slot = NULL;
}

static void refill(struct learn *l, uint64_t now_ns)
{
	uint64_t passed = MIN(now_ns - l->last_ns, NS * LEARN_BURST);
	uint64_t more = passed * LEARN_SECOND / (NS / TOKEN);

	if (!more) /* so short a time is not lost */
		return;
	l->tokens = MIN((uint64_t)LEARN_BURST * TOKEN, l->tokens + more);
	l->last_ns = now_ns;
}

/* --- what is open ---------------------------------------------------------- */

/* FNV-1a. Who finds keys that meet has less room for what it wants open. */
static unsigned hash(const uint8_t *key, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ key[i]) * UINT64_C(0x100000001b3);
	return (unsigned)(h >> 32 ^ h) % LEARN_SLOTS;
}

/* The slot of this key, or one that it may have; NULL: they are all taken. */
static struct learn_slot *find(struct learn *l, const uint8_t *key, size_t len,
			       uint64_t now_ns)
{
	struct learn_slot *spare = NULL;
	unsigned at = hash(key, len);

	for (unsigned i = 0; i < LEARN_PROBES; i++) {
		struct learn_slot *s = &l->slot[(at + i) % LEARN_SLOTS];

		if (s->key_len == len && !memcmp(s->key, key, len))
			return s;
		if (s->end_ns <= now_ns && !spare)
			spare = s;
		if (!s->key_len)
			break; /* never used: nothing lies behind it */
	}
	return spare;
}

/* --- questions -------------------------------------------------------------- */

static struct net_addr address_of(const struct keep_learn *q)
{
	struct net_addr a = { .family = q->family };

	memcpy(a.b, q->addr, sizeof(a.b));
	return a;
}

static int well_formed(const struct keep_learn *q, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct net_addr a = address_of(q + i);

		if (q[i].zero || !net_addr_valid(&a))
			return 0;
	}
	return 1;
}

/* What is to be asked of the kernel, and what is known when it has agreed. */
struct asking {
	unsigned n;
	struct nfnl_element e[KEEP_LEARN_MAX];
	struct learn_slot *slot[KEEP_LEARN_MAX];
	struct learn_slot was[KEEP_LEARN_MAX];
};

static uint32_t clamp(uint32_t ttl)
{
	return MAX(KEEP_TTL_MIN, MIN(ttl, KEEP_TTL_MAX));
}

static int look_at(struct learn *l, const struct keep_learn *q, uint64_t now_ns,
		   struct asking *a)
{
	const struct net_addr addr = address_of(q);
	const uint32_t ttl = clamp(q->ttl);
	const uint64_t end = now_ns + ttl * NS;
	uint8_t key[LEARN_KEY_MAX];
	struct learn_slot *s;
	size_t len;

	if (!net_may_learn(l->rules, &addr, q->port))
		return -EPERM;
	len = net_learned_key(&addr, q->port, key);
	s = find(l, key, len, now_ns);
	if (!s)
		return -ENFILE;
	if (s->key_len == len && !memcmp(s->key, key, len) && s->end_ns >= end)
		return 0; /* open for as long already, or asked just now */
	if (l->tokens < TOKEN)
		return -EAGAIN;
	l->tokens -= TOKEN;
	a->slot[a->n] = s;
	a->was[a->n] = *s;
	s->end_ns = end;
	s->key_len = (uint8_t)len;
	memcpy(s->key, key, len);
	a->e[a->n] = (struct nfnl_element){
		.set = net_learned_set(&addr, q->port),
		.key = s->key,
		.key_len = len,
		.timeout_s = ttl,
	};
	a->n++;
	return 0;
}

int learn_answer(struct learn *l, const void *question, size_t len,
		 uint64_t now_ns, struct keep_learned a[KEEP_LEARN_MAX])
{
	struct keep_learn q[KEEP_LEARN_MAX];
	unsigned n = (unsigned)(len / sizeof(*q));
	struct asking asking = { .n = 0 };
	int r = 0;

	if (!len || len > sizeof(q) || len % sizeof(*q))
		return -EBADMSG;
	memcpy(q, question, len);
	if (!well_formed(q, n))
		return -EBADMSG;
	refill(l, now_ns);
	for (unsigned i = 0; i < n; i++)
		a[i].error = look_at(l, q + i, now_ns, &asking);
	if (asking.n)
		r = l->add(l->opaque, asking.e, asking.n);
	if (r == 0)
		return (int)n;
	/* None of them: last first, for one slot may have been taken twice. */
	while (asking.n--)
		*asking.slot[asking.n] = asking.was[asking.n];
	for (unsigned i = 0; i < n; i++)
		if (!a[i].error)
			a[i].error = r;
	return (int)n;
}
