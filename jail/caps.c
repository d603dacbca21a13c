/* SPDX-License-Identifier: Apache-2.0 */
/* No capability in any set, and none to come back. */
#include "jail/caps.h"

#include <errno.h>
#include <linux/securebits.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

static void cleanup_cap(cap_t *c)
{
	if (*c)
		cap_free(*c);
}

int caps_have(cap_value_t cap)
{
	_cleanup_(cleanup_cap) cap_t now = cap_get_proc();
	cap_flag_value_t v = CAP_CLEAR;

	if (!now || cap_get_flag(now, cap, CAP_EFFECTIVE, &v) < 0)
		return -errno;
	return v == CAP_SET;
}

int caps_seal(struct err *err)
{
	for (cap_value_t c = 0; CAP_IS_SUPPORTED(c); c++)
		if (cap_drop_bound(c) < 0)
			return err_set(err, -errno, "drop bounding set");
	if (cap_set_secbits(
		    SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
		    SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
		    SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
		    SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED) < 0)
		return err_set(err, -errno, "securebits");
	return 0;
}

int caps_forbid_regaining(struct err *err)
{
	int r = caps_have(CAP_SETPCAP);

	if (r <= 0)
		return r < 0 ? err_set(err, r, "capabilities") : 0;
	return caps_seal(err);
}

int caps_drop(struct err *err)
{
	_cleanup_(cleanup_cap) cap_t none = cap_init();

	if (!none)
		return err_set(err, -errno, "capabilities");
	if (cap_reset_ambient() < 0)
		return err_set(err, -errno, "clear ambient set");
	if (cap_set_proc(none) < 0)
		return err_set(err, -errno, "drop capabilities");
	return 0;
}
