/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of a run as the contest sandbox isolate has it: isolate(1),
 * META-FILES. Lines of key:value, which judges know how to read.
 *
 * By the host: status, killed, time, time-wall, and message where it says more
 * than the guest's code. By the guest: exitcode, exitsig, max-rss, cg-mem,
 * cg-oom-killed, unless the verdict is the host's.
 */
#include "runner/meta.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "runner/base/err.h"

/* What each verdict is there. A status of NULL: none, all went well. */
static const struct {
	const char *status;
	int killed; /* by us, or by the agent for us */
	int signal; /* 0: the command's own */
	const char *message;
} table[VERDICT_COUNT] = {
	[VERDICT_NONE] = { "XX", 0, 0, "Nothing was run" },
	[VERDICT_OK] = { NULL, 0, 0, NULL },
	[VERDICT_RUNTIME_ERROR] = { "RE", 0, 0, "Exited with code" },
	[VERDICT_SIGNAL] = { "SG", 0, 0, "Killed by signal" },
	[VERDICT_OOM] = { "SG", 0, SIGKILL, "Out of memory" },
	[VERDICT_PIDS_LIMIT] = { "SG", 1, SIGKILL, "Process limit exceeded" },
	[VERDICT_DISK_FULL] = { "RE", 0, 0, "Disk full, exited with code" },
	[VERDICT_TIMEOUT] = { "TO", 1, 0, "Wall clock limit exceeded" },
	[VERDICT_CPU_TIMEOUT] = { "TO", 1, 0, "CPU time limit exceeded" },
	[VERDICT_OUTPUT_LIMIT] = { "SG", 1, SIGXFSZ, "Output limit exceeded" },
	[VERDICT_STOPPED] = { "SG", 1, 0, "Stopped by signal" },
	[VERDICT_VM_CRASH] = { "XX", 0, 0, "The machine crashed" },
	[VERDICT_INTERNAL] = { "XX", 0, 0, "Internal error" },
};

static void seconds(FILE *f, const char *key, uint64_t ns)
{
	fprintf(f, "%s:%llu.%03llu\n", key,
		(unsigned long long)(ns / 1000000000),
		(unsigned long long)(ns / 1000000 % 1000));
}

static void kilobytes(FILE *f, const char *key, uint64_t bytes)
{
	if (bytes != WIRE_UNKNOWN)
		fprintf(f, "%s:%llu\n", key, (unsigned long long)(bytes >> 10));
}

/* One line, whatever a path has in it. */
static void line(FILE *f, const char *s)
{
	for (; *s; s++)
		fputc((unsigned char)*s < ' ' ? ' ' : *s, f);
}

/* The signal that ended the run, or 0. */
static int signal_of(const struct run_result *r)
{
	if (table[r->verdict].signal)
		return table[r->verdict].signal;
	switch (r->verdict) {
	case VERDICT_STOPPED:
		return r->signal;
	case VERDICT_SIGNAL:
	case VERDICT_DISK_FULL:
		return (int)(r->exit.signal & 0x7f);
	default:
		return 0;
	}
}

static void message(FILE *f, const struct meta *m, int signo, int code)
{
	const char *text = table[m->result->verdict].message;

	fputs("message:", f);
	if (m->error && m->error->code && *m->error->msg) {
		line(f, m->error->msg);
	} else if (m->result->verdict == VERDICT_DISK_FULL && signo) {
		fprintf(f, "Disk full, killed by signal %d", signo);
	} else {
		fputs(text, f);
		if (code >= 0)
			fprintf(f, " %d", code);
		else if (!table[m->result->verdict].signal && signo)
			fprintf(f, " %d", signo);
	}
	fputc('\n', f);
}

static void put(FILE *f, const struct meta *m)
{
	const struct run_result *r = m->result;
	const char *status = table[r->verdict].status;
	int signo = signal_of(r), code = -1;

	if (!signo && (r->verdict == VERDICT_OK ||
		       r->verdict == VERDICT_RUNTIME_ERROR ||
		       r->verdict == VERDICT_DISK_FULL))
		code = r->exit_code & 0xff;
	if (r->ready_ns && r->exit_ns >= r->ready_ns) {
		seconds(f, "time", r->cpu_ns);
		seconds(f, "time-wall", r->exit_ns - r->ready_ns);
	}
	if (r->have_exit) {
		kilobytes(f, "max-rss", r->exit.max_rss);
		kilobytes(f, "cg-mem", r->exit.memory_peak);
	}
	if (r->verdict == VERDICT_OOM)
		fputs("cg-oom-killed:1\n", f);
	if (code >= 0)
		fprintf(f, "exitcode:%d\n", code);
	if (signo)
		fprintf(f, "exitsig:%d\n", signo);
	if (!status)
		return;
	if (signo && r->verdict == VERDICT_DISK_FULL)
		status = "SG";
	fprintf(f, "status:%s\n", status);
	message(f, m, signo, code);
	if (table[r->verdict].killed)
		fputs("killed:1\n", f);
}

char *meta_format_isolate(const struct meta *m)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	int bad;

	if (!f)
		return NULL;
	put(f, m);
	bad = ferror(f);
	if (fclose(f) || bad) {
		free(text);
		return NULL;
	}
	return text;
}
