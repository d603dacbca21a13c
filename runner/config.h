/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: what the user asked for.
 *
 * A `struct config` is filled by the option tables of the subcommands and
 * read-only from then on. Strings are borrowed from argv and the environment,
 * which live as long as the program; config_free() frees the lists.
 */
#ifndef MAYFLY_CONFIG_H
#define MAYFLY_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "jail/jail.h"
#include "net/addr.h"

struct config_image;
struct net_rules;
struct err;

enum config_engine {
	CONFIG_ENGINE_AUTO,
	CONFIG_ENGINE_KVM,
	CONFIG_ENGINE_SOFT,
};

enum config_meta {
	CONFIG_META_JSON,
	CONFIG_META_ISOLATE, /* key:value, as isolate(1) has them */
};

#define CONFIG_PIDS_MAX (1u << 22) /* what Linux can have */

#define CONFIG_MIB	  (1ull << 20)
#define CONFIG_MEMORY_MIN (32 * CONFIG_MIB)

struct strings {
	const char **v;
	size_t n;
};

struct config_cpus {
	unsigned n;	/* the guest's: milli, rounded up */
	unsigned milli; /* thousandths of a CPU of the host; 0: no limit */
};

enum config_drive_mode {
	CONFIG_DRIVE_WRITE,
	CONFIG_DRIVE_READ,
	CONFIG_DRIVE_COW, /* writes go with the VM */
};

#define CONFIG_DRIVES_MAX 10 /* CTL_DISKS, less the guest's own two */

struct config_drive {
	char *path; /* owned */
	enum config_drive_mode mode;
};

struct config_drives {
	struct config_drive v[CONFIG_DRIVES_MAX];
	size_t n;
};

/* A second's, and what may be had at once before that counts; 0: no limit. */
struct config_rate {
	uint64_t size, burst;
};

/* Of each disk. */
struct config_rates {
	struct config_rate bytes, ops;
};

#define CONFIG_COPIES_MAX 32 /* of each kind */

struct config_copy {
	char *host, *guest; /* owned; host "": of a tmpfs */
	uint64_t size;	    /* of a tmpfs; 0: as the guest has it */
};

struct config_copies {
	struct config_copy v[CONFIG_COPIES_MAX];
	size_t n;
};

#define CONFIG_PUBLISHES_MAX 32

/* A port of the guest that the host has too. */
struct config_publish {
	uint8_t family;	    /* of addr: 4, 6; 0: all addresses of the host */
	uint8_t addr[16];   /* in network order */
	uint16_t host_port; /* 0: any that is free */
	uint16_t guest_port;
	int udp;
};

struct config_publishes {
	struct config_publish v[CONFIG_PUBLISHES_MAX];
	size_t n;
};

#define CONFIG_DNS_MAX 3 /* as many as resolv.conf(5) takes */

#define CONFIG_MTU_MIN 1280 /* RFC 8200, section 5 */
#define CONFIG_MTU_MAX 65520

#define CONFIG_DOUBT_MAX 400

/* Its network. Setters get all of it: some options ask for one by the way. */
struct config_net {
	int on;
	const char *tap; /* the host's, in place of one of ours; or NULL */
	struct net_rules *rules; /* owned; NULL: none */
	struct net_addr dns[CONFIG_DNS_MAX];
	unsigned ndns;
	unsigned mtu; /* 0: the uplink's */
	struct config_rates rates; /* of each direction */
	struct config_publishes publish;
	struct net_prefix pool; /* of uplinks' addresses; family 0: the usual */
	char doubt[CONFIG_DOUBT_MAX]; /* of a rule, for the user; "": none */
};

/* mayfly-vmm's user is the first and the number of its process, as the host
 * counts them, on: Linux's numbers end below 2^22. */
#define CONFIG_UID_FIRST 1900000000u
#define CONFIG_UID_COUNT (1u << 22)

