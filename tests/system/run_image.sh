#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run_image.sh MAYFLY ENGINE [TEST...]: runs on images of the store: what the
# image says of its command, what several VMs share, and that nobody changes
# it. TAP on stdout. LIMIT (60 s) is the longest for one command.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ENGINE=$2
LIMIT=${LIMIT:-60}
setup "$1"
cp "$(dirname "$1")/mayfly-unpack" "$BIN/" || exit 2
shift 2
ONLY=$*
export MAYFLY_DATA_DIR=$WORK/data MAYFLY_CACHE=$WORK/cache
cd "$WORK" || exit 2

MIB=1048576

# The next test shall find nothing of one that failed.
fail() {
	echo "# $*"
	[ ! -s "$err" ] || sed 's/^/#   stderr: /' "$err" | head -n 30
	for p in $(ours); do kill -9 "$p" 2>/dev/null; done
	wait_for 60 nothing_runs
	"$MAYFLY" prune >/dev/null
	exit 1
}

# --- images -------------------------------------------------------------

# tree NAME...: the root of busybox with these applets, in ./root.
tree() {
	mkdir -p root/bin root/etc root/srv root/tmp
	cp "$(command -v busybox)" root/bin/busybox
	for a; do ln root/bin/busybox "root/bin/$a"; done
	printf '%s\n' 'root:x:0:0::/root:/bin/sh' \
		'app:x:1234:1234::/srv:/bin/sh' >root/etc/passwd
	printf '%s\n' 'root:x:0:' 'app:x:1234:' 'staff:x:50:app' >root/etc/group
}

# put OCI FILE: as a blob; prints its digest.
put() {
	h=$(sha256sum <"$2" | cut -c 1-64)
	mkdir -p "$1/blobs/sha256"
	cp "$2" "$1/blobs/sha256/$h"
	echo "sha256:$h"
}

# descriptor OCI FILE TYPE: of that blob, as JSON.
descriptor() {
	printf '{"mediaType":"application/vnd.oci.image.%s","digest":"%s","size":%s}' \
		"$3" "$(put "$1" "$2")" "$(wc -c <"$2")"
}

# config CONFIG DIFF_IDS
config() {
	printf '{"architecture":"amd64","os":"linux","config":%s,' "$1"
	printf '"rootfs":{"type":"layers","diff_ids":[%s]}}' "$2"
}

# oci NAME CONFIG TAR...: an image of these layers, imported as NAME; prints
# its id.
oci() {
	name=$1 config=$2 ids='' list=''
	shift 2
	for tar; do
		ids=$ids,\"$(put oci "$tar")\"
		list=$list,$(descriptor oci "$tar" layer.v1.tar)
	done
	config "$config" "${ids#,}" >config.json
	printf '{"schemaVersion":2,"config":%s,"layers":[%s]}' \
		"$(descriptor oci config.json config.v1+json)" \
		"${list#,}" >manifest.json
	printf '{"schemaVersion":2,"manifests":[%s]}' \
		"$(descriptor oci manifest.json manifest.v1+json)" \
		>oci/index.json
	echo '{"imageLayoutVersion":"1.0.0"}' >oci/oci-layout
	"$MAYFLY" image import --name "$name" oci:oci
}

pack() {
	tar -C "$1" --owner=0 --group=0 --numeric-owner --sort=name \
		--mtime=@1 -cf "$2" .
}

# Every file of every image and layer.
store_hash() {
	(cd "$MAYFLY_DATA_DIR" &&
		find images layers names -type f | sort | xargs sha256sum) |
		sha256sum
}

tree sh ls cat id echo env pwd sleep true false dd sha256sum head sync rm mkdir \
	touch kill df yes uniq tr cut tee mount stat seq
pack root base.tar
mkdir -p top/bin top/srv/work top/etc
echo top >top/etc/layer
: >top/bin/.wh.yes
pack top top.tar
mkdir -p big/big
head -c $((24 * MIB)) /dev/urandom >big/big/data
pack big big.tar
says='{"Entrypoint":["/bin/echo","entry"],"Cmd":["of","cmd"]}'
full='{"Env":["PATH=/bin","A=image","B=b c"],
	"Cmd":["/bin/sh","-c","id -u; pwd; env"],
	"User":"app","WorkingDir":"/srv/work","StopSignal":"SIGQUIT"}'
{
	oci bb '{"Cmd":["sh"],"Env":["PATH=/bin"]}' base.tar &&
	oci says "$says" base.tar &&
	oci full "$full" base.tar top.tar &&
	oci local:5000/team/big:1 '{"Env":["PATH=/bin"]}' base.tar big.tar
} >ids 2>import.err || {
	echo 'Bail out! no images:'
	sed 's/^/# /' import.err
	exit 1
}
{ read -r bb; read -r says_id; read -r full_id; read -r big; } <ids
before=$(store_hash)

