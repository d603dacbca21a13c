/* SPDX-License-Identifier: Apache-2.0 */
/* The real keeper of a network, on hosts of the tests' own. */
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "net/tap.h"
#include "tests/unit/keep_stage.h"

TestSuite(net_keep, .init = stage_open, .fini = stage_close, .timeout = 120);

/* --- what it makes ---------------------------------------------------------- */

static int count_addr(const struct rt_seen_addr *a, void *opaque)
{
	char text[NET_ADDR_MAX];

	(void)opaque;
	net_addr_format(&a->prefix.addr, text);
	return !strcmp(text, NET_GATE4) << 0 | !strcmp(text, NET_GATE6) << 1 |
	       net_addr_equal(&a->prefix.addr, &plan.up4) << 2 |
	       net_addr_equal(&a->prefix.addr, &plan.up6) << 3;
}

static int add_up(const struct rt_seen_addr *a, void *opaque)
{
	*(int *)opaque |= count_addr(a, NULL);
	return 0;
}

static int is_default(const struct rt_seen_route *r, void *opaque)
{
	*(unsigned *)opaque += r->to.len == 0;
	return 0;
}

static int setting(const char *path)
{
	char *text = NULL;
	int v = -1;

	if (io_read_file(path, 64, &text, NULL) == 0)
		v = atoi(text);
	free(text);
	return v;
}

static int is_made(const void *unused)
{
	unsigned routes = 0;
	int found = 0;
	struct rt *rt;

	(void)unused;
	if (rt_open(&rt, NULL) < 0 || rt_link_index(rt, NET_TAP) < 0)
		return 1;
	if (rt_addr_each(rt, add_up, &found) < 0 || found != 0xf)
		return 2;
	rt_route_each(rt, AF_INET, is_default, &routes);
	rt_route_each(rt, AF_INET6, is_default, &routes);
	if (routes < 2)
		return 3;
	if (setting("/proc/sys/net/ipv4/conf/tap0/forwarding") != 1 ||
	    setting("/proc/sys/net/ipv4/conf/up0/forwarding") != 1 ||
	    setting("/proc/sys/net/ipv6/conf/all/forwarding") != 1 ||
	    setting("/proc/sys/net/ipv6/conf/tap0/addr_gen_mode") != 1 ||
	    setting("/proc/sys/net/ipv4/conf/tap0/rp_filter") != 1)
		return 5;
	return nft_inside("list table inet mayfly\n") ? 4 : 0;
}

Test(net_keep, ready_network_has_links_addresses_routes_and_fence)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	int header = 0;

	start_ready(HOST_ID, 0);
	cr_expect_eq(inside(is_made, NULL), 0);
	cr_assert_eq(ioctl(fds.tap, TUNGETIFF, &ifr), 0);
	cr_expect_str_eq(ifr.ifr_name, NET_TAP);
	cr_expect_eq(ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR),
		     IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	cr_expect_not(ifr.ifr_flags & IFF_PERSIST);
	cr_assert_eq(ioctl(fds.tap, TUNGETVNETHDRSZ, &header), 0);
	cr_expect_eq(header, TAP_HEADER);
	cr_expect(fcntl(fds.tap, F_GETFL) & O_NONBLOCK);
}

/* The value of @field in /proc/PID/status, a number of base @base. */
static unsigned long long status_of(const char *field, int base)
{
	char path[64], *text = NULL, *at;
	unsigned long long v;

	snprintf(path, sizeof(path), "/proc/%d/status", keep.pid);
	cr_assert_eq(io_read_file(path, 65536, &text, NULL), 0);
	at = strstr(text, field);
	cr_assert(at, "%s", field);
	v = strtoull(at + strlen(field), NULL, base);
	free(text);
	return v;
}

