#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# sessions.sh MAYFLY ENGINE [TEST...]: more commands in a VM that runs, runs
# that nobody waits for, and terminals, typed at by the program pty from
# MAYFLY's build. TAP on stdout. LIMIT (240 s, for one run) may be set for slow
# hosts, BASH_IMAGE to a root image that has bash: without, one is made of this
# host's.
# shellcheck disable=SC2016,SC2015,SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-240}
PTY=$(cd "$(dirname "$1")" && pwd)/tests/pty
setup "$1"
shift 2
ONLY=$*

has_line() {
	grep -q "^$1\$" "$out"
}

# --- more commands, and runs that nobody waits for ----------------------

# A detached run as $id; gone at the end of the test.
detached() {
	trap 'end_all' EXIT
	start -d --name box "$@"
	expect_rc 0
	id=$(cat "$out")
	[ "${#id}" = 12 ] || fail "the id is \"$id\""
}

end_all() {
	for p in $(ours); do kill -9 "$p" 2>/dev/null; done
	wait_for 60 nothing_runs
	"$MAYFLY" prune >"$WORK/pruned"
}

x() {
	start_raw exec "$@"
}

# For wait_for: `x` and success.
succeeds() {
	"$MAYFLY" exec "$@" </dev/null >"$out" 2>"$err"
}

test_exec_runs_more_commands_in_a_vm() {
	detached -- sh -c 'echo up >/tmp/said; sleep 1000'
	wait_for "$LIMIT" succeeds box grep up /tmp/said || fail 'no exec'
	expect_out up
	x "$id" sh -c 'echo out; echo err >&2; exit 7'
	expect_rc 7
	expect_out out
	expect_err '^err$'
	x -u nobody -w /tmp -e A=b box -- sh -c 'id -u; pwd; echo $A'
	expect_out '65534
/tmp
b'
	x box no-such-command
	expect_rc 127
	x -u nosuch box true
	expect_refusal 'user nosuch'
	x box sh -c 'kill -9 $$'
	expect_rc 137
	rc=0
	head -c 300000 /dev/zero |
		"$MAYFLY" exec -i box sh -c 'wc -c' >"$out" 2>"$err" || rc=$?
	expect_rc 0
	expect_out 300000
}

test_exec_into_nothing_is_an_error() {
	x nosuch true
	expect_refusal nosuch
	x
	expect_refusal 'no name'
	x box
	expect_refusal 'no command'
}

test_exec_works_in_a_foreground_run() {
	background --name front -- sh -c 'echo up; sleep 1000'
	wait_for "$LIMIT" has_line up || fail 'it did not come up'
	"$MAYFLY" exec front echo hello >"$WORK/x" || fail "exit code $?"
	[ "$(cat "$WORK/x")" = hello ] || fail "stdout: $(cat "$WORK/x")"
	kill -TERM "$pid"
	wait "$pid"
	expect_nothing_left
}

test_exec_hands_signals_on() {
	detached -- sleep 1000
	"$MAYFLY" exec box sh -c 'trap "exit 9" TERM; echo up
		while :; do sleep 0.1; done' </dev/null >"$out" 2>"$err" &
	pid=$!
	wait_for "$LIMIT" has_line up || fail 'it did not come up'
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 9
}

test_exec_leaves_at_the_second_signal_and_the_command_is_killed() {
	detached -- sleep 1000
	"$MAYFLY" exec box sh -c 'trap "" TERM; echo up
		while :; do sleep 0.1; done' </dev/null >"$out" 2>"$err" &
	pid=$!
	wait_for "$LIMIT" has_line up || fail 'it did not come up'
	tell TERM "$pid"
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	wait_for "$LIMIT" succeeds box sh -c '! ps | grep -q "[t]rap"' ||
		fail 'it still runs'
}

test_exec_ends_when_its_reader_goes() {
	detached -- sleep 1000
	{ "$MAYFLY" exec box yes || echo $? >"$WORK/rc"; } 2>"$err" |
		head -n 1 >"$out"
	expect_out y
	wait_for 60 [ -s "$WORK/rc" ] && [ "$(cat "$WORK/rc")" = 141 ] ||
		fail "exit code $(cat "$WORK/rc")"
}

# Of a detached run there are two: mayfly-vmm is the one below.
vmm_of() {
	for p in $(ours); do
		case $(readlink "/proc/$p/exe") in
		*/mayfly-vmm) echo "$p" ;;
		esac
	done
}

exec_is_gone() {
	! kill -0 "$pid" 2>/dev/null
}

test_exec_that_gets_no_answer_can_be_stopped() {
	detached -- sleep 1000
	kill -STOP "$(vmm_of)"
	"$MAYFLY" exec box -- true </dev/null >"$out" 2>"$err" &
	pid=$!
	sleep 1
	kill -TERM "$pid"
	wait_for 60 exec_is_gone || fail 'it goes on'
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
}

