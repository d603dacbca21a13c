/* SPDX-License-Identifier: Apache-2.0 */
/* The file that says what the host was before us, and its lock. */
#include "net/host_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define FILE_NAME  "host.json"
#define FILE_NEW   "host.new"
#define FILE_MAX   65536
#define WHERE_MAX  96

/* Whoever holds it loads a table, or looks: by nft, on a busy host one of many
 * that wait. */
#define LOCK_NS	  60000000000ull
#define LOCK_STEP 1000000

static void cleanup_json(json_t **j)
{
	json_decref(*j);
}

static int open_net(int state, int create)
{
	int fd;

	if (create && mkdirat(state, "net", 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(state, "net",
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int failed(int code, const char *what, struct err *err)
{
	return err_set(err, code, "state directory: %s", what);
}

int host_memory_lock(int state, int how, int create, struct err *err)
{
	_cleanup_fd_ int net = open_net(state, create), fd = -1;
	uint64_t until = io_now_ns() + LOCK_NS;

	if (net == -ENOENT && !create)
		return -ENOENT;
	if (net >= 0)
		fd = openat(net, "host.lock",
			    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return failed(net < 0 ? net : -errno, "net/host.lock", err);
	while (flock(fd, how | LOCK_NB) < 0) {
		const struct timespec step = { 0, LOCK_STEP };

		if (errno != EWOULDBLOCK && errno != EINTR)
			return failed(-errno, "net/host.lock", err);
		/* One that was stopped holding it shall not stop us all. */
		if (how & LOCK_NB || io_now_ns() > until)
			return err_say(err, -EBUSY, "state directory: another "
				       "mayfly keeps net/host.lock");
		nanosleep(&step, NULL);
	}
	return steal_fd(&fd);
}

/* --- this boot, this namespace ------------------------------------------ */

static int get_where(char where[WHERE_MAX])
{
	_cleanup_fd_ int fd = open("/proc/sys/kernel/random/boot_id",
				   O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || stat("/proc/thread-self/ns/net", &st) < 0)
		return -errno;
	n = io_read_full(fd, where, 36);
	if (n < 0)
		return (int)n;
	snprintf(where + n, WHERE_MAX - (size_t)n, " %llx:%llx",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return 0;
}

/* --- to text ------------------------------------------------------------ */

/* Sums of 64 bits do not fit into JSON's numbers, which are signed. */
static json_t *wide(uint64_t v)
{
	char text[20];

	snprintf(text, sizeof(text), "%llx", (unsigned long long)v);
	return json_string(text);
}

static json_t *chains_of(const struct host_memory *m)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < m->nchains; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:o}", "name", m->chain[i].name,
					"targets", wide(m->chain[i].targets)));
	return list;
}

static json_t *links_of(const unsigned *index, unsigned n)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, json_integer(index[i]));
	return list;
}

static json_t *family_of(const struct net_router *r, const struct host_links *o)
{
	return json_pack("{s:b, s:b, s:o, s:o}", "was_off", r->was_off,
			 "all_closed", r->all_closed, "closed",
			 links_of(r->closed, r->nclosed), "open",
			 links_of(o->index, o->n));
}

static char *format(const struct host_memory *m, const char *where)
{
	const struct net_shared *s = &m->shared;
	_cleanup_(cleanup_json) json_t *doc = json_pack(
		"{s:s, s:b, s:o, s:o, s:b, s:o, s:I, s:I, s:s, s:b, s:o}",
		"where", where, "has_ipv6", s->has_v6,
		"ipv4", family_of(&s->router4, &m->open4),
		"ipv6", family_of(&s->router6, &m->open6),
		"accept_redirects", m->accept_redirects,
		"chains", chains_of(m), "generation",
		(json_int_t)m->generation, "rules", (json_int_t)m->nrules,
		"mark", m->mark, "loaded", m->loaded,
		"legacy", wide(m->legacy));

	return doc ? json_dumps(doc, JSON_INDENT(1)) : NULL;
}

/* --- and back ----------------------------------------------------------- */

static uint64_t unwide(const char *text)
{
	return strtoull(text, NULL, 16);
}

static int parse_links(unsigned index[NET_CLOSED_MAX], unsigned *n,
		       const json_t *list)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		json_int_t k = json_integer_value(v);

		if (*n == NET_CLOSED_MAX || k <= 0 || k > INT32_MAX)
			return -EBADMSG;
		index[(*n)++] = (unsigned)k;
	}
	return 0;
}

