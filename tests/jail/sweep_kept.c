/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the filters keep, written down a second time, by what it still permits
 * to whoever has taken over the thread. Nothing of this is read from the rules.
 */
#include <stddef.h>
#include <sys/syscall.h>

#include "runner/base/mem.h"
#include "tests/jail/sweep.h"

struct kept {
	unsigned nr;
	const char *can; /* do, still */
	int arguments;	 /* some are refused */
};

static const struct kept every[] = {
	{ SYS_write, "write to what is open for writing", 0 },
	{ SYS_futex, "wait for, and wake, threads of its own", 1 },
	{ SYS_clock_gettime, "read clocks", 0 },
	{ SYS_rt_sigreturn, "set its own registers", 0 },
	{ SYS_restart_syscall, "nothing: the kernel knows what", 0 },
	{ SYS_rt_sigprocmask, "block signals but SIGKILL", 0 },
	{ SYS_timerfd_settime, "set timers that are open", 1 },
	{ SYS_madvise, "throw its own memory away", 1 },
	/* arch/x86/kernel/uprobes.c: Linux lets these two past every filter,
	 * for probes must not break what is probed. Elsewhere than in a
	 * trampoline that the kernel has made they are a fault or an error. */
	{ 335 /* uretprobe */, "nothing", 1 },
	{ 336 /* uprobe */, "nothing", 1 },
};

static const struct kept vcpu_only[] = {
	{ SYS_exit, "end its thread", 0 },
};

static const struct kept main_only[] = {
	{ SYS_ioctl, "have its tap leave checksums undone; kvm: raise a line "
	  "of its VM", 1 },
	{ SYS_epoll_wait, "wait", 0 },
	{ SYS_poll, "wait", 0 },
	{ SYS_read, "read what is open for reading", 0 },
	{ SYS_readv, "the same", 0 },
	{ SYS_writev, "send frames to its network", 0 },
	{ SYS_preadv, "the same, disks and images", 0 },
	{ SYS_pwritev, "write to the scratch disk, up to its size", 0 },
	{ SYS_sendmsg, "write to its sockets; hand descriptors on", 0 },
	{ SYS_sendto, "write to its sockets; no address", 1 },
	{ SYS_recvmsg, "read its sockets", 0 },
	{ SYS_recvfrom, "read its sockets", 1 },
	{ SYS_accept4, "take who connects to its listener", 1 },
	{ SYS_shutdown, "end a stream of its own", 1 },
	{ SYS_epoll_ctl, "choose what to wait for", 0 },
	{ SYS_getrandom, "have random numbers", 1 },
	{ SYS_fdatasync, "make the host write a disk", 0 },
	{ SYS_fallocate, "make holes in its disk", 1 },
	{ SYS_close, "close", 0 },
	{ SYS_getpid, "learn that it is number 1", 0 },
	{ SYS_tgkill, "interrupt its own threads", 1 },
	{ SYS_munmap, "give memory back", 0 },
	{ SYS_brk, "have memory, which the cgroup counts", 0 },
	{ SYS_exit_group, "end", 0 },
};

static const struct kept kvm_vcpu[] = {
	{ SYS_ioctl, "run its guest, and look where it is", 1 },
};

static const struct kept soft_vcpu[] = {
	{ SYS_preadv2, "read disks and images, what is in memory of them", 1 },
	{ SYS_preadv, "the same, and wait for it", 0 },
	{ SYS_pwritev, "write to the scratch disk, up to its size", 0 },
	{ SYS_writev, "write to what is open: frames to its network", 0 },
};

/* Not of mayfly-vmm: a child of the launcher's, for cp. It stands in the
 * directory that is to be filled, and Landlock ends its reach there. */
static const struct kept unpack[] = {
	{ SYS_read, "read the stream", 0 },
	{ SYS_openat, "make files; enter directories, no links", 1 },
	{ SYS_mkdirat, "make directories", 1 },
	{ SYS_symlinkat, "make links, which it does not follow", 0 },
	{ SYS_renameat, "replace files", 0 },
	{ SYS_unlinkat, "remove files, no directories", 1 },
	{ SYS_newfstatat, "look at files", 1 },
	{ SYS_pwrite64, "write its files", 0 },
	{ SYS_ftruncate, "cut its files", 0 },
	{ SYS_fchmod, "change modes; not to set-user-ID", 1 },
	{ SYS_utimensat, "change times", 0 },
	{ SYS_umask, "change the modes of what it makes", 0 },
	{ SYS_write, "say what went wrong", 0 },
	{ SYS_getrandom, "have random numbers", 1 },
	{ SYS_close, "close", 0 },
	{ SYS_exit_group, "end", 0 },
	{ 335 /* uretprobe */, "nothing", 1 },
	{ 336 /* uprobe */, "nothing", 1 },
};

/* mayfly-unpack: it has the descriptors that it works on, and no path but in
 * the directory that it was given. */
