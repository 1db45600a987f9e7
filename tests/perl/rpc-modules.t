#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Modules of RPC that are built into afork-perl, or come with the text that a host sends.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Calls;
use File::Path;
use File::Temp;
use Test::More;

my $has_anyevent = !system "$Host::FOREIGN_PERL -MAnyEvent -e 1 2>/dev/null";
my @OURS = qw(AFork::RPC AFork::RPC::Sync AFork::RPC::Async AFork::Pool
    AnyEvent::Fork::RPC::Sync AnyEvent::Fork::RPC::Async);
my @HOSTS = qw(AnyEvent::Fork::RPC AnyEvent::Fork::Pool);

# Output and errors of a program in afork-perl.
sub output {
    my ($code, @switches) = @_;
    my $pid = open my $out, '-|' // die $!;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT or die $!;
        exec $Host::PERL, @switches, '-e', $code or die $!;
    }
    local $/;
    return <$out> // '';
}

# A directory with modules that say so.
sub installed {
    my (%text) = @_;
    my $directory = File::Temp->newdir;
    for my $module (keys %text) {
        my $file = "$directory/" . ($module =~ s{::}{/}gr) . '.pm';
        File::Path::make_path($file =~ s{/[^/]*\z}{}r);
        open my $out, '>', $file or die $!;
        print $out "package $module; our \$VERSION = 7; $text{$module}";
        close $out;
    }
    return $directory;
}

for my $module (@OURS, @HOSTS) {
SKIP: {
        skip 'needs AnyEvent', 2 if $module =~ /Async/ && !$has_anyevent;
        is output("use $module; require $module; print 'good'"), 'good', "$module is there";
        my $file = $module =~ s{::}{/}gr;
        is output("my \$m = '$file.pm'; require \$m; print exists \$INC{\$m} ? 'good' : 'not'"), 'good',
            'by its file, too';
    }
}

is output('print grep(/RPC|Pool/, keys %INC), grep(ref, @INC)'), '',
    'nothing of it is there at the start';
is output('print join " ", map defined &$_ ? 1 : 0, qw(AFork::RPC::event AnyEvent::Fork::RPC::event '
        . 'AFork::RPC::Sync::run AnyEvent::Fork::RPC::Sync::run)'), '0 0 0 0', 'no function either';
is output('use AnyEvent::Fork::RPC::Sync 2 (); print $AnyEvent::Fork::RPC::Sync::VERSION'), 2,
    'the version';
like output('use AnyEvent::Fork::RPC::Sync 3 ()'), qr/version 3 required/,
    'a later one is not there';
is output('use AnyEvent::Fork::RPC::Sync; print defined &AnyEvent::Fork::RPC::event ? 1 : 0;'
        . 'sub f { AnyEvent::Fork::RPC::event "a", 1 } print exists &AnyEvent::Fork::RPC::event ? 1 : 0'),
    '01', 'event is declared, and not there before a back end runs';
like output('use AFork::RPC; AFork::RPC::event "x"'), qr/no RPC back end/, 'ours says so';
is output('use AnyEvent::Fork::RPC; print $AnyEvent::Fork::RPC::STRING_SERIALISER'), $Calls::OCTETS,
    'the serialisers have names';
like output('use AnyEvent::Fork::Pool; my @n = AnyEvent::Fork::Pool::ncpu; print "@n"'), qr/^(\d+) \1$/, 'ncpu';
like output('require AnyEvent::Fork::Nothing'), qr/^Can't locate AnyEvent\/Fork\/Nothing.pm/,
    'others are not there';
like output('require AFork::RPC; require "AFork/None.pm"'), qr/^Can't locate AFork\/None.pm/,
    'of ours neither';
is output('print eval { require 5.006 } ? "good" : $@'), 'good', 'a version is required as ever';
is output('use AFork::RPC::Sync; eval q(die "x"); print $@'), 'x at (eval 1) line 1.' . "\n",
    'evals are counted from one';

{
    my $installed = installed(map { ($_ => 'sub here { 1 } 1') } @OURS, @HOSTS);
    for my $module (@HOSTS) {
        is output("use $module; print \$${module}::VERSION", "-I$installed"), 7,
            "$module that is installed comes first";
    }
    is output('use AnyEvent::Fork::RPC::Sync; print $AnyEvent::Fork::RPC::Sync::VERSION', "-I$installed"), 2,
        'the back end is ours all the same';
    my $broken = installed('AnyEvent::Fork::RPC' => 'die "broken\n"');
    like output('use AnyEvent::Fork::RPC', "-I$broken"), qr/^broken$/m,
        'one that is broken says so';
    is output('unshift @INC, sub { $_[1] eq "AnyEvent/Fork/RPC.pm" ? \"package X; print q(hook); 1" : () };'
            . 'require AnyEvent::Fork::RPC'), 'hook', 'hooks in @INC are asked';
}

# A template that has loaded the back end.
{
    my $server = Host->start;
    $server->load('AFork::RPC::Sync');
    $server->eval('sub echo { @_ }');
SKIP: {
        skip 'needs IO::FDPass', 1 if !Host::can_send_handles();
        my $worker = $server->fork;
        my $fd = $worker->args(function => 'echo', -2)->run('AFork::RPC::Sync::run');
        Host::write_all($fd, pack 'C C n N N/a*', 1, 0, 0, 5, pack '(w/a*)*', 'x');
        shutdown $fd, 1;
        is Host::slurp($fd), pack('C C n N N/a*', 2, 0, 0, 1, pack '(w/a*)*', 'afork')
            . pack('C C n N N/a*', 3, 0, 0, 5, pack '(w/a*)*', 'x'), 'a fork of it works';
    }
    $server->end;
}

# Code of a worker that uses those names, in a perl that has nothing.
for my $perl ($has_anyevent ? qw(foreign stdin) : ()) {
    my $worker = Calls->start(perl => $perl, parameters => { function => 'names' },
        code => 'sub names { require AnyEvent::Fork::RPC; require AnyEvent::Fork::Pool; eval "use AnyEvent::Fork::RPC::Sync 2 (); 1" or die; '
            . '($AnyEvent::Fork::RPC::STRING_SERIALISER, eval { require AnyEvent::Fork::None } ? 1 : 0) }');
    $worker->frame;
    is_deeply $worker->ask, ['result', 1, $Calls::OCTETS, 0], "$perl: the modules are there";
    $worker->finish;
    is $worker->status, 0, 'it ends well';
}

done_testing;
