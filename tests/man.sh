#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# man.sh MAYFLY: each subcommand has a manual page, with every option that
# --help lists, its letter and its argument, and with no other; and formatters
# have nothing to say. TAP on stdout.
set -eu

mayfly=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")/../man"
n=0 bad=0

# NAME LINES: there should be no lines.
expect_none() {
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
		return
	fi
	echo "not ok $n - $1"
	echo "$2" | sed 's/^/# /'
	bad=1
}

skip() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

# "--memory -m SIZE" for each option of a command; of `image ls`, two words.
of_help() {
	"$mayfly" help $1 | sed -n \
		-e 's/^  -\(.\), --\([a-z-]*\) \{0,1\}\([^ ]*\).*/--\2 -\1 \3/p' \
		-e 's/^      --\([a-z-]*\) \{0,1\}\([^ ]*\).*/--\1 \2/p' |
		sed 's/ *$//' | sort
}

# Its part of the page, or the whole.
of_page() {
	sed -n -e "/^\.Ss mayfly $2\$/,/^\.S[sh]/p" "$1" | grep . ||
		cat "$1"
}

of_options() {
	of_page "$@" | sed -n \
		-e 's/^\.It Fl \(.\) , Fl -\([a-z-]*\)\( Ar \)\{0,1\}\(.*\)/--\2 -\1 \4/p' \
		-e 's/^\.It Fl -\([a-z-]*\) Ns Op \([^ ]*\) Ns Ar \(.*\)/--\1 [\2\3]/p;t' \
		-e 's/^\.It Fl -\([a-z-]*\)\( Ar \)\{0,1\}\(.*\)/--\1 \3/p' |
		sed 's/ *$//' | sort
}

# Lines of $2 that $1 does not have, and the other way round.
differences() {
	printf '%s\n' "$1" | grep -vxF -e "$2" | grep . |
		sed 's/^/not in the page: /' || :
	printf '%s\n' "$2" | grep -vxF -e "$1" | grep . |
		sed 's/^/not an option: /' || :
}

commands=$("$mayfly" help | sed -n 's/^  \([a-z]*\) .*/\1/p')
for c in $commands; do
	page=mayfly-$c.1
	case $c in
	help | version) page=mayfly.1 ;;
	esac
	if [ ! -f "$page" ]; then
		expect_none "$c has a page" "there is no man/$page"
		continue
	fi
	subs=$("$mayfly" help "$c" |
		sed -n '/^commands:$/,$ s/^  \([a-z]*\) .*/\1/p')
	env=
	for sub in ${subs:-.}; do
		word="$c${subs:+ $sub}"
		[ "$c" != help ] || continue
		expect_none "$page has the options of $word" "$(differences \
			"$(of_help "$word")" "$(of_options "$page" "$word")")"
	done
	for v in $("$mayfly" help "$c" | grep -oE '\[MAYFLY_[A-Z_]*\]' |
		tr -d '[]'); do
		grep -q "^\.Ev.* $v\b" "$page" || env="$env$v "
	done
	expect_none "$page has the variables of $c" "$env"
	expect_none "mayfly.1 names $c" \
		"$(grep -q "^\.It Cm $c$" mayfly.1 || echo "no .It Cm $c")"
done
for page in *.1; do
	c=${page#mayfly-} c=${c%.1}
	[ "$page" = mayfly.1 ] && continue
	expect_none "$page is of a command" \
		"$(echo "$commands" | grep -qx "$c" || echo "no command $c")"
done

if command -v mandoc >/dev/null; then
	for page in *.1; do
		# Pages of programs that are not installed here are no fault.
		expect_none "mandoc takes $page" \
			"$(mandoc -Tlint -Wstyle "$page" | grep -v ' Xr ' || :)"
	done
else
	skip 'mandoc takes the pages' 'no mandoc here'
fi
if command -v groff >/dev/null; then
	for page in *.1; do
		expect_none "groff takes $page" \
			"$(groff -ww -z -mandoc "$page" 2>&1)"
	done
else
	skip 'groff takes the pages' 'no groff here'
fi
echo "1..$n"
exit $bad
