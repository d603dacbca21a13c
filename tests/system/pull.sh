#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# pull.sh MAYFLY ENGINE [TEST...]: images from a registry, Debian's, on
# loopback and with a password. TAP on stdout. LIMIT (60 s) is the longest for
# one command.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/image_lib.sh
. "$here/image_lib.sh"

setup "$1"
begin "$2"
shift 2
ONLY=$*

# --- a registry -----------------------------------------------------------

# Debian's, on loopback, with a password.
registry_begin() {
	cat >registry.yml <<-END
		version: 0.1
		storage: {filesystem: {rootdirectory: $WORK/registry}}
		auth: {htpasswd: {realm: here, path: $WORK/htpasswd}}
		http: {addr: "127.0.0.1:0", secret: x}
	END
	htpasswd -Bbc htpasswd alice secret 2>/dev/null
	docker-registry serve registry.yml >registry.log 2>&1 &
	registry_pid=$!
	wait_for 60 grep -q 'listening on' registry.log || return 1
	port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' registry.log)
	R=127.0.0.1:$port
	REGISTRY_AUTH_FILE=$WORK/auth.json skopeo login --tls-verify=false \
		-u alice -p secret "$R" >/dev/null 2>&1 &&
		for i in one two; do
			REGISTRY_AUTH_FILE=$WORK/auth.json skopeo copy -q \
				--dest-tls-verify=false --dest-compress=false \
				"oci:lay:$i" "docker://$R/test/app:$i" || return 1
		done
}

registry() {
	[ "${R:-}" ] || skip "$no_registry"
	export REGISTRY_AUTH_FILE=$WORK/${1:-auth.json}
}

pull() {
	start_raw pull "$@"
}

test_an_image_is_pulled_with_a_password() {
	registry
	fresh pull
	pull --insecure "$R/test/app:two"
	expect_id
	disk "$R/test/app:two"
	[ "$(cat tree/etc/one)" = changed ] || fail 'it is another'
	image inspect "$R/test/app:two"
	grep -q "\"source\": \"docker://$R/test/app:two\"" "$out" ||
		fail 'no source'
	expect_no_staging
}

test_layers_that_are_there_are_not_fetched() {
	registry
	fresh again
	pull --insecure "$R/test/app:one"
	expect_id
	: >registry.log
	pull --insecure "docker://$R/test/app:two"
	expect_id
	disk "$R/test/app:two"
	# Two layers and the config; then the config only. What it has served it
	# may write down later.
	wait_for 60 some_fetched 3
	first=$(blobs_fetched)
	: >registry.log
	pull --insecure "$R/test/app:two"
	expect_id "$id"
	wait_for 60 some_fetched 1
	again=$(blobs_fetched)
	[ "$first $again" = '3 1' ] || fail "fetched: $first, then $again"
}

blobs_fetched() {
	grep -a 'response completed' registry.log |
		grep -a 'http.request.method=GET' |
		grep -a 'http.response.status=200' | grep -ac /blobs/
}

some_fetched() {
	[ "$(blobs_fetched)" -ge "$1" ]
}

test_a_pull_that_cannot_be_kept_is_not_begun() {
	fresh "a:b"
	pull --insecure 127.0.0.1:1/app
	expect_words "mayfly: image store W/data.$$.a:b: skopeo takes no path with a colon
hint: name another place: MAYFLY_DATA_DIR=/path"
	[ ! -e "$WORK/data.$$.a" ] || fail 'it wrote beside the store'
	fresh long
	part=$(printf %0100d 0)
	pull "host.example/$part/$part/x:$part"
	expect_refusal 'too long to keep'
	expect_err '^hint: skopeo copy docker://... oci:DIR, and mayfly image import'
}

