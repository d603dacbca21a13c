/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as each of the documents that an image has: what is taken keeps
 * the promises of its header, and a record that is written is taken again. The
 * first byte says which document. */
#include "rootfs/oci.h"
#include "runner/base/err.h"
#include "tests/fuzz/bytes.h"

static void is_line(const char *s)
{
	for (; *s; s++)
		must((unsigned char)*s >= 0x20 && *s != 0x7f &&
		     !((unsigned char)s[0] == 0xc2 &&
		       ((unsigned char)s[1] & 0xe0) == 0x80));
}

static void are_words(char *const *words)
{
	size_t n = 0;

	must(words);
	while (words[n])
		must(strlen(words[n++]) < 128u << 10);
	must(n <= IMAGE_WORDS_MAX);
}

static void check_image(const struct image *img)
{
	size_t pairs = 0;

	are_words(img->entrypoint);
	are_words(img->cmd);
	are_words(img->ports);
	are_words(img->volumes);
	are_words(img->labels);
	while (img->labels[pairs])
		pairs++;
	must(pairs % 2 == 0);
	are_words(img->env);
	for (char **v = img->env; *v; v++)
		must(strchr(*v, '=') > *v);
	must(!img->workdir || *img->workdir == '/');
	is_line(img->workdir ? img->workdir : "");
	is_line(img->user ? img->user : "");
	is_line(img->stop_signal ? img->stop_signal : "");
	must(img->nlayers && img->nlayers <= IMAGE_LAYERS_MAX);
	for (unsigned i = 0; i < img->nlayers; i++)
		must(image_is_hex(img->layers[i].diff_id));
}

/* Written, read and written again it is the same. */
static void check_record(const struct image *img)
{
	struct image again;
	char *text = image_format(img), *twice;

	must(text && image_read(&again, text, strlen(text), NULL) == 0);
	check_image(&again);
	twice = image_format(&again);
	must(twice && !strcmp(text, twice));
	free(text);
	free(twice);
	image_free(&again);
}

static int read_config(const char *text, size_t size, struct err *err)
{
	struct image img;
	int r = -1;

	/* The number of layers is not the document's to say. */
	for (unsigned n = 1; n <= 3 && r < 0; n++)
		r = oci_read_config(&img, text, size, n, err);
	if (r < 0)
		return r;
	check_image(&img);
	memset(img.id, 'a', IMAGE_HEX_MAX - 1);
	for (unsigned i = 0; i < img.nlayers; i++)
		memset(img.layers[i].digest, 'b', IMAGE_HEX_MAX - 1);
	check_record(&img);
	image_free(&img);
	return 0;
}

static int read_record(const char *text, size_t size, struct err *err)
{
	struct image img;
	int r = image_read(&img, text, size, err);

	if (r < 0)
		return r;
	check_image(&img);
	must(image_is_hex(img.id));
	check_record(&img);
	image_free(&img);
	return 0;
}

static int read_manifest(const char *text, size_t size, struct err *err)
{
	static struct oci_manifest m;
	int r = oci_read_manifest(&m, text, size, err);

	if (r < 0)
		return r;
	must(image_is_hex(m.config.digest) && m.config.size <= IMAGE_TEXT_MAX);
	must(m.nlayers && m.nlayers <= IMAGE_LAYERS_MAX);
	for (unsigned i = 0; i < m.nlayers; i++)
		must(image_is_hex(m.layers[i].digest) &&
		     m.layers[i].size <= INT64_MAX);
	return 0;
}

static int read_index(const char *text, size_t size, const char *want,
		      struct err *err)
{
	struct oci_choice c;
	int r = oci_read_index(&c, text, size, want, err);

	if (r < 0)
		return r;
	must(image_is_hex(c.blob.digest));
	is_line(c.name);
	must(!want || !strcmp(c.name, want));
	return 0;
}

static int read_saved(const char *text, size_t size, const char *want,
		      struct err *err)
{
	struct oci_saved s;
	int r = oci_read_saved(&s, text, size, want, err);

	if (r < 0) {
		must(!s.config && !s.layers && !s.tags);
		return r;
	}
	must(*s.config && *s.config != '/' && strcmp(s.config, ".."));
	are_words(s.layers);
	for (char **l = s.layers; *l; l++)
		must(**l && **l != '/' && strncmp(*l, "../", 3) &&
		     !strstr(*l, "/../"));
	are_words(s.tags);
	oci_free_saved(&s);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	const char *text = (const char *)data + 1;
	int r = 0;

	if (!size--)
		return 0;
	switch (*data % 7) {
	case 0:
		r = read_index(text, size, NULL, &err);
		break;
	case 1:
		r = read_index(text, size, "a", &err);
		break;
	case 2:
		r = read_manifest(text, size, &err);
		break;
	case 3:
		r = read_config(text, size, &err);
		break;
	case 4:
		r = read_saved(text, size, NULL, &err);
		break;
	case 5:
		r = read_saved(text, size, "a", &err);
		break;
	default:
		r = read_record(text, size, &err);
	}
	must(r == 0 || (r < 0 && err.msg[0]));
	is_line(err.msg);
	return 0;
}
