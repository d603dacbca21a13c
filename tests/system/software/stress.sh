# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# stress.sh STRESSOR METHOD...: stress-ng's methods, each for one operation,
# which checks its own results. `stress.sh each`: stressors that have few
# methods, or that one operation is enough for.
set -u

stress() {
	stress-ng -q --no-rand-seed --vm-bytes 4m --mmap-bytes 4m \
		--verify "$@"
	echo "$*: $?"
}

each() {
	for f in bool uint8 uint16 uint32 uint64 uint128 float double \
		longdouble float80 float128 cfloat cdouble clongdouble \
		decimal32 decimal64 decimal128; do
		stress --funccall 1 --funccall-method "$f" --funccall-ops 1
	done
	for f in uint8 uint128 double longdouble float128 decimal64 \
		uint8x128 uint64x128; do
		stress --funcret 1 --funcret-method "$f" --funcret-ops 1
	done
	for s in str wcs hash memcpy; do
		stress --$s 1 --$s-ops 1
	done
	for s in vecmath vecwide vecshuf vecfp malloc stack mmap \
		memthrash matrix atomic bsearch qsort radixsort heapsort \
		mergesort longjmp sigfpe sigsegv sigtrap sigq fork pipe switch \
		nop; do
		stress --$s 1 --$s-ops 1
	done
}

if [ "$1" = each ]; then
	each
	exit 0
fi
stressor=$1
shift
for m; do
	stress --"$stressor" 1 --"$stressor-method" "$m" --"$stressor-ops" 1
done
