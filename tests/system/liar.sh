#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# liar.sh MAYFLY ENGINE [TEST...]: root in the guest that kills the agent,
# speaks in its place and breaks the machine, by the program liar from MAYFLY's
# build; at last a VMM that was taken over, by liar-vmm. What the host decides
# stays decided, what the guest decides is marked as its word, and every run
# ends by its limits. TAP on stdout. LIMIT (240 s, for one run) and SHORT (3 s,
# for one that its --timeout ends; longer ones are tried where the lie does not
# begin in it) may be set for slow hosts, FLOODS to some of them.
# shellcheck disable=SC2016,SC2015,SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-240}
SHORT=${SHORT:-3} LONGER="$((LIMIT / 4)) $((LIMIT * 3 / 4))"
FLOODS=${FLOODS:-endless-acks flood-log flood-console}
LIAR=$(cd "$(dirname "$1")" && pwd)/tests/liar
LIAR_SIZE=$(wc -c <"$LIAR") || exit 2
setup "$1"
shift 2
ONLY=$*

# What the guest runs: the program comes first on standard input.
take='head -c $0 >/tmp/liar && chmod +x /tmp/liar && exec /tmp/liar "$@"'

# lie OPTIONS -- NAME [NUMBER...]: as the run's command, root in the guest.
lie() {
	opts=
	while [ "$1" != -- ]; do
		opts="$opts $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # words
	start --meta "$WORK/meta" $opts -i -- sh -c "$take" "$LIAR_SIZE" "$@" \
		<"$LIAR"
}

# Under --timeout, which is to end the lie: as long as it needs to begin.
lie_till_timeout() {
	for s in $SHORT $LONGER; do
		lie --timeout "$s" "$@"
		! grep -q held "$out" || break
	done
}

# The same in the background, mayfly as $pid, until it holds the agent.
lie_behind() {
	: >"$out"
	# shellcheck disable=SC2086 # words
	"$MAYFLY" run --engine "$ENGINE" --meta "$WORK/meta" --name liar -m 64 \
		-i -- sh -c "$take" "$LIAR_SIZE" "$@" \
		<"${input:-$LIAR}" >"$out" 2>"$err" &
	pid=$!
	trap 'kill -9 "$pid" 2>/dev/null; "$MAYFLY" prune >/dev/null' EXIT
	wait_for "$LIMIT" [ -s "$out" ] || fail 'the lie did not begin'
}

# expect CODE VERDICT guest|host: in all three places.
expect() {
	expect_rc "$1"
	expect_meta exit_code "$1"
	expect_meta verdict "$2"
	expect_meta decided_by "$3"
	expect_nothing_left
}

# vm_crash by the host, whose one line of its own has these words.
expect_crash() {
	expect 125 vm_crash host
	expect_err "^mayfly: the guest crashed: .*$1"
	expect_plain_words
}

# What the guest wrote stands behind a mark, and no terminal obeys it.
expect_plain_words() {
	[ "$(grep -vc '^  | ' "$err")" -le 1 ] || fail 'words without a mark'
	! LC_ALL=C grep -q '[^ -~]' "$err" || fail 'bytes for a terminal'
}

# The run's --timeout ends it, after the lie began.
expect_timeout() {
	expect 124 timeout host
	grep -q held "$out" || fail 'the lie did not begin'
}

# --- the agent ----------------------------------------------------------

test_signals_do_not_reach_the_agent() {
	lie -- every-signal
	expect 7 runtime_error guest
	lie -- kill-all
	expect 7 runtime_error guest
}

test_agent_that_is_destroyed_is_a_crash() {
	lie -- derail
	expect_crash 'kernel panic: Attempted to kill init'
	lie -- overwrite
	expect_crash 'kernel panic: Attempted to kill init'
	lie -- hang-up
	expect_crash ''
}

test_agent_that_is_held_does_not_outlast_the_timeout() {
	lie_till_timeout -- hold
	expect_timeout
}

test_agent_that_is_held_does_not_outlast_a_second_signal() {
	lie_behind hold
	tell TERM "$pid"
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect 143 stopped host
}

test_agent_that_is_held_does_not_outlast_stop_or_kill() {
	lie_behind hold
	"$MAYFLY" stop --timeout 1 liar >/dev/null || fail "stop: $?"
	rc=0
	wait "$pid" || rc=$?
	expect 143 stopped host
	lie_behind hold
	"$MAYFLY" kill liar >/dev/null || fail "kill: $?"
	rc=0
	wait "$pid" || rc=$?
	expect 137 stopped host
}

# --- frames that the agent did not send ---------------------------------

