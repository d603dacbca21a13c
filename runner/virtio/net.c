/* SPDX-License-Identifier: Apache-2.0 */
/* The network device (virtio 1.2, 5.1): its life, its tap, its limits. */
#include "runner/virtio/net.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/virtio/net_impl.h"

static struct net *to_net(struct virtio_dev *dev)
{
	return container_of(dev, struct net, dev);
}

/* --- the tap -------------------------------------------------------------- */

/*
 * What the host may leave undone in frames for this driver: checksums and
 * segments. The one place that says so, for whoever makes rings run.
 */
static void set_offloads(const struct net *n)
{
	unsigned long flags = 0;

	if (virtio_has(&n->dev, NET_F_GUEST_CSUM))
		flags |= TUN_F_CSUM;
	if (flags && virtio_has(&n->dev, NET_F_GUEST_TSO4))
		flags |= TUN_F_TSO4;
	if (flags && virtio_has(&n->dev, NET_F_GUEST_TSO6))
		flags |= TUN_F_TSO6;
	/* What comes nevertheless is dropped: net_judge_rx(). */
	if (ioctl(n->tap.fd, TUNSETOFFLOAD, flags) < 0 && errno != ENOTTY)
		log_limited("virtio-net: offloads: %s", strerror(errno));
}

/* Poll for what is waited for, and no more: a tap that is readable while
 * there are no buffers would keep the loop busy. Main thread. */
static void watch(struct net *n)
{
	uint32_t events = 0;

	if (virtio_running(&n->dev) && !n->gone) {
		if (n->rx.wait == RX_FRAMES)
			events |= EPOLLIN;
		if (n->tx.blocked)
			events |= EPOLLOUT;
	}
	if (ev_set(n->dev.host.loop, &n->tap, events) < 0)
		net_gone(n);
}

void net_gone(struct net *n)
{
	if (n->gone)
		return;
	log_info("virtio-net: the tap is gone");
	n->gone = true;
	ev_del(&n->tap);
	n->cfg.status &= (uint16_t)~NET_S_LINK_UP;
	virtio_config_changed(&n->dev);
}

static void send_some(struct net *n)
{
	if (!net_tx_run(n, VIRTIO_NET_ROUND, false) && !n->tx.active)
		virtio_again(&n->dev, NET_TX);
}

static void on_tap(struct ev *ev, uint32_t events)
{
	struct net *n = container_of(ev, struct net, tap);

	if (!virtio_enter(&n->dev)) {
		ev_del(&n->tap);
		return;
	}
	if (events & EPOLLIN)
		net_rx_run(n);
	if (events & EPOLLOUT)
		send_some(n);
	/* Nobody can choose not to be told these: a loop without rest. */
	if (events & (EPOLLERR | EPOLLHUP))
		net_gone(n);
	watch(n);
	virtio_leave(&n->dev);
}

/* --- limits --------------------------------------------------------------- */

bool net_pay(struct net_limit *l, uint32_t bytes, bool *paid)
{
	uint64_t now, wait;

	if (*paid || l->timer.fd < 0)
		return true;
	now = io_now_ns();
	/* Kicks of a driver that cannot wait. */
	if (now < l->retry_ns)
		return false;
	wait = limiter_take(&l->limiter, bytes, now);
	*paid = wait == 0;
	if (wait) {
		l->retry_ns = now + wait;
		ev_timer_arm(l->timer.fd, wait);
	}
	return *paid;
}

static void on_rx_timer(struct ev *ev, uint32_t events)
{
	struct net *n = container_of(ev, struct net, rx_limit.timer);

	(void)events;
	ev_drain(ev->fd);
	if (!virtio_enter(&n->dev))
		return;
	net_rx_run(n);
	watch(n);
	virtio_leave(&n->dev);
}

static void on_tx_timer(struct ev *ev, uint32_t events)
{
	struct net *n = container_of(ev, struct net, tx_limit.timer);

	(void)events;
	ev_drain(ev->fd);
	if (!virtio_enter(&n->dev))
		return;
	send_some(n);
	watch(n);
	virtio_leave(&n->dev);
}

/* Before the filters: no timer can be made later. */
static int init_limit(struct net *n, struct net_limit *l,
		      const struct virtio_net_rate *rate, ev_fn fn)
{
	int r;

	limiter_init(&l->limiter, &rate->ops, &rate->bytes, io_now_ns());
	if (!limiter_limits(&l->limiter))
		return 0;
	l->timer.fn = fn;
	l->timer.fd = r = ev_timer_fd();
	return r < 0 ? r : ev_set(n->dev.host.loop, &l->timer, EPOLLIN);
}

