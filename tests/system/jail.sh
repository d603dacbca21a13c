#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# jail.sh MAYFLY ENGINE [TEST...]: what a user is told of the layers that keep
# a VM in, where all are there and where some are missing; what --strict makes
# of that. The program deny of MAYFLY's build plays a host that lacks
# something. TAP on stdout. LIMIT (240 s, for one run) may be set for slow
# hosts; AS, a number, for a user to be instead of root. tests/jail holds that
# the layers keep their promise.
# shellcheck disable=SC2016,SC2015,SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

# A private copy that this user can read, and all again as this user.
if [ -n "${AS:-}" ]; then
	copy=$(mktemp -d /var/tmp/mayfly-as.XXXXXX)
	trap 'rm -rf "$copy"' EXIT
	trap 'exit 130' INT TERM HUP
	build=$(dirname "$1")
	mkdir "$copy/tests" "$copy/guest" "$copy/tmp"
	cp "$build/mayfly" "$build/mayfly-vmm" "$copy/"
	cp "$build/tests/pty" "$build/tests/deny" "$copy/tests/"
	for f in vmlinux agent.cpio base.img scratch.pack; do
		cp -L "$build/guest/$f" "$copy/guest/"
	done
	cp "$0" "$here/lib.sh" "$copy/tests/"
	chown -R "$AS" "$copy"
	engine=$2
	shift 2
	cd "$copy" || exit 2
	setpriv --reuid "$AS" --regid "$AS" --clear-groups env -u AS \
		-u MAYFLY_STATE_DIR -u XDG_RUNTIME_DIR HOME="$copy" \
		TMPDIR="$copy/tmp" sh tests/jail.sh ./mayfly "$engine" "$@"
	exit
fi

ENGINE=$2
LIMIT=${LIMIT:-240}
tests=$(cd "$(dirname "$1")" && pwd)/tests
PTY=$tests/pty DENY=$tests/deny
setup "$1"
shift 2
ONLY=$*

# start on a host without $1.
start_without() {
	what=$1
	shift
	rc=0
	timeout -s KILL "$LIMIT" "$DENY" "$what" "$MAYFLY" run \
		--engine "$ENGINE" "$@" </dev/null >"$out" 2>"$err" || rc=$?
}

has_layer() {
	grep -q "^mayfly: jail: \(.*, \)*$1\(,.*\)*$" "$err"
}

expect_layer() {
	has_layer "$1" || fail "no layer $1"
}

# One line: the layer $1 is missing, why, and what mends it.
expect_missing() {
	[ "$(grep -c "^mayfly: jail: no $1: .*; .*" "$err")" = 1 ] ||
		fail "no line that says why there is no $1"
	has_layer "$1" && fail "$1 is there and missing" || :
}

# What doctor warns of in the jail, a name a line.
doctor_warns() {
	"$MAYFLY" doctor | sed -n '/^ok *jail /,$s/^warn *\([a-z_]*\) .*/\1/p'
}

expect_no_vm() {
	expect_refusal "jail: no .*$1"
	grep -q '^hint: ' "$err" || fail 'no remedy'
	expect_nothing_left
}

# --- --verbose ------------------------------------------------------------

test_verbose_names_the_layers_before_the_command_says_a_word() {
	rc=0
	m --verbose -- echo said >"$out" 2>&1 || rc=$?
	expect_rc 0
	cp "$out" "$err"
	for l in namespaces empty_root rlimits no_capabilities no_new_privs; do
		has_layer $l || grep -q "^mayfly: jail: no $l: " "$err" ||
			fail "not a word of $l"
	done
	grep -n '^mayfly: jail: \|^said' "$out" | tail -n 1 | grep -q said ||
		fail "the command came first: $(cat "$out")"
}

test_verbose_says_why_a_layer_is_missing_and_what_mends_it() {
	start_without landlock --verbose -- echo fine
	expect_rc 0
	expect_out fine
	expect_missing landlock
	expect_err 'lsm='
	expect_layer seccomp
	start_without seccomp --verbose -- echo fine
	expect_rc 0
	expect_out fine
	expect_missing seccomp
	expect_layer landlock
}

test_without_namespaces_it_runs_with_the_rest() {
	start_without namespaces --verbose -- echo fine
	expect_rc 0
	expect_out fine
	expect_missing namespaces
	expect_missing empty_root
	expect_layer no_capabilities
	expect_layer no_new_privs
	expect_nothing_left
}

test_without_verbose_nothing_is_said_but_to_a_terminal() {
	start_without landlock -- echo fine
	expect_rc 0
	expect_out fine
	expect_no_err
}

# --- a terminal -------------------------------------------------------------

# $1: a script for pty, which types at the words that follow.
on_terminal() {
	printf '%s\n' "$1" >"$WORK/script"
	shift
	rc=0
	timeout -s KILL "$LIMIT" "$PTY" "$WORK/script" "$@" >"$out" 2>&1 ||
		rc=$?
	[ $rc = 0 ] || { cp "$out" "$err"; fail 'the terminal shows no such thing'; }
}

