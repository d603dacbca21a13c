#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh BUILD SECONDS NAME...: run fuzz targets, SECONDS each, from the seeds
# in corpus/NAME and what earlier runs found; 0 takes the seeds and a few
# thousand mutations of them, the same ones every time. TAP on stdout; speed
# and edges covered of each are kept in BUILD/fuzz/figures. An input that
# breaks a target is left in BUILD/fuzz and named; once mended, it belongs
# among the seeds.
set -u
export LC_ALL=C

build=$1 seconds=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
dir=$build/fuzz
# Files that are written for each input had better be in memory.
shm=/tmp
[ ! -w /dev/shm ] || shm=/dev/shm
tmp=$(mktemp -d "${TMPDIR:-$shm}/mayfly-fuzz.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
export TMPDIR="$tmp"
# Leaks count; a guest's allocation of gigabytes would be one of ours.
export ASAN_OPTIONS=allocator_may_return_null=0:detect_leaks=1

# One target, its log in $tmp and its line of figures in $tmp/NAME.figures.
fuzz() {
	name=$1
	log=$tmp/$name.log
	set -- -timeout=10 -rss_limit_mb=1024 -max_len=4096 -verbosity=1 \
		-print_final_stats=1 -artifact_prefix="$dir/$name-"
	if [ "$seconds" = 0 ]; then
		set -- "$@" -seed=1 -runs=3000 "$here/corpus/$name"
		mkdir "$tmp/$name"
		set -- "$tmp/$name" "$@"
	else
		mkdir -p "$dir/corpus/$name"
		set -- "$dir/corpus/$name" "$@" -max_total_time="$seconds" \
			"$here/corpus/$name"
	fi
	r=0
	"$dir/tests/fuzz/$name" "$@" >"$log" 2>&1 || r=1
	awk '
	/cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
	/stat::number_of_executed_units/ { runs = $2 }
	/stat::average_exec_per_sec/ { speed = $2 }
	END {
		printf "# '"$name"': %d runs, %d a second, %d edges\n",
			runs, speed, cov
	}' "$log" >"$tmp/$name.figures"
	return $r
}

# Wait for the target $1 in process $2, and tell.
tell() {
	n=$((n + 1))
	if wait "$2"; then
		echo "ok $n - $1"
	else
		bad=1
		echo "not ok $n - $1"
		sed 's/^/# /' "$tmp/$1.log" | tail -n 60
	fi
	tee -a "$dir/figures" <"$tmp/$1.figures"
}

# Two at a time: a third takes the place of the first.
n=0 bad=0 first=
: >"$dir/figures"
for name in "$@"; do
	fuzz "$name" &
	[ -z "$first" ] || tell "$first" "$pid"
	first=$name pid=$!
done
[ -z "$first" ] || tell "$first" "$pid"
echo "1..$n"
exit $bad
