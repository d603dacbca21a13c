/* SPDX-License-Identifier: Apache-2.0 */
/* A 16550A (National Semiconductor's data sheet, PC16550D). */
#include "runner/dev/serial.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "runner/base/mem.h"

/* Registers by offset; the first two are DLL and DLM while LCR.DLAB is set. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR,
       REG_SCR };

#define IER_RDA	 0x01 /* received data available */
#define IER_THRE 0x02 /* transmitter holding register empty */
#define IER_RLS	 0x04 /* receiver line status */
#define IER_MASK 0x0f

#define IIR_NONE 0x01
#define IIR_THRE 0x02
#define IIR_RDA	 0x04
#define IIR_RLS	 0x06
#define IIR_FIFO 0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02

#define LCR_DLAB 0x80

#define MCR_DTR	 0x01
#define MCR_RTS	 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DR	 0x01
#define LSR_OE	 0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI	0x40
#define MSR_DCD 0x80

/* Output without a newline waits this long for more. */
#define FLUSH_NS 5000000u

/* The highest pending and enabled source, as IIR names it. */
static uint8_t pending(const struct serial *s)
{
	if (s->ier & IER_RLS && s->lsr_oe)
		return IIR_RLS;
	if (s->ier & IER_RDA && s->rx_len)
		return IIR_RDA;
	if (s->ier & IER_THRE && s->thre_pending)
		return IIR_THRE;
	return IIR_NONE;
}

static void update_line(struct serial *s)
{
	uint8_t level = pending(s) != IIR_NONE;

	if (level == s->line)
		return;
	s->line = level;
	s->host.irq(s->host.opaque, level);
}

/* --- output ------------------------------------------------------------- */

static void flush(struct serial *s)
{
	unsigned done = 0;

	while (done < s->tx_len) {
		ssize_t n = write(s->host.out_fd, s->tx + done,
				  s->tx_len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (unsigned)n;
	}
	s->dropped += s->tx_len - done;
	s->tx_len = 0;
}

static void send_byte(struct serial *s, uint8_t b)
{
	if (s->host.out_fd < 0)
		return;
	if (!s->tx_len)
		ev_timer_arm(s->flush_ev.fd, FLUSH_NS);
	s->tx[s->tx_len++] = b;
	if (b == '\n' || s->tx_len == SERIAL_TX)
		flush(s);
}

static void on_flush(struct ev *ev, uint32_t events)
{
	struct serial *s = container_of(ev, struct serial, flush_ev);

	(void)events;
	ev_drain(ev->fd);
	pthread_mutex_lock(&s->lock);
	flush(s);
	pthread_mutex_unlock(&s->lock);
}

/* --- input -------------------------------------------------------------- */

static void push_rx(struct serial *s, uint8_t b)
{
	if (s->rx_len == SERIAL_RX) {
		s->lsr_oe = 1;
		return;
	}
	s->rx[(s->rx_head + s->rx_len++) % SERIAL_RX] = b;
}

/* Half a FIFO of room is worth waking the main thread for. */
static void resume_input(struct serial *s)
{
	uint64_t one = 1;

	if (!s->rx_stalled || s->mcr & MCR_LOOP || s->rx_len > SERIAL_RX / 2)
		return;
	s->rx_stalled = 0;
	/* An eventfd of ours takes a 1 at any time. */
	if (write(s->room_ev.fd, &one, sizeof(one)) < 0)
		s->rx_stalled = 1;
}

static uint8_t pop_rx(struct serial *s)
{
	uint8_t b;

	if (!s->rx_len)
		return 0;
	b = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % SERIAL_RX;
	s->rx_len--;
	resume_input(s);
	return b;
}

static void on_input(struct ev *ev, uint32_t events)
{
	struct serial *s = container_of(ev, struct serial, rx_ev);
	uint8_t buf[SERIAL_RX];
	ssize_t n = 0;
	unsigned room;

	(void)events;
	pthread_mutex_lock(&s->lock);
	/* In loopback nothing comes in from outside (16550, MCR bit 4). */
	room = s->mcr & MCR_LOOP ? 0 : SERIAL_RX - s->rx_len;
	if (room)
		n = read(ev->fd, buf, room);
	for (ssize_t i = 0; i < n; i++)
		push_rx(s, buf[i]);
	update_line(s);
	if (!room || s->rx_len == SERIAL_RX) {
		s->rx_stalled = 1;
		ev_del(ev);
	} else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		ev_del(ev); /* end of input: the guest sees silence */
	}
	pthread_mutex_unlock(&s->lock);
}

static void on_room(struct ev *ev, uint32_t events)
{
	struct serial *s = container_of(ev, struct serial, room_ev);

	(void)events;
	ev_drain(ev->fd);
	ev_set(s->loop, &s->rx_ev, EPOLLIN);
}

