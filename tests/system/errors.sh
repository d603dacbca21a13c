#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# errors.sh MAYFLY: wrong usages and broken environments, and what each gets:
# exit code and standard error, to the letter. TAP on stdout. What needs root
# or another user is skipped without.
set -u
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
setup "$1"
export MAYFLY_DATA_DIR="$WORK/data" MAYFLY_CACHE="$WORK/cache"
chmod 755 "$WORK"
ROOM=$WORK/room
mkdir "$ROOM"
PATH=$BIN:$PATH
unset MAYFLY_ENGINE MAYFLY_MEMORY MAYFLY_CPUS MAYFLY_KERNEL
export PATH WORK BIN
n=0 bad=0

# says CODE STDERR COMMAND [NAME]: run by sh in an empty room, with nothing on
# standard input. Without an exit code of 0 nothing may come on standard output.
# Paths of ours read W, and what depends on the host HOST.
says() {
	n=$((n + 1)) code=0
	label=$(echo "${4:-$3}" | tr -s '\n\t ' ' ' | sed "s|$WORK|W|g")
	(cd "$ROOM" && timeout -s KILL 60 sh -c "$3") \
		</dev/null >"$out" 2>"$err" || code=$?
	got=$(sed -e "s|$WORK|W|g" -e 's/(\([0-9]*\) MiB)/(HOST MiB)/' "$err")
	if [ "$code" = "$1" ] && [ "$got" = "$2" ] &&
		{ [ "$code" = 0 ] || [ ! -s "$out" ]; }; then
		echo "ok $n - $label"
		return
	fi
	bad=1
	echo "not ok $n - $label"
	{
		[ "$code" = "$1" ] || echo "exit code $code, not $1"
		[ "$got" = "$2" ] || printf 'wanted: %s\nstderr: %s\n' "$2" "$got"
		[ ! -s "$out" ] || echo "stdout: $(head -c 200 "$out")"
	} | sed 's/^/# /'
}

# The last line of standard error, where the guest's console comes before it.
says_last() {
	says "$1" "$2" "$3 2>w; r=\$?; tail -n 1 w >&2; exit \$r"
}

skip() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

again='hint: run `make` in the source tree, or install it again'

# --- commands -----------------------------------------------------------

says 125 'mayfly: no command
hint: mayfly run -- CMD, or `mayfly help`' 'mayfly'
says 125 'mayfly: rnu: unknown command
hint: did you mean mayfly run?' 'mayfly rnu -- true'
says 125 'mayfly: frobnicate: unknown command
hint: `mayfly help` lists the commands' 'mayfly frobnicate'
says 125 'mayfly: -x: unknown command
hint: `mayfly help` lists the commands' 'mayfly -x'
says 125 'mayfly: lgos: unknown command
hint: did you mean mayfly logs?' 'mayfly help lgos'
says 125 'mayfly: help: takes one command' 'mayfly help run exec'
says 125 'mayfly: version: takes no operand' 'mayfly version now'
says 125 'mayfly: doctor: takes no operand' 'mayfly doctor kvm'
says 125 'mayfly: doctor: --format xml: must be table or json' \
	'mayfly doctor --format xml'
says 125 'mayfly: completion: needs the name of a shell
hint: bash, zsh or fish' 'mayfly completion tcsh'

# --- options of run -----------------------------------------------------

says 125 'mayfly: run: no command
hint: mayfly run -- CMD [ARG...]' 'mayfly run'
says 125 'mayfly: run: no command
hint: mayfly run -- CMD [ARG...]' 'mayfly run -i --'
says 125 'mayfly: image ubuntu: not here
hint: `mayfly pull ubuntu` gets it; a command for the built-in root stands behind --' \
	'mayfly run ubuntu -- ls'
says 125 'mayfly: run: both an image, ubuntu, and --rootfs
hint: put -- before a command for the root of --rootfs' \
	'mayfly run --rootfs x ubuntu ls'
says 125 'mayfly: run: --disk 1k: too little: a disk has at least 1m' \
	'mayfly run --disk 1k -- true'
says 125 'mayfly: drive: nowhere: No such file or directory' \
	'mayfly run --drive nowhere -- true'
