/* SPDX-License-Identifier: Apache-2.0 */
/*
 * addr: IPv4 and IPv6 addresses and networks, as text and as bytes.
 *
 * Pure: nothing allocated, any thread. Text is ASCII and strict: four decimal
 * numbers without leading zeros, or RFC 4291 2.2; no zone, no blanks. What is
 * printed here is what may enter the text of a table.
 */
#ifndef MAYFLY_NET_ADDR_H
#define MAYFLY_NET_ADDR_H

#include <stdint.h>

struct err;

/* Bytes are in network order; those behind an IPv4 address are zero. All
 * bytes zero is no address: net_addr_valid() is false. */
struct net_addr {
	uint8_t family; /* 4, 6 */
	uint8_t b[16];
};

/* A network: bits of the address behind @len are zero. */
struct net_prefix {
	struct net_addr addr;
	uint8_t len;
};

/* What the printers below write, with its NUL. */
#define NET_ADDR_MAX   46
#define NET_PREFIX_MAX (NET_ADDR_MAX + 4)

/* 32 or 128. */
unsigned net_addr_bits(const struct net_addr *a);

/* For what came by message: a family that exists, and no bytes behind it. */
int net_addr_valid(const struct net_addr *a);
/* The same, a length that the family has, and no bits behind it. */
int net_prefix_valid(const struct net_prefix *p);

struct net_addr net_addr4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
/* From four or sixteen bytes in network order. */
struct net_addr net_addr_from(int family, const void *bytes);
/* The address @n behind @a. The caller knows that it is in the same network:
 * a carry beyond the last 32 bits is lost. */
struct net_addr net_addr_plus(const struct net_addr *a, uint32_t n);

int net_addr_equal(const struct net_addr *a, const struct net_addr *b);
/* IPv6, of one link and no other: RFC 4291 2.5.6. */
int net_addr_link_local6(const struct net_addr *a);
int net_prefix_has(const struct net_prefix *p, const struct net_addr *a);
/* Is all of @in inside @p? */
int net_prefix_covers(const struct net_prefix *p, const struct net_prefix *in);
/* The network of @len bits that @a is in. */
struct net_prefix net_prefix_of(const struct net_addr *a, unsigned len);

/* 0, or -EINVAL: no words, for whoever asks knows what else it may be. */
int net_addr_read(struct net_addr *a, const char *text);
/* ADDR/LEN; or ADDR, which is a network of one. -EINVAL with words, for one
 * with bits set behind its length as well. */
int net_prefix_parse(struct net_prefix *p, const char *text, struct err *err);

/* "198.18.0.1", "fd00::1", which net_addr_read() takes back. "?" for one that
 * is not valid. */
const char *net_addr_format(const struct net_addr *a, char buf[NET_ADDR_MAX]);
/* "10.0.0.0/8"; "10.0.0.1" for a network of one. */
const char *net_prefix_format(const struct net_prefix *p,
			      char buf[NET_PREFIX_MAX]);

#endif