test_exec_whose_vm_ends_says_so() {
	detached -- sh -c 'while ! [ -e /tmp/end ]; do sleep 0.1; done'
	x box sh -c 'touch /tmp/end; sleep 1000'
	expect_refusal 'box: the VM ended'
}

test_detached_run_leaves_its_end_behind() {
	detached -- sh -c 'echo hello; exit 3'
	wait_for "$LIMIT" grep -q '"phase": "exited"' \
		"$MAYFLY_STATE_DIR/$id/record.json" || fail 'it does not end'
	grep -q '"exit_code": 3' "$MAYFLY_STATE_DIR/$id/record.json" ||
		fail "no exit code in $(cat "$MAYFLY_STATE_DIR/$id/record.json")"
	grep -q hello "$MAYFLY_STATE_DIR/$id/log" || fail 'no log'
	wait_for 60 nothing_runs || fail "processes are left: $(ours)"
}

test_detached_run_with_rm_leaves_nothing() {
	detached --rm -- true
	wait_for "$LIMIT" no_records || fail "records are left: $(records)"
	expect_nothing_left
}

no_records() {
	[ -z "$(records)" ]
}

test_detached_run_that_cannot_start_fails_as_in_the_foreground() {
	start -d -- no-such-command
	expect_rc 127
	expect_err 'no-such-command'
	expect_out ''
	start -d --boot-timeout 1ms -- true
	expect_rc 125
	expect_err 'not up'
	expect_nothing_left
}

# --- terminals ----------------------------------------------------------

# type_at PROGRAM...: on a terminal, by the script on standard input.
type_at() {
	cat >"$WORK/script"
	"$PTY" "$WORK/script" "$@" || fail 'see above'
}

tm() {
	type_at "$MAYFLY" run --engine "$ENGINE" "$@"
}

test_terminal_has_prompt_size_and_type() {
	export TERM=vt220
	tm -it -- sh <<-'EOF'
	raw
	expect #\x20
	send tty; stty size; echo $TERM\r
	expect /dev/pts/0
	expect 24 80
	expect vt220
	send echo g''o; until stty size | grep 132; do sleep 0.1; done\r
	expect \ngo
	size 40 132
	expect 40 132
	send exit 7\r
	exit 7
	restored
	EOF
}

test_control_c_is_the_commands() {
	tm -it -- sh <<-'EOF'
	raw
	expect #\x20
	send sh -c 'echo g""o; exec sleep 1000'\r
	expect \ngo
	send \x03
	expect #\x20
	send echo "[$?]"\r
	expect [130]
	expect #\x20
	send \x04
	exit 0
	restored
	EOF
}

# Ctrl-Z, jobs, bg, and fg for one that then takes what is typed.
test_jobs_can_be_controlled() {
	tm -it -- sh <<-'EOF'
	raw
	expect #\x20
	send sh -c 'echo g""o; exec sleep 1000'\r
	expect \ngo
	send \x1a
	expect Stopped
	expect #\x20
	send bg\r
	expect #\x20
	send jobs\r
	expect Running
	expect #\x20
	send kill %1; wait; echo d''one\r
	expect \ndone
	expect #\x20
	send sh -c 'echo g""o; read x; echo "<$x>"; exec cat'\r
	expect \ngo
	send \x1a
	expect Stopped
	expect #\x20
	send fg\r
	expect exec cat
	send hello\n
	expect <hello>
	send \x04
	expect #\x20
	send exit\r
	exit 0
	restored
	EOF
}

test_terminal_is_restored_when_mayfly_is_stopped() {
	for signo in 15 1; do
		tm -it -- sh -c 'echo up; exec sleep 1000' <<-EOF
		raw
		expect up
		signal $signo
		exit $((128 + signo))
		restored
		EOF
	done
}

test_second_signal_ends_a_command_that_ignores_the_first() {
	tm -it -- sh -c 'trap "" TERM; echo up; while :; do sleep 1; done' <<-'EOF'
	raw
	expect up
	signal 15
	signal 15
	exit 143
	restored
	EOF
}

test_terminal_is_restored_when_mayfly_dies_of_a_signal() {
	for signo in 3 10 12; do
		tm -it -- sh -c 'echo up; exec sleep 1000' <<-EOF
		raw
		expect up
		signal $signo
		exit $((128 + signo))
		restored
		EOF
	done
	wait_for 60 nothing_runs || fail "processes are left: $(ours)"
	"$MAYFLY" prune >"$WORK/pruned"
}

kill_vmm() {
	for p in $(ours); do
		[ "$(readlink "/proc/$p/exe")" != "$BIN/mayfly-vmm" ] ||
			kill -9 "$p"
	done
}