says 125 'mayfly: run: --drive-rate ops=1k: not a rate
hint: say bw=50m, ops=1000, or both with a comma; bw=50m:200m adds 200 MiB to '\
'begin with' \
	'mayfly run --drive-rate ops=1k -- true'
says 125 'mayfly: run: --memoyr: unknown option
hint: did you mean --memory?' 'mayfly run --memoyr=1g -- true'
says 125 'mayfly: run: --quiet: unknown option
hint: `mayfly help run` lists the options' 'mayfly run --quiet -- true'
says 125 'mayfly: run: -Z: unknown option
hint: `mayfly help run` lists the options' 'mayfly run -iZ -- true'
says 125 'mayfly: run: -m: needs SIZE' 'mayfly run -m'
says 125 'mayfly: run: --interactive: takes no argument' \
	'mayfly run --interactive=yes -- true'
says 125 'mayfly: run: --memory: the argument is empty' \
	'mayfly run --memory= -- true'
says 125 'mayfly: run: -m 12x: not a size
hint: say 512m or 2g; a bare number is MiB' 'mayfly run -m 12x -- true'
says 125 'mayfly: run: -m -5: not a size
hint: say 512m or 2g; a bare number is MiB' 'mayfly run -m -5 -- true'
says 125 'mayfly: run: -m 31m: too little for a guest
hint: a guest needs at least 32m' 'mayfly run -m 31m -- true'
says 125 'mayfly: run: -m 99999999999999999999: more than any host has' \
	'mayfly run -m 99999999999999999999 -- true'
says 125 'mayfly: memory: 104857600 MiB is more than this host has (HOST MiB)
hint: ask for less with -m, e.g. -m 512m' 'mayfly run -m 100t -- true'
for v in 0 0.000 65 64.001 99999999999999999999; do
	says 125 "mayfly: run: --cpus $v: must be more than 0, and 64 at the most" \
		"mayfly run --cpus $v -- true"
done
for v in two -1 1. .5 1,5 0.0005; do
	says 125 "mayfly: run: --cpus $v: not a number of CPUs
hint: say 2, 0.5 or 1.25: three decimals at most" \
		"mayfly run --cpus $v -- true"
done
for v in 0 -1 4194305 many 1.5 99999999999999999999; do
	says 125 "mayfly: run: --pids-limit $v: must be from 1 to 4194304" \
		"mayfly run --pids-limit $v -- true"
done
for v in 0 1 -1 262145 much 1.5 99999999999999999999; do
	says 125 "mayfly: run: --cpu-shares $v: must be from 2 to 262144" \
		"mayfly run --cpu-shares $v -- true"
done
says 125 'mayfly: run: --max-output 0: must be more than 0' \
	'mayfly run --max-output 0 -- true'
says 125 'mayfly: run: --max-output 99999999999999t: more than there can be' \
	'mayfly run --max-output 99999999999999t -- true'
for v in -1 much 1.5m 1mb; do
	says 125 "mayfly: run: --max-output $v: not a size
hint: say 64k or 1g; a bare number is MiB, one with b is of bytes" \
		"mayfly run --max-output $v -- true"
done
says 125 'mayfly: run: --cpu-time 0: must be more than 0' \
	'mayfly run --cpu-time 0 -- true'
says 125 'mayfly: run: --cpu-time soon: not a duration
hint: say 90, 1.5s, 500ms or 1h30m' 'mayfly run --cpu-time soon -- true'
says 125 'mayfly: run: --meta-format xml: not a format: json or isolate' \
	'mayfly run --meta m --meta-format xml -- true'
says 125 'mayfly: run: --meta-format without --meta
hint: name a file with --meta' 'mayfly run --meta-format isolate -- true'
for v in 0:10 5:0 1:4294967295 4294967295:1 99999999999999999999:1; do
	says 125 "mayfly: run: --uid-range $v: must be a part of 1 to 4294967294" \
		"mayfly run --uid-range $v -- true"
done
for v in 5 5: :5 1-2 1:2:3; do
	says 125 "mayfly: run: --uid-range $v: not FIRST:COUNT