static int parse_family(struct net_router *r, struct host_links *o, json_t *v)
{
	json_t *closed, *open;

	return json_unpack(v, "{s:b, s:b, s:o, s:o}", "was_off", &r->was_off,
			   "all_closed", &r->all_closed, "closed", &closed,
			   "open", &open) < 0 ||
			       parse_links(r->closed, &r->nclosed, closed) < 0 ||
			       parse_links(o->index, &o->n, open) < 0 ?
		       -EBADMSG :
		       0;
}

static int parse_chains(struct host_memory *m, json_t *list)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		struct host_chain *c = &m->chain[m->nchains];
		const char *name, *targets;

		if (m->nchains == RULESET_CHAINS_MAX ||
		    json_unpack(v, "{s:s, s:s}", "name", &name, "targets",
				&targets) < 0 ||
		    strlen(name) >= sizeof(c->name))
			return -EBADMSG;
		strcpy(c->name, name);
		c->targets = unwide(targets);
		m->nchains++;
	}
	return 0;
}

static int parse(struct host_memory *m, json_t *doc, const char *where)
{
	struct net_shared *s = &m->shared;
	json_t *four, *six, *chains;
	json_int_t generation, rules;
	const char *of, *legacy, *mark;

	if (json_unpack(doc, "{s:s, s:b, s:o, s:o, s:b, s:o, s:I, s:I, "
			"s:s, s:b, s:s}", "where", &of, "has_ipv6",
			&s->has_v6, "ipv4", &four, "ipv6", &six,
			"accept_redirects", &m->accept_redirects, "chains",
			&chains, "generation", &generation, "rules", &rules,
			"mark", &mark, "loaded", &m->loaded,
			"legacy", &legacy) < 0 ||
	    strlen(mark) >= sizeof(m->mark) ||
	    strcmp(of, where) ||
	    parse_family(&s->router4, &m->open4, four) < 0 ||
	    parse_family(&s->router6, &m->open6, six) < 0 ||
	    parse_chains(m, chains) < 0)
		return -EBADMSG;
	m->generation = (uint32_t)generation;
	m->nrules = (unsigned)rules;
	m->legacy = unwide(legacy);
	strcpy(m->mark, mark);
	return 0;
}

/* --- the file ----------------------------------------------------------- */

/* NULL: none, or not ours to read. */
static json_t *load(int net)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (io_read_own(net, FILE_NAME, FILE_MAX, &text, &len) < 0)
		return NULL;
	return json_loadb(text, len, 0, NULL);
}

int host_memory_read(int state, struct host_memory *m, struct err *err)
{
	_cleanup_fd_ int net = open_net(state, 0);
	_cleanup_(cleanup_json) json_t *doc = NULL;
	char where[WHERE_MAX];
	int r;

	memset(m, 0, sizeof(*m));
	if (net < 0)
		return net == -ENOENT ? 0 : failed(net, "net", err);
	r = get_where(where);
	if (r < 0)
		return err_set(err, r, "boot and network namespace");
	doc = load(net);
	if (!doc || parse(m, doc, where) < 0)
		memset(m, 0, sizeof(*m));
	return 0;
}

int host_memory_write(int state, const struct host_memory *m, struct err *err)
{
	_cleanup_fd_ int net = open_net(state, 1), fd = -1;
	_cleanup_free_ char *text = NULL;
	char where[WHERE_MAX];
	int r;

	if (net < 0)
		return failed(net, "net", err);
	r = get_where(where);
	if (r < 0)
		return err_set(err, r, "boot and network namespace");
	text = format(m, where);
	if (!text)
		return failed(-ENOMEM, "net/" FILE_NAME, err);
	fd = openat(net, FILE_NEW,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	r = fd < 0 ? -errno : io_write_all(fd, text, strlen(text));
	if (r == 0 && renameat(net, FILE_NEW, net, FILE_NAME) < 0)
		r = -errno;
	return r < 0 ? failed(r, "net/" FILE_NAME, err) : 0;
}

int host_memory_remove(int state, struct err *err)
{
	_cleanup_fd_ int net = open_net(state, 0);

	if (net < 0)
		return net == -ENOENT ? 0 : failed(net, "net", err);
	unlinkat(net, FILE_NEW, 0);
	if (unlinkat(net, FILE_NAME, 0) < 0 && errno != ENOENT)
		return failed(-errno, "net/" FILE_NAME, err);
	return 0;
}
