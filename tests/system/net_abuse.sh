#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# net_abuse.sh MAYFLY ENGINE [TEST...]: guests that flood, links that go away,
# many at once, and SIGKILL: the host stays well, and nothing is left on it.
# The world is net_lib.sh's. TAP on stdout. LIMIT (120 s) is the longest for one
# command, VMS how many run at once.
# shellcheck disable=SC2016,SC2034,SC2046,SC2086,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/net_lib.sh
. "$here/net_lib.sh"
net_private "$0" "$@"
net_begin "$1" "$2"
shift 2
ONLY=$*
VMS=${VMS:-30}
MIB=1024

# A guest with the probe, in the background; up when it has said so.
guest_up() {
	options=$1
	shift
	background $options -v "$NET_PROBE:/probe:ro" \
		-v "$NET_FRAMES:/frames:ro" -- sh -c "echo up; $1"
	wait_for "$LIMIT" grep -q '^up$' "$out" || fail 'no guest'
}

ends() {
	kill "$pid"
	wait "$pid"
	expect_no_network_left
}

# Resident memory of a process in KiB.
resident() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
}

# Of programs of ours, by what they run: mayfly-vmm, mayfly-net.
running() {
	for p in $(ours); do
		[ "$(basename "$(readlink "/proc/$p/exe")")" != "$1" ] ||
			echo "$p"
	done
}

# --- floods ------------------------------------------------------------------

expect_little_memory() {
	for p in $(running mayfly-vmm); do
		[ "$(resident "$p")" -lt $((192 * MIB)) ] ||
			fail "the VMM has $(resident "$p") KiB"
	done
	for p in $(running mayfly-net); do
		[ "$(resident "$p")" -lt $((8 * MIB)) ] ||
			fail "mayfly-net has $(resident "$p") KiB"
	done
}

test_floods_of_frames_leave_the_guest_its_network() {
	guest_up '--net -m 128m' "for k in bcast arp frag half ra noise; do
			/frames eth0 \$k 100000 9; echo \$k
		done
		/probe ask $(both $WEB4 $WEB6); echo end; sleep 1000"
	while ! grep -q '^end$' "$out"; do
		expect_little_memory
		answers $WEB4 || fail 'the host has no network'
		kill -0 "$pid" || fail 'the guest is gone'
		sleep 0.2
	done
	expect_open $WEB4 $WEB6
	expect_little_memory
	ends
}

# The host's connections are in one table with those of guests.
test_flood_of_flows_leaves_others_their_network() {
	# The host's own are remembered for two minutes.
	own=$(cat /proc/sys/net/netfilter/nf_conntrack_count)
	# That of the first datagram, until the last was sent and all are counted.
	echo 600 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
	guest_up '--net -m 128m' '/frames eth0 small 60000 9; echo end; sleep 1000'
	flooder=$pid
	cp "$out" "$WORK/flood"
	wait_for "$LIMIT" grep -q '^end$' "$out" || fail 'no end'
	flows=$(cat /proc/sys/net/netfilter/nf_conntrack_count)
	echo 30 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
	[ "$flows" -gt 1000 ] || fail "only $flows flows: it was no flood"
	# NET_HOST_FLOWS_MAX, where those in the run's own network time out.
	[ "$flows" -lt $((own + 11000)) ] || fail "the host has $flows flows"
	expect_little_memory
	answers $WEB4 || fail 'the host has no network'
	ask --net $WEB4 $WEB6
	expect_open $WEB4 $WEB6
	pid=$flooder
	ends
	# They do not outlive it, but for pasta's.
	[ -z "${AS:-}" ] || return 0
	flows=$(cat /proc/sys/net/netfilter/nf_conntrack_count)
	[ $((flows - own)) -lt 200 ] || fail "the host has $flows flows still"
}

test_flood_from_the_world_ends_and_the_rest_goes_on() {
	guest_up '--net -m 128m' "for i in 1 2; do
			/probe blast $WEB4 50000; /probe blast $WEB6 50000
		done
		/probe ask $(both $WEB4 $WEB6); echo end; sleep 1000"
	wait_for "$LIMIT" grep -q '^end$' "$out" || fail 'no end'
	[ "$(grep -c '^many datagrams$' "$out")" = 4 ] || fail 'too few came'
	expect_open $WEB4 $WEB6
	expect_little_memory
	ends
}

# --- links that go away --------------------------------------------------

# In the network of the run.
in_network() {
	nsenter --net="/proc/$held/ns/net" "$@"
}

pages() {
	grep -c '^page of the world$' "$out"
}

more_pages() {
	[ "$(pages)" -gt "$before" ]
}

