/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly run: one command in a fresh microVM. */
#include "runner/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/artifact.h"
#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/meta.h"
#include "runner/opts.h"
#include "runner/run.h"
#include "runner/scratch.h"
#include "runner/vmm/gmem.h"

#define GUEST_CID 3 /* virtio 1.2 5.10.4: the first that is not reserved */

/*
 * panic=-1 reboot=k: a panic ends the VM at once, by the keyboard controller.
 * The rest saves work at boot (kernel-config/README.md has the numbers): there
 * is no PCI to look for, patching LOCK prefixes out for one CPU takes longer
 * than a short run gains by it, and nobody reads /sys/kernel/slab.
 * quiet: the console is a serial port, and every character costs an exit.
 * tsc=reliable: soft's TSC is the host's clock; no watchdog need watch it.
 * swiotlb: with RAM above 4 GiB Linux would set 64 MiB apart for devices that
 * cannot reach it; ours reach all.
 */
#define CMDLINE	      "console=ttyS0 reboot=k panic=-1 pci=off noreplace-smp " \
		      "initcall_blacklist=slab_late_init,pci_arch_init"
#define CMDLINE_QUIET "quiet"
#define CMDLINE_SOFT  "tsc=reliable"
#define CMDLINE_HIGH  "swiotlb=noforce"

#define FIELD(f) offsetof(struct config, f)
static const struct opt run_options[] = {
	{ "engine", 0, "NAME", "MAYFLY_ENGINE",
	  "auto, kvm or soft; auto proves that KVM works, else takes soft",
	  config_set_engine, FIELD(engine) },
	{ "cpus", 0, "N", "MAYFLY_CPUS", "number of CPUs (1)", config_set_cpus,
	  FIELD(cpus) },
	{ "memory", 'm', "SIZE", "MAYFLY_MEMORY",
	  "memory: 512m, 2g; a bare number is MiB (512m)", config_set_memory,
	  FIELD(memory) },
	{ "kernel", 0, "FILE", "MAYFLY_KERNEL",
	  "guest kernel, vmlinux or bzImage (the one built with mayfly)",
	  opt_string, FIELD(kernel) },
	{ "append", 0, "WORDS", NULL, "add to the kernel command line",
	  opt_string, FIELD(append) },
	{ "rootfs", 0, "FILE", NULL,
	  "root image: ext4, erofs or squashfs; it is never written to",
	  opt_string, FIELD(rootfs) },
	{ "env", 'e', "NAME=VALUE", NULL,
	  "set a variable; NAME alone hands on your own", config_add_env,
	  FIELD(env) },
	{ "env-file", 0, "FILE", NULL,
	  "take variables from a file, one NAME=VALUE a line",
	  config_add_env_file, FIELD(env_files) },
	{ "user", 'u', "USER[:GROUP]", NULL,
	  "names of the image, or numbers, to run the command as (root)",
	  config_set_user, FIELD(user) },
	{ "workdir", 'w', "DIR", NULL, "directory to run the command in",
	  config_set_workdir, FIELD(workdir) },
	{ "interactive", 'i', NULL, NULL, "hand on standard input", opt_flag,
	  FIELD(interactive) },
	{ "tty", 't', NULL, NULL,
	  "give the command a terminal; with -i yours, raw", opt_flag,
	  FIELD(tty) },
	{ "timeout", 0, "DURATION", NULL,
	  "kill after this time: 90, 1.5s, 2m; exit code 124",
	  config_set_duration, FIELD(timeout_ns) },
	{ "boot-timeout", 0, "DURATION", "MAYFLY_BOOT_TIMEOUT",
	  "give up on a guest that is not up in this time (30s)",
	  config_set_duration, FIELD(boot_timeout_ns) },
	{ "stop-timeout", 0, "DURATION", NULL,
	  "after INT, TERM or HUP, kill a command that goes on (10s)",
	  config_set_duration, FIELD(stop_timeout_ns) },
	{ "console", 0, "FILE", NULL, "write the guest's console to a file",
	  opt_string, FIELD(console) },
	{ "meta", 0, "FILE", NULL, "write a report of the run as JSON",
	  opt_string, FIELD(meta) },
	{ "verbose", 0, NULL, NULL, "say on stderr what is done", opt_flag,
	  FIELD(verbose) },
};

