/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher and an agent that was taken over: frames of any kind in any
 * order, and the owner hears each piece of news once, in its order, and none
 * after the end.
 */
#include "runner/session.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "tests/fuzz/bytes.h"

#define STEPS 64

static struct news {
	int ready, mounted, started, ended, lost, broke;
} news;

static void on_ready(struct session *s)
{
	(void)s;
	must(!news.ready++ && !news.started && !news.ended && !news.lost);
}

static void on_mounted(struct session *s, int error)
{
	must(news.ready && !news.started && !news.ended && !news.lost);
	must(++news.mounted <= (int)s->mounts && error >= 0);
}

static void on_started(struct session *s)
{
	must(s->sent_exec && news.mounted == (int)s->mounts);
	must(news.ready && !news.started++ && !news.ended && !news.lost);
}

static void on_ended(struct session *s)
{
	must(news.ready && !news.ended++ && !news.lost && s->have_exit);
}

static void on_lost(struct session *s, const char *why)
{
	(void)s;
	must(!news.lost++ && *why);
}

static void on_broke(struct session *s, const char *stream, int error)
{
	(void)s;
	must(*stream && error < 0);
	news.broke++;
}

static void on_moved(struct session *s)
{
	(void)s;
}

static const struct session_ops ops = { on_ready, on_started, on_ended,
					on_lost,  on_broke,   on_moved,
					on_mounted, NULL };

/* A frame of the right length for its type, mostly, or bytes. */
static void agent_says(struct bytes *b, int fd)
{
	static const struct {
		uint16_t type;
		uint32_t len;
	} kind[] = {
		{ WIRE_READY, sizeof(struct wire_ready) },
		{ WIRE_STARTED, sizeof(struct wire_started) },
		{ WIRE_STDOUT, 7 },
		{ WIRE_STDERR, 300 },
		{ WIRE_STDIN_ACK, sizeof(struct wire_ack) },
		{ WIRE_EXIT, sizeof(struct wire_exit) },
		{ WIRE_MOUNTED, sizeof(struct wire_mounted) },
	};
	uint8_t how = take8(b), buf[WIRE_HDR + 512];
	unsigned k = how % 8;
	size_t n;

	if (k < 7) {
		uint32_t len = kind[k].len;
		uint32_t given = how & 0x20 ? take8(b) : len;

		wire_put_hdr(buf, kind[k].type, how & 0x40 ? take32(b) : len);
		memset(buf + WIRE_HDR, 0, len);
		/* WIRE_VERSION, where it is READY */
		buf[WIRE_HDR] = how & 0x10 ? take8(b) : WIRE_VERSION;
		take(b, buf + WIRE_HDR + 4, how & 0x80 ? len - 4 : 0);
		n = WIRE_HDR + (given < len ? given : len);
	} else {
		n = take8(b);
		take(b, buf, n);
	}
	(void)!send(fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Some to mount, and then EXEC. */
static void mount_or_go(struct session *s, unsigned n)
{
	const struct wire_mount m = { .kind = WIRE_MOUNT_DIR };
	struct err err;

	while (n--)
		must(session_mount(s, &m, "/a") == 0 ||
		     s->mounts == WIRE_MOUNTS_MAX);
	must(session_exec(s, &err) == 0);
}

static void step(struct bytes *b, struct session *s, int agent, int input)
{
	static uint8_t buf[65536];
	uint8_t what = take8(b);

	switch (what & 15) {
	case 0:
		session_signal(s, what >> 4);
		break;
	case 1:
		session_end_input(s);
		break;
	case 2:
		(void)!write(input, buf, (what >> 4) * 1000u);
		break;
	case 3:
		(void)!recv(agent, buf, sizeof(buf), MSG_DONTWAIT);
		break;
	case 4:
		shutdown(agent, what & 16 ? SHUT_RD : SHUT_WR);
		break;
	case 5:
		session_pump(s);
		break;
	case 15:
		if (!s->sent_exec)
			mount_or_go(s, what >> 4);
		else
			session_kill(s);
		break;
	default:
		agent_says(b, agent);
	}
}

static int output(void)
{
	int fd = memfd_create("out", MFD_CLOEXEC);

	must(fd >= 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[] = { (char[]){ "true" }, NULL };
	struct bytes b = { data, size };
	uint8_t how = take8(&b);
	struct strings env = { 0 };
	struct ev_loop loop;
	struct err err = { 0 };
	struct session *s;
	int pair[2], in[2];
	struct session_params p = { .ops = &ops, .loop = &loop, .argv = argv,
				    .env = &env };

	signal(SIGPIPE, SIG_IGN); /* as main() does */
	must(ev_loop_init(&loop) == 0 && pipe2(in, O_NONBLOCK) == 0);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	p.agent_fd = pair[0];
	p.fd[0] = how & 2 ? -1 : in[0];
	p.fd[1] = output();
	p.fd[2] = output();
	p.flags = how & 1 ? WIRE_EXEC_STDIN : 0;
	p.hold = how >> 2 & 1;
	memset(&news, 0, sizeof(news));
	must(session_open(&s, &p, &err) == 0);
	for (unsigned i = 0; b.n && i < STEPS; i++) {
		step(&b, s, pair[1], in[1]);
		for (unsigned k = 0; k < 8 && ev_once(&loop, 0) > 0; k++)
			;
		must(s->tail_len <= SESSION_TAIL);
		must(s->in_flight <= WIRE_STDIN_WINDOW);
	}
	/* The other end is gone: whatever was said before, that is the end. */
	close(pair[1]);
	for (unsigned k = 0; k < 64 && !news.lost; k++)
		ev_once(&loop, 0);
	must(news.lost == 1);
	session_close(&s);
	ev_loop_free(&loop);
	close(p.fd[1]);
	close(p.fd[2]);
	close(in[0]);
	close(in[1]);
	return 0;
}
