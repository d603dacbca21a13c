#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# net_errors.sh MAYFLY ENGINE [TEST...]: wrong usages of networks, and hosts
# that lack what they take: what each gets, to the letter. TAP on stdout.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/net_lib.sh
. "$here/net_lib.sh"

net_private "$0" "$@"
tests=$(cd "$(dirname "$1")" && pwd)/tests
setup "$1"
trap 'net_cleanup' EXIT
servers=
ENGINE=$2 LIMIT=120
export MAYFLY_CGROUP_PARENT="mayfly-test-$$"
unset MAYFLY_NET_POOL MAYFLY_STRICT
ip link set lo up
shift 2
ONLY=$*

# says WORDS OPTION...: what run says, that it did not run, and that nothing is
# left of it.
says() {
	want=$1
	shift
	start "$@"
	expect_rc 125
	[ ! -s "$out" ] || fail "stdout is not empty"
	[ "$(cat "$err")" = "$want" ] ||
		fail "$(printf '%s\nwanted: %s' "$*" "$want")"
	expect_no_network_left
}

# From here on in this test mayfly is user 1000's, with all that it needs. Whoever
# may open /dev/net/tun is everybody, as on any distribution.
as_user() {
	user=$WORK/user
	if [ ! -d "$user" ]; then
		mkdir -p "$user/bin/guest" "$user/home" "$user/state" "$user/tmp"
		cp "$BIN"/mayfly* "$user/bin/" &&
			cp -L "$BIN"/guest/vmlinux "$BIN"/guest/*.cpio \
				"$BIN"/guest/base.img "$BIN"/guest/*.pack \
				"$user/bin/guest/" || exit 2
		chown -R 1000:1000 "$user/home" "$user/state" "$user/tmp"
		chmod 711 "$WORK"
		mknod "$WORK/tun" c 10 200
		mount --bind "$WORK/tun" /dev/net/tun || exit 2
	fi
	chmod 666 "$WORK/tun"
	BIN=$user/bin TMPDIR=$user/tmp MAYFLY_STATE_DIR=$user/state
	MAYFLY=$WORK/as
	unset MAYFLY_CGROUP_PARENT
	cat >"$MAYFLY" <<-X
		#!/bin/sh
		unset XDG_RUNTIME_DIR XDG_CACHE_HOME XDG_DATA_HOME
		export HOME=$user/home PATH=${1:-$PATH}
		exec /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups \
			$BIN/mayfly "\$@"
	X
	chmod 755 "$MAYFLY"
}

# --- words of options -----------------------------------------------------

test_words_for_values_that_are_wrong() {
	says 'mayfly: run: --net=host: not tap=NAME
hint: --net alone makes a network; --net=tap=tap0 takes a tap device that is there' \
		--net=host -- true
	says 'mayfly: run: --net: the argument is empty' --net= -- true
	for name in '' . .. a/b 'a b' sixteen_letters_; do
		says "mayfly: run: --net=tap=$name: not the name of an interface" \
			"--net=tap=$name" -- true
	done
	says 'mayfly: run: --dns nine: not an address
hint: say 9.9.9.9 or 2620:fe::fe' --net --dns nine -- true
	says 'mayfly: run: --dns 9.9.9.4: more than 3' --net --dns 9.9.9.1 \
		--dns 9.9.9.2 --dns 9.9.9.3 --dns 9.9.9.4 -- true
	for mtu in 0 -1 1279 65521 big; do
		says "mayfly: run: --mtu $mtu: must be from 1280 to 65520" \
			--net --mtu $mtu -- true
	done
	says 'mayfly: run: --net-rate fast: not a rate
hint: say bw=50m, ops=1000, or both with a comma; bw=50m:200m adds 200 MiB to begin with' \
		--net --net-rate fast -- true
}

test_words_for_rules_that_are_wrong() {
	says "mayfly: run: --allow a..b: neither a name nor an address nor a network
hint: like web.example, *.example, 192.0.2.1 or 10.0.0.0/8, and :80 behind it or nothing; "\
"[2001:db8::1]:80" \
		--allow a..b -- true
	says "mayfly: run: --allow 10.0.0.1/8: has bits set behind its length
hint: the network is 10.0.0.0/8" --allow 10.0.0.1/8 -- true
	says "mayfly: run: --deny 1.2.3.4:0: a port is a number from 1 to 65535" \
		--deny 1.2.3.4:0 -- true
	set --
	for i in $(seq 65); do
		set -- "$@" --allow "10.0.$i.0/24"
	done
	start "$@" -- true
	expect_refusal '--allow 10.0.65.0/24: more than 64'
}

test_words_for_options_that_do_not_go_together() {
	says 'mayfly: run: --dns without a network
hint: add --net' --dns 9.9.9.9 -- true
	says 'mayfly: run: --mtu without a network
hint: add --net' --mtu 1500 -- true
	says 'mayfly: run: --net-rate without a network
hint: add --net' --net-rate bw=1m -- true
	says 'mayfly: run: --allow with --net=tap=tap0: nothing of ours is between the guest '\
'and that device
hint: say --net, or have rules of your own there' \
		--net=tap=tap0 --allow 10.0.0.1 -- true
	says 'mayfly: run: --deny with --net=tap=tap0: nothing of ours is between the guest '\
'and that device
hint: say --net, or have rules of your own there' \
		--deny 10.0.0.1 --net=tap=tap0 -- true
}

test_words_for_pools_that_are_wrong() {
	for pool in 10.0.0.1/8 ten fd00::/64 198.18.0.0/15 0.0.0.0/0 10.0.0.0/32; do
		start --net-pool $pool --net -- true
		expect_refusal "--net-pool $pool: "
	done
	says 'mayfly: run: --net-pool ten: not a network
hint: say it as 198.19.0.0/16' --net-pool ten -- true
	export MAYFLY_NET_POOL=10.0.0.1/8
	start --net -- true
	expect_refusal 'MAYFLY_NET_POOL=10.0.0.1/8: '
}

# --- taps of the user's ---------------------------------------------------

test_tap_that_is_not_there_or_is_none() {
	says 'mayfly: network: tap9: there is no such interface
hint: sudo ip tuntap add dev tap9 mode tap user $USER vnet_hdr' \
		--net=tap=tap9 -- true
	ip tuntap add dev tun9 mode tun
	says 'mayfly: network: tap tun9: Invalid argument
hint: it has to be a tap of one queue: ip tuntap add tun9 mode tap vnet_hdr' \
		--net=tap=tun9 -- true
	ip link del tun9
	says 'mayfly: network: tap lo: Invalid argument
hint: it has to be a tap of one queue: ip tuntap add lo mode tap vnet_hdr' \
		--net=tap=lo -- true
}

test_tap_is_of_one_run_at_a_time_and_stays() {
	ip tuntap add dev tap9 mode tap vnet_hdr
	background --net=tap=tap9 -- sh -c 'echo up; sleep 100'
	wait_for "$LIMIT" grep -q up "$out" || fail 'it did not start'
	"$MAYFLY" run --engine "$ENGINE" --net=tap=tap9 -- true \
		>"$WORK/second" 2>&1 && fail 'two have one tap'
	grep -q 'tap tap9: Device or resource busy' "$WORK/second" ||
		fail "$(cat "$WORK/second")"
	kill $pid
	wait $pid
	ip link show tap9 >/dev/null || fail 'the tap is gone'
	ip link del tap9
}

test_tap_is_what_the_guest_has_and_nothing_else() {
	ip tuntap add dev tap9 mode tap vnet_hdr
	ip addr add 10.77.0.1/24 dev tap9
	ip link set tap9 up
	start --net=tap=tap9 --verbose --dns 10.77.0.1 -- sh -c 'cat /etc/resolv.conf
		ip addr show eth0 | grep -c "inet "
		ip addr add 10.77.0.2/24 dev eth0
		ping -c 1 -W 60 10.77.0.1 | grep -c " 0% packet loss"'
	expect_rc 0
	expect_out 'nameserver 10.77.0.1
0
1'
	expect_err '^mayfly: network: tap by tap9$'
	nft list ruleset 2>/dev/null | grep mayfly && fail 'there are rules'
	ip link del tap9
}

# --- hosts that lack something --------------------------------------------

# Where a program is looked for, there is none.
hide() {
	for d in /usr/sbin /sbin /usr/bin /usr/local/sbin; do
		[ ! -e $d/"$1" ] || mount --bind "$WORK/none" $d/"$1" || exit 2
	done
}

unhide() {
	for d in /usr/sbin /sbin /usr/bin /usr/local/sbin; do
		while mountpoint -q $d/"$1"; do umount $d/"$1"; done
	done
}

test_host_without_nft() {
	: >"$WORK/none"
	hide nft
	(says 'mayfly: network: the host'\''s part: the program nft is not here
hint: sudo apt-get install nftables' --net -- true)
	rc=$?
	unhide nft
	return $rc
}

test_host_without_tun() {
	mkdir "$WORK/none.d"
	mount --bind "$WORK/none.d" /dev/net
	(says 'mayfly: network: open /dev/net/tun: No such file or directory
hint: sudo modprobe tun; in a container: --device /dev/net/tun' \
		--net -- true)
	rc=$?
	umount /dev/net
	return $rc
}

test_root_without_the_right_to_make_links() {
	cat >"$WORK/as" <<-X
		#!/bin/sh
		exec setpriv --bounding-set=-net_admin $MAYFLY "\$@"
	X
	chmod 755 "$WORK/as"
	MAYFLY=$WORK/as
	says 'mayfly: network: make the veth mfy0: Operation not permitted
hint: root needs CAP_NET_ADMIN; in a container: --cap-add NET_ADMIN' \
		--net -- true
	"$MAYFLY" doctor >"$out" 2>"$err"
	grep -A1 '^warn  forward rules' "$out" | grep -q 'CAP_NET_ADMIN' ||
		fail 'doctor does not say it'
}

test_more_runs_than_the_pool_has_networks() {
	background --net-pool 10.9.0.0/30 --net -- sh -c 'echo up; sleep 100'
	one=$pid
	wait_for "$LIMIT" grep -q up "$out" || fail 'the first did not start'
	"$MAYFLY" run --engine "$ENGINE" --net-pool 10.9.0.0/30 --net -- \
		sh -c 'echo up; sleep 100' >"$WORK/second" 2>&1 &
	two=$!
	wait_for "$LIMIT" grep -q up "$WORK/second" || fail 'the second did not start'
	start --net-pool 10.9.0.0/30 --net -- true
	expect_refusal 'all 2 networks of the pool are in use'
	expect_err '^hint: .*mayfly net ls.*--net-pool'
	kill $one $two
	wait $one $two
	expect_no_network_left
	start --net-pool 10.9.0.0/30 --net -- true
	expect_rc 0
}

# The kernel removes the link of the one before while the next begins.
test_pool_of_one_network_takes_run_after_run() {
	for i in 1 2 3 4 5; do
		start --net-pool 10.9.0.0/31 --net -- true
		expect_rc 0
	done
	expect_no_network_left
}

# However long it takes: the kernel's time to remove it has no bound.
test_link_of_a_run_that_is_over_is_in_nobodys_way() {
	background --net-pool 10.9.0.0/31 --net -- sh -c 'echo up; sleep 100'
	wait_for "$LIMIT" grep -q up "$out" || fail 'it did not start'
	nsenter --net="/proc/$(keeper)/ns/net" sh -c 'echo in; exec sleep 1000' \
		>"$WORK/in" &
	holder=$!
	wait_for 60 grep -q in "$WORK/in" || fail 'nobody is in its network'
	kill $pid
	wait $pid
	[ "$(net_links)" = mfy0 ] || fail 'its link has gone'
	start --net-pool 10.9.0.0/31 --net -- true
	kill $holder
	wait $holder
	expect_rc 0
	expect_no_network_left
}

test_run_that_gets_no_network_leaves_others_theirs() {
	ip link add wan9 type veth peer name wan8
	ip link set wan8 up
	ip addr add 93.184.216.2/24 dev wan9
	ip link set wan9 up
	ip route add default dev wan9
	echo 600 >/proc/sys/net/netfilter/nf_conntrack_icmp_timeout
	background --net-pool 10.9.0.0/31 --net -- \
		ping 93.184.216.34
	one=$pid
	wait_for "$LIMIT" grep -q src=10.9.0.1 /proc/net/nf_conntrack ||
		fail 'the first has no flow'
	mkdir -m 700 "$WORK/state-other"
	(MAYFLY_STATE_DIR=$WORK/state-other
	start --net-pool 10.9.0.0/31 --net -- true)
	expect_err 'all 1 networks of the pool are in use'
	grep -q src=10.9.0.1 /proc/net/nf_conntrack ||
		fail 'its flows were forgotten with those of the second'
	kill $one
	wait $one
	ip link del wan9
	expect_no_network_left
}

# Root's keeper does without, and is then one with a right over the host.
test_strict_wants_the_keepers_layers_as_well() {
	start --strict --net -- true
	[ "$rc" = 0 ] || { cat "$err"; exit 77; }
	deny=$tests/deny
	rc=0
	"$deny" user_namespaces "$MAYFLY" run --engine "$ENGINE" --net -- true \
		>"$out" 2>"$err" || rc=$?
	expect_rc 0
	"$deny" user_namespaces "$MAYFLY" run --engine "$ENGINE" --strict --net \
		-- echo ran >"$out" 2>"$err" || rc=$?
	expect_refusal 'network: the keeper: '
	expect_err 'no user namespace of its own'
	expect_err '^hint: '
}

test_pool_that_the_host_is_in() {
	ip link add lan0 type veth peer name lan1
	ip addr add 10.8.0.5/24 dev lan0
	ip addr add 10.9.0.1 peer 10.8.1.2/31 dev lan0
	start --net-pool 10.8.0.0/24 --net -- true
	expect_refusal 'all 128 networks of the pool are in use, 128 of them by'
	expect_err '^hint: --net-pool CIDR takes another'
	# What is free of a larger one will do.
	background --net-pool 10.8.0.0/23 --net -- sh -c 'echo up; sleep 100'
	one=$pid
	wait_for "$LIMIT" grep -q up "$out" || fail 'it did not start'
	ip -o -4 addr show >"$WORK/addrs"
	grep -q 'mfy128 *inet 10.8.1.0/31' "$WORK/addrs" ||
		fail "$(cat "$WORK/addrs")"
	background --net-pool 10.8.1.0/24 --net -- sh -c 'echo up; sleep 100'
	wait_for "$LIMIT" grep -q up "$out" || fail 'it did not start'
	# Of this pool the first is the other run's, and the second the peer's.
	ip -o -4 addr show >"$WORK/addrs"
	grep -q 'mfy2 *inet 10.8.1.4/31' "$WORK/addrs" ||
		fail "$(cat "$WORK/addrs")"
	kill $one $pid
	wait $one $pid
	ip link del lan0
	expect_no_network_left
}

test_rules_that_open_nothing() {
	start --verbose --allow 127.0.0.1:80 --allow 198.18.0.1 --allow 10.0.0.1 \
		--allow 10.0.0.2 --deny 10.0.0.2 --allow 10.0.0.0/8 \
		--allow a.test:80 --allow b.test --deny b.test \
		--allow '*.c.test' --deny '*.c.test' --allow c.test \
		--allow '*.d.test' --deny a.d.test -- true
	expect_rc 0
	[ "$(sed -n 's/.*: --allow \(.*\) opens nothing: .*/\1/p' "$err" |
		tr '\n' ' ')" = '127.0.0.1:80 198.18.0.1 10.0.0.2 b.test *.c.test ' ] ||
		fail 'the wrong ones'
}