# Of all its threads, in hundredths of a second, as time is.
cpu_of() {
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

now() {
	sed 's/[. ].*//; s/$/00/' /proc/uptime
}

test_link_that_is_down_for_a_while_comes_back() {
	guest_up --net "while :; do
			timeout 5 wget -q -O - http://$WEB4/; usleep 10000
		done"
	held=$(keeper)
	before=0
	wait_for "$LIMIT" more_pages || fail 'no page'
	for i in 1 2 3; do
		in_network ip link set tap0 down
		sleep 0.5
		in_network ip link set tap0 up
		# It forgets neighbours when it is down, and the fence lets the
		# guest answer no question for them.
		in_network ip neigh replace 198.18.0.2 dev tap0 \
			lladdr 02:6d:61:79:66:02 nud permanent
		before=$(pages)
		wait_for "$LIMIT" more_pages || fail 'no page after it was up'
	done
	find_link
	ip link set "$link" down
	sleep 0.5
	ip link set "$link" up
	before=$(pages)
	wait_for "$LIMIT" more_pages || fail 'no page after the veth was up'
	ends
}

is_over() {
	! kill -0 "$pid" 2>/dev/null
}

# By hand, of either end. It would go on with less than it was promised.
test_link_that_is_removed_ends_the_run() {
	for which in tap0 up0 mfy; do
		guest_up --net 'sleep 1000'
		held=$(keeper)
		case $which in
		mfy) find_link && ip link del "$link" ;;
		*) in_network ip link del $which ;;
		esac || fail "no $which"
		wait_for "$LIMIT" is_over || fail "it goes on without $which"
		wait "$pid"
		[ $? = 125 ] || fail "without $which it ended otherwise"
		grep -q 'network: somebody has removed a link of it' "$err" ||
			fail "$which: no words"
		expect_no_network_left
	done
}

# A guest that sleeps, and a descriptor that has an error for ever; with a tap
# of the user's there is nobody else to see it.
test_tap_of_the_users_that_is_gone_wakes_nobody() {
	ip tuntap add dev mytap0 mode tap vnet_hdr
	guest_up --net=tap=mytap0 'sleep 1000'
	ip link del mytap0
	vmm=$(running mayfly-vmm)
	[ -n "$vmm" ] || fail 'the run has ended'
	was=$(cpu_of "$vmm") began=$(now)
	sleep 3
	took=$(($(cpu_of "$vmm") - was)) passed=$(($(now) - began))
	[ $took -lt $((passed / 2)) ] ||
		fail "it took $took of $passed hundredths of a second"
	ends
}

# --- many -----------------------------------------------------------------

test_many_at_once_all_have_their_network() {
	i=0
	pids=
	while [ $i -lt "$VMS" ]; do
		i=$((i + 1))
		timeout -s KILL $((5 * LIMIT)) "$MAYFLY" run --engine "$ENGINE" \
			--boot-timeout $((4 * LIMIT)) --net \
			-m 64m -- wget -q -O - http://web.test/ </dev/null \
			>"$WORK/many.$i" 2>&1 &
		pids="$pids $!"
	done
	for p in $pids; do
		wait "$p" || echo "$p" >>"$WORK/bad"
	done
	[ ! -e "$WORK/bad" ] || fail "$(cat "$WORK"/many.* | sort | uniq -c)"
	[ "$(cat "$WORK"/many.* | grep -cx 'page of the world')" = "$VMS" ] ||
		fail "$(cat "$WORK"/many.*)"
	rm "$WORK"/many.*
	expect_no_network_left
}

# --- SIGKILL -----------------------------------------------------------------

expect_nothing_left_but_a_record() {
	wait_for 60 nothing_runs || fail "$1: processes are left: $(ours)"
	wait_for 60 no_links || fail "$1: links are left: $(net_links)"
	"$MAYFLY" prune >/dev/null || fail "$1: prune: $?"
	expect_no_network_left
}

test_launcher_killed_at_any_moment_leaves_nothing() {
	for s in 0 .004 .008 .012 .016 .02 .024 .028 .034 .04 .05 .07 .1 .2 .5; do
		background --net -- sleep 1000
		sleep $s
		kill -9 "$pid"
		wait "$pid"
		expect_nothing_left_but_a_record "killed after $s s"
	done
}

test_any_other_process_killed_leaves_nothing() {
	for role in keeper forwarder mayfly-vmm; do
		guest_up --net "while :; do
				timeout 5 wget -q -O - http://$WEB4/; usleep 10000
			done"
		held=$(keeper)
		[ -n "$held" ] || fail 'no keeper'
		case $role in
		keeper) victim=$held ;;
		forwarder) victim=$(running mayfly-net | grep -vx "$held") ;;
		*) victim=$(running $role) ;;
		esac
		[ "$(echo "$victim" | wc -w)" = 1 ] || fail "$role: $victim"
		before=0
		wait_for "$LIMIT" more_pages || fail 'no page'
		kill -9 "$victim"
		# No guest goes on with less than it was promised.
		wait_for "$LIMIT" is_over || fail "it goes on without $role"
		wait "$pid"
		[ $? = 125 ] || fail "$role: it ended otherwise"
		expect_nothing_left_but_a_record "$role"
	done
}

test_what_is_left_of_the_hosts_rules_is_removed_by_prune() {
	ask --net $WEB4
	nft list tables | grep -q mayfly || fail 'no table: the test is void'
	"$MAYFLY" net prune >"$out" 2>"$err" || fail "exit code $?"
	[ -z "$(nft list ruleset)" ] || fail "rules are left: $(nft list ruleset)"
	[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] ||
		fail 'the host is a router'
	ask --net $WEB4
	expect_open $WEB4
}

run_tests "$here/net_abuse.sh"
