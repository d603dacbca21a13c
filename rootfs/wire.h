/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: what launcher and mayfly-agent say to each other.
 *
 * A session is one byte stream and one command. The run's own command has the
 * stream that the agent makes at boot, by vsock to the host (CID 2), port
 * WIRE_PORT. Any more commands have a stream each that the host makes, to the
 * same port of the guest; the agent takes WIRE_SESSIONS_MAX of them at once,
 * and closes what is over. Both ways a stream carries frames: struct wire_hdr,
 * then `len` bytes. All numbers are little-endian.
 *
 *	guest -> host  READY	 once, first: the agent is up
 *	host -> guest  NET	 the run's own stream only, at most once, before
 *				 EXEC: the guest has a network
 *	host -> guest  MOUNT	 the run's own stream only, any number up to
 *				 WIRE_MOUNTS_MAX, all before EXEC
 *	guest -> host  MOUNTED	 one for each, in order, as each was done
 *	host -> guest  EXEC	 once; may be sent before READY was seen
 *	guest -> host  STARTED	 the program runs; left out if it could not
 *	both ways      STDIN, STDIN_EOF, SIGNAL, WINCH, KILL down;
 *		       STDOUT, STDERR, STDIN_ACK up
 *	guest -> host  EXIT	 last: every STDOUT and STDERR byte is before it
 *
 * None of NET, MOUNT and EXEC waits for an answer. After a MOUNT that failed no
 * more are done, and EXEC is answered by EXIT with WIRE_STAGE_MOUNT; where NET
 * failed, with WIRE_STAGE_NET.
 *
 * Then the stream ends, and after the run's own command the VM: a host that
 * has read EXIT hangs up. With WIRE_EXEC_STAY the host may take its time, and
 * make more streams meanwhile; nothing of the command is left by then, and none
 * of the streams that were there before. A side that loses the stream, or reads a frame that
 * may not be there, gives up on the session: the agent kills the command and
 * all that it started; where it was the run's own, it resets the machine, and
 * the launcher kills it.
 *
 * Flow control: output is held back by the stream alone. Input must not be,
 * or a command that does not read would stop SIGNAL frames: the host may have
 * at most WIRE_STDIN_WINDOW bytes of STDIN payload that STDIN_ACK frames have
 * not counted yet, and the agent has room for them. So the agent never stops
 * reading the stream, and the host may stop at any time.
 *
 * Where NET said so, the host may also make streams to port WIRE_DIAL_PORT, and
 * reach by each one port of the guest, WIRE_DIALS_MAX at once:
 *
 *	host -> guest  DIAL	 once, first
 *	guest -> host  DIALED	 once, first: where it failed the stream ends
 *	both ways      bytes, no more frames: what the connection carries.
 *		       An end of one direction is passed on and leaves the
 *		       other. With UDP each datagram is a u16 length and
 *		       that many bytes.
 *
 * No allocation, no global state; a struct wire_reader belongs to one thread.
 * Compiled with glibc for the launcher and musl for the agent.
 */
#ifndef MAYFLY_WIRE_H
#define MAYFLY_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIRE_VERSION	  5
#define WIRE_PORT	  1024
#define WIRE_DIAL_PORT	  1025
#define WIRE_SESSIONS_MAX 64 /* besides the run's own */
#define WIRE_DIALS_MAX	  160

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "wire structures are read and written as they are");

struct wire_hdr {
	uint32_t len; /* payload bytes that follow */
	uint16_t type;
	uint16_t stream; /* 0: there is one command */
};

#define WIRE_HDR	  8u
/* A full data frame with its header is one vsock packet of Linux (64 KiB). */
#define WIRE_DATA_MAX	  (65536u - WIRE_HDR)
#define WIRE_EXEC_MAX	  262144u /* argv and environment */
#define WIRE_STDIN_WINDOW 262144u
#define WIRE_STRINGS_MAX  8192u /* argv and environment entries together */
#define WIRE_MOUNTS_MAX	  128u
#define WIRE_PATH_MAX	  4096u /* of a MOUNT, with its NUL: PATH_MAX */
#define WIRE_UNKNOWN	  UINT64_MAX

static_assert(sizeof(struct wire_hdr) == WIRE_HDR, "wire_hdr");

