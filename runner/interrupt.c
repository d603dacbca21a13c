/* SPDX-License-Identifier: Apache-2.0 */
/* INT, TERM and HUP as something to poll. */
#include "runner/interrupt.h"

#include <errno.h>
#include <sys/signalfd.h>

#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/base/mem.h"

int interrupt_open(struct interrupt *i, struct err *err)
{
	sigset_t set;

	i->signal = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	i->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (i->fd < 0)
		return err_set(err, -errno, "signalfd");
	sigprocmask(SIG_BLOCK, &set, &i->was);
	return 0;
}

int interrupt_came(struct interrupt *i)
{
	if (!i->signal && i->fd >= 0)
		i->signal = ev_signal(i->fd);
	return i->signal != 0;
}

void interrupt_close(struct interrupt *i)
{
	if (i->fd < 0)
		return;
	interrupt_came(i);
	close_fd(&i->fd);
	sigprocmask(SIG_SETMASK, &i->was, NULL);
}
