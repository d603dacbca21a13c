/* SPDX-License-Identifier: Apache-2.0 */
/* Any words as --allow and --deny: what is understood is printed as the same;
 * of it a table can be made, in which nothing stands that nobody of ours wrote;
 * and the verdict on an address does not depend on what could be learned. */
#include <linux/netlink.h>

#include "net/plan.h"
#include "runner/base/err.h"
#include "tests/fuzz/bytes.h"

static void is_plain(const char *s)
{
	must(*s);
	for (; *s; s++)
		must((unsigned char)*s >= 0x20 && *s != 0x7f);
}

static void is_same(const struct net_rule *r)
{
	char text[NET_RULE_MAX], twice[NET_RULE_MAX];
	struct net_rule again;

	is_plain(net_rule_format(r, text));
	must(net_rule_parse(&again, text, NULL) == 0);
	must(!strcmp(net_rule_format(&again, twice), text));
	must(again.is_name == r->is_name && again.port == r->port);
	if (!r->is_name)
		must(net_addr_equal(&again.prefix.addr, &r->prefix.addr) &&
		     again.prefix.len == r->prefix.len);
}

/* One line of the input: '+', '-' or nothing in front. */
static void line(struct net_rules *rs, char *text)
{
	unsigned n = rs->nallow, m = rs->ndeny;
	struct err err = { 0 };
	int rc = *text == '-' ? net_rules_deny(rs, text + 1, &err) :
				net_rules_allow(rs, text + (*text == '+'), &err);

	if (rc < 0) {
		is_plain(err.msg);
		must(rs->nallow == n && rs->ndeny == m);
		return;
	}
	is_same(*text == '-' ? &rs->deny[m] : &rs->allow[n]);
}

static int write_table(const struct net_rules *rs, void *buf)
{
	struct net_host host = { .has_v6 = 1 };
	struct net_plan plan;
	int n;

	must(net_plan_make(&plan, &host, 0, NULL, NULL) == 0);
	n = net_plan_vm_table(&plan, rs, buf, NET_TABLE_MAX, NULL);
	must(n > 0);
	return n;
}

/* Attributes fill what they are in. */
static void is_filled(const char *at, size_t len)
{
	while (len) {
		const struct nlattr *a = (const void *)at;

		must(len >= NLA_HDRLEN && a->nla_len >= NLA_HDRLEN &&
		     NLA_ALIGN(a->nla_len) <= len);
		if (a->nla_type & NLA_F_NESTED)
			is_filled(at + NLA_HDRLEN, a->nla_len - NLA_HDRLEN);
		at += NLA_ALIGN(a->nla_len);
		len -= NLA_ALIGN(a->nla_len);
	}
}

/* What table_vm.c writes is messages of attributes; and the same whatever the
 * names are. */
static void is_table(struct net_rules *rs)
{
	static _Alignas(8) char buf[NET_TABLE_MAX], other[NET_TABLE_MAX];
	int n = write_table(rs, buf);

	for (int at = 0; at < n;) {
		const struct nlmsghdr *h = (const void *)(buf + at);

		must(h->nlmsg_len >= NLMSG_HDRLEN + 4 &&
		     (int)h->nlmsg_len <= n - at && h->nlmsg_len % 4 == 0);
		is_filled(buf + at + NLMSG_HDRLEN + 4,
			  h->nlmsg_len - NLMSG_HDRLEN - 4);
		at += (int)h->nlmsg_len;
	}
	for (unsigned i = 0; i < rs->nallow; i++)
		if (rs->allow[i].is_name)
			strcpy(rs->allow[i].name, "a.b");
	for (unsigned i = 0; i < rs->ndeny; i++)
		if (rs->deny[i].is_name)
			strcpy(rs->deny[i].name, "a.b");
	must(write_table(rs, other) == n && !memcmp(buf, other, (size_t)n));
}

static void is_judged(const struct net_rules *rs, struct bytes *b)
{
	struct net_addr a = { .family = take8(b) };
	uint16_t port = take16(b);
	enum net_verdict v;

	take(b, a.b, sizeof(a.b));
	v = net_decide(rs, &a, port);
	if (!net_addr_valid(&a)) {
		must(v == NET_REFUSED);
		return;
	}
	if (v != NET_REFUSED)
		must(net_answerable(rs, &a));
	if (v == NET_BY_NAME)
		must(net_is_list(rs));
	for (unsigned i = 0; i < rs->ndeny; i++)
		if (!rs->deny[i].is_name && !rs->deny[i].port &&
		    net_prefix_has(&rs->deny[i].prefix, &a))
			must(v == NET_REFUSED && !net_answerable(rs, &a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct net_rules rs;
	struct bytes b = { data, size };
	char *text = malloc(size + 1), *save = NULL;

	must(text);
	memset(&rs, 0, sizeof(rs));
	memcpy(text, data, size);
	text[size] = '\0';
	for (char *s = strtok_r(text, "\n", &save); s;
	     s = strtok_r(NULL, "\n", &save)) {
		uint16_t ports[NET_RULES_MAX];
		unsigned n;

		line(&rs, s);
		net_name_allowed(&rs, s, ports, &n);
		must(n <= rs.nallow);
	}
	must(net_rules_valid(&rs));
	while (b.n)
		is_judged(&rs, &b);
	is_table(&rs);
	/* And whatever comes in the place of rules. */
	b = (struct bytes){ data, size };
	take(&b, &rs, sizeof(rs));
	if (net_rules_valid(&rs))
		is_table(&rs);
	free(text);
	return 0;
}
