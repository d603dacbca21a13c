# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # shared with the suites
#
# image_lib.sh: what the suites of images share, after lib.sh: begin ENGINE,
# then two images in ./lay, `one` of a layer and `two` of three.

# shellcheck source=tests/system/oci.sh
. "$here/oci.sh"
export LC_ALL=C

begin() {
	ENGINE=$1
	LIMIT=${LIMIT:-60}
	PATH=$BIN:$PATH:/usr/sbin:/sbin
	unset REGISTRY_AUTH_FILE
	cd "$WORK" || exit 2
	top_as=zstd
	command -v zstd >/dev/null || top_as=gzip
	trees
	layout
}

# pack TREE TAR: a tar of it, in an order and of a time of its own.
pack() {
	tar -C "$1" --sort=name --mtime=@1700000000 --numeric-owner \
		--owner="${3:-0}" --group="${3:-0}" -cf "$2" .
}

# Two layers: a root of busybox, and what changes it.
trees() {
	mkdir -p base/bin base/etc/a base/etc/b base/srv top/etc/b top/srv
	cp "$(command -v busybox)" base/bin/busybox
	ln base/bin/busybox base/bin/sh
	echo one >base/etc/one
	echo two >base/etc/a/two
	echo three >base/etc/b/three
	ln -s ../etc/one base/srv/link
	chmod 4755 base/bin/busybox
	: >top/etc/.wh.a
	: >top/etc/b/.wh..wh..opq
	echo four >top/etc/b/four
	echo changed >top/etc/one
	pack base base.tar
	pack top top.tar 7
	# A hard link to what the layer below has.
	mkdir hard
	cp -a base/bin hard/bin
	ln hard/bin/busybox hard/bin/ls
	tar -C hard --numeric-owner --owner=0 --group=0 -cf hard.tar \
		./bin/busybox ./bin/ls
	tar --delete -f hard.tar ./bin/busybox
}

layout() {
	oci_begin lay
	oci_layer lay base.tar gzip
	oci_layer lay top.tar "$top_as"
	oci_layer lay hard.tar
	oci_image lay two '"User":"1000:50","Cmd":["/bin/sh"],"Env":["A=b c"]'
	two=$oci_config
	cp lay/.layers two.layers
	oci_begin lay
	oci_layer lay base.tar gzip
	oci_image lay one '"Cmd":["/bin/busybox"]'
	one=$oci_config
}

# What a guest would have for a disk, checked as such; then as a tree.
disk() {
	id=$("$MAYFLY" image inspect "$1" | sed -n 's/^    "id": "\(.*\)",/\1/p')
	cp "$MAYFLY_DATA_DIR/images/$id/root.erofs" disk || fail 'no root.erofs'
	for d in $("$MAYFLY" image inspect "$1" |
		sed -n 's/.*"digest": "sha256:\(.*\)",/\1/p'); do
		cat "$MAYFLY_DATA_DIR/layers/$d/data" >>disk
	done
	fsck.erofs disk >fsck.log 2>&1 || fail "fsck.erofs: $(tail -n 3 fsck.log)"
	rm -rf tree
	fsck.erofs --extract=tree disk >fsck.log 2>&1 ||
		fail "fsck.erofs --extract: $(tail -n 3 fsck.log)"
}

# mayfly image, as start does.
image() {
	start_raw image "$@"
}

# It went well; what it has printed is left in $id.
expect_id() {
	expect_rc 0
	expect_no_err
	id=$(cat "$out")
	[ "$id" = "${1:-$id}" ] || fail "the id is $id"
	[ "$(echo "$id" | tr -d 0-9a-f)" = '' ] && [ ${#id} = 64 ] ||
		fail "no id: $id"
}

# Refused: words, exactly, and hint, and no staging is left.
expect_words() {
	expect_rc 125
	[ ! -s "$out" ] || fail 'stdout is not empty'
	[ "$(sed "s|$WORK|W|g" "$err")" = "$1" ] || fail "wanted: $1"
	expect_no_staging
}

expect_no_staging() {
	[ -z "$(ls -A "$MAYFLY_DATA_DIR/tmp" 2>/dev/null)" ] ||
		fail "staging is left: $(ls -A "$MAYFLY_DATA_DIR/tmp")"
}

layers() {
	ls "$MAYFLY_DATA_DIR/layers" | wc -l
}

# flip FILE: a byte in its middle is another.
flip() {
	at=$(($(stat -c %s "$1") / 2))
	byte=$(dd if="$1" bs=1 skip=$at count=1 2>/dev/null | od -An -tu1)
	# shellcheck disable=SC2059 # an octal escape
	printf "\\$(printf %03o $(((byte + 1) % 256)))" |
		dd of="$1" bs=1 seek=$at conv=notrunc 2>/dev/null
}

# A store of this test's own.
fresh() {
	MAYFLY_DATA_DIR=$WORK/data.$$.$1
	rm -rf "$MAYFLY_DATA_DIR"
	export MAYFLY_DATA_DIR
}

# The digest of layer N of two.
blob() {
	sed -n "$1s/ .*//p" two.layers
}
