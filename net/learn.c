/* SPDX-License-Identifier: Apache-2.0 */
/* May this address be open, and for how long? */
#include "net/learn.h"

#include <errno.h>
#include <string.h>

#include "net/plan.h"
#include "net/rule.h"
#include "runner/base/mem.h"

#define KEY_MAX 20
#define TOKEN	1000
#define NS	UINT64_C(1000000000)

void learn_init(struct learn *l, const struct net_rules *rules, uint64_t now_ns)
{
	*l = (struct learn){ .rules = rules, .tokens = LEARN_BURST * TOKEN,
			     .last_ns = now_ns };
}

static void refill(struct learn *l, uint64_t now_ns)
{
	uint64_t passed = now_ns - l->last_ns;
	uint64_t most = LEARN_BURST * TOKEN;
	uint64_t more = MIN(passed, NS * LEARN_BURST) / 1000 *
			LEARN_SECOND * TOKEN / (NS / 1000);

	if (!more) /* so short a time is not lost */
		return;
	l->tokens = MIN(most, l->tokens + more);
	l->last_ns = now_ns;
}

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

static int has_key(const struct nfnl_element *e, unsigned n, const char *set,
		   const uint8_t *key, size_t len)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(e[i].set, set) && e[i].key_len == len &&
		    !memcmp(e[i].key, key, len))
			return 1;
	return 0;
}

int learn_answer(struct learn *l, const void *question, size_t len,
		 uint64_t now_ns, struct keep_learned a[KEEP_LEARN_MAX])
{
	struct keep_learn q[KEEP_LEARN_MAX];
	struct nfnl_element e[KEEP_LEARN_MAX];
	uint8_t key[KEEP_LEARN_MAX][KEY_MAX];
	unsigned n = (unsigned)(len / sizeof(*q)), count = 0;
	int r;

	if (!len || len > sizeof(q) || len % sizeof(*q))
		return -EBADMSG;
	memcpy(q, question, len);
	if (!well_formed(q, n))
		return -EBADMSG;
	refill(l, now_ns);
	for (unsigned i = 0; i < n; i++) {
		struct net_addr addr = address_of(q + i);
		const char *set = net_learned_set(&addr, q[i].port);
		size_t key_len;

		a[i].error = 0;
		if (!net_may_learn(l->rules, &addr, q[i].port))
			a[i].error = -EPERM;
		else if (l->tokens < TOKEN)
			a[i].error = -EAGAIN;
		if (a[i].error)
			continue;
		l->tokens -= TOKEN;
		key_len = net_learned_key(&addr, q[i].port, key[count]);
		if (has_key(e, count, set, key[count], key_len))
			continue;
		e[count] = (struct nfnl_element){
			.set = set,
			.key = key[count],
			.key_len = key_len,
			.timeout_s = MAX(KEEP_TTL_MIN,
					 MIN(q[i].ttl, KEEP_TTL_MAX)),
		};
		count++;
	}
	r = count ? l->add(l->opaque, e, count) : 0;
	for (unsigned i = 0; i < n && r < 0; i++)
		if (!a[i].error)
			a[i].error = r;
	return (int)n;
}
