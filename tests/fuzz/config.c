/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines by an option table, and the values in them: sizes, durations,
 * names. Words are parted by NUL or newline.
 */
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/opts.h"
#include "tests/fuzz/bytes.h"

#define WORDS 24

#define FIELD(f) offsetof(struct config, f)
/* Setters of every kind that open no file. */
static const struct opt options[] = {
	{ "engine", 0, "NAME", NULL, "", config_set_engine, FIELD(engine) },
	{ "cpus", 0, "N", NULL, "", config_set_cpus, FIELD(cpus) },
	{ "memory", 'm', "SIZE", NULL, "", config_set_memory, FIELD(memory) },
	{ "timeout", 0, "TIME", NULL, "", config_set_duration,
	  FIELD(timeout_ns) },
	{ "pids-limit", 0, "N", NULL, "", config_set_pids, FIELD(pids_max) },
	{ "max-output", 0, "SIZE", NULL, "", config_set_output,
	  FIELD(output_max) },
	{ "disk", 0, "SIZE", NULL, "", config_set_disk, FIELD(disk_size) },
	{ "drive", 0, "FILE", NULL, "", config_add_drive, FIELD(drives) },
	{ "drive-rate", 0, "RATE", NULL, "", config_set_rates, FIELD(rates) },
	{ "uid-range", 0, "FIRST:COUNT", NULL, "", config_set_uid_range,
	  FIELD(uid_range) },
	{ "workdir", 'w', "DIR", NULL, "", config_set_workdir,
	  FIELD(workdir) },
	{ "env", 'e', "NAME=VALUE", NULL, "", config_add_env, FIELD(env) },
	{ "interactive", 'i', NULL, NULL, "", opt_flag, FIELD(interactive) },
	{ "rootfs", 0, "FILE", NULL, "", opt_string, FIELD(rootfs) },
};
static const struct opt_table table = {
	.command = "fuzz",
	.usage = "",
	.about = "",
	.opt = options,
	.nopts = ARRAY_SIZE(options),
};

static void values(const char *s)
{
	uint64_t v;

	(void)config_parse_size(s, &v);
	(void)config_parse_duration(s, &v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[WORDS + 1];
	static char name[] = "fuzz";
	struct opt_rest rest = { 0 };
	struct err err = { 0 };
	struct config c;
	int argc = 0;

	must(text);
	memcpy(text, data, size);
	text[size] = '\0';
	argv[argc++] = name;
	for (char *p = text; p <= text + size && argc < WORDS;
	     p += strlen(p) + 1) {
		p[strcspn(p, "\n")] = '\0';
		values(p);
		argv[argc++] = p;
	}
	argv[argc] = NULL;
	config_init(&c);
	if (opts_parse(&table, &c, argc, argv, &rest, &err) < 0) {
		must(err.code < 0 && err.msg[0]);
		must(memchr(err.msg, '\0', sizeof(err.msg)));
	} else if (!rest.help) {
		must(rest.first >= 1 && rest.first <= argc);
		must(c.cpus.n >= 1 && c.cpus.milli <= c.cpus.n * 1000);
		must(c.pids_max <= CONFIG_PIDS_MAX);
		must(c.uid_range.first && c.uid_range.count &&
		     c.uid_range.count <= UINT32_MAX - c.uid_range.first);
		must(c.memory >= CONFIG_MEMORY_MIN &&
		     c.memory % 4096 == 0);
		must(!c.workdir || c.workdir[0] == '/');
		for (size_t i = 0; i < c.env.n; i++)
			must(strchr(c.env.v[i], '='));
	}
	config_free(&c);
	free(text);
	return 0;
}