static void expect_locked(void)
{
	char path[64], *environ_text = NULL;
	size_t len;

	cr_expect_eq(status_of("\nUid:", 10), HOST_ID);
	cr_expect_eq(status_of("\nGid:", 10), HOST_ID);
	cr_expect_eq(status_of("\nCapPrm:", 16), 1u << 12 /* CAP_NET_ADMIN */);
	cr_expect_eq(status_of("\nCapEff:", 16), 1u << 12);
	cr_expect_eq(status_of("\nCapBnd:", 16), 0u);
	cr_expect_eq(status_of("\nCapInh:", 16), 0u);
	cr_expect_eq(status_of("\nCapAmb:", 16), 0u);
	cr_expect_eq(status_of("\nNoNewPrivs:", 10), 1u);
	cr_expect_eq(status_of("\nSeccomp:", 10), 2u);
	snprintf(path, sizeof(path), "/proc/%d/environ", keep.pid);
	OK(io_read_file(path, 65536, &environ_text, &len));
	cr_expect_eq(len, 0u);
	free(environ_text);
}

static ino_t namespace(const char *pid, const char *kind)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", pid, kind);
	cr_assert_eq(stat(path, &st), 0, "%s", path);
	return st.st_ino;
}

Test(net_keep, keeper_has_no_right_over_the_host)
{
	char pid[16];

	setenv("SECRET", "of the user", 1);
	start_ready(HOST_ID, 0);
	expect_locked();
	snprintf(pid, sizeof(pid), "%d", keep.pid);
	cr_expect_neq(namespace(pid, "user"), namespace("self", "user"));
	cr_expect_neq(namespace(pid, "net"), namespace("self", "net"));
}

Test(net_keep, root_needs_no_user_namespace)
{
	start_ready(HOST_ID, 1);
	expect_locked();
	cr_expect_eq(keep.userns, -1);
	cr_expect_eq(inside(is_made, NULL), 0);
}

/* --- a host that lacks something --------------------------------------------- */

Test(net_keep, host_without_tun_is_told_so)
{
	cr_assert_eq(mount("none", "/dev/net", "tmpfs", 0, NULL), 0);
	if (start(HOST_ID, 0) == 0)
		cr_expect_eq(await(KEEP_TAP), -ENOENT);
	cr_expect(strstr(err.msg, "open /dev/net/tun"), "%s", err.msg);
	cr_expect(strstr(err.hint, "modprobe tun"), "%s", err.hint);
}

Test(net_keep, network_needs_no_program)
{
	static const char *const dirs[] = { "/usr/sbin", "/usr/local/sbin",
					    "/usr/bin", "/usr/local/bin" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		cr_assert_eq(mount("none", dirs[i], "tmpfs", 0, NULL), 0);
	start_ready(HOST_ID, 0);
	/* To look at it takes some. */
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		cr_assert_eq(umount2(dirs[i], MNT_DETACH), 0);
	cr_expect_eq(inside(is_made, NULL), 0);
}

/* Somebody was there before. */
Test(net_keep, network_without_a_fence_never_stands)
{
	const struct keep_params p = { .program_fd = program(),
				       .host_id = HOST_ID };

	OK(keep_start(&keep, &p, &err));
	close(p.program_fd);
	cr_assert_eq(inside(nft_inside, "add table inet mayfly\n"), 0);
	OK(keep_setup(&keep, &plan, &rules, learn[1], &err));
	add_uplink();
	OK(keep_uplink(&keep, 0, &err));
	OK(await(KEEP_TAP));
	cr_expect_eq(await(KEEP_READY), -EEXIST);
	cr_expect_str_eq(err.msg,
			 "the kernel has refused table mayfly: File exists");
}

Test(net_keep, program_that_is_none_is_told_so)
{
	const struct keep_params p = {
		.program_fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC),
		.host_id = HOST_ID,
	};
	int r = keep_start(&keep, &p, &err);

	if (r == 0)
		r = await(KEEP_TAP);
	cr_expect_eq(r, -EACCES, "%s", err.msg);
	cr_expect(strstr(err.hint, "chmod a+rx"), "%s", err.hint);
	close(p.program_fd);
}

Test(net_keep, rules_that_cannot_be_are_refused)
{
	rules.nallow = NET_RULES_MAX + 1;
	OK(start(HOST_ID, 0));
	cr_expect_eq(await(KEEP_TAP), -EINVAL, "%s", err.msg);
}

Test(net_keep, uplink_that_is_not_there_is_told_so)
{
	OK(start(HOST_ID, 0));
	OK(keep_uplink(&keep, 0, &err));
	OK(await(KEEP_TAP));
	cr_expect_eq(await(KEEP_READY), -ENODEV, "%s", err.msg);
	cr_expect(strstr(err.msg, NET_UPLINK), "%s", err.msg);
}

