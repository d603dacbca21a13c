/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs with a network share on the host, made where it is missing.
 *
 * First the look that nearly every run gets away with: the ruleset's generation
 * is the one at which all was there, so nothing has changed since. Else all is
 * read again, what is missing is made, and then it is read once more: only what
 * was seen to be there is remembered as there.
 */
#include "net/host.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "net/host_impl.h"
#include "net/legacy.h"
#include "net/nft.h"
#include "net/plan.h"
#include "net/ruleset.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

/* Somebody else may change the ruleset between two looks. */
#define TRIES 8

/* --- the look ------------------------------------------------------------ */

uint64_t host_legacy_hash(const struct legacy l[2])
{
	return l[0].hash * 3 + l[1].hash;
}

int host_read_legacy(struct legacy l[2], struct err *err)
{
	int r = legacy_read(&l[0], 4, err);

	return r < 0 ? r : legacy_read(&l[1], 6, err);
}

static int forwards(const struct net_shared *s)
{
	return forward_is_on(4) && (!s->has_v6 || forward_is_on(6));
}

/* 1: as it was when all was there. */
static int is_unchanged(const struct host_memory *m,
			const struct net_host_want *want, struct err *err)
{
	struct legacy legacy[2];
	uint32_t generation;
	int r;

	if (!m->generation || (want->v6 && !m->shared.has_v6) ||
	    !forwards(&m->shared))
		return 0;
	r = ruleset_generation(&generation, err);
	if (r < 0 || generation != m->generation)
		return r;
	r = host_read_legacy(legacy, err);
	return r < 0 ? r : host_legacy_hash(legacy) == m->legacy;
}

/* --- the change ---------------------------------------------------------- */

/* All that was found in one look. */
struct found {
	char own[NET_MARK_MAX]; /* mark of the table that we would load */
	struct ruleset rs;
	struct legacy legacy[2];
};

static int find(const struct host_memory *m, struct found *f, struct err *err)
{
	int r;

	if (net_plan_host_mark(&m->shared, f->own) < 0)
		return err_say(err, -EINVAL, "table inet " NET_TABLE
					     ": too many links");
	r = ruleset_read(&f->rs, err);
	return r < 0 ? r : host_read_legacy(f->legacy, err);
}

/*
 * Is there a table, whole, that serves? Another directory's runs may have
 * loaded theirs: two that would each have their own would go on for ever.
 * @loaded: ours was loaded just now, with as many rules as it has. @again: for
 * a run that has begun; then any will do.
 */
static int has_fence(const struct host_memory *m, const struct found *f,
		     int loaded, int again)
{
	const int known = !strcmp(f->rs.mark, m->mark);

	if (!*f->rs.mark || !f->rs.nrules ||
	    (known && !loaded && f->rs.nrules != m->nrules))
		return 0;
	if (!strcmp(f->rs.mark, f->own))
		return 1;
	if (known && m->loaded) /* by us, before the memory was changed */
		return 0;
	return again || net_mark_serves(f->rs.mark, f->own);
}

static int has_rules(const struct found *f)
{
	for (unsigned i = 0; i < f->rs.n; i++) {
		const struct ruleset_chain *c = &f->rs.chain[i];

		if (c->drops && !c->owned && c->ntags != 2)
			return 0;
	}
	for (int i = 0; i < 2; i++) {
		const struct legacy *l = &f->legacy[i];

		if (l->drops && !(l->from && l->to))
			return 0;
	}
	return 1;
}

/* Before forwarding is changed, and before the table that depends on it. */
static int note(int state, struct host_memory *m, struct err *err)
{
	const struct net_shared *s = &m->shared;
	const int was = s->router4.was_off || s->router6.was_off;
	struct ruleset rs;
	int r = forward_note(m, 4, err);

	if (r == 0 && s->has_v6)
		r = forward_note(m, 6, err);
	if (r == 0 && !was && (s->router4.was_off || s->router6.was_off)) {
		r = ruleset_read(&rs, err);
		if (r == 0)
			host_note_chains(m, &rs);
	}
	m->generation = 0;
	if (r == 0)
		r = host_memory_write(state, m, err);
	fault_point("host", "noted");
	return r;
}

