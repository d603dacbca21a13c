# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# git.sh: a history with branches, merges, a conflict and a rebase; its hashes
# say whether all of it is the same.
set -eu
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
git config --global user.name tester
git config --global user.email tester@example.org
git config --global init.defaultBranch main
git config --global gc.auto 0
git config --global advice.detachedHead false

git init -q repo
cd repo
for i in $(seq 1 12); do
	mkdir -p "d$((i % 4))"
	seq "$i" $((i * 300)) >"d$((i % 4))/file$i"
	git add .
	git commit -q -m "commit $i"
done
git checkout -q -b topic HEAD~4
for i in 1 2 3; do
	sed -i "s/^1\$/topic $i/" d1/file1
	echo "line $i" >>topic
	git add .
	git commit -q -m "topic $i"
done
git checkout -q main
git merge -q --no-edit -m 'merge topic' topic
git log --oneline --graph
git checkout -q -b other HEAD~2
echo different >topic
git add topic
git commit -q -m conflict
git merge -q topic || git status --short
echo resolved >topic
git commit -q -a -m resolved
git checkout -q -b linear HEAD~1
git rebase -q main 2>&1 | grep -o 'CONFLICT.*' || :
git checkout -q --theirs -- topic
git add topic
GIT_EDITOR=true git rebase --continue 2>&1 | tail -n 1
git tag -a -m tagged v1
git diff --stat main other
git blame d1/file1 | head -n 3
git stash list
git fsck --full --strict --no-dangling
git repack -a -d -q --window=20
git fsck --full --no-dangling
git rev-list --objects --all | sort | sha256sum
git count-objects -v | grep -E '^(count|in-pack|packs)'
cd ..
git clone -q --bare repo bare.git
git clone -q bare.git copy
git -C copy log --format='%H %T %s' | head -n 5
git -C copy archive HEAD | sha256sum
git -C copy grep -c 77 | head -n 3
