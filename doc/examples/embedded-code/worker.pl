# SPDX-License-Identifier: MIT
#
# What the workers do. It is part of the executable, as a resource: nothing has to be installed or
# found. Evaluated once, in the template; every worker is forked with it.

package Count;

use strict;
use warnings;
use IO::Handle ();

our $units = {words => qr/\S+/, letters => qr/\pL/};

# Counts in each line that comes, and answers with a line, until the end.
sub run
{
    my ($channel, $unit) = @_;
    my $pattern = $units->{$unit} or die "cannot count $unit\n";
    $channel->autoflush(1);
    while (defined(my $line = <$channel>)) {
        utf8::decode($line); # what comes are octets
        my $n = () = $line =~ /$pattern/g;
        print {$channel} "$n $unit\n";
    }
}

1;
