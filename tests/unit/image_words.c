/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of images are called, and what skopeo's complaints mean. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/reference.h"
#include "runner/base/err.h"
#include "runner/image_import.h"
#include "runner/skopeo.h"

/* --- sources ------------------------------------------------------------ */

static char room[] = "/tmp/mayfly-words.XXXXXX";

static void enter(void)
{
	cr_assert(mkdtemp(room));
	cr_assert_eq(chdir(room), 0);
	cr_assert_eq(mkdir("lay", 0700), 0);
	cr_assert_eq(mkdir("lay:1", 0700), 0);
}

static void leave(void)
{
	rmdir("lay");
	rmdir("lay:1");
	rmdir(room);
}

TestSuite(source, .init = enter, .fini = leave);

static void is(const char *text, enum image_kind kind, const char *path,
	       const char *want)
{
	struct image_source s;
	struct err err = { 0 };

	cr_assert_eq(image_source_parse(&s, text, &err), 0, "%s: %s", text,
		     err.msg);
	cr_expect_eq(s.kind, kind, "%s", text);
	cr_expect_str_eq(s.path, path, "%s", text);
	if (want)
		cr_expect(s.want && !strcmp(s.want, want), "%s: tag %s", text,
			  s.want ? s.want : "none");
	else
		cr_expect_null(s.want, "%s", text);
}

static void is_not(const char *text)
{
	struct image_source s;
	struct err err = { 0 };

	cr_expect_eq(image_source_parse(&s, text, &err), -EINVAL, "%s", text);
	cr_expect(strstr(err.msg, text), "%s: %s", text, err.msg);
}

Test(source, a_tag_follows_the_longest_path_that_is_there)
{
	is("oci:lay", IMAGE_OCI, "lay", NULL);
	is("oci:lay:2", IMAGE_OCI, "lay", "2");
	is("oci:lay:1", IMAGE_OCI, "lay:1", NULL);
	is("oci:lay:1:2", IMAGE_OCI, "lay:1", "2");
	is("docker-archive:lay:host:5000/a:1", IMAGE_DOCKER_ARCHIVE, "lay",
	   "host:5000/a:1");
}

Test(source, without_such_a_path_the_first_colon_parts)
{
	is("oci:no:1:2", IMAGE_OCI, "no", "1:2");
	is("oci-archive:no", IMAGE_OCI_ARCHIVE, "no", NULL);
}

Test(source, standard_input_may_have_a_tag)
{
	is("oci-archive:-:1", IMAGE_OCI_ARCHIVE, "-", "1");
	is("tar:-", IMAGE_TAR, "-", NULL);
}

Test(source, trees_have_no_tags)
{
	is("tar:a:b", IMAGE_TAR, "a:b", NULL);
	is("dir:a:b", IMAGE_DIR, "a:b", NULL);
}

