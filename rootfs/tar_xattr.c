/* SPDX-License-Identifier: Apache-2.0 */
/* Xattrs of an entry, in the form and order of a layer's index. */
#include <errno.h>
#include <string.h>

#include "rootfs/tar.h"
#include "runner/base/mem.h"

static int begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

/* What a root image can hold; overlayfs' own would be believed by the guest. */
static int is_wanted(const char *name)
{
	static const char *const any[] = { "user.", "trusted.", "security." };

	if (strlen(name) > LAYER_NAME_MAX || begins(name, "user.overlay.") ||
	    begins(name, "trusted.overlay."))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(any); i++)
		if (begins(name, any[i]) && name[strlen(any[i])])
			return 1;
	return !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

static size_t whole(const struct layer_xattr *x)
{
	return sizeof(*x) + x->name_len + x->value_len;
}

/* Where @name is or belongs among those of @e; *@old bytes are there of it. */
static size_t find(const struct tar_entry *e, const char *name, size_t *old)
{
	struct layer_xattr x;
	size_t pos = 0;

	*old = 0;
	for (; pos < e->xattrs_len; pos += whole(&x)) {
		const char *there = (const char *)e->xattrs + pos + sizeof(x);
		int r;

		memcpy(&x, e->xattrs + pos, sizeof(x));
		r = layer_name_compare(there, x.name_len, name, strlen(name));
		if (r < 0)
			continue;
		if (r == 0)
			*old = whole(&x);
		break;
	}
	return pos;
}

int tar_add_xattr(struct tar_entry *e, const char *name, const void *value,
		  size_t len)
{
	struct layer_xattr x;
	size_t old, pos;
	uint8_t *p;

	if (!is_wanted(name))
		return 0;
	if (len > UINT16_MAX)
		return -E2BIG;
	x.name_len = (uint16_t)strlen(name);
	x.value_len = (uint16_t)len;
	pos = find(e, name, &old);
	if (e->xattrs_len - old + whole(&x) > LAYER_XATTRS_MAX)
		return -E2BIG;
	p = e->xattrs + pos;
	memmove(p + whole(&x), p + old, e->xattrs_len - pos - old);
	e->xattrs_len += whole(&x) - old;
	memcpy(p, &x, sizeof(x));
	memcpy(p + sizeof(x), name, x.name_len);
	if (len)
		memcpy(p + sizeof(x) + x.name_len, value, len);
	return 0;
}