# --- what the image says ------------------------------------------------

test_entry_point_and_words_of_the_image_are_the_command() {
	start says
	expect_rc 0
	expect_out 'entry of cmd'
	start says other words
	expect_out 'entry other words'
	start says -- -n --
	expect_out 'entry -n --'
}

test_an_entry_point_of_ones_own_forgets_the_images_words() {
	start --entrypoint /bin/echo says
	expect_rc 0
	expect_out ''
	start --entrypoint echo says own
	expect_out own
	start --entrypoint echo -- built in
	expect_out 'built in'
}

test_a_command_replaces_the_images() {
	start full echo mine
	expect_rc 0
	expect_out mine
	start bb
	expect_rc 0
	start bb sh -c 'exit 7'
	expect_rc 7
	start bb no-such-thing
	expect_rc 127
}

test_user_directory_and_variables_are_the_images() {
	start full
	expect_rc 0
	[ "$(sed -n 1p "$out")" = 1234 ] || fail "user $(sed -n 1p "$out")"
	[ "$(sed -n 2p "$out")" = /srv/work ] || fail "in $(sed -n 2p "$out")"
	for v in PATH=/bin A=image 'B=b c'; do
		grep -qx "$v" "$out" || fail "no $v"
	done
}

test_options_override_the_image() {
	start -u 0:staff -w /etc -e A=mine -e C=c full
	expect_rc 0
	[ "$(sed -n 1p "$out")" = 0 ] || fail "user $(sed -n 1p "$out")"
	[ "$(sed -n 2p "$out")" = /etc ] || fail "in $(sed -n 2p "$out")"
	for v in A=mine 'B=b c' C=c; do
		grep -qx "$v" "$out" || fail "no $v"
	done
	[ "$(grep -c '^A=' "$out")" = 1 ] || fail 'A twice'
	echo A=file >vars
	start --env-file vars full
	grep -qx A=file "$out" || fail 'no A=file'
}

test_working_directory_is_made() {
	oci nodir '{"Env":["PATH=/bin"],"WorkingDir":"/not/there"}' base.tar \
		>"$out" 2>"$err" || fail 'no import'
	start nodir sh -c 'pwd; stat -c "%a %u" .'
	expect_rc 0
	expect_out '/not/there
755 0'
	"$MAYFLY" image rm nodir >"$out" 2>"$err" || fail 'no rm'
}

test_layers_lie_one_upon_the_other() {
	start full cat /etc/layer
	expect_out top
	start full /bin/busybox ls /bin/yes
	expect_rc 1
	start bb ls /bin/yes
	expect_rc 0
}

test_an_image_without_a_command_says_so() {
	start local:5000/team/big:1
	expect_refusal 'image local:5000/team/big:1: it says no command to run'
	grep -q '^hint: mayfly run local:5000/team/big:1 CMD' "$err" ||
		fail 'no hint'
}

# --- ends ---------------------------------------------------------------

traps='trap "echo got QUIT; exit 3" QUIT; trap "echo got TERM; exit 4" TERM
	echo up; while :; do sleep 0.1; done'

test_stop_sends_the_signal_of_the_image() {
	start_raw run --engine "$ENGINE" -d --name s full sh -c "$traps"
	expect_rc 0
	wait_for "$LIMIT" sh -c "'$MAYFLY' logs s | grep -q up" || fail 'not up'
	start_raw stop s
	expect_rc 0
	start_raw logs s
	expect_out 'up
got QUIT'
	start_raw rm s
	expect_nothing_left
}

test_stop_with_a_signal_sends_that() {
	start_raw run --engine "$ENGINE" -d --name s full sh -c "$traps"
	wait_for "$LIMIT" sh -c "'$MAYFLY' logs s | grep -q up" || fail 'not up'
	start_raw stop -s TERM s
	start_raw logs s
	expect_out 'up
got TERM'
	start_raw rm s
}

test_a_forwarded_signal_goes_as_it_is() {
	background full sh -c "$traps"
	wait_for "$LIMIT" grep -q up "$out" || fail 'not up'
	kill -TERM "$pid"
	rc=0
	wait "$pid" || rc=$?
	expect_rc 143
	expect_out 'up
got TERM'
}

# --- more commands, and what is told -------------------------------------

