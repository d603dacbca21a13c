/* SPDX-License-Identifier: Apache-2.0 */
/* The name of an image, as Docker's grammar has it. */
#include "rootfs/reference.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rootfs/document.h"
#include "rootfs/image.h"
#include "runner/base/err.h"

#define SCHEME	    "docker://"
#define SMALL	    "abcdefghijklmnopqrstuvwxyz0123456789"
#define CAPITALS    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS	    "0123456789"
#define HUB	    "docker.io"
#define HUB_ALIAS   "index.docker.io"
#define HUB_LIBRARY "library/"
#define LATEST	    "latest"

/* --- the grammar: each takes @n bytes at @s --------------------------- */

static int only(const char *s, size_t n, const char *set)
{
	for (; n; n--, s++)
		if (!*s || !strchr(set, *s))
			return 0;
	return 1;
}

/* Parts of a host: letters and digits, with '-' but at the ends. */
static int is_label(const char *s, size_t n)
{
	return n && only(s, n, SMALL CAPITALS "-") && *s != '-' &&
	       s[n - 1] != '-';
}

static int is_port(const char *s, size_t n)
{
	return n && n <= 5 && only(s, n, DIGITS);
}

/* "[::1]" or labels with dots between, and then perhaps a port. */
static int is_host(const char *s, size_t n)
{
	const char *const end = s + n, *at;

	if (n && *s == '[') {
		at = memchr(s, ']', n);
		if (!at || at - s < 3 ||
		    !only(s + 1, (size_t)(at - s) - 1, DIGITS "abcdefABCDEF:"))
			return 0;
		at++;
	} else {
		at = memchr(s, ':', n);
		at = at ? at : end;
		for (const char *dot;; s = dot + 1) {
			dot = memchr(s, '.', (size_t)(at - s));
			if (!is_label(s, (size_t)((dot ? dot : at) - s)))
				return 0;
			if (!dot)
				break;
		}
	}
	return at == end ||
	       (*at == ':' && is_port(at + 1, (size_t)(end - at) - 1));
}

/* Small letters and digits, with '.', '_', "__" or any number of '-' between. */
static int is_component(const char *s, size_t n)
{
	const char *const end = s + n;

	for (;;) {
		const char *const start = s;

		while (s < end && *s && strchr(SMALL, *s))
			s++;
		if (s == start)
			return 0;
		if (s == end)
			return 1;
		if (*s == '-')
			while (s < end && *s == '-')
				s++;
		else if (end - s > 1 && s[0] == '_' && s[1] == '_')
			s += 2;
		else if (*s == '.' || *s == '_')
			s++;
		else
			return 0;
	}
}

static int is_path(const char *s)
{
	for (const char *slash;; s = slash + 1) {
		slash = strchr(s, '/');
		if (!is_component(s, slash ? (size_t)(slash - s) : strlen(s)))
			return 0;
		if (!slash)
			return 1;
	}
}

static int is_tag(const char *s)
{
	const size_t n = strlen(s);

	return n && n < REFERENCE_TAG_MAX && *s != '.' && *s != '-' &&
	       only(s, n, SMALL CAPITALS "_.-");
}

/* --- parsing ---------------------------------------------------------- */

static int refuse(const char *text, struct err *err, const char *why,
		  const char *hint)
{
	char clean[100];

	doc_clean(clean, sizeof(clean), text);
	err_say(err, -EINVAL, "image name %s: %s", clean, why);
	if (hint)
		err_hint(err, "%s", hint);
	return -EINVAL;
}

/* Whether the @n bytes before the first slash are a host. */
static int has_host(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strchr(".:" CAPITALS, s[i]))
			return 1;
	return n == 9 && !memcmp(s, "localhost", n);
}

/* Host and path from @name, which is HOST/PATH or PATH and not too long. */
static const char *split(struct reference *r, const char *name)
{
	const char *slash = strchr(name, '/');
	const size_t n = slash ? (size_t)(slash - name) : 0;

	if (slash && has_host(name, n)) {
		if (!is_host(name, n))
			return "the host is not a valid one";
		memcpy(r->host, name, n);
		name = slash + 1;
	}
	if (!*r->host || !strcmp(r->host, HUB_ALIAS))
		strcpy(r->host, HUB);
	if (!is_path(name))
		return strpbrk(name, CAPITALS) ?
			       "capital letters stand in hosts and tags only" :
			       "not a valid name";
	if (!slash && image_is_hex(name))
		return "64 hex digits are an id";
	if (!strcmp(r->host, HUB) && !strchr(name, '/'))
		snprintf(r->path, sizeof(r->path), HUB_LIBRARY "%s", name);
	else
		snprintf(r->path, sizeof(r->path), "%s", name);
	if (strlen(r->host) + 1 + strlen(r->path) >= REFERENCE_NAME_MAX)
		return "too long";
	return NULL;
}

