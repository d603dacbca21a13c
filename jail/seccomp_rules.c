/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of each kind of thread, once it is locked.
 *
 * A line stays if the tests need it, or if its reason names a path of ours
 * that does: calls that are never seen on a good day (a vDSO that is missing,
 * a process that is stopped and continued) are as much a part of it. A line
 * that has neither goes. Nothing here makes memory executable, and but for
 * mayfly-unpack nothing maps any: all of it is allocated before.
 */
#include "jail/seccomp_rules.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "runner/base/mem.h"

/* A call with any arguments, with one that is fixed, with two. */
#define CALL(call, because) { .nr = SYS_##call, .why = because }
#define CALL1(call, a, v, because)                                            \
	{ .nr = SYS_##call, .why = because, .nconds = 1,                      \
	  .cond = { { .arg = a, .is = v } } }
#define CALL2(call, a, v, b, w, because)                                      \
	{ .nr = SYS_##call, .why = because, .nconds = 2,                      \
	  .cond = { { .arg = a, .is = v }, { .arg = b, .is = w } } }

/* A call with none of these bits in an argument. */
#define CALL_WITHOUT(call, a, bits, because)                                  \
	{ .nr = SYS_##call, .why = because, .nconds = 1,                      \
	  .cond = { { .arg = a, .mask = bits } } }

/* Arguments by their place. */
enum { FUTEX_OP = 1, IOCTL_REQUEST = 1, FALLOCATE_MODE = 1, SHUTDOWN_HOW = 1,
       MADVISE_ADVICE = 2, GETRANDOM_FLAGS = 2, TGKILL_SIG = 2,
       ACCEPT4_FLAGS = 3, SEND_FLAGS = 3, SEND_TO = 4, RECV_FLAGS = 3,
       TIMERFD_FLAGS = 1, OPENAT_FLAGS = 2, OPENAT_MODE = 3,
       MKDIRAT_MODE = 2, FCHMOD_MODE = 1,
       UNLINKAT_FLAGS = 2, FSTATAT_FLAGS = 3, MMAP_PROT = 2,
       MREMAP_FLAGS = 3, RWF_FLAGS = 5, SEND_FD = 0,
       RECV_FD = 0, RECVMSG_FLAGS = 2 };

/* What both kinds of thread do, of either engine. */
#define EVERY_THREAD                                                          \
	CALL(write, "eventfds, the guest's console, diagnostics to stderr"),  \
	CALL1(futex, FUTEX_OP, FUTEX_WAIT_PRIVATE,                            \
	      "a mutex that another thread holds"),                           \
	CALL1(futex, FUTEX_OP, FUTEX_WAKE_PRIVATE,                            \
	      "a mutex that another waits for; soft: its vCPU halted"),       \
	CALL(clock_gettime, "a thread's CPU time; any clock without vDSO"),   \
	CALL(rt_sigreturn, "the end of VCPU_SIGNAL's handler"),               \
	CALL(restart_syscall,                                                 \
	     "the kernel's own: a wait with a time, stopped and continued"),  \
	CALL(rt_sigprocmask, "glibc, in pthread_kill() and as a thread ends")

