#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# afork-perl and the Perl modules it stands in for.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Host;
use Test::More;

eval { require AnyEvent::Fork } or plan skip_all => 'needs AnyEvent::Fork';

my $watchdog = fork // die;
if (!$watchdog) { sleep $Host::DEADLINE * 2; kill KILL => getppid; exit }
END { kill KILL => $watchdog if $watchdog }

# Runs a script under a perl and returns what it printed.
sub run_script {
    my ($perl, $script) = @_;
    my $file = File::Temp->new;
    print $file $script;
    $file->flush;
    open my $out, '-|', $perl, "$file", $Host::PERL or die $!;
    local $/;
    return scalar <$out> // '';
}

my $common = <<'END';
use AnyEvent;
use AnyEvent::Fork;
$| = 1;
my $done = AE::cv;
sub answer {
    my ($process, $function) = @_;
    my $cv = AE::cv;
    $process->run($function, sub {
        my $fd = shift // die "no channel";
        my $text = '';
        my $watcher;
        $watcher = AE::io $fd, 0, sub {
            return if sysread $fd, $text, 4096, length $text;
            undef $watcher;
            $cv->send($text);
        };
    });
    return $cv->recv;
}
END

my %scripts = (
    'template' => [$common . <<'END', "1 2 STDIN x|3 copy|ok\n"],
$AnyEvent::Fork::PERL = $ARGV[0];
my $process = AnyEvent::Fork->new->eval('sub f { my $fd = shift; syswrite $fd, "@_" }')->send_arg(1, 2);
my $copy = AnyEvent::Fork->new_exec->require('POSIX')
    ->eval('use strict; sub g { my ($fd, @a) = @_; syswrite $fd, POSIX::floor(3.5)." $a[0]" }')
    ->send_arg('copy')->fork;
print join('|', answer($process->send_arg('STDIN', 'x'), 'f'), answer($copy, 'g')), "|ok\n";
END
    'early' => ["use AnyEvent::Fork::Early;\n" . $common . <<'END', "early AnyEvent::Fork\n"],
print answer(AnyEvent::Fork->new->eval('sub f { my ($owner, $what) = split / /, $main::0; syswrite $_[0], "early " }')->fork, 'f');
print AnyEvent::Fork->new_exec ? "AnyEvent::Fork\n" : '';
END
    'template of the program' => ["our \$loaded = 'kept';\nuse AnyEvent::Fork::Template;\n" . $common . <<'END', "kept kept 0\n"],
BEGIN { $main::loaded = 'lost' }
my $t = $AnyEvent::Fork::Template->eval('$main::loaded = "kept"; sub f { my $fd = shift; syswrite $fd, $main::loaded }');
print answer($t->fork, 'f'), ' ', answer($t->fork->fork, 'f'), ' ', 0, "\n";
END
    'worker with processes of its own' => [$common . <<'END', "outer inner\n"],
$AnyEvent::Fork::PERL = $ARGV[0];
my $process = AnyEvent::Fork->new->send_arg($ARGV[0])->eval(<<'CODE');
sub outer {
    my ($fd, $perl) = @_;
    require AnyEvent; require AnyEvent::Fork;
    $AnyEvent::Fork::PERL = $perl;
    my $cv = AE::cv();
    AnyEvent::Fork->new->eval('sub inner { syswrite $_[0], "inner" }')->run(inner => sub { $cv->send(shift) });
    my $channel = $cv->recv;
    AnyEvent::Util::fh_nonblocking($channel, 0);
    sysread $channel, my $text, 100;
    syswrite $fd, "outer $text\n";
}
CODE
print answer($process, 'outer');
END
);

for my $name (sort keys %scripts) {
    my ($script, $expected) = @{ $scripts{$name} };
    is run_script($^X,         $script), $expected, "$name, afork-perl as template";
    is run_script($Host::PERL, $script), $expected, "$name, afork-perl as everything";
}

done_testing;
