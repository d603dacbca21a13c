/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's parts that need no guest. */
#include "rootfs/agent/session.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/mayfly-agent-XXXXXX";

static void make_dir(void)
{
	cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

static void put_file(const char *name, const char *text, mode_t mode)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void put_dir(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cr_assert_eq(mkdir(path, 0755), 0);
}

/* The exit status of @file, or 100 + errno where it could not run. */
static int try_exec(const char *path, const char *file)
{
	char *argv[] = { (char *)file, NULL }, *env[] = { NULL };
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(100 + spawn_exec(path, argv, env));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TestSuite(search, .init = make_dir, .fini = remove_dir);

Test(search, first_match_in_path_order_runs)
{
	char path[256];

	put_dir("a");
	put_dir("b");
	put_file("a/one", "#!/bin/sh\nexit 3\n", 0755);
	put_file("b/one", "#!/bin/sh\nexit 4\n", 0755);
	put_file("b/two", "#!/bin/sh\nexit 5\n", 0755);
	snprintf(path, sizeof(path), "/nonexistent:%s/a:%s/b", dir, dir);
	cr_assert_eq(try_exec(path, "one"), 3);
	cr_assert_eq(try_exec(path, "two"), 5);
	cr_assert_eq(try_exec(path, "three"), 100 + ENOENT);
	cr_assert_eq(try_exec(path, ""), 100 + ENOENT);
}

Test(search, file_not_executable_is_passed_over_and_reported)
{
	char path[256];

	put_dir("a");
	put_dir("b");
	put_file("a/tool", "#!/bin/sh\nexit 3\n", 0644);
	snprintf(path, sizeof(path), "%s/a:%s/b", dir, dir);
	cr_assert_eq(try_exec(path, "tool"), 100 + EACCES);
	put_file("b/tool", "#!/bin/sh\nexit 4\n", 0755);
	cr_assert_eq(try_exec(path, "tool"), 4);
}

Test(search, empty_element_is_the_working_directory)
{
	put_file("here", "#!/bin/sh\nexit 6\n", 0755);
	cr_assert_eq(chdir(dir), 0);
	cr_assert_eq(try_exec(":/bin", "here"), 6);
	cr_assert_eq(try_exec("/nonexistent:", "here"), 6);
	cr_assert_eq(try_exec("", "here"), 6);
	cr_assert_eq(chdir("/"), 0);
}

Test(search, overlong_element_is_passed_over)
{
	char *path = malloc(70000);

	memset(path, 'x', 69999);
	memcpy(path + 60000, ":/bin:", 6);
	path[69999] = '\0';
	cr_assert_eq(try_exec(path, "true"), 0);
	free(path);
}

Test(search, name_with_slash_is_not_searched)
{
	cr_assert_eq(try_exec("/bin", "./true"), 100 + ENOENT);
	cr_assert_eq(try_exec("/nonexistent", "/bin/true"), 0);
	cr_assert_eq(try_exec("/", "/tmp"), 100 + EACCES);
}

Test(exit_code, only_a_program_not_found_is_127)
{
	cr_assert_eq(spawn_exit_code(WIRE_STAGE_EXEC, ENOENT), 127);
	cr_assert_eq(spawn_exit_code(WIRE_STAGE_EXEC, EACCES), 126);
	cr_assert_eq(spawn_exit_code(WIRE_STAGE_EXEC, ENOEXEC), 126);
	cr_assert_eq(spawn_exit_code(WIRE_STAGE_CWD, ENOENT), 126);
	cr_assert_eq(spawn_exit_code(WIRE_STAGE_USER, ENOENT), 126);
}

Test(environment, given_entries_replace_defaults)
{
	static struct spawn sp;
	char *env[] = { "PATH=/x", "TERM=vt100", NULL };

	strcpy(sp.user.home, "/root");
	sp.cmd.env = env;
	spawn_env(&sp);
	cr_assert_str_eq(sp.env[0], "HOME=/root");
	cr_assert_str_eq(sp.env[1], "HOSTNAME=mayfly");
	cr_assert_str_eq(sp.env[2], "PATH=/x");
	cr_assert_str_eq(sp.env[3], "TERM=vt100");
	cr_assert_null(sp.env[4]);
}

Test(environment, term_comes_with_a_terminal_only)
{
	static struct spawn sp;
	char *none[] = { NULL };

	sp.cmd.env = none;
	spawn_env(&sp);
	cr_assert_null(sp.env[3]);
	sp.cmd.head.flags = WIRE_EXEC_TTY;
	spawn_env(&sp);
	cr_assert_str_eq(sp.env[3], "TERM=xterm");
	cr_assert_null(sp.env[4]);
}

TestSuite(user, .init = make_dir, .fini = remove_dir);

static void put_users(void)
{
	put_file("passwd",
		 "root:x:0:0:root:/root:/bin/sh\n"
		 "broken\n"
		 "www:x:33:44::/var/www:/bin/false\n"
		 "short:x:7:8",
		 0644);
	put_file("group", "root:x:0:\nstaff:x:50:www\n", 0644);
}

Test(user, names_and_numbers_are_found_with_their_home)
{
	struct user u;

	put_users();
	cr_assert_eq(user_find(dir, "", &u), 0);
	cr_assert_eq(u.uid, 0);
	cr_assert_str_eq(u.home, "/root");
	cr_assert_eq(user_find(dir, "www", &u), 0);
	cr_assert_eq(u.uid, 33);
	cr_assert_eq(u.gid, 44);
	cr_assert_str_eq(u.home, "/var/www");
	cr_assert_eq(user_find(dir, "33:staff", &u), 0);
	cr_assert_eq(u.gid, 50);
	cr_assert_str_eq(u.home, "/var/www");
	cr_assert_eq(user_find(dir, "www:9", &u), 0);
	cr_assert_eq(u.gid, 9);
	cr_assert_eq(user_find(dir, "short", &u), 0);
	cr_assert_str_eq(u.home, "/");
}

Test(user, a_number_needs_no_entry_and_a_name_does)
{
	struct user u;

	put_users();
	cr_assert_eq(user_find(dir, "1000", &u), 0);
	cr_assert_eq(u.uid, 1000);
	cr_assert_eq(u.gid, 0);
	cr_assert_str_eq(u.home, "/");
	cr_assert_eq(user_find(dir, "nobody", &u), ENOENT);
	cr_assert_eq(user_find(dir, "www:nogroup", &u), ENOENT);
	cr_assert_eq(user_find(dir, "broken", &u), EINVAL);
	cr_assert_eq(user_find(dir, "4294967295", &u), ENOENT);
	cr_assert_eq(user_find("/nonexistent", "www", &u), ENOENT);
	cr_assert_eq(user_find("/nonexistent", "5:6", &u), 0);
}

Test(user, groups_come_from_every_line_that_names_the_user)
{
	struct user u;

	put_users();
	put_file("group",
		 "root:x:0:\nstaff:x:50:www\nadm:x:51:root,www,short\n"
		 "w:x:52:ww\nmail:x:53:wwww,www\nbad:x:y:www\nfew:x:54\n"
		 "last:x:55:short,www",
		 0644);
	cr_assert_eq(user_find(dir, "www", &u), 0);
	cr_assert_eq(u.gid, 44);
	cr_assert_eq(u.ngroups, 4);
	cr_assert_eq(u.groups[0], 50);
	cr_assert_eq(u.groups[1], 51);
	cr_assert_eq(u.groups[2], 53);
	cr_assert_eq(u.groups[3], 55);
	/* By number as well, and an empty group is none. */
	cr_assert_eq(user_find(dir, "33", &u), 0);
	cr_assert_eq(u.ngroups, 4);
	cr_assert_eq(user_find(dir, "www:", &u), 0);
	cr_assert_eq(u.ngroups, 4);
	/* An explicit group is the only one. */
	cr_assert_eq(user_find(dir, "www:w", &u), 0);
	cr_assert_eq(u.gid, 52);
	cr_assert_eq(u.ngroups, 0);
	cr_assert_eq(user_find(dir, "77", &u), 0);
	cr_assert_eq(u.ngroups, 0);
}

Test(user, more_groups_than_there_is_room_for_are_left_out)
{
	char *text = calloc(1, 65536);
	struct user u;
	size_t n = 0;
	int i;

	put_users();
	for (i = 0; i < USER_GROUPS_MAX + 10; i++)
		n += (size_t)sprintf(text + n, "g%d:x:%d:www\n", i, 1000 + i);
	put_file("group", text, 0644);
	free(text);
	cr_assert_eq(user_find(dir, "www", &u), 0);
	cr_assert_eq(u.ngroups, USER_GROUPS_MAX);
	cr_assert_eq(u.groups[USER_GROUPS_MAX - 1], 1000 + USER_GROUPS_MAX - 1);
}

Test(user, no_user_is_root)
{
	struct user u;

	put_users();
	cr_assert_eq(user_find(dir, ":staff", &u), 0);
	cr_assert_eq(u.uid, 0);
	cr_assert_eq(u.gid, 50);
	cr_assert_str_eq(u.home, "/root");
	cr_assert_eq(user_find(dir, ":", &u), 0);
	cr_assert_eq(u.gid, 0);
	cr_assert_eq(user_find(dir, "www:33:44", &u), ENOENT);
	cr_assert_eq(user_find(dir, "www\nx", &u), ENOENT);
}

Test(user, line_that_is_cut_by_our_limit_is_no_line)
{
	char *text = malloc(70000);
	struct user u;

	/* Byte 65535, the first that is not looked at, is in the gid. */
	memset(text, '#', 70000);
	memcpy(text + 65535 - 9, "\nme:x:5:12345::/:\n", 19);
	text[69999] = '\0';
	put_file("passwd", text, 0644);
	free(text);
	cr_assert_eq(user_find(dir, "me", &u), ENOENT);
}

Test(cgroup, numbers_are_read_by_key)
{
	const char *events = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";

	cr_assert_eq(cgroup_parse(events, "oom_kill"), 2);
	cr_assert_eq(cgroup_parse(events, "oom"), 3);
	cr_assert_eq(cgroup_parse(events, "max"), WIRE_UNKNOWN);
	cr_assert_eq(cgroup_parse("", "max"), WIRE_UNKNOWN);
	cr_assert_eq(cgroup_parse("max\n", NULL), WIRE_UNKNOWN);
	cr_assert_eq(cgroup_parse("4096\n", NULL), 4096);
	cr_assert_eq(cgroup_parse("99999999999999999999", NULL), WIRE_UNKNOWN);
	cr_assert_eq(cgroup_read(-1, "memory.peak", NULL), WIRE_UNKNOWN);
}

Test(cgroup, path_is_told_by_the_number)
{
	char path[CGROUP_PATH_MAX];

	cgroup_path(path, "/cg", 0);
	cr_assert_str_eq(path, "/cg/command");
	cgroup_path(path, "/cg", UINT32_MAX);
	cr_assert_str_eq(path, "/cg/exec.4294967295");
}

/* Directories without a file stand for cgroups. */
Test(cgroup, what_was_made_below_is_removed_too, .init = make_dir,
     .fini = remove_dir)
{
	char path[128];

	put_dir("top");
	put_dir("top/a");
	put_dir("top/a/b");
	put_dir("top/c");
	snprintf(path, sizeof(path), "%s/top", dir);
	cr_assert_eq(cgroup_remove(path), 0);
	cr_assert_eq(access(path, F_OK), -1);
	cr_assert_eq(cgroup_remove(path), -ENOENT);
}

Test(more, no_cid_but_the_hosts_gets_a_session)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK };
	unsigned cid;

	for (cid = 0; cid < 100; cid++) {
		a.svm_cid = cid;
		cr_assert_eq(more_is_host(&a), cid == VMADDR_CID_HOST);
	}
	a.svm_cid = VMADDR_CID_ANY;
	cr_assert(!more_is_host(&a));
}

Test(root, file_system_is_told_by_its_superblock)
{
	uint8_t disk[2048] = { 0 };

	cr_assert_null(boot_fs_type(disk, sizeof(disk)));
	disk[1080] = 0x53;
	disk[1081] = 0xef;
	cr_assert_str_eq(boot_fs_type(disk, sizeof(disk)), "ext4");
	cr_assert_null(boot_fs_type(disk, sizeof(disk) - 1));
	memcpy(disk, "hsqs", 4);
	cr_assert_str_eq(boot_fs_type(disk, sizeof(disk)), "squashfs");
	memcpy(disk + 1024, "\xe2\xe1\xf5\xe0", 4);
	cr_assert_str_eq(boot_fs_type(disk, sizeof(disk)), "erofs");
}
