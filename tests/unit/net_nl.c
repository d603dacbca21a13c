/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink and the program nft, in network namespaces of the tests' own. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/batch.h"
#include "net/expr.h"
#include "net/nft.h"
#include "net/nl.h"
#include "net/tap.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

static struct rt *rt;
static struct err err;

#define OK(call) cr_assert_eq((call), 0, "%s", err.msg)

/* A host of its own, without a link but lo. */
static void become_host(void)
{
	if (geteuid())
		cr_skip("it takes root to make network namespaces");
	cr_assert_eq(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	OK(rt_open(&rt, &err));
}

static void leave_host(void)
{
	rt_close(rt);
}

TestSuite(net_nl, .init = become_host, .fini = leave_host);

static struct net_prefix prefix(const char *addr, unsigned len)
{
	struct net_prefix p = { .len = (uint8_t)len };

	cr_assert_eq(net_addr_read(&p.addr, addr), 0);
	return p;
}

/* A namespace that nothing else is in. */
static int other_netns(void)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there;

	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	cr_assert_eq(setns(here, CLONE_NEWNET), 0);
	close(here);
	return there;
}

/* What @fn gives in another namespace: 0 to 125. */
static int inside(int netns, int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setns(netns, CLONE_NEWNET) < 0 || rt_open(&rt, &err) < 0)
			_exit(126);
		_exit(fn());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 };

static void make_veth(int netns)
{
	const struct rt_link l = { .name = "mfy7", .up = 1, .mtu = 1400,
				   .alias = "mayfly:test",
				   .no_link_local = 1 };
	const struct rt_link peer = { .name = "up0", .mtu = 1400, .mac = mac };

	OK(rt_veth_add(rt, &l, &peer, netns, &err));
}

struct found {
	const char *name;
	struct rt_seen_link l;
	int n;
};

static int is_it(const struct rt_seen_link *l, void *opaque)
{
	struct found *f = opaque;

	f->n++;
	if (!strcmp(l->name, f->name))
		f->l = *l;
	return 0;
}

static int see_peer(void)
{
	struct found f = { .name = "up0" };

	if (rt_link_each(rt, is_it, &f) < 0 || f.l.mtu != 1400)
		return 1;
	return strcmp(f.l.kind, "veth") ? 2 : f.l.up ? 3 : 0;
}

Test(net_nl, veth_has_its_peer_in_another_namespace)
{
	struct found f = { .name = "mfy7" };
	int netns = other_netns();

	make_veth(netns);
	cr_expect_eq(inside(netns, see_peer), 0);
	OK(rt_link_each(rt, is_it, &f));
	cr_expect_eq(f.n, 2, "lo and mfy7, and no up0 here");
	cr_expect(f.l.up);
	cr_expect_eq(f.l.mtu, 1400u);
	cr_expect_str_eq(f.l.alias, "mayfly:test");
	cr_expect_str_eq(f.l.kind, "veth");
	cr_expect_eq(rt_link_index(rt, "mfy7"), (int)f.l.index);
}

#define ONE_QUEUE " | grep -q 'numtxqueues 1 .*numrxqueues 1 '"

static int peer_has_one_queue(void)
{
	return system("ip -d link show up0" ONE_QUEUE) ? 1 : 0;
}

/* Of more the kernel takes all but one away again, with all links waiting. */
Test(net_nl, veth_is_born_with_one_queue)
{
	int netns = other_netns();

	make_veth(netns);
	cr_expect_eq(system("ip -d link show mfy7" ONE_QUEUE), 0);
	cr_expect_eq(inside(netns, peer_has_one_queue), 0);
}

Test(net_nl, name_that_is_taken_is_said_so)
{
	const struct rt_link l = { .name = "mfy7" }, peer = { .name = "up1" };
	int netns = other_netns();

	make_veth(netns);
	cr_expect_eq(rt_veth_add(rt, &l, &peer, netns, &err), -EEXIST);
	cr_expect_str_eq(err.msg, "make the veth mfy7: File exists");
	cr_expect_eq(rt_link_index(rt, "up1"), -ENODEV);
	OK(rt_link_del(rt, "mfy7", &err));
	cr_expect_eq(rt_link_index(rt, "mfy7"), -ENODEV);
	cr_expect_eq(rt_link_del(rt, "mfy7", &err), -ENODEV);
}

