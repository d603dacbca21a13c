#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# net.sh SECONDS SERVER [ADDRESS/LENGTH GATEWAY]: what the guest of bench's
# section `net` does, once eth0 has that address if nobody else gives it one.
# The server measures both streams; ping's last line is the guest's.
set -eu
seconds=$1 server=$2
if [ $# = 4 ]; then
	busybox ip addr add "$3" dev eth0
	busybox ip link set eth0 up
	busybox ip route add default via "$4"
fi
# The first packet waits for neighbours to be found.
ping -q -c 3 -i 0.05 "$server" >/dev/null
iperf3 -c "$server" -p 5201 -t "$seconds" >/dev/null && echo sent
iperf3 -c "$server" -p 5202 -t "$seconds" -R >/dev/null && echo received
date "+mark ping-begin %s.%N"
ping -q -c 500 -i 0.002 "$server"
date "+mark ping-end %s.%N"
echo done
