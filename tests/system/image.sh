#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# image.sh MAYFLY ENGINE [TEST...]: images come into the store
# from files, are listed, and go; some that come die on the way. No guest runs.
# TAP on stdout. LIMIT (60 s) is the longest for one command.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

# Mounts of its own, where that is allowed.
if [ -z "${PRIVATE:-}" ] && unshare -m true 2>/dev/null; then
	PRIVATE=1 exec unshare -m "$0" "$@"
fi

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/image_lib.sh
. "$here/image_lib.sh"

setup "$1"
begin "$2"
shift 2
ONLY=$*

# --- what is imported -----------------------------------------------------

test_an_image_of_layers_is_imported() {
	image import --name app:1 oci:lay:two
	expect_id "$two"
	disk app:1
	[ "$(cat tree/etc/one)" = changed ] || fail 'the lower file is seen'
	[ ! -e tree/etc/a ] || fail 'a whiteout hides nothing'
	[ ! -e tree/etc/b/three ] || fail 'an opaque directory hides nothing'
	[ "$(cat tree/etc/b/four)" = four ] || fail 'a file is missing'
	[ "$(readlink tree/srv/link)" = ../etc/one ] || fail 'no symbolic link'
	for f in sh ls; do
		cmp tree/bin/$f base/bin/busybox || fail "$f is another"
	done
	[ ! -e tree/etc/.wh.a ] || fail 'a whiteout is a file'
	image inspect app:1
	for w in '"User": "1000:50"' '"A=b c"' '"/bin/sh"' \
		'"docker.io/library/app:1"' '"source": "oci:lay:two"'; do
		grep -qF "$w" "$out" || fail "inspect has no $w"
	done
}

test_owners_modes_and_hard_links_are_kept() {
	image import --name app:1 oci:lay:two
	disk app:1
	rm -rf tree
	fsck.erofs --extract=tree --preserve-perms --no-preserve-owner disk \
		>fsck.log 2>&1
	[ "$(stat -c %a tree/bin/sh)" = 4755 ] || fail 'setuid is lost'
	dump.erofs --path=/etc/b/four disk >dump
	grep -q 'Uid: *7 .*Gid: *7 ' dump || fail "owners: $(cat dump)"
	nid=$(dump.erofs --path=/bin/busybox disk | grep -i 'nid\|links')
	for f in /bin/sh /bin/ls; do
		[ "$(dump.erofs --path=$f disk | grep -i 'nid\|links')" = \
			"$nid" ] || fail "$f is no hard link: $nid"
	done
}

# Small ones: several end at the same time. The first comes twice.
test_many_layers_and_the_same_one_twice() {
	oci_begin many
	for i in 0 1 2 3 4 5 6 7 8 9 0; do
		rm -rf small
		mkdir small
		echo $i >"small/f$i"
		pack small small.tar
		oci_layer many small.tar
	done
	oci_image many x
	for i in 1 2 3 4 5 6; do
		fresh "many$i"
		image import --name many oci:many
		expect_id "$oci_config"
		[ "$(layers)" = 10 ] || fail "layers: $(layers)"
	done
	disk many
	[ "$(cat tree/f* | tr -d '\n')" = 0123456789 ] || fail 'files are missing'
}

test_layers_are_stored_once_and_not_read_again() {
	fresh once
	image import oci:lay:one
	expect_id "$one"
	[ "$(layers)" = 1 ] || fail "layers: $(layers)"
	cp -r lay lay2
	base=$(head -n 1 lay2/.layers | cut -d ' ' -f 1)
	flip "lay2/blobs/sha256/$base"
	image import oci:lay2:two
	expect_id "$two"
	[ "$(layers)" = 3 ] || fail "layers: $(layers)"
	rm -r lay2
}

test_the_same_again_is_the_same() {
	for i in 1 2; do
		image import --name again oci:lay:two
		expect_id "$two"
	done
	[ "$("$MAYFLY" image ls | grep -c '^again:latest ')" = 1 ] || fail 'twice'
}

test_a_name_is_taken_from_the_image_before() {
	fresh name
	image import --name app oci:lay:one
	image import --name app oci:lay:two
	image inspect app
	grep -q "\"id\": \"$two\"" "$out" || fail 'app is the old one'
	image inspect "$one"
	grep -q '"names": \[\]' "$out" || fail 'the old one has a name'
	image prune
	expect_rc 0
	grep -q '^0 names, 1 image, 0 layers removed' "$out" || fail 'prune'
	image ls -q
	expect_out "$two"
}

