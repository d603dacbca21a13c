/* SPDX-License-Identifier: Apache-2.0 */
/* The machine of an attack, as both the payloads and attack-run see it. */
#ifndef MAYFLY_TESTS_GUEST_ATTACK_HOST_H
#define MAYFLY_TESTS_GUEST_ATTACK_HOST_H

/*
 * Slots. The disks are ATTACK_DISK bytes; sector n of the first ATTACK_FILLED
 * begins with its number + 1. COW keeps what is written apart, PARTS is
 * read-only and made of files with borders after 1, 4 and 4 times ATTACK_PART
 * sectors, SLOW may do ATTACK_OPS operations and ATTACK_BYTES in the time. NET
 * is there where attack-run may make a network of its own.
 */
enum { BLK, BLK_RO, BLK_COW, BLK_PARTS, BLK_SLOW, VSOCK, RNG, NET,
       SLOTS };

#define ATTACK_RAM    (64ull << 20)
#define ATTACK_DISK   (8ull << 30)
#define ATTACK_FILLED 64u
#define ATTACK_PART   8u
#define ATTACK_CID    7

#define ATTACK_OPS	 100u
#define ATTACK_BYTES	 (1u << 20)
#define ATTACK_REFILL_MS 100u

/* The network: a tap, whose host answers ARP. */
#define ATTACK_HOST_IP	0xc6120001u /* 198.18.0.1 */
#define ATTACK_GUEST_IP 0xc6120002u
static const unsigned char attack_mac[6] = { 2, 0x6d, 0x61, 0x79, 0x66, 2 };

/* The host's side of the streams, by port. */
#define PORT_ECHO   1024 /* sends back what comes */
#define PORT_SOURCE 1025 /* sends for ever */
#define PORT_DEAF   1026 /* reads nothing */
#define PORT_CLOSER 1027 /* closes at the first byte */

/* Lines that the host listens for. */
#define SAY_FLOOD "HOST flood" /* serial input without end from now on */
#define SAY_QUIET "HOST quiet" /* no more of it */
#define SAY_DIAL  "HOST dial"  /* 200 programs connect to the listener */
#define SAY_DROP  "HOST drop"  /* and hang up */
#define SAY_AGAIN "HOST again" /* boot once more, from the same disks */
#define SAY_NET_FLOOD "HOST net flood" /* datagrams without end */
#define SAY_NET_QUIET "HOST net quiet"
#define SAY_NET_DOWN  "HOST net down" /* the tap is set down */
#define SAY_NET_UP    "HOST net up"
#define SAY_NET_GONE  "HOST net gone" /* and removed */

#endif