static int count_addrs(const struct rt_seen_addr *a, void *opaque)
{
	unsigned *n = opaque;

	n[a->prefix.addr.family == 6]++;
	return a->index ? 0 : -EINVAL;
}

Test(net_nl, link_has_the_addresses_that_it_was_given_and_no_others)
{
	const struct net_prefix v4 = prefix("198.19.0.0", 31);
	const struct net_prefix v6 = prefix("fd00::", 127);
	unsigned n[2] = { 0 };
	int index;

	make_veth(other_netns());
	index = rt_link_index(rt, "mfy7");
	cr_assert_gt(index, 0);
	OK(rt_addr_add(rt, (unsigned)index, &v4, &err));
	OK(rt_addr_add(rt, (unsigned)index, &v6, &err));
	OK(rt_addr_each(rt, count_addrs, n));
	cr_expect_eq(n[0], 1u);
	cr_expect_eq(n[1], 1u, "no link-local one of the kernel's making");
	cr_expect_eq(rt_addr_add(rt, (unsigned)index, &v4, &err), -EEXIST);
}

static int find_default(const struct rt_seen_route *r, void *opaque)
{
	struct rt_seen_route *found = opaque;

	if (r->to.len == 0 && r->type == RTN_UNICAST)
		*found = *r;
	return 0;
}

Test(net_nl, routes_are_added_and_seen)
{
	const struct net_prefix v4 = prefix("198.19.0.1", 31);
	const struct net_prefix v6 = prefix("fd00::1", 127);
	const struct net_prefix all4 = prefix("0.0.0.0", 0);
	const struct net_prefix all6 = prefix("::", 0);
	const struct net_prefix via4 = prefix("198.19.0.0", 31);
	const struct net_prefix via6 = prefix("fd00::", 127);
	struct rt_seen_route r4 = { 0 }, r6 = { 0 };
	unsigned index;

	make_veth(other_netns());
	index = (unsigned)rt_link_index(rt, "mfy7");
	cr_expect_eq(rt_route_add(rt, index, &all4, &via4.addr, &err),
		     -ENETUNREACH, "%s", err.msg);
	OK(rt_addr_add(rt, index, &v4, &err));
	OK(rt_addr_add(rt, index, &v6, &err));
	OK(rt_route_add(rt, index, &all4, &via4.addr, &err));
	OK(rt_route_add(rt, index, &all6, &via6.addr, &err));
	OK(rt_route_each(rt, AF_INET, find_default, &r4));
	OK(rt_route_each(rt, AF_INET6, find_default, &r6));
	cr_expect_eq(r4.index, index);
	cr_expect_eq(r6.index, index);
	cr_expect_eq(r4.protocol, RTPROT_STATIC);
}

static int stops(const struct rt_seen_link *l, void *opaque)
{
	(void)l, (void)opaque;
	return 42;
}

Test(net_nl, what_the_callback_gives_ends_the_list)
{
	cr_expect_eq(rt_link_each(rt, stops, NULL), 42);
}

/* --- the program nft ------------------------------------------------------- */

static int nft(const char *script)
{
	return nft_run(script, strlen(script), &err);
}

Test(net_nl, script_of_nft_is_applied_or_its_fault_is_told)
{
	char path[64] = "/tmp/mayfly-nft-XXXXXX";
	int fd = mkstemp(path);

	OK(nft("add table inet t\nadd chain inet t c\n"));
	cr_expect_eq(nft("add chain inet t d\nadd rule inet t e drop\n"), -EIO);
	cr_expect(strstr(err.msg, "rule: No such file or directory"), "%s",
		  err.msg);
	cr_expect_eq(nft("list chain inet t d\n"), -EIO,
		     "the first line of that script was not applied either");
	cr_expect_eq(nft("nonsense\n"), -EIO);
	cr_expect(strstr(err.msg, "syntax error"), "%s", err.msg);
	/* One that says nothing. */
	cr_assert_eq(mount("/bin/false", "/usr/sbin/nft", NULL, MS_BIND, NULL),
		     0);
	cr_expect_eq(nft(""), -EIO);
	cr_expect_str_eq(err.msg, "nft: it has failed without saying why");
	/* One that is not there, or that nobody may run. */
	cr_assert_eq(mount(path, "/usr/sbin/nft", NULL, MS_BIND, NULL), 0);
	cr_expect_eq(nft(""), -ENOENT);
	cr_expect_str_eq(err.hint, "sudo apt-get install nftables");
	close(fd);
	unlink(path);
}

