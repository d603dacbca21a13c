#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# net.sh MAYFLY ENGINE [TEST...]: what a guest reaches, and what it does not,
# by every rule, asked from inside. The world around it is net_lib.sh's. TAP on
# stdout. LIMIT (120 s) is the longest for one command; AS, a number, a user to
# be instead of root.
# shellcheck disable=SC2015,SC2016,SC2034,SC2046,SC2086,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/net_lib.sh
. "$here/net_lib.sh"
net_private "$0" "$@"
net_begin "$1" "$2"
shift 2
ONLY=$*
# By pasta there is no link on the host, and what is on the wire is the host's
# own; and streams of megabytes stand still, whoever uses Debian 12's.
[ -z "${AS:-}" ] || ONLY=${ONLY:-$(sed -n 's/^test_\([a-z0-9_]*\)() {$/\1/p' \
	"$here/net.sh" | grep -v -e '^neighbours_that_the_host_forgets' \
	-e '^checksums_and_segments' -e '^bytes_come_and_go' \
	-e '^hosts_end' | tr '\n' ' ')}
[ -n "${AS:-}" ] || ONLY=${ONLY:-$(sed -n 's/^test_\([a-z0-9_]*\)() {$/\1/p' \
	"$here/net.sh" | grep -v '^pasta_' | tr '\n' ' ')}

# --- without rules -----------------------------------------------------------

test_without_net_there_is_only_lo() {
	start -- ls /sys/class/net
	expect_rc 0
	expect_out lo
	no_links || fail 'the host has a link of it'
}

test_net_reaches_what_is_public() {
	guest --net "wget -q -O - http://web.test/; wget -q -O - http://[$WEB6]:8080/
		ping -c 1 -W 20 $WEB4 >/dev/null && echo echo4
		ping -6 -c 1 -W 20 $WEB6 >/dev/null && echo echo6
		/probe ask $(both $WEB4 $WEB6 $CDN4)"
	expect_rc 0
	expect_open $WEB4 $WEB6 $CDN4
	[ "$(grep -c '^page of the world$' "$out")" = 2 ] || fail 'no pages'
	expect_line echo4
	expect_line echo6
	expect_no_network_left
}

test_guest_sees_its_network() {
	guest '--net --mtu 1400' 'ip -o addr show eth0; ip route; ip -6 route
		cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address
		cat /etc/resolv.conf; tr "\t" " " </proc/sys/net/ipv4/ping_group_range'
	expect_rc 0
	for w in 198.18.0.2/30 fd6d:6179:666c:7900::2/64 \
		'default via 198.18.0.1 ' 'default via fd6d:6179:666c:7900::1 ' \
		'^1400$' '^02:6d:61:79:66:02$' '^nameserver 198.18.0.1$' \
		'^0 2147483647$'; do
		grep -q -e "$w" "$out" || fail "no $w"
	done
}

test_special_ranges_and_metadata_are_refused() {
	ask --net $SPECIAL4 $METADATA4 $SPECIAL6 $METADATA6
	expect_shut $SPECIAL4 $METADATA4 $SPECIAL6 $METADATA6
}

# Its servers listen on all of its addresses.
test_host_is_refused_whatever_its_address() {
	background --net -- sh -c 'echo up; sleep 1000'
	wait_for "$LIMIT" grep -q up "$out" || fail 'no guest'
	find_link
	mine=$(ip -o addr show scope global |
		sed -n 's/.* mfy[0-9]* *inet6* \([^/]*\).*/\1/p')
	other=$pid
	ask --net $HOST4 $HOST6 8.8.4.4 198.18.0.1 fd6d:6179:666c:7900::1 $mine
	expect_shut $HOST4 $HOST6 8.8.4.4 198.18.0.1 fd6d:6179:666c:7900::1 $mine
	ask "--allow 0.0.0.0/0 --allow ::/0 --allow $HOST4 --allow 198.18.0.1" \
		$HOST4 $HOST6 8.8.4.4 198.18.0.1 $mine $WEB4
	expect_shut $HOST4 $HOST6 8.8.4.4 198.18.0.1 $mine
	expect_open $WEB4
	kill "$other"
	wait "$other"
	expect_no_network_left
}

