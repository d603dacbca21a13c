/* SPDX-License-Identifier: Apache-2.0 */
/* The probe's verdict, what it leaves behind, and whom its cache believes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "runner/engine/probe.h"

static char dir[] = "/tmp/probe-test-XXXXXX";

static int open_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		cr_skip_test("/dev/kvm: %s", strerror(errno));
	return fd;
}

static void make_dir(void)
{
	cr_assert_not_null(mkdtemp(dir));
	setenv("XDG_RUNTIME_DIR", dir, 1);
}

static void remove_dir(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

static void cache_path(char path[128])
{
	snprintf(path, 128, "%s/mayfly-probe-%u", dir, (unsigned)geteuid());
}

/* What the last probe left, with its boot id and version. */
static void read_cache(char line[512])
{
	char path[128];
	FILE *f;

	cache_path(path);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	cr_assert_not_null(fgets(line, 512, f));
	fclose(f);
}

static void write_cache(const char *line, mode_t mode)
{
	char path[128];
	FILE *f;

	cache_path(path);
	unlink(path);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(line, f);
	fclose(f);
	cr_assert_eq(chmod(path, mode), 0);
}

/* The line of this boot with the other verdict: who believes it, says so. */
static void forge(char line[512])
{
	char *verdict;

	read_cache(line);
	verdict = strchr(strchr(line, ' ') + 1, ' ') + 1;
	strcpy(verdict, "no forged\n");
}

Test(probe, gives_a_verdict_with_words_when_it_refuses)
{
	_cleanup_fd_ int fd = open_kvm();
	struct probe_result r;

	cr_assert_eq(probe_kvm(fd, &r), 0, "%s", r.why);
	cr_assert_eq(r.ok, r.why[0] == '\0', "%s", r.why);
	cr_assert_eq(r.cached, 0);
	cr_assert_gt(r.ns, 0);
}

Test(probe, leaves_no_child_and_no_descriptor)
{
	_cleanup_fd_ int fd = open_kvm();
	struct probe_result r;
	int before = dup(0), after;

	close(before);
	probe_kvm(fd, &r);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
	cr_assert_eq(errno, ECHILD);
	after = dup(0);
	close(after);
	cr_assert_eq(before, after);
}

Test(probe, a_descriptor_that_is_no_kvm_is_an_error_with_words)
{
	_cleanup_fd_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct probe_result r;

	cr_assert_lt(probe_kvm(fd, &r), 0);
	cr_assert_eq(r.ok, 0);
	cr_assert(strlen(r.why) > 0);
}

Test(probe, a_failed_setup_is_not_remembered, .init = make_dir,
     .fini = remove_dir)
{
	_cleanup_fd_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct probe_result r;
	char path[128];

	cr_assert_lt(probe_kvm_cached(fd, &r), 0);
	cache_path(path);
	cr_assert_eq(access(path, F_OK), -1);
}

Test(probe, the_second_answer_is_the_first_one_remembered, .init = make_dir,
     .fini = remove_dir)
{
	_cleanup_fd_ int fd = open_kvm();
	struct probe_result a, b;

	cr_assert_eq(probe_kvm_cached(fd, &a), 0);
	cr_assert_eq(a.cached, 0);
	cr_assert_eq(probe_kvm_cached(fd, &b), 0);
	cr_assert_eq(b.cached, 1);
	cr_assert_eq(a.ok, b.ok);
	cr_assert_str_eq(a.why, b.why);
}

Test(probe, another_boot_or_version_is_forgotten, .init = make_dir,
     .fini = remove_dir)
{
	_cleanup_fd_ int fd = open_kvm();
	struct probe_result r;
	char line[512];

	probe_kvm_cached(fd, &r);
	forge(line);
	line[0] = line[0] == 'x' ? 'y' : 'x';
	write_cache(line, 0600);
	cr_assert_eq(probe_kvm_cached(fd, &r), 0);
	cr_assert_eq(r.cached, 0);
	forge(line);
	line[37]++;
	write_cache(line, 0600);
	cr_assert_eq(probe_kvm_cached(fd, &r), 0);
	cr_assert_eq(r.cached, 0);
}

Test(probe, a_file_that_others_may_write_is_not_believed, .init = make_dir,
     .fini = remove_dir)
{
	_cleanup_fd_ int fd = open_kvm();
	struct probe_result r;
	char line[512];

	probe_kvm_cached(fd, &r);
	forge(line);
	write_cache(line, 0600);
	probe_kvm_cached(fd, &r);
	cr_assert_eq(r.cached, 1, "our own file is believed");
	write_cache(line, 0622);
	probe_kvm_cached(fd, &r);
	cr_assert_eq(r.cached, 0);
}

Test(probe, a_symbolic_link_is_not_followed, .init = make_dir,
     .fini = remove_dir)
{
	_cleanup_fd_ int fd = open_kvm();
	struct probe_result r;
	char line[512], path[128], target[160];

	probe_kvm_cached(fd, &r);
	forge(line);
	write_cache(line, 0600);
	cache_path(path);
	snprintf(target, sizeof(target), "%s-target", path);
	cr_assert_eq(rename(path, target), 0);
	cr_assert_eq(symlink(target, path), 0);
	probe_kvm_cached(fd, &r);
	cr_assert_eq(r.cached, 0);
}

Test(probe, a_directory_that_others_may_write_is_not_used, .init = make_dir,
     .fini = remove_dir)
{
	_cleanup_fd_ int fd = open_kvm();
	struct probe_result r;
	char path[128];

	cr_assert_eq(chmod(dir, 0777), 0);
	cr_assert_eq(probe_kvm_cached(fd, &r), 0);
	cache_path(path);
	cr_assert_eq(access(path, F_OK), -1);
}

Test(probe, rubbish_in_the_file_is_no_answer, .init = make_dir,
     .fini = remove_dir)
{
	static const char *const lines[] = {
		"", "\n", "no", "ok\n", "x x x\n",
	};
	_cleanup_fd_ int fd = open_kvm();
	struct probe_result r;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		write_cache(lines[i], 0600);
		cr_assert_eq(probe_kvm_cached(fd, &r), 0);
		cr_assert_eq(r.cached, 0, "\"%s\"", lines[i]);
	}
}
