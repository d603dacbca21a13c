#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# publish.sh MAYFLY ENGINE [TEST...]: ports of a guest that the host has, asked
# from the host and from the world of net_lib.sh. TAP on stdout. AS, a number, a
# user to be instead of root.
# shellcheck disable=SC2016,SC2034,SC2046,SC2086,SC2094,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/net_lib.sh
. "$here/net_lib.sh"
net_private "$0" "$@"
net_begin "$1" "$2"
shift 2
ONLY=$*

get() {
	timeout 240 busybox wget -q -O - "http://$1/"
}

page_is() {
	[ "$(get "$1" 2>/dev/null)" = "$2" ]
}

expect_page() {
	wait_for "$LIMIT" page_is "$1" "$2" || fail "no page at $1"
}

# published 'OPTIONS' 'SCRIPT': a guest that serves, as $pid, once it is up.
published() {
	background $1 -v "$NET_PROBE:/probe:ro" -- sh -c "mkdir /tmp/w
		echo 'page of the guest' >/tmp/w/index.html; $2
		echo up; exec sleep 1000"
	wait_for "$LIMIT" grep -q up "$out" || fail 'no guest'
}

ends() {
	kill "$pid"
	wait "$pid"
	wait_for 60 nothing_runs || fail "processes are left: $(ours)"
}

# Wherever in the guest its server listens; from all addresses of the host.
test_server_of_the_guest_is_reached_wherever_it_listens() {
	published '-p 8081:81 -p 8082:82 -p 8083:83' '
		httpd -h /tmp/w -p 127.0.0.1:81
		httpd -h /tmp/w -p [::1]:82; httpd -h /tmp/w -p 198.18.0.2:83'
	for p in 8081 8082 8083; do
		expect_page 127.0.0.1:$p 'page of the guest'
		expect_page "[::1]:$p" 'page of the guest'
		expect_page $HOST4:$p 'page of the guest'
	done
	[ "$(world busybox wget -q -O - http://$HOST4:8081/)" = \
		'page of the guest' ] || fail 'the world does not reach it'
	ends
}

test_port_of_one_address_is_of_that_alone() {
	published '-p 127.0.0.1:8081:80 -p [::1]:8082:80' \
		'httpd -h /tmp/w -p 80'
	expect_page 127.0.0.1:8081 'page of the guest'
	expect_page '[::1]:8082' 'page of the guest'
	get '[::1]:8081' && fail 'by IPv6 as well'
	get $HOST4:8081 && fail 'at another address as well'
	get 127.0.0.1:8082 && fail 'by IPv4 as well'
	ends
}

test_second_run_is_told_who_has_the_port() {
	published '--name web -p 8081:80' 'httpd -h /tmp/w -p 80'
	for p in 8081:80 127.0.0.1:8081:80 '[::]:8081:1'; do
		start -p $p -- true
		expect_refusal 'run web ('
		expect_err '^hint: .*mayfly stop web'
	done
	busybox nc -ll -p 8085 -e true &
	nc=$!
	wait_for 60 busybox nc 127.0.0.1 8085 </dev/null
	start -p 8085:80 -- true
	kill $nc
	expect_refusal 8085
	[ -n "${AS:-}" ] || expect_err "busybox (process $nc)"
	start -p 203.0.113.9:8085:80 -- true
	expect_refusal 'no address of this host'
	expect_page 127.0.0.1:8081 'page of the guest'
	ends
	# What it had is free at once.
	published '-p 8081:80' 'httpd -h /tmp/w -p 80'
	expect_page 127.0.0.1:8081 'page of the guest'
	ends
}

test_port_0_is_one_that_inspect_and_verbose_tell() {
	published '--verbose --name any -p 0:80' 'httpd -h /tmp/w -p 80'
	port=$("$MAYFLY" inspect any |
		sed -n 's/^ *"host_port": \([0-9]*\),$/\1/p' | sort -u)
	expect_page "127.0.0.1:$port" 'page of the guest'
	expect_page "[::1]:$port" 'page of the guest'
	expect_err "port 0.0.0.0:$port is the guest's 80/tcp"
	"$MAYFLY" ps >"$out"
	expect_line ".*PORTS.*"
	expect_line ".* $port->80/tcp .*"
	ends
}

test_range_is_as_many_ports() {
	published "--name many -p 8091-8093:80-82 --meta $WORK/meta" \
		'httpd -h /tmp/w -p 80; httpd -h /tmp/w -p 82'
	expect_page 127.0.0.1:8091 'page of the guest'
	expect_page '[::1]:8093' 'page of the guest'
	"$MAYFLY" ps >"$out"
	expect_line ".* 8091-8093->80-82/tcp .*"
	start -p 8090-8092:80-82 -- true
	expect_refusal 'run many (.*) has that port'
	ends
	# host and port, of both families.
	[ "$(grep -c '"host_port": 809[123],$' "$WORK/meta")" = 6 ] ||
		fail "$(cat "$WORK/meta")"
}

