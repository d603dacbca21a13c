/* SPDX-License-Identifier: Apache-2.0 */
/* Which engines this host has, which one `auto` takes, and why. */
#include "runner/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/engine/probe.h"

#ifndef MFD_EXEC /* Linux 6.3 */
#define MFD_EXEC 0x0010U
#endif

#define PROC_MAX (1 << 20)

/* Does /proc/cpuinfo's first CPU have the flag? */
static int cpu_flag(const char *cpuinfo, const char *flag)
{
	const char *line = strstr(cpuinfo, "\nflags"), *p, *end;
	size_t n = strlen(flag);

	if (!line)
		return 0;
	end = strchrnul(line + 1, '\n');
	for (p = line; (p = strstr(p, flag)) && p < end; p += n)
		if (p[-1] == ' ' && (p[n] == ' ' || p[n] == '\n'))
			return 1;
	return 0;
}

/* There is no /dev/kvm, or nothing behind it. */
static void advise_missing(struct doctor *d)
{
	_cleanup_free_ char *cpuinfo = NULL, *misc = NULL;
	size_t n;

	if (io_read_file("/proc/misc", PROC_MAX, &misc, &n) == 0 &&
	    strstr(misc, " kvm\n")) {
		doctor_remedy(d, "the kernel has it: sudo mknod -m 660 "
				 "/dev/kvm c 10 232, or start this container "
				 "with --device /dev/kvm");
		return;
	}
	if (io_read_file("/proc/cpuinfo", PROC_MAX, &cpuinfo, &n) < 0)
		return;
	if (cpu_flag(cpuinfo, "vmx"))
		doctor_remedy(d, "sudo modprobe kvm_intel");
	else if (cpu_flag(cpuinfo, "svm"))
		doctor_remedy(d, "sudo modprobe kvm_amd");
	else if (cpu_flag(cpuinfo, "hypervisor"))
		doctor_remedy(d, "this host is a virtual machine; on the one "
				 "that runs it: sudo modprobe -r kvm_intel && "
				 "sudo modprobe kvm_intel nested=1 (or "
				 "kvm_amd), and give it the CPU model host");
	else
		doctor_remedy(d, "switch VT-x or AMD-V on in the firmware's "
				 "set-up: sudo systemctl reboot "
				 "--firmware-setup");
}

/* The group's name, without asking a name service: we are linked statically. */
static int group_name(gid_t gid, char name[64])
{
	FILE *f = fopen("/etc/group", "re");
	struct group *g = NULL;

	while (f && (g = fgetgrent(f)) && g->gr_gid != gid)
		;
	if (g)
		snprintf(name, 64, "%s", g->gr_name);
	if (f)
		fclose(f);
	return g ? 0 : -ENOENT;
}

static void advise_permission(struct doctor *d)
{
	char group[64];
	struct stat st;

	if (stat("/dev/kvm", &st) < 0)
		return;
	if ((st.st_mode & 060) == 060 && st.st_gid &&
	    group_name(st.st_gid, group) == 0)
		doctor_remedy(d, "sudo usermod -aG %s $USER, and log in again",
			      group);
	else
		doctor_remedy(d, "sudo chgrp kvm /dev/kvm && sudo chmod 660 "
				 "/dev/kvm && sudo usermod -aG kvm $USER, and "
				 "log in again");
}

/* 1 where KVM runs guests right; else *@why says what is wrong. */
static int look_at_kvm(struct doctor *d, char why[PROBE_WHY_MAX])
{
	_cleanup_fd_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct probe_result p = { 0 };

	if (fd < 0) {
		int e = errno;

		snprintf(why, PROBE_WHY_MAX, "/dev/kvm: %s", strerror(e));
		doctor_say(d, DOCTOR_WARN, "/dev/kvm", "%s", strerror(e));
		if (e == EACCES || e == EPERM)
			advise_permission(d);
		else if (e == ENOENT || e == ENODEV || e == ENXIO)
			advise_missing(d);
		return 0;
	}
	doctor_say(d, DOCTOR_OK, "/dev/kvm", "opens");
	probe_kvm(fd, &p);
	if (p.ok) {
		doctor_say(d, DOCTOR_OK, "kvm probe",
			   "guests run right (%.1f ms)", (double)p.ns / 1e6);
		return 1;
	}
	snprintf(why, PROBE_WHY_MAX, "/dev/kvm runs guests wrong");
	doctor_say(d, DOCTOR_WARN, "kvm probe", "guests run wrong: %s", p.why);
	doctor_remedy(d, "nothing to do here: mayfly takes engine soft; the "
			 "fault is in the hypervisor below this host");
	return 0;
}

/* What native.c does: one arena, writable here and executable there. */
static int executable_memory(void)
{
	_cleanup_fd_ int fd = memfd_create("mayfly-doctor",
					   MFD_CLOEXEC | MFD_EXEC);
	void *p;

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("mayfly-doctor", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 4096) < 0)
		return -errno;
	p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	munmap(p, 4096);
	return 0;
}

/* 1 where our own CPU can run. @bad: what it means if not. */
static int look_at_soft(struct doctor *d, enum health bad)
{
	int r = executable_memory();

	if (!__builtin_cpu_supports("sse4.2")) {
		doctor_say(d, bad, "SSE4.2",
			   "this CPU has none, which engine soft needs");
		doctor_remedy(d, "use KVM; in a virtual machine, give it a "
				 "newer CPU model: -cpu host");
		return 0;
	}
	doctor_say(d, DOCTOR_OK, "SSE4.2", "the CPU has it");
	if (r < 0) {
		doctor_say(d, bad, "executable memory",
			   "engine soft may not have it: %s", strerror(-r));
		if (access("/proc/sys/vm/memfd_noexec", F_OK) == 0)
			doctor_remedy(d, "sudo sysctl vm.memfd_noexec=0; with "
					 "SELinux: sudo ausearch -m avc -c "
					 "mayfly");
		else
			doctor_remedy(d, "see what forbids it: sudo ausearch "
					 "-m avc -c mayfly");
		return 0;
	}
	doctor_say(d, DOCTOR_OK, "executable memory", "engine soft may have it");
	return 1;
}

void doctor_engines(struct doctor *d)
{
	char why[PROBE_WHY_MAX] = "";
	int kvm = look_at_kvm(d, why);
	int soft = look_at_soft(d, kvm ? DOCTOR_WARN : DOCTOR_FAIL);

	if (kvm)
		doctor_say(d, DOCTOR_OK, "engine auto",
			   "takes kvm: the probe's guest ran right");
	else if (soft)
		doctor_say(d, DOCTOR_OK, "engine auto", "takes soft: %s", why);
	else
		doctor_say(d, DOCTOR_FAIL, "engine auto",
			   "none runs: neither kvm (%s) nor soft", why);
}
