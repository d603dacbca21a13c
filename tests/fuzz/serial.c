/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The port devices: a UART with bytes coming in and a reader that may be slow,
 * the clock, and what powers off.
 */
#include <fcntl.h>
#include <unistd.h>

#include "runner/dev/power.h"
#include "runner/dev/rtc.h"
#include "runner/dev/serial.h"
#include "runner/vmm/bus.h"
#include "tests/fuzz/bytes.h"

#define STEPS 2000

static struct serial serial;
static int line;

static void irq(void *opaque, int level)
{
	(void)opaque;
	must(level != line);
	line = level;
}

static void power(void *opaque, enum power_event what)
{
	(void)opaque, (void)what;
}

static void port(struct bytes *b, uint8_t how, bus_fn fn, void *dev,
		 unsigned ports)
{
	static const unsigned len[] = { 1, 1, 2, 4 };
	unsigned n = len[how & 3];
	uint8_t buf[4];

	if (n > ports)
		n = 1;
	take(b, buf, how & 4 ? n : 0);
	/* the bus hands on no access that leaves the ports of a device */
	fn(dev, (how >> 3) % (ports - n + 1), buf, n, how >> 2 & 1);
	must(serial.rx_len <= SERIAL_RX && serial.tx_len < SERIAL_TX);
}

static void outside(struct bytes *b, int to, int from)
{
	char buf[256] = { 0 };
	uint8_t how = take8(b);

	if (how & 1)
		(void)!write(to, buf, how);
	else if (how & 2)
		(void)!read(from, buf, sizeof(buf));
}

static void step(struct bytes *b, struct ev_loop *loop, int to, int from)
{
	static struct power p = { .fn = power };
	static struct rtc rtc;
	uint8_t what = take8(b);

	switch (what & 7) {
	case 0:
		outside(b, to, from);
		break;
	case 1:
		ev_once(loop, 0);
		break;
	case 2:
		port(b, take8(b), rtc_access, &rtc, 2);
		break;
	case 3:
		port(b, take8(b), what & 8 ? power_sleep_access :
		     power_i8042_access, &p, what & 8 ? 2 : 5);
		break;
	default:
		port(b, take8(b), serial_access, &serial, SERIAL_PORTS);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	struct ev_loop loop;
	int in[2], out[2];
	struct serial_host host = { .irq = irq };

	must(pipe2(in, O_NONBLOCK) == 0 && pipe2(out, O_NONBLOCK) == 0);
	must(fcntl(out[1], F_SETPIPE_SZ, 4096) > 0);
	must(ev_loop_init(&loop) == 0);
	host.in_fd = in[0];
	host.out_fd = out[1];
	line = 0;
	must(serial_init(&serial, &host, &loop) == 0);
	for (unsigned i = 0; b.n && i < STEPS; i++)
		step(&b, &loop, in[1], out[0]);
	serial_free(&serial);
	ev_loop_free(&loop);
	for (unsigned i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
	return 0;
}
