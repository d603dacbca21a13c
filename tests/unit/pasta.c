/* SPDX-License-Identifier: Apache-2.0 */
/* pasta as a process: a script in its place says what the real one may. */
#include "runner/pasta.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

/* What it finds as the argument of an option. */
#define ARG(o) "arg() { while [ \"$1\" != " o " ]; do shift; done; echo $2; }\n"

static char dir[] = "/tmp/mayfly-pasta.XXXXXX", path[64];
static struct pasta pasta;
static struct net_plan plan;
static struct err err;
static int null;

static void set_up(void)
{
	struct net_host host = { .has_v6 = 1, .mtu = PASTA_MTU };

	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/pasta", dir);
	setenv("PATH", dir, 1);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	cr_assert_eq(net_plan_make(&plan, &host, 0, NULL, &err), 0);
	pasta_init(&pasta);
}

static void tear_down(void)
{
	pasta_stop(&pasta);
	close(null);
	unlink(path);
	rmdir(dir);
}

TestSuite(pasta, .init = set_up, .fini = tear_down);

static int run(const char *script, mode_t mode)
{
	const struct pasta_params p = { &plan, null, null };
	FILE *f = script ? fopen(path, "w") : NULL;
	int r;

	if (f) {
		fprintf(f, "#!/bin/sh\n%s", script);
		fclose(f);
		chmod(path, mode);
	}
	r = pasta_start(&pasta, &p, &err);
	return r == 0 ? pasta_wait(&pasta, 20000, &err) : r;
}

Test(pasta, one_that_is_not_there_has_a_remedy)
{
	cr_assert_eq(run(NULL, 0), -ENOENT);
	cr_assert_str_eq(err.msg, "pasta: not found");
	cr_assert_not_null(strstr(err.hint, "apt-get install passt"));
}

Test(pasta, one_that_cannot_be_executed_says_so)
{
	cr_assert_eq(run("", 0644), -EACCES);
	cr_assert_str_eq(err.msg, "start pasta: Permission denied");
}

Test(pasta, its_last_words_are_told_without_time_and_talk_of_its_log)
{
	cr_assert_eq(run("echo 'Failed to send 51 bytes to syslog' >&2\n"
			 "echo '123.4567: a warning' >&2\n"
			 "echo '123.4568: it cannot \033[31mbe' >&2\n"
			 "echo 'Failed to send 9 bytes to syslog' >&2\n"
			 "exit 1\n", 0755), -EIO);
	cr_assert_str_eq(err.msg, "pasta: it cannot ?[31mbe");
	cr_assert_str_eq(err.hint, "");
}

Test(pasta, one_that_says_nothing_has_ended)
{
	cr_assert_eq(run("exit 0\n", 0755), -EIO);
	cr_assert_str_eq(err.msg, "pasta has ended");
}

Test(pasta, words_of_hosts_without_what_it_takes_have_remedies)
{
	cr_assert_eq(run("echo '1.2: External interface not usable' >&2\n"
			 "exit 1\n", 0755), -EIO);
	cr_assert_not_null(strstr(err.hint, "no default route"));
}

Test(pasta, it_is_ready_when_it_writes_its_number)
{
	struct pollfd end;

	cr_assert_eq(run(ARG("--pid") "echo $$ >$(arg \"$@\")\nexec "
			 "/bin/sleep 1000\n", 0755), 0, "%s", err.msg);
	end = (struct pollfd){ .fd = pasta.pidfd, .events = POLLIN };
	cr_assert_eq(poll(&end, 1, 0), 0);
	kill(pasta.pid, SIGKILL);
	cr_assert_eq(poll(&end, 1, 20000), 1);
	cr_assert_eq(pasta_ended(&pasta, &err), -EIO);
	cr_assert_str_eq(err.msg, "pasta has ended");
}

Test(pasta, it_gets_what_the_plan_says_and_nothing_of_ours)
{
	int leak = fcntl(null, F_DUPFD, 50); /* not O_CLOEXEC */

	setenv("SECRET", "yes", 1);
	signal(SIGPIPE, SIG_IGN);
	cr_assert_geq(leak, 50);
	run("[ -z \"$SECRET\" ] && [ ! -e /proc/self/fd/50 ] && "
	    "/bin/grep -q '^SigIgn:.*0000$' /proc/self/status && "
	    "all=\"$*\" && echo \"${all#*--no-map-gw*--pid}\" >&2\n", 0755);
	cr_expect_not_null(strstr(err.msg, "pasta: /proc/self/fd/5 "
					   "--netns /proc/self/fd/3 "
					   "--userns /proc/self/fd/4 "
					   "--netmask 31 --mtu 65520 "
					   "--address 198.19.0.1 "
					   "--gateway 198.19.0.0 "
					   "--address fd6d:6179:666c:79ff::1"),
			   "%s", err.msg);
	close(leak);
}

Test(pasta, it_has_no_more_descriptors_than_flows_need)
{
	struct rlimit l;
	char want[64];

	/* As many as this host lets there be, which may be few. */
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = l.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	if (l.rlim_max > 18432)
		l.rlim_max = 18432;
	snprintf(want, sizeof(want), "pasta: %lu %lu",
		 (unsigned long)l.rlim_max, (unsigned long)l.rlim_max);
	run("echo $(ulimit -Hn) $(ulimit -Sn) >&2\n", 0755);
	cr_expect_str_eq(err.msg, want);
}
