#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# faults.sh MAYFLY ENGINE [TEST...]: processes that misbehave, or are killed, at
# every place of their way, and what is left of them: nothing. MAYFLY is of a
# build with FAULTS=1 (runner/base/fault.h); PRODUCTION, if set, is one of an
# ordinary build. TAP on stdout. LIMIT (240 s) is the longest for one run, SOON
# (60 s) for an end that comes by itself; what it really took is printed. BOOT
# (0.5s) is the boot limit of those that never come up.
# shellcheck disable=SC2016,SC2015,SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-240}
SOON=${SOON:-60}
BOOT=${BOOT:-0.5s}
build=$(cd "$(dirname "$1")" && pwd)
setup "$1"
shift 2
ONLY=$*
export MAYFLY_CGROUP_PARENT="/mayfly-faults-$$"
trap 'cleanup; drop_cgroups' EXIT

# The stages, in order.
JAIL='jail.born jail.session jail.signals jail.descriptors jail.word jail.room
	jail.bounds jail.user jail.privileges jail.limits'
SETUP='vmm.main vmm.landlock vmm.boot vmm.memory vmm.engine vmm.devices
	vmm.kernel vmm.thread vmm.confined vmm.threads vmm.locked vmm.started vmm.go'
GUEST='vmm.vcpu vmm.kick'
BEFORE_VMM='launcher.options launcher.record launcher.files launcher.cgroup'
WITH_VMM='launcher.cloned launcher.word launcher.boot launcher.attached
	launcher.go launcher.started launcher.ready launcher.running'
AFTER='launcher.exit launcher.drain launcher.reports launcher.end'

# What the command of a guest does to bring its VMM to vmm.asked: it asks a
# disk for its name.
ASK='echo up; cat /sys/block/vdb/serial; sleep 1000'

# --- what is left ------------------------------------------------------

cgroup_parents() {
	ls -d /sys/fs/cgroup/"mayfly-faults-$$" \
		/sys/fs/cgroup/*/"mayfly-faults-$$" 2>/dev/null
}

# Those of the tests, which cleanup() has emptied.
drop_cgroups() {
	for parent in $(cgroup_parents); do
		find "$parent" -depth -type d -exec rmdir {} + 2>/dev/null
	done
}

cgroups() {
	for parent in $(cgroup_parents); do
		find "$parent" -mindepth 1 -type d
	done
}

# Of the jail's root, and what would hold a namespace without a process.
mounts() {
	grep -e ' - nsfs ' -e ' - tmpfs mayfly ' /proc/self/mountinfo || :
}

# namespaces PID: those of its own, as links of /proc.
namespaces() {
	for ns in mnt pid net ipc uts cgroup user; do
		is=$(readlink "/proc/$1/ns/$ns") || continue
		[ "$is" = "$(readlink "/proc/self/ns/$ns")" ] || echo "$is"
	done
}

# PIDs in these namespaces, of processes that were there at $TICKS: a number
# that is free is soon another's. A zombie is init's to take.
in_namespaces() {
	for p in $(ls -l /proc/[0-9]*/ns/ 2>/dev/null | awk -v ids="$*" '
		BEGIN { n = split(ids, w); while (n) is[w[n--]] = 1 }
		/^\/proc/ { split($1, part, "/") }
		$NF in is { print part[3] }' | sort -u); do
		born=$(sed 's/.*) //; /^Z/d' "/proc/$p/stat" 2>/dev/null |
			cut -d ' ' -f 20)
		[ "${born:-$TICKS}" -ge "$TICKS" ] || echo "$p"
	done
}

no_process_in() {
	[ -z "$(in_namespaces "$@")" ]
}

MOUNTS=$(mounts)

expect_clean() {
	wait_for "$SOON" nothing_runs || fail "$1: processes: $(ours)"
	[ -z "$(ls -A "$TMPDIR")" ] || fail "$1: files: $(ls -A "$TMPDIR")"
	[ -z "$(records)" ] || fail "$1: records: $(records)"
	[ -z "$(cgroups)" ] || fail "$1: cgroups: $(cgroups)"
	[ "$(mounts)" = "$MOUNTS" ] || fail "$1: mounts: $(mounts)"
}

# A kill leaves nothing that runs; what else it leaves, prune finds.
expect_pruned() {
	wait_for "$SOON" nothing_runs || fail "$1: processes: $(ours)"
	"$MAYFLY" prune >"$WORK/pruned" 2>&1 ||
		fail "$1: prune: $(cat "$WORK/pruned")"
	expect_clean "$1"
}

