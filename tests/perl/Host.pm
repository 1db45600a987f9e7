# SPDX-License-Identifier: MIT
#
# A host for tests of the Perl servers: starts one, sends it commands, reads its status records. Every
# wait has a deadline.
package Host;

use strict;
use warnings;

use Carp;
use Errno;
use Fcntl;
use FindBin;
use IO::Select;
use Socket;
use Time::HiRes ();

use constant SOCK_SEQPACKET => 5;

our $DEADLINE = $ENV{AFORK_TEST_DEADLINE} || 20;
our $PERL = $ENV{AFORK_PERL} || 'afork-perl';
our $FOREIGN_PERL = $ENV{PERL} || $^X;
our $LIB = $ENV{AFORK_TEST_PERL_LIB} || "$FindBin::Bin/../../src/perl";
our @TYPES = qw(none hello forked entered error exited warning);
our @PHASES = qw(none eval require function fork protocol limits);

my $identity = 0;

$SIG{PIPE} = 'IGNORE';

# Whether handles can be sent: without this module they cannot.
sub can_send_handles { return eval { require IO::FDPass } }

# The three kinds of servers, as options of `start`.
sub kinds {
    return (
        'own'      => {},
        'original' => { original => 1, module => 'AnyEvent::Fork::Serve' },
        'foreign'  => { original => 1, perl => $FOREIGN_PERL, switches => ["-I$LIB"] },
    );
}

# A server. Options: perl, switches, module, flags; original (no status socket); stdout and stderr
# (handles); before_exec (code that runs in the child).
sub start {
    my ($class, %option) = @_;
    socketpair my $host, my $server, AF_UNIX, SOCK_STREAM, 0 or die "socketpair: $!";
    my $self = bless { fd => $host, identity => ++$identity }, $class;
    my ($status, $end);
    if (!$option{original}) {
        socketpair $status, $end, AF_UNIX, SOCK_SEQPACKET, 0 or die "socketpair: $!";
        $self->{status} = $status;
    }
    my $module = $option{module} || 'AFork::Serve';
    my @command = ($option{perl} || $PERL, @{ $option{switches} || [] }, "-M$module", '-e',
        $module . '::me', fileno $server, $$);
    push @command, fileno $end, $identity, $option{flags} // '' if $end;

    my $pid = CORE::fork // die "fork: $!";
    if (!$pid) {
        open STDERR, '>&', $option{stderr} or die $! if $option{stderr};
        open STDOUT, '>&', $option{stdout} or die $! if $option{stdout};
        for my $fd (grep -e "/proc/self/fd/$_", 3 .. 1023) {    # what this test's parent left open
            open my $handle, "<&=$fd" or next;
            fcntl $handle, F_SETFD, FD_CLOEXEC;
        }
        fcntl $_, F_SETFD, 0 for grep $_, $server, $end;
        $option{before_exec}->() if $option{before_exec};
        exec { $command[0] } @command or die "exec: $!";
    }
    $self->{pid} = $pid;
    $self->expect('hello') if $status;
    return $self;
}

sub write_all {
    my ($fd, $data) = @_;
    for (my $done = 0; $done < length $data;) {
        my $n = syswrite $fd, $data, 1 << 20, $done;
        return if !defined $n && $!{EPIPE};    # the server has ended: what it said is what matters
        $done += $n // croak "write: $!";
    }
}

sub command {
    my ($self, $letter, $payload) = @_;
    write_all($self->{fd}, pack 'a L/a*', $letter, $payload);
    return $self;
}

sub eval { my $self = shift; $self->command(e => pack '(w/a*)*', @_) }
sub args { my $self = shift; $self->command(a => pack '(w/a*)*', @_) }

sub load {
    my ($self, @modules) = @_;
    s{::}{/}g for @modules;
    return $self->eval('require "$_.pm" for @_', @modules);
}

sub handle {
    my ($self, $fd) = @_;
    require IO::FDPass;
    $self->command('h', '');
    IO::FDPass::send(fileno $self->{fd}, fileno $fd) or croak "send: $!";
    return $self;
}

