/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly run: one command in a fresh microVM. */
#include "runner/cmd.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/config_image.h"
#include "runner/config_options.h"
#include "runner/image_import.h"
#include "runner/image_pull.h"
#include "runner/meta.h"
#include "runner/opts.h"
#include "runner/supervise.h"

#define FIELD CONFIG_FIELD
static const struct opt run_options[] = {
	{ .help = "The command" },
	{ "interactive", 'i', NULL, NULL, "hand on standard input", opt_flag,
	  FIELD(interactive) },
	{ "tty", 't', NULL, NULL,
	  "give the command a terminal; with -i yours, raw", opt_flag,
	  FIELD(tty) },
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
	{ "entrypoint", 0, "PROGRAM", NULL,
	  "what to run in place of the image's entry point and command",
	  opt_string, FIELD(entrypoint) },
	{ .help = "Its time" },
	{ "timeout", 0, "DURATION", NULL,
	  "kill after this time: 90, 1.5s, 2m; exit code 124",
	  config_set_duration, FIELD(timeout_ns) },
	{ "cpu-time", 0, "DURATION", NULL,
	  "kill after this much CPU time of all CPUs; exit code 152",
	  config_set_duration, FIELD(cpu_time_ns) },
	{ "stop-timeout", 0, "DURATION", NULL,
	  "after INT, TERM or HUP, kill a command that goes on (10s)",
	  config_set_duration, FIELD(stop_timeout_ns) },
	{ "boot-timeout", 0, "DURATION", "MAYFLY_BOOT_TIMEOUT",
	  "give up on a guest that is not up in this time (30s)",
	  config_set_duration, FIELD(boot_timeout_ns) },
	{ .help = "What it may use" },
	{ "pids-limit", 0, "N", NULL,
	  "kill at more processes and threads than this; exit code 137",
	  config_set_pids, FIELD(pids_max) },
	{ "max-output", 0, "SIZE", NULL,
	  "kill at more output than this, of both streams; exit code 153",
	  config_set_output, FIELD(output_max) },
	{ .help = "Its machine" },
	CONFIG_SIZE_OPTIONS,
	{ "cpu-shares", 0, "N", NULL,
	  "its weight where CPUs are short, against 1024 of others",
	  config_set_shares, FIELD(cpu_shares) },
	{ "rootfs", 0, "FILE", NULL,
	  "root image: ext4, erofs or squashfs; it is never written to",
	  opt_string, FIELD(rootfs) },
	{ "pull", 0, NULL, NULL, "get IMAGE from its registry if it is not here",
	  opt_flag, FIELD(pull) },
	{ "disk", 0, "SIZE", NULL,
	  "size of the disk that it writes to: 512m, 20g (10g)",
	  config_set_disk, FIELD(disk_size) },
	{ "drive", 0, "FILE[,ro|,cow]", NULL,
	  "one more disk, vdc and on; ro: to read, cow: writes vanish",
	  config_add_drive, FIELD(drives) },
	{ "drive-rate", 0, "bw=SIZE[:BURST],ops=N[:BURST]", NULL,
	  "at most so many bytes and requests a second, of each disk",
	  config_set_rates, FIELD(rates) },
	{ "engine", 0, "auto|kvm|soft", "MAYFLY_ENGINE",
	  "what runs its CPUs: auto proves that KVM works, else takes soft",
	  config_set_engine, FIELD(engine) },
	{ "kernel", 0, "FILE", "MAYFLY_KERNEL",
	  "guest kernel, vmlinux or bzImage (the one built with mayfly)",
	  opt_string, FIELD(kernel) },
	{ "append", 0, "WORDS", NULL, "add to the kernel command line",
	  opt_string, FIELD(append) },
	{ .help = "Its network: none, unless --net, --allow, --deny or -p ask for it" },
	{ "net", 0, "[=tap=NAME]", NULL,
	  "have one: out to public addresses and DNS; or a tap device as it is",
	  config_set_net, FIELD(net) },
	{ "allow", 0, "HOST|CIDR[:PORT]", NULL,
	  "reach what is so allowed and nothing else; *.HOST: all below it",
	  config_add_allow, FIELD(net) },
	{ "deny", 0, "HOST|CIDR[:PORT]", NULL,
	  "do not reach this, whatever is allowed", config_add_deny,
	  FIELD(net) },
	{ "publish", 'p', "[[HOSTIP:]HOSTPORT:]GUESTPORT[/udp]", NULL,
	  "have a port of the guest, or a range, on the host; 0: any that is free",
	  config_add_publish, FIELD(net) },
	{ "dns", 0, "ADDR", NULL,
	  "resolver that is asked for it (those of the host)", config_add_dns,
	  FIELD(net) },
	{ "mtu", 0, "N", NULL, "largest packet, in bytes (as the way out has)",
	  config_set_mtu, FIELD(net) },
	{ "net-rate", 0, "bw=SIZE[:BURST],ops=N[:BURST]", NULL,
	  "at most so many bytes and packets a second, each way",
	  config_set_rates, FIELD(net.rates) },
	{ "net-pool", 0, "CIDR", "MAYFLY_NET_POOL",
	  "addresses of networks on this host, for root (198.19.0.0/16)",
	  config_set_net_pool, FIELD(net) },
	{ .help = "Its files" },
	{ "read-only", 0, NULL, NULL,
	  "no writing but to /tmp, /dev/shm and what --tmpfs names", opt_flag,
	  FIELD(read_only) },
	{ "tmpfs", 0, "PATH[:SIZE]", NULL,
	  "files in memory there, at most SIZE (half of the memory)",
	  config_add_tmpfs, FIELD(tmpfs) },
	{ "volume", 'v', "HOST:GUEST", NULL,
	  "a read-only copy of the host's file or directory, in its place",
	  config_add_volume, FIELD(volumes) },
	{ "copy-in", 0, "HOST:GUEST", NULL,
	  "copy before the command begins, for it to write to",
	  config_add_copy_in, FIELD(copies_in) },
	{ "copy-out", 0, "GUEST:HOST", NULL,
	  "copy when the command has ended, however it did",
	  config_add_copy_out, FIELD(copies_out) },
	{ "copy-out-max", 0, "SIZE", NULL,
	  "no more of it than this, 4 KiB for each file besides (1g)",
	  config_set_output, FIELD(copy_out_max) },
	{ .help = "Its jail" },
	CONFIG_JAIL_OPTIONS,
	{ .help = "Detached runs" },
	{ "detach", 'd', NULL, NULL,
	  "print the run's id once the command runs, and leave it running",
	  opt_flag, FIELD(detach) },
	{ "name", 0, "NAME", NULL, "a name for `mayfly ps` and the like",
	  config_set_name, FIELD(name) },
	{ "rm", 0, NULL, NULL, "with -d: forget the run when it ends",
	  opt_flag, FIELD(auto_remove) },
	{ .help = "What is told" },
	{ "meta", 0, "FILE", NULL, "write a report of the run", opt_string,
	  FIELD(meta) },
	{ "meta-format", 0, "json|isolate", NULL,
	  "how --meta writes it; isolate: that sandbox's key:value (json)",
	  config_set_meta_format, FIELD(meta_format) },
	{ "stats", 0, NULL, NULL, "print what the run cost, on stderr",
	  opt_flag, FIELD(stats) },
	{ "trace", 0, "FILE", NULL,
	  "write where the time went, for Perfetto and chrome://tracing",
	  opt_string, FIELD(trace) },
	{ "console", 0, "FILE", NULL, "write the guest's console to a file",
	  opt_string, FIELD(console) },
	{ "verbose", 0, NULL, NULL, "say on stderr what is done", opt_flag,
	  FIELD(verbose) },
};

