#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# net_look.sh MAYFLY [ENGINE [TEST...]]: what is seen of a host before a run has
# a network on it, and what doctor says of that. Where and how: net_host.sh.
# shellcheck disable=SC2086,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/net_host_lib.sh
. "$here/net_host_lib.sh"

host_begin "$@"

looks() {
	"$TOOL" look >"$out" 2>"$err" || fail 'look'
}

test_look_finds_the_way_out() {
	fresh
	looks
	grep -qx 'default 0 0' "$out" || fail 'a way out'
	grep -qx 'ipv6 the host has no default route for it' "$out" || fail 'IPv6'
	for a in 127.0.0.1 $HOST 203.0.113.1; do
		grep -qx "own $a" "$out" || fail "$a is not its own"
	done
	ip link set e0 mtu 1400
	ip route add default via $OUT
	ip -6 addr add 2001:db8::1/64 dev e1 nodad
	ip -6 route add default via 2001:db8::2 dev e1
	looks
	grep -qx 'default 1 1' "$out" || fail 'no way out'
	grep -qx 'ipv6 yes' "$out" || fail 'no IPv6'
	grep -qx 'mtu 1400' "$out" || fail 'MTU'
	grep -qx 'own 2001:db8::1' "$out" || fail 'an address is not its own'
	ip route change default via $OUT mtu 1300
	ip route add local 198.51.100.64/28 dev lo
	ip -6 route add local 2001:db8:9::/64 dev e1
	looks
	for a in 198.51.100.64/28 2001:db8:9::/64; do
		grep -qx "own $a" "$out" || fail "$a is not its own"
	done
	grep -qx 'mtu 1300' "$out" || fail "MTU of the route: $(cat "$out")"
}

comes_and_goes() {
	while :; do
		ip link add mfy0 type veth peer name far0
		ip addr add 10.9.0.0/31 dev mfy0
		ip link del mfy0
	done
}

# The many are looked at before: meanwhile the last one goes.
test_links_that_go_meanwhile_are_in_nobodys_way() {
	fresh
	ip link add mfy9 type veth peer name far9
	for i in $(seq 2000); do
		echo "addr add 10.8.$((i / 100)).$((2 * (i % 100)))/31 dev mfy9"
	done | ip -batch - || fail 'no addresses'
	comes_and_goes &
	goes=$!
	for i in $(seq 60); do
		"$TOOL" look 10.9.0.0/31 >"$out" 2>"$err" || fail 'look'
		grep -qx 'taken 0' "$out" || break
	done
	kill $goes
	wait $goes
	ip link del mfy9
	grep -x 'taken 0' "$out" || fail "after $i looks: $(cat "$out")"
}

test_look_minds_router_advertisements() {
	fresh
	ip -6 addr add 2001:db8::1/64 dev e1 nodad
	ip -6 route add default via 2001:db8::2 dev e1 proto ra
	looks
	grep -q '^ipv6 .*router advertisements' "$out" || fail 'RA'
	echo 2 >/proc/sys/net/ipv6/conf/e1/accept_ra
	looks
	grep -qx 'ipv6 yes' "$out" || fail 'accept_ra=2'
	echo 1 >/proc/sys/net/ipv6/conf/e1/accept_ra
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	ip -6 route replace default via 2001:db8::2 dev e1 proto ra
	looks
	grep -qx 'ipv6 yes' "$out" || fail 'it forwards already'
}

# --- doctor ---------------------------------------------------------------------------

doctor_says() {
	"$MAYFLY" doctor >"$out" 2>"$err"
	grep -q "$1" "$out" || fail "not said: $1"
}

test_doctor_names_who_else_rules_forwarding() {
	fresh
	doctor_says '^ok *nft '
	doctor_says '^ok *forwarding *is off'
	doctor_says '^ok *forward rules *none'
	doctor_says '^warn *way out *no default route'
	docker iptables-nft
	firewalld
	ip route add default via $OUT
	echo 1 >/proc/sys/net/ipv4/ip_forward
	doctor_says '^ok *forward rules .*ip filter FORWARD, inet firewalld filter_F'
	doctor_says '^ok *forwarding *is on'
	doctor_says '^ok *way out *IPv4; guests have no IPv6: the host has no'
	mount --bind "$WORK/nothing" /usr/sbin/nft
	"$MAYFLY" doctor >"$out" 2>"$err"
	umount /usr/sbin/nft
	grep -q '^warn *nft' "$out" || fail 'nft'
	grep -q 'apt-get install nftables' "$out" || fail 'remedy'
}

run_tests "$0"
