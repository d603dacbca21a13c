/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: put somebody who wants out into the jail.
 *
 *	jail-run [-ps] [-m LAYER,...] PROBE VMM
 *
 * Starts PROBE as the launcher starts mayfly-vmm. Everything that it tries has
 * to come to nothing: in the whole jail, and with each of the layers alone
 * that claim to hold it. Without any layer it has to succeed, else the attempt
 * is worth nothing. -m: what is to be missing on this host, and told. VMM is
 * the real one, for launchers that die while they start it. -p: it is in mount,
 * uts and ipc namespaces that root shares with nobody. -s: without the sweep of
 * all system calls, thousands of processes: filters know nothing of the host.
 * TAP.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/lock.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "tests/jail/outside.h"
#include "tests/jail/sweep.h"

#define PROBES_MAX 256
#define ALL (NSPACE | ROOT | UID | RLIM | CAPS | NNP | STEPS)

struct tap {
	unsigned n, bad;
};

static void ok(struct tap *t, int good, const char *what, const char *name)
{
	t->n++;
	t->bad += !good;
	printf("%sok %u - %s%s%s\n", good ? "" : "not ", t->n, what,
	       *name ? ": " : "", name);
	fflush(stdout);
}

/* --- probes ------------------------------------------------------------- */

/* Which of its layers hold a probe, on this kernel. */
static uint32_t held_by(const struct outside *o, const struct probe *p)
{
	return o->landlock && o->landlock >= p->landlock ? p->by :
							   p->by & ~LANDLOCK;
}

static int is_claimed(const struct outside *o, const struct probe *p,
		      uint32_t on)
{
	if (p->flags & NOT_BARE && !(on & (NSPACE | UID)))
		return 0;
	/* Else the limit would count what others of this user run. */
	if (p->flags & OWN_TASKS && !(on & UID) &&
	    (!(on & NSPACE) || geteuid() == 0))
		return 0;
	return (on & p->base) == p->base && held_by(o, p) & on;
}

/* Run all; -1: it was not tried. */
static void try_all(struct outside *o, struct started *s, uint32_t lock,
		    int outcome[PROBES_MAX])
{
	struct said said;

	for (int i = 0; i < PROBES_MAX; i++)
		outcome[i] = -1;
	start_work(o, s, TRY_ALL, lock, LOCK_KVM_MAIN);
	while (started_said(s, &said))
		if (said.index < PROBES_MAX)
			outcome[said.index] = (int)said.outcome;
	started_end(s);
	outside_tidy(o);
}

static void expect_held(struct tap *t, const struct outside *o, uint32_t on,
			const int outcome[PROBES_MAX], const char *with)
{
	const struct probe *p;

	for (unsigned i = 0; (p = probe_at(i)); i++)
		if (is_claimed(o, p, on))
			ok(t, outcome[i] == HELD || outcome[i] == ABSENT, with,
			   p->name);
}

/* Which layers this host allows. */
static uint32_t in_the_whole_jail(struct tap *t, struct outside *o)
{
	uint32_t own = SECCOMP | (o->landlock ? LANDLOCK : 0);
	int outcome[PROBES_MAX], all = 1;
	const struct probe *p;
	struct started s;

	start_whole(o, &s);
	try_all(o, &s, own, outcome);
	expect_held(t, o, s.on | own, outcome, "in the jail");
	if ((s.on & ALL) == ALL)
		for (unsigned i = 0; (p = probe_at(i)); i++)
			all &= is_claimed(o, p, s.on | own) != 0;
	ok(t, all, "the jail claims to hold all of these", "");
	start_whole(o, &s);
	try_all(o, &s, 0, outcome);
	expect_held(t, o, s.on, outcome, "before mayfly-vmm locks itself in");
	return s.on;
}

