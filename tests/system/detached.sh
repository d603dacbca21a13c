#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# detached.sh MAYFLY ENGINE [TEST...]: runs that go on by themselves, and what
# can be done with a run by its name. TAP on stdout. KILLS (20) is how many
# moments a supervisor is killed at, LIMIT (240 s) the longest for one command.
# shellcheck disable=SC2016,SC2015,SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
KILLS=${KILLS:-20}
LIMIT=${LIMIT:-240}
setup "$1"
shift 2
ONLY=$*

# The next test shall find nothing of one that failed.
fail() {
	echo "# $*"
	[ ! -s "$err" ] || sed 's/^/#   stderr: /' "$err" | head -n 30
	for p in $(ours); do kill -9 "$p" 2>/dev/null; done
	rm -rf "$MAYFLY_STATE_DIR"
	exit 1
}

# mayfly run -d that has to work; its id is $id.
detach() {
	id=$(timeout -s KILL "$LIMIT" "$MAYFLY" run --engine "$ENGINE" -d "$@" \
		2>"$err" </dev/null) || fail "run -d: exit code $?"
	[ "${#id}" = 12 ] || fail "run -d printed: $id"
}

# A command of mayfly that has to work.
must() {
	start_raw "$@"
	[ "$rc" = 0 ] || fail "mayfly $*: exit code $rc"
}

# field KEY NAME: of the record.
field() {
	"$MAYFLY" inspect "$2" | sed -n \
		"s/^    \"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p"
}

expect_field() {
	[ "$(field "$1" "$2")" = "$3" ] ||
		fail "$2: $1 is $(field "$1" "$2"), not $3"
}

has_logged() {
	"$MAYFLY" logs "$1" 2>/dev/null | grep -q "$2"
}

phase_is() {
	[ "$(field phase "$1" 2>/dev/null)" = "$2" ]
}

prune_all() {
	must prune
	expect_nothing_left
}

# What a guest does until go says so.
held='until [ -e /tmp/go ]; do sleep 0.05; done'

go() {
	timeout -s KILL "$LIMIT" "$MAYFLY" exec "$1" touch /tmp/go \
		</dev/null >/dev/null 2>&1
}

# Process $1 is in poll(2), which is 7: it has asked, and waits.
polls() {
	[ "$(cut -d ' ' -f 1 "/proc/$1/syscall" 2>/dev/null)" = 7 ]
}

# A command of mayfly that waits for the end of run $1, which goes on once it
# does.
while_held() {
	run=$1
	shift
	rc=0
	"$MAYFLY" "$@" </dev/null >"$out" 2>"$err" &
	waits=$!
	wait_for "$LIMIT" polls $waits || fail "mayfly $*: it does not wait"
	go "$run"
	wait $waits || rc=$?
}

# --- as one would expect -----------------------------------------------

test_run_exec_logs_stop_as_one_would_expect() {
	detach --name a -- sh -c 'echo started; exec sleep 1000'
	must exec a -- ps
	grep -q 'sleep 1000' "$out" || fail "ps in the guest: $(cat "$out")"
	must logs a
	expect_out started
	must ps
	grep -q "^$id  *a  *up .* s  *$ENGINE  *512 MiB .*sh -c echo" "$out" ||
		fail "ps: $(cat "$out")"
	must stop a
	expect_out a
	must ps -q
	expect_out ''
	must ps -a
	grep -q "^$id  *a  *exited (143) .* ago" "$out" ||
		fail "ps -a: $(cat "$out")"
	expect_field verdict a stopped
	must logs a
	expect_out started
	must rm a
	expect_out a
	start_raw logs a
	expect_refusal 'a: no such run'
	expect_nothing_left
}

test_id_and_its_beginning_are_as_good_as_a_name() {
	detach -- sleep 1000
	must inspect "$id"
	must inspect "$(echo "$id" | cut -c 1-4)"
	grep -q "\"id\": \"$id\"" "$out" || fail "$(cat "$out")"
	start_raw inspect "$(echo "$id" | cut -c 1)"
	expect_rc 125
	must rm -f "$id"
	expect_nothing_left
}

test_name_is_given_once() {
	detach --name a -- sleep 1000
	start -d --name a -- true
	expect_refusal 'name a: run'
	start --name a -- true
	expect_refusal 'name a: run'
	must stop a
	start --name a -- true
	expect_refusal 'name a: run .*exited'
	expect_err '^hint: .*mayfly rm a'
	must rm a
	start --name a -- echo again
	expect_rc 0
	expect_out again
	expect_nothing_left
}

