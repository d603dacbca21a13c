/* SPDX-License-Identifier: Apache-2.0 */
/* What networks of guests take of the host, and who else rules forwarding. */
#include "runner/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/host.h"
#include "net/legacy.h"
#include "net/nft.h"
#include "net/plan.h"
#include "net/rule.h"
#include "net/ruleset.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/base/sysctl.h"

#define TUN "/dev/net/tun"

static void nft(struct doctor *d)
{
	struct err err = { 0 };
	const char *path = nft_find(&err);

	doctor_say(d, path ? DOCTOR_OK : DOCTOR_WARN, "nft", "%s",
		   path ? path : err.msg);
	if (!path)
		doctor_remedy(d, "%s", err.hint);
}

static void pasta(struct doctor *d)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *dirs = strdup(path ? path : "/usr/bin:/bin");
	char file[PATH_MAX];

	for (char *rest = dirs, *dir; rest && (dir = strsep(&rest, ":"));) {
		if (snprintf(file, sizeof(file), "%s/pasta", dir) >=
			    (int)sizeof(file) ||
		    access(file, X_OK) < 0)
			continue;
		doctor_say(d, DOCTOR_OK, "pasta", "%s", file);
		return;
	}
	doctor_say(d, DOCTOR_WARN, "pasta",
		   "not here; without root it is the way out of a network");
	doctor_remedy(d, "sudo apt-get install passt");
}

static void tun(struct doctor *d)
{
	_cleanup_fd_ int fd = open(TUN, O_RDWR | O_CLOEXEC);
	int why = errno;

	if (fd >= 0) {
		doctor_say(d, DOCTOR_OK, "tun", "%s opens", TUN);
		return;
	}
	doctor_say(d, DOCTOR_WARN, "tun", "%s: %s; guests have no network", TUN,
		   strerror(why));
	if (why == EACCES)
		doctor_remedy(d, "sudo chmod 0666 %s, as distributions have it",
			      TUN);
	else
		doctor_remedy(d, "sudo modprobe tun; in a container: --device "
				 "%s", TUN);
}

static void ways_out(struct doctor *d)
{
	_cleanup_free_ struct net_rules *rules = calloc(1, sizeof(*rules));
	struct net_host_notes notes;
	struct net_host h;
	struct err err = { 0 };

	if (!rules || net_host_look(&h, rules, NULL, &notes, &err) < 0) {
		doctor_say(d, DOCTOR_WARN, "way out", "%s", err.msg);
		doctor_remedy(d, "%s", *err.hint ? err.hint : "ip route");
		return;
	}
	if (!notes.has_default4 && !notes.has_default6) {
		doctor_say(d, DOCTOR_WARN, "way out",
			   "no default route: %s",
			   geteuid() ? "no run has a network" :
				       "guests reach what this host reaches");
		doctor_remedy(d, "ip route add default via ADDRESS");
	} else if (geteuid() != 0 ? notes.has_default6 : h.has_v6) {
		doctor_say(d, DOCTOR_OK, "way out", "%sIPv6",
			   notes.has_default4 ? "IPv4 and " : "");
	} else {
		doctor_say(d, DOCTOR_OK, "way out", "IPv4; guests have no IPv6: "
			   "%s", notes.no_v6);
	}
	if (notes.nresolvers)
		return;
	doctor_say(d, DOCTOR_WARN, "resolvers",
		   "/etc/resolv.conf names none: 127.0.0.1 is asked for "
		   "guests");
	doctor_remedy(d, "mayfly run --dns ADDRESS");
}

/* --- root's -------------------------------------------------------------- */

static void forwarding(struct doctor *d)
{
	long on = sysctl_number("net/ipv4/ip_forward");

	if (on < 0)
		return;
	doctor_say(d, DOCTOR_OK, "forwarding", "%s",
		   on ? "is on" :
			      "is off: the first run with a network turns it "
			      "on, `mayfly net prune` off again");
}

/* "ip filter FORWARD, inet firewalld filter_FORWARD" */
static void add_name(char *list, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void add_name(char *list, size_t size, const char *fmt, ...)
{
	size_t len = strlen(list);
	va_list ap;

	if (len)
		len += (size_t)snprintf(list + len, size - len, ", ");
	va_start(ap, fmt);
	if (len < size)
		vsnprintf(list + len, size - len, fmt, ap);
	va_end(ap);
}

static void legacy(struct doctor *d, char *names, size_t size)
{
	for (int family = 4; family <= 6; family += 2) {
		struct legacy l;

		if (legacy_read(&l, family, NULL) < 0 || !l.drops)
			continue;
		add_name(names, size, "ip%stables-legacy FORWARD",
			 family == 6 ? "6" : "");
		if (legacy_program(family))
			continue;
		doctor_say(d, DOCTOR_WARN, "forward rules",
			   "ip%stables-legacy drops what guests send, and its "
			   "program is not here", family == 6 ? "6" : "");
		doctor_remedy(d, "sudo apt-get install iptables");
	}
}

static void forward_rules(struct doctor *d)
{
	_cleanup_free_ struct ruleset *rs = calloc(1, sizeof(*rs));
	char names[DOCTOR_WORDS_MAX / 2] = "";
	struct err err = { 0 };

	if (!rs || ruleset_read(rs, &err) < 0) {
		doctor_say(d, DOCTOR_WARN, "forward rules", "%s", err.msg);
		doctor_remedy(d, "%s", *err.hint ? err.hint : "free some memory");
		return;
	}
	legacy(d, names, sizeof(names));
	for (unsigned i = 0; i < rs->n; i++) {
		const struct ruleset_chain *c = &rs->chain[i];

		if (c->drops && !c->owned)
			add_name(names, sizeof(names), "%s %s %s",
				 ruleset_family(c->family), c->table, c->name);
		if (!c->drops || !c->owned)
			continue;
		doctor_say(d, DOCTOR_WARN, "forward rules",
			   "%s %s %s drops what guests send, and only its "
			   "owner may change it", ruleset_family(c->family),
			   c->table, c->name);
		doctor_remedy(d, "sudo firewall-cmd --zone=trusted "
				 "--add-interface=" NET_HOST_LINK "+");
	}
	if (*names)
		doctor_say(d, DOCTOR_OK, "forward rules",
			   "%s: drop what guests send; runs with a network add "
			   "rules there", names);
	else
		doctor_say(d, DOCTOR_OK, "forward rules",
			   "none of others drop what guests send");
}

void doctor_net(struct doctor *d)
{
	if (geteuid() == 0)
		nft(d);
	tun(d);
	if (geteuid() != 0)
		pasta(d);
	ways_out(d);
	if (geteuid() != 0)
		return;
	forwarding(d);
	forward_rules(d);
}