hint: say 1900000000:4194304" "mayfly run --uid-range $v -- true"
done
says 125 'mayfly: run: MAYFLY_UID_RANGE=x: not FIRST:COUNT
hint: say 1900000000:4194304' 'MAYFLY_UID_RANGE=x mayfly run -- true'
says 125 'mayfly: run: --engine turbo: not an engine: auto, kvm or soft' \
	'mayfly run --engine turbo -- true'
says 125 'mayfly: run: MAYFLY_ENGINE=turbo: not an engine: auto, kvm or soft' \
	'MAYFLY_ENGINE=turbo mayfly run -- true'
says 125 'mayfly: run: --timeout 0: must be more than 0' \
	'mayfly run --timeout 0 -- true'
says 125 'mayfly: run: --timeout -1: not a duration
hint: say 90, 1.5s, 500ms or 1h30m' 'mayfly run --timeout -1 -- true'
says 125 'mayfly: run: --timeout 5d: not a duration
hint: say 90, 1.5s, 500ms or 1h30m' 'mayfly run --timeout 5d -- true'
says 125 'mayfly: run: -w srv: must be an absolute path' \
	'mayfly run -w srv -- true'
says 125 'mayfly: run: -e =x: not NAME=value' 'mayfly run -e =x -- true'
says 125 'mayfly: run: --env-file nofile: No such file or directory' \
	'mayfly run --env-file nofile -- true'
says 125 'mayfly: run: --env-file .: Is a directory' \
	'mayfly run --env-file . -- true'
says 125 'mayfly: run: --env-file env: line 2: the name has a blank in it' \
	'printf "A=1\nnot this\n" >env; mayfly run --env-file env -- true'
says 125 'mayfly: run: --env-file env: line 3: no name before =' \
	'printf "# one\nA=1\n=x\n" >env; mayfly run --env-file env -- true'
name='a name is made of letters, digits and _.- and begins with a letter or digit'
says 125 "mayfly: run: --name a/b: $name" \
	'mayfly run -d --name a/b -- true'
says 125 'mayfly: kernel command line: longer than 2047 bytes' \
	'mayfly run --append "$(printf %3000d 1)" -- true'
says 125 'mayfly: the command and its environment are too long (262144 bytes at the most)' \
	'mayfly run -- true "$(printf %100000d 1)" "$(printf %100000d 1)" \
		"$(printf %100000d 1)"'
says 125 'mayfly: the command and its environment are too long (262144 bytes at the most)' \
	'mayfly run -- true $(seq 9000)'

# --- files --------------------------------------------------------------

says 125 'mayfly: kernel: open nofile: No such file or directory' \
	'mayfly run --kernel nofile -- true'
says 125 'mayfly: kernel: .: Is a directory' 'mayfly run --kernel . -- true'
says 125 'mayfly: kernel: empty: the file is empty' \
	': >empty; mayfly run --kernel empty -- true'
says 125 'mayfly: kernel: fifo: not a regular file' \
	'mkfifo fifo; mayfly run --kernel fifo -- true'
says 125 'mayfly: kernel: neither an ELF file nor a bzImage
hint: --kernel takes a vmlinux (64-bit ELF) or a bzImage, whole' \
	'head -c 200000 /dev/urandom >garbage; mayfly run --kernel garbage -- true'
says 125 'mayfly: kernel: not an ELF executable for x86-64
hint: --kernel takes a vmlinux (64-bit ELF) or a bzImage, whole' \
	'mayfly run --kernel /bin/true -- true'
says 125 'mayfly: kernel: the file is truncated
hint: --kernel takes a vmlinux (64-bit ELF) or a bzImage, whole' \
	'head -c 5000000 "$BIN/guest/vmlinux" >half
	MAYFLY_KERNEL=half mayfly run -- true'
says 125 'mayfly: rootfs: open nofile: No such file or directory' \
	'mayfly run --rootfs nofile -- true'
says 125 'mayfly: rootfs: .: Is a directory' 'mayfly run --rootfs . -- true'
says 125 'mayfly: rootfs: empty: the file is empty' \
	'mayfly run --rootfs empty -- true'
says 125 'mayfly: rootfs: odd: 1000 bytes is not a whole number of sectors of 512 bytes
hint: is it a disk image? If so: truncate -s %512 odd' \
	'truncate -s 1000 odd; mayfly run --rootfs odd -- true'
