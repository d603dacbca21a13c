/* SPDX-License-Identifier: Apache-2.0 */
/* iptables-legacy: looked at by getsockopt(), changed by its program. */
#include "net/legacy.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h> /* before linux/if.h, which gives way */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/plan.h"
#include "net/ruleset.h"
#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define TABLE	  "filter"
#define NAMES_MAX 4096
#define BLOB_MAX  (64u << 20) /* a table that we would read */
#define DEPTH_MAX 6
#define TRIES	  8
#define WORDS_MAX 256

#define FNV_START 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

/* The kernel's entries of both families differ in their first part only. */
struct kind {
	int domain, level, get_info, get_entries;
	const char *names; /* of the tables there are */
	size_t ip_size;	   /* conditions on addresses and links; 0: none */
	size_t in, in_mask, out, out_mask;
	size_t target_offset, next_offset, counters, elems;
};

#define KIND(type, ip_type)                                          \
	.ip_size = sizeof(struct ip_type),                           \
	.in = offsetof(struct ip_type, iniface),                     \
	.in_mask = offsetof(struct ip_type, iniface_mask),           \
	.out = offsetof(struct ip_type, outiface),                   \
	.out_mask = offsetof(struct ip_type, outiface_mask),         \
	.target_offset = offsetof(struct type, target_offset),       \
	.next_offset = offsetof(struct type, next_offset),           \
	.counters = offsetof(struct type, counters),                 \
	.elems = offsetof(struct type, elems)

static const struct kind kinds[] = {
	{ .domain = AF_INET, .level = SOL_IP, .get_info = IPT_SO_GET_INFO,
	  .get_entries = IPT_SO_GET_ENTRIES,
	  .names = "/proc/thread-self/net/ip_tables_names",
	  KIND(ipt_entry, ipt_ip) },
	{ .domain = AF_INET6, .level = SOL_IPV6, .get_info = IP6T_SO_GET_INFO,
	  .get_entries = IP6T_SO_GET_ENTRIES,
	  .names = "/proc/thread-self/net/ip6_tables_names",
	  KIND(ip6t_entry, ip6t_ip6) },
};

/* --- the table as it is ------------------------------------------------- */

struct blob {
	const struct kind *kind;
	const uint8_t *at;
	size_t size;
	unsigned forward; /* where that chain begins */
};

/* "filter" on a line of its own. */
static int is_listed(const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char names[NAMES_MAX], *rest = names, *name;
	ssize_t n = fd < 0 ? 0 : io_read_full(fd, names, sizeof(names) - 1);

	names[MAX(n, 0)] = '\0';
	while ((name = strsep(&rest, "\n")))
		if (!strcmp(name, TABLE))
			return 1;
	return 0;
}

static unsigned get16(const struct blob *b, size_t at)
{
	uint16_t v;

	memcpy(&v, b->at + at, sizeof(v));
	return v;
}

/* One entry: where it ends and its target begins, within bounds. */
struct entry {
	size_t at, target, end;
};

static int get_entry(const struct blob *b, size_t at, struct entry *e)
{
	const struct kind *k = b->kind;

	if (at >= b->size || b->size - at < k->elems)
		return -EBADMSG;
	e->at = at;
	e->target = at + get16(b, at + k->target_offset);
	e->end = at + get16(b, at + k->next_offset);
	if (e->target < at + k->elems || e->end > b->size ||
	    e->end < e->target + sizeof(struct xt_standard_target))
		return -EBADMSG;
	return 0;
}

static int is_zero(const uint8_t *p, size_t n)
{
	while (n && !*p)
		p++, n--;
	return !n;
}

/* A comment is a match, but no condition. */
static int is_comment(const struct blob *b, size_t at, size_t end)
{
	struct xt_entry_match m;

	if (end - at < sizeof(m))
		return 0;
	memcpy(&m, b->at + at, sizeof(m));
	return m.u.match_size == end - at &&
	       !strncmp(m.u.user.name, "comment", sizeof(m.u.user.name));
}

static int is_unconditional(const struct blob *b, const struct entry *e)
{
	size_t matches = e->at + b->kind->elems;

	return is_zero(b->at + e->at, b->kind->ip_size) &&
	       (matches == e->target || is_comment(b, matches, e->target));
}

