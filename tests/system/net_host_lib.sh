# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # shared with the suites
#
# net_host_lib.sh: a host whose network is nobody else's, for net_host.sh and
# net_look.sh: its neighbours, VMs that are a namespace each, other people's
# firewalls, and what of all that might have been changed.

OUT=192.0.2.2 HOST=192.0.2.1 FAR=203.0.113.2

# --- a host and what is around it ----------------------------------------

# host_begin MAYFLY [ENGINE [TEST...]]: the same suite in namespaces of its own.
host_begin() {
	if [ "${NET_HOST_PRIVATE:-}" != 1 ]; then
		if [ "$(id -u)" != 0 ]; then
			echo '1..0 # SKIP not root'
			exit 0
		fi
		NET_HOST_PRIVATE=1 exec unshare -nm --propagation private \
			"$0" "$@"
	fi
	setup "$1"
	TOOL=$BIN/net-host
	cp "$(dirname "$1")/tests/net-host" "$TOOL" || exit 2
	ENGINE=net
	shift
	[ $# = 0 ] || shift
	ONLY=$*
	# Names of namespaces, the lock of iptables.
	mount -t tmpfs none /run || exit 2
	mkdir -m 700 -p "$MAYFLY_STATE_DIR"
	: >"$WORK/nothing" # what is no program
}

# Where a VM would be: up0 is made by `hold`.
in_ns() {
	ns=$1
	shift
	ip netns exec "$ns" "$@"
}

# link NAME ADDRESS PEER-NS PEER-ADDRESS: one more neighbour of the host.
link() {
	ip netns add "$3"
	ip link add "$1" type veth peer name eth0 netns "$3"
	ip addr add "$2/24" dev "$1"
	ip link set "$1" up
	in_ns "$3" ip addr add "$4/24" dev eth0
	in_ns "$3" ip link set eth0 up
	in_ns "$3" ip link set lo up
	in_ns "$3" ip route add default via "$2"
}

# As after boot, with nobody's rules.
fresh() {
	POOL=198.19.0.0/16
	for p in $(ours); do
		case $(readlink /proc/$p/exe) in
		*/net-host) kill -9 $p 2>/dev/null ;;
		esac
	done
	ip -all netns delete
	for l in $(ip -o link | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p'); do
		case $l in lo | sit0 | ip6tnl0 | tunl0) ;; *) ip link del "$l" ;; esac
	done 2>/dev/null
	nft flush ruleset
	if [ -e /usr/sbin/iptables-legacy ] &&
		grep -qs . /proc/net/ip_tables_names; then
		iptables-legacy -F
		iptables-legacy -X
		iptables-legacy -P FORWARD ACCEPT
	fi
	echo 0 >/proc/sys/net/ipv4/ip_forward
	echo 1 >/proc/sys/net/ipv4/conf/all/accept_redirects
	echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
	rm -rf "$MAYFLY_STATE_DIR" "$WORK"/state-* "$WORK"/in* \
		"$WORK"/number* "$WORK"/pid*
	mkdir -m 700 "$MAYFLY_STATE_DIR"
	# Tests look for flows of pings: they stay for as long as one takes.
	echo 600 >/proc/sys/net/netfilter/nf_conntrack_icmp_timeout
	ip link set lo up
	link e0 $HOST out $OUT
	link e1 203.0.113.1 far $FAR
}

# vm N: a run holds its network, of $POOL; the number of its lease.
vm() {
	n=$1
	ip netns add "vm$n"
	mkfifo "$WORK/in$n"
	"$TOOL" hold "$(printf '%012x' "$n")" "/run/netns/vm$n" "$POOL" \
		<>"$WORK/in$n" >"$WORK/number$n" 2>"$err" &
	echo $! >"$WORK/pid$n"
	wait_for 60 test -s "$WORK/number$n" || fail "vm $n has no network"
	number=$(cat "$WORK/number$n")
	in_ns "vm$n" ip link set lo up
	base=${POOL%.*.*}.$((number / 128))
	in_ns "vm$n" ip addr add $base.$((2 * (number % 128) + 1))/31 dev up0
	in_ns "vm$n" ip link set up0 up
	in_ns "vm$n" ip route add default via $base.$((2 * (number % 128)))
}

uplink() { # of VM N
	number=$(cat "$WORK/number$1")
	echo 198.19.$((number / 128)).$((2 * (number % 128) + 1))
}

