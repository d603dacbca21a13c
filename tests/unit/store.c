/* SPDX-License-Identifier: Apache-2.0 */
/* Images in the store: added, named, found, listed, removed; damaged. */
#include "rootfs/store.h"

#include "tests/unit/store_stage.h"

TestSuite(store, .init = open_data, .fini = close_data);

static char id1[IMAGE_HEX_MAX], id2[IMAGE_HEX_MAX];

/* Two images by name that share layer 3. */
static struct store *furnished(void)
{
	struct store *s = opened(STORE_SHARED);

	hex(id1, 0x11110000);
	hex(id2, 0x11112222);
	added(s, 0x11110000, 3, 4, "one");
	added(s, 0x11112222, 3, 5, "h.o/two:2");
	return s;
}

static int removed(struct store *s, const char *text, int all,
		   struct store_freed *f)
{
	*f = (struct store_freed){ 0 };
	err = (struct err){ 0 };
	cr_assert_eq(store_lock(s, STORE_EXCLUSIVE, &err), 0);
	return store_remove(s, text, all, f, &err);
}

static struct store_freed pruned(struct store *s)
{
	struct store_freed f = { 0 };

	cr_assert_eq(store_lock(s, STORE_EXCLUSIVE, &err), 0);
	cr_assert_eq(store_prune(s, &f, &err), 0, "%s", err.msg);
	return f;
}

/* --- the root --------------------------------------------------------- */

Test(store, is_made_only_when_asked)
{
	struct store *s;

	sh("rmdir %s", data_dir);
	err = (struct err){ 0 };
	cr_assert_eq(store_open(&s, 0, &err), -ENOENT);
	cr_expect_null(s);
	cr_expect_str_empty(err.msg);
	s = opened(STORE_SHARED);
	cr_expect_str_eq(store_path(s), data_dir);
	store_free(s);
	sh("test \"$(stat -c %%a %s %s/tmp %s/images | uniq)\" = 700", data_dir,
	   data_dir, data_dir);
	cr_assert_eq(store_open(&s, 0, &err), 0);
	store_free(s);
}

Test(store, makes_the_way_to_its_root)
{
	char deep[128];
	struct store *s;

	snprintf(deep, sizeof(deep), "%s/a/b//c/", data_dir);
	setenv("MAYFLY_DATA_DIR", deep, 1);
	cr_assert_eq(store_open(&s, 1, &err), 0, "%s", err.msg);
	store_free(s);
}

Test(store, root_must_be_ours_alone)
{
	struct store *s;

	cr_assert_eq(chmod(data_dir, 0770), 0);
	cr_expect_eq(store_open(&s, 1, &err), -EPERM);
	cr_expect(strstr(err.hint, "MAYFLY_DATA_DIR"));
	setenv("MAYFLY_DATA_DIR", "relative", 1);
	cr_expect_eq(store_open(&s, 1, &err), -EINVAL);
	setenv("MAYFLY_DATA_DIR", "/dev/null/x", 1);
	cr_expect_eq(store_open(&s, 1, &err), -ENOTDIR);
	cr_expect(strstr(err.hint, "MAYFLY_DATA_DIR"));
	setenv("MAYFLY_DATA_DIR", data_dir, 1);
}

Test(store, follows_no_link_below_its_root)
{
	struct store *s = opened(STORE_SHARED);

	store_free(s);
	sh("cd %s && mv tmp away && ln -s away tmp", data_dir);
	cr_expect_eq(store_open(&s, 1, &err), -ENOTDIR);
	sh("cd %s && rm tmp && mv away tmp && rm lock && ln -s x lock",
	   data_dir);
	cr_expect_eq(store_open(&s, 1, &err), -ELOOP);
	sh("rm %s/lock", data_dir);
	s = furnished();
	sh("cd %s/layers && mv ???????????????3* away && ln -s away "
	   "$(printf %%016x%%016x%%016x%%016x 3 3 3 3)", data_dir);
	cr_expect_eq(check_image(s, id1, &err), -EBADMSG);
	store_free(s);
}

/* --- adding and finding ----------------------------------------------- */

