/* SPDX-License-Identifier: Apache-2.0 */
/* Streams to file trees: what is made, what is refused. */
#include "tests/unit/tree_stage.h"

static size_t stream_len;

static void add(const void *p, size_t n)
{
	cr_assert(n <= sizeof(stream) - stream_len);
	memcpy(stream + stream_len, p, n);
	stream_len += n;
}

static void add_hdr(enum tree_type type, uint32_t mode, uint64_t size,
		    const char *name, size_t len)
{
	struct tree_hdr h = { .type = (uint16_t)type, .mode = mode,
			      .name_len = (uint16_t)len, .size = size };

	add(&h, sizeof(h));
	add(name, len);
}

static void begin(void)
{
	stream_len = 0;
	add(TREE_MAGIC, TREE_MAGIC_LEN);
}

static void add_dir(const char *name)
{
	add_hdr(TREE_DIR, 0755, 0, name, strlen(name));
}

static void add_u32(uint32_t v)
{
	add(&v, sizeof(v));
}

static void add_file(const char *name, const char *text)
{
	uint32_t n = (uint32_t)strlen(text);

	add_hdr(TREE_FILE, 0644, 0, name, strlen(name));
	if (n) {
		add_u32(n);
		add(text, n);
	}
	add_u32(0);
}

static void add_link(const char *name, const char *target)
{
	add_hdr(TREE_LINK, 0, strlen(target), name, strlen(name));
	add(target, strlen(target));
}

static void add_up(void)
{
	add_hdr(TREE_UP, 0, 0, "", 0);
}

static void add_end(uint64_t entries)
{
	add_hdr(TREE_END, 0, entries, "", 0);
}

/* Merge the stream into "in". */
static int unpack(void)
{
	return unpack_to("in", "", stream_len);
}

TestSuite(unpack, .init = enter, .fini = leave);

Test(unpack, whole_tree_is_made)
{
	begin();
	add_dir("");
	add_file("f", "text");
	add_dir("d");
	add_link("l", "../f");
	add_up();
	add_file("empty", "");
	add_up();
	add_end(5);
	cr_assert_eq(unpack(), 0);
	cr_assert_eq(said, 0);
	cr_assert_str_eq(get_file("in/f"), "text");
	cr_assert_str_eq(get_file("in/d/l"), "text");
	cr_assert_str_eq(get_file("in/empty"), "");
	cr_assert(S_ISLNK(mode_at("in/d/l")));
	cr_assert_eq(count("in"), 5);
}

Test(unpack, names_that_are_no_component_are_refused)
{
	static const struct { const char *s; size_t n; } bad[] = {
		{ "", 0 }, { ".", 1 }, { "..", 2 }, { "/", 1 }, { "a/b", 3 },
		{ "/etc", 4 }, { "../out/x", 8 }, { "a\0b", 3 }, { "\0", 1 },
		{ "a/", 2 },
	};
	static char big[NAME_MAX + 2];
	enum tree_type types[] = { TREE_FILE, TREE_LINK, TREE_DIR };
	size_t i, t;

	memset(big, 'x', sizeof(big));
	for (t = 0; t < 3; t++) {
		for (i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
			begin();
			add_dir("");
			if (i < sizeof(bad) / sizeof(bad[0]))
				add_hdr(types[t], 0, t == 1, bad[i].s,
					bad[i].n);
			else
				add_hdr(types[t], 0, t == 1, big, NAME_MAX + 1);
			add_u32(0);
			add_u32(0);
			cr_assert_eq(unpack(), -EPROTO, "%zu %zu", t, i);
		}
	}
	cr_assert_eq(count("in"), 1);
	cr_assert_eq(count("out"), 1);
}

/* One header after the root: what becomes of it. */
static int try_hdr(const struct tree_hdr *h)
{
	begin();
	add_dir("");
	add(h, sizeof(*h));
	add("name", 4);
	add_u32(0);
	add_up();
	add_end(2);
	return unpack();
}

