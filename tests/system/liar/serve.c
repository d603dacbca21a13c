/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the agent's place towards what the host asks for while the run lasts:
 * `mayfly exec`, and `mayfly cp`, which gets a tree that wants out of the
 * directory it is unpacked in.
 */
#include "tests/system/liar/liar.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rootfs/tree.h"

/* Say READY, and read what is to run. */
static void get_ready(int fd)
{
	static uint8_t exec[WIRE_HDR + WIRE_EXEC_MAX];
	struct wire_ready ready = { .version = WIRE_VERSION };

	send_frame(fd, WIRE_READY, &ready, sizeof(ready));
	recv(fd, exec, sizeof(exec), 0);
}

static int next_one(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		give_up("accept");
	return fd;
}

static int take(int listener)
{
	int fd = next_one(listener);

	get_ready(fd);
	return fd;
}

/* Answer by @answer, for ever; the host is told when that begins. */
static _Noreturn void serve(void (*answer)(int fd, const uint64_t *arg),
			    const uint64_t *arg)
{
	int listener = steal(LISTENER);

	hold_agent();
	say("held\n");
	for (;;)
		answer(take(listener), arg);
}

static void started(int fd)
{
	struct wire_started st = { .pid = 1 };

	send_frame(fd, WIRE_STARTED, &st, sizeof(st));
}

static void ended(int fd, uint32_t code)
{
	struct wire_exit x = { .code = code, .disk_avail = WIRE_UNKNOWN };

	send_frame(fd, WIRE_EXIT, &x, sizeof(x));
}

/* A command that never was. */
static void answer_exit(int fd, const uint64_t *arg)
{
	started(fd);
	send_frame(fd, WIRE_STDOUT, "forged\n", 7);
	ended(fd, (uint32_t)arg[0]);
}

/* A header of these type and length. */
static void answer_odd_frame(int fd, const uint64_t *arg)
{
	struct wire_hdr h = { (uint32_t)arg[1], (uint16_t)arg[0], 0 };

	if (send(fd, &h, sizeof(h), MSG_NOSIGNAL) < 0)
		stay();
}

struct stream {
	uint8_t buf[2048];
	uint32_t len;
};

static void add(struct stream *s, const void *p, size_t n)
{
	memcpy(s->buf + s->len, p, n);
	s->len += (uint32_t)n;
}

static void add_entry(struct stream *s, enum tree_type type, const char *name,
		      uint64_t size)
{
	struct tree_hdr h = {
		.type = (uint16_t)type,
		.name_len = (uint16_t)strlen(name),
		.mode = type == TREE_FILE || type == TREE_DIR ? 06777 : 0,
		.size = size,
	};

	add(s, &h, sizeof(h));
	add(s, name, strlen(name));
}

static void add_file(struct stream *s, const char *name)
{
	static const uint32_t len = 7, end;

	add_entry(s, TREE_FILE, name, 0);
	add(s, &len, sizeof(len));
	add(s, "forged\n", len);
	add(s, &end, sizeof(end));
}

static void add_link(struct stream *s, const char *name, const char *to)
{
	add_entry(s, TREE_LINK, name, strlen(to));
	add(s, to, strlen(to));
}

/* A tree of one directory, in which: */
static void add_evil(struct stream *s, uint64_t which)
{
	switch (which) {
	case 0:
		add_file(s, "../forged");
		break;
	case 1:
		add_file(s, "/tmp/forged");
		break;
	case 2:
		add_file(s, "..");
		break;
	case 3: /* a link, and then a directory of its name */
		add_link(s, "forged", "..");
		add_entry(s, TREE_DIR, "forged", 0);
		add_file(s, "forged");
		add_entry(s, TREE_UP, "", 0);
		break;
	case 4: /* a link, and then a file of its name */
		add_link(s, "forged", "../forged");
		add_file(s, "forged");
		break;
	default: /* out of where it began */
		add_entry(s, TREE_UP, "", 0);
		add_entry(s, TREE_UP, "", 0);
		add_file(s, "forged");
		break;
	}
}

