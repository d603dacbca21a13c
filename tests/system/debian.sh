#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# debian.sh MAYFLY ENGINE [TEST...]: a kernel that is not ours. Debian's cloud
# kernel, as its package has it, and an initramfs of busybox made here, by
# `mayfly boot`. TAP on stdout. Needs apt, busybox-static and cpio.
# shellcheck disable=SC2154,SC2034

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-120}
cache=${MAYFLY_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mayfly}/debian

# The package's kernel, kept in the cache by its version; path on stdout.
kernel() {
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
	version=$(apt-cache show "${package:?}" | sed -n 's/^Version: //p' |
		head -n 1)
	file=$cache/$package-${version:?}
	if [ ! -f "$file" ]; then
		mkdir -p "$cache"
		(cd "$WORK" && apt-get -q download "$package" >&2) || return 1
		dpkg-deb -x "$WORK"/linux-image-*.deb "$WORK/deb" || return 1
		cp "$WORK"/deb/boot/vmlinuz-* "$file.$$" &&
			mv "$file.$$" "$file" || return 1
	fi
	echo "$file"
}

initramfs() {
	mkdir -p "$WORK/root/bin" "$WORK/root/dev" "$WORK/root/proc"
	cp "$(command -v busybox)" "$WORK/root/bin/"
	cat >"$WORK/root/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		mount -t devtmpfs none /dev
		mount -t proc none /proc
		echo shell is up
		exec setsid sh -i </dev/ttyS0 >/dev/ttyS0 2>&1
	END
	chmod +x "$WORK/root/init"
	(cd "$WORK/root" && find . | cpio -o -H newc --quiet) >"$WORK/initrd"
}

has_line() {
	grep -q "$1" "$out"
}

test_distribution_kernel_reaches_a_shell_that_can_be_used() {
	mkfifo "$WORK/keys"
	timeout -s KILL "$LIMIT" "$MAYFLY" boot --engine "$ENGINE" \
		--kernel "$kernel" --initrd "$WORK/initrd" \
		<"$WORK/keys" >"$out" 2>"$err" &
	pid=$!
	exec 9>"$WORK/keys"
	wait_for "$LIMIT" has_line 'shell is up' || fail "$(tail -n 20 "$out")"
	# shellcheck disable=SC2016
	printf 'uname -r; echo "sum $((6 * 7))"\n' >&9
	wait_for "$LIMIT" has_line '^sum 42' || fail "$(tail -n 20 "$out")"
	has_line "^6.*cloud-amd64" || fail 'not that kernel'
	printf 'poweroff -f\n' >&9
	rc=0
	wait "$pid" || rc=$?
	expect_rc 0
	expect_nothing_left
}

setup "$1"
shift 2
ONLY=$*
kernel=$(kernel) || { echo "1..0 # SKIP no linux-image-cloud-amd64"; exit 0; }
initramfs
run_tests "$here/debian.sh"