const struct opt_table cmd_run_table = {
	.command = "run",
	.usage = "[OPTIONS] IMAGE [CMD [ARG...]]\n"
		 "[OPTIONS] -- CMD [ARG...]",
	.about = "Run a command in a microVM of its own and exit as it does. "
		 "IMAGE is one that\n`mayfly pull` or `mayfly image import` "
		 "has brought, by name or id; it says what\nto run, as whom "
		 "and where, unless CMD and options do. After `--` comes a\n"
		 "command on the built-in root image or that of --rootfs. "
		 "What it writes to its\ndisk vanishes with it.\n\n"
		 "Exit codes: the command's own, 128+N for signal N, 124 "
		 "--timeout, 125 mayfly\nor its guest failed or there is no "
		 "such user, 126 cannot be executed, 127 not\nfound, 137 no "
		 "memory left or --pids-limit, 141 standard output was closed "
		 "by its\nreader, 152 --cpu-time, 153 --max-output.",
	.opt = run_options,
	.nopts = ARRAY_SIZE(run_options),
};

/* From the store, or by --pull from its registry. */
static int open_image(const struct config *c, const char *name,
		      struct config_image **ci, struct err *err)
{
	const struct image_pull pull = {
		.ref = name,
		.max_size = IMAGE_SIZE_DEFAULT,
	};
	char id[IMAGE_HEX_MAX];
	int r = config_image_open(ci, name, err);

