#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the guest kernel from Debian's kernel source package, once per set of
# inputs, and makes OUT a symbolic link to it in the cache.
#
#   build.sh OUT [FRAGMENT...]   build, unless cached; OUT -> cached vmlinux
#   build.sh --key [FRAGMENT...] print the cache key and exit
#
# FRAGMENTs are merged after base.config and x86_64.config.
# Environment: MAYFLY_CACHE (cache directory), MAYFLY_KERNEL_SOURCE (a source
# tarball instead of the package's), JOBS (default: one per CPU).
#
# An entry <cache>/kernel/<key>/ holds vmlinux (stripped), config, System.map
# and build.log. It is made beside its final name and renamed into place under
# a lock, so what has the name is complete.

set -eu
LC_ALL=C
export LC_ALL

here=$(cd "$(dirname "$0")" && pwd)
series=6.12
package=linux-source-$series
tarball=${MAYFLY_KERNEL_SOURCE:-/usr/src/$package.tar.xz}
debs="$package build-essential flex bison bc libelf-dev xz-utils util-linux"

# All that shapes the result and is neither fragment, source nor compiler; part
# of the key.
make_vars='ARCH=x86_64 KBUILD_BUILD_TIMESTAMP=1970-01-01T00:00:00Z
	KBUILD_BUILD_USER=mayfly KBUILD_BUILD_HOST=mayfly KBUILD_BUILD_VERSION=1'
strip_args='--strip-all --remove-section=.comment'

# Lines that a whole build prints, for the progress display only.
expected_lines=1930

die()
{
	echo "kernel-config: $*" >&2
	exit 1
}

# Options of $1 as CONFIG_X=value lines, "is not set" being n.
wanted()
{
	sed -nE 's/^# (CONFIG_[A-Za-z0-9_]+) is not set$/\1=n/p
		/^CONFIG_[A-Za-z0-9_]+=/p' "$@"
}

# Prints what the fragments $2... ask for and the final config $1 has not.
missing_options()
{
	config=$1
	shift
	wanted "$@" | awk -F= -v config="$config" '
	BEGIN {
		while ((getline line < config) > 0)
			if (line ~ /^CONFIG_/) {
				i = index(line, "=")
				have[substr(line, 1, i - 1)] = substr(line, i + 1)
			}
	}
	# A later fragment overrides an earlier one.
	{ want[$1] = substr($0, length($1) + 2) }
	END {
		for (o in want) {
			got = (o in have) ? have[o] : "n"
			if (got != want[o])
				printf "  %s: asked for %s, got %s\n", o, want[o], got
		}
	}' | sort
}

# One line that rewrites itself on a terminal; elsewhere a line every 30 s.
progress()
{
	now=$(date +%s)
	if [ -t 2 ]; then
		printf '\r\033[Kguest kernel: %s, %d s' "$1" $((now - start)) >&2
	elif [ $((now - told)) -ge 30 ]; then
		echo "guest kernel: $1, $((now - start)) s" >&2
		told=$now
	fi
}

progress_end()
{
	if [ -t 2 ]; then
		printf '\r\033[K' >&2
	fi
}

# $1: what is going on; the rest: a command, run with a known environment and
# its output in the log.
step()
{
	what=$1
	shift
	env -i PATH="$PATH" HOME="${HOME:-/}" LC_ALL=C \
		setpriv --pdeathsig TERM nice -n 10 "$@" >>"$log" 2>&1 &
	child=$!
	while kill -0 $child 2>/dev/null; do
		if [ "$what" = compiling ]; then
			n=$(wc -l <"$log")
			pct=$((n * 100 / expected_lines))
			[ $pct -lt 99 ] || pct=99
			progress "compiling, $pct%"
		else
			progress "$what"
		fi
		sleep 0.5
	done
	if ! wait $child; then
		child=
		progress_end
		cp "$log" "$store/failed.log"
		grep -E 'error|Error|ERROR|\*\*\*' "$log" | tail -n 5 >&2 || :
		die "$what failed; the log is $store/failed.log"
	fi
	child=
}

cleanup()
{
	trap - EXIT INT TERM HUP
	if [ -n "$child" ]; then
		kill "$child" 2>/dev/null || :
		wait "$child" 2>/dev/null || :
		progress_end
	fi
	if [ -n "$work" ]; then
		rm -rf "$work"
	fi
}

