/* SPDX-License-Identifier: Apache-2.0 */
/* Layers over layers: by hand, and at random against a slow, plain model. */
#include "tests/unit/merge_stage.h"

#include "rootfs/siphash.h"

/* Layers of entries, each ended by one without a path. */
static const char *merged(struct tree *t, const struct entry *e, unsigned n)
{
	struct stage_layer l;

	while (n--) {
		layer_begin(&l);
		for (; e->path; e++)
			layer_add(&l, e);
		e++;
		if (tree_layer(t, &l)) {
			layer_close(&l);
			return t->err.msg;
		}
		layer_close(&l);
	}
	return tree_text(t);
}

#define BECOMES(layers, text, ...)                                           \
	do {                                                                 \
		const struct entry e_[] = { __VA_ARGS__ };                   \
		struct tree *t_ = tree_new();                                \
		const char *got_ = merged(t_, e_, layers);                   \
		cr_assert_str_eq(got_, text, "%s", got_);                    \
		tree_free(t_);                                               \
	} while (0)

#define FILE_(p, u)    { .type = LAYER_FILE, .path = p, .uid = u }
#define DIR_(p, u)     { .type = LAYER_DIR, .path = p, .uid = u }
#define SYMLINK(p, to) { .type = LAYER_SYMLINK, .path = p, .link = to }
#define LINK(p, to)    { .type = LAYER_HARDLINK, .path = p, .link = to }
#define GONE(p)	       { .type = LAYER_WHITEOUT, .path = p }
#define OPAQUE(p)      { .type = LAYER_OPAQUE, .path = p }
#define END	       { .path = NULL }

/* --- by hand ----------------------------------------------------------- */

Test(merge, later_replaces_earlier)
{
	BECOMES(1, "/ d 0 1 \n/a f 2 1 \n", FILE_("a", 1), FILE_("a", 2), END);
	BECOMES(2, "/ d 0 1 \n/a f 2 1 \n", FILE_("a", 1), END, FILE_("a", 2),
		END);
	BECOMES(1, "/ d 0 1 \n/a d 2 1 \n", FILE_("a", 1), DIR_("a", 2), END);
	BECOMES(1, "/ d 0 1 \n/a f 4 1 \n", DIR_("a", 1), FILE_("a/b", 2),
		DIR_("a/c", 3), FILE_("a", 4), END);
}

Test(merge, directory_over_directory_keeps_what_is_in_it)
{
	BECOMES(2, "/ d 9 1 \n/a d 3 1 \n/a/b f 2 1 \n/a/c f 4 1 \n",
		DIR_("a", 1), FILE_("a/b", 2), END,
		DIR_("a", 3), FILE_("a/c", 4), DIR_("", 9), END);
}

Test(merge, missing_directories_are_made)
{
	BECOMES(1, "/ d 0 1 \n/a d 0 1 \n/a/b d 0 1 \n/a/b/c f 1 1 \n",
		FILE_("a/b/c", 1), END);
	BECOMES(1, "/ d 0 1 \n/a d 7 1 \n/a/b f 1 1 \n", FILE_("a/b", 1),
		DIR_("a", 7), END);
}

Test(merge, whiteouts_act_on_layers_below_only)
{
	BECOMES(2, "/ d 0 1 \n/b f 2 1 \n", FILE_("a", 1), FILE_("b", 2), END,
		GONE("a"), GONE("never"), GONE("b/c"), END);
	/* wherever they stand */
	BECOMES(2, "/ d 0 1 \n/a f 3 1 \n", FILE_("a", 1), END, FILE_("a", 3),
		GONE("a"), END);
	BECOMES(2, "/ d 0 1 \n/a d 0 1 \n/a/y f 3 1 \n", FILE_("a/x", 1), END,
		FILE_("a/y", 3), GONE("a"), END);
	BECOMES(1, "/ d 0 1 \n/a f 1 1 \n", FILE_("a", 1), GONE("a"), END);
}

