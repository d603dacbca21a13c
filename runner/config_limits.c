/* SPDX-License-Identifier: Apache-2.0 */
/* How the values of a run's limits read. */
#include "runner/config.h"

#include <errno.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"

#define MILLI 1000u

/* "2", "0.5", "1.25": thousandths. -EINVAL also for a fourth decimal: what
 * would not count is not taken. */
static int parse_milli(const char *s, uint64_t *milli)
{
	uint64_t v, scale = MILLI;
	int r = config_parse_digits(&s, &v);

	if (r < 0)
		return r;
	if (__builtin_mul_overflow(v, MILLI, milli))
		return -ERANGE;
	if (*s == '.') {
		if (!*++s)
			return -EINVAL;
		for (; *s >= '0' && *s <= '9' && scale > 1; s++) {
			scale /= 10;
			if (__builtin_add_overflow(
				    *milli, (uint64_t)(*s - '0') * scale,
				    milli))
				return -ERANGE;
		}
	}
	return *s ? -EINVAL : 0;
}

int config_set_cpus(void *field, const char *arg, struct err *err)
{
	struct config_cpus *cpus = field;
	uint64_t milli;
	int r = parse_milli(arg, &milli);

	if (r == -EINVAL) {
		r = err_say(err, r, "not a number of CPUs");
		err_hint(err, "say 2, 0.5 or 1.25: three decimals at most");
		return r;
	}
	if (r < 0 || !milli || milli > ENGINE_CPUS_MAX * MILLI)
		return err_say(err, -ERANGE, "must be more than 0, and %d at "
			       "the most", ENGINE_CPUS_MAX);
	cpus->milli = (unsigned)milli;
	cpus->n = ((unsigned)milli + MILLI - 1) / MILLI;
	return 0;
}

int config_set_uid_range(void *field, const char *arg, struct err *err)
{
	struct jail_ids *ids = field;
	uint64_t first, count;
	int r = config_parse_digits(&arg, &first);

	if (r == 0)
		r = *arg++ == ':' ? config_parse_digits(&arg, &count) :
				    -EINVAL;
	if (r == 0 && *arg)
		r = -EINVAL;
	if (r == -EINVAL) {
		err_say(err, r, "not FIRST:COUNT");
		err_hint(err, "say 1900000000:4194304");
		return r;
	}
	/* 0 is root, and 4294967295 says "no change" to the system calls. */
	if (r < 0 || !first || first >= UINT32_MAX || !count ||
	    count > UINT32_MAX - first)
		return err_say(err, -ERANGE,
			       "must be a part of 1 to 4294967294");
	*ids = (struct jail_ids){ (uint32_t)first, (uint32_t)count };
	return 0;
}

int config_set_shares(void *field, const char *arg, struct err *err)
{
	unsigned *shares = field;
	uint64_t v;

	/* What cpu.shares of cgroup v1 takes, and Docker's option. */
	if (config_parse_digits(&arg, &v) < 0 || *arg || v < 2 || v > 262144)
		return err_say(err, -EINVAL, "must be from 2 to 262144");
	*shares = (unsigned)v;
	return 0;
}

int config_set_pids(void *field, const char *arg, struct err *err)
{
	uint32_t *pids = field;
	uint64_t v;

	if (config_parse_digits(&arg, &v) < 0 || *arg || !v ||
	    v > CONFIG_PIDS_MAX)
		return err_say(err, -EINVAL, "must be from 1 to %u",
			       CONFIG_PIDS_MAX);
	*pids = (uint32_t)v;
	return 0;
}

int config_set_output(void *field, const char *arg, struct err *err)
{
	uint64_t *bytes = field, v;
	int r = config_parse_size(arg, &v);

	if (r == -EINVAL) {
		r = err_say(err, r, "not a size");
		err_hint(err, "say 64k or 1g; a bare number is MiB, one with b "
			      "is of bytes");
		return r;
	}
	if (r < 0)
		return err_say(err, r, "more than there can be");
	if (!v)
		return err_say(err, -ERANGE, "must be more than 0");
	*bytes = v;
	return 0;
}

int config_set_meta_format(void *field, const char *arg, struct err *err)
{
	enum config_meta *format = field;

	if (!strcmp(arg, "json"))
		*format = CONFIG_META_JSON;
	else if (!strcmp(arg, "isolate"))
		*format = CONFIG_META_ISOLATE;
	else
		return err_say(err, -EINVAL, "not a format: json or isolate");
	return 0;
}