# So do those of a network that is routed to it, and is on none of its links.
test_networks_that_are_routed_to_the_host_are_refused() {
	ip route add local 93.184.216.96/28 dev lo
	ip -6 route add local 2606:2800:220:9::/64 dev lo
	"$NET_PROBE" ask tcp/93.184.216.97/80 tcp/2606:2800:220:9::7/80 >"$out"
	[ "$(grep -c ' open$' "$out")" = 2 ] || fail 'no server'
	ask --net 93.184.216.97 2606:2800:220:9::7 $WEB4
	ip route del local 93.184.216.96/28 dev lo
	ip -6 route del local 2606:2800:220:9::/64 dev lo
	expect_shut 93.184.216.97 2606:2800:220:9::7
	expect_open $WEB4
}

# Root's runs may have a pool that a rule opens.
test_hosts_ends_of_others_links_are_refused() {
	ip link add mfy77 type veth peer name far77
	ip addr add 10.9.0.0/31 dev mfy77
	ip link set mfy77 up
	ip link set far77 up
	ask '--allow 10.0.0.0/8' 10.9.0.0 10.0.0.1
	ip link del mfy77
	expect_shut 10.9.0.0
	expect_open 10.0.0.1
}

# A guest that asks for $1 twice, and with its network $2... between.
ask_around() {
	addresses=$1
	shift
	rm -f "$WORK/go"
	mkfifo "$WORK/go"
	"$MAYFLY" run --engine "$ENGINE" --net -i -v "$NET_PROBE:/probe:ro" -- \
		sh -c "/probe ask $(both $addresses); echo first; read x
		/probe ask $(both $addresses)" <"$WORK/go" >"$out" 2>"$err" &
	pid=$!
	exec 8>"$WORK/go"
	wait_for "$LIMIT" grep -q first "$out" || fail 'no guest'
	expect_open $addresses
	"$@" || fail "$*"
	echo >&8
	exec 8>&-
	wait "$pid" || fail "exit code $?"
	sed -i '1,/first/d' "$out"
}

test_hosts_end_believes_nobody() {
	background --net -- sh -c 'echo up; sleep 1000'
	wait_for "$LIMIT" grep -q up "$out" || fail 'no guest'
	find_link
	for s in ipv4/conf/$link/arp_ignore=1 ipv4/conf/$link/accept_redirects=0 \
		ipv6/conf/$link/accept_redirects=0 ipv6/conf/$link/accept_ra=0; do
		[ "$(cat "/proc/sys/net/${s%=*}")" = "${s#*=}" ] || fail "$s"
	done
	kill "$pid"
	wait "$pid"
	expect_no_network_left
}

# Of the fence of the last run, whose keeper is told of it where there is no
# other fence.
known_later() {
	nsenter --net="/proc/$(keeper)/ns/net" nft get element inet mayfly \
		"$1" "{ $2 }" >/dev/null 2>&1
}

more_addresses() {
	ip addr add 93.184.216.62/32 dev lo
	ip addr add 2606:2800:220::62/128 dev lo
	[ -z "${AS:-}" ] || {
		wait_for 60 known_later own_later4 93.184.216.62 &&
			wait_for 60 known_later own_later6 2606:2800:220::62
	}
}

test_address_that_the_host_gets_later_is_refused() {
	ask_around '93.184.216.62 2606:2800:220::62' more_addresses
	ip addr del 93.184.216.62/32 dev lo
	ip addr del 2606:2800:220::62/128 dev lo
	expect_shut 93.184.216.62 2606:2800:220::62
}

own_address_is_known() {
	ip -6 -o addr show dev "$link" scope link >"$WORK/own" &&
		grep -q inet6 "$WORK/own" && ! grep -q tentative "$WORK/own"
}

# As time makes it, and the answer to a guest is all that there is to send: from
# the link's own address, once that is known to be the only one.
forget_neighbours() {
	find_link
	wait_for 60 own_address_is_known &&
		ip -4 neigh flush dev "$link" && ip -6 neigh flush dev "$link"
}

test_neighbours_that_the_host_forgets_are_found_again() {
	ask_around "$WEB4 $WEB6" forget_neighbours
	expect_open $WEB4 $WEB6
}

