#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# limits.sh MAYFLY ENGINE [TEST...]: what a run may use, and which limit ended
# it. TAP on stdout. LIMIT (240 s, for one run) and OOMS (3, runs out of memory
# in a row) may be set for slow hosts.
# shellcheck disable=SC2016,SC2015,SC2034,SC2154

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-240}
OOMS=${OOMS:-3}
setup "$1"
shift 2
ONLY=$*

# A run with a report; at the end nothing is left of it.
run() {
	start --meta "$WORK/meta" "$@"
	expect_nothing_left
}

# expect VERDICT CODE BY
expect() {
	expect_rc "$2"
	expect_meta verdict "$1"
	expect_meta exit_code "$2"
	expect_meta decided_by "$3"
}

# expect_at_least NAME LEAST: a number of the report.
expect_at_least() {
	awk -v v="$(meta "$1")" -v a="$2" \
		'BEGIN { exit !(v ~ /^[0-9]/ && v + 0 >= a) }' ||
		fail "meta: $1 is $(meta "$1"), less than $2"
}

# --- CPU time -----------------------------------------------------------

test_cpu_time_ends_a_command_that_spins() {
	run --cpu-time 1 -- sh -c 'echo before; while :; do :; done'
	expect cpu_timeout 152 host
	expect_out before
	expect_at_least host.command_cpu_ms 1000
}

test_cpu_time_is_that_of_all_processes() {
	run --cpu-time 500ms -- sh -c 's() { while :; do :; done; }; s & s & s'
	expect cpu_timeout 152 host
	expect_at_least host.command_cpu_ms 500
}

test_cpu_time_does_not_pass_while_the_command_waits() {
	run --cpu-time 3 -- sh -c 'sleep 4; exit 3'
	expect runtime_error 3 guest
}

test_cpu_time_and_timeout_are_two_limits() {
	run --cpu-time 100 --timeout 500ms -- sh -c 'while :; do :; done'
	expect timeout 124 host
}

test_cpu_time_holds_for_a_command_that_leaves_its_cgroup() {
	run --cpu-time 500ms -- sh -c '
		trap "" INT TERM HUP
		echo $$ >/sys/fs/cgroup/cgroup.procs
		while :; do :; done'
	expect cpu_timeout 152 host
}

# --- processes ----------------------------------------------------------

test_pids_limit_ends_a_bomb_whose_fuse_is_gone() {
	run --pids-limit 20 -- sh -c 'b() { b | b & }; b'
	expect pids_limit 137 guest
	run --pids-limit 200 -- sh -c 'b() { b | b & }; b; exit 3'
	expect pids_limit 137 guest
}

test_pids_limit_ends_a_command_that_goes_on_after_a_refusal() {
	run --pids-limit 20 -- sh -c 'while :; do sleep 100 & done'
	expect pids_limit 137 guest
	run --pids-limit 20 -- sh -c '
		while :; do sleep 100 & done 2>/dev/null; exit 0'
	expect pids_limit 137 guest
}

test_pids_limit_lets_pass_what_is_within_it() {
	run --pids-limit 20 -- sh -c '
		for i in 1 2 3 4 5; do sleep 1000 & done
		until grep sleep /proc/$!/comm; do :; done; exit 3'
	expect runtime_error 3 guest
	expect_out sleep
	run --pids-limit 1 -- true
	expect ok 0 guest
	run --pids-limit 1 -- sh -c 'true | true'
	expect pids_limit 137 guest
}

# --- output -------------------------------------------------------------

test_max_output_passes_so_many_bytes_and_no_more() {
	for n in 1 5 6 4096 65535 65536 65537 1000003; do
		run --max-output "${n}b" -- sh -c 'yes hello'
		expect output_limit 153 host
		[ "$(wc -c <"$out")" = "$n" ] ||
			fail "$(wc -c <"$out") bytes, not $n"
		expect_meta host.output_bytes "$n"
		expect_meta host.output_truncated true
	done
}

test_max_output_is_of_both_streams() {
	run --max-output 64k -- sh -c 'yes & yes no >&2'
	expect output_limit 153 host
	n=$(($(wc -c <"$out") + $(wc -c <"$err")))
	[ "$n" = 65536 ] || fail "$n bytes"
}

test_max_output_lets_pass_just_so_much() {
	run --max-output 6b -- echo hello
	expect ok 0 guest
	expect_out hello
	expect_meta host.output_bytes 6
	expect_meta host.output_truncated false
	run --max-output 5b -- sh -c 'echo hello; sleep 1000'
	expect output_limit 153 host
	expect_out hello
}

test_max_output_of_a_terminal() {
	run --max-output 1000b -t -- sh -c 'yes hello'
	expect output_limit 153 host
	[ "$(wc -c <"$out")" = 1000 ] || fail "$(wc -c <"$out") bytes"
}

test_max_output_of_a_detached_run_is_in_its_journal() {
	start -d --name box --max-output 1000b -- sh -c 'yes hello'
	expect_rc 0
	start_raw wait box
	[ "$(cat "$out")" = 153 ] || expect_rc 153
	start_raw logs box
	[ "$(wc -c <"$out")" = 1000 ] || fail "$(wc -c <"$out") bytes"
	start_raw inspect box
	grep -q '"output_truncated": true' "$out" || fail 'not marked'
	start_raw rm box
	expect_nothing_left
}

