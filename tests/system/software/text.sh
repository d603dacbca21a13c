# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# text.sh sort|numbers: coreutils, awk and bc on a million lines, and on numbers of
# a thousand digits.
set -eu

lines() {
	awk -v n="$1" 'BEGIN { x = 42; for (i = 0; i < n; i++) {
		x = (x * 1103515245 + 12345) % 2147483648
		print x, i } }'
}

sorts() {
	lines 1000000 >lines
	sha256sum lines
	sort -S 200M lines | sha256sum
	head -n 50000 lines >some
	sort -S 1M -n some | sha256sum
	sort -k1,1r -s -u some | sha256sum
	LC_ALL=C.UTF-8 sort -g some | tail -n 2
	cut -d ' ' -f 1 some | tr 0-9 a-j | uniq -c | sort -rn | head -n 3
	join <(sort -k1b,1 some) <(head -n 5000 some | sort -k1b,1) | md5sum
	grep -c '7.*7.*7' some
	grep -E -o '[13579]{6,}' some | sort | uniq -c | sort -k1nr -k2 | head -n 5
	sed -E 's/([0-9])([0-9])/\2\1/g; y/123/abc/' some | cksum
	split -l 9999 some part. && cat part.* | cmp - some
	comm -12 <(sort part.aa) <(sort some) | wc
	paste -d, part.aa part.ab | fold -w 30 | nl | tail -n 1
	tac some | rev | shuf --random-source=lines | b2sum
	od -An -tx2f8 -N 4096 lines | cksum
	seq -f %.2f 0 0.01 20 | cksum
	seq 1000000 1002000 | factor | cksum
	factor 18446744073709551557 1000000016000000063
}

numbers() {
	echo 'scale=500; 4*a(1); e(1); sqrt(2); l(2); s(1)' | bc -l
	echo '2^4000 % (10^50+7); x=1; for(i=1;i<=300;i++) x*=i; x; obase=16; x' |
		bc
	gawk -M -v PREC=1000 'BEGIN { printf "%.280f\n", atan2(0, -1)
		print 3^1000 % 1000003, 2^0.5 }'
	gawk 'BEGIN { for (i = 1; i < 200000; i++) { s += sin(i) * sqrt(i)
		h[i % 997] += i }; n = asort(h); printf "%.15g %d %d\n", s, n, h[5]
		print substr("hello", 2, 3), toupper("x"), sprintf("%c%5.2f", 65, 2.5)
		split("a:b:c", p, ":"); print p[3], length(p), index("abc", "c") }'
	lines 20000 | gawk '{ c[$1 % 13]++; gsub(/[0-4]/, "<&>"); l += length }
		END { for (i = 0; i < 13; i++) printf "%d ", c[i]; print l }'
}

case $1 in
sort) sorts ;;
numbers) numbers ;;
esac