test_archives_are_imported() {
	command -v skopeo >/dev/null || skip 'no skopeo here'
	fresh archives
	rm -rf ./*.archive docker
	skopeo copy -q oci:lay:two oci-archive:oci.archive:two
	# Docker has no zstd.
	oci_begin docker
	oci_layer docker base.tar gzip
	oci_layer docker top.tar
	oci_image docker x
	skopeo copy -q oci:docker docker-archive:docker.archive:host/app:1
	image import --name o oci-archive:oci.archive
	expect_id "$two"
	disk o
	image import docker-archive:docker.archive
	expect_id
	disk host/app:1
	[ "$(cat tree/etc/one)" = changed ] || fail 'the docker archive differs'
	image import --name d docker-archive:docker.archive:host/app:1
	expect_id "$id"
	rc=0
	"$MAYFLY" image import docker-archive:- <docker.archive >"$out" \
		2>"$err" || rc=$?
	expect_id "$id"
	gzip -c oci.archive >gz.archive
	image import oci-archive:gz.archive:two
	expect_id "$two"
	expect_no_staging
	image import oci-archive:oci.archive:three
	expect_words 'mayfly: oci-archive:oci.archive:three: image index: no image '\
'is named three: there is two'
}

test_a_tar_and_a_directory_are_images() {
	fresh tar
	image import --name t tar:base.tar
	expect_id
	disk t
	[ "$(cat tree/etc/a/two)" = two ] || fail 'the tree differs'
	first=$id
	for how in 'gzip -c' 'zstd -qc' 'xz -0c' 'bzip2 -c'; do
		$how base.tar >packed
		image import tar:packed
		expect_id "$first"
	done
	rc=0
	"$MAYFLY" image import tar:- <base.tar >"$out" 2>"$err" || rc=$?
	expect_id "$first"
	image import --name d dir:base
	expect_id
	disk d
	diff -r base tree || fail 'the directory differs'
}

test_ten_imports_at_once_are_one_image() {
	fresh ten
	for i in 0 1 2 3 4 5 6 7 8 9; do
		"$MAYFLY" image import --name "n$i" oci:lay:two >ten.$i 2>&1 &
	done
	wait
	[ "$(cat ten.? | sort -u)" = "$two" ] || fail "$(cat ten.?)"
	[ "$(layers)" = 3 ] || fail "layers: $(layers)"
	[ "$("$MAYFLY" image ls | grep -c '^n[0-9]:latest ')" = 10 ] ||
		fail 'names are missing'
	expect_no_staging
	disk n7
}

# --- what is removed ------------------------------------------------------

test_names_and_images_are_removed() {
	fresh rm
	image import --name a oci:lay:one
	image import --name b oci:lay:one
	image import --name c oci:lay:two
	short=$(echo "$one" | cut -c 1-12)
	image rm "$short"
	expect_rc 125
	expect_err '^mayfly: .*has several names'
	image rm a nosuch
	expect_rc 125
	expect_err '^mayfly: image nosuch: not there'
	grep -q '^1 name, 0 images, 0 layers removed' "$out" || fail 'rm a'
	image rm "$short"
	expect_rc 0
	grep -q '^1 name, 1 image, 0 layers removed' "$out" || fail 'rm an id'
	[ "$(layers)" = 3 ] || fail 'a layer of another image is gone'
	image rm -f c
	grep -q '^1 name, 1 image, 3 layers removed' "$out" || fail 'rm c'
	[ "$(layers)" = 0 ] || fail 'layers are left'
	image ls
	[ "$(tail -n 1 "$out")" = '0 images, 0 B on disk' ] || fail 'ls'
}

test_lists_are_for_programs_as_well() {
	fresh json
	image ls --format json
	expect_rc 0
	image import --name a oci:lay:two
	image ls --format json
	python3 - "$out" "$two" <<-'END' || fail 'the JSON is not as it should be'
		import json, sys
		d = json.load(open(sys.argv[1]))
		i, = d["images"]
		assert i["id"] == sys.argv[2]
		assert i["names"] == ["docker.io/library/a:latest"]
		assert i["disk_bytes"] == d["disk_bytes"] > 0 == d["unused_bytes"]
		assert [l["entries"] > 0 for l in i["layers"]] == [True] * 3
	END
	image prune --format json
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1]))
assert d["images"] == d["layers"] == d["staging"] == 0' "$out" || fail prune
	image ls
	[ "$(head -n 1 "$out" | tr -s ' ')" = \
		'NAME ID SIZE UNIQUE LAYERS CREATED IMPORTED' ] || fail 'head'
	[ "$(sed -n '2s/  .*//p' "$out")" = a:latest ] || fail 'row'
}

# --- who watches ------------------------------------------------------------

test_progress_is_for_a_terminal_and_id_for_a_pipe() {
	command -v script >/dev/null || skip 'no script(1) here'
	fresh progress
	mkfifo pipe
	said='unpacking layer 1 of 1: 0.7 MB'
	(
		exec >pipe
		head -c 700000 base.tar
		wait_for "$LIMIT" grep -q "$said" shown
		tail -c +700001 base.tar
	) &
	writer=$!
	script -qfec "'$MAYFLY' image import tar:pipe >id" shown >/dev/null </dev/null
	kill $writer 2>/dev/null # if nobody has read
	wait $writer
	rm pipe
	[ "$(wc -c <id)" = 65 ] || fail "standard output: $(cat id)"
	grep -q "$said" shown || fail "$(cat shown)"
	# The line is gone in the end.
	[ "$(tr '\r' '\n' <shown | grep -v '^Script\|^$' | tail -n 1)" = \
		"$(printf '\033[K')" ] || fail "$(od -c shown | tail -n 3)"
}