test_near_name_is_suggested() {
	detach --name database -- sleep 1000
	start_raw logs databaes
	expect_refusal 'databaes: no such run'
	expect_err '^hint: .*database'
	must rm -f database
}

test_command_that_cannot_start_is_the_callers_error() {
	start -d --name a -- no-such-command
	expect_rc 127
	expect_out ''
	expect_err '^mayfly: no-such-command'
	expect_nothing_left
	start -d -- /etc/passwd
	expect_rc 126
	expect_err '/etc/passwd'
	expect_nothing_left
	: >"$WORK/empty"
	start -d --kernel "$WORK/empty" -- true
	expect_refusal empty
	prune_all
}

test_state_directory_that_cannot_be_is_one_line() {
	: >"$WORK/file"
	for dir in "$WORK/file" /proc/nowhere "$WORK/no/such" relative; do
		rc=0
		MAYFLY_STATE_DIR=$dir timeout -s KILL "$LIMIT" "$MAYFLY" run \
			--engine "$ENGINE" -d -- true >"$out" 2>"$err" || rc=$?
		expect_refusal "$dir"
	done
	mkdir "$WORK/open" && chmod 777 "$WORK/open"
	rc=0
	MAYFLY_STATE_DIR=$WORK/open "$MAYFLY" ps >"$out" 2>"$err" || rc=$?
	expect_refusal 'others can write'
}

test_caller_has_no_part_in_a_detached_run() {
	# A process group of its own, killed whole once the id is there.
	setsid sh -c 'exec 9>"$0"; "$@" >"$0.id"; kill -9 0' "$WORK/held" \
		"$MAYFLY" run --engine "$ENGINE" -d --name a -- \
		sh -c 'sleep 1; echo still here; sleep 1000' </dev/null \
		>/dev/null 2>&1
	wait_for 60 has_logged a 'still here' || fail 'it went with its caller'
	for p in $(ours); do
		for n in 0 1 2 9; do
			case $(readlink "/proc/$p/fd/$n") in
			"$WORK"/held*) fail "$p holds the caller's file" ;;
			esac
		done
	done
	must rm -f a
	expect_nothing_left
}

test_caller_that_dies_before_the_start_takes_the_run_along() {
	for i in $(seq 20); do
		"$MAYFLY" run --engine "$ENGINE" -d --name a -- sleep 1000 \
			>"$out" 2>"$err" &
		pid=$!
		until [ -n "$(records)" ]; do :; done
		kill -9 "$pid"
		wait "$pid"
		[ -s "$out" ] || break
		must rm -f a # too late: it was told
	done
	[ ! -s "$out" ] || fail 'it started before it could be killed'
	wait_for "$LIMIT" nothing_runs || fail 'it goes on'
	expect_nothing_left
}

test_rm_option_forgets_a_run_at_its_end() {
	detach --rm --name a -- sh -c "$held; exit 3"
	while_held a wait a
	expect_rc 3
	expect_out 3
	expect_nothing_left
}

# --- in the foreground --------------------------------------------------

test_foreground_run_is_listed_reached_and_stopped_by_name() {
	background --name fore -- sh -c 'echo up; sleep 1000'
	wait_for "$LIMIT" phase_is fore running || fail 'it is not listed'
	must ps
	grep -q ' fore  *up ' "$out" || fail "$(cat "$out")"
	must exec fore -- echo inside
	expect_out inside
	start_raw logs fore
	expect_refusal 'fore: it runs in the foreground'
	start_raw rm fore
	expect_refusal 'fore: is running'
	must stop fore
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	expect_nothing_left
}

test_foreground_run_leaves_no_record() {
	start -- true
	expect_rc 0
	expect_nothing_left
	start -- sh -c 'exit 9'
	expect_rc 9
	start -- no-such-command
	expect_rc 127
	start --kernel /etc/passwd -- true
	expect_rc 125
	start --boot-timeout 50ms -- true
	expect_rc 125
	start --timeout 300ms -- sleep 1000
	expect_rc 124
	expect_nothing_left
}

test_foreground_run_that_is_ended_by_a_signal_leaves_no_record() {
	i=0
	while [ $i -lt "$KILLS" ]; do
		background -- sh -c 'trap "" TERM; sleep 1000'
		sleep "$(echo "$i" | awk '{ printf "%.2f", $1 * 0.03 }')"
		tell TERM "$pid"
		kill -TERM "$pid" 2>/dev/null
		rc=0
		wait "$pid" || rc=$?
		[ "$rc" = 143 ] || fail "moment $i: exit code $rc"
		wait_for 60 nothing_runs || fail "moment $i: processes are left"
		[ -z "$(records)" ] || fail "moment $i: records are left"
		i=$((i + 1))
	done
	expect_nothing_left
}

