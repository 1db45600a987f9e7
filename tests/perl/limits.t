#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Limits that no host can have sent end a server with one error of the protocol, and nothing else.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Host;
use Test::More;

my $seed = $ENV{AFORK_TEST_SEED} || time;
srand $seed;
diag "seed $seed" if $ENV{AFORK_TEST_SEED};

# A payload as it should be.
sub payload {
    my (%set) = (flags => 0, nice => 0, values => [0, 0, 0, 0], paths => [], @_);
    return pack('LLQ4', $set{flags}, $set{nice}, @{ $set{values} }) . pack '(w/a*)*', @{ $set{paths} };
}

sub server {
    return Host->start(stderr => File::Temp->new, @_);
}

# The record by which a server ends, as "type phase".
sub last_words {
    my ($server) = @_;
    my $record = $server->expect('error');
    $server->wait;
    return "$record->{phase}: $record->{text}";
}

my %broken = (
    'empty'               => '',
    'short'               => substr(payload(), 0, 39),
    'an unknown flag'     => payload(flags => 1 << 8),
    'a nice value'        => payload(nice => 20),
    'a value'             => payload(values => [0, 0, 0, 1 << 63]),
    'a relative path'     => payload(flags => 8, paths => ['rx']),
    'a path with a NUL'   => payload(flags => 8, paths => ["r/\0"]),
    'a path without list' => payload(flags => 8, paths => ['w/']),
    'a path too long'     => payload(flags => 8, paths => ['r/' . 'x' x 4096]),
    'a list cut'          => payload(flags => 8) . "\x05r/",
);
for my $what (sort keys %broken) {
    my $server = server();
    $server->command(L => $broken{$what});
    like last_words($server), qr/^protocol: malformed limits/, $what;
}

for my $round (1 .. 40) {
    my $server = server();
    my $length = int rand 200;
    $server->command(L => join '', map { chr rand 256 } 1 .. $length);
    like last_words($server), qr/^protocol: malformed limits/, "garbage of $length";
}

# A server without status socket does not know the command.
my $err = File::Temp->new;
my $original = Host->start(original => 1, module => 'AnyEvent::Fork::Serve', stderr => $err);
$original->command(L => payload(nice => 1));
isnt $original->wait, 0, 'a host of the original kind has no limits';
like do { local $/; open my $in, '<', $err; <$in> }, qr/unknown request 0x4c/, 'and is told so';

# Those that are right.
my $server = Host->start;
$server->command(L => payload(nice => 19));
is Host::slurp($server->run_code('syswrite $fd, getpriority 0, 0')), '19', 'a limit';
$server->wait;

done_testing;
