/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The empty file system of a scratch disk, made by e2fsprogs.
 *
 * Its contents never outlive the guest, so there is no journal, and no
 * checksum of metadata. What counts is that few blocks hold data, for a run
 * copies exactly those. The inode tables are holes, and marked as zeroed, so
 * that the guest starts no thread to zero them. All metadata is in front, and
 * with the inodes of a 10 GiB disk leaves room for data in the first block
 * group: a guest that has to look further for its first block pays 70,000
 * instructions. No block is reserved: the quota is the command's.
 *
 * The same size gives the same bytes, whoever makes it, and when.
 */
#include "runner/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define UUID "6d617966-6c79-4000-8000-000000000000"
#define FEATURES \
	"none,dir_index,filetype,extent,flex_bg,sparse_super2,large_file," \
	"huge_file,dir_nlink,extra_isize,uninit_bg,ext_attr"
#define EXTENDED \
	"lazy_itable_init=0,root_owner=0:0,num_backup_sb=0," \
	"packed_meta_blocks=1,hash_seed=" UUID

/* The two directories of overlayfs, owned by root whoever runs this. */
#define LAYOUT "rmdir lost+found\nmkdir up\nmkdir work\n"

#define IMAGE_FD 3 /* where the tools find the disk */
#define IMAGE	 "/proc/self/fd/3"
#define SAID_MAX 512

/* As many as a small disk can fill, then as mke2fs would give; those of 10
 * GiB, and their share above, until nobody can want more. */
static uint64_t inodes(uint64_t size)
{
	uint64_t n = MIN(size / 8192, (uint64_t)65536);

	n = MAX(n, MIN(size / 16384, (uint64_t)393216));
	n = MAX(n, size / 81920 * 3);
	return MIN(n, (uint64_t)1 << 26);
}

void scratch_name(uint64_t size, char name[SCRATCH_NAME])
{
	static const char params[] = UUID FEATURES EXTENDED LAYOUT;
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
	uint64_t n = inodes(size);

	for (size_t i = 0; i < sizeof(params); i++)
		hash = (hash ^ (uint8_t)params[i]) * 0x100000001b3;
	for (; n; n >>= 8)
		hash = (hash ^ (n & 0xff)) * 0x100000001b3;
	snprintf(name, SCRATCH_NAME, "%" PRIu64 "-%016" PRIx64, size, hash);
}

/* e2fsprogs lives where the PATH of a user does not lead. */
int scratch_find_tool(const char *tool, char path[PATH_MAX],
		      struct err *err)
{
	const char *env = getenv("PATH");
	_cleanup_free_ char *dirs = NULL;
	char *save, *dir;
	int r;

	if (asprintf(&dirs, "%s:/usr/local/sbin:/usr/sbin:/sbin",
		     env ? env : "") < 0)
		return err_set(err, -ENOMEM, "%s", tool);
	for (dir = strtok_r(dirs, ":", &save); dir;
	     dir = strtok_r(NULL, ":", &save)) {
		int n = snprintf(path, PATH_MAX, "%s/%s", dir, tool);

		if (n < PATH_MAX && access(path, X_OK) == 0)
			return 0;
	}
	r = err_say(err, -ENOENT, "%s: not found", tool);
	err_hint(err, "install e2fsprogs, or leave --disk out");
	return r;
}

/* The descriptors, signals and environment of a tool: none of ours. */
static int start(const char *path, char *const *argv, const int fd[4],
		 pid_t *pid)
{
	char *const env[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
		"E2FSPROGS_FAKE_TIME=1", "MKE2FS_CONFIG=/dev/null",
		"MKE2FS_SKIP_PROGRESS=1", "MKE2FS_SKIP_CHECK_MSG=1", NULL
	};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r = posix_spawn_file_actions_init(&files);

	if (r)
		return -r;
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	for (int i = 0; r == 0 && i < 4; i++)
		r = posix_spawn_file_actions_adddup2(&files, fd[i], i);
	if (r == 0)
		r = posix_spawn(pid, path, &files, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

/* What it says, to the end; the first of it is kept, and made a line. */
static void listen_to(int fd, char said[SAID_MAX])
{
	ssize_t n = io_read_full(fd, said, SAID_MAX - 1);
	char rest[SAID_MAX];

	said[MAX(n, 0)] = '\0';
	while (n > 0)
		n = io_read_full(fd, rest, sizeof(rest));
	said[strcspn(said, "\n")] = '\0';
}

/* Descriptors that do not stand where those of the tool will. */
static int above(int *fd)
{
	int up = fcntl(*fd, F_DUPFD_CLOEXEC, IMAGE_FD + 1);

	close_fd(fd);
	*fd = up;
	return up < 0 ? -errno : 0;
}

static int pipe_above(int pair[2])
{
	int r;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	r = above(&pair[0]);
	return r < 0 ? r : above(&pair[1]);
}

/* Run a tool on the disk @raw, with @input to read. */
static int run(const char *path, char *const *argv, int raw, const char *input,
	       struct err *err)
{
	_cleanup_fd_ int image = fcntl(raw, F_DUPFD_CLOEXEC, IMAGE_FD + 1);
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, status = 0;
	char said[SAID_MAX] = "";
	pid_t pid = -1;
	int r = image < 0 ? -errno : pipe_above(in);

	if (r == 0)
		r = pipe_above(out);
	/* A pipe has room for so little, also where nobody reads. */
	if (r == 0)
		r = io_write_all(in[1], input, strlen(input));
	if (r == 0)
		r = start(path, argv,
			  (int[]){ in[0], out[1], out[1], image }, &pid);
	close_fd(&in[0]);
	close_fd(&in[1]);
	close_fd(&out[1]);
	if (r == 0)
		listen_to(out[0], said);
	close_fd(&out[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_set(err, r, "run %s", path);
	if (status)
		return err_say(err, -EIO, "%s failed%s%s", path,
			       *said ? ": " : "", said);
	return 0;
}

int scratch_make(int raw, uint64_t size, struct err *err)
{
	char mke2fs[PATH_MAX], debugfs[PATH_MAX], count[24];
	char *const make[] = { "mke2fs", "-q", "-F", "-b", "4096", "-I", "256",
			       "-N", count, "-m", "0", "-U", UUID, "-O",
			       FEATURES, "-E", EXTENDED, IMAGE, NULL };
	char *const lay_out[] = { "debugfs", "-w", "-f", "-", IMAGE, NULL };
	int r = scratch_find_tool("mke2fs", mke2fs, err);

	if (r == 0)
		r = scratch_find_tool("debugfs", debugfs, err);
	if (r < 0)
		return r;
	if (ftruncate(raw, (off_t)size) < 0)
		return err_set(err, -errno, "a file of %" PRIu64 " MiB",
			       size >> 20);
	snprintf(count, sizeof(count), "%" PRIu64, inodes(size));
	r = run(mke2fs, make, raw, "", err);
	return r < 0 ? r : run(debugfs, lay_out, raw, LAYOUT, err);
}