says_last 125 'mayfly: the guest crashed: kernel panic: /dev/vda holds no ext4, erofs or squashfs' \
	'truncate -s 4096 zeros; mayfly run --rootfs zeros -- true'
says 125 'mayfly: meta: write /nowhere/m: No such file or directory' \
	'mayfly run --meta /nowhere/m -- true'
says 125 'mayfly: meta: write .: Is a directory' 'mayfly run --meta . -- true'
says 125 'mayfly: console: open /nowhere/c: No such file or directory' \
	'mayfly run --console /nowhere/c -- true'
says 125 'mayfly: console: open .: Is a directory' \
	'mayfly run --console . -- true'
says 125 'mayfly: boot: no kernel
hint: name one with --kernel' 'mayfly boot'
says 125 'mayfly: initrd: open nofile: No such file or directory' \
	'mayfly boot --kernel "$BIN/guest/vmlinux" --initrd nofile'
says 125 'mayfly: initrd: 204800 KiB do not fit between the kernel and 64 MiB
hint: give the guest more memory' \
	'truncate -s 200m big
	mayfly boot -m 64m --kernel "$BIN/guest/vmlinux" --initrd big'
says 125 'mayfly: disk: .: Is a directory' \
	'mayfly boot --kernel "$BIN/guest/vmlinux" --disk .'

# --- in the guest -------------------------------------------------------

says 127 'mayfly: nosuch: not found in the guest' 'mayfly run -- nosuch'
says 127 'mayfly: /no/such: not found in the guest' 'mayfly run -- /no/such'
says 126 'mayfly: /etc: execute in the guest: Permission denied' \
	'mayfly run -- /etc'
says 125 "mayfly: user nosuch: not known in the guest
hint: name one of the image's /etc/passwd and /etc/group, or give numbers" \
	'mayfly run -u nosuch -- true'
says 125 "mayfly: user root:nosuch: not known in the guest
hint: name one of the image's /etc/passwd and /etc/group, or give numbers" \
	'mayfly run -u root:nosuch -- true'
says_last 125 'mayfly: the guest crashed: kernel panic: sysrq triggered crash' \
	'mayfly run -- sh -c "echo c >/proc/sysrq-trigger"'

# --- runs that are there, or not ----------------------------------------

says 125 'mayfly: nosuch: no such run
hint: `mayfly ps -a` lists them' 'mayfly logs nosuch'
says 125 'mayfly: logs: takes one name
hint: `mayfly ps -a` lists the runs' 'mayfly logs'
says 125 'mayfly: exec: no name
hint: mayfly exec NAME CMD [ARG...]; `mayfly ps` lists names' 'mayfly exec'
says 125 'mayfly: kill: -s FOO: no such signal
hint: a name or a number from 1 to 64: TERM, 15' 'mayfly kill -s FOO web'
says 125 'mayfly: stop: -t soon: not a duration
hint: say 90, 1.5s, 500ms or 1h30m' 'mayfly stop -t soon web'
says 125 'mayfly: inspect: --format table: must be json' \
	'mayfly inspect --format table web'
says 125 'mayfly: ps: takes no name
hint: mayfly inspect web' 'mayfly ps web'
says 125 'mayfly: prune: takes no name
hint: mayfly rm web' 'mayfly prune web'
says 0 '' 'mayfly run -d --name web -- sleep 1000'
id=$(cat "$out")
says 125 "mayfly: name web: run $id has it (running)
hint: choose another, or end that run: mayfly rm -f web" \
	'mayfly run -d --name web -- true'
says 125 'mayfly: wbe: no such run
hint: did you mean web?' 'mayfly logs wbe'
says 125 'mayfly: web: is running
hint: stop it first (mayfly stop web), or use rm -f' 'mayfly rm web'
says 125 'mayfly: exec: no command
hint: mayfly exec NAME CMD [ARG...]; `mayfly ps` lists names' \
	'mayfly exec web'
says 127 'mayfly: nosuch: not found in the guest' 'mayfly exec web nosuch'
says 125 'mayfly: logs: --tail x: not a number of lines, or all' \
	'mayfly logs --tail x web'
