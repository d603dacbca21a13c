/* SPDX-License-Identifier: Apache-2.0 */
/* Between launcher and forwarder: what is handed over, and how it went. */
#include "net/forward.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/dns.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define FDS_MAX                                                               \
	(1 + 2 * FORWARD_LISTENERS + FORWARD_UPSTREAMS * FORWARD_SOCKETS)
static_assert(FDS_MAX <= IO_FDS_MAX, "one message");

/* The descriptors are .udp, twice the same where there is one, .tcp, .keeper,
 * .upstream. */
struct setup {
	uint32_t nupstreams, ntcp, nkeepers;
	uint32_t patience_ms, idle_ms;
	struct net_rules rules;
};

void forward_params_init(struct forward_params *p)
{
	memset(p, 0, sizeof(*p));
	p->control = p->keeper = -1;
	for (unsigned i = 0; i < FORWARD_LISTENERS; i++)
		p->udp[i] = p->tcp[i] = -1;
	for (unsigned i = 0; i < FORWARD_UPSTREAMS; i++)
		for (unsigned k = 0; k < FORWARD_SOCKETS; k++)
			p->upstream[i][k] = -1;
}

void forward_params_close(struct forward_params *p)
{
	close_fd(&p->control);
	close_fd(&p->keeper);
	for (unsigned i = 0; i < FORWARD_LISTENERS; i++) {
		close_fd(&p->udp[i]);
		close_fd(&p->tcp[i]);
	}
	for (unsigned i = 0; i < FORWARD_UPSTREAMS; i++)
		for (unsigned k = 0; k < FORWARD_SOCKETS; k++)
			close_fd(&p->upstream[i][k]);
}

/* --- resolvers ---------------------------------------------------------- */

/* "192.0.2.1", "fe80::1%eth0" */
static int resolver_parse(struct forward_resolver *r, char *text)
{
	char *zone = strchr(text, '%');

	*r = (struct forward_resolver){ 0 };
	if (zone) {
		*zone++ = 0;
		r->scope = if_nametoindex(zone);
		if (!r->scope)
			r->scope = (uint32_t)strtoul(zone, NULL, 10);
	}
	return net_addr_read(&r->addr, text);
}

/* resolv.conf(5): the keyword begins the line, blanks follow; the last of a
 * kind does not win here. */
unsigned forward_resolvers(const char *text,
			   struct forward_resolver r[FORWARD_UPSTREAMS])
{
	unsigned n = 0;

	while (*text && n < FORWARD_UPSTREAMS) {
		char word[NET_ADDR_MAX + IF_NAMESIZE + 1];

		if (sscanf(text, "nameserver%*[ \t]%62[^ \t\r\n#;]", word) == 1 &&
		    resolver_parse(&r[n], word) == 0)
			n++;
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	if (!n)
		r[n++] = (struct forward_resolver){
			.addr = net_addr4(127, 0, 0, 1) };
	return n;
}

static socklen_t sockaddr_of(struct sockaddr_storage *ss,
			     const struct forward_resolver *r)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
	uint16_t port = htons(r->port ? r->port : DNS_PORT);

	memset(ss, 0, sizeof(*ss));
	if (r->addr.family == 4) {
		v4->sin_family = AF_INET;
		v4->sin_port = port;
		memcpy(&v4->sin_addr, r->addr.b, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = port;
	v6->sin6_scope_id = r->scope;
	memcpy(&v6->sin6_addr, r->addr.b, 16);
	return sizeof(*v6);
}

int forward_connect(const struct forward_resolver *r, int type)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(&ss, r);
	_cleanup_fd_ int fd = socket(ss.ss_family, type | SOCK_NONBLOCK |
				     SOCK_CLOEXEC, 0);

	if (fd < 0 || (connect(fd, (struct sockaddr *)&ss, len) < 0 &&
		       errno != EINPROGRESS))
		return -errno;
	return steal_fd(&fd);
}

static int connect_all(int fd[FORWARD_SOCKETS], const struct forward_resolver *r)
{
	for (unsigned i = 0; i < FORWARD_SOCKETS; i++) {
		fd[i] = forward_connect(r, SOCK_DGRAM);
		if (fd[i] < 0) {
			int code = fd[i];

			fd[i] = -1;
			while (i-- > 0)
				close_fd(&fd[i]);
			return code;
		}
	}
	return 0;
}

/* One that has no way to it, such as an IPv6 one on a host without, is left
 * out. */
int forward_upstreams(struct forward_params *p,
		      const struct forward_resolver *r, unsigned n,
		      struct err *err)
{
	char text[NET_ADDR_MAX];
	int code = -EDESTADDRREQ;