static void answer_tree(int fd, const uint64_t *arg)
{
	struct stream s = { .len = 0 };

	add(&s, TREE_MAGIC, TREE_MAGIC_LEN);
	add_entry(&s, TREE_DIR, "", 0);
	add_evil(&s, arg[0]);
	add_entry(&s, TREE_UP, "", 0);
	add_entry(&s, TREE_END, "", 4);
	started(fd);
	send_frame(fd, WIRE_STDOUT, s.buf, s.len);
	ended(fd, 0);
}

/* --- --copy-out: the command has ended, and then ------------------------- */

/* Say that it ended well, and answer what comes. */
static _Noreturn void end(void (*answer)(int fd, const uint64_t *arg),
			  const uint64_t *arg)
{
	struct wire_exit x = { .disk_avail = WIRE_UNKNOWN };
	int listener = steal(LISTENER), control = steal(CONTROL);

	hold_agent();
	send_frame(control, WIRE_EXIT, &x, sizeof(x));
	for (;;)
		answer(next_one(listener), arg);
}

static void answer_nothing(int fd, const uint64_t *arg)
{
	(void)fd, (void)arg;
}

static void answer_ready(int fd, const uint64_t *arg)
{
	(void)arg;
	get_ready(fd);
	started(fd);
}

static void answer_ready_and_tree(int fd, const uint64_t *arg)
{
	get_ready(fd);
	answer_tree(fd, arg);
}

/* Files without end: a byte of one now and then (0), as many bytes of one as
 * pass (1), or as many files (2), or directories in each other (3). */
static void answer_endless(int fd, const uint64_t *arg)
{
	static uint8_t chunk[WIRE_DATA_MAX] = { 1 };
	const uint32_t one = 1, most = sizeof(chunk) - sizeof(most), end = 0;
	struct stream s = { .len = 0 };
	char name[16];

	get_ready(fd);
	started(fd);
	add(&s, TREE_MAGIC, TREE_MAGIC_LEN);
	add_entry(&s, arg[0] < 2 ? TREE_FILE : TREE_DIR, "", 0);
	for (unsigned n = 0;; n++) {
		send_frame(fd, WIRE_STDOUT, s.buf, s.len);
		s.len = 0;
		snprintf(name, sizeof(name), "%u", n);
		switch (arg[0]) {
		case 0:
			add(&s, &one, sizeof(one));
			add(&s, "x", 1);
			usleep(10000);
			break;
		case 1:
			memcpy(chunk, &most, sizeof(most));
			send_frame(fd, WIRE_STDOUT, chunk, sizeof(chunk));
			add(&s, &one, sizeof(one));
			add(&s, "x", 1);
			break;
		case 2:
			add_entry(&s, TREE_FILE, name, 0);
			add(&s, &end, sizeof(end));
			break;
		default:
			add_entry(&s, TREE_DIR, name, 0);
			if (n % 2)
				add_entry(&s, TREE_UP, "", 0);
			break;
		}
	}
}

static int end_silent(const uint64_t *arg)
{
	end(answer_nothing, arg);
}

static int end_ready(const uint64_t *arg)
{
	end(answer_ready, arg);
}

static int end_tree(const uint64_t *arg)
{
	end(answer_ready_and_tree, arg);
}

static int end_endless(const uint64_t *arg)
{
	end(answer_endless, arg);
}

static int end_odd_frame(const uint64_t *arg)
{
	end(answer_odd_frame, arg);
}

static int serve_exit(const uint64_t *arg)
{
	serve(answer_exit, arg);
}

static int serve_odd_frame(const uint64_t *arg)
{
	serve(answer_odd_frame, arg);
}

static int serve_tree(const uint64_t *arg)
{
	serve(answer_tree, arg);
}

const struct lie serve_lies[] = {
	{ "serve-exit", serve_exit },
	{ "serve-odd-frame", serve_odd_frame },
	{ "serve-tree", serve_tree },
	{ "end-silent", end_silent },
	{ "end-ready", end_ready },
	{ "end-tree", end_tree },
	{ "end-endless", end_endless },
	{ "end-odd-frame", end_odd_frame },
	{ 0 },
};
