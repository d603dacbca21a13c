/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_probe: what answers, asked from inside a guest or beside it, and the
 * servers that answer it.
 *
 *	net_probe ask tcp/ADDR/PORT... udp/ADDR/PORT...
 *	net_probe dns NAME A|AAAA|CNAME|TXT [SERVER [tcp]]
 *	net_probe blast ADDR N		ask for so many, and count what comes
 *	net_probe echo PORT		datagrams, on all addresses
 *	net_probe plain LINK		packets as they are on a wire
 *	net_probe mirror PORT		a stream, to its end
 *
 * ask goes to all at once, and has a line for each, in order: `ADDR PORT WORD`.
 * The word is open, refused (a reset, or a closed UDP port), prohibited (an
 * ICMP error that says so) or, after SILENCE milliseconds, silence. A datagram
 * "blast N" is answered by N of 1400 bytes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SILENCE 30000
#define AGAIN	1000
#define MAX	128

struct target {
	int fd;
	int stream;
	const char *host, *port, *word;
};

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Either family, as IPv6: its length, or 0. */
static socklen_t address(struct sockaddr_storage *s, const char *host,
			 const char *port)
{
	struct sockaddr_in6 *six = (void *)s;
	struct sockaddr_in *four = (void *)s;
	char text[64], *zone;

	memset(s, 0, sizeof(*s));
	four->sin_family = AF_INET;
	four->sin_port = htons((unsigned short)atoi(port));
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1)
		return sizeof(*four);
	snprintf(text, sizeof(text), "%s", host);
	zone = strchr(text, '%');
	if (zone) {
		*zone = 0;
		six->sin6_scope_id = if_nametoindex(zone + 1);
	}
	six->sin6_family = AF_INET6;
	return inet_pton(AF_INET6, text, &six->sin6_addr) == 1 ? sizeof(*six) :
								 0;
}

/* EHOSTUNREACH and EACCES are what Linux makes of "administratively
 * prohibited" of ICMP and ICMPv6. */
static const char *word_of(int error)
{
	switch (error) {
	case 0:
		return "open";
	case ECONNREFUSED:
		return "refused";
	case EHOSTUNREACH:
	case EACCES:
		return "prohibited";
	case ENETUNREACH:
	case EADDRNOTAVAIL:
		return "unreachable";
	default:
		return strerror(error);
	}
}

