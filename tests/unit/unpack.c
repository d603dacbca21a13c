/* SPDX-License-Identifier: Apache-2.0 */
/* The real mayfly-unpack, as the launcher starts it. */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <ftw.h>
#include <nettle/sha2.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "jail/lock.h"
#include "rootfs/blob.h"
#include "rootfs/unpack.h"
#include "runner/base/io.h"
#include "tests/unit/tar_stage.h"

/* --- the program -------------------------------------------------------- */

struct program {
	pid_t pid;
	int feed, result, words;
	int code; /* or a signal's negative number */
	char said[UNPACK_WORDS_MAX + 1];
};

/* It lies two directories above the tests. */
static _Noreturn void child(const char *const *args, const int *fd, int n,
			    uint64_t memory)
{
	const struct rlimit limit = { memory, memory };
	const char *argv[6] = { "mayfly-unpack" };
	char *no_environment[] = { NULL };
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);

	path[MAX(len, 0)] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/mayfly-unpack");
	for (int i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	/* the numbers of some may be in the way of others */
	for (int i = 0; i < n; i++)
		dup2(fd[i], 100 + i);
	for (int i = 0; i < n; i++)
		dup2(100 + i, i);
	if (memory)
		setrlimit(RLIMIT_DATA, &limit);
	execve(path, (char **)argv, no_environment);
	_exit(127);
}

static void start_within(struct program *p, const char *const *args,
			 const int *files, int n, uint64_t memory)
{
	int in[2], result[2], words[2], fd[8];

	signal(SIGPIPE, SIG_IGN);
	*p = (struct program){ 0 };
	cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(result, O_CLOEXEC) == 0 &&
		  pipe2(words, O_CLOEXEC) == 0);
	fd[UNPACK_IN] = in[0];
	fd[UNPACK_RESULT] = result[1];
	fd[UNPACK_WORDS] = words[1];
	for (int i = 0; i < n; i++)
		fd[UNPACK_FIRST + i] = files[i];
	p->pid = fork();
	cr_assert_geq(p->pid, 0);
	if (p->pid == 0)
		child(args, fd, UNPACK_FIRST + n, memory);
	close(in[0]);
	close(result[1]);
	close(words[1]);
	p->feed = in[1];
	p->result = result[0];
	p->words = words[0];
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* The end of its input, and of it. */
static ssize_t finish(struct program *p, void *result, size_t size)
{
	ssize_t n, got;
	int status;

	close(p->feed);
	got = io_read_full(p->result, result, size);
	n = io_read_full(p->words, p->said, UNPACK_WORDS_MAX);
	cr_assert_geq(n, 0);
	p->said[n] = '\0';
	cr_assert_eq(waitpid(p->pid, &status, 0), p->pid);
	p->code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	close(p->result);
	close(p->words);
	return got;
}

static void expect_no(struct program *p, const char *words)
{
	cr_expect_eq(p->code, 1, "%d", p->code);
	cr_expect(strstr(p->said, words), "not \"%s\": %s", words, p->said);
	cr_expect(!strchr(p->said, '\n'));
}

/* --- layers ------------------------------------------------------------- */

struct layer_run {
	struct program p;
	int fd[2]; /* data, index */
	struct unpack_layer result;
	ssize_t got;
};

static void layer_start(struct layer_run *l, uint64_t memory)
{
	l->fd[0] = memfd_create("data", MFD_CLOEXEC);
	l->fd[1] = memfd_create("index", MFD_CLOEXEC);
	start_within(&l->p, ARGS("layer", "1000000", "2000000"), l->fd, 2,
		     memory);
}

static void layer_end(struct layer_run *l)
{
	l->got = finish(&l->p, &l->result, sizeof(l->result));
}

static void layer_of(struct layer_run *l, const void *blob, size_t len)
{
	layer_start(l, 0);
	/* one that has given up does not read to the end */
	io_write_all(l->p.feed, blob, len);
	layer_end(l);
	close(l->fd[0]);
	close(l->fd[1]);
}

