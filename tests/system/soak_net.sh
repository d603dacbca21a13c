#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# soak_net.sh MAYFLY ENGINE [TEST...]: many runs with networks, and what is left
# of them on the host: nothing. The world is net_lib.sh's. RUNS (200) in all for
# each test, ATONCE (20) of them at once in one; LIMIT seconds for one.
# shellcheck disable=SC2016,SC2034,SC2154 # the guest expands; lib.sh sets

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/net_lib.sh
. "$here/net_lib.sh"
# shellcheck source=tests/system/soak_lib.sh
. "$here/soak_lib.sh"
net_private "$0" "$@"
RUNS=${RUNS:-200}
ATONCE=${ATONCE:-20}
LIMIT=${LIMIT:-120}
net_begin "$1" "$2"
shift 2
ONLY=$*

# --- one run of each kind ------------------------------------------------

kind_page() {
	start --net -m 64 -- wget -q -O - http://web.test/
	expect_rc 0
	expect_out 'page of the world'
}

kind_page6() {
	start --net -m 64 -- wget -q -O - "http://[$WEB6]:8080/"
	expect_rc 0
	expect_out 'page of the world'
}

kind_allow() {
	start --allow web.test:80 -m 64 -- sh -c "wget -q -O - http://web.test/
		for a in $WEB4:8080 $HOST4 169.254.169.254 93.184.216.40; do
			wget -q -O - http://\$a/ && echo reached \$a
		done"
	expect_out 'page of the world'
}

kind_deny() {
	start --net --deny web.test -m 64 -- wget -q -O - http://web.test/
	expect_rc 1
	expect_out ''
}

kind_bytes() {
	size=$((($1 * 7919) % 300000 + 1))
	start --net -m 64 -- sh -c "head -c $size /dev/urandom >/f
		sha256sum </f; nc $WEB4 7 </f | head -c $size | sha256sum"
	expect_rc 0
	[ "$(sort -u "$out" | wc -l)" = 1 ] || fail 'other bytes came'
}

serves() {
	echo "mkdir /w; echo page of $1 >/w/index.html; httpd -f -p 80 -h /w"
}

page_is() {
	[ "$(timeout 20 busybox wget -q -O - "http://127.0.0.1:$1/" 2>/dev/null)" \
		= "page of $2" ]
}

# Of the run $1, which has one.
port_of() {
	"$MAYFLY" inspect "$1" 2>/dev/null |
		sed -n 's/^ *"host_port": \([0-9]*\),$/\1/p' | head -n 1
}

has_port() {
	[ -n "$(port_of "$1")" ]
}

expect_page() {
	wait_for "$LIMIT" has_port "soak$1" || fail 'no port'
	wait_for "$LIMIT" page_is "$(port_of "soak$1")" "$1" || fail 'no page'
}

kind_publish() {
	background -p 0:80 -m 64 --name "soak$1" -- sh -c "$(serves "$1")"
	expect_page "$1"
	kill "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
}

kind_detached() {
	id=$("$MAYFLY" run --engine "$ENGINE" -d -p 127.0.0.1:0:80 -m 64 \
		--allow web.test --name "soak$1" -- sh -c "$(serves "$1")" \
		2>"$err") || fail 'run -d'
	expect_page "$1"
	case $(($1 % 3)) in
	0) "$MAYFLY" stop -t 5 "$id" ;;
	1) "$MAYFLY" kill "$id" ;;
	2) kill -9 "$(supervisor "$id")" ;;
	esac >/dev/null 2>"$err" || fail 'it does not end'
	wait_for 10 ended "$id" || fail 'it goes on'
	# Another one's prune may have been faster.
	"$MAYFLY" rm "$id" >/dev/null 2>"$err" || expect_err 'no such run'
}

kind_timeout() {
	start --net -m 64 --timeout "0.$(($1 % 5 + 1))" -- sleep 1000
	expect_rc 124
}

kind_panic() {
	start --net -m 64 -- sh -c 'echo c >/proc/sysrq-trigger; sleep 1000'
	expect_rc 125
}

# The machine, the keeper of its network and its forwarder, one or the other.
kind_part_killed() {
	background --net -m 64 -- sleep 1000
	moment "$1"
	part=$(children "$pid" | tr ' ' '\n' | sed -n "$(($1 % 3 + 1))p")
	[ -z "$part" ] || kill -9 "$part"
	rc=0
	# Where it had no such child yet there was nothing to kill.
	[ -n "$part" ] || kill -TERM "$pid"
	wait "$pid" || rc=$?
	[ "$rc" = 125 ] || [ "$rc" = 143 ] || fail "exit code $rc"
}

