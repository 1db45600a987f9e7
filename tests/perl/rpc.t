#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Our own frames, octet by octet: both back ends, in afork-perl and in perls that are not ours.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Calls;
use Test::More;

my $has_anyevent = !system "$Host::FOREIGN_PERL -MAnyEvent -e 1 2>/dev/null";

# Functions of the worker. `answer` hides the difference between the back ends: it is what a function is
# called with in an asynchronous one, and what returns in the other.
my $code = <<'CODE';
our ($async, @saved, $n, $initial);
sub as { my ($function, $done, @args) = @_; return $done->($function->(@args)) }
sub define {
    my ($name, $function) = @_;
    no strict 'refs';
    *$name = $async ? sub { my $done = shift; $done->($function->(@_)) } : $function;
}
sub all {
    define(echo => sub { @_ });
    define(work => sub {
        my ($what, @args) = @_;
        return &{"do_$what"}(@args);
    });
}
sub init { $initial = join ',', @_; 1 }
sub do_echo { @_ }
sub do_none { return }
sub do_length { map length, @_ }
sub do_initial { $initial }
sub do_title { $0 }
sub do_want { wantarray ? 'list' : defined wantarray ? 'scalar' : 'void' }
sub do_die { die @_ }
sub do_object { die bless { text => 'broken' }, 'Broken' }
sub do_textless { die bless {}, 'Textless' }
sub do_wide_exception { die chr(0x263a) . "\n" }
sub do_latin_exception { die "caf\xe9\n" }
sub do_hook { my $n = 0; local $SIG{__DIE__} = sub { $n++ }; eval { die 1 }; $n }
sub do_hooked { $SIG{__DIE__} = sub { die "hooked: $_[0]" }; die "text\n" }
sub do_unhooked { delete $SIG{__DIE__}; 'off' }
sub do_last { no warnings; last }
sub do_next { no warnings; next }
sub do_wide { chr(0x263a) }
sub do_wide_event { eval { AFork::RPC::event(chr(0x263a)); 1 } ? 'sent' : $@ }
sub do_upgraded { my $text = "\xe9"; utf8::upgrade($text); $text }
sub do_all { join '', map chr, 0 .. 255 }
sub do_undef { (undef, '', 0, 1.5) }
sub do_event { AFork::RPC::event('one', @_); AnyEvent::Fork::RPC::event('two'); AFork::RPC::flush(); 'done' }
sub do_retire { AFork::Pool::retire(); AnyEvent::Fork::Pool::retire(); 'done' }
sub do_close { close STDIN; close STDOUT; close STDERR; 'closed' }
sub do_print { print "to standard output\n"; 'printed' }
sub do_globals { $_ = 'x'; $/ = 'y'; $, = 'z'; $\ = 'w'; 'changed' }
sub do_error { my $was = $@; $@ = 'left over'; $was }
sub do_returned_error { eval { die "caught\n" }; $@ }
sub do_errors_of_event { eval { die "caught\n" }; $! = 5; AFork::RPC::event($@, $! + 0); ($@, $! + 0) }
sub do_event_for { eval { AFork::RPC::event_for($_[0], 'x'); 1 } ? 'sent' : $@ }
sub do_keep { push @saved, \$_[0], \@_; 'kept' }
sub do_kept { map ref eq 'ARRAY' ? @$_ : $$_, @saved }
sub do_change { $_[0] = [1]; $_[1] .= 'x'; bless \$_[2], 'Thing' if @_ > 2; 'changed' }
sub do_alias { $_[0] =~ /b/g; pos $_[0] }
sub do_fork { defined(my $pid = fork) or die; if (!$pid) { return 'child' } waitpid $pid, 0; "parent $?" }
sub do_fork_die { defined(my $pid = fork) or die; die "child\n" if !$pid; waitpid $pid, 0; "parent $?" }
sub do_fork_event { defined(my $pid = fork) or die; if (!$pid) { AFork::RPC::event('from child'); AFork::RPC::flush(); exit 3 } waitpid $pid, 0; $? >> 8 }
sub do_system { system 'true'; $? }
sub do_alarm { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; select undef, undef, undef, 10; 'none' }
sub do_exit { exit $_[0] }
sub do__exit { require POSIX; POSIX::_exit($_[0]) }
sub do_kill { kill KILL => $$ }
sub do_nonblocking { require Fcntl; for (glob '/proc/self/fd/*') { my ($fd) = /(\d+)$/; next if $fd < 3 || readlink($_) !~ /socket/; open my $h, "+<&=$fd" or next; fcntl $h, Fcntl::F_SETFL(), fcntl($h, Fcntl::F_GETFL(), 0) | Fcntl::O_NONBLOCK(); push @main::open, $h } 'non-blocking' }
sub Broken::new {} package Broken; use overload '""' => sub { "Broken: $_[0]{text}" }, bool => sub { 0 };
package Textless; use overload '""' => sub { die 'no text' }, fallback => 1;
package main;
$SIG{USR1} = sub { AFork::RPC::event('signal') };
all();
CODE

