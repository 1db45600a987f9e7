#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Hooks in forked processes, what runs at the end of one, and the end with the host.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Fcntl;
use Host;
use IO::Select;
use POSIX ();
use Test::More;

plan skip_all => 'needs IO::FDPass' if !Host::can_send_handles();

my %kinds = Host::kinds();

sub in_each_kind {
    my ($name, $test) = @_;
    for my $kind (sort keys %kinds) {
        subtest "$name ($kind)" => sub { $test->({ %{ $kinds{$kind} } }, $kind) };
    }
}

# A file that processes write to, and what is in it.
sub capture {
    my $file = File::Temp->new;
    return ($file, sub { open my $in, '<', $file or die $!; local $/; scalar <$in> // '' });
}

my $hooked = 'our @log; sub note { push @log, "@_" } sub list { syswrite $_[0], "@log" } ';

in_each_kind 'hooks' => sub {
    my $server = Host->start(%{ $_[0] });
    $server->eval($hooked . 'AFork::Serve::after_fork(sub { note "a" . @_ . ($pid == $$ ? "!" : "") });'
        . 'our $b = AnyEvent::Fork::Serve::after_fork(sub { note "b" }); our $pid = $$');
    my $first = $server->fork;
    $first->eval('note "first"');
    $first->eval('AFork::Serve::after_fork(sub { note "c" })');
    my $grandchild = $first->fork;
    $server->eval('note ref $b; note AFork::Serve::cancel_after_fork($b) ? "there" : "gone";'
        . 'note AFork::Serve::cancel_after_fork($b) ? "there" : "gone"');
    my $second = $server->fork;
    is Host::slurp($first->run('list')), 'a0 b first', 'in the order they were registered';
    is Host::slurp($grandchild->run('list')), 'a0 b first a0 b c', 'in processes further below';
    is Host::slurp($second->run('list')), 'CODE there gone a0', 'one that was taken back';
    is Host::slurp($server->run('list')), 'CODE there gone', 'not where they were registered';
    is $server->end, 0, 'status';
};

in_each_kind 'hooks see a process that is itself' => sub {
    my $server = Host->start(%{ $_[0] });
    $server->eval($hooked . 'AFork::Serve::after_fork(sub { note $0 =~ /(\S+)$/, $$ == getppid() ? "!" : "",'
        . ' scalar(@AFork::Serve::arg), "$!", $_ // "undef" })');
    $server->args('x');
    like Host::slurp($server->fork->run('list')), qr/^AnyEvent::Fork  1  undef$/, '$0, @arg';
    is $server->end, 0, 'status';
};

in_each_kind 'wrong use of hooks' => sub {
    my $server = Host->start(%{ $_[0] });
    $server->eval($hooked . 'for my $bad (sub { &AFork::Serve::after_fork }, sub { AFork::Serve::after_fork("x") },'
        . ' sub { AFork::Serve::after_fork({}) }) { eval { $bad->(); 1 } and note "accepted"; note $@ =~ /^Usage: / }'
        . 'AFork::Serve::after_fork(sub { last; note "never" }); AFork::Serve::after_fork(sub { note "next" })');
    is Host::slurp($server->fork->run('list')), '1 1 1 next', 'is told; a stray last does no harm';
    is $server->end, 0, 'status';
};

my %deaths = (
    'a text'               => ['die "hook failed\n"',                                      qr/^hook failed$/],
    'an object'            => ['package E; use overload q("") => sub { "obj" }; die bless {}', qr/^obj$/],
    'an object without text' => ['package F; use overload q("") => sub { die }; die bless {}', qr/no text/],
    'something false'      => ['package G; use overload q("") => sub { "" }, bool => sub { 0 }; die bless {}', qr/no text/],
);

for my $what (sort keys %deaths) {
    my ($code, $text) = @{ $deaths{$what} };
    in_each_kind "a hook that dies of $what" => sub {
        my ($file, $told) = capture();
        my $server = Host->start(%{ $_[0] }, stderr => $file);
        $server->eval("AFork::Serve::after_fork(sub { $code }); sub f { syswrite \$_[0], 'entered' }");
        my $child = $server->fork;
        if ($server->{status}) {
            my $record = $server->expect('error', $child->{identity});
            is $record->{phase}, 'eval', 'phase';
            like $record->{text} =~ s/\n\z//r, $text, 'text';
            $record = $server->expect('exited', $child->{identity});
            is $record->{value}, 255 << 8, 'status';
        }
        is Host::slurp($child->{fd}), '', 'the process ends';
        like $told->(), qr/ERROR: /, 'and says why';
        is Host::slurp($server->run('f')), 'entered', 'the one above does not';
        is $server->end, 0, 'status';
    };
}

in_each_kind 'a hook that exits' => sub {
    my $server = Host->start(%{ $_[0] });
    $server->eval('AFork::Serve::after_fork(sub { exit 7 })');
    my $child = $server->fork;
    is Host::slurp($child->{fd}), '', 'the process ends';
    is $server->expect('exited', $child->{identity})->{value}, 7 << 8,
        'status' if $server->{status};
    is $server->end, 0, 'the one above does not';
};

SKIP: {
    skip 'needs a perl with threads', 1 if !eval { require Config; $Config::Config{useithreads} };
    subtest 'hooks of a thread' => sub {
        my $server = Host->start(stderr => File::Temp->new);
        $server->eval($hooked . 'use threads; my ($text) = threads->create({ context => "list" }, sub {'
            . ' eval { AFork::Serve::after_fork(sub { }) }; $@ =~ /^(.*?) at/ })->join; note($text);'
            . 'AFork::Serve::after_fork(sub { note "main" })');
        is Host::slurp($server->fork->run('list')), 'hooks cannot be changed in a thread main',
            'are refused';
        is $server->end, 0, 'status';
    };
}

# ---- What runs at the end ----

my $marks = 'sub mark { open my $f, ">>", $main::marks or die $!; syswrite $f, "$_[0]\n" }'
    . 'package Old { sub DESTROY { main::mark("destroy old") } }'
    . 'package New { sub DESTROY { main::mark("destroy new") } }'
    . 'package main; our $old = bless [], "Old"; END { mark "END old" }'
    . 'use File::Temp; our $dir = File::Temp->newdir; ';
my $added = 'our $new = bless [], "New"; eval q(END { mark "END new" }); print "printed"; ';
my %ends = (
    'return'      => sub { Host::slurp($_[0]->run_code($added)) },
    'exit'        => sub { Host::slurp($_[0]->run_code("$added exit 3")) },
    'exit in sub' => sub { Host::slurp($_[0]->run_code("$added sub { exit 3 }->()")) },
    'die'         => sub { Host::slurp($_[0]->run_code("$added die 'dying'")) },
    'end of file' => sub { my $fd = $_[0]->eval($added)->{fd}; shutdown $fd, 1; Host::slurp($fd) },
    'CORE::exit'  => sub { Host::slurp($_[0]->eval($added)->run('CORE::exit')) },
    '_exit'       => sub { Host::slurp($_[0]->run_code("$added use POSIX (); POSIX::_exit(3)")) },
    'a signal'    => sub { Host::slurp($_[0]->run_code("$added kill TERM => \$\$; sleep 9")) },
);
my @all = ('END new', 'END old', 'destroy new', 'destroy old');
my @new = ('END new', 'destroy new');

# The mode is set before the template has anything, or in the child.
for my $when ('template', 'late', 'child', 'child again', 'never', 'taken back', 'taken back late') {
    for my $end (sort keys %ends) {
        subtest "at $end, quick: $when" => sub {
            my ($file, $printed) = capture();
            my ($log, $marked) = capture();
            my $server = Host->start(stdout => $file);
            $server->command('X', "\1") if $when eq 'template' || $when =~ /^taken back/;
            $server->eval("our \$marks = '$log'; $marks");
            $server->eval('print "once "; sub dir { syswrite $_[0], $dir }');
            $server->command('X', "\1") if $when eq 'late';
            $server->command('X', "\0") if $when eq 'taken back';
            my $dir = Host::slurp($server->fork->run_code('require POSIX; syswrite $fd, $main::dir; POSIX::_exit(0)'));
            my @children = map { $server->fork } 1 .. 3;
            for my $child (@children) {
                $child->command('X', "\1") if $when =~ /^child/;
                $child->command('X', "\1") if $when eq 'child again';
                $child->command('X', "\0") if $when eq 'taken back late';
                $ends{$end}->($child);
                $server->expect('exited', $child->{identity});
            }
            my @each = $end =~ /^_exit|signal/ ? () : $when =~ /^never|^taken/ ? @all : @new;
            is join('|', sort split /\n/, $marked->()), join('|', sort((@each) x 3)), 'what ran';
            ok -d $dir, 'the temporary directory of the template is there';
            is $printed->(), 'once ' . ($end =~ /^_exit|signal/ ? '' : 'printed') x 3,
                'what was printed';
            is $server->eval('1')->end, 0, 'status of the template';
            is join('|', sort map { $_ // '' } (split /\n/, $marked->())[3 * @each .. 3 * @each + 1]),
                'END old|destroy old', 'in the template everything runs';
            ok !-d $dir, 'and its directory goes';
        };
    }
}

subtest 'a destructor that exits, and one that dies' => sub {
    for my $end ('return', 'exit 3') {
        my ($log, $marked) = capture();
        my $server = Host->start(stderr => File::Temp->new);
        $server->command('X', "\1");
        $server->eval("our \$marks = '$log'; $marks");
        my $child = $server->fork;
        Host::slurp($child->run_code('package Exits { sub DESTROY { main::mark("exits"); exit 5 } }'
            . 'package Dies { sub DESTROY { main::mark("dies"); die "in DESTROY" } }'
            . "our (\$a, \$b) = (bless([], 'Dies'), bless [], 'Exits'); END { mark('END') } $end"));
        is $server->expect('exited', $child->{identity})->{value} & 127, 0, 'no signal';
        like $marked->(), qr/^END\n(?=.*exits)/s, 'they are called';
        unlike $marked->(), qr/old/, 'and nothing of the template';
        $server->end;
    }
};

# ---- The end with the host ----

my ($major, $minor) = (POSIX::uname())[2] =~ /^(\d+)\.(\d+)/;
my $old_kernel = $major < 5 || ($major == 5 && $minor < 6);

# A lifeline as the host has it, sent: the end for reading is closed here.
sub lifeline {
    my ($server) = @_;
    pipe my $in, my $out or die $!;
    $server->handle($in)->command('W', '');
    return $out;
}

my $busy = 'sub busy { syswrite $_[0], "$$\n"; $SIG{$_} = "IGNORE" for qw(TERM IO POLL); 1 while 1 } ';

subtest 'killed in a loop, in all processes below' => sub {
    plan skip_all => 'needs Linux 5.6' if $old_kernel;
    my $server = Host->start;
    $server->eval($busy);
    my $out = lifeline($server);
    my $child = $server->fork;
    my $grandchild = $child->fork;
    my @channels = map $_->run('busy'), $grandchild, $child;
    Host::line($_) for @channels;
    $server->eval($busy)->run('busy');
    close $out;
    is $server->wait, 9, 'the executed one';
    is Host::slurp($_), '', 'another' for @channels;
};

subtest 'the host was gone before it was asked for' => sub {
    plan skip_all => 'needs Linux 5.6' if $old_kernel;
    my $server = Host->start;
    $server->eval($busy);
    my $child = $server->fork;
    close lifeline($child);
    $child->run('busy');
    is $server->expect('exited', $child->{identity})->{value}, 9, 'the process is killed at once';
    is $server->end, 0, 'status';
};

subtest 'a second host replaces the first' => sub {
    plan skip_all => 'needs Linux 5.6' if $old_kernel;
    my $server = Host->start;
    $server->eval($busy);
    my $child = $server->fork;
    my ($first, $second) = map lifeline($child), 1 .. 2;
    my $channel = $child->run('busy');
    Host::line($channel);
    close $first;
    ok !IO::Select->new($channel)->can_read(0.2), 'it lives without the first';
    close $second;
    is Host::slurp($channel), '', 'but not without the second';
    is $server->end, 0, 'status';
};

subtest 'where it is lost' => sub {
    plan skip_all => 'needs Linux 5.6' if $old_kernel;
    my $server = Host->start;
    my $out = lifeline($server);
    my $child = $server->fork;
    my $channel = $child->run_code('$fd->autoflush; print $fd "$$\n"; exec "sleep", "600"');
    chomp(my $pid = Host::line($channel));
    Host::eventually(sub { (readlink("/proc/$pid/exe") // '') !~ /perl/ });
    close $out;
    is $server->wait, 9, 'a server';
    ok kill(0, $pid), 'not a program that a worker became';
    kill KILL => $pid;
};

subtest 'neighbours' => sub {
    plan skip_all => 'needs Linux 5.6' if $old_kernel;
    my $server = Host->start;
    my $out = lifeline($server);
    my $child = $server->fork;
    $child->eval('sub fds { my $fd = shift; opendir my $dir, "/proc/self/fd"; print $fd map { my $to = readlink "/proc/self/fd/$_";'
        . ' ($to // "") =~ /^pipe/ && $_ > 2 ? "$_\n" : () } readdir $dir }');
    is split(/\n/, Host::slurp($child->run('fds'))), 1, 'a process has one lifeline, not its template\'s';
    for (1 .. 20) {
        my $one = $server->fork;
        $one->run('CORE::exit');
        is $server->expect('exited', $one->{identity})->{value}, 0, 'the end of one is not that of others'
    }
    is $server->end, 0, 'status';
};

SKIP: {
    skip 'needs the rights to chroot', 1 if $>;
    subtest 'no /proc' => sub {
        plan skip_all => 'needs Linux 5.6' if $old_kernel;
        my ($file, $told) = capture();
        my $empty = File::Temp->newdir;
        my $server = Host->start(stderr => $file);
        my $out = lifeline($server);
        my $child = $server->fork;
        $child->eval('chroot $_[0] or die; chdir "/"', "$empty");
        my $grandchild = $child->fork;
        my $error = $server->expect('error', $grandchild->{identity});
        like $error->{text}, qr{^cannot end with the host: /proc/self/fd/\d+: No such file},
            'inherited';
        is $error->{phase}, 'eval', 'phase';
        my $asked = lifeline($child);
        $server->expect('error', $child->{identity});
        is $server->expect('exited', $child->{identity})->{value}, 255 << 8, 'status';
        is $server->end, 0, 'the one above lives';
        like $told->(), qr/ERROR: cannot end with the host/, 'told';
    };
}

subtest 'commands that are not commands' => sub {
    for my $bad ([X => ''], [X => "\2"], [X => "\1\1"], [W => '']) {
        my ($file, $told) = capture();
        my $server = Host->start(stderr => $file);
        $server->command(@$bad);
        is $server->expect('error')->{phase}, 'protocol', "$bad->[0], " . length $bad->[1];
        is $server->wait, 255 << 8, 'status';
    }
    my ($file, $told) = capture();
    my $original = Host->start(%{ $kinds{original} }, stderr => $file);
    $original->command(X => "\1");
    is $original->wait, 255 << 8, 'to a server of the original kind';
};

done_testing;
