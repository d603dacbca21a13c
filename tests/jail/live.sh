#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# live.sh MAYFLY ENGINE [TEST...]: what /proc shows of mayfly-vmm while its VM
# runs, against what the jail promises. Root looks; AS, a number, is the user
# who runs it, root if there is none. TAP on stdout. LIMIT (240 s, for one run)
# may be set for slow hosts.
# shellcheck disable=SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/../system/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-240}
tests=$(cd "$(dirname "$1")" && pwd)/tests
# where that user can read lib.sh's copy
[ -z "${AS:-}" ] || export TMPDIR=/tmp
umask 022
setup "$1"
if [ -n "${AS:-}" ]; then
	rm "$BIN/guest"
	mkdir "$BIN/guest" "$WORK/state"
	for f in vmlinux agent.cpio base.img scratch.pack; do
		cp -L "$(dirname "$1")/guest/$f" "$BIN/guest/" || exit 2
	done
	chmod 755 "$WORK"
	chown "$AS" "$TMPDIR" "$WORK/state"
	chmod 700 "$WORK/state"
	unset XDG_RUNTIME_DIR
fi
shift 2
ONLY=$*

is_up_or_gone() {
	grep -q up "$out" || ! kill -0 "$pid" 2>/dev/null
}

# up [OPTION...]: a VM that runs until down; its launcher is $pid, its process
# $vmm.
up() {
	before=$(ours)
	if [ -n "${AS:-}" ]; then
		set -- "$tests/jail-as" "$AS" "$MAYFLY" run \
			--engine "$ENGINE" -m 64 "$@"
	else
		set -- "$MAYFLY" run --engine "$ENGINE" -m 64 "$@"
	fi
	: >"$out"
	mkfifo "$WORK/in"
	"$@" -i -- sh -c 'echo up; exec cat' \
		<"$WORK/in" >"$out" 2>"$err" &
	pid=$!
	exec 8>"$WORK/in"
	rm "$WORK/in"
	wait_for "$LIMIT" is_up_or_gone
	grep -q up "$out" ||
		fail 'it does not come up'
	vmm=
	for p in $(ours); do
		case " $(echo "$before" | tr '\n' ' ') $pid " in
		*" $p "*) ;;
		*) vmm=$p ;;
		esac
	done
	[ -n "$vmm" ] || fail 'there is no mayfly-vmm'
	status=/proc/$vmm/status
}

down() {
	exec 8>&- 9>&-
	wait "$pid" || fail "it ended with $?"
	expect_nothing_left
}

# field NAME [FILE]: of a status.
line() {
	sed -n "s/^$1:[ 	]*//p" "${2:-$status}" | tr '\t' ' '
}

expect_line() {
	[ "$(line "$1" "$3")" = "$2" ] || fail "$3: $1: $(line "$1" "$3")"
}

# Has the jail user's number that nobody else has?
has_user() {
	[ -z "${AS:-}" ] || [ "$(line Uid | cut -d ' ' -f 1)" != "$AS" ]
}