#define MAIN_THREAD                                                           \
	CALL(epoll_wait, "the event loop"),                                   \
	CALL(read, "eventfds, timers, the console's input"),                  \
	CALL(preadv, "reads of a disk"),                                      \
	CALL(pwritev, "writes to a disk"),                                    \
	CALL(sendmsg, "a stream of vsock; an event to the launcher"),         \
	CALL(readv, "a stream of vsock; virtio-net: a frame for the guest"),   \
	CALL(writev, "virtio-net: a frame of the guest's"),                    \
	CALL1(ioctl, IOCTL_REQUEST, TUNSETOFFLOAD,                            \
	      "virtio-net: what a driver leaves to the host, and takes"),      \
	CALL(epoll_ctl, "a connection or a timer comes, changes, goes"),      \
	CALL1(timerfd_settime, TIMERFD_FLAGS, 0,                              \
	      "vsock: a connection's end; a limited disk or network goes on"), \
	CALL1(getrandom, GETRANDOM_FLAGS, GRND_NONBLOCK, "virtio-rng"),       \
	CALL(fdatasync, "virtio-blk: FLUSH"),                                 \
	CALL1(fallocate, FALLOCATE_MODE,                                      \
	      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,                     \
	      "virtio-blk: DISCARD"),                                         \
	CALL1(fallocate, FALLOCATE_MODE,                                      \
	      FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,                     \
	      "virtio-blk: WRITE_ZEROES"),                                    \
	CALL(recvmsg, "a word of the launcher"),                              \
	CALL1(accept4, ACCEPT4_FLAGS, SOCK_NONBLOCK | SOCK_CLOEXEC,           \
	      "a host connection on the listener of vsock"),                  \
	CALL1(recvfrom, RECV_FLAGS, MSG_PEEK, "its CONNECT line, looked at"), \
	CALL1(recvfrom, RECV_FLAGS, 0, "its CONNECT line, taken"),            \
	CALL2(sendto, SEND_FLAGS, MSG_NOSIGNAL | MSG_DONTWAIT, SEND_TO, 0,    \
	      "the answer to it"),                                            \
	CALL(poll, "a stream of vsock: has the host hung up?"),               \
	CALL1(shutdown, SHUTDOWN_HOW, SHUT_WR,                                \
	      "vsock: the guest sends no more"),                              \
	CALL1(shutdown, SHUTDOWN_HOW, SHUT_RD,                                \
	      "vsock: the guest reads no more"),                              \
	CALL(close, "a connection that is over; all at the end"),             \
	CALL1(madvise, MADVISE_ADVICE, MADV_DONTNEED,                         \
	      "vsock: the buffer of a connection that is over"),              \
	CALL(getpid, "glibc, in pthread_kill()"),                             \
	CALL1(tgkill, TGKILL_SIG, SIGUSR1, "vcpu_stop(): VCPU_SIGNAL"),       \
	CALL1(futex, FUTEX_OP, FUTEX_WAIT_BITSET,                             \
	      "vcpu_join(): a thread's end, with a deadline"),                \
	CALL(munmap, "the end: guest memory, the engine, large free()s"),     \
	CALL(brk, "the end: free() gives the top of the heap back"),          \
	CALL(exit_group, "the end")

#define VCPU_THREAD                                                           \
	CALL1(timerfd_settime, TIMERFD_FLAGS, 0,                              \
	      "the serial port: when half a line is to be flushed"),          \
	CALL1(madvise, MADVISE_ADVICE, MADV_DONTNEED,                         \
	      "glibc, as a thread ends: its stack"),                          \
	CALL(exit, "the end of the thread")

static const struct seccomp_rule kvm_main[] = {
	CALL1(ioctl, IOCTL_REQUEST, KVM_IRQ_LINE, "interrupts of devices"),
	EVERY_THREAD,
	MAIN_THREAD,
};

static const struct seccomp_rule kvm_vcpu[] = {
	CALL1(ioctl, IOCTL_REQUEST, KVM_RUN, "guest code"),
	CALL1(ioctl, IOCTL_REQUEST, KVM_IRQ_LINE, "the serial port's line"),
	EVERY_THREAD,
	CALL1(ioctl, IOCTL_REQUEST, KVM_GET_REGS,
	      "where the guest was when KVM gave up on it"),
	VCPU_THREAD,
};

static const struct seccomp_rule soft_main[] = {
	EVERY_THREAD,
	MAIN_THREAD,
};

static const struct seccomp_rule soft_vcpu[] = {
	CALL1(futex, FUTEX_OP, FUTEX_WAIT_BITSET_PRIVATE,
	      "HLT, until a deadline"),
	CALL1(preadv2, RWF_FLAGS, RWF_NOWAIT,
	      "virtio-blk: what the host has in memory"),
	CALL(preadv, "virtio-blk: what a write leaves of a cluster"),
	CALL(pwritev, "virtio-blk: a short write"),
	CALL(writev, "virtio-net: a frame of the guest's"),
	EVERY_THREAD,
	VCPU_THREAD,
};

