#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check.sh BUILD SUITE...: run suites of tests, with a line for each that has
# its counts and seconds, and the reason of each skip. Of one that failed there
# follows what failed, then its whole output; and at the end, for who sees no
# more than that, a line for each test that failed. The last line sums up:
#
#	N passed, N failed, N skipped
#
# SUITE: tree, unit, guest, system, others, jail, kvmhost, docs, readme; kvm is
# all that kvmhost takes the first of. san is for the first few of them on the
# sanitized build in BUILD/san, tsan for those that ThreadSanitizer can watch,
# in BUILD/tsan. faults are processes that fail or
# are killed, of the build in BUILD/faults. attack is the payloads of ATTACK
# against the devices, on whole machines. soak, diff and software take long:
# many runs, the unit tests of UNIT_LONG with all their cases, a distribution's
# programs against the same ones on the host. fuzz runs the targets in
# FUZZ for FUZZ_TIME seconds each, fuzz-smoke for a moment. UNIT and GUEST list
# the programs of these two, ENGINES the engines for payloads, SYSTEM the tests
# to take where not all are wanted. With MAYFLY_MUST_RUN=1 a
# test that is skipped has failed, unless this host cannot run it.
set -eu
export LC_ALL=C

build=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-check.XXXXXX")
log=$work/log
: >"$work/failed"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
passed=0 failed=0 skipped=0

now() {
	date +%s%N
}

# "PASSED FAILED SKIPPED" of the log. TAP, and the lines of guest-run.
count() {
	awk '
	/^ok +[a-z0-9_]+ on [a-z]+: / { pass += $5; skip += $7; next }
	/^FAIL +[a-z0-9_]+ on [a-z]+: / {
		fail += $5 ? $5 : 1; pass += $7; next
	}
	/^ok .*# [Ss][Kk][Ii][Pp]/ { skip++; next }
	/^ok / { pass++ }
	/^not ok / { fail++ }
	END { print pass + 0, fail + 0, skip + 0 }' "$log"
}

# The reasons of skips, one a line.
reasons() {
	sed -n 's/^ok .*# [Ss][Kk][Ii][Pp][: ]*//p; s/^ *SKIP [0-9]* //p' \
		"$log" | sort | uniq -c | sed 's/^ *1 //; s/^ *\([0-9]*\) /\1x /'
}

# How many of these skips are for want of something that the host could have.
# Payloads skip what they find an engine, or this KVM, cannot do.
unexcused() {
	sed -n 's/^ok .*# [Ss][Kk][Ii][Pp][: ]*//p' "$log" |
	if [ -w /dev/kvm ]; then cat; else grep -v /dev/kvm || :; fi | wc -l
}

