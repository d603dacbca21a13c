/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly-agent: boot the guest, run what the host asks, end with it. */
#include "rootfs/agent/agent.h"

#include <errno.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
	int ret;

	if (getpid() != 1)
		return 2; /* this is no program for a host */
	boot();
	ret = session_serve(dial_host(), AGENT_CGROUPS);
	if (ret < 0)
		die("control connection", -ret);
	/* The host is gone, or done: nobody will look at this guest again. */
	reboot(RB_AUTOBOOT);
	die("reboot", errno);
}
