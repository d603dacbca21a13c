/* SPDX-License-Identifier: Apache-2.0 */
/* Is what the kernel has of a ruleset in two namespaces the same, to the last
 * expression and element? */
#ifndef MAYFLY_TESTS_UNIT_FENCE_SAME_H
#define MAYFLY_TESTS_UNIT_FENCE_SAME_H

#include "tests/unit/fence_stage.h"

#define LISTING_MAX (1 << 20)
#define LINES_MAX   32768

struct listing {
	char text[LISTING_MAX];
	char *line[LINES_MAX];
	int n;
};

/* What nft shows: each rule's expressions and each set's elements, and then
 * the ruleset. */
static void read_listing(struct listing *l, int ns)
{
	size_t used = 0;
	int pipefd[2], st;
	ssize_t n;
	pid_t pid;

	cr_assert_eq(pipe2(pipefd, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(pipefd[1], 1);
		if (setns(ns_fd[ns], CLONE_NEWNET) < 0)
			_exit(99);
		execlp("nft", "nft", "--debug=netlink", "-nn", "list",
		       "ruleset", NULL);
		_exit(98);
	}
	close(pipefd[1]);
	while ((n = read(pipefd[0], l->text + used,
			 sizeof(l->text) - 1 - used)) > 0)
		used += (size_t)n;
	close(pipefd[0]);
	cr_assert(waitpid(pid, &st, 0) == pid && st == 0);
	cr_assert_lt(used, sizeof(l->text) - 1);
	l->text[used] = '\0';
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int is_element(const char *line)
{
	return !strncmp(line, "\telement", 8);
}

/* "inet mayfly admit 54 53": the handles behind the names go. */
static void cut_handles(char *line)
{
	char *at = line;

	if (strncmp(line, "inet ", 5) != 0 && strncmp(line, "netdev ", 7) != 0)
		return;
	for (int i = 0; at && i < 3; i++)
		at = strchr(at + 1, ' ');
	if (at)
		*at = '\0';
}

/* Elements of a hash come as they lie, which is not for others to know. */
static void put_in_order(struct listing *l)
{
	char *save = NULL;

	l->n = 0;
	for (char *s = strtok_r(l->text, "\n", &save); s;
	     s = strtok_r(NULL, "\n", &save)) {
		cr_assert_lt(l->n, LINES_MAX);
		cut_handles(s);
		l->line[l->n++] = s;
	}
	for (int i = 0, end; i < l->n; i = end + 1) {
		for (end = i; end < l->n && is_element(l->line[end]);)
			end++;
		qsort(l->line + i, (size_t)(end - i), sizeof(char *), by_text);
	}
}

static void expect_same(int one, int other)
{
	static struct listing a, b;

	read_listing(&a, one);
	read_listing(&b, other);
	put_in_order(&a);
	put_in_order(&b);
	cr_assert_gt(b.n, 100, "%d lines", b.n);
	for (int i = 0; i < a.n || i < b.n; i++)
		cr_assert(i < a.n && i < b.n &&
			  !strcmp(a.line[i], b.line[i]), "line %d:\n%s\n%s", i,
			  i < a.n ? a.line[i] : "(none)",
			  i < b.n ? b.line[i] : "(none)");
}

#endif
