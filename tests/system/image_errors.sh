#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# image_errors.sh MAYFLY ENGINE [TEST...]: images that are damaged
# or lie, and wrong usages: what each gets, to the letter. TAP on stdout.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/image_lib.sh
. "$here/image_lib.sh"

setup "$1"
LIAR=$(cd "$(dirname "$1")" && pwd)/tests/unpack-liar
DENY=$(dirname "$LIAR")/deny
begin "$2"
shift 2
ONLY=$*

# --- damage and lies ------------------------------------------------------

# spoilt WORDS: oci:bad:two is refused with these.
spoilt() {
	image import oci:bad:two
	expect_words "mayfly: oci:bad:two: $1"
	[ -z "$("$MAYFLY" image ls -q)" ] || fail 'there is an image'
}

test_what_is_damaged_is_refused() {
	fresh damage
	for n in 1 2 3; do
		fresh damage
		rm -rf bad
		cp -r lay bad
		b=$(blob $n)
		flip "bad/blobs/sha256/$b"
		is=$(oci_sha "bad/blobs/sha256/$b")
		spoilt "layer $n: damaged: its digest is sha256:$is, and should be sha256:$b"
	done
	rm -rf bad
	cp -r lay bad
	flip "bad/blobs/sha256/$two"
	spoilt "blobs/sha256/$two: damaged: its digest is sha256:$(oci_sha \
		"bad/blobs/sha256/$two")"
	rm "bad/blobs/sha256/$two"
	spoilt "blobs/sha256/$two: No such file or directory"
	rm -rf bad
	cp -r lay bad
	b=$(blob 2)
	size=$(stat -c %s "bad/blobs/sha256/$b")
	echo >>"bad/blobs/sha256/$b"
	spoilt "blobs/sha256/$b: it has $((size + 1)) bytes, and should have $size"
	rm "bad/blobs/sha256/$b"
	spoilt "blobs/sha256/$b: No such file or directory"
	mkfifo "bad/blobs/sha256/$b"
	spoilt "blobs/sha256/$b: not a regular file"
	rm "bad/blobs/sha256/$b"
	ln -s /etc/passwd "bad/blobs/sha256/$b"
	spoilt "blobs/sha256/$b: leads out of the image"
	rm bad/index.json
	spoilt 'index.json: No such file or directory'
	head -c 5000000 /dev/zero >bad/index.json
	spoilt 'index.json: 5000000 bytes are more than a document of an image has'
}

# relay CONFIG-EXPR MANIFEST-EXPR: lay as bad, rewritten by sed and whole.
relay() {
	rm -rf bad
	cp -r lay bad
	m=$(sed -n 's/.*"digest":"sha256:\([0-9a-f]*\)".*name":"two".*/\1/p' \
		bad/.index)
	sed "$1" "bad/blobs/sha256/$two" >bad/new
	size=$(stat -c %s bad/new)
	c=$(oci_blob bad bad/new)
	sed -e "s/$two\",\"size\":[0-9]*/$c\",\"size\":$size/" -e "$2" \
		"bad/blobs/sha256/$m" >bad/new
	size=$(stat -c %s bad/new)
	n=$(oci_blob bad bad/new)
	sed -i "s/$m\",\"size\":[0-9]*/$n\",\"size\":$size/" bad/index.json
}

test_what_lies_is_refused() {
	fresh lies
	diff=$(oci_sha top.tar)
	zero=$(printf %064d 0)
	relay "s/$diff/$zero/" ''
	lie="the config says that its tar has the digest sha256:$zero"
	spoilt "layer 2: $lie; it is sha256:$diff"
	# The first layer came in whole, and another image may lie of it.
	diff=$(oci_sha base.tar)
	image import oci:lay:one
	relay "s/$diff/$zero/" ''
	image import oci:bad:two
	expect_words "mayfly: oci:bad:two: layer 1: $lie; it is sha256:$diff"
	fresh lies
	relay '' "s/\"size\":\([0-9]*\)}\]/\"size\":1\1}]/"
	b=$(blob 3)
	size=$(stat -c %s "lay/blobs/sha256/$b")
	spoilt "blobs/sha256/$b: it has $size bytes, and should have 1$size"
	relay 's/linux/plan9/' ''
	image import oci:bad:two
	expect_refusal plan9
	relay 's/amd64/arm64/' ''
	image import oci:bad:two
	expect_refusal arm64
}

