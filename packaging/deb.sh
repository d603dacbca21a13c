#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# deb.sh BUILD VERSION: make BUILD/mayfly_VERSION_amd64.deb from what was built
# there. Guest kernel and images are inside, and the programs are static but for
# the one that reads images, whose libraries are to be mended by the host's
# updates. The same inputs give the same bytes.
# Environment: MAKE, DEB_MAINTAINER.
set -eu
export LC_ALL=C
umask 022

build=$(cd "$1" && pwd) version=$2
here=$(cd "$(dirname "$0")" && pwd)
maintainer=${DEB_MAINTAINER:-mayfly developers <mayfly@mayfly.invalid>}
out=$build/mayfly_${version}_amd64.deb
stage=$(mktemp -d "$build/deb.XXXXXX")
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT TERM HUP

# The time of the commit, or of the changelog where there is no history.
changelog_date=$(sed -n 's/^ -- .*>  //p' "$here/changelog" | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(
	git -C "$here" log -1 --format=%ct 2>/dev/null ||
	date -d "$changelog_date" +%s)}
export SOURCE_DATE_EPOCH

root=$stage/root
${MAKE:-make} -s -C "$here/.." B="$build" DESTDIR="$root" PREFIX=/usr \
	ZSHDIR=/usr/share/zsh/vendor-completions install
strip --strip-all --remove-section=.comment --remove-section=.note \
	"$root/usr/bin/mayfly" "$root/usr/lib/mayfly/mayfly-vmm" \
	"$root/usr/lib/mayfly/mayfly-unpack" "$root/usr/lib/mayfly/mayfly-net"
gzip -9n "$root"/usr/share/man/man1/*

doc=$root/usr/share/doc/mayfly
mkdir -p "$doc" "$root/usr/share/lintian/overrides" "$root/DEBIAN"
sed "s/@VERSION@/$version/; s/@MAINTAINER@/$maintainer/" "$here/changelog" |
	gzip -9n >"$doc/changelog.gz"
cp "$here/copyright" "$doc/copyright"
cp "$here/../README.md" "$doc/"
gzip -9n "$doc/README.md"
cp "$here/lintian-overrides" "$root/usr/share/lintian/overrides/mayfly"

# What is inside in binary form, and where its source is: Debian Policy 7.8.
built_using=$(dpkg-query -W -f '${source:Package} (= ${source:Version})\n' \
	linux-source-6.12 busybox-static libc6-dev musl-dev libcap-dev \
	libjansson-dev nettle-dev libnl-3-dev 2>/dev/null | sort -u | paste -sd, | sed 's/,/, /g')

# The packages of the libraries that it names, as they are here or later.
depends=$(ldd "$root/usr/lib/mayfly/mayfly-unpack" >"$stage/ldd"
	readelf -d "$root/usr/lib/mayfly/mayfly-unpack" |
	sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
	while read -r library; do
		file=$(awk -v l="$library" '$1 == l { print $3 }' "$stage/ldd")
		dpkg-query -S "$file" "$(realpath "$file")" 2>/dev/null |
			head -n 1 | cut -d : -f 1
	done | sort -u | while read -r package; do
		dpkg-query -W -f '${Package} (>= ${source:Upstream-Version})\n' \
			"$package" | head -n 1
	done | paste -sd, | sed 's/,/, /g')
[ -n "$depends" ] || { echo 'deb.sh: whose are the libraries?' >&2; exit 1; }

(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' |
	sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
cat >"$root/DEBIAN/control" <<EOF
Package: mayfly
Version: $version
Architecture: amd64
Maintainer: $maintainer
Installed-Size: $(du -k --apparent-size -s --exclude=DEBIAN "$root" | cut -f 1)
Depends: $depends
Built-Using: $built_using
Section: admin
Priority: optional
Recommends: nftables, passt
Suggests: uidmap, skopeo, e2fsprogs
Description: run a command in a one-shot microVM
 mayfly boots a virtual machine, runs one command in it, reports how that
 ended, and leaves nothing of the machine behind. It is for running code that
 one does not trust, with a program's manners: standard streams stay what they
 are, and the exit status is the command's.
 .
 It uses KVM where KVM is there and runs guests right, and an x86-64 CPU in
 software elsewhere. Guest kernel and a small root image are in this package.
EOF
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -print0 |
	xargs -0r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out" >/dev/null
echo "  DEB     $out"
