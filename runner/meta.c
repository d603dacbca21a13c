/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a run as JSON. */
#include "runner/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/config_image.h"
#include "runner/publish.h"
#include "runner/scratch.h"

#define META_FORMAT 1 /* of this document; grows when a field changes */

/* The directory part, with its slash, into @dir; "" for the current one. */
static int directory_of(const char *path, char dir[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash + 1 - path) : 0;

	if (n >= PATH_MAX - sizeof(".mayfly-meta-XXXXXX"))
		return -ENAMETOOLONG;
	memcpy(dir, path, n);
	dir[n] = '\0';
	return 0;
}

/* A device, a pipe or a link: another file must not take its place, or a
 * root's --meta /dev/null would be the end of that. */
static int must_stay(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

int meta_check_file(const char *what, const char *path, struct err *err)
{
	char dir[PATH_MAX];
	struct stat st;
	int r = directory_of(path, dir), there = stat(path, &st) == 0;

	if (r == 0 && there && S_ISDIR(st.st_mode))
		r = -EISDIR;
	if (r == 0 && (there && must_stay(path) ?
			       access(path, W_OK) :
			       access(*dir ? dir : ".", W_OK | X_OK)) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "%s: write %s", what, path) : 0;
}

int meta_check(const char *path, struct err *err)
{
	return meta_check_file("meta", path, err);
}

/* jansson takes NULL for a value that could not be made: it then fails the
 * whole, which meta_format() sees at the end. */
static void add(json_t *o, const char *key, json_t *value, int *bad)
{
	*bad |= json_object_set_new(o, key, value) < 0;
}

static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX));
}

/* Milliseconds with three digits from @from to @to; null: did not happen. */
static json_t *span(uint64_t from, uint64_t to)
{
	if (!from || to < from)
		return json_null();
	return json_real((double)((to - from) / 1000) / 1000.0);
}

/* A number that the guest may not know. */
static json_t *known(uint64_t v)
{
	return v == WIRE_UNKNOWN ? json_null() : number(v);
}

static void append(json_t *array, json_t *value, int *bad)
{
	*bad |= json_array_append_new(array, value) < 0;
}

/* Words of ours, with a name in them that may be anything. */
static json_t *words(const char *s)
{
	json_t *v = json_string(s);

	return v ? v : json_string("not UTF-8");
}

/* null: it did not come to a jail. */
static json_t *jail_part(const struct jail_report *r, int *bad)
{
	json_t *o, *layers, *missing;

	if (!r || (!r->on && !r->nmissing))
		return json_null();
	o = json_object();
	layers = json_array();
	missing = json_array();
	for (int l = 0; l < JAIL_LAYERS; l++)
		if (r->on & (1u << l))
			append(layers, json_string(jail_layer_name(l)), bad);
	for (unsigned i = 0; i < r->nmissing; i++) {
		const struct jail_missing *m = &r->missing[i];
		json_t *of = json_object();

		add(of, "layer", json_string(jail_layer_name(m->layer)), bad);
		add(of, "why", words(m->why), bad);
		add(of, "remedy", words(m->remedy), bad);
		append(missing, of, bad);
	}
	add(o, "layers", layers, bad);
	add(o, "missing", missing, bad);
	return o;
}

/* A number that this host may not count. */
static json_t *counted(uint64_t v)
{
	return v == CGROUP_UNKNOWN ? json_null() : number(v);
}

static json_t *milliseconds(uint64_t ns)
{
	return ns == CGROUP_UNKNOWN ? json_null() : span(1, ns + 1);
}

/* The host's cgroup of the VM, with those limits that held; null: none. */
static json_t *cgroup_part(const struct meta *m, int *bad)
{
	const struct cgroup_limits *l = m->limits;
	const struct cgroup_usage *u = m->usage;
	uint32_t on = m->jail && l && u ? m->jail->on : 0;
	json_t *o;

	if (!(on & JAIL_CGROUP))
		return json_null();
	o = json_object();
	if (on & (1u << JAIL_MEMORY)) {
		add(o, "memory_limit_bytes", number(l->memory_max), bad);
		add(o, "memory_peak_bytes", counted(u->memory_peak), bad);
		add(o, "oom_killed",
		    u->oom_kills == CGROUP_UNKNOWN ?
			    json_null() :
			    json_boolean(u->oom_kills > 0),
		    bad);
	}
	if (on & (1u << JAIL_PIDS))
		add(o, "pids_limit", number(l->pids_max), bad);
	if (on & (1u << JAIL_CPU)) {
		add(o, "cpu_limit",
		    l->cpu_milli ? json_real(l->cpu_milli / 1000.0) :
				   json_null(), bad);
		add(o, "cpu_shares",
		    number(l->cpu_shares ? l->cpu_shares : 1024), bad);
		add(o, "throttled_ms", milliseconds(u->throttled_ns), bad);
	}
	add(o, "cpu_ms", milliseconds(u->cpu_ns), bad);
	return o;
}

/* The image of the run, as its user named it, and the id that it had; both
 * null: the one built in. */
static void add_image(json_t *o, const struct config *c, int *bad)
{
	const struct config_image *ci = c->image;
	const char *name = ci ? ci->name : c->rootfs;

	add(o, "image", name ? words(name) : json_null(), bad);
	add(o, "image_id", ci ? json_string(ci->img.id) : json_null(), bad);
}

static json_t *network_part(const struct meta *m, int *bad)
{
	json_t *o = meta_network(m->config, m->network);

	if (json_is_object(o))
		add(o, "ports", publish_ports(m->publish), bad);
	return o;
}