Test(unpack, every_wrong_field_is_refused)
{
	const struct tree_hdr good = { .type = TREE_FILE, .name_len = 4,
				       .mode = 0644 };
	struct tree_hdr h = good;
	unsigned v;

	cr_assert_eq(try_hdr(&h), 0);
	for (v = 0; v <= UINT16_MAX; v++) {
		h = good;
		h.type = (uint16_t)v;
		if (v < TREE_FILE || v > TREE_END)
			cr_assert_eq(try_hdr(&h), -EPROTO);
	}
	for (v = 12; v < 32; v++) {
		h = good;
		h.mode = 1u << v;
		cr_assert_eq(try_hdr(&h), -EPROTO);
	}
	for (v = 0; v < 64; v++) {
		h = good;
		h.size = 1ull << v;
		cr_assert_eq(try_hdr(&h), -EPROTO);
		/* Neither is this a link's target that anyone could have. */
		h.type = TREE_LINK;
		h.mode = 0;
		cr_assert_lt(try_hdr(&h), 0);
	}
	h = good;
	h.pad = 1;
	cr_assert_eq(try_hdr(&h), -EPROTO);
	h = good;
	h.mtime_ns = 1000000000;
	cr_assert_eq(try_hdr(&h), -EPROTO);
	h.mtime_ns = UINT32_MAX;
	cr_assert_eq(try_hdr(&h), -EPROTO);
}

Test(unpack, times_from_any_age_do_no_harm)
{
	static const int64_t times[] = { INT64_MIN, INT32_MIN, -1, 0,
					 INT32_MAX, UINT32_MAX, INT64_MAX };
	struct tree_hdr h = { .type = TREE_FILE, .name_len = 4 };
	size_t i;

	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		h.mtime_s = times[i];
		try_hdr(&h);
	}
	cr_assert_eq(count("out"), 1);
}

Test(unpack, chunk_lengths_are_held)
{
	static const uint32_t bad[] = { TREE_CHUNK_MAX + 1, INT32_MAX,
					0x80000000u, UINT32_MAX - 1 };
	static const uint8_t data[4000];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin();
		add_hdr(TREE_FILE, 0644, 0, "", 0);
		add_u32(bad[i]);
		add(data, sizeof(data));
		cr_assert_eq(unpack_to("in", "f", stream_len), -EPROTO);
	}
	cr_assert_eq(count("in"), 1);
}

Test(unpack, order_is_held)
{
	begin();
	add_up();
	cr_assert_eq(unpack(), -EPROTO);
	begin();
	add_end(0);
	cr_assert_eq(unpack(), -EPROTO);
	begin();
	add_file("", "");
	add_file("second", "");
	cr_assert_eq(unpack_to("in", "f", stream_len), -EPROTO);
	begin();
	add_dir("");
	add_up();
	add_up();
	cr_assert_eq(unpack(), -EPROTO);
	begin();
	add_dir("");
	add_end(1);
	cr_assert_eq(unpack(), -EPROTO);
	begin();
	add_dir("name");
	cr_assert_eq(unpack(), -EPROTO);
	begin();
	add_dir("");
	add_up();
	add_end(2);
	cr_assert_eq(unpack(), -EPROTO);
	stream_len = 0;
	add("mayftroe", 8);
	add_dir("");
	add_up();
	add_end(1);
	cr_assert_eq(unpack(), -EPROTO);
}

Test(unpack, link_is_not_followed_to_a_file_below_it)
{
	begin();
	add_dir("");
	add_link("d", "../out");
	add_dir("d");
	add_file("f", "hostile");
	add_up();
	add_up();
	add_end(4);
	cr_assert_lt(unpack(), 0);
	cr_assert_eq(count("out"), 1);
	begin();
	add_dir("");
	add_link("f", "../out/f");
	add_file("f", "hostile");
	add_up();
	add_end(3);
	cr_assert_eq(unpack(), 0);
	cr_assert_eq(count("out"), 1);
	cr_assert(S_ISREG(mode_at("in/f")));
}

