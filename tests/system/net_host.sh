#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# net_host.sh MAYFLY [ENGINE [TEST...]]: what networks of runs share on their
# host, beside other people's firewalls; and that the host is as it was when
# they are gone. A namespace of the test's own is the host, one is the world
# outside, and one each the network of a VM; tests/net-host does what a launcher
# does, and one guest is started. TAP on stdout; for root.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/net_host_lib.sh
. "$here/net_host_lib.sh"

host_begin "$@"
# Faults are for programs that were built with them: the suite of that name.
grep -q MAYFLY_FAULT "$TOOL" || ONLY=${ONLY:-$(sed -n \
	's/^test_\([a-z0-9_]*\)() {$/\1/p' "$here/net_host.sh" |
	grep -v '^sigkill_at_each_step$' | tr '\n' ' ')}

# A run beside it: packets pass where they should; then the host is as it was.
beside() {
	before
	# What was not there before it is looked at is no drop of ours.
	vm 1
	reaches vm1 $OUT
	shut vm1 $HOST
	shut vm1 203.0.113.1
	"$TOOL" apply >/dev/null || fail 'apply again'
	reaches vm1 $FAR
	end_vm 1
	prune
	told 'removed table inet mayfly'
	as_before
}

# The same, but first the rules that we put in are taken out by hand: only then
# is it known that they were needed.
needed() { # COMMAND...: takes them out
	vm 2
	reaches vm2 $OUT
	"$@" || fail 'rules of ours are not there'
	shut vm2 $OUT
	"$TOOL" apply >/dev/null || fail 'apply'
	reaches vm2 $OUT
	end_vm 2
	prune
}

out_of() { # PROGRAM
	"$1" -D FORWARD -i mfy+ -m comment --comment mayfly -j ACCEPT &&
		"$1" -D FORWARD -o mfy+ -m comment --comment mayfly -j ACCEPT
}

test_host_without_rules() {
	fresh
	beside
}

test_docker() {
	fresh
	docker iptables-nft
	# Its programs can still read the table, and find ours in it.
	needed out_of iptables-nft
	beside
}

test_docker_by_iptables_legacy() {
	[ -e /usr/sbin/iptables-legacy ] || skip 'no iptables-legacy'
	fresh
	LEGACY=1
	docker iptables-legacy 2>"$err" || skip 'the kernel has no ip_tables'
	needed out_of iptables-legacy
	beside
	grep -q mayfly "$WORK/before" && fail 'something was left before'
	iptables-legacy -t nat -F
}

test_ufw() {
	fresh
	ufw
	needed out_of iptables-nft
	beside
}

test_firewalld() {
	fresh
	firewalld
	needed firewalld
	beside
}

test_chain_that_refuses_behind_a_jump() {
	fresh
	nft -f - <<-'EOF'
	table ip6 admin {
		chain end { counter reject; }
		chain forward {
			type filter hook forward priority 0; policy accept;
			ip6 daddr fe80::/10 return
			counter jump end
		}
	}
	table inet other {
		chain forward {
			type filter hook forward priority 0; policy accept;
			ip daddr 10.9.9.9 drop
		}
	}
	EOF
	before
	"$TOOL" apply >/dev/null || fail 'apply'
	[ "$(nft list chain ip6 admin forward | grep -c mayfly)" = 2 ] ||
		fail 'no rules where all is refused'
	nft list chain inet other forward | grep mayfly &&
		fail 'rules where nothing of ours is dropped'
	prune
	as_before
}

# --- what passes -----------------------------------------------------------

test_vms_do_not_reach_each_other_nor_the_host() {
	fresh
	vm 1
	vm 2
	reaches vm1 $OUT
	reaches vm2 $OUT
	shut vm1 "$(uplink 2)"
	shut vm1 "198.19.0.0"
	shut vm1 "198.19.0.2"
	shut vm2 $HOST
	# Nor anybody them, though the way is known.
	in_ns out ip route add 198.19.0.0/16 via $HOST
	shut out "$(uplink 1)"
}

# What came out, masqueraded or not.
pings_at_out() {
	in_ns out nft list chain inet count input |
		sed -n 's/.*packets \([0-9]*\).*/\1/p'
}