test_exec_has_what_the_image_says() {
	start_raw run --engine "$ENGINE" -d --rm --name x -e C=run full \
		sleep 100
	expect_rc 0
	start_raw exec x sh -c 'id -u; pwd; echo $A $B'
	expect_rc 0
	expect_out '1234
/srv/work
image b c'
	start_raw exec -u 0 -w / -e A=exec x sh -c 'id -u; pwd; echo $A $B'
	expect_out '0
/
exec b c'
	start_raw stop -t 0 x
	expect_nothing_left
}

test_runs_name_their_image() {
	start_raw run --engine "$ENGINE" -d --name x full true
	expect_rc 0
	start_raw wait x
	start_raw ps -a
	grep -q ' full ' "$out" || fail "ps: $(cat "$out")"
	start_raw inspect x
	grep -q '^ *"image": "full",$' "$out" || fail "inspect: $(cat "$out")"
	grep -q "^ *\"image_id\": \"$full_id\",$" "$out" || fail 'no id'
	start_raw rm x
	start --meta "$WORK/meta" --stats full true
	expect_meta image full
	expect_meta image_id "$full_id"
	grep -q "^  image  *full, $(echo "$full_id" | cut -c 1-12)$" "$err" ||
		fail 'stats do not have it'
	start --meta "$WORK/meta" -- true
	expect_meta image null
	expect_meta image_id null
	expect_nothing_left
}

# --- names --------------------------------------------------------------

test_a_missing_image_names_the_command_that_gets_it() {
	start ubuntu:24.04 true
	expect_refusal 'image ubuntu:24.04: not here'
	grep -q '^hint: .*mayfly pull ubuntu:24.04' "$err" || fail 'no hint'
	MAYFLY_DATA_DIR=$WORK/nowhere start ubuntu true
	expect_refusal 'image ubuntu: not here'
	[ ! -e "$WORK/nowhere" ] || fail 'a store was made'
}

test_a_name_that_is_near_is_named() {
	start fulll true
	expect_refusal 'image fulll: not here'
	grep -q '^hint: did you mean full?' "$err" || fail 'no hint'
	start local:5000/taem/big:1 true
	grep -q '^hint: did you mean local:5000/team/big:1?' "$err" ||
		fail 'no hint'
	start big true
	grep -q '^hint: did you mean' "$err" && fail 'a hint'
	:
}

test_ids_name_images_where_they_are_one() {
	start "$full_id" echo whole
	expect_out whole
	start "sha256:$(echo "$full_id" | cut -c 1-12)" echo part
	expect_out part
}