static struct tape tape;
static struct layer_run run;
static struct made made;

Test(unpack, layer_of_a_plain_tar)
{
	uint8_t none[32] = { 0 };

	ADD(&tape, "d/f", .data = "hello", .len = 5);
	tape_end(&tape);
	layer_of(&run, tape.p, tape.len);
	cr_assert_eq(run.p.code, 0, "%d: %s", run.p.code, run.p.said);
	cr_assert_eq(run.got, sizeof(run.result));
	cr_expect_eq(run.result.entries, 1);
	cr_expect_eq(run.result.data_size, LAYER_BLOCK);
	cr_expect_eq(run.result.tar_size, tape.len);
	cr_expect_eq(run.result.compression, UNPACK_PLAIN);
	cr_expect_arr_eq(run.result.diff_id, none, 32);
	cr_expect_str_eq(run.p.said, "");
}

Test(unpack, names_need_no_table_that_is_not_loaded)
{
	PAX(&tape, "path", "caf\xc3\xa9 \xe6\x97\xa5 \xff");
	ADD(&tape, "x");
	PAX(&tape, "linkpath", "e\xcc\x81");
	ADD(&tape, "y", '2', .link = "x");
	tape_pax(&tape, "LIBARCHIVE.xattr.user.%c3%a9", "YQ==", 4);
	ADD(&tape, "y");
	PAX(&tape, "uname", "\xc3\xa9");
	ADD(&tape, "y");
	PAX(&tape, "SCHILY.acl.access", "user::rw-,group::r--,other::r--,"
		   "user:\xc3\xa9:rwx:1,mask::rwx");
	ADD(&tape, "y");
	ADD(&tape, "\xff\xc3\xa9", .magic = "ustar  ");
	tape_end(&tape);
	layer_of(&run, tape.p, tape.len);
	cr_expect_eq(run.p.code, 0, "%d: %s", run.p.code, run.p.said);
}

static la_ssize_t keep(struct archive *a, void *opaque, const void *p,
		       size_t len)
{
	(void)a;
	tape_bytes(opaque, p, len);
	return (la_ssize_t)len;
}

/* @from through a filter of libarchive's. */
static struct tape squeezed(const struct tape *from,
			    int (*filter)(struct archive *a))
{
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();
	struct tape to = { 0 };

	cr_assert_eq(filter(a), ARCHIVE_OK);
	archive_write_set_format_raw(a);
	archive_write_set_bytes_per_block(a, 0);
	cr_assert_eq(archive_write_open(a, &to, NULL, keep, NULL), ARCHIVE_OK);
	archive_entry_set_pathname(e, "data");
	archive_entry_set_filetype(e, AE_IFREG);
	cr_assert_eq(archive_write_header(a, e), ARCHIVE_OK);
	cr_assert_eq(archive_write_data(a, from->p, from->len), from->len);
	archive_entry_free(e);
	cr_assert_eq(archive_write_free(a), ARCHIVE_OK);
	return to;
}

static int (*const filters[])(struct archive *a) = {
	[UNPACK_GZIP] = archive_write_add_filter_gzip,
	[UNPACK_ZSTD] = archive_write_add_filter_zstd,
	[UNPACK_XZ] = archive_write_add_filter_xz,
	[UNPACK_BZIP2] = archive_write_add_filter_bzip2,
};

static void add_noise(size_t len)
{
	uint8_t *p = malloc(len);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * i >> 7);
	ADD(&tape, "noise", .data = p, .len = len);
	free(p);
	tape_end(&tape);
}

