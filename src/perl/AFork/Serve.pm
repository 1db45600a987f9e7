# SPDX-License-Identifier: MIT
#
# The server of afork for perls other than afork-perl. It speaks the protocol of AnyEvent::Fork without
# extensions and has the original's names, too, so that worker modules run unchanged.
package AnyEvent::Fork::Serve;

# Evaluates its first argument and returns the exception's text. Stands before everything else, so that
# the code sees @arg and nothing of ours. The block keeps a stray `last` from our loop.
sub evaluate {
    our @arg;
    package main;
    { eval shift }
    my $error = $@;
    return eval { $error ? "$error" : '' } // "an exception that has no text\n";
}

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use POSIX ();

BEGIN {
    no strict 'refs';
    *{'AFork::Serve::'} = *{'AnyEvent::Fork::Serve::'};
    $INC{'AnyEvent/Fork/Serve.pm'} ||= __FILE__;
}

use constant CHUNK => 1 << 20;

our $OWNER;    # the host's pid
our @arg;      # pending arguments

my @hooks;     # to run in each forked process
my %children;  # pids of our own; others are left to the code that made them

# Has code run in each process that is forked from here on, before anything else. Returns the code.
sub after_fork {
    my ($hook) = @_;
    die "Usage: AFork::Serve::after_fork(code reference)\n" if @_ != 1 || ref $hook ne 'CODE';
    push @hooks, $hook;
    return $hook;
}

# Takes it back. Returns whether it was there.
sub cancel_after_fork {
    my ($hook) = @_;
    for my $i (reverse 0 .. $#hooks) {
        return !!splice @hooks, $i, 1 if $hooks[$i] == $hook;
    }
    return !!0;
}

# Returns the text of the exception that ended one. The block keeps a stray `last` from the loop.
sub run_hooks {
    for my $hook (my @all = @hooks) {
        my $error;
        $! = 0;
        { local $@; eval { $hook->(); 1 } or $error = $@ }
        next if !defined $error;
        return eval { "$error" } || "an exception that has no text\n";
    }
    return '';
}

sub fail {
    my ($text) = @_;
    chomp $text;
    warn "[$0] ERROR: $text\n";
    exit 255;
}

sub reap {
    for my $pid (keys %children) {
        delete $children{$pid} if waitpid($pid, POSIX::WNOHANG()) != 0;
    }
}

# Looks after children before it sleeps, unless there is something to read.
sub wait_for_octets {
    my ($fd) = @_;
    vec(my $readable = '', $fd, 1) = 1;
    reap() if !select my $ready = $readable, undef, undef, 0;
    select $readable, undef, undef, undef;
}

# Exactly `$len` octets, or nothing at the end of file.
sub receive {
    my ($socket, $len) = @_;
    my $data = '';
    while ((my $missing = $len - length $data) > 0) {
        wait_for_octets(fileno($socket) // fail('the command socket was closed')) if $data eq '';
        my $n = sysread $socket, $data, $missing < CHUNK ? $missing : CHUNK, length $data;
        next if !defined $n && ($! == EINTR || $! == EAGAIN);
        fail("cannot read commands: $!") if !defined $n;
        return if !$n;
    }
    return $data;
}

sub receive_handle {
    my ($socket) = @_;
    eval { require IO::FDPass } or fail("handles need the module IO::FDPass: $@");
    my $fd = IO::FDPass::recv(fileno $socket);
    fail("cannot receive a handle: $!") if !defined $fd || $fd < 0;
    open my $handle, "+<&=$fd" or fail("cannot open a received handle: $!");
    binmode $handle;
    return $handle;
}

# Returns the command socket to go on with.
sub fork_server {
    my ($socket) = @_;
    my $own = pop @arg;
    fail('fork without a socket - stream corrupted?') if !ref $own;
    my $pid = fork // fail("fork: $!");
    if ($pid) {
        $children{$pid} = 1;
        return $socket;
    }
    %children = ();
    srand;
    $0 = "$OWNER AnyEvent::Fork";
    if (@hooks) {
        my $error = run_hooks();
        fail($error) if $error ne '';
    }
    return $own;
}

sub serve {
    my ($socket) = @_;
    local $^W = 0;
    no warnings 'redefine';
    local *run_args = sub () { splice @arg };

    @_ = ();
    @arg = ();
    %children = ();
    while (defined(my $header = receive($socket, 5))) {
        my ($command, $len) = unpack 'a L', $header;
        fail('received an unknown request - stream corrupted?') if $command !~ /[eahfr]/;
        my $payload = receive($socket, $len) // last;
        if ($command eq 'e') {
            $! = 0;
            my $pid = $$;
            my $error = evaluate(unpack '(w/a*)*', $payload);
            exit if $$ != $pid;    # a copy that the code made: commands are not for it
            fail($error) if $error ne '';
        } elsif ($command eq 'a') {
            push @arg, unpack '(w/a*)*', $payload;
        } elsif ($command eq 'h') {
            push @arg, receive_handle($socket);
        } elsif ($command eq 'f') {
            $socket = fork_server($socket);
        } else {
            $0 = "$OWNER $payload";
            $! = 0;
            @_ = ($socket, splice @arg);
            undef $socket;
            package main;
            no strict 'refs';
            goto &$payload;
        }
    }
    shutdown $socket, 1;
    exit;
}

# The entry point of an executed server.
sub me {
    my ($fd, $owner) = splice @ARGV;
    open my $socket, "+<&=$fd" or die "cannot open the command socket: $!\n";
    binmode $socket;
    $OWNER = $owner;
    $0 = "$OWNER AnyEvent::Fork/exec";
    @_ = ($socket);
    undef $socket;
    goto &serve;
}

1;
