/* SPDX-License-Identifier: Apache-2.0 */
/* How the values of a run's disks read. */
#include "runner/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/scratch.h"

#define BLOCK 4096ull

int config_set_disk(void *field, const char *arg, struct err *err)
{
	uint64_t *size = field, v;
	int r = config_parse_size(arg, &v);

	if (r == -EINVAL) {
		r = err_say(err, r, "not a size");
		err_hint(err, "say 512m or 20g; a bare number is MiB");
		return r;
	}
	if (r < 0 || v > 1ull << 44)
		return err_say(err, -ERANGE, "more than a disk can have: 16t");
	if (v < SCRATCH_MIN)
		return err_say(err, -ERANGE, "too little: a disk has at least "
			       "%llum", SCRATCH_MIN / CONFIG_MIB);
	/* Down: it is a quota. */
	*size = MIN(v - v % BLOCK, SCRATCH_MAX);
	return 0;
}

/* What follows the last comma, if it says how a drive is used. */
static const char *split_mode(const char *arg, enum config_drive_mode *mode)
{
	static const struct {
		const char *word;
		enum config_drive_mode mode;
	} modes[] = {
		{ ",ro", CONFIG_DRIVE_READ },
		{ ",cow", CONFIG_DRIVE_COW },
	};
	const char *comma = strrchr(arg, ',');

	*mode = CONFIG_DRIVE_WRITE;
	for (size_t i = 0; comma && i < ARRAY_SIZE(modes); i++)
		if (!strcmp(comma, modes[i].word)) {
			*mode = modes[i].mode;
			return comma;
		}
	return arg + strlen(arg);
}

int config_add_drive(void *field, const char *arg, struct err *err)
{
	struct config_drives *d = field;
	struct config_drive *drive = &d->v[d->n];
	const char *end;

	if (d->n == CONFIG_DRIVES_MAX)
		return err_say(err, -E2BIG, "more than %d",
			       CONFIG_DRIVES_MAX);
	end = split_mode(arg, &drive->mode);
	if (end == arg)
		return err_say(err, -EINVAL, "no file is named");
	drive->path = strndup(arg, (size_t)(end - arg));
	if (!drive->path)
		return err_set(err, -ENOMEM, "remember it");
	d->n++;
	return 0;
}

/* One number and its unit; 0 is refused. */
static int parse_amount(char *s, int is_bytes, uint64_t *v)
{
	const char *end = s;
	int r = is_bytes ? config_parse_size(s, v) :
			   config_parse_digits(&end, v);

	if (r == 0 && !is_bytes && *end)
		r = -EINVAL;
	/* Twice of it is counted in signed numbers. */
	return r == 0 && (!*v || *v > INT64_MAX / 2) ? -ERANGE : r;
}

/* "N" or "N:BURST". */
static int parse_rate(char *s, int is_bytes, struct config_rate *rate)
{
	char *colon = strchr(s, ':');
	int r;

	*rate = (struct config_rate){ 0 };
	if (colon)
		*colon = '\0';
	r = parse_amount(s, is_bytes, &rate->size);
	if (r == 0 && colon)
		r = parse_amount(colon + 1, is_bytes, &rate->burst);
	return r;
}

int config_set_rates(void *field, const char *arg, struct err *err)
{
	struct config_rates *rates = field;
	_cleanup_free_ char *text = strdup(arg);
	char *save, *word;
	int r = text ? 0 : -ENOMEM;

	if (r < 0)
		return err_set(err, r, "rate");
	if (*arg == ',' || strstr(arg, ",,") || arg[strlen(arg) - 1] == ',')
		r = -EINVAL;
	for (word = strtok_r(text, ",", &save); r == 0 && word;
	     word = strtok_r(NULL, ",", &save)) {
		if (!strncmp(word, "bw=", 3))
			r = parse_rate(word + 3, 1, &rates->bytes);
		else if (!strncmp(word, "ops=", 4))
			r = parse_rate(word + 4, 0, &rates->ops);
		else
			r = -EINVAL;
	}
	if (r == 0)
		return 0;
	if (r == -ERANGE)
		err_say(err, r, "0, or too much");
	else
		err_say(err, r, "not a rate");
	err_hint(err, "say bw=50m, ops=1000, or both with a comma; "
		      "bw=50m:200m adds 200 MiB to begin with");
	return r;
}
