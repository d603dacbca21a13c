#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# cgroup.sh MAYFLY ENGINE [TEST...]: the host's cgroup of each VM, v1 or v2: its
# values, its end, prune beside it, and a host that has none. TAP on stdout.
# LIMIT (240 s) is the longest for one command, VMS a word for each VM that runs
# at once.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-240}
VMS=${VMS:-1 2 3 4}
setup "$1"
shift 2
ONLY=$*
export MAYFLY_CGROUP_PARENT=mayfly-test-$$
trap 'cleanup; forget' EXIT

# The next test shall find nothing of one that failed.
fail() {
	echo "# $*"
	[ ! -s "$err" ] || sed 's/^/#   stderr: /' "$err" | head -n 30
	for p in $(ours); do kill -9 "$p" 2>/dev/null; done
	wait_for 60 nothing_runs
	"$MAYFLY" prune >/dev/null
	exit 1
}

# Directories of VMs below our parent, one a line.
groups_of_ours() {
	find /sys/fs/cgroup -type d -path "*/$MAYFLY_CGROUP_PARENT/*"
}

forget() {
	for d in $(groups_of_ours) $(find /sys/fs/cgroup -type d \
		-name "$MAYFLY_CGROUP_PARENT"); do
		rmdir "$d" 2>/dev/null
	done
}

no_groups() {
	[ -z "$(groups_of_ours)" ]
}

some_groups() {
	! no_groups
}

# value FILE...: of the first that is there below our parent.
value() {
	for f; do
		find /sys/fs/cgroup -path "*/$MAYFLY_CGROUP_PARENT/*/$f" \
			-exec cat {} \; | head -n 1
	done | head -n 1
}

# A run that sleeps, as $pid; its VM's cgroup is there.
sleeper() {
	background --meta "$WORK/meta" "$@" -- sh -c 'echo up; sleep 1000'
	wait_for "$LIMIT" grep -q up "$out" || fail 'it does not come up'
	some_groups || fail "no cgroup: $(cat "$err")"
}

end_sleeper() {
	kill -TERM "$pid"
	wait "$pid" || :
	wait_for 60 no_groups || fail "cgroups are left: $(groups_of_ours)"
	expect_nothing_left
}

needs_cgroups() {
	m --strict -m 64 --cpus 1 -- true >/dev/null 2>"$err" ||
		! grep -q 'no cgroup_' "$err" || skip "$(head -n 1 "$err")"
}

MIB=1048576

test_vm_is_in_a_cgroup_with_its_values() {
	needs_cgroups
	sleeper -m 64 --cpus 0.5
	max=$(value memory.limit_in_bytes memory.max)
	# The scratch disk counts where it lies in memory.
	[ "$max" = $((161 * MIB)) ] || [ "$max" = $((10401 * MIB)) ] ||
		fail "memory limit $max"
	[ "$(value pids.max)" = 9 ] || fail "pids.max $(value pids.max)"
	case $(value cpu.cfs_quota_us cpu.max) in
	50000 | '50000 100000') ;;
	*) fail "quota $(value cpu.cfs_quota_us cpu.max)" ;;
	esac
	for d in $(groups_of_ours); do
		vmm=
		# KVM's own thread is in it as well, and has no program.
		while read -r p; do
			vmm=$vmm$(readlink "/proc/$p/exe" 2>/dev/null)
		done <"$d/cgroup.procs"
		[ "$vmm" = "$BIN/mayfly-vmm" ] || fail "$d has $vmm"
	done
	end_sleeper
}

test_shares_are_its_weight_and_no_quota() {
	needs_cgroups
	sleeper -m 64 --cpu-shares 2048
	case $(value cpu.shares cpu.weight) in
	2048 | 200) ;;
	*) fail "weight $(value cpu.shares cpu.weight)" ;;
	esac
	case $(value cpu.cfs_quota_us cpu.max) in
	-1 | 'max 100000') ;;
	*) fail "quota $(value cpu.cfs_quota_us cpu.max)" ;;
	esac
	end_sleeper
	expect_meta cpu_shares 2048
	expect_meta cpu_limit null
}

test_report_has_limits_and_usage() {
	needs_cgroups
	start -m 64 --cpus 1 --meta "$WORK/meta" -- true
	expect_rc 0
	expect_meta oom_killed false
	expect_meta pids_limit 9
	expect_meta cpu_limit 1.0
	expect_meta cpu_shares 1024
	[ "$(meta memory_peak_bytes)" -gt $((4 * MIB)) ] ||
		fail "peak $(meta memory_peak_bytes)"
	no_groups || fail "cgroups are left: $(groups_of_ours)"
}

