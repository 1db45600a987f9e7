#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The frames of AnyEvent::Fork::RPC, with both forms of its parameters.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Calls;
use Test::More;

my $has_anyevent = !system "$Host::FOREIGN_PERL -MAnyEvent -e 1 2>/dev/null";

my $code = <<'CODE';
our ($initial, $ended) = ('');
sub init { $initial = join ',', @_; die "event\n" if eval { AnyEvent::Fork::RPC::event(1) } }
sub work {
    my ($what, @args) = @_;
    return @args if $what eq 'echo';
    return $initial if $what eq 'initial';
    return $0 if $what eq 'title';
    if ($what eq 'event') { AnyEvent::Fork::RPC::event(@args); AFork::RPC::event('again'); return AnyEvent::Fork::RPC::flush() }
    if ($what eq 'retire') { AFork::Pool::retire(); return 'done' }
    die @args;
}
sub later { my ($done, @args) = @_; $done->(work(@args)) }
our @waiting;
sub collect { push @waiting, \@_; if (@waiting == 3) { $_->[0]->($_->[1]) for reverse splice @waiting } }
sub finished { syswrite STDERR, "finished\n"; exit 9 }
CODE

sub worker {
    my ($perl, $async, %option) = @_;
    return Calls->start(code => $code, %option, perl => $perl, async => $async, original => 1);
}

sub test_calls {
    my ($perl, $async, $four) = @_;
    my $function = $async ? 'later' : 'work';
    my $package = 'AnyEvent::Fork::RPC::' . ($async ? 'Async' : 'Sync');
    my $worker = worker($perl, $async, args => ['a', 'b'],
        $four ? (four => [$function, 'init', $Calls::OCTETS, "${package}::do_exit"])
            : (parameters => { function => $function, init => 'init', serialiser => $Calls::OCTETS,
                done => "${package}::do_exit", rlen => 496 }));
    my $id = sub { $async ? $worker->{id} : 1 };
    my $all = join '', map chr, 0 .. 255;
    is_deeply $worker->ask(echo => 'a', '', $all), ['result', $id->(), 'a', '', $all], 'a call';
    is_deeply $worker->ask('initial'), ['result', $id->(), 'a,b'], 'the arguments were for init';
    is_deeply $worker->ask('echo'), ['result', $id->()], 'no result';
    like $worker->ask('title')->[2], qr/^\d+ $function$/, 'the title is the function';
    is_deeply [map $worker->ask('event', 'x') && 1, 1], [1], 'an event';
    is_deeply [map $worker->frame, 1, 2], [['event', 0, 'again'], ['result', $id->(), 1]],
        'another, and the result';
    my $large = 'l' x 5_000_000;
    ok $worker->ask(echo => $large)->[2] eq $large, 'a large string';
    my @ids = map $worker->call(echo => $_), 1 .. 1000;
    is_deeply [map $worker->frame->[2], 1 .. 1000], [1 .. 1000], 'many calls, in their order';
    is_deeply [$worker->finish], [], 'nothing more comes';
    is $worker->status, 0, 'it ends well';
}

sub test_exception {
    my ($perl, $async) = @_;
    my $worker = worker($perl, $async, parameters => { function => $async ? 'later' : 'work', init => undef,
        serialiser => $Calls::OCTETS, done => undef });
    is $worker->ask(echo => 'x')->[2], 'x', 'a call';
    is $worker->ask(die => "broken\n"), undef, 'an exception ends the worker';
    is $worker->status, 255 << 8, 'its status';
    like $worker->err, qr/^broken$/m, 'and its text';
}

sub test_retire {
    my ($perl, $async) = @_;
    my $define = 'sub AnyEvent::Fork::Pool::retire() { AnyEvent::Fork::RPC::event("m0", "quit", "m1") }';
    my $worker = worker($perl, $async, code => "$code; $define", parameters => { function => $async ? 'later' : 'work' });
    is_deeply $worker->ask('retire'), ['event', 0, 'm0', 'quit', 'm1'],
        'retire() is what its host has defined';
    is $worker->frame->[2], 'done', 'and the result';
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

for my $perl (@Calls::PERLS) {
    for my $async (0, 1) {
        my $name = "$perl, " . ($async ? 'asynchronous' : 'synchronous');
    SKIP: {
            skip "$name: needs AnyEvent", 1 if $async && !$has_anyevent;
            subtest "two forms: $name" => sub { test_calls($perl, $async, 1) };
            subtest "keys and values: $name" => sub { test_calls($perl, $async, 0) };
            subtest "exception: $name" => sub { test_exception($perl, $async) };
            subtest "retire: $name" => sub { test_retire($perl, $async) };
        }
    }
SKIP: {
        skip "$perl: needs AnyEvent", 3 if !$has_anyevent;
        my $worker = worker($perl, 1, parameters => { function => 'collect' });
        $worker->call($_) for qw(x y z);
        is_deeply [map $worker->frame, 1 .. 3], [['result', 3, 'z'], ['result', 2, 'y'], ['result', 1, 'x']],
            "$perl: answers come in any order";
        $worker->finish;
        is $worker->status, 0, "$perl: it ends well";

        $worker = worker($perl, 1, parameters => { function => 'later', done => 'finished' });
        $worker->ask('echo');
        $worker->finish;
        is $worker->status, 9 << 8, "$perl: a function for the end";
        like $worker->err, qr/finished/, "$perl: was called";
    }
}

done_testing;