test_a_terminal_gets_one_line_on_what_matters() {
	# Line ends as well: with -it the terminal becomes raw.
	for flags in '' -it; do
		# shellcheck disable=SC2086 # a flag or none
		on_terminal 'expect mayfly: jail: no
expect landlock on this host; mayfly doctor says what mends it\r\none\r\n
exit 0' "$DENY" landlock "$MAYFLY" run --engine "$ENGINE" $flags -- \
			echo one
	done
}

test_a_terminal_gets_one_line_of_a_detached_run() {
	trap '"$MAYFLY" rm -f quiet >"$out" 2>&1; wait_for 60 nothing_runs' EXIT
	on_terminal 'expect mayfly: jail: no
expect landlock
exit 0' "$DENY" landlock "$MAYFLY" run --engine "$ENGINE" -d --name quiet -- \
		sleep 1000
}

test_a_terminal_hears_of_what_doctor_warns_of_and_else_nothing() {
	lacks=$(doctor_warns | grep -vx -e cgroup_cpu) || :
	[ "$(id -u)" = 0 ] || lacks=$(echo "$lacks" | grep -vx own_uid) || :
	first=
	[ -z "$lacks" ] || first='expect mayfly: jail: no '$(echo "$lacks" |
		head -n 1)
	on_terminal "expect begin\r\n
$first
expect one\r\nend\r\n
exit 0" sh -c "echo begin; '$MAYFLY' run --engine $ENGINE -- echo one; echo end"
	[ -n "$lacks" ] || on_terminal 'expect begin\r\none\r\nend\r\n
exit 0' sh -c "echo begin; '$MAYFLY' run --engine $ENGINE -- echo one; echo end"
}

# --- --meta -----------------------------------------------------------------

test_meta_has_the_layers_and_what_is_missing() {
	start_without landlock --meta "$WORK/meta" -- true
	expect_rc 0
	sed -n '/"layers": \[/,/\]/p' "$WORK/meta" >"$WORK/layers"
	sed -n '/"missing": \[/,/\]/p' "$WORK/meta" >"$WORK/missing"
	grep -q '"seccomp"' "$WORK/layers" || fail 'no seccomp in it'
	grep -q '"landlock"' "$WORK/layers" && fail 'landlock in it'
	grep -q '"layer": "landlock"' "$WORK/missing" || fail 'it is not missing'
	grep -q '"why": "..*"' "$WORK/missing" || fail 'no reason'
	grep -q '"remedy": "..*"' "$WORK/missing" || fail 'no remedy'
}

# --- --strict ---------------------------------------------------------------

test_strict_refuses_before_the_guest_runs() {
	start_without landlock --strict --console "$WORK/console" \
		--append earlyprintk=ttyS0 -- echo ran
	expect_no_vm landlock
	[ ! -s "$WORK/console" ] || fail 'the guest said something'
	# refused by the jail itself, and detached
	start_without namespaces --strict -- echo ran
	expect_no_vm namespaces
	start_without seccomp --strict -d -- echo ran
	expect_no_vm seccomp
}

test_strict_tells_in_the_report_what_is_missing() {
	start_without landlock --strict --meta "$WORK/meta" -- true
	expect_rc 125
	expect_meta verdict internal
	expect_meta decided_by host
	expect_meta exit_code 125
	grep -q '"layer": "landlock"' "$WORK/meta" || fail 'no word of it'
}

test_strict_holds_for_boot() {
	rc=0
	timeout -s KILL "$LIMIT" "$DENY" landlock "$MAYFLY" boot --strict \
		--engine "$ENGINE" --kernel "$BIN/guest/vmlinux" \
		</dev/null >"$out" 2>"$err" || rc=$?
	expect_no_vm landlock
}

test_strict_runs_where_doctor_warns_of_nothing() {
	start --strict --cpus 1 -- echo fine
	if [ -z "$(doctor_warns)" ]; then
		expect_rc 0
		expect_out fine
		expect_no_err
		return
	fi
	for l in $(doctor_warns); do
		expect_no_vm "$l"
	done
}

# --- doctor -----------------------------------------------------------------

test_doctor_tries_the_jail_and_names_what_is_missing() {
	rc=0
	"$DENY" landlock "$MAYFLY" doctor >"$out" 2>"$err" || rc=$?
	expect_no_err
	grep -q '^ok  *jail ' "$out" || fail 'no line on the jail'
	for l in namespaces empty_root own_uid rlimits no_capabilities \
		no_new_privs cgroup_memory cgroup_cpu cgroup_pids seccomp; do
		[ "$(grep -c "^[okwarn]*  *$l " "$out")" = 1 ] ||
			fail "no line on $l: $(cat "$out")"
	done
	grep -A 1 '^warn *landlock ' "$out" | grep -q -- '->.*lsm=' ||
		fail "no remedy: $(cat "$out")"
	"$DENY" landlock "$MAYFLY" doctor --format json >"$out" || :
	grep -A 3 '"check": "landlock"' "$out" | grep -q '"remedy": "' ||
		fail "no remedy: $(cat "$out")"
	expect_nothing_left
}

run_tests "$0"
