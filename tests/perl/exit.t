#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# afork-perl is a perl like any other: what programs print and return, above all when they end, equals
# what the perl does that runs this test.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Host;
use Test::More;

my $dir = File::Temp->newdir;

my @programs = map [-e => $_], split /\n/, <<'END';
print 1; END { print 2 } END { print 3; exit 4 } END { print 5; exit 6 }
$? = 3; END { $? = 9 }
die "dying\n"
BEGIN { die "early\n" }
syntax error here
kill TERM => $$
$SIG{INT} = sub { print "int" }; END { kill INT => $$; print "not reached" }
$SIG{ALRM} = sub { print "alarm"; exit 4 }; alarm 1; select undef, undef, undef, 10
local $SIG{__DIE__} = sub { print "handler @_" }; die "x\n"
package X; sub DESTROY { print "destroyed\n" } our $x = bless []; $main::y = bless {}; print "before "
sub AUTOLOAD { print "auto $AUTOLOAD\n" } our $x = bless []
sub DESTROY { return } our $x = bless []; print 2
sub I::DESTROY { print "inner\n" } our $x = bless { inner => bless [], "I" }, "C"
my $x; $x = bless sub { $x }; sub DESTROY { print "cycle\n" }
package T; sub TIEHANDLE { bless [] } sub DESTROY { print STDERR "untied\n" } package main; tie *X, "T"
package H; sub TIEHASH { bless {} } sub DESTROY { print "untied\n" } package main; tie our %h, "H"
open my $f, "|-", "sleep 0.2; cat"; print $f "piped\n"; print "before "
open our $f, "-|", "echo x; exit 3"; print <$f>
open F, ">", "file"; print F "data"
open our $f, ">:encoding(UTF-16)", "file"; print $f "wide"
use open ":std", ":encoding(UTF-8)"; print chr 0x263a
open STDOUT, ">", "/dev/full"; print 1
close STDOUT; print STDERR "closed"
print STDOUT "no newline"; open STDERR, ">&STDOUT"; print STDERR "error"
if (!fork) { print "child "; exit 3 } wait; print $? >> 8
use POSIX; print "lost"; POSIX::_exit(7)
use POSIX; print floor(2.5), " ", strftime("%Y", gmtime 0)
use threads; print threads->create(sub { "thread" })->join
use File::Temp; my $d = File::Temp->newdir(DIR => "."); END { print -d $d ? "there" : "gone" }
use File::Temp; our $t = File::Temp->new(DIR => "."); print -e "$t"
use Encode; use Storable; print length encode("UTF-8", chr 0x263a)
print crypt("secret", "ab")
print "$0 @ARGV"; $0 = "a much longer title than the command line was " x 5; print $0
print join ",", sort(grep /Config|strict/, keys %INC), grep !/perl-base/, @INC
print <STDIN> . ""
END
push @programs, ['-c', '-e', 'END { print 2 }'], ['-ne', 'print if 2 .. 3'], ['-v'], ['-le', 'print for 1, 2'];

sub outcome {
    my ($perl, @arguments) = @_;
    unlink "$dir/file";
    my $pid = fork // die;
    if (!$pid) {
        chdir $dir or die $!;
        open STDIN, '<', \"" or 1;
        open STDIN, '<', $0 =~ m{^/} ? $0 : '/etc/passwd' or die $!;
        open STDOUT, '>', 'stdout' or die $!;
        open STDERR, '>', 'stderr' or die $!;
        exec { $perl } 'perl', @arguments or die $!;
    }
    waitpid $pid, 0;
    my %outcome = (status => $?, left => join ' ', sort map { s{.*/}{}r } glob "$dir/*");
    for my $name (qw(stdout stderr file)) {
        open my $in, '<', "$dir/$name" or next;
        local $/;
        $outcome{$name} = <$in> // '';
    }
    return \%outcome;
}

for my $program (@programs) {
    is_deeply outcome($Host::PERL, @$program), outcome($^X, @$program), "@$program";
}

my @positions = map {
    open my $in, '<', '/etc/passwd' or die $!;
    my $pid = fork // die;
    if (!$pid) { open STDIN, '<&', $in or die $!; exec $_, '-e', '<STDIN>' or die $! }
    waitpid $pid, 0;
    sysseek $in, 0, 1;
} $Host::PERL, $^X;
is $positions[0], $positions[1], 'a file is left where it was read to';

is qx($Host::PERL -e 'system \$^X, "-e", "print \\\$^X"'), $Host::PERL, '$^X is afork-perl';

done_testing;
