#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# trace.sh MAYFLY ENGINE: what --trace and --stats say of real runs. That the
# trace is JSON as Perfetto wants it is held by tests/unit/trace.c; here its
# lines are taken apart. TAP on stdout.
set -u
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
setup "$1"
ENGINE=$2 LIMIT=60
n=0 bad=0

# "TRACK BEGIN END NAME" for each span of $WORK/t, by its beginning; times in
# nanoseconds. json_dumps() writes a member a line.
spans() {
	awk -F '[:,]' '
	/^  {/ { ph = ts = dur = pid = name = "" }
	/"ph"/ { ph = $2 }
	/"name"/ { name = $0; gsub(/^[^:]*: "|",?$/, "", name) }
	/"pid"/ { pid = $2 + 0 }
	/"ts"/ { ts = $2 }
	/"dur"/ { dur = $2 }
	/^  }/ && ph ~ /X/ {
		printf "%d %.0f %.0f %s\n", pid, ts * 1e3, (ts + dur) * 1e3, name
	}' "$WORK/t" | sort -s -n -k 1,1 -k 2,2
}

# No span ends before it begins, and within a track each begins where the one
# before it ended, but for rounding.
expect_in_order() {
	spans >"$WORK/spans"
	[ -s "$WORK/spans" ] || fail 'no spans'
	awk '
	$2 < 0 || $3 < $2 { print "negative: " $0 }
	$1 == track && ($2 - end > 2 || end - $2 > 2) { print "gap: " $0 }
	{ track = $1; end = $3 }' "$WORK/spans" >"$WORK/wrong"
	[ ! -s "$WORK/wrong" ] || fail "$(cat "$WORK/wrong" "$WORK/spans")"
}

expect_track() { # NUMBER NAMES, one a line
	got=$(sed -n "s/^$1 [0-9]* [0-9]* //p" "$WORK/spans")
	[ "$got" = "$2" ] || fail "track $1: $got"
}

test_stages_of_a_run_follow_each_other() {
	start --trace "$WORK/t" -- sh -c 'echo out; sleep 0.1; exit 3'
	expect_rc 3
	expect_out out
	expect_no_err
	expect_in_order
	expect_track 1 'command line
choose the engine
register the run
open files
make the scratch disk
fork
wait for the VM
wait for the guest
run the command
drain output
end the VM'
	expect_track 2 'jail and execute
receive the boot message
map guest memory
make the VM
make devices
load the kernel
start vCPUs
run the guest'
	expect_track 3 'boot, before its clock runs
boot the kernel
mounts and devices
start the command
run the command
last words'
	grep -q '"exit_code": 3' "$WORK/t" || fail 'no exit code'
}

test_a_command_that_sleeps_is_seen_to_run_for_as_long() {
	# Its word has come when it begins to sleep: a late look at the clock
	# would cut the span.
	mkfifo "$WORK/in"
	m --trace "$WORK/t" -i -- sh -c 'echo up; read -r _' <"$WORK/in" \
		>"$out" 2>"$err" &
	exec 8>"$WORK/in"
	wait_for "$LIMIT" grep -q up "$out" || fail 'it does not come up'
	sleep 0.5
	echo >&8
	exec 8>&-
	wait $! || fail "exit code $?"
	spans | awk '$4 " " $5 " " $6 == "run the command" && $3 - $2 >= 5e8 {
		n++ } END { exit n != 2 }' || fail "$(spans)"
}

test_a_crash_has_a_trace() {
	start --trace "$WORK/t" -- sh -c 'echo c >/proc/sysrq-trigger'
	expect_rc 125
	expect_in_order
	grep -q '"verdict": "vm_crash"' "$WORK/t" || fail 'no verdict'
}

test_a_timeout_has_a_trace() {
	start --trace "$WORK/t" --timeout 0.2 -- sleep 100
	expect_rc 124
	expect_in_order
}

test_a_run_that_does_not_start_has_a_trace() {
	start --trace "$WORK/t" --kernel /nowhere -- true
	expect_rc 125
	expect_in_order
	expect_track 2 ''
	expect_track 3 ''
}

test_a_trace_that_cannot_be_written_is_refused_before_the_run() {
	start --trace /nowhere/t -- echo ran
	expect_refusal '/nowhere/t: No such file or directory'
}

test_statistics_are_on_stderr() {
	start --stats -- sh -c 'head -c 1000000 /dev/zero >/f; sync; echo out'
	expect_rc 0
	expect_out out
	for line in 'verdict *ok, exit code 0' "engine *$ENGINE, 1 CPU, 512 MiB" \
		'ready *[0-9.]* ms' 'first output *[0-9.]* ms' \
		'command *[0-9.]* ms' 'total *[0-9.]* ms' \
		'vCPU time *[0-9.]* ms' 'mayfly-vmm *[0-9.]* MiB at its peak' \
		'command *[0-9.]* MiB at its peak, says the guest' \
		'disk *[0-9.]* MiB written'; do
		expect_err "^  $line"
	done
	[ "$ENGINE" != soft ] || expect_err '^  speed *[0-9.]* MIPS'
}

for t in $(sed -n 's/^\(test_[a-z_0-9]*\)().*/\1/p' "$here/trace.sh"); do
	n=$((n + 1))
	if got=$(rm -f "$WORK/t"; "$t"); then
		echo "ok $n - ${t#test_}"
	else
		echo "not ok $n - ${t#test_}"
		bad=1
	fi
	[ -z "$got" ] || echo "$got"
done
echo "1..$n"
exit $bad
