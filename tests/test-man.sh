#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The manual pages are well-formed.
src=${srcdir:-.}
if ! command -v mandoc >/dev/null; then
    echo "1..0 # SKIP mandoc is not installed"
    exit 0
fi
set -- "$src"/doc/*.[1-9]
echo "1..$#"
n=0
for page; do
    n=$((n + 1))
    # A line for display loses the blank before punctuation, and is broken where it is long.
    if grep -nE '^\.Dl (.{70}|.* [].,:;?!)] )' "$page" >&2; then
        echo "not ok $n - ${page##*/}: use .Bd -literal"
        continue
    fi
    # A reference to a page of ours that is not installed yet is no fault.
    if faults=$(mandoc -Tlint -W style "$page" | grep -v 'referenced manual not found'); then
        echo "not ok $n - ${page##*/}"
        echo "$faults" | sed 's/^/# /'
    else
        echo "ok $n - ${page##*/}"
    fi
done
