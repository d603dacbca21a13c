/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly boot: a kernel of the user's, its serial console on the terminal. */
#include "runner/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runner/artifact.h"
#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/config_options.h"
#include "runner/confine.h"
#include "runner/console.h"
#include "runner/jail_tell.h"
#include "runner/machine.h"
#include "runner/opts.h"
#include "runner/sink.h"
#include "runner/terminal.h"
#include "runner/verdict.h"

#define CMDLINE "console=ttyS0 reboot=k panic=-1"
#define ESCAPE	0x1d /* Ctrl-] */

#define FIELD CONFIG_FIELD
static const struct opt boot_options[] = {
	{ "kernel", 0, "FILE", "MAYFLY_KERNEL", "vmlinux or bzImage",
	  opt_string, FIELD(kernel) },
	{ "initrd", 0, "FILE", NULL, "initial RAM disk", opt_string,
	  FIELD(initrd) },
	{ "append", 0, "WORDS", NULL, "add to the kernel command line",
	  opt_string, FIELD(append) },
	{ "disk", 0, "FILE", NULL, "disk image, read-only, as /dev/vda",
	  opt_string, FIELD(disk) },
	CONFIG_SIZE_OPTIONS,
	{ "engine", 0, "auto|kvm|soft", "MAYFLY_ENGINE",
	  "what runs the guest's CPUs (auto)", config_set_engine,
	  FIELD(engine) },
	CONFIG_JAIL_OPTIONS,
	{ "verbose", 0, NULL, NULL, "say on stderr what is done", opt_flag,
	  FIELD(verbose) },
};

const struct opt_table cmd_boot_table = {
	.command = "boot",
	.usage = "--kernel FILE [OPTIONS]",
	.about = "Boot a kernel in a microVM. Its first serial port is "
		 "standard input and output.\nCtrl-] quits when standard "
		 "input is a terminal. The kernel command line is\n\"" CMDLINE
		 "\" and what --append adds.\n\n"
		 "Exit codes: 0 the guest reset or powered itself off, 125 it "
		 "crashed, 128+N\nmayfly got signal N.",
	.opt = boot_options,
	.nopts = ARRAY_SIZE(boot_options),
};

struct boot {
	struct ev_loop loop;
	struct machine machine;
	struct console console;
	struct terminal terminal;
	struct sink out, to_guest;
	struct stream in;
	struct ev input, control, signals;
	int signal_fd;
	int over;  /* the VM is gone: only output is left to do */
	int reset; /* by the guest's own doing */
	int exit_code;
	struct err *err;
};

static void stop_if_flushed(struct boot *b)
{
	if (b->over && b->console.fd < 0 && !b->out.len)
		ev_stop(&b->loop);
}

static void over(struct boot *b, int exit_code)
{
	if (b->over)
		return;
	b->over = 1;
	b->exit_code = exit_code;
	ev_del(&b->input);
	ev_del(&b->control);
	machine_kill(&b->machine);
	stop_if_flushed(b);
}

static void quit(struct boot *b, int exit_code)
{
	over(b, exit_code);
	b->exit_code = exit_code;
	ev_stop(&b->loop);
}

static void saw_console(void *opaque, const char *bytes, size_t n)
{
	struct boot *b = opaque;

	sink_put(&b->out, bytes, n);
	if (b->out.error)
		quit(b, 128 + SIGPIPE);
	else if (n && sink_room(&b->out) < CONSOLE_CHUNK)
		ev_set(&b->loop, &b->console.ev, 0);
	stop_if_flushed(b);
}

static void out_moved(struct sink *k, void *opaque)
{
	struct boot *b = opaque;

	if (k->error)
		quit(b, 128 + SIGPIPE);
	else if (b->console.fd >= 0 && sink_room(k) >= CONSOLE_CHUNK)
		ev_set(&b->loop, &b->console.ev, EPOLLIN);
	stop_if_flushed(b);
}

