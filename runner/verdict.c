/* SPDX-License-Identifier: Apache-2.0 */
/* How a run ended, who says so, and the exit code that follows. */
#include "runner/verdict.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"

/* Bytes. After a write that found no space ext4 gives back what it had set
 * aside for metadata, so that a full disk has a block or two again. */
#define DISK_FULL_BELOW (64u << 10)

static const struct {
	const char *name;
	int by_guest;
} table[VERDICT_COUNT] = {
	[VERDICT_NONE] = { "none", 0 },
	[VERDICT_OK] = { "ok", 1 },
	[VERDICT_RUNTIME_ERROR] = { "runtime_error", 1 },
	[VERDICT_SIGNAL] = { "signal", 1 },
	[VERDICT_OOM] = { "oom", 1 },
	[VERDICT_PIDS_LIMIT] = { "pids_limit", 1 },
	[VERDICT_DISK_FULL] = { "disk_full", 1 },
	[VERDICT_TIMEOUT] = { "timeout", 0 },
	[VERDICT_CPU_TIMEOUT] = { "cpu_timeout", 0 },
	[VERDICT_OUTPUT_LIMIT] = { "output_limit", 0 },
	[VERDICT_STOPPED] = { "stopped", 0 },
	[VERDICT_VM_CRASH] = { "vm_crash", 0 },
	[VERDICT_INTERNAL] = { "internal", 0 },
};

const char *verdict_name(enum verdict v)
{
	return table[v].name;
}

int verdict_by_guest(enum verdict v)
{
	return table[v].by_guest;
}

void verdict_set(struct run_result *r, enum verdict v, int exit_code)
{
	if (r->verdict != VERDICT_NONE)
		return;
	r->verdict = v;
	r->exit_code = exit_code;
}

void verdict_stopped(struct run_result *r, int signo)
{
	if (r->verdict == VERDICT_NONE)
		r->signal = signo;
	verdict_set(r, VERDICT_STOPPED, 128 + signo);
}

static void no_user(struct err *err, int code, const char *name,
		    const char *user)
{
	if (code != -ENOENT || !user) {
		err_set(err, code, "%s: switch user in the guest", name);
		return;
	}
	err_say(err, code, "user %s: not known in the guest", user);
	err_hint(err, "name one of the image's /etc/passwd and /etc/group, "
		      "or give numbers");
}

static void no_network(struct err *err, int code, const char *name)
{
	if (code != -ENODEV) {
		err_set(err, code, "%s: set up the guest's network", name);
		return;
	}
	err_say(err, code, "%s: the guest has no network device", name);
	err_hint(err, "its kernel needs virtio_net built in");
}

static int is_some(uint64_t n)
{
	return n && n != WIRE_UNKNOWN;
}

/* Each field is the guest's word: brought into range before it is used. */
void verdict_from_exit(struct run_result *r, const char *name,
		       const char *user, struct err *err)
{
	const struct wire_exit *x = &r->exit;
	int code = (int)(x->code & 0xff), signo = (int)(x->signal & 0x7f);
	int error = (int)(x->error & 0xfff);

	switch (x->stage) {
	case WIRE_STAGE_RUN:
		break;
	case WIRE_STAGE_FORK:
		err_set(err, -error, "%s: start a process in the guest", name);
		break;
	case WIRE_STAGE_USER:
		no_user(err, -error, name, user);
		code = EXIT_INTERNAL;
		break;
	case WIRE_STAGE_MOUNT:
		err_set(err, -error, "%s: mount in the guest", name);
		code = EXIT_INTERNAL;
		break;
	case WIRE_STAGE_NET:
		no_network(err, -error, name);
		code = EXIT_INTERNAL;
		break;
	case WIRE_STAGE_CWD:
		err_set(err, -error, "%s: enter the working directory",
			name);
		break;
	default:
		if (error == ENOENT)
			err_say(err, -error, "%s: not found in the guest",
				name);
		else
			err_set(err, -error, "%s: execute in the guest", name);
		break;
	}
	/* The kernel refused a process: whatever the command made of it, and
	 * the agent's kill, is what the limit makes of the run. */
	if (r->pids_limited && is_some(x->pids_refused))
		verdict_set(r, VERDICT_PIDS_LIMIT, 128 + SIGKILL);
	else if (signo == SIGKILL && is_some(x->oom_kills))
		verdict_set(r, VERDICT_OOM, 128 + signo);
	else if (x->stage == WIRE_STAGE_RUN && (signo || code) &&
		 x->disk_avail < DISK_FULL_BELOW)
		verdict_set(r, VERDICT_DISK_FULL, signo ? 128 + signo : code);
	else if (signo)
		verdict_set(r, VERDICT_SIGNAL, 128 + signo);
	else if (code)
		verdict_set(r, VERDICT_RUNTIME_ERROR, code);
	else if (x->stage != WIRE_STAGE_RUN)
		verdict_set(r, VERDICT_RUNTIME_ERROR, 126);
	else
		verdict_set(r, VERDICT_OK, 0);
}

/* glibc's ld.so for a program or library marked with a level, and its
 * libc.so where that was built for one. */
static int loader_refused(const char *said, size_t len)
{
	static const char *const words[] = {
		"CPU ISA level is lower than required",
		"CPU does not support x86-64-v",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (memmem(said, len, words[i], strlen(words[i])))
			return 1;
	return 0;
}

void verdict_explain(const struct run_result *r, const char *said, size_t len,
		     struct err *err)
{
	int failed = r->verdict == VERDICT_RUNTIME_ERROR ||
		     r->verdict == VERDICT_SIGNAL;
	int refused = r->exit_code == 127 && loader_refused(said, len);

	if (!failed || err->code)
		return;
	if (r->isa_missing & ENGINE_ISA_V3 || refused)
		err_say(err, -EOPNOTSUPP,
			"the program %s instructions of x86-64-v3 (AVX, AVX2, "
			"BMI, FMA...); engine soft has x86-64-v2",
			refused ? "needs" : "uses");
	else if (r->isa_missing & ENGINE_ISA_OTHER)
		err_say(err, -EOPNOTSUPP,
			"the program uses instructions of no x86-64 level "
			"(AES, SHA, RDRAND...), which engine soft lacks");
	else
		return;
	err_hint(err, "build it with -march=x86-64-v2, or use a host with KVM");
}