# Of the log, the tests that failed and what they say of it: TAP's with lines
# of #, Criterion's with indented ones, checks of payloads. Where no test has
# failed, as in a program that crashed, the end of the log.
failures() {
	awk '
	/^not ok / || /^ *FAIL / { print; n++; of = 1; next }
	of && /^[# \t]/ && !/^ *SKIP / { print; next }
	{ of = 0 }
	END { exit !n }' "$log" || tail -n 20 "$log"
}

# failures(), a line for each test, after the name of its suite: $1. YAML that
# Criterion says nothing by is left out.
in_brief() {
	failures | awk -v suite="$1" '
	function tell() {
		if (line != "")
			print "FAIL   " suite ": " substr(line, 1, 300)
	}
	{ text = $0; gsub(/^#?[ \t]+|[ \t]+$/, "", text) }
	/^not ok / || /^ *FAIL / { tell(); line = text; next }
	text ~ /^(---|\.\.\.|assertions: [0-9]+|failures:|)$/ { next }
	{ sub(/^- /, "", text); sub(/: \|\+$/, ":", text) }
	{ line = line (line ~ /^$|:$/ ? "" : ";") (line == "" ? "" : " ") text }
	END { tell() }'
}

# suite NAME SECONDS COMMAND...: run it under a deadline, many times what it takes
# on a host with nothing else to do, and tell.
suite() {
	name=$1 limit=$2
	shift 2
	start=$(now)
	rc=0
	timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null || rc=$?
	ms=$((($(now) - start) / 1000000))
	set -- $(count)
	p=$1 f=$2 s=$3 why=
	if [ "$rc" = 124 ] || [ "$rc" = 137 ]; then
		why="no end after $limit s"
	elif [ "$rc" != 0 ] && [ "$f" = 0 ]; then
		why="exit code $rc"
	elif [ $((p + f + s)) = 0 ]; then
		why='it ran no test'
	elif [ -n "${MAYFLY_MUST_RUN:-}" ] && [ "$(unexcused)" != 0 ]; then
		why="skipped, though MAYFLY_MUST_RUN is set"
		s=$((s - $(unexcused))) f=$((f + $(unexcused) - 1))
	fi
	[ -z "$why" ] || f=$((f + 1))
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%-6s %-24s %6d passed' "$([ $f = 0 ] && echo ok || echo FAIL)" \
		"$name" "$p"
	[ "$f" = 0 ] && printf '%12s' '' || printf ' %4d failed' "$f"
	[ "$s" = 0 ] && printf '%13s' '' || printf ' %4d skipped' "$s"
	printf ' %4d.%d s\n' $((ms / 1000)) $((ms % 1000 / 100))
	reasons | sed 's/^/         skip: /'
	if [ "$f" != 0 ]; then
		[ -z "$why" ] || echo "FAIL   $name: $why" |
			tee -a "$work/failed"
		in_brief "$name" >>"$work/failed"
		failures | head -n 200 | sed 's/^/  ! /'
		sed 's/^/  | /' "$log"
	fi
}

# A suite that this host cannot run: one skip.
cannot() {
	suite "$1" 60 echo "ok 1 - $1 # SKIP $2"
}

# $1: in front of names, $2: a build directory.
units() {
	for t in $UNIT; do
		suite "$1$t" 1200 "$2/tests/unit/$t" --tap
	done
}

payloads() {
	for e in $ENGINES; do
		if [ "$e" = kvm ] && ! [ -w /dev/kvm ]; then
			cannot "$1$e" 'no /dev/kvm that opens'
			continue
		fi
		set -- "$1" "$2"
		for g in $GUEST; do
			set -- "$@" "$2/payload/$g"
		done
		prefix=$1 dir=$2
		shift 2
		suite "$prefix$e" 1200 "$dir/tests/guest-run" "$e" "$@"
		set -- "$prefix" "$dir"
	done
}

# Payloads of ATTACK against the VMM of $2, on ENGINES that are ours. The last
# word is how much the VMM may grow, in MiB: a sanitizer takes its share.
attacks() {
	attack_programs=
	for a in $ATTACK; do
		attack_programs="$attack_programs $2/payload/attack_$a"
	done
	for e in $ENGINES; do
		[ "$e" != qemu ] || continue
		# shellcheck disable=SC2086 # names
		suite "$1$e" 2400 "$2/tests/attack-run" -m "$3" \
			"$2/mayfly-vmm" "$e" $attack_programs
	done
}

# Those that `mayfly run` of $1 takes on this host.
engines() {
	if "$1/mayfly" doctor | grep -q '^ok .*engine auto *takes kvm'; then
		echo soft kvm
	else
		echo soft
	fi
}

# $1 as above; on each engine. More words are variables for the tests.
system() {
	prefix=$1 dir=$2
	shift 2
	for e in $(engines "$dir"); do
		# shellcheck disable=SC2086 # names
		suite "$prefix$e" 3600 env "$@" "$here/system/core.sh" \
			"$dir/mayfly" "$e" ${SYSTEM:-}
		[ -n "${SYSTEM:-}" ] ||
			suite "${prefix}sessions/$e" 3600 env "$@" \
				"$here/system/sessions.sh" "$dir/mayfly" "$e"
	done
}

# What is slow to make or to run, once: programs of a distribution, and runs
# that go on by themselves.
others() {
	for t in glibc debian debian-run detached cp errors net_errors trace image \
		image_errors pull; do
		suite "system/$t" 1800 "$here/system/$t.sh" "$build/mayfly" soft
	done
	for e in $(engines "$build"); do
		suite "system/jail/$e" 1800 "$here/system/jail.sh" \
			"$build/mayfly" "$e"
		suite "system/run_image/$e" 1800 "$here/system/run_image.sh" \
			"$build/mayfly" "$e"
		suite "system/copies/$e" 1800 "$here/system/copies.sh" \
			"$build/mayfly" "$e"
		suite "system/net/$e" 1800 "$here/system/net.sh" \
			"$build/mayfly" "$e"
		suite "system/net_abuse/$e" 1800 "$here/system/net_abuse.sh" \
			"$build/mayfly" "$e"
		suite "system/publish/$e" 1800 "$here/system/publish.sh" \
			"$build/mayfly" "$e"
		suite "system/disk/$e" 1800 "$here/system/disk.sh" \
			"$build/mayfly" "$e"
		suite "system/drive/$e" 1800 "$here/system/drive.sh" \
			"$build/mayfly" "$e"
		suite "system/liar/$e" 1800 "$here/system/liar.sh" \
			"$build/mayfly" "$e"
		suite "system/cgroup/$e" 1800 "$here/system/cgroup.sh" \
			"$build/mayfly" "$e"
		suite "system/limits/$e" 1800 "$here/system/limits.sh" \
			"$build/mayfly" "$e"
	done
	[ "$(id -u)" != 0 ] ||
		suite system/net_host 1800 "$here/system/net_host.sh" \
			"$build/mayfly"
	[ "$(id -u)" != 0 ] ||
		suite system/net_look 1800 "$here/system/net_look.sh" \
			"$build/mayfly"
	[ "$(id -u)" != 0 ] ||
		suite system/jail/rootless 1800 env AS=4321 \
			"$here/system/jail.sh" "$build/mayfly" soft
	[ "$(id -u)" != 0 ] ||
		suite system/net/rootless 1800 env AS=4321 \
			"$here/system/net.sh" "$build/mayfly" soft
}

# On hosts that allow less and less; who is not root can be fewer of them.
jail() {
	hosts='user container bare nested'
	[ "$(id -u)" != 0 ] || hosts="root subuid bare-root $hosts"
	for h in $hosts; do
		suite "jail/$h" 900 "$here/jail/probes.sh" "$build" "$h"
	done
	for e in $(engines "$build"); do
		suite "jail/live/$e" 900 "$here/jail/live.sh" "$build/mayfly" "$e"
	done
	[ "$(id -u)" != 0 ] || suite jail/live/user 900 env AS=12345 \
		"$here/jail/live.sh" "$build/mayfly" soft
}

# With programs that misbehave when told to, in BUILD/faults.
faults() {
	suite faults/net_keep_end 900 \
		"$build/faults/tests/unit/net_keep_end" --tap
	for e in $(engines "$build"); do
		suite "faults/$e" 1800 env PRODUCTION="$build/mayfly" \
			"$here/system/faults.sh" "$build/faults/mayfly" "$e"
	done
	[ "$(id -u)" != 0 ] ||
		suite faults/net_host 900 "$here/system/net_host.sh" \
			"$build/faults/mayfly" net sigkill_at_each_step
	suite faults/net 900 "$here/system/net_faults.sh" \
		"$build/faults/mayfly" soft
}

# $1: smoke or all; $2 seconds at most
kvmhost() {
	if ! "$here/kvmhost/kernel.sh" >"$log" 2>&1; then
		cannot "kvmhost/$1" "$(tail -n 1 "$log")"
		return
	fi
	suite "kvmhost/$1" "$2" "$here/kvmhost/run.sh" "$build" "$1"
}

# $1 a name, $2 how many seconds for each target; 0: a few thousand runs.
fuzz_targets() {
	# shellcheck disable=SC2086 # names
	suite "$1" $((300 + 20 * $2)) "$here/fuzz/run.sh" "$build" "$2" $FUZZ
}

san() {
	units san/ "$build/san"
	ENGINES=soft payloads san/guest/ "$build/san"
	ENGINES=soft attacks san/attack/ "$build/san" 600
	system san/system/ "$build/san" RUNS=3 MEGABYTES=5
}

# Criterion does not run under ThreadSanitizer, but the VMM does: TSAN_SYSTEM
# are the tests that keep its threads busy.
tsan() {
	ENGINES=soft payloads tsan/guest/ "$build/tsan"
	# but for one that reads gigabytes, each byte of which is looked at
	ENGINES=soft ATTACK="$(echo " $ATTACK " | sed 's/ blk / /')" \
		attacks tsan/attack/ "$build/tsan" 2000
	SYSTEM=$TSAN_SYSTEM system tsan/system/ "$build/tsan" \
		RUNS=1 MEGABYTES=2 LIMIT=300
	suite tsan/net 900 env LIMIT=300 "$here/system/net.sh" \
		"$build/tsan/mayfly" soft names_are_answered \
		bytes_come_and_go_as_they_are
	suite tsan/publish 900 env LIMIT=300 "$here/system/publish.sh" \
		"$build/tsan/mayfly" soft megabytes_come_back_as_they_were \
		datagrams_are_answered many_clients_at_once_are_served
}

# Every case of the tests that make them by the million.
diff_long() {
	for t in $UNIT_LONG; do
		suite "long/$t" 1800 env MAYFLY_LONG=1 \
			"$build/tests/unit/$t" --tap --timeout 1800
	done
}

software() {
	suite software 3600 "$here/system/software.sh" "$build/mayfly" soft
	root=$("$here/system/debian-root.sh" debian 2>/dev/null) || return 0
	suite software/terminal 1200 env BASH_IMAGE="$root/root.img" \
		"$here/system/sessions.sh" "$build/mayfly" soft \
		bash_edits_lines_and_controls_jobs
}

soak() {
	suite soak 2400 "$here/system/soak.sh" "$build/mayfly" soft
	suite soak/net 2400 "$here/system/soak_net.sh" "$build/mayfly" soft
}

for what in "$@"; do
	case $what in
	fuzz) fuzz_targets fuzz "$FUZZ_TIME" ;;
	fuzz-smoke) fuzz_targets fuzz-smoke 0 ;;
	tree) suite tree 300 "$here/../tools/tree.sh" ;;
	unit) units unit/ "$build" ;;
	guest) payloads guest/ "$build" ;;
	attack) attacks attack/ "$build" 64 ;;
	system) system system/ "$build" ;;
	others) others ;;
	faults) faults ;;
	jail) jail ;;
	kvmhost) kvmhost smoke 6000 ;;
	kvm) kvmhost all 6000 ;;
	docs) suite completion 2400 "$here/completion.sh" "$build/mayfly"
		suite man 1200 "$here/man.sh" "$build/mayfly" ;;
	package) suite package 1200 "$here/package.sh" "$build" ;;
	readme) suite readme 900 "$here/readme.sh" "$build" ;;
	san) san ;;
	tsan) tsan ;;
	diff) diff_long ;;
	soak) soak ;;
	software) software ;;
	*) echo "check.sh: no suite is called $what" >&2; exit 2 ;;
	esac
done
head -n 40 "$work/failed"
echo "$passed passed, $failed failed, $skipped skipped" |
	tee "$build/check.summary"
[ "$failed" = 0 ]
