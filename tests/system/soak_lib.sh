# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2086,SC2154 # shared with the suites; words
#
# soak_lib.sh: many runs of many kinds, for soak.sh and soak_net.sh. A kind is a
# function kind_NAME, which gets the number of the run and has streams in $in,
# $out and $err; $KINDS names them. Which moment a kill strikes at follows from
# the number, so that a failure can be had again.

# A moment of run number $1, from its first millisecond to its command's.
moment() {
	sleep "0.$(printf %03d $(($1 * 131 % 500)))"
}

supervisor() {
	"$MAYFLY" inspect "$1" |
		sed -n 's/.*"pid": \([0-9]*\).*/\1/p' | head -n 1
}

ended() {
	! "$MAYFLY" ps -q | grep -q "$1"
}

children() {
	cat "/proc/$1/task/$1/children" 2>/dev/null
}

# KiB that process $1 has for itself, without the guest's memory: mappings of
# 60 MiB and more, for the guest has 64.
own_memory() {
	awk '/^[0-9a-f]+-[0-9a-f]+ / { next }
	/^Size:/ { big = $2 >= 61440 }
	/^Private_Dirty:/ && !big { kib += $2 }
	END { print kib + 0 }' "/proc/$1/smaps"
}

# Signal $2 at some moment to a run with $KILLED_OPTIONS; its exit code is that of
# a shell's child.
killed() {
	background $KILLED_OPTIONS -- sleep 1000
	moment "$1"
	kill "-$2" "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc "$3"
	"$MAYFLY" prune >/dev/null || fail 'prune'
}

kind_terminated() {
	killed "$1" TERM 143
}

kind_killed() {
	killed "$1" KILL 137
}

# runs FIRST STEP: the runs numbered FIRST, FIRST+STEP, ..., each of the next
# kind, with files of their own. Fails with the number and the kind.
runs() (
	# Not that of net_lib.sh, which ends the runs of others as well.
	fail() {
		echo "# $*"
		[ ! -s "$err" ] || sed 's/^/#   stderr: /' "$err" | head -n 30
		exit 1
	}
	in=$WORK/in.$1 out=$WORK/out.$1 err=$WORK/err.$1 i=$1
	nkinds=$(echo $KINDS | wc -w)
	while [ "$i" -le "$RUNS" ]; do
		kind=$(echo $KINDS | cut -d ' ' -f $((i % nkinds + 1)))
		: >"$err"
		why=$(kind_"$kind" "$i") || fail "run $i, $kind: $why"
		i=$((i + $2))
	done
)

# All of them, $1 at a time.
runs_at_a_time() {
	pids=
	for j in $(seq "$1"); do
		runs $j "$1" >"$WORK/said.$j" 2>&1 &
		pids="$pids $!"
	done
	bad=0
	for p in $pids; do
		wait "$p" || bad=1
	done
	[ $bad = 0 ] || fail "$(cat "$WORK"/said.*)"
	rm "$WORK"/said.*
}
