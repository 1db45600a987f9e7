# SPDX-License-Identifier: MIT
#
# What a remote perl is given on its standard input (src/remote.c; doc/wire-protocol.md says what
# goes to and fro). The build takes out comments and indentation. The host puts the setting of these
# in front:
#   $ORDER  octet order of the host's numbers, for unpack
#   $TOKEN  what the host looks for in all that is printed
#   $OWNER  the host, for $0
# It runs on any perl from 5.10 on, with what every perl has. The host sends nothing behind __END__
# until it has read the token, and perl's own buffer of the program is not used after that.
package AFork::Remote;

# Stands before everything else, so that the code sees @arg and nothing of ours. The block keeps a
# stray `last` from our loop.
sub evaluate {
    our @arg;
    package main;
    { eval shift }
    my $error = $@;
    return eval { $error ? "$error" : '' } // "an exception that has no text\n";
}

use strict;
use Errno qw(EAGAIN EINTR);

our ($ORDER, $TOKEN, $OWNER);
# The pending arguments.
our @arg;

# As long as there are commands, they have these, and STDIN and STDOUT are not theirs: what the code
# reads and prints shall not get between.
my ($in, $out);

sub unbuffer {
    my $selected = select STDOUT;
    $| = 1;
    select $selected;
}

# Whether its descriptor is open. One that is not would be that of what is opened next.
sub is_open {
    my ($handle) = @_;
    return open my $copy, '>&', $handle;
}

sub set_aside {
    is_open(\*STDERR) or open STDERR, '>', '/dev/null' or die "/dev/null: $!\n";
    open $out, '>&', \*STDOUT or die "standard output: $!\n";
    open $in,  '<&', \*STDIN  or die "standard input: $!\n";
    binmode $_ for $in, $out;
    open STDIN, '<', '/dev/null' or die "/dev/null: $!\n";
    open STDOUT, '>&', \*STDERR or open STDOUT, '>', '/dev/null' or die "/dev/null: $!\n";
    unbuffer();
}

# Whether it has its descriptor, or can have it.
sub has_place {
    my ($handle, $fd) = @_;
    my $now = fileno $handle;
    return defined $now ? $now == $fd : !open my $copy, '<&', $fd;
}

sub give_back {
    open STDIN,  '<&', $in  or die "standard input: $!\n";
    open STDOUT, '>&', $out or die "standard output: $!\n";
    close $_   for $in, $out;
    binmode $_ for *STDIN, *STDOUT;
    unbuffer();
}

# Whether the call is to be made again; waits until it can be.
sub again {
    my ($handle, $write) = @_;
    return 1 if $! == EINTR;
    return 0 if $! != EAGAIN;
    vec(my $ready = '', fileno $handle, 1) = 1;
    select $write ? undef : $ready, $write ? $ready : undef, undef, undef;
    return 1;
}

sub answer {
    my ($data) = @_;
    while ($data ne '') {
        my $n = syswrite $out, $data;
        if (defined $n) {
            substr $data, 0, $n, '';
        } elsif (!again($out, 1)) {
            die "standard output: $!\n";
        }
    }
}

# Exactly `$len` octets, or nothing at the end of file.
sub receive {
    my ($len) = @_;
    my $data = '';
    while ((my $missing = $len - length $data) > 0) {
        my $n = sysread $in, $data, $missing < 1 << 20 ? $missing : 1 << 20, length $data;
        next   if !defined $n && again($in);
        return if !$n;
    }
    ($data) = $data =~ /(.*)/s if ${^TAINT};    # it is for the host to say what is done here
    return $data;
}

# Reads on to the end of file before it leaves: where commands lie unread, an end may outrun the
# answer.
sub fail {
    my ($phase, $text) = @_;
    my $octets = $text;
    utf8::encode($octets) if utf8::is_utf8($octets);
    chomp $text;
    eval { warn "[$0] ERROR: $text\n" };    # there may be a handler that dies
    answer($TOKEN . pack "a $ORDER/a*", $phase, substr $octets, 0, 16384);
    1 while sysread $in, my $rest, 65536;
    exit 255;
}

sub is_function {
    my ($name) = @_;
    my ($package) = $name =~ /(.*)(?:::|')/s;
    no strict 'refs';
    return defined &$name || defined &{"${package}::AUTOLOAD"} || $name eq 'CORE::exit';
}

sub serve {
    my $pid = $$;
    $0 = "$OWNER AFork::Remote";
    set_aside();
    answer($TOKEN);
    while (defined(my $header = receive(5))) {
        my ($command, $len) = unpack "a $ORDER", $header;
        my $payload = receive($len);
        last if !defined $payload;
        if ($command eq 'e') {
            my @list = unpack '(w/a*)*', $payload;
            my $required = $list[0] eq 'require "$_.pm" for @_';
            my $error = evaluate(@list);
            exit 0 if $$ != $pid;    # a copy that the code made: commands are not for it
            fail($required ? 'm' : 'e', $error) if $error ne '';
        } elsif ($command eq 'a') {
            push @arg, unpack '(w/a*)*', $payload;
        } elsif ($command eq 'r') {
            my $function = $payload =~ /::|'/ ? $payload : "main::$payload";
            fail('f', "Undefined subroutine &$function called\n") if !is_function($function);
            fail('f', "descriptor 0 or 1 was taken by something else\n")
                if !has_place(\*STDIN, 0) || !has_place(\*STDOUT, 1);
            $0 = "$OWNER $payload";
            answer("${TOKEN}r" . pack $ORDER, 0);
            give_back();
            exit 0 if $function eq 'CORE::exit';
            @_ = (*STDIN, splice @arg);
            no strict 'refs';
            goto &$function;
        } else {
            fail('p', "an unknown command came\n");
        }
    }
    exit 0;
}

package main;
AFork::Remote::serve();
__END__
