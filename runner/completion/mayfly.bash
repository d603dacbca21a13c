# SPDX-License-Identifier: Apache-2.0
#
# Completion for bash: what does not depend on the tables. cmd_completion.c
# prints the rest before it. COMP_WORDS is parted at = and : as well, so the
# line is put together again; what we reply replaces the last of these parts.

_mayfly_offer() # KIND WORD [PREFIX]
{
	case $1 in
	-) ;;
	FILE)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -P "${3-}" -f -- "$2") ;;
	NAME)
		mapfile -t COMPREPLY < <(compgen -W \
			"$("${words[0]}" completion names 2>/dev/null)" -- "$2") ;;
	PATH)
		compopt -o filenames -o nospace
		mapfile -t COMPREPLY < <(compgen -S : -W \
			"$("${words[0]}" completion names 2>/dev/null)" -- "$2"
			compgen -f -- "$2") ;;
	IMAGE)
		mapfile -t COMPREPLY < <(compgen -W \
			"$("${words[0]}" completion images 2>/dev/null)" -- "$2"
			) ;;
	SOURCE)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "oci: oci-archive: \
			docker-archive: tar: dir:" -- "$2") ;;
	COMMAND)
		mapfile -t COMPREPLY < <(compgen -W "$_mayfly_commands" \
			-- "$2") ;;
	*)
		mapfile -t COMPREPLY < <(compgen -P "${3-}" -W "${1//|/ }" \
			-- "$2") ;;
	esac
}

_mayfly_words() # the line up to the cursor, parted at blanks only
{
	local line=$COMP_LINE i
	words=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		if ((i == 0)) || [[ $line == [[:blank:]]* ]]; then
			line=${line#"${line%%[![:blank:]]*}"}
			words+=("${COMP_WORDS[i]}")
		else
			words[-1]+=${COMP_WORDS[i]}
		fi
		line=${line#"${COMP_WORDS[i]}"}
	done
}

_mayfly()
{
	local words REPLY cmd word cur i=2 j want= operands=0 dashes=
	COMPREPLY=()
	_mayfly_words
	cur=${words[-1]} cmd=${words[1]}
	if ((${#words[@]} < 3)); then
		_mayfly_offer "${_mayfly_commands// /|}|--help|--version" "$cur"
		return
	fi
	if _mayfly_group "$cmd"; then
		if ((${#words[@]} < 4)); then
			_mayfly_offer "${REPLY// /|}|--help" "$cur"
			return
		fi
		cmd="$cmd ${words[2]}" i=3
	fi
	for (( ; i < ${#words[@]} - 1; i++)); do
		word=${words[i]}
		if [[ $want ]]; then
			want=
		elif [[ $dashes || $word == - || $word != -* ]]; then
			((operands++))
			_mayfly_mixed "$cmd" || dashes=1
		elif [[ $word == -- ]]; then
			dashes=1
		elif [[ $word == --* ]]; then
			_mayfly_argument "$cmd:$word" && want=$REPLY
		else
			for ((j = 1; j < ${#word}; j++)); do
				_mayfly_argument "$cmd:-${word:j:1}" || continue
				((j < ${#word} - 1)) || want=$REPLY
				break
			done
		fi
	done
	if [[ $want ]]; then
		_mayfly_offer "$want" "$cur"
	elif [[ ! $dashes && $cur == --*=* ]]; then
		_mayfly_argument "$cmd:${cur%%=*}" || return
		word=
		[[ ${COMP_WORDS[COMP_CWORD]} != -* ]] || word=${cur%%=*}=
		_mayfly_offer "$REPLY" "${cur#*=}" "$word"
	elif [[ ! $dashes && $cur == -* ]]; then
		_mayfly_options "$cmd"
		mapfile -t COMPREPLY < <(compgen -W "$REPLY" -- "$cur")
	else
		_mayfly_operands "$cmd" "$operands"
		case $REPLY in
		IMAGE)
			# What stands before the last colon is not replaced.
			_mayfly_offer IMAGE "$cur"
			[[ $cur != *:* ]] ||
				COMPREPLY=("${COMPREPLY[@]#"${cur%:*}:"}") ;;
		SOURCE)
			if [[ $cur == *:* ]]; then
				_mayfly_offer FILE "${cur#*:}"
			else
				_mayfly_offer SOURCE "$cur"
			fi ;;
		*) [[ $cur == *:* ]] || _mayfly_offer "$REPLY" "$cur" ;;
		esac
	fi
}

complete -F _mayfly mayfly