# The server answers only once the client has ended.
test_each_direction_ends_by_itself() {
	published '-p 8081:80' 'nc -ll -p 80 -e wc -c &'
	head -c 3000001 /dev/urandom >"$WORK/data"
	counts() {
		[ "$(timeout 60 busybox nc 127.0.0.1 8081 <"$WORK/data")" \
			= 3000001 ]
	}
	wait_for 60 counts || fail 'not counted'
	ends
}

test_megabytes_come_back_as_they_were() {
	published '-p 8081:80' '/probe mirror 80 &'
	head -c 5000001 /dev/urandom >"$WORK/data"
	same() {
		timeout 60 busybox nc 127.0.0.1 8081 <"$WORK/data" |
			cmp -s - "$WORK/data"
	}
	wait_for 60 same || fail 'not the same'
	ends
}

test_refused_client_ends_at_once_and_a_late_server_is_reached() {
	published '-p 8081:80' 'mkfifo /tmp/go
		{ read x </tmp/go; httpd -h /tmp/w -p 80; } &'
	timeout 60 busybox nc 127.0.0.1 8081 </dev/null
	[ $? != 124 ] || fail 'it waits'
	get 127.0.0.1:8081 && fail 'a page without a server'
	"$MAYFLY" exec $(cat "$WORK/state"/*/record.json 2>/dev/null |
		sed -n 's/^ *"id": "\(.*\)",$/\1/p') sh -c 'echo >/tmp/go'
	expect_page 127.0.0.1:8081 'page of the guest'
	ends
}

test_datagrams_are_answered() {
	published '-p 5353:53/udp' '/probe echo 53 & '
	answered() {
		"$NET_PROBE" ask udp/127.0.0.1/5353 udp/::1/5353 \
			udp/$HOST4/5353 >"$WORK/answers"
		[ "$(grep -c open "$WORK/answers")" = 3 ]
	}
	wait_for 60 answered || fail "$(cat "$WORK/answers")"
	ends
}

test_many_clients_at_once_are_served() {
	published '-p 8081:80' 'httpd -h /tmp/w -p 80'
	expect_page 127.0.0.1:8081 'page of the guest'
	clients=
	for i in $(seq 200); do
		get 127.0.0.1:8081 >"$WORK/page.$i" &
		clients="$clients $!"
	done
	wait $clients
	n=$(cat "$WORK"/page.* | grep -c '^page of the guest$')
	rm "$WORK"/page.*
	[ "$n" = 200 ] || fail "$n of 200 were served"
	ends
}

test_detached_run_serves_until_it_ends() {
	start -d --name web -p 8081:80 -- sh -c 'mkdir /tmp/w
		echo far >/tmp/w/index.html; httpd -f -h /tmp/w -p 127.0.0.1:80'
	expect_rc 0
	expect_page 127.0.0.1:8081 far
	start -d -p 8081:80 -- true
	expect_rc 125
	expect_err 'run web ('
	start_raw rm -f web
	expect_rc 0
	get 127.0.0.1:8081 && fail 'served by a run that is gone'
	expect_nothing_left
}

test_kill_of_the_launcher_leaves_nothing() {
	published '-p 8081:80' 'httpd -h /tmp/w -p 80'
	expect_page 127.0.0.1:8081 'page of the guest'
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	wait_for 60 nothing_runs || fail "processes are left: $(ours)"
	get 127.0.0.1:8081 && fail 'it is served yet'
	published '-p 8081:80' 'httpd -h /tmp/w -p 80'
	expect_page 127.0.0.1:8081 'page of the guest'
	ends
	start_raw prune
	expect_rc 0
}

# The way in is not a way past what the network's rules say of the way out.
test_guest_without_more_rules_is_as_closed_as_before() {
	published '-p 8081:80' "httpd -h /tmp/w -p 80
		/probe ask tcp/$HOST4/8081 tcp/$HOST4/80"
	[ "$(grep -c open "$out")" = 0 ] || fail 'the guest reaches the host'
	ends
}

test_resolver_and_hosts_are_there_whatever_the_root_is() {
	start --net --read-only -- sh -c 'cat /etc/resolv.conf
		grep -c localhost /etc/hosts; echo >/etc/resolv.conf'
	expect_rc 1
	expect_line 'nameserver 198.18.0.1'
	background --net --name one -- sleep 1000
	wait_for "$LIMIT" "$MAYFLY" exec one cat /etc/resolv.conf >"$out" 2>&1
	kill "$pid"
	wait "$pid"
	expect_line 'nameserver 198.18.0.1'
	start -- sh -c 'cat /etc/resolv.conf; ls /sys/class/net'
	grep -q nameserver "$out" && fail 'a resolver without a network'
	grep -qx lo "$out" || fail 'no lo'
}

run_tests "$here/publish.sh"