Test(unpack, layer_of_a_compressed_tar_and_its_diff_id)
{
	struct sha256_ctx sha;
	uint8_t id[32];

	add_noise(700000);
	sha256_init(&sha);
	sha256_update(&sha, tape.len, tape.p);
	sha256_digest(&sha, sizeof(id), id);
	for (unsigned i = UNPACK_GZIP; i < ARRAY_SIZE(filters); i++) {
		struct tape z = squeezed(&tape, filters[i]);

		layer_of(&run, z.p, z.len);
		cr_assert_eq(run.p.code, 0, "%u: %d: %s", i, run.p.code,
			     run.p.said);
		cr_expect_eq(run.result.compression, i);
		cr_expect_eq(run.result.tar_size, tape.len);
		cr_expect_arr_eq(run.result.diff_id, id, 32);
		tape_free(&z);
	}
}

Test(unpack, compressed_data_that_is_cut_or_damaged)
{
	add_noise(300000);
	for (unsigned i = UNPACK_GZIP; i < ARRAY_SIZE(filters); i++) {
		struct tape z = squeezed(&tape, filters[i]);

		for (size_t n = 7; n < z.len; n += z.len / 5) {
			layer_of(&run, z.p, n);
			expect_no(&run.p, "");
		}
		for (size_t at = 12; at + 12 < z.len; at += z.len / 5) {
			z.p[at] ^= 0x55;
			layer_of(&run, z.p, z.len);
			cr_expect(run.p.code == 1 || run.p.code == 0, "%d",
				  run.p.code);
			z.p[at] ^= 0x55;
		}
		tape_free(&z);
	}
}

Test(unpack, compressed_twice_is_refused)
{
	struct tape once, twice;

	add_noise(1000);
	once = squeezed(&tape, archive_write_add_filter_gzip);
	twice = squeezed(&once, archive_write_add_filter_gzip);
	layer_of(&run, twice.p, twice.len);
	expect_no(&run.p, "");
	tape_free(&once);
	tape_free(&twice);
}

/* What libarchive would run a program for, or unpack unasked. */
Test(unpack, other_compressions_are_refused)
{
	static const char *const blobs[] = {
		"\x1f\x9d\x90" "compress", "\x04\x22\x4d\x18" "lz4",
		"begin 644 x\nuu\n", "LZIP\1", "\x89LZO\0\r\n\x1a\n",
		"\xed\xab\xee\xdb" "rpm", "LRZI", "PK\3\4zip",
		"7z\xbc\xaf\x27\x1c", "070701cpio", "!<arch>\n", "#mtree\n",
		"MSCF", "Rar!\x1a\7", "WARC/1.0\r\n", "]\0\0\x80\0lzma",
	};
	char blob[4096];

	for (size_t i = 0; i < ARRAY_SIZE(blobs); i++) {
		memset(blob, 'x', sizeof(blob));
		memcpy(blob, blobs[i], strlen(blobs[i]));
		layer_of(&run, blob, sizeof(blob));
		expect_no(&run.p, "");
	}
}

Test(unpack, words_are_one_line)
{
	ADD(&tape, "new\nline\x1b[31m/..");
	tape_end(&tape);
	layer_of(&run, tape.p, tape.len);
	expect_no(&run.p, "new?line?[31m/.. leads out of the tree");
}

/* A bomb behind the end of the tar, in a test that has no hour. */
Test(unpack, unpacked_bytes_have_a_limit)
{
	struct tape zeros = { 0 }, z;
	struct blob b;
	struct err err = { 0 };
	const uint8_t *bytes;
	ssize_t n;
	int p[2];

	tape_room(&zeros, 10 << 20);
	z = squeezed(&zeros, archive_write_add_filter_gzip);
	cr_assert_lt(z.len, 65536);
	cr_assert(pipe2(p, O_CLOEXEC) == 0 &&
		  io_write_all(p[1], z.p, z.len) == 0);
	close(p[1]);
	cr_assert_eq(blob_init(&b, p[0], 5 << 20, &err), 0);
	do
		n = blob_next(&b, &bytes, &err);
	while (n > 0);
	cr_expect_eq(n, -EFBIG);
	cr_expect(strstr(err.msg, "larger than 5 MiB"), "%s", err.msg);
	blob_free(&b);
	tape_free(&zeros);
	tape_free(&z);
}