Test(store, image_is_found_by_name_and_by_prefix)
{
	struct store *s = furnished();
	char id[IMAGE_HEX_MAX], prefix[80];

	cr_assert_eq(store_resolve(s, "one", id, &err), 0, "%s", err.msg);
	cr_expect_str_eq(id, id1);
	cr_assert_eq(store_resolve(s, "docker.io/library/one:latest", id, NULL),
		     0);
	cr_assert_eq(store_resolve(s, "h.o/two:2", id, NULL), 0);
	cr_expect_str_eq(id, id2);
	cr_assert_eq(store_resolve(s, id1, id, NULL), 0);
	cr_expect_str_eq(id, id1);
	snprintf(prefix, sizeof(prefix), "sha256:%s", id2);
	cr_assert_eq(store_resolve(s, prefix, id, NULL), 0);
	cr_expect_str_eq(id, id2);
	snprintf(prefix, sizeof(prefix), "%.13s", id2);
	cr_assert_eq(store_resolve(s, prefix, id, NULL), 0);
	store_free(s);
}

Test(store, what_is_not_there_is_told_with_the_remedy)
{
	struct store *s = furnished();

	cr_expect_eq(resolve(s, "two"), -ENOENT);
	cr_expect_str_eq(err.msg, "image two:latest: not there");
	cr_expect_str_eq(err.hint, "mayfly pull two:latest");
	cr_expect_eq(resolve(s, "0000"), -EINVAL);
	cr_expect(strstr(err.msg, "0000000011110000, 0000000011112222") ||
		  strstr(err.msg, "0000000011112222, 0000000011110000"), "%s",
		  err.msg);
	cr_expect_eq(resolve(s, "000"), -ENOENT);
	cr_expect_eq(resolve(s, "ffff"), -ENOENT);
	cr_expect_eq(resolve(s, "No"), -EINVAL);
	cr_expect_eq(resolve(s, ""), -EINVAL);
	store_free(s);
}

Test(store, name_comes_before_a_prefix)
{
	struct store *s = furnished();
	struct reference ref;
	char id[IMAGE_HEX_MAX];

	reference_parse(&ref, "0000000011110000", NULL);
	cr_assert_eq(store_tag(s, &ref, id2, &err), 0, "%s", err.msg);
	cr_assert_eq(store_resolve(s, "0000000011110000", id, NULL), 0);
	cr_expect_str_eq(id, id2);
	store_free(s);
}

Test(store, disk_has_the_root_and_then_its_layers)
{
	struct store *s = furnished();
	struct store_files files;
	struct image img;

	cr_assert_eq(store_open_image(s, id1, &img, &files, &err), 0, "%s",
		     err.msg);
	cr_expect_eq(files.n, 3);
	cr_expect_eq(lseek(files.fds[0], 0, SEEK_END), 2 * BLOCK);
	cr_expect_eq(lseek(files.fds[1], 0, SEEK_END), 3 * BLOCK);
	cr_expect_eq(lseek(files.fds[2], 0, SEEK_END), 4 * BLOCK);
	cr_expect_eq(write(files.fds[0], "x", 1), -1);
	cr_expect(fcntl(files.fds[0], F_GETFD) & FD_CLOEXEC);
	store_close_files(&files);
	image_free(&img);
	cr_expect_eq(check_image(s, id2, &err), 0, "%s", err.msg);
	/* A layer without a byte has no place on it. */
	added(s, 9, 0, 4, NULL);
	hex(id1, 9);
	cr_assert_eq(store_open_image(s, id1, &img, &files, &err), 0);
	cr_expect_eq(files.n, 2);
	store_close_files(&files);
	image_free(&img);
	store_free(s);
}

Test(store, same_thing_twice_is_there_once)
{
	struct store *s = furnished();

	added(s, 0x11110000, 3, 4, "three");
	cr_expect_eq(entries("layers"), 3);
	cr_expect_eq(entries("images"), 2);
	cr_expect_eq(entries("names"), 3);
	cr_expect_eq(entries("tmp"), 0);
	store_free(s);
}