# --- how ---------------------------------------------------------------

# The next test shall find nothing of one that failed.
fail() {
	echo "# $*"
	[ ! -s "$err" ] || head -n 10 "$err" | cut -c 1-200 |
		sed 's/^/#   stderr: /'
	for p in $(ours); do kill -9 "$p" 2>/dev/null; done
	rm -rf "$MAYFLY_STATE_DIR"
	"$MAYFLY" prune >/dev/null 2>&1
	exit 1
}

# fault STAGE ACTION [OPTION...] -- CMD...: a run to its end.
fault() {
	stage=$1 action=$2
	shift 2
	began=$(date +%s%N)
	MAYFLY_FAULT=$stage:$action start --meta "$WORK/meta" "$@" </dev/null
	took=$((($(date +%s%N) - began) / 1000000))
	[ $took -le "${worst:-0}" ] || worst=$took
	[ "$rc" != 137 ] || [ "$action" = kill ] || [ "$action" = killboth ] ||
		fail "$stage:$action: no end"
}

tell_worst() {
	echo "# the longest took $worst ms"
}

expect_verdict() {
	expect_meta verdict "$1"
	expect_clean "$stage:$action"
}

# Processes at their stage: the first byte of their command line says so.
at_stage() {
	for p in $(ours); do
		case $(head -c 1 "/proc/$p/cmdline" 2>/dev/null) in
		@) echo "$p" ;;
		esac
	done
}

is_at_stage() {
	[ -n "$(at_stage)" ]
}

# hold STAGE ACTION [OPTION...] -- CMD...: a run in the background, its
# launcher as $pid, until $vmm is at its stage, in the namespaces $held.
hold() {
	stage=$1 action=$2
	shift 2
	MAYFLY_FAULT=$stage:$action
	export MAYFLY_FAULT
	background --meta "$WORK/meta" "$@"
	unset MAYFLY_FAULT
	wait_for "$LIMIT" is_at_stage || fail "$stage was not reached"
	vmm=$(at_stage)
	held=$(namespaces "$vmm")
	# USER_HZ, in which a process's birth is told, is 100 on x86.
	TICKS=$(sed 's/ .*//; s/\.//' /proc/uptime)
}

expect_namespaces_gone() {
	# shellcheck disable=SC2086 # words
	wait_for "$SOON" no_process_in $held ||
		fail "$stage: $(in_namespaces $held) in namespaces: $held"
}

end_of() {
	rc=0
	wait "$1" 2>/dev/null || rc=$?
}

# --- a production build ------------------------------------------------

test_production_builds_have_no_faults() {
	strings=$(grep -c MAYFLY_FAULT "$MAYFLY" "$BIN/mayfly-vmm" || :)
	[ "$(echo "$strings" | grep -c ':0$')" = 0 ] ||
		fail "this build has none: $strings"
	[ -n "${PRODUCTION:-}" ] || skip 'PRODUCTION names no build'
	dir=$(dirname "$PRODUCTION")
	for word in MAYFLY_FAULT killvmm fault_point; do
		! grep -q "$word" "$PRODUCTION" "$dir/mayfly-vmm" ||
			fail "there is $word in it"
	done
}

test_fault_build_cannot_be_installed() {
	[ -f "$here/../../Makefile" ] || skip 'no source here'
	command -v make >/dev/null || skip 'no make here'
	! make -C "$here/../.." -s FAULTS=1 B="$build" DESTDIR="$WORK/root" \
		install >"$out" 2>"$err" || fail 'it was installed'
	expect_err 'FAULTS=1'
	[ ! -e "$WORK/root" ] || fail 'something was installed'
}

# --- a VMM that misbehaves ---------------------------------------------

crashes_at() {
	for s in $JAIL $SETUP $GUEST vmm.asked; do
		fault "$s" "$1" -- sh -c "$ASK"
		expect_rc 125
		expect_err 'mayfly: mayfly-vmm ended: '
		expect_verdict vm_crash
	done
	tell_worst
}

test_vmm_that_segfaults_is_a_crash_at_every_stage() {
	crashes_at segv
}

test_vmm_that_aborts_is_a_crash_at_every_stage() {
	crashes_at abort
}

test_vmm_that_exits_is_a_crash_at_every_stage() {
	crashes_at exit
}

# Stuck before the guest is up: the boot limit ends it.
stuck_at() {
	for s in $JAIL $SETUP $GUEST; do
		fault "$s" "$1" -m 64 --boot-timeout "$BOOT" -- sh -c "$ASK"
		expect_rc 125
		expect_verdict vm_crash
	done
	tell_worst
}

