#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# software.sh MAYFLY ENGINE [TEST...]: programs of a distribution in a guest,
# and the same ones, of the same root file system, on this host's CPU in a
# chroot: every byte of output is the same. What runs are the scripts below
# software/; they know no results. TAP on stdout, with the seconds that each
# side took. Needs root, mmdebstrap for Debian and npm for Node.js.
# shellcheck disable=SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-1800}
kind=debian

# What both sides get. libm, libc and OpenSSL pick code by the CPU, which the
# guest's has not: FMA changes last bits.
ENVIRONMENT='PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root
	LC_ALL=C.UTF-8 TZ=UTC TERM=dumb
	GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F'

# The directory of a root of this kind; without one the test is over, and is
# skipped when nobody could have made one.
root_of() {
	made=0
	root=$("$here/debian-root.sh" "$1" 2>"$WORK/made") || made=$?
	[ $made != 75 ] || skip "$(tail -n 1 "$WORK/made")"
	[ $made = 0 ] || fail "$(tail -n 5 "$WORK/made")"
}

# A chroot that leaves nothing behind: it writes to a tmpfs, and lives in
# namespaces of its own.
# shellcheck disable=SC2016 # for the shell in there
CHROOT='
	set -e
	root=$1
	top=$2
	shift 2
	mount --make-rprivate /
	mount -t tmpfs none "$top"
	mkdir "$top/up" "$top/work" "$top/root"
	mount -t overlay -o "lowerdir=$root,upperdir=$top/up,workdir=$top/work" \
		none "$top/root"
	mount --rbind /dev "$top/root/dev"
	mount -t tmpfs none "$top/root/dev/shm"
	mount -t proc none "$top/root/proc"
	mount -t tmpfs -o mode=1777 none "$top/root/tmp"
	hostname mayfly
	exec chroot "$top/root" env -i "$@"'

# On this host: the command, with the archive of scripts on its stdin.
on_host() {
	mkdir -p "$WORK/top"
	# shellcheck disable=SC2086 # words
	timeout -s KILL "$LIMIT" unshare --mount --net --pid --ipc --uts --fork \
		--kill-child sh -c "$CHROOT" sh "$root/root" "$WORK/top" \
		$ENVIRONMENT "$@" >"$WORK/want" 2>"$WORK/want.err" \
		<"$WORK/scripts"
}

in_guest() {
	set -- -- "$@"
	for v in $ENVIRONMENT; do
		set -- -e "$v" "$@"
	done
	start -i -m "${MEMORY:-1g}" --meta "$WORK/meta" --rootfs "$root/root.img" "$@" \
		<"$WORK/scripts"
}

seconds() {
	s=$(($(date +%s%N) / 100000000 - $1))
	echo "$((s / 10)).$((s % 10)) s"
}

now() {
	echo $(($(date +%s%N) / 100000000))
}

# same INTERPRETER SCRIPT [ARG...]: the same there as here, and no failure.
same() {
	root_of $kind
	tar -C "$here/software" -cf "$WORK/scripts" .
	# shellcheck disable=SC2016 # for the shell in there
	set -- sh -c 'cd /work && tar -xf - && exec "$@" </dev/null' sh "$@"
	t=$(now) want_rc=0
	on_host "$@" || want_rc=$?
	host=$(seconds "$t")
	t=$(now)
	in_guest "$@"
	echo "# $host here, $(seconds "$t") in the guest," \
		"whose CPU took $(meta vcpu_ms) ms"
	if [ $want_rc != 0 ]; then
		tail -n 20 "$WORK/want" "$WORK/want.err"
		fail "here: exit code $want_rc"
	fi
	if ! cmp -s "$WORK/want" "$out"; then
		diff "$WORK/want" "$out" | head -n 30
		fail "the output differs, exit code $rc"
	fi
	expect_rc 0
	[ -s "$out" ] || fail 'no output at all'
}

test_gcc_integers() {
	same bash gcc.sh int.c -O0 -O1 -O2 -O3 '-O2 -msse4.2'
}

test_gcc_floating_point() {
	same bash gcc.sh float.c -O0 -O1 '-O2 -msse4.2' -O3 '-O2 -mfpmath=387'
}

test_gcc_vectors() {
	same bash gcc.sh sse.c '-O0 -msse4.2' '-O2 -msse4.2' '-O3 -msse4.2'
}

test_gcc_jumps() {
	same bash gcc.sh jump.c -O0 -O1 -O2 -O3
}

