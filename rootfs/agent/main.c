/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly-agent: boot the guest, run what the host asks, end with it. */
#include "rootfs/agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct serve sv = { .cgroups = AGENT_CGROUPS, .init_ns = boot_ns() };
	int ret;

	if (getpid() != 1)
		return tool_main(argc, argv);
	/* Once the new root is entered, no path leads here any more. */
	sv.self = open("/init", O_PATH | O_CLOEXEC);
	sv.upper = boot();
	sv.listener = host_listen();
	sv.ctl = host_dial();
	ret = session_serve(&sv);
	if (ret < 0)
		die("control connection", -ret);
	/* The host is gone, or done: nobody will look at this guest again. */
	reboot(RB_AUTOBOOT);
	die("reboot", errno);
}
