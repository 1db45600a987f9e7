#!/bin/sh
# SPDX-License-Identifier: MIT
#
# doc/from-anyevent-fork.md names what there is: calls, constants, functions of Perl, files; its C
# compiles; and it has a word on every method that the installed AnyEvent::Fork documents. TAP.
set -u
src=$AFORK_TEST_SRCDIR
page=$src/doc/from-anyevent-fork.md
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0

# result NAME WHAT-IS-WRONG
result()
{
    n=$((n + 1))
    if [ -z "$2" ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        echo "$2" | sed 's/^/# /'
    fi
}

# named PATTERN: what the page names, each once.
named()
{
    grep -Eo "$1" "$page" | sort -u
}

# missing PATTERN FILE...: what the page names, and no file has as a word.
missing()
{
    pattern=$1
    shift
    named "$pattern" | while read -r name; do
        cat "$@" | grep -qw "$name" || echo "$name"
    done
}

headers=$(find "$src/src" "$src/glib" "$src/ev-adapter" "$src/uv-adapter" -name '*.h')
result "the list is plausible" "$(
    [ "$(named 'g?afork_[a-z_]+' | wc -l)" -gt 30 ] || named 'g?afork_[a-z_]+')"
# shellcheck disable=SC2086 # a list of files
result "every call exists" "$(missing '\<g?afork_[a-z_]+' $headers)"
# shellcheck disable=SC2086
result "every constant exists" "$(missing '\<AFORK_[A-Z_]+' $headers "$src/doc/afork.7")"
result "every function of Perl exists" "$(missing 'AFork::Serve::[a-z_]+' "$src/doc/afork-perl.1")"
# shellcheck disable=SC2016 # backquotes of the page
result "every option exists" "$(
    sed -n 's/.*|[^|]*\<options\{0,1\} \([^|]*\)|.*/\1/p' "$page" | grep -Eo '`[a-z_]+`' | tr -d '`' |
        sort -u | while read -r name; do
        grep -qw "$name" "$src/src/afork-context.h" || echo "$name"
    done)"
result "every page exists" "$(
    named '\([a-z-]+\.md\)' | tr -d '()' | while read -r name; do
        [ -e "$src/doc/$name" ] || echo "$name"
    done)"

# block NUMBER: that of the blocks of C.
block()
{
    awk -v want="$1" '/^```/ { inside = $0 == "```c" && ++number == want; next } inside' "$page"
}
{
    printf '#include <afork/afork.h>\n#include <string.h>\n#include <sys/socket.h>\n#include <unistd.h>\n'
    printf 'void make(struct afork_context *context, afork_run_cb *worker_cb);\n'
    printf 'void complain(const char *text);\n'
    printf 'void make(struct afork_context *context, afork_run_cb *worker_cb)\n{\n'
    block 1
    printf '}\n'
    block 2
    printf 'afork_to_fd_cb *const used = give;\n'
} >"$work/blocks.c"
result "its C compiles" "$(
    $CC -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Werror -fsyntax-only \
        -I"$AFORK_TEST_BUILDDIR/include" -I"$src/include" "$work/blocks.c" 2>&1)"

# shellcheck disable=SC2016 # Perl's
original=$($PERL -MAnyEvent::Fork -e 'print $INC{"AnyEvent/Fork.pm"}' 2>/dev/null)
if [ -n "$original" ]; then
    # shellcheck disable=SC2016 # Perl's, again
    result "every method of the original has a word" "$(
        # "=item $proc = $proc->eval (...)", "=item new_exec AnyEvent::Fork", "=item @args = X::run_args"
        sed -n 's/^=item .*\$proc->\([a-z_]*\).*/\1/p
            s/^=item .*\(new[a-z_]*\) AnyEvent::Fork.*/\1/p
            s/^=item .*AnyEvent::Fork::Serve::\([a-z_]*\).*/\1/p' "$original" | sort -u |
            while read -r name; do
                grep -q "[>:]$name\>" "$page" || echo "$name"
            done)"
else
    n=$((n + 1))
    echo "ok $n - every method of the original has a word # SKIP AnyEvent::Fork is not installed"
fi
echo "1..$n"