test_what_is_too_large_is_refused() {
	fresh large
	truncate -s 3m hole
	tar -Scf hole.tar hole
	image import --max-size 2m tar:hole.tar
	expect_rc 125
	expect_no_staging
	image import --max-size 4m tar:hole.tar
	expect_id
	# Both of an image's layers count, also one that the store has.
	oci_begin sum
	oci_layer sum hole.tar
	cp hole.tar hole2.tar
	truncate -s +10k hole2.tar
	oci_layer sum hole2.tar
	oci_image sum x
	image import --max-size 5m oci:sum
	expect_rc 125
	image import --max-size 6m oci:sum
	expect_id
}

# Names of others are in messages, and all that a config says in inspect's.
test_nothing_steers_the_terminal() {
	fresh steer
	python3 - <<-'END'
		import hashlib, io, json, tarfile
		def tar(name, files):
		    with tarfile.open(name, "w") as t:
		        for path, data in files:
		            i = tarfile.TarInfo(path)
		            i.size = len(data)
		            t.addfile(i, io.BytesIO(data))
		tar("out.tar", [("\x9b1m/../x", b"")])
		tar("l.tar", [("x", b"x")])
		layer = open("l.tar", "rb").read()
		config = json.dumps({
		    "architecture": "amd64", "os": "linux",
		    "config": {"Labels": {"a\x7f": "\x9b1m\x1b[1m\u00e9"}},
		    "rootfs": {"type": "layers", "diff_ids": [
		        "sha256:" + hashlib.sha256(layer).hexdigest()]},
		}).encode()
		for out, path in ("good", "l.tar"), ("bad", "\x1b[1m/l.tar"):
		    m = json.dumps([{"Config": "c", "Layers": [path]}]).encode()
		    tar(out + ".saved", [("manifest.json", m), ("c", config),
		                         ("l.tar", layer)])
	END
	image import tar:out.tar
	expect_words 'mayfly: tar:out.tar: ?1m/../x leads out of the tree'
	image import docker-archive:bad.saved
	expect_words 'mayfly: docker-archive:bad.saved: ?[1m/l.tar: No such file '\
'or directory'
	image import --name steer docker-archive:good.saved
	image inspect steer
	expect_rc 0
	grep -qF '"a\u007F": "\u009B1m\u001B[1mé"' "$out" || fail "$(cat "$out")"
}

# --- an unpacker that fails --------------------------------------------------

test_an_unpacker_that_fails_is_told() {
	fresh unpacker
	mv "$BIN/mayfly-unpack" kept
	for p in true false busybox none; do
		case $p in
		none) rm "$BIN/mayfly-unpack" ;;
		*) cp "/bin/$p" "$BIN/mayfly-unpack" ;;
		esac
		image import tar:base.tar
		case $p in
		none) expect_refusal 'mayfly-unpack: No such file' ;;
		busybox) expect_refusal 'applet not found' ;;
		*) expect_refusal 'failed without saying why' ;;
		esac
		expect_no_staging
		[ "$(layers)" = 0 ] || fail 'a layer is left'
	done
	mv kept "$BIN/mayfly-unpack"
}

test_an_unpacker_that_lies_spoils_its_own_layer_at_most() {
	[ -x "$LIAR" ] || skip 'no unpack-liar was built'
	[ $top_as = zstd ] || skip 'no zstd here'
	fresh liar
	mv "$BIN/mayfly-unpack" kept
	cp "$LIAR" "$BIN/mayfly-unpack"
	for lie in more odd entries index names short words; do
		echo $lie >lie
		image import oci:lay:one
		case $lie in
		more) expect_refusal 'mayfly-unpack says .* and has written' ;;
		odd | entries) expect_refusal 'gives impossible sizes' ;;
		index) expect_refusal 'impossible sizes' ;;
		names) expect_refusal 'there are too many files in the image' ;;
		short) expect_refusal 'failed without saying why' ;;
		words) expect_refusal ': ?\[1m?\[1m' ;;
		esac
		expect_no_staging
		[ -z "$("$MAYFLY" image ls -q)" ] || fail "$lie: an image"
		[ "$(layers)" = 0 ] || [ $lie = index ] || fail "$lie: a layer"
		image prune
	done
	# The config of an image that is trusted, beside files of its own.
	pack top other.tar
	oci_sha base.tar >'diff'
	oci_begin evil
	cp base.tar packed.tar
	oci_layer evil packed.tar zstd
	oci_image evil one '"Cmd":["/bin/busybox"]'
	[ "$oci_config" = "$one" ] || fail 'another config'
	echo other >lie
	image import --name evil oci:evil
	expect_id "$one"
	cp kept "$BIN/mayfly-unpack"
	image import --name good oci:lay:one
	short=$(echo "$one" | cut -c 1-12)
	expect_words "mayfly: oci:lay:one: image $short is there, from other \
layers and with other files: one of the two is not what its config says
hint: if that one is not to be trusted: mayfly image rm $short"
	image rm "$short"
	image import --name good oci:lay:one
	expect_id "$one"
	mv kept "$BIN/mayfly-unpack"
}

