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

_mayfly_images()
{
	local -a names
	names=(${(f)"$(mayfly completion images 2>/dev/null)"})
	compadd "$@" -a names
}

_mayfly_sources()
{
	if compset -P '*:'; then
		_files
	else
		compadd -qS : oci oci-archive docker-archive tar dir
	fi
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
