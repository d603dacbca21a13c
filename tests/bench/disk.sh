#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# disk.sh SECONDS PART...: what the guest of bench's section `disk` does. Each part stands
# between two marks with the guest's clock; fio's results are JSON.
set -eu
seconds=$1
shift
cd /root

mark() {
	date "+mark $1 %s.%N"
}

# fio with threads and one clock on both sides, whatever the CPU says of its
# TSC.
measure() {
	name=$1
	shift
	mark "$name-begin"
	fio --name="$name" --thread --clocksource=clock_gettime --time_based \
		--runtime="$seconds" --output-format=json "$@" || echo failed
	mark "$name-end"
}

random="--rw=randread --bs=4k --direct=1"
sequential="--bs=1m --direct=1 --ioengine=psync"
file="--filename=/root/file --size=192m"

mark start
for part; do
	case $part in
	# Lays the file out before its clock starts.
	seq-write) measure $part $file $sequential --rw=write ;;
	seq-read) measure $part $file $sequential --rw=read ;;
	rand-qd1) measure $part $file $random --ioengine=psync ;;
	rand-qd16) measure $part $file $random --ioengine=libaio --iodepth=16 ;;
	root-qd1) measure $part --filename=/dev/vda --readonly $random \
		--ioengine=psync ;;
	root-qd16) measure $part --filename=/dev/vda --readonly $random \
		--ioengine=libaio --iodepth=16 ;;
	root-read) measure $part --filename=/files.tar --readonly --bs=1m \
		--rw=read --ioengine=psync --direct=0 --invalidate=1 ;;
	buf-write) measure $part $file --bs=1m --rw=write --ioengine=psync \
		--end_fsync=1 ;;
	untar)
		mkdir tree
		mark untar-begin
		tar -xf /files.tar -C tree
		mark untar-end
		sync
		mark sync-end ;;
	esac
done
mark done