Test(merge, opaque_directories_hide_layers_below)
{
	BECOMES(2, "/ d 0 1 \n/a d 5 1 \n/a/y f 3 1 \n", DIR_("a", 5),
		FILE_("a/x", 1), FILE_("a/z/z", 1), END, FILE_("a/y", 3),
		OPAQUE("a"), END);
	BECOMES(2, "/ d 0 1 \n/y f 3 1 \n", FILE_("x", 1), END, OPAQUE(""),
		FILE_("y", 3), END);
	/* what a link leads to is not what is opaque */
	BECOMES(2, "/ d 0 1 \n/a d 3 1 \n/b d 0 1 \n/b/x f 1 1 \n",
		FILE_("b/x", 1), SYMLINK("a", "b"), END, DIR_("a", 3),
		OPAQUE("a"), END);
	BECOMES(2, "/ d 0 1 \n/a f 1 1 \n", FILE_("a", 1), END, OPAQUE("a"),
		OPAQUE("b/c"), END);
}

Test(merge, links_on_the_way_are_followed_inside)
{
	BECOMES(2, "/ d 0 1 \n/lib s 0 1 usr/lib\n/usr d 0 1 \n"
		"/usr/lib d 0 1 \n/usr/lib/a f 1 1 \n/usr/lib/b f 2 1 \n",
		SYMLINK("lib", "usr/lib"), FILE_("usr/lib/a", 1), END,
		FILE_("lib/b", 2), END);
	/* out of the root there is no way */
	BECOMES(1, "/ d 0 1 \n/etc d 0 1 \n/etc/x f 1 1 \n"
		"/l s 0 1 ../../../../etc\n",
		SYMLINK("l", "../../../../etc"), FILE_("l/x", 1), END);
	BECOMES(1, "/ d 0 1 \n/a d 0 1 \n/a/l s 0 1 //b/./c///\n/b d 0 1 \n"
		"/b/c d 0 1 \n/b/c/x f 1 1 \n", SYMLINK("a/l", "//b/./c///"),
		FILE_("a/l/x", 1), END);
	/* a link through links, from where it is */
	BECOMES(1, "/ d 0 1 \n/a d 0 1 \n/a/b d 0 1 \n/a/b/u s 0 1 ../c\n"
		"/a/c d 0 1 \n/a/c/x f 1 1 \n/s s 0 1 a/b\n",
		SYMLINK("s", "a/b"), SYMLINK("s/u", "../c"),
		FILE_("s/u/x", 1), END);
	/* the last name is the link itself */
	BECOMES(2, "/ d 0 1 \n/a d 0 1 \n/a/x f 1 1 \n/l f 2 1 \n",
		FILE_("a/x", 1), SYMLINK("l", "a"), END, FILE_("l", 2), END);
	BECOMES(2, "/ d 0 1 \n/a d 0 1 \n/a/x f 1 1 \n",
		FILE_("a/x", 1), SYMLINK("l", "a"), END, GONE("l"), END);
	BECOMES(2, "/ d 0 1 \n/a d 0 1 \n/l s 0 1 a\n",
		FILE_("a/x", 1), SYMLINK("l", "a"), END, GONE("l/x"), END);
}

Test(merge, ways_are_found_anew_when_links_change)
{
	BECOMES(1, "/ d 0 1 \n/a d 0 1 \n/a/x f 1 1 \n/b d 0 1 \n/b/x f 2 1 \n"
		"/l s 0 1 b\n", SYMLINK("l", "a"), FILE_("l/x", 1),
		SYMLINK("l", "b"), FILE_("l/x", 2), END);
	BECOMES(1, "/ d 0 1 \n/l d 0 1 \n/l/x f 2 1 \n", FILE_("l/x", 1),
		FILE_("l", 3), DIR_("l", 0), FILE_("l/x", 2), END);
}

