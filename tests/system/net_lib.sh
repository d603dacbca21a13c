# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2086,SC2154 # shared with the suites; words
#
# net_lib.sh: an outside world for tests of the network, after lib.sh. No
# packet leaves this machine, and nothing of its own network is touched: the
# suite runs itself again in namespaces of its own, where it is "the host".
#
#	guests -- mfyN [ the host ] wan0 ---- lan0 [ the world ]
#	                 93.184.216.2         all other addresses
#	                 2606:2800:220::2
#
# The world answers on every address that it has: what a guest does not reach
# was kept from it. Its web servers have port 80 and 8080, port 7 gives back
# what it gets, and port 53 of 93.184.216.53 knows the names in net_names.
# The host has servers on these ports as well, on all of its addresses.

WEB4=93.184.216.34 WEB6=2606:2800:220::34
HOST4=93.184.216.2 HOST6=2606:2800:220::2
RESOLVER=93.184.216.53
# Of each range that a guest shall not reach, one that the world has.
SPECIAL4='10.0.0.1 172.16.5.1 172.31.255.1 192.168.7.1 169.254.9.9 100.64.3.1
	198.18.7.1 198.51.100.1 203.0.113.1 192.0.2.77 192.0.0.8 192.88.99.1'
METADATA4='169.254.169.254 100.100.100.200 168.63.129.16 192.0.0.192
	169.254.170.2'
SPECIAL6='fd00:1::1 fc00:7::1 64:ff9b::a00:1 2002:a00:1::1 2001:db8::1
	100::1 fec0::1'
METADATA6='fd00:ec2::254'
CDN4='93.184.216.40 93.184.216.41 93.184.216.42 93.184.216.43 93.184.216.44
	93.184.216.45 93.184.216.46 93.184.216.47'

# net_private SUITE ARGUMENT...: come back as the host.
net_private() {
	if [ "$(id -u)" != 0 ] || ! unshare -nm true 2>/dev/null; then
		echo "1..1"
		echo "ok 1 - network # SKIP needs root and namespaces"
		exit 0
	fi
	[ -n "${NET_PRIVATE:-}" ] ||
		NET_PRIVATE=$$ exec unshare -nm --propagation private "$@"
	# A user's PATH may lack these.
	PATH=$PATH:/usr/sbin:/sbin
	for p in ip nft dnsmasq tcpdump busybox; do
		command -v $p >/dev/null && continue
		echo "1..1"
		echo "ok 1 - network # SKIP $p not found"
		exit 0
	done
}

# Of the user $AS: mayfly, and all that it needs to be so. Whoever may open
# /dev/net/tun, as on any distribution, is everybody.
rootless() {
	guest=$(readlink "$BIN/guest")
	rm "$BIN/guest"
	mkdir "$BIN/guest" "$WORK/state" "$WORK/data" "$WORK/home" "$WORK/dev"
	for f in vmlinux agent.cpio base.img scratch.pack; do
		cp -L "$guest/$f" "$BIN/guest/" || exit 2
	done
	chmod 711 "$WORK"
	chown -R "$AS:$AS" "$TMPDIR" "$WORK/state" "$WORK/data" "$WORK/home"
	mknod -m 666 "$WORK/dev/tun" c 10 200
	mount --bind "$WORK/dev/tun" /dev/net/tun || exit 2
	# As systemd has it: pasta sends echoes by such sockets.
	echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
	cat >"$WORK/as" <<-X
		#!/bin/sh
		unset XDG_RUNTIME_DIR XDG_CACHE_HOME XDG_DATA_HOME
		export HOME=$WORK/home
		cd "\$HOME"
		exec setpriv --reuid $AS --regid $AS --clear-groups $MAYFLY "\$@"
	X
	chmod 755 "$WORK/as"
	MAYFLY=$WORK/as
	unset MAYFLY_CGROUP_PARENT
}

# net_begin MAYFLY ENGINE: the world, and what asks in it; as user $AS, if that
# is set.
net_begin() {
	ENGINE=$2
	LIMIT=${LIMIT:-120}
	tests=$(cd "$(dirname "$1")" && pwd)/tests
	setup "$1"
	servers=
	trap 'net_cleanup' EXIT
	export MAYFLY_CGROUP_PARENT="mayfly-test-$$"
	mkdir "$WORK/tools"
	cp "$tests/net-probe" "$tests/net-frames" "$WORK/tools/" || exit 2
	NET_PROBE=$WORK/tools/net-probe NET_FRAMES=$WORK/tools/net-frames
	net_world
	cd "$WORK" || exit 2
	[ -z "${AS:-}" ] || rootless
}

