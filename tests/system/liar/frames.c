/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that the agent did not send, on the connection that is its own. */
#include "tests/system/liar/liar.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_all(int fd, const void *p, size_t len)
{
	const char *at = p;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0)
			stay(); /* the host has hung up */
		at += n;
		len -= (size_t)n;
	}
}

void send_frame(int fd, enum wire_type type, const void *payload,
		uint32_t len)
{
	static uint8_t frame[WIRE_HDR + WIRE_DATA_MAX];

	send_all(fd, frame, wire_put(frame, type, payload, len));
}

static _Noreturn void send_without_end(int fd, const void *p, size_t len)
{
	for (;;)
		send_all(fd, p, len);
}

void say(const char *words)
{
	int fd = steal(CONTROL);

	send_frame(fd, WIRE_STDOUT, words, (uint32_t)strlen(words));
	close(fd);
}

static void send_header(int fd, uint32_t len, unsigned type, unsigned stream)
{
	struct wire_hdr h = { len, (uint16_t)type, (uint16_t)stream };

	send_all(fd, &h, sizeof(h));
}

static void send_exit(int fd, uint32_t code)
{
	struct wire_exit x = { .code = code, .disk_avail = WIRE_UNKNOWN };

	send_frame(fd, WIRE_EXIT, &x, sizeof(x));
}

static int ready_again(const uint64_t *arg)
{
	struct wire_ready r = { .version = (uint32_t)arg[0] };

	send_frame(steal(CONTROL), WIRE_READY, &r, sizeof(r));
	stay();
}

static int started_again(const uint64_t *arg)
{
	struct wire_started s = { .pid = (uint32_t)arg[0] };

	send_frame(steal(CONTROL), WIRE_STARTED, &s, sizeof(s));
	stay();
}

/* What nobody asked for. */
static int mounted(const uint64_t *arg)
{
	struct wire_mounted m = { .error = (uint32_t)arg[0] };

	send_frame(steal(CONTROL), WIRE_MOUNTED, &m, sizeof(m));
	stay();
}

/* EXIT with these code, signal, stage, error, oom_kills, pids_refused; what
 * else it has is as large as it can be. */
static int forged_exit(const uint64_t *arg)
{
	struct wire_exit x;

	memset(&x, 0xfe, sizeof(x));
	x.code = (uint32_t)arg[0];
	x.signal = (uint32_t)arg[1];
	x.stage = (uint32_t)arg[2];
	x.error = (uint32_t)arg[3];
	x.oom_kills = arg[4];
	x.pids_refused = arg[5];
	hold_agent();
	send_frame(steal(CONTROL), WIRE_EXIT, &x, sizeof(x));
	stay();
}

/* And no room on its disk. */
static int forged_full(const uint64_t *arg)
{
	struct wire_exit x = { .code = (uint32_t)arg[0] };

	hold_agent();
	send_frame(steal(CONTROL), WIRE_EXIT, &x, sizeof(x));
	stay();
}

/* EXIT is to be the last: here it is not. All in one packet, or the host may be
 * gone before the rest. */
static int output_after_exit(const uint64_t *arg)
{
	struct wire_exit x = { .code = (uint32_t)arg[0],
			       .disk_avail = WIRE_UNKNOWN };
	uint8_t frames[1024];
	size_t n;

	n = wire_put(frames, WIRE_STDOUT, "before\n", 7);
	n += wire_put(frames + n, WIRE_EXIT, &x, sizeof(x));
	while (n < sizeof(frames) - 64)
		n += wire_put(frames + n, WIRE_STDOUT, "after\n", 6);
	hold_agent();
	send_without_end(steal(CONTROL), frames, n);
}

static int exit_twice(const uint64_t *arg)
{
	struct wire_exit x = { .code = (uint32_t)arg[0],
			       .disk_avail = WIRE_UNKNOWN };
	uint8_t frames[1024];
	size_t n;

	n = wire_put(frames, WIRE_EXIT, &x, sizeof(x));
	x.code = (uint32_t)arg[1];
	n += wire_put(frames + n, WIRE_EXIT, &x, sizeof(x));
	hold_agent();
	send_without_end(steal(CONTROL), frames, n);
}

/* A header of these type, length and stream, and its first bytes. */
static int odd_frame(const uint64_t *arg)
{
	int fd = steal(CONTROL);

	hold_agent();
	say("held\n");
	send_header(fd, (uint32_t)arg[1], (unsigned)arg[0], (unsigned)arg[2]);
	send_all(fd, "half", 4);
	stay();
}

/* EXIT as it has to be, but for its end. */
static int half_exit(const uint64_t *arg)
{
	const uint64_t header[LIAR_ARGS] = { WIRE_EXIT,
					     sizeof(struct wire_exit) };

	(void)arg;
	return odd_frame(header);
}

/* Half a frame; the agent's own EXIT is then the rest of it. */
static int swallow_exit(const uint64_t *arg)
{
	int fd = steal(CONTROL);

	(void)arg;
	say("held\n");
	send_header(fd, WIRE_DATA_MAX, WIRE_STDOUT, 0);
	return LIAR_SAYS;
}

static int endless_output(const uint64_t *arg)
{
	static uint8_t frame[WIRE_HDR + WIRE_DATA_MAX];

	(void)arg;
	hold_agent();
	wire_put_hdr(frame, WIRE_STDOUT, WIRE_DATA_MAX);
	send_without_end(steal(CONTROL), frame, sizeof(frame));
}

/* More input than there is room for is asked for, and none is taken. */
static int endless_acks(const uint64_t *arg)
{
	static uint8_t frames[256][WIRE_HDR + sizeof(struct wire_ack)];
	struct wire_ack ack = { .bytes = UINT32_MAX };

	(void)arg;
	for (int i = 0; i < 256; i++)
		wire_put(frames[i], WIRE_STDIN_ACK, &ack, sizeof(ack));
	hold_agent();
	say("held\n");
	send_without_end(steal(CONTROL), frames, sizeof(frames));
}

/* Says that it ended well whenever the host wants something of it. */
static int answer_with_exit(const uint64_t *arg)
{
	int fd = steal(CONTROL);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	hold_agent();
	say("held\n");
	poll(&p, 1, -1);
	send_exit(fd, (uint32_t)arg[0]);
	stay();
}

const struct lie frame_lies[] = {
	{ "ready-again", ready_again },
	{ "started-again", started_again },
	{ "mounted", mounted },
	{ "exit", forged_exit },
	{ "exit-full", forged_full },
	{ "output-after-exit", output_after_exit },
	{ "exit-twice", exit_twice },
	{ "odd-frame", odd_frame },
	{ "half-exit", half_exit },
	{ "swallow-exit", swallow_exit },
	{ "endless-output", endless_output },
	{ "endless-acks", endless_acks },
	{ "answer-with-exit", answer_with_exit },
	{ 0 },
};