/* --- batches ------------------------------------------------------------- */

static struct batch batch;
static _Alignas(8) char bytes[4096];

static void open_batch(void)
{
	batch_open(&batch, bytes, sizeof(bytes), 7);
	batch_table(&batch, NFPROTO_INET, "t");
	batch_chain(&batch, "c", NULL);
	rule(&batch, is_link(IIFNAME, "tap0"), verdict(NF_DROP));
}

static int send_batch(void)
{
	struct nfnl *n;
	int len = batch_close(&batch, &err), r;

	cr_assert_gt(len, 0, "%s", err.msg);
	OK(nfnl_open(&n, &err));
	r = nfnl_send(n, bytes, (size_t)len, &err);
	nfnl_close(n);
	return r;
}

Test(net_nl, batch_is_in_the_kernel_or_says_what_was_refused)
{
	open_batch();
	rule(&batch, is_link(IIFNAME, "tap0"), go_to("nowhere"));
	cr_expect_eq(send_batch(), -ENOENT);
	cr_expect_str_eq(err.msg, "the kernel has refused rule 2 of chain c "
				  "(immediate): No such file or directory");
	cr_expect_eq(nft("list table inet t\n"), -EIO);
	open_batch();
	rule(&batch, in_set(IP_DADDR, "none"), verdict(NF_DROP));
	rule(&batch, go_to("nowhere"));
	cr_expect_eq(send_batch(), -ENOENT);
	cr_expect_str_eq(err.msg, "the kernel has refused rule 2 of chain c "
				  "(lookup): No such file or directory",
			 "the first one");
	cr_expect_str_eq(err.hint, "");
	open_batch();
	batch_set(&batch, &(struct batch_set){ .name = "s", .key_len = 0 });
	cr_expect_eq(send_batch(), -EINVAL);
	cr_expect_str_eq(err.msg,
			 "the kernel has refused set s: Invalid argument");
	open_batch();
	cr_expect_eq(send_batch(), 0, "%s", err.msg);
	OK(nft("list chain inet t c\n"));
	open_batch();
	cr_expect_eq(send_batch(), -EEXIST, "a table that is there already");
	cr_expect_str_eq(err.msg,
			 "the kernel has refused table t: File exists");
}

/* --- sets -------------------------------------------------------------------- */

#define SETS                                                                  \
	"table inet mayfly {\n"                                               \
	" set a { type ipv4_addr; size 4; flags timeout; }\n"                 \
	" set b { type ipv6_addr . inet_service; flags timeout; }\n"          \
	" set c { type ipv4_addr; size 64; flags timeout; }\n"                \
	"}\n"

/* Is @element in the set? */
static int has_element(const char *set, const char *element)
{
	char script[128];

	snprintf(script, sizeof(script), "get element inet mayfly %s { %s }\n",
		 set, element);
	return nft(script) == 0;
}

static struct nfnl_element key4(const uint8_t key[4], uint32_t timeout)
{
	return (struct nfnl_element){ .set = "a", .key = key, .key_len = 4,
				      .timeout_s = timeout };
}

Test(net_nl, elements_are_added_with_their_keys)
{
	static const uint8_t k[20] = { 0x26, 6, [15] = 9, 0x01, 0xbb };
	const struct nfnl_element e[] = {
		key4((const uint8_t *)"\x01\x02\x03\x04", 60),
		{ .set = "b", .key = k, .key_len = 20, .timeout_s = 60 },
	};
	struct nfnl *n;

	OK(nft(SETS));
	OK(nfnl_open(&n, &err));
	cr_expect_eq(nfnl_add(n, "mayfly", e, 2), 0);
	cr_expect(has_element("a", "1.2.3.4"));
	cr_expect_not(has_element("a", "1.2.3.5"));
	cr_expect(has_element("b", "2606::9 . 443"));
	cr_expect_eq(nfnl_add(n, "mayfly", e, 2), 0, "again is no fault");
	nfnl_close(n);
}