KILLED_OPTIONS='--allow web.test -p 0:80 -m 64'
KINDS='page page6 allow deny bytes publish detached timeout panic terminated
	killed part_killed'

# --- what is left --------------------------------------------------------

# Whether it is a router, and the rest of a host that a run might change, but
# for what rules have counted.
forwards() {
	cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
}

host_state() {
	nft -s -t list ruleset
	ip rule
	ip -6 rule
	ip route show table all | grep -v wan0 | sort
	ip -6 route show table all | grep -v wan0 | sort
	ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/\1/'
	forwards
	grep nsfs /proc/self/mountinfo
}

# What runs share of the host stays until it is pruned, and so is there before.
state_before() {
	"$MAYFLY" net prune >/dev/null 2>&1
	forwards >"$WORK/forwards"
	kind_page 1
	wait_for 10 no_links || fail 'a link is left'
	host_state >"$WORK/before"
}

expect_state_as_before() {
	expect_no_network_left
	host_state >"$WORK/after"
	diff "$WORK/before" "$WORK/after" >"$out" || fail 'the host is another'
	"$MAYFLY" net prune >"$out" 2>"$err" || fail 'net prune'
	[ -z "$(nft list ruleset)" ] || fail "rules are left: $(nft list ruleset)"
	[ "$(forwards)" = "$(cat "$WORK/forwards")" ] ||
		fail 'the host is a router'
}

test_networks_of_all_kinds_in_a_row_leave_nothing() {
	state_before
	runs 1 1 || exit 1
	expect_state_as_before
}

test_networks_of_all_kinds_many_at_a_time_leave_nothing() {
	state_before
	runs_at_a_time "$ATONCE"
	expect_state_as_before
}

# What a process of the run holds: KiB of its own, and descriptors.
descriptors() {
	find "/proc/$1/fd" -type l | wc -l
}

no_more_descriptors() {
	for p in $boss $parts; do
		[ "$(descriptors "$p")" -le "$(cat "$WORK/fds.$p")" ] || return 1
	done
}

use() {
	r=0
	"$MAYFLY" exec one -- sh -c "wget -q -O - http://web.test/
		wget -q -O - http://[$WEB6]/; nslookup n$1.test >/dev/null 2>&1
		nc -w 1 10.0.0.1 80; exit $(($1 % 100))" >"$out" 2>"$err" || r=$?
	[ $r = $(($1 % 100)) ] || fail "exec $1: exit code $r"
	[ "$(grep -c '^page of the world$' "$out")" = 2 ] || fail "exec $1"
	page_is "$port" me || fail "no page $1"
	"$NET_PROBE" ask "udp/127.0.0.1/$udp" | grep -q ' open$' ||
		fail "no echo $1"
}

test_traffic_does_not_grow_what_serves_it() {
	"$MAYFLY" run --engine "$ENGINE" -m 64 -d --name one -p 0:80 -p 0:7/udp \
		-v "$NET_PROBE:/probe:ro" --allow '*.test' -- \
		sh -c "/probe echo 7 & $(serves me)" >/dev/null 2>"$err" ||
		fail 'run -d'
	wait_for "$LIMIT" page_is "$(port_of one)" me || fail 'no page'
	port=$(port_of one)
	udp=$("$MAYFLY" inspect one |
		sed -n 's/^ *"host_port": \([0-9]*\),$/\1/p' | tail -n 1)
	boss=$(supervisor one)
	parts=$(children "$boss")
	[ "$(echo "$parts" | wc -w)" = 3 ] || fail "its children: $parts"
	i=0
	while [ $i -lt "$RUNS" ]; do
		i=$((i + 1))
		use $i
		[ $i != $((RUNS / 4)) ] || for p in $boss $parts; do
			own_memory "$p" >"$WORK/kib.$p"
			descriptors "$p" >"$WORK/fds.$p"
		done
	done
	for p in $boss $parts; do
		name=$(basename "$(readlink "/proc/$p/exe")")
		grown=$(($(own_memory "$p") - $(cat "$WORK/kib.$p")))
		most=256
		[ "$name" != mayfly-vmm ] || most=2048
		echo "# $name: $grown KiB more"
		[ $grown -lt $most ] || fail "$name grew by $grown KiB"
	done
	# A client who sends datagrams is not forgotten before a minute is over.
	wait_for 90 no_more_descriptors || fail 'descriptors stay open'
	"$MAYFLY" rm -f one >/dev/null || fail 'rm -f'
	expect_no_network_left
}

run_tests "$here/soak_net.sh"
