# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# gcc.sh PROGRAM.c FLAGS...: compile at each of these levels; what came out, by
# its hash, and what it does.
set -e
source=$1
shift
name=${source%.*}
for flags; do
	# shellcheck disable=SC2086 # several words
	case $source in
	*.cc) g++ $flags -o "$name" "c/$source" -lm ;;
	*) gcc $flags -D_GNU_SOURCE -o "$name" "c/$source" -lm ;;
	esac
	echo "$flags: $(sha256sum <"$name")"
	"./$name"
done
