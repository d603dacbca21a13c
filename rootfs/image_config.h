/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_config: the part of a config that image.json has in the same form.
 *
 * Private to oci_config.c and image.c.
 */
#ifndef MAYFLY_IMAGE_CONFIG_H
#define MAYFLY_IMAGE_CONFIG_H

#include "rootfs/document.h"
#include "rootfs/image.h"

/* From the object "config" (NULL: nothing is set): all lists are there
 * afterwards, unless doc->code says otherwise. */
void image_config_read(struct doc *d, const json_t *config, struct image *img);
/* Back: a new object, or NULL without memory. */
json_t *image_config_write(const struct image *img);

#endif
