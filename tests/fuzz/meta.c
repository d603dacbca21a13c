/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of any run is a JSON document, with the numbers that it was given
 * where the guest said so, or whole lines of isolate's.
 */
#include <jansson.h>

#include "runner/base/err.h"
#include "runner/meta.h"
#include "tests/fuzz/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	struct run_result r = { 0 };
	struct err err = { 0 };
	struct config c;
	struct meta m = { .config = &c, .result = &r, .error = &err };
	char *text;
	json_t *doc;

	config_init(&c);
	take(&b, &r, sizeof(r));
	r.verdict = (unsigned)r.verdict % VERDICT_COUNT;
	m.engine = take8(&b) & 1 ? "soft" : NULL;
	err.code = -(int)take8(&b);
	take(&b, err.msg, sizeof(err.msg) - 1);
	text = meta_format(&m);
	must(text);
	doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	must(json_is_object(doc));
	must(json_is_object(json_object_get(doc, "host")));
	must(json_integer_value(json_object_get(
		     json_object_get(doc, "guest"), "code")) ==
	     (r.have_exit ? r.exit.code : 0));
	json_decref(doc);
	free(text);
	text = meta_format_isolate(&m);
	must(text && strchr(text, '\n') && !strstr(text, "\n\n"));
	must(text[strlen(text) - 1] == '\n');
	must(!strstr(text, "\nstatus:") || strstr(text, "\nmessage:"));
	free(text);
	return 0;
}
