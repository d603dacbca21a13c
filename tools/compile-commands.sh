#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# compile-commands.sh: make's dry run on stdin, compile_commands.json on
# stdout. Commands that compile C have `-c -o OBJECT FILE.c` at their end.
set -eu

awk -v dir="$(pwd)" '
/ -c -o [^ ]+ [^ ]+\.c$/ && !seen[$NF]++ {
	command = $0
	gsub(/[\\"]/, "\\\\&", command)
	printf "%s\n  { \"directory\": \"%s\", \"file\": \"%s\",\n" \
		"    \"command\": \"%s\" }", n++ ? "," : "[", dir, $NF, command
}
END { print n ? "\n]" : "[]" }'
