#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# core.sh MAYFLY ENGINE [TEST...]: what a user gets from `mayfly run`, each
# behaviour on a real guest. TAP on stdout. RUNS (50), MEGABYTES (50) and
# LIMIT (240 s, for one run) may be set for slow hosts. The guest's program
# texts stand in single quotes: they are expanded there.
# shellcheck disable=SC2016,SC2015,SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
RUNS=${RUNS:-50}
MEGABYTES=${MEGABYTES:-50}
LIMIT=${LIMIT:-240}
setup "$1"
shift 2
ONLY=$*

# --- streams and exit codes --------------------------------------------

test_streams_are_separate_and_the_exit_code_is_the_commands() {
	start -- sh -c 'echo out; echo err >&2; exit 7'
	expect_rc 7
	expect_out out
	[ "$(cat "$err")" = err ] || fail "stderr: $(cat "$err")"
}

test_success_is_0_and_quiet() {
	start -- true
	expect_rc 0
	expect_out ''
	expect_no_err
}

test_killed_command_is_128_and_the_signal() {
	start -- sh -c 'kill -9 $$'
	expect_rc 137
}

test_unknown_command_is_127_and_named() {
	start -- no-such-command
	expect_rc 127
	expect_err no-such-command
}

test_directory_as_command_is_126() {
	start -- /etc
	expect_rc 126
}

test_file_without_x_as_command_is_126() {
	start -- /etc/passwd
	expect_rc 126
}

test_arguments_arrive_as_they_were() {
	start -- sh -c 'for a; do echo "<$a>"; done' sh 'a b' '' '*' '$x' '--' -e
	expect_rc 0
	expect_out '<a b>
<>
<*>
<$x>
<-->
<-e>'
}

test_all_output_is_there_before_the_exit() {
	start -- sh -c 'head -c 3000000 /dev/zero; head -c 300000 /dev/zero >&2'
	expect_rc 0
	[ "$(wc -c <"$out")" -eq 3000000 ] || fail "stdout: $(wc -c <"$out")"
	[ "$(wc -c <"$err")" -eq 300000 ] || fail "stderr: $(wc -c <"$err")"
}

test_output_of_a_background_child_does_not_hold_the_end() {
	start -- sh -c 'sleep 1000 & echo done'
	expect_rc 0
	expect_out 'done'
}

test_closed_stdout_ends_the_run() {
	{
		r=0
		timeout -s KILL "$LIMIT" "$MAYFLY" run --engine "$ENGINE" -- \
			yes 2>"$err" || r=$?
		echo $r >"$WORK/rc"
	} | head -n 1 >"$out"
	rc=$(cat "$WORK/rc")
	expect_rc 141
	expect_out y
	expect_no_err
}

test_slow_reader_gets_everything() {
	m -- sh -c 'head -c 2000000 /dev/zero' 2>"$err" |
		(sleep 1; wc -c) >"$out"
	[ "$(tr -d ' ' <"$out")" = 2000000 ] || fail "$(cat "$out") bytes"
}

test_closed_standard_descriptors_do_no_harm() {
	rc=0
	m -- sh -c 'exit 3' <&- >&- 2>&- || rc=$?
	expect_rc 3
}

# --- input --------------------------------------------------------------

test_input_goes_in_with_its_end() {
	printf 'a\nb\n' | start -i -- sh -c 'cat; echo end'
	rc=0
	printf 'a\nb\n' | m -i -- sh -c 'cat; echo end' >"$out" || rc=$?
	expect_rc 0
	expect_out 'a
b
end'
}

test_without_i_input_is_empty() {
	echo secret | m -- cat >"$out" 2>"$err" || fail "exit code $?"
	expect_out ''
}

test_input_that_nobody_reads_does_no_harm() {
	rc=0
	head -c 5000000 /dev/zero | m -i -- sh -c 'exit 4' >"$out" 2>"$err" ||
		rc=$?
	expect_rc 4
}