# --- ends --------------------------------------------------------------

test_wait_before_and_after_the_end() {
	detach --name a -- sh -c 'sleep 1; exit 7'
	detach --name b -- sh -c 'exit 8'
	start_raw wait b a
	expect_rc 7
	expect_out '8
7'
	start_raw wait a b
	expect_rc 8
	expect_out '7
8'
	start_raw wait --format json a
	expect_rc 7
	grep -q '"exit_code": 7' "$out" || fail "$(cat "$out")"
	start_raw wait a nobody
	expect_rc 125
	expect_out 7
	prune_all
}

test_more_wait_than_a_supervisor_keeps_connected() {
	detach --name a -- sleep 1000
	i=0
	while [ $i -lt 80 ]; do
		i=$((i + 1))
		(
			r=0
			"$MAYFLY" wait a >/dev/null 2>&1 || r=$?
			echo $r >"$WORK/waited.$i"
		) &
	done
	sleep 1
	must stop a
	wait
	[ "$(sort "$WORK"/waited.* | uniq -c | tr -d ' ')" = 80143 ] ||
		fail "$(sort "$WORK"/waited.* | uniq -c)"
	prune_all
}

test_ten_at_once() {
	for i in 0 1 2 3 4 5 6 7 8 9; do
		(
			"$MAYFLY" run --engine "$ENGINE" -m 64 -d --name "t$i" \
				-- sh -c "echo \$0; $held; exit \$0" $i \
				>"$WORK/id$i" 2>"$WORK/err$i" </dev/null
		) &
	done
	wait
	must ps -q
	[ "$(wc -l <"$out")" = 10 ] || fail "ps -q: $(cat "$out" "$WORK"/err?)"
	for i in 0 1 2 3 4 5 6 7 8 9; do
		go "t$i"
	done
	start_raw wait t0 t1 t2 t3 t4 t5 t6 t7 t8 t9
	expect_rc 9
	expect_out '0
1
2
3
4
5
6
7
8
9'
	for i in 0 1 2 3 4 5 6 7 8 9; do
		[ "$("$MAYFLY" logs "t$i")" = $i ] || fail "logs of t$i"
	done
	prune_all
}

test_stop_kills_what_does_not_end() {
	detach --name a -- sh -c 'trap "" TERM
		echo ready; while :; do sleep 1; done'
	wait_for 60 has_logged a ready || fail 'it is not ready'
	must stop -t 1 a
	phase_is a exited || fail "$(field phase a)"
	expect_field verdict a stopped
	detach --name b -- sh -c 'trap "echo asked; exit 4" INT
		echo ready; while :; do sleep 0.1; done'
	wait_for 60 has_logged b ready || fail 'it is not ready'
	must stop -s INT b
	must logs b
	expect_out 'ready
asked'
	detach --name c -- sleep 1000
	must stop -t 0 c
	must stop a b c
	expect_out 'a
b
c'
	prune_all
}

test_two_stops_at_once() {
	detach --name a -- sh -c 'trap "" TERM
		echo ready; while :; do sleep 1; done'
	wait_for 60 has_logged a ready || fail 'it is not ready'
	"$MAYFLY" stop -t 1000 a >"$WORK/one" 2>&1 &
	one=$!
	sleep 0.5
	must stop -t 1 a
	wait $one || fail "the first: $(cat "$WORK/one")"
	[ "$(cat "$WORK/one")" = a ] || fail "the first: $(cat "$WORK/one")"
	prune_all
}

test_kill_sends_a_signal_or_ends_the_vm() {
	detach --name a -- sh -c 'trap "echo usr" USR1
		echo ready; while :; do sleep 0.1; done'
	wait_for 60 has_logged a ready || fail 'it is not ready'
	must kill -s USR1 a
	expect_out a
	wait_for 60 has_logged a usr || fail 'no signal came'
	must kill -s 10 a
	must kill a
	phase_is a exited || fail "$(field phase a)"
	expect_field exit_code a 137
	expect_field verdict a stopped
	start_raw kill a
	expect_refusal 'a: not running'
	start_raw kill -s NONE a
	expect_refusal 'no such signal'
	prune_all
}