enum wire_type {
	WIRE_READY = 1, /* struct wire_ready */
	WIRE_EXEC,	/* struct wire_exec, then strings */
	WIRE_STARTED,	/* struct wire_started */
	WIRE_STDIN,	/* 1 to WIRE_DATA_MAX bytes */
	WIRE_STDIN_EOF, /* nothing */
	WIRE_STDIN_ACK, /* struct wire_ack */
	WIRE_STDOUT,	/* 1 to WIRE_DATA_MAX bytes */
	WIRE_STDERR,	/* 1 to WIRE_DATA_MAX bytes */
	WIRE_SIGNAL,	/* struct wire_signal */
	WIRE_WINCH,	/* struct wire_winch */
	WIRE_EXIT,	/* struct wire_exit */
	WIRE_MOUNT,	/* struct wire_mount, then a path and its NUL */
	WIRE_MOUNTED,	/* struct wire_mounted */
	WIRE_KILL,	/* nothing: all of the command dies, now */
	WIRE_NET,	/* struct wire_net */
	WIRE_DIAL,	/* struct wire_dial */
	WIRE_DIALED,	/* struct wire_dialed */
	WIRE_TYPES,
};

struct wire_ready {
	uint32_t version; /* WIRE_VERSION */
	uint32_t pad;
	uint64_t boot_ns; /* since the guest kernel started, by its clock */
	uint64_t init_ns; /* the same, when the agent began */
};

enum wire_exec_flags {
	WIRE_EXEC_STDIN = 1, /* else /dev/null */
	WIRE_EXEC_TTY = 2,   /* a terminal; STDERR comes as STDOUT */
	WIRE_EXEC_AGENT = 4, /* argv[0] is a tool of the agent's own */
	/* The run's own: after EXIT the agent serves more streams until the
	 * host hangs up. */
	WIRE_EXEC_STAY = 8,
	/* realtime_ns is as of the guest's begin: this waits for it to boot */
	WIRE_EXEC_EARLY = 16,
	WIRE_EXEC_FLAGS = 31,
};

/*
 * Tools, by argv. Their streams, user and directory are as with any command.
 * On standard error are lines that name what was left out, or what failed;
 * the exit code is 0 where the whole tree has passed.
 *
 *	tree-out PATH		write what PATH is as a tree (rootfs/tree.h)
 *	tree-in NAME PATH	make PATH, or where that is a directory
 *				PATH/NAME, of the tree read; NAME is "" for
 *				what shall be merged into the directory PATH
 *	tree-put NAME PATH USER
 *				the same, where directories on the way to PATH
 *				(with a slash at its end, PATH as well) are made,
 *				and what is copied becomes USER's
 *	tree-volume N PATH	keep the tree read as volume N, for a
 *				WIRE_MOUNT_VOLUME; PATH is for messages
 */
#define WIRE_TREE_OUT	 "tree-out"
#define WIRE_TREE_IN	 "tree-in"
#define WIRE_TREE_PUT	 "tree-put"
#define WIRE_TREE_VOLUME "tree-volume"

enum wire_mount_kind {
	WIRE_MOUNT_TMPFS = 1, /* of `size` bytes, 0: as Linux has it */
	WIRE_MOUNT_DIR,	      /* no mount: the directory is there */
	WIRE_MOUNT_VOLUME,    /* volume `number` */
	WIRE_MOUNT_SEAL,      /* what is mounted there becomes read-only */
};

/* Followed by an absolute path and its NUL. What is not there on the way to it
 * is made, 0755. It leads through the guest's own links. */
struct wire_mount {
	uint32_t kind;	 /* enum wire_mount_kind */
	uint32_t number; /* VOLUME; else 0 */
	uint64_t size;	 /* TMPFS; else 0 */
};

struct wire_mounted {
	uint32_t error; /* errno, or 0 */
	uint32_t pad;
};

enum wire_net_flags {
	WIRE_NET_V4 = 1,
	WIRE_NET_V6 = 2,
	WIRE_NET_DIAL = 4, /* listen at WIRE_DIAL_PORT */
	WIRE_NET_FLAGS = 7,
};

#define WIRE_NET_DNS_MAX 3  /* resolv.conf(5): MAXNS */
#define WIRE_NET_MTU_MIN 68 /* RFC 791; with IPv6 1280, RFC 8200 */
#define WIRE_NET_MTU_MAX 65535