# A connection is asked for more than once by then.
pasta_is_late() {
	late=
	# shellcheck disable=SC2013 # numbers
	for p in $(cat "/proc/$pid/task/$pid/children"); do
		case $(readlink "/proc/$p/exe") in */pass* | */pasta*) late=$p ;; esac
	done
	[ -n "$late" ] && kill -STOP "$late" || return 1
	(sleep 3; kill -CONT "$late") &
}

test_pasta_that_is_late_serves_all_the_same() {
	ask_around "$WEB4 $WEB6" pasta_is_late
	wait
	expect_open $WEB4 $WEB6
}

test_other_guests_are_refused() {
	background --net -- sh -c 'mkdir /w; echo page of a guest >/w/index.html
		httpd -p 80 -h /w; httpd -p 8080 -h /w; echo up; sleep 1000'
	wait_for "$LIMIT" grep -q up "$out" || fail 'no guest'
	other=$pid
	k=$(keeper)
	[ -n "$k" ] || fail 'nobody has its network'
	theirs=$(nsenter --net="/proc/$k/ns/net" ip -o addr show dev up0 \
		scope global | sed -n 's/.*inet6* \([^/]*\).*/\1/p')
	[ "$(echo "$theirs" | wc -l)" = 2 ] || fail "its addresses: $theirs"
	for o in --net '--allow 0.0.0.0/0 --allow 198.18.0.0/15 --allow ::/0
		--allow fd6d:6179:666c::/48'; do
		ask "$o" $theirs
		expect_shut $theirs
	done
	# Nor does the world reach it, or what lies behind it.
	: >"$out"
	probes=
	for a in $theirs 198.18.0.2; do
		world "$NET_PROBE" ask $(both "$a") >>"$out" &
		probes="$probes $!"
	done
	wait $probes
	[ "$(wc -l <"$out")" = 6 ] || fail 'the world did not ask for all'
	grep ' open$' "$out" && fail 'the world got in'
	kill "$other"
	wait "$other"
	expect_no_network_left
}

# --- names -------------------------------------------------------------------

test_names_are_answered() {
	guest --net '/probe dns web.test A; /probe dns web.test AAAA
		/probe dns six.test AAAA; /probe dns none.test A
		/probe dns many.test A 198.18.0.1; /probe dns many.test A 198.18.0.1 tcp
		/probe dns web.test A fd6d:6179:666c:7900::1; nslookup cdn.test'
	expect_rc 0
	[ "$(grep -c "^NOERROR $WEB4$" "$out")" = 2 ] || fail 'no web.test'
	[ "$(grep -c "^NOERROR $WEB6$" "$out")" = 2 ] || fail 'no AAAA'
	expect_line NXDOMAIN
	# Of as many as there are, so many as are enough.
	[ "$(awk '/217/ { n = NF } END { print n }' "$out")" -gt 30 ] ||
		fail 'too little of many.test'
	[ "$(grep -c '^Address: 93.184.216.4[0-7]$' "$out")" = 8 ] ||
		fail 'cdn.test is not whole'
}

# Whoever owns a name can have it say what is private.
test_names_never_lead_to_what_is_refused() {
	names='rebind meta self host loop'
	for o in --net '--allow *.test --allow 93.184.216.0/24'; do
		guest "$o" "for n in $names; do /probe dns \$n.test A; done
			/probe dns rebind6.test AAAA; /probe dns mixed.test A
			/probe ask $(both 10.0.0.1 169.254.169.254 $HOST4 fd00:1::1 \
			93.184.216.60)"
		expect_rc 0
		expect_shut 10.0.0.1 169.254.169.254 $HOST4 fd00:1::1
		expect_open 93.184.216.60
		expect_line 'NOERROR 93.184.216.60'
		grep '^NOERROR' "$out" | grep -e '10\.0\.0\.1' -e '169\.254' \
			-e "$HOST4" -e '127\.0' -e '198\.18' -e fd00 &&
			fail 'it was answered' || :
	done
}

test_resolver_on_the_hosts_loopback_works() {
	serve dnsmasq -k -C /dev/null -h -R -u root -g root -a 127.0.0.53 -z -q \
		--log-facility="$WORK/dns53.log" -H "$WORK/names"
	resolver 127.0.0.53
	wait_for 60 sh -c "'$NET_PROBE' dns web.test A 127.0.0.53 |
		grep -q NOERROR" || fail 'no resolver'
	guest --net '/probe dns web.test A; wget -q -O - http://web.test/'
	resolver $RESOLVER
	expect_rc 0
	expect_out "NOERROR $WEB4
page of the world"
}