Test(unpack, what_was_there_is_replaced_and_not_written_through)
{
	put_file("out/f", "mine");
	cr_assert_eq(symlink("../out/f", "in/s"), 0);
	cr_assert_eq(link("out/f", "in/h"), 0);
	cr_assert_eq(symlink("../out", "in/d"), 0);
	begin();
	add_dir("");
	add_file("s", "new");
	add_file("h", "new");
	add_up();
	add_end(3);
	cr_assert_eq(unpack(), 0);
	cr_assert_str_eq(get_file("out/f"), "mine");
	cr_assert_str_eq(get_file("in/s"), "new");
	cr_assert_str_eq(get_file("in/h"), "new");
	begin();
	add_dir("");
	add_dir("d");
	add_file("f", "hostile");
	cr_assert_lt(unpack(), 0);
	cr_assert_str_eq(get_file("out/f"), "mine");
	cr_assert_not_null(strstr(last, "in/d: "));
}

Test(unpack, file_and_directory_do_not_take_each_others_place)
{
	cr_assert_eq(mkdir("in/d", 0755), 0);
	put_file("in/f", "mine");
	begin();
	add_dir("");
	add_file("d", "new");
	cr_assert_eq(unpack(), -EISDIR);
	begin();
	add_dir("");
	add_dir("f");
	cr_assert_eq(unpack(), -ENOTDIR);
	cr_assert_str_eq(get_file("in/f"), "mine");
	cr_assert_eq(count("in"), 3);
}

Test(unpack, entries_that_come_twice_merge_or_replace)
{
	begin();
	add_dir("");
	add_dir("d");
	add_file("a", "1");
	add_up();
	add_dir("d");
	add_file("b", "2");
	add_file("b", "3");
	add_up();
	add_up();
	add_end(6);
	cr_assert_eq(unpack(), 0);
	cr_assert_str_eq(get_file("in/d/a"), "1");
	cr_assert_str_eq(get_file("in/d/b"), "3");
}

/* A stream with all there is, for the next two. */
static void add_sample(void)
{
	begin();
	add_dir("");
	add_file("file", "the whole text");
	add_dir("dir");
	add_link("link", "file");
	add_file("other", "more");
	add_up();
	add_up();
	add_end(5);
}

Test(unpack, stream_cut_anywhere_fails_and_leaves_no_half_file)
{
	const char *text;
	size_t len;

	add_sample();
	for (len = 0; len < stream_len; len++) {
		cr_assert_eq(unpack_to("in", "", len), -EPIPE, "at %zu", len);
		text = get_file("in/file");
		cr_assert(!text || !strcmp(text, "the whole text"));
		count("in");
		remove("in/file");
	}
	cr_assert_eq(unpack(), 0);
}

Test(unpack, flipped_bits_stay_inside)
{
	size_t at;
	int bit;

	put_file("out/f", "mine");
	for (at = 0; at < 8 * sizeof(struct tree_hdr) + 60; at++) {
		for (bit = 0; bit < 8; bit++) {
			add_sample();
			stream[at] ^= (uint8_t)(1 << bit);
			unpack();
			cr_assert_eq(count("out"), 2);
			cr_assert_eq(count("."), 3 + count("in"));
		}
	}
	cr_assert_str_eq(get_file("out/f"), "mine");
}

Test(unpack, depth_is_bounded)
{
	unsigned i;

	begin();
	add_dir("");
	for (i = 1; i < TREE_DEPTH_MAX; i++)
		add_dir("d");
	for (i = 0; i < TREE_DEPTH_MAX; i++)
		add_up();
	add_end(TREE_DEPTH_MAX);
	cr_assert_eq(unpack(), 0);
	begin();
	add_dir("");
	for (i = 1; i <= TREE_DEPTH_MAX; i++)
		add_dir("d");
	cr_assert_eq(unpack(), -EPROTO);
}