/* The image of one id, from a layer by the digest @n: @blocks blocks of 3. */
static int from_layer(struct store *s, unsigned n, unsigned blocks,
		      unsigned root)
{
	struct image_layer l = { .blob_size = 7, .entries = 1,
				 .data_size = blocks * BLOCK,
				 .index_size = BLOCK };
	struct image img = { .root_size = 2 * BLOCK, .nlayers = 1,
			     .layers = &l };
	struct store_part p;
	struct store_stage *st;
	int r;

	hex(img.id, 0x77);
	hex(l.digest, n);
	hex(l.diff_id, 0x1003);
	cr_assert_eq(store_begin_stage(s, &st, &err), 0);
	cr_assert_eq(store_begin_part(st, &p, &err), 0);
	cr_assert_eq(fill(&p, "data", blocks, 3, &err), 0);
	cr_assert_eq(fill(&p, "index", 1, 0, &err), 0);
	cr_assert_eq(store_commit_layer(&p, &l, &err), 0, "%s", err.msg);
	cr_assert_eq(store_begin_part(st, &p, &err), 0);
	cr_assert_eq(fill(&p, "root.erofs", 2, root, &err), 0);
	r = store_commit_image(&p, &img, NULL, 0, &err);
	store_end_stage(st);
	return r;
}

Test(store, image_by_other_layers_is_the_same_or_refused)
{
	struct store *s = opened(STORE_SHARED);

	cr_assert_eq(from_layer(s, 1, 3, 1), 0, "%s", err.msg);
	cr_expect_eq(from_layer(s, 2, 3, 1), 0, "%s", err.msg);
	cr_expect_eq(from_layer(s, 3, 3, 2), -EEXIST);
	/* From the same layers it is not looked at. */
	cr_expect_eq(from_layer(s, 1, 3, 2), 0, "%s", err.msg);
	cr_expect_eq(from_layer(s, 4, 4, 1), -EEXIST);
	cr_expect(strstr(err.msg, "one of the two is not"), "%s", err.msg);
	cr_expect(strstr(err.hint, "mayfly image rm 0000"), "%s", err.hint);
	store_free(s);
}

Test(store, name_can_be_given_to_another)
{
	struct store *s = furnished();
	struct reference ref;
	char id[IMAGE_HEX_MAX];

	reference_parse(&ref, "one", NULL);
	cr_assert_eq(store_tag(s, &ref, id2, &err), 0);
	cr_assert_eq(store_resolve(s, "one", id, &err), 0);
	cr_expect_str_eq(id, id2);
	hex(id, 77);
	cr_expect_eq(store_tag(s, &ref, id, &err), -ENOENT);
	cr_expect_eq(store_tag(s, &ref, "../..", &err), -ENOENT);
	store_free(s);
}

Test(store, layer_is_there_with_what_is_known_of_it)
{
	struct store *s = furnished();
	struct store_layer l;
	char digest[IMAGE_HEX_MAX];

	hex(digest, 4);
	cr_assert_eq(store_open_layer(s, digest, &l, &err), 0, "%s", err.msg);
	cr_expect_eq(l.info.data_size, 4 * BLOCK);
	cr_expect_eq(lseek(l.index, 0, SEEK_END), BLOCK);
	close(l.data);
	close(l.index);
	hex(digest, 6);
	cr_expect_eq(store_open_layer(s, digest, &l, &err), -ENOENT);
	cr_expect_eq(store_open_layer(s, "../names", &l, &err), -ENOENT);
	store_free(s);
}

Test(store, image_needs_its_layers)
{
	struct store *s = opened(STORE_SHARED);
	struct image_layer l = { .data_size = 3 * BLOCK };
	struct image img = { .nlayers = 1, .layers = &l };
	struct store_part p;
	struct store_stage *st;

	hex(img.id, 1);
	hex(l.digest, 3);
	cr_assert_eq(store_begin_stage(s, &st, &err), 0);
	cr_assert_eq(store_begin_part(st, &p, &err), 0);
	cr_assert_eq(fill(&p, "root.erofs", 0, 0, &err), 0);
	cr_expect_eq(store_commit_image(&p, &img, NULL, 0, &err), -ENOENT);
	cr_expect_eq(p.dir, -1);
	store_end_stage(st);
	cr_expect_eq(entries("images") + entries("tmp"), 0);
	store_free(s);
}

