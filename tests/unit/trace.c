/* SPDX-License-Identifier: Apache-2.0 */
/* The trace of a run and its statistics: what they say of odd runs, too. */
#include "runner/trace.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/network.h"
#include "runner/stats.h"

#define MS 1000000ull

/* A run like any other: begun at 1 s, ready after 100 ms, over after 200. */
static struct run_result result;
static struct trace trace;
static struct config config;
static struct meta meta;

static void set_up(void)
{
	const uint64_t begin = 1000 * MS;

	config_init(&config);
	result = (struct run_result){
		.verdict = VERDICT_RUNTIME_ERROR,
		.exit_code = 3,
		.begin_ns = begin,
		.started_ns = begin + 20 * MS,
		.ready_ns = begin + 100 * MS,
		.output_ns = begin + 150 * MS,
		.exit_ns = begin + 200 * MS,
		.vcpu_ns = 100 * MS,
		.instructions = 20000000,
		.ncpus = 1,
		.have_exit = 1,
		.ready = { .boot_ns = 70 * MS, .init_ns = 60 * MS },
		.exit = { .code = 3,
			  .memory_peak = 3 << 20,
			  .ended_ns = 165 * MS },
	};
	trace = (struct trace){ .command_ns = begin + 105 * MS,
				.guest_command_ns = 74 * MS };
	for (int i = 0; i < TRACE_FORK + 1; i++)
		trace.mark[i] = begin + (uint64_t)(i + 1) * MS;
	trace.mark[TRACE_DRAIN] = begin + 201 * MS;
	trace.mark[TRACE_REAP] = begin + 203 * MS;
	for (int i = 0; i < CTL_STAGES; i++)
		trace.vmm_ns[i] = begin + (uint64_t)(i + 7) * MS;
	meta = (struct meta){ .config = &config,
			      .result = &result,
			      .engine = "soft" };
}

TestSuite(trace, .init = set_up);
TestSuite(stats, .init = set_up);

static json_t *events(void)
{
	_cleanup_free_ char *text = trace_format(&trace, &meta);
	json_t *doc, *list;

	cr_assert_not_null(text);
	doc = json_loads(text, 0, NULL);
	cr_assert_not_null(doc);
	list = json_incref(json_object_get(doc, "traceEvents"));
	cr_assert(json_is_array(list));
	json_decref(doc);
	return list;
}

static double number(const json_t *e, const char *key)
{
	json_t *v = json_object_get(e, key);

	cr_assert(json_is_number(v), "%s is missing", key);
	return json_number_value(v);
}

/* What Perfetto asks of every event, and we of every time. */
static void check_events(json_t *list)
{
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		const char *ph = json_string_value(json_object_get(e, "ph"));

		cr_assert_not_null(ph);
		cr_assert(json_is_string(json_object_get(e, "name")));
		number(e, "pid");
		number(e, "tid");
		if (!strcmp(ph, "M"))
			continue;
		cr_assert_geq(number(e, "ts"), 0);
		if (!strcmp(ph, "X"))
			cr_assert_geq(number(e, "dur"), 0);
		else
			cr_assert_str_eq(ph, "i");
	}
}

/* The span of that name on that track, or NULL. */
static json_t *find(json_t *list, int track, const char *name)
{
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		const char *ph = json_string_value(json_object_get(e, "ph"));
		const char *s = json_string_value(json_object_get(e, "name"));

		if (!strcmp(ph, "X") && !strcmp(s, name) &&
		    (int)number(e, "pid") == track)
			return e;
	}
	return NULL;
}

static void expect_span(json_t *list, int track, const char *name, double from,
			double to)
{
	json_t *e = find(list, track, name);

	cr_assert_not_null(e, "%s", name);
	cr_expect_float_eq(number(e, "ts"), from * 1e3, 0.01, "%s", name);
	cr_expect_float_eq(number(e, "ts") + number(e, "dur"), to * 1e3, 0.01,
			   "%s", name);
}

Test(trace, each_stage_begins_where_the_one_before_it_ended)
{
	json_t *list = events();

	check_events(list);
	expect_span(list, 1, "command line", 0, 1);
	expect_span(list, 1, "choose the engine", 1, 2);
	expect_span(list, 1, "wait for the VM", 7, 20);
	expect_span(list, 1, "wait for the guest", 20, 100);
	expect_span(list, 1, "run the command", 100, 200);
	expect_span(list, 1, "end the VM", 201, 203);
	expect_span(list, 2, "jail and execute", 6, 7);
	expect_span(list, 2, "start vCPUs", 12, 20);
	expect_span(list, 2, "run the guest", 20, 200);
	json_decref(list);
}