# In the world.
world() {
	nsenter --net="$WORK/ns/world" "$@"
}

# A server, which ends with us.
serve() {
	setpriv --pdeathsig KILL "$@" >>"$WORK/served" 2>&1 &
	servers="$servers $!"
}

serve_world() {
	serve nsenter --net="$WORK/ns/world" "$@"
}

# From $WORK/www: a page, and a file of many bytes.
serve_web() {
	for port in 80 8080; do
		"$1" busybox httpd -f -p $port -h "$WORK/$2"
	done
	"$1" "$NET_PROBE" echo 7
	"$1" "$NET_PROBE" mirror 7
}

addresses() {
	link=$1
	shift
	for a; do
		echo "addr add $a dev $link"
	done
}

net_names() {
	cat <<-X
		$WEB4 web.test
		$WEB6 web.test
		$WEB4 four.test
		$WEB6 six.test
		$RESOLVER resolver.test
		10.0.0.1 rebind.test
		fd00:1::1 rebind6.test
		169.254.169.254 meta.test
		198.18.0.1 self.test
		127.0.0.1 loop.test
		$HOST4 host.test
		93.184.216.60 mixed.test
		10.0.0.1 mixed.test
		93.184.216.61 deep.sub.web.test
	X
	for a in $CDN4; do
		echo "$a edge.cdn-of-others.test"
	done
	i=0
	while [ $i -lt 120 ]; do
		i=$((i + 1))
		echo "93.184.217.$i many.test"
	done
}

# 60 records of 201 bytes, one of them the length.
net_long_text() {
	i=100
	while [ $i -lt 160 ]; do
		printf -- '--txt-record=long.test,%s%0197d ' $i 0
		i=$((i + 1))
	done
}

net_world() {
	mkdir "$WORK/ns" "$WORK/www" "$WORK/hostwww"
	: >"$WORK/ns/world"
	unshare --net="$WORK/ns/world" true || exit 2
	ip link set lo up
	# A new namespace is a router where the machine's own is.
	echo 0 >/proc/sys/net/ipv4/ip_forward
	ip link add wan0 type veth peer name lan0 netns "$WORK/ns/world"
	# shellcheck disable=SC2046,SC2086 # words
	{
		echo 'link set lo up'
		echo 'link set lan0 up'
		addresses lan0 93.184.216.1/24 2606:2800:220::1/64' nodad' \
			$WEB6/64' nodad' 2606:2800:220::62/64' nodad' $RESOLVER/32 $WEB4/32
		addresses lo $(printf '%s/32 ' $SPECIAL4 $METADATA4 $CDN4) \
			93.184.216.60/32 93.184.216.61/32 93.184.216.62/32 \
			$(printf '%s/128 ' $SPECIAL6 $METADATA6)
		echo "route add 198.18.0.0/15 via $HOST4"
		echo "route add fd6d:6179:666c::/48 via $HOST6"
	} | world ip -batch - || exit 2
	{
		echo 'link set wan0 up'
		addresses wan0 $HOST4/24 $HOST6/64' nodad'
		addresses lo 8.8.4.4/32
		echo 'route add default via 93.184.216.1'
		echo 'route add default via 2606:2800:220::1'
	} | ip -batch - || exit 2
	echo 'page of the world' >"$WORK/www/index.html"
	echo 'page of the host' >"$WORK/hostwww/index.html"
	net_names >"$WORK/names"
	serve_web serve_world www
	serve_web serve hostwww
	serve_world dnsmasq -k -C /dev/null -h -R -u root -g root -a $RESOLVER \
		-z --log-facility="$WORK/dns.log" -q -H "$WORK/names" -T 7 \
		--cname=cdn.test,edge.cdn-of-others.test \
		--txt-record=web.test,words --local=/test/ $(net_long_text)
	resolver $RESOLVER
	net_ready && return
	echo '# of the world something does not answer; its servers said:'
	sed 's/^/#   /' "$WORK/served"
	exit 2
}

# What the host's resolv.conf says.
resolver() {
	printf 'nameserver %s\n' "$@" >"$WORK/resolv.conf"
	[ -n "${resolver_is:-}" ] ||
		mount --bind "$WORK/resolv.conf" /etc/resolv.conf
	resolver_is=$*
}

