#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Servers that are handed from program to program: by afork (tests/handover-host) and by the original
# AnyEvent::Fork, in each direction, whoever serves. Each program that has handed one over is killed
# before the next one starts.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Host;
use POSIX ();
use Socket;
use Test::More;

my $host = "$ENV{AFORK_TEST_BUILDDIR}/tests/handover-host";
plan skip_all => 'needs tests/handover-host' if !-x $host;

my $have_original = eval { require AnyEvent::Fork; 1 };

$ENV{HANDOVER_MODULE} = 'AnyEvent::Fork::Serve';
$ENV{HANDOVER_CODE}   = <<'END';
our $code = 'code';
sub tell {
    my ($channel, @arguments) = @_;
    for (grep ref, @arguments) { sysread $_, my $text, 7; $_ = $text }
    syswrite $channel, join '', "$code ", @arguments, " $$";
    exit 7;
}
END

# The same roles as those of handover-host.
my $original = File::Temp->new;
print $original <<'END';
use strict;
use warnings;
use AnyEvent;
use AnyEvent::Fork;
use IO::FDPass;
$| = 1;
$AnyEvent::Fork::PERL = $ENV{HANDOVER_PERL};
my ($role) = @ARGV;

sub adopt {
    my $fd = IO::FDPass::recv(3);
    $fd >= 0 or die "no server came: $!";
    open my $fh, '+<&=', $fd or die $!;
    return AnyEvent::Fork->new_from_fh($fh);
}

sub make {
    pipe my $read, my $write or die $!;
    syswrite $write, 'handle handle ';
    return AnyEvent::Fork->new_exec->eval($ENV{HANDOVER_CODE})->send_fh($read)->send_arg('argument');
}

sub tell_me {
    my ($process) = @_;
    my $done = AE::cv;
    $process->run('tell', sub {
        my $fd = shift;
        my $text = '';
        my $watcher;
        $watcher = AE::io $fd, 0, sub {
            return if sysread $fd, $text, 4096, length $text;
            undef $watcher;
            $done->send($text);
        };
    });
    print $done->recv, ", unknown\n";
}

if ($role eq 'take') {
    my $process = adopt();
    tell_me($process->fork);
    tell_me($process);
    exit;
}
my $process = $role eq 'give' ? make() : adopt();
$process->to_fh(sub {
    my $fh = shift;
    IO::FDPass::send(4, fileno $fh) or die "sending: $!";
    print "given\n";
});
AE::cv->recv;
END
$original->flush;

# Starts a program with a socket to take servers from, and one to pass them on; what it prints is
# returned as a handle.
sub start {
    my ($from, $to, $perl, @command) = @_;
    local $ENV{HANDOVER_PERL} = $perl;
    my $pid = open my $output, '-|';
    defined $pid or die "fork: $!";
    return ($pid, $output) if $pid;
    my ($take, $pass) = map { POSIX::fcntl_dup($_) } $from, $to;
    POSIX::dup2($take, 3);
    POSIX::dup2($pass, 4);
    POSIX::close($_) for 5 .. 63;
    exec { $command[0] } @command or POSIX::_exit(127);
}

sub POSIX::fcntl_dup {
    require Fcntl;
    return fcntl $_[0], Fcntl::F_DUPFD(), 64;
}

sub command {
    my ($who, $role, $peer) = @_;
    return $who eq 'afork' ? ($host, $role, $peer) : ($Host::FOREIGN_PERL, "$original", $role);
}

sub is_running {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or return 0;
    return (<$stat> // '') =~ /\) [^ZX]/;
}

# Passes a server through programs. Each is [who, what it says of the server].
sub relay {
    my ($perl, @programs) = @_;
    my @pairs = map { socketpair my $in, my $out, AF_UNIX, SOCK_STREAM, 0 or die $!; [$in, $out] } 0 .. @programs;
    my @lines;
    for my $i (0 .. $#programs) {
        my $role = $i == 0 ? 'give' : $i == $#programs ? 'take' : 'pass';
        my ($pid, $output) = start($pairs[$i][0], $pairs[ $i + 1 ][1], $perl, command($programs[$i][0], $role, $programs[$i][1]));
        if ($role eq 'take') {
            @lines = split /^/, Host::slurp($output);
        } else {
            my $line = Host::line($output);
            kill KILL => $pid;
            push @lines, $line if $line ne "given\n";
        }
        waitpid $pid, 0;
        last if @lines;
    }
    return @lines;
}

my %servers = ('afork-perl' => $Host::PERL, 'perl' => $Host::FOREIGN_PERL);

sub check {
    my ($server, @programs) = @_;
    my $name = "$server: " . join ' to ', map { $_->[0] . ($_->[0] eq 'afork' ? " ($_->[1])" : '') } @programs;
SKIP: {
        skip "$name: AnyEvent::Fork is not installed", 1
            if !$have_original && ($server eq 'perl' || grep { $_->[0] eq 'original' } @programs);
        my @told = (relay($servers{$server}, @programs), '', '')[0, 1];
        my ($fork_pid, $pid) = map { s/(\d+),/PID,/ ? $1 : 0 } @told;
        my ($last, $peer) = @{ $programs[-1] };
        my $exit = $last eq 'afork' && $peer eq 'own' ? 'exited with status 7' : 'unknown';
        is_deeply \@told,
            ["code handle argument PID, $exit\n", "code handle argument PID, unknown\n"], $name;
        ok $pid && $fork_pid && $pid != $fork_pid, 'two processes';
        ok Host::eventually(sub { !is_running($pid) && !is_running($fork_pid) }), 'nothing is left';
    }
}

my @own      = ('afork', 'own');
my @as_other = ('afork', 'original');
my @other    = ('original', 'original');

# Between two programs: afork and afork, and each direction with the original.
check('afork-perl', \@own, \@own);
check('afork-perl', \@own, \@as_other);
check('afork-perl', \@as_other, \@own);
check('afork-perl', \@own, \@other);
check('afork-perl', \@other, \@own);
check('afork-perl', \@other, \@as_other);
check('afork-perl', \@other, \@other);
check('perl', \@as_other, \@as_other);
check('perl', \@as_other, \@other);
check('perl', \@other, \@as_other);

# In a row.
check('afork-perl', \@own, \@own, \@own, \@own);
check('afork-perl', \@own, \@other, \@own, \@as_other, \@own);
check('perl', \@other, \@as_other, \@other, \@as_other);

done_testing;
