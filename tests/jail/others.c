/* SPDX-License-Identifier: Apache-2.0 */
/* Out to others: processes, networks, what the host's programs share. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/rtnetlink.h>
#include <mqueue.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "tests/jail/probe.h"

/* --- processes ---------------------------------------------------------- */

static int signal_a_process(const struct world *w)
{
	return kill(w->victim, 0) == 0 ||
	       syscall(SYS_tgkill, w->victim, w->victim, 0) == 0 ||
	       syscall(SYS_tkill, w->victim, 0) == 0 ||
	       sigqueue(w->victim, 0, (union sigval){ 0 }) == 0;
}

static int signal_a_group(const struct world *w)
{
	return kill(-w->victim, 0) == 0;
}

/* Signal 0 hurts nobody. */
static int signal_all(const struct world *w)
{
	(void)w;
	return kill(-1, 0) == 0;
}

static int hold_a_process(const struct world *w)
{
	return pidfd_open(w->victim, 0) >= 0;
}

static int trace_a_process(const struct world *w)
{
	return ptrace(PTRACE_SEIZE, w->victim, NULL, NULL) == 0;
}

static int read_a_process(const struct world *w)
{
	char stolen[8];
	struct iovec to = { stolen, sizeof(stolen) };
	struct iovec from = { (void *)(uintptr_t)w->victim_secret,
			      sizeof(stolen) };

	return process_vm_readv(w->victim, &to, 1, &from, 1, 0) > 0;
}

static int write_a_process(const struct world *w)
{
	char planted[8] = "planted";
	struct iovec from = { planted, sizeof(planted) };
	struct iovec to = { (void *)(uintptr_t)w->victim_secret,
			    sizeof(planted) };

	return process_vm_writev(w->victim, &from, 1, &to, 1, 0) > 0;
}

static int see_a_process(const struct world *w)
{
	return getsid(w->victim) > 0 || getpgid(w->victim) > 0 ||
	       sched_getscheduler(w->victim) >= 0;
}

static int limit_a_process(const struct world *w)
{
	struct rlimit l;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	return prlimit(w->victim, RLIMIT_CORE, NULL, &l) == 0 ||
	       setpriority(PRIO_PROCESS, (id_t)w->victim, 1) == 0 ||
	       sched_setaffinity(w->victim, sizeof(cpus), &cpus) == 0;
}

/* Whoever gets a signal for a descriptor's sake, by its number. */
static int own_by_another(const struct world *w)
{
	return fcntl(CONTROL_FD, F_SETOWN, w->victim) == 0;
}

/* --- what processes share ----------------------------------------------- */

static int attach_shared_memory(const struct world *w)
{
	int id = shmget(w->shm_key, 0, 0);

	return id >= 0 && shmat(id, NULL, SHM_RDONLY) != (void *)-1;
}

static int open_a_queue(const struct world *w)
{
	return mq_open(w->queue, O_RDONLY) >= 0;
}

/* The session's keyring is inherited: kernel keys of whoever logged in. */
static int read_a_key(const struct world *w)
{
	char secret[16];
	long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING,
			   "user", w->queue, 0);

	if (key < 0)
		return errno == ENOSYS ? ABSENT : HELD;
	return syscall(SYS_keyctl, KEYCTL_READ, key, secret,
		       sizeof(secret)) > 0;
}

static int see_the_host_name(const struct world *w)
{
	struct utsname u;

	return uname(&u) == 0 && !strcmp(u.nodename, w->nodename);
}

static int see_the_environment(const struct world *w)
{
	(void)w;
	return environ && environ[0];
}

/* --- networks ----------------------------------------------------------- */

static int connect_to(const struct world *w, int type)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons(w->port),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	int fd = socket(AF_INET, type, 0);

	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	       send(fd, "x", 1, MSG_NOSIGNAL) == 1;
}

static int connect_by_tcp(const struct world *w)
{
	return connect_to(w, SOCK_STREAM);
}

