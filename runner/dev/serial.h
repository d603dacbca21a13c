/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial: a 16550A on COM1, the guest's console.
 *
 * Output goes to a descriptor, gathered by lines; what the reader does not
 * take at once is dropped, for a guest must not be able to stall the VMM or
 * make it grow. Input comes from a descriptor into a FIFO of fixed size; when
 * that is full no more is read until the guest has made room.
 *
 * Threads: registers on vCPU threads, both descriptors on the main thread;
 * one lock. The interrupt line is set under it, so that its levels keep their
 * order; the callback must not come back here.
 *
 *	serial_init()		 main thread, before the vCPUs
 *	bus_add_pio(bus, 0x3f8, 8, serial_access, &serial)
 *	serial_free()		 main thread, after the vCPUs; flushes
 */
#ifndef MAYFLY_DEV_SERIAL_H
#define MAYFLY_DEV_SERIAL_H

#include <pthread.h>
#include <stdint.h>

#include "runner/base/ev.h"

#define SERIAL_PORTS 8
#define SERIAL_RX    64
#define SERIAL_TX    1024

struct serial_host {
	int out_fd, in_fd; /* non-blocking; borrowed; -1: none */
	void (*irq)(void *opaque, int level);
	void *opaque;
};

struct serial {
	struct serial_host host;
	struct ev_loop *loop;
	struct ev rx_ev;    /* in_fd is readable */
	struct ev room_ev;  /* eventfd: the guest made room in the FIFO */
	struct ev flush_ev; /* timerfd: output has waited long enough */
	pthread_mutex_t lock;

	uint8_t ier, lcr, mcr, scr, dll, dlm, fifo_on;
	uint8_t lsr_oe;	      /* an overrun, until LSR is read */
	uint8_t thre_pending; /* transmitter empty and not yet told */
	uint8_t rx_stalled;   /* the main thread waits for room */
	uint8_t line;
	unsigned rx_head, rx_len, tx_len;
	uint64_t dropped; /* output bytes */
	uint8_t rx[SERIAL_RX], tx[SERIAL_TX];
};

int serial_init(struct serial *s, const struct serial_host *host,
		struct ev_loop *loop);
void serial_free(struct serial *s);

/* A bus_fn. */
void serial_access(void *dev, uint64_t offset, void *data, unsigned len,
		   int write);

#endif
