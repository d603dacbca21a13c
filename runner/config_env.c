/* SPDX-License-Identifier: Apache-2.0 */
/* The command's environment: --env and --env-file. */
#include "runner/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define ENV_MAX	      1024 /* of the user's, and of the image's */
#define ENV_FILES_MAX 16
#define ENV_FILE_MAX  (256u << 10) /* what an EXEC frame has room for */

/* The caller's own "NAME=value", or NULL. */
static const char *find_env(const char *name)
{
	size_t n = strlen(name);

	for (char **e = environ; e && *e; e++)
		if (!strncmp(*e, name, n) && (*e)[n] == '=')
			return *e;
	return NULL;
}

static int append(struct strings *s, const char *what, size_t max,
		  struct err *err)
{
	const char **v;

	if (s->n >= max)
		return err_say(err, -E2BIG, "more than %zu", max);
	v = realloc(s->v, (s->n + 1) * sizeof(*v));
	if (!v)
		return err_set(err, -ENOMEM, "remember it");
	s->v = v;
	v[s->n++] = what;
	return 0;
}

/* The entry for the name that @entry has, or NULL. */
static const char **find_entry(struct strings *env, const char *entry)
{
	size_t n = (size_t)(strchr(entry, '=') - entry) + 1;

	for (size_t i = 0; i < env->n; i++)
		if (!strncmp(env->v[i], entry, n))
			return &env->v[i];
	return NULL;
}

static int set_entry(struct strings *env, const char *entry, struct err *err)
{
	const char **old = find_entry(env, entry);

	if (!old)
		return append(env, entry, ENV_MAX, err);
	*old = entry;
	return 0;
}

int config_add_env(void *field, const char *arg, struct err *err)
{
	if (!*arg || *arg == '=')
		return err_say(err, -EINVAL, "not NAME=value");
	if (!strchr(arg, '='))
		arg = find_env(arg);
	return arg ? set_entry(field, arg, err) : 0;
}

int config_add_env_file(void *field, const char *arg, struct err *err)
{
	if (!*arg)
		return err_say(err, -EINVAL, "the argument is empty");
	return append(field, arg, ENV_FILES_MAX, err);
}

/* Docker's rules: blanks before a name do not count, all after `=` does. */
static int take_line(struct strings *env, char *line, struct err *err)
{
	char *end;

	while (isspace((unsigned char)*line))
		line++;
	if (!*line || *line == '#')
		return 0;
	end = line + strcspn(line, "=");
	if (end == line)
		return err_say(err, -EINVAL, "no name before =");
	for (const char *p = line; p < end; p++)
		if (isspace((unsigned char)*p))
			return err_say(err, -EINVAL,
				       "the name has a blank in it");
	return config_add_env(env, line, err);
}

static int take_file(struct strings *env, char *text, size_t len,
		     const char *path, struct err *err)
{
	char *line = text, *end = text + len, *next;
	unsigned n = 1;
	int r = 0;

	if (!strncmp(line, "\xef\xbb\xbf", 3))
		line += 3; /* the byte order mark that some editors write */
	for (; r == 0 && line < end; line = next + 1, n++) {
		next = memchr(line, '\n', (size_t)(end - line));
		if (!next)
			next = end;
		*next = '\0';
		if (memchr(line, '\0', (size_t)(next - line)))
			r = err_say(err, -EINVAL, "a NUL byte");
		if (next > line && next[-1] == '\r')
			next[-1] = '\0';
		if (r == 0)
			r = take_line(env, line, err);
		if (r < 0)
			err_wrap(err, "--env-file %s: line %u", path, n);
	}
	return r;
}

static int load_file(struct config *c, struct strings *env, const char *path,
		     struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = io_read_file(path, ENV_FILE_MAX, &text, &len);

	if (r == -EFBIG)
		return err_say(err, r, "--env-file %s: more than %u KiB", path,
			       ENV_FILE_MAX >> 10);
	if (r < 0)
		return err_set(err, r, "--env-file %s", path);
	r = append(&c->env_texts, text, ENV_FILES_MAX, err);
	if (r < 0)
		return r;
	return take_file(env, steal_ptr(&text), len, path, err);
}

int config_load_env(struct config *c, struct err *err)
{
	struct strings env = { 0 };
	int r = 0;

	if (!c->env_files.n)
		return 0;
	for (size_t i = 0; r == 0 && i < c->env_files.n; i++)
		r = load_file(c, &env, c->env_files.v[i], err);
	for (size_t i = 0; r == 0 && i < c->env.n; i++)
		r = set_entry(&env, c->env.v[i], err);
	free(c->env.v);
	c->env = env;
	return r;
}

int config_default_env(struct config *c, char *const *env, struct err *err)
{
	struct strings all = { 0 };
	int r = 0;

	for (; r == 0 && env && *env; env++)
		if (**env != '=' && strchr(*env, '='))
			r = set_entry(&all, *env, err);
	for (size_t i = 0; r == 0 && i < c->env.n; i++) {
		const char **old = find_entry(&all, c->env.v[i]);

		if (old)
			*old = c->env.v[i];
		else
			r = append(&all, c->env.v[i], 2 * ENV_MAX, err);
	}
	free(c->env.v);
	c->env = all;
	return r;
}