static void begin(struct target *t, char *spec)
{
	struct sockaddr_storage s;
	socklen_t len;
	char *rest = strchr(spec, '/'), *port = strrchr(spec, '/');

	t->fd = -1;
	t->stream = spec[0] == 't';
	if (!rest || rest == port) {
		t->word = "what?";
		t->host = t->port = spec;
		return;
	}
	*rest = *port = 0;
	t->host = rest + 1;
	t->port = port + 1;
	len = address(&s, t->host, t->port);
	t->fd = socket(s.ss_family,
		       (t->stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK,
		       0);
	if (!len || (connect(t->fd, (void *)&s, len) && errno != EINPROGRESS) ||
	    (!t->stream && send(t->fd, "hello", 5, 0) < 0))
		t->word = len ? word_of(errno) : "what?";
}

static void look(struct target *t)
{
	int error = 0;
	socklen_t len = sizeof(error);
	char byte;

	if (t->stream)
		getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	else if (recv(t->fd, &byte, 1, 0) < 0)
		error = errno;
	t->word = word_of(error);
}

/* Datagrams may be lost. */
static void repeat(struct target *t, int n)
{
	for (int i = 0; i < n; i++)
		if (!t[i].word && !t[i].stream)
			send(t[i].fd, "hello", 5, 0);
}

static int ask(char **specs, int n)
{
	static struct target t[MAX];
	struct pollfd p[MAX];
	long long start = now_ms(), asked = start;
	int left;

	if (n > MAX)
		return 2;
	for (int i = 0; i < n; i++)
		begin(&t[i], specs[i]);
	do {
		left = 0;
		for (int i = 0; i < n; i++) {
			p[i].fd = t[i].word ? -1 : t[i].fd;
			p[i].events = t[i].stream ? POLLOUT : POLLIN;
			left += !t[i].word;
		}
		if (left && poll(p, (nfds_t)n, 100) > 0)
			for (int i = 0; i < n; i++)
				if (p[i].fd >= 0 && p[i].revents)
					look(&t[i]);
		if (now_ms() - asked > AGAIN) {
			repeat(t, n);
			asked = now_ms();
		}
	} while (left && now_ms() - start < SILENCE);
	for (int i = 0; i < n; i++)
		printf("%s %s %s\n", t[i].host, t[i].port,
		       t[i].word ? t[i].word : "silence");
	return 0;
}

/* RFC 1035 4.1: one question, recursion wanted. */
static size_t question(unsigned char *q, const char *name, int type)
{
	static const unsigned char head[12] = { 0x4d, 0x59, 1, 0, 0, 1 };
	size_t n = sizeof(head);

	memcpy(q, head, n);
	while (*name && n < 400) {
		size_t l = strcspn(name, ".");

		q[n++] = (unsigned char)l;
		memcpy(q + n, name, l);
		n += l;
		name += l + (name[l] == '.');
	}
	q[n++] = 0;
	q[n++] = 0;
	q[n++] = (unsigned char)type;
	q[n++] = 0;
	q[n++] = 1;
	return n;
}

/* Past a name, which may end in a pointer. */
static size_t past_name(const unsigned char *a, size_t at, size_t n)
{
	while (at < n && a[at] && a[at] < 0xc0)
		at += 1u + a[at];
	return at + (at < n && a[at] ? 2 : 1);
}

static void print_answer(const unsigned char *a, size_t n)
{
	static const char *const codes[16] = { "NOERROR", "FORMERR", "SERVFAIL",
					       "NXDOMAIN", "NOTIMP", "REFUSED" };
	size_t at = past_name(a, 12, n) + 4, words = 0;
	char text[INET6_ADDRSTRLEN];

	printf("%s", codes[a[3] & 15] ? codes[a[3] & 15] : "?");
	for (int i = a[6] << 8 | a[7]; i > 0 && at + 10 < n; i--) {
		size_t len, type;

		at = past_name(a, at, n);
		if (at + 10 > n)
			break;
		type = (size_t)(a[at] << 8 | a[at + 1]);
		len = (size_t)(a[at + 8] << 8 | a[at + 9]);
		at += 10;
		if (at + len > n)
			break;
		if (type == 1 && len == 4)
			printf(" %s", inet_ntop(AF_INET, a + at, text,
						sizeof(text)));
		else if (type == 28 && len == 16)
			printf(" %s", inet_ntop(AF_INET6, a + at, text,
						sizeof(text)));
		else if (type == 16)
			words += len;
		at += len;
	}
	if (words)
		printf(" %zu bytes of text", words);
	printf("%s\n", a[2] & 2 ? " cut" : "");
}

static int dns(const char *name, const char *type, const char *server, int tcp)
{
	static unsigned char q[512], a[65536];
	int number = strcmp(type, "A") == 0	? 1 :
		     strcmp(type, "AAAA") == 0	? 28 :
		     strcmp(type, "CNAME") == 0 ? 5 :
						  16;
	size_t n = question(q + 2, name, number), have = 0;
	struct sockaddr_storage s;
	socklen_t len = address(&s, server, "53");
	struct timeval limit = { .tv_sec = SILENCE / 1000 };
	int fd = socket(s.ss_family, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	ssize_t r;

	q[1] = (unsigned char)n;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (void *)&s, len) ||
	    send(fd, tcp ? q : q + 2, tcp ? n + 2 : n, 0) < 0) {
		puts(word_of(errno));
		return 1;
	}
	do {
		r = recv(fd, a + have, sizeof(a) - have, 0);
		have += r > 0 ? (size_t)r : 0;
	} while (r > 0 && tcp && have < 2u + (size_t)(a[0] << 8 | a[1]));
	if (r <= 0 || have < (tcp ? 14u : 12u)) {
		puts(r < 0 && errno == EAGAIN ? "silence" :
		     r < 0		      ? word_of(errno) :
						"nothing");
		return 1;
	}
	print_answer(tcp ? a + 2 : a, tcp ? have - 2 : have);
	return 0;
}