static int load_table(const struct host_memory *m, struct err *err)
{
	char text[NET_HOST_TABLE_MAX];
	int n = net_plan_host_table(&m->shared, text, sizeof(text), err);

	return n < 0 ? n : nft_run(text, (size_t)n, err);
}

/* The fence first, forwarding last. Sets *@loaded. */
static int make(const struct host_memory *m, const struct found *f, int *loaded,
		int again, struct err *err)
{
	int r = 0;

	if (!has_fence(m, f, *loaded, again)) {
		r = load_table(m, err);
		*loaded = 1;
	}
	fault_point("host", "table");
	if (r == 0)
		r = ruleset_insert(&f->rs, err);
	fault_point("host", "rules");
	for (int i = 0; r >= 0 && i < 2; i++)
		if (f->legacy[i].drops)
			r = legacy_insert(&f->legacy[i], i ? 6 : 4, err);
	fault_point("host", "legacy");
	if (r >= 0)
		r = forward_turn_on(4, err);
	if (r == 0 && m->shared.has_v6)
		r = forward_turn_on(6, err);
	fault_point("host", "forward");
	return r;
}

static void warn_of_owned(const struct ruleset *rs)
{
	for (unsigned i = 0; i < rs->n; i++)
		if (rs->chain[i].drops && rs->chain[i].owned)
			log_info("table %s drops what is forwarded and may be "
				 "changed by its owner only: firewall-cmd "
				 "--zone=trusted --add-interface="
				 NET_HOST_LINK "+", rs->chain[i].table);
}

/* This is what it is like when all is there. */
static void remember(struct host_memory *m, const struct found *f, int loaded)
{
	if (loaded || strcmp(m->mark, f->rs.mark))
		m->loaded = loaded;
	strcpy(m->mark, f->rs.mark);
	m->generation = f->rs.generation;
	m->nrules = f->rs.nrules;
	m->legacy = host_legacy_hash(f->legacy);
}

static int settle(int state, struct host_memory *m, int again, struct err *err)
{
	struct found f;
	int loaded = 0;

	for (int i = 0; i < TRIES; i++) {
		int r = find(m, &f, err);

		if (r == 0 && has_fence(m, &f, loaded, again) && has_rules(&f) &&
		    forwards(&m->shared)) {
			warn_of_owned(&f.rs);
			remember(m, &f, loaded);
			return host_memory_write(state, m, err);
		}
		if (r == 0)
			r = make(m, &f, &loaded, again, err);
		if (r < 0)
			return r;
	}
	return err_say(err, -EBUSY, "somebody keeps changing the host's rules "
				    "of forwarding");
}

/* A run that goes on has more to do than to wait. */
static int take_lock(int state, int how, const struct net_host_want *want,
		     struct err *err)
{
	return host_memory_lock(state, want->again ? how | LOCK_NB : how, 1,
				err);
}

static int look(int state, const struct net_host_want *want, struct err *err)
{
	_cleanup_fd_ int lock = take_lock(state, LOCK_SH, want, err);
	struct host_memory m;
	int r;

	if (lock < 0)
		return lock;
	r = host_memory_read(state, &m, err);
	return r < 0 ? r : is_unchanged(&m, want, err);
}

int net_host_apply(int state, const struct net_host_want *want, struct err *err)
{
	_cleanup_fd_ int lock = -1;
	struct host_memory m;
	int r = look(state, want, err);

	if (r)
		return MIN(r, 0);
	lock = take_lock(state, LOCK_EX, want, err);
	if (lock < 0)
		return lock;
	r = host_memory_read(state, &m, err);
	/* Another run has made it meanwhile. */
	if (r == 0)
		r = is_unchanged(&m, want, err);
	if (r)
		return MIN(r, 0);
	m.shared.has_v6 |= want->v6;
	r = note(state, &m, err);
	if (r == 0)
		r = settle(state, &m, want->again, err);
	return r < 0 ? err_wrap(err, "the host's part") : 0;
}