test_rm_refuses_what_runs_unless_forced() {
	detach --name a -- sleep 1000
	start_raw rm a
	expect_refusal 'a: is running'
	expect_err '^hint: .*-f'
	must rm -f a
	expect_nothing_left
}

test_one_that_fails_does_not_keep_the_others() {
	detach --name a -- sleep 1000
	detach --name b -- sleep 1000
	start_raw stop a nobody b neither
	expect_rc 125
	expect_out 'a
b'
	expect_err 'nobody: no such run'
	expect_err 'neither: no such run'
	start_raw rm nobody a b
	expect_rc 125
	expect_nothing_left
}

test_prune_leaves_what_runs() {
	detach --name gone -- true
	detach --name here -- sleep 1000
	start_raw wait gone
	must prune
	grep -q '^removed [0-9a-f]* gone (exited)$' "$out" || fail "$(cat "$out")"
	grep -q '^1 removed, .* freed$' "$out" || fail "$(cat "$out")"
	phase_is here running || fail 'it is gone'
	must rm -f here
	must prune --format json
	grep -q '"removed": \[\]' "$out" || fail "$(cat "$out")"
	expect_nothing_left
}

# --- output ------------------------------------------------------------

test_logs_are_the_same_bytes_on_the_same_streams() {
	detach --name a -- sh -c 'head -c 300000 /dev/urandom >/tmp/r
		cat /tmp/r; cat /tmp/r | tr "\000-\377" "\001-\377\000" >&2
		sha256sum </tmp/r | head -c 64'
	start_raw wait a
	expect_rc 0
	must logs a
	sum=$(tail -c 64 "$out")
	[ "$(head -c 300000 "$out" | sha256sum | head -c 64)" = "$sum" ] ||
		fail 'stdout differs'
	[ "$(tr '\001-\377\000' '\000-\377' <"$err" | sha256sum |
		head -c 64)" = "$sum" ] || fail 'stderr differs'
	: >"$err"
	prune_all
}

test_logs_by_lines_and_time() {
	detach --name a -- sh -c 'seq 1 5; sleep 0.5; echo late; printf end'
	start_raw wait a
	must logs --tail 2 a
	expect_out 'late
end'
	must logs -n 0 a
	expect_out ''
	must logs -n all a
	[ "$(wc -l <"$out")" = 6 ] || fail "$(cat "$out")"
	must logs -t -n 3 a
	grep -q '^2[0-9-]*T[0-9:.]*Z 5$' "$out" || fail "$(cat "$out")"
	[ "$(wc -l <"$out")" = 2 ] || fail "$(cat "$out")"
	must logs --since 1h a
	[ "$(wc -l <"$out")" = 6 ] || fail "$(cat "$out")"
	sleep 1
	must logs --since 900ms a
	expect_out ''
	must logs --format json a
	grep -q '"stream":"stdout","text":"late"}$' "$out" || fail "$(cat "$out")"
	grep -q '"text":"end","partial":true}$' "$out" || fail "$(cat "$out")"
	prune_all
}

test_following_ends_with_the_run() {
	detach --name a -- sh -c 'echo one; sleep 1; echo two; sleep 1; echo three'
	must logs -f a
	expect_out 'one
two
three'
	must logs -f a
	expect_out 'one
two
three'
	detach --name b -- sh -c "echo old; $held; echo new"
	wait_for 60 has_logged b old || fail 'nothing is logged'
	while_held b logs --tail 0 -f b
	expect_rc 0
	expect_out new
	detach --rm --name c -- sh -c "$held; echo last"
	while_held c logs -f c
	expect_rc 0
	expect_out last
	prune_all
}

test_following_a_chatty_run_with_a_slow_reader() {
	# More than a journal file holds, and a reader that takes its time.
	detach --name a -- sh -c 'i=0; while [ $i -lt 20 ]; do
		head -c 1000000 /dev/zero | tr "\\0" x; i=$((i + 1)); done; echo END'
	"$MAYFLY" logs -f a 2>"$err" | (
		while s=$(head -c 3000000 | tail -c 4) && [ -n "$s" ]; do
			last=$s
			sleep 0.1
		done
		echo "$last"
	) >"$out" 2>/dev/null
	expect_out END
	must logs a
	[ "$(wc -c <"$out")" -gt 3000000 ] || fail "$(wc -c <"$out") bytes"
	prune_all
}

