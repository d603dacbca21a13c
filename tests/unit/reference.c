/* SPDX-License-Identifier: Apache-2.0 */
/* Names of images: Docker's grammar, and back. */
#include "rootfs/reference.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define H16 "0123456789abcdef"
#define HEX H16 H16 H16 H16
#define AT  "@sha256:" HEX

static const struct {
	const char *text, *full, *brief, *skopeo;
} good[] = {
	{ "debian", "docker.io/library/debian:latest", "debian:latest",
	  "docker://docker.io/library/debian:latest" },
	{ "debian:12", "docker.io/library/debian:12", "debian:12",
	  "docker://docker.io/library/debian:12" },
	{ "docker://debian:12", "docker.io/library/debian:12", "debian:12",
	  "docker://docker.io/library/debian:12" },
	{ "docker.io/debian", "docker.io/library/debian:latest",
	  "debian:latest", "docker://docker.io/library/debian:latest" },
	{ "index.docker.io/library/debian", "docker.io/library/debian:latest",
	  "debian:latest", "docker://docker.io/library/debian:latest" },
	{ "library/debian", "docker.io/library/debian:latest", "debian:latest",
	  "docker://docker.io/library/debian:latest" },
	{ "a/b", "docker.io/a/b:latest", "a/b:latest",
	  "docker://docker.io/a/b:latest" },
	{ "library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest",
	  "docker://docker.io/library/a/b:latest" },
	{ "localhost/a", "localhost/a:latest", "localhost/a:latest",
	  "docker://localhost/a:latest" },
	{ "localhost", "docker.io/library/localhost:latest",
	  "localhost:latest", "docker://docker.io/library/localhost:latest" },
	{ "localhost:5000/a/b:tag" AT, "localhost:5000/a/b:tag" AT,
	  "localhost:5000/a/b:tag" AT, "docker://localhost:5000/a/b" AT },
	{ "debian" AT, "docker.io/library/debian" AT, "debian" AT,
	  "docker://docker.io/library/debian" AT },
	{ "Foo/bar", "Foo/bar:latest", "Foo/bar:latest",
	  "docker://Foo/bar:latest" },
	{ "[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest",
	  "docker://[::1]:5000/x:latest" },
	{ "a--b/c__d/e.f_g:A_.-9", "docker.io/a--b/c__d/e.f_g:A_.-9",
	  "a--b/c__d/e.f_g:A_.-9",
	  "docker://docker.io/a--b/c__d/e.f_g:A_.-9" },
	{ "docker.io/x.y/z", "docker.io/x.y/z:latest",
	  "docker.io/x.y/z:latest", "docker://docker.io/x.y/z:latest" },
	{ "docker.io/library/" HEX, "docker.io/library/" HEX ":latest",
	  "library/" HEX ":latest",
	  "docker://docker.io/library/" HEX ":latest" },
};

Test(reference, is_read_and_printed_in_three_ways)
{
	char buf[REFERENCE_MAX];
	struct reference r;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		cr_assert_eq(reference_parse(&r, good[i].text, &err), 0,
			     "%s: %s", good[i].text, err.msg);
		reference_full(&r, buf);
		cr_expect_str_eq(buf, good[i].full);
		reference_short(&r, buf);
		cr_expect_str_eq(buf, good[i].brief);
		reference_skopeo(&r, buf);
		cr_expect_str_eq(buf, good[i].skopeo);
	}
}

Test(reference, each_of_its_forms_is_the_same_reference)
{
	char full[REFERENCE_MAX], buf[REFERENCE_MAX];
	struct reference r, again;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		reference_parse(&r, good[i].text, NULL);
		reference_full(&r, full);
		cr_assert_eq(reference_parse(&again, full, NULL), 0);
		reference_full(&again, buf);
		cr_expect_str_eq(buf, full);
		reference_short(&r, buf);
		cr_assert_eq(reference_parse(&again, buf, NULL), 0, "%s", buf);
		reference_full(&again, buf);
		cr_expect_str_eq(buf, full);
	}
}

