/* SPDX-License-Identifier: Apache-2.0 */
/* The real mayfly-net dns, locked in; and in front of a real dnsmasq. */
#include "tests/unit/forward_stage.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "jail/lock.h"

#define CONTROL 3

static struct stage s;
static pid_t program, resolver;

static void program_path(char *path, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", path, size - 32);

	cr_assert_gt(len, 0);
	path[len] = 0;
	for (unsigned i = 0; i < 3; i++) /* tests/unit/NAME */
		*strrchr(path, '/') = 0;
	strcat(path, "/mayfly-net");
}

/* As a jail leaves it: standard descriptors, and the control socket. */
static void start(void)
{
	char path[4096];
	int pair[2];

	program_path(path, sizeof(path));
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	program = fork();
	cr_assert_geq(program, 0);
	if (program == 0) {
		char *const none[] = { NULL };

		dup2(pair[1], CONTROL);
		syscall(SYS_close_range, CONTROL + 1, ~0u, 0);
		execve(path, (char *[]){ path, (char[]){ "dns" }, NULL }, none);
		_exit(127);
	}
	close(pair[1]);
	close_fd(&s.control);
	s.control = pair[0];
	cr_assert_eq(forward_send(s.control, &s.p, &s.err), 0, "%s", s.err.msg);
	/* What it has is its own from now on. */
	forward_params_close(&s.p);
}

static void go(void)
{
	uint32_t layers;

	start();
	cr_assert_eq(forward_hear(s.control, &layers, &s.err), 0, "%s",
		     s.err.msg);
}

static void expect_end(int code)
{
	int status;

	close_fd(&s.control);
	cr_assert_eq(waitpid(program, &status, 0), program);
	cr_expect(WIFEXITED(status), "%d", status);
	cr_expect_eq(WEXITSTATUS(status), code);
}

Test(forward_program, serves_within_its_filter, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];
	struct forward_dial dial;
	struct dns_answer a;
	struct heard h;
	uint8_t q[512];
	size_t n;
	int fd;

	stage_init(&s, 2);
	s.p.patience_ms = 3000; /* enough for who is held up meanwhile */
	s.p.idle_ms = 2000;
	allow(&s, "a.test:80");
	go();
	/* refused; asked for twice, learned, answered */
	guest_asks(&s, 1, "b.test", DNS_A);
	expect_rcode(&s, 1, DNS_NXDOMAIN);
	guest_asks(&s, 2, "a.test", DNS_A);
	up_hears(&s, 0, &h);
	up_hears(&s, 1, &h);
	make(&a, REPLY(ADDRS("1.2.3.4")));
	up_answers(&s, 1, &h, DNS_NOERROR, &a);
	keeper_says(&s, keeper_hears(&s, l), NULL);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	/* by TCP, and then idle */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&s.guest_tcp,
			     sizeof(s.guest_tcp)), 0);
	n = ask_bytes(q + 2, sizeof(q) - 2, 3, "b.test", DNS_A, 0);
	q[0] = 0;
	q[1] = (uint8_t)n;
	cr_assert_eq(send(fd, q, n + 2, 0), (ssize_t)n + 2);
	cr_assert(ready(fd, LONG_MS));
	cr_expect_gt(recv(fd, q, sizeof(q), 0), 2);
	cr_assert(ready(fd, LONG_MS));
	cr_expect_eq(recv(fd, q, sizeof(q), 0), 0);
	close(fd);
	/* cut by the healthy one, and whole by a connection of the launcher's */
	guest_asks(&s, 5, "a.test", DNS_A);
	up_hears(&s, 1, &h);
	n = dns_build_answer(q, sizeof(q), &h.q, DNS_NOERROR, NULL);
	q[2] |= 2;
	up_says(&s, 1, &h, q, n);
	launcher_hears(&s, &dial);
	cr_expect_eq(dial.upstream, 1);
	fd = launcher_connects(&s, &dial);
	cr_assert(ready(fd, LONG_MS));
	n = (size_t)recv(fd, q, sizeof(q), 0);
	cr_assert_gt(n, 2);
	cr_assert_eq(dns_parse_query(&h.q, q + 2, n - 2), 0);
	make(&a, REPLY(ADDRS("1.2.3.5")));
	n = dns_build_answer(q + 2, sizeof(q) - 2, &h.q, DNS_NOERROR, &a);
	q[1] = (uint8_t)n;
	cr_assert_eq(send(fd, q, n + 2, MSG_NOSIGNAL), (ssize_t)n + 2);
	keeper_says(&s, keeper_hears(&s, l), NULL);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.5")));
	close(fd);
	/* nobody there any more */
	up_closes(&s, 0);
	up_closes(&s, 1);
	guest_asks(&s, 4, "a.test", DNS_A);
	expect_rcode(&s, 4, DNS_SERVFAIL);
	expect_end(0);
}

Test(forward_program, ends_with_its_keeper, .timeout = 60)
{
	int status;

	stage_init(&s, 1);
	go();
	close_fd(&s.keeper);
	cr_assert_eq(waitpid(program, &status, 0), program);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%d", status);
}

