#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What code sees that runs in a server: the same in each kind of server.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Host;
use Test::More;

plan skip_all => 'needs IO::FDPass' if !Host::can_send_handles();

my %kinds = Host::kinds();

sub in_each_kind {
    my ($name, $test, %option) = @_;
    for my $kind (sort keys %kinds) {
        subtest "$name ($kind)" => sub { $test->({ %{ $kinds{$kind} }, %option }, $kind) };
    }
}

# What a process wrote to its standard output and error, as a pair of a handle for it and a function.
sub capture {
    my $file = File::Temp->new;
    return ($file, sub { open my $in, '<', $file or die $!; local $/; scalar <$in> // '' });
}

sub inode { join ':', (stat $_[0])[0, 1] }

in_each_kind 'arguments' => sub {
    my $server = Host->start(%{ $_[0] });
    my $octets = join '', map chr, 0 .. 255;
    my @files  = map File::Temp->new, 1 .. 3;
    my $big    = 'x' x 1_000_000;
    $server->eval('sub show { my $fd = shift; print $fd map { defined fileno $_'
            . ' ? "handle ".join(":", (stat $_)[0, 1])."\n" : length($_).unpack("%32C*", $_)."\n" } @_ }');
    $server->args($octets)->handle($files[0])->args('', "end\0")->handle($files[1]);
    my $copy = $server->fork;
    $server->handle($files[2])->args($big);
    my $later = $server->fork;

    my $text = sub { length($_[0]) . unpack('%32C*', $_[0]) };
    my @both = ($text->($octets), 'handle ' . inode($files[0]), $text->(''), $text->("end\0"),
        'handle ' . inode($files[1]));
    my @more = ('handle ' . inode($files[2]), $text->($big));
    is Host::slurp($copy->run('show')), join("\n", @both, ''), 'a copy has what was sent before';
    is Host::slurp($later->run('show')), join("\n", @both, @more, ''), 'a later one has all';
    is Host::slurp($server->run('show')), join("\n", @both, @more, ''), 'the original keeps all';
    is $server->end, 0, 'status';
};

in_each_kind 'large argument' => sub {
    my $server = Host->start(%{ $_[0] });
    my $data = join '', map { pack 'N', $_ } 1 .. 2_500_000;
    $server->args('first', $data);
    my $answer = Host::slurp($server->run_code(
        'print $fd unpack("%32C*", $_[1]), " ", length $_[1], " $_[0]"'));
    is $answer, unpack('%32C*', $data) . ' 10000000 first', 'unchanged';
};

in_each_kind '@arg and run_args' => sub {
    my $server = Host->start(%{ $_[0] });
    $server->args('a', 'b');
    $server->eval('use strict; push @arg, "c", "@arg|@_"; our $seen = 1', 1, 2);
    $server->args('d');
    my $copy = $server->fork;
    is Host::slurp($server->run_code('print $fd "@_"')), 'a b c a b|1 2 d', '@arg';

    $copy->eval('our @got = AnyEvent::Fork::Serve::run_args; push @got, "-", AFork::Serve::run_args();');
    $copy->args('e');
    is Host::slurp($copy->run_code('print $fd "@main::got @_ ", defined &AnyEvent::Fork::Serve::run_args'
        . ' ? "there" : "gone", eval { &AnyEvent::Fork::Serve::run_args; 1 } ? "called" : ""')),
        'a b c a b|1 2 d - e gone', 'run_args clears the list, and is gone afterwards';
};

in_each_kind 'evaluation' => sub {
    my ($err, $text) = capture();
    my $server = Host->start(%{ $_[0] }, stderr => $err);
    $server->eval('package Elsewhere; our $x = 1; sub line { (caller)[2] }');
    $server->eval("\n\$main::seen = [__PACKAGE__, __LINE__, wantarray, \$^W, \$!+0, \"\@_\"];", 'p', 'q');
    $server->eval('$SIG{__WARN__} = sub { print STDERR "warned: @_" }; warn "careful\n"');
    $server->eval('last');
    is Host::slurp($server->run_code('print $fd "on"')) // '', $_[0]{perl} ? 'on' : '',
        'last does not reach a loop of ours';
    like $text->(), qr/warned: careful\n/, 'a handler for warnings';

    $server = Host->start(%{ $_[0] }, stderr => $err);
    $server->eval("\n\$main::seen = [__PACKAGE__, __LINE__, wantarray, \$^W, \$!+0, \"\@_\"];", 'p', 'q');
    is Host::slurp($server->run_code('print $fd join ",", map { $_ // "undef" } @$main::seen')),
        'main,2,undef,0,0,p q', 'package, line, context, $^W, $! and @_';

    for my $die ('die "told\n"', 'die bless [], "Obscure"; sub Obscure::x {}',
        'package Bad; use overload q("") => sub { die "no" }, bool => sub { die "no" }; die bless []') {
        my ($err, $text) = capture();
        my $server = Host->start(%{ $_[0] }, stderr => $err);
        $server->eval('$0 = "title"') if $die =~ /told/;
        $server->eval($die);
        $server->eval('print STDERR "not reached"');
        isnt $server->wait, 0, "status after $die";
        like $text->(), qr/ERROR: /, 'and a message';
        unlike $text->(), qr/not reached/, 'and nothing else is done';
    }
};

in_each_kind 'exit in evaluated code' => sub {
    my ($out, $text) = capture();
    my $server = Host->start(%{ $_[0] }, stdout => $out);
    $server->eval('use strict; END { print "end" } print "code "; exit 7');
    is $server->wait >> 8, 7, 'status';
    is $text->(), 'code end', 'END block';
};

in_each_kind 'functions' => sub {
    my $server = Host->start(%{ $_[0] });
    $server->eval(<<'END');
sub plain { my $fd = shift; print $fd join ' ', (caller 0)[3], scalar(@_), wantarray // 'undef' }
sub Auto::AUTOLOAD { my $fd = shift; print $fd $Auto::AUTOLOAD }
sub dies { print { $_[0] } 'dying'; die "in function\n" }
sub leaves { exit 3 }
sub errno { print { $_[0] } $! + 0 }
sub dollar { print { $_[0] } "$0|$AnyEvent::Fork::Serve::OWNER|$AFork::Serve::OWNER" }
END
    my $run = sub { Host::slurp($server->fork->run($_[0])) };
    is $run->('plain'), 'main::plain 0 undef', 'of main';
    is $run->('main::plain'), 'main::plain 0 undef', 'qualified';
    is $run->('Auto::anything'), 'Auto::anything', 'AUTOLOAD';
    is $run->('dies'), 'dying', 'one that dies';
    is $run->('leaves'), '', 'one that exits';
    is $run->('errno'), 0, '$! is 0';
    is $run->('dollar'), "$$ dollar|$$|$$", '$0 and $OWNER';
    is $run->('CORE::exit'), '', 'CORE::exit';
    is Host::slurp($server->run_code('print $fd "ok"')), 'ok', 'the template is as it was';
};

in_each_kind 'exit status' => sub {
    my %status = ('' => 0, '$? = 9' => 0, 'system q(kill $$; :)' => 0, 'exit 3' => 3, 'die "x\n"' => 255, '$! = 5; die "x\n"' => 5);
    for my $code (sort keys %status) {
        open my $null, '>', '/dev/null' or die $!;
        my $server = Host->start(%{ $_[0] }, stderr => $null);
        my $fd = $server->run_code($code);
        is $server->wait >> 8, $status{$code}, "of a function: $code";
    }
    my $server = Host->start(%{ $_[0] });
    my $fd = $server->run('CORE::exit');
    is $server->wait, 0, 'CORE::exit' if !$_[0]{perl};
    open my $null, '>', '/dev/null' or die $!;
    $server = Host->start(%{ $_[0] }, stderr => $null);
    $fd = $server->run('no_such_function');
    isnt $server->wait, 0, 'of a function that does not exist';
};

in_each_kind 'channel' => sub {
    my $server = Host->start(%{ $_[0] }, before_exec => sub { $ENV{PERL_UNICODE} = 'SDA' });
    my $channel = $server->fork->run_code('use Fcntl; print $fd join(" ",'
        . ' fileno($fd) > 2, fcntl($fd, F_GETFD, 0) & FD_CLOEXEC, fcntl($fd, F_GETFL, 0) & O_NONBLOCK,'
        . ' join("+", PerlIO::get_layers($fd))), "\n"; $fd->flush; print $fd scalar <$fd>');
    is Host::line($channel), "1 1 0 unix+perlio\n", 'close-on-exec, blocking, no layers';
    Host::write_all($channel, "\xe9echo\n");
    is Host::line($channel), "\xe9echo\n", 'octets both ways';

    pipe my $end, my $hold or die $!;
    my $child = $server->fork;
    $child->handle($end);
    $channel = $child->run_code('undef $fd; sysread $_[0], my $octet, 1');
    is Host::slurp($channel), '', 'ends when the function drops it';
};

in_each_kind 'descriptors' => sub {
    my $server = Host->start(%{ $_[0] });
    my $file = File::Temp->new;
    my $show = 'opendir my $d, "/proc/self/fd"; print $fd join ",", sort { $a <=> $b } grep { $_ > 2 and '
        . '$_ != fileno($d) && $_ != fileno($fd) } grep /\d/, readdir $d;';
    my @others = map { my $s = $server->fork; [$s, $s->run_code('sysread $fd, my $x, 1; print $fd $x')] } 1 .. 5;
    is Host::slurp($server->fork->run_code($show)), '', 'none but its channel and 0 to 2';
    my $with = $server->fork;
    $with->handle($file);
    like Host::slurp($with->run_code($show)), qr/^\d+$/, 'and what was sent to it';
    undef $others[0][1];
    Host::write_all($_->[1], 'x') for @others[1 .. 4];
    is_deeply [map Host::slurp($_->[1]), @others[1 .. 4]], ['x', 'x', 'x', 'x'],
        'the end of one channel is not that of others';
};

in_each_kind 'processes' => sub {
    my $server = Host->start(%{ $_[0] });
    $server->fork->run('CORE::exit') for 1 .. 3;
    my $code = 'my $s = system("exit 3;") >> 8; my $q = qx(echo out); my $qs = $? >> 8;'
        . ' my $p = fork; exit 5 if !$p; my $w = waitpid $p, 0; my $ws = $? >> 8;'
        . ' my $none = waitpid(-1, 0);'
        . ' print $fd "$s $qs $q", ($w == $p), " $ws $none\n"';
    is Host::slurp($server->fork->run_code($code)), "3 0 out\n1 5 -1\n", 'of a worker';
    my $child = $server->fork;
    is Host::slurp($child->fork->run_code($code)), "3 0 out\n1 5 -1\n", 'of a worker of a child';
    $server->eval('$SIG{CHLD} = sub { $main::got++ }; system "exit 4;"; $main::status = $? >> 8;');
    is Host::slurp($server->run_code('print $fd "$main::status ", ref $SIG{CHLD}, " ",'
        . ' do { require POSIX; my $m = POSIX::SigSet->new; POSIX::sigprocmask(0, undef, $m);'
        . ' $m->ismember(POSIX::SIGCHLD()) }')), '4 CODE 0', 'handler kept, signal not blocked';
};

in_each_kind 'random numbers' => sub {
    my $server = Host->start(%{ $_[0] });
    $server->eval('rand');
    my %seen = map { Host::slurp($server->fork->run_code('print $fd rand')) => 1 } 1 .. 20;
    is keys %seen, 20, 'differ';
    $server = Host->start(%{ $_[0] });
    $server->eval('srand 42');
    my $fixed = Host::slurp($server->run_code('print $fd rand'));
    $server = Host->start(%{ $_[0] });
    $server->eval('srand 42');
    is Host::slurp($server->run_code('print $fd rand')), $fixed,
        'an executed server keeps its seed';
};

in_each_kind 'END and DESTROY' => sub {
    my ($out, $text) = capture();
    my $server = Host->start(%{ $_[0] }, stdout => $out);
    $server->eval('END { syswrite STDOUT, "end $$\n" } our $object = bless []; '
        . 'sub DESTROY { syswrite STDOUT, "destroy $$\n" }');
    my %pid;
    open my $null, '>', '/dev/null' or die $!;
    for my $code ('', 'exit 3', 'close STDERR; die') {
        (my $pid = Host::slurp($server->fork->run_code("syswrite \$fd, \$\$; $code"))) =~ /\d/ or die;
        $pid{$pid} = $code;
    }
    my $idle = $server->fork;
    my $pid = Host::slurp($server->fork->run_code('syswrite $fd, getppid'));
    delete $idle->{fd};
    $server->end;
    my %lines;
    Host::eventually(sub { %lines = (); $lines{$_}++ for split /\n/, $text->(); keys %lines >= 12 });
    for my $child (sort keys %pid) {
        is $lines{"end $child"}, 1, "END block once: $pid{$child}";
        is $lines{"destroy $child"}, 1, "DESTROY once: $pid{$child}";
    }
    is $lines{"end $pid"}, 1, 'and in the template';
};

in_each_kind 'output' => sub {
    my ($out, $text) = capture();
    my $server = Host->start(%{ $_[0] }, stdout => $out);
    $server->eval('print "once "');
    Host::slurp($server->fork->run_code('print "child "')) for 1 .. 5;
    $server->fork->run('CORE::exit');
    $server->end;
    ok Host::eventually(sub { 5 == (() = $text->() =~ /child/g) }), 'none is lost';
    is $text->() =~ tr/o//, 1, 'and what was there before the fork comes once';
};

in_each_kind 'file position' => sub {
    my $file = File::Temp->new;
    print $file map "$_\n", 1 .. 1000;
    $file->flush;
    my $server = Host->start(%{ $_[0] });
    $server->eval('open our $in, "<", $_[0]; <$in> for 1 .. 3', "$file");
    my @lines;
    for (1 .. ($server->{status} ? 5 : 1)) {
        my $child = $server->fork;
        push @lines, Host::slurp($child->run_code('print $fd scalar readline $main::in')) + 0;
        $server->expect('exited', $child->{identity}) if $server->{status};
    }
    my @rest = split /\n/, Host::slurp($server->run_code('print $fd readline $main::in'));
    is $lines[0], 4, 'a child goes on where the template was';
    is_deeply [@lines, @rest], [4 .. 1000], 'nothing is read twice, nothing is lost'
        if $server->{status};
};

done_testing;
