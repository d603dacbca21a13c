#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# cp.sh MAYFLY ENGINE [TEST...]: files into runs and out of them, and what the
# agent does for commands besides the run's own. TAP on stdout. MEGABYTES (20)
# and LIMIT (240 s, for one command) may be set for slow hosts. The guest's
# program texts stand in single quotes: they are expanded there.
# shellcheck disable=SC2016,SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
MEGABYTES=${MEGABYTES:-20}
LIMIT=${LIMIT:-240}
KNOCK=$(cd "$(dirname "$1")" && pwd)/tests/knock
setup "$1"
shift 2
ONLY=$*

# A run called g, and $WORK/host to work in.
guest() {
	trap 'timeout -s KILL "$LIMIT" "$MAYFLY" rm -f g >/dev/null 2>&1' EXIT
	timeout -s KILL "$LIMIT" "$MAYFLY" run --engine "$ENGINE" -d --name g \
		-- sleep 100000 </dev/null >/dev/null 2>"$err" ||
		fail "run -d: exit code $?"
	rm -rf "$WORK/host"
	mkdir "$WORK/host"
	cd "$WORK/host" || fail 'no directory'
}

# Run a script in the guest.
inside() {
	start_raw exec g -- sh -c "$1"
	[ "$rc" = 0 ] || fail "in the guest: $1: exit code $rc"
}

copy() {
	start_raw cp "$@"
	[ "$rc" = 0 ] || fail "cp $*: exit code $rc"
	[ ! -s "$err" ] || fail "cp $*: stderr is not empty"
}

# cp is to fail with words that have $1.
refused() {
	words=$1
	shift
	start_raw cp "$@"
	expect_refusal "$words"
}

same() {
	diff -r --no-dereference "$1" "$2" >"$WORK/diff" 2>&1 ||
		fail "$(head -n 5 "$WORK/diff")"
}

# Nothing that begins as unfinished copies do, below $1.
expect_whole() {
	[ -z "$(find "$1" -name '.mayfly-cp-*')" ] || fail 'unfinished files'
}

tree() {
	mkdir -p "$1/a/b/c" "$1/empty" "$1/odd name"
	echo hello >"$1/a/f"
	echo x >"$1/odd name/$(printf 'n\tl\342\202\254')"
	ln -s ../nowhere "$1/a/b/dangling"
	ln -s f "$1/a/link"
	head -c 300000 /dev/urandom >"$1/a/b/c/random"
	: >"$1/a/b/none"
	chmod 0750 "$1/a"
	chmod 0711 "$1/a/f"
	touch -d '2001-02-03 04:05:06' "$1/a/f" "$1/a"
}

# In time, $1 prints nothing in the guest, and no cgroup is left but its own.
is_gone() {
	"$MAYFLY" exec g -- sh -c "$1; ls -d /sys/fs/cgroup/exec.*" \
		</dev/null >"$out" 2>&1
	[ "$(wc -l <"$out")" -eq 1 ]
}

gone() {
	wait_for 60 is_gone "$1" || fail "in the guest: $(cat "$out")"
}

test_directory_goes_in_and_comes_back_the_same() {
	guest
	tree src
	copy src g:/root
	copy g:/root/src back
	same src back
	[ "$(stat -c '%a %Y' src/a src/a/f)" = \
		"$(stat -c '%a %Y' back/a back/a/f)" ] || fail 'modes or times'
	inside 'stat -c "%u:%g %a" /root/src/a/f'
	expect_out '0:0 711'
}