static void read_input(struct boot *b, int ready)
{
	char buf[CONSOLE_CHUNK];

	while (!b->over && sink_room(&b->to_guest) >= sizeof(buf)) {
		ssize_t n = -EAGAIN;
		const char *esc = NULL;

		if (ready || b->in.kind != STREAM_SHARED)
			n = stream_read(&b->in, buf, sizeof(buf));
		ready = 0;
		if (n == -EAGAIN) {
			ev_set(&b->loop, &b->input, EPOLLIN);
			return;
		}
		/* The guest goes on without its keyboard. */
		if (n <= 0 || b->to_guest.error)
			break;
		if (b->terminal.fd >= 0)
			esc = memchr(buf, ESCAPE, (size_t)n);
		sink_put(&b->to_guest, buf,
			 esc ? (size_t)(esc - buf) : (size_t)n);
		if (esc)
			quit(b, 0);
	}
	ev_del(&b->input);
}

static void on_input(struct ev *ev, uint32_t events)
{
	(void)events;
	read_input(container_of(ev, struct boot, input), 1);
}

static void to_guest_moved(struct sink *k, void *opaque)
{
	if (!k->error)
		read_input(opaque, 0);
}

static void stopped(struct boot *b, const struct ctl_event *e)
{
	if (e->stop == CTL_STOP_SHUTDOWN || e->stop == CTL_STOP_ERROR) {
		err_say(b->err, -EIO, "the guest crashed: %s", e->msg);
		over(b, EXIT_INTERNAL);
	} else {
		b->reset = 1;
		over(b, 0);
	}
}

static void on_control(struct ev *ev, uint32_t events)
{
	struct boot *b = container_of(ev, struct boot, control);
	struct ctl_event e;
	int r = machine_event(&b->machine, &e);

	(void)events;
	if (r <= 0) {
		err_say(b->err, -EIO, "mayfly-vmm ended unexpectedly");
		over(b, EXIT_INTERNAL);
	} else if (e.type == CTL_FAILED) {
		err_say(b->err, -EIO, "%s", e.msg);
		if (e.hint[0])
			err_hint(b->err, "%s", e.hint);
		over(b, EXIT_INTERNAL);
	} else if (e.type == CTL_STARTED) {
		terminal_pause(&b->terminal);
		jail_tell(&b->machine.jail);
		terminal_resume(&b->terminal);
	} else if (e.type == CTL_STOPPED) {
		stopped(b, &e);
	}
}

static void on_signal(struct ev *ev, uint32_t events)
{
	struct boot *b = container_of(ev, struct boot, signals);
	int signo = ev_signal(ev->fd);

	(void)events;
	if (signo)
		quit(b, 128 + signo);
}

/* Kernel, initrd, disk, console both ways; *@to_guest is ours. */
static int describe(struct boot *b, const struct config *c, int *to_guest)
{
	struct machine *m = &b->machine;
	int p[2], fd, r;

	fd = machine_open_file("kernel", c->kernel, b->err);
	if (fd < 0)
		return fd;
	m->boot.kernel_fd = machine_give(m, fd);
	if (c->initrd) {
		fd = machine_open_file("initrd", c->initrd, b->err);
		if (fd < 0)
			return fd;
		m->boot.initrd_fd = machine_give(m, fd);
	}
	if (c->disk) {
		fd = machine_open_disk("disk", c->disk, b->err);
		if (fd < 0)
			return fd;
		machine_disk(m, CTL_DISK_READ, &fd, 1, NULL);
	}
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_set(b->err, -errno, "console pipe");
	m->boot.console_in_fd = machine_give(m, p[0]);
	*to_guest = p[1];
	r = console_init(&b->console, &b->loop, NULL, &fd, b->err);
	if (r < 0)
		return r;
	m->boot.console_out_fd = machine_give(m, fd);
	r = machine_cmdline(m, CMDLINE, b->err);
	return r == 0 && c->append ? machine_cmdline(m, c->append, b->err) : r;
}

static int start_vmm(struct boot *b, const struct config *c)
{
	_cleanup_fd_ int vmm = -1;
	struct artifacts a;
	int r = artifacts_find(&a, b->err);

	if (r < 0)
		return r;
	vmm = artifact_open(&a, ARTIFACT_VMM, b->err);
	if (vmm < 0)
		return vmm;
	r = confine(&b->machine, c, NULL, b->err);
	return r < 0 ? r : machine_start(&b->machine, vmm, b->err);
}

