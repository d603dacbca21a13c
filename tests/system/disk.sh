#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# disk.sh MAYFLY ENGINE [TEST...]: a guest's own disk, its quota and its end,
# and disks of the user's. TAP on stdout. LIMIT (60 s) is the longest for one
# command.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

# Mounts of its own, where that is allowed.
if [ -z "${PRIVATE:-}" ] && unshare -m true 2>/dev/null; then
	PRIVATE=1 exec unshare -m "$0" "$@"
fi

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-60}
setup "$1"
shift 2
ONLY=$*
export MAYFLY_CACHE=$WORK/cache
cd "$WORK" || exit 2

MIB=1048576

# The next test shall find nothing of one that failed.
fail() {
	echo "# $*"
	[ ! -s "$err" ] || sed 's/^/#   stderr: /' "$err" | head -n 30
	for p in $(ours); do kill -9 "$p" 2>/dev/null; done
	wait_for 60 nothing_runs
	"$MAYFLY" prune >/dev/null
	exit 1
}

# --- its own ------------------------------------------------------------

fill='dd if=/dev/zero of=/f bs=1M count=200'

test_a_disk_is_full_at_its_size() {
	start --disk 64m --meta "$WORK/meta" -- sh -c "$fill"
	expect_rc 1
	expect_err 'No space left on device'
	expect_meta verdict disk_full
	expect_meta disk_size_bytes $((64 * MIB))
	stored=$(meta disk_stored_bytes)
	[ "$stored" -gt $((50 * MIB)) ] && [ "$stored" -le $((64 * MIB)) ] ||
		fail "the host stores $stored bytes"
	expect_nothing_left
}

test_full_disk_takes_more_once_there_is_room() {
	start --disk 8m -- sh -c 'dd if=/dev/urandom of=/a bs=1M count=20
		rm /a; sync; dd if=/dev/urandom of=/b bs=1M count=6 && exit 4'
	expect_rc 4
}

test_as_many_files_as_it_has_inodes() {
	start --disk 8m --meta "$WORK/meta" -- sh -c \
		'mkdir /d && cd /d && i=0; while :>$i; do i=$((i + 1)); done'
	expect_meta verdict disk_full
	start --disk 8m -- df -i /
	[ "$(awk 'END { print $2 }' "$out")" = 1024 ] || fail "$(cat "$out")"
}

test_disks_of_many_sizes() {
	for s in 1m 1048577b 5m 100m 1g 10g 300g 16t; do
		start --disk $s -- sh -c 'echo x >/f && df -k / | tail -n 1'
		expect_rc 0
		expect_no_err
	done
	[ "$(awk '{ print ($2 > 17000000000) }' "$out")" = 1 ] ||
		fail "16t: $(cat "$out")"
}

test_templates_are_kept_and_found() {
	rm -rf "$MAYFLY_CACHE"
	start --disk 7m -- true
	expect_rc 0
	one=$(ls -i "$MAYFLY_CACHE"/scratch)
	[ "$(echo "$one" | wc -l)" = 1 ] || fail "$one"
	# One that cannot make it is as good, then.
	PATH=/nowhere "$MAYFLY" run --engine "$ENGINE" --disk 7m -- true \
		>"$out" 2>"$err" || fail "exit code $?"
	[ "$(ls -i "$MAYFLY_CACHE"/scratch)" = "$one" ] || fail 'it was made anew'
}

test_without_a_cache_it_works_as_well() {
	MAYFLY_CACHE=/proc/nowhere start --disk 7m -- true
	expect_rc 0
	expect_no_err
}

# A guest that takes its time between what it wrote and what it was told to.
writer='dd if=/dev/urandom of=/f bs=1M count=40 2>/dev/null; sync; echo full
	i=0; while :; do
		i=$((i + 1)); dd if=/dev/urandom of=/g$((i % 9)) bs=64k count=9
	done 2>/dev/null'

used() {
	sync "$1"
	df -k "$1" | awk 'END { print $3 }'
}

is_back() {
	[ "$(used "$TMPDIR")" = "$before" ]
}

# $1: a word, in a mount namespace of its own: a file system for nothing else.
quota_on() {
	mkdir -p "$WORK/fs"
	mount -t "$1" ${2:+-o "$2"} "${3:-none}" "$WORK/fs" ||
		fail "mount $1"
	export TMPDIR=$WORK/fs
	before=$(used "$TMPDIR")
	for how in TERM KILL; do
		background --disk 64m --stop-timeout 1 -- sh -c "$writer"
		wait_for "$LIMIT" grep -q full "$out" || fail "$1: no word"
		sleep 1 # and for a while of what follows
		grown=$(($(used "$TMPDIR") - before))
		[ "$grown" -gt 30000 ] && [ "$grown" -le 65536 ] ||
			fail "$1: it grew by $grown KiB"
		kill -s "$how" "$pid"
		wait "$pid"
		wait_for 60 is_back ||
			fail "$1, $how: $before KiB before, now $(used "$TMPDIR")"
		[ -z "$(ls -A "$TMPDIR" | grep -v lost+found)" ] ||
			fail "$1, $how: $(ls -A "$TMPDIR")"
	done
	"$MAYFLY" prune >/dev/null
	umount "$WORK/fs"
}