/* rootfs/tree_unpack.c, a stream from the guest on its standard paths. */
static const struct seccomp_rule unpack[] = {
	CALL(read, "the stream"),
	CALL(pwrite64, "a file's bytes"),
	CALL2(openat, OPENAT_FLAGS,
	      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	      OPENAT_MODE, 0600, "a file that is not there yet"),
	CALL1(openat, OPENAT_FLAGS,
	      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
	      "a directory to go on in"),
	CALL(ftruncate, "a file that ends in a hole"),
	CALL_WITHOUT(fchmod, FCHMOD_MODE, ~0777ull,
		     "its mode: never one that lends its owner's rights"),
	CALL(utimensat, "its time"),
	CALL(close, "a file or directory that is done"),
	CALL(renameat, "a file that is whole gets its name"),
	CALL1(newfstatat, FSTATAT_FLAGS, AT_SYMLINK_NOFOLLOW,
	      "what is in the way of that"),
	CALL1(unlinkat, UNLINKAT_FLAGS, 0, "a file that stays unfinished"),
	CALL(symlinkat, "a symbolic link"),
	CALL1(mkdirat, MKDIRAT_MODE, 0700, "a directory"),
	CALL(write, "words about what went wrong"),
	CALL1(getrandom, GETRANDOM_FLAGS, 0, "the name of unfinished files"),
	CALL(umask, "the caller's, for modes"),
	CALL(exit_group, "the end"),
};

/* mayfly-unpack, in any mode: memory comes and goes with what a tar says. */
#define PARSER                                                                \
	CALL(read, "the tar"),                                                \
	CALL_WITHOUT(mmap, MMAP_PROT, PROT_EXEC,                              \
		     "malloc() of large blocks; an index of a layer"),        \
	CALL(munmap, "free() of them"),                                       \
	CALL1(mremap, MREMAP_FLAGS, MREMAP_MAYMOVE, "realloc() of them"),     \
	CALL(brk, "malloc() and free()"),                                     \
	CALL(write, "the result, or words about what went wrong"),            \
	CALL(exit_group, "the end")

static const struct seccomp_rule layer[] = {
	PARSER,
	CALL(pwrite64, "data and index of a layer, a root image"),
	CALL(ftruncate, "data that ends in a hole"),
	CALL(lseek, "how long an index is"),
};

static const struct seccomp_rule archive[] = {
	PARSER,
	CALL2(openat, OPENAT_FLAGS,
	      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	      OPENAT_MODE, 0600, "a file that is not there yet"),
	CALL1(openat, OPENAT_FLAGS,
	      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
	      "a directory to go on in"),
	CALL1(mkdirat, MKDIRAT_MODE, 0700, "a directory"),
	CALL(symlinkat, "a name of a file that is there once"),
	CALL1(unlinkat, UNLINKAT_FLAGS, 0, "a file that comes again"),
	CALL(close, "a file or directory that is done"),
};

static const struct seccomp_rule pack[] = {
	PARSER,
	CALL1(openat, OPENAT_FLAGS,
	      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, "a directory"),
	CALL1(openat, OPENAT_FLAGS,
	      O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC,
	      "a file"),
	CALL(getdents64, "what is in a directory"),
	CALL1(newfstatat, FSTATAT_FLAGS, AT_SYMLINK_NOFOLLOW, "what it is"),
	CALL1(newfstatat, FSTATAT_FLAGS, AT_EMPTY_PATH, "what was opened"),
	CALL(fstat, "the same, by later C libraries"),
	CALL(readlinkat, "where a link points"),
	CALL(flistxattr, "which xattrs a file has"),
	CALL(fgetxattr, "and what they are"),
	CALL(close, "a file or directory that is done"),
};

/*
 * net/forward.c. It holds sockets of the host's network; a connected one sends
 * elsewhere as well if it is given an address, so that is for two only, which
 * are of the VM's network.
 */