	p->nupstreams = 0;
	for (unsigned i = 0; i < n && p->nupstreams < FORWARD_UPSTREAMS; i++) {
		int k = connect_all(p->upstream[p->nupstreams], &r[i]);

		if (k == 0) {
			p->resolver[p->nupstreams++] = r[i];
			continue;
		}
		code = k;
		err_set(err, k, "the host's resolver %s",
			net_addr_format(&r[i].addr, text));
	}
	if (p->nupstreams)
		return 0;
	return n ? code : err_set(err, code, "no resolver");
}

/* --- the message -------------------------------------------------------- */

int forward_send(int sock, const struct forward_params *p, struct err *err)
{
	_cleanup_free_ struct setup *s = calloc(1, sizeof(*s));
	int fds[FDS_MAX], one = p->udp[p->udp[0] < 0];
	size_t n = 0;
	int r;

	if (!s)
		return err_set(err, -ENOMEM, "its message");
	s->nupstreams = p->nupstreams;
	s->patience_ms = p->patience_ms;
	s->idle_ms = p->idle_ms;
	s->rules = p->rules;
	for (unsigned i = 0; i < FORWARD_LISTENERS; i++)
		fds[n++] = p->udp[i] < 0 ? one : p->udp[i];
	for (unsigned i = 0; i < FORWARD_LISTENERS; i++)
		if (p->tcp[i] >= 0) {
			fds[n++] = p->tcp[i];
			s->ntcp++;
		}
	if (p->keeper >= 0) {
		fds[n++] = p->keeper;
		s->nkeepers = 1;
	}
	for (unsigned i = 0; i < p->nupstreams; i++)
		for (unsigned k = 0; k < FORWARD_SOCKETS; k++)
			fds[n++] = p->upstream[i][k];
	r = io_send_fds(sock, s, sizeof(*s), fds, n);
	return r < 0 ? err_set(err, r, "its message") : 0;
}

/* The launcher sends it; a message that is not ours is a mismatch of programs. */
static int is_setup(const struct setup *s, ssize_t len, size_t nfds)
{
	return len == sizeof(*s) && s->nupstreams <= FORWARD_UPSTREAMS &&
	       s->ntcp <= FORWARD_LISTENERS && s->nkeepers <= 1 &&
	       nfds == FORWARD_LISTENERS + s->ntcp + s->nkeepers +
			       s->nupstreams * FORWARD_SOCKETS &&
	       net_rules_valid(&s->rules);
}

int forward_receive(int sock, struct forward_params *p, struct err *err)
{
	_cleanup_free_ struct setup *s = calloc(1, sizeof(*s));
	int fds[FDS_MAX];
	size_t n = FDS_MAX, at = 0;
	ssize_t r = s ? io_recv_fds(sock, s, sizeof(*s), fds, &n) : -ENOMEM;

	if (r < 0)
		return err_set(err, (int)r, "the launcher's message");
	if (!is_setup(s, r, n)) {
		while (n > 0)
			close(fds[--n]);
		return err_say(err, -EPROTO, "the launcher is another mayfly's");
	}
	p->nupstreams = s->nupstreams;
	p->patience_ms = s->patience_ms;
	p->idle_ms = s->idle_ms;
	p->rules = s->rules;
	p->control = sock;
	for (unsigned i = 0; i < FORWARD_LISTENERS; i++)
		p->udp[i] = fds[at++];
	for (unsigned i = 0; i < s->ntcp; i++)
		p->tcp[i] = fds[at++];
	if (s->nkeepers)
		p->keeper = fds[at++];
	for (unsigned i = 0; i < p->nupstreams; i++)
		for (unsigned k = 0; k < FORWARD_SOCKETS; k++)
			p->upstream[i][k] = fds[at++];
	return 0;
}

/* --- how it went -------------------------------------------------------- */

void forward_tell(int sock, uint32_t layers, const struct err *err)
{
	struct forward_told told = { .layers = layers };

	if (err) {
		told.error = err->code ? err->code : -EIO;
		snprintf(told.msg, sizeof(told.msg), "%s", err->msg);
	}
	(void)!send(sock, &told, sizeof(told), MSG_NOSIGNAL);
}

int forward_hear(int sock, uint32_t *layers, struct err *err)
{
	struct forward_told told;
	int tries = 2; /* that it has not read ours is told first, and once */
	ssize_t n;

	do
		n = recv(sock, &told, sizeof(told), 0);
	while (n < 0 && (errno == EINTR || (errno == ECONNRESET && --tries)));
	if (n < 0)
		return err_set(err, -errno, "its answer");
	if (n != sizeof(told))
		return err_say(err, -EPIPE, "it has ended");
	told.msg[sizeof(told.msg) - 1] = 0;
	if (told.error)
		return err_say(err, told.error < 0 ? told.error : -EIO, "%s",
			       told.msg);
	*layers = told.layers;
	return 0;
}