/* --- without root --------------------------------------------------------------- */

/* As whoever would make it there: who owns the namespace's owner. */
static int add_some_link(void)
{
	const char *argv[] = { "ip", "link", "add", NET_UPLINK, "type", "veth",
			       NULL };
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setns(keep.userns, CLONE_NEWUSER) == 0 &&
		    setns(keep.netns, CLONE_NEWNET) == 0)
			execvp("ip", (char **)argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int as_user(void)
{
	/* Who has changed its user may not look at itself in /proc. */
	if (setgid(12345) < 0 || setuid(12345) < 0 ||
	    prctl(PR_SET_DUMPABLE, 1) < 0)
		return 1;
	if (start(KEEP_SELF, 0) < 0)
		return 2;
	if (add_some_link())
		return 5;
	if (keep_uplink(&keep, 1, &err) < 0)
		return 3;
	if (await(KEEP_TAP) < 0)
		return 2; /* it depends on who is faster */
	if (await(KEEP_READY) < 0)
		return 4;
	keep_fds_close(&fds);
	keep_end(&keep);
	return 0;
}

static void run_as_user(int wanted)
{
	pid_t pid;
	int status;

	signal(SIGCHLD, SIG_DFL);
	pid = fork();
	if (pid == 0) {
		int r = as_user();

		if (r != wanted)
			fprintf(stderr, "%d: %s\n", r, err.msg);
		if (r == 2 && !strstr(err.hint, "chmod 0666"))
			r = 6;
		_exit(r);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, wanted << 8);
}

/* As distributions have it, in this mount namespace. */
static void make_tun(mode_t mode)
{
	cr_assert_eq(mount("none", "/dev/net", "tmpfs", 0, "mode=0755"), 0);
	cr_assert_eq(mknod("/dev/net/tun", S_IFCHR, makedev(10, 200)), 0);
	cr_assert_eq(chmod("/dev/net/tun", mode), 0);
}

Test(net_keep, user_without_rights_has_one_too)
{
	make_tun(0666);
	run_as_user(0);
}

Test(net_keep, user_who_may_have_no_tap_is_told_so)
{
	make_tun(0600);
	run_as_user(2);
}

static int put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = write(fd, text, strlen(text));

	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* Root of a container, which knows 65536 users and not HOST_ID. */
static int as_container(void)
{
	if (unshare(CLONE_NEWUSER) < 0 || raise(SIGSTOP) ||
	    setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ||
	    unshare(CLONE_NEWNET) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0)
		return 1;
	if (start(HOST_ID, 0) < 0 || await(KEEP_TAP) < 0)
		return 2;
	keep_fds_close(&fds);
	keep_end(&keep);
	return 0;
}

Test(net_keep, root_of_a_container_has_one_too)
{
	char path[64];
	int status;
	pid_t pid;

	make_tun(0666);
	pid = fork();
	if (pid == 0)
		_exit(as_container());
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert(WIFSTOPPED(status));
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	cr_assert_eq(put_text(path, "0 100000 65536"), 0);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	cr_assert_eq(put_text(path, "0 100000 65536"), 0);
	kill(pid, SIGCONT);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0, "%d", status);
}

/* --- the forwarder's questions ---------------------------------------------------- */

static int ask(const struct keep_learn *q, unsigned n)
{
	struct keep_learned a[KEEP_LEARN_MAX];

	if (send(learn[0], q, n * sizeof(*q), MSG_NOSIGNAL) < 0 ||
	    recv(learn[0], a, sizeof(a), 0) != (ssize_t)(n * sizeof(*a)))
		return -EPIPE;
	return a[n - 1].error;
}

