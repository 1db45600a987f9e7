#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Servers with a broken command socket end at once, and say so in one line at most.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Host;
use Test::More;

my %kinds = Host::kinds();
my %breaks = (
    'garbage'                => sub { Host::write_all($_[0]{fd}, 'garbage' x 1000) },
    'NUL'                    => sub { Host::write_all($_[0]{fd}, "\0" x 5) },
    'a malformed list'       => sub { $_[0]->command(a => "\xff\xff\xff\x7f") },
    'a list that ends early' => sub { $_[0]->command(a => "\x05abc") },
    'a fork without socket'  => sub { $_[0]->command(f => '') },
    'a fork with a string'   => sub { $_[0]->args('x')->command(f => '') },
    'a closed descriptor'    => sub { $_[0]->eval('require POSIX; POSIX::close($_) for 3 .. 20') },
    'another file'           => sub {
        $_[0]->eval('require POSIX; open my $f, "<", "/etc/passwd"; POSIX::dup2(fileno $f, $_)'
                . ' for grep { readlink("/proc/self/fd/$_") =~ /socket/ } 3 .. 20; ');
    },
);
$breaks{'a handle without descriptor'} = sub { $_[0]->command(h => ''); Host::write_all($_[0]{fd}, 'x') };

for my $kind (sort keys %kinds) {
    for my $break (sort keys %breaks) {
        next if $kind eq 'foreign' && $break =~ /list|string|another/;    # it is not that strict
        my $err = File::Temp->new;
        my $server = Host->start(%{ $kinds{$kind} }, stderr => $err);
        $breaks{$break}->($server);
        my $status = $server->wait;
        open my $in, '<', $err or die $!;
        my @lines = <$in>;
        cmp_ok scalar(@lines), '<=', 1, "$break: at most one line ($kind)" or diag @lines;
        next if $kind eq 'own' && $break =~ /closed|another/;     # the status socket went, too
        isnt $status, 0, "$break: status ($kind)";
    }
}

for my $kind (sort keys %kinds) {
    my $server = Host->start(%{ $kinds{$kind} });
    Host::write_all($server->{fd}, "a\x10\0\0\0abc");
    is $server->end, 0, "an end within a command is an end ($kind)";

    $server = Host->start(%{ $kinds{$kind} });
    Host::write_all($server->{fd}, "a\xff\xff\xff\xffabc");
    my $size = 0;
    open my $status, '<', "/proc/$server->{pid}/status" or die $!;
    /^VmRSS:\s+(\d+)/ and $size = $1 while <$status>;
    cmp_ok $size, '<', 500_000, "a length is not believed ($kind)";
    is $server->end, 0, 'and it ends';
}

done_testing;