/* In memory that the archive has no say in. */
Test(unpack, a_million_files, .timeout = 120)
{
	enum { FILES = 1000000, AT_ONCE = 1000 };

	/* a sanitizer's memory is another matter */
#ifdef MAYFLY_SAN
	layer_start(&run, 0);
#else
	layer_start(&run, 16 << 20);
#endif
	for (int i = 0; i < FILES; i += AT_ONCE) {
		tape.len = 0;
		for (int k = i; k < i + AT_ONCE; k++) {
			char name[64];

			snprintf(name, sizeof(name), "dir%d/file%d", k / 1000,
				 k);
			ADD(&tape, name);
		}
		cr_assert_eq(io_write_all(run.p.feed, tape.p, tape.len), 0);
	}
	layer_end(&run);
	cr_assert_eq(run.p.code, 0, "%d: %s", run.p.code, run.p.said);
	cr_expect_eq(run.result.entries, FILES);
}

/* --- what it cannot do any more ----------------------------------------- */

static void status_line(pid_t pid, const char *key, char *value)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	cr_assert(f);
	*value = '\0';
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), " %31s", value);
	fclose(f);
}

Test(unpack, it_is_locked_in_before_it_reads)
{
	char value[32] = "";

	layer_start(&run, 0);
	/* nothing was fed: it waits, locked */
	while (strcmp(value, "2")) {
		usleep(10000);
		status_line(run.p.pid, "Seccomp:", value);
	}
	status_line(run.p.pid, "NoNewPrivs:", value);
	cr_expect_str_eq(value, "1");
	layer_end(&run);
}

static void do_open(void)
{
	open("/etc/passwd", O_RDONLY);
}

static void do_socket(void)
{
	socket(AF_UNIX, SOCK_STREAM, 0);
}

static void do_exec(void)
{
	execl("/bin/true", "true", (char *)NULL);
}

static void do_fork(void)
{
	if (fork() == 0)
		_exit(0);
}

