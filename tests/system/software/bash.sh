# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2206
#
# bash.sh: the shell as a language: arithmetic, arrays, expansions, traps,
# processes and jobs.
set -u
sum=0
for ((i = 1; i <= 20000; i++)); do ((sum = (sum * 31 + i ^ i << 3) % 1000003)); done
echo "$sum $((-17 / 4)) $((-17 % 4)) $((1 << 62)) $((2 ** 40)) $((0xff ^ 8#17)) $((36#zz))"
echo "$((9223372036854775807 + 1)) $((1 ? 2 : 3)) $((5 > 3 && 2 < 1))"

declare -A map
declare -a list=()
while read -r w; do
	map[$w]=$((${map[$w]:-0} + 1))
	list+=("$w")
done < <(for i in {1..3000}; do echo "key$((i * i % 101))"; done)
for k in "${!map[@]}"; do echo "$k=${map[$k]}"; done | sort | sha256sum
echo "${#list[@]} ${list[-1]} ${list[*]:100:5} ${#map[@]}"

s='The quick brown fox'
echo "${s^^} ${s,,} ${s/quick/slow} ${s//o/0} ${s#* } ${s##* } ${s%% *} ${s:4:5} ${#s}"
printf '%s|%5d|%-5s|%08.3f|%x|%q|%b\n' a 42 b 3.14159 255 "it's" 'x\ty'
printf -v v '%(%Y)T' 0
echo "$v" {a..e} {01..10..3} pre{x,y}post
[[ $s =~ ([a-z]+)\ ([a-z]+)$ ]] && echo "${BASH_REMATCH[1]}:${BASH_REMATCH[2]}"

fib() { (($1 < 2)) && { echo "$1"; return; }; echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); }
fib 9
ack() { local m=$1 n=$2; while ((m)); do if ((n)); then ack "$m" $((n - 1)); n=$r; else n=1; fi
	((m--)); done; r=$((n + 1)); }
ack 2 5
echo "ackermann $r"

trap 'echo "got usr1 $?"' USR1
kill -USR1 $$
(trap 'echo leaving' EXIT; exit 3)
echo "status $?"
trap 'echo "err at $LINENO"' ERR
false
trap - ERR
(set -e; false; echo not reached)
echo "stopped $?"
(sleep 60 & p=$!; kill -TERM $p; wait $p; echo "killed $?")
set -o pipefail
true | (exit 4) | true
echo "pipe $? ${PIPESTATUS[*]}"

set -m
sleep 0.2 &
sleep 60 &
jobs | sed 's/ *$//'
wait %1
echo "waited $?"
p=$(jobs -p %2)
kill %2
wait "$p" 2>/dev/null
echo "job $?"
set +m
sleep 60 &
kill -STOP $!
until grep -q '^State:.*T (stopped)' /proc/$!/status; do :; done
kill -CONT $! && kill -KILL $!
wait $! 2>/dev/null
echo "killed $?"

for i in 5 3 1 4 2; do (sleep 0.$i; echo "child $i" >>order) & done
wait
cat order
coproc tr a-z A-Z
echo 'through a coprocess' >&"${COPROC[1]}"
eval "exec ${COPROC[1]}>&-"
cat <&"${COPROC[0]}"
cat <<-END | while IFS=: read -r a b; do echo "$b-$a"; done
	x:1
	y:$((1 + 1))
END
diff <(seq 5) <(seq 2 6)
exec 5<>fifo.txt
echo data >&5
cat fifo.txt
exit 0
