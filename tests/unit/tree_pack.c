/* SPDX-License-Identifier: Apache-2.0 */
/* File trees to streams: what comes back as it was. */
#include "tests/unit/tree_stage.h"

TestSuite(pack, .init = enter, .fini = leave);

/* Through a pipe, as between processes. What the packer gave, what the
 * unpacker gave. */
static void copy(const char *from, const char *to, int *packed, int *unpacked)
{
	int p[2], status;
	pid_t pid;

	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		close(p[0]);
		_exit(tree_pack(p[1], from, &ops) & 255);
	}
	close(p[1]);
	*unpacked = unpack_fd(p[0], to, "", TREE_EXACT_MODES);
	close(p[0]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	*packed = WEXITSTATUS(status);
}

static void expect_copy(const char *from, const char *to)
{
	char diff[256];
	int packed, unpacked;

	copy(from, to, &packed, &unpacked);
	cr_assert_eq(packed, 0);
	cr_assert_eq(unpacked, 0, "%s", last);
	snprintf(diff, sizeof(diff), "diff -r --no-dereference %s %s", from,
		 to);
	cr_assert_eq(system(diff), 0);
}

Test(pack, modes_times_links_and_odd_names_come_back)
{
	struct timespec ts[2] = { { 1, 2 }, { 987654321, 123456789 } };
	char name[NAME_MAX + 1] = "in/";
	struct stat st;

	memset(name + 3, 'y', NAME_MAX - 3);
	put_file(name, "long");
	put_file("in/\001\n\t \"'\\\377*", "odd");
	put_file("in/-rf", "dash");
	cr_assert_eq(mkdir("in/closed", 0755), 0);
	put_file("in/closed/f", "x");
	cr_assert_eq(chmod("in/closed/f", 04711), 0);
	cr_assert_eq(symlink("/nowhere/at/all", "in/closed/l"), 0);
	cr_assert_eq(utimensat(AT_FDCWD, "in/closed", ts, 0), 0);
	cr_assert_eq(chmod("in/closed", 01555), 0);
	expect_copy("in", "out/new");
	cr_assert_eq(mode_at("out/new/closed/f") & 07777, 04711);
	cr_assert_eq(lstat("out/new/closed", &st), 0);
	cr_assert_eq(st.st_mode & 07777, 01555);
	cr_assert_eq(st.st_mtim.tv_sec, ts[1].tv_sec);
	cr_assert_eq(st.st_mtim.tv_nsec, ts[1].tv_nsec);
	chmod("in/closed", 0755);
	chmod("out/new/closed", 0755);
}

Test(pack, ten_thousand_files_and_a_hundred_directories_in_one)
{
	char name[64];
	int i;

	for (i = 0; i < 10000; i++) {
		if (i % 100 == 0) {
			snprintf(name, sizeof(name), "in/dir%d", i / 100);
			cr_assert_eq(mkdir(name, 0755), 0);
		}
		snprintf(name, sizeof(name), "in/%s%d/file%d",
			 i % 2 ? "dir" : "../in/dir", i / 100, i);
		put_file(name, name);
		snprintf(name, sizeof(name), "in/file-in-the-top-%d", i);
		if (i % 5 == 0)
			put_file(name, "");
	}
	expect_copy("in", "out/new");
}

Test(pack, trees_deeper_than_the_bound_are_cut_and_told)
{
	char path[3 * TREE_DEPTH_MAX] = "in";
	int packed, unpacked, i;

	for (i = 1; i < TREE_DEPTH_MAX; i++) {
		strcat(path, "/d");
		cr_assert_eq(mkdir(path, 0755), 0);
	}
	expect_copy("in", "out/new");
	strcat(path, "/d");
	cr_assert_eq(mkdir(path, 0755), 0);
	copy("in", "out/newer", &packed, &unpacked);
	cr_assert_eq(packed, 1);
	cr_assert_eq(unpacked, 0);
}

Test(pack, holes_stay_holes)
{
	struct stat st;
	int fd = open("in/f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	cr_assert_eq(ftruncate(fd, 256 << 20), 0);
	cr_assert_eq(pwrite(fd, "x", 1, (100 << 20) + 77), 1);
	close(fd);
	expect_copy("in", "out/new");
	cr_assert_eq(lstat("out/new/f", &st), 0);
	cr_assert_eq(st.st_size, 256 << 20);
	cr_assert_lt(st.st_blocks, (1 << 20) / 512);
}

Test(pack, file_that_shrinks_meanwhile_is_no_broken_stream)
{
	int p[2], fd = open("in/f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	pid_t pid;
	size_t len = 0;
	struct stat st;
	ssize_t n;

	cr_assert_eq(ftruncate(fd, 2 << 20), 0);
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (!pid)
		_exit(tree_pack(p[1], "in/f", &ops) != 0);
	close(p[1]);
	cr_assert_eq(read(p[0], stream, 100), 100);
	cr_assert_eq(ftruncate(fd, 5), 0);
	close(fd);
	for (len = 100; (n = read(p[0], stream + len,
				  sizeof(stream) - len)) > 0;)
		len += (size_t)n;
	close(p[0]);
	waitpid(pid, NULL, 0);
	cr_assert_eq(unpack_to("out/f", "", len), 0, "%s", last);
	cr_assert_eq(lstat("out/f", &st), 0);
	cr_assert_lt(st.st_size, 1 << 20);
}

Test(pack, what_cannot_be_read_is_told_and_not_made)
{
	int packed, unpacked;

	/* Reading it at 0 is EIO. */
	copy("/proc/self/mem", "out/f", &packed, &unpacked);
	cr_assert_eq(packed, 1);
	cr_assert_eq(unpacked, 1);
	cr_assert_eq(count("out"), 1);
	copy("in/none", "out/f", &packed, &unpacked);
	cr_assert_eq(packed, -ENOENT & 255);
	cr_assert_eq(unpacked, -EPIPE);
	cr_assert_eq(count("out"), 1);
}

Test(pack, files_of_proc_have_their_text)
{
	int packed, unpacked;

	copy("/proc/version", "out/f", &packed, &unpacked);
	cr_assert_eq(packed + unpacked, 0);
	cr_assert_not_null(strstr(get_file("out/f"), "Linux"));
}

Test(pack, what_is_no_file_is_left_out)
{
	int packed, unpacked;

	put_file("in/f", "x");
	cr_assert_eq(mkfifo("in/fifo", 0644), 0);
	copy("in", "out/new", &packed, &unpacked);
	cr_assert_eq(packed, 0);
	cr_assert_eq(unpacked, 0);
	cr_assert_eq(count("out/new"), 2);
	copy("in/fifo", "out/fifo", &packed, &unpacked);
	cr_assert_neq(packed, 0);
	cr_assert_eq(count("out"), 3);
}

Test(pack, link_is_followed_where_a_slash_says_so)
{
	int packed, unpacked;

	put_file("in/f", "x");
	cr_assert_eq(symlink("in", "link"), 0);
	copy("link", "out/a", &packed, &unpacked);
	cr_assert_eq(packed + unpacked, 0);
	cr_assert(S_ISLNK(mode_at("out/a")));
	copy("link/", "out/b", &packed, &unpacked);
	cr_assert_eq(packed + unpacked, 0);
	cr_assert_str_eq(get_file("out/b/f"), "x");
}

Test(pack, reader_that_goes_away_is_epipe)
{
	int p[2];

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	close(p[0]);
	cr_assert_eq(tree_pack(p[1], "in", &ops), -EPIPE);
	close(p[1]);
}
