/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe's answer, kept for this boot.
 *
 * One line in a file of this user's: the boot id, the version of mayfly and
 * the verdict. The directory may be /tmp, where anybody can put a file by
 * that name: it counts only as a regular file that is ours and that nobody
 * else may write. A forged answer would need our uid, which can do worse.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/engine/probe.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN  36
#define LINE_MAX_LEN (BOOT_ID_LEN + 64 + PROBE_WHY_MAX)

/* A directory that is ours alone to write. */
static int open_private_dir(const char *path)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return -1;
	return steal_fd(&fd);
}

static int open_dir(void)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int fd = -1;

	if (xdg && xdg[0] == '/')
		fd = open_private_dir(xdg);
	if (fd < 0 && geteuid() == 0) {
		(void)mkdir("/run/mayfly", 0755);
		fd = open_private_dir("/run/mayfly");
	}
	if (fd < 0)
		fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

static void file_name(char name[64])
{
	snprintf(name, 64, "mayfly-probe-%u", (unsigned)geteuid());
}

/* "BOOT-ID VERSION ", what a line must start with to be good. */
static int line_prefix(char *buf, size_t size)
{
	_cleanup_free_ char *id = NULL;
	size_t len = 0;

	if (io_read_file(BOOT_ID_FILE, 64, &id, &len) < 0 || len < BOOT_ID_LEN)
		return -1;
	return snprintf(buf, size, "%.*s %s ", BOOT_ID_LEN, id,
			MAYFLY_VERSION);
}

/* Fills @buf and returns 0 when the file is there and can be trusted. */
static int read_line(int dir, const char *name, char *buf, size_t size)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;
	ssize_t n;

	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 022) || st.st_nlink != 1)
		return -1;
	n = io_read_full(fd, buf, size - 1);
	if (n <= 0 || buf[n - 1] != '\n') /* short or cut off */
		return -1;
	buf[n - 1] = '\0';
	return 0;
}

/* A whole new file under a name of this process, then renamed: a reader sees
 * the old line or the new one. */
static void write_line(int dir, const char *name, const char *line, size_t len)
{
	_cleanup_fd_ int fd = -1;
	char temp[96];

	snprintf(temp, sizeof(temp), "%s.%ld", name, (long)getpid());
	fd = openat(dir, temp,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (io_write_all(fd, line, len) < 0 ||
	    renameat(dir, temp, dir, name) < 0)
		(void)unlinkat(dir, temp, 0);
}

static int parse_line(const char *line, const char *prefix,
		      struct probe_result *r)
{
	size_t len = strlen(prefix);

	if (strncmp(line, prefix, len) != 0)
		return -1;
	line += len;
	if (strcmp(line, "ok") == 0) {
		r->ok = 1;
	} else if (strncmp(line, "no ", 3) == 0) {
		snprintf(r->why, sizeof(r->why), "%s", line + 3);
	} else {
		return -1;
	}
	r->cached = 1;
	return 0;
}

int probe_kvm_cached(int kvm_fd, struct probe_result *r)
{
	_cleanup_fd_ int dir = open_dir();
	char name[64], prefix[BOOT_ID_LEN + 64], line[LINE_MAX_LEN];
	int keep = dir >= 0 && line_prefix(prefix, sizeof(prefix)) > 0;
	int rc, n;

	*r = (struct probe_result){ 0 };
	file_name(name);
	if (keep && read_line(dir, name, line, sizeof(line)) == 0 &&
	    parse_line(line, prefix, r) == 0)
		return 0;
	rc = probe_kvm(kvm_fd, r);
	/* A probe that failed for want of time or memory may do better next
	 * time: only what the guest found is kept. */
	if (rc < 0 || !keep)
		return rc;
	n = snprintf(line, sizeof(line), "%s%s%s\n", prefix,
		     r->ok ? "ok" : "no ", r->why);
	if (n > 0 && (size_t)n < sizeof(line))
		write_line(dir, name, line, (size_t)n);
	return rc;
}