Test(unpack, modes_of_a_stranger_are_tamed)
{
	int fd;

	begin();
	add_dir("");
	add_hdr(TREE_FILE, 07777, 0, "f", 1);
	add_u32(0);
	add_hdr(TREE_DIR, 06000, 0, "d", 1);
	add_up();
	add_up();
	add_end(3);
	cr_assert_eq(unpack(), 0);
	cr_assert_eq(mode_at("in/f") & 07777, 0755);
	cr_assert_eq(mode_at("in/d") & 07777, 0700);
	fd = memfd(stream, stream_len);
	cr_assert_eq(unpack_fd(fd, "out", "", TREE_EXACT_MODES), 0);
	close(fd);
	cr_assert_eq(mode_at("out/f") & 07777, 07777);
	cr_assert_eq(mode_at("out/d") & 07777, 06000);
	cr_assert_eq(mode_at("out") & 07777, 0755, "it was there before");
}

Test(unpack, file_that_the_other_side_could_not_read_is_left_alone)
{
	put_file("in/f", "mine");
	begin();
	add_dir("");
	add_hdr(TREE_FILE, 0644, 0, "f", 1);
	add_u32(4);
	add("half", 4);
	add_u32(TREE_SPOILT);
	add_up();
	add_end(2);
	cr_assert_eq(unpack(), 1);
	cr_assert_str_eq(get_file("in/f"), "mine");
	cr_assert_eq(count("in"), 2);
}

/* Swap "in/d", a directory, with a link to "out", until told to stop. */
static void *swap(void *arg)
{
	volatile int *stop = arg;

	while (!*stop) {
		if (renameat2(AT_FDCWD, "in/d", AT_FDCWD, "in/s",
			      RENAME_EXCHANGE) && errno != ENOENT)
			break;
	}
	return NULL;
}

Test(unpack, swapped_links_lead_nowhere)
{
	volatile int stop = 0;
	pthread_t t;
	int i, ok = 0;

	cr_assert_eq(mkdir("in/d", 0755), 0);
	cr_assert_eq(symlink("../out", "in/s"), 0);
	begin();
	add_dir("");
	for (i = 0; i < 100; i++) {
		add_dir("d");
		add_file("f", "hostile");
		add_up();
	}
	add_up();
	add_end(201);
	cr_assert_eq(pthread_create(&t, NULL, swap, (void *)&stop), 0);
	for (i = 0; i < 60; i++)
		ok += !unpack();
	stop = 1;
	pthread_join(t, NULL);
	cr_assert_eq(count("out"), 1, "%d of 60 went through", ok);
}

/* --- what a place may take ---------------------------------------------- */

/* A directory with a file of 5 bytes, a link and an empty file. */
static void small_tree(void)
{
	begin();
	add_dir("");
	add_file("a", "hello");
	add_link("l", "a");
	add_file("b", "");
	add_up();
	add_end(4);
}

Test(unpack, entries_and_bytes_count_to_the_last)
{
	const uint64_t all = 4 * TREE_ENTRY_COST + 5;

	small_tree();
	place_max = all;
	cr_assert_eq(unpack_to("in", "x", stream_len), 0);
	cr_assert_eq(taken, all);
	cr_assert_eq(count("in/x"), 4);
	for (place_max = 1; place_max < all; place_max += 1021) {
		taken = 0;
		cr_assert_eq(unpack_to("in", "y", stream_len), -E2BIG);
		cr_assert(strstr(last, "more than may be copied"), "%s", last);
		cr_assert_leq(taken, place_max);
		count("in");
	}
	place_max = all - 1;
	cr_assert_eq(unpack_to("in", "z", stream_len), -E2BIG);
	cr_assert_str_eq(get_file("in/z/a"), "hello");
	cr_assert_null(get_file("in/z/b"));
}

Test(unpack, what_is_spoilt_counts_as_well)
{
	begin();
	add_dir("");
	for (int i = 0; i < 3; i++) {
		add_hdr(TREE_FILE, 0644, 0, "f", 1);
		add_u32(5);
		add("hello", 5);
		add_u32(TREE_SPOILT);
	}
	add_up();
	add_end(4);
	place_max = 4 * TREE_ENTRY_COST + 14;
	cr_assert_eq(unpack_to("in", "x", stream_len), -E2BIG);
	place_max++;
	cr_assert_eq(unpack_to("in", "x", stream_len), 1);
	cr_assert_eq(count("in/x"), 1);
}