static int send_by_udp(const struct world *w)
{
	return connect_to(w, SOCK_DGRAM);
}

static int connect_to_an_abstract_socket(const struct world *w)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = strlen(w->abstract);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(a.sun_path + 1, w->abstract, n);
	return connect(fd, (struct sockaddr *)&a,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				   n)) == 0;
}

static int see_an_interface(const struct world *w)
{
	struct ifreq i = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)w;
	return ioctl(fd, SIOCGIFFLAGS, &i) == 0 && i.ifr_flags & IFF_UP;
}

static int list_addresses(const struct world *w)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
	} ask = {
		.h = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETADDR,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};
	union {
		struct nlmsghdr h;
		char bytes[4096];
	} got;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	(void)w;
	return send(fd, &ask, sizeof(ask), 0) > 0 &&
	       recv(fd, &got, sizeof(got), 0) > 0 &&
	       got.h.nlmsg_type == RTM_NEWADDR;
}

static int listen_to_the_wire(const struct world *w)
{
	(void)w;
	return socket(AF_PACKET, SOCK_RAW, 0) >= 0;
}

/* Not a thing of a network namespace: who has it reaches the host's. */
static int make_a_vsock(const struct world *w)
{
	(void)w;
	return socket(AF_VSOCK, SOCK_STREAM, 0) >= 0;
}

static int make_a_socket(const struct world *w)
{
	int pair[2];

	(void)w;
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ||
	       socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0;
}

#define OTHERS (NSPACE | UID | SECCOMP)
const struct probe probe_others[] = {
	{ "signal a process", OTHERS | LANDLOCK, .landlock = 6,
	  .reach = signal_a_process },
	{ "signal a group", OTHERS | LANDLOCK, .landlock = 6,
	  .reach = signal_a_group },
	{ "signal all there is", NSPACE | SECCOMP, .reach = signal_all },
	{ "hold a process", NSPACE | SECCOMP, .reach = hold_a_process },
	{ "trace a process", OTHERS | LANDLOCK, .reach = trace_a_process },
	{ "read a process", OTHERS | LANDLOCK, .reach = read_a_process },
	{ "write a process", OTHERS | LANDLOCK, .reach = write_a_process },
	{ "see a process", NSPACE | SECCOMP, .reach = see_a_process },
	{ "limit a process", OTHERS, .reach = limit_a_process },
	{ "own a descriptor by another", NSPACE | SECCOMP,
	  .reach = own_by_another },
	{ "attach shared memory", NSPACE | SECCOMP,
	  .reach = attach_shared_memory },
	{ "open a message queue", NSPACE | SECCOMP, .flags = MAY_LACK,
	  .reach = open_a_queue },
	{ "read a key of the session", STEPS | SECCOMP, .flags = MAY_LACK,
	  .reach = read_a_key },
	{ "see the host's name", ROOT, .reach = see_the_host_name },
	{ "see the environment", STEPS, .reach = see_the_environment },
	{ "connect by TCP", NSPACE | LANDLOCK | SECCOMP, .landlock = 4,
	  .reach = connect_by_tcp },
	{ "send by UDP", NSPACE | SECCOMP, .reach = send_by_udp },
	{ "connect to an abstract socket", NSPACE | LANDLOCK | SECCOMP,
	  .landlock = 6, .reach = connect_to_an_abstract_socket },
	{ "see an interface", NSPACE | SECCOMP, .reach = see_an_interface },
	{ "list addresses", NSPACE | SECCOMP, .reach = list_addresses },
	{ "listen to the wire", CAPS | UID | SECCOMP,
	  .flags = FOR_ROOT | MAY_LACK, .reach = listen_to_the_wire },
	{ "make a vsock", SECCOMP, .flags = MAY_LACK, .reach = make_a_vsock },
	{ "make a socket", SECCOMP, .reach = make_a_socket },
	{ .name = NULL },
};
