/* SPDX-License-Identifier: Apache-2.0 */
/* What doctor says where something is missing, and that it names a remedy. */
#include "runner/doctor.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/cmd.h"

static struct doctor d;

static const struct doctor_line *find(const char *what)
{
	for (size_t i = 0; i < d.n; i++)
		if (!strcmp(d.line[i].what, what))
			return &d.line[i];
	cr_assert_fail("no line on %s", what);
	return NULL;
}

static void expect(const char *what, enum health health, const char *words,
		   const char *remedy)
{
	const struct doctor_line *l = find(what);

	cr_expect_eq(l->health, health, "%s: %d", what, l->health);
	cr_expect(strstr(l->words, words), "%s: %s", what, l->words);
	cr_expect(strstr(l->remedy, remedy), "%s: %s", what, l->remedy);
}

Test(doctor, what_is_wrong_comes_with_a_remedy)
{
	doctor_host(&d);
	doctor_engines(&d);
	doctor_files(&d);
	doctor_net(&d);
	doctor_jail(&d);
	for (size_t i = 0; i < d.n; i++) {
		const struct doctor_line *l = &d.line[i];
		int wrong = l->health == DOCTOR_WARN ||
			    l->health == DOCTOR_FAIL;

		cr_expect(l->words[0], "%s", l->what);
		cr_expect(!wrong || l->remedy[0] ||
			  !strcmp(l->what, "engine auto"), "%s: %s", l->what,
			  l->words);
		cr_expect(wrong || !l->remedy[0], "%s", l->what);
	}
	find("kernel");
	find("memory");
	find("engine auto");
	find("jail");
}

Test(doctor, narrow_limits_are_named)
{
	static const struct {
		int which;
		rlim_t limit;
		const char *words, *remedy;
	} t[] = {
		{ RLIMIT_NOFILE, 8, "open files: 8", "ulimit -n 1024" },
		{ RLIMIT_FSIZE, 4096, "file size: 4096",
		  "ulimit -f unlimited" },
#ifndef __SANITIZE_ADDRESS__ /* it takes terabytes of addresses */
		{ RLIMIT_AS, 600 << 20, "address space: 629145600",
		  "ulimit -v unlimited" },
#endif
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct rlimit before, l;

		cr_assert_eq(getrlimit(t[i].which, &before), 0);
		l = before;
		l.rlim_cur = t[i].limit;
		cr_assert_eq(setrlimit(t[i].which, &l), 0);
		memset(&d, 0, sizeof(d));
		doctor_host(&d);
		cr_assert_eq(setrlimit(t[i].which, &before), 0);
		expect("limits", DOCTOR_FAIL, t[i].words, t[i].remedy);
	}
}

Test(doctor, a_scratch_directory_that_is_not_there_fails)
{
	setenv("TMPDIR", "/nowhere", 1);
	doctor_files(&d);
	expect("scratch", DOCTOR_FAIL, "/nowhere", "export TMPDIR=");
}

Test(doctor, a_store_of_images_that_others_may_write_to_is_told)
{
	static const char *const made[] = { "lock", "names", "images",
					    "layers", "tmp" };
	char dir[] = "/tmp/test-doctor-XXXXXX", path[64];

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/none", dir);
	setenv("MAYFLY_DATA_DIR", path, 1);
	doctor_files(&d);
	expect("images", DOCTOR_OK, "none yet", "");
	d.n = 0;
	setenv("MAYFLY_DATA_DIR", dir, 1);
	doctor_files(&d);
	expect("images", DOCTOR_OK, "0, 0.0 MiB", "");
	cr_assert_eq(chmod(dir, 0777), 0);
	d.n = 0;
	doctor_files(&d);
	expect("images", DOCTOR_WARN, dir, "MAYFLY_DATA_DIR=");
	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, made[i]);
		remove(path);
	}
	cr_assert_eq(rmdir(dir), 0);
}

Test(doctor, a_directory_of_runs_that_others_may_write_to_fails)
{
	char dir[] = "/tmp/test-doctor-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chmod(dir, 0777), 0);
	setenv("MAYFLY_STATE_DIR", dir, 1);
	doctor_files(&d);
	rmdir(dir);
	expect("runs", DOCTOR_FAIL, "others can write to it",
	       "MAYFLY_STATE_DIR=");
}

Test(doctor, files_that_are_not_beside_the_program_are_named)
{
	doctor_files(&d);
	doctor_jail(&d);
	expect("jail", DOCTOR_FAIL, "mayfly-vmm: No such file", "run `make`");
	expect("VM monitor", DOCTOR_FAIL, "mayfly-vmm: No such file",
	       "run `make`");
	expect("guest kernel", DOCTOR_FAIL, "guest/vmlinux: No such file",
	       "run `make`");
}

Test(doctor, json_has_every_line, .init = cr_redirect_stdout)
{
	char words[][16] = { "doctor", "--format", "json" };
	char *argv[] = { words[0], words[1], words[2], NULL };
	struct err err = { 0 };
	json_t *doc, *checks, *check;
	size_t i;

	/* Nothing lies beside this program: it is not well. */
	cr_assert_eq(cmd_doctor(3, argv, &err), 1);
	fflush(stdout);
	doc = json_loadf(cr_get_redirected_stdout(), 0, NULL);
	cr_assert_not_null(doc);
	cr_assert(json_is_false(json_object_get(doc, "healthy")));
	checks = json_object_get(doc, "checks");
	cr_assert_gt(json_array_size(checks), 10);
	json_array_foreach(checks, i, check)
	{
		cr_expect(json_is_string(json_object_get(check, "status")));
		cr_expect(json_is_string(json_object_get(check, "check")));
		cr_expect(json_is_string(json_object_get(check, "result")));
		cr_expect_not_null(json_object_get(check, "remedy"));
	}
	json_decref(doc);
}