/* --- registers ---------------------------------------------------------- */

static uint8_t read_msr(const struct serial *s)
{
	uint8_t v = 0;

	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	/* Loopback: the four outputs come back as the four inputs. */
	v |= s->mcr & MCR_RTS ? MSR_CTS : 0;
	v |= s->mcr & MCR_DTR ? MSR_DSR : 0;
	v |= s->mcr & MCR_OUT1 ? MSR_RI : 0;
	v |= s->mcr & MCR_OUT2 ? MSR_DCD : 0;
	return v;
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t v = LSR_THRE | LSR_TEMT;

	v |= s->rx_len ? LSR_DR : 0;
	v |= s->lsr_oe ? LSR_OE : 0;
	s->lsr_oe = 0;
	return v;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t v = pending(s);

	/* Reading IIR acknowledges this source, and only this one. */
	if (v == IIR_THRE)
		s->thre_pending = 0;
	return v | (s->fifo_on ? IIR_FIFO : 0);
}

static uint8_t read_reg(struct serial *s, unsigned reg)
{
	int dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return dlab ? s->dll : pop_rx(s);
	case REG_IER:
		return dlab ? s->dlm : s->ier;
	case REG_IIR_FCR:
		return read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return read_lsr(s);
	case REG_MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void write_data(struct serial *s, uint8_t v)
{
	if (s->mcr & MCR_LOOP)
		push_rx(s, v);
	else
		send_byte(s, v);
	s->thre_pending = 1; /* sent already: empty again */
}

static void write_ier(struct serial *s, uint8_t v)
{
	/* Enabling the interrupt while the register is empty, as it always
	 * is here, raises it; Linux tests for that. */
	if (v & ~s->ier & IER_THRE)
		s->thre_pending = 1;
	s->ier = v & IER_MASK;
}

static void write_fcr(struct serial *s, uint8_t v)
{
	/* Turning the FIFOs on or off empties them too. */
	if (v & FCR_CLEAR_RX || (v & FCR_ENABLE) != s->fifo_on)
		while (s->rx_len)
			pop_rx(s);
	s->fifo_on = v & FCR_ENABLE;
}

static void write_reg(struct serial *s, unsigned reg, uint8_t v)
{
	int dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			s->dll = v;
		else
			write_data(s, v);
		break;
	case REG_IER:
		if (dlab)
			s->dlm = v;
		else
			write_ier(s, v);
		break;
	case REG_IIR_FCR:
		write_fcr(s, v);
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		s->mcr = v & MCR_MASK;
		resume_input(s);
		break;
	case REG_SCR:
		s->scr = v;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

void serial_access(void *dev, uint64_t offset, void *data, unsigned len,
		   int write)
{
	struct serial *s = dev;
	uint8_t *p = data;

	pthread_mutex_lock(&s->lock);
	/* A wider access is that many byte-wide ones, as on an ISA bus. */
	for (unsigned i = 0; i < len; i++) {
		unsigned reg = (unsigned)(offset + i) % SERIAL_PORTS;

		if (write)
			write_reg(s, reg, p[i]);
		else
			p[i] = read_reg(s, reg);
	}
	update_line(s);
	pthread_mutex_unlock(&s->lock);
}

/* ----------------------------------------------------------------------- */

static int add_source(struct serial *s, struct ev *ev, int fd, ev_fn fn)
{
	ev->fd = fd;
	ev->fn = fn;
	return ev_set(s->loop, ev, EPOLLIN);
}

int serial_init(struct serial *s, const struct serial_host *host,
		struct ev_loop *loop)
{
	int room = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int timer = ev_timer_fd();
	int r;

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->host = *host;
	s->loop = loop;
	s->dll = 1; /* 115200 */
	s->room_ev.fd = room;
	s->flush_ev.fd = timer;
	if (room < 0 || timer < 0) {
		serial_free(s);
		return -EMFILE;
	}
	r = add_source(s, &s->room_ev, room, on_room);
	if (!r)
		r = add_source(s, &s->flush_ev, timer, on_flush);
	if (!r && host->in_fd >= 0)
		r = add_source(s, &s->rx_ev, host->in_fd, on_input);
	/* epoll refuses regular files and /dev/null: no input, then. */
	if (r == -EPERM)
		r = 0;
	if (r)
		serial_free(s);
	return r;
}

void serial_free(struct serial *s)
{
	if (!s->loop)
		return;
	if (s->host.out_fd >= 0)
		flush(s);
	ev_del(&s->rx_ev);
	ev_del(&s->room_ev);
	ev_del(&s->flush_ev);
	close_fd(&s->room_ev.fd);
	close_fd(&s->flush_ev.fd);
	pthread_mutex_destroy(&s->lock);
	s->loop = NULL;
}