struct wire_net_dns {
	uint8_t family; /* 4, with 12 bytes 0 behind the address, or 6 */
	uint8_t pad[3];
	uint8_t addr[16];
};

/* eth0 goes up and gets what is here. Addresses are in network order; of a
 * family without its flag all is 0. A gateway of 0: no default route. Without
 * DNS servers resolv.conf stays as it is. */
struct wire_net {
	uint32_t flags;
	uint32_t mtu; /* 0: leave */
	uint8_t v4[4], v4_gateway[4];
	uint8_t v6[16], v6_gateway[16];
	uint8_t v4_len, v6_len; /* of the prefix */
	uint8_t ndns, pad;
	struct wire_net_dns dns[WIRE_NET_DNS_MAX];
};

enum wire_dial_kind { WIRE_DIAL_TCP = 1, WIRE_DIAL_UDP };

struct wire_dial {
	uint16_t port; /* not 0 */
	uint16_t kind; /* enum wire_dial_kind */
};

struct wire_dialed {
	uint32_t error; /* errno, or 0; with UDP nobody need be there */
};

/*
 * Followed by argc + envc + 2 strings: argv, environment ("NAME=value"), cwd
 * ("" or absolute), user ("" or name|uid[:name|gid]). A string is u32 length,
 * that many bytes, none of them NUL, and one NUL that the length leaves out.
 */
struct wire_exec {
	uint32_t flags;
	uint32_t argc; /* at least 1 */
	uint32_t envc;
	uint16_t rows, cols;  /* of the terminal; 0: leave */
	/* CLOCK_REALTIME to set for the run's own command; 0: leave */
	uint64_t realtime_ns;
	/* Bytes for the command; 0: what the machine can spare, for the run's
	 * own, else no limit */
	uint64_t memory_max;
	/* 0: no limit. The run's own command is killed as it is hit. */
	uint32_t pids_max;
	uint32_t pad;
};

struct wire_started {
	uint32_t pid; /* in the guest */
	uint32_t pad;
	uint64_t boot_ns;
};

struct wire_ack {
	uint32_t bytes; /* of STDIN payload that the command has taken */
};

/* To the process group that the command leads, not to the groups that a shell
 * gives its jobs: those a user reaches by the keys of the terminal. */
struct wire_signal {
	uint32_t signo; /* Linux x86-64 number, 1 to 64 */
};

struct wire_winch {
	uint16_t rows, cols;
};

/* What kept the program from starting. */
enum wire_stage {
	WIRE_STAGE_RUN, /* nothing: it ran */
	WIRE_STAGE_FORK,
	WIRE_STAGE_USER,
	WIRE_STAGE_CWD,
	WIRE_STAGE_EXEC,
	WIRE_STAGE_MOUNT,
	WIRE_STAGE_NET,
	WIRE_STAGES,
};

struct wire_exit {
	uint32_t code;	 /* exit status; 126 or 127 if it never ran */
	uint32_t signal; /* what killed it, or 0; code is 0 then */
	uint32_t stage;	 /* enum wire_stage */
	uint32_t error;	 /* errno of that stage, or 0 */
	/* Each of these may be WIRE_UNKNOWN. */
	uint64_t user_us, system_us; /* CPU time */
	uint64_t memory_peak;	     /* bytes */
	uint64_t oom_kills;
	uint64_t pids_refused; /* forks that pids_max refused */
	/* Bytes left on the root file system as the main process ended; 0 also
	 * where no inode is. */
	uint64_t disk_avail;
	uint64_t max_rss; /* bytes, of the largest process waited for */
	uint64_t ended_ns;     /* by boot_ns's clock; 0: it never ran */
};