/* The verdict of a standard target; that of REJECT is like DROP's; else
 * XT_CONTINUE. */
static int verdict_of(const struct blob *b, const struct entry *e)
{
	struct xt_standard_target t;

	memcpy(&t, b->at + e->target, sizeof(t));
	t.target.u.user.name[sizeof(t.target.u.user.name) - 1] = '\0';
	if (!*t.target.u.user.name)
		return t.verdict;
	return strcmp(t.target.u.user.name, "REJECT") ? (int)XT_CONTINUE
						      : -NF_DROP - 1;
}

/* 1: what comes to @at and is not accepted before ends there. */
static int drops_all(const struct blob *b, size_t at, int depth)
{
	struct entry e;

	for (; get_entry(b, at, &e) == 0; at = e.end) {
		int v;

		if (!is_unconditional(b, &e))
			continue;
		v = verdict_of(b, &e);
		if (v == -NF_DROP - 1)
			return 1;
		if (v == -NF_ACCEPT - 1 || v == XT_RETURN)
			return 0;
		if (v >= 0 && depth < DEPTH_MAX &&
		    drops_all(b, (size_t)v, depth + 1))
			return 1;
	}
	return 0;
}

/* Is it "mfy*", and nothing else? */
static int is_ours(const uint8_t *name, const uint8_t *mask)
{
	const size_t n = sizeof(NET_HOST_LINK) - 1;

	for (size_t i = 0; i < n; i++)
		if (mask[i] != 0xff)
			return 0;
	return is_zero(mask + n, IFNAMSIZ - n) &&
	       !memcmp(name, NET_HOST_LINK, n);
}

static int has_tag(const struct blob *b, const struct entry *e)
{
	size_t at = e->at + b->kind->elems;
	struct xt_comment_info info;

	if (!is_comment(b, at, e->target) ||
	    e->target - at < sizeof(struct xt_entry_match) + sizeof(info))
		return 0;
	memcpy(&info, b->at + at + sizeof(struct xt_entry_match),
	       sizeof(info));
	return !strncmp(info.comment, RULESET_TAG, sizeof(info.comment));
}

static void find_ours(const struct blob *b, struct legacy *l)
{
	const struct kind *k = b->kind;
	struct entry e;

	for (size_t at = b->forward; get_entry(b, at, &e) == 0; at = e.end) {
		const uint8_t *p = b->at + at;

		/* The policy ends a chain. */
		if (is_unconditional(b, &e) && !has_tag(b, &e) &&
		    e.target == at + k->elems && verdict_of(b, &e) < 0)
			return;
		if (!has_tag(b, &e))
			continue;
		l->from |= is_ours(p + k->in, p + k->in_mask);
		l->to |= is_ours(p + k->out, p + k->out_mask);
	}
}

/* Counters change with every packet. */
static uint64_t hash(const struct blob *b)
{
	uint64_t h = FNV_START;
	struct entry e;

	for (size_t at = 0; get_entry(b, at, &e) == 0; at = e.end)
		for (size_t i = at; i < e.end; i++)
			if (i - at < b->kind->counters ||
			    i - at >= b->kind->counters +
					      sizeof(struct xt_counters))
				h = (h ^ b->at[i]) * FNV_PRIME;
	return h ? h : 1;
}

/* -EAGAIN: it has grown or shrunk meanwhile. The caller frees *@text. */
static int fetch(const struct kind *k, int fd, struct blob *b, void **text)
{
	/* Both families have the same here: checked below. */
	struct ipt_getinfo info = { .name = TABLE };
	struct ipt_get_entries *all;
	socklen_t len = sizeof(info);

	static_assert(sizeof(info) == sizeof(struct ip6t_getinfo), "same");
	static_assert(offsetof(struct ipt_get_entries, entrytable) ==
		      offsetof(struct ip6t_get_entries, entrytable), "same");
	if (getsockopt(fd, k->level, k->get_info, &info, &len) < 0)
		return -errno;
	if (info.size > BLOB_MAX || !(info.valid_hooks & 1 << NF_INET_FORWARD))
		return -EBADMSG;
	all = calloc(1, sizeof(*all) + info.size);
	*text = all;
	if (!all)
		return -ENOMEM;
	strcpy(all->name, TABLE);
	all->size = info.size;
	len = (socklen_t)(sizeof(*all) + info.size);
	if (getsockopt(fd, k->level, k->get_entries, all, &len) < 0)
		return -errno;
	*b = (struct blob){ .kind = k, .at = (const uint8_t *)all->entrytable,
			    .size = info.size,
			    .forward = info.hook_entry[NF_INET_FORWARD] };
	return 0;
}

