# SPDX-License-Identifier: MIT
#
# A host for tests of RPC back ends: calls functions frame by frame. Every wait has a deadline.
package Calls;

use strict;
use warnings;

use Carp;
use Fcntl;
use File::Temp;
use Host;
use IO::Select;
use Socket;
use Time::HiRes ();

our $OCTETS = '(sub { pack "(w/a*)*", @_ }, sub { unpack "(w/a*)*", shift })';
our $JSON = 'require JSON::PP; my $json = JSON::PP->new->utf8->allow_nonref;'
    . ' (sub { $json->encode(\@_) }, sub { @{ $json->decode(shift) } })';
our @KINDS = qw(none call ready result error event retire);

# The text that makes any perl a worker.
sub module {
    open my $file, '<', "$Host::LIB/AFork/RPC.pm" or die "RPC.pm: $!";
    return join '', grep !/^ *#/, <$file>;
}

# The perls that can be workers: ours, another one as server, and another that has its channel as
# standard input and output.
our @PERLS = qw(own foreign stdin);

sub start_stdin {
    my ($option) = @_;
    socketpair my $host, my $far, AF_UNIX, SOCK_STREAM, 0 or die "socketpair: $!";
    my $pid = CORE::fork // die "fork: $!";
    if (!$pid) {
        close $host;
        open STDIN, '<&', $far or die $!;
        open STDOUT, '>&', $far or die $!;
        open STDERR, '>&', $option->{stderr} or die $! if $option->{stderr};
        exec $Host::FOREIGN_PERL, '-e', 'binmode STDIN; sysread STDIN, my $n, 4; $n = unpack "N", $n;'
            . ' my $text = ""; 1 while length $text < $n && sysread STDIN, $text, $n - length $text, length $text;'
            . ' eval $text; die $@ if $@;' or die "exec: $!";
    }
    return ($host, $pid);
}

# Starts a worker. Options: perl, async, original, code (evaluated first), args (for init), stderr (a
# file), before_exec, and parameters: function, init, serialiser, done, die.
sub start {
    my ($class, %option) = @_;
    my $self = bless { %option, in => '', id => 0, err => File::Temp->new }, $class;
    my $package = ($option{original} ? 'AnyEvent::Fork::RPC' : 'AFork::RPC')
        . ($option{async} ? '::Async' : '::Sync');
    my @parameters = map { ($_ => $option{parameters}{$_}) } sort keys %{ $option{parameters} };
    push @parameters, -@parameters;
    @parameters = @{ $option{four} } if $option{four};
    my $code = 'package main; ' . ($option{code} // '');
    $option{perl} //= 'own';
    if ($option{perl} eq 'stdin') {
        my @all = map { defined() ? 'q(' . s/([\\()])/\\$1/gr . ')' : 'undef' }
            @{ $option{args} || [] }, @parameters;
        my $text = "$code; " . '{ package main; eval ' . quote(module()) . '; die $@ if $@ }'
            . ' open my $channel, "+<&=0" or die; $0 = "1 remote"; '
            . "${package}::run(\$channel, " . join(', ', @all) . ')';
        ($self->{fd}, $self->{pid}) = start_stdin({ stderr => $self->{err} });
        Host::write_all($self->{fd}, pack 'N/a*', $text);
        return $self;
    }
    my %kinds = Host::kinds();
    my %kind = %{ $kinds{ $option{perl} } };
    unshift @{ $kind{switches} }, @{ $option{switches} } if $option{switches};
    my $server = Host->start(%kind, stderr => $self->{err}, before_exec => $option{before_exec});
    $self->{server} = $server;
    $self->{pid} = $server->{pid};
    $server->eval($code) if $option{code};
    $server->eval(module()) if $option{perl} eq 'foreign';
    $server->args(@{ $option{args} || [] }, map $_ // '', @parameters);
    $self->{fd} = $server->run("${package}::run");
    return $self;
}

sub quote { return "unpack('u', q(" . (pack('u', $_[0]) =~ s/([\\()])/\\$1/gr) . '))' }

sub fd { $_[0]{fd} }

sub send_frame {
    my ($self, $id, $payload) = @_;
    my $frame = !$self->{original} ? pack('C C n N N/a*', 1, 0, 0, $id, $payload)
        : $self->{async} ? pack('N N/a*', $id, $payload) : pack('N/a*', $payload);
    $self->{bytewise} ? map Host::write_all($self->{fd}, $_), split //, $frame
        : $self->write_and_read($frame);
    return $id;
}

# Sends a call with strings, or with what `pack` makes of the values; returns its id.
sub call {
    my ($self, @values) = @_;
    my $pack = $self->{pack} || sub { pack '(w/a*)*', @_ };
    return $self->send_frame(++$self->{id}, $pack->(@values));
}

# Reads while it writes, whatever the sizes.
sub write_and_read {
    my ($self, $data) = @_;
    my $fd = $self->{fd};
    my $select = IO::Select->new($fd);
    $fd->blocking(0);
    my $done = 0;
    my $end = Time::HiRes::time() + $Host::DEADLINE;
    while ($done < length $data) {
        my $n = syswrite $fd, $data, 1 << 20, $done;
        $done += $n if defined $n;
        next if defined $n;
        last if $!{EPIPE} || $!{ECONNRESET};    # it has ended: what it said is what matters
        croak "write: $!" if !$!{EAGAIN};
        croak 'no octet written in time' if Time::HiRes::time() > $end;
        my ($readable, $writable) = IO::Select->select($select, $select, undef, 1);
        $self->fill if $readable && @$readable;
    }
    $fd->blocking(1);
}

sub fill {
    my ($self) = @_;
    my $n = sysread $self->{fd}, $self->{in}, 1 << 20, length $self->{in};
    return $n || 0;
}

# The next frame: kind, id, and the strings (or values) in it. Nothing at the end.
sub frame {
    my ($self) = @_;
    my $size = $self->{original} ? 8 : 12;
    my $end = Time::HiRes::time() + $Host::DEADLINE;
    my $select = IO::Select->new($self->{fd});
    for (;;) {
        if (length $self->{in} >= $size) {
            my ($kind, $n, $zero, $id, $len) = unpack 'C C n N N', $self->{in};
            if ($self->{original}) {
                ($id, $len) = unpack 'N N', $self->{in};
                ($kind, $n) = ($id ? 3 : 5, 0);
            }
            if (length $self->{in} >= $size + $len) {
                my $payload = substr $self->{in}, $size, $len;
                substr $self->{in}, 0, $size + $len, '';
                my $unpack = $kind != 4 && $self->{unpack} || sub { unpack '(w/a*)*', shift };
                $self->{n_fds} = $n;
                return [$KINDS[$kind], $id, $unpack->($payload)];
            }
        }
        my $left = $end - Time::HiRes::time();
        croak "no frame in time" if $left <= 0;
        next if !$select->can_read($left);
        $self->fill or return;
    }
}

# A call and its answer.
sub ask {
    my ($self, @values) = @_;
    $self->call(@values);
    return $self->frame;
}

# No more calls; reads until the end. Returns the frames that were left.
sub finish {
    my ($self) = @_;
    shutdown $self->{fd}, 1;
    my @frames;
    while (my $frame = $self->frame) { push @frames, $frame }
    return @frames;
}

# Waits for the end of the process: its wait status.
sub status {
    my ($self) = @_;
    return Host::wait($self) if !$self->{server};
    delete $self->{server}{fd};
    return $self->{server}->end;
}

sub err {
    my ($self) = @_;
    open my $err, '<', $self->{err} or die $!;
    local $/;
    return <$err> // '';
}

1;
