/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init of a guest on QEMU, in bench's comparisons: mounts what mayfly's agent
 * mounts, by the agent's own code, runs one command on the first serial port
 * and resets the machine. What it spares its guest: vsock, the control
 * connection and the command's cgroup.
 *
 * The command is command="..." on the kernel command line, which the kernel
 * hands on in the environment; blanks divide its words. (What follows "--"
 * there would be lost among the words that QEMU appends.)
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "rootfs/agent/agent.h"

#define WORDS 16

static char **split(char *line, char *words[WORDS + 1])
{
	unsigned n = 0;

	for (char *w = strtok(line, " "); w && n < WORDS; w = strtok(NULL, " "))
		words[n++] = w;
	words[n] = NULL;
	return words;
}

int main(void)
{
	static char *const env[] = { (char *)"PATH=" AGENT_PATH,
				     (char *)"HOME=/root", NULL };
	char *command = getenv("command"), *words[WORDS + 1];
	pid_t pid;

	if (getpid() != 1 || !command || !split(command, words)[0])
		return 2;
	boot();
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	/* Lowest descriptor first: this is 0, 1 and 2. */
	if (open("/dev/ttyS0", O_RDWR) || dup(0) != 1 || dup(0) != 2)
		die("/dev/ttyS0", 0);
	pid = vfork();
	if (pid == 0)
		_exit(spawn_exec(AGENT_PATH, words, env));
	if (pid < 0 || waitpid(pid, NULL, 0) < 0)
		die(words[0], 0);
	tcdrain(1);
	reboot(RB_AUTOBOOT);
	return 1;
}