test_state_directory_that_cannot_be() {
	state=$MAYFLY_STATE_DIR
	export MAYFLY_STATE_DIR=/proc/nowhere
	start --net -- true
	MAYFLY_STATE_DIR=$state
	expect_rc 125
	expect_err '^mayfly: state directory /proc/nowhere: No such file'
}

test_host_whose_settings_cannot_be_written() {
	"$MAYFLY" net prune >/dev/null
	mount --bind /proc/sys /proc/sys
	mount -o remount,bind,ro /proc/sys
	(start --net -- true
	expect_refusal 'Read-only file system')
	rc=$?
	umount /proc/sys
	return $rc
}

test_host_without_a_way_out_runs_what_needs_none() {
	start --net -- ping -c 1 -W 60 198.18.0.1
	expect_rc 0
	expect_no_err
	start --verbose --net -- true
	expect_rc 0
	expect_err '^mayfly: network: no IPv6: .*default route'
	start --net -- nslookup web.test
	expect_rc 1
}

test_resolver_that_is_none_is_no_failure() {
	ip link add lan0 type veth peer name peer0
	ip addr add 10.8.0.1/24 dev lan0
	ip link set lan0 up
	ip link set peer0 up
	ip route add default via 10.8.0.2
	for a in fe80::1 255.255.255.255; do
		resolver $a
		start --verbose --net -- true
		expect_rc 0
		expect_err "^mayfly: network: no DNS: the host's resolver $a: "
	done
	start --net --dns fe80::1 -- true
	expect_refusal '--dns fe80::1: a link-local address'
	umount /etc/resolv.conf
	ip link del lan0
}