static int watch(struct boot *b, struct ev *ev, int fd, ev_fn fn)
{
	if (fd < 0)
		return fd;
	*ev = (struct ev){ .fd = fd, .fn = fn };
	return ev_set(&b->loop, ev, EPOLLIN);
}

static int open_streams(struct boot *b, int to_guest)
{
	struct stream s;
	int r = stream_own(&s, to_guest);

	if (r == 0)
		r = sink_init(&b->to_guest, &b->loop, &s, to_guest_moved, b);
	if (r == 0)
		r = stream_private(&s, STDOUT_FILENO, O_WRONLY);
	if (r == 0)
		r = sink_init(&b->out, &b->loop, &s, out_moved, b);
	if (r == 0)
		r = stream_private(&b->in, STDIN_FILENO, O_RDONLY);
	if (r == 0)
		r = terminal_raw(&b->terminal, STDIN_FILENO);
	return r < 0 ? err_set(b->err, r, "standard streams") : 0;
}

static int serve(struct boot *b, const sigset_t *signals)
{
	int r;

	b->console.saw = saw_console;
	b->console.opaque = b;
	b->input = (struct ev){ .fd = b->in.fd, .fn = on_input };
	b->signal_fd = signalfd(-1, signals, SFD_CLOEXEC);
	r = watch(b, &b->signals, b->signal_fd, on_signal);
	if (r == 0)
		r = watch(b, &b->control, b->machine.control, on_control);
	if (r == 0) {
		read_input(b, 0);
		r = ev_run(&b->loop);
	}
	return r < 0 ? err_set(b->err, r, "event loop") : 0;
}

static void release(struct boot *b)
{
	terminal_restore(&b->terminal);
	machine_free(&b->machine);
	sink_free(&b->out);
	sink_free(&b->to_guest);
	stream_close(&b->in);
	console_free(&b->console);
	close_fd(&b->signal_fd);
	ev_loop_free(&b->loop);
}

/* A panic resets, too; only what it wrote to its console tells. */
static void look_for_panic(struct boot *b)
{
	char words[CONSOLE_LINE_MAX];

	if (!b->reset || !console_panic(&b->console, words))
		return;
	err_say(b->err, -EIO, "the guest crashed: kernel panic: %s", words);
	b->exit_code = EXIT_INTERNAL;
}

static int boot(const struct config *c, struct err *err)
{
	struct boot b = { .err = err, .signal_fd = -1 };
	sigset_t signals, before;
	int to_guest = -1, r;

	b.out.s.fd = b.to_guest.s.fd = b.in.fd = b.terminal.fd = -1;
	b.console.fd = b.console.file = -1;
	machine_init(&b.machine, c);
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, &before);
	r = ev_loop_init(&b.loop);
	if (r < 0)
		err_set(err, r, "epoll");
	if (r == 0)
		r = machine_pick_engine(&b.machine, c->engine, err);
	if (r == 0)
		r = describe(&b, c, &to_guest);
	if (r == 0)
		r = start_vmm(&b, c);
	if (r == 0)
		r = open_streams(&b, steal_fd(&to_guest));
	if (r == 0)
		r = serve(&b, &signals);
	if (r == 0)
		look_for_panic(&b);
	close_fd(&to_guest);
	release(&b);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r < 0 ? r : b.exit_code;
}

int cmd_boot(int argc, char **argv, struct err *err)
{
	struct opt_rest rest;
	struct config c;
	int r;

	config_init(&c);
	r = opts_parse(&cmd_boot_table, &c, argc, argv, &rest, err);
	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_boot_table);
	if (rest.first < argc)
		return err_say(err, -EINVAL, "boot: %s: takes no operand",
			       argv[rest.first]);
	if (!c.kernel) {
		r = err_say(err, -EINVAL, "boot: no kernel");
		err_hint(err, "name one with --kernel");
		return r;
	}
	if (c.verbose)
		log_set_level(LOG_INFO);
	r = config_check_host(&c, err);
	return r < 0 ? r : boot(&c, err);
}
