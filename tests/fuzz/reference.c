/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the name of an image, and as a file of one: each form that is
 * printed is read as the same. */
#include "rootfs/reference.h"
#include "runner/base/err.h"
#include "tests/fuzz/bytes.h"

/* Printable ASCII. */
static void is_plain(const char *s)
{
	must(*s);
	for (; *s; s++)
		must(*s > 0x20 && *s < 0x7f);
}

static void is_same(const char *text, const char *full)
{
	struct reference r;
	char buf[REFERENCE_MAX];

	must(reference_parse(&r, text, NULL) == 0);
	reference_full(&r, buf);
	must(!strcmp(buf, full));
}

static void check(const struct reference *r)
{
	char full[REFERENCE_MAX], buf[REFERENCE_MAX];
	char file[REFERENCE_FILE_MAX];
	struct reference again;

	reference_full(r, full);
	is_plain(full);
	is_same(full, full);
	reference_short(r, buf);
	is_same(buf, full);
	/* No tag beside a digest, and else the same. */
	reference_skopeo(r, buf);
	is_plain(buf);
	must(reference_parse(&again, buf, NULL) == 0);
	must(*r->digest ? !*again.tag : !strcmp(r->tag, again.tag));
	if (reference_encode(r, file, NULL) < 0)
		return;
	must(!strchr(file, '/') && *file != '.' && strlen(file) < 256);
	must(reference_decode(&again, file) == 0);
	reference_full(&again, buf);
	must(!strcmp(buf, full));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char file[REFERENCE_FILE_MAX];
	struct err err = { 0 };
	struct reference r;
	char *text = malloc(size + 1);

	must(text);
	memcpy(text, data, size);
	text[size] = '\0';
	if (reference_parse(&r, text, &err) == 0) {
		check(&r);
	} else {
		must(err.msg[0]);
		for (const char *s = err.msg; *s; s++)
			must((unsigned char)*s >= 0x20 && *s != 0x7f);
	}
	if (reference_decode(&r, text) == 0) {
		must(reference_encode(&r, file, NULL) == 0);
		must(!strcmp(file, text));
	}
	free(text);
	return 0;
}