const struct opt_table cmd_run_table = {
	.command = "run",
	.usage = "[OPTIONS] IMAGE [CMD [ARG...]]\n"
		 "[OPTIONS] -- CMD [ARG...]",
	.about = "Run a command in a microVM of its own and exit as it does. "
		 "After `--` comes\nthe command, on the built-in root image "
		 "or that of --rootfs. What it writes to\nits disk vanishes "
		 "with it.\n\n"
		 "Exit codes: the command's own, 128+N for signal N, 124 "
		 "--timeout, 125 mayfly\nor its guest failed, 126 cannot be "
		 "executed, 127 not found, 141 standard\noutput was closed by "
		 "its reader.",
	.opt = run_options,
	.nopts = ARRAY_SIZE(run_options),
};

static int open_or(const struct artifacts *a, enum artifact which,
		   const char *path, const char *what, struct err *err)
{
	return path ? machine_open_file(what, path, err)
		    : artifact_open(a, which, err);
}

/* Kernel, initramfs and both disks. */
static int give_files(struct machine *m, const struct config *c,
		      const struct artifacts *a, struct err *err)
{
	_cleanup_fd_ int empty = -1;
	int fd;

	fd = open_or(a, ARTIFACT_KERNEL, c->kernel, "kernel", err);
	if (fd < 0)
		return fd;
	m->boot.kernel_fd = machine_give(m, fd);
	fd = artifact_open(a, ARTIFACT_AGENT, err);
	if (fd < 0)
		return fd;
	m->boot.initrd_fd = machine_give(m, fd);
	fd = open_or(a, ARTIFACT_BASE, c->rootfs, "rootfs", err);
	if (fd < 0)
		return fd;
	machine_disk(m, fd, 1);
	empty = artifact_open(a, ARTIFACT_SCRATCH, err);
	if (empty < 0)
		return empty;
	fd = scratch_create(empty, err);
	if (fd < 0)
		return fd;
	machine_disk(m, fd, 0);
	return 0;
}

static int give_cmdline(struct machine *m, const struct config *c,
			struct err *err)
{
	int r = machine_cmdline(m, CMDLINE, err);

	/* Who keeps the console wants to read it. */
	if (r == 0 && !c->console)
		r = machine_cmdline(m, CMDLINE_QUIET, err);
	if (r == 0 && m->boot.engine == CTL_ENGINE_SOFT)
		r = machine_cmdline(m, CMDLINE_SOFT, err);
	if (r == 0 && c->memory > GMEM_HOLE_START)
		r = machine_cmdline(m, CMDLINE_HIGH, err);
	if (r == 0 && c->append)
		r = machine_cmdline(m, c->append, err);
	return r;
}

/* Everything opened, mayfly-vmm started. *@agent is our end of the stream. */
static int prepare(struct machine *m, const struct config *c,
		   struct console *console, struct ev_loop *loop, int *agent,
		   struct err *err)
{
	_cleanup_fd_ int vmm = -1;
	struct artifacts a;
	int pair[2], writer, r;

	r = artifacts_find(&a, err);
	if (r < 0)
		return r;
	vmm = artifact_open(&a, ARTIFACT_VMM, err);
	if (vmm < 0)
		return vmm;
	r = console_init(console, loop, c->console, &writer, err);
	if (r < 0)
		return r;
	m->boot.console_out_fd = machine_give(m, writer);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, -errno, "agent stream");
	*agent = pair[0];
	m->boot.guest_cid = GUEST_CID;
	machine_stream(m, WIRE_PORT, pair[1]);
	r = give_files(m, c, &a, err);
	if (r == 0)
		r = give_cmdline(m, c, err);
	return r < 0 ? r : machine_start(m, vmm, err);
}

static void show_console(const struct console *c)
{
	char line[CONSOLE_LINE_MAX];
	size_t pos = 0;

	while (console_line(c, &pos, line))
		dprintf(STDERR_FILENO, "  | %s\n", line);
}

/* One attempt on the engine that @m has. */
static int attempt(const struct config *c, struct machine *m,
		   struct run_result *r, struct err *err)
{
	struct console console = { .fd = -1, .file = -1 };
	struct ev_loop loop;
	_cleanup_fd_ int agent = -1;
	int code = ev_loop_init(&loop);

	if (code < 0)
		return err_set(err, code, "epoll");
	code = prepare(m, c, &console, &loop, &agent, err);
	if (code == 0) {
		const struct run_params p = {
			.config = c,
			.limits = &run_limits,
			.loop = &loop,
			.console = &console,
			.machine = m,
			.agent_fd = steal_fd(&agent),
		};

		code = run_command(&p, r, err);
	}
	if (r->verdict == VERDICT_VM_CRASH && !r->engine_failed)
		show_console(&console);
	console_free(&console);
	ev_loop_free(&loop);
	return code;
}

