/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly doctor: what works on this host, and what to do about the rest. */
#include "runner/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "runner/artifact.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/engine/probe.h"
#include "runner/opts.h"
#include "runner/scratch.h"

const struct opt_table cmd_doctor_table = {
	.command = "doctor",
	.usage = "",
	.about = "Look at what mayfly needs on this host and print a line for "
		 "each: ok, warn (it\nworks, with less) or fail. The exit "
		 "code is 1 where something fails.",
};

enum health { OK, WARN, FAIL };

/* One line, and what to do about it where that is known. */
static void line(enum health h, const char *what, const char *remedy,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void line(enum health h, const char *what, const char *remedy,
		 const char *fmt, ...)
{
	static const char *const names[] = { "ok", "warn", "fail" };
	va_list ap;

	printf("%-4s  %-16s ", names[h], what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (h != OK && remedy && *remedy)
		printf("      %-16s -> %s\n", "", remedy);
}

static void check_host(void)
{
	struct utsname u;

	if (uname(&u) == 0)
		line(OK, "host", NULL, "Linux %s, %ld CPUs", u.release,
		     sysconf(_SC_NPROCESSORS_ONLN));
}

static const char *kvm_remedy(int code)
{
	if (code == EACCES || code == EPERM)
		return "join the group kvm and log in again";
	if (code == ENOENT || code == ENODEV || code == ENXIO)
		return "switch virtualization on in the firmware (or nested "
		       "virtualization\n                         in the outer "
		       "host) and load kvm_intel or kvm_amd";
	return NULL;
}

/* /dev/kvm, the probe, and which engine that makes. Never a failure. */
static void check_engines(void)
{
	_cleanup_fd_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct probe_result p = { 0 };

	if (fd < 0) {
		line(WARN, "/dev/kvm", kvm_remedy(errno), "%s",
		     strerror(errno));
	} else {
		line(OK, "/dev/kvm", NULL, "opens");
		probe_kvm(fd, &p);
		if (p.ok)
			line(OK, "kvm probe", NULL,
			     "guests run right (%.1f ms)", (double)p.ns / 1e6);
		else
			line(WARN, "kvm probe",
			     "nothing to do: mayfly takes engine soft here",
			     "%s", p.why);
	}
	line(OK, "engine auto", NULL, "takes %s", p.ok ? "kvm" : "soft");
}

static int check_artifacts(void)
{
	struct artifacts a;
	struct err err = { 0 };
	int bad = 0;

	if (artifacts_find(&a, &err) < 0) {
		line(FAIL, "files", err.hint, "%s", err.msg);
		return 1;
	}
	for (int i = 0; i < ARTIFACT_COUNT; i++) {
		int fd = artifact_open(&a, (enum artifact)i, &err);

		if (fd >= 0)
			line(OK, artifact_title((enum artifact)i), NULL,
			     "%s/%s", a.dir, artifact_name((enum artifact)i));
		else
			line(FAIL, artifact_title((enum artifact)i), err.hint,
			     "%s", err.msg);
		bad |= fd < 0;
		close_fd(&fd);
	}
	return bad;
}

static void check_memory(void)
{
	struct config c;
	struct sysinfo si;
	uint64_t free_bytes;

	config_init(&c);
	if (sysinfo(&si) < 0)
		return;
	free_bytes = ((uint64_t)si.freeram + si.bufferram) * si.mem_unit;
	line(free_bytes < c.memory ? WARN : OK, "memory",
	     "a guest takes only what it touches; give it less with -m",
	     "%llu MiB, %llu MiB of it free; a guest gets %llu",
	     (unsigned long long)si.totalram * si.mem_unit / CONFIG_MIB,
	     (unsigned long long)(free_bytes / CONFIG_MIB),
	     (unsigned long long)(c.memory / CONFIG_MIB));
}

static int check_scratch(void)
{
	const char *dir = scratch_dir();
	_cleanup_fd_ int fd = -1;
	struct err err = { 0 };
	struct statvfs v;
	double gib;

	fd = scratch_file(dir, &err);
	if (fd < 0 || fstatvfs(fd, &v) < 0) {
		line(FAIL, "scratch", err.hint, "%s", err.msg);
		return 1;
	}
	gib = (double)v.f_bavail * (double)v.f_frsize / (double)(1ull << 30);
	line(gib < 1 ? WARN : OK, "scratch",
	     "set TMPDIR to a directory with more room", "%s, %.1f GiB free",
	     dir, gib);
	return 0;
}

int cmd_doctor(int argc, char **argv, struct err *err)
{
	struct opt_rest rest;
	int r = opts_parse(&cmd_doctor_table, NULL, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_doctor_table);
	if (rest.first < argc)
		return err_say(err, -EINVAL, "doctor: takes no operand");
	check_host();
	check_engines();
	r = check_artifacts();
	check_memory();
	r |= check_scratch();
	return r;
}
