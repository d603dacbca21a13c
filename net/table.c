/* SPDX-License-Identifier: Apache-2.0 */
/* Text for nft, whole or not at all. */
#include "net/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "runner/base/err.h"

void table_open(struct table *t, char *buf, size_t size)
{
	*t = (struct table){ .buf = buf, .size = size };
	*buf = '\0';
}

void table_put(struct table *t, const char *fmt, ...)
{
	size_t room = t->size - t->len;
	va_list ap;
	int n;

	if (t->bad)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		t->bad = 1;
	else
		t->len += n;
}

void table_prefix(struct table *t, const struct net_prefix *p)
{
	char text[NET_PREFIX_MAX];

	if (!net_prefix_valid(p))
		t->bad = 1;
	table_put(t, "%s", net_prefix_format(p, text));
}

void table_set_open(struct table *t, const char *name, int family)
{
	table_put(t, "\tset %s {\n\t\ttype ipv%d_addr\n\t\tflags interval\n"
		  "\t\tauto-merge\n", name, family);
}

void table_set_element(struct table *t, const struct net_prefix *p, int *n)
{
	table_put(t, (*n)++ ? ", " : "\t\telements = { ");
	table_prefix(t, p);
}

void table_set_close(struct table *t, int n)
{
	table_put(t, n ? " }\n\t}\n" : "\t}\n");
}

int table_end(struct table *t, struct err *err)
{
	if (!t->bad)
		return (int)t->len;
	*t->buf = '\0';
	return err_say(err, -E2BIG, "a table of %zu bytes is too small for "
		       "these rules", t->size);
}