test_many_random_bytes_come_back_the_same() {
	head -c $((MEGABYTES * 1000000)) /dev/urandom >"$WORK/random"
	want=$(sha256sum <"$WORK/random")
	got=$(m -i -- cat <"$WORK/random" 2>"$err" | sha256sum)
	rm -f "$WORK/random"
	[ "$want" = "$got" ] || fail "the hash differs"
}

# --- the guest ----------------------------------------------------------

test_uname_is_the_guests() {
	start -- uname -sr
	expect_rc 0
	grep -q '^Linux [0-9]' "$out" || fail "$(cat "$out")"
	[ "$(cat "$out")" != "$(uname -sr)" ] || fail "it is the host's"
}

test_memory_follows_m() {
	for mib in 128 1024; do
		start -m ${mib}m -- awk '/^MemTotal/ { print $2 }' /proc/meminfo
		expect_rc 0
		got=$(($(cat "$out") / 1024))
		[ $got -le $mib ] && [ $got -ge $((mib * 7 / 10)) ] ||
			fail "-m ${mib}m: MemTotal is $got MiB"
	done
}

test_bare_memory_is_mebibytes() {
	start -m 256 -- \
		awk '/^Mem/ { exit !($2 < 262144 && $2 > 180000) }' /proc/meminfo
	expect_rc 0
}

test_append_shows_in_cmdline() {
	start --append 'mayfly.test=1 second' -- cat /proc/cmdline
	expect_rc 0
	grep -q 'mayfly.test=1 second' "$out" || fail "$(cat "$out")"
}

test_environment_is_set_and_the_hosts_does_not_leak() {
	SECRET=1 OWN=mine
	export SECRET OWN
	start -e 'A=b c' -e OWN -- sh -c 'echo "$A|$OWN|$SECRET|$PATH"'
	expect_rc 0
	case $(cat "$out") in
	'b c|mine||/usr/local/sbin:'*) ;;
	*) fail "$(cat "$out")" ;;
	esac
}

test_workdir_is_entered() {
	start -w /tmp -- pwd
	expect_rc 0
	expect_out /tmp
}

test_missing_workdir_is_made() {
	start -w /nowhere/yet -- pwd
	expect_rc 0
	expect_out /nowhere/yet
}

test_workdir_that_cannot_be_is_named() {
	start -w /etc/passwd -- true
	[ "$rc" -ge 125 ] || fail "exit code $rc"
	expect_err 'working directory'
}

test_guest_has_its_own_root_proc_and_devices() {
	start -- sh -c 'set -e; test -d /proc/1; test -c /dev/null
		test -d /sys/fs/cgroup; : >/dev/shm/x; : >/tmp/x; : >/root/x
		id -u; hostname'
	expect_rc 0
	expect_out '0
mayfly'
}

test_console_of_the_guest_can_be_written() {
	start --console "$WORK/console" -- \
		sh -c 'echo from-user-space >/dev/ttyS0; sleep 0.2'
	expect_rc 0
	grep -q 'Linux version' "$WORK/console" || fail 'no kernel messages'
	grep -q from-user-space "$WORK/console" || fail 'no line of user space'
}

test_clock_is_the_hosts() {
	start -- date +%s
	diff=$(($(date +%s) - $(cat "$out")))
	[ $diff -ge -2 ] && [ $diff -le "$LIMIT" ] || fail "off by $diff s"
}

