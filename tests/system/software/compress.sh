# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# compress.sh: round trips through each compressor at several levels, of text,
# of a program, and of what cannot be compressed.
set -eu
seq 1 90000 >text
head -c 700000 /usr/bin/bash >program
openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>/dev/null |
	head -c 300000 >noise || :

round() {
	for f in text program noise; do
		"$@" -c "$f" >packed
		"$1" -dc packed >unpacked
		cmp "$f" unpacked
		echo "$* $f $(sha256sum <packed)"
	done
}

round gzip -n -1
round gzip -n -6
round gzip -n -9
round xz -1
round xz -6
round xz -6 --x86 --lzma2 --check=sha256
round zstd -q -1
round zstd -q -6
round zstd -q -15
round zstd -q --fast=3
round bzip2 -9
tar -cf - text program | zstd -q -3 -T1 | zstd -qd | tar -tvf - | awk '{ print $3, $6 }'
for f in text program; do
	zstd -q -t <(zstd -qc "$f") && xz -t <(xz -2c "$f") && gzip -t <(gzip -c "$f")
	# A flipped bit is found.
	gzip -nc "$f" | { head -c 5000; head -c 1 >/dev/null; printf x; cat; } |
		gzip -t 2>&1 | sed 's/.*: //'
done
