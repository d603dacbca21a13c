/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent: PID 1 of the guest.
 *
 * One thread, no allocation after start. In order:
 *
 *	boot()		 mounts, the new root, lo, host name, cgroups
 *	host_listen()	 before any program of the guest could take the port
 *	host_dial()	 the control connection of the run's own command
 *	session_serve()	 READY, then frames until the stream ends
 *
 * More commands come over connections that the host makes: each is served by
 * a forked child of PID 1, by the same code, and ends without a trace.
 *
 * boot() needs to be PID 1 of a machine. The rest runs anywhere and is tested
 * over sockets: what is missing there (cgroups) is reported as unknown.
 *
 * PID 1 of a machine needs no other protection: the kernel's OOM killer and
 * kill(-1) pass it by, and it stays in the root cgroup, where no limit of the
 * command reaches it. Its children are root's: a program without privilege
 * can neither signal nor trace them, nor the child that is about to execute
 * in their memory, for a change of user makes that memory undumpable.
 */
#ifndef MAYFLY_AGENT_H
#define MAYFLY_AGENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "rootfs/wire.h"

#define AGENT_HOSTNAME "mayfly"
#define AGENT_CGROUPS  "/sys/fs/cgroup"
#define AGENT_PATH \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* say.c */

/* Append @s to the NUL-terminated @buf of @cap bytes, cutting what is over. */
void say_add(char *buf, size_t cap, const char *s);
void say_add_num(char *buf, size_t cap, uint64_t n);
/* PID 1 only: "mayfly-agent: what: strerror(error)" to the kernel's log, and
 * exit: the kernel panics, and the host sees why on the console. */
_Noreturn void die(const char *what, int error);

/* boot.c */

/* A descriptor of where the guest writes, which no path leads to: O_PATH. */
int boot(void);
int host_listen(void);
int host_dial(void);
/* The file system whose superblock the first @len bytes of a disk hold, as
 * mount(2) calls it, or NULL. */
const char *boot_fs_type(const uint8_t *disk, size_t len);

/* mount.c */

/* Make the directory @path and those on the way to it, 0755; @path is cut in
 * place meanwhile. 0, also where it is there, or an errno. */
int make_dirs(char *path);
/* What the host asked for, at @path, of the volumes below @upper. 0 or an
 * errno. */
int mount_do(const struct wire_mount *m, char *path, int upper);
/* Where tree-volume puts them, below boot()'s descriptor. */
#define MOUNT_VOLUMES "volumes"

/* net.c */

/* eth0, resolv.conf, hosts, as the host says. 0 or an errno. */
int net_up(const struct wire_net *n);
/* What the files say, for net_up(). */
#define NET_TEXT_MAX 512
void net_resolv_conf(char text[NET_TEXT_MAX], const struct wire_net *n);
void net_hosts(char text[NET_TEXT_MAX], const struct wire_net *n,
	       const char *hostname);

/* cgroup.c: the command's cgroup. A dirfd of -1 means there is none. */

/* "command" for @number 0, the run's own, else "exec.<number>". */
#define CGROUP_PATH_MAX 128
void cgroup_path(char path[CGROUP_PATH_MAX], const char *root, uint32_t number);
/* Make it, with these limits (0: none). For want of memory all in it is killed
 * at once. The dirfd, or -1. */
int cgroup_make(const char *path, uint64_t memory_max, uint32_t pids_max);
void cgroup_kill(int dir);
/* Kill what is in it and remove it with what was made below. 0, or -errno:
 * -EBUSY while what was killed has not ended yet. */
int cgroup_remove(const char *path);
/* The number after @key (whole word at a line's start; NULL: the first
 * number) in file @name, or WIRE_UNKNOWN. */
uint64_t cgroup_read(int dir, const char *name, const char *key);
uint64_t cgroup_read_fd(int fd, const char *key);
uint64_t cgroup_parse(const char *text, const char *key);

/* user.c */

#define USER_HOME_MAX	256
#define USER_GROUPS_MAX 256 /* groups beyond are left out */

struct user {
	uint32_t uid, gid;
	uint32_t ngroups; /* besides gid */
	uint32_t groups[USER_GROUPS_MAX];
	char home[USER_HOME_MAX];
};

/* Resolve [name|uid][:[name|gid]] with @etc/passwd and @etc/group, by Docker's
 * rules: digits are always a number, which needs no entry; without a group
 * a user of passwd is in all groups that name it, with one in that alone; no
 * user is root. 0, or an errno: ENOENT for a name that is not there. */
int user_find(const char *etc, const char *spec, struct user *u);

/* spawn.c */

#define SPAWN_STACK    65536
#define SPAWN_DEFAULTS 4 /* PATH, HOME, HOSTNAME, TERM */
#define SPAWN_ENV_MAX  (WIRE_STRINGS_MAX + SPAWN_DEFAULTS + 1)

/* How to start a command; filled by the caller but for the last part. */
struct spawn {
	struct wire_command cmd;
	struct user user;
	int fd[3];	/* stdin, stdout, stderr; borrowed */
	int cgroup;	/* dirfd or -1 */
	int self;	/* the agent's program, for WIRE_EXEC_AGENT, or -1 */
	int upper;	/* of boot(), for WIRE_TREE_VOLUME, or -1 */
	char home[sizeof("HOME=") + USER_HOME_MAX];
	char *env[SPAWN_ENV_MAX];
	/* What failed, written by the child. */
	enum wire_stage stage;
	int error;
	_Alignas(16) uint8_t stack[SPAWN_STACK];
};

/* Fill env: the command's own and, where it names none, our defaults. */
void spawn_env(struct spawn *sp);
/* The child's pid once the program runs; else -1 with stage and error. */
pid_t spawn_start(struct spawn *sp);
/* execve(2) with a search of @path; returns only to say the errno. */
int spawn_exec(const char *path, char *const *argv, char *const *env);
/* The exit status for a command that never ran. */
uint32_t spawn_exit_code(enum wire_stage stage, int error);

/* session.c */

/* What a session is given; all of it borrowed. */
struct serve {
	int ctl;	     /* the connection */
	int listener;	     /* where the host makes more of them, or -1 */
	int self;	     /* our own program, O_PATH, or -1 */
	int upper;	     /* what boot() gave, or -1 */
	uint32_t number;     /* 0: the run's own */
	uint64_t init_ns;    /* when we began, for READY */
	const char *cgroups; /* where cgroup v2 is mounted, or NULL */
};

/* Serve @sv->ctl until it ends. 0 when the host hung up, else -errno. */
int session_serve(const struct serve *sv);

/* tool.c */

/* Run as what argv says (WIRE_EXEC_AGENT); the exit code. */
int tool_main(int argc, char **argv);

#endif
