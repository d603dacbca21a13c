#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# glibc.sh MAYFLY ENGINE [TEST...]: this host's own programs in a guest, on a
# root image made of copies of them, against what they say here. TAP on
# stdout. Needs mke2fs, ldd, bash and coreutils.
# shellcheck disable=SC2154,SC2034

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-120}
PROGRAMS='bash ls cat seq sort head tail wc tr sha256sum sha512sum md5sum
	gzip xz awk sed grep perl bc openssl factor base64 od cksum'
# libm picks FMA variants where the CPU has them, and the guest's has not
# (last bits differ): the host compares without.
HOST_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F

# An ext4 image of those of PROGRAMS that are there, with their libraries.
image() {
	root=$WORK/glibc-root
	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
	for p in $PROGRAMS; do
		f=$(command -v "$p") || continue
		cp -L "$f" "$root/bin/$p"
		ldd "$f" 2>/dev/null | grep -o '/[^ ]*' | while read -r l; do
			mkdir -p "$root$(dirname "$l")"
			[ -e "$root$l" ] || cp -L "$l" "$root$l"
		done
	done
	mke2fs -q -t ext4 -d "$root" "$WORK/glibc.img" 400M >/dev/null 2>&1
}

have() {
	for p; do
		[ -x "$WORK/glibc-root/bin/$p" ] || return 1
	done
}

# The same script here and there: the same output, the same exit code.
same() {
	want=$(GLIBC_TUNABLES=$HOST_TUNABLES PATH=/bin:/usr/bin \
		bash -c "$1")
	want_rc=$?
	start --rootfs "$WORK/glibc.img" -- bash -c "$1"
	expect_rc "$want_rc"
	[ "$(cat "$out")" = "$want" ] ||
		fail "here: $want; there: $(head -c 400 "$out")"
}

# One that this host lacks is no reason to fail, nor to be silent.
with() {
	if have "$@"; then
		return 0
	fi
	echo "# without: not all of $* are here"
	return 1
}

test_shell_arithmetic_and_loops_agree() {
	# shellcheck disable=SC2016
	same 'x=1; for i in {1..2000}; do ((x = (x * 31 + i) % 1000003)); done
		echo $x; printf "%08.3f %x %q\n" 3.14159 255 "a b"; exit 9'
}

test_sorting_and_text_tools_agree() {
	same 'seq 1 20000 | sort -r | sha256sum
		seq 1 5000 | sort -n -k1.2 | tail -n 3 | tr 0-9 a-j
		seq 1 3000 | grep 7 | sed s/7/seven/g | wc
		seq 1 3000 | awk "{ s += \$1 * 0.1 } END { printf \"%.6f\n\", s }"'
}

test_digests_and_compressors_agree() {
	same 'head -c 400000 /bin/bash >/dev/null
		seq 1 40000 | md5sum; seq 1 40000 | sha512sum; seq 1 9999 | cksum
		seq 1 40000 | gzip -9n | gzip -d | sha256sum
		seq 1 40000 | base64 | od -An -tx1 | sha256sum
		factor 600851475143 1000000007'
	with xz && same 'seq 1 20000 | xz -6 | xz -d | sha256sum' || :
	with openssl && same 'k=00112233445566778899aabbccddeeff
		seq 1 20000 | openssl dgst -sha3-256
		seq 1 20000 | openssl enc -aes-256-cbc -K $k$k -iv $k | sha256sum' || :
}

test_floating_point_agrees() {
	with perl && same 'perl -e "printf qq(%.15g %.15g %.15g %.15g\n), 2**0.5,
		sin(1), exp(2.5), atan2(3,4);
		my \$x = 0.1; \$x = \$x * 3.7 * (1 - \$x) for 1..5000;
		printf qq(%.17g\n), \$x; print 1e308*10, qq( ), -(9**9**9), qq(\n)"' || :
	with bc && same 'echo "scale=40; 4*a(1); e(1); sqrt(2)" | bc -l' || :
}

setup "$1"
shift 2
ONLY=$*
image || { echo '1..0 # SKIP mke2fs -d made no image'; exit 0; }
run_tests "$here/glibc.sh"
