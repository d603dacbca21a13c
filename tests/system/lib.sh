# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # shared with the suites
#
# lib.sh: the harness of the system tests. POSIX sh and busybox tools only:
# the same tests run inside a host that has nothing else.
#
# A test is a function test_NAME; its name says the behaviour. It runs in a
# subshell and fails by fail(). `start` runs mayfly with its streams in files
# and leaves $rc; $out and $err name the files.

# A private copy of the programs, so that processes of ours can be told from
# those of others by their executable, and a private TMPDIR to look into.
setup() {
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-test.XXXXXX") || exit 2
	BIN=$WORK/bin TMPDIR=$WORK/tmp MAYFLY_STATE_DIR=$WORK/state
	MAYFLY_DATA_DIR=$WORK/data
	mkdir "$BIN" "$TMPDIR"
	cp "$1" "$(dirname "$1")/mayfly-vmm" "$BIN/" || exit 2
	# It is not static: a host that has nothing else does not have it.
	[ ! -f "$(dirname "$1")/mayfly-unpack" ] ||
		cp "$(dirname "$1")/mayfly-unpack" "$BIN/" || exit 2
	[ ! -f "$(dirname "$1")/mayfly-net" ] ||
		cp "$(dirname "$1")/mayfly-net" "$BIN/" || exit 2
	ln -s "$(cd "$(dirname "$1")/guest" && pwd)" "$BIN/guest"
	MAYFLY=$BIN/$(basename "$1")
	out=$WORK/out err=$WORK/err
	export TMPDIR MAYFLY_STATE_DIR MAYFLY_DATA_DIR
	trap 'cleanup' EXIT
	trap 'exit 130' INT TERM HUP
}

cleanup() {
	for p in $(ours); do kill -9 "$p" 2>/dev/null; done
	rm -rf "$WORK"
}

# Processes that run a program of this test's private copy. By one process for
# all of the host: it is asked often.
ours() {
	ls -l /proc/[0-9]*/exe 2>/dev/null |
		sed -n "s,^.* /proc/\([0-9]*\)/exe -> $BIN/.*,\1,p"
}

fail() {
	echo "# $*"
	[ ! -s "$err" ] || sed 's/^/#   stderr: /' "$err" | head -n 30
	exit 1
}

# For want of something that this host cannot have: the test is over.
skip() {
	echo "$*"
	exit 77
}

# mayfly run on the engine under test.
m() {
	"$MAYFLY" run --engine "$ENGINE" "$@"
}

# m with its streams in files; never longer than LIMIT seconds.
start() {
	rc=0
	timeout -s KILL "$LIMIT" "$MAYFLY" run --engine "$ENGINE" "$@" \
		>"$out" 2>"$err" || rc=$?
}

# In the background, mayfly itself as $pid. What is waited for in its streams is
# of this run, not of one before: the child may be late to open them.
background() {
	: >"$out"
	: >"$err"
	"$MAYFLY" run --engine "$ENGINE" "$@" </dev/null >"$out" 2>"$err" &
	pid=$!
}

# mayfly with any words, as start does.
start_raw() {
	rc=0
	timeout -s KILL "$LIMIT" "$MAYFLY" "$@" </dev/null >"$out" 2>"$err" ||
		rc=$?
}

expect_rc() {
	[ "$rc" = "$1" ] || fail "exit code $rc, not $1"
}

expect_out() {
	[ "$(cat "$out")" = "$1" ] || fail "stdout: $(head -c 300 "$out")"
}

expect_err() {
	grep -q -e "$1" "$err" || fail "stderr has no \"$1\""
}

expect_no_err() {
	[ ! -s "$err" ] || fail "stderr is not empty"
}

# A refusal: one line that names the thing, a hint, exit code 125.
expect_refusal() {
	expect_rc 125
	[ ! -s "$out" ] || fail "stdout is not empty"
	grep -q "^mayfly: .*$1" "$err" || fail "no line that names $1"
	[ "$(grep -vc '^hint: ' "$err")" = 1 ] || fail "more than one line"
}

# field NAME: of the report in $WORK/meta; "host.x" is found as x.
meta() {
	sed -n "s/^ *\"${1##*.}\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" \
		"$WORK/meta" | head -n 1
}

expect_meta() {
	[ "$(meta "$1")" = "$2" ] || fail "meta: $1 is $(meta "$1"), not $2"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	tries=$(($1 * 10))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# Who ends has no program any more, and yet its locks and its cgroup: those of
# our names without memory (field 23 of proc(5)'s stat), till the last thread is
# a zombie, which is their parent's to take.
ending() {
	grep -h '(mayfly' /proc/[0-9]*/stat 2>/dev/null | sed 's/ (.*) / /' |
		awk '$22 == 0 && ($2 !~ /[ZX]/ || $19 > 1) { print $1 }'
}

nothing_runs() {
	[ -z "$(ours)$(ending)" ]
}

# No signal waits for process $1: it has seen what came, or has ended.
has_heard() {
	! grep -q '^S[hi][dg]Pnd:.*[1-9a-f]' "/proc/$1/status" 2>/dev/null ||
		grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null
}

# tell SIGNAL PID: and wait until it was heard, for two of a kind that wait are
# one.
tell() {
	kill "-$1" "$2" && wait_for 60 has_heard "$2"
}

# Of runs: all in the state directory but its lock, and what networks have.
records() {
	ls -A "$MAYFLY_STATE_DIR" 2>/dev/null | grep -vx -e lock -e net
}

expect_nothing_left() {
	wait_for 60 nothing_runs || fail "processes are left: $(ours)"
	[ -z "$(ls -A "$TMPDIR")" ] || fail "files are left: $(ls -A "$TMPDIR")"
	[ -z "$(records)" ] || fail "records are left: $(records)"
}

# run_tests FILE: every test_ function of it, or those named in $ONLY.
run_tests() {
	n=0 bad=0
	# shellcheck disable=SC2013 # names have no blanks
	for t in $(sed -n 's/^test_\([a-z0-9_]*\)() {$/\1/p' "$1"); do
		case " ${ONLY:-$t} " in *" $t "*) ;; *) continue ;; esac
		n=$((n + 1))
		: >"$out"
		: >"$err"
		r=0
		(test_"$t") >"$WORK/log" 2>&1 || r=$?
		if [ $r = 0 ]; then
			echo "ok $n - $ENGINE: $(echo "$t" | tr _ ' ')"
			grep '^# ' "$WORK/log" || :
		elif [ $r = 77 ]; then
			echo "ok $n - $ENGINE: $(echo "$t" | tr _ ' ')" \
				"# SKIP $(tail -n 1 "$WORK/log")"
		else
			echo "not ok $n - $ENGINE: $(echo "$t" | tr _ ' ')"
			sed 's/^\([^#]\)/# \1/' "$WORK/log" | head -n 40
			bad=$((bad + 1))
		fi
	done
	echo "1..$n"
	[ $bad = 0 ] || echo "# $bad of $n failed"
	[ $bad = 0 ]
}