Test(source, others_are_refused)
{
	static const char *const bad[] = {
		"", "lay", "docker://debian", "oci:", "oci::1", "oci:lay:",
		"dir:-", "oci:-", "OCI:lay", "tar:",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is_not(bad[i]);
}

Test(source, a_path_that_is_too_long_is_refused)
{
	char *text = malloc(2 * PATH_MAX);
	struct image_source s;

	memset(text, 'x', 2 * PATH_MAX - 1);
	text[2 * PATH_MAX - 1] = '\0';
	memcpy(text, "oci:", 4);
	cr_expect_eq(image_source_parse(&s, text, NULL), -ENAMETOOLONG);
	free(text);
}

/* --- complaints --------------------------------------------------------- */

static int explain(const char *text, int insecure, struct err *err)
{
	struct skopeo_copy c = { .insecure = insecure };
	struct reference ref;

	cr_assert_eq(reference_parse(&ref, "h.example:5000/a/b:1", NULL), 0);
	c.from = &ref;
	*err = (struct err){ 0 };
	return skopeo_explain(&c, text, err);
}

#define FATAL(text) \
	"time=\"2026-11-21T07:19:44Z\" level=fatal msg=\"initializing source " \
	"docker://h.example:5000/a/b:1: " text "\"\n"

Test(skopeo, a_cause_has_one_line_and_a_remedy)
{
	static const struct {
		const char *text;
		int code;
		const char *says, *hints;
	} t[] = {
		{ FATAL("reading manifest 1 in h.example:5000/a/b: "
			"unauthorized: authentication required"), -EACCES,
		  "h.example:5000/a/b:1: h.example:5000 refuses access: "
		  "authentication required", "skopeo login h.example:5000" },
		{ FATAL("reading manifest 1 in h.example:5000/a/b: manifest "
			"unknown: manifest unknown"), -ENOENT,
		  "h.example:5000/a/b:1: h.example:5000 has no such image",
		  "skopeo list-tags docker://h.example:5000/a/b" },
		{ FATAL("pinging container registry h.example:5000: Get "
			"\\\"https://h.example:5000/v2/\\\": http: server gave "
			"HTTP response to HTTPS client"), -EPROTO,
		  "no TLS with h.example:5000", "--insecure" },
		{ FATAL("pinging container registry h.example:5000: Get "
			"\\\"https://h.example:5000/v2/\\\": dial tcp: lookup "
			"h.example on 10.0.0.1:53: no such host"),
		  -EHOSTUNREACH, "cannot reach h.example:5000: no such host",
		  "HTTPS_PROXY" },
		{ FATAL("writing blob: write /x/oci-put-blob1: no space left "
			"on device"), -ENOSPC, "no space left on device",
		  "MAYFLY_DATA_DIR" },
		{ FATAL("no image found in manifest list for architecture "
			"amd64, variant \\\"\\\", OS linux"), -ENOENT,
		  "there is none for linux/amd64", "" },
		{ FATAL("what nobody has thought of"), -EIO,
		  "skopeo: initializing source docker://h.example:5000/a/b:1: "
		  "what nobody has thought of", "" },
		{ "", -EIO, "skopeo: it failed without saying why", "" },
		{ "\n\n", -EIO, "skopeo: it failed without saying why", "" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct err err;

		cr_expect_eq(explain(t[i].text, 0, &err), t[i].code, "%s: %d",
			     t[i].text, err.code);
		cr_expect(strstr(err.msg, t[i].says), "%s", err.msg);
		cr_expect(strstr(err.hint, t[i].hints), "%s", err.hint);
		cr_expect_null(strchr(err.msg, '\n'));
	}
}

Test(skopeo, the_fatal_line_counts_and_not_what_is_around_it)
{
	struct err err;

	explain("level=warning msg=\"unauthorized\"\n"
		FATAL("manifest unknown") "level=info msg=\"bye\"\n", 0, &err);
	cr_expect(strstr(err.msg, "has no such image"), "%s", err.msg);
}

Test(skopeo, remedies_go_without_tls_where_the_pull_does)
{
	struct err err;

	explain(FATAL("unauthorized"), 1, &err);
	cr_expect(strstr(err.hint, "login --tls-verify=false h.example:5000"),
		  "%s", err.hint);
}

Test(skopeo, no_byte_of_a_complaint_reaches_the_terminal_as_it_is)
{
	char text[20000];
	struct err err;

	for (size_t i = 0; i + 1 < sizeof(text); i++)
		text[i] = (char)(i * 7 % 255 + 1);
	text[sizeof(text) - 1] = '\0';
	explain(text, 0, &err);
	for (const char *p = err.msg; *p; p++)
		cr_expect(*p >= 0x20 || (unsigned char)*p >= 0x80, "%#x", *p);
	/* Cut in the middle of an escape. */
	explain("level=fatal msg=\"a\\", 0, &err);
	cr_expect(strstr(err.msg, "skopeo: a"), "%s", err.msg);
}
