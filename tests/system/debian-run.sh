#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# debian-run.sh MAYFLY ENGINE [TEST...]: what people do with an image, on one
# of Debian with python3 and gcc (debian-image.sh). TAP on stdout.
# shellcheck disable=SC2154,SC2034

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-120}

test_python_computes() {
	start debian python3 -c 'print(sum(range(10**6)))'
	expect_rc 0
	expect_out 499999500000
	expect_nothing_left
}

test_gcc_makes_a_program_that_runs() {
	cat >"$WORK/hello.c" <<-'END'
	#include <stdio.h>
	int main(void) { printf("%d\n", 6 * 7); return 3; }
	END
	start -i debian sh -c 'cat >/root/a.c && gcc -O2 -o /root/a /root/a.c &&
		/root/a' <"$WORK/hello.c"
	expect_out 42
	expect_rc 3
}

test_the_disk_is_full_at_its_size() {
	start --disk 64M --meta "$WORK/meta" debian \
		dd if=/dev/zero of=/f bs=1M count=200
	expect_rc 1
	expect_err 'No space left on device'
	expect_meta verdict disk_full
	expect_nothing_left
}

# Owners, modes, times, hard links and every byte: a tar that the guest makes
# of itself is the one that the host makes of what was in the image's tar.
test_all_of_it_is_there() {
	[ "$(id -u)" = 0 ] || skip 'not root: no tree of several users'
	top='bin boot etc home lib lib64 media mnt opt root sbin srv usr var'
	opts='--sort=name --numeric-owner --format=gnu -b 128'
	mkdir "$WORK/tree"
	tar -C "$WORK/tree" --numeric-owner -xpf "$tar"
	# shellcheck disable=SC2086 # lists of words
	expected=$(tar -C "$WORK/tree" $opts -cf - $top | sha256sum)
	rm -rf "$WORK/tree"
	# shellcheck disable=SC2086
	got=$(m debian tar -C / $opts -cf - $top 2>"$err" | sha256sum)
	[ "$got" = "$expected" ] || fail 'the trees differ'
}

test_four_at_once_see_only_their_own() {
	pids=
	for i in 1 2 3 4; do
		m debian sh -c "for k in 1 2 3; do
			echo $i >>/usr/bin/mine && sync; done
			rm /usr/bin/perl && cat /usr/bin/mine" \
			>"$WORK/out.$i" 2>"$WORK/err.$i" &
		pids="$pids $!"
	done
	for p in $pids; do wait "$p" || fail "one exits with $?"; done
	for i in 1 2 3 4; do
		[ "$(cat "$WORK/out.$i")" = "$(printf '%s\n' $i $i $i)" ] ||
			fail "VM $i: $(cat "$WORK/out.$i" "$WORK/err.$i")"
	done
	start debian sh -c 'test -x /usr/bin/perl && ! test -e /usr/bin/mine'
	expect_rc 0
	expect_nothing_left
}

setup "$1"
shift 2
ONLY=$*
tar=$("$here/debian-image.sh" gcc) || {
	[ $? = 75 ] || exit 1
	echo '1..0 # SKIP the archive of packages cannot be reached'
	exit 0
}
start_raw image import "tar:$tar" --name debian
[ "$rc" = 0 ] || { cat "$err" >&2; exit 1; }
run_tests "$here/debian-run.sh"