# UDP carries neither its answer to the guest nor that to the forwarder.
test_long_answers_come_by_tcp() {
	guest --net '/probe dns long.test TXT; /probe dns long.test TXT 198.18.0.1 tcp
		/probe dns many.test A 198.18.0.1 tcp'
	expect_rc 0
	[ "$(sed -n 1p "$out")" = 'NOERROR cut' ] || fail 'not cut'
	[ "$(sed -n 2p "$out")" = 'NOERROR 12060 bytes of text' ] ||
		fail 'not whole'
	[ "$(sed -n '3s/93\.184\.217/&/gp' "$out" | wc -w)" -gt 32 ] ||
		fail 'too little of many.test'
}

# The world has no server at the one address; its kernel says so, but not often.
# Whoever waits for silence to end, waits for more than a minute.
test_resolver_that_is_closed_holds_up_nobody() {
	ask='i=0; while [ $i -lt 30 ]; do i=$((i + 1)); /probe dns n$i.test A; done
		/probe dns web.test A'
	resolver 93.184.216.1 $RESOLVER
	guest --net "$ask"
	resolver 93.184.216.1
	expect_rc 0
	[ "$(grep -c '^NXDOMAIN$' "$out")" = 30 ] || fail 'the other has not answered'
	expect_line "NOERROR $WEB4"
	guest --net "$ask"
	resolver $RESOLVER
	expect_rc 0
	[ "$(grep -c '^SERVFAIL$' "$out")" = 31 ] || fail 'not told at once'
}

test_resolver_by_option() {
	resolver 93.184.216.99
	guest "--net --dns $RESOLVER" '/probe dns web.test A'
	resolver $RESOLVER
	expect_rc 0
	expect_out "NOERROR $WEB4"
}

# --- lists -------------------------------------------------------------------

test_allowed_name_and_port_and_nothing_else() {
	guest '--allow web.test:80' "wget -q -O - http://web.test/
		/probe ask tcp/$WEB4/80 tcp/$WEB6/80 tcp/$WEB4/8080 udp/$WEB4/7 \
			tcp/$HOST4/80 tcp/93.184.216.40/80 tcp/169.254.169.254/80
		/probe dns web.test AAAA
		/probe ask tcp/$WEB6/80 tcp/$WEB6/8080 | sed 's/^/then /'
		/probe dns six.test AAAA; /probe dns cdn.test A
		/probe dns web.test TXT; /probe dns web.test A $RESOLVER
		/probe dns web.test A $RESOLVER tcp"
	expect_line 'page of the world'
	expect_line "$WEB4 80 open"
	expect_line "then $WEB6 80 open"
	for a in "$WEB4 8080" "$WEB4 7" "$HOST4 80" '93.184.216.40 80' \
		'169.254.169.254 80' "then $WEB6 8080"; do
		expect_line "$a \(refused\|prohibited\)"
	done
	[ "$(grep -c '^NXDOMAIN$' "$out")" = 2 ] || fail 'other names answered'
	[ "$(sed -n '$p' "$out")" = refused ] ||
		fail 'another resolver was reached'
}

test_address_is_open_only_once_its_name_was_asked_for() {
	guest '--allow cdn.test' "/probe ask $(both $CDN4) | sed 's/^/before /'
		/probe dns edge.cdn-of-others.test A; /probe dns cdn.test A
		/probe ask $(both $CDN4 $WEB4)"
	expect_rc 0
	[ "$(grep -c '^before .* \(refused\|prohibited\)$' "$out")" = 16 ] ||
		fail 'open without being asked for'
	expect_open $CDN4
	expect_shut $WEB4
	expect_line NXDOMAIN
}

test_names_below_a_name() {
	guest '--allow *.web.test' '/probe dns deep.sub.web.test A
		/probe dns web.test A; /probe dns notweb.test A
		/probe ask '"$(both 93.184.216.61)"
	expect_rc 0
	expect_open 93.184.216.61
	[ "$(grep -c '^NXDOMAIN$' "$out")" = 2 ] || fail 'others answered'
}

