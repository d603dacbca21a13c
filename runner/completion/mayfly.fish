# SPDX-License-Identifier: Apache-2.0
#
# Completion for fish: what does not depend on the tables. cmd_completion.c
# prints the rest after it.

function __mayfly_is # COMMAND: its options may stand here
	set -l w (commandline -opc)
	set -q w[2]; and test $w[2] = $argv[1]; and not contains -- -- $w
end

function __mayfly_names
	mayfly completion names 2>/dev/null
end

function __mayfly_paths
	for n in (__mayfly_names)
		echo $n:
	end
end

complete -c mayfly -f
