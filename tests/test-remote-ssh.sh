#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Remote processes over a real ssh, to an sshd on this machine. TAP: that of the cases below /remote/any
# of test-remote.
src=${srcdir:-.}/tests

if ! PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin command -v sshd >/dev/null ||
    ! command -v ssh >/dev/null; then
    echo "1..0 # SKIP sshd or ssh is not installed"
    exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'sh "$src/ssh-server.sh" stop "$dir"; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
if ! ssh=$(sh "$src/ssh-server.sh" start "$dir" 2>"$dir/messages"); then
    echo "1..1"
    echo "not ok 1 - an sshd on this machine"
    sed 's/^/# /' "$dir/messages"
    exit 1
fi
# With the perl of this machine's path, or the one that is tested.
AFORK_TEST_REMOTE="$ssh ${PERL:-perl}"
export AFORK_TEST_REMOTE
"$AFORK_TEST_BUILDDIR/tests/test-remote"
