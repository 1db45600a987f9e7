#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The examples do what they say: those that print something and end.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0

# check NAME EXPECTED GOT
check()
{
    n=$((n + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        printf '%s\n' "expected: $2" "got: $3" | sed 's/^/# /'
    fi
}

check "poll: answer and end" "3245 primes below 30000
the worker exited with status 0" "$(timeout 20 doc/examples/poll | grep -v 'still counting')"

# shellcheck disable=SC2016
command='echo out; echo err >&2; exit 3'
error=$(timeout 20 doc/examples/fork-exec "$work/out" sh -c "$command" 2>&1)
check "fork-exec: status" 3 $?
check "fork-exec: standard error" err "$error"
check "fork-exec: standard output" out "$(cat "$work/out")"
error=$(timeout 20 doc/examples/fork-exec "$work/out" "$work/missing" 2>&1)
check "fork-exec: no such program" "127 $work/missing: No such file or directory" "$? $error"
timeout 20 doc/examples/fork-exec "$work/out" sh -c 'kill -9 $$' 2>"$work/err"
check "fork-exec: a signal" "125 killed by signal 9 (Killed)" "$? $(cat "$work/err")"

if [ -e doc/examples/embedded-code/main ]; then
    check "embedded-code" "23 letters
6 words" "$(timeout 20 doc/examples/embedded-code/main 'never gonna give it up, again' | sort)"
    check "embedded-code: letters are no octets" "1 words
4 letters" "$(timeout 20 doc/examples/embedded-code/main 'être' | sort)"
fi

# What cannot be started, does not serve, or cannot be printed is told, in words and by the status.
for example in hello hello-plain poll embedded-code/main; do
    [ -e "doc/examples/$example" ] || continue
    for perl in "$work/missing" /bin/false; do
        AFORK_PERL=$perl timeout 20 "doc/examples/$example" >"$work/out" 2>&1
        check "$example: ${perl##*/} is no perl" "1 yes" "$? $(test -s "$work/out" && echo yes)"
    done
    timeout 20 "doc/examples/$example" >/dev/full 2>"$work/err"
    check "$example: nowhere to print" "1 1" "$? $(grep -c 'No space left' "$work/err")"
done
echo "1..$n"