says 125 'mayfly: cp: neither path is of a guest
hint: one of them is NAME:PATH; `mayfly ps` lists names' 'mayfly cp a b'
says 125 'mayfly: cp: both paths are of a guest
hint: one of them is NAME:PATH; `mayfly ps` lists names' \
	'mayfly cp web:/a web:/b'
says 125 'mayfly: cp: nofile: No such file or directory' \
	'mayfly cp nofile web:/'
says 125 'mayfly: cp: web:/nofile: cannot be read: No such file or directory' \
	'mayfly cp web:/nofile .'
says 125 'mayfly: cp: empty: is there, and no directory to copy into: Not a directory' \
	'mayfly cp web:/etc empty'
says 125 'mayfly: wbe: no such run
hint: did you mean web?' 'mayfly cp empty wbe:/'
says 0 '' 'mayfly stop web'
says 125 'mayfly: web: not running
hint: `mayfly ps -a` lists runs that ended as well' 'mayfly exec web true'
says 125 'mayfly: web: not running
hint: `mayfly ps -a` lists runs that ended as well' 'mayfly kill web'
says 125 'mayfly: cp: web: not running
hint: `mayfly ps -a` lists runs that ended as well' 'mayfly cp empty web:/'
says 0 '' 'mayfly rm web'

# --- the environment ----------------------------------------------------

says 0 '' 'env -i "$BIN/mayfly" run -- true'
says 0 '' 'mayfly run -- true <&- >&-'
says 127 '' 'mayfly run -- nosuch <&- >&- 2>&-'
says 125 'mayfly: stdout: No space left on device' \
	'mayfly run -- echo hi >/dev/full'
says 125 'mayfly: standard output: No space left on device' \
	'mayfly version >/dev/full'
says 125 'mayfly: scratch disk: create a file in /nowhere: No such file or directory
hint: set TMPDIR to a directory that can be written' \
	'TMPDIR=/nowhere mayfly run -- true'
says 125 'mayfly: scratch disk in W/tmp: File too large
hint: files may not be that large: ulimit -f unlimited' \
	'ulimit -f 1000; mayfly run -- true'
says 125 'mayfly: agent stream: Too many open files
hint: allow more: ulimit -n 1024' 'ulimit -n 8; mayfly run -- true'
says 125 'mayfly: guest memory: map 512 MiB: Cannot allocate memory
hint: ask for less with -m, or allow more: ulimit -v unlimited' \
	'ulimit -v 300000; mayfly run --engine soft -- true'
says 125 'mayfly: MAYFLY_STATE_DIR: rel: not an absolute path' \
	'MAYFLY_STATE_DIR=rel mayfly run -d -- true'
says 125 'mayfly: state directory W/room/empty: Not a directory
hint: name one of your own: MAYFLY_STATE_DIR=/path' \
	'MAYFLY_STATE_DIR=$PWD/empty mayfly ps'
says 125 'mayfly: state directory W/room/open: others can write to it
hint: name one of your own: MAYFLY_STATE_DIR=/path' \
	'mkdir -m 777 open; chmod 777 open; MAYFLY_STATE_DIR=$PWD/open mayfly ps'
says 125 'mayfly: VM monitor: open W/room/alone/mayfly-vmm: No such file or directory
'"$again" 'mkdir alone; cp "$BIN/mayfly" alone; alone/mayfly run -- true'
says 125 'mayfly: guest kernel: open W/room/alone/guest/vmlinux: No such file or directory
'"$again" 'cp "$BIN/mayfly-vmm" alone; mkdir alone/guest; alone/mayfly run -- true'
says 125 'mayfly: scratch template: the file is damaged
'"$again" 'cp -L "$BIN"/guest/[vab]* alone/guest; : >alone/guest/scratch.pack
	alone/mayfly run -- true'
says 1 '' 'rm alone/guest/vmlinux; alone/mayfly doctor >/dev/null'

# --- mounts and other users ---------------------------------------------

# In a mount namespace of its own.
mounted() {
	if unshare -m true 2>/dev/null; then
		says "$1" "$2" "unshare -m sh -c '$3'"
	else
		skip "$3" 'no mount namespaces for this user'
	fi
}