Test(trace, a_network_has_a_track_of_its_own)
{
	struct network_facts net = {
		.kind = "nat",
		.begin_ns = result.begin_ns + 2 * MS,
		.fenced_ns = result.begin_ns + 17 * MS,
		.ready_ns = result.begin_ns + 30 * MS,
	};
	json_t *list = events();

	cr_assert_null(find(list, 4, "set up"));
	json_decref(list);

	meta.network = &net;
	list = events();
	check_events(list);
	expect_span(list, 4, "set up", 2, 17);
	expect_span(list, 4, "start the DNS forwarder", 17, 30);
	json_decref(list);

	net.fenced_ns = net.ready_ns = 0;
	list = events();
	cr_assert_null(find(list, 4, "set up"));
	json_decref(list);
}

Test(trace, the_guests_clock_is_set_at_ready)
{
	json_t *list = events();

	expect_span(list, 3, "boot, before its clock runs", 20, 30);
	expect_span(list, 3, "boot the kernel", 30, 90);
	expect_span(list, 3, "mounts and devices", 90, 100);
	expect_span(list, 3, "start the command", 100, 104);
	expect_span(list, 3, "run the command", 104, 195);
	json_decref(list);
}

Test(trace, what_was_not_reached_is_not_there)
{
	json_t *list;

	result.ready_ns = result.output_ns = 0;
	result.have_exit = 0;
	trace.command_ns = 0;
	list = events();
	check_events(list);
	cr_assert_not_null(find(list, 1, "wait for the VM"));
	cr_assert_null(find(list, 1, "wait for the guest"));
	cr_assert_null(find(list, 3, "boot the kernel"));
	json_decref(list);

	result.started_ns = result.exit_ns = 0;
	trace = (struct trace){ 0 };
	list = events();
	check_events(list);
	cr_assert_null(find(list, 2, "run the guest"));
	json_decref(list);
}

Test(trace, no_word_of_the_guest_leaves_the_time_in_which_it_ran)
{
	static const uint64_t odd[] = { 0, 1, 70 * MS, 1ull << 62, UINT64_MAX };
	const size_t n = ARRAY_SIZE(odd);

	for (size_t i = 0; i < n * n * n * n; i++) {
		json_t *list, *e;
		size_t j;

		result.ready.boot_ns = odd[i % n];
		result.ready.init_ns = odd[i / n % n];
		trace.guest_command_ns = odd[i / n / n % n];
		result.exit.ended_ns = odd[i / n / n / n];
		list = events();
		check_events(list);
		json_array_foreach(list, j, e)
		{
			if (number(e, "pid") < 3 ||
			    !json_object_get(e, "dur"))
				continue;
			cr_expect_geq(number(e, "ts"), 20 * 1e3);
			cr_expect_leq(number(e, "ts") + number(e, "dur"),
				      200 * 1e3 + 0.01);
		}
		json_decref(list);
	}
}

Test(trace, the_file_appears_whole)
{
	char dir[] = "/tmp/test-trace-XXXXXX", path[64];
	struct err err = { 0 };
	json_t *doc;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/t.json", dir);
	cr_assert_eq(trace_write(&trace, &meta, path, NULL), 0);
	doc = json_load_file(path, 0, NULL);
	cr_assert_not_null(doc);
	json_decref(doc);
	unlink(path);
	cr_assert_eq(rmdir(dir), 0);
	cr_assert_lt(trace_write(&trace, &meta, path, &err), 0);
	cr_assert_eq(strncmp(err.msg, "trace: write ", 13), 0, "%s", err.msg);
}

Test(stats, say_what_is_known)
{
	const struct stats s = { .vmm_peak = 90 << 20 };
	struct meta m = meta;
	char buf[1024];

	m.disk_stored = 1 << 19;
	stats_format(&s, &m, buf, sizeof(buf));
	cr_assert_str_eq(buf,
		"  verdict        runtime_error, exit code 3\n"
		"  engine         soft, 1 CPU, 512 MiB\n"
		"  ready               100.0 ms\n"
		"  first output        150.0 ms\n"
		"  command             100.0 ms\n"
		"  total               200.0 ms\n"
		"  vCPU time           100.0 ms\n"
		"  instructions         20.0 million\n"
		"  speed               200.0 MIPS\n"
		"  mayfly-vmm           90.0 MiB at its peak, guest included\n"
		"  command               3.0 MiB at its peak, says the guest\n"
		"  disk                  0.5 MiB written\n");
}

Test(stats, leave_out_what_is_not)
{
	const struct stats none = { 0 };
	char buf[1024];

	result = (struct run_result){ .verdict = VERDICT_INTERNAL,
				      .exit_code = 125 };
	meta.engine = NULL;
	stats_format(&none, &meta, buf, sizeof(buf));
	cr_assert_str_eq(buf, "  verdict        internal, exit code 125\n");
}

Test(stats, are_cut_to_the_room)
{
	const struct stats none = { 0 };
	char buf[64], exact[64];

	for (size_t n = 1; n <= sizeof(exact); n++) {
		memset(buf, 'x', sizeof(buf));
		stats_format(&none, &meta, buf, n);
		cr_assert_lt(strnlen(buf, n), n);
	}
}