Test(store, record_that_could_not_be_read_again_is_not_kept)
{
	struct store *s = furnished();
	struct image img;
	struct store_part p;
	struct store_stage *st;
	size_t n = 0;

	cr_assert_eq(store_read_image(s, id1, &img, &err), 0);
	hex(img.id, 9);
	while (img.cmd[n])
		n++;
	/* Ten times what a document has. */
	img.cmd = reallocarray(img.cmd, n + 41, sizeof(*img.cmd));
	for (int i = 0; i < 40; i++, n++) {
		img.cmd[n] = calloc(1, (1 << 20) + 1);
		memset(img.cmd[n], 'x', 1 << 20);
	}
	img.cmd[n] = NULL;
	cr_assert_eq(store_begin_stage(s, &st, &err), 0);
	cr_assert_eq(store_begin_part(st, &p, &err), 0);
	cr_assert_eq(fill(&p, "root.erofs", 2, 0, &err), 0);
	cr_expect_eq(store_commit_image(&p, &img, NULL, 0, &err), -EBADMSG);
	cr_expect(strstr(err.msg, "too large"), "%s", err.msg);
	store_end_stage(st);
	cr_expect_eq(entries("images"), 2);
	image_free(&img);
	store_free(s);
}

Test(store, part_must_have_the_size_its_record_says)
{
	struct store *s = opened(STORE_SHARED);
	struct image_layer l = { .data_size = 3 * BLOCK };
	struct store_part p;
	struct store_stage *st;

	hex(l.digest, 3);
	cr_assert_eq(store_begin_stage(s, &st, &err), 0);
	cr_assert_eq(store_begin_part(st, &p, &err), 0);
	cr_assert_eq(fill(&p, "data", 2, 0, &err), 0);
	cr_assert_eq(fill(&p, "index", 0, 0, &err), 0);
	cr_expect_eq(store_commit_layer(&p, &l, &err), -EBADMSG);
	store_end_stage(st);
	cr_expect_eq(entries("layers") + entries("tmp"), 0);
	store_free(s);
}

/* --- listing ---------------------------------------------------------- */

Test(store, list_counts_what_is_shared_once)
{
	struct store *s = furnished();
	struct store_list list;
	const struct store_item *a, *b;

	added(s, 5, 7, 8, NULL);
	listed(s, &list);
	cr_assert_eq(list.n, 3);
	a = list.items;
	b = list.items + 1;
	cr_expect_str_eq(a->id, id1);
	cr_expect_str_eq(a->names[0], "docker.io/library/one:latest");
	cr_expect_null(a->names[1]);
	cr_expect_str_eq(b->names[0], "h.o/two:2");
	cr_expect_null(list.items[2].names[0]);
	cr_expect_eq(a->img.nlayers, 2);
	/* Files are larger than their directories and records. */
	cr_expect_geq(a->own, 2 * BLOCK);
	cr_expect_geq(a->all, a->own + 9 * BLOCK);
	cr_expect_geq(a->unique, a->own + 5 * BLOCK);
	cr_expect_geq(a->all - a->unique, 4 * BLOCK);
	cr_expect_leq(a->all - a->unique, 8 * BLOCK);
	cr_expect_eq(list.unused, list.items[2].all);
	cr_expect_eq(list.total, a->all + b->unique + list.items[2].all);
	store_free_list(&list);
	store_free(s);
}

Test(store, list_of_nothing_is_empty)
{
	struct store *s = opened(STORE_SHARED);
	struct store_list list;

	listed(s, &list);
	cr_expect(!list.n && !list.total && !list.unused);
	store_free_list(&list);
	store_free(s);
}

/* --- removing --------------------------------------------------------- */

Test(store, last_name_takes_the_image_and_its_own_layers)
{
	struct store *s = furnished();
	struct store_freed f;
	struct reference ref;

	reference_parse(&ref, "other", NULL);
	cr_assert_eq(store_tag(s, &ref, id1, &err), 0);
	cr_assert_eq(removed(s, "one", 0, &f), 0, "%s", err.msg);
	cr_expect(f.names == 1 && !f.images && !f.layers);
	cr_assert_eq(removed(s, "other", 0, &f), 0, "%s", err.msg);
	cr_expect(f.names == 1 && f.images == 1 && f.layers == 1);
	cr_expect_geq(f.bytes, 7 * BLOCK);
	cr_expect_eq(entries("layers"), 2);
	cr_expect_eq(entries("tmp"), 0);
	cr_expect_eq(check_image(s, id2, &err), 0);
	cr_expect_eq(removed(s, "one", 0, &f), -ENOENT);
	cr_expect_eq(removed(s, "0000", 0, &f), 0);
	cr_expect_eq(entries("layers") + entries("images") + entries("names"),
		     0);
	store_free(s);
}

