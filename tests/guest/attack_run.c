/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attack-run: payloads that attack, each in a machine of mayfly-vmm's.
 *
 *	attack-run [-v] [-t SECONDS] [-m MIB] VMM ENGINE PAYLOAD...
 *
 * This is the launcher's end: it boots VMM over the control socket with two
 * disks, four streams, a tap, a listener and a console, plays the host (what each
 * stream does is in attack_host.h) and judges what cannot be seen from inside:
 * that the VMM ends well and by the guest's own power-off, that it has not
 * grown past guest memory and MIB more, that its descriptors and its words are
 * bounded, that it answers its launcher, and what is on the disks. Output is
 * that of guest-run.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/vmm/ctl.h"
#include "tests/guest/attack_disks.h"
#include "tests/guest/attack_host.h"
#include "tests/guest/attack_tap.h"

#define OUTPUT_MAX (1u << 20)
#define DIALS	   200
#define SAID_MAX   6000 /* of the VMM's words, repeated */
#define FDS_MAX	   400
/* Ten lines a second and call site (log.h); no device has ten of these. */
#define WORDS_PER_SECOND 100

/* The VMM answers a query within this, whatever its guest does. */
#define ANSWER_NS 60000000000ull
#define PAUSE_NS  5000000ull /* from an answer to the next query */

enum { ECHO, SOURCE, DEAF, CLOSER, STREAMS };

struct options {
	const char *vmm, *engine;
	int verbose, seconds;
	long mib;
	int kvm_fd;
	struct attack_tap tap;
};

struct text {
	size_t len, seen; /* seen: lines up to here were acted on */
	char buf[OUTPUT_MAX];
};

/* One run. Descriptors are the host's ends. */
struct host {
	pid_t pid;
	int control, out, in, words; /* words: the VMM's stderr */
	int stream[STREAMS], lsock;
	struct attack_disks disks;
	struct attack_tap tap;
	struct sockaddr_un addr;
	socklen_t addr_len;
	int dial[DIALS];
	int flooding, net_flooding, started, again;
	uint64_t asked_ns; /* a query is under way since, or 0 */
	uint64_t next_ns;  /* when to ask again */
	unsigned answers;
	uint32_t stop;
	char stop_msg[ERR_MSG_MAX];
	unsigned nfds; /* the most that the VMM had open */
	unsigned fail, pass, skip;
	struct text console, said;
};

static void fail(struct host *h, const char *what)
{
	h->fail++;
	printf("    FAIL host: %s\n", what);
}

/* --- what the machine is made of ---------------------------------------- */

static int make_listener(struct host *h)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	h->addr.sun_family = AF_UNIX;
	h->addr_len = sizeof(h->addr);
	/* autobind: an abstract name of the kernel's choice */
	if (fd < 0 || bind(fd, (struct sockaddr *)&h->addr,
			   sizeof(h->addr.sun_family)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&h->addr, &h->addr_len) < 0 ||
	    listen(fd, DIALS) < 0)
		return -1;
	return fd;
}

/* fds[] in the order that the indices of the message name them. */
static int describe(struct host *h, const struct options *o, const char *kernel,
		    struct ctl_boot *b, int *fds)
{
	int n = 0, p[2];

	*b = (struct ctl_boot){
		.type = CTL_BOOT, .version = CTL_VERSION, .ncpus = 1,
		.engine = o->kvm_fd < 0 ? CTL_ENGINE_SOFT : CTL_ENGINE_KVM,
		.ram = ATTACK_RAM, .nstreams = STREAMS,
		.guest_cid = ATTACK_CID, .verbose = LOG_INFO,
		.kvm_fd = CTL_NO_FD, .initrd_fd = CTL_NO_FD,
		.net = { .fd = CTL_NO_FD },
	};
	if (o->kvm_fd >= 0) {
		fds[n] = dup(o->kvm_fd);
		b->kvm_fd = n++;
	}
	fds[n] = open(kernel, O_RDONLY | O_CLOEXEC);
	b->kernel_fd = n++;
	if (pipe2(p, O_CLOEXEC) < 0 || fcntl(p[0], F_SETPIPE_SZ, 1 << 20) < 0)
		return -1;
	h->out = p[0];
	fds[n] = p[1];
	b->console_out_fd = n++;
	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	h->in = p[1];
	fds[n] = p[0];
	b->console_in_fd = n++;
	fds[n] = h->lsock = make_listener(h);
	b->vsock_listen_fd = n++;
	attack_disks_give(&h->disks, b, fds, &n);
	for (unsigned i = 0; i < STREAMS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
			return -1;
		h->stream[i] = p[0];
		b->stream[i] = (struct ctl_stream){ PORT_ECHO + i, n };
		fds[n++] = p[1];
	}
	if (!attack_tap_give(&h->tap, b, fds, &n))
		return -1;
	for (int i = 0; i < n; i++)
		if (fds[i] < 0)
			return -1;
	return n;
}

