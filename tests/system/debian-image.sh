#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# debian-image.sh gcc|python: make an image of Debian 12, as a tar for `mayfly
# image import tar:FILE`, or find it in the cache, and print the tar's path.
#
#   gcc      with python3 and gcc, and without documentation: 350 MB
#   python   with python3, and all that comes along: what benchmarks import
#
# Without root mmdebstrap makes it in a user namespace. The cache's key is a
# hash of this script. Exit code 75: the archive of packages cannot be reached,
# and whoever asked may go without.
set -eu
umask 022
export LC_ALL=C TZ=UTC

suite=bookworm
cache=${MAYFLY_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mayfly}/software

die() {
	echo "debian-image.sh: $*" >&2
	exit 1
}

build() {
	command -v mmdebstrap >/dev/null ||
		die 'mmdebstrap not found; install package mmdebstrap'
	set -- --variant=minbase --include=python3
	if [ $kind = gcc ]; then
		set -- "$@" --include=gcc,libc6-dev
		for d in doc info lintian locale man; do
			set -- "$@" --dpkgopt="path-exclude=/usr/share/$d/*"
		done
	fi
	# The hooks remove what a package manager needs and no command does.
	# shellcheck disable=SC2016
	set -- "$@" --customize-hook='rm -rf "$1"/var/lib/apt/lists/* \
		"$1"/var/cache/apt/* "$1"/var/log/*'
	SOURCE_DATE_EPOCH=1 mmdebstrap "$@" "$suite" "$work/debian.tar" \
		>"$work/log" 2>&1 && return
	cat "$work/log" >&2
	! grep -qE -e 'Could not (resolve|connect)|[Tt]emporary failure' \
		-e 'Unable to connect|[Cc]onnection (timed out|failed|refused)' \
		"$work/log" || exit 75
	die 'mmdebstrap failed, see above'
}

[ $# = 1 ] || die 'usage: debian-image.sh gcc|python'
kind=$1
case $kind in
gcc | python) ;;
*) die "no such image: $kind" ;;
esac

out=$cache/image-$kind-$(sha256sum <"$0" | cut -c 1-16)
if [ ! -e "$out/debian.tar" ]; then
	mkdir -p "$cache"
	exec 9>"$cache/image-$kind.lock"
	flock 9
fi
if [ ! -e "$out/debian.tar" ]; then
	# With the lock held, older ones are those of killed scripts.
	rm -rf "$cache/new-image-$kind".*
	work=$(mktemp -d "$cache/new-image-$kind.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	build
	mkdir -p "$out"
	mv "$work/debian.tar" "$out/debian.tar"
fi
echo "$out/debian.tar"
