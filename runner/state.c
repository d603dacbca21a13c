/* SPDX-License-Identifier: Apache-2.0 */
/* One run's record: made and kept by its supervisor, asked by others. */
#include "runner/state.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rootfs/wire.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/config_image.h"
#include "runner/format.h"
#include "runner/meta.h"
#include "runner/state_dir.h"
#include "runner/verdict.h"

#define VSOCK	"vsock"
#define CONTROL "control"
#define BACKLOG 64

/* mayfly-vmm gives up on a guest that does not answer before we do. */

/* --- the supervisor's ------------------------------------------------- */

int state_check_name(const char *name, struct err *err)
{
	static const char alnum[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(name);
	char also[sizeof(alnum) + 3];

	snprintf(also, sizeof(also), "%s_.-", alnum);
	if (n > STATE_NAME_MAX - 1)
		return err_say(err, -EINVAL, "longer than %d characters",
			       STATE_NAME_MAX - 1);
	if (!n || !strspn(name, alnum) || strspn(name, also) != n)
		return err_say(err, -EINVAL,
			       "a name is made of letters, digits and _.- and "
			       "begins with a letter or digit");
	if (state_is_id(name))
		return err_say(err, -EINVAL, "looks like an id");
	return 0;
}

struct wanted {
	const char *name;
	struct err *err;
};

/* -EEXIST where the run @id has the name that is wanted. */
static int refuse_name(int root, const char *id, void *opaque)
{
	const struct wanted *w = opaque;
	_cleanup_fd_ int dir = state_open_dir(root, id);
	struct record r;
	int code;

	if (dir < 0 || state_read_record(dir, id, &r) < 0)
		return 0;
	if (strcmp(r.name, w->name)) {
		record_free(&r);
		return 0;
	}
	/* It would have gone by itself, and left nothing to look at. */
	if (r.phase == PHASE_LOST && (!r.detached || r.auto_remove)) {
		record_free(&r);
		return state_remove_dir(root, id, dir, NULL);
	}
	code = err_say(w->err, -EEXIST, "name %s: run %s has it (%s)", r.name,
		       r.id, phase_name(r.phase));
	err_hint(w->err, r.phase < PHASE_EXITED ?
				 "choose another, or end that run: mayfly rm "
				 "-f %s" :
				 "choose another, or remove that run: mayfly "
				 "rm %s",
		 r.name);
	record_free(&r);
	return code;
}

/* A directory that nobody has, with its lock. The root is locked. */
static int make_dir(struct state *s)
{
	for (int tries = 8; tries; tries--) {
		unsigned char b[6];

		if (getrandom(b, sizeof(b), 0) != sizeof(b))
			return -EIO;
		for (size_t i = 0; i < sizeof(b); i++)
			snprintf(s->rec.id + 2 * i, 3, "%02x", b[i]);
		if (mkdirat(s->root, s->rec.id, 0700) == 0) {
			s->dir = state_open_dir(s->root, s->rec.id);
			if (s->dir < 0)
				return s->dir;
			s->lock = state_take_lock(s->dir);
			return s->lock < 0 ? s->lock : 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

/* On what: its name as the user has it, and what an image says of commands. */
static int put_image(struct record *r, const struct config *c)
{
	const struct config_image *ci = c->image;
	int bad;

	if (!ci)
		return c->rootfs ? record_put(r, "image", c->rootfs) : 0;
	r->stop_signal = c->stop_signal;
	bad = record_put(r, "image", ci->name);
	bad |= record_put(r, "image_id", ci->img.id);
	bad |= record_put_words(r, "env", ci->img.env);
	bad |= record_put(r, "user", ci->img.user);
	bad |= record_put(r, "workdir", ci->img.workdir);
	return bad;
}

static int first_record(struct state *s, const struct state_new *n)
{
	struct record *r = &s->rec;
	int bad;

	snprintf(r->name, sizeof(r->name), "%s", n->name ? n->name : "");
	r->phase = PHASE_STARTING;
	r->created = format_now();
	r->detached = n->detached;
	r->auto_remove = n->auto_remove || !n->detached;
	r->tty = n->tty;
	r->cpus = n->config->cpus.n;
	r->memory = n->config->memory;
	r->pid = getpid();
	bad = record_put_words(r, "command", n->config->argv);
	bad |= put_image(r, n->config);
	return bad ? -ENOMEM : state_write_record(s->dir, r);
}

static struct state *alloc_state(int root)
{
	struct state *s = calloc(1, sizeof(*s));

	if (s)
		*s = (struct state){ .root = root, .dir = -1, .lock = -1 };
	return s;
}

static int create(struct state *s, const struct state_new *n, struct err *err)
{
	_cleanup_fd_ int lock = state_lock_root(s->root, err);
	struct wanted w = { n->name, err };
	int r;

	if (lock < 0)
		return lock;
	r = n->name ? state_each(s->root, refuse_name, &w) : 0;
	if (r == -EEXIST)
		return r;
	if (r == 0)
		r = make_dir(s);
	if (r == 0)
		r = first_record(s, n);
	return r < 0 ? err_set(err, r, "state directory: write a record") : 0;
}

int state_create(struct state **out, const struct state_new *n,
		 struct err *err)
{
	_cleanup_fd_ int root = -1;
	struct state *s;
	int r = n->name ? state_check_name(n->name, err) : 0;

	if (r < 0) {
		err_wrap(err, "name %s", n->name);
		return r;
	}
	root = state_open_root(1, err);
	if (root < 0)
		return root;
	s = alloc_state(root);
	if (!s)
		return err_set(err, -ENOMEM, "record");
	root = -1;
	r = create(s, n, err);
	if (r < 0)
		state_discard(&s);
	*out = s;
	return r;
}

int state_put_network(struct state *s, const char *json)
{
	return record_put_json(&s->rec, "network", json);
}

int state_running(struct state *s, const char *engine, unsigned cpus)
{
	int r;

	snprintf(s->rec.engine, sizeof(s->rec.engine), "%s", engine);
	s->rec.cpus = cpus;
	s->rec.started = format_now();
	s->rec.phase = PHASE_RUNNING;
	r = state_write_record(s->dir, &s->rec);
	if (r == 0 && s->rec.detached)
		state_reserve_record(s->dir);
	return r;
}

int state_publish(struct state *s, const char *ports)
{
	int r = record_put_json(&s->rec, "ports", ports);

	return r < 0 ? r : state_write_record(s->dir, &s->rec);
}

int state_exited(struct state *s, const struct meta *m)
{
	_cleanup_free_ char *report = meta_format(m);
	int r = report ? record_put_json(&s->rec, "report", report) : -ENOMEM;

	s->rec.phase = PHASE_EXITED;
	s->rec.ended = format_now();
	s->rec.exit_code = m->result->exit_code & 0xff;
	snprintf(s->rec.verdict, sizeof(s->rec.verdict), "%s",
		 verdict_name(m->result->verdict));
	/* Without its report, the record says at least that it is over. */
	if (r == 0)
		return state_write_record(s->dir, &s->rec);
	state_write_record(s->dir, &s->rec);
	return r;
}

void state_close(struct state **s)
{
	if (!*s)
		return;
	record_free(&(*s)->rec);
	close_fd(&(*s)->dir);
	close_fd(&(*s)->lock);
	close_fd(&(*s)->root);
	free(*s);
	*s = NULL;
}

void state_discard(struct state **s)
{
	_cleanup_fd_ int lock = -1;

	/* What cannot be removed is left for prune, which says why. It is not
	 * to find this one as its files go; who keeps it out for long is stuck. */
	if (*s && (*s)->dir >= 0) {
		lock = state_lock_root((*s)->root, NULL);
		state_remove_dir((*s)->root, (*s)->rec.id, (*s)->dir, NULL);
	}
	state_close(s);
}

/* --- both ------------------------------------------------------------- */

const char *state_id(const struct state *s)
{
	return s->rec.id;
}

const char *state_label(const struct state *s)
{
	return *s->rec.name ? s->rec.name : s->rec.id;
}

int state_dirfd(const struct state *s)
{
	return s->dir;
}

int state_rootfd(const struct state *s)
{
	return s->root;
}

const struct record *state_record(const struct state *s)
{
	return &s->rec;
}

int state_live(const struct state *s)
{
	return state_is_locked(s->dir);
}

int state_refresh(struct state *s)
{
	struct record r;
	int code = state_read_record(s->dir, s->rec.id, &r);

	if (code < 0)
		return code;
	record_free(&s->rec);
	s->rec = r;
	return 0;
}

/* --- sockets ---------------------------------------------------------- */

/* sun_path holds 108 bytes, and a state directory may be longer: the way
 * through the descriptor is always short. */
static struct sockaddr_un address(const struct state *s, const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", s->dir,
		 name);
	return a;
}

static int listen_on(struct state *s, const char *name, int type,
		     struct err *err)
{
	const struct sockaddr_un a = address(s, name);
	_cleanup_fd_ int fd = socket(AF_UNIX,
				     type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_set(err, -errno, "state directory: socket %s", name);
	return steal_fd(&fd);
}

int state_listen_vsock(struct state *s, struct err *err)
{
	return listen_on(s, VSOCK, SOCK_STREAM, err);
}

int state_listen_control(struct state *s, struct err *err)
{
	return listen_on(s, CONTROL, SOCK_SEQPACKET, err);
}

static int not_running(const struct state *s, struct err *err)
{
	int r = err_say(err, -ESRCH, "%s: not running", state_label(s));

	err_hint(err, "`mayfly ps -a` lists runs that ended as well");
	return r;
}

static int connect_to(struct state *s, const char *name, int type,
		      struct err *err)
{
	const struct sockaddr_un a = address(s, name);
	_cleanup_fd_ int fd = -1;

	if (!state_live(s))
		return not_running(s, err);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "%s", state_label(s));
	/* A full backlog would block: the other side is stuck then. */
	io_set_nonblock(fd, 1);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return state_live(s) && !state_refresh(s) &&
					       s->rec.phase == PHASE_STARTING ?
				       err_say(err, -EAGAIN,
					       "%s: still starting",
					       state_label(s)) :
				       not_running(s, err);
		return err_set(err, -errno, "%s: connect", state_label(s));
	}
	io_set_nonblock(fd, 0);
	return steal_fd(&fd);
}

int state_connect_control(struct state *s, struct err *err)
{
	return connect_to(s, CONTROL, SOCK_SEQPACKET, err);
}

/* The line with OK, and not one byte of what follows. */
int state_take_answer(int fd, struct state_answer *a)
{
	ssize_t k;

	while (a->n < sizeof(a->line)) {
		k = recv(fd, a->line + a->n, 1, MSG_DONTWAIT);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (k <= 0)
			return -ECONNREFUSED;
		if (a->line[a->n++] == '\n')
			return a->n > 4 && !memcmp(a->line, "OK ", 3) ?
				       0 :
				       -EPROTO;
	}
	return -EPROTO;
}

static int await_answer(int fd)
{
	uint64_t until = io_now_ns() + STATE_ANSWER_NS, now;
	struct state_answer a = { .n = 0 };
	int r;

	while ((r = state_take_answer(fd, &a)) == -EAGAIN) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		now = io_now_ns();
		if (now >= until)
			return -ETIMEDOUT;
		poll(&p, 1, (int)((until - now) / 1000000) + 1);
	}
	return r;
}

int state_dial(struct state *s, uint32_t port, struct err *err)
{
	_cleanup_fd_ int fd = connect_to(s, VSOCK, SOCK_STREAM, err);
	char hello[32];
	int n;

	if (fd < 0)
		return fd;
	n = snprintf(hello, sizeof(hello), "CONNECT %u\n", port);
	if (send(fd, hello, (size_t)n, MSG_NOSIGNAL) != n)
		return err_set(err, -errno, "%s: connect", state_label(s));
	return steal_fd(&fd);
}

int state_dial_agent(struct state *s, struct err *err)
{
	return state_dial(s, WIRE_PORT, err);
}

int state_connect_agent(struct state *s, struct err *err)
{
	_cleanup_fd_ int fd = state_dial_agent(s, err);
	int r;

	if (fd < 0)
		return fd;
	r = await_answer(fd);
	/* Where the guest does not listen yet, or the VM just died. */
	if (r == -ECONNREFUSED && !state_live(s))
		return not_running(s, err);
	if (r < 0)
		return err_say(err, r, "%s: its agent %s", state_label(s),
			       r == -ETIMEDOUT ? "does not answer" :
						 "takes no connection");
	return steal_fd(&fd);
}