test_frames_that_may_not_come_are_a_crash() {
	for f in 'ready-again 2' started-again 'mounted 0' 'mounted 2' \
		'odd-frame 12 18' 'odd-frame 13 4' 'odd-frame 14 0' \
		'odd-frame 0 0' \
		'odd-frame 2 100' 'odd-frame 11 1' 'odd-frame 65535 4' \
		'odd-frame 7 0xffffffff' 'odd-frame 7 100 1'; do
		# shellcheck disable=SC2086 # words
		lie -- $f
		expect_crash 'its agent broke the protocol'
	done
}

test_half_a_frame_does_not_outlast_the_timeout() {
	lie_till_timeout -- odd-frame 7 65528
	expect_timeout
	lie_till_timeout -- half-exit
	expect_timeout
	lie_till_timeout -- swallow-exit
	expect_timeout
}

test_forged_exit_is_the_guests_word() {
	lie -- exit 0
	expect 0 ok guest
	lie -- exit 3
	expect 3 runtime_error guest
	lie -- exit 0 11
	expect 139 signal guest
	lie -- exit 0 9 0 0 1
	expect 137 oom guest
	lie -- exit 124
	expect 124 runtime_error guest
	lie -- exit 125
	expect 125 runtime_error guest
	lie -- exit 153
	expect 153 runtime_error guest
	lie -- exit-full 3
	expect 3 disk_full guest
}

# Whatever the numbers: a verdict of the guest's, no byte for a terminal.
test_forged_exit_has_an_exit_code_of_the_table() {
	for x in '0xffffffff:255:runtime_error' '256:0:ok' \
		'0 0xffffffff:255:signal' '256 128:0:ok' '5 0 1 22:5:*' \
		'0 0 2 13:125:*' '0 0 3 2:126:*' '9 0 4 2:9:*' \
		'0 0 77 0xffffffff:126:*' \
		'0 9 0 0 0xffffffffffffffff:137:signal'; do
		want=${x#*:}
		# shellcheck disable=SC2086 # words
		lie -- exit ${x%%:*}
		expect_rc "${want%:*}"
		expect_meta exit_code "${want%:*}"
		expect_meta decided_by guest
		case ${want#*:} in
		'*') grep -q '^mayfly: ' "$err" || fail 'no words' ;;
		*) expect_meta verdict "${want#*:}"; expect_no_err ;;
		esac
		expect_plain_words
	done
}

test_nothing_counts_after_exit() {
	lie -- output-after-exit 3
	expect 3 runtime_error guest
	expect_out before
	lie -- exit-twice 3 0
	expect 3 runtime_error guest
}

test_exit_forged_at_the_timeout_changes_nothing() {
	lie_till_timeout -- answer-with-exit 0
	expect_timeout
}

test_exit_forged_at_a_signal_changes_nothing() {
	lie_behind answer-with-exit 0
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect 143 stopped host
}

test_endless_output_does_not_outlast_the_timeout() {
	for s in $SHORT $LONGER; do
		{
			timeout -s KILL "$LIMIT" "$MAYFLY" run \
				--engine "$ENGINE" --meta "$WORK/meta" \
				--timeout "$s" -i -- \
				sh -c "$take" "$LIAR_SIZE" endless-output \
				<"$LIAR" 2>"$err" || echo $? >"$WORK/rc"
		} | wc -c >"$out"
		rc=$(cat "$WORK/rc")
		expect 124 timeout host
		[ "$(cat "$out")" -le 1000000 ] || return 0
	done
	fail "$(cat "$out") bytes came"
}

test_endless_output_stops_at_max_output() {
	lie --max-output 1m -- endless-output
	expect 153 output_limit host
	[ "$(wc -c <"$out")" -eq 1048576 ] || fail "$(wc -c <"$out") bytes"
	lie --max-output 1m -- output-after-exit 3
	expect 3 runtime_error guest
}

# Whatever the guest does of it: its agent is held, its clock is not ours.
test_cpu_time_is_counted_by_the_host() {
	for l in endless-acks 'clock 0'; do
		# shellcheck disable=SC2086 # words
		lie --cpu-time 1 --timeout "$LIMIT" -- $l
		expect 152 cpu_timeout host
	done
}

# expect_peak PROGRAM MIB: of each such process of ours.
expect_peak() {
	for p in $(ours); do
		[ "$(readlink "/proc/$p/exe")" = "$BIN/$1" ] || continue
		kib=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' \
			"/proc/$p/status")
		[ "$kib" -lt $(($2 * 1024)) ] || fail "$1 has $kib KiB"
		echo "# $1: $kib KiB at the most"
		return
	done
	fail "no process of $1"
}