test_allowed_networks_and_ports() {
	ask "--allow 93.184.216.32/29 --allow $WEB6" $WEB4 $CDN4 $WEB6
	expect_open $WEB4 $WEB6
	expect_shut $CDN4
	ask "--allow $WEB4:80 --allow [$WEB6]:7 --allow 93.184.216.40/32:7" \
		$WEB4 $WEB6 93.184.216.40
	for l in "$WEB4 80" "$WEB6 7" '93.184.216.40 7'; do
		expect_line "$l open"
	done
	for l in "$WEB4 7" "$WEB6 80" '93.184.216.40 80'; do
		expect_line "$l \(refused\|prohibited\)"
	done
}

test_special_ranges_open_by_a_network_within_them() {
	ask '--allow 10.0.0.0/8 --allow 192.168.7.1 --allow fd00::/8' \
		10.0.0.1 192.168.7.1 172.16.5.1 fd00:1::1 fc00:7::1 $WEB4
	expect_open 10.0.0.1 192.168.7.1 fd00:1::1
	expect_shut 172.16.5.1 fc00:7::1 $WEB4
	ask '--allow 0.0.0.0/0 --allow ::/0' $WEB4 $WEB6 $SPECIAL4 $METADATA4 \
		$SPECIAL6 $METADATA6
	expect_open $WEB4 $WEB6
	expect_shut $SPECIAL4 $METADATA4 $SPECIAL6 $METADATA6
	ask '--allow 0.0.0.0/1 --allow 128.0.0.0/1' $SPECIAL4 $METADATA4
	expect_shut $SPECIAL4 $METADATA4
}

test_metadata_opens_by_its_exact_address_only() {
	ask '--allow 169.254.0.0/16 --allow 100.64.0.0/10 --allow fd00::/8' \
		169.254.9.9 169.254.169.254 169.254.170.2 100.64.3.1 \
		100.100.100.200 fd00:ec2::254 fd00:1::1
	expect_open 169.254.9.9 100.64.3.1 fd00:1::1
	expect_shut 169.254.169.254 169.254.170.2 100.100.100.200 fd00:ec2::254
	ask '--allow 169.254.169.254 --allow fd00:ec2::254/128' \
		169.254.169.254 fd00:ec2::254 169.254.170.2
	expect_open 169.254.169.254 fd00:ec2::254
	expect_shut 169.254.170.2
}

test_deny_wins() {
	ask "--allow 93.184.216.0/24 --deny $WEB4 --deny 93.184.216.40/30:80" \
		$WEB4 93.184.216.41 93.184.216.44
	expect_shut $WEB4
	expect_open 93.184.216.44
	expect_line '93.184.216.41 80 refused'
	expect_line '93.184.216.41 7 open'
	ask "--net --deny $WEB4 --deny ::/0" $WEB4 $WEB6 93.184.216.40
	expect_shut $WEB4 $WEB6
	expect_open 93.184.216.40
}

test_denied_names_are_refused_and_not_asked_elsewhere() {
	guest '--net --deny web.test' "/probe dns web.test A
		/probe dns cdn.test A; /probe dns web.test A $RESOLVER"
	[ "$(sed -n 1p "$out")" = NXDOMAIN ] || fail 'web.test is answered'
	sed -n 2p "$out" | grep -q '^NOERROR ' || fail 'cdn.test is not'
	sed -n 3p "$out" | grep -q -e refused -e prohibited ||
		fail 'another resolver answers'
	guest '--allow *.test --deny web.test --deny cdn.test' \
		'/probe dns web.test A; /probe dns six.test AAAA
		/probe dns CDN.test A'
	expect_out "NXDOMAIN
NOERROR $WEB6
NXDOMAIN"
	# By another name, the address of a denied network.
	guest "--allow four.test --deny $WEB4" "/probe dns four.test A
		/probe ask $(both $WEB4)"
	expect_shut $WEB4
}

# --- on the wire -------------------------------------------------------------