Test(store, id_with_several_names_is_removed_when_all_are_meant)
{
	struct store *s = furnished();
	struct store_freed f;
	struct reference ref;

	reference_parse(&ref, "other", NULL);
	cr_assert_eq(store_tag(s, &ref, id1, &err), 0);
	cr_assert_eq(removed(s, id1, 0, &f), -EBUSY);
	cr_expect(strstr(err.msg, "one:latest") && strstr(err.msg, "other"),
		  "%s", err.msg);
	cr_expect_eq(entries("names"), 3);
	cr_assert_eq(removed(s, id1, 1, &f), 0);
	cr_expect(f.names == 2 && f.images == 1 && f.layers == 1);
	store_free(s);
}

Test(store, image_that_is_open_stays_until_it_is_closed)
{
	struct store *s = furnished();
	struct store_files files;
	struct store_freed f;
	struct image img;
	char block[BLOCK];

	cr_assert_eq(store_open_image(s, id1, &img, &files, &err), 0);
	cr_assert_eq(removed(s, "one", 0, &f), 0);
	cr_expect_eq(pread(files.fds[2], block, BLOCK, 3 * BLOCK), BLOCK);
	cr_expect_eq(block[BLOCK - 1], 4);
	store_close_files(&files);
	image_free(&img);
	store_free(s);
}

Test(store, prune_takes_what_nobody_names)
{
	struct store *s = furnished();
	struct store_stage *st;
	struct image_layer l;
	struct store_freed f;

	added(s, 5, 3, 7, NULL);
	cr_assert_eq(store_begin_stage(s, &st, &err), 0);
	cr_assert_eq(add_layer(st, 8, &l, &err), 0);
	sh("mkdir -p %s/tmp/dead/a && echo >%s/tmp/dead/a/b", data_dir,
	   data_dir);
	sh("cd %s/names && echo x >junk && sed s/1/2/g h.o* >h.o%%2Flost%%3A1",
	   data_dir);
	f = pruned(s);
	cr_expect_eq(f.images, 1);
	cr_expect_eq(f.layers, 2);
	cr_expect_eq(f.stages, 1);
	cr_expect_eq(f.names, 2);
	cr_expect_geq(f.bytes, 17 * BLOCK);
	/* This one has its maker. */
	cr_expect_eq(entries("tmp"), 1);
	cr_expect_eq(check_image(s, id1, &err), 0);
	store_end_stage(st);
	f = pruned(s);
	cr_expect(!f.images && !f.layers && !f.stages && !f.names && !f.bytes);
	store_free(s);
}

Test(store, litter_may_be_deep_and_locked_away)
{
	struct store *s = opened(STORE_NONE);
	struct store_stage *st;
	int dir, next;

	cr_assert_eq(store_begin_stage(s, &st, &err), 0);
	dir = dup(store_stage_dir(st));
	/* Deeper than there are descriptors, and than a path is long. The
	 * names are those that the removal would choose. */
	for (unsigned i = 0; i < 3000; i++) {
		cr_assert_eq(mkdirat(dir, "1", 0700), 0);
		cr_assert_eq(mkdirat(dir, "e", 0700), 0);
		cr_assert_eq(symlinkat("..", dir, "0"), 0);
		next = openat(dir, "1", O_RDONLY | O_CLOEXEC);
		cr_assert_geq(next, 0);
		close(dir);
		dir = next;
	}
	close(dir);
	sh("cd %s && mkdir -p no/no && chmod 0 no/no no", store_stage_path(st));
	store_end_stage(st);
	cr_expect_eq(entries("tmp"), 0);
	store_free(s);
}

/* --- damage ----------------------------------------------------------- */

