# SPDX-License-Identifier: Apache-2.0
#
# Completion for zsh: what does not depend on the tables. cmd_completion.c
# prints the rest before it.

_mayfly_names()
{
	local -a names
	names=(${(f)"$(mayfly completion names 2>/dev/null)"})
	compadd "$@" -a names
}

_mayfly_paths()
{
	[[ $PREFIX != *:* ]] || return 1
	_mayfly_names -qS :
	_files
}

if [ "$funcstack[1]" = _mayfly ]; then
	_mayfly "$@"
else
	compdef _mayfly mayfly
fi