static _Noreturn void child(const char *vmm, int control, int words)
{
	char name[] = "mayfly-vmm", *argv[] = { name, NULL };

	dup2(words, STDERR_FILENO);
	if (control == CTL_FD)
		fcntl(control, F_SETFD, 0);
	else
		dup2(control, CTL_FD);
	execv(vmm, argv);
	_exit(127);
}

static int boot(struct host *h, const struct options *o, const char *kernel)
{
	int pair[2], words[2], fds[IO_FDS_MAX], n, r;
	struct ctl_boot b;

	n = describe(h, o, kernel, &b, fds);
	if (n < 0 || pipe2(words, O_CLOEXEC) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	h->pid = fork();
	if (h->pid == 0)
		child(o->vmm, pair[1], words[1]);
	close(pair[1]);
	close(words[1]);
	h->control = pair[0];
	h->words = words[0];
	r = h->pid < 0 ? -1 : ctl_send_boot(h->control, &b, fds, (unsigned)n);
	if (!r)
		r = ctl_send_go(h->control);
	while (n)
		close(fds[--n]);
	for (unsigned i = 0; i < STREAMS; i++)
		io_set_nonblock(h->stream[i], 1);
	io_set_nonblock(h->in, 1);
	return r;
}

/* --- the host's part ----------------------------------------------------- */

static void dial(struct host *h)
{
	static const char hello[] = "CONNECT 7000\n";

	for (unsigned i = 0; i < DIALS; i++) {
		if (h->dial[i] >= 0)
			continue;
		h->dial[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
				    SOCK_NONBLOCK, 0);
		if (connect(h->dial[i], (struct sockaddr *)&h->addr,
			    h->addr_len) < 0 ||
		    write(h->dial[i], hello, sizeof(hello) - 1) < 0)
			close_fd(&h->dial[i]);
	}
}

static void drop(struct host *h)
{
	for (unsigned i = 0; i < DIALS; i++)
		close_fd(&h->dial[i]);
}

/* Only root may look: the VMM is not dumpable. */
static void count_fds(struct host *h)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)h->pid);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	h->nfds = MAX(h->nfds, n);
}

static void act_on(struct host *h, const char *line)
{
	if (!strcmp(line, SAY_FLOOD))
		h->flooding = 1;
	else if (!strcmp(line, SAY_QUIET))
		h->flooding = 0;
	else if (!strcmp(line, SAY_DIAL))
		dial(h);
	else if (!strcmp(line, SAY_DROP))
		drop(h);
	else if (!strcmp(line, SAY_AGAIN))
		h->again = 1;
	else if (!strcmp(line, SAY_NET_FLOOD))
		h->net_flooding = 1;
	else if (!strcmp(line, SAY_NET_QUIET))
		h->net_flooding = 0;
	else if (!strcmp(line, SAY_NET_DOWN) || !strcmp(line, SAY_NET_UP))
		attack_tap_up(&h->tap, !strcmp(line, SAY_NET_UP));
	else if (!strcmp(line, SAY_NET_GONE))
		attack_tap_remove(&h->tap);
	count_fds(h);
}

/* False at the end of the descriptor. */
static int gather(int fd, struct text *t)
{
	ssize_t n = read(fd, t->buf + t->len, sizeof(t->buf) - 1 - t->len);

	if (n <= 0)
		return 0;
	t->len += (size_t)n;
	t->buf[t->len] = '\0';
	return 1;
}

/* Verdicts are kept; what is between (a flood of output, say) is not. */
static void read_console(struct host *h, const struct options *o)
{
	struct text *t = &h->console;
	char *l = t->buf, *end;

	if (!gather(h->out, t)) {
		close_fd(&h->out);
		return;
	}
	while ((end = memchr(l, '\n', (size_t)(t->buf + t->len - l)))) {
		int pass;

		*end = '\0';
		pass = !strncmp(l, "PASS ", 5);
		h->pass += (unsigned)pass;
		h->fail += !strncmp(l, "FAIL ", 5);
		h->skip += !strncmp(l, "SKIP ", 5);
		if (!strncmp(l, "HOST ", 5))
			act_on(h, l);
		else if (o->verbose || !strncmp(l, "FAIL ", 5) ||
			 !strncmp(l, "SKIP ", 5))
			printf("    %s\n", l);
		l = end + 1;
	}
	t->len -= (size_t)(l - t->buf);
	memmove(t->buf, l, t->len);
	if (t->len > sizeof(t->buf) / 2)
		t->len = 0;
}