Test(forward_program, says_what_it_did_not_like, .timeout = 60)
{
	uint32_t layers;

	stage_init(&s, 1);
	s.p.rules.ndeny = 1000;
	start();
	cr_expect_eq(forward_hear(s.control, &layers, &s.err), -EPROTO);
	expect_end(1);
}

/* --- a real resolver ---------------------------------------------------- */

static int find_dnsmasq(char *path, size_t size)
{
	static const char *const dirs[] = { "/usr/sbin", "/usr/bin",
					    "/usr/local/sbin" };

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, size, "%s/dnsmasq", dirs[i]);
		if (access(path, X_OK) == 0)
			return 1;
	}
	return 0;
}

/* dnsmasq at a port of its own of loopback, with a world of its own. */
static void start_resolver(void)
{
	struct sockaddr_in at;
	char path[64], port[16];

	if (!find_dnsmasq(path, sizeof(path))) {
		cr_assert_null(getenv("MAYFLY_MUST_RUN"), "no dnsmasq");
		cr_skip_test("no dnsmasq here");
	}
	stage_init(&s, 1);
	/* the upstream's place */
	cr_assert_eq(getsockname(s.up[0], (struct sockaddr *)&at,
				 &(socklen_t){ sizeof(at) }), 0);
	close_fd(&s.up[0]);
	snprintf(port, sizeof(port), "--port=%u", ntohs(at.sin_port));
	resolver = fork();
	cr_assert_geq(resolver, 0);
	if (resolver == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(path, path, "-k", "-C", "/dev/null", "-h", "-R", "-z",
		      "-u", "root", "-g", "root", "--pid-file=", port,
		      "-a", "127.0.0.1", "--local=/test/", "--local-ttl=77",
		      "--host-record=web.test,93.184.215.14,2606:4700::1111",
		      "--host-record=inside.test,10.1.2.3",
		      "--host-record=both.test,10.1.2.3",
		      "--host-record=both.test,93.184.215.15",
		      "--cname=www.test,cdn.test,web.test",
		      "--txt-record=web.test,hello",
		      "--mx-host=web.test,mail.test,10",
		      "--srv-host=_http._tcp.test,web.test,80",
		      (char *)NULL);
		_exit(127);
	}
}

/* It is there once it answers: a failure of the forwarder is its absence. */
static void await_resolver(void)
{
	struct dns_answer a = { .rcode = DNS_SERVFAIL };

	while (a.rcode == DNS_SERVFAIL) {
		guest_asks(&s, 1, "nobody.test", DNS_A);
		guest_hears(&s, &a);
		poll(NULL, 0, 10);
	}
	cr_assert_eq(a.rcode, DNS_NXDOMAIN, "%u", a.rcode);
}

static void stop_resolver(void)
{
	kill(resolver, SIGKILL);
	waitpid(resolver, NULL, 0);
}

Test(forward_program, asks_a_real_resolver, .timeout = 60)
{
	struct dns_answer a;

	start_resolver();
	go();
	await_resolver();
	guest_asks(&s, 7, "WEB.test", DNS_A);
	expect_addrs(&s, REPLY_TTL(77, ADDRS("93.184.215.14")));
	guest_asks(&s, 7, "web.test", DNS_AAAA);
	expect_addrs(&s, REPLY_TTL(77, ADDRS("2606:4700::1111")));
	guest_asks(&s, 7, "www.test", DNS_A);
	guest_hears(&s, &a);
	cr_expect_geq(a.nlinks, 1);
	cr_assert_eq(a.naddrs, 1);
	cr_expect_eq(a.addr[0].b[0], 93);
	guest_asks(&s, 7, "inside.test", DNS_A);
	expect_addrs(&s, REPLY(.chain = { NULL }));
	guest_asks(&s, 7, "both.test", DNS_A);
	expect_addrs(&s, REPLY_TTL(77, ADDRS("93.184.215.15")));
	/* a name without such records */
	guest_asks(&s, 7, "inside.test", DNS_AAAA);
	expect_rcode(&s, 7, DNS_NOERROR);
	guest_asks(&s, 7, "none.test", DNS_AAAA);
	expect_rcode(&s, 7, DNS_NXDOMAIN);
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned type[] = { DNS_TXT, 15, 33 };

		guest_asks(&s, 7, i < 2 ? "web.test" : "_http._tcp.test",
			   type[i]);
		guest_hears(&s, &a);
		cr_expect_eq(a.rcode, 0);
		cr_expect_eq(a.nanswer, 1, "%u", type[i]);
	}
	expect_end(0);
	stop_resolver();
}

Test(forward_program, opens_what_a_real_resolver_says, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];

	start_resolver();
	allow(&s, "*.test:80");
	go();
	await_resolver();
	guest_asks(&s, 7, "both.test", DNS_A);
	cr_assert_eq(keeper_hears(&s, l), 1);
	cr_expect_eq(l[0].port, 80);
	cr_expect_eq(memcmp(l[0].addr, "\x5d\xb8\xd7\x0f", 4), 0);
	keeper_says(&s, 1, NULL);
	expect_addrs(&s, REPLY_TTL(77, ADDRS("93.184.215.15")));
	guest_asks(&s, 8, "example.org", DNS_A);
	expect_rcode(&s, 8, DNS_NXDOMAIN);
	expect_end(0);
	stop_resolver();
}
