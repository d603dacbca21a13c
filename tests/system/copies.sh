#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# copies.sh MAYFLY ENGINE [TEST...]: what a run gets before its command and
# gives back after it: -v, --copy-in, --copy-out, --tmpfs, --read-only. TAP on
# stdout. MEGABYTES (200), FILES (5000) and LIMIT (120 s, for one run) may be
# set for slow hosts. The guest's program texts stand in single quotes: they
# are expanded there.
# shellcheck disable=SC2016,SC2034,SC2154,SC2012

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
MEGABYTES=${MEGABYTES:-200}
FILES=${FILES:-5000}
LIMIT=${LIMIT:-120}
setup "$1"
shift 2
ONLY=$*

# A directory of the test's own to work in.
fresh() {
	rm -rf "$WORK/host"
	mkdir "$WORK/host"
	cd "$WORK/host" || fail 'no directory'
}

# Names, modes, links, times, holes, nothing.
tree() {
	mkdir -p "$1/a/b/c" "$1/empty" "$1/odd name"
	echo hello >"$1/a/f"
	echo x >"$1/odd name/$(printf 'n\nl\342\202\254')"
	echo y >"$1/odd name/$(printf '\377\376 -x')"
	ln -s ../nowhere "$1/a/b/dangling"
	ln -s f "$1/a/link"
	ln -s / "$1/a/root"
	head -c 300000 /dev/urandom >"$1/a/b/c/random"
	truncate -s 4M "$1/a/holes"
	: >"$1/a/b/none"
	chmod 0750 "$1/a"
	chmod 0711 "$1/a/f"
	touch -d '2001-02-03 04:05:06' "$1/a/f" "$1/a"
}

same() {
	diff -r --no-dereference "$1" "$2" >"$WORK/diff" 2>&1 ||
		fail "$(head -n 5 "$WORK/diff")"
}

# Nothing that begins as unfinished copies do, below $1.
expect_whole() {
	[ -z "$(find "$1" -name '.mayfly-cp-*')" ] || fail 'unfinished files'
}

# The command's code is $1, and mayfly had nothing to say.
expect_quiet() {
	expect_rc "$1"
	expect_no_err
}

# --- there and back -----------------------------------------------------

test_a_tree_goes_in_and_comes_out_the_same() {
	fresh
	tree src
	start --copy-in src:/work/deep/er --copy-out /work/deep/er:back \
		-- sh -c 'cd /work/deep/er; stat -c "%n %u:%g %a %Y" a a/f;
			stat -c %u:%g:%a /work /work/deep; stat -c %b a/holes'
	expect_quiet 0
	expect_out "a 0:0 750 981173106
a/f 0:0 711 981173106
0:0:755
0:0:755
0"
	same src back
	[ "$(stat -c '%a %Y' src/a src/a/f)" = \
		"$(stat -c '%a %Y' back/a back/a/f)" ] || fail 'modes or times'
	[ "$(stat -c %b back/a/holes)" = 0 ] || fail 'holes'
	expect_nothing_left
}

