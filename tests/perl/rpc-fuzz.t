#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Octets that no host sends: the synchronous back end in C answers, or ends with a word; it never crashes,
# hangs, or takes memory for what was only claimed. AFORK_TEST_SEED repeats a run, and
# AFORK_TEST_ROUNDS makes it longer.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Host;
use IO::Select;
use Test::More;
use Time::HiRes ();

my $seed = $ENV{AFORK_TEST_SEED} // int(Time::HiRes::time() * 1000) % 2**31;
my $rounds = $ENV{AFORK_TEST_ROUNDS} // 300;
diag "seed $seed";
srand $seed;

my $octets = '(sub { pack "(w/a*)*", @_ }, sub { unpack "(w/a*)*", shift })';

sub list { return pack '(w/a*)*', @_ }

sub call {
    my ($id, $payload) = @_;
    return pack 'C C n N N/a*', 1, 0, 0, $id, $payload;
}

my @good = (
    call(1, list('a', '', "\xff" x 200)), call(2, ''), call(3, list(map "$_", 1 .. 50)),
    call(4, list('x' x 70_000)), call(5, "\x80\x80\x01x"), call(6, "\xff" x 9),
    pack('C C n N N', 1, 0, 0, 7, 0xfffffff0), pack('C C n N N', 1, 3, 0, 8, 0),
);

# Something like a good stream, with a few places changed.
sub stream {
    my $data = join '', map $good[rand @good], 1 .. 1 + rand 6;
    for (1 .. rand 6) {
        my $at = int rand length $data;
        my $how = int rand 4;
        substr($data, $at, 1) = chr int rand 256 if $how == 0;
        substr($data, $at, 1 + rand 8) = '' if $how == 1;
        substr($data, $at, 0) = join '', map chr int rand 256, 1 .. 1 + rand 8 if $how == 2;
        substr($data, $at) = '' if $how == 3 && $at;
    }
    return $data;
}

# Sends it while it reads, then ends the stream; true if the worker ended it, too.
sub feed {
    my ($fd, $data) = @_;
    my $select = IO::Select->new($fd);
    my $end = Time::HiRes::time() + $Host::DEADLINE;
    my $open = 1;
    $fd->blocking(0);
    while (Time::HiRes::time() < $end) {
        if (length $data) {
            my $n = syswrite $fd, $data, 1 + rand 5000;
            $data = defined $n ? substr($data, $n) : $!{EAGAIN} ? $data : '';
        } elsif ($open) {
            shutdown $fd, 1;
            $open = 0;
        }
        $select->can_read(length $data ? 0 : 1) or next;
        my $n = sysread $fd, my $answer, 65536;
        return 1 if defined $n ? $n == 0 : !$!{EAGAIN};
    }
    return 0;
}

my $template = Host->start;
$template->eval('sub echo { @_ } open STDERR, ">", "/dev/null"; require AFork::RPC::Sync');
my %ends;
for my $round (1 .. $rounds) {
    my $worker = $template->fork;
    $worker->args(function => 'echo', serialiser => $octets, -4);
    my $fd = $worker->run('AFork::RPC::Sync::run');
    my $data = stream();
    if (!feed($fd, $data)) {
        fail "round $round hangs: " . unpack 'H*', substr $data, 0, 4096;
        last;
    }
    close $fd;
    my $exited = $worker->expect(exited => $worker->{identity});
    my $status = $exited->{value};
    $ends{$status}++;
    next if $status == 0 || $status == 255 << 8;
    fail "round $round ends with $status: " . unpack 'H*', substr $data, 0, 4096;
    last;
}
ok $ends{0} && $ends{ 255 << 8 }, 'some streams were good, some were not';
is_deeply [grep $_ && $_ != 255 << 8, keys %ends], [], 'no worker crashed';
done_testing;
