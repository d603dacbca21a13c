/* SPDX-License-Identifier: Apache-2.0 */
/* Tars that mean harm: refused in words, or taken for what they say. */
#include "tests/unit/tar_stage.h"

static struct tape tape;
static struct made made;

static void done(void)
{
	made_free(&made);
	tape_free(&tape);
}

static void finish(void)
{
	tape_end(&tape);
	make(&made, &tape);
}

/* Whatever it is, the index is one that its reader takes. */
static void expect_sound(void)
{
	if (made.r < 0) {
		cr_expect_neq(made.err.msg[0], '\0');
		return;
	}
	while (made_next(&made))
		cr_expect(layer_path_is_good(made.path, strlen(made.path)));
}

static void add_some_of_all(void)
{
	char text[256], *p = malloc(9000);
	size_t n = pax_record(text, "mtime", "1.5", 3);

	memset(p, 'p', 9000);
	n += pax_record(text + n, "SCHILY.xattr.user.x", "value", 5);
	ADD(&tape, "d/", '5', .mode = 0755);
	ADD(&tape, "x", 'x', .data = text, .len = n);
	ADD(&tape, "d/f", .data = p, .len = 9000);
	n = pax_record(text, "GNU.sparse.major", "1", 1);
	n += pax_record(text + n, "GNU.sparse.minor", "0", 1);
	n += pax_record(text + n, "GNU.sparse.name", "sparse", 6);
	n += pax_record(text + n, "GNU.sparse.realsize", "100000", 6);
	ADD(&tape, "x", 'x', .data = text, .len = n);
	memset(p, 0, 512);
	strcpy(p, "1\n5000\n88\n");
	ADD(&tape, "s", .data = p, .len = 600);
	ADD(&tape, "././@LongLink", 'L', .magic = "ustar  ", .data = "long",
	    .len = 5);
	ADD(&tape, "l", '2', .link = "to", .magic = "ustar  ");
	ADD(&tape, "h", '1', .link = "d/f");
	ADD(&tape, "c", '3', .major = 1, .minor = 3);
	ADD(&tape, ".wh.w");
	free(p);
}

Test(untar_bad, cut_anywhere_it_is_no_whole_tar)
{
	size_t whole, took = 0;

	add_some_of_all();
	whole = tape.len;
	for (size_t n = 1; n < whole; n += n % 512 == 511 ? 1 : 85) {
		tape.len = n;
		tape.at = 0;
		make(&made, &tape);
		took += made.r == 0;
		/* libarchive takes an end between two members for one */
		cr_expect(made.r < 0 || n % 512 == 0, "%zu", n);
		expect_sound();
		made_free(&made);
	}
	cr_expect_leq(took, 9, "%zu", took);
	tape.len = whole;
	tape.at = 0;
	make(&made, &tape);
	cr_expect_eq(made.r, 0, "%s", made.err.msg);
	cr_expect_eq(made.u.entries, 7);
	done();
}

/* The sum of a header is right again, or it would not get far. */
Test(untar_bad, any_byte_may_be_another, .timeout = 120)
{
	static const uint8_t other[] = { 0, 0xff, 0x80, '7', '/', '.' };
	uint8_t *p;

	add_some_of_all();
	tape_end(&tape);
	p = malloc(tape.len);
	memcpy(p, tape.p, tape.len);
	for (size_t at = 0; at < tape.len; at++) {
		/* bytes of files can be anything */
		if (p[at] == 'p' && p[at - 1] == 'p')
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
			size_t h = at / 512 * 512;

			tape.p[at] = other[i];
			if (!memcmp(p + h + 257, "ustar", 5))
				tape_sum(tape.p + h);
			tape.at = 0;
			make(&made, &tape);
			expect_sound();
			made_free(&made);
			memcpy(tape.p + h, p + h, 512);
		}
	}
	free(p);
	tape_free(&tape);
}

static void refuse(int error, const char *words)
{
	finish();
	expect_refused(&made, error, words);
	done();
}

Test(untar_bad, numbers_that_cannot_be)
{
	ADD(&tape, "f", .size = "\377\377\377\377\377\377\377\377\377\377\377");
	refuse(EBADMSG, "");
	ADD(&tape, "f", .owner = "\377\377\377\377\377\377\377\377");
	refuse(EBADMSG, "f has an owner that is none");
	ADD(&tape, "f", .owner = "\200\0\0\1\0\0\0\0");
	refuse(EBADMSG, "f has an owner that is none");
	PAX(&tape, "uid", "4294967296");
	ADD(&tape, "f");
	refuse(EBADMSG, "f has an owner that is none");
	PAX(&tape, "size", "-1");
	ADD(&tape, "f");
	refuse(EBADMSG, "");
	PAX(&tape, "SCHILY.devmajor", "99999999999");
	ADD(&tape, "f", '3');
	refuse(EBADMSG, "f has a device number that is none");
}

