/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as a program of the guest: what a session with WIRE_EXEC_AGENT
 * runs. A process like any other, of the user that was asked for.
 */
#include "rootfs/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/tree.h"

/* One line on standard error: "path: what: strerror(error)". */
static void say(void *opaque, const char *path, const char *what, int error)
{
	char line[PATH_MAX + 256] = "";
	const size_t cap = sizeof(line) - 1; /* the newline's */
	char *p;

	(void)opaque;
	say_add(line, cap, path);
	say_add(line, cap, ": ");
	say_add(line, cap, what);
	if (error) {
		say_add(line, cap, ": ");
		say_add(line, cap, strerror(error));
	}
	/* A name may hold a newline; a line may not. */
	for (p = line; *p; p++) {
		if (*p == '\n')
			*p = '?';
	}
	*p++ = '\n';
	if (write(STDERR_FILENO, line, (size_t)(p - line)) < 0)
		(void)0; /* nobody listens */
}

static const struct tree_ops ops = { .say = say };

static int tree_in(const char *name, const char *path)
{
	struct tree_place p;

	if (tree_place(&p, path, name, &ops))
		return 1;
	return tree_unpack(STDIN_FILENO, &p, TREE_EXACT_MODES, &ops) != 0;
}

/* The directory that @path is up to @end. */
static int put_parents(char *path, char *end)
{
	char cut = *end;
	int error;

	*end = '\0';
	error = make_dirs(path);
	*end = cut;
	return error;
}

/* @path is ours: a word of our own arguments. */
static int tree_put(const char *name, char *path, const char *spec)
{
	char *end = path + strlen(path);
	struct tree_owner owner;
	struct tree_place p;
	struct user user;
	int error = user_find("/etc", spec, &user);

	if (error) {
		say(NULL, spec, "is no user of this guest", error);
		return 1;
	}
	/* "/a/b": what is in front of the name. "/a/b/": all of it. */
	while (end > path + 1 && end[-1] != '/')
		end--;
	while (end > path + 1 && end[-1] == '/')
		end--;
	error = put_parents(path, end);
	if (error) {
		say(NULL, path, "cannot be made", error);
		return 1;
	}
	if (tree_place(&p, path, name, &ops))
		return 1;
	owner.uid = user.uid;
	owner.gid = user.gid;
	p.owner = &owner;
	return tree_unpack(STDIN_FILENO, &p, TREE_EXACT_MODES, &ops) != 0;
}

/* Where no path leads: the working directory is boot()'s. */
static int tree_volume(const char *number, const char *shown)
{
	struct tree_place p = { .shown = shown };

	mkdir(MOUNT_VOLUMES, 0700);
	p.dir = open(MOUNT_VOLUMES, O_PATH | O_DIRECTORY | O_NOFOLLOW |
		     O_CLOEXEC);
	if (p.dir < 0) {
		say(NULL, shown, "has no place", errno);
		return 1;
	}
	say_add(p.name, sizeof(p.name), number);
	return tree_unpack(STDIN_FILENO, &p, TREE_EXACT_MODES, &ops) != 0;
}

int tool_main(int argc, char **argv)
{
	/* A lost host ends the stream: there may be something to remove. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (argc == 2 && !strcmp(argv[0], WIRE_TREE_OUT))
		return tree_pack(STDOUT_FILENO, argv[1], &ops) != 0;
	if (argc == 3 && !strcmp(argv[0], WIRE_TREE_IN))
		return tree_in(argv[1], argv[2]);
	if (argc == 4 && !strcmp(argv[0], WIRE_TREE_PUT))
		return tree_put(argv[1], argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[0], WIRE_TREE_VOLUME))
		return tree_volume(argv[1], argv[2]);
	return 2; /* this is no program for a host */
}
