/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel, its limits and our files: what every run needs of the host. */
#include "runner/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "rootfs/store.h"
#include "runner/artifact.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/base/sysctl.h"
#include "runner/config.h"
#include "runner/scratch.h"
#include "runner/state.h"

#define KERNEL_MAJOR 5 /* close_range() came with 5.9 */
#define KERNEL_MINOR 9
#define FDS_NEEDED   64
#define BEYOND_RAM   (512 * CONFIG_MIB) /* addresses of a VMM besides that */

/* --- kernel, memory, limits ------------------------------------------- */

static void kernel(struct doctor *d)
{
	unsigned long major, minor = 0;
	struct utsname u;
	char *end;

	if (uname(&u) < 0)
		return;
	major = strtoul(u.release, &end, 10);
	if (*end == '.')
		minor = strtoul(end + 1, NULL, 10);
	if (major > KERNEL_MAJOR ||
	    (major == KERNEL_MAJOR && minor >= KERNEL_MINOR)) {
		doctor_say(d, DOCTOR_OK, "kernel", "Linux %s, %ld CPUs",
			   u.release, sysconf(_SC_NPROCESSORS_ONLN));
		return;
	}
	doctor_say(d, DOCTOR_FAIL, "kernel", "Linux %s, older than %d.%d",
		   u.release, KERNEL_MAJOR, KERNEL_MINOR);
	doctor_remedy(d, "sudo apt-get install linux-image-amd64, and start "
			 "that one");
}

/* "MemAvailable:  123 kB" of /proc/meminfo, in bytes; 0 if it is not there. */
static uint64_t meminfo(const char *text, const char *name)
{
	const char *p = strstr(text, name);

	return p ? strtoull(p + strlen(name) + 1, NULL, 10) << 10 : 0;
}

static void memory(struct doctor *d, const struct config *c)
{
	_cleanup_free_ char *text = NULL;
	uint64_t total, avail, limit, used;
	size_t n;

	if (io_read_file("/proc/meminfo", 1 << 16, &text, &n) < 0)
		return;
	total = meminfo(text, "MemTotal");
	avail = meminfo(text, "MemAvailable");
	doctor_say(d, avail < c->memory ? DOCTOR_WARN : DOCTOR_OK, "memory",
		   "%llu MiB, %llu of it available; a guest may take %llu",
		   (unsigned long long)(total / CONFIG_MIB),
		   (unsigned long long)(avail / CONFIG_MIB),
		   (unsigned long long)(c->memory / CONFIG_MIB));
	if (avail < c->memory)
		doctor_remedy(d, "a guest takes what it touches; give it less: "
				 "mayfly run -m %llum",
			      (unsigned long long)MAX(avail / 2 / CONFIG_MIB,
						      64ull));
	/* Mode 2 counts guest memory in full, MAP_NORESERVE or not. */
	if (sysctl_number("vm/overcommit_memory") != 2)
		return;
	limit = meminfo(text, "CommitLimit");
	used = meminfo(text, "Committed_AS");
	if (limit >= used && limit - used >= c->memory + BEYOND_RAM) {
		doctor_say(d, DOCTOR_OK, "overcommit",
			   "is off, and there is room for a guest");
		return;
	}
	doctor_say(d, DOCTOR_FAIL, "overcommit",
		   "is off, and a guest does not fit into what is left");
	doctor_remedy(d, "sudo sysctl vm.overcommit_memory=0");
}

static void limits(struct doctor *d, const struct config *c)
{
	const struct {
		int which;
		const char *what, *remedy;
		uint64_t least;
	} t[] = {
		{ RLIMIT_NOFILE, "open files", "ulimit -n 1024", FDS_NEEDED },
		{ RLIMIT_FSIZE, "file size", "ulimit -f unlimited",
		  SCRATCH_SIZE },
		{ RLIMIT_AS, "address space", "ulimit -v unlimited",
		  c->memory + BEYOND_RAM },
		{ RLIMIT_NPROC, "processes", "ulimit -u 1024", 16 },
	};
	struct rlimit l;
	int low = 0;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		if (getrlimit(t[i].which, &l) < 0 || l.rlim_cur >= t[i].least)
			continue;
		/* It binds no superuser: setrlimit(2). */
		if (t[i].which == RLIMIT_NPROC && geteuid() == 0)
			continue;
		low = 1;
		doctor_say(d, DOCTOR_FAIL, "limits",
			   "%s: %llu, and a run takes up to %llu", t[i].what,
			   (unsigned long long)l.rlim_cur,
			   (unsigned long long)t[i].least);
		doctor_remedy(d, "%s", t[i].remedy);
	}
	if (!low)
		doctor_say(d, DOCTOR_OK, "limits",
			   "files, sizes, addresses, processes: wide enough");
}

void doctor_host(struct doctor *d)
{
	struct config c;

	config_init(&c);
	kernel(d);
	memory(d, &c);
	limits(d, &c);
}

/* --- files ------------------------------------------------------------ */

