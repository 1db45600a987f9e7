#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Descriptors with calls and their answers. What sends and receives them is in afork-perl, so this runs in
# it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Calls;
use Test::More;

if (!defined &AFork::Serve::me) {
    exec $Host::PERL, $0, @ARGV or die "$Host::PERL: $!";
}
require AnyEvent::Fork::RPC;    # has the transport

my $has_anyevent = eval { require AnyEvent; 1 };

my $code = <<'CODE';
sub work {
    my ($what, @args) = @_;
    if ($what eq 'open') { open my $file, '<', $args[0] or die; return ('before', $file, 'after') }
    if ($what eq 'read') { my $handle = $args[-1]; local $/; return (scalar(@args), scalar <$handle>) }
    if ($what eq 'pipe') { pipe my $in, my $out; print $out "unflushed"; return ($in, 'x', $out) }
    if ($what eq 'event') { open my $file, '<', '/dev/null'; AFork::RPC::event('here', $file); return 'done' }
    if ($what eq 'many') { my @all = map { open my $file, '<', '/dev/null' or die "open: $!"; $file } 1 .. $args[0]; return @all }
    if ($what eq 'glob') { open OUT, '<', '/dev/null'; return (*OUT, \*OUT, *OUT{IO}) }
    if ($what eq 'object') { require IO::File; return IO::File->new('/dev/null') }
    if ($what eq 'closed') { open my $file, '<', '/dev/null'; close $file; return $file }
    if ($what eq 'memory') { open my $file, '<', \'text'; return $file }
    if ($what eq 'fds') { return scalar(() = glob '/proc/self/fd/*') }
    if ($what eq 'echo') { return @args }
    die "$what\n";
}
sub later { my ($done, @args) = @_; $done->(work(@args)) }
CODE

# The next frame, and its handles.
sub frame {
    my ($worker) = @_;
    my @handles;
    {
        no warnings 'redefine';
        local *Calls::fill = sub {
            my ($n, @came) = AFork::RPC::receive_octets(fileno $_[0]{fd}, $_[0]{in}, 1 << 16);
            push @{ $worker->{came} }, @came;
            return $n || 0;
        };
        my $frame = $worker->frame or return;
        return ($frame, splice @{ $worker->{came} }, 0, $worker->{n_fds});
    }
}

sub call_with {
    my ($worker, $n, $handles, @values) = @_;
    my $frame = pack 'C C n N N/a*', 1, $n, 0, ++$worker->{id}, pack '(w/a*)*', @values;
    is AFork::RPC::send_octets(fileno $worker->fd, $frame, 0, map fileno $_, @$handles), length $frame, 'sent';
}