# The launcher keeps no more than its buffers, the VMM the guest's 64 MiB, and
# on engine soft the code that it made of them.
test_floods_make_nothing_grow() {
	input=$WORK/input
	for l in $FLOODS; do
		rm -f "$input"
		mkfifo "$input"
		cat "$LIAR" /dev/zero >"$input" 2>/dev/null &
		lie_behind "$l"
		sleep "$SHORT"
		expect_peak mayfly 32
		expect_peak mayfly-vmm 256
		kill -KILL "$pid"
		wait "$pid"
		wait_for 60 nothing_runs || fail "processes are left: $(ours)"
		"$MAYFLY" prune >/dev/null
	done
	input=
}

# --- in the agent's place -----------------------------------------------

test_exec_into_a_liar_gets_the_guests_word() {
	lie_behind serve-exit 42
	start_raw exec liar true
	expect_rc 42
	expect_out forged
	expect_no_err
}

test_exec_into_a_liar_refuses_odd_frames() {
	for f in '7 0xffffffff' '0 0' '2 100' '11 1'; do
		# shellcheck disable=SC2086 # words
		lie_behind serve-odd-frame $f
		start_raw exec liar true
		expect_refusal liar
		kill -9 "$pid"
		wait "$pid"
		wait_for 60 nothing_runs || fail "processes are left: $(ours)"
		"$MAYFLY" prune >/dev/null
	done
}

# Each lie wants a file called forged beside the directory.
test_cp_from_a_liar_stays_in_its_directory() {
	rm -f /tmp/forged
	for n in 0 1 2 3 4 5; do
		lie_behind serve-tree $n
		rm -rf "$WORK/host"
		mkdir -p "$WORK/host/in"
		start_raw cp liar:/x "$WORK/host/in"
		[ "$rc" = 125 ] || [ "$rc" = 1 ] || fail "lie $n: exit code $rc"
		[ ! -e "$WORK/host/forged" ] && [ ! -e /tmp/forged ] &&
			[ ! -e "$WORK/forged" ] || fail "lie $n got out"
		[ "$(ls "$WORK/host")" = in ] || fail "lie $n left something"
		kill -9 "$pid"
		wait "$pid"
		wait_for 60 nothing_runs || fail "processes are left: $(ours)"
		"$MAYFLY" prune >/dev/null
	done
}

# What comes out of the liar's machine goes to $WORK/host/in.
lie_and_copy() {
	rm -rf "$WORK/host"
	mkdir -p "$WORK/host/in"
	lie --copy-out /x:"$WORK/host/in" "$@"
	! find "$WORK/host" -name '.mayfly-cp-*' | grep . || fail 'unfinished'
}

test_copy_out_of_a_liar_stays_in_its_directory() {
	rm -f /tmp/forged
	for n in 0 1 2 3 4 5; do
		lie_and_copy -- end-tree $n
		expect_rc 125
		[ ! -e "$WORK/host/forged" ] && [ ! -e /tmp/forged ] &&
			[ ! -e "$WORK/forged" ] || fail "lie $n got out"
		[ "$(ls "$WORK/host")" = in ] || fail "lie $n left something"
		expect_plain_words
	done
	expect_nothing_left
}

test_copy_out_of_a_liar_does_not_outlast_its_time() {
	for l in end-silent end-ready 'end-endless 0' 'end-odd-frame 7 65528'; do
		# shellcheck disable=SC2086 # words
		lie_and_copy -- $l
		expect 125 ok guest
		expect_err '^mayfly: --copy-out: '
		[ -z "$(ls -A "$WORK/host/in")" ] || fail "$l left something"
	done
	for s in $SHORT $LONGER; do
		lie_and_copy --timeout "$s" -- hold
		! grep -q held "$out" || break
	done
	expect_timeout
	expect_err '^mayfly: --copy-out: .*not copied'
}

test_copy_out_of_a_liar_ends_at_its_limit() {
	for n in 1 2 3; do
		lie_and_copy --copy-out-max 4m -- end-endless $n
		expect 125 ok guest
		# The path of what is too deep leaves no room for words.
		expect_err "more than may be copied\|host/in/x/0/2/4"
		[ "$(du -sk "$WORK/host" | cut -f 1)" -lt 5000 ] ||
			fail "lie $n took too much"
	done
	lie_and_copy -- end-odd-frame 7 0xffffffff
	expect 125 ok guest
}

# --- the guest's machine ------------------------------------------------

test_host_takes_no_connection_that_was_not_meant() {
	lie -- dial
	expect 7 runtime_error guest
	expect_out '14 refused, 0 taken'
	lie -- dial-without-end 4
	expect 7 runtime_error guest
}