static int after(enum lock_role role, void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		if (lock_seccomp(role) < 0)
			_exit(1);
		fn();
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

Test(unpack, what_takes_it_over_dies)
{
	for (int role = LOCK_LAYER; role <= LOCK_PACK; role++) {
		cr_expect_eq(after((enum lock_role)role, do_socket), -SIGSYS);
		cr_expect_eq(after((enum lock_role)role, do_exec), -SIGSYS);
#ifndef MAYFLY_SAN
		cr_expect_eq(after((enum lock_role)role, do_open), -SIGSYS);
		cr_expect_eq(after((enum lock_role)role, do_fork), -SIGSYS);
#else
		(void)do_open, (void)do_fork;
#endif
	}
}

/* --- the other modes ---------------------------------------------------- */

static struct program other;

Test(unpack, root_of_a_layer)
{
	int fd[2] = { memfd_create("root", MFD_CLOEXEC), -1 };
	struct unpack_root result = { 0 };

	ADD(&tape, "etc/", '5', .mode = 0755);
	ADD(&tape, "etc/passwd", .data = "root", .len = 4);
	tape_end(&tape);
	layer_start(&run, 0);
	cr_assert_eq(io_write_all(run.p.feed, tape.p, tape.len), 0);
	layer_end(&run);
	fd[1] = run.fd[1];
	start_within(&other, ARGS("root", "1"), fd, 2, 0);
	cr_assert_eq(finish(&other, &result, sizeof(result)),
		     sizeof(result), "%d: %s", other.code, other.said);
	cr_expect_eq(other.code, 0);
	cr_expect_eq(result.inodes, 3);
	cr_expect_eq((uint64_t)lseek(fd[0], 0, SEEK_END), result.size);
	/* the type of its first entry */
	cr_assert_eq(pwrite(fd[1], "x", 1, sizeof(struct layer_head)), 1);
	start_within(&other, ARGS("root", "1"), fd, 2, 0);
	finish(&other, &result, sizeof(result));
	expect_no(&other, "");
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

Test(unpack, archive_to_a_directory_and_back_to_a_tar)
{
	char top[] = "/tmp/mayfly-unpack-XXXXXX";
	struct unpack_archive result = { 0 };
	char *text = malloc(100000);
	struct tape z;
	ssize_t n;
	int dir;

	cr_assert(mkdtemp(top));
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ADD(&tape, "blobs/sha256/abc", .data = "blob", .len = 4);
	ADD(&tape, "link", '2', .link = "blobs/sha256/abc");
	ADD(&tape, "blobs/sha256/abc", .data = "again", .len = 5);
	tape_end(&tape);
	z = squeezed(&tape, archive_write_add_filter_gzip);
	start_within(&other, ARGS("archive", "1000"), &dir, 1, 0);
	cr_assert_eq(io_write_all(other.feed, z.p, z.len), 0);
	finish(&other, &result, sizeof(result));
	cr_assert_eq(other.code, 0, "%d: %s", other.code, other.said);
	cr_expect(result.bytes == 9 && result.files == 5);

	start_within(&other, ARGS("tar"), &dir, 1, 0);
	n = finish(&other, text, 100000);
	cr_assert_eq(other.code, 0, "%d: %s", other.code, other.said);
	layer_of(&run, text, (size_t)n);
	cr_assert_eq(run.p.code, 0, "%d: %s", run.p.code, run.p.said);
	cr_expect_eq(run.result.entries, 5);

	tape_free(&tape);
	ADD(&tape, "../x", .data = "evil", .len = 4);
	tape_end(&tape);
	start_within(&other, ARGS("archive", "1000"), &dir, 1, 0);
	io_write_all(other.feed, tape.p, tape.len);
	finish(&other, &result, sizeof(result));
	expect_no(&other, "out of the tree");
	cr_assert_eq(nftw(top, remove_one, 64, FTW_DEPTH | FTW_PHYS), 0);
	free(text);
	tape_free(&z);
}

/* So many that a C library has other ways to sort them. */
Test(unpack, tar_of_a_large_directory)
{
	char top[] = "/tmp/mayfly-unpack-XXXXXX", name[32];
	char *text = malloc(8 << 20);
	ssize_t n;
	int dir;

	cr_assert(mkdtemp(top));
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "%d", i * 7 % 3000);
		close(openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	}
	start_within(&other, ARGS("tar"), &dir, 1, 0);
	n = finish(&other, text, 8 << 20);
	cr_assert_eq(other.code, 0, "%d: %s", other.code, other.said);
	tape_bytes(&tape, text, (size_t)n);
	make(&made, &tape);
	expect(&made, LAYER_DIR, "");
	*name = '\0';
	for (int i = 0; i < 3000; i++) {
		cr_assert_eq(made_next(&made), 1);
		cr_expect_lt(strcmp(name, made.path), 0);
		strcpy(name, made.path);
	}
	expect_end(&made);
	cr_assert_eq(nftw(top, remove_one, 64, FTW_DEPTH | FTW_PHYS), 0);
	free(text);
}

Test(unpack, what_it_is_not_asked_right_it_does_not_do)
{
	static const char *const bad[][4] = {
		{ NULL }, { "layer" }, { "layer", "1" },
		{ "layer", "x", "1" }, { "layer", "-1", "1" },
		{ "layer", "1", "99999999999" }, { "root", "128" },
		{ "root", "" }, { "archive", "1", "2" }, { "other" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char none[8];

		start_within(&other, bad[i], NULL, 0, 0);
		cr_expect_eq(finish(&other, none, sizeof(none)), 0);
		cr_expect_eq(other.code, 1);
		cr_expect(*other.said);
	}
}
