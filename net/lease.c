/* SPDX-License-Identifier: Apache-2.0 */
/* Leases of network numbers: locked files below the directory of runs. */
#include "net/lease.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define NUMBER_MAX 8 /* digits of a number, with the NUL */
#define LINE_MAX   (NET_LEASE_ID_MAX + IFNAMSIZ + NET_ADDR_MAX + 3)

/* Opening a directory that is made if @create. */
static int open_in(int at, const char *name, int create)
{
	int fd;

	if (create && mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_leases(int state, int create)
{
	_cleanup_fd_ int net = open_in(state, "net", create);

	return net < 0 ? net : open_in(net, "leases", create);
}

/* The name of a lease's file is its number, spelt in one way only. */
static int parse_number(const char *name, unsigned *number)
{
	unsigned n = 0;

	if (!*name || strlen(name) >= NUMBER_MAX ||
	    (name[0] == '0' && name[1]))
		return -EINVAL;
	for (; *name >= '0' && *name <= '9'; name++)
		n = n * 10 + (unsigned)(*name - '0');
	*number = n;
	return *name || n >= NET_LEASE_MAX ? -EINVAL : 0;
}

/* --- one's own ---------------------------------------------------------- */

/* A file that has lost its name since it was opened is nobody's number. */
static int lock_number(int dir, const char *name, int flags)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat st;

	for (;;) {
		_cleanup_fd_ int fd = openat(dir, name,
					     flags | O_RDWR | O_NOFOLLOW |
						     O_NONBLOCK | O_CLOEXEC,
					     0600);

		if (fd < 0)
			return -errno;
		if (fcntl(fd, F_OFD_SETLK, &l) < 0)
			return errno == EAGAIN || errno == EACCES ? -EBUSY
								  : -errno;
		if (fstat(fd, &st) < 0)
			return -errno;
		if (!S_ISREG(st.st_mode))
			return -EBUSY;
		if (st.st_nlink)
			return steal_fd(&fd);
	}
}

static int write_line(int fd, const char *id, const char *uplink)
{
	char line[LINE_MAX + 1];
	int n = snprintf(line, sizeof(line), "%s %s\n", id, uplink);

	if (n < 0 || n >= (int)sizeof(line))
		return -ENAMETOOLONG;
	if (ftruncate(fd, 0) < 0)
		return -errno;
	return io_write_all(fd, line, (size_t)n);
}

int net_lease_take(struct net_lease *l, int state, unsigned first, unsigned end,
		   const char *id, const char *uplink, struct err *err)
{
	_cleanup_fd_ int dir = open_leases(state, 1);
	char name[NUMBER_MAX];
	int r;

	*l = (struct net_lease)NET_LEASE_NONE;
	if (dir < 0)
		return err_set(err, dir, "leases of networks");
	end = MIN(end, NET_LEASE_MAX);
	for (unsigned n = first; n < end; n++) {
		_cleanup_fd_ int fd = -1;

		snprintf(name, sizeof(name), "%u", n);
		fd = lock_number(dir, name, O_CREAT);
		if (fd == -EBUSY)
			continue;
		if (fd < 0)
			return err_set(err, fd, "lease of network %u", n);
		l->number = n;
		if (uplink)
			snprintf(l->uplink, sizeof(l->uplink), "%s", uplink);
		else
			snprintf(l->uplink, sizeof(l->uplink), NET_HOST_LINK "%u",
				 n);
		r = write_line(fd, id, l->uplink);
		l->fd = steal_fd(&fd);
		l->dir = steal_fd(&dir);
		if (r < 0)
			net_lease_drop(l);
		return r < 0 ? err_set(err, r, "lease of network %u", n) : 0;
	}
	err_say(err, -EADDRINUSE, "all %u networks of the pool are in use",
		end);
	return err_hint(err, "`mayfly net ls` lists them; --net-pool CIDR takes "
			     "a larger pool");
}

/* In the place of the line's end, at once. */
int net_lease_note(const struct net_lease *l, const struct net_addr *a)
{
	char text[NET_ADDR_MAX], end[NET_ADDR_MAX + 2];
	struct stat st;
	int n = snprintf(end, sizeof(end), " %s\n", net_addr_format(a, text));

	if (fstat(l->fd, &st) < 0)
		return -errno;
	if (st.st_size < 1)
		return -EIO;
	if (pwrite(l->fd, end, (size_t)n, st.st_size - 1) < 0)
		return -errno;
	return 0;
}

int net_lease_seize(struct net_lease *l, int state, unsigned number)
{
	_cleanup_fd_ int dir = open_leases(state, 1);
	char name[NUMBER_MAX];
	int fd;

	*l = (struct net_lease)NET_LEASE_NONE;
	if (dir < 0)
		return dir;
	snprintf(name, sizeof(name), "%u", number);
	fd = lock_number(dir, name, O_CREAT);
	if (fd < 0)
		return fd;
	l->fd = fd;
	l->dir = steal_fd(&dir);
	l->number = number;
	return 0;
}

void net_lease_drop(struct net_lease *l)
{
	char name[NUMBER_MAX];

	if (l->fd >= 0) {
		snprintf(name, sizeof(name), "%u", l->number);
		unlinkat(l->dir, name, 0);
	}
	close_fd(&l->fd);
	close_fd(&l->dir);
}

int net_lease_alias(const struct net_lease *l, const char *id,
		    char alias[NET_ALIAS_MAX])
{
	struct stat st;
	int n;

	if (fstat(l->dir, &st) < 0)
		return -errno;
	n = snprintf(alias, NET_ALIAS_MAX, NET_ALIAS "%s %llx:%llx", id,
		     (unsigned long long)st.st_dev,
		     (unsigned long long)st.st_ino);
	return n < 0 || n >= NET_ALIAS_MAX ? -ENAMETOOLONG : 0;
}

int net_lease_has_alias(const struct net_lease *l, const char *alias)
{
	const char *dir = strchr(alias, ' ');
	char own[NET_ALIAS_MAX];

	return dir && !strncmp(alias, NET_ALIAS, strlen(NET_ALIAS)) &&
	       net_lease_alias(l, "", own) == 0 &&
	       !strcmp(dir, own + strlen(NET_ALIAS));
}

/* --- everybody's -------------------------------------------------------- */

/* "id uplink\n", or an address behind that, of printable characters; what is not
 * so is left out. */
static void read_line(int fd, struct net_lease_info *i)
{
	char line[LINE_MAX + 1];
	ssize_t n = io_pread_full(fd, line, LINE_MAX, 0);
	struct net_addr addr = { 0 };
	char *gap, *more, *end;

	line[MAX(n, 0)] = '\0';
	gap = strchr(line, ' ');
	end = gap ? strchr(gap, '\n') : NULL;
	if (!end)
		return;
	*gap = *end = '\0';
	more = strchr(gap + 1, ' ');
	if (more)
		*more = '\0';
	for (const char *p = line; p < end; p++)
		if (p != gap && p != more && (*p <= ' ' || *p > '~'))
			return;
	if (more && (!gap[1] || net_addr_read(&addr, more + 1) < 0))
		return;
	if (strlen(line) >= sizeof(i->id) ||
	    strlen(gap + 1) >= sizeof(i->uplink))
		return;
	strcpy(i->id, line);
	strcpy(i->uplink, gap + 1);
	i->addr = addr;
}

void net_lease_read(const struct net_lease *l, struct net_lease_info *i)
{
	*i = (struct net_lease_info){ .number = l->number, .held = 1 };
	read_line(l->fd, i);
}

/* 0; -ENOENT where it has gone, or is no lease. */
static int look_at(int dir, const char *name, struct net_lease_info *i)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_fd_ int fd = -1;
	struct stat st;

	*i = (struct net_lease_info){ 0 };
	if (parse_number(name, &i->number) < 0)
		return -ENOENT;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	if (fcntl(fd, F_OFD_GETLK, &l) < 0)
		return -errno;
	i->held = l.l_type != F_UNLCK;
	read_line(fd, i);
	return 0;
}

int net_lease_each(int state,
		   int (*fn)(const struct net_lease_info *i, void *opaque),
		   void *opaque)
{
	int fd = open_leases(state, 0), r = 0;
	const struct dirent *e;
	DIR *d;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (errno = 0, e = readdir(d))) {
		struct net_lease_info i;

		r = look_at(fd, e->d_name, &i);
		if (r == 0)
			r = fn(&i, opaque);
		else if (r == -ENOENT)
			r = 0;
	}
	if (r == 0 && !e)
		r = -errno;
	closedir(d);
	return r;
}

static int count_one(const struct net_lease_info *i, void *opaque)
{
	*(int *)opaque += i->held;
	return 0;
}

int net_lease_count(int state)
{
	int n = 0, r = net_lease_each(state, count_one, &n);

	return r < 0 ? r : n;
}