mounted 125 'mayfly: scratch disk in W/tmp: No space left on device
hint: set TMPDIR to a directory with more room' \
	'mount -t tmpfs -o size=8k none "$TMPDIR" && mayfly run -- true'
mounted 125 'mayfly: scratch disk: create a file in W/tmp: Read-only file system
hint: set TMPDIR to a directory that can be written' \
	'mount -t tmpfs -o ro none "$TMPDIR" && mayfly run -- true'
mounted 125 'mayfly: scratch disk of 65 MiB: mke2fs: not found
hint: install e2fsprogs, or leave --disk out' \
	'mount -t tmpfs none /usr/sbin && mayfly run --disk 65m -- true'
mounted 125 'mayfly: engine kvm: open /dev/kvm: No such file or directory
hint: load kvm_intel or kvm_amd and switch virtualization on, or use --engine soft' \
	'mount -t tmpfs none /dev && mknod /dev/null c 1 3 &&
	mayfly run --engine kvm -- true'
mounted 0 '' 'mount -t tmpfs none /dev && mknod /dev/null c 1 3 &&
	mayfly run -- true'
mounted 125 'mayfly: read /proc/self/exe: No such file or directory' \
	'mount -t tmpfs none /proc && mayfly run -- true'

# As user 65534, from a copy that all may read, with a directory of its own.
nobody() {
	if [ "$(id -u)" != 0 ]; then
		skip "nobody: $3" 'this is not root'
		return
	fi
	says "$1" "$2" "cd $WORK/theirs &&
	export MAYFLY_STATE_DIR=$WORK/theirs/state TMPDIR=$WORK/theirs/tmp &&
	exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '$3'" \
		"nobody: $3"
}

if [ "$(id -u)" = 0 ]; then
	mkdir -p "$WORK/theirs/guest" "$WORK/theirs/tmp" "$WORK/theirs/state"
	cp -L "$BIN/mayfly" "$BIN/mayfly-vmm" "$WORK/theirs/"
	cp -L "$BIN"/guest/[vabs]*[!g] "$BIN/guest/base.img" \
		"$WORK/theirs/guest/"
	cp "$WORK/theirs/guest/base.img" "$WORK/theirs/secret"
	chmod -R a+rX "$WORK/theirs"
	chmod 600 "$WORK/theirs/secret"
	chown 65534 "$WORK/theirs/tmp" "$WORK/theirs/state"
	chmod 700 "$WORK/theirs/state"
fi
nobody 0 '' './mayfly run --engine soft -- true'
nobody 125 'mayfly: rootfs: open secret: Permission denied' \
	'./mayfly run --rootfs secret -- true'
nobody 125 'mayfly: meta: write m.json: Permission denied' \
	'./mayfly run --meta m.json -- true'
nobody 125 'mayfly: console: open c.txt: Permission denied' \
	'./mayfly run --console c.txt -- true'
nobody 125 'mayfly: scratch disk: create a file in W/theirs: Permission denied
hint: set TMPDIR to a directory that can be written' \
	'TMPDIR='"$WORK"'/theirs ./mayfly run -- true'
nobody 125 'mayfly: state directory W/state: Permission denied
hint: name one of your own: MAYFLY_STATE_DIR=/path' \
	'MAYFLY_STATE_DIR='"$WORK"'/state ./mayfly ps'
if [ "$(id -u)" = 0 ]; then
	chmod 600 "$WORK/theirs/guest/vmlinux"
fi
nobody 125 'mayfly: guest kernel: open W/theirs/guest/vmlinux: Permission denied
hint: it was built by another user; `make install` puts it where all can read it' \
	'./mayfly run -- true'
if [ "$(id -u)" = 0 ] && [ "$(stat -c %u%a /dev/kvm 2>&1)" = 0600 ]; then
	nobody 125 'mayfly: engine kvm: open /dev/kvm: Permission denied
hint: join the group kvm, or use --engine soft' \
		'./mayfly run --engine kvm -- true'
else
	skip 'nobody: /dev/kvm' 'this user may open it, or it is not there'
fi

left=
wait_for 60 nothing_runs || left=$(ours)
says 0 '' "[ -z '$left' ] # no process of ours is left"
echo "1..$n"
exit $bad