Test(net_nl, element_gets_its_time_anew)
{
	struct nfnl_element e = key4((const uint8_t *)"\x01\x02\x03\x04", 1);
	struct nfnl *n;

	OK(nft(SETS));
	OK(nfnl_open(&n, &err));
	cr_expect_eq(nfnl_add(n, "mayfly", &e, 1), 0);
	e.timeout_s = 3600;
	cr_expect_eq(nfnl_add(n, "mayfly", &e, 1), 0);
	usleep(1200000);
	cr_expect(has_element("a", "1.2.3.4"), "its second is over");
	nfnl_close(n);
}

Test(net_nl, all_elements_or_none)
{
	struct nfnl_element e[] = {
		key4((const uint8_t *)"\x01\x02\x03\x04", 60),
		key4((const uint8_t *)"\x01\x02\x03\x05", 60),
	};
	struct nfnl *n;

	OK(nft(SETS));
	OK(nfnl_open(&n, &err));
	e[1].set = "missing";
	cr_expect_eq(nfnl_add(n, "mayfly", e, 2), -ENOENT);
	cr_expect_not(has_element("a", "1.2.3.4"));
	e[1].set = "a";
	e[1].key_len = 3;
	cr_expect_eq(nfnl_add(n, "mayfly", e, 2), -EINVAL);
	cr_expect_not(has_element("a", "1.2.3.4"));
	e[1].key_len = 4;
	cr_expect_eq(nfnl_add(n, "another", e, 2), -ENOENT);
	cr_expect_eq(nfnl_add(n, "mayfly", e, 2), 0, "it goes on working");
	cr_expect(has_element("a", "1.2.3.5"));
	cr_expect_eq(nfnl_add(n, "mayfly", e, NFNL_ADD_MAX + 1), -E2BIG);
	nfnl_close(n);
}

/* All at once, and all of them again: no answer is lost for want of room. */
static void fill(struct nfnl *n, struct nfnl_element *e, const char *set)
{
	for (size_t i = 0; i < NFNL_ADD_MAX; i++)
		e[i].set = set;
	cr_expect_eq(nfnl_add(n, "mayfly", e, NFNL_ADD_MAX), 0);
	cr_expect_eq(nfnl_add(n, "mayfly", e, NFNL_ADD_MAX), 0);
}

Test(net_nl, set_that_is_full_is_said_so)
{
	uint8_t key[NFNL_ADD_MAX][4];
	struct nfnl_element e[NFNL_ADD_MAX];
	struct nfnl *n;

	for (size_t i = 0; i < NFNL_ADD_MAX; i++) {
		memcpy(key[i], "\x09\x09\x09", 3);
		key[i][3] = (uint8_t)i;
		e[i] = key4(key[i], 60);
	}
	OK(nft(SETS));
	OK(nfnl_open(&n, &err));
	cr_expect_eq(nfnl_add(n, "mayfly", e, NFNL_ADD_MAX), -ENFILE);
	cr_expect_not(has_element("a", "9.9.9.0"));
	cr_expect_eq(nfnl_add(n, "mayfly", e, 4), 0);
	cr_expect_eq(nfnl_add(n, "mayfly", e + 4, 1), -ENFILE);
	fill(n, e, "c");
	nfnl_close(n);
}

/* --- taps ---------------------------------------------------------------------- */

Test(net_nl, tap_is_there_as_long_as_its_descriptor)
{
	int fd = tap_open(&err), other;

	cr_assert_geq(fd, 0, "%s", err.msg);
	OK(tap_attach(fd, "tap0", &err));
	cr_expect(fcntl(fd, F_GETFL) & O_NONBLOCK);
	cr_expect_gt(rt_link_index(rt, "tap0"), 0);
	other = tap_open(&err);
	cr_expect_eq(tap_attach(other, "tap0", &err), -EBUSY);
	cr_expect_str_eq(err.hint, "another program has it open");
	cr_expect_eq(tap_attach(other, "a-name-that-is-too-long", &err),
		     -EINVAL);
	close(other);
	close(fd);
	cr_expect_eq(rt_link_index(rt, "tap0"), -ENODEV);
}

Test(net_nl, host_without_taps_has_a_remedy)
{
	cr_assert_eq(mount("none", "/dev", "tmpfs", 0, NULL), 0);
	cr_expect_eq(tap_open(&err), -ENOENT);
	cr_expect(strstr(err.hint, "modprobe tun"), "%s", err.hint);
}
