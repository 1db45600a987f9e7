# SPDX-License-Identifier: MIT
#
# bounded.pl SECONDS COMMAND...: a test that hangs fails, and what is left of a test is ended: it
# would hold the pipe open that the results are read from. A second is for what cleans up, as Xvfb does.
use strict;
use warnings;

my $pid = fork // die "fork: $!\n";
if (!$pid) {
    setpgrp;
    exec 'timeout', '--kill-after=10', @ARGV or die "timeout: $!\n";
}
waitpid $pid, 0;
my $status = $?;
kill TERM => -$pid;
for (1 .. 100) {
    last unless kill 0 => -$pid;
    select undef, undef, undef, 0.01;
}
kill KILL => -$pid;
exit($status >> 8 || $status && 128 + $status);