Test(merge, hard_links)
{
	BECOMES(1, "/ d 0 1 \n/a f 1 3 \n/b f 1 3 \n/d d 0 1 \n/d/c f 1 3 \n",
		FILE_("a", 1), LINK("b", "a"), LINK("d/c", "b"), END);
	/* of a file below, which is then replaced at one of its names */
	BECOMES(2, "/ d 0 1 \n/a f 2 1 \n/b f 1 1 \n", FILE_("a", 1), END,
		LINK("b", "a"), FILE_("a", 2), END);
	BECOMES(1, "/ d 0 1 \n/a f 1 1 \n", FILE_("a", 1), LINK("a", "a"), END);
	BECOMES(1, "/ d 0 1 \n/l s 0 2 x\n/m s 0 2 x\n", SYMLINK("l", "x"),
		LINK("m", "l"), END);
	BECOMES(1, "/ d 0 1 \n/a d 0 1 \n/a/f f 1 2 \n/g f 1 2 \n/s s 0 1 a\n",
		FILE_("a/f", 1), SYMLINK("s", "a"), LINK("g", "s/f"), END);
	/* over the directory that it comes from */
	BECOMES(1, "/ d 0 1 \n/a f 1 1 \n", FILE_("a/b", 1), LINK("a", "a/b"),
		END);
	BECOMES(1, "b: a hard link to a, which is not there", LINK("b", "a"),
		FILE_("a", 1), END);
	BECOMES(2, "b: a hard link to a, which is not there", FILE_("a", 1),
		END, GONE("a"), LINK("b", "a"), END);
	BECOMES(1, "b: a hard link to a, which is a directory", DIR_("a", 1),
		LINK("b", "a"), END);
}

Test(merge, ways_that_lead_nowhere_are_errors)
{
	BECOMES(1, "a/b: what should be its directory is none", FILE_("a", 1),
		FILE_("a/b", 1), END);
	BECOMES(1, "a/x: too many symbolic links on the way",
		SYMLINK("a", "b"), SYMLINK("b", "a"), FILE_("a/x", 1), END);
	BECOMES(1, "a/x: too many symbolic links on the way",
		SYMLINK("a", "a/a"), FILE_("a/x", 1), END);
	/* to take something away there is none */
	BECOMES(2, "/ d 0 1 \n/a s 0 1 a\n/f f 0 1 \n", SYMLINK("a", "a"),
		FILE_("f", 0), END, GONE("a/x"), GONE("f/x"), OPAQUE("a/y"),
		END);
	BECOMES(1, "a\?\?: no such device number",
		{ .type = LAYER_CHAR, .path = "a\n\xff", .major = 4096 }, END);
}

Test(merge, forty_links_are_followed_and_no_more)
{
	struct tree *t = tree_new();
	struct stage_layer l;
	char a[16], b[16];
	int i;

	layer_begin(&l);
	for (i = 1; i <= MERGE_LINKS_MAX + 1; i++) {
		snprintf(a, sizeof(a), "l%d", i);
		snprintf(b, sizeof(b), "l%d", i - 1);
		ADD(&l, LAYER_SYMLINK, a, .link = i > 1 ? b : "dir");
	}
	snprintf(a, sizeof(a), "l%d/x", MERGE_LINKS_MAX);
	ADD(&l, LAYER_FILE, a);
	cr_assert_eq(tree_layer(t, &l), 0, "%s", t->err.msg);
	layer_close(&l);
	layer_begin(&l);
	snprintf(a, sizeof(a), "l%d/x", MERGE_LINKS_MAX + 1);
	ADD(&l, LAYER_FILE, a);
	cr_assert_eq(tree_layer(t, &l), -EBADMSG);
	layer_close(&l);
	tree_free(t);
}

/* --- what is too much -------------------------------------------------- */

Test(merge, a_name_a_million_times_is_one_name, .timeout = 100)
{
	struct tree *t = tree_new();
	struct stage_layer l;
	int i;

	layer_begin(&l);
	for (i = 0; i < 1000000; i++)
		ADD(&l, i & 1 ? LAYER_FILE : LAYER_DIR, "dir/name",
		    .uid = (uint32_t)i);
	cr_assert_eq(tree_layer(t, &l), 0);
	cr_assert_str_eq(tree_text(t), "/ d 0 1 \n/dir d 0 1 \n"
			 "/dir/name f 999999 1 \n");
	cr_assert_eq(merge_inodes(t->m), 3);
	layer_close(&l);
	tree_free(t);
}