static void artifacts(struct doctor *d)
{
	struct artifacts a;
	struct err err = { 0 };

	if (artifacts_find(&a, &err) < 0) {
		doctor_say(d, DOCTOR_FAIL, "files", "%s", err.msg);
		doctor_remedy(d, "sudo mount -t proc proc /proc");
		return;
	}
	for (int i = 0; i < ARTIFACT_COUNT; i++) {
		int fd = artifact_open(&a, (enum artifact)i, &err);

		if (fd >= 0)
			doctor_say(d, DOCTOR_OK, artifact_title(i), "%s/%s",
				   a.dir, artifact_name(i));
		else /* no new images without the unpacker, no --net */
			doctor_say(d, i == ARTIFACT_UNPACK || i == ARTIFACT_NET ?
					      DOCTOR_WARN : DOCTOR_FAIL,
				   artifact_title(i), "%s", err.msg);
		if (fd < 0)
			doctor_remedy(d, "%s", err.hint);
		close_fd(&fd);
	}
}

/* Of skopeo: where it is, or how to get it. */
static void registries(struct doctor *d)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *dirs = strdup(path ? path : "/usr/bin:/bin");
	char file[PATH_MAX];

	for (char *rest = dirs, *dir; rest && (dir = strsep(&rest, ":"));) {
		if (snprintf(file, sizeof(file), "%s/skopeo", dir) >=
			    (int)sizeof(file) ||
		    access(file, X_OK) < 0)
			continue;
		doctor_say(d, DOCTOR_OK, "skopeo", "%s", file);
		return;
	}
	doctor_say(d, DOCTOR_WARN, "skopeo",
		   "not here; `mayfly pull` takes it to speak to registries");
	doctor_remedy(d, "sudo apt-get install skopeo");
}

static void scratch(struct doctor *d)
{
	const char *dir = scratch_dir();
	_cleanup_fd_ int fd = -1, direct = -1;
	struct err err = { 0 };
	struct statvfs v;
	double gib;

	fd = scratch_file(dir, &err);
	if (fd < 0) {
		doctor_say(d, DOCTOR_FAIL, "scratch", "%s", err.msg);
		doctor_remedy(d, "export TMPDIR=/var/tmp, or another directory "
				 "that you can write to");
		return;
	}
	if (fstatvfs(fd, &v) < 0)
		return;
	gib = (double)v.f_bavail * (double)v.f_frsize / (double)(1ull << 30);
	direct = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	doctor_say(d, gib < 1 ? DOCTOR_WARN : DOCTOR_OK, "scratch",
		   "%s, %.1f GiB free%s", dir, gib,
		   direct < 0 ? "; no O_TMPFILE there, so files have a name "
				"for a moment" : "");
	if (gib < 1)
		doctor_remedy(d, "export TMPDIR=DIR, with more room in DIR: df "
				 "-h shows where");
}

/* Of other sizes than the one that is built in. */
static void disk_sizes(struct doctor *d)
{
	char path[PATH_MAX];
	struct err err = { 0 };

	if (scratch_find_tool("mke2fs", path, &err) == 0 &&
	    scratch_find_tool("debugfs", path, &err) == 0) {
		doctor_say(d, DOCTOR_OK, "disk sizes", "any: e2fsprogs is here");
		return;
	}
	doctor_say(d, DOCTOR_WARN, "disk sizes",
		   "%s: --disk has sizes that were there before", err.msg);
	doctor_remedy(d, "sudo apt-get install e2fsprogs");
}

static void say_images(struct doctor *d, const struct store *s,
		       const struct store_list *list)
{
	double mib = (double)list->total / (double)CONFIG_MIB;
	size_t damaged = 0;

	for (size_t i = 0; i < list->n; i++)
		damaged += list->items[i].damage != NULL;
	if (!damaged) {
		doctor_say(d, DOCTOR_OK, "images", "%zu, %.1f MiB in %s",
			   list->n, mib, store_path(s));
		return;
	}
	doctor_say(d, DOCTOR_WARN, "images", "%zu in %s, %zu of them damaged",
		   list->n, store_path(s), damaged);
	doctor_remedy(d, "mayfly image ls, and rm those");
}

static void images(struct doctor *d)
{
	struct store_list list = { 0 };
	struct store *s = NULL;
	struct err err = { 0 };
	int r = store_open(&s, 0, &err);

	if (r == -ENOENT) {
		doctor_say(d, DOCTOR_OK, "images", "none yet");
		return;
	}
	if (r == 0)
		r = store_lock(s, STORE_SHARED, &err);
	if (r == 0)
		r = store_list(s, &list, &err);
	if (r == 0) {
		say_images(d, s, &list);
	} else {
		doctor_say(d, DOCTOR_WARN, "images", "%s", err.msg);
		doctor_remedy(d, "%s", err.hint);
	}
	store_free_list(&list);
	store_free(s);
}

static void runs(struct doctor *d)
{
	struct state_list l = { 0 };
	struct err err = { 0 };
	size_t lost = 0;

	if (state_list(&l, &err) < 0) {
		doctor_say(d, DOCTOR_FAIL, "runs", "%s", err.msg);
		doctor_remedy(d, "export MAYFLY_STATE_DIR=$HOME/.mayfly");
		return;
	}
	for (size_t i = 0; i < l.n; i++)
		lost += l.v[i].phase == PHASE_LOST;
	doctor_say(d, lost ? DOCTOR_WARN : DOCTOR_OK, "runs",
		   "%zu known, %zu of them lost", l.n, lost);
	if (lost)
		doctor_remedy(d, "mayfly prune");
	state_list_free(&l);
}

void doctor_files(struct doctor *d)
{
	artifacts(d);
	registries(d);
	images(d);
	scratch(d);
	disk_sizes(d);
	runs(d);
}