# The run is over, and its namespace has gone with it.
end_vm() {
	number=$(cat "$WORK/number$1")
	echo >"$WORK/in$1"
	wait_for 60 dead "$(cat "$WORK/pid$1")" || fail "vm $1 does not end"
	ip netns del "vm$1"
	rm "$WORK/in$1" "$WORK/number$1" "$WORK/pid$1"
	wait_for 60 no_link "mfy$number" || fail "its link stays"
}

kill_vm() { # and the namespace stays, as if somebody held it
	kill -9 "$(cat "$WORK/pid$1")"
	wait_for 60 dead "$(cat "$WORK/pid$1")" || fail "vm $1 does not end"
	rm "$WORK/in$1" "$WORK/number$1" "$WORK/pid$1"
}

dead() {
	! kill -0 "$1" 2>/dev/null
}

no_link() {
	! ip link show "$1" >/dev/null 2>&1
}

no_links() {
	! ip -o link | grep -q ': mfy'
}

reaches() { # NS ADDRESS
	in_ns "$1" ping -q -n -c 1 -W 60 "$2" >/dev/null 2>&1 ||
		fail "$1 does not reach $2"
}

# A refusal comes at once, from whoever refuses; silence takes the second.
shut() { # NS ADDRESS
	in_ns "$1" ping -q -n -c 1 -W 1 "$2" >/dev/null 2>&1 &&
		fail "$1 reaches $2"
	return 0
}

prune() {
	"$MAYFLY" net prune "$@" >"$out" 2>"$err" || fail 'net prune'
}

told() {
	grep -qx -e "$1" "$out" || fail "it was not said: $1, but $(cat "$out")"
}

# All that we might have changed of the host.
state() {
	nft -s list ruleset 2>/dev/null
	[ ! -e /usr/sbin/iptables-legacy ] || [ "${LEGACY:-}" != 1 ] ||
		{ iptables-legacy -S && ip6tables-legacy -S; }
	grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf \
		/proc/sys/net/ipv4/ip_forward 2>/dev/null |
		grep -E 'forwarding|accept_redirects|ip_forward' |
		grep -v mfy | sort
	ip -o link | sed 's/state.*//' | grep mfy
}

as_before() {
	state >"$WORK/after"
	cmp -s "$WORK/before" "$WORK/after" || {
		diff "$WORK/before" "$WORK/after" | sed 's/^/# /'
		fail 'the host is not as it was'
	}
}

before() {
	state >"$WORK/before"
}

# --- other people's firewalls ---------------------------------------------

docker() { # PROGRAM: iptables-nft or iptables-legacy
	"$1" -P FORWARD DROP
	"$1" -N DOCKER-USER
	"$1" -N DOCKER
	"$1" -A DOCKER-USER -j RETURN
	"$1" -A FORWARD -j DOCKER-USER
	"$1" -A FORWARD -o docker0 -m conntrack \
		--ctstate RELATED,ESTABLISHED -j ACCEPT
	"$1" -A FORWARD -o docker0 -j DOCKER
	"$1" -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
	"$1" -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
}

ufw() {
	iptables-nft -P INPUT DROP
	iptables-nft -P FORWARD DROP
	for c in ufw-before-forward ufw-after-forward ufw-reject-forward; do
		iptables-nft -N $c
		iptables-nft -A FORWARD -j $c
	done
	iptables-nft -A ufw-before-forward -m conntrack \
		--ctstate RELATED,ESTABLISHED -j ACCEPT
	iptables-nft -A ufw-before-forward -p icmp --icmp-type echo-reply -j ACCEPT
}

# As a restart of it does.
firewalld() {
	nft -f - <<-'EOF'
	table inet firewalld
	delete table inet firewalld
	table inet firewalld {
		chain filter_FORWARD_POLICIES {
		}
		chain filter_FORWARD {
			type filter hook forward priority filter + 10; policy accept;
			ct state { established, related } accept
			ct status dnat accept
			iifname "lo" accept
			jump filter_FORWARD_POLICIES
			ct state { invalid } drop
			reject with icmpx admin-prohibited
		}
		chain filter_INPUT {
			type filter hook input priority filter + 10; policy accept;
			ct state { established, related } accept
			iifname "lo" accept
			reject with icmpx admin-prohibited
		}
	}
	EOF
}
