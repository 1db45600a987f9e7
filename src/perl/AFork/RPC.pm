# SPDX-License-Identifier: MIT
#
# The back ends of RPC in Perl: both for perls other than afork-perl, the asynchronous one for
# that, too. They speak the frames of afork, and those of AnyEvent::Fork::RPC under its names. The
# host sends this text to perls that have nothing of afork, without its comments: it needs perl
# 5.16 and, for the asynchronous back end, AnyEvent.
package AFork::RPC;

# Evaluates the code of a serialiser. Stands before everything else, so that it sees nothing of
# ours.
sub evaluate { package main; return eval $_[0] }

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EPIPE ECONNRESET EWOULDBLOCK ENOBUFS ENOMEM ETOOMANYREFS);
use IO::Handle ();
use Scalar::Util ();

use constant CHUNK => 1 << 20;
use constant TEXT_MAX => 1 << 30;
use constant { ROOM_SECONDS => 0.02, ROOM_TRIES => 50 };
use constant VERSION => 1;    # of our frames
use constant OCTETS => '(sub { pack "(w/a*)*", @_ }, sub { unpack "(w/a*)*", shift })';
use constant { CALL => 1, READY => 2, RESULT => 3, ERROR => 4, EVENT => 5, RETIRE => 6 };
use constant PROMPT => 2;     # a flag that asks for what is so here in any case

# Code that is compiled from now on may leave out parentheses.
sub AFork::RPC::event;
sub AFork::RPC::event_for;
sub AFork::RPC::flush;
{ no warnings 'prototype'; sub AFork::Pool::retire; }    # a host may have sent one
sub AnyEvent::Fork::RPC::event;
sub AnyEvent::Fork::RPC::flush;

my ($rfh, $wfh, $is_socket);
my ($own, $async, $fatal);    # our frames; the back end; an exception ends the process
my ($function, $freeze, $thaw, $octets);
my ($pid, $call) = (0, 0);    # the process that serves; the call that is worked on
my ($in, $out) = ('', '');
my @came;                     # handles whose frames are not complete yet
my @waiting;                  # asynchronous: octets, how many are written, handles sent with them
my @dropped;                  # calls whose callback is gone
my (%id_of, $reader, $writer, $when_done, $outstanding);
my $room_tries = 0;           # of the first that waits

sub can_pass { return defined &AFork::RPC::send_octets }

# The text of an exception, in octets. It may be an object that dies when it is asked.
sub text_of {
    my ($exception) = @_;
    my $text = eval { local $SIG{__DIE__}; "$exception" };
    $text = "an exception that has no text\n" if !defined $text || $text eq '';
    utf8::downgrade($text, 1) or utf8::encode($text);
    substr $text, TEXT_MAX, length $text, '' if length $text > TEXT_MAX;    # as it goes into a frame
    return $text;
}

sub say_and_exit {
    my ($text) = @_;
    syswrite STDERR, $text =~ /\n\z/ ? $text : "$text\n";
    $? = 255;
    exit 255;
}

# A copy of the process that code of the user made and did not end: what it returns is nobody's.
sub end_copy { $out = ''; @waiting = (); undef $reader; undef $writer; exit 0 }

sub wait_until {
    my ($handle, $write) = @_;
    vec(my $set = '', fileno $handle, 1) = 1;
    $write ? select undef, $set, undef, undef : select $set, undef, undef, undef;
}

# Reads what there is, at most `$room` octets, and appends it. As sysread.
sub receive {
    my ($room) = @_;
    return sysread $rfh, $in, $room, length $in if !can_pass() || !$is_socket;
    my ($n, @handles) = AFork::RPC::receive_octets(fileno $rfh, $in, $room);
    push @came, @handles;
    return $n;
}