test_names_are_docker_s() {
	guest
	mkdir d
	echo one >f
	copy f g:/root/new
	copy f g:/root
	copy f g:root/
	copy d g:/root/d2
	copy f g:/root/d2
	inside 'cd /root; cat new f d2/f'
	expect_out 'one
one
one'
	copy g:/root/new .
	copy g:/root/new other
	copy g:root/d2 d
	copy g:/root/d2/. d
	copy g:/etc/ etc
	[ "$(cat new other d/d2/f d/f)" = 'one
one
one
one' ] || fail 'contents'
	[ -f etc/passwd ] || fail 'etc'
	copy d/. g:/root/d3
	inside 'cat /root/d3/d2/f'
	expect_out one
}

test_mistakes_are_named() {
	guest
	mkdir d
	echo one >f
	refused '/nope: .*No such file' g:/nope .
	refused 'nope: No such file' nope g:/root
	refused 'no/: cannot be opened: No such file' g:/etc/passwd no/such
	refused '/no/: cannot be opened: No such file' f g:/no/such
	refused 'f: is there, and no directory' g:/etc f
	refused '/etc/passwd: is there, and no directory' d g:/etc/passwd
	refused 'no such\|unknown\|not found\|no run' zzz:/etc .
	refused 'neither path' f d
	refused 'both paths' g:/etc g:/tmp
	refused 'operands' f
	refused 'empty' g: .
	refused 'new/.*directory' g:/etc/passwd new/
	refused '/root/new/.*directory' f g:/root/new/
	refused 'user' -u who-is-it f g:/tmp
	[ "$(find . | sort | tr '\n' ' ')" = '. ./d ./f ' ] || fail "$(find .)"
	"$MAYFLY" stop -t 1s g >/dev/null 2>&1
	refused g g:/etc .
}

test_file_is_replaced_and_not_written_through() {
	guest
	echo mine >mine
	ln -s mine link
	ln mine hard
	copy g:/etc/hostname link
	copy g:/etc/hostname hard
	[ "$(cat mine)" = mine ] || fail 'written through a link'
	[ "$(cat link hard)" = 'mayfly
mayfly' ] || fail 'not replaced'
	[ ! -L link ] || fail 'a link still'
}

test_what_comes_out_is_the_callers_and_harmless() {
	guest
	inside 'mkdir -p /root/d/s; cd /root/d; echo x >suid; chmod 6755 suid
		echo x >all; chmod 666 all; chmod 1777 s; mkfifo pipe
		mknod dev c 1 3; ln -s /etc/passwd link; chown 12:34 all'
	umask 027
	start_raw cp g:/root/d .
	expect_rc 0
	[ "$(grep -c 'left out' "$err")" = 2 ] || fail 'pipe and device'
	[ "$(cd d && stat -c '%n %a %u' all s suid)" = "all 640 $(id -u)
s 750 $(id -u)
suid 750 $(id -u)" ] || fail "$(stat -c '%n %a %u' d/*)"
	[ "$(readlink d/link)" = /etc/passwd ] || fail 'link'
	[ "$(find d | wc -l)" -eq 5 ] || fail "$(find d)"
	# A link that came out is not a way in.
	rm -rf d/s
	ln -s "$WORK" d/s
	start_raw cp g:/root/d .
	expect_rc 125
	expect_err 's: is there, and no directory'
}

test_user_owns_in_the_guest_and_cannot_read_all() {
	guest
	tree src
	chmod 755 src/a
	inside 'mkdir /root/o; chown nobody /root/o; chmod 755 /root /root/o'
	copy -u nobody src g:/root/o
	inside 'stat -c %U:%G /root/o/src/a/f'
	expect_out 'nobody:nogroup'
	refused 'Permission denied' -u nobody src g:/etc
	inside 'echo a >/root/o/a; chmod 600 /root/o/a; echo b >/root/o/b'
	start_raw cp -u 65534:65534 g:/root/o .
	expect_rc 125
	expect_err 'o/a: cannot be opened: Permission denied'
	expect_err 'not all of it'
	[ "$(cat o/b)" = b ] || fail 'the rest is not there'
	[ ! -e o/a ] || fail 'a file that could not be read'
}

test_megabytes_and_holes_pass() {
	guest
	head -c $((MEGABYTES * 1000000)) /dev/urandom >big
	truncate -s 200M holes
	copy big g:/root
	copy holes g:/root
	inside 'sha256sum </root/big; stat -c %s /root/holes
		test $(stat -c %b /root/holes) -lt 100 && echo sparse'
	expect_out "$(sha256sum <big)
209715200
sparse"
	copy g:/root/big back
	copy g:/root/holes holes2
	cmp big back || fail 'big differs'
	[ "$(stat -c %s holes2)" = 209715200 ] || fail 'size'
	[ "$(stat -c %b holes2)" -lt 100 ] || fail 'it has no holes'
}

test_root_of_the_guest_comes_out_without_proc() {
	guest
	start_raw cp g:/ root
	expect_rc 0
	[ -f root/etc/passwd ] || fail 'no /etc/passwd'
	[ ! -e root/proc ] || fail '/proc'
	expect_err '/proc: is another kind of file system'
}

test_guest_without_proc_and_programs_is_copied_from() {
	guest
	inside 'echo x >/root/f; umount -l /proc; umount -l /dev
		busybox mount -t tmpfs none /bin'
	copy g:/root/f .
	copy f g:/root/f2
	copy g:/root/f2 .
	[ "$(cat f2)" = x ] || fail 'contents'
}

has_begun() {
	[ -n "$(find d -name '.mayfly-cp-*' 2>/dev/null)" ]
}

test_machine_that_ends_meanwhile_leaves_no_half_file() {
	guest
	# Much more than fits on its way.
	inside 'mkdir /root/d; truncate -s 10G /root/d/b'
	"$MAYFLY" cp g:/root/d . </dev/null >"$out" 2>"$err" &
	pid=$!
	wait_for 60 has_begun || fail 'it has not begun'
	timeout -s KILL "$LIMIT" "$MAYFLY" kill g >/dev/null 2>&1
	rc=0
	wait $pid || rc=$?
	expect_rc 125
	[ ! -e d/b ] || fail 'half a file by its name'
	expect_whole .
	wait_for 60 only_of_runs || fail "processes are left: $(ours)"
}

# All processes of ours are of runs, none is of cp.
only_of_runs() {
	for p in $(ours); do
		tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -q ' cp ' &&
			return 1
	done
	return 0
}

test_interrupted_copies_clean_up_on_both_sides() {
	guest
	truncate -s 100G big
	inside 'truncate -s 10G /root/big; mkdir /root/in'
	for sig in INT TERM HUP; do
		# Of a shell without job control, INT would be ignored. In the
		# foreground it is sent once; two are a user's who insists.
		timeout --foreground -s $sig 1 "$MAYFLY" cp g:/root/big copy \
			</dev/null >"$out" 2>"$err"
		rc=$?
		[ $rc = 124 ] || fail "$sig: exit code $rc"
		[ ! -e copy ] || fail 'half a file by its name'
		expect_whole .
		timeout --foreground -s $sig 1 "$MAYFLY" cp big g:/root/in \
			</dev/null >"$out" 2>"$err"
		[ $? = 124 ] || fail "$sig: not interrupted"
	done
	"$MAYFLY" cp big g:/root/in </dev/null >"$out" 2>"$err" &
	pid=$!
	sleep 1
	kill -TERM $pid
	rc=0
	wait $pid || rc=$?
	expect_rc 143
	"$MAYFLY" cp g:/root/big copy </dev/null >"$out" 2>"$err" &
	pid=$!
	sleep 1
	kill -KILL $pid
	wait $pid
	wait_for 60 only_of_runs || fail "processes are left: $(ours)"
	expect_whole .
	[ ! -e copy ] || fail 'half a file by its name'
	gone 'ls -A /root/in; ps | grep "tree[-]"'
}

copy_is_gone() {
	! kill -0 "$pid" 2>/dev/null
}

test_copy_that_gets_no_answer_can_be_stopped() {
	guest
	mkdir into
	for p in $(ours); do
		case $(readlink "/proc/$p/exe") in
		*/mayfly-vmm) kill -STOP "$p" ;;
		esac
	done
	"$MAYFLY" cp g:/etc into </dev/null >"$out" 2>"$err" &
	pid=$!
	sleep 1
	tell TERM "$pid"
	wait_for 60 copy_is_gone || fail 'it goes on'
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	[ -z "$(ls -A into)" ] || fail "files are left: $(ls -A into)"
}

test_commands_of_a_lost_client_end_with_it() {
	guest
	"$MAYFLY" exec g -- sh -c 'echo up; setsid sleep 7777 & exec sleep 7777' \
		</dev/null >"$out" 2>"$err" &
	pid=$!
	wait_for 60 grep -q up "$out" || fail 'no command'
	kill -KILL $pid
	wait $pid
	gone 'ps | grep "sleep [7]777"'
}

test_cgroups_are_gone_with_their_commands() {
	guest
	inside 'sleep 1000 & setsid sleep 1000 & mkdir -p \
		$(echo /sys/fs/cgroup/exec.*)/below/below; echo done'
	expect_out 'done'
	gone 'ps | grep "sleep [1]000$"'
}

test_wall_clock_is_not_set_by_further_commands() {
	guest
	inside 'date -s 2001-02-03 >/dev/null'
	inside 'date +%Y'
	expect_out 2001
}

test_programs_of_the_guest_cannot_reach_the_agent() {
	[ -x "$KNOCK" ] || skip 'tests/knock is not built'
	guest
	copy "$KNOCK" g:/root/knock
	inside '/root/knock'
	grep -q ' 0 answers' "$out" || fail "$(cat "$out")"
	inside 'exec echo alive'
	expect_out alive
}

test_stranger_in_the_guest_cannot_signal_or_trace_the_agent() {
	guest
	inside 'p=$(ps -o pid,comm | sed -n "s/ mayfly-session$//p")
		[ -n "$p" ] || exit 9
		for x in 1 $p; do
			su -s /bin/sh nobody -c "kill -9 $x" 2>&1 | tail -n 1
			su -s /bin/sh nobody -c "cat /proc/$x/environ" 2>&1 |
				tail -n 1
		done'
	[ "$(grep -c 'not permitted' "$out")" -eq 2 ] || fail "$(cat "$out")"
	[ "$(grep -c 'denied' "$out")" -eq 2 ] || fail "$(cat "$out")"
}

run_tests "$here/cp.sh"
