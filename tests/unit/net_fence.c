/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fence of a VM, in the kernel: its table is loaded by nft in a namespace
 * of its own, between a "guest" that tries everything and a "world" that
 * answers for every address. What passes is what net_decide() says.
 */
#include "tests/unit/fence_vm.h"

static const char *const targets[] = {
	"8.8.8.8", "8.8.9.9", "1.1.1.1", "1.2.3.4", "93.184.216.34",
	"10.0.0.1", "10.1.2.3", "10.255.255.255", "9.255.255.255", "11.0.0.1",
	"172.16.0.1", "172.31.255.254", "172.15.255.255", "172.32.0.1",
	"192.168.0.1", "192.167.255.255", "192.169.0.1", "100.64.0.1",
	"100.100.100.200", "100.100.100.201", "100.63.255.255", "100.128.0.1",
	"169.254.169.254", "169.254.169.253", "169.254.170.2",
	"168.63.129.16", "168.63.129.17", "192.0.0.192", "192.0.0.1",
	"192.0.1.1", "198.17.255.255", "198.19.0.14", "198.19.0.1",
	"198.20.0.1", "203.0.113.9", "223.255.255.255", "240.0.0.1",
	"2606:4700::1111", "2001:4860:4860::8888", "2001:db8::1",
	"2001:0:1:2::3", "2002:808:808::1", "64:ff9b::808:808", "::5",
	"fd00:ec2::254", "fd00:ec2::255", "fd12:3456::1", "fc00::1",
	"fd6d:6179:666c:79ff::e", "fd6d:6179:666c:79ff::1", "100::1",
	"3fff::1", "4000::1", "2600::1",
};

#define TARGETS ((int)ARRAY_SIZE(targets))

/* What has been learned, as the keeper adds it. */
struct learned {
	struct net_addr addr;
	uint16_t port;
};

static struct learned learned[16];
static int nlearned;

static void learn(const struct net_rules *rs, const char *to, uint16_t port)
{
	struct learned *l = &learned[nlearned];
	char a[NET_ADDR_MAX];

	l->addr = addr(to);
	l->port = port;
	if (!net_may_learn(rs, &l->addr, port))
		return;
	cr_assert_lt(++nlearned, (int)ARRAY_SIZE(learned));
	net_addr_format(&l->addr, a);
	if (port)
		sh(VM, "nft add element inet mayfly %s '{ %s . %u timeout 60s }'",
		   net_learned_set(&l->addr, port), a, port);
	else
		sh(VM, "nft add element inet mayfly %s '{ %s timeout 60s }'",
		   net_learned_set(&l->addr, 0), a);
}

/* The host has this address, too, from now on. */
static void later(struct net_rules *rs, const char *a)
{
	sh(VM, "nft add element inet mayfly %s '{ %s }'",
	   strchr(a, ':') ? NET_SET_LATER6 : NET_SET_LATER4, a);
	own(rs, a);
}

/* The model, with what was learned. */
static int passes(const struct net_rules *rs, const struct net_addr *a,
		  uint16_t port)
{
	enum net_verdict v = net_decide(rs, a, port);

	if (a->family == 6 && !has_v6)
		return 0;
	if (v != NET_BY_NAME)
		return v == NET_OPEN;
	for (int i = 0; i < nlearned; i++)
		if (net_addr_equal(&learned[i].addr, a) &&
		    (learned[i].port == port ||
		     (!learned[i].port && port != 53 && port != 853)))
			return 1;
	return 0;
}

static int add_flows(struct flow *flows, int n, const char *to)
{
	struct net_addr a = addr(to);

	flows[n++] = (struct flow){ ECHO, a, 0, 0, -1, 0 };
	for (int i = 0; i < SERVED; i++) {
		flows[n++] = (struct flow){ TCP, a, served[i], 0, -1, 0 };
		flows[n++] = (struct flow){ UDP, a, served[i], 0, -1, 0 };
	}
	return n;
}

/* Every target at every port: passed or refused at once, as the model says. */
static void check(const struct net_rules *rs, const char *what)
{
	static struct flow flows[FLOWS_MAX];
	char buf[128];
	int n = 0, passed = 0;

	for (int i = 0; i < TARGETS; i++)
		n = add_flows(flows, n, targets[i]);
	run_flows(flows, n, LONG_MS);
	for (int i = 0; i < n; i++) {
		enum flow_end want = passes(rs, &flows[i].addr, flows[i].port) ?
				     PASSED : REFUSED;

		passed += want == PASSED;
		cr_expect_eq(flows[i].end, want, "[%s] want %s, %s", what,
			     end_names[want], flow_text(&flows[i], buf));
	}
	cr_log_info("[%s] %d of %d passed", what, passed, n);
}