test_names_are_those_of_cp() {
	fresh
	mkdir d out
	echo one >f
	echo two >d/g
	ln -s f l
	start --copy-in f:/new --copy-in f:/root --copy-in f:/root/sub/ \
		--copy-in d:/root --copy-in d/.:/root/dots --copy-in d:/root/d2 \
		--copy-in l:/root/l --copy-in .:/root/here \
		--copy-out /new:. --copy-out /new:other --copy-out /root/d:out \
		--copy-out /root/d/.:out --copy-out /root/l:ll \
		--copy-out /root/sub/:sub \
		-- sh -c 'cd /root; cat /new f sub/f d/g dots/g d2/g here/d/g;
			readlink l'
	expect_quiet 0
	expect_out 'one
one
one
two
two
two
two
f'
	[ "$(cat new other out/d/g out/g sub/f)" = 'one
one
two
two
one' ] || fail 'contents'
	[ "$(readlink ll)" = f ] || fail 'link'
}

test_the_user_of_the_command_owns_what_is_copied_in() {
	fresh
	tree src
	start -u nobody --copy-in src:/work -- \
		sh -c 'cd /work && echo more >>a/f && : >a/new && rm -r empty &&
			stat -c %U:%G . a/f a/link'
	expect_quiet 0
	expect_out 'nobody:nogroup
nobody:nogroup
nobody:nogroup'
	start -u who-is-it --copy-in src:/work -- true
	expect_refusal 'who-is-it: is no user of this guest'
	expect_nothing_left
}

test_large_files_pass() {
	fresh
	head -c $((MEGABYTES * 1000000)) /dev/urandom >big
	start --copy-in big:/root --copy-out /root/big:back -- \
		sha256sum /root/big
	expect_quiet 0
	expect_out "$(sha256sum <big | cut -c 1-64)  /root/big"
	cmp big back || fail 'big differs'
}

test_many_files_pass() {
	fresh
	mkdir -p many/d
	for i in $(seq "$FILES"); do echo "$i" >"many/d/file $i"; done
	start -v many:/many --copy-out /many:back -- \
		sh -c 'ls /many/d | wc -l'
	expect_quiet 0
	expect_out "$FILES"
	same many back
}

# --- volumes ------------------------------------------------------------

test_a_volume_is_read_only_for_root_and_a_copy() {
	fresh
	tree src
	cp -a src before
	start -v src:/src -v src/a/f:/etc/hostname:ro -v "$PWD/src:/usr/a/b" -- \
		sh -c 'cat /etc/hostname /usr/a/b/a/f
			echo x >/src/a/f; echo x >>/etc/hostname; rm -r /src/a
			echo >/src/new; chmod 777 /src; chown 1 /src/a/f
			mv /src/a /src/c; ln /src/a/f /src/g; mkdir /src/d
			truncate -s 0 /src/a/f; touch /src/a/f; rmdir /src
			rm /etc/hostname; cat /src/a/f'
	expect_rc 0
	expect_out 'hello
hello
hello'
	[ "$(grep -c 'Read-only file system' "$err")" -ge 11 ] ||
		fail 'not all refused'
	[ "$(grep -c 'Read-only\|busy' "$err")" = "$(wc -l <"$err")" ] ||
		fail 'another word'
	same src before
	expect_nothing_left
}

test_a_volume_hides_what_was_there_and_not_itself() {
	fresh
	mkdir src
	echo mine >src/passwd
	ln -s src link
	start -v link:/etc -- sh -c 'ls /etc; cat /etc/passwd
		find / -xdev -name passwd -type f | grep -v ^/usr
		grep -c " /etc " /proc/mounts'
	expect_quiet 0
	expect_out 'passwd
mine
1'
}

test_mounts_lie_in_each_other() {
	fresh
	mkdir -p a/sub b
	echo a >a/f
	echo b >b/f
	start --tmpfs /m/n/tmp:1m -v b:/m/n -v a:/m --copy-in b/f:/m/n/tmp/g \
		--copy-in b/f:/m/sub/late -- \
		sh -c 'cat /m/f /m/n/f /m/n/tmp/g /m/sub/late; echo >/m/n/tmp/h
			echo >/m/g; echo >/m/n/g'
	expect_rc 1
	expect_out 'a
b
b
b'
	[ "$(grep -c Read-only "$err")" = 2 ] || fail 'not two'
}

# --- tmpfs, read-only ---------------------------------------------------

test_tmpfs_has_its_size_and_flags() {
	start --tmpfs /a/b:4m --tmpfs /mnt -- sh -c '
		grep " /a/b \| /mnt " /proc/mounts | cut -d " " -f 1,3,4
		stat -c %a /a/b; df -k /a/b | tail -n 1 | tr -s " " | cut -d " " -f 2
		dd if=/dev/zero of=/a/b/f bs=1M count=9 2>&1 | grep -c "No space"'
	expect_quiet 0
	expect_out 'tmpfs tmpfs rw,nosuid,nodev,relatime,size=4096k
tmpfs tmpfs rw,nosuid,nodev,relatime
1777
4096
1'
}

test_read_only_is_all_but_memory() {
	start --read-only --tmpfs /var/x -w /made/for/it -- sh -c '
		pwd; for d in / /etc /root /usr/bin /made/for/it /var; do
			echo >$d/f && echo $d
		done; for d in /tmp /dev/shm /var/x; do
			echo >$d/f || echo no $d
		done; rm /etc/passwd; chmod 0 /etc/passwd'
	expect_rc 1
	expect_out /made/for/it
	[ "$(grep -c Read-only "$err")" = 8 ] || fail 'not all refused'
	start --read-only --tmpfs /out --copy-out /out/f:"$WORK/f" -- \
		sh -c 'echo kept >/out/f'
	expect_quiet 0
	[ "$(cat "$WORK/f")" = kept ] || fail 'not kept'
	expect_nothing_left
}

test_what_cannot_be_mounted_is_named() {
	fresh
	mkdir d
	: >f
	start --tmpfs /etc/passwd -- true
	expect_refusal '/etc/passwd: mount in the guest: Not a directory'
	start -v d:/etc/passwd -- true
	expect_refusal '/etc/passwd: mount in the guest: Not a directory'
	start -v f:/etc -- true
	expect_refusal '/etc: mount in the guest: Not a directory'
	expect_nothing_left
}

# --- mistakes -----------------------------------------------------------

test_mistakes_are_found_before_a_vm_is_made() {
	fresh
	mkdir d
	: >f
	# A kernel that is none: to start would be another error.
	for o in '-v nope:/x|nope: No such' '--copy-in nope:/x|nope: No such' \
		'-v d:/x:rw|no directory of the host is written' \
		'-v d:/x:cached|cached is no mode' '-v d|HOST:GUEST' \
		'-v d:x|not absolute' '--copy-in d:x|not absolute' \
		'--copy-out x:d|not absolute' '--copy-out /x|GUEST:HOST' \
		'-v d:/|root is not to be hidden' '--tmpfs /|root is not' \
		'-v d:/sys|/sys is the guest' '-v d:/a/..|not to have ..' \
		'--tmpfs x|not absolute' '--tmpfs /x:y|y is no size' \
		'--copy-out /x:no/such/y|no/such/: cannot be opened' \
		'--copy-out /x:f/y|f/y: cannot be opened: Not a dir' \
		'--copy-out /x:/proc/1/y|/proc/1/y' \
		'--copy-out-max 0|must be more'; do
		# shellcheck disable=SC2086 # words
		start ${o%|*} --kernel /dev/null -- true
		case $o in
		*/proc/1/*) [ "$(id -u)" != 0 ] || continue ;;
		esac
		expect_refusal "${o#*|}"
	done
	[ "$(find . | sort | tr '\n' ' ')" = '. ./d ./f ' ] || fail "$(find .)"
	expect_nothing_left
}

test_copies_without_a_record_are_refused() {
	fresh
	: >f
	MAYFLY_STATE_DIR=/proc/nope start --copy-in f:/x -- true
	expect_rc 125
	expect_err '^hint: .*MAYFLY_STATE_DIR'
	MAYFLY_STATE_DIR=/proc/nope start --read-only --tmpfs /x -- true
	expect_rc 0
}

test_a_copy_in_that_does_not_fit_ends_the_run() {
	fresh
	head -c 20000000 /dev/urandom >big
	start --disk 16m --copy-in big:/root -- echo ran
	expect_refusal 'guest:/root/big: cannot be written: No space left'
	start --disk 16m -v big:/b -- echo ran
	expect_refusal 'guest:/b.*: cannot be written: No space left'
	start --copy-in big:/etc/passwd/x -- echo ran
	expect_refusal 'guest:/etc/passwd/x: cannot be made'
	expect_nothing_left
}

# --- whatever becomes of the command --------------------------------------

test_files_come_out_whatever_the_end() {
	fresh
	for e in 'exit 3|3|' 'kill -9 $$|137|' \
		'sleep 100 & setsid sleep 100 & sleep 100|124|--timeout 10' \
		'trap "" TERM; while :; do :; done|152|--cpu-time 3' \
		'yes|153|--max-output 10k' \
		'tail /dev/zero|137|-m 64' \
		'while :; do sleep 100 & done|137|--pids-limit 20'; do
		rm -f f
		opts=${e##*|} end=${e%|*}
		want=${end##*|} end=${end%|*}
		# shellcheck disable=SC2086 # words
		start $opts --copy-out /f:. -- sh -c "echo kept >/f; $end"
		expect_rc "$want"
		[ "$(cat f)" = kept ] || fail "$end: not kept"
		! grep -q copy-out "$err" || fail "$end: a word"
	done
	expect_nothing_left
}

test_a_full_disk_comes_out() {
	fresh
	start --disk 32m --meta "$WORK/meta" --copy-out /a:. -- sh -c '
		echo kept >/a; dd if=/dev/zero of=/full bs=1M 2>/dev/null'
	expect_rc 1
	expect_meta verdict disk_full
	[ "$(cat a)" = kept ] || fail 'not kept'
}

test_a_command_that_was_not_there_leaves_nothing() {
	fresh
	start --copy-out /etc/passwd:. -- no-such-command
	expect_rc 127
	[ "$(grep -c . "$err")" = 1 ] || fail 'more words'
	[ ! -e passwd ] || fail 'copied'
}

test_a_vm_that_crashed_says_that_nothing_is_copied() {
	fresh
	start --copy-out /etc/passwd:. -- \
		sh -c 'echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger
			sleep 10'
	expect_rc 125
	expect_err '--copy-out: nothing was copied'
	expect_err 'kernel panic'
	[ ! -e passwd ] || fail 'copied'
	expect_nothing_left
}

test_what_fails_is_said_and_counts_where_nothing_else_does() {
	fresh
	start --copy-out /nope:. --copy-out /etc/hostname:. \
		--copy-out /nope2:x -- true
	expect_rc 125
	expect_err '--copy-out: guest:/nope: .*No such file'
	expect_err '--copy-out: guest:/nope2: .*No such file'
	[ "$(cat hostname)" = mayfly ] || fail 'the other was not copied'
	start --meta "$WORK/meta" --copy-out /nope:. -- sh -c 'exit 3'
	expect_rc 3
	expect_meta verdict runtime_error
	expect_err '--copy-out: guest:/nope: '
}

test_stop_lets_files_out_and_a_second_signal_does_not() {
	fresh
	background --name g --copy-out /f:. -- sh -c '
		echo kept >/f; trap "echo more >>/f; exit 1" TERM; echo up
		while :; do sleep 0.1; done'
	wait_for "$LIMIT" [ -s "$out" ] || fail 'it did not begin'
	"$MAYFLY" stop g >/dev/null || fail "stop: $?"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	[ "$(cat f)" = 'kept
more' ] || fail 'not kept'
	rm f
	background --copy-out /f:. --stop-timeout 1000 -- sh -c '
		echo kept >/f; trap "echo told" TERM; echo up
		while :; do sleep 0.1; done'
	wait_for "$LIMIT" grep -q up "$out" || fail 'it did not begin'
	kill -TERM "$pid"
	wait_for "$LIMIT" grep -q told "$out" || fail 'it was not told'
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	expect_err '--copy-out: nothing was copied'
	[ ! -e f ] || fail 'copied'
	expect_nothing_left
}

test_stop_that_has_to_kill_lets_files_out() {
	fresh
	background --name g --copy-out /f:. -- sh -c '
		echo kept >/f; trap "" TERM; echo up; while :; do sleep 0.1; done'
	wait_for "$LIMIT" [ -s "$out" ] || fail 'it did not begin'
	"$MAYFLY" stop --timeout 1 g >/dev/null || fail "stop: $?"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	[ "$(cat f)" = kept ] || fail 'not kept'
	expect_nothing_left
}

test_detached_runs_copy_by_their_supervisor() {
	fresh
	echo in >in
	mkdir to
	start -d --name g --copy-in in:/in --copy-out /out:to -- \
		sh -c 'cat /in >/out; exit 4'
	expect_rc 0
	cd /
	start_raw wait g
	expect_rc 4
	expect_out 4
	[ "$(cat "$WORK/host/to/out")" = in ] || fail 'not copied'
	"$MAYFLY" rm g >/dev/null
	expect_nothing_left
}

test_input_and_output_are_as_ever() {
	fresh
	echo src >src
	rc=0
	echo typed | timeout -s KILL "$LIMIT" "$MAYFLY" run --engine "$ENGINE" \
		-i --copy-in src:/src --copy-out /o:. -- \
		sh -c 'cat; cat >/o /src; echo err >&2' >"$out" 2>"$err" ||
		rc=$?
	expect_rc 0
	expect_out typed
	[ "$(cat "$err")" = err ] || fail 'stderr'
	[ "$(cat o)" = src ] || fail 'copy'
}

# --- guests that mean harm ------------------------------------------------

test_a_hostile_tree_stays_where_it_is_put() {
	fresh
	mkdir to
	start --copy-out /d/.:to -- sh -c '
		mkdir -p /d/sub/x; cd /d; ln -s /etc/passwd link; ln -s .. up
		ln -s ../../.. sub/far; mkfifo fifo; mknod dev c 1 3
		mknod disk b 254 0; echo x >suid; chmod 6777 suid
		chmod 1777 sub; echo s >sub/s; chown 1234:1234 suid'
	expect_rc 0
	[ "$(grep -c 'left out' "$err")" = 3 ] || fail 'three are left out'
	[ "$(cd to && find . | sort | tr '\n' ' ')" = \
		'. ./link ./sub ./sub/far ./sub/s ./sub/x ./suid ./up ' ] ||
		fail "$(find to)"
	[ "$(stat -c '%a %u' to/suid)" = "755 $(id -u)" ] || fail 'suid'
	[ "$(ls)" = to ] || fail "$(ls)"
	# What lies there is not written through.
	ln -s "$WORK" to/sub2
	start --copy-out /d:to/. -- sh -c 'mkdir -p /d/sub2; echo x >/d/sub2/evil'
	[ ! -e "$WORK/evil" ] || fail 'written through a link'
}

test_endless_files_end_at_the_limit() {
	fresh
	start --copy-out-max 8m --copy-out /d:. -- sh -c '
		mkdir /d; truncate -s 1000G /d/endless; echo first >/d/a'
	expect_rc 125
	expect_err 'd/endless: is more than may be copied'
	expect_err '^hint: .*--copy-out-max'
	[ ! -e d/endless ] || fail 'half a file'
	[ "$(du -sk . | cut -f 1)" -lt 9000 ] || fail 'more than the limit'
	expect_whole .
	start --copy-out /dev/zero:. -- true
	expect_rc 125
	expect_err '/dev/zero: is no file, directory or link'
	expect_nothing_left
}

test_inodes_count_as_well() {
	fresh
	start --copy-out-max 1m --copy-out /d:. -- sh -c '
		mkdir /d; cd /d; i=0; while [ $i -lt 400 ]; do
			i=$((i + 1)); : >$i; done'
	expect_rc 125
	expect_err 'is more than may be copied'
	[ "$(ls d | wc -l)" = 255 ] || fail "$(ls d | wc -l) files"
}

test_a_tree_that_changes_meanwhile_does_no_harm() {
	fresh
	mkdir to
	# Out of the command's cgroup and its group: what dies is all the same.
	start --timeout 3 --copy-out /d:to -- sh -c '
		mkdir -p /d/a /e; echo x >/d/a/f; echo 0 >/sys/fs/cgroup/cgroup.procs
		setsid sh -c "while :; do mv /d/a /d/b; ln -s /etc /d/a; rm /d/a
			mv /d/b /d/a; done" & sleep 100'
	expect_rc 124
	[ "$(find to -type f | wc -l)" -le 1 ] || fail "$(find to)"
	expect_whole to
	expect_nothing_left
}

test_a_guest_that_is_stopped_does_not_outlast_its_time() {
	fresh
	background --stop-timeout 1 --copy-in /etc/hostname:/x \
		--copy-out /x:. -- sh -c 'echo up; sleep 1000'
	wait_for "$LIMIT" [ -s "$out" ] || fail 'it did not begin'
	for p in $(ours); do
		case $(readlink "/proc/$p/exe") in
		*/mayfly-vmm) kill -STOP "$p" ;;
		esac
	done
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	expect_err 'not copied: the VM has had its time'
	[ ! -e x ] || fail 'copied'
	expect_nothing_left
}