test_forged_sources_are_dropped() {
	fresh
	in_ns out nft -f - <<-'EOF'
	table inet count {
		chain input {
			type filter hook input priority 0;
			icmp type echo-request counter
		}
	}
	EOF
	vm 1
	vm 2
	in_ns vm1 ip addr add 198.51.100.7/32 dev lo
	in_ns vm1 ip addr add "$(uplink 2)/32" dev lo
	reaches vm1 $OUT
	[ "$(pings_at_out)" = 1 ] || fail "$(pings_at_out) came out, not 1"
	for a in 198.51.100.7 "$(uplink 2)"; do
		in_ns vm1 ping -q -n -c 1 -W 1 -I "$a" $OUT >/dev/null 2>&1
	done
	[ "$(pings_at_out)" = 1 ] || fail 'a forged source came out'
}

test_host_does_not_become_a_router() {
	fresh
	shut out $FAR
	vm 1
	[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || fail 'does not forward'
	reaches vm1 $FAR
	shut out $FAR
	shut far $OUT
	# Who comes later has found forwarding on: a bridge of containers.
	link late 198.51.100.1 box 198.51.100.2
	in_ns out ip route add 198.51.100.0/24 via $HOST
	reaches box $OUT
	shut out 198.51.100.2
}

test_host_that_was_a_router_stays_one() {
	fresh
	echo 1 >/proc/sys/net/ipv4/ip_forward
	before
	reaches out $FAR
	vm 1
	reaches out $FAR
	end_vm 1
	prune
	as_before
	reaches out $FAR
}

test_links_that_forwarded_alone_do_so_again() {
	fresh
	echo 1 >/proc/sys/net/ipv4/conf/e0/forwarding
	echo 1 >/proc/sys/net/ipv4/conf/e1/forwarding
	echo 0 >/proc/sys/net/ipv4/conf/all/accept_redirects
	echo 1 >/proc/sys/net/ipv6/conf/e1/forwarding
	before
	reaches out $FAR
	"$TOOL" apply 6 >/dev/null || fail 'apply'
	[ "$(cat /proc/sys/net/ipv6/conf/all/forwarding)" = 1 ] || fail 'no IPv6'
	reaches out $FAR
	prune
	as_before
}

# What others of such addresses send is theirs.
test_pool_around_a_network_changes_none_of_its_sources() {
	fresh
	echo 1 >/proc/sys/net/ipv4/ip_forward
	POOL=203.0.0.0/16
	vm 1
	in_ns out nft "add table ip seen
		add chain ip seen in { type filter hook input priority 0; }
		add rule ip seen in ip saddr $FAR counter comment far
		add rule ip seen in ip saddr $HOST counter comment host"
	reaches far $OUT
	in_ns out nft list chain ip seen in >"$out"
	grep -q 'packets 1 .*far' "$out" || fail 'its source was changed'
	reaches vm1 $OUT
	in_ns out nft list chain ip seen in >"$out"
	grep -q 'packets 1 .*host' "$out" || fail 'not the source of the VM'
	end_vm 1
	prune
}

# --- others change the ruleset ------------------------------------------------

test_apply_again_changes_nothing() {
	fresh
	docker iptables-nft
	"$TOOL" apply >/dev/null || fail 'apply'
	nft -a list ruleset >"$WORK/one" 2>/dev/null
	"$TOOL" apply >/dev/null || fail 'apply'
	nft add table inet somebody
	"$TOOL" apply >/dev/null || fail 'apply'
	nft delete table inet somebody
	nft -a list ruleset >"$WORK/two" 2>/dev/null
	cmp "$WORK/one" "$WORK/two" || fail 'it was made anew'
}

test_flushed_ruleset_is_made_again() {
	fresh
	docker iptables-nft
	vm 1
	nft -s list ruleset >"$WORK/one" 2>/dev/null
	for how in 'flush ruleset' 'delete table inet mayfly' \
		'flush table inet mayfly' 'flush chain inet mayfly from_vm'; do
		nft $how
		[ "$how" != 'flush ruleset' ] || docker iptables-nft
		"$TOOL" apply >/dev/null || fail "apply after $how"
		nft -s list ruleset >"$WORK/two" 2>/dev/null
		cmp -s "$WORK/one" "$WORK/two" ||
			[ "$how" = 'flush ruleset' ] || fail "after $how"
		shut vm1 $HOST
		reaches vm1 $OUT
	done
}

has_fence() {
	nft list table inet mayfly >/dev/null 2>&1 &&
		[ "$(nft list chain ip filter FORWARD 2>/dev/null |
			grep -c mayfly)" = "$1" ]
}

test_flushed_ruleset_is_made_again_while_a_guest_runs() {
	fresh
	"$MAYFLY" run --engine soft --net -- sleep 1000 >"$out" 2>"$err" &
	pid=$!
	wait_for 60 has_fence 0 || fail 'no fence'
	# It has been told of its own changes before; now of these.
	wait_for 60 grep -q . "$MAYFLY_STATE_DIR/net/host.json" || fail 'memory'
	nft flush ruleset
	wait_for 60 has_fence 0 || fail 'it stays away'
	docker iptables-nft
	wait_for 60 has_fence 2 || fail 'no rules beside Docker'
	kill -0 $pid || fail 'the guest has ended'
	kill $pid
	wait $pid
	wait_for 60 no_links || fail 'links stay'
	prune
}

test_forwarding_that_was_turned_off_is_on_again() {
	fresh
	before
	vm 1
	echo 0 >/proc/sys/net/ipv4/ip_forward
	shut vm1 $OUT
	"$TOOL" apply >/dev/null || fail 'apply'
	reaches vm1 $OUT
	end_vm 1
	prune
	as_before
}

test_forwarding_stays_for_who_came_later() {
	fresh
	vm 1
	docker iptables-nft
	end_vm 1
	prune
	told 'kept net.ipv4.ip_forward = 1, which rules of others.*'
	told 'removed table inet mayfly'
	[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || fail 'it is off'
}

test_table_with_an_owner_is_left_alone() {
	fresh
	mkfifo "$WORK/nft"
	nft -i <>"$WORK/nft" >/dev/null 2>&1 &
	owner=$!
	cat >"$WORK/nft" <<-'EOF'
	add table inet owned { flags owner; }
	add chain inet owned forward { type filter hook forward priority 0; policy drop; }
	EOF
	if ! wait_for 30 nft list chain inet owned forward >/dev/null 2>&1; then
		kill $owner
		wait $owner
		skip 'nft cannot own a table'
	fi
	"$TOOL" apply >/dev/null || fail 'apply'
	nft list chain inet owned forward | grep mayfly && fail 'it was changed'
	prune
	kill $owner
	wait $owner || : # and its table has gone with it
}

# --- crashes -------------------------------------------------------------------

test_sigkill_in_apply_is_completed_or_taken_back() {
	fresh
	docker iptables-nft
	before
	for ms in 0 1 2 3 4 5 6 8 10 12 15 20; do
		timeout -s KILL 0.0$(printf '%02d' $ms) "$TOOL" apply >/dev/null 2>&1
		[ $((ms % 2)) = 0 ] || "$TOOL" apply >/dev/null || fail "after $ms ms"
		prune
		as_before
	done
}

test_sigkill_in_undo_is_completed() {
	fresh
	docker iptables-nft
	before
	for ms in 0 1 2 3 4 5 6 8 10 12 15 20; do
		"$TOOL" apply >/dev/null || fail 'apply'
		timeout -s KILL 0.0$(printf '%02d' $ms) "$MAYFLY" net prune \
			>/dev/null 2>&1
		prune
		as_before
		"$TOOL" apply >/dev/null || fail 'apply'
		timeout -s KILL 0.0$(printf '%02d' $ms) "$MAYFLY" net prune \
			>/dev/null 2>&1
		"$TOOL" apply >/dev/null || fail "apply after half an undo"
		vm 1
		reaches vm1 $OUT
		end_vm 1
		prune
		as_before
	done
}

# Programs with faults alone: at each of the steps.
test_sigkill_at_each_step() {
	grep -q MAYFLY_FAULT "$TOOL" || skip 'built without FAULTS=1'
	fresh
	docker iptables-nft
	before
	for at in host.noted host.table host.rules host.legacy host.forward; do
		MAYFLY_FAULT=$at:kill "$TOOL" apply >/dev/null 2>&1 &&
			fail "$at: not killed"
		prune
		as_before
		MAYFLY_FAULT=$at:kill "$TOOL" apply >/dev/null 2>&1
		"$TOOL" apply >/dev/null || fail "$at: apply"
		prune
		as_before
	done
	for at in prune.forward prune.legacy prune.rules; do
		"$TOOL" apply >/dev/null || fail 'apply'
		MAYFLY_FAULT=$at:kill "$MAYFLY" net prune >/dev/null 2>&1 &&
			fail "$at: not killed"
		prune
		as_before
		"$TOOL" apply >/dev/null || fail 'apply'
		MAYFLY_FAULT=$at:kill "$MAYFLY" net prune >/dev/null 2>&1
		"$TOOL" apply >/dev/null || fail "$at: apply"
		prune
		as_before
	done
}

test_link_of_the_dead_is_removed_and_that_of_the_living_is_not() {
	fresh
	before
	vm 1
	vm 2
	kill_vm 1
	ip link show mfy0 >/dev/null || fail 'it went by itself'
	prune
	told 'removed link mfy0'
	ip link show mfy1 >/dev/null || fail 'the living has lost its link'
	reaches vm2 $OUT
	nft list table inet mayfly >/dev/null || fail 'and its fence'
	prune
	told 'kept what is shared: 1 of the runs has a network'
	grep -q removed "$out" && fail "twice: $(cat "$out")"
	end_vm 2
	prune --format json
	grep -q '"link mfy' "$out" && fail 'a link was left'
	grep -q '"table inet mayfly"' "$out" || fail 'no table'
	grep -q '"net.ipv4.ip_forward = 0"' "$out" || fail 'forwarding'
	as_before
}

test_thirty_at_once() {
	fresh
	docker iptables-nft
	before
	for i in $(seq 30); do
		ip netns add "vm$i"
		"$TOOL" hold "$(printf '%012x' "$i")" "/run/netns/vm$i" \
			</dev/zero >"$WORK/number$i" 2>"$WORK/err$i" &
		eval "p$i=$!"
	done
	for i in $(seq 30); do
		eval "wait \$p$i" || fail "$i: $(cat "$WORK/err$i")"
	done
	[ "$(cat "$WORK"/number* | wc -l)" = 30 ] || fail 'not all have one'
	rm "$WORK"/number* "$WORK"/err*
	[ "$(nft list chain ip filter FORWARD | grep -c mayfly)" = 2 ] ||
		fail 'rules of ours are there twice'
	for i in $(seq 30); do
		ip netns del "vm$i"
	done
	wait_for 60 no_links || fail 'links stay'
	prune
	as_before
}

test_thirty_live_at_once() {
	fresh
	before
	for i in $(seq 30); do
		vm "$i"
	done
	[ "$(cat "$WORK"/number* | sort -u | wc -l)" = 30 ] ||
		fail 'a number twice'
	reaches vm1 $OUT
	reaches vm30 $OUT
	shut vm1 "$(uplink 30)"
	for i in $(seq 30); do
		kill_vm "$i"
	done
	prune
	[ "$(grep -c '^removed link mfy' "$out")" = 30 ] || fail 'links are left'
	as_before
}

test_without_root_files_alone_are_pruned() {
	fresh
	"$TOOL" apply >/dev/null || fail 'apply'
	before
	d=$WORK/state-user
	mkdir -m 700 -p "$d/net/leases"
	echo '0123456789ab pasta' >"$d/net/leases/3"
	chown -R 4321 "$d"
	chmod 711 "$WORK" "$BIN"
	MAYFLY_STATE_DIR=$d setpriv --reuid 4321 --regid 4321 --clear-groups \
		"$MAYFLY" net prune >"$out" 2>"$err" || fail 'net prune'
	told 'removed lease 3 of run 0123456789ab'
	[ -z "$(ls -A "$d/net/leases")" ] || fail 'it is there'
	as_before
	MAYFLY_STATE_DIR=$d setpriv --reuid 4321 --regid 4321 --clear-groups \
		"$MAYFLY" net ls --format json >"$out" 2>"$err" || fail 'net ls'
	[ "$(cat "$out")" = '[]' ] || fail 'a network'
}

# They would be counted for hours, whoever killed who had them.
test_flows_of_the_dead_are_forgotten() {
	fresh
	vm 1
	vm 2
	reaches vm1 $OUT
	reaches vm2 $OUT
	kill_vm 1
	grep -q src=198.19.0.1 /proc/net/nf_conntrack || fail 'none'
	prune
	told 'removed [0-9]* flows of run 000000000001'
	grep src=198.19.0.1 /proc/net/nf_conntrack && fail 'they are there'
	grep -q src=198.19.0.3 /proc/net/nf_conntrack || fail 'those of others'
	end_vm 2
	ip netns del vm1
	prune
}

# --- two directories of runs ------------------------------------------------------

test_two_directories_of_runs_leave_each_other_alone() {
	fresh
	before
	vm 1
	nft -a list ruleset >"$WORK/one"
	one=$MAYFLY_STATE_DIR
	MAYFLY_STATE_DIR=$WORK/state-two
	mkdir -m 700 "$MAYFLY_STATE_DIR"
	POOL=10.77.0.0/16
	vm 2
	nft -a list ruleset >"$WORK/two"
	# The first one's serves both; it alone knows who was no router.
	cmp "$WORK/one" "$WORK/two" || fail 'the fence was made anew'
	nft flush ruleset
	"$TOOL" apply >/dev/null || fail 'apply of the second'
	MAYFLY_STATE_DIR=$one "$TOOL" apply >/dev/null || fail 'of the first'
	nft -a list ruleset >"$WORK/one"
	grep -q ' drop.*handle' "$WORK/one" || fail 'a router'
	"$TOOL" apply >/dev/null || fail 'apply of the second'
	MAYFLY_STATE_DIR=$one "$TOOL" apply >/dev/null || fail 'of the first'
	nft -a list ruleset >"$WORK/two"
	cmp "$WORK/one" "$WORK/two" || fail 'they do not agree'
	shut out $FAR
	[ "$(cat "$WORK/number2")" = 1 ] || fail 'the same link'
	reaches vm1 $OUT
	reaches vm2 $OUT
	prune
	told 'kept link mfy0, of another directory of runs'
	end_vm 2
	prune
	told 'kept link mfy0, of another directory of runs'
	nft list table inet mayfly >/dev/null || fail 'the fence is gone'
	reaches vm1 $OUT
	shut vm1 $HOST
	MAYFLY_STATE_DIR=$one
	end_vm 1
	prune
	as_before
}

# Of a pool that is part of ours: the same address by another number.
test_flows_of_who_has_the_address_now_are_kept() {
	fresh
	vm 1
	vm 2
	kill_vm 2
	ip netns del vm2
	wait_for 60 no_link mfy1 || fail 'its link stays'
	end_vm 1
	one=$MAYFLY_STATE_DIR
	MAYFLY_STATE_DIR=$WORK/state-two
	mkdir -m 700 "$MAYFLY_STATE_DIR"
	POOL=198.19.0.2/31
	vm 3
	[ "$(cat "$WORK/number3")" = 0 ] || fail 'the same number'
	in_ns vm3 ip addr flush dev up0
	in_ns vm3 ip addr add 198.19.0.3/31 dev up0
	in_ns vm3 ip route add default via 198.19.0.2
	reaches vm3 $OUT
	MAYFLY_STATE_DIR=$one
	prune
	told 'removed lease 1 of run 000000000002'
	grep -q flows "$out" && fail "$(cat "$out")"
	grep -q src=198.19.0.3 /proc/net/nf_conntrack || fail 'they are gone'
	end_vm 3
}

test_memory_of_another_namespace_counts_for_nothing() {
	fresh
	vm 1
	end_vm 1
	ip netns add other
	echo 1 | in_ns other tee /proc/sys/net/ipv4/ip_forward >/dev/null
	in_ns other "$MAYFLY" net prune >"$out" 2>"$err" || fail 'net prune'
	[ ! -s "$out" ] || fail "it has done $(cat "$out")"
	[ "$(in_ns other cat /proc/sys/net/ipv4/ip_forward)" = 1 ] ||
		fail 'it was turned off'
}

# --- what is missing ---------------------------------------------------------------

test_missing_programs_are_said_with_the_remedy() {
	fresh
	mount --bind "$WORK/nothing" /usr/sbin/nft
	"$TOOL" apply >"$out" 2>"$err" && fail 'without nft'
	umount /usr/sbin/nft
	grep -q 'the program nft is not here' "$err" || fail 'no word of nft'
	grep -q 'apt-get install nftables' "$err" || fail 'no remedy'
	[ -e /usr/sbin/xtables-legacy-multi ] || return 0
	iptables-legacy -P FORWARD DROP 2>/dev/null || return 0
	mount --bind "$WORK/nothing" /usr/sbin/xtables-legacy-multi
	"$TOOL" apply >"$out" 2>"$err" && fail 'without iptables-legacy'
	umount /usr/sbin/xtables-legacy-multi
	grep -q 'program is not here' "$err" || fail 'no word of iptables'
	iptables-legacy -P FORWARD ACCEPT
	prune
}

run_tests "$0"
