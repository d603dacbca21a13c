#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# completion.sh MAYFLY: the completion scripts load in their shells and offer
# what the tables say. bash is driven as readline drives it, fish by itself.
# TAP on stdout.
set -u

dir=$(cd "$(dirname "$1")" && pwd) || exit 2
PATH=$dir:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-completion.XXXXXX")
export MAYFLY_STATE_DIR=$work/state MAYFLY_DATA_DIR=$work/data
trap '"$dir/mayfly" rm -f web >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
n=0 bad=0

ok() { # NAME WANTED GOT
	n=$((n + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "# wanted: ${2//$'\n'/ }"
		echo "# got:    ${3//$'\n'/ }"
		bad=1
	fi
}

for shell in bash zsh fish; do
	mayfly completion $shell >"$work/$shell"
	if ! command -v $shell >/dev/null; then
		n=$((n + 1))
		echo "ok $n - $shell reads its script # SKIP no $shell here"
		continue
	fi
	ok "$shell reads its script" '' "$($shell -n "$work/$shell" 2>&1)"
done
if command -v zsh >/dev/null; then
	ok 'zsh takes the script from a file and from a pipe' '_mayfly _mayfly' \
		"$(cd "$work" && mkdir -p fpath && cp zsh fpath/_mayfly &&
			zsh -fc 'fpath=($PWD/fpath $fpath); autoload -U compinit
			compinit -D; print -n "$_comps[mayfly] "
			_comps[mayfly]=; . ./zsh; print "$_comps[mayfly]"' 2>&1)"
fi

# --- bash ---------------------------------------------------------------

. "$work/bash"
compopt() { :; } # only readline may call it

# offers LINE: what bash would offer at its end, sorted.
offers() {
	COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
	local i c word='' parts=()
	for ((i = 0; i < ${#1}; i++)); do
		c=${1:i:1}
		case $c in
		[=:]) [ -z "$word" ] || parts+=("$word"); parts+=("$c") word= ;;
		' ') [ -z "$word" ] || parts+=("$word"); word= ;;
		*) word+=$c ;;
		esac
	done
	case $1 in
	*[=:]) ;;
	*) parts+=("$word") ;;
	esac
	COMP_WORDS=("${parts[@]}") COMP_CWORD=$((${#parts[@]} - 1))
	_mayfly
	printf '%s\n' "${COMPREPLY[@]}" | sort
}

cd "$work"
mkdir room
cd room
mkdir images
touch vmlinux 'a file'

listed=$(mayfly help | sed -n 's/^  \([a-z]*\) .*/\1/p')
ok 'every command of help is offered' \
	"$(printf '%s\n' --help --version $listed | sort)" "$(offers 'mayfly ')"
ok 'a command is completed' run "$(offers 'mayfly ru')"
for c in $listed; do
	want=$(mayfly help "$c" | grep -oE '^  (-.,|   ) --[a-z-]+' |
		grep -oE -- '--?[a-z-]+' | cat - <(echo --help) | sort)
	ok "all options of $c are offered" "$want" "$(offers "mayfly $c -")"
done
ok 'an option is completed' --memory "$(offers 'mayfly run -i --mem')"
ok 'choices after a blank' "$(printf 'auto\nkvm\nsoft')" \
	"$(offers 'mayfly boot --engine ')"
ok 'choices after =' "$(printf 'auto\nkvm\nsoft')" \
	"$(offers 'mayfly boot --engine=')"
ok 'the beginning of a choice after =' soft \
	"$(offers 'mayfly boot --engine=s')"
ok 'files for FILE' "$(printf 'a file\nimages\nvmlinux')" \
	"$(offers 'mayfly run --kernel ')"
ok 'a file after =' vmlinux "$(offers 'mayfly run --kernel=vm')"
ok 'nothing for a size' '' "$(offers 'mayfly run -m ')"
ok 'nothing for what capitals stand for' '' "$(offers 'mayfly run --allow ')"
ok 'an argument that was given is passed over' --memory \
	"$(offers 'mayfly run -e A=b:c --env D --mem')"
ok 'flags before a letter with an argument' '' "$(offers 'mayfly run -im ')"
ok 'an argument that sticks to its letter' --memory \
	"$(offers 'mayfly run -m512m --mem')"
ok 'no options after the first operand of run' '' \
	"$(offers 'mayfly run image -')"
ok 'no options after --' '' "$(offers 'mayfly run -- ls -')"
ok 'commands of net' "$(printf -- '--help\nls\nprune')" "$(offers 'mayfly net ')"
subs=$(mayfly help image | sed -n '/^commands:/,$ s/^  \([a-z]*\) .*/\1/p')
ok 'commands of a command' "$(printf '%s\n' --help $subs | sort)" \
	"$(offers 'mayfly image ')"
ok 'one of them is completed' import "$(offers 'mayfly image imp')"
for c in $subs; do
	want=$(mayfly help image "$c" | grep -oE '^  (-.,|   ) --[a-z-]+' |
		grep -oE -- '--?[a-z-]+' | cat - <(echo --help) | sort)
	ok "all options of image $c are offered" "$want" \
		"$(offers "mayfly image $c -")"
done
ok 'choices of their options' "$(printf 'json\ntable')" \
	"$(offers 'mayfly image ls --format ')"
ok 'sources of images' "$(printf 'oci-archive:\noci:')" \
	"$(offers 'mayfly image import oc')"
ok 'and files behind their colon' vmlinux \
	"$(offers 'mayfly image import tar:vm')"
echo hi >'a file'
mayfly image import --name app dir:. >/dev/null
unnamed=$(mayfly image import dir:images)
ok 'names of images, and ids without one' \
	"$(printf '%s\n' "${unnamed:0:12}" app:latest | sort)" \
	"$(offers 'mayfly image rm ')"
ok 'an image to run' app:latest "$(offers 'mayfly run ap')"
ok 'its tag' latest "$(offers 'mayfly image rm app:l')"
ok 'an image behind an option whose argument comes with =' app:latest \
	"$(offers 'mayfly run --net ap')"
ok 'nothing for such an argument' '' "$(offers 'mayfly run --net=')"
ok 'no image behind the image' '' "$(offers 'mayfly run app ')"
ok 'commands for help' run "$(offers 'mayfly help ru')"
ok 'no second operand where there is none' '' "$(offers 'mayfly help run ')"

offers_names() {
	mayfly run -d --name web -- sleep 1000 >/dev/null
	ok 'names of runs' web "$(offers 'mayfly logs ')"
	ok 'a name is completed' web "$(offers 'mayfly stop w')"
	ok 'a second name where there may be one' web "$(offers 'mayfly rm x ')"
	ok 'no name for --name' '' "$(offers 'mayfly run --name ')"
	ok 'runs and files to copy' "$(printf 'a file\nimages\nvmlinux\nweb:')" \
		"$(offers 'mayfly cp ')"
	ok 'and where to' vmlinux "$(offers 'mayfly cp web:/x vm')"
	ok 'nothing within a guest' '' "$(offers 'mayfly cp web:/e')"
	ok 'options may follow the name' --follow "$(offers 'mayfly logs web --fol')"
	ok 'no options behind the name where a command follows' '' \
		"$(offers 'mayfly exec web -')"
	if command -v fish >/dev/null; then
		ok 'fish: names of runs' web "$(fish_offers 'mayfly logs ')"
		ok 'fish: a run to copy from' web: "$(fish_offers 'mayfly cp we')"
	fi
}

# --- fish ---------------------------------------------------------------

fish_offers() {
	HOME=$work fish -Nc ". $work/fish; complete -C '$1'" 2>&1 | cut -f 1 |
		sort
}
if command -v fish >/dev/null; then
	ok 'fish: a command' run "$(fish_offers 'mayfly ru')"
	ok 'fish: an option' --memory "$(fish_offers 'mayfly run --mem')"
	ok 'fish: choices' "$(printf 'auto\nkvm\nsoft')" \
		"$(fish_offers 'mayfly boot --engine ')"
	ok 'fish: a file' vmlinux "$(fish_offers 'mayfly run --kernel vm')"
	ok 'fish: commands of a command' import \
		"$(fish_offers 'mayfly image imp')"
	ok 'fish: an option of one' --quiet \
		"$(fish_offers 'mayfly image import --q')"
	ok 'fish: an image' app:latest "$(fish_offers 'mayfly image rm ap')"
	ok 'fish: no word for an argument that comes with =' app:latest \
		"$(fish_offers 'mayfly run --net ap')"
	ok 'fish: no option of another' '' "$(fish_offers 'mayfly image rm --q')"
	ok 'fish: nothing after --' '' "$(fish_offers 'mayfly run -- --mem')"
fi
offers_names
echo "1..$n"
exit $bad
