/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces of a test's own, somebody in one of them who answers for
 * every address there is, and flows towards them: passed, refused or silent.
 * Nothing leaves the machine, and its own ruleset is not looked at.
 */
#ifndef MAYFLY_TESTS_UNIT_FENCE_STAGE_H
#define MAYFLY_TESTS_UNIT_FENCE_STAGE_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/addr.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define NS_MAX 4

static int ns_fd[NS_MAX];

static void enter(int ns)
{
	cr_assert_eq(setns(ns_fd[ns], CLONE_NEWNET), 0, "setns: %m");
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	cr_assert(fd >= 0 && write(fd, text, strlen(text)) ==
		  (ssize_t)strlen(text), "%s: %m", path);
	close(fd);
}

/* Who is not root is in a namespace, before there is a second thread; the
 * tests say so where that has failed. */
static int user_errno;

__attribute__((constructor)) static void become_root(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char map[64];

	if (!uid)
		return;
	if (unshare(CLONE_NEWUSER) < 0) {
		user_errno = errno;
		return;
	}
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_file("/proc/self/gid_map", map);
}

/* @n namespaces, of which the caller is in the last. */
static void make_namespaces(int n)
{
	if (user_errno)
		cr_skip_test("no user namespace: %s", strerror(user_errno));
	for (int i = 0; i < n; i++) {
		if (unshare(CLONE_NEWNET) < 0)
			cr_skip_test("no network namespace: %m");
		ns_fd[i] = open("/proc/thread-self/ns/net",
				O_RDONLY | O_CLOEXEC);
		cr_assert(ns_fd[i] >= 0);
	}
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (system("command -v nft ip >/dev/null") != 0)
		cr_skip_test("no nft, or no ip");
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 4096, 4096 });
}

/*
 * The calling thread stays on the CPU that it is on: what it sends waits in a
 * queue of that one, and does not come after what it has sent later.
 */
static inline void keep_order(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	cr_assert_eq(sched_setaffinity(0, sizeof(here), &here), 0);
}

/* A line of shell in a namespace; /proc/%d/fd/%d of ours names another. */
static void sh(int ns, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void sh(int ns, const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;
	int st;
	pid_t pid;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	pid = fork();
	if (pid == 0) {
		if (setns(ns_fd[ns], CLONE_NEWNET) < 0)
			_exit(99);
		execl("/bin/sh", "sh", "-ec", cmd, NULL);
		_exit(98);
	}
	cr_assert(waitpid(pid, &st, 0) == pid && st == 0, "%d: %s", ns, cmd);
}

/* A link @a in @na, its other end @b in @nb. */
static void make_veth(int na, const char *a, int nb, const char *b)
{
	sh(na, "ip link add %s type veth peer name %s; "
	   "ip link set %s netns /proc/%d/fd/%d", a, b, b, (int)getpid(),
	   ns_fd[nb]);
}

/* 0, or why nft would not have it. */
static int load(int ns, const char *text)
{
	int pipefd[2], st;
	pid_t pid;

	cr_assert_eq(pipe2(pipefd, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(pipefd[0], 0);
		if (setns(ns_fd[ns], CLONE_NEWNET) < 0)
			_exit(99);
		execlp("nft", "nft", "-f", "-", NULL);
		_exit(98);
	}
	close(pipefd[0]);
	cr_assert_eq(io_write_all(pipefd[1], text, strlen(text)), 0);
	close(pipefd[1]);
	cr_assert_eq(waitpid(pid, &st, 0), pid);
	return st;
}

static socklen_t sockaddr_of(struct sockaddr_storage *ss,
			     const struct net_addr *a, uint16_t port)
{
	struct sockaddr_in6 *six = (void *)ss;
	struct sockaddr_in *four = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (a->family == 6) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		memcpy(&six->sin6_addr, a->b, 16);
		return sizeof(*six);
	}
	four->sin_family = AF_INET;
	four->sin_port = htons(port);
	memcpy(&four->sin_addr, a->b, 4);
	return sizeof(*four);
}

static struct net_addr addr(const char *text)
{
	struct net_addr a;

	cr_assert_eq(net_addr_read(&a, text), 0, "%s", text);
	return a;
}

/* --- who answers ------------------------------------------------------ */

static const uint16_t served[] = { 22, 53, 80, 443, 853 };
#define SERVED ((int)ARRAY_SIZE(served))

/* Listeners of TCP and UDP, IPv4 and IPv6; they serve until the test ends. */
struct server {
	struct pollfd fds[4 * ARRAY_SIZE(served)];
	int n;
	pthread_t thread;
};

static int listen_on(int family, int type, uint16_t port)
{
	struct net_addr any = { .family = family == AF_INET6 ? 6 : 4 };
	int one = 1, six = family == AF_INET6;
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(&ss, &any, port);

	cr_assert(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* It answers from addresses that are nobody's. */
	if (six) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &one,
			   sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one,
			   sizeof(one));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	}
	cr_assert_eq(bind(fd, (void *)&ss, len), 0, "bind %u: %m", port);
	if (type == SOCK_STREAM)
		cr_assert_eq(listen(fd, 1024), 0);
	return fd;
}