test_host_stores_no_more_than_its_size_and_nothing_after() {
	[ -n "${PRIVATE:-}" ] || skip 'no mount namespaces for this user'
	quota_on tmpfs size=200m
}

test_on_ext4_the_same() {
	truncate -s 300M "$WORK/ext4.img"
	PATH=$PATH:/usr/sbin:/sbin
	mke2fs -q -F -O ^has_journal "$WORK/ext4.img" 2>/dev/null ||
		skip 'no mke2fs'
	mkdir -p "$WORK/fs"
	[ -n "${PRIVATE:-}" ] &&
		mount -o loop "$WORK/ext4.img" "$WORK/fs" 2>/dev/null ||
		skip 'no loop mounts for this user'
	umount "$WORK/fs"
	quota_on ext4 loop "$WORK/ext4.img"
	rm "$WORK/ext4.img"
}

# The disk of the run $pid, as the launcher has it for its report.
scratch_of() {
	for f in /proc/"$1"/fd/*; do
		case $(readlink "$f") in
		"$TMPDIR"/*' (deleted)') echo "$f" && return ;;
		esac
	done
}

# sysrq's u puts its superblock in order, as an unmount would.
test_file_system_of_the_disk_is_sound() {
	PATH=$PATH:/usr/sbin:/sbin
	command -v fsck.ext4 >/dev/null || skip 'no fsck.ext4'
	background --disk 32m --stats -- sh -c '
		i=0; while [ $i -lt 300 ]; do
			i=$((i + 1)); mkdir /d$((i % 7)) 2>/dev/null
			dd if=/dev/urandom of=/d$((i % 7))/$i bs=3000 count=$((i % 40))
			[ $((i % 3)) = 0 ] && rm /d$((i % 7))/$i
			ln /d$((i % 7))/$i /d$((i % 7))/l$i
		done 2>/dev/null
		dd if=/dev/urandom of=/rest bs=1M 2>/dev/null
		rm -r /d3; ln -s /d1 /s; sync; echo u >/proc/sysrq-trigger
		until dmesg | grep -q "Remount complete"; do sleep 0.1; done
		echo sound; sleep 100'
	wait_for "$LIMIT" grep -q sound "$out" || fail 'no word'
	disk=$(scratch_of "$pid")
	[ -n "$disk" ] || fail 'its disk is not found'
	cp --sparse=always "$disk" "$WORK/kept" || fail 'no copy'
	kill -TERM "$pid"
	wait "$pid"
	fsck.ext4 -fn "$WORK/kept" >"$WORK/fsck" 2>&1 ||
		fail "fsck.ext4: $(cat "$WORK/fsck")"
	rm "$WORK/kept"
	expect_nothing_left
}

# --- the user's ---------------------------------------------------------

test_drives_come_in_order_and_keep_what_is_written() {
	truncate -s 3M one
	head -c 4194304 /dev/urandom >two
	start --drive one --drive two,ro -- sh -c '
		cat /sys/block/vdc/size /sys/block/vdd/size
		head -c 3145728 /dev/urandom >/tmp/x && cat /tmp/x >/dev/vdc
		sync; sha256sum </tmp/x; sha256sum </dev/vdd'
	expect_rc 0
	expect_out "6144
8192
$(sha256sum <one)
$(sha256sum <two)"
	expect_nothing_left
}

test_read_only_drives_refuse_writes() {
	head -c 1048576 /dev/urandom >two
	hash=$(sha256sum <two)
	start --drive two,ro -- sh -c 'cat /sys/block/vdc/ro
		dd if=/dev/zero of=/dev/vdc bs=4k count=1 conv=fsync'
	expect_rc 1
	expect_out 1
	[ "$(sha256sum <two)" = "$hash" ] || fail 'it was written to'
}

test_copies_on_write_leave_the_file_as_it_is() {
	head -c 8388608 /dev/urandom >base
	hash=$(sha256sum <base)
	for i in 1 2 3; do
		m --drive base,cow -- sh -c "
			yes $i | head -c 300000 | dd of=/dev/vdc seek=3 bs=777 2>/dev/null
			sync; echo 3 >/proc/sys/vm/drop_caches
			dd if=/dev/vdc bs=777 skip=3 2>/dev/null | head -c 300000 |
				uniq | tr -d '\n'" >"$out$i" 2>"$err$i" &
		eval "p$i=\$!"
	done
	for i in 1 2 3; do
		eval "wait \$p$i" || fail "VM $i: $(cat "$err$i")"
		[ "$(cat "$out$i")" = $i ] || fail "VM $i has $(head -c 80 "$out$i")"
	done
	[ "$(sha256sum <base)" = "$hash" ] || fail 'the base was written to'
	expect_nothing_left
}

test_one_vm_at_a_time_writes_to_a_drive() {
	truncate -s 1M one
	background --drive one -- sh -c 'echo up; sleep 100'
	wait_for "$LIMIT" grep -q up "$out" || fail 'no word'
	first=$pid
	for how in '' ,ro ,cow; do
		rc=0
		m --drive "one$how" -- true >"$WORK/o" 2>"$WORK/e" || rc=$?
		expect_rc 125
		grep -q '^mayfly: drive: one: in use$' "$WORK/e" ||
			fail "$(cat "$WORK/e")"
	done
	kill -KILL "$first"
	wait "$first"
	wait_for 60 nothing_runs || fail 'it lives'
	"$MAYFLY" prune >/dev/null
	start --drive one,ro -- true
	expect_rc 0
}

test_the_same_drive_twice_is_refused() {
	truncate -s 1M one
	start --drive one --drive one -- true
	expect_refusal 'one: in use'
	start --drive one,ro --drive one,ro -- true
	expect_rc 0
}

test_ten_drives() {
	set --
	for i in 1 2 3 4 5 6 7 8 9 10; do
		truncate -s ${i}M "d$i"
		set -- "$@" --drive "d$i,cow"
	done
	start "$@" -- sh -c 'for d in c d e f g h i j k l; do
		echo $(($(cat /sys/block/vd$d/size) / 2048)); done'
	expect_rc 0
	[ "$(tr '\n' ' ' <"$out")" = '1 2 3 4 5 6 7 8 9 10 ' ] ||
		fail "$(cat "$out")"
	start "$@" --drive d1 -- true
	expect_refusal 'more than 10'
}

# What a guest means to be on its disk is on the host's: fdatasync(2).
test_a_flush_of_the_guest_reaches_the_host() {
	command -v strace >/dev/null || skip 'no strace'
	truncate -s 1M one
	background --drive one -- sh -c 'echo up; while :; do
		dd if=/dev/zero of=/dev/vdc count=8 conv=fsync; sleep 0.2; done'
	wait_for "$LIMIT" grep -q up "$out" || fail 'no word'
	vmm=$(for p in $(ours); do
		[ "$(readlink /proc/$p/exe)" = "$BIN/mayfly-vmm" ] && echo "$p"
	done)
	: >"$WORK/trace"
	strace -f -qq -e trace=fdatasync,fsync -o "$WORK/trace" -p "$vmm" \
		2>"$WORK/e" &
	syncs() { grep -q 'fdatasync([0-9]*) *= 0' "$WORK/trace"; }
	seen() { syncs || grep -q 'Operation not permitted' "$WORK/e"; }
	wait_for "$LIMIT" seen
	kill -KILL "$pid"
	wait
	"$MAYFLY" prune >/dev/null
	grep -q 'Operation not permitted' "$WORK/e" && skip "$(cat "$WORK/e")"
	syncs || fail "no fdatasync: $(cat "$WORK/trace" "$WORK/e")"
}

# 4 MiB to begin with, then 1 a second: the other 4 take 4 s at least. The guest
# looks at its own clock, and may be late for all that.
test_a_rate_is_kept() {
	head -c 8388608 /dev/zero >one
	start --drive one,ro --drive-rate bw=1m:3m -- sh -c '
		now() { sed "s/[. ].*//" /proc/uptime; }
		began=$(now)
		cat /dev/vdc | wc -c
		[ $(($(now) - began)) -ge 3 ] && echo kept'
	expect_rc 0
	expect_out '8388608
kept'
}

test_what_is_no_drive_is_refused_by_name() {
	start --drive nowhere -- true
	expect_refusal 'drive: nowhere: No such file or directory'
	: >empty
	start --drive empty -- true
	expect_refusal 'drive: empty: it is empty'
	start --drive . -- true
	expect_refusal 'drive: .: Is a directory'
	start --drive /dev/null -- true
	expect_refusal 'neither a file nor a block device'
	echo odd >odd
	start --drive odd -- true
	expect_refusal 'odd: 4 bytes is not a whole number of sectors'
	start --drive-rate bw=fast -- true
	expect_refusal 'not a rate'
	start --disk 1k -- true
	expect_refusal 'too little'
}

run_tests "$here/disk.sh"