static const struct kept parser[] = {
	{ SYS_read, "read the tar", 0 },
	{ SYS_mmap, "have memory, up to its limit; none to execute", 1 },
	{ SYS_munmap, "give it back", 0 },
	{ SYS_mremap, "move it", 1 },
	{ SYS_brk, "have memory, up to its limit", 0 },
	{ SYS_write, "write its result and words", 0 },
	{ SYS_exit_group, "end", 0 },
	{ 335 /* uretprobe */, "nothing", 1 },
	{ 336 /* uprobe */, "nothing", 1 },
};

static const struct kept layer[] = {
	{ SYS_pwrite64, "write its layer or image", 0 },
	{ SYS_ftruncate, "cut it", 0 },
	{ SYS_lseek, "see how long it is", 0 },
};

static const struct kept archive[] = {
	{ SYS_openat, "make files; enter directories, no links", 1 },
	{ SYS_mkdirat, "make directories", 1 },
	{ SYS_symlinkat, "make links, which it does not follow", 0 },
	{ SYS_unlinkat, "remove files, no directories", 1 },
	{ SYS_close, "close", 0 },
};

static const struct kept pack[] = {
	{ SYS_openat, "read files and directories, no links", 1 },
	{ SYS_getdents64, "list directories", 0 },
	{ SYS_newfstatat, "look at files", 1 },
	{ SYS_fstat, "look at what it has opened", 0 },
	{ SYS_readlinkat, "read links", 0 },
	{ SYS_flistxattr, "list xattrs of what it has opened", 0 },
	{ SYS_fgetxattr, "read them", 0 },
	{ SYS_close, "close", 0 },
};

/* mayfly-net, forwarding queries: it has sockets towards a few resolvers and
 * the guest, and neither a path nor a way to have another socket. */
static const struct kept dns[] = {
	{ SYS_epoll_wait, "wait", 0 },
	{ SYS_epoll_ctl, "choose what to wait for", 0 },
	{ SYS_recvfrom, "read its sockets", 1 },
	{ SYS_recvmsg, "take descriptors from the launcher", 1 },
	{ SYS_sendto, "write to its sockets; to the guest's network only with "
	  "an address", 1 },
	{ SYS_accept4, "take who connects to its listeners", 1 },
	{ SYS_getrandom, "have random numbers", 1 },
	{ SYS_close, "close", 0 },
	{ SYS_clock_gettime, "read clocks", 0 },
	{ SYS_exit_group, "end", 0 },
	{ 335 /* uretprobe */, "nothing", 1 },
	{ 336 /* uprobe */, "nothing", 1 },
};

/* mayfly-net, holding a network: it stays the one that could change it, but
 * has no socket to ask for it, only the one for elements of sets. */
static const struct kept keep[] = {
	{ SYS_poll, "wait", 0 },
	{ SYS_recvmsg, "read its sockets, take descriptors", 0 },
	{ SYS_recvfrom, "read its sockets", 1 },
	{ SYS_sendmsg, "change the tables of its network; answer", 0 },
	{ SYS_close, "close", 0 },
	{ SYS_clock_gettime, "read clocks", 0 },
	{ SYS_restart_syscall, "nothing: the kernel knows what", 0 },
	{ SYS_exit_group, "end", 0 },
	{ 335 /* uretprobe */, "nothing", 1 },
	{ 336 /* uprobe */, "nothing", 1 },
};

static enum sweep_kept look(const struct kept *k, size_t n, unsigned nr)
{
	for (size_t i = 0; i < n; i++)
		if (k[i].nr == nr)
			return k[i].arguments ? ARGUMENTS_DECIDE : LIVES;
	return DIES;
}

#define LOOK(table, nr) look(table, ARRAY_SIZE(table), nr)

enum sweep_kept sweep_kept(enum lock_role role, unsigned nr)
{
	enum sweep_kept k = LOOK(every, nr);
	int is_vcpu = role == LOCK_KVM_VCPU || role == LOCK_SOFT_VCPU;

	if (role == LOCK_UNPACK)
		return LOOK(unpack, nr);
	if (role == LOCK_DNS)
		return LOOK(dns, nr);
	if (role == LOCK_KEEP)
		return LOOK(keep, nr);
	if (role >= LOCK_LAYER) {
		k = LOOK(parser, nr);
		if (k != DIES)
			return k;
		return role == LOCK_LAYER   ? LOOK(layer, nr) :
		       role == LOCK_ARCHIVE ? LOOK(archive, nr) :
					      LOOK(pack, nr);
	}
	if (k == DIES)
		k = !is_vcpu ? LOOK(main_only, nr) : LOOK(vcpu_only, nr);
	if (k == DIES && role == LOCK_KVM_VCPU)
		k = LOOK(kvm_vcpu, nr);
	if (k == DIES && role == LOCK_SOFT_VCPU)
		k = LOOK(soft_vcpu, nr);
	return k;
}