static json_t *host_part(const struct meta *m, int *bad)
{
	const struct run_result *r = m->result;
	json_t *o = json_object();

	add(o, "engine", m->engine ? json_string(m->engine) : json_null(), bad);
	if (m->engine_why && *m->engine_why)
		add(o, "engine_reason", json_string(m->engine_why), bad);
	add(o, "cpus_asked", number(m->config->cpus.n), bad);
	add(o, "cpus", r->ncpus ? number(r->ncpus) : json_null(), bad);
	add(o, "memory_bytes", number(m->config->memory), bad);
	add_image(o, m->config, bad);
	add(o, "disk_size_bytes",
	    number(m->config->disk_size ? m->config->disk_size : SCRATCH_SIZE),
	    bad);
	add(o, "disk_stored_bytes",
	    m->disk_stored ? number(m->disk_stored) : json_null(), bad);
	add(o, "jail", jail_part(m->jail, bad), bad);
	add(o, "cgroup", cgroup_part(m, bad), bad);
	add(o, "network", network_part(m, bad), bad);
	add(o, "start_ms", span(r->begin_ns, r->started_ns), bad);
	add(o, "boot_ms", span(r->begin_ns, r->ready_ns), bad);
	add(o, "first_output_ms", span(r->begin_ns, r->output_ns), bad);
	add(o, "command_ms", span(r->ready_ns, r->exit_ns), bad);
	add(o, "total_ms", span(r->begin_ns, r->exit_ns), bad);
	add(o, "vcpu_ms",
	    r->vcpu_ns ? json_real((double)(r->vcpu_ns / 1000) / 1000.0)
		       : json_null(),
	    bad);
	add(o, "command_cpu_ms", span(r->ready_ns, r->ready_ns + r->cpu_ns),
	    bad);
	add(o, "output_bytes", number(r->output_bytes), bad);
	add(o, "output_truncated", json_boolean(r->output_truncated), bad);
	add(o, "instructions",
	    r->instructions ? number(r->instructions) : json_null(), bad);
	if (r->verdict == VERDICT_STOPPED)
		add(o, "stop_signal", number((uint64_t)r->signal), bad);
	return o;
}

static json_t *guest_part(const struct meta *m, int *bad)
{
	const struct run_result *r = m->result;
	const struct wire_exit *x = &r->exit;
	json_t *o = json_object();

	if (r->ready_ns)
		add(o, "boot_ms",
		    json_real((double)(r->ready.boot_ns / 1000) / 1000.0), bad);
	if (!r->have_exit)
		return o;
	add(o, "code", number(x->code), bad);
	add(o, "signal", number(x->signal), bad);
	add(o, "errno", number(x->error), bad);
	add(o, "user_us", known(x->user_us), bad);
	add(o, "system_us", known(x->system_us), bad);
	add(o, "memory_peak_bytes", known(x->memory_peak), bad);
	add(o, "max_rss_bytes", known(x->max_rss), bad);
	add(o, "oom_kills", known(x->oom_kills), bad);
	add(o, "pids_refused", known(x->pids_refused), bad);
	add(o, "disk_avail_bytes", known(x->disk_avail), bad);
	return o;
}

char *meta_format(const struct meta *m)
{
	const struct run_result *r = m->result;
	json_t *doc = json_object();
	char *text = NULL;
	int bad = !doc;

	add(doc, "format", number(META_FORMAT), &bad);
	add(doc, "mayfly", json_string(MAYFLY_VERSION), &bad);
	add(doc, "verdict", json_string(verdict_name(r->verdict)), &bad);
	add(doc, "exit_code", number((uint64_t)r->exit_code), &bad);
	add(doc, "decided_by",
	    json_string(verdict_by_guest(r->verdict) ? "guest" : "host"), &bad);
	/* json_string() refuses what is not UTF-8: a path may be anything. */
	if (m->error && m->error->code)
		add(doc, "error", words(m->error->msg), &bad);
	add(doc, "host", host_part(m, &bad), &bad);
	add(doc, "guest", guest_part(m, &bad), &bad);
	if (!bad)
		text = json_dumps(doc,
				  JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	json_decref(doc);
	return text;
}

static int write_line(int fd, const char *text)
{
	size_t n = strlen(text);
	int r = io_write_all(fd, text, n);

	if (r < 0 || (n && text[n - 1] == '\n'))
		return r;
	return io_write_all(fd, "\n", 1);
}

/* As a shell's > does, but a pipe without a reader is an error, no wait. */
static int write_through(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path,
				   O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK |
					   O_NOCTTY | O_CLOEXEC, 0666);

	if (fd < 0)
		return -errno;
	io_set_nonblock(fd, 0);
	return write_line(fd, text);
}

static int write_beside(const char *path, const char *text)
{
	_cleanup_fd_ int fd = -1;
	char tmp[PATH_MAX];
	mode_t mask;
	int r = directory_of(path, tmp);

	if (r < 0)
		return r;
	strcat(tmp, ".mayfly-meta-XXXXXX");
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	mask = umask(0);
	umask(mask);
	r = write_line(fd, text);
	if (r == 0 && (fchmod(fd, 0666 & ~mask) < 0 || rename(tmp, path) < 0))
		r = -errno;
	if (r < 0)
		unlink(tmp);
	return r;
}

int meta_write_file(const char *what, const char *path, const char *text,
		    struct err *err)
{
	int r = must_stay(path) ? write_through(path, text) :
				  write_beside(path, text);

	return r < 0 ? err_set(err, r, "%s: write %s", what, path) : 0;
}

int meta_write(const struct meta *m, const char *path, struct err *err)
{
	_cleanup_free_ char *text = NULL;

	text = m->config->meta_format == CONFIG_META_ISOLATE ?
		       meta_format_isolate(m) :
		       meta_format(m);
	if (!text)
		return err_set(err, -ENOMEM, "meta: %s", path);
	return meta_write_file("meta", path, text, err);
}