test_terminal_is_restored_when_the_vmm_dies() {
	(wait_for "$LIMIT" [ -e "$WORK/now" ] && kill_vmm) &
	tm -it -- sh -c 'echo up; exec sleep 1000' <<-EOF
	raw
	expect up
	run touch $WORK/now
	exit 125
	restored
	expect mayfly-vmm ended
	EOF
}

test_terminal_is_restored_after_an_error() {
	tm -it -- no-such-command <<-'EOF'
	expect not found
	exit 127
	restored
	EOF
}

test_stopped_mayfly_leaves_the_terminal_and_takes_it_again() {
	tm -it -- sh <<-'EOF'
	raw
	expect #\x20
	signal 20
	stopped
	restored
	size 33 99
	signal 18
	raw
	send stty size\r
	expect 33 99
	send exit\r
	exit 0
	restored
	EOF
}

# In the background it leaves the terminal alone; in front it is raw.
test_terminal_is_shared_with_the_callers_shell() {
	command -v bash >/dev/null || skip 'no bash'
	export PS1='host> '
	type_at bash --norc --noprofile <<-EOF
	expect host>
	send $MAYFLY run --engine $ENGINE -it -- sh &\r
	expect [1]
	send echo still-\$((40 + 2))\r
	expect still-42
	send fg\r
	expect $MAYFLY run
	raw
	send echo guest-\$((40 + 3))\r
	expect guest-43
	run kill -TSTP \$(cat /proc/\$PTY/task/\$PTY/children)
	expect Stopped
	send echo host-\$((40 + 4))\r
	expect host-44
	send fg\r
	expect $MAYFLY run
	raw
	send echo guest-\$((40 + 5))\r
	expect guest-45
	send exit 5\r
	expect host>
	send echo code-\$?\r
	expect code-5
	send exit\r
	exit 0
	EOF
}

test_terminal_without_input_stays_cooked() {
	tm -t -- sh -c 'tty; stty size; sleep 1000' <<-'EOF'
	expect /dev/pts/0
	expect 24 80
	restored
	send \x03
	exit 130
	EOF
}

test_input_alone_leaves_the_terminal_cooked() {
	tm -i -- cat <<-'EOF'
	send hello\r
	expect hello
	expect hello
	restored
	send \x04
	exit 0
	EOF
}

# A root image of this host's bash and what the test types at.
bash_root() {
	root=$WORK/bash-root
	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
	for p in bash stty sleep cat; do
		f=$(command -v "$p") || return 1
		cp -L "$f" "$root/bin/$p"
		ldd "$f" 2>/dev/null | grep -o '/[^ ]*' | while read -r l; do
			mkdir -p "$root$(dirname "$l")"
			cp -L "$l" "$root$l"
		done
	done
	mke2fs -q -t ext4 -d "$root" "$WORK/bash.img" 64M >/dev/null 2>&1
}

# Line editing with the cursor keys, and job control as bash has it.
test_bash_edits_lines_and_controls_jobs() {
	export TERM=vt100
	[ -n "${BASH_IMAGE:-}" ] || bash_root ||
		skip 'no bash, or nothing to make an image with'
	tm -it --rootfs "${BASH_IMAGE:-$WORK/bash.img}" -- bash --norc --noprofile <<-'EOF'
	raw
	expect #\x20
	send PS1='> '\r
	expect >\x20
	send echo wrng\e[D\e[Do\r
	expect wrong
	send stty size; echo $((6 * 7))-\r
	expect 24 80
	expect 42-
	size 40 132
	send until [[ $(stty size) = *132 ]]; do sleep 0.1; done\r
	send sleep 0; stty size; echo $LINES $COLUMNS\r
	expect 40 132
	expect 40 132
	send bash -c 'echo g""o; exec sleep 1000'\r
	expect go\r
	send \x1a
	expect Stopped
	send bg\r
	send jobs\r
	expect Running
	send kill %1; wait; echo d''one\r
	expect done\r
	send bash -c 'echo g""o; read x; echo "<$x>"; exec cat'\r
	expect go\r
	send \x1a
	expect Stopped
	send fg\r
	expect exec cat
	send hello\n
	expect <hello>
	send \x03
	expect >\x20
	send echo "[$?]"\r
	expect [130]
	send exit 7\r
	exit 7
	restored
	EOF
}

test_exec_has_a_terminal_of_its_own() {
	detached -t -- sleep 1000
	type_at "$MAYFLY" exec -it -u nobody box sh <<-'EOF'
	raw
	expect $\x20
	send tty; stty size\r
	expect /dev/pts/1
	expect 24 80
	send sh -c 'echo g""o; exec sleep 1000'\r
	expect \ngo
	send \x03
	expect $\x20
	size 50 100
	send exit 6\r
	exit 6
	restored
	EOF
}

run_tests "$here/sessions.sh"
