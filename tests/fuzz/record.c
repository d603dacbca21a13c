/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the record of a run: what is taken can be written and is taken
 * again, the same. */
#include "runner/record.h"
#include "tests/fuzz/bytes.h"

static void same(const struct record *a, const struct record *b)
{
	must(a->phase == b->phase && !strcmp(a->id, b->id) &&
	     !strcmp(a->name, b->name) && a->detached == b->detached &&
	     a->auto_remove == b->auto_remove && a->tty == b->tty &&
	     !strcmp(a->engine, b->engine) && a->cpus == b->cpus &&
	     a->memory == b->memory && a->pid == b->pid &&
	     a->created == b->created && a->started == b->started &&
	     a->ended == b->ended && a->exit_code == b->exit_code &&
	     a->stop_signal == b->stop_signal &&
	     !strcmp(a->verdict, b->verdict));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record r = { 0 }, again = { 0 };
	char line[40], *text, **env;

	if (record_parse(&r, (const char *)data, size) == 0) {
		record_command(&r, line, sizeof(line));
		must(strlen(line) < sizeof(line));
		record_image(&r, line, sizeof(line));
		must(strlen(line) < sizeof(line));
		env = record_env(&r);
		for (char **e = env; e && *e; e++)
			must(strlen(*e) <= size);
		free(env);
		must(!record_user(&r) || strlen(record_user(&r)) <= size);
		must(!record_workdir(&r) || strlen(record_workdir(&r)) <= size);
		must(phase_name(r.phase));
		text = record_format(&r);
		must(text);
		must(record_parse(&again, text, strlen(text)) == 0);
		same(&r, &again);
		free(text);
	}
	record_free(&r);
	record_free(&again);
	return 0;
}
