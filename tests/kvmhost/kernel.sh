#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# kernel.sh: print the directory that holds Debian's stock kernel as the
# KVM host needs it: vmlinuz, and below lib/modules those modules that make
# /dev/kvm and networks, with what modprobe wants to know of them. Taken from
# the package once, kept in the cache by its version.
set -eu
umask 022
export LC_ALL=C

cache=${MAYFLY_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mayfly}/kvmhost
kvm='virt/lib/irqbypass.ko arch/x86/kvm/kvm.ko
	drivers/crypto/ccp/ccp.ko arch/x86/kvm/kvm-amd.ko'
# All of nftables: which parts a ruleset takes is for the kernel to find out.
net='drivers/net/tun.ko drivers/net/veth.ko lib/libcrc32c.ko
	crypto/crc32c_generic.ko net/netfilter/nf*.ko
	net/ipv4/netfilter/nf*.ko net/ipv6/netfilter/nf*.ko'

die() {
	echo "tests/kvmhost/kernel.sh: $*" >&2
	exit 1
}

package=$(apt-cache depends linux-image-amd64 2>/dev/null |
	sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] || die "apt knows no linux-image-amd64; run apt-get update"
version=$(apt-cache show "$package" | sed -n 's/^Version: //p' | head -n 1)
out=$cache/$package-$version-net

if [ ! -e "$out/vmlinuz" ]; then
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/new.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package" >&2) ||
		die "cannot download $package"
	dpkg-deb -x "$work"/*.deb "$work/x"
	mkdir "$work/done"
	release=$(basename "$work"/x/lib/modules/*)
	(
		cd "$work/x" || exit 1
		for m in $kvm $net; do
			# shellcheck disable=SC2086 # some are patterns
			cp --parents lib/modules/"$release"/kernel/$m "$work/done/" ||
				die "$package has no $m"
		done
	)
	busybox depmod -b "$work/done" "$release" || die 'depmod'
	cp "$work"/x/boot/vmlinuz-* "$work/done/vmlinuz"
	# Another one may have been faster: then its result is as good.
	mv -T "$work/done" "$out" 2>/dev/null || [ -e "$out/vmlinuz" ]
fi
echo "$out"
