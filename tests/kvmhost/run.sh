#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh BUILD smoke|all|COMMAND: run tests on real KVM, inside a machine that
# QEMU emulates with AMD SVM and nested paging: its kernel is Debian's stock
# one, and its /dev/kvm runs guests as any host's does, only slower. BUILD is
# the build directory; a COMMAND is run in /work there, by sh.
#
# KVMHOST_LIMIT: seconds before all is stopped (5400).
# KVMHOST_EXTRA: a directory whose contents are put into /work there.
set -eu
umask 022
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
what=$2
limit=${KVMHOST_LIMIT:-5400}
kernel=$("$here/kernel.sh")
work=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-kvmhost.XXXXXX")
qemu=
trap '[ -z "$qemu" ] || kill "$qemu" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# Slower than a real host by one order: fewer repetitions, more patience.
patience='export MAYFLY_BOOT_TIMEOUT=300'
system='RUNS=3 MEGABYTES=50 LIMIT=300 sh system/core.sh bin/mayfly kvm'
smoke='streams_are_separate_and_the_exit_code_is_the_commands'
smoke="$smoke uname_is_the_guests memory_follows_m"
smoke="$smoke killed_command_is_128_and_the_signal"
detached='run_exec_logs_stop_as_one_would_expect killed_vmm_is_a_crash_on_record'
detached="$detached killed_supervisor_leaves_nothing_after_prune"
cp='names_are_docker_s megabytes_and_holes_pass'
cp="$cp programs_of_the_guest_cannot_reach_the_agent"
copies='mounts_lie_in_each_other read_only_is_all_but_memory'
copies="$copies files_come_out_whatever_the_end"
drive='copy_holds_what_is_written_and_the_base_what_it_was'
drive="$drive drive_holds_on_the_host_what_the_guest_wrote rate_changes_no_byte"
jail='root user container bare bare-root'
gateway='bin/mayfly run --engine kvm --net -- ping -q -c 1 -W 60 198.18.0.1'
abuse='many_at_once_all_have_their_network'
abuse="$abuse any_other_process_killed_leaves_nothing"
# First of all networks: the kernel has modules to load, for a user.
user='net_reaches_what_is_public names_are_answered'
user="$user allowed_name_and_port_and_nothing_else"
# Not flood-console, nor floods of frames: after some seconds of port writes with
# interrupts off QEMU's SVM no more leaves the guest, and after minutes of frames
# no more takes it up: the host hangs with its timer pending.
floods='endless-acks flood-log'

case $what in
smoke)	tests="set -e; $patience; bin/guest-run -p kvm payload/*
		$system $smoke
		LIMIT=300 VMS=1 sh system/cgroup.sh bin/mayfly kvm
		SWEEP=0 sh jail/probes.sh bin root
		LIMIT=300 sh jail/live.sh bin/mayfly kvm
		$gateway
		echo 'ok - kvm: guest reaches its gateway'" ;;
all)	tests="set -e; $patience; bin/guest-run -p kvm payload/*
		bin/attack-run -t 300 -m 64 bin/mayfly-vmm kvm attack/*
		$system
		KILLS=3 LIMIT=300 sh system/detached.sh bin/mayfly kvm $detached
		LIMIT=300 sh system/sessions.sh bin/mayfly kvm
		LIMIT=300 SHORT=10 FLOODS='$floods' \\
			sh system/liar.sh bin/mayfly kvm
		LIMIT=300 sh system/jail.sh bin/mayfly kvm
		LIMIT=300 VMS='1 2' sh system/cgroup.sh bin/mayfly kvm
		LIMIT=300 OOMS=1 sh system/limits.sh bin/mayfly kvm
		MEGABYTES=5 LIMIT=300 sh system/cp.sh bin/mayfly kvm $cp
		LIMIT=300 sh system/copies.sh bin/mayfly kvm $copies
		OPS=300 LIMIT=300 sh system/drive.sh bin/mayfly kvm $drive
		for h in $jail; do sh jail/probes.sh bin \$h; done
		chmod 666 /dev/kvm
		LIMIT=300 AS=12345 sh system/net.sh bin/mayfly kvm $user
		chmod 600 /dev/kvm
		LIMIT=300 sh system/net.sh bin/mayfly kvm
		LIMIT=300 sh system/publish.sh bin/mayfly kvm
		LIMIT=300 VMS=3 sh system/net_abuse.sh bin/mayfly kvm $abuse
		LIMIT=300 sh jail/live.sh bin/mayfly kvm
		AS=12345 LIMIT=300 sh jail/live.sh bin/mayfly soft" ;;
*)	tests=$what ;;
esac

# What tests of networks ask for, and what runs with them do.
programs='dash tar nft'
[ "$what" = smoke ] ||
	programs="$programs ip dnsmasq tcpdump setpriv unshare nsenter pasta"

# A program and the libraries that it asks for, where a Debian has them; if it
# is there.
add_program() {
	command -v "$1" >/dev/null || return 0
	for d in /usr/bin /usr/sbin; do
		[ ! -e "$d/$1" ] || cp "$d/$1" "$work/root$d/"
	done
	ldd "$(command -v "$1")" | sed -n 's/.*[ 	]\(\/[^ ]*\) (.*/\1/p' |
	while read -r lib; do
		mkdir -p "$work/root$(dirname "$lib")"
		cp -L "$lib" "$work/root$lib"
	done
}