# Datagrams to port 7002 are those of others; to 7003, the end.
test_spoofed_sources_go_nowhere() {
	capture udp portrange 7001-7003
	guest --net "/frames eth0 good 3 7001; /frames eth0 good6 3 7001
		/frames eth0 mac 20 7002; /frames eth0 mac6 20 7002
		for a in 198.18.0.1 198.18.0.3 198.19.0.1 93.184.216.50 $HOST4 \
			10.0.0.5 127.0.0.1 0.0.0.0 255.255.255.255; do
			/frames eth0 ip 20 7002 \$a; /frames eth0 vlan 20 7002 \$a
		done
		for a in fd6d:6179:666c:7900::1 fd6d:6179:666c:7900::3 \
			fd6d:6179:666c:79ff::1 2606:2800:220::77 fe80::99 :: ::1; do
			/frames eth0 ip6 20 7002 \$a
		done
		for i in 1 2 3 4 5 6 7 8 9 10; do
			/frames eth0 good 1 7003; /frames eth0 good6 1 7003
			usleep 50000
		done"
	expect_rc 0
	# One of ten: behind a flood any may be lost.
	wait_for 60 some_captured ip and udp port 7003 ||
		fail "the end is not there: $(captured)"
	wait_for 60 some_captured ip6 and udp port 7003 || fail 'no IPv6'
	[ "$(captured ip and udp port 7001)" = 3 ] || fail 'not three'
	[ "$(captured ip6 and udp port 7001)" = 3 ] || fail 'not three of IPv6'
	[ "$(captured ip and udp port 7001 and src host $HOST4)" = 3 ] ||
		fail 'not from the host'
	[ "$(captured udp port 7002)" = 0 ] ||
		fail "it got out: $(tcpdump -n -r capture udp port 7002 |
			head -n 5)"
	capture_ends
}

test_claims_about_addresses_change_nothing() {
	guest --net "for a in 198.18.0.1 198.18.0.2 198.18.0.3 $WEB4; do
			/frames eth0 claim 50 1 \$a
		done
		for a in fd6d:6179:666c:7900::1 fd6d:6179:666c:7900::2 fe80::1; do
			/frames eth0 ra 50 1 \$a
		done
		/probe ask $(both $WEB4 $WEB6)"
	expect_rc 0
	expect_open $WEB4 $WEB6
}

# $1 bytes to the world and back, in the guest of options $2.
stream() {
	guest "$2" "head -c $1 /dev/urandom >/f; sha256sum </f
		for a in $WEB4 $WEB6; do
			nc \$a 7 </f | head -c $1 | sha256sum
		done
		wget -q -O - http://web.test/big | sha256sum"
	expect_rc 0
	[ "$(head -n 3 "$out" | uniq | wc -l)" = 1 ] || fail 'other bytes came'
	[ "$(sed -n 4p "$out")" = "$(sha256sum <"$WORK/www/big")" ] ||
		fail 'a file came with other bytes'
}

test_bytes_come_and_go_as_they_are() {
	head -c 20000001 /dev/urandom >"$WORK/www/big"
	stream 10000001 --net
	rm "$WORK/www/big"
}

# A packet behind all that came before; where much of it waits, it may be lost.
ends_capture() {
	"$NET_PROBE" ask udp/$WEB4/9 >/dev/null
	some_captured udp port 9
}

test_checksums_and_segments_are_right_on_the_wire() {
	head -c 3000001 /dev/urandom >"$WORK/www/big"
	"$NET_PROBE" plain wan0 || fail 'no plain link'
	world "$NET_PROBE" plain lan0 || fail 'no plain link'
	for mtu in 1500 1280; do
		SNAP=65535 capture 'tcp or udp'
		stream 3000001 "--net --mtu $mtu"
		wait_for 60 ends_capture || fail 'no capture'
		capture_ends
		[ "$(captured tcp)" -gt 4000 ] || fail 'too few packets'
		[ "$(captured greater $((mtu + 15)))" = 0 ] ||
			fail "longer than $mtu: $(tcpdump -n -r capture \
				greater $((mtu + 15)) | head -n 5)"
		tcpdump -n -vv -r "$WORK/capture" 2>/dev/null >"$WORK/text"
		grep -q 'cksum.*(correct)' "$WORK/text" || fail 'no checksums'
		grep -m 5 -e incorrect -e 'bad cksum' -e 'bad udp' "$WORK/text" \
			&& fail 'wrong checksums'
		[ "$(captured 'net 198.18.0.0/15 or net fd6d:6179:666c::/48')" \
			= 0 ] || fail "a guest's own address is on the wire"
	done
	rm "$WORK/www/big"
}

run_tests "$here/net.sh"
