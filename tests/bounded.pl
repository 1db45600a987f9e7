# SPDX-License-Identifier: MIT
#
# bounded.pl SECONDS COMMAND...: a test that hangs fails, and what is left of a test is ended: it
# would hold the pipe open that the results are read from.
use strict;
use warnings;

my $pid = fork // die "fork: $!\n";
if (!$pid) {
    setpgrp;
    exec 'timeout', '--kill-after=10', @ARGV or die "timeout: $!\n";
}
waitpid $pid, 0;
my $status = $?;
kill KILL => -$pid;
exit($status >> 8 || $status && 128 + $status);