Test(reference, becomes_the_name_of_a_file_and_back)
{
	char file[REFERENCE_FILE_MAX], full[REFERENCE_MAX],
		buf[REFERENCE_MAX];
	struct reference r, again;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		reference_parse(&r, good[i].text, NULL);
		cr_assert_eq(reference_encode(&r, file, NULL), 0);
		cr_expect(!strchr(file, '/') && *file != '.');
		cr_assert_eq(reference_decode(&again, file), 0, "%s", file);
		reference_full(&r, full);
		reference_full(&again, buf);
		cr_expect_str_eq(buf, full);
	}
	reference_parse(&r, "debian:12", NULL);
	reference_encode(&r, file, NULL);
	cr_expect_str_eq(file, "docker.io%2Flibrary%2Fdebian%3A12");
}

Test(reference, only_one_file_is_of_a_name)
{
	static const char *const bad[] = {
		"", ".", "..", "x", "debian%3A12", "docker.io%2Flibrary%2Fdebian",
		"docker.io%2flibrary%2fdebian%3A12",
		"docker.io%2Flibrary%2Fdebian%3A1%32",
		"docker.io/library/debian:12", "docker.io%2Flibrary%2Fdebian%3",
		"docker.io%2Flibrary%2Fdebian%", "%00", "%0A",
		"docker.io%2Flibrary%2Fdebian%3A12%00",
	};
	struct reference r;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(reference_decode(&r, bad[i]), -EINVAL, "%s",
			     bad[i]);
}

Test(reference, refuses_what_the_grammar_does_not_have)
{
	static const char *const bad[] = {
		"", ":", "/", "@", "a:", "a/", "/a", "a//b", "Debian", "a/B",
		"a b", "a\nb", "-a", "a-", "a..b", "a___b", "a._b", ".a",
		"a:.b", "a:-b", "a:b:c", "a:b/c:d", "a@sha256:", "docker://",
		"a@md5:" HEX, "a@sha256:" HEX "0", "a@sha256:0123",
		"a@SHA256:" HEX, "a" AT AT, HEX, "h.:5000/a", "h.o:/a",
		"h.o:123456/a", "-h.o/a", "[::1/a", "[]/a", "[::1]x/a",
		"localhost:5000/", "oci:dir/a", "a\xc3\xa4", "a%2fb", "a?b",
		"http://h.o/a",
	};
	struct reference r;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = { 0 };

		cr_expect_eq(reference_parse(&r, bad[i], &err), -EINVAL, "%s",
			     bad[i]);
		cr_expect(strstr(err.msg, "image name ") == err.msg, "%s",
			  err.msg);
		cr_expect(!strpbrk(err.msg, "\n\033"));
	}
}

Test(reference, has_limits)
{
	char text[1000], file[REFERENCE_FILE_MAX];
	struct reference r;
	struct err err;

	/* 255 in all is the longest name. */
	memset(text, 'a', sizeof(text));
	memcpy(text, "h.o/", 4);
	text[255] = '\0';
	cr_expect_eq(reference_parse(&r, text, NULL), 0);
	/* It is more than a file's name holds, with its tag. */
	cr_expect_eq(reference_encode(&r, file, &err), -ENAMETOOLONG);
	cr_expect(*err.hint);
	text[255] = 'a';
	text[256] = '\0';
	cr_expect_eq(reference_parse(&r, text, NULL), -EINVAL);
	/* What the library's name adds counts. */
	memset(text, 'a', sizeof(text));
	text[255] = '\0';
	cr_expect_eq(reference_parse(&r, text, NULL), -EINVAL);
	text[255] = 'a';
	text[999] = '\0';
	cr_expect_eq(reference_parse(&r, text, NULL), -EINVAL);
	/* Tags have 128. */
	memset(text, 't', sizeof(text));
	memcpy(text, "a:", 2);
	text[130] = '\0';
	cr_expect_eq(reference_parse(&r, text, NULL), 0);
	text[130] = 't';
	text[131] = '\0';
	cr_expect_eq(reference_parse(&r, text, NULL), -EINVAL);
}