# --- death ----------------------------------------------------------------

test_a_killed_import_leaves_staging_that_prune_takes() {
	fresh kill
	mkfifo pipe
	"$MAYFLY" image import tar:- <pipe >"$out" 2>"$err" &
	pid=$!
	exec 9>pipe
	head -c 700000 base.tar >&9
	busy() { [ "$(find "$MAYFLY_DATA_DIR/tmp" -name data -size +100k)" ]; }
	wait_for 60 busy || fail 'it does not begin'
	image prune
	[ "$(ls -A "$MAYFLY_DATA_DIR/tmp" | wc -l)" = 1 ] ||
		fail 'prune takes what is in use'
	kill -9 $pid
	wait $pid 2>/dev/null
	exec 9>&-
	rm pipe
	wait_for 60 nothing_runs || fail "still there: $(ours)"
	[ -z "$("$MAYFLY" image ls -q)" ] || fail 'there is an image'
	[ "$(layers)" = 0 ] || fail 'there is a layer'
	image prune
	grep -q '^1 unfinished import removed' "$out" || fail "$(cat "$out")"
	expect_no_staging
}

# For a writer of its source, and for the lock: signals are blocked by then.
test_an_import_that_waits_is_interrupted() {
	fresh waits
	image import tar:base.tar
	mkfifo pipe
	for source in pipe base.tar; do
		env --default-signal=INT "$MAYFLY" image import tar:$source \
			>"$out" 2>"$err" &
		pid=$!
		catches() { grep -q '^SigBlk:.*4003$' /proc/$pid/status; }
		wait_for 60 catches || fail 'it does not begin'
		kill -INT $pid
		ends() { ! grep -q "^State:\s*[^Z]" /proc/$pid/status; }
		wait_for 60 ends || kill -9 $pid
		rc=0
		wait $pid || rc=$?
		expect_rc 130
		expect_no_err
		expect_no_staging
		# The second waits for this one.
		exec 9>"$MAYFLY_DATA_DIR/lock"
		flock -x 9
	done
	[ -z "$("$MAYFLY" completion images)" ] || fail 'a prompt waits'
	exec 9>&-
	rm pipe
}

test_an_interrupted_import_leaves_nothing() {
	fresh int
	for s in INT:2 TERM:15 HUP:1; do
		mkfifo pipe
		env --default-signal=INT "$MAYFLY" image import tar:- <pipe >"$out" 2>"$err" &
		pid=$!
		exec 9>pipe
		head -c 700000 base.tar >&9
		busy() { [ "$(find "$MAYFLY_DATA_DIR/tmp" -name data -size +100k)" ]; }
		wait_for 60 busy || fail 'it does not begin'
		kill -${s%:*} $pid
		rc=0
		wait $pid || rc=$?
		exec 9>&-
		rm pipe
		expect_rc $((128 + ${s#*:}))
		expect_no_err
		expect_no_staging
		nothing_runs || fail "still there: $(ours)"
	done
}

test_killed_at_any_moment_an_image_is_whole_or_not_there() {
	fresh moments
	for ms in 000 002 004 006 008 010 015 020 030 040 060 080; do
		"$MAYFLY" image import --name x oci:lay:two >/dev/null 2>&1 &
		pid=$!
		sleep 0.$ms
		kill -9 $pid 2>/dev/null
		wait $pid 2>/dev/null
		wait_for 60 nothing_runs || fail "still there: $(ours)"
		if [ "$("$MAYFLY" image ls -q)" ]; then
			"$MAYFLY" image inspect x >"$out" 2>&1 && disk x
		fi
		"$MAYFLY" image prune >"$out" 2>"$err" || fail prune
		expect_no_staging
		"$MAYFLY" image rm x >"$out" 2>&1
		[ "$(layers)" = 0 ] || fail "after 0.$ms s layers are left"
	done
}

test_no_room_is_said() {
	[ "${PRIVATE:-}" ] || skip 'no mounts for this user'
	mkdir -p small
	mount -t tmpfs -o size=1m none small || skip 'no tmpfs for this user'
	trap 'umount small' EXIT
	MAYFLY_DATA_DIR=$WORK/small/data
	image import oci:lay:two
	expect_rc 125
	expect_err 'No space left on device'
	expect_err '^hint: .*MAYFLY_DATA_DIR'
	expect_no_staging
	[ -z "$("$MAYFLY" image ls -q)" ] || fail 'there is an image'
}

run_tests "$here/image.sh"
