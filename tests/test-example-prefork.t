#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The example prefork-server from the outside: what it answers while workers leave, are killed and are
# replaced, and that it leaves nothing.
use strict;
use warnings;

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

use constant { WORKERS => 4, REQUESTS => 20, DEADLINE => 20 };

# --- Helpers. ---

# Waits until $condition holds.
sub comes_true
{
    my ($condition) = @_;
    my $deadline = time + DEADLINE;
    until ($condition->()) {
        return 0 if time > $deadline;
        sleep 0.005;
    }
    return 1;
}

my ($server, $out, $port);

sub start
{
    pipe $out, my $in or die "pipe: $!";
    $server = fork // die "fork: $!";
    if (!$server) {
        open STDOUT, '>&', $in or die "stdout: $!";
        exec "$ENV{AFORK_TEST_BUILDDIR}/doc/examples/prefork-server", 0, REQUESTS;
        die "exec: $!";
    }
    close $in;
    ($port) = (readline $out // '') =~ /^listening on 127\.0\.0\.1:(\d+)$/;
}

sub connection
{
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => DEADLINE);
}

# The pid and the generation of the worker that answers.
sub answer_on
{
    my ($socket) = @_;
    print $socket "GET / HTTP/1.0\r\n";
    my $text = do { local $/; readline $socket } // '';
    return $text =~ /^HTTP\/1\.0 200 OK\r\n\r\nworker (\d+) of generation (\d+)\n\z/;
}

sub answer { return answer_on(connection() // return) }

# Whether all processes have ended: the perls have the server's standard output, too.
sub nothing_left
{
    local $SIG{ALRM} = sub { die "not in time\n" };
    alarm DEADLINE;
    my $at_end = eval { !defined readline $out };
    alarm 0;
    return $at_end;
}

sub status
{
    local $SIG{ALRM} = sub { kill KILL => $server };
    alarm DEADLINE;
    waitpid $server, 0;
    alarm 0;
    return $?;
}

local $SIG{PIPE} = 'IGNORE';

# --- It serves. ---

start();
ok $port, 'it listens' or BAIL_OUT 'it does not start';
my %seen;
my $answered = grep { my ($pid) = answer(); $seen{ $pid // 0 }++; $pid } 1 .. 3 * REQUESTS;
is $answered, 3 * REQUESTS, 'every request is answered';
ok !(grep { $_ > REQUESTS } values %seen), 'no worker answers more than it should';

$answered = grep { my ($pid) = answer(); $seen{ $pid // 0 }++; $pid } 1 .. 5 * REQUESTS;
is $answered, 5 * REQUESTS, 'every request is answered while workers are replaced';
cmp_ok scalar(keys %seen), '>', WORKERS, 'workers were replaced';

# --- A worker is killed. ---

my ($victim) = answer();
kill KILL => $victim;
is scalar(grep { answer() } 1 .. REQUESTS), REQUESTS, 'a killed worker is not missed';

# --- New code; the worker that is at a request finishes it. ---

my @slow = map { connection() } 1 .. 2;
kill HUP => $server;
my $new = comes_true(sub { my (undef, $generation) = answer(); ($generation // 0) == 2 });
ok $new, 'workers of the next generation answer';
is_deeply [map { defined(answer_on($_)) ? 1 : 0 } @slow], [1, 1], 'open connections are answered';
ok comes_true(sub {
    my @generations = map { (answer())[1] // 0 } 1 .. 2 * WORKERS;
    return !grep { $_ != 2 } @generations;
}), 'then no other';

my $failed = 0;
for (1 .. 5) {
    kill HUP => $server;
    $failed += grep { !answer() } 1 .. 10;
}
is $failed, 0, 'no request is lost while generations follow one another';

# --- It ends. ---

my $last = connection();
print $last "GET";
kill TERM => $server;
print $last " / HTTP/1.0\r\n";
is status(), 0, 'it ends when told to';
ok nothing_left(), 'nothing is left';
ok !connection(), 'it does not listen any more';

# --- It cannot start. ---

{
    local $ENV{AFORK_PERL} = '/nonexistent/perl';
    start();
    isnt status(), 0, 'it ends where there is no perl';
    ok nothing_left(), 'and leaves nothing';
}
for my $arguments ('0 0', '0 5x', 'abc', '70000', '-1', '80x', "''") {
    my $command = "timeout 20 $ENV{AFORK_TEST_BUILDDIR}/doc/examples/prefork-server $arguments";
    is system("$command >/dev/null 2>&1") >> 8, 1, "arguments are refused: $arguments";
}

done_testing;