sub worker {
    my ($perl, $async, %option) = @_;
    my $parameters = $option{parameters} || { function => 'work' };
    return Calls->start(%option, perl => $perl, async => $async, code => "our \$async; BEGIN { \$async = $async } $code",
        parameters => $parameters);
}

sub ready {
    my $worker = worker(@_);
    is_deeply $worker->frame, ['ready', 1, 'afork'], 'it is ready';
    return $worker;
}

sub test_values {
    my ($perl, $async) = @_;
    my $worker = ready($perl, $async, args => ['a', 'b'], parameters => { function => 'work', init => 'init' });
    my $all = join '', map chr, 0 .. 255;
    my @answers = (
        [[echo => 'a', '', "b\0", $all], ['a', '', "b\0", $all]],
        [[echo => map { $_ x 70 } 1 .. 40], [map { $_ x 70 } 1 .. 40]],
        [['none'], []],
        [['echo'], []],
        [['want'], ['list']],
        [['initial'], ['a,b']],
        [['upgraded'], ["\xe9"]],
        [['all'], [$all]],
        [['undef'], ['', '', 0, 1.5]],
        [['globals'], ['changed']],
        [[echo => 1, 2], [1, 2]],
        [['keep', 'k1', 'k2'], ['kept']],
        [['echo', 'o1', 'o2', 'o3'], ['o1', 'o2', 'o3']],
        [['kept'], ['k1', 'k1', 'k2']],
        [['change', 1, 2, 3], ['changed']],
        [['change', 'p', 'q'], ['changed']],
        [['echo', "\xe9", 'q', 'r'], ["\xe9", 'q', 'r']],
        [['alias', 'abc'], [2]],
        [['alias', 'xyb'], [3]],
        [['error'], ['']],
        [['error'], ['']],
        [['returned_error'], ["caught\n"]],
        [['system'], [0]],
        [['print'], ['printed']],
        [['nonblocking'], ['non-blocking']],
        [[length => 'x' x 3e6], [3e6]],
        [['close'], ['closed']],
        [[echo => 'x'], ['x']],
    );
    for my $case (@answers) {
        my ($call, $result) = @$case;
        my $answer = $worker->ask(@$call);
        is_deeply $answer, ['result', $worker->{id}, @$result], "$call->[0]";
    }
    like $worker->ask('title')->[2], qr/^\d+ work$/, 'the title is the function';
    is_deeply [$worker->finish], [], 'nothing more comes';
    is $worker->status, 0, 'it ends well';
}

