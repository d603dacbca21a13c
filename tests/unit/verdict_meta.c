/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts, exit codes, and the report that tells them. */
#include "runner/meta.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"

static struct run_result judge(struct wire_exit x, struct err *err)
{
	struct run_result r = { .have_exit = 1, .exit = x };

	r.exit.disk_avail = WIRE_UNKNOWN;
	verdict_from_exit(&r, "prog", NULL, err);
	return r;
}

Test(verdict, the_guests_exit_decides)
{
	static const struct {
		struct wire_exit x;
		enum verdict v;
		int code;
	} t[] = {
		{ { .code = 0 }, VERDICT_OK, 0 },
		{ { .code = 7 }, VERDICT_RUNTIME_ERROR, 7 },
		{ { .signal = 9 }, VERDICT_SIGNAL, 137 },
		{ { .signal = 15 }, VERDICT_SIGNAL, 143 },
		{ { .signal = 9, .oom_kills = 1 }, VERDICT_OOM, 137 },
		{ { .signal = 9, .oom_kills = WIRE_UNKNOWN },
		  VERDICT_SIGNAL,
		  137 },
		{ { .code = 127, .stage = WIRE_STAGE_EXEC, .error = ENOENT },
		  VERDICT_RUNTIME_ERROR,
		  127 },
		{ { .code = 126, .stage = WIRE_STAGE_NET, .error = ENODEV },
		  VERDICT_RUNTIME_ERROR,
		  125 },
		/* What no honest guest says stays in range. */
		{ { .code = 0xffffff00 }, VERDICT_OK, 0 },
		{ { .code = UINT32_MAX }, VERDICT_RUNTIME_ERROR, 255 },
		{ { .signal = UINT32_MAX }, VERDICT_SIGNAL, 255 },
		{ { .stage = UINT32_MAX, .error = UINT32_MAX },
		  VERDICT_RUNTIME_ERROR,
		  126 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct err err = { 0 };
		struct run_result r = judge(t[i].x, &err);

		cr_expect_eq(r.verdict, t[i].v, "row %zu: %s", i,
			     verdict_name(r.verdict));
		cr_expect_eq(r.exit_code, t[i].code, "row %zu: %d", i,
			     r.exit_code);
		cr_expect_eq(!!err.msg[0], t[i].x.stage != 0, "row %zu", i);
	}
}

/* Limits that the guest holds: its word, in the order in which they end it. */
Test(verdict, the_guests_limits_go_before_what_the_command_made_of_them)
{
	const uint64_t some = 1 << 20;
	const struct {
		struct wire_exit x;
		int limited;
		enum verdict v;
		int code;
	} t[] = {
		{ { .code = 2, .pids_refused = 1, .disk_avail = some }, 1,
		  VERDICT_PIDS_LIMIT, 137 },
		{ { .code = 0, .pids_refused = 1, .disk_avail = some }, 1,
		  VERDICT_PIDS_LIMIT, 137 },
		{ { .signal = 9, .pids_refused = 1, .oom_kills = 1 }, 1,
		  VERDICT_PIDS_LIMIT, 137 },
		{ { .code = 2, .pids_refused = 1, .disk_avail = some }, 0,
		  VERDICT_RUNTIME_ERROR, 2 },
		{ { .code = 2, .pids_refused = 0, .disk_avail = some }, 1,
		  VERDICT_RUNTIME_ERROR, 2 },
		{ { .code = 2, .pids_refused = WIRE_UNKNOWN,
		    .disk_avail = some }, 1,
		  VERDICT_RUNTIME_ERROR, 2 },
		{ { .signal = 9, .oom_kills = 3, .disk_avail = 0 }, 0,
		  VERDICT_OOM, 137 },
		{ { .code = 1, .oom_kills = 3, .disk_avail = some }, 0,
		  VERDICT_RUNTIME_ERROR, 1 },
		{ { .code = 5, .disk_avail = 0 }, 0, VERDICT_DISK_FULL, 5 },
		{ { .signal = 7, .disk_avail = 0 }, 0, VERDICT_DISK_FULL,
		  135 },
		{ { .code = 0, .disk_avail = 0 }, 0, VERDICT_OK, 0 },
		{ { .code = 5, .disk_avail = 4096 }, 0, VERDICT_DISK_FULL, 5 },
		{ { .code = 5, .disk_avail = 65536 }, 0,
		  VERDICT_RUNTIME_ERROR, 5 },
		{ { .code = 126, .stage = WIRE_STAGE_EXEC, .error = EACCES },
		  0, VERDICT_RUNTIME_ERROR, 126 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct run_result r = { .have_exit = 1,
					.exit = t[i].x,
					.pids_limited = t[i].limited };
		struct err err = { 0 };

		verdict_from_exit(&r, "prog", NULL, &err);
		cr_expect(r.verdict == t[i].v && r.exit_code == t[i].code,
			  "row %zu: %s %d", i, verdict_name(r.verdict),
			  r.exit_code);
		cr_expect(verdict_by_guest(r.verdict), "row %zu", i);
	}
}

Test(verdict, the_hosts_limits_are_the_hosts)
{
	static const enum verdict host[] = {
		VERDICT_TIMEOUT, VERDICT_CPU_TIMEOUT, VERDICT_OUTPUT_LIMIT,
		VERDICT_STOPPED, VERDICT_VM_CRASH,    VERDICT_INTERNAL,
	};

	for (size_t i = 0; i < ARRAY_SIZE(host); i++) {
		struct run_result r = { .have_exit = 1,
					.pids_limited = 1,
					.exit = { .signal = 9,
						  .oom_kills = 1,
						  .pids_refused = 1 } };

		verdict_set(&r, host[i], 1);
		verdict_from_exit(&r, "prog", NULL, NULL);
		cr_expect_eq(r.verdict, host[i]);
		cr_expect_eq(r.exit_code, 1);
		cr_expect(!verdict_by_guest(host[i]));
	}
	for (int v = 0; v < VERDICT_COUNT; v++)
		cr_expect_not_null(verdict_name((enum verdict)v), "%d", v);
}

Test(verdict, a_program_that_is_missing_is_named)
{
	struct err err = { 0 };

	judge((struct wire_exit){ .code = 127,
				  .stage = WIRE_STAGE_EXEC,
				  .error = ENOENT },
	      &err);
	cr_assert(strstr(err.msg, "prog"));
	cr_assert(strstr(err.msg, "not found in the guest"));
}

Test(verdict, the_hosts_word_stands)
{
	struct run_result r = { 0 };

	verdict_set(&r, VERDICT_TIMEOUT, EXIT_TIMED_OUT);
	verdict_from_exit(&r, "x", NULL, NULL);
	verdict_stopped(&r, 15);
	cr_assert_eq(r.verdict, VERDICT_TIMEOUT);
	cr_assert_eq(r.exit_code, 124);
	cr_assert_eq(r.signal, 0);
}

static json_t *report(const struct run_result *r, const struct err *err)
{
	struct config c;
	struct meta m = {
		.config = &c, .result = r, .engine = "soft", .error = err
	};
	_cleanup_free_ char *text = NULL;
	json_t *doc;

	config_init(&c);
	text = meta_format(&m);
	cr_assert_not_null(text);
	doc = json_loads(text, 0, NULL);
	cr_assert_not_null(doc);
	return doc;
}

static const char *explain(enum verdict v, int code, uint32_t missing,
			   const char *said)
{
	static struct err err;
	struct run_result r = { 0 };

	err = (struct err){ 0 };
	verdict_set(&r, v, code);
	r.isa_missing = missing;
	verdict_explain(&r, said, strlen(said), &err);
	return err.msg;
}

Test(verdict, missing_instructions_explain_a_failure)
{
	const char *v3 = "uses instructions of x86-64-v3";

	cr_assert(strstr(explain(VERDICT_SIGNAL, 132, ENGINE_ISA_V3, ""), v3));
	cr_assert(strstr(explain(VERDICT_RUNTIME_ERROR, 1,
				 ENGINE_ISA_V3 | ENGINE_ISA_OTHER, ""),
			 v3));
	cr_assert(strstr(explain(VERDICT_SIGNAL, 132, ENGINE_ISA_OTHER, ""),
			 "no x86-64 level"));
	cr_assert_str_eq(explain(VERDICT_OK, 0, ENGINE_ISA_V3, ""), "");
	cr_assert_str_eq(explain(VERDICT_TIMEOUT, 124, ENGINE_ISA_V3, ""), "");
	cr_assert_str_eq(explain(VERDICT_SIGNAL, 132, 0, ""), "");
}

Test(verdict, a_loader_that_refused_explains_a_127)
{
	const char *said = "/bin/x: CPU ISA level is lower than required\n";
	const char *other = "Fatal glibc error: CPU does not support "
			    "x86-64-v3\n";

	cr_assert(strstr(explain(VERDICT_RUNTIME_ERROR, 127, 0, said),
			 "needs instructions of x86-64-v3"));
	cr_assert(strstr(explain(VERDICT_RUNTIME_ERROR, 127, 0, other),
			 "needs instructions of x86-64-v3"));
	cr_assert_str_eq(explain(VERDICT_RUNTIME_ERROR, 1, 0, said), "");
	cr_assert_str_eq(explain(VERDICT_RUNTIME_ERROR, 127, 0, "x"), "");
}

Test(verdict, an_unknown_user_is_125_and_named)
{
	struct run_result r = { .exit = { .stage = WIRE_STAGE_USER,
					  .error = ENOENT,
					  .code = 126 } };
	struct err err = { 0 };

	verdict_from_exit(&r, "prog", "nosuch", &err);
	cr_assert_eq(r.exit_code, 125);
	cr_assert(strstr(err.msg, "user nosuch"), "%s", err.msg);
}

Test(meta, tells_apart_who_said_what)
{
	struct run_result r = {
		.verdict = VERDICT_RUNTIME_ERROR,
		.exit_code = 7,
		.begin_ns = 1000000,
		.ready_ns = 501000000,
		.exit_ns = 601000000,
		.cpu_ns = 42500000,
		.output_bytes = 99,
		.output_truncated = 1,
		.ncpus = 1,
		.have_exit = 1,
		.exit = { .code = 7,
			  .user_us = 5,
			  .max_rss = 8192,
			  .memory_peak = WIRE_UNKNOWN },
	};
	json_t *doc = report(&r, NULL), *host, *guest;

	host = json_object_get(doc, "host");
	guest = json_object_get(doc, "guest");
	cr_assert_str_eq(json_string_value(json_object_get(doc, "verdict")),
			 "runtime_error");
	cr_assert_str_eq(json_string_value(json_object_get(doc, "decided_by")),
			 "guest");
	cr_assert_eq(json_integer_value(json_object_get(doc, "exit_code")), 7);
	cr_assert_float_eq(json_real_value(json_object_get(host, "boot_ms")),
			   500.0, 0.001);
	cr_assert(json_is_null(json_object_get(host, "vcpu_ms")));
	cr_assert_float_eq(
		json_real_value(json_object_get(host, "command_cpu_ms")), 42.5,
		0.001);
	cr_assert_eq(json_integer_value(json_object_get(host, "output_bytes")),
		     99);
	cr_assert(json_is_true(json_object_get(host, "output_truncated")));
	cr_assert_eq(json_integer_value(json_object_get(guest,
							"max_rss_bytes")),
		     8192);
	cr_assert_eq(json_integer_value(json_object_get(guest, "code")), 7);
	cr_assert(json_is_null(json_object_get(guest, "memory_peak_bytes")));
	json_decref(doc);
}

Test(meta, a_run_that_did_not_start_is_told_too)
{
	struct run_result r = { .verdict = VERDICT_INTERNAL,
				.exit_code = EXIT_INTERNAL };
	struct err err = { .code = -ENOENT, .msg = "kernel: \xff is odd" };
	json_t *doc = report(&r, &err);

	cr_assert_str_eq(json_string_value(json_object_get(doc, "decided_by")),
			 "host");
	cr_assert(json_is_string(json_object_get(doc, "error")));
	json_decref(doc);
}

Test(meta, the_file_appears_whole_and_with_the_users_mode)
{
	char dir[] = "/tmp/test-meta-XXXXXX", path[64];
	struct run_result r = { .verdict = VERDICT_OK };
	struct config c;
	struct meta m = { .config = &c, .result = &r };
	struct stat st;
	json_t *doc;

	config_init(&c);
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/m.json", dir);
	umask(022);
	cr_assert_eq(meta_check(path, NULL), 0);
	cr_assert_eq(meta_write(&m, path, NULL), 0);
	doc = json_load_file(path, 0, NULL);
	cr_assert_not_null(doc);
	json_decref(doc);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0644);
	unlink(path);
	cr_assert_eq(rmdir(dir), 0, "something else is left in %s", dir);
}

/* /dev/null and /dev/stdout are to stay what they are, for root as well. */
Test(meta, what_is_no_plain_file_is_written_to_and_not_replaced)
{
	char dir[] = "/tmp/mayfly-unit-meta-XXXXXX", text[16] = "";
	struct stat st;
	int fd;

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
	cr_assert_eq(mkfifo("fifo", 0600), 0);
	cr_expect_eq(meta_write_file("meta", "fifo", "{}", NULL), -ENXIO);
	fd = open("fifo", O_RDONLY | O_NONBLOCK);
	cr_assert_eq(meta_check("fifo", NULL), 0);
	cr_assert_eq(meta_write_file("meta", "fifo", "{}", NULL), 0);
	cr_expect_eq(read(fd, text, sizeof(text)), 3);
	cr_expect_str_eq(text, "{}\n");
	cr_expect(lstat("fifo", &st) == 0 && S_ISFIFO(st.st_mode));
	close(fd);
	cr_assert_eq(symlink("file", "link"), 0);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(meta_write_file("meta", "link", "{}", NULL), 0);
	cr_expect(lstat("link", &st) == 0 && S_ISLNK(st.st_mode));
	cr_expect(lstat("file", &st) == 0 && st.st_size == 3);
	cr_assert_eq(unlink("fifo") | unlink("link") | unlink("file"), 0);
	cr_assert_eq(rmdir(dir), 0);
}

Test(meta, a_place_that_cannot_be_written_is_seen_before_the_run)
{
	struct err err = { 0 };

	cr_assert_lt(meta_check("/nowhere/m.json", &err), 0);
	cr_assert(strstr(err.msg, "/nowhere/m.json"));
	cr_assert_eq(meta_check("/tmp", &err), -EISDIR);
}
