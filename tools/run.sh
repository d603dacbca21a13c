#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh BUILD TARGET...: what `make run` does. Brings the packages, builds
# TARGETs, then the guest kernel; shows what mayfly does; says how long all of
# it took. MAKE is the make to call.
set -eu
export LC_ALL=C

build=$1
shift
tools=$(dirname "$0")
work=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

# stage NAME COMMAND...: run it and keep the time.
stages=
stage() {
	name=$1 from=$(now_ms)
	shift
	"$@"
	stages="$stages$(printf '  %-22s %6d ms' "$name" $(($(now_ms) - from)))
"
}

# A number of the report that the last run wrote.
meta() {
	sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" \
		"$work/meta" | head -n 1
}

whole() {
	ms=$(meta "$1")
	echo "${ms%.*}"
}

# demo OPTIONS AND COMMAND...: run it as `mayfly run`, with its exit code and
# where the time went. $before is shown in front.
before=
demo() {
	shown=
	for word; do
		case $word in
		*[!A-Za-z0-9_./=-]*) shown="$shown '$word'" ;;
		*) shown="$shown $word" ;;
		esac
	done
	printf '\n$ %smayfly run%s\n' "$before" "$shown"
	rc=0
	"$build/mayfly" run --meta "$work/meta" "$@" || rc=$?
	printf '  -> exit code %d. %d ms: VM made in %d, guest booted in %d, command ran %d\n' \
		$rc "$(whole total_ms)" "$(whole start_ms)" \
		"$(whole boot_ms)" "$(whole command_ms)"
}

MAKE=${MAKE:-make}
stage packages "$tools/deps.sh" build
stage 'programs and images' $MAKE "$@"
stage 'guest kernel' $MAKE all

"$build/mayfly" doctor | sed -n 's/^ok .*engine auto *takes /engine: /p'
demo -- uname -a
demo -- sh -c 'echo to stdout; echo to stderr >&2; exit 7'
before='echo hello | '
echo hello | demo -i -- sha256sum
before=
demo -- sh -c 'echo gone soon >/etc/motd; cat /etc/motd'
demo -- cat /etc/motd
demo --timeout 0.5 -- sleep 100

printf '\nhow long it took\n%s' "$stages"
printf '\nyours: %s/mayfly run -- CMD [ARG...]\n' "$build"
