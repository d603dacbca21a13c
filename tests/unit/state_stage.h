/* SPDX-License-Identifier: Apache-2.0 */
/* A state directory for the tests of state.c and state_broken.c. */
#ifndef MAYFLY_TESTS_UNIT_STATE_STAGE_H
#define MAYFLY_TESTS_UNIT_STATE_STAGE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/meta.h"
#include "runner/state.h"
#include "runner/verdict.h"

static char root[] = "/tmp/mayfly-unit-state-XXXXXX";
static char *const words[] = { "echo", "a b", NULL };
static struct config config = { .cpus = { .n = 1 }, .memory = 64 << 20,
				.argv = (char **)words };

static void open_root(void)
{
	cr_assert(mkdtemp(root));
	setenv("MAYFLY_STATE_DIR", root, 1);
	signal(SIGPIPE, SIG_IGN);
}

static void close_root(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	cr_expect_eq(system(cmd), 0);
}

static int make(struct state **s, const char *name, struct err *err)
{
	const struct state_new n = { .name = name, .detached = 1,
				     .config = &config };

	return state_create(s, &n, err);
}

static struct state *made(const char *name)
{
	struct err err = { 0 };
	struct state *s;

	cr_assert_eq(make(&s, name, &err), 0, "%s", err.msg);
	return s;
}

static void end(struct state *s, int code)
{
	const struct run_result r = { .verdict = VERDICT_RUNTIME_ERROR,
				      .exit_code = code };
	const struct meta m = { .config = &config, .result = &r };

	cr_assert_eq(state_exited(s, &m), 0);
}

static int find(struct state **s, const char *name)
{
	return state_find(s, name, NULL);
}

static size_t entries(void)
{
	char cmd[64];
	unsigned n;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "ls -A %s | grep -vc '^lock$'", root);
	f = popen(cmd, "r");
	cr_assert_eq(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

static void count(const char *id, const struct record *r, uint64_t bytes,
		  void *opaque)
{
	(void)id;
	(void)r;
	(void)bytes;
	++*(int *)opaque;
}

static int pruned(void)
{
	struct err err = { 0 };
	int n = 0;

	cr_assert_eq(state_prune(count, &n, &err), 0, "%s", err.msg);
	return n;
}

/* A file in the run's directory, made by hand. */
static void put(const struct state *s, const char *name, const char *text,
		size_t len)
{
	int fd = openat(state_dirfd(s), name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

#endif