/* Send a datagram back, from the address that it came to. */
static void echo_datagram(int fd)
{
	char data[64];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} ctl;
	struct sockaddr_storage from;
	struct iovec iov = { data, sizeof(data) };
	struct msghdr m = { &from, sizeof(from), &iov, 1, ctl.buf,
			    sizeof(ctl), 0 };
	ssize_t n = recvmsg(fd, &m, 0);
	struct cmsghdr *c;

	if (n < 0)
		return;
	iov.iov_len = n;
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		struct in6_pktinfo *six = (void *)CMSG_DATA(c);
		struct in_pktinfo *four = (void *)CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_IPV6) {
			six->ipi6_ifindex = 0;
		} else {
			four->ipi_spec_dst = four->ipi_addr;
			four->ipi_ifindex = 0;
		}
	}
	(void)!sendmsg(fd, &m, 0);
}

static void *serve(void *arg)
{
	struct server *s = arg;

	for (;;) {
		poll(s->fds, s->n, -1);
		for (int i = 0; i < s->n; i++) {
			int fd;

			if (!s->fds[i].revents)
				continue;
			echo_datagram(s->fds[i].fd);
			fd = accept4(s->fds[i].fd, NULL, NULL, SOCK_CLOEXEC);
			if (fd >= 0)
				close(fd);
		}
	}
	return NULL;
}

