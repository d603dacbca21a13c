#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# probes.sh BUILD HOST: everything that tests/jail/run.c tries, on this host or
# on one that allows less. HOST is one of
#
#	root		all layers
#	user		no root: user namespaces
#	subuid		no root, but newuidmap and a range of /etc/subuid
#	container	root of a user namespace with one user in it
#	bare		no root and no namespaces: clone3() is not known
#	bare-root	root, and no namespaces
#	nested		no root, and user.max_user_namespaces is 0
#
# Root can play all of them; others play user, bare, container and nested. TAP.
# root, user and bare sweep all system calls, unless SWEEP=0: the filters are the
# same everywhere.
set -eu
export LC_ALL=C
umask 022

build=$(cd "$1" && pwd)
host=$2
user=12345 name=mayfly-jail

skip() {
	echo "ok 1 - $host # SKIP $*"
	exit 0
}

# What a user can read, wherever the build directory is.
work=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-probes.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cp "$build/mayfly-vmm" "$build/tests/jail-run" "$build/tests/jail-probe" \
	"$build/tests/jail-as" "$build/tests/deny" "$work"
mkdir -m 1777 "$work/tmp"
chmod 755 "$work"
as="$work/jail-as $user"
if [ "$(id -u)" != 0 ]; then
	as=
	case $host in
	root | subuid | bare-root) skip 'it takes root' ;;
	esac
fi

private=
case $host in
root | user | bare) [ "${SWEEP:-1}" = 0 ] && sweep=-s || sweep= ;;
*) sweep=-s ;;
esac
# run MISSING [COMMAND...]: the probes, where the command lets them run.
run() {
	missing=$1
	shift
	"$@" env "TMPDIR=$work/tmp" "$work/jail-run" $private $sweep \
		${missing:+-m "$missing"} "$work/jail-probe" "$work/mayfly-vmm"
}

# This host may allow as little as the one to be played.
possible() {
	"$@" true 2>/dev/null || skip "unshare: no user namespaces here"
}

# A user with a name and with subordinate ones, for this script alone.
add_user() {
	command -v newuidmap >/dev/null || skip 'no newuidmap (package uidmap)'
	cp /etc/passwd "$work/passwd"
	echo "$name:x:$user:$user::/:/bin/sh" >>"$work/passwd"
	echo "$name:1800000000:65536" >"$work/sub"
	for f in subuid subgid; do
		[ -e "/etc/$f" ] || skip "no /etc/$f"
		mount --bind "$work/sub" "/etc/$f"
	done
	mount --bind "$work/passwd" /etc/passwd
}

# shellcheck disable=SC2086 # $as is words
case $host in
root)	run '' ;;
user)	possible $as unshare -U
	run own_uid $as ;;
subuid)	if [ -z "${PRIVATE:-}" ]; then
		rm -rf "$work"
		PRIVATE=1 exec unshare -m "$0" "$@"
	fi
	add_user
	possible $as unshare -U
	run '' $as ;;
container)
	possible $as unshare -Ur
	run own_uid $as unshare -Ur ;;
bare)	run namespaces,empty_root,own_uid $as "$work/deny" namespaces ;;
bare-root)
	private=-p
	run namespaces,empty_root unshare -mui "$work/deny" namespaces ;;
nested)	possible $as unshare -Uc --keep-caps
	run namespaces,empty_root,own_uid $as unshare -Uc --keep-caps sh -c '
		echo 0 >/proc/sys/user/max_user_namespaces &&
		exec setpriv --inh-caps -all --ambient-caps -all "$@"' sh ;;
*)	echo "probes.sh: no host is called $host" >&2
	exit 2 ;;
esac