int legacy_read(struct legacy *l, int family, struct err *err)
{
	const struct kind *k = &kinds[family == 6];
	_cleanup_fd_ int fd = -1;
	int r = -EAGAIN;

	*l = (struct legacy){ 0 };
	if (!is_listed(k->names))
		return 0;
	fd = socket(k->domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0)
		return err_set(err, -errno, "look at iptables' tables");
	for (int i = 0; r == -EAGAIN && i < TRIES; i++) {
		_cleanup_free_ void *text = NULL;
		struct blob b;

		r = fetch(k, fd, &b, &text);
		if (r < 0)
			continue;
		l->there = 1;
		l->drops = drops_all(&b, b.forward, 0);
		find_ours(&b, l);
		l->hash = hash(&b);
	}
	return r < 0 ? err_set(err, r, "look at iptables' tables") : 0;
}

/* --- changing it -------------------------------------------------------- */

const char *legacy_program(int family)
{
	static const char *const places[][2] = {
		{ "/usr/sbin/iptables-legacy", "/usr/sbin/ip6tables-legacy" },
		{ "/sbin/iptables-legacy", "/sbin/ip6tables-legacy" },
		{ "/usr/bin/iptables-legacy", "/usr/bin/ip6tables-legacy" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i][family == 6], X_OK) == 0)
			return places[i][family == 6];
	return NULL;
}

/* Start it with its words in a pipe; *@words is the caller's. */
static int start(const char *path, char *const argv[], pid_t *pid, int *words)
{
	char *const envp[] = { NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t all;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	sigfillset(&all); /* a terminal's signals are for us to act on */
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&fa, p[1], 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &all);
	r = -posix_spawn(pid, path, &fa, &attr, argv, envp);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	close(p[1]);
	if (r < 0)
		close(p[0]);
	else
		*words = p[0];
	return r;
}

static int run(const char *path, char *const argv[], struct err *err)
{
	_cleanup_fd_ int words = -1;
	char text[WORDS_MAX + 1];
	int status = 0, r;
	ssize_t n;
	pid_t pid;

	r = start(path, argv, &pid, &words);
	if (r < 0)
		return err_set(err, r, "start %s", path);
	n = io_read_full(words, text, WORDS_MAX);
	close_fd(&words);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(err, -errno, "wait for %s", path);
	if (status == 0)
		return 0;
	text[MAX(n, 0)] = '\0';
	text[strcspn(text, "\n")] = '\0';
	control_hide(text);
	return err_say(err, -EIO, "%s: %s", path,
		       *text ? text : "it has failed without saying why");
}

static int change(int family, const char *what, const char *which,
		  struct err *err)
{
	const char *path = legacy_program(family);
	/* One program for both families goes by its name. */
	char *const argv[] = {
		family == 6 ? "ip6tables-legacy" : "iptables-legacy", "-w",
		"10", "-t", TABLE, (char *)what, "FORWARD",
		(char *)which, NET_HOST_LINK "+", "-m", "comment",
		"--comment", RULESET_TAG, "-j", "ACCEPT", NULL,
	};

	if (path)
		return run(path, argv, err);
	err_say(err, -ENOENT, "the host's forwarding is ruled by "
			      "iptables-legacy, whose program is not here");
	return err_hint(err, "sudo apt-get install iptables");
}

int legacy_insert(const struct legacy *l, int family, struct err *err)
{
	int r = l->to ? 0 : change(family, "-I", "-o", err);

	return r < 0 || l->from ? r : change(family, "-I", "-i", err);
}

int legacy_delete(const struct legacy *l, int family, struct err *err)
{
	int r = l->from ? change(family, "-D", "-i", err) : 0;

	return r < 0 || !l->to ? r : change(family, "-D", "-o", err);
}