for my $async (0, $has_anyevent ? 1 : ()) {
    my $name = $async ? 'asynchronous' : 'synchronous';
    my $worker = Calls->start(async => $async, code => $code, parameters => { function => $async ? 'later' : 'work' });
    frame($worker);
    $worker->call('glob');    # leaves a handle open
    frame($worker);
    my $before = $worker->ask('fds')->[2];

    $worker->call(open => $0);
    my ($frame, @handles) = frame($worker);
    is_deeply $frame, ['result', $worker->{id}, 'before', 'after'],
        "$name: a handle is taken out of the list";
    is @handles, 1, 'and comes as descriptor';
    is readline($handles[0]), "#!/usr/bin/perl\n", 'of the file';

    pipe my $in, my $out or die;
    print $out 'text';
    close $out;
    call_with($worker, 2, [\*STDIN, $in], 'read', 'x');
    is_deeply [frame($worker)], [['result', $worker->{id}, 3, 'text']],
        'handles come last of the arguments';

    $worker->call('pipe');
    ($frame, @handles) = frame($worker);
    is_deeply $frame, ['result', $worker->{id}, 'x'], 'two handles';
    close pop @handles;
    is readline($handles[0]), 'unflushed', 'what was printed is in the pipe';

    $worker->call('event');
    ($frame, @handles) = frame($worker);
    is_deeply $frame, ['event', $worker->{id}, 'here'], 'an event';
    is @handles, 1, 'with a handle';
    frame($worker);

    for my $case ([glob => 3], [object => 1]) {
        $worker->call($case->[0]);
        ($frame, @handles) = frame($worker);
        is @handles, $case->[1], $case->[0];
        is @$frame, 2, 'and nothing else';
    }
    $worker->call(many => 253);
    ($frame, @handles) = frame($worker);
    is @handles, 253, 'as many as a message holds';
    undef @handles;
    for my $case ([many => 254], [closed => 1], ['memory']) {
        $worker->call(@$case);
        ($frame, @handles) = frame($worker);
        is $frame->[0], 'error', "@$case";
        is @handles, 0, 'no handle';
    }
    call_with($worker, 1, [\*STDIN], 'echo', 'x' x 60_000);
    ($frame, @handles) = frame($worker);
    is @handles, 1, 'a handle and a long string back';
    is length $frame->[2], 60_000, 'the string';
    undef @handles;
    for (1 .. 20) { $worker->call(echo => $_); call_with($worker, 1, [\*STDIN], 'echo', $_) }
    my $good = 0;
    for my $i (1 .. 20) {
        my ($plain, @none) = frame($worker);
        my ($with, @one) = frame($worker);
        $good++ if !@none && @one == 1 && $plain->[2] == $i && $with->[2] == $i;
    }
    is $good, 20, 'each goes with its call';
    is $worker->ask('fds')->[2], $before, 'none is left open';

    call_with($worker, 2, [\*STDIN], 'echo');
    ($frame) = frame($worker);
    is_deeply [@$frame[0, 1]], ['error', 0], 'a descriptor that did not come';
    is $worker->status, 255 << 8, 'ends the worker';
}

# More descriptors on their way than a user may have: for a moment, or until somebody reads. All are
# sent, or what they belong to fails, in words; the worker goes on.
my $crowded = <<'CODE';
sub AFork::Test::few { # of another user: root may have as many as it likes
    require 'syscall.ph';
    my $limit = pack 'QQ', 60, 60;
    syscall &SYS_setrlimit, 7, $limit and die "setrlimit: $!";    # RLIMIT_NOFILE
    ($<, $>) = (54321, 54321) if !$>;
}
sub AFork::Test::handles { open my $null, '<', '/dev/null' or die "open: $!"; return ($null) x 40 }
sub crowd {
    my ($what, $n) = @_;
    AFork::Test::few();
    my @handles = AFork::Test::handles();
    my $sent = 0;
    my $good = eval { for (1 .. $n) { AFork::RPC::event($_, @handles); $sent++ } 1 };
    my $text = $@;
    return $what eq 'handles' ? ($sent, @handles) : ($sent, $text);
}
sub later { my ($done, @args) = @_; $done->(crowd(@args)) }
CODE
# Without reading them: what has come stays under way.
sub wait_for_octets {
    my ($worker, $n) = @_;
    my $end = Time::HiRes::time() + $Host::DEADLINE;
    for (;;) {
        ioctl $worker->fd, 0x541b, my $there = pack 'i', 0 or die "FIONREAD: $!";
        return if unpack('i', $there) >= $n;
        die "no more octets in time\n" if Time::HiRes::time() > $end;
        select undef, undef, undef, 0.01;
    }
}

