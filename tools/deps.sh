#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh SET...: install the Debian packages of these sets that are missing,
# naming each. Sets: build (also what the guest is made of), check, bench, lint,
# package, software.
# With nothing missing it is silent and takes a few hundredths of a second.
set -eu
export LC_ALL=C

# A compiler for the host and one for the guest's agent; the launcher's
# libraries; libseccomp, which makes filters at build time; libarchive and
# nettle, for images; libnl, for networks; the tools of the two disk images; the
# guest kernel's source and what its build runs.
build='gcc libc6-dev make musl-tools libcap-dev libjansson-dev libseccomp-dev
	libarchive-dev nettle-dev libnl-3-dev libnl-route-3-dev
	busybox-static erofs-utils e2fsprogs
	linux-source-6.12 flex bison bc libelf-dev xz-utils'
# The test framework, the decoder's oracle, the machine with real KVM, the
# fuzzer, which is clang's, who reads completions and manual pages, and
# newuidmap, which gives a VM a user of its own without root; what makes a
# distribution's image; what copies images, a registry of them and its password;
# networks, and who looks at their packets.
check='libcriterion-dev libzydis-dev qemu-system-x86 cpio
	clang libclang-rt-dev zsh fish mandoc uidmap mmdebstrap
	skopeo docker-registry apache2-utils zstd bzip2 python3
	nftables passt iproute2 iptables dnsmasq-base iputils-ping tcpdump'
bench='python3 qemu-system-x86 bubblewrap squashfs-tools-ng genext2fs fio
	nftables iproute2 iperf3 iputils-ping'
lint='clang-format clang-tidy cppcheck'
package='lintian'
# What makes a distribution's root; npm may have come with Node.js itself.
software=mmdebstrap
command -v npm >/dev/null || software="$software npm"

die() {
	echo "mayfly: $*" >&2
	exit 1
}

wanted=
for set in "$@"; do
	case $set in
	build) wanted="$wanted $build" ;;
	check) wanted="$wanted $check" ;;
	bench) wanted="$wanted $bench" ;;
	lint) wanted="$wanted $lint" ;;
	package) wanted="$wanted $package" ;;
	software) wanted="$wanted $software" ;;
	*) die "deps.sh: no set of packages is called $set" ;;
	esac
done
wanted=$(echo $wanted)

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
	die "no apt here: install these or their like, then run make: $wanted"

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted \
	2>/dev/null | sed -n 's/^installed //p') || :
missing=
for p in $wanted; do
	case "
$installed
" in
	*"
$p
"*) ;;
	*) missing="$missing $p" ;;
	esac
done
missing=$(echo $missing)

# Tests take two kernels out of their packages, without installing them.
lists=true
case " $* " in
*' check '*) ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || lists= ;;
esac
[ -n "$missing" ] || [ -z "$lists" ] || exit 0

remedy="as root, apt-get update${missing:+ && apt-get install $missing}"

# No terminal, no password: sudo must not wait for one.
as_root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null ||
		die "this is not root, and there is no sudo: $remedy"
	as_root=sudo
	[ -t 0 ] || as_root='sudo -n'
	$as_root true ||
		die "this is not root, and sudo does not let us: $remedy"
fi

log=$(mktemp "${TMPDIR:-/tmp}/mayfly-deps.XXXXXX")
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM HUP

# apt's own words go to the log. What is seen is a line for each package that
# was asked for and, on a terminal, one that says what apt does just now.
transient() {
	[ ! -t 2 ] || printf '\r\033[K%.79s' "$1" >&2
}
show() {
	while IFS= read -r line; do
		printf '%s\n' "$line" >>"$log"
		case $line in
		'Setting up '*)
			p=${line#Setting up } p=${p%% *} p=${p%%:*}
			case " $missing " in
			*" $p "*) transient ''; printf '  %-7s %s\n' APT "$p" ;;
			*) transient "  APT     ($p)" ;;
			esac ;;
		Get:*) transient "  GET     ${line#Get:* * }" ;;
		esac
	done
	transient ''
}
apt() {
	if { $as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -y -o DPkg::Lock::Timeout=300 "$@" </dev/null 2>&1 ||
		echo 'apt-get: failed'; } | show &&
		[ "$(tail -n 1 "$log")" != 'apt-get: failed' ]; then
		return
	fi
	cat "$log" >&2
	die "apt-get $1 failed, see above; to try by hand: $remedy"
}

[ -n "$missing" ] ||
	echo 'mayfly: fetching the package lists, which tests look kernels up in'
[ -z "$missing" ] ||
	echo "mayfly: installing $(echo $missing | wc -w) packages, with what they need: $missing"
apt update
[ -z "$missing" ] || apt install --no-install-recommends $missing