# What is there goes in: payloads alone can be run without a guest kernel.
stage() {
	mkdir -p "$work/stage/bin/guest" "$work/stage/bin/tests" \
		"$work/stage/payload" "$work/stage/attack"
	for f in mayfly mayfly-vmm mayfly-net tests/guest-run \
		tests/attack-run; do
		[ ! -e "$build/$f" ] || cp "$build/$f" "$work/stage/bin/"
	done
	for f in pty knock deny liar liar-vmm scribble jail-run jail-probe \
		jail-as net-probe net-frames; do
		[ ! -e "$build/tests/$f" ] ||
			cp "$build/tests/$f" "$work/stage/bin/tests/"
	done
	for f in vmlinux agent.cpio base.img scratch.img scratch.pack; do
		[ ! -e "$build/guest/$f" ] || cp -L --sparse=always \
			"$build/guest/$f" "$work/stage/bin/guest/"
	done
	find "$build/payload" -maxdepth 1 -type f ! -name 'attack_*' \
		-exec cp {} "$work/stage/payload/" \;
	find "$build/payload" -maxdepth 1 -type f -name 'attack_*' \
		-exec cp {} "$work/stage/attack/" \;
	cp -r "$here/../system" "$here/../jail" "$work/stage/"
	[ -z "${KVMHOST_EXTRA:-}" ] || cp -R "$KVMHOST_EXTRA/." "$work/stage/"
}

pack() {
	mkdir -p "$work/root/bin" "$work/root/usr/bin" "$work/root/usr/sbin" \
		"$work/root/lib" "$work/root/lib64" "$work/root/dev" \
		"$work/root/etc"
	cp "$(command -v busybox)" "$work/root/bin/"
	cp "$here/init" "$work/root/init"
	cp -r "$kernel/lib/modules" "$work/root/lib/"
	for p in $programs; do add_program "$p"; done
	ln -s /usr/bin/dash "$work/root/bin/sh"
	echo "$tests" >"$work/root/tests"
	tar -C "$work/stage" -cSf "$work/root/work.tar" .
	(cd "$work/root" && find . | cpio -o -H newc --quiet) >"$work/cpio"
}

stage
pack
rm -rf "$work/stage" "$work/root"
# One CPU: with more, QEMU 7.2 now and then runs code that another CPU has just
# patched (KVM flips a static key at each VM's start), and the host locks up.
timeout -k 5 "$limit" qemu-system-x86_64 -M q35 -accel tcg \
	-cpu max,+svm,+npt -smp 1 -m 2048 -nodefaults -no-user-config \
	-display none -no-reboot -kernel "$kernel/vmlinuz" \
	-initrd "$work/cpio" -append 'console=ttyS0 loglevel=1 panic=-1' \
	-chardev "file,id=serial,path=$work/log" -serial chardev:serial \
	</dev/null &
qemu=$!

# Show the log as it grows, without the firmware's greeting and with plain
# line ends; it is whole when QEMU has gone.
: >"$work/log"
tail -n +1 -f --pid="$qemu" "$work/log" | tr -d '\r' |
	sed -u 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\x1bc//g; /^SeaBIOS/d; /^$/d;
		/^Booting from/d'
wait "$qemu" && rc=0 || rc=$?
qemu=
if [ "$rc" != 0 ]; then
	echo "kvmhost: QEMU ended with $rc (limit $limit s)"
	exit 1
fi
tr -d '\r' <"$work/log" | grep -qx 'kvmhost: exit 0'