Test(net_keep, learned_address_is_open_when_the_answer_comes)
{
	struct keep_learn q = { .family = 4, .ttl = 60,
				.addr = { 93, 184, 216, 34 } };

	start_ready(HOST_ID, 0);
	cr_expect_not(has_element(NET_SET_ADDR4, "93.184.216.34"));
	cr_expect_eq(ask(&q, 1), 0);
	cr_expect(has_element(NET_SET_ADDR4, "93.184.216.34"));
	q.port = 443;
	cr_expect_eq(ask(&q, 1), 0);
	cr_expect(has_element(NET_SET_ADDR4_PORT, "93.184.216.34 . 443"));
	q = (struct keep_learn){ .family = 6, .ttl = 60,
				 .addr = { 0x26, 0x06, 0x28, [15] = 1 } };
	cr_expect_eq(ask(&q, 1), 0);
	cr_expect(has_element(NET_SET_ADDR6, "2606:2800::1"));
	q.port = 80;
	cr_expect_eq(ask(&q, 1), 0);
	cr_expect(has_element(NET_SET_ADDR6_PORT, "2606:2800::1 . 80"));
}

Test(net_keep, forwarder_that_was_taken_over_opens_nothing_private)
{
	const struct keep_learn q = { .family = 4, .ttl = 60,
				      .addr = { 10, 0, 0, 1 } };

	start_ready(HOST_ID, 0);
	cr_expect_eq(ask(&q, 1), -EPERM);
	cr_expect_not(has_element(NET_SET_ADDR4, "10.0.0.1"));
}

static int is_alive(void)
{
	return waitpid(keep.pid, NULL, WNOHANG) == 0;
}

static int hung_up(void)
{
	struct pollfd p = { .fd = learn[0] };

	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

Test(net_keep, nonsense_ends_the_conversation_and_not_the_network)
{
	start_ready(HOST_ID, 0);
	cr_assert_eq(send(learn[0], "nonsense", 8, 0), 8);
	SOON(hung_up());
	cr_expect(is_alive());
	cr_expect_eq(inside(is_made, NULL), 0);
}

/* Its queue is full of answers that nobody takes. */
Test(net_keep, forwarder_that_does_not_listen_holds_up_nobody)
{
	const struct keep_learn q = { .family = 4, .addr = { 10 } };

	start_ready(HOST_ID, 0);
	while (send(learn[0], &q, sizeof(q), MSG_NOSIGNAL) > 0)
		;
	cr_expect(errno == EPIPE || errno == ECONNRESET, "%d", errno);
	cr_expect(is_alive());
}

static void send_fd(int fd)
{
	const struct keep_learn q = { .family = 4, .addr = { 8, 8, 8, 8 } };

	cr_assert_eq(io_send_fds(learn[0], &q, sizeof(q), &fd, 1), 0);
}

static int descriptors(void)
{
	char path[64];
	int n = 0;

	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", keep.pid, fd);
		n += !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);
	}
	return n;
}

Test(net_keep, descriptors_that_nobody_asked_for_are_not_kept)
{
	int before;

	start_ready(HOST_ID, 0);
	before = descriptors();
	send_fd(0);
	SOON(hung_up());
	cr_expect(is_alive());
	SOON(descriptors() == before - 1); /* and the forwarder's is gone */
}

/* --- ends ------------------------------------------------------------------------- */

Test(net_keep, launcher_that_hangs_up_ends_it)
{
	start_ready(HOST_ID, 0);
	keep_fds_close(&fds);
	close_fd(&keep.control);
	cr_assert_eq(waitpid(keep.pid, NULL, 0), keep.pid);
	keep.pid = -1;
	close_fd(&keep.netns);
	close_fd(&keep.userns);
	expect_nothing_left();
}

Test(net_keep, killed_keeper_takes_its_network_along)
{
	start_ready(HOST_ID, 0);
	kill(keep.pid, SIGKILL);
	cr_expect_eq(keep_recv(&keep, &fds, WAIT_MS, &err), -EPIPE);
	cr_expect_str_eq(err.msg, "mayfly-net was killed by signal 9 (Killed)");
	keep_fds_close(&fds);
	keep_end(&keep);
	expect_nothing_left();
}

Test(net_keep, second_word_before_the_first_ends_it)
{
	const struct keep_params p = { .program_fd = program(),
				       .host_id = HOST_ID };

	OK(keep_start(&keep, &p, &err));
	OK(keep_uplink(&keep, 0, &err));
	cr_expect_eq(await(KEEP_TAP), -EPROTO, "%s", err.msg);
	close(p.program_fd);
}