/* From the address that was asked, of which the world has many. */
static void answer(int fd, struct msghdr *m, ssize_t n)
{
	static char big[1400];
	long many = 0;
	char *data = m->msg_iov->iov_base;

	data[n] = 0;
	if (strncmp(data, "blast ", 6) == 0)
		many = atol(data + 6);
	m->msg_iov->iov_len = (size_t)n;
	if (!many) {
		sendmsg(fd, m, 0);
		return;
	}
	m->msg_iov->iov_base = big;
	m->msg_iov->iov_len = sizeof(big);
	while (many--)
		sendmsg(fd, m, 0);
	m->msg_iov->iov_base = data;
}

static int echo(const char *port)
{
	struct sockaddr_in6 self = { .sin6_family = AF_INET6,
				     .sin6_port = htons(
					     (unsigned short)atoi(port)) };
	static char data[65536], control[256];
	struct sockaddr_storage peer;
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), on = 1, off = 0;

	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	if (bind(fd, (void *)&self, sizeof(self)))
		return 1;
	for (;;) {
		struct iovec iov = { data, sizeof(data) - 1 };
		struct msghdr m = { .msg_name = &peer,
				    .msg_namelen = sizeof(peer),
				    .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control,
				    .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(fd, &m, 0);

		if (n >= 0)
			answer(fd, &m, n);
	}
}

/* A connection at a time would be as good as a child each, but for one that
 * never ends. */
static int mirror(const char *port)
{
	struct sockaddr_in6 self = { .sin6_family = AF_INET6,
				     .sin6_port = htons(
					     (unsigned short)atoi(port)) };
	static char data[65536];
	int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (void *)&self, sizeof(self)) || listen(fd, 64))
		return 1;
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int c = accept(fd, NULL, NULL);
		ssize_t n;

		if (c < 0 || fork()) {
			close(c);
			continue;
		}
		while ((n = read(c, data, sizeof(data))) > 0)
			for (ssize_t at = 0, w; at < n; at += w)
				if ((w = write(c, data + at,
					       (size_t)(n - at))) <= 0)
					_exit(1);
		_exit(0);
	}
}

/* Until nothing comes for a while; losses are nobody's fault, not that of the
 * question either, and who answers may be busy with the one before. */
static int blast(const char *host, const char *many)
{
	struct sockaddr_storage s;
	socklen_t len = address(&s, host, "7");
	struct timeval limit = { .tv_sec = 2 };
	int fd = socket(s.ss_family, SOCK_DGRAM, 0);
	char text[64], data[64];
	long got = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	snprintf(text, sizeof(text), "blast %s", many);
	if (connect(fd, (void *)&s, len))
		return 1;
	for (int i = 0; i < 10 && got <= 100; i++) {
		if (send(fd, text, strlen(text), 0) < 0)
			return 1;
		while (recv(fd, data, sizeof(data), 0) > 0)
			got++;
	}
	printf("%s datagrams\n", got > 100 ? "many" : "few");
	return 0;
}

/* What a card would do is done before a packet is sent, where a capture sees
 * it: checksums are whole, and no segment is larger than the MTU. */
static int plain(const char *link)
{
	static const unsigned commands[] = { ETHTOOL_STXCSUM, ETHTOOL_SSG,
					     ETHTOOL_STSO, ETHTOOL_SGSO };
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bad = 0;

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", link);
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct ethtool_value v = { .cmd = commands[i], .data = 0 };

		r.ifr_data = (void *)&v;
		if (ioctl(fd, SIOCETHTOOL, &r)) {
			perror(link);
			bad = 1;
		}
	}
	return bad;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (strcmp(what, "ask") == 0)
		return ask(argv + 2, argc - 2);
	if (strcmp(what, "dns") == 0 && argc > 3)
		return dns(argv[2], argv[3], argc > 4 ? argv[4] : "198.18.0.1",
			   argc > 5);
	if (strcmp(what, "blast") == 0 && argc > 3)
		return blast(argv[2], argv[3]);
	if (strcmp(what, "echo") == 0)
		return echo(argv[2]);
	if (strcmp(what, "mirror") == 0)
		return mirror(argv[2]);
	if (strcmp(what, "plain") == 0)
		return plain(argv[2]);
	return 2;
}