net_ready() {
	wait_for 60 answers $WEB4 && wait_for 60 answers $WEB6 &&
		wait_for 60 answers 8.8.4.4 &&
		wait_for 60 sh -c "$NET_PROBE dns web.test A $RESOLVER |
			grep -q '^NOERROR $WEB4'"
}

answers() {
	[ "$("$NET_PROBE" ask "tcp/$1/80" "tcp/$1/8080" "tcp/$1/7" "udp/$1/7" |
		grep -c ' open$')" = 4 ]
}

# A capture of what passes wan0, in $WORK/capture; until captured WORDS, a
# filter, are in it. What came before them is as well, then.
capture() {
	rm -f "$WORK/capture" "$WORK/tcpdump"
	tcpdump -i wan0 -U --immediate-mode -B 16384 -s "${SNAP:-128}" -w "$WORK/capture" \
		"$@" 2>"$WORK/tcpdump" &
	tcpdump=$!
	wait_for 60 grep -qs 'listening on' "$WORK/tcpdump" ||
		fail "tcpdump: $(cat "$WORK/tcpdump")"
}

# How many packets of the capture are so.
captured() {
	tcpdump -n -r "$WORK/capture" "$@" 2>/dev/null | wc -l
}

some_captured() {
	[ "$(captured "$@")" -gt 0 ]
}

capture_ends() {
	kill "$tcpdump"
	wait "$tcpdump"
	tcpdump=
}

# What networks of runs have on the host: a link is there as long as the
# namespace that has its other end.
net_links() {
	ip -o link show | sed -n 's/^[0-9]*: \(mfy[0-9]*\).*/\1/p'
}

no_links() {
	[ -z "$(net_links)" ]
}

no_old_links() {
	[ "$(net_links | wc -l)" -le 1 ]
}

# $link: of the one run that there is; none if it has none. The kernel may not
# be done with that of the run before.
find_link() {
	wait_for 60 no_old_links || fail "links: $(net_links)"
	link=$(net_links)
}

expect_no_network_left() {
	wait_for 60 no_links || fail "links are left: $(net_links)"
	ip route show table all | grep mfy && fail 'routes are left'
	expect_nothing_left
}

keepers() {
	for p in $(ours); do
		nsenter --net="/proc/$p/ns/net" \
			test -e /proc/sys/net/ipv4/conf/tap0 2>/dev/null &&
			echo "$p"
	done
}

one_keeper() {
	keepers=$(keepers)
	[ "$(echo "$keepers" | wc -w)" = 1 ]
}

# The process that holds the network of the one run that there is; that of the
# run before dies after its launcher.
keeper() {
	wait_for 60 one_keeper
	echo "$keepers"
}

# The next test shall find nothing of one that failed.
fail() {
	echo "# $*"
	[ ! -s "$err" ] || sed 's/^/#   stderr: /' "$err" | head -n 30
	[ ! -s "$out" ] || sed 's/^/#   stdout: /' "$out" | head -n 60
	[ -z "${tcpdump:-}" ] || kill "$tcpdump" 2>/dev/null
	for p in $(ours); do kill -9 "$p" 2>/dev/null; done
	wait_for 60 nothing_runs
	"$MAYFLY" prune >/dev/null 2>&1
	exit 1
}

# Addresses as probe asks for them: a web server's page, and an echo.
both() {
	for a; do printf 'tcp/%s/80 udp/%s/7 ' "$a" "$a"; done
}

# guest OPTIONS SCRIPT: with the words of $OPTIONS, and the probe.
guest() {
	options=$1
	shift
	start $options -v "$NET_PROBE:/probe:ro" -v "$NET_FRAMES:/frames:ro" \
		-- sh -c "$1"
}

# ask OPTIONS ADDRESS...
ask() {
	options=$1
	shift
	guest "$options" "/probe ask $(both "$@")"
	expect_rc 0
}

# Both servers of these were reached.
expect_open() {
	for a; do
		[ "$(grep -c "^$a [0-9]* open$" "$out")" = 2 ] ||
			fail "$a was not reached"
	done
}

# Neither was, and whoever asked was told.
expect_shut() {
	for a; do
		[ "$(grep -c "^$a [0-9]* \(refused\|prohibited\)$" "$out")" \
			= 2 ] || fail "$a was not refused"
	done
}

expect_line() {
	grep -q -x -e "$1" "$out" || fail "no line \"$1\""
}

net_cleanup() {
	for p in $servers; do kill -9 "$p" 2>/dev/null; done
	umount "$WORK/ns/world" /etc/resolv.conf /dev/net/tun 2>/dev/null
	cleanup
}