test_vmm_that_loops_hits_the_boot_limit_at_every_stage() {
	stuck_at hang
}

test_vmm_that_floods_hits_the_boot_limit_at_every_stage() {
	stuck_at flood
}

test_vmm_that_grows_hits_a_limit_at_every_stage() {
	stuck_at grow
}

test_vmm_that_grows_is_killed_at_the_memory_limit_of_the_host() {
	for s in vmm.go $GUEST vmm.asked; do
		fault "$s" grow -m 64 -- sh -c "$ASK"
		grep -q '"cgroup_memory"' "$WORK/meta" ||
			skip 'no memory cgroup for us on this host'
		expect_rc 125
		expect_err 'the host killed it at its memory limit'
		expect_verdict vm_crash
	done
	tell_worst
}

# short_of ACTION STAGE...: it works or it says so, and does not linger.
short_of() {
	lack=$1
	shift
	for s; do
		fault "$s" "$lack" -- true
		case $rc in
		0) expect_verdict ok ;;
		125)
			expect_err '^mayfly: '
			expect_clean "$s:$lack"
			;;
		*) fail "$s:$lack: exit code $rc" ;;
		esac
	done
	tell_worst
}

test_vmm_that_runs_out_of_descriptors_works_or_ends() {
	# shellcheck disable=SC2086 # words
	short_of fds $JAIL $SETUP $GUEST
}

# Not before it has its limits: all threads of the host would be taken.
test_vmm_that_makes_threads_works_or_ends() {
	# shellcheck disable=SC2086 # words
	short_of threads jail.limits $SETUP $GUEST
}

test_vmm_that_sends_nonsense_is_a_crash_at_every_stage() {
	for s in $SETUP $GUEST vmm.asked; do
		fault "$s" babble -- sh -c "$ASK"
		expect_rc 125
		expect_err 'mayfly: mayfly-vmm '
		expect_verdict vm_crash
	done
	tell_worst
}

# --- after the command began: its own time limit, and signals -------------

test_vmm_that_is_stuck_under_a_command_has_its_timeout() {
	for a in hang stop flood; do
		# Longer where nothing has come in so little time.
		for s in 2 $((LIMIT / 4)) $((LIMIT * 3 / 4)); do
			fault vmm.asked $a --timeout $s -- sh -c "$ASK"
			expect_rc 124
			expect_verdict timeout
			[ ! -s "$out" ] || break
		done
		expect_out up
	done
}

test_vmm_that_is_stuck_under_a_command_ends_by_signal() {
	for a in hang stop flood; do
		hold vmm.asked $a --stop-timeout 1s -- sh -c "$ASK"
		kill -TERM "$pid"
		end_of "$pid"
		expect_rc 143
		expect_verdict stopped
		expect_namespaces_gone
		# and at once by a second one
		hold vmm.asked $a --stop-timeout 1000s -- sh -c "$ASK"
		tell HUP "$pid"
		kill -TERM "$pid"
		end_of "$pid"
		expect_rc 129
		expect_verdict stopped
	done
}

# mayfly run -d --name a, held at its stage.
hold_detached() {
	MAYFLY_FAULT=$1
	stage=$1
	export MAYFLY_FAULT
	start -d --name a -- sh -c "$ASK"
	unset MAYFLY_FAULT
	expect_rc 0
	wait_for "$LIMIT" is_at_stage || fail "$stage was not reached"
}

test_stuck_vmm_of_a_detached_run_obeys_stop_and_kill() {
	for word in 'stop -t 1s' kill 'rm -f'; do
		hold_detached vmm.asked:hang
		# shellcheck disable=SC2086 # words
		start_raw $word a
		expect_rc 0
		start_raw wait a
		expect_pruned "$word"
	done
}

test_session_of_a_vmm_that_is_stuck_or_dies_ends() {
	hold_detached vmm.asked:hang
	vmm=$(at_stage)
	MAYFLY_FAULT='' timeout -s KILL "$LIMIT" "$MAYFLY" exec a -- true \
		>"$out" 2>"$err" &
	session=$!
	sleep 1
	kill -9 "$vmm"
	end_of $session
	[ "$rc" = 125 ] || fail "exec: exit code $rc"
	start_raw wait a
	expect_pruned exec
}

# --- a VMM in a detached run ---------------------------------------------