/*
 * Engine auto means that the command runs: where kvm gives up before the
 * guest is ready, nothing was read or written yet, and soft takes over.
 */
static int on_some_engine(const struct config *c, struct machine *m,
			  struct run_result *r, struct err *err)
{
	uint64_t begin = r->begin_ns;
	int code = machine_pick_engine(m, c->engine, err);

	if (code < 0)
		return code;
	code = attempt(c, m, r, err);
	if (!r->engine_failed || c->engine != CONFIG_ENGINE_AUTO ||
	    m->boot.engine != CTL_ENGINE_KVM)
		return code;
	log_info("engine kvm: %s; taking engine soft", err->msg);
	machine_free(m);
	machine_init(m, c);
	snprintf(m->engine_why, sizeof(m->engine_why), "%s", err->msg);
	*err = (struct err){ 0 };
	*r = (struct run_result){ .begin_ns = begin };
	return attempt(c, m, r, err);
}

/* What a person at a terminal would wonder about. */
static void notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void notice(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!isatty(STDERR_FILENO) && log_get_level() == LOG_QUIET)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "mayfly: %s\n", text);
}

static void tell(const struct config *c, const struct machine *m,
		 const struct run_result *r)
{
	if (r->ncpus && r->ncpus < c->cpus)
		notice("engine %s has %u of the %u CPUs asked for",
		       machine_engine_name(m), r->ncpus, c->cpus);
	if (r->verdict == VERDICT_TIMEOUT)
		notice("the command was ended after its --timeout of %g s",
		       (double)c->timeout_ns / 1e9);
	if (r->ready_ns)
		log_info("engine %s, up after %.1f ms", machine_engine_name(m),
			 (double)(r->ready_ns - r->begin_ns) / 1e6);
	log_info("verdict %s, exit code %d", verdict_name(r->verdict),
		 r->exit_code);
}

static int run(const struct config *c, uint64_t begin, struct err *err)
{
	struct run_result r = { .begin_ns = begin };
	struct machine m;
	int code;

	machine_init(&m, c);
	code = config_check_host(c, err);
	if (code == 0)
		code = on_some_engine(c, &m, &r, err);
	if (code < 0)
		verdict_set(&r, VERDICT_INTERNAL, EXIT_INTERNAL);
	machine_free(&m);
	tell(c, &m, &r);
	if (c->meta) {
		const struct meta meta = {
			.config = c,
			.result = &r,
			.engine = r.ncpus ? machine_engine_name(&m) : NULL,
			.engine_why = m.engine_why,
			.error = err,
		};
		struct err why = { 0 };
		int w = meta_write(&meta, c->meta, &why);

		/* The first thing that failed is the one to tell. */
		if (w < 0 && code == 0 && !err->code) {
			*err = why;
			return w;
		}
	}
	return code < 0 ? code : r.exit_code;
}

/* IMAGE comes first unless `--` came before. */
static int take_operands(struct config *c, char **argv,
			 const struct opt_rest *rest, struct err *err)
{
	int r;

	c->argv = argv + rest->first;
	if (rest->dashes && c->argv[0])
		return 0;
	if (rest->dashes || !c->argv[0]) {
		r = err_say(err, -EINVAL, "run: no command");
		err_hint(err, "mayfly run -- CMD [ARG...]");
		return r;
	}
	r = err_say(err, -ENOSYS, "image %s: named images are not there yet",
		    c->argv[0]);
	err_hint(err, "put -- before a command for the built-in image, or "
		      "name an image file with --rootfs");
	return r;
}

int cmd_run(int argc, char **argv, struct err *err)
{
	uint64_t begin = io_now_ns();
	struct opt_rest rest;
	struct config c;
	int r;

	config_init(&c);
	r = opts_parse(&cmd_run_table, &c, argc, argv, &rest, err);
	if (r == 0 && rest.help) {
		config_free(&c);
		return opts_help(&cmd_run_table);
	}
	if (r == 0)
		r = take_operands(&c, argv, &rest, err);
	if (r == 0 && config_load_env(&c, err) < 0)
		r = err_wrap(err, "run");
	if (r == 0 && c.verbose)
		log_set_level(LOG_INFO);
	if (r == 0 && c.meta)
		r = meta_check(c.meta, err);
	if (r == 0)
		r = run(&c, begin, err);
	config_free(&c);
	return r;
}
