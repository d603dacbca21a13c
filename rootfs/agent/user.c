/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the command runs as: the image's own passwd and group, read by us.
 * (getpwnam() would ask a name service socket of the image.)
 */
#include "rootfs/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define DB_MAX	  65536 /* what is beyond is not looked at */
#define NAME_SIZE 64

static int parse_id(const char *s, size_t len, uint32_t *id)
{
	uint64_t n = 0;
	size_t i;

	if (!len || len > 10)
		return 0;
	for (i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return 0;
		n = n * 10 + (uint64_t)(s[i] - '0');
	}
	/* The last value means "leave" to setuid's relatives. */
	if (n >= UINT32_MAX)
		return 0;
	*id = (uint32_t)n;
	return 1;
}

/* Field number @want of a line of colon-separated fields, or NULL. */
static const char *field(const char *line, unsigned want, size_t *len)
{
	for (; want; want--) {
		line += strcspn(line, ":\n");
		if (*line++ != ':')
			return NULL;
	}
	*len = strcspn(line, ":\n");
	return line;
}

/* The line whose name (field 0) or number (field 2) is @key, or NULL. */
static const char *find(const char *db, const char *key)
{
	size_t klen = strlen(key), len;
	uint32_t id, want = 0;
	int numeric = parse_id(key, klen, &want);
	const char *f;

	while (*db) {
		f = field(db, numeric ? 2 : 0, &len);
		if (f && (numeric ? parse_id(f, len, &id) && id == want :
				    len == klen && !memcmp(f, key, len)))
			return db;
		db += strcspn(db, "\n");
		db += *db == '\n';
	}
	return NULL;
}

/* An absent file is an empty one. */
static void load(const char *etc, const char *name, char *db)
{
	char path[256] = "";
	size_t have = 0;
	ssize_t n;
	int fd;

	say_add(path, sizeof(path), etc);
	say_add(path, sizeof(path), name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	while (fd >= 0 && have < DB_MAX - 1) {
		n = read(fd, db + have, DB_MAX - 1 - have);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	db[have] = '\0';
	if (fd >= 0)
		close(fd);
}

static int find_user(char *db, const char *key, struct user *u)
{
	const char *line = find(db, key);
	const char *f;
	size_t len;

	if (!line) /* a number needs no entry */
		return parse_id(key, strlen(key), &u->uid) ? 0 : ENOENT;
	f = field(line, 2, &len);
	if (!f || !parse_id(f, len, &u->uid))
		return EINVAL;
	f = field(line, 3, &len);
	if (!f || !parse_id(f, len, &u->gid))
		return EINVAL;
	f = field(line, 5, &len);
	if (f && len && len < sizeof(u->home)) {
		memcpy(u->home, f, len);
		u->home[len] = '\0';
	}
	return 0;
}

static int find_group(char *db, const char *key, struct user *u)
{
	const char *line, *f;
	size_t len;

	if (parse_id(key, strlen(key), &u->gid))
		return 0;
	line = find(db, key);
	f = line ? field(line, 2, &len) : NULL;
	return f && parse_id(f, len, &u->gid) ? 0 : ENOENT;
}

int user_find(const char *etc, const char *spec, struct user *u)
{
	char db[DB_MAX];
	char name[NAME_SIZE];
	size_t len = strcspn(spec, ":");
	int ret;

	u->uid = 0;
	u->gid = 0;
	strcpy(u->home, *spec ? "/" : "/root");
	if (!*spec)
		return 0;
	if (!len || len >= sizeof(name))
		return ENOENT;
	memcpy(name, spec, len);
	name[len] = '\0';
	load(etc, "/passwd", db);
	ret = find_user(db, name, u);
	if (ret || !spec[len])
		return ret;
	load(etc, "/group", db);
	return find_group(db, spec + len + 1, u);
}