test_no_thread_has_a_capability_and_each_has_a_filter() {
	up
	n=0
	for t in "/proc/$vmm/task"/*/status; do
		for set in Inh Prm Eff Bnd Amb; do
			expect_line "Cap$set" 0000000000000000 "$t"
		done
		expect_line NoNewPrivs 1 "$t"
		expect_line Seccomp 2 "$t"
		n=$((n + 1))
	done
	[ $n -ge 2 ] || fail "it has $n threads"
	down
}

test_all_namespaces_are_its_own() {
	up
	for n in mnt pid net ipc uts cgroup ${AS:+user}; do
		its=$(readlink "/proc/$vmm/ns/$n") || fail "no namespace $n"
		for p in self 1 "$pid"; do
			[ "$its" != "$(readlink "/proc/$p/ns/$n")" ] ||
				fail "namespace $n is that of $p"
		done
	done
	[ "$(line NSpid | sed 's/.* //')" = 1 ] || fail "$(line NSpid)"
	down
}

test_the_root_is_empty_and_there_is_no_other_mount() {
	up
	[ -d "/proc/$vmm/root/." ] || fail 'nobody may look'
	[ -z "$(ls -A "/proc/$vmm/root/")" ] ||
		fail "in the root: $(ls -A "/proc/$vmm/root/")"
	mkdir "/proc/$vmm/root/x" 2>/dev/null && fail 'the root is writable'
	[ "$(wc -l <"/proc/$vmm/mountinfo")" = 1 ] ||
		fail "mounts: $(cat "/proc/$vmm/mountinfo")"
	grep -q ' / / ro,nosuid,nodev,noexec.* - tmpfs mayfly ro' \
		"/proc/$vmm/mountinfo" || fail "$(cat "/proc/$vmm/mountinfo")"
	[ "$(readlink "/proc/$vmm/cwd")" = / ] || fail 'it is somewhere else'
	down
}

# One number everywhere, and no groups; not root's, not another VM's.
test_its_user_is_nobody_else() {
	up
	first=$(line Uid)
	[ "$(echo "$first" | tr ' ' '\n' | sort -u | wc -l)" = 1 ] ||
		fail "Uid: $first"
	[ "$(line Gid | tr ' ' '\n' | sort -u | wc -l)" = 1 ] ||
		fail "Gid: $(line Gid)"
	case $first in 0*) fail 'it is root' ;; esac
	if ! has_user; then
		echo "# on this host its user is that of mayfly"
		down
		return
	fi
	[ -z "$(line Groups)" ] || fail "groups: $(line Groups)"
	exec 9>&8
	up
	[ "$first" != "$(line Uid)" ] || fail "two VMs are $first"
	down
}

# Files by what they are: the disks; sockets, pipes and the kernel's own.
expect_descriptors() {
	files=0
	for fd in "/proc/$vmm/fd"/*; do
		to=$(readlink "$fd") || continue
		case ${fd##*/} in
		0 | 1 | 2) [ "$to" = /null ] || [ "$to" = /dev/null ] ||
			fail "${fd##*/} is $to"
			continue ;;
		3) case $to in socket:*) ;; *) fail "3 is $to" ;; esac
			continue ;;
		esac
		[ ! -d "$fd" ] || fail "${fd##*/} is a directory: $to"
		case $to in
		socket:* | pipe:* | anon_inode:\[event*\]) ;;
		anon_inode:\[timerfd\]) ;;
		anon_inode:kvm-vm | anon_inode:kvm-vcpu:0)
			[ "$ENGINE" = kvm ] || fail "${fd##*/} is $to" ;;
		*base.img | *'(deleted)') files=$((files + 1)) ;;
		*) fail "${fd##*/} is $to" ;;
		esac
	done
	[ $files = 2 ] || fail "$files files: $(ls -l "/proc/$vmm/fd")"
}

test_it_has_the_descriptors_that_it_needs_and_no_other() {
	# What the caller has open has no business there.
	exec 7<"$MAYFLY" 6</
	up
	expect_descriptors
	down
}

test_no_memory_is_both_writable_and_executable() {
	up
	grep -q '^[0-9a-f-]* r-x' "/proc/$vmm/maps" || fail 'nobody may look'
	! grep '^[0-9a-f-]* .w*.\{0,1\}x' "/proc/$vmm/maps" | grep ' .wx' ||
		fail 'there is'
	down
}

limit() {
	sed -n "s/^Max $1  *\([^ ]*\) *\([^ ]*\).*/\1 \2/p" "/proc/$vmm/limits"
}

test_limits_are_in_force() {
	up
	[ "$(limit 'core file size')" = '0 0' ] || fail 'core'
	[ "$(limit 'locked memory')" = '0 0' ] || fail 'locked memory'
	[ "$(limit 'msgqueue size')" = '0 0' ] || fail 'message queues'
	[ "$(limit processes)" = '3 3' ] || fail "tasks: $(limit processes)"
	[ "$(limit 'open files')" = '512 512' ] || fail 'descriptors'
	[ "$(limit 'file size' | cut -d ' ' -f 1)" != unlimited ] ||
		fail 'file size'
	down
}

test_it_knows_no_environment_and_nobody_may_look_in() {
	SECRET=x && export SECRET
	up
	[ "$(tr '\0' '|' <"/proc/$vmm/cmdline")" = 'mayfly-vmm|' ] ||
		fail "$(tr '\0' '|' <"/proc/$vmm/cmdline")"
	[ -z "$(tr -d '\0' <"/proc/$vmm/environ")" ] || fail 'environment'
	# proc(5): of a process that cannot be dumped they are not its user's.
	[ "$(stat -c %u "/proc/$vmm/environ")" != \
		"$(line Uid | cut -d ' ' -f 1)" ] || fail 'it can be dumped'
	down
}

test_its_session_is_its_own() {
	up
	# Field 6, after a name in parentheses; 0: its leader is out of sight.
	sid=$(sed 's/.*) //' "/proc/$vmm/stat" | cut -d ' ' -f 4)
	[ "$sid" = "$vmm" ] || fail "session $sid"
	down
}

[ "$(id -u)" = 0 ] || {
	echo 'ok 1 - look at mayfly-vmm # SKIP it takes root to look'
	exit 0
}
run_tests "$here/live.sh"
