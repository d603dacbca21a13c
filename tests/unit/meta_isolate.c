/* SPDX-License-Identifier: Apache-2.0 */
/* The report as the contest sandbox isolate writes it. */
#include "runner/meta.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define MS 1000000ull

/* A command that ran for 1.2345 s and had 0.9876 s of CPU. */
static struct run_result ran(enum verdict v, int exit_code)
{
	return (struct run_result){
		.verdict = v,
		.exit_code = exit_code,
		.begin_ns = 1000 * MS,
		.ready_ns = 1200 * MS,
		.exit_ns = 2434 * MS + MS / 2,
		.cpu_ns = 987 * MS + 600000,
		.have_exit = 1,
		.exit = { .max_rss = 2048 << 10, .memory_peak = 4097 << 10 },
	};
}

static void expect(const struct run_result *r, const struct err *err,
		   const char *text)
{
	struct config c = { .meta_format = CONFIG_META_ISOLATE };
	struct meta m = { .config = &c, .result = r, .error = err };
	_cleanup_free_ char *got = meta_format_isolate(&m);

	cr_assert_not_null(got);
	cr_expect_str_eq(got, text);
}

#define COST "time:0.987\ntime-wall:1.234\nmax-rss:2048\ncg-mem:4097\n"
#define HOST "time:0.987\ntime-wall:1.234\n"

Test(isolate, ok_has_no_status)
{
	struct run_result r = ran(VERDICT_OK, 0);

	expect(&r, NULL, COST "exitcode:0\n");
	r.exit.max_rss = r.exit.memory_peak = WIRE_UNKNOWN;
	expect(&r, NULL, HOST "exitcode:0\n");
}

Test(isolate, what_the_command_did)
{
	struct run_result r = ran(VERDICT_RUNTIME_ERROR, 7);
	struct err err = { .code = -ENOENT, .msg = "pr\nog: not found" };

	expect(&r, NULL,
	       COST "exitcode:7\nstatus:RE\nmessage:Exited with code 7\n");
	r.exit_code = 127;
	expect(&r, &err,
	       COST "exitcode:127\nstatus:RE\nmessage:pr og: not found\n");
	r = ran(VERDICT_SIGNAL, 139);
	r.exit.signal = SIGSEGV;
	expect(&r, NULL,
	       COST "exitsig:11\nstatus:SG\nmessage:Killed by signal 11\n");
	r.exit.signal = UINT32_MAX;
	expect(&r, NULL,
	       COST "exitsig:127\nstatus:SG\nmessage:Killed by signal 127\n");
}

Test(isolate, limits_of_the_guest)
{
	struct run_result r = ran(VERDICT_OOM, 137);

	r.exit.signal = SIGKILL;
	expect(&r, NULL,
	       COST "cg-oom-killed:1\nexitsig:9\nstatus:SG\n"
		    "message:Out of memory\n");
	r.verdict = VERDICT_PIDS_LIMIT;
	expect(&r, NULL,
	       COST "exitsig:9\nstatus:SG\nmessage:Process limit exceeded\n"
		    "killed:1\n");
	r = ran(VERDICT_DISK_FULL, 5);
	expect(&r, NULL,
	       COST "exitcode:5\nstatus:RE\n"
		    "message:Disk full, exited with code 5\n");
	r.exit.signal = SIGBUS;
	expect(&r, NULL,
	       COST "exitsig:7\nstatus:SG\n"
		    "message:Disk full, killed by signal 7\n");
}

Test(isolate, limits_of_the_host)
{
	struct run_result r = ran(VERDICT_TIMEOUT, 124);

	expect(&r, NULL,
	       COST "status:TO\nmessage:Wall clock limit exceeded\nkilled:1\n");
	r.verdict = VERDICT_CPU_TIMEOUT;
	r.have_exit = 0;
	expect(&r, NULL,
	       HOST "status:TO\nmessage:CPU time limit exceeded\nkilled:1\n");
	r.verdict = VERDICT_OUTPUT_LIMIT;
	expect(&r, NULL,
	       HOST "exitsig:25\nstatus:SG\nmessage:Output limit exceeded\n"
		    "killed:1\n");
	r.verdict = VERDICT_STOPPED;
	r.signal = SIGTERM;
	expect(&r, NULL,
	       HOST "exitsig:15\nstatus:SG\nmessage:Stopped by signal 15\n"
		    "killed:1\n");
}

Test(isolate, failures_are_the_sandboxs)
{
	struct run_result r = ran(VERDICT_VM_CRASH, 125);
	struct err err = { .code = -EIO, .msg = "the guest crashed" };

	r.have_exit = 0;
	expect(&r, &err, HOST "status:XX\nmessage:the guest crashed\n");
	r = (struct run_result){ .verdict = VERDICT_INTERNAL };
	expect(&r, NULL, "status:XX\nmessage:Internal error\n");
}

Test(isolate, every_verdict_ends_in_whole_lines)
{
	for (int v = 0; v < VERDICT_COUNT; v++) {
		struct run_result r = ran((enum verdict)v, 1);
		struct config c = { .meta = NULL };
		struct meta m = { .config = &c, .result = &r };
		_cleanup_free_ char *text = meta_format_isolate(&m);

		cr_assert_not_null(text);
		cr_expect_not_null(strchr(text, '\n'));
		cr_expect_null(strstr(text, "null"), "%s", text);
		cr_expect_eq(text[strlen(text) - 1], '\n');
		cr_expect_eq(!strstr(text, "status:"), v == VERDICT_OK);
	}
}

Test(isolate, the_file_has_these_lines_and_no_empty_one)
{
	char path[] = "/tmp/mayfly-unit-XXXXXX", text[512] = "";
	struct run_result r = ran(VERDICT_OK, 0);
	struct config c = { .meta_format = CONFIG_META_ISOLATE };
	struct meta m = { .config = &c, .result = &r };
	int fd = mkstemp(path);

	cr_assert_eq(meta_write(&m, path, NULL), 0);
	close(fd);
	fd = open(path, O_RDONLY);
	cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
	cr_expect_str_eq(text, COST "exitcode:0\n");
	close(fd);
	unlink(path);
}
