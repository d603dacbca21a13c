/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a run went, as Chrome's trace events. */
#include "runner/trace.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/network.h"

/* Perfetto calls these processes; each has one thread of the same number. */
enum track { LAUNCHER = 1, VMM, GUEST, NETWORK, TRACKS };

static const char *const track_name[TRACKS] = {
	[LAUNCHER] = "mayfly",
	[VMM] = "mayfly-vmm",
	[GUEST] = "guest (by its own word)",
	[NETWORK] = "network",
};

struct writer {
	json_t *events;
	uint64_t origin; /* what is 0 in the document */
	int bad;
};

void trace_mark(struct trace *t, enum trace_mark which)
{
	if (t)
		t->mark[which] = io_now_ns();
}

/* --- events ----------------------------------------------------------- */

static json_t *micros(uint64_t ns)
{
	return json_real((double)(ns / 1000) + (double)(ns % 1000) / 1e3);
}

static void put(struct writer *w, json_t *event)
{
	w->bad |= json_array_append_new(w->events, event) < 0;
}

/* One that came to an end, and not before it began. */
static void span(struct writer *w, enum track track, const char *name,
		 uint64_t from, uint64_t to)
{
	if (!from || from < w->origin || to < from)
		return;
	put(w, json_pack("{ss ss ss si si so so}", "ph", "X", "name", name,
			 "cat", track == GUEST ? "guest" : "host", "pid",
			 (int)track, "tid", (int)track, "ts",
			 micros(from - w->origin), "dur", micros(to - from)));
}

static void instant(struct writer *w, enum track track, const char *name,
		    uint64_t at)
{
	if (!at || at < w->origin)
		return;
	put(w, json_pack("{ss ss ss ss si si so}", "ph", "i", "s", "p", "name",
			 name, "cat", track == GUEST ? "guest" : "host", "pid",
			 (int)track, "tid", (int)track, "ts",
			 micros(at - w->origin)));
}

static void label(struct writer *w, enum track track)
{
	put(w, json_pack("{ss ss si si s{ss}}", "ph", "M", "name",
			 "process_name", "pid", (int)track, "tid", (int)track,
			 "args", "name", track_name[track]));
	put(w, json_pack("{ss ss si si s{ss}}", "ph", "M", "name",
			 "thread_name", "pid", (int)track, "tid", (int)track,
			 "args", "name", "stages"));
	put(w, json_pack("{ss ss si si s{si}}", "ph", "M", "name",
			 "process_sort_index", "pid", (int)track, "tid",
			 (int)track, "args", "sort_index", (int)track));
}

/* --- tracks ----------------------------------------------------------- */

/* One after the other: what was not reached is skipped. */
struct stage {
	const char *name;
	uint64_t end;
};

static void stages(struct writer *w, enum track track, uint64_t begin,
		   const struct stage *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		span(w, track, s[i].name, begin, s[i].end);
		if (s[i].end)
			begin = s[i].end;
	}
}

static void launcher_track(struct writer *w, const struct trace *t,
			   const struct run_result *r)
{
	const uint64_t *mark = t->mark;
	const struct stage s[] = {
		{ "command line", mark[TRACE_OPTIONS] },
		{ "choose the engine", mark[TRACE_ENGINE] },
		{ "register the run", mark[TRACE_RECORD] },
		{ "lead out of the network", mark[TRACE_NETWORK] },
		{ "open files", mark[TRACE_FILES] },
		{ "make the scratch disk", mark[TRACE_SCRATCH] },
		{ "fork", mark[TRACE_FORK] },
		{ "wait for the VM", r->started_ns },
		{ "wait for the guest", r->ready_ns },
		{ "run the command", r->exit_ns },
		{ "drain output", mark[TRACE_DRAIN] },
		{ "end the VM", mark[TRACE_REAP] },
	};

	stages(w, LAUNCHER, r->begin_ns, s, ARRAY_SIZE(s));
	instant(w, LAUNCHER, "vCPUs started", r->started_ns);
	instant(w, LAUNCHER, "READY", r->ready_ns);
	instant(w, LAUNCHER, "STARTED", t->command_ns);
	instant(w, LAUNCHER, "first output", r->output_ns);
	instant(w, LAUNCHER, "end", r->exit_ns);
}

