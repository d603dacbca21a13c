/* SPDX-License-Identifier: Apache-2.0 */
/* The program in the jail: locks itself in as mayfly-vmm does, and ends. */
#include <unistd.h>

#include "jail/lock.h"

int main(void)
{
	if (lock_landlock() < 0 || lock_seccomp(LOCK_SOFT_MAIN) < 0)
		_exit(1);
	_exit(0);
}