/* A link to "d/d/d/...", below that as many again and a link to there, and so
 * on: a tree gets as deep as there are names, far beyond any path. */
Test(merge, deep_trees_come_and_go, .timeout = 100)
{
	struct tree *t = tree_new();
	char path[LAYER_PATH_MAX + 1];
	struct stage_layer l;
	unsigned i;

	for (i = 0; i < LAYER_PATH_MAX; i++)
		path[i] = i & 1 ? '/' : 'd';
	path[i] = '\0';
	layer_begin(&l);
	ADD(&l, LAYER_DIR, path);
	ADD(&l, LAYER_SYMLINK, "l0", .link = path);
	for (i = 0; i < 30; i++) {
		char way[8], to[LAYER_PATH_MAX + 1];

		snprintf(way, sizeof(way), "l%u", i);
		snprintf(to, sizeof(to), "%s/%.3999s", way, path);
		ADD(&l, LAYER_DIR, to);
		snprintf(way, sizeof(way), "l%u", i + 1);
		ADD(&l, LAYER_SYMLINK, way, .link = to);
	}
	cr_assert_eq(tree_layer(t, &l), 0, "%s", t->err.msg);
	cr_assert_gt(merge_inodes(t->m), 2000 * 31);
	cr_assert_eq(merge_sort(t->m), 0);
	layer_close(&l);
	layer_begin(&l);
	ADD(&l, LAYER_OPAQUE, "");
	cr_assert_eq(tree_layer(t, &l), 0);
	cr_assert_eq(merge_inodes(t->m), 1);
	layer_close(&l);
	tree_free(t);
}

Test(merge, directories_made_on_the_way_count, .timeout = 100)
{
	struct tree *t = tree_new();
	char path[LAYER_PATH_MAX + 1];
	struct stage_layer l;
	unsigned i;

	memset(path, 'a', sizeof(path));
	for (i = 7; i < LAYER_PATH_MAX; i += 2)
		path[i] = '/';
	path[LAYER_PATH_MAX] = '\0';
	layer_begin(&l);
	for (i = 0; i < 2200; i++) { /* times 2044 is more than 2^22 */
		char head[8];

		snprintf(head, sizeof(head), "%07u", i);
		memcpy(path, head, 7);
		ADD(&l, LAYER_FILE, path);
	}
	cr_assert_eq(tree_layer(t, &l), -EFBIG);
	cr_assert(strstr(t->err.msg, "too many files"), "%s", t->err.msg);
	layer_close(&l);
	tree_free(t);
}

Test(merge, what_links_lead_to_is_bounded, .timeout = 100)
{
	struct tree *t = tree_new();
	char target[LAYER_LINK_MAX + 1], a[16];
	struct stage_layer l;
	unsigned i;

	/* one name of a path is 40 targets of 4 KiB: a thousandth of an index */
	memset(target, '/', sizeof(target));
	layer_begin(&l);
	ADD(&l, LAYER_DIR, "d");
	for (i = 0; i < MERGE_LINKS_MAX; i++) {
		snprintf(a, sizeof(a), "l%u", i);
		if (i)
			snprintf(target + 4000, 90, "l%u", i - 1);
		else
			strcpy(target + 4000, "d");
		ADD(&l, LAYER_SYMLINK, a, .link = target);
	}
	for (i = 0; i < 2000; i++) {
		snprintf(a, sizeof(a), "l39/f%u", i);
		ADD(&l, LAYER_FILE, a);
		/* the way is forgotten */
		ADD(&l, LAYER_SYMLINK, "x", .link = "y");
	}
	cr_assert_eq(tree_layer(t, &l), -EBADMSG);
	cr_assert(strstr(t->err.msg, "lead too far"), "%s", t->err.msg);
	layer_close(&l);
	tree_free(t);
}

/* The paper's own. */
Test(merge, siphash_is_siphash)
{
	uint64_t key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	static const uint8_t rest[] = { 8, 9, 10, 11, 12, 13, 14 };

	cr_assert_eq(siphash(key, 0x0706050403020100, rest, sizeof(rest)),
		     0xa129ca6149be45e5);
}
