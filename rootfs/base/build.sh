#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh base|scratch OUT: make a disk image, or find it in the cache, and
# link OUT to it.
#
#   base     the built-in root: busybox and a small /etc. erofs: mkfs.erofs
#            needs no root, sets owners and times itself (--all-root, -T), and
#            gives the same bytes for the same input; the guest finds and
#            mounts it in 80,000 instructions. The image is only ever read.
#   scratch  what every run copies as its writable disk: an empty ext4, sparse,
#            whose size is the quota (10 GiB). Its contents never outlive the
#            guest, so there is no journal, and no checksum of metadata.
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
}

# What counts is that few blocks hold data, for a run copies exactly those. The
# inode tables are holes, and marked as zeroed, so that the guest starts no
# thread to zero them. All metadata is in front, and with this many inodes
# leaves room for data in the first block group: a guest that has to look
# further for its first block pays 70,000 instructions.
scratch_build() {
	export E2FSPROGS_FAKE_TIME=1 MKE2FS_CONFIG=/dev/null
	export MKE2FS_SKIP_PROGRESS=1 MKE2FS_SKIP_CHECK_MSG=1
	truncate -s 10G "$1/scratch.img"
	mke2fs -q -F -b 4096 -I 256 -N 393216 -m 0 -U "$uuid" \
		-O "$scratch_features" \
		-E "$scratch_extended,hash_seed=$uuid" "$1/scratch.img"
	# The two directories of overlayfs, owned by root whoever runs this.
	printf 'rmdir lost+found\nmkdir up\nmkdir work\n' |
		debugfs -w -f - "$1/scratch.img" >/dev/null 2>&1
	# mke2fs writes zeros where other formats have their superblocks.
	fallocate --dig-holes "$1/scratch.img"
}

scratch_features=none,dir_index,filetype,extent,flex_bg,sparse_super2
scratch_features=$scratch_features,large_file,huge_file,dir_nlink,extra_isize
scratch_features=$scratch_features,uninit_bg,ext_attr
scratch_extended=lazy_itable_init=0,root_owner=0:0
scratch_extended=$scratch_extended,num_backup_sb=0,packed_meta_blocks=1

[ $# = 2 ] || die "usage: build.sh base|scratch OUT"
kind=$1 out=$2
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
