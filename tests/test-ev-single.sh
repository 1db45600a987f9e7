#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The libev adapter compiles for a program that embeds libev with a single loop, where no call has a
# loop as argument. TAP.
set -u

src=$AFORK_TEST_SRCDIR/ev-adapter
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
count=0

cat >"$work/user.c" <<'END'
#include <afork/afork-ev.h>

static void on_channel(EV_P_ struct afork_ev_channel *channel, int revents)
{
    (void)revents;
    afork_ev_channel_close(EV_A_ channel);
}

int main(void)
{
    struct afork_ev_loop *self;
    struct afork_ev_channel channel = {0};

    ev_default_loop(0);
    afork_ev_channel_init(&channel, on_channel, 0);
    afork_ev_channel_start(&channel, EV_READ);
    return afork_ev_loop_new(&self);
}
END

for file in "$src"/*.c "$work/user.c"; do
    count=$((count + 1))
    # shellcheck disable=SC2086 # lists of words
    if $CC -std=gnu11 -O2 -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter -Wshadow -Werror \
        -D_GNU_SOURCE -DEV_MULTIPLICITY=0 -I"$AFORK_TEST_BUILDDIR/include" $LIBEV_CFLAGS \
        -c -o "$work/object.o" "$file" >"$work/messages" 2>&1; then
        echo "ok $count - ${file##*/}"
    else
        echo "not ok $count - ${file##*/}"
        sed 's/^/# /' "$work/messages"
    fi
done
echo "1..$count"
