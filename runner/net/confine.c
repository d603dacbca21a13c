/* SPDX-License-Identifier: Apache-2.0 */
/* One capability is left, and no way to have another. */
#include "runner/net/confine.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "jail/caps.h"
#include "net/keep.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

static void cleanup_cap(cap_t *c)
{
	if (*c)
		cap_free(*c);
}

/* Should the launcher have died before the signal was asked for anew, its
 * socket says so. */
static int become_user(uint32_t id, struct err *err)
{
	if (id == KEEP_SELF)
		return 0;
	if (setgroups(0, NULL) < 0)
		return err_set(err, -errno, "setgroups");
	if (setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		return err_set(err, -errno, "become user %u", id);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_set(err, -errno, "PR_SET_PDEATHSIG");
	return 0;
}

static int keep_one(struct err *err)
{
	_cleanup_(cleanup_cap) cap_t c = cap_init();
	const cap_value_t one = CAP_NET_ADMIN;

	if (!c || cap_set_flag(c, CAP_PERMITTED, 1, &one, CAP_SET) < 0 ||
	    cap_set_flag(c, CAP_EFFECTIVE, 1, &one, CAP_SET) < 0)
		return err_set(err, -errno, "capabilities");
	if (cap_reset_ambient() < 0 || cap_set_proc(c) < 0)
		return err_set(err, -errno, "drop capabilities");
	return 0;
}

static int no_more(int what, struct err *err)
{
	const struct rlimit none = { 0, 0 };

	return setrlimit((__rlimit_resource_t)what, &none) < 0
		       ? err_set(err, -errno, "setrlimit")
		       : 0;
}

int confine_keeper(uint32_t become, struct err *err)
{
	int r = caps_seal(err);

	if (r == 0)
		r = become_user(become, err);
	if (r == 0)
		r = keep_one(err);
	if (r == 0)
		r = no_more(RLIMIT_CORE, err);
	if (r == 0)
		r = no_more(RLIMIT_NPROC, err);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_set(err, -errno, "PR_SET_NO_NEW_PRIVS");
	return r;
}