has_begun() {
	[ -n "$(find . -name '.mayfly-cp-*' 2>/dev/null)" ]
}

none_is_left() {
	[ -z "$(find . -name '.mayfly-cp-*')" ] && nothing_runs
}

test_a_supervisor_that_is_killed_leaves_no_half_file() {
	fresh
	background --copy-out-max 100g --copy-out /big:. -- \
		truncate -s 50G /big
	wait_for "$LIMIT" has_begun || fail 'it has not begun'
	kill -KILL "$pid"
	wait "$pid"
	wait_for 60 none_is_left || fail "left: $(find .) $(ours)"
	[ ! -e big ] || fail 'half a file by its name'
	"$MAYFLY" prune >/dev/null
	truncate -s 50G big
	background --copy-in big:/root -- true
	sleep 1
	kill -KILL "$pid"
	wait "$pid"
	wait_for 60 none_is_left || fail "left: $(ours)"
	"$MAYFLY" prune >/dev/null
	expect_nothing_left
}

test_a_signal_ends_a_copy() {
	fresh
	truncate -s 50G big
	for d in in out; do
		case $d in
		in) background --copy-in big:/root -- true ;;
		out) background --copy-out-max 100g --copy-out /b:. -- \
			truncate -s 50G /b ;;
		esac
		if [ $d = in ]; then
			sleep 1
		else
			wait_for "$LIMIT" has_begun || fail 'it has not begun'
		fi
		kill -TERM "$pid"
		rc=0
		wait "$pid" || rc=$?
		case $d in
		in) expect_rc 143 ;;
		out) expect_rc 125 && expect_err 'not copied: the VM has ended' ;;
		esac
		expect_whole .
		[ ! -e b ] || fail 'half a file'
		expect_nothing_left
	done
}

