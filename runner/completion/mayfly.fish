# SPDX-License-Identifier: Apache-2.0
#
# Completion for fish: what does not depend on the tables. cmd_completion.c
# prints the rest after it.

function __mayfly_is # COMMAND: its options may stand here
	set -l w (commandline -opc)
	set -l n (math (count $argv) + 1)
	set -q w[$n]; and test "$w[2..$n]" = "$argv"; and not contains -- -- $w
end

function __mayfly_in # COMMAND: one of its commands may stand here
	set -l w (commandline -opc)
	test (count $w) = 2; and test $w[2] = $argv[1]
end

function __mayfly_names
	mayfly completion names 2>/dev/null
end

function __mayfly_paths
	for n in (__mayfly_names)
		echo $n:
	end
end

function __mayfly_images
	mayfly completion images 2>/dev/null
end

function __mayfly_sources
	printf '%s\n' oci: oci-archive: docker-archive: tar: dir:
end

complete -c mayfly -f