static void free_limit(struct net_limit *l)
{
	ev_del(&l->timer);
	close_fd(&l->timer.fd);
}

/* --- the device ----------------------------------------------------------- */

static void net_activate(struct virtio_dev *dev)
{
	set_offloads(to_net(dev));
}

static void net_reset(struct virtio_dev *dev)
{
	struct net *n = to_net(dev);

	ev_del(&n->tap);
	net_rx_reset(n);
	n->tx.active = n->tx.blocked = false;
	/* What the driver before it has spent stays spent. */
}

static void net_notify(struct virtio_dev *dev, unsigned queue)
{
	struct net *n = to_net(dev);

	if (queue == NET_TX)
		send_some(n);
	else
		net_rx_run(n);
	watch(n);
}

/*
 * The filter of vCPU threads has writev() and nothing else of what a network
 * needs. A kick for buffers that nobody waits for is no work at all.
 */
static bool net_serve(struct virtio_dev *dev, unsigned queue)
{
	struct net *n = to_net(dev);

	if (queue == NET_RX)
		return n->rx.wait != RX_BUFFERS;
	if (n->tx_limit.timer.fd >= 0)
		return false;
	/* EPOLLOUT is on its way. */
	if (n->tx.blocked)
		return true;
	return net_tx_run(n, VIRTIO_NET_SERVE, true);
}

static void net_cfg_read(struct virtio_dev *dev, uint64_t off, void *data,
			 unsigned len)
{
	struct net *n = to_net(dev);

	virtio_cfg_copy(&n->cfg, sizeof(n->cfg), off, data, len);
}

static void net_free(struct virtio_dev *dev)
{
	struct net *n = to_net(dev);

	virtio_fini(dev);
	free_limit(&n->rx_limit);
	free_limit(&n->tx_limit);
	ev_del(&n->tap);
	close_fd(&n->tap.fd);
	free(n);
}

static const struct virtio_ops net_ops = {
	.id = 1,
	.name = "net",
	.nqueues = NET_QUEUES,
	.features = NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MAC |
		    NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_HOST_TSO4 |
		    NET_F_HOST_TSO6 | NET_F_MRG_RXBUF | NET_F_STATUS,
	.activate = net_activate,
	.reset = net_reset,
	.notify = net_notify,
	.serve = net_serve,
	.cfg_read = net_cfg_read,
	.free = net_free,
};

/* A tap has to speak virtio's header; what is none has to be told by nobody. */
static int prepare(int fd, struct err *err)
{
	const int want = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq ifr = { 0 };
	int r, size = NET_HDR;

	r = io_set_nonblock(fd, 1);
	if (r < 0)
		return err_set(err, r, "virtio-net");
	if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
		if (errno == EBADFD)
			return err_set(err, -errno, "virtio-net: tap");
		return 0;
	}
	if ((ifr.ifr_flags & want) != want)
		return err_say(err, -EINVAL, "virtio-net: %.*s: not a tap with "
			       "virtio's header and no other", IFNAMSIZ,
			       ifr.ifr_name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return err_set(err, -errno, "virtio-net: %.*s: header",
			       IFNAMSIZ, ifr.ifr_name);
	return 0;
}

/* All that can fail comes before the descriptor changes hands. */
static int build(struct net *n, const struct virtio_net_params *p,
		 struct err *err)
{
	int r = prepare(p->fd, err);

	if (r < 0)
		return r;
	r = init_limit(n, &n->rx_limit, &p->rx, on_rx_timer);
	if (r == 0)
		r = init_limit(n, &n->tx_limit, &p->tx, on_tx_timer);
	if (r < 0)
		return err_set(err, r, "virtio-net: timer");
	memcpy(n->cfg.mac, p->mac, sizeof(n->cfg.mac));
	n->cfg.status = NET_S_LINK_UP;
	n->cfg.max_virtqueue_pairs = 1;
	n->cfg.mtu = (uint16_t)p->mtu;
	if (p->mtu)
		n->dev.features |= NET_F_MTU;
	net_rx_reset(n);
	n->tap.fd = p->fd;
	return 0;
}

struct virtio_dev *virtio_net_new(const struct virtio_host *host, unsigned gsi,
				  const struct virtio_net_params *p,
				  struct err *err)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n) {
		err_set(err, -ENOMEM, "virtio-net");
		return NULL;
	}
	n->tap = (struct ev){ .fd = -1, .fn = on_tap };
	n->rx_limit.timer.fd = n->tx_limit.timer.fd = -1;
	if (virtio_init(&n->dev, &net_ops, host, gsi, err) < 0) {
		free(n);
		return NULL;
	}
	if (build(n, p, err) < 0) {
		net_free(&n->dev);
		return NULL;
	}
	return &n->dev;
}