sub fork {
    my ($self) = @_;
    socketpair my $host, my $server, AF_UNIX, SOCK_STREAM, 0 or die "socketpair: $!";
    $self->handle($server);
    my $child = bless {
        fd       => $host,
        identity => ++$identity,
        status   => $self->{status},
        kept     => $self->kept,
    }, ref $self;
    if ($self->{status}) {
        $self->command(F => pack "QC", $identity, 0);
    } else {
        $self->command('f', '');
    }
    return $child;
}

# Runs a function and returns the channel.
sub run {
    my ($self, $function) = @_;
    $self->command(r => $function);
    return delete $self->{fd};
}

# Code that defines a function which gets the channel, as the worker's whole life.
sub run_code {
    my ($self, $code) = @_;
    $self->eval("sub main::test_function { my \$fd = shift; $code }");
    return $self->run('test_function');
}

# What a worker writes until it ends.
sub slurp {
    my ($fd) = @_;
    my $data = '';
    my $end = Time::HiRes::time() + $DEADLINE;
    my $select = IO::Select->new($fd);
    for (;;) {
        my $left = $end - Time::HiRes::time();
        croak 'no end of file in time' if $left <= 0;
        next if !$select->can_read($left);
        my $n = sysread $fd, $data, 65536, length $data;
        last if !$n;
    }
    return $data;
}

# Looks until the code returns true. For what no descriptor tells.
sub eventually {
    my ($code) = @_;
    my $end = Time::HiRes::time() + $DEADLINE;
    until ($code->()) {
        return 0 if Time::HiRes::time() > $end;
        Time::HiRes::sleep(0.01);
    }
    return 1;
}

# One line of a worker.
sub line {
    my ($fd) = @_;
    my $line = '';
    my $select = IO::Select->new($fd);
    while ($line !~ /\n/) {
        $select->can_read($DEADLINE) or croak 'no line in time';
        sysread $fd, $line, 1, length $line or last;
    }
    return $line;
}

# The next status record as a hash, or nothing when none comes in time.
sub record {
    my ($self, $seconds) = @_;
    IO::Select->new($self->{status})->can_read($seconds // $DEADLINE) or return;
    my $data;
    defined recv($self->{status}, $data, 20000, 0) && length $data or return;
    my %record;
    (my $type, my $phase, @record{qw(pid identity value)}, my $rest) = unpack 'C C x2 L Q L x4 a*', $data;
    @record{qw(type phase)} = ($TYPES[$type], $PHASES[$phase]);
    $record{$type == 5 ? 'usage' : 'text'} = $type == 5 ? [unpack 'q*', $rest] : $rest;
    return \%record;
}

# Waits for a record of this type (and identity); keeps the others for later.
sub expect {
    my ($self, $type, $identity) = @_;
    my $kept = $self->kept;
    my $fits = sub {
        $_[0]{type} eq $type && (!defined $identity || $_[0]{identity} == $identity);
    };
    for my $i (0 .. $#$kept) {
        return splice @$kept, $i, 1 if $fits->($kept->[$i]);
    }
    my $end = Time::HiRes::time() + $DEADLINE;
    while ((my $left = $end - Time::HiRes::time()) > 0) {
        my $record = $self->record($left) or last;
        return $record if $fits->($record);
        push @$kept, $record;
    }
    croak "no record '$type' in time";
}

# The next record about one process.
sub next_about {
    my ($self, $identity) = @_;
    my $kept = $self->kept;
    for my $i (0 .. $#$kept) {
        return splice @$kept, $i, 1 if $kept->[$i]{identity} == $identity;
    }
    while (my $record = $self->record) {
        return $record if $record->{identity} == $identity;
        push @$kept, $record;
    }
    croak "no record about $identity in time";
}

# Records that nobody has asked for yet. A server and its forks have them in common.
sub kept { $_[0]{kept} ||= [] }

# Ends the server by end of file and returns its wait status.
sub end {
    my ($self) = @_;
    delete $self->{fd};
    delete $self->{status};
    return $self->wait;
}

sub wait {
    my ($self) = @_;
    local $SIG{ALRM} = sub { kill KILL => $self->{pid}; croak 'the server does not end' };
    alarm $DEADLINE;
    waitpid $self->{pid}, 0;
    alarm 0;
    return $?;
}

1;