struct config {
	enum config_engine engine;
	struct config_cpus cpus;
	uint64_t memory;     /* bytes, a multiple of 4 KiB */
	const char *kernel;  /* NULL: ours */
	const char *initrd;  /* boot */
	const char *disk;    /* boot */
	const char *append;  /* more kernel command line, or NULL */
	const char *rootfs;  /* root image, NULL: the built-in one */
	struct config_image *image; /* NULL: rootfs, or the built-in one */
	int pull; /* get the image if it is not here */
	const char *entrypoint; /* NULL: the image's */
	int stop_signal; /* the image's, for `stop`; 0: none */
	uint64_t disk_size;  /* of what the guest writes to; 0: as built in */
	struct config_drives drives;
	struct config_rates rates;
	struct config_net net;
	struct config_copies tmpfs, volumes, copies_in, copies_out;
	uint64_t copy_out_max; /* bytes, with all files */
	int read_only;	       /* the guest's root */
	struct strings env;  /* NAME=value, no name twice */
	struct strings env_files; /* for config_load_env() */
	struct strings env_texts; /* their bytes, owned; `env` points there */
	const char *user;    /* name|uid[:name|gid], NULL: root */
	const char *cgroup_parent; /* NULL: jail/cgroup.h's own */
	const char *workdir; /* absolute, NULL: / */
	int interactive, tty;
	unsigned cpu_shares; /* against the 1024 of others; 0: as they have */
	struct jail_ids uid_range; /* whom mayfly-vmm may be */
	int strict; /* a layer of the jail that cannot be is an error */
	uint64_t boot_timeout_ns; /* from the start to READY */
	uint64_t stop_timeout_ns; /* from a forwarded signal to the VM's end */
	uint64_t timeout_ns; /* 0: none */
	uint64_t cpu_time_ns; /* of the vCPUs, while the command runs; 0: none */
	uint64_t output_max; /* bytes, of stdout and stderr; 0: no limit */
	uint32_t pids_max;   /* processes of the command; 0: no limit */
	const char *console; /* file that gets the guest's console, or NULL */
	const char *meta;    /* file that gets the report, or NULL */
	enum config_meta meta_format;
	const char *trace;   /* and the trace of where time went, or NULL */
	int stats;	     /* print what the run cost */
	const char *name;    /* of the run, or NULL */
	int detach, auto_remove;
	int verbose;
	char **argv; /* the command: at least one word, then NULL */
};

void config_init(struct config *c);
void config_free(struct config *c);

/* Option setters (struct opt.set). */
int config_set_engine(void *field, const char *arg, struct err *err);
/* config_limits.c: of struct config_cpus, struct jail_ids, uint32_t and
 * uint64_t. */
int config_set_cpus(void *field, const char *arg, struct err *err);
int config_set_uid_range(void *field, const char *arg, struct err *err);
int config_set_shares(void *field, const char *arg, struct err *err);
int config_set_pids(void *field, const char *arg, struct err *err);
int config_set_output(void *field, const char *arg, struct err *err);
int config_set_meta_format(void *field, const char *arg, struct err *err);
int config_set_memory(void *field, const char *arg, struct err *err);
/* config_disk.c: of uint64_t, struct config_drives and config_rates. */
int config_set_disk(void *field, const char *arg, struct err *err);
int config_add_drive(void *field, const char *arg, struct err *err);
int config_set_rates(void *field, const char *arg, struct err *err);
/* config_net.c: of struct config_net. */
int config_set_net(void *field, const char *arg, struct err *err);
int config_add_allow(void *field, const char *arg, struct err *err);
int config_add_deny(void *field, const char *arg, struct err *err);
int config_add_dns(void *field, const char *arg, struct err *err);
int config_set_mtu(void *field, const char *arg, struct err *err);
int config_set_net_pool(void *field, const char *arg, struct err *err);
void config_net_free(struct config_net *n);
/* config_copy.c: of struct config_copies. */
int config_add_tmpfs(void *field, const char *arg, struct err *err);
int config_add_volume(void *field, const char *arg, struct err *err);
int config_add_copy_in(void *field, const char *arg, struct err *err);
int config_add_copy_out(void *field, const char *arg, struct err *err);
void config_copies_free(struct config_copies *l);
/* config_publish.c: of struct config_net. */
int config_add_publish(void *field, const char *arg, struct err *err);
int config_set_duration(void *field, const char *arg, struct err *err);
int config_set_workdir(void *field, const char *arg, struct err *err);
/* NAME=value, or NAME to hand on the caller's own. */
int config_add_env(void *field, const char *arg, struct err *err);
int config_add_env_file(void *field, const char *arg, struct err *err);
int config_set_user(void *field, const char *arg, struct err *err);
int config_set_name(void *field, const char *arg, struct err *err);

/*
 * After the options: read the files of --env-file. A variable of --env goes
 * before one of a file, a later one of the same kind before an earlier.
 * Errors name file and line.
 */
int config_load_env(struct config *c, struct err *err);

/* After the options: do those of the network go together? */
int config_check_net(const struct config_net *n, struct err *err);

/* Variables ("NAME=value") for those names that have none yet; of the same
 * name the last counts. They are borrowed. After config_load_env(). */
int config_default_env(struct config *c, char *const *env, struct err *err);

/* What needs a look at the host: is there as much memory as was asked for? */
int config_check_host(const struct config *c, struct err *err);

/* Decimal digits, of which *@s is moved to the end: strtoull() would take
 * signs and blanks. 0 or -EINVAL, -ERANGE. */
int config_parse_digits(const char **s, uint64_t *v);
/* "512m", "1g"; a bare number is MiB. 0 or -EINVAL, -ERANGE. */
int config_parse_size(const char *s, uint64_t *bytes);
/* "1.5", "90s", "500ms", "1h30m"; a bare number is seconds. The same. */
int config_parse_duration(const char *s, uint64_t *ns);

#endif
