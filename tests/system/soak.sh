#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# soak.sh MAYFLY ENGINE [TEST...]: many runs of many kinds, and what is left of
# them: nothing. RUNS (200) in all for each test; LIMIT seconds for one.
# shellcheck disable=SC2016,SC2034,SC2154 # the guest expands; lib.sh sets

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/soak_lib.sh
. "$here/soak_lib.sh"

ENGINE=$2
RUNS=${RUNS:-200}
LIMIT=${LIMIT:-120}
setup "$1"
shift 2
ONLY=$*

# --- one run of each kind; $1 is its number, streams in $out and $err ----

kind_exit_code() {
	start -- sh -c "exit $(($1 % 120))"
	expect_rc $(($1 % 120))
}

kind_output() {
	size=$((($1 * 7919) % 3000000 + 1))
	start -- sh -c "dd if=/dev/zero bs=$size count=1 2>/dev/null"
	expect_rc 0
	[ "$(wc -c <"$out")" -eq "$size" ] || fail "$(wc -c <"$out") of $size"
}

kind_input() {
	head -c $((($1 * 104729) % 1000000)) /dev/urandom >"$in"
	rc=0
	timeout -s KILL "$LIMIT" "$MAYFLY" run --engine "$ENGINE" -i -- \
		sha256sum <"$in" >"$out" 2>"$err" || rc=$?
	expect_rc 0
	expect_out "$(sha256sum <"$in")"
}

kind_disk() {
	start -- sh -c 'dd if=/dev/urandom of=/f bs=1M count=8 2>/dev/null
		cp /f /g; sync; rm /f; cmp /g /g && wc -c </g'
	expect_rc 0
	expect_out 8388608
}

kind_memory() {
	start -m $((64 + $1 * 37 % 700)) -- sh -c \
		'dd if=/dev/zero of=/dev/shm/x bs=1M count=16 2>/dev/null; echo ok'
	expect_rc 0
	expect_out ok
}

kind_timeout() {
	start --timeout "0.$(($1 % 5 + 1))" -- sleep 1000
	expect_rc 124
}

kind_out_of_memory() {
	start -m 64 -- sh -c 'tail /dev/zero'
	expect_rc 137
}

kind_panic() {
	start -- sh -c 'echo c >/proc/sysrq-trigger; sleep 1000'
	expect_rc 125
}

kind_vmm_killed() {
	background -- sh -c 'sleep 1000'
	moment "$1"
	rc=0
	for p in $(children "$pid"); do kill -9 "$p"; done
	# Where it had no child yet there was nothing to kill.
	kill -TERM "$pid" 2>/dev/null
	wait "$pid" || rc=$?
	[ "$rc" = 125 ] || [ "$rc" = 143 ] || fail "exit code $rc"
}

kind_detached() {
	id=$("$MAYFLY" run --engine "$ENGINE" -d --name "soak$1" -- \
		sh -c 'echo up; exec sleep 1000' 2>"$err") || fail 'run -d'
	r=0
	"$MAYFLY" exec "soak$1" -- sh -c 'exit 9' 2>"$err" || r=$?
	[ $r = 9 ] || fail "exec: exit code $r"
	case $(($1 % 3)) in
	0) "$MAYFLY" stop -t 5 "$id" ;;
	1) "$MAYFLY" kill "$id" ;;
	2) kill -9 "$(supervisor "$id")" ;;
	esac >/dev/null 2>"$err" || fail 'it does not end'
	wait_for 60 ended "$id" || fail 'it goes on'
	# Another one's prune may have been faster.
	"$MAYFLY" rm "$id" >/dev/null 2>"$err" || expect_err 'no such run'
}

KILLED_OPTIONS=
KINDS='exit_code output input disk memory timeout out_of_memory panic
	terminated killed vmm_killed detached'

test_runs_of_all_kinds_in_a_row_leave_nothing() {
	runs 1 1 || exit 1
	expect_nothing_left
}

test_runs_of_all_kinds_four_at_a_time_leave_nothing() {
	runs_at_a_time 4
	expect_nothing_left
}

# One VM that serves all: what it and its supervisor hold does not grow.
test_commands_in_one_machine_do_not_grow_it() {
	"$MAYFLY" run --engine "$ENGINE" -m 64 -d --name one -- sleep 100000 \
		>/dev/null 2>"$err" || fail 'run -d'
	boss=$(supervisor one)
	machine=$(children "$boss")
	[ -n "$machine" ] || fail "process $boss has no child"
	i=0
	while [ $i -lt "$RUNS" ]; do
		i=$((i + 1))
		r=0
		"$MAYFLY" exec one -- sh -c \
			"dd if=/dev/zero bs=$((i * 1009)) count=1 2>/dev/null
			exit $((i % 100))" >"$out" 2>"$err" || r=$?
		[ $r = $((i % 100)) ] || fail "exec $i: exit code $r"
		[ "$(wc -c <"$out")" -eq $((i * 1009)) ] || fail "exec $i"
		[ $i != $((RUNS / 4)) ] || {
			before=$(own_memory "$machine")
			boss_before=$(own_memory "$boss")
		}
	done
	grown=$(($(own_memory "$machine") - before))
	boss_grown=$(($(own_memory "$boss") - boss_before))
	[ $grown -lt 2048 ] || fail "mayfly-vmm grew by $grown KiB"
	[ $boss_grown -lt 256 ] || fail "its supervisor grew by $boss_grown KiB"
	"$MAYFLY" rm -f one >/dev/null || fail 'rm -f'
	expect_nothing_left
}

run_tests "$here/soak.sh"