static const struct seccomp_rule dns[] = {
	CALL(epoll_wait, "the event loop"),
	CALL1(recvfrom, RECV_FLAGS, 0, "the guest, an upstream, the keeper"),
	CALL2(sendto, SEND_FLAGS, MSG_NOSIGNAL, SEND_TO, 0,
	      "to upstreams, keeper, launcher, on the guest's connections"),
	CALL2(recvmsg, RECV_FD, LOCK_DNS_CONTROL, RECVMSG_FLAGS,
	      MSG_CMSG_CLOEXEC, "a connection to an upstream"),
	CALL2(sendto, SEND_FD, LOCK_DNS_UDP, SEND_FLAGS, MSG_NOSIGNAL,
	      "an answer to the guest"),
	CALL2(sendto, SEND_FD, LOCK_DNS_UDP + 1, SEND_FLAGS, MSG_NOSIGNAL,
	      "an answer to the guest, by IPv6"),
	CALL1(accept4, ACCEPT4_FLAGS, SOCK_NONBLOCK | SOCK_CLOEXEC,
	      "a connection of the guest"),
	CALL(epoll_ctl, "a connection comes, waits, goes"),
	CALL(close, "a connection that is over"),
	CALL1(getrandom, GETRANDOM_FLAGS, 0, "id and socket of a question"),
	CALL(clock_gettime, "deadlines, without vDSO"),
	CALL(exit_group, "the end"),
};

/* net/keeper.c, once the network stands. Its netlink sockets are of that network:
 * one of nf_tables, and one that tells of links. */
static const struct seccomp_rule keep[] = {
	CALL(poll, "a word of the launcher; a question; the uplink's end"),
	CALL(recvmsg, "a word; a question"),
	CALL(sendmsg, "elements to the kernel; an answer; KEEP_READY"),
	CALL1(recvfrom, RECV_FLAGS, MSG_DONTWAIT, "what the kernel says"),
	CALL(close, "descriptors that nobody has asked for"),
	CALL(clock_gettime, "how much may be asked now, without vDSO"),
	CALL(restart_syscall, "the kernel's own: poll(), stopped and continued"),
	CALL(exit_group, "the end"),
};

#ifdef MAYFLY_SAN

/*
 * A sanitizer's run-time library maps memory, reads /proc, forks to look at
 * the other threads: what it needs is not ours to list. Its builds, which
 * are never installed, die only of what neither it nor we ever do.
 */
static const struct seccomp_rule sanitizer[] = {
	CALL(socket, "no network"),
	CALL(connect, "no network"),
	CALL(bind, "no network"),
	CALL(execve, "no program"),
	CALL(execveat, "no program"),
	CALL(mount, "no mount"),
	CALL(setns, "no other namespace"),
	CALL(unshare, "no other namespace"),
	CALL(bpf, "no kernel code"),
	CALL(keyctl, "no keys"),
};

#define ROLE(title, table)                                                    \
	{ .name = title, .rule = sanitizer, .n = ARRAY_SIZE(sanitizer) +      \
	  0 * ARRAY_SIZE(table), .inverted = 1 }

#else

#define ROLE(title, table)                                                    \
	{ .name = title, .rule = table, .n = ARRAY_SIZE(table) }

#endif

const struct seccomp_role seccomp_role[LOCK_ROLES] = {
	[LOCK_KVM_MAIN] = ROLE("kvm_main", kvm_main),
	[LOCK_KVM_VCPU] = ROLE("kvm_vcpu", kvm_vcpu),
	[LOCK_SOFT_MAIN] = ROLE("soft_main", soft_main),
	[LOCK_SOFT_VCPU] = ROLE("soft_vcpu", soft_vcpu),
	[LOCK_UNPACK] = ROLE("unpack", unpack),
	[LOCK_LAYER] = ROLE("layer", layer),
	[LOCK_ARCHIVE] = ROLE("archive", archive),
	[LOCK_PACK] = ROLE("pack", pack),
	[LOCK_DNS] = ROLE("dns", dns),
	[LOCK_KEEP] = ROLE("keep", keep),
};