test_quota_holds_the_vm_back() {
	needs_cgroups
	start --cpus 0.25 --meta "$WORK/meta" -- \
		sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done'
	expect_rc 0
	case $(meta throttled_ms) in
	'' | null | 0 | 0.0) fail "throttled_ms $(meta throttled_ms)" ;;
	esac
}

# As a VMM that leaks would meet its limit.
test_limit_of_memory_is_a_crash_that_says_so() {
	needs_cgroups
	mkfifo "$WORK/in"
	m --meta "$WORK/meta" -m 256 -i -- sh -c 'echo up; read -r _
		head -c 60m /dev/zero >/dev/shm/x; sleep 1000' \
		<"$WORK/in" >"$out" 2>"$err" &
	pid=$!
	exec 8>"$WORK/in"
	wait_for "$LIMIT" grep -q up "$out" || fail 'it does not come up'
	file=$(find /sys/fs/cgroup -path "*/$MAYFLY_CGROUP_PARENT/*/*" \
		\( -name memory.limit_in_bytes -o -name memory.max \))
	used=$(value memory.usage_in_bytes memory.current)
	echo $((used + 8 * MIB)) >"$file" || fail "cannot lower $file"
	echo >&8
	exec 8>&-
	rc=0
	wait "$pid" || rc=$?
	expect_rc 125
	expect_err 'the host killed it at its memory limit'
	expect_meta verdict vm_crash
	expect_meta decided_by host
	expect_meta oom_killed true
	wait_for 60 no_groups || fail "cgroups are left: $(groups_of_ours)"
}

test_prune_removes_what_a_killed_launcher_left() {
	needs_cgroups
	sleeper
	id=$(basename "$(groups_of_ours | head -n 1)")
	start_raw prune
	expect_out '0 removed, 0 B freed'
	kill -9 "$pid"
	wait "$pid" 2>/dev/null || :
	wait_for 60 nothing_runs || fail "processes are left: $(ours)"
	some_groups || fail 'the cgroup went by itself'
	start_raw prune
	expect_rc 0
	grep -qx "removed cgroup $id" "$out" || fail "said: $(cat "$out")"
	no_groups || fail "cgroups are left: $(groups_of_ours)"
	start_raw prune --format json
	grep -q '"cgroups": \[\]' "$out" || fail "said: $(cat "$out")"
	expect_nothing_left
}

test_prune_beside_vms_that_start_and_end() {
	needs_cgroups
	pids=
	for i in $VMS; do
		(for j in 1 2 3; do
			m -m 64 --strict --cpus 1 --boot-timeout "$LIMIT" \
				-- true || exit 1
		done) >"$WORK/out.$i" 2>&1 &
		pids="$pids $!"
	done
	while :; do
		"$MAYFLY" prune >"$out" 2>"$err" || fail 'prune fails'
		! grep -qv '^0 removed' "$out" || fail "prune: $(cat "$out")"
		alive=
		for p in $pids; do
			! kill -0 "$p" 2>/dev/null || alive=1
		done
		[ -n "$alive" ] || break
	done
	for p in $pids; do
		wait "$p" || fail "a run failed: $(cat "$WORK"/out.*)"
	done
	no_groups || fail "cgroups are left: $(groups_of_ours)"
}

test_parent_is_the_users_to_choose() {
	needs_cgroups
	start --cgroup-parent "/$MAYFLY_CGROUP_PARENT/deep" -m 64 -- true
	expect_rc 0
	expect_no_err
	find /sys/fs/cgroup -type d -path "*/$MAYFLY_CGROUP_PARENT/deep" |
		grep -q . || fail 'it was not made'
	[ -z "$(find /sys/fs/cgroup -type d -path '*/deep/*')" ] ||
		fail 'a cgroup is left'
	forget
	for bad in .. a/../b /; do
		start --cgroup-parent "$bad" -- true
		expect_refusal 'cgroup parent'
	done
}

# In a mount namespace where no cgroup file system is mounted.
test_host_without_cgroups_is_quiet() {
	unshare -m true 2>"$err" || skip "no mount namespace: $(cat "$err")"
	without='umount -l /sys/fs/cgroup 2>/dev/null; exec "$@"'
	rc=0
	unshare -m sh -c "$without" - "$MAYFLY" run --engine "$ENGINE" \
		-- echo fine >"$out" 2>"$err" || rc=$?
	expect_rc 0
	expect_out fine
	expect_no_err
	unshare -m sh -c "$without" - "$MAYFLY" run --engine "$ENGINE" \
		--verbose -- true 2>"$err"
	expect_err 'no cgroup_memory: '
	rc=0
	unshare -m sh -c "$without" - "$MAYFLY" run --engine "$ENGINE" \
		--strict -- echo no >"$out" 2>"$err" || rc=$?
	expect_refusal cgroup_memory
	expect_nothing_left
}

run_tests "$0"