my $has_limits = eval { require 'syscall.ph'; SYS_setrlimit(); 1 };
SKIP: {
    skip 'needs syscall.ph', 1 if !$has_limits;
    for my $async (0, $has_anyevent ? 1 : ()) {
        my $name = $async ? 'asynchronous' : 'synchronous';
        for my $case ([events => 4, 1], [events => 4, 0], [handles => 2, 0], [handles => 2, 1]) {
            my ($what, $n, $reads) = @$case;
            my $worker = Calls->start(async => $async, code => $crowded,
                parameters => { function => $async ? 'later' : 'crowd' });
            frame($worker);
            $worker->call($what, $n);
            wait_for_octets($worker, 2 * 14 + 12) if !$reads;    # two events, and what is no event
            my ($events, $with) = (0, 0);
            my ($frame, @handles);
            while (($frame, @handles) = frame($worker) and $frame->[0] eq 'event') {
                $events++;
                $with++ if @handles == 40;
                @handles = ();
            }
            is $with, $events, "$name, $what, $reads: each event has its handles";
            if ($reads) {
                is_deeply [$events, @$frame[0, 2]], [$n, 'result', $n], 'all came';
            } elsif ($what eq 'events') {
                is $frame->[0], 'result', 'a result';
                cmp_ok $events, '<', $n, 'not all came';
                is $frame->[2], $async ? $n : $events, 'what the function knows of that';
                like $worker->err, qr/^an event is lost: handles cannot be sent: ./m,
                    'the others were told of' if $async;
                like $frame->[3], qr/^handles cannot be sent: ./,
                    'the others were exceptions' if !$async;
            } else {
                is $frame->[0], 'error', 'the result could not be sent';
                like $frame->[2], qr/^handles cannot be sent: ./, 'it says why';
            }
            is +(frame($worker))[0][0], 'event', 'the worker goes on' if $worker->call('events', 1);
            is +(frame($worker))[0][0], 'result', 'and answers';
            $worker->finish;
            is $worker->status, 0, 'it ends well';
        }
    }
}

# An event that is sent while a result is packed, and one that cannot be sent.
for my $async (0, $has_anyevent ? 1 : ()) {
    my $name = $async ? 'asynchronous' : 'synchronous';
    my $worker = Calls->start(async => $async, parameters => {
            function => $async ? 'later' : 'work',
            serialiser => '(sub { freeze(@_) }, sub { unpack "(w/a*)*", shift })',
        }, code => <<'CODE');
our $nested = 0;
sub null { open my $null, '<', '/dev/null' or die; return $null }
sub closed { my $null = null(); close $null; return $null }
sub freeze {
    if (defined $_[0] && $_[0] =~ /^(good|bad)/ && !$nested) {
        local $nested = 1;
        AFork::RPC::event('event', null()) if $1 eq 'good';
        eval { AFork::RPC::event('event', null(), closed()) } if $1 eq 'bad';
    }
    die "not packed\n" if defined $_[0] && $_[0] eq 'event' && $nested == 2;
    return pack '(w/a*)*', @_;
}
sub work {
    my ($what, $n) = @_;
    local $nested = 2 if $what eq 'unpacked';
    eval { AFork::RPC::event('event', null()) } if $what eq 'unpacked';
    return ($what, map null(), 1 .. $n);
}
sub later { my ($done, @args) = @_; $done->(work(@args)) }
CODE
    frame($worker);
    for my $what (qw(good bad unpacked)) {
        for my $n (0, 3) {
            $worker->call($what, $n);
            my ($frame, @handles) = frame($worker);
            if ($what eq 'good') {
                is_deeply [$frame->[0], scalar @handles], ['event', 1], "$name: an event in freeze";
                ($frame, @handles) = frame($worker);
            }
            is_deeply $frame, ['result', $worker->{id}, $what], "$name, $what: the result";
            is scalar @handles, $n, "has its $n handles, and no others";
        }
    }
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

# Perls that are not ours.
for my $perl (qw(foreign stdin)) {
    my $worker = Calls->start(perl => $perl, code => $code, parameters => { function => 'work' });
    frame($worker);
    is $worker->ask(open => $0)->[0], 'error', "$perl: a handle cannot be sent";
    call_with($worker, 1, [\*STDIN], 'echo');
    is((frame($worker))[0][0], 'error', 'nor received');
    is $worker->ask(echo => 'x')->[2], 'x', 'and the worker goes on';
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

# The frames of the original have no handles: they are what perl makes of them.
my $worker = Calls->start(original => 1, code => $code, parameters => { function => 'work' });
like $worker->ask(open => $0)->[3], qr/^GLOB\(/, 'the original has no handles';
$worker->finish;
is $worker->status, 0, 'it ends well';

done_testing;
