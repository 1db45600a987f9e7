#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fake-ssh.sh BEHAVIOUR [ARGUMENT]: a command that ends in a perl, or should (tests/test-remote.c).
perl=${PERL:-perl}

case $1 in
noise) # this many octets first
    head -c "$2" /dev/zero | tr '\0' 'n'
    exec "$perl"
    ;;
banner) # a text, also on standard error
    printf 'Welcome to "\\\001\377"\n'
    echo "the far standard error" >&2
    exec "$perl"
    ;;
almost) # what looks like the token
    printf '<<afork:<afork:0<'
    exec "$perl"
    ;;
refuse)
    echo "no such host"
    echo "Permission denied (publickey)." >&2
    exit 255
    ;;
silent) exec sleep 1000 ;;
mute) exec "$perl" >&- ;;
taint) exec "$perl" -T ;;
no-stderr) exec "$perl" 2>&- ;;
hang-up)
    echo "bye"
    exec sleep 1000 <&- >&-
    ;;
echo) exec cat ;;
shell) exec sh ;;
drip) # its output one octet at a time
    # shellcheck disable=SC2016 # it is Perl
    exec "$perl" -MIPC::Open2 -e '
        my $pid = open2(my $out, "<&STDIN", $ENV{PERL} || "perl");
        while (sysread $out, my $octet, 1) { syswrite STDOUT, $octet }
        waitpid $pid, 0;
        exit $? >> 8'
    ;;
later) # noise between the answers
    (
        while sleep 0.01; do
            printf 'x'
        done
    ) &
    printer=$!
    "$perl"
    status=$?
    kill $printer
    exit $status
    ;;
environment)
    echo "$AFORK_TEST_VALUE in $(pwd)" >&2
    ls /proc/self/fd >&2
    exec "$perl"
    ;;
esac