test_an_archive_has_its_directory_for_a_root_without_landlock() {
	[ -x "$DENY" ] || skip 'no deny was built'
	fresh root
	mkfifo pipe
	"$DENY" landlock "$MAYFLY" image import oci-archive:- <pipe >"$out" \
		2>"$err" &
	pid=$!
	exec 9>pipe
	head -c 700000 base.tar >&9
	archive() { find "$MAYFLY_DATA_DIR/tmp" -path '*/archive/bin/*' | grep -q .; }
	wait_for 60 archive || fail 'it does not begin'
	child=$(cat /proc/$pid/task/$pid/children)
	root=$(readlink "/proc/${child% }/root")
	exec 9>&-
	wait $pid
	rm pipe
	case $root in
	"$MAYFLY_DATA_DIR"/tmp/*/archive) ;;
	/) unshare -U true 2>/dev/null && fail 'all paths are open' ;;
	*) fail "its root is $root" ;;
	esac
	expect_no_staging
}

# --- wrong usage ----------------------------------------------------------

# says WORDS ARG...
says() {
	words=$1
	shift
	start_raw "$@"
	expect_words "$words"
}

test_wrong_usage_is_told() {
	fresh usage
	says 'mayfly: image: no command
hint: `mayfly help image` lists them' image
	says 'mayfly: image imprt: unknown command
hint: did you mean mayfly image import?' image imprt
	says 'mayfly: image -q: unknown command
hint: `mayfly help image` lists the commands' image -q
	says 'mayfly: image lss: unknown command
hint: did you mean mayfly image ls?' help image lss
	says 'mayfly: help: takes one command' help image ls ls
	says 'mayfly: image ls: --quite: unknown option
hint: did you mean --quiet?' image ls --quite
	says 'mayfly: image ls: takes no name
hint: mayfly image inspect app' image ls app
	says 'mayfly: image ls: --format xml: must be table or json' \
		image ls --format xml
	says 'mayfly: image import: no source
hint: `mayfly help image import` lists them' image import
	says 'mayfly: image import: takes one source
hint: `mayfly help image import` lists them' image import oci:a oci:b
	says 'mayfly: image import: app.tar: not a source of images
hint: oci:DIR, oci-archive:FILE, docker-archive:FILE, tar:FILE or dir:DIR; '\
'`mayfly pull` takes one from a registry' \
		image import app.tar
	says 'mayfly: image import: oci:: no file is named' image import oci:
	says 'mayfly: image import: oci:lay:: the tag is empty' \
		image import oci:lay:
	says 'mayfly: image import: dir:-: standard input is no directory' \
		image import dir:-
	says 'mayfly: image import: --max-size 0: must be more than 0' \
		image import --max-size 0 tar:base.tar
	says 'mayfly: tar:nofile: open nofile: No such file or directory' \
		image import tar:nofile
	says 'mayfly: tar:.: .: Is a directory' image import tar:.
	says 'mayfly: dir:base.tar: open base.tar: Not a directory' \
		image import dir:base.tar
	says 'mayfly: oci:nodir: open nodir: No such file or directory' \
		image import oci:nodir
	says 'mayfly: oci:base: index.json: No such file or directory' \
		image import oci:base
	start_raw image import --name 'UPPER case' tar:base.tar
	expect_refusal 'UPPER case'
	start_raw image import oci:lay:nosuch
	expect_refusal nosuch
	start_raw image import oci:lay
	expect_refusal 'one, two\|two, one\|one two\|two one'
	says 'mayfly: image inspect: no image
hint: `mayfly image ls` lists them' image inspect
	says 'mayfly: image inspect: --format table: must be json' \
		image inspect --format table app
	says 'mayfly: image rm: no image
hint: `mayfly image ls` lists them' image rm
	says 'mayfly: image prune: takes no name
hint: mayfly image rm app' image prune app
	says 'mayfly: pull: no image
hint: mayfly pull [HOST/]NAME[:TAG]' pull
	says 'mayfly: pull: takes one image
hint: mayfly pull [HOST/]NAME[:TAG]' pull a b
	start_raw pull 'a b'
	expect_refusal 'a b'
	rm -rf "$MAYFLY_DATA_DIR"
	start_raw image rm nosuch
	expect_refusal nosuch
	[ ! -e "$MAYFLY_DATA_DIR" ] || fail 'looking for an image makes a store'
	MAYFLY_DATA_DIR=rel
	start_raw image ls
	expect_refusal MAYFLY_DATA_DIR
}

run_tests "$here/image_errors.sh"
