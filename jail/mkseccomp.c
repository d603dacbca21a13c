/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkseccomp: make filters of the tables, as C on stdout.
 *
 * Runs when mayfly is built, so that mayfly-vmm needs no library for its
 * filters and spends no time on them.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "jail/seccomp_rules.h"

static _Noreturn void die(const char *role, const char *what, int error)
{
	fprintf(stderr, "mkseccomp: %s: %s: %s\n", role, what, strerror(error));
	exit(1);
}

static int add(scmp_filter_ctx ctx, uint32_t action,
	       const struct seccomp_rule *r)
{
	struct scmp_arg_cmp cmp[2];

	for (unsigned i = 0; i < r->nconds; i++) {
		const struct seccomp_cond *c = &r->cond[i];

		cmp[i] = (struct scmp_arg_cmp){ .arg = c->arg,
						.op = SCMP_CMP_MASKED_EQ,
						.datum_a = c->mask ? c->mask :
								     ~0ull,
						.datum_b = c->is };
	}
	return seccomp_rule_add_exact_array(ctx, action, r->nr, r->nconds, cmp);
}

static scmp_filter_ctx make(const struct seccomp_role *role)
{
	uint32_t kill = SCMP_ACT_KILL_PROCESS, allow = SCMP_ACT_ALLOW;
	scmp_filter_ctx ctx = seccomp_init(role->inverted ? allow : kill);
	int r;

	if (!ctx)
		die(role->name, "seccomp_init", ENOMEM);
	/* Without it such a call kills the thread only. It covers x32, too. */
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, kill);
	if (!r)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r < 0)
		die(role->name, "attributes", -r);
	for (unsigned i = 0; i < role->n; i++) {
		r = add(ctx, role->inverted ? kill : allow, &role->rule[i]);
		if (r < 0)
			die(role->name, role->rule[i].why, -r);
	}
	return ctx;
}

static void print(const struct seccomp_role *role)
{
	scmp_filter_ctx ctx = make(role);
	int fd = memfd_create("filter", MFD_CLOEXEC);
	struct sock_filter f;
	int r = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		die(role->name, "export", r < 0 ? -r : errno);
	printf("\nstatic const struct sock_filter seccomp_%s[] = {\n",
	       role->name);
	while (read(fd, &f, sizeof(f)) == sizeof(f))
		printf("\t{ 0x%02x, %3u, %3u, 0x%08x },\n", f.code, f.jt, f.jf,
		       f.k);
	printf("};\n");
	close(fd);
	seccomp_release(ctx);
}

int main(void)
{
	printf("/* Made by jail/mkseccomp.c of jail/seccomp_rules.c. */\n");
	printf("#define SECCOMP_FILTERS_WIDE %d\n", seccomp_role[0].inverted);
	for (unsigned i = 0; i < LOCK_ROLES; i++)
		print(&seccomp_role[i]);
	printf("\nstatic const struct {\n\tunsigned short len;\n"
	       "\tconst struct sock_filter *code;\n"
	       "} seccomp_filter[LOCK_ROLES] = {\n");
	for (unsigned i = 0; i < LOCK_ROLES; i++)
		printf("\t{ sizeof(seccomp_%s) / sizeof(struct sock_filter), "
		       "seccomp_%s },\n", seccomp_role[i].name,
		       seccomp_role[i].name);
	printf("};\n");
	return fflush(stdout) ? 1 : 0;
}