/* Who is not root cannot have some of them alone. */
static void with_one_layer(struct tap *t, struct outside *o)
{
	static const struct {
		uint32_t layer;
		const char *with;
		int root;
	} one[] = {
		{ NSPACE, "with namespaces alone", 0 },
		{ ROOT, "with an empty root alone", 0 },
		{ UID, "with a user of its own alone", 1 },
		{ CAPS, "without capabilities", 0 },
		{ NNP, "with no_new_privs alone", 0 },
		{ LANDLOCK, "with Landlock alone", 0 },
		{ SECCOMP, "with seccomp alone", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(one); i++) {
		uint32_t l = one[i].layer, own = l & (LANDLOCK | SECCOMP);
		int outcome[PROBES_MAX];
		struct started s;

		if ((one[i].root && !o->root) ||
		    (l == LANDLOCK && !o->landlock))
			continue;
		start_alone(o, &s, l);
		try_all(o, &s, own, outcome);
		expect_held(t, o, l, outcome, one[i].with);
	}
}

/* Those that stand on a layer, with each of the others that hold them. */
static void with_a_base(struct tap *t, struct outside *o, uint32_t base)
{
	for (unsigned l = 0; l < JAIL_LAYERS; l++) {
		uint32_t layer = BIT(l) & (NSPACE | CAPS | NNP | LANDLOCK);
		int outcome[PROBES_MAX];
		const struct probe *p;
		struct started s;

		if (!layer || (layer == LANDLOCK && !o->landlock))
			continue;
		start_alone(o, &s, layer | base);
		try_all(o, &s, layer & LANDLOCK, outcome);
		for (unsigned i = 0; (p = probe_at(i)); i++)
			if (p->base == base && is_claimed(o, p, layer | base))
				ok(t, outcome[i] == HELD,
				   jail_layer_name((enum jail_layer)l),
				   p->name);
	}
}

/* The proof that an attempt can succeed. */
static void without_any(struct tap *t, struct outside *o, uint32_t base)
{
	int outcome[PROBES_MAX];
	const struct probe *p;
	struct started s;

	start_alone(o, &s, base);
	try_all(o, &s, 0, outcome);
	for (unsigned i = 0; (p = probe_at(i)); i++) {
		if (p->base != base || (p->flags & FOR_ROOT && !o->root))
			continue;
		if (p->flags & MAY_LACK && outcome[i] != REACHED)
			printf("# this host has not what it takes: %s\n",
			       p->name);
		else
			ok(t, outcome[i] == REACHED, "possible without a jail",
			   p->name);
	}
}

/* --- system calls ------------------------------------------------------- */

static const char *const kind_name[SWEEP_KINDS] = {
	[SWEEP_ZERO] = "with arguments 0",
	[SWEEP_ONES] = "with arguments -1",
	[SWEEP_PLAUSIBLE] = "with plausible arguments",
	[SWEEP_X32] = "of x32",
	[SWEEP_INT80] = "by int 0x80",
	[SWEEP_THREADS] = "with another thread",
};

/* Died of it, as a process? Without 32-bit programs, int 0x80 is a fault. */
static int is_right(enum lock_role role, enum sweep_kind kind, unsigned nr,
		    int status)
{
	int died = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;

	if (kind == SWEEP_INT80)
		return died ||
		       (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	if (kind >= SWEEP_X32)
		return died;
	switch (sweep_kept(role, nr)) {
	case DIES:
		return died;
	case LIVES:
		return !died;
	default:
		return 1;
	}
}

static void sweep_role(struct tap *t, struct outside *o, enum lock_role role,
		       const char *name)
{
	unsigned bad[SWEEP_KINDS] = { 0 }, n[SWEEP_KINDS] = { 0 };
	char what[80];
	struct started s;
	struct said said;

	start_whole(o, &s);
	start_work(o, &s, SWEEP, SECCOMP, role);
	while (started_said(&s, &said)) {
		unsigned kind = said.index >> 16, nr = said.index & 0xffff;

		n[kind]++;
		if (is_right(role, (enum sweep_kind)kind, nr,
			     (int)said.outcome))
			continue;
		bad[kind]++;
		printf("# %s, call %u %s: status %#x\n", name, nr,
		       kind_name[kind], said.outcome);
	}
	started_end(&s);
	for (int k = 0; k < SWEEP_KINDS; k++) {
		snprintf(what, sizeof(what), "%s: %u calls %s", name, n[k],
			 kind_name[k]);
		ok(t, !bad[k] && n[k] == (k == SWEEP_THREADS ? 1 : SWEEP_CALLS),
		   what, "");
	}
}

/* --- from outside ------------------------------------------------------- */

/* Each of @list is told, with a reason and a remedy, and nothing else. */
static void expect_missing(struct tap *t, struct outside *o, char *list)
{
	uint32_t wanted = 0, own = ALL & ~STEPS;
	struct started s;
	int told = 1;

	for (char *name = strtok(list, ","); name; name = strtok(NULL, ","))
		for (int l = 0; l < JAIL_LAYERS; l++)
			if (!strcmp(name, jail_layer_name((enum jail_layer)l)))
				wanted |= BIT(l);
	start_whole(o, &s);
	for (unsigned i = 0; i < s.m.jail.nmissing; i++) {
		const struct jail_missing *m = &s.m.jail.missing[i];

		printf("# no %s: %s; %s\n", jail_layer_name(m->layer), m->why,
		       m->remedy);
		told &= *m->why && *m->remedy;
		own &= ~BIT(m->layer);
	}
	ok(t, told && (s.m.jail.on & ALL & ~STEPS) == own &&
	      own == (ALL & ~STEPS & ~wanted),
	   "what is missing is what should be, with reason and remedy", "");
	started_end(&s);
}

/*
 * By another process of its user. The owner of a user namespace has every
 * privilege over it, so this is for a jail that has none.
 */
static void expect_not_traced(struct tap *t, struct outside *o)
{
	struct started s;
	struct said ready;

	start_whole(o, &s);
	if (geteuid() && !(s.on & NSPACE)) {
		start_work(o, &s, STAY, 0, 0);
		ok(t, started_said(&s, &ready) &&
		      ptrace(PTRACE_SEIZE, s.m.pid, NULL, NULL) < 0 &&
		      errno == EPERM, "its own user cannot trace it", "");
	}
	started_end(&s);
}

int main(int argc, char **argv)
{
	static const char *const role[LOCK_ROLES] = {
		"kvm_main", "kvm_vcpu", "soft_main", "soft_vcpu", "unpack",
		"layer", "archive", "pack", "dns", "keep",
	};
	char nothing[] = "", *missing = nothing;
	struct tap t = { 0 };
	struct outside o;
	int c, is_private = 0, roles = LOCK_ROLES;
	uint32_t allows;

	while ((c = getopt(argc, argv, "psm:")) != -1) {
		if (c == 'p')
			is_private = 1;
		else if (c == 's')
			roles = 0;
		else if (c == 'm')
			missing = optarg;
		else
			argc = 0;
	}
	if (optind + 2 != argc) {
		fprintf(stderr, "usage: jail-run [-ps] [-m LAYER,...] PROBE "
				"VMM\n");
		return 2;
	}
	outside_make(&o, argv[optind], is_private);
	expect_missing(&t, &o, missing);
	allows = in_the_whole_jail(&t, &o);
	o.root = geteuid() == 0 && allows & UID;
	if (allows & NSPACE) {
		with_one_layer(&t, &o);
		without_any(&t, &o, 0);
	}
	if (allows & NSPACE && o.root) {
		with_a_base(&t, &o, UID);
		without_any(&t, &o, UID);
	}
	expect_not_traced(&t, &o);
	for (int r = 0; r < roles; r++)
		sweep_role(&t, &o, (enum lock_role)r, role[r]);
	ok(&t, launchers_die(&o, argv[optind + 1]),
	   "a launcher that dies early leaves no process", "");
	outside_free(&o);
	printf("1..%u\n", t.n);
	return t.bad != 0;
}