/* A thread a CPU: vCPU and devices are to race, and a scheduler with other
 * things to do would have them take turns. */
static void spread(const struct host *h)
{
	long ncpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct dirent *e;
	char path[64];
	long i = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)h->pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		cpu_set_t set;
		long tid = strtol(e->d_name, NULL, 10);

		if (tid <= 0)
			continue;
		CPU_ZERO(&set);
		CPU_SET((size_t)(i++ % ncpus), &set);
		/* Where CPUs are forbidden, so be it. */
		if (sched_setaffinity((pid_t)tid, sizeof(set), &set) < 0)
			break;
	}
	if (d)
		closedir(d);
}

static void read_control(struct host *h)
{
	struct ctl_event e;

	if (ctl_recv_event(h->control, &e) != 1) {
		close_fd(&h->control);
		return;
	}
	if (e.type == CTL_STARTED) {
		h->started = 1;
		spread(h);
	}
	if (e.type == CTL_STATS) {
		h->answers++;
		h->asked_ns = 0;
		h->next_ns = io_now_ns() + PAUSE_NS;
	}
	if (e.type != CTL_STOPPED && e.type != CTL_FAILED)
		return;
	h->stop = e.type == CTL_STOPPED ? e.stop : 0;
	memcpy(h->stop_msg, e.msg, sizeof(h->stop_msg));
}

/* Again and again, but leaving the CPU to others. */
static void ask(struct host *h)
{
	uint64_t now = io_now_ns();

	if (!h->started || h->stop || h->control < 0)
		return;
	if (h->asked_ns && now - h->asked_ns > ANSWER_NS) {
		fail(h, "the VMM does not answer its launcher");
		kill(h->pid, SIGKILL);
	} else if (!h->asked_ns && now >= h->next_ns &&
		   ctl_send_query(h->control) == 0) {
		h->asked_ns = now;
	}
}

static void serve_stream(struct host *h, unsigned i, short events)
{
	static char buf[65536];
	int fd = h->stream[i];
	ssize_t n = 1;

	if (i == SOURCE && events & POLLOUT)
		n = send(fd, buf, sizeof(buf), MSG_NOSIGNAL);
	if (i != DEAF && events & POLLIN) {
		n = read(fd, buf, sizeof(buf));
		/* What the guest does not take back is lost. */
		if (i == ECHO && n > 0)
			n = send(fd, buf, (size_t)n, MSG_NOSIGNAL) ? 1 : 1;
		if (i == CLOSER)
			n = 0;
	}
	if (n == 0 || (n < 0 && errno != EAGAIN) || events & POLLERR ||
	    (events & (POLLHUP | POLLIN)) == POLLHUP)
		close_fd(&h->stream[i]);
}

static void flood(struct host *h)
{
	static char yes[4096];

	memset(yes, 'y', sizeof(yes));
	if (write(h->in, yes, sizeof(yes)) < 0 && errno != EAGAIN)
		close_fd(&h->in);
}

/* One turn; false when the VMM has closed everything, or on a deadline. */
static int turn(struct host *h, const struct options *o, uint64_t deadline)
{
	struct pollfd p[4 + STREAMS] = {
		{ .fd = h->out, .events = POLLIN },
		{ .fd = h->control, .events = POLLIN },
		{ .fd = h->words, .events = POLLIN },
		{ .fd = h->flooding ? h->in : -1, .events = POLLOUT },
	};

	if (h->out < 0 && h->control < 0 && h->words < 0)
		return 0;
	for (unsigned i = 0; i < STREAMS; i++)
		p[4 + i] = (struct pollfd){
			.fd = h->stream[i],
			.events = i == DEAF ? 0 : i == SOURCE ?
				  POLLIN | POLLOUT : POLLIN };
	if (io_now_ns() > deadline)
		return 0;
	ask(h);
	if (h->net_flooding)
		attack_tap_flood(&h->tap);
	if (poll(p, ARRAY_SIZE(p), 20) <= 0)
		return 1;
	if (p[0].revents)
		read_console(h, o);
	if (p[1].revents)
		read_control(h);
	if (p[2].revents && !gather(h->words, &h->said))
		close_fd(&h->words);
	if (p[3].revents)
		flood(h);
	for (unsigned i = 0; i < STREAMS; i++)
		if (p[4 + i].revents)
			serve_stream(h, i, p[4 + i].revents);
	return 1;
}

/* --- the verdict ---------------------------------------------------------- */

static void judge_disks(struct host *h)
{
	const char *what = attack_disks_judge(&h->disks);

	if (what)
		fail(h, what);
}

static void judge_words(struct host *h, uint64_t ns)
{
	unsigned lines = 0;

	for (size_t i = 0; i < h->said.len; i++)
		lines += h->said.buf[i] == '\n';
	if (lines > WORDS_PER_SECOND * (ns / 1000000000u + 2))
		fail(h, "the VMM's log was flooded");
}

