#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# drive.sh MAYFLY ENGINE [TEST...]: what a guest writes to a disk is what it
# reads, to the byte, and a file below a copy stays what it was. TAP on stdout.
# LIMIT (120 s) is the longest for one command.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

# Mounts of its own, where that is allowed.
if [ -z "${PRIVATE:-}" ] && unshare -m true 2>/dev/null; then
	PRIVATE=1 exec unshare -m "$0" "$@"
fi

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-120}
SCRIBBLE=$(cd "$(dirname "$1")" && pwd)/tests/scribble
setup "$1"
shift 2
ONLY=$*
export MAYFLY_CACHE=$WORK/cache
cd "$WORK" || exit 2
PATH=$PATH:/usr/sbin:/sbin

get='cat >/tmp/s && chmod +x /tmp/s &&'

# A base of an odd number of sectors: its last cluster is short.
make_base() {
	head -c $((5 * 1048576 + 5 * 512)) /dev/urandom >base
	hash=$(sha256sum <base)
}

expect_base() {
	[ "$(sha256sum <base)" = "$hash" ] || fail 'the base has changed'
}

# Random writes, discards and zeros on a disk of the words that follow.
scribble() {
	start -i -m 128m "$@" -- sh -c "$get /tmp/s /dev/vdc $SEED ${OPS:-3000}
		sha256sum </dev/vdc" <"$SCRIBBLE"
	expect_rc 0
	expect_no_err
	grep -qx 'as it should be' "$out" || fail "$(cat "$out")"
}

test_copy_holds_what_is_written_and_the_base_what_it_was() {
	make_base
	for SEED in 1 2 3; do
		scribble --drive base,cow
		expect_base
	done
	[ "$(tail -n 1 "$out")" != "$hash" ] || fail 'nothing was written'
	expect_nothing_left
}

test_drive_holds_on_the_host_what_the_guest_wrote() {
	make_base
	SEED=4
	scribble --drive base
	[ "$(tail -n 1 "$out")" = "$(sha256sum <base)" ] ||
		fail 'host and guest see different bytes'
	[ "$(stat -c %s base)" = $((5 * 1048576 + 5 * 512)) ] ||
		fail 'it has another size'
}

test_rate_changes_no_byte() {
	make_base
	SEED=5 OPS=600
	scribble --drive base,cow --drive-rate ops=2000,bw=20m
	expect_base
}

# The file system of a guest: cut off from it by caches that are dropped.
fill='mount -t ext4 /dev/vdc /mnt && cd /mnt && i=0
	while [ $i -lt 60 ]; do
		i=$((i + 1))
		head -c $((i * 1777)) /dev/urandom >f$i
	done
	sha256sum f* >/tmp/sums && sync && echo 3 >/proc/sys/vm/drop_caches &&
	sha256sum -c /tmp/sums | grep -vc OK$'

test_file_system_on_a_copy() {
	truncate -s 64M base
	mke2fs -q -F -t ext4 base || skip 'no mke2fs'
	hash=$(sha256sum <base)
	start --drive base,cow -- sh -c "$fill"'
		rm f?; fstrim /mnt || exit 4
		sync; echo 3 >/proc/sys/vm/drop_caches
		grep "f..$" /tmp/sums >/tmp/rest; sha256sum -c /tmp/rest | grep -vc OK$
		cd / && umount /mnt && mount -t ext4 /dev/vdc /mnt && ls /mnt | wc -l'
	expect_rc 0
	expect_out "0
0
52"
	expect_base
}

# What the guest gives back the host has again, and nothing else is lost.
test_trim_gives_blocks_of_a_drive_back() {
	truncate -s 64M base
	mke2fs -q -F -t ext4 -O ^has_journal base || skip 'no mke2fs'
	before=$(du -k base | cut -f1)
	start --drive base -- sh -c "$fill"'
		dd if=/dev/urandom of=big bs=1M count=20 2>/dev/null; sync
		cd /; umount /mnt'
	expect_rc 0
	full=$(du -k base | cut -f1)
	[ "$full" -gt $((before + 20000)) ] || fail "$before KiB, then $full"
	start --drive base -- sh -c 'mount -t ext4 /dev/vdc /mnt &&
		rm /mnt/big && sync && fstrim /mnt && umount /mnt'
	expect_rc 0
	now=$(du -k base | cut -f1)
	[ "$now" -lt $((full - 18000)) ] || fail "$full KiB, and $now after"
	e2fsck -fn base >"$WORK/fsck" 2>&1 || fail "$(cat "$WORK/fsck")"
}

# The host has no room for more of a copy: an error for the guest, who lives
# on with what it had.
test_host_that_is_full_is_an_error_of_the_disk() {
	[ -n "${PRIVATE:-}" ] || skip 'no mount namespaces for this user'
	truncate -s 64M base
	hash=$(sha256sum <base)
	mkdir -p fs
	mount -t tmpfs -o size=30m none fs || fail 'mount tmpfs'
	TMPDIR=$WORK/fs start --drive base,cow -- sh -c '
		head -c 4194304 /dev/urandom >/tmp/x
		dd if=/tmp/x of=/dev/vdc bs=1M oflag=direct 2>/dev/null || exit 3
		dd if=/dev/zero of=/dev/vdc bs=1M seek=8 oflag=direct && exit 4
		echo 3 >/proc/sys/vm/drop_caches
		head -c 4194304 /dev/vdc | cmp - /tmp/x || exit 5
		tail -c 1048576 /dev/vdc | tr -d "\0" | wc -c'
	expect_rc 0
	expect_out 0
	expect_err 'I/O error\|Input/output error'
	expect_base
	wait_for 60 sh -c '[ "$(df -k fs | awk "END { print \$3 }")" = 0 ]' ||
		fail "$(df -k fs)"
	umount fs
}

test_killed_at_any_time_the_base_is_what_it_was() {
	make_base
	for s in 0 0.1 0.3 0.7; do
		: >"$out"
		"$MAYFLY" run --engine "$ENGINE" -i -m 128m --drive base,cow -- \
			sh -c "$get echo go && /tmp/s /dev/vdc $$ 99999999" \
			<"$SCRIBBLE" >"$out" 2>"$err" &
		pid=$!
		wait_for "$LIMIT" grep -q go "$out" || fail 'no word'
		sleep $s
		kill -KILL $pid
		wait $pid
		wait_for 60 nothing_runs || fail 'it lives'
		expect_base
	done
	"$MAYFLY" prune >/dev/null
	expect_nothing_left
}

run_tests "$here/drive.sh"