# Its clock goes on from when it began, however long it took to boot. Times of
# files go by ticks.
test_clock_has_not_stood_still_while_the_guest_booted() {
	before=$(date +%s%N)
	start -- sh -c 'read up _ </proc/uptime; touch /tmp/now
		echo $up $(stat -c %y /tmp/now)'
	read -r up now <"$out"
	at=$(date -d "$now" +%s%N)
	up=$(((${up%.*} * 100 + 1${up#*.} - 100) * 10000000))
	[ $((at - up)) -ge $((before - 100000000)) ] ||
		fail "it began $(((before - at + up) / 1000000)) ms before mayfly"
}

# A program of three instructions: vzeroupper, and exit(0).
avx_program() {
	z='\0\0\0\0\0\0\0\0'
	printf "\177ELF\2\1\1\0$z\2\0\76\0\1\0\0\0\170\0\100\0\0\0\0\0"
	printf "\100\0\0\0\0\0\0\0$z\0\0\0\0\100\0\70\0\1\0\0\0\0\0\0\0"
	printf "\1\0\0\0\5\0\0\0$z\0\0\100\0\0\0\0\0\0\0\100\0\0\0\0\0"
	printf '\204\0\0\0\0\0\0\0\204\0\0\0\0\0\0\0\0\20\0\0\0\0\0\0'
	printf '\305\370\167\270\74\0\0\0\61\377\17\5'
}

test_program_for_a_newer_cpu_is_told_so() {
	[ "$ENGINE" = soft ] || return 0
	avx_program >"$WORK/avx"
	start -i -- sh -c 'cat >/tmp/x; chmod +x /tmp/x; exec /tmp/x' \
		<"$WORK/avx"
	expect_rc 132
	expect_err '^mayfly: the program uses instructions of x86-64-v3 '
	expect_err '^hint: .*-march=x86-64-v2'
	start -i -- sh -c 'cat >/tmp/x; chmod +x /tmp/x; /tmp/x; true' \
		<"$WORK/avx"
	expect_rc 0
	! grep -q '^mayfly:' "$err" || fail 'words about a success'
}

# --- the disk -----------------------------------------------------------

test_disk_is_writable_and_the_image_is_not_touched() {
	image=$BIN/guest/base.img
	before=$(sha256sum <"$image")
	start -- sh -c 'set -e; echo changed >/etc/passwd; rm /bin/vi
		head -c 5000000 /dev/zero >/big; sync; wc -c </big'
	expect_rc 0
	expect_out 5000000
	[ "$before" = "$(sha256sum <"$image")" ] || fail 'the image changed'
}

test_writes_do_not_survive() {
	start -- sh -c 'echo x >/root/left-behind'
	expect_rc 0
	start -- test -e /root/left-behind
	expect_rc 1
}

test_rootfs_names_the_image() {
	cp "$BIN/guest/base.img" "$WORK/own.img"
	start --rootfs "$WORK/own.img" -- echo hello
	expect_rc 0
	expect_out hello
}

test_two_runs_on_one_image_do_not_meet() {
	for i in 1 2; do
		m -- sh -c 'echo $1 >/root/f; sleep 1; cat /root/f' sh $i \
			>"$WORK/out$i" 2>"$WORK/err$i" &
	done
	wait
	[ "$(cat "$WORK/out1" "$WORK/out2")" = '1
2' ] || fail "$(cat "$WORK"/out[12] "$WORK"/err[12])"
}

# --- time and signals ---------------------------------------------------

# Where a host was too slow for anything to come in the time, there is more.
test_timeout_prints_what_came_and_is_124() {
	for s in 1 10 50; do
		start --timeout $s --meta "$WORK/meta" -- \
			sh -c 'echo a; sleep 1000'
		expect_rc 124
		[ "$(meta output_bytes)" = 0 ] || break
	done
	expect_out a
	expect_meta verdict timeout
	expect_meta decided_by host
	ms=$(meta host.command_ms)
	[ "${ms%.*}" -ge 1000 ] || fail "ended after $ms ms"
	[ "${ms%.*}" -le $((LIMIT * 1000)) ] || fail "ended after $ms ms"
}

# That it counts from the command and not from the boot, command_ms has shown.
test_timeout_that_does_not_pass_changes_nothing() {
	start --timeout "$LIMIT" -- sh -c 'sleep 1; echo in time'
	expect_rc 0
	expect_out 'in time'
}

test_timeout_ends_a_command_that_blocks_signals() {
	start --timeout 0.5 -- sh -c 'trap "" TERM INT HUP; while :; do :; done'
	expect_rc 124
}

has_line() {
	grep -q "$1" "$out"
}

test_signal_is_forwarded_and_is_the_exit_code() {
	background -- sh -c 'trap "echo got; exit 3" TERM; echo up
		while :; do sleep 0.1; done'
	wait_for "$LIMIT" has_line up || fail 'it did not come up'
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	has_line got || fail 'the command did not get it'
}

test_second_signal_ends_the_vm() {
	background -- \
		sh -c 'trap "echo got" TERM; echo up; while :; do sleep 0.1; done'
	wait_for "$LIMIT" has_line up || fail 'it did not come up'
	kill -TERM "$pid"
	wait_for "$LIMIT" has_line got || fail 'the command did not get it'
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
}

# --- the report ---------------------------------------------------------

test_meta_tells_the_verdict_and_who_says_so() {
	start --meta "$WORK/meta" -- sh -c 'exit 7'
	expect_rc 7
	expect_meta verdict runtime_error
	expect_meta exit_code 7
	expect_meta decided_by guest
	expect_meta host.engine "$ENGINE"
	expect_meta host.cpus_asked 1
	start --meta "$WORK/meta" -- true
	expect_meta verdict ok
	start --meta "$WORK/meta" -- sh -c 'kill -9 $$'
	expect_meta verdict signal
}

test_cpus_are_there_or_the_report_says_how_many_are() {
	start --cpus 2 --meta "$WORK/meta" -- grep -c ^processor /proc/cpuinfo
	expect_rc 0
	expect_meta host.cpus_asked 2
	expect_meta host.cpus "$(cat "$out")"
	[ "$ENGINE" != kvm ] || expect_out 2
}

# --- crashes ------------------------------------------------------------

expect_crash() {
	expect_rc 125
	expect_err "^mayfly: the guest crashed: .*$1"
	expect_meta verdict vm_crash
	expect_meta decided_by host
}

test_panic_is_a_crash_with_its_console_lines() {
	start --meta "$WORK/meta" -- \
		sh -c 'echo before; sleep 1; echo c >/proc/sysrq-trigger; sleep 100'
	expect_crash 'kernel panic: .*crash'
	expect_err '^  | .*Kernel panic'
	expect_out before
}

test_reset_is_a_crash() {
	start --meta "$WORK/meta" -- reboot -f
	expect_crash reset
}

test_triple_fault_is_a_crash() {
	start --meta "$WORK/meta" --append reboot=t -- reboot -f
	expect_crash 'triple fault'
}

test_power_off_is_a_crash() {
	start --meta "$WORK/meta" -- poweroff -f
	expect_rc 125
	expect_meta verdict vm_crash
}

test_kernel_without_init_is_a_crash() {
	start --meta "$WORK/meta" --append rdinit=/nowhere -- true
	expect_crash 'kernel panic'
}

test_root_image_that_is_none_is_a_crash_that_says_so() {
	head -c 1048576 /dev/zero >"$WORK/zero.img"
	start --meta "$WORK/meta" --rootfs "$WORK/zero.img" -- true
	expect_crash 'kernel panic'
	expect_err 'holds no ext4'
}

# --- users, variables and limits ----------------------------------------

test_user_may_be_a_name_or_numbers() {
	start -u nobody -- sh -c 'id -u; id -g'
	expect_out '65534
65534'
	start -u 12:34 -- sh -c 'id -u; id -g'
	expect_out '12
34'
}

test_unknown_user_is_125_and_named() {
	start -u nosuch -- true
	expect_refusal 'user nosuch'
}

test_variables_come_from_files_and_options_go_first() {
	printf '# of a test\nA=file\nB=file two\n' >"$WORK/env"
	start --env-file "$WORK/env" -e A=option -- sh -c 'echo "$A-$B"'
	expect_out 'option-file two'
	printf 'A=1\n\nB C=2\n' >"$WORK/env"
	start_raw run --env-file "$WORK/env" -- true
	expect_refusal "$WORK/env: line 3"
}

test_guest_that_is_not_up_in_time_is_a_crash() {
	start --boot-timeout 1ms -- true
	expect_rc 125
	expect_err 'not up after 0.001 seconds'
}

test_command_that_ignores_term_is_killed_after_the_stop_timeout() {
	background --stop-timeout 200ms -- \
		sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	wait_for "$LIMIT" has_line up || fail 'it did not come up'
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
}

test_terminal_needs_none_of_the_callers() {
	start -t -- sh -c 'tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; exit 5' \
		</dev/null
	expect_rc 5
	expect_out "$(printf '/dev/pts/0\r')"
}

# --- bad input ----------------------------------------------------------

test_bad_values_are_refused_by_name() {
	for bad in '-m 0' '-m 1x' '-m 99999g' '--cpus 0' '--cpus 1000' \
		'--timeout 0' '--timeout x' '-w relative' '-e =x' \
		'--engine xen' '--no-such-option' '--kernel /nowhere' \
		'--kernel /etc' '--rootfs /nowhere' \
		'--meta /nowhere/x' '--console /nowhere/x'; do
		rc=0
		# shellcheck disable=SC2086
		"$MAYFLY" run $bad -- true >"$out" 2>"$err" || rc=$?
		case $bad in
		'-m 99999g') expect_refusal memory ;;
		*) expect_refusal "${bad##* }" ;;
		esac
	done
}

test_kernel_that_is_none_is_refused_by_name() {
	printf 'not a kernel, but long enough to hold a header of one\n' \
		>"$WORK/text"
	start --kernel "$WORK/text" -- true
	expect_refusal kernel
	: >"$WORK/empty"
	start --kernel "$WORK/empty" -- true
	expect_refusal empty
}

test_truncated_kernel_is_refused_by_name() {
	head -c 100000 "$BIN/guest/vmlinux" >"$WORK/short"
	start --kernel "$WORK/short" -- true
	expect_refusal kernel
}

test_mistyped_option_gets_a_suggestion() {
	start_raw run --memroy 5 -- true
	expect_refusal memroy
	expect_err '^hint: .*--memory'
}

test_mistyped_command_gets_a_suggestion() {
	start_raw rnu -- true
	expect_refusal rnu
	expect_err '^hint: .*run'
}

test_image_that_is_not_here_is_refused_with_the_way_to_get_it() {
	start alpine sh
	expect_refusal alpine
	expect_err '^hint: .*mayfly pull alpine'
}

test_no_command_is_refused() {
	start --
	expect_refusal 'no command'
	start_raw
	expect_refusal 'no command'
}

test_missing_files_are_named_with_the_way_to_get_them() {
	mkdir "$WORK/alone"
	cp "$MAYFLY" "$WORK/alone/mayfly"
	rc=0
	"$WORK/alone/mayfly" run -- true >"$out" 2>"$err" || rc=$?
	expect_refusal mayfly-vmm
	expect_err '^hint: .*make'
}

test_full_output_device_is_our_failure() {
	rc=0
	m -- echo hello >/dev/full 2>"$err" || rc=$?
	expect_rc 125
	expect_err 'stdout: No space left'
}

test_variables_are_defaults_for_options() {
	MAYFLY_MEMORY=0
	export MAYFLY_MEMORY
	start -- true
	expect_refusal MAYFLY_MEMORY
	MAYFLY_MEMORY=256
	start -- awk '/^MemTotal/ { exit !($2 < 262144) }' /proc/meminfo
	expect_rc 0
}

# --- help ---------------------------------------------------------------

test_help_goes_to_stdout_and_is_0() {
	for words in --help help 'help run' 'run --help' 'run -h' 'boot --help' \
		'help doctor' --version version; do
		# shellcheck disable=SC2086
		start_raw $words
		expect_rc 0
		[ -s "$out" ] || fail "mayfly $words says nothing"
		expect_no_err
	done
}

test_doctor_finds_nothing_that_fails() {
	start_raw doctor
	expect_rc 0
	grep -q '^ok .*engine auto' "$out" || fail "$(cat "$out")"
}

# --- raw guests ---------------------------------------------------------

test_boot_shows_the_console_and_a_panic_is_a_crash() {
	start_raw boot --engine "$ENGINE" --kernel "$BIN/guest/vmlinux"
	expect_rc 125
	grep -q 'Linux version' "$out" || fail 'no kernel messages'
	expect_err '^mayfly: the guest crashed: kernel panic: VFS'
}

test_boot_takes_initrd_disk_and_append() {
	start_raw boot --engine "$ENGINE" --kernel "$BIN/guest/vmlinux" \
		--initrd "$BIN/guest/agent.cpio" --disk "$BIN/guest/base.img" \
		--append mayfly.test=1
	expect_rc 125
	grep -q 'Command line: .*mayfly.test=1' "$out" || fail 'no append'
	# The agent finds its root, and then nobody to talk to.
	grep -q 'mayfly-agent: .*\(vsock\|connect\)' "$out" ||
		fail "$(grep -e mayfly-agent "$out")"
}

# --- nothing survives ---------------------------------------------------

vmm_runs() {
	[ "$(ours | wc -l)" -ge 2 ]
}

test_killed_launcher_leaves_no_more_than_a_record() {
	background -- sh -c 'echo up; sleep 1000'
	wait_for "$LIMIT" has_line up || fail 'it did not come up'
	vmm_runs || fail 'no VMM to look for'
	kill -9 "$pid"
	wait "$pid"
	wait_for 60 nothing_runs || fail "processes are left: $(ours)"
	[ "$(records | wc -l)" = 1 ] || fail "records: $(records)"
	"$MAYFLY" prune >"$out" 2>"$err" || fail "prune: exit code $?"
	expect_nothing_left
}

test_killed_vmm_is_a_crash_and_leaves_nothing() {
	background --meta "$WORK/meta" -- sh -c 'echo up; sleep 1000'
	wait_for "$LIMIT" has_line up || fail 'it did not come up'
	for p in $(ours); do
		[ "$p" = "$pid" ] || kill -9 "$p"
	done
	rc=0
	wait "$pid" || rc=$?
	expect_rc 125
	expect_err 'mayfly-vmm'
	expect_meta verdict vm_crash
	expect_nothing_left
}

test_many_runs_in_a_row_do_not_fail() {
	i=0
	while [ $i -lt "$RUNS" ]; do
		i=$((i + 1))
		start -- echo "run $i"
		[ "$rc" = 0 ] || fail "run $i: exit code $rc"
		expect_out "run $i"
	done
	expect_nothing_left
}

test_four_runs_at_a_time_do_not_fail() {
	i=0
	rounds=$((RUNS / 10 + 1))
	while [ $i -lt $rounds ]; do
		i=$((i + 1))
		for j in 1 2 3 4; do
			(
				r=0
				m -- sh -c 'echo $1; exit $1' sh $j \
					>"$WORK/o$j" 2>"$WORK/e$j" || r=$?
				echo "$r $(cat "$WORK/o$j")" >"$WORK/r$j"
			) &
		done
		wait
		for j in 1 2 3 4; do
			[ "$(cat "$WORK/r$j")" = "$j $j" ] ||
				fail "$(cat "$WORK/r$j" "$WORK/e$j")"
		done
	done
	expect_nothing_left
}

run_tests "$here/core.sh"
