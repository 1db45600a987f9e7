#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The examples with an embedded Perl: one in a root directory that holds the program, libperl.so and
# libc alone, one with libperl.a inside. All that could multiply is bounded. TAP.
set -u
work=$(mktemp -d) || exit 1
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

skip()
{
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}

# --- A root directory. ---

root=$work/root
mkdir "$root"
cp doc/examples/chroot/main "$root/host"
ldd "$root/host" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[^=]*\(\/lib[^ ]*ld-[^ ]*\) .*/\1/p' |
    while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
if [ "$(id -u)" = 0 ]; then enter=''; else enter='unshare -r'; fi
if [ -n "$AFORK_TEST_SANITIZERS" ]; then
    : # these need /proc
elif ! $enter chroot / true 2>"$work/err"; then
    skip "chroot" "chroot is not possible here"
else
    check "chroot: nothing but libraries" "" \
        "$(find "$root" -type f ! -name '*.so*' ! -name host)"
    # shellcheck disable=SC2086
    check "chroot: a worker with modules from the program" "the worker exited with status 0
Hello, chroot!" "$(timeout 20 $enter chroot "$root" /host chroot 2>&1)"
fi

# --- libperl.a. ---

if [ -e doc/examples/static-perl ]; then # it needs libperl.a
    cp doc/examples/static-perl "$work/program"
    check "static-perl: needs no libperl.so" "" "$(ldd "$work/program" | grep libperl)"
    check "static-perl: its own XS function" 42 "$(timeout 20 "$work/program" 2>&1)"
    check "static-perl: modules of perl" "3 6" "$(timeout 20 "$work/program" \
        'use POSIX; use List::Util "sum"; join " ", floor(3.7), sum(1, 2, 3)' 2>&1)"
    check "static-perl: no plugin is looked for" 7 \
        "$(AFORK_PERL_PLUGIN=/nonexistent timeout 20 "$work/program" '3 + 4' 2>&1)"

    # `$^X` is a perl. A program that is started below a server, be it by mistake, starts none.
    # shellcheck disable=SC2016
    check "static-perl: \$^X is a perl" "perl 5" "$(timeout 20 "$work/program" \
        '`$^X -e "print q(perl ), 5"`' 2>&1)"
    # shellcheck disable=SC2016
    check "static-perl: does not start itself again" "-40 a server started its own program: \
AFORK_PERL_SELF is in the environment" "$(cd "$work" && timeout 20 ./program \
        'my $text = `./program 1 2>&1`; chomp $text; $text' 2>&1)"
fi
echo "1..$n"
