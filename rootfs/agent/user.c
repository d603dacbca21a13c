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
	/* Half a line could name a wrong number. */
	if (have == DB_MAX - 1) {
		while (have && db[have - 1] != '\n')
			have--;
	}
	db[have] = '\0';
	if (fd >= 0)
		close(fd);
}

static int find_user(char *db, const char *key, struct user *u,
		     const char **line)
{
	const char *f;
	size_t len;

	*line = find(db, key);
	if (!*line) /* a number needs no entry */
		return parse_id(key, strlen(key), &u->uid) ? 0 : ENOENT;
	f = field(*line, 2, &len);
	if (!f || !parse_id(f, len, &u->uid))
		return EINVAL;
	f = field(*line, 3, &len);
	if (!f || !parse_id(f, len, &u->gid))
		return EINVAL;
	f = field(*line, 5, &len);
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

/* Whether the comma-separated members at @f, up to the line's end, have @name
 * among them. */
static int is_member(const char *f, const char *name)
{
	size_t nlen = strlen(name), len;

	for (;; f += len + 1) {
		len = strcspn(f, ",:\n");
		if (len == nlen && !memcmp(f, name, len))
			return 1;
		if (f[len] != ',')
			return 0;
	}
}

/* All groups that have @name as a member. */
static void find_groups(const char *db, const char *name, struct user *u)
{
	const char *id, *members;
	uint32_t gid;
	size_t len = 0, n;

	for (; *db; db += *db == '\n') {
		id = field(db, 2, &len);
		members = field(db, 3, &n);
		if (members && is_member(members, name) &&
		    parse_id(id, len, &gid) && u->ngroups < USER_GROUPS_MAX)
			u->groups[u->ngroups++] = gid;
		db += strcspn(db, "\n");
	}
}

/* The first field of @line, where it fits. */
static int get_name(const char *line, char name[NAME_SIZE])
{
	size_t len = strcspn(line, ":\n");

	if (!len || len >= NAME_SIZE)
		return 0;
	memcpy(name, line, len);
	name[len] = '\0';
	return 1;
}

int user_find(const char *etc, const char *spec, struct user *u)
{
	char db[DB_MAX];
	char name[NAME_SIZE] = "0";
	size_t len = strcspn(spec, ":");
	const char *line;
	int ret, known;

	u->uid = 0;
	u->gid = 0;
	u->ngroups = 0;
	strcpy(u->home, *spec ? "/" : "/root");
	if (!*spec)
		return 0;
	if (len && (strcspn(spec, ":\n") < len || !get_name(spec, name)))
		return ENOENT;
	load(etc, "/passwd", db);
	ret = find_user(db, name, u, &line);
	if (ret)
		return ret;
	known = line && get_name(line, name);
	spec += len + (spec[len] == ':');
	if (!*spec && !known)
		return 0;
	load(etc, "/group", db);
	if (*spec)
		return find_group(db, spec, u);
	find_groups(db, name, u);
	return 0;
}
