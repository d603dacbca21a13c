/* SPDX-License-Identifier: Apache-2.0 */
/* What an image says of the command of a run. */
#include "runner/config_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/signo.h"

static size_t count(char *const *words)
{
	size_t n = 0;

	while (words && words[n])
		n++;
	return n;
}

int config_command(const struct config *c, char *const *entrypoint,
		   char *const *args, char ***argv, struct err *err)
{
	char *const own[] = { (char *)c->entrypoint, NULL };
	char *const *first = c->entrypoint ? own : entrypoint;
	size_t n = count(first), m = count(args);

	*argv = calloc(n + m + 1, sizeof(**argv));
	if (!*argv)
		return err_set(err, -ENOMEM, "command");
	if (n)
		memcpy(*argv, first, n * sizeof(**argv));
	if (m)
		memcpy(*argv + n, args, m * sizeof(**argv));
	return 0;
}

/* An image may name one that nobody knows; Docker takes TERM then, too. */
static int stop_signal(const struct image *img)
{
	int n = img->stop_signal ? signo_parse(img->stop_signal) : 0;

	if (n < 0)
		log_info("the image's stop signal %s is none", img->stop_signal);
	return MAX(n, 0);
}

int config_image_apply(struct config *c, struct config_image *ci, char **args,
		       struct err *err)
{
	const struct image *img = &ci->img;
	int r;

	/* As with Docker: what is meant for another entry point is no use. */
	if (!*args && !c->entrypoint && img->cmd)
		args = img->cmd;
	r = config_command(c, img->entrypoint, args, &ci->argv, err);
	if (r < 0)
		return r;
	if (!*ci->argv) {
		r = err_say(err, -EINVAL, "image %s: it says no command to run",
			    ci->name);
		err_hint(err, "mayfly run %s CMD [ARG...]", ci->name);
		return r;
	}
	c->argv = ci->argv;
	c->image = ci;
	c->stop_signal = stop_signal(img);
	if (!c->user && img->user && *img->user)
		c->user = img->user;
	if (!c->workdir && img->workdir && *img->workdir)
		c->workdir = img->workdir;
	r = config_default_env(c, img->env, err);
	return r < 0 ? err_wrap(err, "image %s", ci->name) : 0;
}