test_gcc_signals() {
	same bash gcc.sh signal.c -O0 -O1 -O2 -O3
}

test_gcc_threads() {
	same bash gcc.sh threads.c -O0 '-O2 -static'
}

test_gcc_processes() {
	same bash gcc.sh process.c -O0 -O2
}

test_gcc_debugging() {
	same bash gcc.sh trace.c -O0 -O2
}

test_gcc_cxx() {
	same bash gcc.sh cxx.cc -O1
}

test_python_at_work() {
	same python3 python_work.py
}

test_python_own_tests() {
	same python3 python_tests.py test_float test_math test_cmath \
		test_complex test_struct test_int test_pow test_strtod \
		test_re test_json test_hashlib test_binascii test_memoryview
}

test_python_own_tests_of_big_numbers() {
	same python3 python_tests.py test_long test_fractions \
		'test_decimal:C[A-Z]*'
}

test_perl() {
	same perl perl.pl
}

test_openssl_digests() {
	same bash openssl.sh digests
}

test_openssl_ciphers() {
	same bash openssl.sh ciphers
}

test_openssl_keys() {
	same bash openssl.sh keys
}

test_sqlite() {
	same bash sqlite.sh
}

test_compressors() {
	same bash compress.sh
}

test_git() {
	same bash git.sh
}

test_bash() {
	same bash bash.sh
}

test_sort_of_a_million_lines() {
	same bash text.sh sort
}

test_numbers_of_a_thousand_digits() {
	same bash text.sh numbers
}

test_stress_of_the_cpu() {
	# shellcheck disable=SC2046 # names
	same bash stress.sh cpu ackermann apery bitops callfunc cdouble cfloat \
		clongdouble collatz correlate crc16 decimal32 decimal64 \
		decimal128 dither div8 div16 div32 div64 div128 double euler \
		explog factorial fibonacci fft fletcher16 float float32 float64 \
		float80 float128 floatconversion gamma gcd gray hamming hanoi \
		hyperbolic idct int128 int64 int32 int16 int8 int128float \
		int128double int128longdouble int128decimal32 int128decimal64 \
		int128decimal128 int64float int64double int64longdouble \
		int32float int32double int32longdouble intconversion \
		ipv4checksum jmp lfsr32 ln2 logmap longdouble loop nsqrt omega \
		parity phi pi prime psi queens rand rand48 rgb sieve stats sqrt \
		trig union zeta
}

# Without cache-lines, which is two processes that wait for each other.
test_stress_of_memory() {
	same bash stress.sh vm checkerboard flip fwdrev galpat-0 gray rowhammer \
		cache-stripe incdec lfsr32 rand-sum read64 ror swap move-inv \
		modulo-x mscan wrrd128nt prime-0 walk-0d walk-1a write64nt \
		write1024v zero-one
}

test_stress_of_calls_and_strings() {
	same bash stress.sh each
}

test_node() {
	kind=node MEMORY=2g
	same node node.js
}

# Where the guest is not to do as the host does. What the loader refuses, it
# refuses by the program's own mark; the rest dies of its first instruction.
test_program_for_a_newer_cpu_is_told_so() {
	[ "$ENGINE" = soft ] || return 0
	root_of $kind
	for flags in '' -static; do
		# shellcheck disable=SC2016 # for the shell in there
		start -i --rootfs "$root/root.img" -- sh -c 'cat >v3.c &&
			gcc -O3 -march=x86-64-v3 $0 -o v3 v3.c && exec ./v3' \
			"$flags" <"$here/software/c/v3.c"
		expect_rc 132
		expect_err '^mayfly: the program uses instructions of x86-64-v3 '
	done
	start -i --rootfs "$root/root.img" -- sh -c 'cat >v3.c &&
		gcc -O3 -march=x86-64-v3 -Wl,-z,x86-64-v3 -o v3 v3.c &&
		exec ./v3' <"$here/software/c/v3.c"
	expect_rc 127
	expect_err '^mayfly: the program needs instructions of x86-64-v3 '
	start -i --rootfs "$root/root.img" -- sh -c 'cat >v2.c &&
		gcc -O3 -march=x86-64-v2 -Wl,-z,x86-64-v2 -o v2 v2.c &&
		exec ./v2' <"$here/software/c/v3.c"
	expect_rc 0
	expect_out 'sum 41664'
	expect_no_err
}

setup "$1"
shift 2
ONLY=$*
run_tests "$here/software.sh"
