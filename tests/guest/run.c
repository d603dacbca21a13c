/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest-run: payloads on one CPU: an engine of ours, or QEMU's.
 *
 *	guest-run [-pv] [-t SECONDS] ENGINE PAYLOAD...
 *
 * ENGINE is kvm, soft or qemu. Each payload runs in a process of its own with
 * a deadline. Prints a line per payload, its FAIL and SKIP lines (with -v
 * every line), and ends with 1 when something failed. With -p the probe must
 * accept the host's KVM; without, payloads skip what a limited one cannot do,
 * and a host that has none skips them all.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"
#include "runner/engine/probe.h"
#include "tests/guest/testdev.h"
#include "tests/guest/vm.h"

#define GUEST_RAM   (64ull << 20)
#define OUTPUT_MAX  (1u << 20)
#define EXIT_BROKEN 254 /* of the child: the VM could not go on */

struct options {
	const char *engine;
	int verbose, seconds;
	int must_accept; /* the probe must */
	struct vm_options vm;
};

/* What a payload said. */
struct result {
	unsigned pass, fail, skip;
	size_t len;
	char text[OUTPUT_MAX];
};

static void run_qemu(const char *payload)
{
	execlp("qemu-system-x86_64", "qemu-system-x86_64",
	       "-M", "microvm,pit=off,pic=off,rtc=off,isa-serial=off",
	       "-accel", "tcg", "-cpu", "max", "-m", "64", "-nodefaults",
	       "-no-user-config", "-display", "none", "-no-reboot",
	       "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
	       "-chardev", "stdio,id=text,signal=off",
	       "-device", "isa-debugcon,iobase=0xe9,chardev=text",
	       "-kernel", payload, (char *)NULL);
	fprintf(stderr, "qemu-system-x86_64: %s\n", strerror(errno));
	_exit(EXIT_BROKEN);
}

static void child(const struct options *o, const char *payload, int out)
{
	struct err err = { 0 };
	int code;

	dup2(out, 1);
	if (!o->vm.ops)
		run_qemu(payload);
	code = vm_run(&o->vm, payload, &err);
	if (code < 0) {
		dprintf(1, "FAIL 0 %s\n", err.msg);
		_exit(EXIT_BROKEN);
	}
	_exit(code);
}

/* Read until the end of file or the deadline; 0 at the end of file. */
static int collect(int fd, struct result *r, uint64_t deadline)
{
	while (r->len < sizeof(r->text) - 1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = io_now_ns();
		ssize_t n;

		if (now >= deadline ||
		    poll(&p, 1, (int)((deadline - now) / 1000000) + 1) == 0)
			return -ETIMEDOUT;
		n = read(fd, r->text + r->len, sizeof(r->text) - 1 - r->len);
		if (n <= 0)
			return 0;
		r->len += (size_t)n;
	}
	return -EFBIG;
}

static void print_lines(struct result *r, int verbose)
{
	char *save = NULL;

	r->text[r->len] = '\0';
	for (char *l = strtok_r(r->text, "\r\n", &save); l;
	     l = strtok_r(NULL, "\r\n", &save)) {
		int pass = strncmp(l, "PASS ", 5) == 0;

		r->pass += pass;
		r->fail += strncmp(l, "FAIL ", 5) == 0;
		r->skip += strncmp(l, "SKIP ", 5) == 0;
		if (verbose || !pass)
			printf("    %s\n", l);
	}
}

/* QEMU's debug exit device ends it with code * 2 + 1. */
static int exit_code(const struct options *o, int status)
{
	int code;

	if (!WIFEXITED(status))
		return -1;
	code = WEXITSTATUS(status);
	if (o->vm.ops)
		return code;
	return code & 1 ? code >> 1 : -1;
}

static int run_payload(const struct options *o, const char *payload)
{
	static struct result r;
	const char *name = strrchr(payload, '/');
	uint64_t start = io_now_ns();
	int fds[2], status, late, code;
	pid_t pid;

	memset(&r, 0, sizeof(r));
	fflush(stdout);
	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "guest-run: %s\n", strerror(errno));
		return 1;
	}
	if (pid == 0)
		child(o, payload, fds[1]);
	close(fds[1]);
	late = collect(fds[0], &r,
		       start + (uint64_t)o->seconds * 1000000000u);
	close(fds[0]);
	if (late)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	print_lines(&r, o->verbose);
	code = exit_code(o, status);
	/* A payload that printed nothing has not passed. */
	if (late || code != 0 || r.fail || !r.pass) {
		printf("FAIL %s on %s: %u failed, %u passed, exit %d%s\n",
		       name ? name + 1 : payload, o->engine, r.fail, r.pass,
		       code, late ? ", no end" : "");
		return 1;
	}
	printf("ok   %s on %s: %u passed, %u skipped, %.0f ms\n",
	       name ? name + 1 : payload, o->engine, r.pass, r.skip,
	       (double)(io_now_ns() - start) / 1e6);
	return 0;
}

/* CPUID leaf 0x40000000 names the hypervisor that this host runs on. */
static int host_is_tcg(void)
{
	uint32_t a, b, c, d;

	__cpuid(0x40000000, a, b, c, d);
	return b == 0x54474354; /* "TCGT" of "TCGTCGTCGTCG" */
}

/* 0, or -1 with words said, or 1: skip. */
static int pick_engine(struct options *o)
{
	struct probe_result probe;

	o->vm.kvm_fd = -1;
	o->vm.ram = GUEST_RAM;
	if (strcmp(o->engine, "qemu") == 0)
		return 0;
	o->vm.ops = engine_by_name(o->engine);
	if (!o->vm.ops) {
		fprintf(stderr, "guest-run: no engine '%s'\n", o->engine);
		return -1;
	}
	if (o->vm.ops != &engine_kvm)
		return 0;
	o->vm.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (o->vm.kvm_fd < 0) {
		printf("skip kvm: open /dev/kvm: %s\n", strerror(errno));
		return o->must_accept ? -1 : 1;
	}
	probe_kvm(o->vm.kvm_fd, &probe);
	if (host_is_tcg())
		o->vm.flags |= TD_FLAG_TCG;
	if (o->must_accept)
		printf("%s probe: %.1f ms%s%s\n", probe.ok ? "ok  " : "FAIL",
		       (double)probe.ns / 1e6, probe.ok ? "" : ", ", probe.why);
	if (!probe.ok && o->must_accept)
		return -1;
	if (!probe.ok) {
		o->vm.flags |= TD_FLAG_LIMITED;
		printf("note: this KVM is limited: %s\n", probe.why);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .seconds = 120 };
	int failed = 0, c, rc;

	while ((c = getopt(argc, argv, "pvt:")) != -1) {
		if (c == 'v')
			o.verbose = 1;
		else if (c == 'p')
			o.must_accept = 1;
		else if (c == 't')
			o.seconds = (int)strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (argc - optind < 2) {
		fprintf(stderr, "usage: guest-run [-pv] [-t SECONDS] "
			"kvm|soft|qemu PAYLOAD...\n");
		return 2;
	}
	o.engine = argv[optind];
	rc = pick_engine(&o);
	if (rc != 0)
		return rc < 0 ? 2 : 0;
	for (int i = optind + 1; i < argc; i++)
		failed |= run_payload(&o, argv[i]);
	return failed;
}