# Of 800 configs some two begin with the same four digits.
test_an_id_of_two_images_is_refused() {
	mkdir -p many
	digest=$(sha256sum <top.tar | cut -c 1-64)
	i=0
	while [ $i -lt 800 ]; do
		config "{\"Labels\":{\"n\":\"$i\"}}" "\"sha256:$digest\"" >many/$i
		i=$((i + 1))
	done
	# shellcheck disable=SC2046 # two names
	set -- $(cd many && sha256sum -- * | sort | uniq -w 4 -D |
		head -n 2 | sed 's/.* //')
	[ $# = 2 ] || fail 'no two of 800 are alike'
	for n; do
		oci "same:$n" "{\"Labels\":{\"n\":\"$n\"}}" top.tar >>same.ids ||
			fail 'no import'
	done
	short=$(head -n 1 same.ids | cut -c 1-4)
	[ "$(cut -c 1-4 same.ids | uniq | wc -l)" = 1 ] ||
		fail "ids: $(cat same.ids)"
	start "$short" true
	expect_rc 125
	expect_err "$short"
	for n; do
		"$MAYFLY" image rm "same:$n" >/dev/null 2>"$err" || fail 'no rm'
	done
	rm -r many same.ids
}

test_image_and_rootfs_are_one_too_many() {
	start --rootfs "$BIN/guest/base.img" bb true
	expect_refusal 'both an image, bb, and --rootfs'
	start --rootfs "$BIN/guest/base.img" -- true
	expect_rc 0
}

test_an_image_may_go_while_a_vm_has_it() {
	oci gone '{"Env":["PATH=/bin"]}' base.tar big.tar top.tar >"$out" ||
		fail 'no import'
	background gone sh -c 'echo up; until [ -e /tmp/go ]; do sleep 0.1; done
		sha256sum </big/data'
	wait_for "$LIMIT" grep -q up "$out" || fail 'not up'
	"$MAYFLY" image rm gone >/dev/null 2>"$err" || fail 'no rm'
	run=$("$MAYFLY" ps -q)
	"$MAYFLY" exec "$run" touch /tmp/go 2>"$err" || fail 'no exec'
	wait "$pid" || fail "exit code $?"
	[ "$(tail -n 1 "$out")" = "$(sha256sum <big/big/data)" ] ||
		fail "$(cat "$out")"
}

# --- the disk -----------------------------------------------------------

test_a_full_disk_on_an_image() {
	start --disk 64M --meta "$WORK/meta" bb \
		dd if=/dev/zero of=/f bs=1M count=200
	expect_rc 1
	expect_err 'No space left on device'
	expect_meta verdict disk_full
	[ "$(meta disk_stored_bytes)" -le $((64 * MIB)) ] ||
		fail "$(meta disk_stored_bytes) bytes"
}

test_four_vms_see_only_what_they_wrote() {
	for i in 1 2 3 4; do
		m bb sh -c "yes $i | head -c 3000000 >/bin/yes; sync
			mkdir /srv/$i; echo 3 >/proc/sys/vm/drop_caches
			uniq </bin/yes | tr -d '\n'; ls /srv" \
			>"$out$i" 2>"$err$i" &
		eval "p$i=\$!"
	done
	for i in 1 2 3 4; do
		eval "wait \$p$i" || fail "VM $i: $(cat "$err$i")"
		[ "$(cat "$out$i")" = "$i$i" ] ||
			fail "VM $i has $(head -c 80 "$out$i")"
	done
	[ "$(store_hash)" = "$before" ] || fail 'the image has changed'
	expect_nothing_left
}

# Bytes of files that a cgroup's processes were the first to read or write. What
# engine soft has translated is shared memory, which is counted as files, too.
file_bytes() {
	find /sys/fs/cgroup -path "*/$MAYFLY_CGROUP_PARENT/$1/memory.stat" \
		-exec awk '$1 == "file" || $1 == "cache" { f = $2 }
			$1 == "shmem" { s = $2 }
			END { print f - s }' {} \;
}

# Of a page that somebody has in hand the kernel may say no.
is_emptied() {
	sync "$1"
	dd if="$1" iflag=nocache count=0 2>/dev/null
	[ "$(fincore -nbo RES "$1")" -lt $((8 * MIB)) ]
}

# Linux counts a page of a file for the cgroup that read it first.
test_vms_on_one_image_share_the_page_cache() {
	command -v fincore >/dev/null || skip 'no fincore'
	[ "$(id -u)" = 0 ] && export MAYFLY_CGROUP_PARENT=mayfly-image-test-$$
	data=$(find "$MAYFLY_DATA_DIR/layers" -name data -size +20000k)
	wait_for 20 is_emptied "$data" || skip 'the page cache cannot be emptied'
	for i in 1 2 3; do
		start_raw run --engine "$ENGINE" -d --rm --name "v$i" \
			local:5000/team/big:1 sh -c \
			'sha256sum </big/data; sleep 100'
		expect_rc 0
		id=$(cat "$out")
		wait_for "$LIMIT" sh -c "'$MAYFLY' logs v$i | grep -q ' -'" ||
			fail "v$i: no hash"
		eval "f$i=\$(file_bytes $id)"
	done
	# The host may want some of it back in between.
	[ "$(fincore -nbo RES "$data")" -ge $((16 * MIB)) ] ||
		fail "in the page cache: $(fincore -nbo RES "$data")"
	for i in 1 2 3; do
		"$MAYFLY" logs v$i
	done | sort -u >"$out"
	[ "$(cat "$out")" = "$(sha256sum <big/big/data)" ] || fail 'hashes differ'
	"$MAYFLY" stop -t 0 v1 v2 v3 >/dev/null 2>"$err"
	find /sys/fs/cgroup -depth -type d -name "$MAYFLY_CGROUP_PARENT" \
		-exec rmdir {} \; 2>/dev/null
	[ -n "$f1" ] || skip 'no cgroup of memory'
	echo "# MiB of files, of each VM: $((f1 / MIB)) $((f2 / MIB)) $((f3 / MIB))"
	[ "$f1" -ge $((16 * MIB)) ] && [ "$f2" -lt $((8 * MIB)) ] &&
		[ "$f3" -lt $((8 * MIB)) ] || fail "files: $f1 $f2 $f3"
}

test_a_run_that_is_killed_leaves_the_store_free() {
	background bb sh -c 'echo up; sleep 100'
	wait_for "$LIMIT" grep -q up "$out" || fail 'not up'
	kill -KILL "$pid"
	wait "$pid"
	wait_for 60 nothing_runs || fail 'it lives'
	"$MAYFLY" prune >/dev/null
	start_raw image prune
	expect_rc 0
	expect_nothing_left
}

# The last.
test_after_all_of_it_images_are_as_they_were() {
	[ "$(store_hash)" = "$before" ] || fail 'the store has changed'
}

run_tests "$here/run_image.sh"