# What skopeo writes may have no end: of a registry that sends other than it said.
test_a_pull_that_is_too_large_is_ended() {
	fresh endless
	mkdir -p fake
	cat >fake/skopeo <<-'END'
		#!/bin/sh
		for to; do :; done
		to=${to#oci:}
		head -c 80000000 /dev/zero >"${to%:latest}/$where"
		sleep 60
	END
	chmod +x fake/skopeo
	for where in oci-put-blob1 blobs/sha256/1; do
		rc=0
		PATH=$WORK/fake:$PATH where=$where "$MAYFLY" pull --max-size 1m \
			host.example/app >"$out" 2>"$err" || rc=$?
		expect_words 'mayfly: host.example/app: larger than 1048576 bytes, '\
'and there is more
hint: --max-size SIZE takes a larger one'
	done
}

test_a_pull_that_fails_says_why() {
	registry
	fresh why
	pull --insecure "$R/test/app:none"
	expect_words "mayfly: $R/test/app:none: $R has no such image
hint: skopeo list-tags --tls-verify=false docker://$R/test/app"
	pull "$R/test/app:two"
	expect_words "mayfly: $R/test/app:two: no TLS with $R: server gave HTTP "\
"response to HTTPS client
hint: --insecure, if you trust it and the network all the same"
	registry nobody.json
	pull --insecure "$R/test/app:two"
	expect_words "mayfly: $R/test/app:two: $R refuses access: authentication required
hint: if it is there and wants a password: skopeo login --tls-verify=false $R"
	printf '{"auths":{"%s":{"auth":"%s"}}}' "$R" \
		"$(printf alice:wrong | base64)" >wrong.json
	registry wrong.json
	pull --insecure "$R/test/app:two"
	expect_refusal 'refuses access: authentication required'
	pull --insecure 127.0.0.1:1/app
	expect_words "mayfly: 127.0.0.1:1/app:latest: cannot reach 127.0.0.1:1: connection refused
hint: is the network up? A proxy is named by HTTPS_PROXY"
}

test_what_a_registry_has_damaged_is_refused() {
	registry
	fresh spoilt
	d=$(find registry -path "*/sha256/*/$(blob 1)/data")
	[ "$d" ] || fail 'the registry keeps blobs elsewhere'
	cp "$d" kept
	flip "$d"
	pull --insecure "$R/test/app:two"
	cp kept "$d"
	expect_refusal 'test/app:two'
	expect_no_staging
	[ -z "$("$MAYFLY" image ls -q)" ] || fail 'there is an image'
}

# A registry that takes the question and never answers.
test_an_interrupted_pull_leaves_nothing() {
	command -v skopeo >/dev/null || skip 'no skopeo here'
	registry
	fresh int
	# It stops where it is.
	kill -STOP "$registry_pid"
	for s in INT:2 TERM:15 KILL:9; do
		env --default-signal=INT "$MAYFLY" pull --insecure \
			"$R/test/app:two" >"$out" 2>"$err" &
		pid=$!
		asks() { pgrep -P $pid -x skopeo >/dev/null; }
		wait_for 60 asks || break
		child=$(pgrep -P $pid -x skopeo)
		kill -"${s%:*}" $pid
		rc=0
		wait $pid || rc=$?
		gone() { ! kill -0 "$child" 2>/dev/null; }
		wait_for 60 gone || break
		[ "$s" = KILL:9 ] || [ -z "$(ls -A "$MAYFLY_DATA_DIR/tmp")" ] ||
			break
		[ $rc = $((128 + ${s#*:})) ] || break
		s=
	done
	kill -CONT "$registry_pid"
	[ -z "$s" ] || fail "$s: exit code $rc, $(ls -A "$MAYFLY_DATA_DIR/tmp")"
	"$MAYFLY" image prune >"$out" 2>"$err"
	grep -q '^1 unfinished import removed' "$out" || fail 'nothing to prune'
	expect_no_staging
}

test_without_skopeo_the_package_is_named() {
	mkdir -p nothing
	rc=0
	PATH=$WORK/nothing "$MAYFLY" pull debian >"$out" 2>"$err" || rc=$?
	expect_words 'mayfly: pull: skopeo is not installed, which fetches images
hint: apt install skopeo'
}

# --- all of it --------------------------------------------------------------

registry_pid=
no_registry=
for p in docker-registry htpasswd skopeo; do
	command -v $p >/dev/null || no_registry="no $p here"
done
[ "$no_registry" ] || registry_begin || no_registry='the registry does not start'
[ -z "$no_registry" ] || R=
trap '[ -z "$registry_pid" ] || kill $registry_pid; cleanup' EXIT
run_tests "$here/pull.sh"