test_command_may_leave_its_cgroup_and_still_ends() {
	lie -- leave-cgroup
	expect 7 runtime_error guest
}

test_memory_of_the_whole_machine_is_m() {
	lie -m 64 --timeout "$LIMIT" -- eat-memory
	expect_meta verdict vm_crash
	expect_crash 'kernel panic: '
}

test_file_systems_of_the_guest_are_its_own_affair() {
	lie -- cover
	expect 7 runtime_error guest
	start --meta "$WORK/meta" -- sh -c 'rm -rf /sbin /bin /usr /etc; exit 7'
	expect 7 runtime_error guest
	start --meta "$WORK/meta" -- sh -c '
		dd if=/dev/zero of=/dev/vdb bs=4k count=64 2>/dev/null
		dd if=/dev/zero of=/dev/vdb bs=1M seek=10239 2>/dev/null
		exit 7'
	expect 7 runtime_error guest
}

test_reset_poweroff_and_panic_are_crashes() {
	lie -- reboot 0x01234567
	expect_crash 'reset itself'
	lie -- reboot 0x4321fedc
	expect_crash 'powered itself off'
	lie -- reboot 0xcdef0123
	expect_crash ''
	lie -- sysrq 99 # c
	expect_crash 'kernel panic: sysrq'
	lie -- sysrq 98 # b
	expect_crash 'reset itself'
	lie -- kexec
	expect 7 runtime_error guest
}

test_devices_without_a_driver_do_no_harm() {
	for n in 0 1 4; do
		lie --timeout "$LIMIT" -- unbind $n
		expect 7 runtime_error guest
	done
	for n in 2 3; do
		lie --timeout "$LIMIT" -- unbind $n
		expect_crash 'kernel panic: '
	done
}

test_false_panic_is_quoted_and_no_terminal_obeys_it() {
	lie -- false-panic
	expect_crash 'kernel panic: ?\[2J?\]0;owned?forged'
	! grep -q '^hint' "$err" || fail 'a hint of the guest'"'"'s'
}

test_clock_of_the_guest_moves_no_limit() {
	lie_till_timeout -- clock 7000000000
	expect_timeout
	lie_till_timeout -- clock 0
	expect_timeout
	[ "$(meta command_ms | cut -d. -f1)" -lt $((LIMIT * 1000)) ] ||
		fail "it took $(meta command_ms) ms"
}

# --- a VMM that was taken over -------------------------------------------

# false_vmm LIE [OPTION...]: mayfly with the program liar-vmm for a VMM.
false_vmm() {
	l=$1
	shift
	mkdir -p "$BIN/false"
	cp "$BIN/mayfly" "$BIN/false/"
	cp "$LIAR-vmm" "$BIN/false/mayfly-vmm"
	ln -sf "$BIN/guest" "$BIN/false/"
	MAYFLY=$BIN/false/mayfly
	start --meta "$WORK/meta" --append "lie=$l" "$@" -- true
}

test_false_vmm_that_breaks_the_protocol_is_a_crash() {
	for l in started-twice short odd descriptors; do
		false_vmm $l
		expect 125 vm_crash host
		expect_err '^mayfly: mayfly-vmm broke the protocol'
		expect_plain_words
	done
}

test_false_vmm_that_says_nothing_meets_the_boot_limit() {
	false_vmm silent --boot-timeout "$SHORT"
	expect 125 vm_crash host
	expect_err 'was not up'
}

# The words are marked as the VM's, and stay on one line.
test_words_of_a_false_vmm_are_marked() {
	false_vmm words
	expect 125 vm_crash host
	expect_err '^mayfly: the VM broke: ?\[31mforged?\[0m?mayfly: forged'
	expect_plain_words
}

test_false_vmm_cannot_take_a_verdict_back() {
	false_vmm failed-late
	expect 0 ok guest
	expect_no_err
}

# The kernel has counted the process's time.
test_false_vmm_cannot_have_used_more_time_than_its_process() {
	false_vmm stats-high
	expect 3 runtime_error guest
	[ "$(meta vcpu_ms | cut -d. -f1)" -lt $((LIMIT * 1000)) ] ||
		fail "vcpu_ms is $(meta vcpu_ms)"
}

test_false_vmm_does_not_outlast_the_timeout() {
	for l in burns burns-in-silence stats-without-end; do
		false_vmm $l --timeout "$SHORT"
		expect 124 timeout host
	done
}

# It says that its guest does nothing, or says nothing.
test_false_vmm_does_not_outlast_the_limit_of_cpu_time() {
	for l in burns burns-in-silence; do
		false_vmm $l --cpu-time 1 --timeout "$LIMIT"
		expect 152 cpu_timeout host
	done
}

run_tests "$here/liar.sh"