test_following_ends_when_the_supervisor_is_killed() {
	detach --name a -- sh -c 'echo up; sleep 1000'
	wait_for 60 has_logged a up || fail 'nothing is logged'
	super=$(field pid a)
	(sleep 1; kill -9 "$super") &
	must logs -f a
	expect_out up
	start_raw wait a
	expect_refusal 'a: its supervisor died'
	must ps -a
	grep -q ' a  *lost ' "$out" || fail "$(cat "$out")"
	must stop a
	prune_all
}

test_reader_that_goes_is_141_and_quiet() {
	detach --name a -- sh -c 'yes | head -c 1000000; sleep 1000'
	rc=0
	(
		r=0
		"$MAYFLY" logs -f a || r=$?
		echo $r >"$WORK/rc"
	) 2>"$err" | head -n 1 >"$out"
	expect_out y
	[ "$(cat "$WORK/rc")" = 141 ] || fail "exit code $(cat "$WORK/rc")"
	expect_no_err
	must rm -f a
}

# --- nothing survives ---------------------------------------------------

has_record() {
	[ -n "$(records)" ]
}

uptime_s() {
	cut -d ' ' -f 1 /proc/uptime
}

# A supervisor that is killed, whenever that is, leaves what prune removes: at
# moments from its first to well after its last, told from one that may live.
# Where others take longer or less, for the host is busy with other things, two
# more are sure to be late and early: after the caller was told, and as soon as
# there is a process to kill.
test_killed_supervisor_leaves_nothing_after_prune() {
	begin=$(uptime_s)
	detach -m 64 --name a -- sh -c 'echo up; sleep 0.3'
	start_raw wait a
	span=$(echo "$begin $(uptime_s)" | awk '{ print ($2 - $1) * 1.5 }')
	must prune
	i=0 early=0 late=0
	while [ $i -lt "$KILLS" ] || [ $early = 0 ] || [ $late = 0 ]; do
		[ $i -lt $((2 * KILLS + 20)) ] ||
			fail "early: $early, late: $late"
		rm=
		[ $((i % 2)) = 0 ] || rm=--rm
		# shellcheck disable=SC2086 # none or one
		"$MAYFLY" run --engine "$ENGINE" -m 64 -d $rm -- \
			sh -c 'echo up; sleep 0.3' </dev/null >"$out" 2>"$err" &
		pid=$!
		if [ $i -lt "$KILLS" ]; then
			sleep "$(echo "$i $KILLS $span" |
				awk '{ printf "%.3f", $1 * $3 / $2 }')"
		elif [ $late = 0 ]; then
			wait_for "$LIMIT" [ -s "$out" ]
		else
			wait_for "$LIMIT" has_record
		fi
		for p in $(ours); do
			[ "$p" = "$pid" ] && continue
			case $(readlink "/proc/$p/exe") in
			*/mayfly) kill -9 "$p" 2>/dev/null ;;
			esac
		done
		rc=0
		wait "$pid" || rc=$?
		case $rc in
		0) late=1 ;;
		125) early=1 ;;
		*) fail "moment $i: exit code $rc" ;;
		esac
		wait_for 60 nothing_runs || fail "moment $i: $(ours) go on"
		must prune
		[ -z "$(records)" ] || fail "moment $i: $(records)"
		i=$((i + 1))
	done
	expect_nothing_left
}

test_killed_foreground_run_leaves_nothing_after_prune() {
	background --name a -- sleep 1000
	wait_for "$LIMIT" phase_is a running || fail 'it is not up'
	kill -9 "$pid"
	wait "$pid"
	wait_for 60 nothing_runs || fail 'it goes on'
	phase_is a lost || fail "$(field phase a)"
	prune_all
}

test_name_of_a_killed_foreground_run_is_free() {
	background --name a -- sleep 1000
	wait_for "$LIMIT" phase_is a running || fail 'it is not up'
	kill -9 "$pid"
	wait "$pid"
	wait_for 60 nothing_runs || fail 'it goes on'
	start --name a -- true
	expect_rc 0
	expect_nothing_left
}

test_killed_vmm_is_a_crash_on_record() {
	detach --name a -- sh -c 'echo up; sleep 1000'
	wait_for 60 has_logged a up || fail 'nothing is logged'
	super=$(field pid a)
	for p in $(ours); do
		[ "$p" = "$super" ] || kill -9 "$p"
	done
	start_raw wait a
	expect_rc 125
	expect_field phase a exited
	expect_field verdict a vm_crash
	must logs a
	expect_out up
	prune_all
}

run_tests "$here/detached.sh"
