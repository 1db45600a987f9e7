#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The server in Perl, where it differs from afork-perl: it may lack a module.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Path;
use File::Temp;
use Host;
use Test::More;

my %kinds = Host::kinds();
my $without = File::Temp->newdir;
File::Path::make_path("$without/IO");
open my $module, '>', "$without/IO/FDPass.pm" or die $!;
print $module "die qq(not installed\\n);\n";
close $module;

my %option = %{ $kinds{foreign} };
$option{switches} = ["-I$without", @{ $option{switches} }];
my $err = File::Temp->new;
my $server = Host->start(%option, stderr => $err);
$server->eval('sub answer { syswrite $_[0], "answer" }');
$server->command(h => '');
Host::write_all($server->{fd}, 'x');
isnt $server->wait, 0, 'a handle cannot be received';
open my $in, '<', $err or die $!;
like do { local $/; <$in> }, qr/handles need the module IO::FDPass/, 'and it says why';

$server = Host->start(%option);
is Host::slurp($server->run_code('syswrite $fd, "ran"')), 'ran', 'what needs no handle works';

$server = Host->start(%option);
$server->eval('our $copy = fork // die; our @seen = $copy ? "parent" : "child"');
$server->eval('push @seen, "x"') for 1 .. 50;
is Host::slurp($server->run_code('syswrite $fd, "@main::seen"')), join(' ', 'parent', ('x') x 50),
    'a copy that code made gets no commands';

SKIP: {
    skip 'needs IO::FDPass', 2 if !Host::can_send_handles();
    $server = Host->start(%{ $kinds{foreign} });
    $server->eval('our $own = fork // die; exit 3 if !$own; 1 while !-e "/proc/$own/stat"');
    Host::slurp($server->fork->run('CORE::exit')) for 1 .. 20;
    $server->eval('1');
    ok Host::eventually(sub {
        open my $children, '<', "/proc/$server->{pid}/task/$server->{pid}/children" or die $!;
        $server->eval('1');
        1 == split ' ', <$children>;
    }), 'children are reaped';
    is Host::slurp($server->run_code('waitpid($main::own, 0); print $fd $? >> 8')), 3,
        'those of user code are left to it';
}

done_testing;
