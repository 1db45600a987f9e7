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
    is $server->expect('exited', $child->{identity})->{value}, 7 << 8, 'status' if $server->{status};
    is $server->end, 0, 'the one above does not';
};

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
for my $when ('template', 'late', 'child', 'child again', 'never', 'taken back') {
    for my $end (sort keys %ends) {
        subtest "at $end, quick: $when" => sub {
            my ($file, $printed) = capture();
            my ($log, $marked) = capture();
            my $server = Host->start(stdout => $file);
            $server->command('X', "\1") if $when eq 'template' || $when eq 'taken back';
            $server->eval("our \$marks = '$log'; $marks");
            $server->eval('print "once "; sub dir { syswrite $_[0], $dir }');
            $server->command('X', "\1") if $when eq 'late';
            $server->command('X', "\0") if $when eq 'taken back';
            my $dir = Host::slurp($server->fork->run_code('require POSIX; syswrite $fd, $main::dir; POSIX::_exit(0)'));
            my @children = map { $server->fork } 1 .. 3;
            for my $child (@children) {
                $child->command('X', "\1") if $when =~ /^child/;
                $child->command('X', "\1") if $when eq 'child again';
                $ends{$end}->($child);
                $server->expect('exited', $child->{identity});
            }
            my @each = $end =~ /^_exit|signal/ ? () : $when eq 'never' || $when eq 'taken back' ? @all : @new;
            is join('|', sort split /\n/, $marked->()), join('|', sort((@each) x 3)), 'what ran';
            ok -d $dir, 'the temporary directory of the template is there';
            is $printed->(), 'once ' . ($end =~ /^_exit|signal/ ? '' : 'printed') x 3, 'what was printed';
            is $server->eval('1')->end, 0, 'status of the template';
            is join('|', sort map { $_ // '' } (split /\n/, $marked->())[3 * @each .. 3 * @each + 1]),
                'END old|destroy old', 'in the template everything runs';
            ok !-d $dir, 'and its directory goes';
        };
    }
}

done_testing;
