#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# readme.sh BUILD: run the README's examples, the blocks marked `console`, and
# compare. A line that starts with `$ ` is a command, what follows is what it
# prints, on either stream. TAP on stdout.
set -eu

build=$(cd "$1" && pwd)
readme=$(cd "$(dirname "$0")/.." && pwd)/README.md
work=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-readme.XXXXXX")
export MAYFLY_STATE_DIR=$work/state
export MAYFLY_DATA_DIR=$work/data MAYFLY_CACHE=$work/cache
trap 'runs=$("$build/mayfly" ps -q)
	[ -z "$runs" ] || "$build/mayfly" rm -f $runs >/dev/null
	rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# NNN.cmd and NNN.want for each example.
awk -v work="$work" '
/^```console$/ { inside = 1; next }
/^```/ { inside = 0; next }
!inside { next }
/^\$ / {
	base = sprintf("%s/%03d", work, ++n)
	print substr($0, 3) >(base ".cmd")
	printf "" >(base ".want")
	next
}
{ print >(base ".want") }' "$readme"

cd "$work"
mkdir room
PATH=$build:$PATH
export PATH
n=0 bad=0
for cmd in "$work"/*.cmd; do
	n=$((n + 1))
	(cd room && timeout 240 sh "$cmd" >"$work/got" 2>&1 </dev/null) || :
	if cmp -s "$work/got" "${cmd%.cmd}.want"; then
		printf 'ok %s - %s\n' "$n" "$(cat "$cmd")"
	else
		printf 'not ok %s - %s\n' "$n" "$(cat "$cmd")"
		diff -u "${cmd%.cmd}.want" "$work/got" | sed 's/^/# /' || :
		bad=1
	fi
done
echo "1..$n"
exit $bad