static void vmm_track(struct writer *w, const struct trace *t,
		      const struct run_result *r)
{
	const uint64_t *v = t->vmm_ns;
	const struct stage s[] = {
		{ "jail and execute", v[CTL_STAGE_EXEC] },
		{ "receive the boot message", v[CTL_STAGE_BOOT] },
		{ "map guest memory", v[CTL_STAGE_MEMORY] },
		{ "make the VM", v[CTL_STAGE_ENGINE] },
		{ "make devices", v[CTL_STAGE_DEVICES] },
		{ "load the kernel", v[CTL_STAGE_KERNEL] },
		{ "start vCPUs", r->started_ns },
		{ "run the guest", r->exit_ns },
	};

	if (r->started_ns)
		stages(w, VMM, t->mark[TRACE_SCRATCH], s, ARRAY_SIZE(s));
}

/* A time of the guest's, or NULL: by our clock, cut to when it ran. */
static uint64_t ours(const struct run_result *r, uint64_t guest_ns)
{
	uint64_t before = r->ready.boot_ns, t;

	if (guest_ns <= before)
		t = r->ready_ns - MIN(before - guest_ns, r->ready_ns);
	else if (__builtin_add_overflow(r->ready_ns, guest_ns - before, &t))
		t = UINT64_MAX;
	return MIN(MAX(t, r->started_ns), r->exit_ns);
}

static void guest_track(struct writer *w, const struct trace *t,
			const struct run_result *r)
{
	uint64_t end = r->have_exit && r->exit.ended_ns
			       ? ours(r, r->exit.ended_ns)
			       : r->exit_ns;

	if (!r->ready_ns || !r->exit_ns)
		return;
	/* Linux reads no clock before it has set up its memory. */
	span(w, GUEST, "boot, before its clock runs", r->started_ns,
	     ours(r, 0));
	span(w, GUEST, "boot the kernel", ours(r, 0),
	     ours(r, r->ready.init_ns));
	span(w, GUEST, "mounts and devices", ours(r, r->ready.init_ns),
	     ours(r, r->ready.boot_ns));
	if (!t->command_ns)
		return;
	span(w, GUEST, "start the command", ours(r, r->ready.boot_ns),
	     ours(r, t->guest_command_ns));
	span(w, GUEST, "run the command", ours(r, t->guest_command_ns), end);
	span(w, GUEST, "last words", end, r->exit_ns);
}

/* Of all its parts, beside what else is done. */
static void network_track(struct writer *w, const struct network_facts *f)
{
	if (!f || !f->kind)
		return;
	span(w, NETWORK, "set up", f->begin_ns, f->fenced_ns);
	span(w, NETWORK, "start the DNS forwarder", f->fenced_ns, f->ready_ns);
}

/* --- the document ----------------------------------------------------- */

static json_t *facts(const struct meta *m)
{
	const struct run_result *r = m->result;

	return json_pack("{ss ss si ss*}", "mayfly", MAYFLY_VERSION, "verdict",
			 verdict_name(r->verdict), "exit_code", r->exit_code,
			 "engine", m->engine);
}

char *trace_format(const struct trace *t, const struct meta *m)
{
	struct writer w = {
		.events = json_array(),
		.origin = m->result->begin_ns,
	};
	char *text = NULL;
	json_t *doc;

	for (enum track k = LAUNCHER; k < TRACKS; k++)
		label(&w, k);
	launcher_track(&w, t, m->result);
	vmm_track(&w, t, m->result);
	guest_track(&w, t, m->result);
	network_track(&w, m->network);
	doc = json_pack("{so ss so}", "traceEvents", w.events,
			"displayTimeUnit", "ms", "otherData", facts(m));
	if (doc && !w.bad)
		text = json_dumps(doc,
				  JSON_INDENT(1) | JSON_REAL_PRECISION(15));
	json_decref(doc);
	return text;
}

int trace_write(const struct trace *t, const struct meta *m, const char *path,
		struct err *err)
{
	_cleanup_free_ char *text = trace_format(t, m);

	if (!text)
		return err_set(err, -ENOMEM, "trace: %s", path);
	return meta_write_file("trace", path, text, err);
}
