/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of the test's own, open as `state`: what a state directory is to
 * who keeps files in it. */
#ifndef TESTS_UNIT_ROOT_STAGE_H
#define TESTS_UNIT_ROOT_STAGE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char root[] = "/tmp/mayfly-unit-root-XXXXXX";
static int state = -1;

static void open_root(void)
{
	cr_assert(mkdtemp(root));
	state = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(state, 0);
}

static void close_root(void)
{
	char cmd[64];

	close(state);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	cr_expect_eq(system(cmd), 0);
}

#endif
