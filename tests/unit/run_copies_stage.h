/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_copies_stage: run_stage.h for a run that copies: the guest's agent takes
 * more streams, each a copy, and a test plays these as well.
 */
#ifndef TESTS_UNIT_RUN_COPIES_STAGE_H
#define TESTS_UNIT_RUN_COPIES_STAGE_H

#include "runner/copies.h"

#include <poll.h>

#include "rootfs/tree.h"
#include "runner/state.h"
#include "tests/unit/run_stage.h"

static char top[] = "/tmp/mayfly-copies-XXXXXX";
static int door = -1; /* where the guest's agent takes more streams */

static inline void set_up_copies(void)
{
	set_up();
	cr_assert_not_null(mkdtemp(top));
	cr_assert_eq(chdir(top), 0);
}

static inline void clean(void)
{
	char line[64];

	snprintf(line, sizeof(line), "rm -rf %s", top);
	cr_assert_eq(system(line), 0);
}

/* The run, with its record and what the config wants copied. */
static inline int play_copies(actor fn)
{
	struct state_new n = { .config = &config };
	char state[64];
	int r;

	snprintf(state, sizeof(state), "%s/state", top);
	setenv("MAYFLY_STATE_DIR", state, 1);
	cr_assert_eq(state_create(&extra.state, &n, &err), 0, "%s", err.msg);
	door = state_listen_vsock(extra.state, &err);
	cr_assert_geq(door, 0, "%s", err.msg);
	cr_assert_eq(copies_open(&extra.copies, &config, &err), 0, "%s",
		     err.msg);
	r = play(fn);
	close(door);
	copies_close(&extra.copies);
	state_discard(&extra.state);
	return r;
}

static inline void write_file(const char *name, const char *s)
{
	FILE *f = fopen(name, "w");

	cr_assert(f && fputs(s, f) >= 0 && fclose(f) == 0);
}

static inline const char *read_file(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	const char *s = fd < 0 ? "(none)" : text(fd);

	if (fd >= 0)
		close(fd);
	return s;
}

/* --- the guest's side -------------------------------------------------- */

/* Take one more stream, and what it is to run. */
static inline void serve(struct guest *more, struct wire_command *c)
{
	static char *slots[WIRE_SLOTS];
	char hello[64];
	struct wire_ready r = { .version = WIRE_VERSION };
	struct pollfd p = { .fd = door, .events = POLLIN };
	struct wire_frame f;
	size_t n = 0;

	poll(&p, 1, -1); /* its queue does not block */
	more->agent = accept(door, NULL, NULL);
	wire_reader_init(&more->reader, WIRE_FROM_HOST);
	do
		if (read(more->agent, hello + n, 1) != 1)
			_exit(1);
	while (hello[n++] != '\n');
	io_write_all(more->agent, "OK 9\n", 5);
	frame(more, WIRE_READY, &r, sizeof(r));
	if (hear(more, &f) != WIRE_EXEC || wire_get_exec(&f, slots, c) < 0)
		_exit(1);
}

static inline struct guest *more_of_it(struct wire_command *c)
{
	struct guest *more = calloc(1, sizeof(*more));

	serve(more, c);
	return more;
}

/* Read its input to the end, and say that all is well. */
static inline uint64_t take_tree(struct guest *more)
{
	struct wire_frame f;
	struct wire_ack ack;
	uint64_t sum = 0;
	int type;

	while ((type = hear(more, &f)) == WIRE_STDIN) {
		sum += f.len;
		ack.bytes = f.len;
		frame(more, WIRE_STDIN_ACK, &ack, sizeof(ack));
	}
	say_exit(more, type == WIRE_STDIN_EOF ? 0 : 1, 0);
	return sum;
}

static inline void put_bytes(char **p, const void *data, size_t n)
{
	memcpy(*p, data, n);
	*p += n;
}

/* A tree of one file. */
static inline void give_file(struct guest *more, const char *data)
{
	char buf[4096], *p = buf;
	struct tree_hdr h = { .type = TREE_FILE, .mode = 0644 };
	struct tree_hdr end = { .type = TREE_END, .size = 1 };
	uint32_t n = (uint32_t)strlen(data), none = 0;

	put_bytes(&p, TREE_MAGIC, TREE_MAGIC_LEN);
	put_bytes(&p, &h, sizeof(h));
	put_bytes(&p, &n, sizeof(n));
	put_bytes(&p, data, n);
	put_bytes(&p, &none, sizeof(none));
	put_bytes(&p, &end, sizeof(end));
	frame(more, WIRE_STDOUT, buf, (uint32_t)(p - buf));
	say_exit(more, 0, 0);
}

static inline void say_mounted(struct guest *g, uint32_t error)
{
	struct wire_mounted m = { .error = error };

	frame(g, WIRE_MOUNTED, &m, sizeof(m));
}

#endif
