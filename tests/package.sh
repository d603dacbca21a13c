#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# package.sh BUILD: the Debian package that lies in BUILD. It has no fault that
# lintian knows, installs into an empty system, works from there, and is gone
# when it is purged; `make install` and `make uninstall` do as much. As root,
# for dpkg wants to be. TAP on stdout.
set -eu
export LC_ALL=C

build=$(cd "$1" && pwd)
tree=$(cd "$(dirname "$0")/.." && pwd)
deb=$(ls -t "$build"/mayfly_*_amd64.deb | head -n 1)
work=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-package.XXXXXX")
export MAYFLY_STATE_DIR=$work/state
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
n=0 bad=0

# NAME COMMAND...: it must succeed.
ok() {
	n=$((n + 1)) name=$1
	shift
	if "$@" >"$work/log" 2>&1; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$work/log"
		bad=1
	fi
}

skip() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

says() { # WANTED COMMAND...
	want=$1
	shift
	got=$("$@" 2>&1) || { echo "exit code $?: $got"; return 1; }
	[ "$got" = "$want" ] || { echo "not \"$want\": $got"; return 1; }
}

run_true() {
	"$1/bin/mayfly" run -- true
}

# All that a root holds but dpkg's own.
files_of() {
	(cd "$1" && find . ! -type d ! -path './var/lib/dpkg/*' \
		! -path './var/log/*' | sort)
}

nothing_left() {
	[ -z "$(files_of "$1")" ] || { files_of "$1"; return 1; }
}

lint() {
	lintian --fail-on error,warning "$deb"
}

empty_system() {
	mkdir -p "$1/var/lib/dpkg/info" "$1/var/lib/dpkg/updates" "$1/var/log"
	: >"$1/var/lib/dpkg/status"
	: >"$1/var/lib/dpkg/available"
}

if command -v lintian >/dev/null; then
	ok 'lintian finds neither errors nor warnings' lint
else
	skip 'lintian finds neither errors nor warnings' 'no lintian here'
fi
root=$work/root
if [ "$(id -u)" = 0 ]; then
	empty_system "$root"
	ok 'it installs' dpkg --root="$root" --force-depends -i "$deb"
	ok 'its checksums are right' says '' dpkg --root="$root" -V mayfly
else
	skip 'it installs' 'dpkg needs root'
	skip 'its checksums are right' 'dpkg needs root'
	dpkg-deb -x "$deb" "$root"
fi
ok 'a command runs from there' run_true "$root/usr"
ok 'doctor finds nothing that fails' "$root/usr/bin/mayfly" doctor
for f in bash-completion/completions/mayfly zsh/vendor-completions/_mayfly \
	fish/vendor_completions.d/mayfly.fish doc/mayfly/copyright \
	doc/mayfly/changelog.gz; do
	ok "it has $f" test -s "$root/usr/share/$f"
done
for page in "$tree"/man/*.1; do
	page=$(basename "$page")
	ok "it has $page" gzip -t "$root/usr/share/man/man1/$page.gz"
done
if [ "$(id -u)" = 0 ]; then
	ok 'it is purged' dpkg --root="$root" -P mayfly
	ok 'nothing is left' nothing_left "$root"
fi

# The source of HEAD, twice, and it knows how to build itself.
dist_is_whole() {
	head=$(git -C "$tree" rev-parse HEAD)
	for i in 1 2; do
		$make B="$work/dist$i" DIST="$head" dist >/dev/null || return 1
	done
	cmp "$work"/dist[12]/*.tar.xz || return 1
	tar -C "$work" -xJf "$work"/dist1/*.tar.xz || return 1
	[ -z "$(find "$work"/mayfly-* -name build -o -name .git)" ] || return 1
	${MAKE:-make} -s -n -C "$work"/mayfly-* all >/dev/null
}

make="${MAKE:-make} -s -C $tree B=$build DESTDIR=$work/dest PREFIX=/opt/m"
ok 'make install' $make install
ok 'a command runs from there' run_true "$work/dest/opt/m"
ok 'its manual page is there' test -s "$work/dest/opt/m/share/man/man1/mayfly.1"
ok 'make uninstall' $make uninstall
ok 'nothing is left' nothing_left "$work/dest"
if git -C "$tree" rev-parse HEAD >/dev/null 2>&1; then
	ok 'make dist is whole, and the same each time' dist_is_whole
else
	skip 'make dist' 'no history here'
fi
echo "1..$n"
exit $bad
