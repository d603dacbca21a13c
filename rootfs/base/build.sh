#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh base|scratch OUT [MKSCRATCH]: make a disk image, or find it in the
# cache, and link OUT to it.
#
#   base     the built-in root: busybox and a small /etc. erofs: mkfs.erofs
#            needs no root, sets owners and times itself (--all-root, -T), and
#            gives the same bytes for the same input; the guest finds and
#            mounts it in 80,000 instructions. The image is only ever read.
#   scratch  what every run copies as its writable disk: an empty ext4, sparse,
#            whose size is the quota. runner/scratch_make.c makes it.
#
# Both are byte-for-byte reproducible: the cache's key is a hash of everything
# that goes in, this script and the tools' versions among it.
set -eu
umask 022
export LC_ALL=C TZ=UTC
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "$0")" && pwd)
cache=${MAYFLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mayfly}/rootfs

die() {
	echo "rootfs/base/build.sh: $*" >&2
	exit 1
}

need() {
	command -v "$1" >/dev/null || die "$1 not found; install package $2"
}

uuid=6d617966-6c79-4000-8000-000000000000

# Print what base is made of.
base_inputs() {
	need mkfs.erofs erofs-utils
	need busybox busybox-static
	mkfs.erofs --help 2>&1 | head -n 1
	dpkg-query -W -f '${Version}\n' erofs-utils 2>/dev/null || :
	sha256sum <"$(command -v busybox)"
	(cd "$here/etc" && sha256sum -- *)
}

# Stage the tree in $1/root and make $1/base.img of it.
base_build() {
	r=$1/root
	mkdir -p "$r/bin" "$r/dev" "$r/etc" "$r/home" "$r/mnt" "$r/proc" \
		"$r/root" "$r/run" "$r/sbin" "$r/sys" "$r/tmp" "$r/usr/bin" \
		"$r/usr/sbin" "$r/usr/local/bin" "$r/var/log" "$r/var/tmp"
	chmod 0700 "$r/root"
	chmod 1777 "$r/tmp" "$r/var/tmp"
	install -m 0644 "$here"/etc/* "$r/etc/"
	install -m 0755 "$(command -v busybox)" "$r/bin/busybox"
	# Hard links: a name costs the guest no second inode to read. linuxrc
	# belongs into an initramfs.
	"$r/bin/busybox" --list-full | grep -vx linuxrc | sort |
		while read -r applet; do
			[ -e "$r/$applet" ] ||
				ln "$r/bin/busybox" "$r/$applet"
		done
	mkfs.erofs --quiet --all-root -T0 -U"$uuid" -x-1 "$1/base.img" "$r"
}

scratch_inputs() {
	need mke2fs e2fsprogs
	mke2fs -V 2>&1
	sha256sum <"$here/../../runner/scratch_make.c"
}

# e2fsprogs writes zeros where other formats have their superblocks.
scratch_build() {
	"$mkscratch" make "$1/scratch.img"
	fallocate --dig-holes "$1/scratch.img"
}

[ $# -ge 2 ] || die "usage: build.sh base|scratch OUT [MKSCRATCH]"
kind=$1 out=$2 mkscratch=${3:-}
case $kind in
base | scratch) ;;
*) die "no such image: $kind" ;;
esac

inputs=$("${kind}_inputs")
key=$({ echo "$inputs"; cat "$here/build.sh"; } | sha256sum | cut -c 1-16)
image=$cache/$key/$kind.img
if [ ! -f "$image" ]; then
	mkdir -p "$cache/$key"
	tmp=$(mktemp -d "$cache/$key/tmp.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 1' HUP INT TERM
	"${kind}_build" "$tmp"
	mv "$tmp/$kind.img" "$image"
fi
# Newer than what it was made from, also in a fresh clone: make compares times.
touch -c "$image"
mkdir -p "$(dirname "$out")"
ln -sfn "$image" "$out"