# A KVM that loses its guests, but for which a probe has vouched: soft takes over,
# and the network is another.
test_run_that_soft_takes_over_has_a_network() {
	[ -w /dev/kvm ] || skip 'no /dev/kvm that opens'
	mkdir -m 700 "$WORK/xdg"
	export XDG_RUNTIME_DIR=$WORK/xdg
	ENGINE=auto
	start -- true
	grep -q ' no ' "$WORK/xdg/mayfly-probe-0" || skip 'this KVM works'
	sed -i 's/ no .*/ ok/' "$WORK/xdg/mayfly-probe-0"
	# Such a KVM takes 9 s to the system call that ends it, and on a busy
	# host many times that.
	LIMIT=300
	start --verbose --boot-timeout 280 --net -- ping -c 1 -W 60 198.18.0.1
	expect_rc 0
	expect_err 'engine kvm: .*taking engine soft$'
	[ "$(grep -c 'network: ready' "$err")" = 2 ] || fail 'one network'
	expect_no_network_left
}

# --- without root ----------------------------------------------------------

test_user_without_pasta() {
	as_user /nowhere
	says 'mayfly: network: pasta: not found
hint: without root the way out is pasta: sudo apt-get install passt; or run mayfly as root' \
		--net -- true
	# Who cannot look there does not know.
	mkdir -m 700 "$WORK/locked"
	as_user "$WORK/locked:/nowhere"
	says 'mayfly: network: start pasta: Permission denied
hint: without root the way out is pasta: sudo apt-get install passt; or run mayfly as root' \
		--net -- true
}

test_user_who_may_not_open_tun() {
	as_user
	chmod 600 "$WORK/tun"
	start --net -- true
	expect_refusal 'open /dev/net/tun: Permission denied'
	expect_err '^hint: .*/dev/net/tun'
}

test_user_of_a_host_without_a_way_out() {
	command -v pasta >/dev/null || skip 'pasta not found'
	as_user
	start --net -- true
	expect_refusal 'pasta: '
	expect_err '^hint: this host has no default route'
	"$MAYFLY" doctor >"$out" 2>"$err"
	grep -q '^warn  way out .*: no run has a network$' "$out" ||
		fail 'doctor does not say it'
}

test_tap_of_another_user() {
	as_user
	ip tuntap add dev tap9 mode tap user 1001 vnet_hdr
	start --net=tap=tap9 -- true
	ip link del tap9
	expect_refusal 'tap tap9: Operation not permitted'
}

run_tests "$here/net_errors.sh"