int reference_parse(struct reference *r, const char *text, struct err *err)
{
	const char *s = text, *why;
	char name[REFERENCE_MAX];
	char *at, *colon, *slash;

	*r = (struct reference){ .host = "" };
	if (!strncmp(s, SCHEME, strlen(SCHEME)))
		s += strlen(SCHEME);
	if (!*s)
		return refuse(text, err, "it is empty",
			      "give one like debian:12");
	if (strlen(s) >= sizeof(name))
		return refuse(text, err, "too long", NULL);
	strcpy(name, s);
	at = strchr(name, '@');
	if (at) {
		*at++ = '\0';
		if (strncmp(at, "sha256:", 7) || !image_is_hex(at + 7))
			return refuse(text, err, "the digest is not a valid one",
				      "it is @sha256: and 64 hex digits");
		strcpy(r->digest, at + 7);
	}
	slash = strrchr(name, '/');
	colon = strchr(slash ? slash : name, ':');
	if (colon) {
		*colon++ = '\0';
		if (!is_tag(colon))
			return refuse(text, err, "the tag is not a valid one",
				      "it has letters, digits, '_', '.' and "
				      "'-', 128 at most");
		strcpy(r->tag, colon);
	} else if (!at) {
		strcpy(r->tag, LATEST);
	}
	if (strlen(name) >= REFERENCE_NAME_MAX)
		return refuse(text, err, "too long", NULL);
	why = split(r, name);
	return why ? refuse(text, err, why,
			    "a name is like debian:12 or HOST/PATH:TAG") :
		     0;
}

/* --- printing --------------------------------------------------------- */

static void print(char buf[REFERENCE_MAX], const char *scheme,
		  const char *host, const char *path, const char *tag,
		  const char *digest)
{
	snprintf(buf, REFERENCE_MAX, "%s%s%s%s%s%s%s%s", scheme, host,
		 *host ? "/" : "", path, *tag ? ":" : "", tag,
		 *digest ? "@sha256:" : "", digest);
}

void reference_full(const struct reference *r, char buf[REFERENCE_MAX])
{
	print(buf, "", r->host, r->path, r->tag, r->digest);
}

void reference_short(const struct reference *r, char buf[REFERENCE_MAX])
{
	const char *host = r->host, *path = r->path;

	if (!strcmp(host, HUB)) {
		const size_t n = strlen(HUB_LIBRARY);
		const char *own = path + n;

		/* Not where what is left would be read as something else. */
		if (!strncmp(path, HUB_LIBRARY, n) && !strchr(own, '/')) {
			host = "";
			path = image_is_hex(own) ? path : own;
		} else if (!has_host(path, strcspn(path, "/"))) {
			host = "";
		}
	}
	print(buf, "", host, path, r->tag, r->digest);
}

void reference_skopeo(const struct reference *r, char buf[REFERENCE_MAX])
{
	print(buf, SCHEME, r->host, r->path, *r->digest ? "" : r->tag,
	      r->digest);
}

/* --- names of files --------------------------------------------------- */

static int encode(const struct reference *r, char buf[REFERENCE_FILE_MAX])
{
	char full[REFERENCE_MAX];
	size_t n = 0;

	reference_full(r, full);
	for (const char *s = full; *s; s++) {
		const int plain = strchr(SMALL CAPITALS "._-", *s) != NULL;

		if (n + 3 >= REFERENCE_FILE_MAX)
			return -ENAMETOOLONG;
		if (plain)
			buf[n++] = *s;
		else
			n += (size_t)sprintf(buf + n, "%%%02X",
					     (unsigned char)*s);
	}
	buf[n] = '\0';
	return 0;
}

int reference_encode(const struct reference *r, char buf[REFERENCE_FILE_MAX],
		     struct err *err)
{
	char name[REFERENCE_MAX], clean[100];

	if (encode(r, buf) == 0)
		return 0;
	reference_short(r, name);
	doc_clean(clean, sizeof(clean), name);
	err_say(err, -ENAMETOOLONG, "image name %s...: too long to keep",
		clean);
	err_hint(err, "give it a shorter one: --name NAME");
	return -ENAMETOOLONG;
}

/* "%2F"; capital digits only. -1: no such thing. */
static int escape(const char *s)
{
	static const char hex[] = DIGITS "ABCDEF";
	const char *high = s[1] ? strchr(hex, s[1]) : NULL;
	const char *low = high && s[2] ? strchr(hex, s[2]) : NULL;

	return low ? (int)((high - hex) << 4 | (low - hex)) : -1;
}

int reference_decode(struct reference *r, const char *file)
{
	char text[REFERENCE_FILE_MAX], again[REFERENCE_FILE_MAX];
	const char *s = file;
	size_t n = 0;

	while (*s && n + 1 < sizeof(text)) {
		const int c = *s == '%' ? escape(s) : *s;

		if (c <= 0)
			return -EINVAL;
		text[n++] = (char)c;
		s += *s == '%' ? 3 : 1;
	}
	text[n] = '\0';
	/* One name, one file. */
	if (*s || reference_parse(r, text, NULL) < 0 || encode(r, again) < 0 ||
	    strcmp(file, again))
		return -EINVAL;
	return 0;
}