sub test_exceptions {
    my ($perl, $async) = @_;
    my $worker = ready($perl, $async);
    my $error = sub {
        my ($text, @call) = @_;
        my ($kind, $id, @strings) = @{ $worker->ask(@call) };
        is $kind, 'error', "$call[0] fails";
        is $id, $worker->{id}, 'its call';
        like $strings[0], $text, 'with its text';
        is @strings, 1, 'and no more';
    };
    $error->(qr/^text at .* line \d+\.\n\z/, die => 'text');
    $error->(qr/^text\n\z/, die => "text\n");
    $error->(qr/^Broken: broken\z/, 'object');
    $error->(qr/has no text/, 'textless');
    $error->(qr/^\xe2\x98\xba\n\z/, 'wide_exception');
    $error->(qr/^caf\xe9\n\z/, 'latin_exception');
    $error->(qr/^hooked: text\n\z/, 'hooked');
    is $worker->ask('unhooked')->[2], 'off', 'a handler of exceptions';
    is $worker->ask('hook')->[2], 1, 'another one';
    $error->(qr/^Undefined subroutine &main::do_nothing called/, 'nothing');
    $error->(qr/Wide character/, 'wide') ;
    like $worker->ask('wide_event')->[2], qr/Wide character/, 'an event dies in its caller';
    $error->(qr/^alarm\n\z/, 'alarm');
    if (!$async) {
        $error->(qr/last|outside/, 'last');
        $error->(qr/next|outside/, 'next');
    }
    is $worker->ask('error')->[2], '', 'nothing is left in $@';
    $worker->send_frame(77, pack 'w', 9);
    my $answer = $worker->frame;
    is_deeply [@$answer[0, 1]], ['error', 77], 'arguments that cannot be unpacked'
        if $perl eq 'own' && !$async;
    is $worker->ask(echo => 'still')->[2], 'still', 'it is alive';
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

sub test_events {
    my ($perl, $async) = @_;
    my $worker = ready($perl, $async);
    $worker->call('event', 'x');
    is_deeply [map $worker->frame, 1 .. 3],
        [['event', 1, 'one', 'x'], ['event', 1, 'two'], ['result', 1, 'done']], 'events of a call';
    $worker->call('retire');
    is_deeply [map $worker->frame, 1 .. 3], [['retire', 0], ['retire', 0], ['result', 2, 'done']],
        'retire';
    is_deeply $worker->ask('fork_event'), ['event', 3, 'from child'], 'an event of a child';
    is_deeply $worker->frame, ['result', 3, 3], 'and the answer of its parent';
    is_deeply $worker->ask('fork'), ['result', 4, 'parent 0'], 'a child does not answer';
    is $worker->ask('fork_die')->[2] =~ /^parent \d+$/, 1, 'nor does one that dies';
    is_deeply [$worker->ask('errors_of_event'), $worker->frame],
        [[event => $worker->{id}, "caught\n", 5], [result => $worker->{id}, "caught\n", 5]], 'errors of the caller stay';
    if (!$async) {
        like $worker->ask('event_for')->[2], qr/^event_for is for the asynchronous back end/, 'event_for';
        my $select = IO::Select->new($worker->fd);
        for (1 .. 100) {    # one that comes just before the worker sleeps is seen with the next
            kill USR1 => $worker->{pid};
            last if $select->can_read(0.2);
        }
        is_deeply $worker->frame, ['event', 0, 'signal'], 'a handler runs while it is idle';
    }
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

sub test_ends {
    my ($perl, $async) = @_;
    for my $case ([exit => 55, 55 << 8], [exit => 0, 0], [_exit => 7, 7 << 8], [kill => 0, 9]) {
        my ($how, $argument, $status) = @$case;
        my $worker = ready($perl, $async);
        $worker->call(echo => 1);
        $worker->call($how => $argument);
        my @frames = grep defined, $worker->frame, $worker->frame;
        ok @frames <= 1, "$how: no answer";
        is $worker->status, $status, 'its status';
    }
    my $worker = ready($perl, $async, parameters => { function => 'work', die => 1 });
    is $worker->ask(echo => 1)->[2], 1, 'a call';
    is $worker->ask(die => "fatal\n"), undef, 'an exception ends the worker';
    is $worker->status, 255 << 8, 'its status';
    like $worker->err, qr/^fatal$/m, 'and its text';
}

# Answers that wait for each other are written before the process ends, unless it is killed.
sub test_held {
    my ($perl, $async) = @_;
    for my $case ([exit => 3], [die => 255, die => 1]) {
        my ($how, $status, @more) = @$case;
        my $worker = ready($perl, $async, parameters => { function => 'work', @more });
        my $frames = join '', map pack('C C n N N/a*', 1, 0, 0, $_, pack '(w/a*)*', 'echo', $_), 1 .. 1000;
        $worker->write_and_read($frames . pack 'C C n N N/a*', 1, 0, 0, 1001, pack '(w/a*)*', $how, 3);
        my $good = 0;
        while (my $frame = $worker->frame) { $good += $frame->[2] == $frame->[1] }
        $async ? cmp_ok($good, '<=', 1000, "$how: no more answers than calls") : is $good, 1000, "$how: all answers are there";
        is $worker->status, $status << 8, 'its status';
    }
    my $worker = ready($perl, $async);
    my $frames = join '', map pack('C C n N N/a*', 1, 0, 0, $_, pack '(w/a*)*', 'echo', $_), 1 .. 1000;
    $worker->write_and_read($frames . pack 'C C n N N/a*', 1, 0, 0, 1001, pack '(w/a*)*', 'fork');
    is_deeply [map $worker->frame->[2], 1 .. 1001], [1 .. 1000, 'parent 0'],
        'a copy does not write what waits';
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

sub test_starts {
    my ($perl, $async) = @_;
    my %case = (
        'init dies' => [{ function => 'work', init => 'do_die' }, qr/^argument at/, 'argument'],
        'no init' => [{ function => 'work', init => 'nowhere' }, qr/^Undefined subroutine &main::nowhere called/],
        'no function' => [{ function => 'nowhere' }, qr/^Undefined subroutine &main::nowhere called/],
        'no function in a package' => [{ function => 'No::where' }, qr/^Undefined subroutine &No::where called/],
        'serialiser does not compile' => [{ function => 'work', serialiser => '(((' }, qr/^syntax error/],
        'serialiser dies' => [{ function => 'work', serialiser => 'die "no module\n"' }, qr/^no module\n/],
        'serialiser gives nothing' => [{ function => 'work', serialiser => '1' }, qr/^the serialiser does not give/],
    );
    for my $name (sort keys %case) {
        my ($parameters, $text, @args) = @{ $case{$name} };
        my $worker = worker($perl, $async, parameters => $parameters, args => \@args);
        my $frame = $worker->frame;
        is_deeply [@$frame[0, 1]], ['error', 0], $name;
        like $frame->[2], $text, 'the text';
        is $worker->frame, undef, 'the end';
        is $worker->status, 255 << 8, 'its status';
        like $worker->err, qr/\Q$frame->[2]\E/, 'and on standard error';
    }
}

sub test_json {
    my ($perl, $async) = @_;
    require JSON::PP;
    my $json = JSON::PP->new->utf8;
    my $worker = worker($perl, $async, parameters => { function => 'work', serialiser => $Calls::JSON },
        pack => sub { $json->encode(\@_) }, unpack => sub { @{ $json->decode(shift) } });
    is_deeply $worker->frame, ['ready', 1, 'afork'], 'the probe is packed by the serialiser';
    is_deeply $worker->ask(echo => { a => [1, undef, "\x{263a}"] }),
        ['result', 1, { a => [1, undef, "\x{263a}"] }], 'structures';
    is_deeply $worker->ask('wide'), ['result', 2, chr 0x263a], 'wide characters';
    is_deeply $worker->ask('die', { code => 5 })->[3], '[{"code":5}]', 'an exception as data';
    is @{ $worker->ask('object') }, 3, 'one that cannot be packed';
    $worker->send_frame(9, '{broken');
    is_deeply [@{ $worker->frame }[0, 1]], ['error', 9], 'arguments that cannot be unpacked';
    my $answer = $worker->ask(echo => 'x' x 200_000);
    is length $answer->[2], 200_000, 'a large one';
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

# Sizes at the limits of buffers, and octet by octet.
sub test_sizes {
    my ($perl, $async) = @_;
    my $worker = ready($perl, $async);
    $worker->{bytewise} = 1;
    is_deeply $worker->ask(echo => 'a', 'bc', ''), ['result', 1, 'a', 'bc', ''], 'octet by octet';
    $worker->{bytewise} = 0;
    my @sizes = (127, 128, 4095, 8191, 8192, 8193, 16383, 16384, 32767, 32768, 65515 .. 65540, 1 << 20,
        (1 << 20) + 1, 3_000_001);
    for my $size (@sizes) {
        my $data = join '', map chr(65 + $_ % 26), 1 .. 1000;
        $data = substr $data x (1 + $size / 1000), 0, $size;
        my $answer = $worker->ask(echo => 'before', $data, 'after');
        ok $answer->[3] eq $data && $answer->[2] eq 'before' && $answer->[4] eq 'after',
            "$size octets";
    }
    my @many = map { $_ x ($_ % 7) } 1 .. 40_000;
    is_deeply [@{ $worker->ask(echo => @many) }[2 .. 40_001]], \@many, 'many strings';
    my @calls = map $worker->call(echo => $_, 'y' x ($_ % 50)), 1 .. 3000;
    my $wrong = 0;
    for my $i (1 .. 3000) {
        my $frame = $worker->frame;
        $wrong++ if $frame->[1] != $calls[$i - 1] || $frame->[2] != $i || $frame->[3] ne 'y' x ($i % 50);
    }
    is $wrong, 0, 'many calls at once, in their order';
    my $large = 'z' x 100_000_000;
    my $answer = $worker->ask(echo => $large);
    ok $answer->[2] eq $large, '100 MB';
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

# Both sides have much to write, through little room.
sub test_room {
    my ($perl, $async) = @_;
    my $worker = ready($perl, $async);
    require Socket;
    setsockopt $worker->fd, Socket::SOL_SOCKET(), $_, 4096 for Socket::SO_SNDBUF(), Socket::SO_RCVBUF();
    my $data = 'r' x 500_000;
    $worker->call(echo => $data) for 1 .. 8;
    my @good = grep { my $frame = $worker->frame; $frame->[2] eq $data } 1 .. 8;
    is @good, 8, 'nobody waits for the other';
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

# A host that claims what it does not send, or talks nonsense.
sub test_nonsense {
    my ($perl, $async) = @_;
    for my $case (['a kind' => pack 'C C n N N', 9, 0, 0, 1, 0], ['zero' => pack 'C C n N N', 1, 0, 1, 1, 0],
        ['an id' => pack 'C C n N N', 1, 0, 0, 0, 0], ['a result' => pack 'C C n N N', 3, 0, 0, 1, 0]) {
        my $worker = ready($perl, $async);
        Host::write_all($worker->fd, $case->[1]);
        my $frame = $worker->frame;
        is_deeply [@$frame[0, 1]], ['error', 0], "$case->[0] is wrong";
        is $worker->status, 255 << 8, 'its status';
    }
    my $worker = ready($perl, $async);
    Host::write_all($worker->fd, pack('C C n N N', 1, 0, 0, 1, 0xfffffff0) . pack('w', 0xffffff00) . 'x' x 100);
    open my $status, '<', "/proc/$worker->{pid}/status" or die $!;
    my ($kib) = grep defined, map /^VmHWM:\s+(\d+)/, <$status>;
    ok $kib < 200_000, 'a length alone takes no memory';
    $worker->finish;
    is $worker->status, 0, 'the end in the middle of a call is the end';
}

sub test_host_gone {
    my ($perl, $async) = @_;
    my $worker = ready($perl, $async);
    $worker->call(echo => 'x' x 1_000_000);
    close $worker->{fd};
    is $worker->status, 0, 'a host that is gone is no error';
    is $worker->err, '', 'and nobody is told';
}

# Of the asynchronous back end alone, with the loops that there are.
sub test_callbacks {
    my ($perl) = @_;
    my $code = <<'CODE';
sub work {
    my ($done, $what, @args) = @_;
    exit 3 if $what eq 'exit';
    return if $what eq 'drop';
    eval { die "caught\n" };
    $done->($@, @args);
    AFork::RPC::event($@);
}
sub over { die "over\n" }
CODE
    my $start = sub {
        return Calls->start(perl => $perl, async => 1, code => $code, @_, parameters => { function => 'work', %{ { @_ }->{parameters} // {} } });
    };
    my $worker = $start->();
    $worker->frame;
    $worker->call('done', 'x');
    is_deeply [$worker->frame, $worker->frame], [['result', 1, "caught\n", 'x'], ['event', 1, "caught\n"]],
        'an exception that was caught is the result, and stays';
    like $worker->ask('drop')->[2], qr/^the callback was dropped/, 'a callback that is dropped';
    my $frames = join '', map pack('C C n N N/a*', 1, 0, 0, $_, pack '(w/a*)*', 'done', $_), 1 .. 100;
    $worker->write_and_read($frames . pack 'C C n N N/a*', 1, 0, 0, 101, pack '(w/a*)*', 'exit');
    is_deeply [map $_->[1], grep $_->[0] eq 'result', $worker->finish], [1 .. 100], 'answers before an exit are there';
    is $worker->status, 3 << 8, 'its status';

    $worker = $start->(parameters => { done => 'over' });
    $worker->frame;
    $worker->finish;
    is $worker->status, 255 << 8, 'a function for the end that dies';
    is $worker->err, "over\n", 'its text';

    $worker = $start->(original => 1);
    $worker->call('drop');
    is_deeply [$worker->finish], [], 'a dropped callback, with frames that cannot tell';
    is $worker->status, 0, 'is waited for no longer';
}

for my $perl (@Calls::PERLS) {
    for my $model ($has_anyevent ? qw(EV Perl) : ()) {
        next if system "PERL_ANYEVENT_MODEL=$model $Host::FOREIGN_PERL -MAnyEvent -e 'AnyEvent::detect' 2>/dev/null";
        local $ENV{PERL_ANYEVENT_MODEL} = $model;
        subtest "callbacks: $perl, $model" => sub { test_callbacks($perl) };
    }
}

for my $perl (@Calls::PERLS) {
    for my $async (0, 1) {
        my $name = "$perl, " . ($async ? 'asynchronous' : 'synchronous');
    SKIP: {
            skip "$name: needs AnyEvent", 1 if $async && !$has_anyevent;
            for my $test (qw(values exceptions events ends held starts json sizes room nonsense host_gone)) {
                next if @ARGV && !grep $_ eq $test || $_ eq $perl, @ARGV;
                subtest "$test: $name" => sub { no strict 'refs'; &{"test_$test"}($perl, $async) };
            }
        }
    }
}

{
    local $ENV{PERL_UNICODE} = 'SDA';
    for my $perl (@Calls::PERLS) {
        subtest "PERL_UNICODE: $perl" => sub {
            my $worker = ready($perl, 0);
            my $all = join '', map chr, 0 .. 255;
            is_deeply $worker->ask(echo => $all, "\xe9"), ['result', 1, $all, "\xe9"],
                'octets stay octets';
            $worker->finish;
            is $worker->status, 0, 'it ends well';
        };
    }
}

done_testing;