static void start_server(struct server *s, int ns, int back)
{
	enter(ns);
	for (int i = 0; i < SERVED; i++) {
		for (int k = 0; k < 4; k++) {
			s->fds[s->n].fd = listen_on(k & 1 ? AF_INET6 : AF_INET,
				k & 2 ? SOCK_STREAM : SOCK_DGRAM, served[i]);
			s->fds[s->n++].events = POLLIN;
		}
	}
	enter(back);
	cr_assert_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* Every address is one of @ns; but what @local says, in the shell, has routes
 * in table 77. */
static void own_everything(int ns, const char *local)
{
	sh(ns, "ip link set lo up; %s; "
	   "for f in -4 -6; do ip $f rule add pref 10 lookup 77; "
	   "ip $f rule add pref 100 lookup local; ip $f rule del pref 0; "
	   "ip $f route add local default dev lo table local; done", local);
}

/* --- who asks --------------------------------------------------------- */

enum flow_kind {
	TCP,
	UDP,
	ECHO,
};

enum flow_end {
	PASSED,
	REFUSED,  /* by an error, at once */
	SILENT,	  /* nothing came, for as long as was waited */
	NOT_SENT, /* not even tried by who asks */
};

static const char *const end_names[] = { "passed", "refused", "silent",
					 "not sent" };

struct flow {
	enum flow_kind kind;
	struct net_addr addr;
	uint16_t port;
	enum flow_end end;
	int fd, error;
};

static void flow_end(struct flow *f, enum flow_end end)
{
	f->end = end;
	f->error = errno;
	close_fd(&f->fd);
}

static void flow_start(struct flow *f)
{
	static const struct icmphdr ping4 = { .type = ICMP_ECHO };
	static const struct icmp6_hdr ping6 = { .icmp6_type =
						ICMP6_ECHO_REQUEST };
	int six = f->addr.family == 6, rc;
	static uint16_t next_port = 2000;
	struct net_addr any = { 0 };
	struct sockaddr_storage ss;
	socklen_t len;

	f->fd = socket(six ? AF_INET6 : AF_INET, SOCK_NONBLOCK | SOCK_CLOEXEC |
		       (f->kind == TCP ? SOCK_STREAM : SOCK_DGRAM),
		       f->kind != ECHO ? 0 :
		       six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	cr_assert(f->fd >= 0, "socket: %m");
	/* Never twice from one port: who was let pass once still is. */
	any.family = f->addr.family;
	len = sockaddr_of(&ss, &any, next_port++);
	cr_assert_eq(bind(f->fd, (void *)&ss, len), 0, "bind: %m");
	len = sockaddr_of(&ss, &f->addr, f->port);
	/* So that nothing is left behind that is in the way of others. */
	if (f->kind == TCP)
		setsockopt(f->fd, SOL_SOCKET, SO_LINGER,
			   &(struct linger){ 1, 0 }, sizeof(struct linger));
	f->end = SILENT;
	rc = connect(f->fd, (void *)&ss, len);
	if (rc < 0 && errno != EINPROGRESS) {
		flow_end(f, NOT_SENT);
		return;
	}
	if (f->kind == TCP)
		return;
	rc = f->kind == UDP ? send(f->fd, "ping", 4, 0) :
	     six ? send(f->fd, &ping6, sizeof(ping6), 0) :
		   send(f->fd, &ping4, sizeof(ping4), 0);
	if (rc < 0)
		flow_end(f, NOT_SENT);
}

static void flow_ready(struct flow *f, short revents)
{
	char buf[64];
	socklen_t len = sizeof(f->error);
	int why = 0;

	getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &why, &len);
	if (why) {
		errno = why;
		flow_end(f, REFUSED);
	} else if (f->kind == TCP && revents & POLLOUT) {
		flow_end(f, PASSED);
	} else if (f->kind != TCP && recv(f->fd, buf, sizeof(buf), 0) > 0) {
		flow_end(f, PASSED);
	}
}

#define FLOWS_MAX 1024

#define LONG_MS 60000 /* what comes, comes sooner */

/* All at once, in the namespace of the caller; @ms is for silence alone. */
static void run_flows(struct flow *flows, int n, int ms)
{
	static struct pollfd pfd[FLOWS_MAX];
	uint64_t end = io_now_ns() + ms * 1000000ULL;
	int open = 1;

	cr_assert_leq(n, FLOWS_MAX);
	for (int i = 0; i < n; i++)
		flow_start(&flows[i]);
	while (open && io_now_ns() < end) {
		open = 0;
		for (int i = 0; i < n; i++) {
			pfd[i].fd = flows[i].fd;
			pfd[i].events = flows[i].kind == TCP ? POLLOUT : POLLIN;
			pfd[i].revents = 0;
			open += flows[i].fd >= 0;
		}
		if (!open || poll(pfd, n, 50) <= 0)
			continue;
		for (int i = 0; i < n; i++)
			if (flows[i].fd >= 0 && pfd[i].revents)
				flow_ready(&flows[i], pfd[i].revents);
	}
	for (int i = 0; i < n; i++)
		close_fd(&flows[i].fd);
}

static const char *flow_text(const struct flow *f, char buf[128])
{
	static const char *const kinds[] = { "tcp", "udp", "echo" };
	char a[NET_ADDR_MAX];

	snprintf(buf, 128, "%s %s port %u: %s (%s)", kinds[f->kind],
		 net_addr_format(&f->addr, a), f->port, end_names[f->end],
		 f->end == REFUSED || f->end == NOT_SENT ?
		 strerror(f->error) : "-");
	return buf;
}

/* One flow, in @ns; back to @home. How it ended; @want is waited for longer
 * than silence is. */
static inline enum flow_end try_flow(int ns, int home, enum flow_kind kind,
				     const char *to, uint16_t port,
				     enum flow_end want)
{
	struct flow f = { .kind = kind, .addr = addr(to), .port = port };

	enter(ns);
	run_flows(&f, 1, want == SILENT ? 300 : LONG_MS);
	enter(home);
	return f.end;
}

#endif