# Who writes the files gets no CPU for a while.
test_a_writer_that_is_late_leaves_no_half_file() {
	fresh
	background --copy-out-max 100g --copy-out /b:. -- truncate -s 50G /b
	wait_for "$LIMIT" has_begun || fail 'it has not begun'
	writer=
	# shellcheck disable=SC2013 # numbers
	for p in $(cat "/proc/$pid/task/$pid/children"); do
		[ "$(readlink "/proc/$p/exe")" != "$MAYFLY" ] || writer=$p
	done
	[ -n "$writer" ] || fail 'nobody writes'
	kill -STOP "$writer"
	kill -TERM "$pid"
	sleep 3
	kill -CONT "$writer"
	wait "$pid"
	expect_whole .
	expect_nothing_left
}

test_nothing_of_the_command_runs_while_files_come_out() {
	fresh
	background --name g --copy-out-max 100g --copy-out /b:. -- \
		sh -c 'setsid sleep 12345 & truncate -s 50G /b; echo up'
	wait_for "$LIMIT" has_begun || fail 'it has not begun'
	"$MAYFLY" exec g -- ps </dev/null >"$WORK/ps" 2>/dev/null ||
		fail "exec: exit code $?"
	! grep -q 12345 "$WORK/ps" || fail 'it runs'
	kill -TERM "$pid"
	wait "$pid"
	expect_nothing_left
}

run_tests "$here/copies.sh"
