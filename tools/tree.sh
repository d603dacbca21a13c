#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tree.sh: hold what runner/DESIGN.md says of the source tree. TAP on stdout.
#
#   - includes point one way, by the table below
#   - a file has at most 700 lines
#   - a source file opens with its licence
#   - lines are indented by tabs, end where they end, and have at most 100
#     columns (80 wherever that reads no worse)
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."

# Directory, then what its files may include besides their own directory.
# jail, net and rootfs know nothing of each other, nor of the VMM. A line that
# begins with a blank goes on.
layers='
runner/base
jail		runner/base/
net		runner/base/
rootfs		runner/base/
rootfs/agent	rootfs/wire.h rootfs/tree.h rootfs/relay.h
runner/disk	runner/base/
runner/engine	runner/base/ runner/vmm/gmem.h
runner/engine/soft runner/base/ runner/vmm/gmem.h runner/engine/engine.h
		runner/x86/cpuid.h
runner/x86	runner/base/ runner/vmm/gmem.h runner/vmm/bus.h
		runner/engine/engine.h
runner/dev	runner/base/ runner/x86/
runner/virtio	runner/base/ runner/vmm/gmem.h runner/disk/
runner/unpack	runner/base/ jail/lock.h rootfs/
runner/net	runner/base/ jail/lock.h jail/layers.h jail/caps.h net/
runner/vmm	runner/base/ runner/x86/ runner/dev/ runner/virtio/
		runner/engine/engine.h jail/lock.h jail/layers.h
runner		runner/base/ jail/ net/ rootfs/wire.h rootfs/tree.h rootfs/relay.h runner/vmm/ctl.h
		runner/vmm/gmem.h runner/engine/engine.h runner/engine/probe.h
		rootfs/reference.h rootfs/oci.h rootfs/image.h rootfs/store.h
		rootfs/unpack.h rootfs/layer.h
'

sources() {
	find runner jail net rootfs tests tools kernel-config .ci -type f \
		\( -name '*.[chS]' -o -name '*.sh' -o -path .ci/run \) \
		2>/dev/null | sort
}

# One TAP line: $1 a name, $2 the offenders, of which there should be none.
n=0 bad=0
expect_none() {
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
		return
	fi
	echo "not ok $n - $1"
	echo "$2" | sed 's/^/# /'
	bad=1
}

against_layers() {
	find runner jail net rootfs -name '*.[chS]' 2>/dev/null | sort |
	xargs awk -v layers="$layers" '
	BEGIN {
		rows = split(layers, row, "\n")
		for (i = 1; i <= rows; i++) {
			fields = split(row[i], f)
			if (row[i] ~ /^[^ \t]/)
				layer = f[1]
			for (j = 1; j <= fields; j++)
				may[layer] = may[layer] " " f[j]
		}
	}
	FNR == 1 {
		dir = FILENAME
		sub("/[^/]*$", "", dir)
		if (!(dir in may))
			print FILENAME ": no layer is known for " dir
	}
	/^#include "/ {
		split($0, q, "\"")
		inc = q[2]
		own = inc
		sub("/[^/]*$", "", own)
		n = split(may[dir], f, " ")
		ok = own == dir
		for (j = 2; j <= n; j++)
			if (f[j] == inc ||
			    (f[j] ~ "/$" && index(inc, f[j]) == 1))
				ok = 1
		if (!ok)
			print FILENAME ":" FNR ": includes " inc
	}'
}

too_long() {
	sources | xargs awk 'FNR == 701 { print FILENAME ": more than 700 lines" }'
}

unlicensed() {
	sources | xargs awk '
	FNR == 1 { name[++files] = FILENAME }
	FNR <= 2 && /SPDX-License-Identifier: Apache-2.0/ { has[FILENAME] = 1 }
	END {
		for (i = 1; i <= files; i++)
			if (!(name[i] in has))
				print name[i] ": no SPDX line"
	}'
}

too_wide() {
	sources | while read -r f; do
		expand "$f" | awk -v f="$f" '
		length > 100 { print f ":" NR ": " length " columns" }'
	done
}

bad_blanks() {
	sources | xargs grep -nE '[ 	]$|^        [^ ].*[^\\]$' || :
}

expect_none 'includes point one way' "$(against_layers)"
expect_none 'no file has more than 700 lines' "$(too_long)"
expect_none 'every source names its licence' "$(unlicensed)"
expect_none 'no line has more than 100 columns' "$(too_wide)"
expect_none 'tabs indent, and nothing trails' "$(bad_blanks)"
echo "1..$n"
exit $bad