static_assert(sizeof(struct wire_ready) == 24, "wire_ready");
static_assert(sizeof(struct wire_exec) == 40, "wire_exec");
static_assert(offsetof(struct wire_exec, realtime_ns) == 16, "wire_exec");
static_assert(offsetof(struct wire_exec, pids_max) == 32, "wire_exec");
static_assert(sizeof(struct wire_mount) == 16, "wire_mount");
static_assert(offsetof(struct wire_mount, size) == 8, "wire_mount");
static_assert(sizeof(struct wire_mounted) == 8, "wire_mounted");
static_assert(sizeof(struct wire_net_dns) == 20, "wire_net_dns");
static_assert(sizeof(struct wire_net) == 112, "wire_net");
static_assert(offsetof(struct wire_net, v6) == 16, "wire_net");
static_assert(offsetof(struct wire_net, dns) == 52, "wire_net");
static_assert(sizeof(struct wire_dial) == 4, "wire_dial");
static_assert(sizeof(struct wire_dialed) == 4, "wire_dialed");
static_assert(sizeof(struct wire_started) == 16, "wire_started");
static_assert(sizeof(struct wire_ack) == 4, "wire_ack");
static_assert(sizeof(struct wire_signal) == 4, "wire_signal");
static_assert(sizeof(struct wire_winch) == 4, "wire_winch");
static_assert(sizeof(struct wire_exit) == 80, "wire_exit");
static_assert(offsetof(struct wire_exit, user_us) == 16, "wire_exit");

/* Whose frames these are: each side refuses the types of its own. */
enum wire_from { WIRE_FROM_GUEST, WIRE_FROM_HOST };

struct wire_frame {
	uint16_t type;
	uint32_t len;
	uint8_t *data; /* inside the reader, until the next wire_room() */
};

/*
 * The incremental decoder: read(2) into wire_room(), say how much came by
 * wire_filled(), take frames from wire_next() until it gives 0. The buffer
 * is touched only as far as bytes came.
 */
struct wire_reader {
	enum wire_from from;
	uint32_t head, tail; /* the bytes not yet given out */
	uint8_t buf[WIRE_HDR + WIRE_EXEC_MAX];
};

void wire_reader_init(struct wire_reader *r, enum wire_from from);
/* Where to read to. *@room is never 0 once wire_next() gave 0. */
void *wire_room(struct wire_reader *r, size_t *room);
void wire_filled(struct wire_reader *r, size_t n);
/* 1 a frame, its length right for its type; 0 more bytes are needed;
 * -EPROTO as soon as a header is wrong: close the stream. */
int wire_next(struct wire_reader *r, struct wire_frame *f);

/* Write a header; WIRE_HDR bytes. */
static inline void wire_put_hdr(void *p, enum wire_type type, uint32_t len)
{
	struct wire_hdr h = { .len = len, .type = (uint16_t)type };

	memcpy(p, &h, sizeof(h));
}

/* Write a whole frame of a fixed-size type; returns its length. */
static inline size_t wire_put(void *p, enum wire_type type, const void *payload,
			      uint32_t len)
{
	wire_put_hdr(p, type, len);
	if (len)
		memcpy((uint8_t *)p + WIRE_HDR, payload, len);
	return WIRE_HDR + len;
}

/* The payload of a fixed-size type; wire_next() has checked the size. */
static inline void wire_get(const struct wire_frame *f, void *out, size_t size)
{
	memcpy(out, f->data, size);
}

/* An EXEC frame in C's terms; argc and envc are counted by the encoder. */
struct wire_command {
	struct wire_exec head;
	char *const *argv; /* NULL-terminated */
	char *const *env;
	const char *cwd;
	const char *user;
};

/* Write the whole frame to @buf. Its length, or -E2BIG where it does not fit
 * @cap or a limit above. */
long wire_put_exec(void *buf, size_t cap, const struct wire_command *c);

/* Room for both lists with their NULLs. */
#define WIRE_SLOTS (WIRE_STRINGS_MAX + 2)

/* Take an EXEC frame apart; strings stay in the frame, their pointers go to
 * @slots[WIRE_SLOTS]. 0 or -EPROTO. */
int wire_get_exec(const struct wire_frame *f, char **slots,
		  struct wire_command *c);

/* Write a whole MOUNT frame. Its length, or -E2BIG. */
long wire_put_mount(void *buf, size_t cap, const struct wire_mount *m,
		    const char *path);

/* Take it apart; *@path stays in the frame, and may be written to. 0 or
 * -EPROTO. */
int wire_get_mount(const struct wire_frame *f, struct wire_mount *m,
		   char **path);

/* Take a NET or a DIAL frame apart. 0 or -EPROTO. */
int wire_get_net(const struct wire_frame *f, struct wire_net *net);
int wire_get_dial(const struct wire_frame *f, struct wire_dial *dial);

#endif
