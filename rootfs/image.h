/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: what is known of an image, as the store keeps it in image.json.
 *
 * An image is made in three steps: oci_read_config() (rootfs/oci.h) fills in
 * what its config says, with one layer for each of its diff_ids; who imports
 * it adds the layers' digests and sizes as they become known, and the id;
 * store_commit_image() (rootfs/store.h) writes it down.
 *
 * A struct image owns all it points to; zeroed it is an empty one, and
 * image_free() takes it in any state. Lists of strings end with NULL, and are
 * never NULL themselves once read. Digests are 64 small hex digits of SHA-256,
 * without "sha256:". Strings have no NUL in them; they may have any other
 * character, save where it says that they are printable. Pure: no files, any
 * thread.
 *
 * What image.json says was written by a mayfly of the same user, and yet is
 * believed only as far as it was checked.
 */
#ifndef MAYFLY_IMAGE_H
#define MAYFLY_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct json_t;

#define IMAGE_HEX_MAX	 65 /* a digest or an id, and a NUL */
#define IMAGE_LAYERS_MAX 127
#define IMAGE_WORDS_MAX	 1024 /* in one list */
#define IMAGE_TEXT_MAX	 (4u << 20) /* of any JSON, in bytes */

struct image_layer {
	char digest[IMAGE_HEX_MAX];  /* of the blob as it came */
	char diff_id[IMAGE_HEX_MAX]; /* of the tar in it */
	uint64_t blob_size;	     /* as it came, in bytes */
	uint64_t data_size, index_size; /* of its files in the store */
	uint64_t entries;
};

struct image {
	char id[IMAGE_HEX_MAX]; /* digest of its config */
	/* CLOCK_REALTIME in ns; 0: not known. */
	uint64_t created, imported;
	uint64_t root_size; /* of root.erofs, in bytes */
	char *source;	    /* printable: what it was imported from; or NULL */

	/* OCI image spec, config.md, "Properties". */
	char **env; /* "NAME=VALUE", no name empty */
	char **entrypoint, **cmd;
	char *workdir;	   /* printable, absolute; or NULL */
	char *user;	   /* printable: USER[:GROUP], names or numbers; or NULL */
	char *stop_signal; /* printable: "SIGTERM", "15", "SIGRTMIN+3"; or NULL */
	char **labels;	   /* key, value, key, value, ... */
	char **ports;	   /* "80/tcp" */
	char **volumes;	   /* paths */

	unsigned nlayers; /* bottom first; the same one may come twice */
	struct image_layer *layers;
};

void image_free(struct image *img);
#define _cleanup_image_ __attribute__((cleanup(image_free)))

/* 64 small hex digits. */
int image_is_hex(const char *s);

/* Bytes of all of its files, those of layers that come twice once. */
uint64_t image_size(const struct image *img);

/* image.json. 0, -EBADMSG with words, or -ENOMEM. @img is empty after
 * an error. */
int image_read(struct image *img, const char *text, size_t len,
	       struct err *err);
/* The same as a document for others to add to (the caller's), and as text
 * that the caller frees; NULL without memory. */
struct json_t *image_to_json(const struct image *img);
char *image_format(const struct image *img);

/* What the store keeps beside the files of a layer. As above. */
int image_read_layer(struct image_layer *l, const char *text, size_t len,
		     struct err *err);
char *image_format_layer(const struct image_layer *l);

/*
 * The config of an image that has none, being made of one tar or directory
 * with this diff_id: JSON that oci_read_config() takes, and whose SHA-256 is
 * the id. The same bytes for the same diff_id. The caller frees it; NULL
 * without memory.
 */
char *image_bare_config(const char diff_id[IMAGE_HEX_MAX]);

#endif
