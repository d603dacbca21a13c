/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has mounted, copied in and copied out. */
#include "runner/config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define PAGE 4096ull

/* A place for one more. NULL with words. */
static struct config_copy *add(struct config_copies *l, const char *host,
			       size_t host_len, const char *guest,
			       size_t guest_len, struct err *err)
{
	struct config_copy *c = &l->v[l->n];

	if (l->n == CONFIG_COPIES_MAX) {
		err_say(err, -E2BIG, "more than %d", CONFIG_COPIES_MAX);
		return NULL;
	}
	*c = (struct config_copy){ .host = strndup(host, host_len),
				   .guest = strndup(guest, guest_len) };
	if (c->host && c->guest) {
		l->n++;
		return c;
	}
	free(c->host);
	free(c->guest);
	err_set(err, -ENOMEM, "remember it");
	return NULL;
}

void config_copies_free(struct config_copies *l)
{
	while (l->n) {
		l->n--;
		free(l->v[l->n].host);
		free(l->v[l->n].guest);
	}
}

static int check_guest(const char *path, size_t len, struct err *err)
{
	if (!len || *path != '/') {
		err_say(err, -EINVAL, "the path in the guest is not absolute");
		return err_hint(err, "it begins with /");
	}
	return len < PATH_MAX ? 0 : err_set(err, -ENAMETOOLONG, "path");
}

static int is_in(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

/* Not the root that the command is to find, nor what the agent starts it by
 * and holds it to its limits. */
static int check_mount(const char *path, struct err *err)
{
	if (!*path)
		return err_say(err, -EINVAL,
			       "the guest's root is not to be hidden");
	if (!strcmp(path, "/dev") || is_in(path, "/proc") ||
	    is_in(path, "/sys"))
		return err_say(err, -EINVAL, "%s is the guest's own", path);
	return 0;
}

/* A slash and a name, again and again: what is mounted is sorted by length,
 * and looked at for what it hides. "" is the root. */
static int clean(char *path, struct err *err)
{
	char *to = path, *save, *name;

	for (name = strtok_r(path, "/", &save); name;
	     name = strtok_r(NULL, "/", &save)) {
		size_t n = strlen(name);

		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, ".."))
			return err_say(err, -EINVAL,
				       "where it is mounted is not to have .. "
				       "in it");
		*to++ = '/';
		memmove(to, name, n);
		to += n;
	}
	*to = '\0';
	return 0;
}

/* A place for something mounted at @guest. NULL with words. */
static struct config_copy *add_mount(struct config_copies *l, const char *host,
				     size_t host_len, const char *guest,
				     size_t guest_len, struct err *err)
{
	_cleanup_free_ char *path = NULL;

	if (check_guest(guest, guest_len, err) < 0)
		return NULL;
	path = strndup(guest, guest_len);
	if (!path) {
		err_set(err, -ENOMEM, "remember it");
		return NULL;
	}
	if (clean(path, err) < 0 || check_mount(path, err) < 0)
		return NULL;
	return add(l, host, host_len, path, strlen(path), err);
}

static int no_pair(const char *form, struct err *err)
{
	err_say(err, -EINVAL, "not %s", form);
	return err_hint(err, "a path in the guest begins with / and has no "
			     "colon");
}

/* HOST may hold colons, GUEST none. */
static int add_to_guest(struct config_copies *l, const char *arg, size_t len,
			int mounted, struct err *err)
{
	const char *colon = memrchr(arg, ':', len);
	size_t host_len = colon ? (size_t)(colon - arg) : 0;
	size_t guest_len = colon ? len - host_len - 1 : 0;
	const char *guest;

	if (!host_len || !guest_len)
		return no_pair("HOST:GUEST", err);
	guest = colon + 1;
	if (mounted)
		return add_mount(l, arg, host_len, guest, guest_len, err) ?
			       0 : err->code;
	if (check_guest(guest, guest_len, err) < 0)
		return err->code;
	return add(l, arg, host_len, guest, guest_len, err) ? 0 : err->code;
}

int config_add_copy_in(void *field, const char *arg, struct err *err)
{
	return add_to_guest(field, arg, strlen(arg), 0, err);
}

/* Docker's modes; one of them is ours. */
static int take_mode(const char *arg, size_t *len, struct err *err)
{
	const char *colon = strrchr(arg, ':');

	*len = strlen(arg);
	if (!colon || colon[1] == '/' || !memchr(arg, ':', (size_t)(colon - arg)))
		return 0;
	if (!strcmp(colon, ":ro")) {
		*len = (size_t)(colon - arg);
		return 0;
	}
	if (!strcmp(colon, ":rw")) {
		err_say(err, -EINVAL, "no directory of the host is written to");
		return err_hint(err, "--copy-in gives the guest a copy to write "
				     "to, --copy-out brings files back");
	}
	err_say(err, -EINVAL, "%s is no mode", colon + 1);
	return err_hint(err, "ro is, and need not be said");
}

int config_add_volume(void *field, const char *arg, struct err *err)
{
	size_t len;
	int r = take_mode(arg, &len, err);

	return r < 0 ? r : add_to_guest(field, arg, len, 1, err);
}

int config_add_copy_out(void *field, const char *arg, struct err *err)
{
	const char *colon = strchr(arg, ':');
	int r;

	if (!colon || colon == arg || !colon[1])
		return no_pair("GUEST:HOST", err);
	r = check_guest(arg, (size_t)(colon - arg), err);
	if (r < 0)
		return r;
	return add(field, colon + 1, strlen(colon + 1), arg,
		   (size_t)(colon - arg), err) ? 0 : err->code;
}

int config_add_tmpfs(void *field, const char *arg, struct err *err)
{
	size_t len = strcspn(arg, ":");
	struct config_copy *c;
	uint64_t size = 0;

	if (arg[len] &&
	    (config_parse_size(arg + len + 1, &size) < 0 || !size ||
	     size > INT64_MAX)) {
		err_say(err, -EINVAL, "%s is no size", arg + len + 1);
		return err_hint(err, "say PATH:64m; a bare number is MiB");
	}
	c = add_mount(field, "", 0, arg, len, err);
	if (!c)
		return err->code;
	c->size = (size + PAGE - 1) & ~(PAGE - 1);
	return 0;
}