test_max_output_where_its_reader_is_slow_or_gone() {
	n=$(m --max-output 3m -- yes 2>"$err" | {
		sleep 1
		wc -c
	})
	[ "$n" = 3145728 ] || fail "$n bytes"
	{
		m --max-output 3m --meta "$WORK/meta" -- yes 2>"$err"
		echo $? >"$WORK/code"
	} | head -c 10 >/dev/null
	[ "$(cat "$WORK/code")" = 141 ] || fail "exit code $(cat "$WORK/code")"
	expect_meta verdict stopped
}

# --- memory -------------------------------------------------------------

test_out_of_memory_is_the_verdict_every_time() {
	i=0
	while [ $i -lt "$OOMS" ]; do
		run -m 64 -- sh -c 'x=$(cat /dev/zero | tr "\0" x)'
		expect oom 137 guest
		# the guest's word: the host's comes before it
		peak=$(sed -n '/"guest": {/,$s/.*"memory_peak_bytes": \([0-9]*\).*/\1/p' \
			"$WORK/meta")
		[ "${peak:-0}" -gt 20000000 ] && [ "$peak" -lt 67108864 ] ||
			fail "the guest's peak is $peak"
		i=$((i + 1))
	done
}

eater='awk "BEGIN { x = \"a\"; while (1) x = x x }"'

test_out_of_memory_whoever_it_hits_and_whatever_is_made_of_it() {
	run -m 64 -- sh -c "$eater"
	expect oom 137 guest
	run -m 64 -- sh -c "$eater; exit 3"
	expect oom 137 guest
	run -m 64 -- sh -c "$eater & $eater & wait; exit 0"
	expect oom 137 guest
	run -m 64 -- sh -c "sleep 1000 | $eater | sleep 1000"
	expect oom 137 guest
}

test_out_of_memory_in_file_systems_of_memory() {
	run -m 64 -- sh -c 'cat /dev/zero >/dev/shm/x; cat /dev/zero >/tmp/x
		exit 3'
	expect oom 137 guest
	run -m 64 -- sh -c 'cat /dev/zero >/tmp/x; exit 3'
	expect runtime_error 3 guest
}

test_memory_that_is_not_touched_is_none() {
	run -m 64 -- sh -c 'dd if=/dev/zero of=/x bs=1M count=100 2>/dev/null
		echo $?'
	expect ok 0 guest
	expect_out 0
}

# --- disk ---------------------------------------------------------------

fill='fallocate -l 9g /a; fallocate -l 900m /b; cat /dev/zero >/c'

test_a_full_disk_is_the_verdict_of_a_command_that_failed_of_it() {
	run -- sh -c "$fill || exit 5"
	expect disk_full 5 guest
	run -- sh -c "$fill; kill -SEGV \$\$"
	expect disk_full 139 guest
}

test_a_full_disk_is_no_matter_otherwise() {
	run -- sh -c "$fill; exit 0"
	expect ok 0 guest
	run -- sh -c "$fill; rm /a; exit 5"
	expect runtime_error 5 guest
}

# --- together -----------------------------------------------------------

test_limits_are_of_the_runs_command_and_not_of_exec() {
	background --name box --pids-limit 3 -- sleep 1000
	up() { "$MAYFLY" exec box true </dev/null >"$WORK/x" 2>&1; }
	wait_for "$LIMIT" up || fail "no exec: $(cat "$WORK/x")"
	start_raw exec box sh -c 'for i in 1 2 3 4 5 6; do sleep 1 & done; wait
		echo done'
	expect_rc 0
	expect_out done
	start_raw kill box
	wait "$pid"
	expect_nothing_left
}

test_decimals_of_cpus_are_rounded_up_for_the_guest() {
	run --cpus 0.5 -- nproc
	expect ok 0 guest
	expect_out 1
	run --cpus 1.25 -- true
	expect ok 0 guest
	expect_meta host.cpus_asked 2
}

# --- the report of isolate ----------------------------------------------

lines() {
	sed -e 's/^\(time\|time-wall\):[0-9]*\.[0-9][0-9][0-9]$/\1:T/' \
		-e 's/^\(max-rss\|cg-mem\):[1-9][0-9]*$/\1:N/' \
		-e 's/^message:..*/message:M/' "$WORK/meta"
}

# expect_lines LINE...
expect_lines() {
	[ "$(lines)" = "$(printf '%s\n' "$@")" ] || fail "$(lines)"
}

expect_host_lines() {
	[ "$(lines | grep -v '^max-rss\|^cg-mem')" = \
		"$(printf '%s\n' time:T time-wall:T "$@")" ] || fail "$(lines)"
}

test_isolate_s_lines() {
	cost='time:T
time-wall:T
max-rss:N
cg-mem:N'
	run --meta-format isolate -- true
	expect_lines "$cost" exitcode:0
	run --meta-format isolate -- sh -c 'exit 3'
	expect_lines "$cost" exitcode:3 status:RE message:M
	run --meta-format isolate -- sh -c 'kill -SEGV $$'
	expect_lines "$cost" exitsig:11 status:SG message:M
	# Two of its lines are the guest's word, for which no limit waits long.
	run --meta-format isolate --timeout 200ms -- sleep 1000
	expect_host_lines status:TO message:M killed:1
	run --meta-format isolate --cpu-time 200ms -- sh -c 'while :; do :; done'
	expect_host_lines status:TO message:M killed:1
	run --meta-format isolate --max-output 10b -- yes
	expect_lines time:T time-wall:T exitsig:25 status:SG message:M killed:1
	run --meta-format isolate -m 64 -- sh -c "$eater"
	expect_lines "$cost" cg-oom-killed:1 exitsig:9 status:SG message:M
	run --meta-format isolate -- sh -c 'echo c >/proc/sysrq-trigger'
	expect_rc 125
	expect_lines time:T time-wall:T status:XX message:M
}

run_tests "$0"
