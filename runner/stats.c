/* SPDX-License-Identifier: Apache-2.0 */
/* What a run cost, in a few lines for a person. */
#include "runner/stats.h"

#include <stdarg.h>
#include <stdio.h>

#include "runner/base/mem.h"
#include "runner/config_image.h"

struct text {
	char *p;
	size_t room;
};

static void line(struct text *t, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void add(struct text *t, int n)
{
	size_t used = n < 0 ? 0 : MIN((size_t)n, t->room - 1);

	t->p += used;
	t->room -= used;
}

static void line(struct text *t, const char *what, const char *fmt, ...)
{
	va_list ap;

	add(t, snprintf(t->p, t->room, "  %-14s ", what));
	va_start(ap, fmt);
	add(t, vsnprintf(t->p, t->room, fmt, ap));
	va_end(ap);
	add(t, snprintf(t->p, t->room, "\n"));
}

static void span(struct text *t, const char *what, uint64_t from, uint64_t to)
{
	if (from && to >= from)
		line(t, what, "%10.1f ms", (double)(to - from) / 1e6);
}

static void size(struct text *t, const char *what, uint64_t bytes,
		 const char *who)
{
	if (bytes && bytes != WIRE_UNKNOWN)
		line(t, what, "%10.1f MiB%s", (double)bytes / (1 << 20), who);
}

void stats_format(const struct stats *s, const struct meta *m, char *buf,
		  size_t room)
{
	const struct run_result *r = m->result;
	struct text t = { buf, room };

	*buf = '\0';
	line(&t, "verdict", "%s, exit code %d", verdict_name(r->verdict),
	     r->exit_code);
	if (m->engine)
		line(&t, "engine", "%s, %u CPU%s, %llu MiB", m->engine,
		     r->ncpus, r->ncpus == 1 ? "" : "s",
		     (unsigned long long)(m->config->memory / CONFIG_MIB));
	if (m->config->image)
		line(&t, "image", "%s, %.12s", m->config->image->name,
		     m->config->image->img.id);
	span(&t, "ready", r->begin_ns, r->ready_ns);
	span(&t, "first output", r->begin_ns, r->output_ns);
	span(&t, "command", r->ready_ns, r->exit_ns);
	span(&t, "total", r->begin_ns, r->exit_ns);
	if (r->vcpu_ns)
		line(&t, "vCPU time", "%10.1f ms", (double)r->vcpu_ns / 1e6);
	if (r->instructions)
		line(&t, "instructions", "%10.1f million",
		     (double)r->instructions / 1e6);
	if (r->instructions && r->vcpu_ns)
		line(&t, "speed", "%10.1f MIPS",
		     (double)r->instructions * 1e3 / (double)r->vcpu_ns);
	size(&t, "mayfly-vmm", s->vmm_peak, " at its peak, guest included");
	if (r->have_exit)
		size(&t, "command", r->exit.memory_peak,
		     " at its peak, says the guest");
	size(&t, "disk", m->disk_stored, " written");
}