test_detached_run_whose_vmm_fails_is_the_callers_error() {
	for s in jail.born jail.room vmm.main vmm.threads vmm.kick; do
		for a in segv hang; do
			fault $s $a --boot-timeout "$BOOT" -d --name a -- true
			expect_rc 125
			expect_out ''
			expect_err '^mayfly: '
			expect_clean "$s:$a"
		done
	done
	tell_worst
}

# --- SIGKILL --------------------------------------------------------------

test_launcher_killed_at_every_stage_of_its_own_leaves_nothing() {
	for s in $BEFORE_VMM $WITH_VMM $AFTER; do
		fault "$s" kill -- true
		expect_rc 137
		expect_pruned "$s:kill"
	done
	tell_worst
}

test_launcher_and_vmm_killed_at_once_leave_nothing() {
	for s in $WITH_VMM launcher.exit; do
		fault "$s" killboth -- true
		expect_rc 137
		expect_pruned "$s:killboth"
	done
	tell_worst
}

test_vmm_killed_at_every_stage_of_the_launcher_is_a_crash() {
	for s in $WITH_VMM; do
		fault "$s" killvmm -- sleep 1000
		expect_rc 125
		expect_err 'mayfly: mayfly-vmm ended: killed'
		expect_verdict vm_crash
	done
	fault launcher.exit killvmm -- sh -c 'exit 3'
	expect_rc 3
	expect_verdict runtime_error
	tell_worst
}

test_launcher_killed_at_every_stage_of_the_vmm_leaves_nothing() {
	for s in $JAIL $SETUP $GUEST vmm.asked; do
		# Asleep, it hears of that only where its death signal is set.
		case $s in
		jail.*) a=nap ;;
		*) a=stop ;;
		esac
		hold "$s" $a -- sh -c "$ASK"
		kill -9 "$pid"
		end_of "$pid"
		expect_pruned "$s:$a"
		expect_namespaces_gone
	done
}

test_vmm_killed_at_every_stage_of_its_own_is_a_crash() {
	for s in $JAIL $SETUP $GUEST vmm.asked; do
		hold "$s" stop -- sh -c "$ASK"
		kill -9 "$vmm"
		end_of "$pid"
		expect_rc 125
		expect_err 'mayfly: mayfly-vmm ended: killed'
		expect_verdict vm_crash
		expect_namespaces_gone
	done
}

test_both_killed_at_every_stage_of_the_vmm_leave_nothing() {
	for s in $JAIL $SETUP $GUEST vmm.asked; do
		hold "$s" stop -- sh -c "$ASK"
		kill -9 "$vmm" "$pid"
		end_of "$pid"
		expect_pruned "$s:stop"
		expect_namespaces_gone
	done
}

test_supervisor_killed_at_every_stage_is_told_and_leaves_nothing() {
	for s in launcher.record launcher.files launcher.cgroup $WITH_VMM; do
		fault "$s" kill -d --name a -- sleep 1000
		case $s in
		# It had told that the command runs.
		launcher.running) expect_rc 0 ;;
		*)
			expect_rc 125
			expect_err 'the supervisor died'
			;;
		esac
		expect_pruned "$s:kill"
	done
}

# --- the end of a guest, by its own hand -----------------------------------

test_vmm_that_fails_at_the_end_of_its_guest_is_still_a_crash() {
	for s in vmm.stop vmm.freed vmm.stopped; do
		for a in segv abort exit; do
			fault $s $a -- sh -c 'echo b >/proc/sysrq-trigger
				sleep 1000'
			expect_rc 125
			expect_verdict vm_crash
		done
	done
	tell_worst
}

# --- prune ------------------------------------------------------------------

test_prune_beside_live_runs_takes_only_the_dead() {
	"$MAYFLY" run --engine "$ENGINE" -d --name alive -- sleep 1000 \
		>"$WORK/alive" || fail 'run -d'
	live=$(cgroups | wc -l)
	for s in launcher.cgroup launcher.go launcher.running; do
		fault $s killboth -- sleep 1000
		expect_rc 137
		"$MAYFLY" prune >"$out" 2>&1 || fail "prune: $(cat "$out")"
		grep -q '^removed ' "$out" || fail "$s: $(cat "$out")"
		[ "$(cgroups | wc -l)" = "$live" ] ||
			fail "$s: cgroups: $(cgroups)"
		[ "$(records)" = "$(cat "$WORK/alive")" ] ||
			fail "$s: records: $(records)"
		start_raw exec alive -- echo here
		expect_out here
	done
	start_raw rm -f alive
	expect_rc 0
	expect_clean alive
}

run_tests "$0"