static void judge_end(struct host *h, const struct options *o, int status,
		      const struct rusage *u)
{
	char msg[ERR_MSG_MAX + 64];

	if (!WIFEXITED(status) || WEXITSTATUS(status) ||
	    h->stop != CTL_STOP_POWEROFF) {
		snprintf(msg, sizeof(msg), "wait status %#x, stop %u: %s",
			 (unsigned)status, h->stop, h->stop_msg);
		fail(h, msg);
		/* a sanitizer's report, most of all; it comes last */
		printf("%s\n", h->said.buf +
		       (h->said.len > SAID_MAX ? h->said.len - SAID_MAX : 0));
	}
	if (u->ru_maxrss >> 10 > (long)(ATTACK_RAM >> 20) + o->mib) {
		snprintf(msg, sizeof(msg), "peak memory %ld MiB",
			 u->ru_maxrss >> 10);
		fail(h, msg);
	}
	if (h->nfds > FDS_MAX)
		fail(h, "the VMM has too many descriptors");
	if (o->verbose)
		printf("    host: peak memory %ld MiB, %u descriptors, %u "
		       "queries, %zu bytes said\n", u->ru_maxrss >> 10,
		       h->nfds, h->answers, h->said.len);
}

/* One boot, from h->disks where they are. */
static int run_once(struct host *h, const struct options *o,
		    const char *payload)
{
	uint64_t from = io_now_ns(), ns;
	struct rusage u;
	int status = 0;

	if (boot(h, o, payload) < 0)
		return -1;
	while (turn(h, o, from + (uint64_t)o->seconds * 1000000000u))
		;
	ns = io_now_ns() - from;
	if (ns > (uint64_t)o->seconds * 1000000000u) {
		fail(h, "no end");
		kill(h->pid, SIGKILL);
	}
	while (wait4(h->pid, &status, 0, &u) < 0 && errno == EINTR)
		;
	judge_end(h, o, status, &u);
	judge_words(h, ns);
	judge_disks(h);
	drop(h);
	close_fd(&h->out), close_fd(&h->control), close_fd(&h->words);
	close_fd(&h->in);
	for (unsigned i = 0; i < STREAMS; i++)
		close_fd(&h->stream[i]);
	return 0;
}

/* All of a machine but its disks and what was counted. */
static void clear(struct host *h)
{
	h->flooding = h->net_flooding = h->started = h->again = 0;
	h->asked_ns = 0;
	h->stop = 0;
	h->console.len = h->said.len = 0;
	memset(h->dial, -1, sizeof(h->dial));
}

static int run_payload(const struct options *o, const char *payload)
{
	static struct host h;
	const char *name = strrchr(payload, '/');
	uint64_t from = io_now_ns();

	memset(&h, 0, sizeof(h));
	attack_disks_init(&h.disks);
	h.tap = o->tap;
	fflush(stdout);
	do {
		clear(&h);
		if (run_once(&h, o, payload) < 0) {
			fprintf(stderr, "attack-run: %s\n", strerror(errno));
			return 1;
		}
	} while (h.again && !h.fail);
	attack_disks_free(&h.disks);
	name = name ? name + 1 : payload;
	if (h.fail || !h.pass) {
		printf("FAIL %s on %s: %u failed, %u passed\n", name,
		       o->engine, h.fail, h.pass);
		return 1;
	}
	printf("ok   %s on %s: %u passed, %u skipped, %.0f ms\n", name,
	       o->engine, h.pass + 1, h.skip,
	       (double)(io_now_ns() - from) / 1e6);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .seconds = 600, .mib = 64, .kvm_fd = -1 };
	int failed = 0, c;

	while ((c = getopt(argc, argv, "vt:m:")) != -1) {
		if (c == 'v')
			o.verbose = 1;
		else if (c == 't')
			o.seconds = (int)strtol(optarg, NULL, 10);
		else if (c == 'm')
			o.mib = strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (argc - optind < 3) {
		fprintf(stderr, "usage: attack-run [-v] [-t SECONDS] [-m MIB] "
			"VMM kvm|soft PAYLOAD...\n");
		return 2;
	}
	o.vmm = argv[optind];
	o.engine = argv[optind + 1];
	if (!strcmp(o.engine, "kvm")) {
		o.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
		if (o.kvm_fd < 0) {
			printf("ok 1 - attacks # SKIP open /dev/kvm: %s\n",
			       strerror(errno));
			return 0;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	attack_tap_init(&o.tap);
	for (int i = optind + 2; i < argc; i++)
		failed |= run_payload(&o, argv[i]);
	return failed;
}