Test(unpack, owner_gets_all_of_it_and_no_set_id_is_lost)
{
	static const struct tree_owner owner = { 1234, 2345 };
	static const char *const names[] = { "in/x", "in/x/a", "in/x/l" };
	struct stat st;
	int fd;

	if (getuid())
		cr_skip_test("only root gives files away");
	begin();
	add_dir("");
	add_hdr(TREE_FILE, 06755, 0, "a", 1);
	add_u32(0);
	add_link("l", "a");
	add_up();
	add_end(3);
	place_owner = &owner;
	fd = memfd(stream, stream_len);
	cr_assert_eq(unpack_fd(fd, "in", "x", TREE_EXACT_MODES), 0);
	close(fd);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(lstat(names[i], &st), 0);
		cr_assert(st.st_uid == 1234 && st.st_gid == 2345, "%s",
			  names[i]);
	}
	cr_assert_eq(mode_at("in/x/a") & 07777, 06755);
	cr_assert_eq(stat("in", &st), 0);
	cr_assert_eq(st.st_uid, 0);
}

TestSuite(place, .init = enter, .fini = leave);

Test(place, names_follow_the_rules_of_cp)
{
	put_file("in/file", "old");
	cr_assert_eq(symlink("../out", "in/link"), 0);
	begin();
	add_file("", "new");
	add_end(1);
	/* A directory: below it, a slash or not, a link to it or not. */
	cr_assert_eq(unpack_to("in", "a", stream_len), 0);
	cr_assert_eq(unpack_to("in/", "b", stream_len), 0);
	cr_assert_eq(unpack_to("in/link", "c", stream_len), 0);
	cr_assert_str_eq(get_file("in/a"), "new");
	cr_assert_str_eq(get_file("in/b"), "new");
	cr_assert_str_eq(get_file("out/c"), "new");
	/* A file is replaced, a new name is made. */
	cr_assert_eq(unpack_to("in/file", "a", stream_len), 0);
	cr_assert_eq(unpack_to("in/new", "a", stream_len), 0);
	cr_assert_str_eq(get_file("in/file"), "new");
	cr_assert_str_eq(get_file("in/new"), "new");
	/* What cannot be. */
	cr_assert_eq(unpack_to("in/none/", "a", stream_len), -ENOTDIR);
	cr_assert_eq(unpack_to("in/file/", "a", stream_len), -ENOTDIR);
	cr_assert_eq(unpack_to("in/none/x", "a", stream_len), -ENOENT);
	cr_assert_eq(unpack_to("in", "", stream_len), -EISDIR);
	cr_assert_eq(unpack_to("", "a", stream_len), -EINVAL);
	cr_assert_eq(unpack_to("in", "..", stream_len), -EINVAL);
	cr_assert_eq(unpack_to("in/none/..", "a", stream_len), -EINVAL);
}

Test(place, directories_follow_the_rules_of_cp)
{
	put_file("in/file", "old");
	begin();
	add_dir("");
	add_file("f", "new");
	add_up();
	add_end(2);
	cr_assert_eq(unpack_to("in", "a", stream_len), 0);
	cr_assert_str_eq(get_file("in/a/f"), "new");
	cr_assert_eq(unpack_to("in/b", "a", stream_len), 0);
	cr_assert_str_eq(get_file("in/b/f"), "new");
	cr_assert_eq(unpack_to("in/c/", "a", stream_len), 0);
	cr_assert_str_eq(get_file("in/c/f"), "new");
	cr_assert_eq(unpack_to("in/d", "", stream_len), 0);
	cr_assert_str_eq(get_file("in/d/f"), "new");
	cr_assert_eq(unpack_to("in", "", stream_len), 0);
	cr_assert_str_eq(get_file("in/f"), "new");
	cr_assert_eq(unpack_to("in/file", "a", stream_len), -ENOTDIR);
	cr_assert_not_null(strstr(last, "in/file: "));
}