	if (r != -ENOENT || !c->pull)
		return r;
	*err = (struct err){ 0 };
	r = image_pull(&pull, id, err);
	return r ? r : config_image_open(ci, name, err);
}

/* IMAGE [CMD [ARG...]] */
static int take_image(struct config *c, char **operands,
		      struct config_image **ci, struct err *err)
{
	const char *name = *operands++;
	int r;

	if (c->rootfs) {
		r = err_say(err, -EINVAL, "run: both an image, %s, and "
			    "--rootfs", name);
		err_hint(err, "put -- before a command for the root of "
			      "--rootfs");
		return r;
	}
	r = open_image(c, name, ci, err);
	if (r)
		return r;
	if (*operands && !strcmp(*operands, "--"))
		operands++;
	return config_image_apply(c, *ci, operands, err);
}

/* The same without one: the command is freed by the caller. */
static int take_command(struct config *c, char **words, char ***argv,
			struct err *err)
{
	int r = config_command(c, NULL, words, argv, err);

	if (r < 0)
		return r;
	c->argv = *argv;
	if (**argv)
		return 0;
	r = err_say(err, -EINVAL, "run: no command");
	err_hint(err, "mayfly run -- CMD [ARG...]");
	return r;
}

/* What the options leave to be done: 0, -errno, or the exit code of what a
 * signal ended. */
static int check(struct config *c, struct err *err)
{
	int r = 0;

	if (c->meta_format != CONFIG_META_JSON && !c->meta) {
		r = err_say(err, -EINVAL, "run: --meta-format without --meta");
		err_hint(err, "name a file with --meta");
	}
	if (r == 0 && c->meta)
		r = meta_check(c->meta, err);
	if (r == 0 && c->trace)
		r = meta_check_file("trace", c->trace, err);
	if (r == 0 && config_check_net(&c->net, err) < 0)
		r = err_wrap(err, "run");
	if (r == 0 && config_load_env(c, err) < 0)
		r = err_wrap(err, "run");
	return r;
}

int cmd_run(int argc, char **argv, struct err *err)
{
	uint64_t begin = io_now_ns();
	_cleanup_free_ char **command = NULL;
	struct config_image *image = NULL;
	struct opt_rest rest;
	struct config c;
	int r;

	config_init(&c);
	r = opts_parse(&cmd_run_table, &c, argc, argv, &rest, err);
	if (r == 0 && rest.help) {
		config_free(&c);
		return opts_help(&cmd_run_table);
	}
	if (r == 0 && c.verbose)
		log_set_level(LOG_INFO);
	if (r == 0)
		r = check(&c, err);
	argv += rest.first;
	/* IMAGE comes first unless `--` came before. */
	if (r == 0)
		r = *argv && !rest.dashes ?
			    take_image(&c, argv, &image, err) :
			    take_command(&c, argv, &command, err);
	/* A transfer is no part of the run. */
	if (c.pull)
		begin = io_now_ns();
	if (r == 0)
		r = supervise(&c, begin, err);
	config_free(&c);
	config_image_free(image);
	return r;
}