[ $# -ge 1 ] || die "usage: build.sh OUT [FRAGMENT...] | build.sh --key [FRAGMENT...]"
out=$1
shift

for tool in make gcc ld strip flex bison bc tar xz flock setpriv sha256sum; do
	command -v $tool >/dev/null ||
		die "$tool is missing; run: apt-get install $debs"
done
echo '#include <gelf.h>' | gcc -E - >/dev/null 2>&1 ||
	die "libelf's header is missing; run: apt-get install libelf-dev"
[ -r "$tarball" ] ||
	die "$tarball is missing; run: apt-get install $package"
if [ -n "${MAYFLY_KERNEL_SOURCE:-}" ]; then
	version=$(sha256sum <"$tarball")
else
	version=$(dpkg-query -W -f '${Version}' $package 2>/dev/null) ||
		die "$package is not installed; run: apt-get install $package"
fi
for f in "$@"; do
	[ -r "$f" ] || die "fragment $f is missing"
done
set -- "$here/base.config" "$here/x86_64.config" "$@"

# Comments in fragments are no part of the key.
key=$({
	wanted "$@"
	echo "$make_vars $strip_args $version"
	gcc --version | head -n 1
	ld --version | head -n 1
} | sha256sum | cut -c 1-32)
if [ "$out" = --key ]; then
	echo "$key"
	exit
fi

cache=${MAYFLY_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mayfly}
store=$cache/kernel
mkdir -p "$store" "$(dirname "$out")"
store=$(cd "$store" && pwd)
entry=$store/$key

publish()
{
	link=$out.new.$$
	ln -s "$entry/vmlinux" "$link"
	mv -fT "$link" "$out"
}

if [ -s "$entry/vmlinux" ]; then
	publish
	exit
fi

start=$(date +%s)
told=$start
child=
work=
trap 'cleanup' EXIT
trap 'cleanup; exit 130' INT
trap 'cleanup; exit 143' TERM HUP

# The lock is inherited by what the build runs, so a killed script's orphans
# cannot write below a second build.
exec 9>"$store/lock"
if ! flock -n 9; then
	echo 'guest kernel: waiting for another build' >&2
	flock 9
fi
if [ -s "$entry/vmlinux" ]; then
	publish
	exit
fi

# With the lock held, older work directories are those of killed builds.
rm -rf "$store"/work.*
work=$(mktemp -d "$store/work.XXXXXX")
log=$work/build.log
free=$(df -Pk "$work" | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free" -ge 2048 ] ||
	die "$store has $free MiB free, the build needs 2048; set MAYFLY_CACHE to a roomier place"
[ -t 2 ] || echo "guest kernel: building $package $version, a few minutes" >&2

# Kconfig reads the menus of all drivers and some of other architectures: those
# are unpacked, the code below them is not.
src=$work/src
mkdir "$src" "$work/entry"
step unpacking tar -xJf "$tarball" -C "$src" --strip-components=1 \
	--exclude='*/drivers/gpu/drm/amd/include' \
	--exclude='*/Documentation/[a-z]*' --exclude='*/tools/testing' \
	--exclude='*/arch/[a-w]*/*.[chS]' --exclude='*/arch/*/boot/dts' \
	--exclude='*/sound/*.[ch]' \
	--exclude='*/drivers/net/ethernet/*.[ch]' \
	--exclude='*/drivers/net/wireless/*.[ch]' \
	--exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]'

# tinyconfig: all off, then the kernel's own tiny fragments, then ours.
cat "$src/kernel/configs/tiny-base.config" "$src/kernel/configs/tiny.config" \
	"$src/arch/x86/configs/tiny.config" "$@" >"$work/all.config"
# shellcheck disable=SC2086 # make_vars is a list
{
	step configuring make -C "$src" $make_vars \
		KCONFIG_ALLCONFIG="$work/all.config" allnoconfig
	missing=$(missing_options "$src/.config" "$@")
	if [ -n "$missing" ]; then
		progress_end
		echo "$missing" >&2
		die 'the kernel did not take the options above; see their dependencies'
	fi
	# One job more than CPUs: 266 s instead of 310 s on two.
	step compiling make -C "$src" -j "${JOBS:-$(($(nproc) + 1))}" \
		$make_vars vmlinux
	strip $strip_args -o "$work/entry/vmlinux" "$src/vmlinux"
}
cp "$src/.config" "$work/entry/config"
cp "$src/System.map" "$log" "$work/entry/"
rm -rf "$entry"
mv -T "$work/entry" "$entry"
publish
progress_end
echo "guest kernel: built in $(($(date +%s) - start)) s, $(size -A "$entry/vmlinux" |
	awk '/^Total/ { printf "%.1f", $2 / 1048576 }') MiB in memory" >&2
