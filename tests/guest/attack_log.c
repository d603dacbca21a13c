/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that makes the same mistake for as long as it likes: the VMM says so
 * now and then, not every time (attack-run counts), and stays as it is.
 */
#include "tests/guest/attack.h"

#define MISTAKES 1000

static void mistakes(struct dev *d, unsigned q)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < MISTAKES; i++) {
		start_with(d, d->features, 8);
		if (i % 3 == 0)
			d->q[q].desc[0].addr = ~0ull - i;
		d->q[q].desc[0].len = 32;
		d->q[q].desc[0].flags = i % 3 == 1 ? VRING_DESC_F_NEXT : 0;
		if (i % 3 == 2)
			d->q[q].offered = 1000;
		offer(d, q, 0);
		kick(d, q);
		wrong += !breaks(d);
		/* more kicks of a device that has stopped */
		kick(d, q);
		kick(d, q);
	}
	check_eq(wrong, 0, "a thousand broken rings");
	check(recovers(d), "and it recovers");
}

int main(void)
{
	mistakes(attack_dev(BLK), 0);
	mistakes(attack_dev(RNG), 0);
	mistakes(attack_dev(VSOCK), 1);
	return 0;
}
