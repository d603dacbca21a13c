/* SPDX-License-Identifier: Apache-2.0 */
/* The config of an image: OCI image spec, config.md. */
#include <errno.h>
#include <string.h>

#include "rootfs/document.h"
#include "rootfs/image_config.h"
#include "rootfs/oci.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

static void check_platform(struct doc *d)
{
	const char *arch = doc_line(d, d->root, "architecture");
	const char *os = doc_line(d, d->root, "os");
	char a[40], o[40];

	if (!arch || !os) {
		doc_fail(d, -EBADMSG, "\"%s\" is missing",
			 arch ? "os" : "architecture");
		return;
	}
	doc_clean(a, sizeof(a), arch);
	doc_clean(o, sizeof(o), os);
	if (strcmp(arch, "amd64") || strcmp(os, "linux"))
		doc_fail(d, -ENOTSUP, "the image is for %s/%s, not for "
				      "linux/amd64", o, a);
}

/* "rootfs", and in it "diff_ids": one for each layer of the manifest. */
static void read_layers(struct doc *d, struct image *img, unsigned nlayers)
{
	const json_t *rootfs = doc_object(d, d->root, "rootfs");
	const json_t *ids = doc_list(d, rootfs, "diff_ids");
	const char *type = doc_line(d, rootfs, "type");

	if (!type || strcmp(type, "layers"))
		doc_fail(d, -EBADMSG, "\"rootfs\" is not made of layers");
	if (json_array_size(ids) != nlayers)
		doc_fail(d, -EBADMSG, "%zu diff_ids for %u layers",
			 json_array_size(ids), nlayers);
	if (d->code)
		return;
	img->layers = calloc(nlayers, sizeof(*img->layers));
	if (!img->layers) {
		doc_fail(d, -ENOMEM, "out of memory");
		return;
	}
	img->nlayers = nlayers;
	for (unsigned i = 0; i < nlayers; i++) {
		const json_t *id = json_array_get(ids, i);

		if (!json_is_string(id) ||
		    oci_read_digest(img->layers[i].diff_id,
				    json_string_value(id), NULL) < 0)
			doc_fail(d, -EBADMSG, "diff_id %u is not a sha256 "
					      "digest", i);
	}
}

int oci_read_config(struct image *img, const char *text, size_t len,
		    unsigned nlayers, struct err *err)
{
	_cleanup_doc_ struct doc d;

	*img = (struct image){ .id = "" };
	if (doc_open(&d, text, len, "image config", err) < 0)
		return d.code;
	if (!json_is_object(d.root))
		doc_fail(&d, -EBADMSG, "not an object");
	if (!nlayers || nlayers > IMAGE_LAYERS_MAX)
		doc_fail(&d, -EBADMSG, "%u layers", nlayers);
	check_platform(&d);
	img->created = doc_time(&d, d.root, "created");
	image_config_read(&d, doc_object(&d, d.root, "config"), img);
	read_layers(&d, img, nlayers);
	if (d.code < 0)
		image_free(img);
	return d.code;
}

int oci_read_digest(char hex[IMAGE_HEX_MAX], const char *text,
		    struct err *err)
{
	char clean[100];

	if (!strncmp(text, "sha256:", 7) && image_is_hex(text + 7)) {
		memcpy(hex, text + 7, IMAGE_HEX_MAX);
		return 0;
	}
	hex[0] = '\0';
	doc_clean(clean, sizeof(clean), text);
	return err_say(err, -EBADMSG, "digest %s: not sha256: and 64 hex "
				      "digits", clean);
}
