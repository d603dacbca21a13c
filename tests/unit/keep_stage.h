/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep_stage: a host of the test's own, with keepers of networks on it.
 *
 * stage_open() puts the test into new network and mount namespaces, and makes
 * it the one that orphans go to, so that stage_close() sees whether anything
 * was left: a process or a link.
 */
#ifndef MAYFLY_TESTS_UNIT_KEEP_STAGE_H
#define MAYFLY_TESTS_UNIT_KEEP_STAGE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/keep.h"
#include "net/nft.h"
#include "net/nl.h"
#include "net/plan.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define HOST_ID 2000000000u
#define WAIT_MS 60000

static struct err err;
static struct keep keep;
static struct keep_fds fds;
static struct net_plan plan;
static struct net_rules rules;
static int learn[2]; /* [0] is the forwarder's end */

#define OK(call) cr_assert_eq((call), 0, "%s", err.msg)

/* Programs lie two directories above the tests, or one. */
static inline void beside(const char *name, int up, char path[4096])
{
	ssize_t len = readlink("/proc/self/exe", path, 4096 - 64);

	path[MAX(len, 0)] = '\0';
	for (int i = 0; i < up; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/");
	strcat(path, name);
}

static inline int program(void)
{
	char path[4096];
	int fd;

	beside("mayfly-net", 3, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0, "%s", path);
	return fd;
}

static inline void stage_open(void)
{
	if (geteuid())
		cr_skip("it takes root to be a host");
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	cr_assert_eq(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	keep_init(&keep);
	fds = (struct keep_fds){ -1, -1, -1, -1, -1 };
	OK(net_plan_make(&plan, &(struct net_host){ .has_v6 = 1 }, 7, NULL,
			 &err));
	OK(net_rules_own(&rules, &plan.pool, &err));
	OK(net_rules_allow(&rules, "web.test", &err));
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				learn), 0);
}

static inline int is_uplink(const struct rt_seen_link *l, void *opaque)
{
	(void)opaque;
	return !strncmp(l->name, NET_HOST_LINK, strlen(NET_HOST_LINK));
}

static inline int has_uplinks(void)
{
	struct rt *rt;
	int r;

	OK(rt_open(&rt, &err));
	r = rt_link_each(rt, is_uplink, NULL);
	rt_close(rt);
	return r;
}

/* Within a minute, for a kernel that is busy. */
#define SOON(condition)                                                       \
	do {                                                                  \
		int tries_ = WAIT_MS / 10;                                    \
		while (!(condition) && --tries_)                              \
			usleep(10000);                                        \
		cr_expect(tries_ > 0, "%s", #condition);                      \
	} while (0)

static inline int all_ended(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static inline void expect_nothing_left(void)
{
	SOON(all_ended());
	SOON(!has_uplinks());
}

static inline void stage_close(void)
{
	keep_fds_close(&fds);
	keep_end(&keep);
	expect_nothing_left();
}

static inline int start(uint32_t host_id, int no_user_ns)
{
	const struct keep_params p = { .program_fd = program(),
				       .host_id = host_id,
				       .no_user_ns = no_user_ns };
	int r = keep_start(&keep, &p, &err);

	close(p.program_fd);
	if (r == 0)
		r = keep_setup(&keep, &plan, &rules, learn[1], &err);
	close_fd(&learn[1]);
	return r;
}

static inline int await(int type)
{
	int r = keep_recv(&keep, &fds, WAIT_MS, &err);

	cr_assert(r < 0 || r == type, "word %d", r);
	return r < 0 ? r : 0;
}

static inline void add_uplink(void)
{
	const struct rt_link l = { .name = plan.link, .up = 1 };
	const struct rt_link peer = { .name = NET_UPLINK };
	struct rt *rt;

	OK(rt_open(&rt, &err));
	OK(rt_veth_add(rt, &l, &peer, keep.netns, &err));
	rt_close(rt);
}

/* All the way. */
static inline void start_ready(uint32_t host_id, int no_user_ns)
{
	OK(start(host_id, no_user_ns));
	add_uplink();
	OK(keep_uplink(&keep, 0, &err));
	OK(await(KEEP_TAP));
	OK(await(KEEP_READY));
}

/* What @fn gives in the VM's namespace, 0 to 125. */
static inline int inside(int (*fn)(const void *arg), const void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setns(keep.netns, CLONE_NEWNET) < 0)
			_exit(126);
		_exit(fn(arg));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static inline int nft_inside(const void *script)
{
	return nft_run(script, strlen(script), NULL) < 0;
}

static inline int has_element(const char *set, const char *element)
{
	char script[128];

	snprintf(script, sizeof(script), "get element inet mayfly %s { %s }\n",
		 set, element);
	return inside(nft_inside, script) == 0;
}

#endif
