/* SPDX-License-Identifier: Apache-2.0 */
/* How the values of a run's network read. */
#include "runner/config.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/plan.h"
#include "net/rule.h"
#include "runner/base/err.h"

static_assert(CONFIG_MTU_MAX == NET_MTU_MAX, "what a network can have");

void config_net_free(struct config_net *n)
{
	free(n->rules);
	n->rules = NULL;
}

/* As Linux has it: dev_valid_name(). */
static int is_link_name(const char *s)
{
	size_t n = strlen(s);

	return n && n < IFNAMSIZ && strcmp(s, ".") && strcmp(s, "..") &&
	       strcspn(s, "/: \t\n\v\f\r") == n;
}

int config_set_net(void *field, const char *arg, struct err *err)
{
	static const char tap[] = "tap=";
	struct config_net *n = field;
	int r;

	n->on = 1;
	if (!arg)
		return 0;
	if (strncmp(arg, tap, strlen(tap))) {
		r = err_say(err, -EINVAL, "not tap=NAME");
		err_hint(err, "--net alone makes a network; --net=tap=tap0 "
			      "takes a tap device that is there");
		return r;
	}
	n->tap = arg + strlen(tap);
	return is_link_name(n->tap) ?
		       0 :
		       err_say(err, -EINVAL, "not the name of an interface");
}

static struct net_rules *rules_of(struct config_net *n)
{
	n->on = 1;
	if (!n->rules)
		n->rules = calloc(1, sizeof(*n->rules));
	return n->rules;
}

/* What is right, and may be meant otherwise: the first such. */
static void doubt(struct config_net *n, const char *option, const char *arg,
		  const struct net_rule *r)
{
	char meant[NET_RULE_MAX];

	if (!*n->doubt && net_rule_doubt(r, arg, meant))
		snprintf(n->doubt, sizeof(n->doubt),
			 "%s %s is an address; %s, if the end is a port",
			 option, arg, meant);
}

int config_add_allow(void *field, const char *arg, struct err *err)
{
	struct net_rules *rules = rules_of(field);
	int r;

	if (!rules)
		return err_set(err, -ENOMEM, "remember it");
	r = net_rules_allow(rules, arg, err);
	if (r == 0)
		doubt(field, "--allow", arg, &rules->allow[rules->nallow - 1]);
	return r;
}

int config_add_deny(void *field, const char *arg, struct err *err)
{
	struct net_rules *rules = rules_of(field);
	int r;

	if (!rules)
		return err_set(err, -ENOMEM, "remember it");
	r = net_rules_deny(rules, arg, err);
	if (r == 0)
		doubt(field, "--deny", arg, &rules->deny[rules->ndeny - 1]);
	return r;
}

int config_add_dns(void *field, const char *arg, struct err *err)
{
	struct config_net *n = field;
	int r;

	if (n->ndns == CONFIG_DNS_MAX)
		return err_say(err, -E2BIG, "more than %d", CONFIG_DNS_MAX);
	if (net_addr_read(&n->dns[n->ndns], arg) < 0) {
		r = err_say(err, -EINVAL, "not an address");
		err_hint(err, "say 9.9.9.9 or 2620:fe::fe");
		return r;
	}
	if (net_addr_link_local6(&n->dns[n->ndns])) {
		r = err_say(err, -EINVAL, "a link-local address, without its "
					  "link");
		err_hint(err, "/etc/resolv.conf may have it, as fe80::1%%eth0");
		return r;
	}
	n->ndns++;
	return 0;
}

int config_set_mtu(void *field, const char *arg, struct err *err)
{
	struct config_net *n = field;
	const char *end = arg;
	uint64_t v;

	if (config_parse_digits(&end, &v) < 0 || *end || v < CONFIG_MTU_MIN ||
	    v > CONFIG_MTU_MAX)
		return err_say(err, -ERANGE, "must be from %d to %d",
			       CONFIG_MTU_MIN, CONFIG_MTU_MAX);
	n->mtu = (unsigned)v;
	return 0;
}

int config_set_net_pool(void *field, const char *arg, struct err *err)
{
	struct config_net *n = field;
	int r = net_prefix_parse(&n->pool, arg, err);

	if (r < 0) {
		if (err && !*err->hint)
			err_hint(err, "say it as 198.19.0.0/16");
		return r;
	}
	return net_pool_check(&n->pool, err);
}

int config_check_net(const struct config_net *n, struct err *err)
{
	const char *alone = n->ndns	? "--dns" :
			    n->mtu	? "--mtu" :
			    n->rates.bytes.size || n->rates.ops.size ?
					  "--net-rate" : NULL;
	int r;

	if (!n->on && alone) {
		r = err_say(err, -EINVAL, "%s without a network", alone);
		err_hint(err, "add --net");
		return r;
	}
	if (n->tap && n->rules) {
		r = err_say(err, -EINVAL, "%s with --net=tap=%s: nothing of "
			    "ours is between the guest and that device",
			    n->rules->nallow ? "--allow" : "--deny", n->tap);
		err_hint(err, "say --net, or have rules of your own there");
		return r;
	}
	return 0;
}
