#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# AFork::memfd(), of afork-perl and in plain Perl.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Host;
use Test::More;

# What it says of some octets, in a program of its own.
my $code = <<'END';
require AFork::RPC;
sub is_sealed { my $seals = fcntl $_[0], 1034, 0; return !defined $seals ? 'file' : $seals == 15 ? 'sealed' : "seals $seals" }
for my $octets ('', 'abc', join('', map chr, 0 .. 255) x 10_000) {
    my $handle = AFork::memfd($octets);
    my $found = do { local $/; my $text = readline $handle; $text // '' };
    print length $octets, ' ', ($found eq $octets ? 'same' : 'other'), ' ', is_sealed($handle), ' ',
        fcntl($handle, 1, 0) & 1 ? 'close-on-exec' : 'inherited', "\n";
    my $n = syswrite $handle, 'x';
    print 'write: ', defined $n ? $n : $!{EPERM} ? 'EPERM' : $!, "\n" if is_sealed($handle) eq 'sealed';
}
my $upgraded = "\xe9";
utf8::upgrade($upgraded);
my $text = do { local $/; readline AFork::memfd($upgraded) };
print $text eq "\xe9" ? "octets\n" : "characters\n";
print eval { AFork::memfd("\x{263a}") } ? "taken\n" : $@ =~ /wide character/i ? "refused\n" : $@;
END

sub output {
    my @command = @_;
    my $pid = open my $out, '-|' // die $!;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT or die $!;
        exec @command, '-MErrno', '-e', $code or die $!;
    }
    local $/;
    return <$out> // '';
}

my $expected = join '', map("$_ same sealed close-on-exec\nwrite: EPERM\n", 0, 3, 2_560_000), "octets\nrefused\n";
is(output($Host::PERL), $expected, 'afork-perl');
is(output($Host::PERL, '-MAFork::RPC::Sync'), $expected, 'afork-perl, with the back end');

# Where the system call is not known there is a file.
my $found = output($Host::FOREIGN_PERL, "-I$ENV{AFORK_TEST_SRCDIR}/src/perl");
is($found =~ s/ file / sealed /gr =~ s/^write: .*\n//gmr, $expected =~ s/^write: .*\n//gmr, 'plain Perl');
done_testing;
