/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has a port that we wanted: another run, by its record; else a process, by
 * what /proc says of sockets. What we may not see stays without a name.
 */
#include "runner/publish_impl.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define TCP_LISTEN_STATE 0x0a

/* --- other runs ---------------------------------------------------------- */

/* Does a port of this list stand in the way? An address of all does, too. */
static int is_in_way(const json_t *port, const union place *at, int udp)
{
	const char *host = json_string_value(json_object_get(port, "host"));
	const char *proto =
		json_string_value(json_object_get(port, "protocol"));
	json_int_t n = json_integer_value(json_object_get(port, "host_port"));
	char want[PLACE_MAX], have[PLACE_MAX];
	union place other = *at;

	if (!host || !proto || n != place_port(at) ||
	    strcmp(proto, udp ? "udp" : "tcp"))
		return 0;
	if (at->sa.sa_family == AF_INET ?
		    inet_pton(AF_INET, host, &other.v4.sin_addr) != 1 :
		    inet_pton(AF_INET6, host, &other.v6.sin6_addr) != 1)
		return 0;
	place_format(at, want);
	place_format(&other, have);
	return !strcmp(want, have) || strstr(want, "0.0.0.0:") == want ||
	       strstr(have, "0.0.0.0:") == have ||
	       strstr(want, "[::]:") == want || strstr(have, "[::]:") == have;
}

static const struct record *find_run(const struct state_list *l,
				     const union place *at, int udp)
{
	for (size_t i = 0; i < l->n; i++) {
		const json_t *ports = json_object_get(l->v[i].doc, "ports");
		size_t k;
		json_t *port;

		if (l->v[i].phase > PHASE_RUNNING)
			continue;
		json_array_foreach(ports, k, port)
			if (is_in_way(port, at, udp))
				return &l->v[i];
	}
	return NULL;
}

/* 1 where it is one. */
static int tell_run(const union place *at, int udp, struct err *err)
{
	struct state_list l = { 0 };
	const struct record *r = NULL;
	struct err none = { 0 };

	if (state_list(&l, &none) == 0)
		r = find_run(&l, at, udp);
	if (r && *r->name) {
		err_say(err, -EADDRINUSE, "run %s (%s) has that port", r->name,
			r->id);
		err_hint(err, "choose another, or end that run: mayfly stop %s",
			 r->name);
	} else if (r) {
		err_say(err, -EADDRINUSE, "run %s has that port", r->id);
		err_hint(err, "choose another, or end that run: mayfly stop %s",
			 r->id);
	}
	state_list_free(&l);
	return r != NULL;
}

/* --- processes ------------------------------------------------------------ */

/* Of the socket at that port, or 0. Of several the last: any will do. */
static uint64_t find_socket(const char *table, uint16_t port, int udp)
{
	_cleanup_free_ char *line = NULL;
	FILE *f = fopen(table, "re");
	uint64_t inode, found = 0;
	unsigned local, state;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0) {
		/* Documentation/networking/proc_net_tcp.rst */
		if (sscanf(line, " %*[0-9]: %*[0-9A-Fa-f]:%x %*s %x %*s %*s "
			   "%*s %*s %*s %" SCNu64, &local, &state, &inode) == 3
		    && local == port && inode &&
		    (udp || state == TCP_LISTEN_STATE))
			found = inode;
	}
	if (f)
		fclose(f);
	return found;
}

/* Does process @pid have that socket? */
static int has_socket(const char *pid, const char *socket)
{
	char path[64], to[64];
	DIR *dir;
	struct dirent *e;
	int found = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		n = readlinkat(dirfd(dir), e->d_name, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		found = !strcmp(to, socket);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Its name, for people: what is no letter of a name becomes '?'. */
static void name_of(const char *pid, char *buf, size_t cap)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(buf, (int)cap, f))
		snprintf(buf, cap, "a process");
	if (f)
		fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
	for (; *buf; buf++)
		if (!isprint((unsigned char)*buf))
			*buf = '?';
}

/* 1 where one is found. */
static int tell_process(uint64_t inode, struct err *err)
{
	char socket[64], name[64];
	DIR *dir = opendir("/proc");
	struct dirent *e;
	int found = 0;

	snprintf(socket, sizeof(socket), "socket:[%" PRIu64 "]", inode);
	while (dir && !found && (e = readdir(dir))) {
		if (!isdigit((unsigned char)*e->d_name) ||
		    !has_socket(e->d_name, socket))
			continue;
		name_of(e->d_name, name, sizeof(name));
		err_say(err, -EADDRINUSE, "%s (process %.20s) has that port",
			name, e->d_name);
		err_hint(err, "choose another, or end that process");
		found = 1;
	}
	if (dir)
		closedir(dir);
	return found;
}

int holder_tell(const union place *at, int udp, struct err *err)
{
	static const char *const tables[2][2] = {
		{ "/proc/net/tcp", "/proc/net/tcp6" },
		{ "/proc/net/udp", "/proc/net/udp6" },
	};
	uint64_t inode = 0;

	if (tell_run(at, udp, err))
		return -EADDRINUSE;
	/* One of the other family may have both. */
	for (int i = 0; i < 2 && !inode; i++)
		inode = find_socket(
			tables[udp != 0][i ^ (at->sa.sa_family == AF_INET6)],
			place_port(at), udp);
	if (!inode || !tell_process(inode, err)) {
		err_say(err, -EADDRINUSE, "the port is taken");
		err_hint(err, "choose another; `ss -lptu` as root says who "
			      "has it");
	}
	return -EADDRINUSE;
}