Test(untar_bad, times_of_any_kind_are_times)
{
	PAX(&tape, "mtime", "-99999999999999999999999.999999999999");
	ADD(&tape, "a");
	PAX(&tape, "mtime", "99999999999999999999999");
	ADD(&tape, "b");
	PAX(&tape, "mtime", "-1.5");
	ADD(&tape, "c");
	ADD(&tape, "d", .time = "\377\0\0\0\0\0\0\0\0\0\0");
	finish();
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(made_next(&made), 1);
		cr_expect_lt(made.item.e.mtime_ns, 1000000000u);
	}
	expect_end(&made);
	done();
}

Test(untar_bad, what_is_no_tar)
{
	tape_bytes(&tape, "#!/bin/sh\necho hello\n", 21);
	make(&made, &tape);
	expect_refused(&made, EBADMSG, "");
	done();
	memset(tape_room(&tape, 5000), 0xa5, 5000);
	make(&made, &tape);
	expect_refused(&made, EBADMSG, "");
	done();
}

Test(untar_bad, nothing_at_all_is_a_layer_of_nothing)
{
	make(&made, &tape);
	expect_end(&made);
	done();
	finish();
	expect_end(&made);
	done();
}

Test(untar_bad, pax_headers_have_limits)
{
	size_t len = 8 << 20;
	char *text = malloc(len);

	memset(text, 'x', len);
	tape_pax(&tape, "comment", text, len);
	ADD(&tape, "f");
	refuse(EBADMSG, "");
	for (int i = 0; i < 100; i++)
		ADD(&tape, "././@LongLink", 'L', .magic = "ustar  ",
		    .data = "x", .len = 2);
	ADD(&tape, "f");
	refuse(EBADMSG, "");
	/* a header that says more than there is */
	ADD(&tape, "x", 'x', .data = "99 path=x\n", .len = 10);
	ADD(&tape, "f");
	refuse(EBADMSG, "");
	free(text);
}

Test(untar_bad, maps_that_are_out_of_order)
{
	static const char *const maps[] = {
		"0,512,100,512", "600,512,0,512", "0,512,99999,512",
		"0,512,9223372036854775807,512", "-1,512,600,512",
		"0,-512,600,512",
	};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		char text[256], data[1024];
		size_t n = pax_record(text, "GNU.sparse.size", "10000", 5);

		memset(data, 'd', sizeof(data));
		n += pax_record(text + n, "GNU.sparse.map", maps[i],
				strlen(maps[i]));
		ADD(&tape, "x", 'x', .data = text, .len = n);
		ADD(&tape, "f", .data = data, .len = sizeof(data));
		finish();
		cr_expect_lt(made.r, 0, "%s", maps[i]);
		done();
	}
}

/* That a name was a link, a device or nothing before is for who merges. */
Test(untar_bad, entries_are_kept_as_they_come)
{
	ADD(&tape, "link", '2', .link = "/etc");
	ADD(&tape, "link/passwd", .data = "root", .len = 4);
	ADD(&tape, "hard", '1', .link = "missing");
	ADD(&tape, "self", '1', .link = "self");
	ADD(&tape, "twice", .data = "1", .len = 1);
	ADD(&tape, "twice", '5');
	ADD(&tape, "twice", '2', .link = "link");
	finish();
	expect(&made, LAYER_SYMLINK, "link");
	expect(&made, LAYER_FILE, "link/passwd");
	expect(&made, LAYER_HARDLINK, "hard");
	expect(&made, LAYER_HARDLINK, "self");
	expect(&made, LAYER_FILE, "twice");
	expect(&made, LAYER_DIR, "twice");
	expect(&made, LAYER_SYMLINK, "twice");
	expect_end(&made);
	done();
}

static ssize_t fails(void *opaque, const uint8_t **p, struct err *err)
{
	struct tape *t = opaque;

	if (t->at)
		return err_say(err, -EPIPE, "the line is dead");
	return tape_next(t, p, err);
}

Test(untar_bad, what_the_source_says_is_what_the_user_reads)
{
	struct err err = { 0 };
	struct untar u = { .source = fails, .opaque = &tape, .data_max = 1000000,
			   .data = memfd_create("d", MFD_CLOEXEC),
			   .index = memfd_create("i", MFD_CLOEXEC),
			   .entries_max = 10 };

	ADD(&tape, "f", .size = "00000010000");
	cr_expect_eq(untar(&u, &err), -EPIPE);
	cr_expect_str_eq(err.msg, "the line is dead");
	tape_free(&tape);
	close(u.data);
	close(u.index);
}

Test(untar_bad, a_disk_that_is_full_is_said)
{
	struct err err = { 0 };
	struct untar u = { .source = tape_next, .opaque = &tape,
			   .data_max = 1000000, .entries_max = 10,
			   .data = memfd_create("d", MFD_CLOEXEC),
			   .index = open("/dev/full", O_WRONLY | O_CLOEXEC) };

	ADD(&tape, "f");
	tape_end(&tape);
	cr_expect_eq(untar(&u, &err), -ENOSPC);
	cr_expect(strstr(err.msg, "No space left on device"));
	tape_free(&tape);
	close(u.data);
	close(u.index);
}
