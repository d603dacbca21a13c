#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# net_faults.sh MAYFLY ENGINE [TEST...]: what becomes of a run whose network
# fails while it is made. MAYFLY is of a build with FAULTS=1. TAP on stdout.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/net_lib.sh
. "$here/net_lib.sh"

net_private "$0" "$@"
setup "$1"
trap 'net_cleanup' EXIT
servers=
ENGINE=$2 LIMIT=120
export MAYFLY_CGROUP_PARENT="mayfly-test-$$"
ip link set lo up
shift 2
ONLY=$*

LAUNCHER='launcher.keep_cloned launcher.keep_mapped launcher.keeper
	launcher.lease launcher.veth launcher.keep_setup launcher.keep_uplink
	launcher.uplink launcher.files launcher.cgroup launcher.boot launcher.go
	launcher.forwarder'
CHILD='keep.session keep.descriptors keep.go keep.user'
KEEPER='keep.setup keep.tap keep.listeners keep.told keep.settings
	keep.tools keep.link keep.fence keep.uplink'

# fault STAGE ACTION [OPTION...] -- CMD...: a run to its end.
fault() {
	stage=$1 action=$2
	shift 2
	MAYFLY_FAULT=$stage:$action start --meta "$WORK/meta" --net "$@"
	[ "$rc" != 137 ] || [ "${stage%%.*}" = launcher ] ||
		fail "$stage:$action: no end"
}

# Nothing runs, and prune finds what else there is: records, leases.
expect_pruned() {
	wait_for 60 nothing_runs || fail "$1: processes: $(ours)"
	wait_for 60 no_links || fail "$1: links: $(net_links)"
	"$MAYFLY" prune >"$WORK/pruned" 2>&1 && "$MAYFLY" net prune \
		>>"$WORK/pruned" 2>&1 || fail "$1: prune: $(cat "$WORK/pruned")"
	[ -z "$(ls "$MAYFLY_STATE_DIR/net/leases" 2>/dev/null)" ] ||
		fail "$1: leases: $(ls "$MAYFLY_STATE_DIR/net/leases")"
	[ -z "$(nft list tables)" ] || fail "$1: tables: $(nft list tables)"
	[ "$(records | grep -v '^net$')" = '' ] || fail "$1: records: $(records)"
	[ -z "$(ls -A "$TMPDIR")" ] || fail "$1: files: $(ls -A "$TMPDIR")"
}

test_launcher_killed_at_each_step_of_its_network_leaves_nothing() {
	for s in $LAUNCHER; do
		fault "$s" kill -- sleep 1000
		expect_rc 137
		expect_pruned "$s:kill"
	done
}

test_keeper_killed_at_each_step_is_an_error_with_words() {
	killed='was killed by signal 9 (Killed)'
	for s in $CHILD; do
		fault "$s" kill -- sleep 1000
		expect_refusal 'network: '
		expect_meta verdict internal
		expect_pruned "$s:kill"
	done
	for s in $KEEPER; do
		fault "$s" kill -- sleep 1000
		expect_rc 125
		expect_meta verdict internal
		[ "$(cat "$err")" = "mayfly: network: mayfly-net $killed" ] ||
			fail "$s"
		expect_pruned "$s:kill"
	done
}

# Its filter has no call to do it by: that kills it as well.
test_keeper_killed_later_is_a_crash_with_words() {
	fault keep.held kill -- sleep 1000
	expect_rc 125
	expect_meta verdict vm_crash
	expect_err '^mayfly: network: mayfly-net was killed by signal 31'
	expect_pruned keep.held:kill
}

test_keeper_that_sleeps_is_given_up() {
	for s in keep.descriptors keep.setup keep.listeners; do
		fault "$s" stop --boot-timeout 1 -- sleep 1000
		expect_rc 125
		expect_err 'network: no tap was made within the --boot-timeout of 1 s'
		expect_pruned "$s:stop"
	done
	for s in keep.told keep.link; do
		fault "$s" stop --boot-timeout 2 -- sleep 1000
		expect_rc 125
		expect_err 'mayfly: .*2 s'
		expect_pruned "$s:stop"
	done
}

# Its guest never had a fence, so it never ran.
test_no_guest_runs_before_its_fence() {
	fault keep.link stop --boot-timeout 2 --console "$WORK/console" \
		--append 'ignore_loglevel earlyprintk=ttyS0' -- true
	expect_rc 125
	[ ! -s "$WORK/console" ] || fail "$(head -n 3 "$WORK/console")"
	expect_pruned console
}

run_tests "$here/net_faults.sh"
