#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The examples do what they say: those that print something and end.
set -u
src=${srcdir:-.}
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

printf 'one' >"$work/one"
odd="$work/$(printf 'o\nd\377d')"
printf 'one' >"$odd"
: >"$work/none"
sums="d41d8cd98f00b204e9800998ecf8427e  $work/none
f97c5d29941bfb1b2fdab0874906ab82  $work/one"
# check_sums NAME COMMAND...: one that makes MD5 sums of the files it is given
check_sums()
{
    name=$1
    shift
    check "$name: sums" "$sums" "$(timeout 20 "$@" "$work/none" "$work/one" | sort)"
    check "$name: nothing to do" "0" "$(timeout 20 "$@" 2>&1; echo $?)"
    output=$(timeout 20 "$@" "$work/one" "$work/missing" 2>"$work/err")
    check "$name: a missing file" "1 f97c5d29941bfb1b2fdab0874906ab82  $work/one" "$? $output"
    check "$name: it is named" "pool: $work/missing: No such file or directory" "$(cat "$work/err")"
    # Not in JavaScript, whose strings are text: GJS refuses such arguments.
    [ "$name" = pool.js ] || check "$name: names are octets" "f97c5d29941bfb1b2fdab0874906ab82  $odd" \
        "$(timeout 20 "$@" "$odd")"
    timeout 20 "$@" "$work/one" >/dev/full 2>"$work/err"
    check "$name: nowhere to print" "yes yes" \
        "$(test $? -ne 0 && echo yes) $(grep -q 'No space left' "$work/err" && echo yes)"
}
# check_pool NAME COMMAND...: and has workers of afork make them
check_pool()
{
    check_sums "$@"
    shift
    error=$(AFORK_PERL=/bin/false timeout 20 "$@" "$work/one" 2>&1)
    check "$name: no perl" "1 yes" "$? $(test -n "$error" && echo yes)"
}
check_pool pool.c doc/examples/pool
[ ! -e doc/examples/pool-vala ] || check_pool pool.vala doc/examples/pool-vala
# An interpreter does not bring the sanitizers.
if [ -e glib/Afork-1.0.typelib ] && [ -z "$AFORK_TEST_SANITIZERS" ]; then
    if "${PYTHON_GI:-false}" -c 'import asyncio; asyncio.Runner' 2>/dev/null; then
        check_pool pool.py env GI_TYPELIB_PATH="$PWD/glib" LD_LIBRARY_PATH="$PWD/.libs" \
            PYTHONPATH="$src/glib/python" PYTHONDONTWRITEBYTECODE=1 \
            "$PYTHON_GI" "$src/doc/examples/pool.py"
    fi
    if [ -n "$GJS" ]; then
        check_pool pool.js env GI_TYPELIB_PATH="$PWD/glib" LD_LIBRARY_PATH="$PWD/.libs" \
            "$GJS" "$src/doc/examples/pool.js"
    fi
fi
if "${PERL:-perl}" -MAnyEvent::Fork::Pool -e 1 2>/dev/null; then
    check_sums pool.pl "${PERL:-perl}" "$src/doc/examples/pool.pl"
fi

# What cannot be started, does not serve, or cannot be printed is told, in words and by the status.
for example in channel hello hello-plain poll embedded-code/main; do
    [ -e "doc/examples/$example" ] || continue
    for perl in "$work/missing" /bin/false; do
        AFORK_PERL=$perl timeout 20 "doc/examples/$example" >"$work/out" 2>&1
        check "$example: ${perl##*/} is no perl" "1 yes" "$? $(test -s "$work/out" && echo yes)"
    done
    timeout 20 "doc/examples/$example" >/dev/full 2>"$work/err"
    check "$example: nowhere to print" "1 1" "$? $(grep -c 'No space left' "$work/err")"
done
echo "1..$n"
