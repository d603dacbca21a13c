/* SPDX-License-Identifier: Apache-2.0 */
/* What the user asked for: defaults, and how each kind of value reads. */
#include "runner/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/state.h"

#define PAGE_SIZE  4096ull
#define NS_PER_SEC 1000000000ull
#define NS_PER_MS  1000000ull
#define FRACTION   1000000ull /* digits past the millionth do not count */

void config_init(struct config *c)
{
	*c = (struct config){
		.engine = CONFIG_ENGINE_AUTO,
		.cpus = { .n = 1 },
		.uid_range = { CONFIG_UID_FIRST, CONFIG_UID_COUNT },
		.memory = 512 * CONFIG_MIB,
		.copy_out_max = 1024 * CONFIG_MIB,
		.boot_timeout_ns = 30 * NS_PER_SEC,
		.stop_timeout_ns = 10 * NS_PER_SEC,
	};
}

void config_free(struct config *c)
{
	free(c->env.v);
	free(c->env_files.v);
	for (size_t i = 0; i < c->env_texts.n; i++)
		free((char *)c->env_texts.v[i]);
	free(c->env_texts.v);
	while (c->drives.n)
		free(c->drives.v[--c->drives.n].path);
	config_net_free(&c->net);
	config_copies_free(&c->tmpfs);
	config_copies_free(&c->volumes);
	config_copies_free(&c->copies_in);
	config_copies_free(&c->copies_out);
	c->env = c->env_files = c->env_texts = (struct strings){ 0 };
}

int config_parse_digits(const char **s, uint64_t *v)
{
	const char *p = *s;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (*v = 0; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(*v, 10, v) ||
		    __builtin_add_overflow(*v, (uint64_t)(*p - '0'), v))
			return -ERANGE;
	*s = p;
	return 0;
}

int config_parse_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "bkmgt";
	uint64_t v, unit = CONFIG_MIB;
	int r = config_parse_digits(&s, &v);

	if (r < 0)
		return r;
	if (*s) {
		const char *u = strchr(units, *s | 0x20);

		if (!u || s[1])
			return -EINVAL;
		unit = 1ull << 10 * (u - units);
	}
	return __builtin_mul_overflow(v, unit, bytes) ? -ERANGE : 0;
}

/* One "1.5h" of a duration. */
static int parse_span(const char **s, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} unit[] = {
		{ "ms", NS_PER_MS },	    { "us", 1000 },
		{ "s", NS_PER_SEC },	    { "m", 60 * NS_PER_SEC },
		{ "h", 3600 * NS_PER_SEC },
	};
	uint64_t whole, scale = NS_PER_SEC, frac = 0, tenth = 1;
	int r = config_parse_digits(s, &whole);

	if (r < 0)
		return r;
	if (**s == '.') {
		(*s)++;
		if (**s < '0' || **s > '9')
			return -EINVAL;
		for (; **s >= '0' && **s <= '9'; (*s)++)
			if (tenth < FRACTION) {
				frac = frac * 10 + (uint64_t)(**s - '0');
				tenth *= 10;
			}
	}
	if (**s) {
		size_t i = 0;

		while (i < ARRAY_SIZE(unit) &&
		       strncmp(*s, unit[i].name, strlen(unit[i].name)))
			i++;
		if (i == ARRAY_SIZE(unit))
			return -EINVAL;
		scale = unit[i].ns;
		*s += strlen(unit[i].name);
	}
	if (__builtin_mul_overflow(whole, scale, ns))
		return -ERANGE;
	/* At most 10^6 * 3.6 * 10^12: it fits. */
	return __builtin_add_overflow(*ns, frac * scale / tenth, ns) ? -ERANGE
								     : 0;
}

int config_parse_duration(const char *s, uint64_t *ns)
{
	uint64_t sum = 0, span;

	do {
		int r = parse_span(&s, &span);

		if (r < 0)
			return r;
		if (__builtin_add_overflow(sum, span, &sum))
			return -ERANGE;
	} while (*s);
	*ns = sum;
	return 0;
}

int config_set_engine(void *field, const char *arg, struct err *err)
{
	enum config_engine *e = field;

	if (!strcmp(arg, "auto"))
		*e = CONFIG_ENGINE_AUTO;
	else if (!strcmp(arg, "kvm"))
		*e = CONFIG_ENGINE_KVM;
	else if (!strcmp(arg, "soft"))
		*e = CONFIG_ENGINE_SOFT;
	else
		return err_say(err, -EINVAL,
			       "not an engine: auto, kvm or soft");
	return 0;
}

int config_set_memory(void *field, const char *arg, struct err *err)
{
	uint64_t *memory = field, v;
	int r = config_parse_size(arg, &v);

	if (r == -EINVAL) {
		r = err_say(err, r, "not a size");
		err_hint(err, "say 512m or 2g; a bare number is MiB");
		return r;
	}
	if (r < 0 || v > UINT64_MAX - PAGE_SIZE)
		return err_say(err, -ERANGE, "more than any host has");
	if (v < CONFIG_MEMORY_MIN) {
		r = err_say(err, -ERANGE, "too little for a guest");
		err_hint(err, "a guest needs at least %llum",
			 CONFIG_MEMORY_MIN / CONFIG_MIB);
		return r;
	}
	*memory = (v + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	return 0;
}

int config_set_duration(void *field, const char *arg, struct err *err)
{
	uint64_t *ns = field, v;
	int r = config_parse_duration(arg, &v);

	/* timerfd counts seconds in a signed 64-bit field: all of it fits. */
	if (r < 0) {
		err_say(err, r, "not a duration");
		err_hint(err, "say 90, 1.5s, 500ms or 1h30m");
		return r;
	}
	if (!v)
		return err_say(err, -ERANGE, "must be more than 0");
	*ns = v;
	return 0;
}

int config_set_workdir(void *field, const char *arg, struct err *err)
{
	if (arg[0] != '/')
		return err_say(err, -EINVAL, "must be an absolute path");
	*(const char **)field = arg;
	return 0;
}

int config_set_user(void *field, const char *arg, struct err *err)
{
	if (!*arg || *arg == ':')
		return err_say(err, -EINVAL, "not USER or USER:GROUP");
	*(const char **)field = arg;
	return 0;
}

int config_set_name(void *field, const char *arg, struct err *err)
{
	int r = state_check_name(arg, err);

	if (r == 0)
		*(const char **)field = arg;
	return r;
}

int config_check_host(const struct config *c, struct err *err)
{
	struct sysinfo si;
	uint64_t total;
	int r;

	if (sysinfo(&si) < 0)
		return err_set(err, -errno, "sysinfo");
	total = (uint64_t)si.totalram * si.mem_unit;
	if (c->memory <= total)
		return 0;
	r = err_say(err, -ERANGE,
		    "memory: %llu MiB is more than this host has (%llu MiB)",
		    (unsigned long long)(c->memory / CONFIG_MIB),
		    (unsigned long long)(total / CONFIG_MIB));
	err_hint(err, "ask for less with -m, e.g. -m 512m");
	return r;
}