static void hurt(struct store *s, const char *fmt, const char *words)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), fmt, id1);
	sh("cd %s && %s", data_dir, cmd);
	err = (struct err){ 0 };
	cr_expect_eq(check_image(s, id1, &err), -EBADMSG, "%s", cmd);
	cr_expect(strstr(err.msg, words), "%s", err.msg);
	cr_expect(strstr(err.hint, "mayfly image rm 000000001111"), "%s",
		  err.hint);
}

/* Import once more, which mends it. */
static void mend(struct store *s)
{
	added(s, 0x11110000, 3, 4, "one");
	cr_expect_eq(check_image(s, id1, &err), 0, "%s", err.msg);
	cr_expect_eq(entries("images"), 2);
	cr_expect_eq(entries("tmp"), 0);
}

Test(store, damaged_image_is_told_and_mended_by_the_next_import)
{
	struct store *s = furnished();

	hurt(s, "echo '{' >images/%s/image.json", "image.json: line");
	mend(s);
	hurt(s, "rm images/%s/image.json", "image.json is missing");
	mend(s);
	hurt(s, "cp images/*2222/image.json images/%s/", "of another");
	mend(s);
	hurt(s, "rm images/%s/root.erofs", "root.erofs is missing");
	mend(s);
	hurt(s, "truncate -s 4096 images/%s/root.erofs", "another size");
	mend(s);
	hurt(s, "cd images/%s && rm root.erofs && mkfifo root.erofs", "another");
	mend(s);
	hurt(s, "rm -r images/%1$s && echo >images/%1$s", "no directory");
	mend(s);
	hurt(s, "cd images/%s && sed -i 's/\"format\": 1/\"format\": 2/' "
		"image.json", "another version");
	mend(s);
	hurt(s, "truncate -s 1 layers/*4/data #%s", "not the one it had");
	mend(s);
	hurt(s, "rm -r layers/*4 #%s", "is missing");
	mend(s);
	store_free(s);
}

Test(store, damaged_layer_is_made_anew)
{
	static const char *const ways[] = { "rm index", "rm data",
					    "rm layer.json", "echo >layer.json",
					    "truncate -s 1 index",
					    "truncate -s 1 data" };
	struct store *s = furnished();
	struct store_layer l;
	char digest[IMAGE_HEX_MAX];

	hex(digest, 4);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		sh("cd %s/layers/*4 && %s", data_dir, ways[i]);
		cr_expect_eq(store_open_layer(s, digest, &l, &err), -EBADMSG,
			     "%s", ways[i]);
		cr_expect(strstr(err.msg, "layer 000000000000"), "%s", err.msg);
		mend(s);
	}
	store_free(s);
}

Test(store, damaged_image_is_listed_and_can_be_removed)
{
	struct store *s = furnished();
	struct store_list list;
	struct store_freed f;

	sh("echo '[]' >%s/images/%s/image.json", data_dir, id1);
	listed(s, &list);
	cr_assert_eq(list.n, 2);
	cr_expect(list.items[0].damage && !list.items[1].damage);
	cr_expect_str_eq(list.items[0].names[0],
			 "docker.io/library/one:latest");
	cr_expect_eq(list.unused, 0);
	store_free_list(&list);
	/* Its layers are nobody's to take while it is there. */
	f = pruned(s);
	cr_expect(!f.layers && !f.images);
	cr_assert_eq(removed(s, "one", 0, &f), 0, "%s", err.msg);
	cr_expect(f.images == 1 && f.layers == 1);
	store_free(s);
}

Test(store, name_of_nothing_is_told_and_can_be_removed)
{
	struct store *s = furnished();
	struct store_freed f;

	sh("rm -r %s/images/%s", data_dir, id1);
	cr_expect_eq(resolve(s, "one"), -ENOENT);
	cr_expect(strstr(err.msg, "gone"), "%s", err.msg);
	cr_expect(strstr(err.hint, "mayfly pull one"));
	cr_expect_eq(removed(s, "one", 0, &f), 0);
	cr_expect_eq(f.names, 1);
	sh("cd %s/names && echo garbage | tee h.o* >/dev/null", data_dir);
	cr_expect_eq(resolve(s, "h.o/two:2"), -EBADMSG);
	cr_expect_eq(removed(s, "h.o/two:2", 0, &f), 0);
	cr_expect_eq(entries("names"), 0);
	store_free(s);
}