/* As on a command line: +allow, -deny, =own, then ~name's address to learn
 * (~ADDR or ~[ADDR]:PORT), and !own of later. */
static void run_rules(const char *line)
{
	struct net_rules rs = { 0 };
	char copy[1024], *save = NULL, *w;
	struct net_rule r;
	struct err err = { 0 };
	char a[NET_ADDR_MAX];

	/* Every other one with pasta behind it, which changes none of this. */
	plan.by_pasta = !plan.by_pasta;
	own(&rs, NET_POOL4);
	strcpy(copy, line);
	for (w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		if (*w == '=')
			own(&rs, w + 1);
		else if (*w == '+')
			cr_assert_eq(net_rules_allow(&rs, w + 1, &err), 0,
				     "%s", err.msg);
		else if (*w == '-')
			cr_assert_eq(net_rules_deny(&rs, w + 1, &err), 0, "%s",
				     err.msg);
	put_up(&rs);
	nlearned = 0;
	strcpy(copy, line);
	for (w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		if (*w == '~') {
			cr_assert_eq(net_rule_parse(&r, w + 1, NULL), 0);
			learn(&rs, net_addr_format(&r.prefix.addr, a), r.port);
		} else if (*w == '!') {
			later(&rs, w + 1);
		}
	check(&rs, line);
}

static const char *const lines[] = {
	"",
	"=8.8.8.8 =2606:4700::1111",
	"!8.8.8.8 !2606:4700::1111",
	"+8.8.8.8 +10.0.0.0/8 +web.test +2606:4700::1111 ~1.1.1.1 ~2600::1 "
	"!8.8.8.8 !10.0.0.1 !1.1.1.1 !2606:4700::1111 !2600::1",
	"-8.8.8.0/24 -2606:4700::/32 -1.1.1.1:443 -[2600::1]:22",
	"-ads.example",
	"-0.0.0.0/0",
	"+0.0.0.0/0 +::/0",
	"+0.0.0.0/0:53 +[::/0]:443",
	"+8.0.0.0/5 +10.0.0.0/8:80 -10.1.0.0/16 +[fc00::/7]:80",
	"+10.0.0.0/8 +172.16.0.0/12 +192.168.0.0/16 +169.254.0.0/16 "
	"+100.64.0.0/10 +fc00::/7 +198.18.0.0/15 +240.0.0.0/4 =10.0.0.1",
	"+169.254.169.254:80 +fd00:ec2::254 +64:ff9b::808:808 "
	"+100.100.100.200 +168.63.129.16:53 -100.100.100.200:443",
	"+web.test ~8.8.8.8 ~2606:4700::1111 ~10.0.0.1 ~169.254.169.254",
	"+web.test:80 +dns.test:53 -1.1.1.1 ~8.8.8.8:80 ~1.1.1.1:80 "
	"~93.184.216.34:53 ~[2600::1]:80 ~[fd12:3456::1]:80",
	"+web.test +web.test:853 +1.2.3.4:853 +2600::1 ~8.8.8.8 ~8.8.8.8:853",
};

/* Rules around the targets, so that most of them matter. */
static void random_rules(char *line, size_t size, unsigned *seed)
{
	static const uint16_t ports[] = { 0, 0, 0, 22, 53, 80, 443, 853 };
	static const uint8_t cut[] = { 0, 0, 0, 1, 4, 8, 16, 20, 24, 31 };
	int n = 1 + rand_r(seed) % 8;
	size_t len = 0;

	*line = '\0';
	for (int i = 0; i < n; i++) {
		struct net_addr a = addr(targets[rand_r(seed) % TARGETS]);
		char mark = "++-+~~~="[rand_r(seed) % 8], t[NET_RULE_MAX];
		unsigned bits = net_addr_bits(&a);
		struct net_rule r = { .prefix = net_prefix_of(&a, bits -
			(mark == '~' || mark == '=' ? 0 :
			 cut[rand_r(seed) % ARRAY_SIZE(cut)])) };

		if (mark != '=')
			r.port = ports[rand_r(seed) % ARRAY_SIZE(ports)];
		if (mark == '+' && rand_r(seed) % 2) {
			r.is_name = 1;
			strcpy(r.name, "a.b");
		}
		len += snprintf(line + len, size - len, "%s%c%s",
				i ? " " : "", mark, net_rule_format(&r, t));
	}
}

TestSuite(net_fence, .timeout = 280);

Test(net_fence, passes_what_the_model_says_of_any_rules)
{
	unsigned seed = 20261121;
	char line[1024];

	make_path();
	for (int i = 0; i < 60; i++) {
		random_rules(line, sizeof(line), &seed);
		run_rules(line);
	}
}

Test(net_fence, passes_what_the_model_says)
{
	make_path();
	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
		run_rules(lines[i]);
}
