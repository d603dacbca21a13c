/* SPDX-License-Identifier: Apache-2.0 */
/* Files of environment variables, and what --env puts over them. */
#include <sys/mman.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/config.h"
#include "tests/fuzz/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[32];
	static int file = -1;
	struct err err = { 0 };
	struct config c;

	if (file < 0) {
		file = memfd_create("env", MFD_CLOEXEC);
		must(file >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	must(ftruncate(file, 0) == 0 &&
	     pwrite(file, data, size, 0) == (ssize_t)size);
	config_init(&c);
	must(config_add_env(&c.env, "A=over", &err) == 0);
	must(config_add_env_file(&c.env_files, path, &err) == 0);
	if (config_load_env(&c, &err) < 0)
		must(err.code < 0 && err.msg[0]);
	else
		for (size_t i = 0; i < c.env.n; i++) {
			const char *e = c.env.v[i];

			must(strchr(e, '=') > e && !strchr(e, '\n'));
			must(strncmp(e, "A=", 2) || !strcmp(e, "A=over"));
		}
	config_free(&c);
	return 0;
}