# Writes some of the octets from an offset on, with handles at the first of them. As syswrite. The
# string is not copied.
sub transmit {
    my ($offset, @handles) = @_[1 .. $#_];
    return AFork::RPC::send_octets(fileno $wfh, $_[0], $offset, map fileno $_, @handles)
        if $is_socket && can_pass();
    local $SIG{PIPE} = 'IGNORE';
    return syswrite $wfh, $_[0], CHUNK, $offset;
}

sub write_failed {
    $out = '';
    @waiting = ();
    exit 0 if $! == EPIPE || $! == ECONNRESET;    # the host is gone: there is nobody to tell
    say_and_exit("AFork::RPC: write error ($!)\n");
}

# The kernel has no room, and does not say when.
sub is_for_now { return $! == ENOBUFS || $! == ENOMEM || $! == ETOOMANYREFS }

# Writes all of it, whatever that takes.
sub write_all { write_rest($_[0], 0, @_[1 .. $#_]) }

sub write_rest {
    my ($done, @handles) = @_[1 .. $#_];
    my $tries = ROOM_TRIES;
    while ($done < length $_[0]) {
        my $n = transmit($_[0], $done, @handles);
        if ($n) {
            @handles = ();
            $done += $n;
        } elsif (!defined $n && ($! == EAGAIN || $! == EWOULDBLOCK)) {
            wait_until($wfh, 1);
        } elsif (!defined $n && is_for_now() && (!@handles || $tries--)) {
            select undef, undef, undef, ROOM_SECONDS;
        } elsif (!defined $n && $! != EINTR) {
            write_failed() if !@handles || $! == EPIPE || $! == ECONNRESET;
            @handles = ();
            without_handles($_[0]);
        }
    }
}

# The first of some frames, whose handles cannot be sent: a result becomes an error; of an event
# nobody can be told any more.
sub without_handles {
    my ($kind, $id, $len) = unpack 'C x3 N N', $_[0];
    my $text = "handles cannot be sent: $!\n";
    warn "an event is lost: $text" if $kind != RESULT;
    substr $_[0], 0, 12 + $len, $kind == RESULT ? error_frame($id, $text) : '';
}

# Gives a frame to be written, with the handles that go with it.
sub emit {
    my ($frame, @handles) = @_;
    return write_all($frame, @handles) if !$async || $$ != $pid;
    if (@waiting && !@handles && length $waiting[-1][0] < CHUNK) {
        $waiting[-1][0] .= $frame;
    } else {
        push @waiting, [$frame, 0, @handles];
    }
    watch_writable();
}

# For code of the user, which has errors of its own to look at.
sub emit_quietly { local $!; emit(@_) }

sub frame {
    my ($kind, $id, $octets, @handles) = @_;
    return pack 'C C n N N/a*', $kind, scalar @handles, 0, $id, $octets if $own;
    return pack 'N N/a*', $kind == EVENT ? 0 : $async ? $id : 1, $octets;
}

# Takes the handles out of a list.
sub take_handles {
    my ($list) = @_;
    my @handles = grep is_handle($_), @$list or return;
    die "handles can be sent only by afork-perl, and through a Unix socket\n"
        if !can_pass() || !$is_socket;
    die "more than 253 handles in a result or event\n" if @handles > 253;
    for my $handle (@handles) {
        my $fd = fileno $handle;
        die "a handle in a result or event is not open, or has no descriptor\n"
            if !defined $fd || $fd < 0;
        my $selected = select $handle;
        { local $| = 1 }
        select $selected;
    }
    @$list = grep !is_handle($_), @$list;
    return @handles;
}

sub is_handle {
    return ref \$_[0] eq 'GLOB' if !ref $_[0];
    my $type = Scalar::Util::reftype($_[0]);
    return $type eq 'GLOB' || $type eq 'IO';
}

# The frame of a list, and its handles. Dies of what cannot be packed.
sub pack_list {
    my ($kind, $id, @list) = @_;
    my @handles = $own ? take_handles(\@list) : ();
    my $packed = $freeze->(@list);
    $packed = '' if !defined $packed;
    die "Wide character in result or event\n" if !utf8::downgrade($packed, 1);
    die "a result or event is longer than 4 GiB\n" if length $packed > 0xffffffff;
    return (frame($kind, $id, $packed, @handles), @handles);
}

sub error_frame {
    my ($id, $exception) = @_;
    my $text = text_of($exception);
    my @more;
    if ($id && ref $exception && !$octets) {
        my $packed = eval { local $SIG{__DIE__}; $freeze->($exception) };
        @more = $packed if defined $packed && utf8::downgrade($packed, 1);
    }
    return frame(ERROR, $id, pack '(w/a*)*', $text, @more);
}

# Takes the next frame out of the buffer: id, payload and handles; or nothing.
sub next_frame {
    my $size = $own ? 12 : $async ? 8 : 4;
    return if length $in < $size;
    my ($kind, $n_handles, $flags, $id, $len) = (CALL, 0, 0, 1);
    if ($own) {
        ($kind, $n_handles, $flags, $id, $len) = unpack 'C C n N N', $in;
        protocol_error('malformed frame') if $kind != CALL || $flags & ~PROMPT || !$id;
    } elsif ($async) {
        ($id, $len) = unpack 'N N', $in;
    } else {
        $len = unpack 'N', $in;
    }
    return if length($in) - $size < $len;
    my $payload = substr $in, $size, $len;
    substr $in, 0, $size + $len, '';
    protocol_error('descriptors are missing') if can_pass() && @came < $n_handles;
    return ($id, $payload, $n_handles, splice @came, 0, $n_handles);
}

sub protocol_error {
    my $text = "AFork::RPC: $_[0] - stream corrupted?\n";
    write_waiting();
    write_all(error_frame(0, $text)) if $own;
    say_and_exit($text);
}

sub unpack_call {
    my ($payload, $n_handles, @handles) = @_;
    die "handles can be received only by afork-perl\n" if $n_handles && !can_pass();
    return ($thaw->($payload), @handles);
}

sub parameters {
    my ($all) = @_;
    if (@$all && defined $all->[-1] && $all->[-1] =~ /^-[0-9]+\z/) {
        my $n = -pop @$all;
        die "AFork::RPC: run has a wrong number of parameters\n" if $n % 2 || $n >= @$all;
        my %parameter = splice @$all, @$all - $n;
        die "AFork::RPC: run lacks the function\n" if !defined $parameter{function};
        return %parameter;
    }
    die "AFork::RPC: run lacks parameters\n" if @$all < 5;
    my ($name, $init, $serialiser, $done) = splice @$all, -4;
    return (function => $name, init => $init, serialiser => $serialiser, done => $done);
}

# Standard streams are moved out of the way of code that prints or closes them.
sub open_channel {
    my ($handle) = @_;
    $rfh = $wfh = $handle;
    if (fileno $handle == 0) {
        open $rfh = undef, '<&', $handle or die "cannot copy standard input: $!\n";
        open $wfh = undef, '>&', \*STDOUT or die "cannot copy standard output: $!\n";
        open STDIN, '<', '/dev/null' or die "cannot open /dev/null: $!\n";
        open STDOUT, '>&', \*STDERR or die "cannot copy standard error: $!\n";
    }
    binmode $_ for $rfh, $wfh;
    $is_socket = -S $rfh && -S $wfh;
}

# What has to be good before there are calls.
sub prepare {
    my ($parameter, @args) = @_;
    my $name = $parameter->{function};
    if (length($parameter->{init} // '')) {
        my $init = qualified($parameter->{init});
        @_ = @args;
        @args = ();
        undef $parameter;
        no strict 'refs';
        &$init;
    }
}

sub qualified { return $_[0] =~ /::|'/ ? $_[0] : "main::$_[0]" }

sub find_function {
    my ($name) = @_;
    no strict 'refs';
    my $full = qualified($name);
    $function = \&$full;
}

sub check_function {
    my ($name) = @_;
    no strict 'refs';
    my $full = qualified($name);
    my ($package) = $full =~ /^(.*)(?:::|')/s;
    die "Undefined subroutine &$full called\n" if !defined &$full && !$package->can('AUTOLOAD');
}

sub make_serialiser {
    my ($code) = @_;
    $code = OCTETS if !length($code // '');
    $octets = $code eq OCTETS;
    my @functions = evaluate($code);
    die $@ if ref $@ || $@ ne '';
    die "the serialiser does not give two functions\n"
        if @functions != 2 || grep ref ne 'CODE', @functions;
    ($freeze, $thaw) = @functions;
}

# Everything up to the first call. Returns the name of the function for the end.
sub begin {
    (($own, $async), my @all) = @_;
    my %parameter = parameters(\@all);
    $fatal = !$own || $parameter{die};
    ($pid, $call, $in, $outstanding) = ($$, 0, '', 0);
    open_channel(shift @all);
    $0 =~ s/^(\d+).*$/$1 $parameter{function}/s;
    my $start = sub {
        require AnyEvent if $async;
        prepare(\%parameter, splice @all);
        end_copy() if $$ != $pid;
        find_function($parameter{function});
        make_serialiser($parameter{serialiser});
        return if !$own;
        check_function($parameter{function});
        write_all(pack_list(READY, VERSION, 'afork'));
    };
    if (!$own) {
        $start->();
    } elsif (!eval { $start->(); 1 }) {
        my $exception = $@;
        write_all(error_frame(0, $exception));
        say_and_exit(text_of($exception));
    }
    define_functions();
    return $parameter{done};
}

sub define_functions {
    no strict 'refs';
    no warnings qw(redefine prototype);
    *{'AFork::RPC::event'} = *{'AnyEvent::Fork::RPC::event'} =
        sub { emit_quietly(pack_list(EVENT, $call, @_)); return };
    *{'AFork::RPC::flush'} = *{'AnyEvent::Fork::RPC::flush'} =
        sub { write_waiting(); return 1 };
    *{'AFork::RPC::event_for'} = sub {
        my $done = shift;
        die "event_for is for the asynchronous back end\n" if !$async;
        my $id = $id_of{ 0 + $done } or die "event_for: the call is answered\n";
        emit_quietly(pack_list(EVENT, $id, @_));
        return;
    };
    if ($own) {
        *{'AFork::Pool::retire'} = *{'AnyEvent::Fork::Pool::retire'} =
            sub { emit(frame(RETIRE, 0, '')); return };
    } elsif (defined &AnyEvent::Fork::Pool::retire) {
        *{'AFork::Pool::retire'} = \&AnyEvent::Fork::Pool::retire;
    }
}

# The synchronous back end.

# Calls the function and returns what to send. The block keeps a stray `last` from our loop.
sub answer {
    my ($id, @frame) = @_;
    my ($entered, @result);
    {
        die "redo outside of a loop\n" if $entered++;
        @result = $function->(unpack_call(@frame));
        end_copy() if $$ != $pid;
        return pack_list(RESULT, $id, @result);
    }
    die "Can't leave the function by last or next\n";
}

sub run_sync {
    begin(@_);
    for (;;) {
        while (my ($id, @frame) = next_frame()) {
            $call = $id;
            my @answer;
            if ($fatal) {
                @answer = answer($id, @frame);
            } elsif (!eval { @answer = answer($id, @frame); 1 }) {
                my $exception = $@;
                end_copy() if $$ != $pid;
                @answer = error_frame($id, $exception);
            }
            $call = 0;
            write_all(@answer);
        }
        my $n = receive(length $in < CHUNK ? 65536 : CHUNK);
        end_copy() if $$ != $pid;
        next if !defined $n && $! == EINTR;
        if (!defined $n && ($! == EAGAIN || $! == EWOULDBLOCK)) {
            wait_until($rfh);
            next;
        }
        last if !$n;
    }
    shutdown $wfh, 1;
    exit 0;
}

# The asynchronous back end.

sub write_waiting {
    return if $$ != $pid;    # they are the parent's to write
    write_rest(@{ shift @waiting }) while @waiting;
}

# What is answered, and not written yet when the process ends.
END { local ($?, $!, $@); write_waiting() if @waiting }

sub watch_writable { $writer ||= AE::io($wfh, 1, \&on_writable) }

sub on_writable {
    return end_copy() if $$ != $pid;
    emit(error_frame($_, "the callback was dropped before it was called\n")) for splice @dropped;
    while (@waiting) {
        my $n = transmit(@{ $waiting[0] });
        if (!$n) {
            return if !defined $n && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
            my $has_handles = @{ $waiting[0] } > 2;
            if (!defined $n && is_for_now() && (!$has_handles || $room_tries++ < ROOM_TRIES)) {
                my $again = sub { $writer = AE::io($wfh, 1, \&on_writable) };
                $writer = AE::timer(ROOM_SECONDS, 0, $again);
                return;
            }
            write_failed() if !$has_handles || $! == EPIPE || $! == ECONNRESET;
            without_handles($waiting[0][0]);
        }
        $room_tries = 0;
        $waiting[0][1] += $n // 0;
        $#{ $waiting[0] } = 1;    # handles are sent
        shift @waiting if $waiting[0][1] == length $waiting[0][0];
    }
    undef $writer;
    end_if_done();
}

sub end_if_done {
    return if $reader || $outstanding || @waiting || @dropped;
    shutdown $wfh, 1;
    undef $writer;
    exit 0 if !length($when_done // '') || $when_done =~ /^(?:CORE::exit|.*::do_exit)\z/s;
    my $name = qualified($when_done);
    no strict 'refs';
    eval { &$name(); 1 } or say_and_exit(text_of($@));    # some loops would only warn
}

# The call that a ticket is for, which is answered now: there is no other answer.
sub take_call {
    my ($ticket) = @_;
    my $id = $ticket->[0];
    $ticket->[0] = undef;
    delete $id_of{ $ticket->[1] };
    --$outstanding;
    return $id;
}

# What goes wrong where the function has returned already is told as well, if there is a way; but
# not here: the process may be about to end, which tells more.
sub AFork::RPC::Ticket::DESTROY {
    my ($ticket) = @_;
    return if !$ticket->[0] || $$ != $pid || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    my $id = take_call($ticket);
    push @dropped, $id if $own;
    watch_writable();
}

sub done_for {
    my ($id) = @_;
    my $ticket = bless [$id], 'AFork::RPC::Ticket';
    my $done = sub {
        end_copy() if $$ != $pid;
        my $id = $ticket->[0] or die "the callback of a call was called again\n";
        my @result = @_;    # `$@` may be among them
        my @frame;
        local ($@, $!);
        if ($fatal) {
            @frame = pack_list(RESULT, $id, @result);
        } elsif (!eval { @frame = pack_list(RESULT, $id, @result); 1 }) {
            @frame = error_frame($id, $@);
        }
        take_call($ticket);
        emit(@frame);
        return;
    };
    $ticket->[1] = 0 + $done;
    $id_of{ 0 + $done } = $id;
    ++$outstanding;
    return ($done, $ticket);
}

sub start_call {
    my ($id, @frame) = @_;
    my ($done, $ticket) = done_for($id);
    my $outer = $call;    # the function may run the loop
    $call = $id;
    if (!eval { { $function->($done, unpack_call(@frame)); } 1 }) {
        my $exception = $@;
        end_copy() if $$ != $pid;
        say_and_exit(text_of($exception)) if $fatal;    # some loops would only warn
        if ($ticket->[0]) {
            emit(error_frame(take_call($ticket), $exception));
        } else {
            warn text_of($exception);
        }
    }
    end_copy() if $$ != $pid;
    $call = $outer;
}

sub on_readable {
    end_copy() if $$ != $pid;
    my $n = receive(length $in < CHUNK ? 65536 : CHUNK);
    if ($n) {
        while (my @frame = next_frame()) {
            start_call(@frame);
        }
    } elsif (defined $n || $! == ECONNRESET) {
        undef $reader;
        watch_writable();
    } elsif ($! != EAGAIN && $! != EWOULDBLOCK && $! != EINTR) {
        say_and_exit("AFork::RPC: read error ($!)\n");
    }
}

sub run_async {
    $when_done = begin(@_);
    $_->blocking(0) for $rfh, $wfh;
    $reader = AE::io($rfh, 0, \&on_readable);
    no warnings 'once';
    $AnyEvent::MODEL eq 'AnyEvent::Impl::EV' ? EV::run() : AE::cv()->recv;
    exit 0;
}

# Names. What is built in, or loaded, stays.

sub define_back_end {
    my ($name, $code) = @_;
    no strict 'refs';
    return if defined &{"${name}::run"};
    *{"${name}::run"} = $code;
    *{"${name}::do_exit"} = sub { exit };
    ${"${name}::VERSION"} = 2;
    $INC{ "$name.pm" =~ s{::}{/}gr } ||= __FILE__ if !can_pass();    # afork-perl knows better
}

# A handle on memory that holds the octets, and that nobody can change or shorten. Where perl has no
# name for the system call that makes it, or the kernel does not know it, a file without a name.
sub memfd {
    my ($octets) = @_;
    require Config;
    utf8::downgrade($octets, 1) or die "AFork::memfd: wide character\n";
    my %number = (x86_64 => 319, aarch64 => 279, riscv64 => 279, s390x => 350, powerpc64le => 360);
    my $number = $^O eq 'linux' && $number{ $Config::Config{archname} =~ /^(\w+)-linux(?!.*x32)/ ? $1 : '' };
    my $fd = $number ? syscall $number, my $name = 'AFork', 3 : -1;    # close-on-exec, may be sealed
    my $file;
    $fd >= 0 && open $file, '+<&=', $fd or open $file, '+>', undef or die "AFork::memfd: $!\n";
    binmode $file;
    for (my $done = 0; $done < length $octets;) {
        $done += syswrite $file, $octets, length($octets) - $done, $done or die "AFork::memfd: $!\n";
    }
    fcntl $file, 1033, 15 if $fd >= 0;    # F_ADD_SEALS: all there are
    sysseek $file, 0, 0;
    return $file;
}
*AFork::memfd = \&memfd if !defined &AFork::memfd;

define_back_end('AFork::RPC::Sync', sub { run_sync(1, 0, @_) });
define_back_end('AFork::RPC::Async', sub { run_async(1, 1, @_) });
define_back_end('AnyEvent::Fork::RPC::Sync', sub { run_sync(0, 0, @_) });
define_back_end('AnyEvent::Fork::RPC::Async', sub { run_async(0, 1, @_) });
$INC{"AFork/$_.pm"} ||= __FILE__ for can_pass() ? () : qw(RPC Pool);

# What workers use of the modules that are for hosts: those that are installed come first.
sub define_host_names {
    no strict 'refs';
    no warnings 'once';
    my $storable = 'sub { @{ Storable::thaw(shift) } }';
    $AnyEvent::Fork::RPC::STRING_SERIALISER = OCTETS;
    $AnyEvent::Fork::RPC::JSON_SERIALISER =
        'my $json = eval { require JSON::XS; JSON::XS->new }'
        . ' // do { require JSON::PP; JSON::PP->new };'
        . ' $json->utf8; (sub { $json->encode(\@_) }, sub { @{ $json->decode(shift) } })';
    $AnyEvent::Fork::RPC::STORABLE_SERIALISER =
        "use Storable (); (sub { Storable::freeze(\\\@_) }, $storable)";
    $AnyEvent::Fork::RPC::NSTORABLE_SERIALISER =
        "use Storable (); (sub { Storable::nfreeze(\\\@_) }, $storable)";
    $AnyEvent::Fork::RPC::CBOR_XS_SERIALISER =
        'use CBOR::XS (); (sub { CBOR::XS::encode_cbor_sharing(\@_) },'
        . ' sub { @{ CBOR::XS::decode_cbor(shift) } })';
    *{'AnyEvent::Fork::Pool::ncpu'} = sub (;$) {
        my $n = 0;
        if (open my $list, '<', '/proc/cpuinfo') { $n = grep /^processor\s*:/, <$list> }
        $n ||= shift || 1;
        return wantarray ? ($n, $n) : $n;
    };
    return 1;
}

push @INC, sub {
    my (undef, $file) = @_;
    return if $file ne 'AnyEvent/Fork/RPC.pm' && $file ne 'AnyEvent/Fork/Pool.pm';
    return \'AFork::RPC::define_host_names()';
} if !can_pass();

1;
