/* SPDX-License-Identifier: Apache-2.0 */
/* Any datagrams of a forwarder that was taken over, at any time: what the keeper
 * asks of the kernel is what the rules let a name open. */
#include <errno.h>

#include "net/learn.h"
#include "net/plan.h"
#include "net/rule.h"
#include "runner/base/mem.h"
#include "tests/fuzz/bytes.h"

struct kernel {
	const struct net_rules *rules;
	unsigned asked;
	int says;
};

static int add(void *opaque, const struct nfnl_element *e, unsigned count)
{
	struct kernel *k = opaque;

	must(count && count <= NFNL_ADD_MAX);
	for (unsigned i = 0; i < count; i++) {
		int v6 = e[i].key_len >= 16;
		int ported = e[i].key_len == 8 || e[i].key_len == 20;
		struct net_addr a;
		uint16_t port = 0;
		uint8_t key[LEARN_KEY_MAX];

		a = net_addr_from(v6 ? 6 : 4, e[i].key);
		if (ported)
			port = (uint16_t)(e[i].key[e[i].key_len - 4] << 8 |
					  e[i].key[e[i].key_len - 3]);
		must(!ported || port);
		must(net_learned_key(&a, port, key) == e[i].key_len);
		must(!memcmp(key, e[i].key, e[i].key_len));
		must(!strcmp(net_learned_set(&a, port), e[i].set));
		must(net_decide(k->rules, &a, port) != NET_REFUSED);
		must(e[i].timeout_s >= KEEP_TTL_MIN);
		must(e[i].timeout_s <= KEEP_TTL_MAX);
	}
	k->asked += count;
	return k->says;
}

/* A byte of time, one of length, that many bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct net_rules rules;
	struct keep_learned a[KEEP_LEARN_MAX];
	struct kernel kernel = { .rules = &rules };
	uint64_t now = 0;
	struct learn l;

	if (!rules.nallow) {
		must(net_rules_allow(&rules, "web.test:443", NULL) == 0);
		must(net_rules_allow(&rules, "10.1.0.0/16", NULL) == 0);
		must(net_rules_deny(&rules, "8.8.8.0/24", NULL) == 0);
	}
	must(learn_init(&l, &rules, now) == 0);
	l.add = add;
	l.opaque = &kernel;
	while (size >= 2) {
		size_t len = MIN((size_t)data[1] * 4, size - 2);
		int r;

		now += (uint64_t)data[0] * data[0] * 100000000;
		kernel.says = data[0] == 0xff ? -ENFILE : 0;
		r = learn_answer(&l, data + 2, len, now, a);
		must(r == -EBADMSG ||
		     r == (int)(len / sizeof(struct keep_learn)));
		for (int i = 0; i < r; i++)
			must(a[i].error <= 0);
		data += 2 + len;
		size -= 2 + len;
	}
	must(kernel.asked <= LEARN_BURST + now / 1000000000 * LEARN_SECOND +
				     LEARN_SECOND);
	learn_free(&l);
	return 0;
}
