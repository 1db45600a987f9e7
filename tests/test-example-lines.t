#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The example lines: answers in order, back-pressure, the end of either side, the worker's status.
use v5.26;
use warnings;
use Fcntl;
use File::Temp;
use IPC::Open2;
use POSIX qw(:sys_wait_h);
use Test::More;

use constant {
    TIME_LIMIT => 60,
    STALLED    => 1,           # seconds without a taker, to be sure that there is none
    PIPED_UP   => 16 << 20,    # octets that no two pipes and sockets hold
};

$SIG{ALRM} = sub { BAIL_OUT("no end after " . TIME_LIMIT . " seconds") };
$SIG{PIPE} = "IGNORE";

# Runs lines with a file as its input. Returns what it printed, and its status.
sub lines {
    my ($input, @arguments) = @_;
    my $file = File::Temp->new;
    print $file $input;
    close $file;
    alarm TIME_LIMIT;
    my $printed = do {
        open my $saved, "<&", \*STDIN or die $!;
        open STDIN, "<", $file->filename or die $!;
        open my $output, "-|", "doc/examples/lines", @arguments or die $!;
        open STDIN, "<&", $saved or die $!;
        local $/;
        my $text = <$output> // "";
        close $output;
        $text;
    };
    alarm 0;
    return ($printed, $? >> 8, $? & 127);
}

is_deeply [lines("b a\nd e c\n\n")], ["a b\nc d e\n\n", 0, 0], "each line is answered, in order";
is_deeply [lines("")], ["", 0, 0], "no input, no answers";
is_deeply [lines("x\ny", 'print length, "."')], ["2.1.", 0, 0], "the last line needs no end";

my $big = join "", map { "$_ " . "x" x ($_ % 100) . "\n" } 1 .. 100_000;
my ($printed, $status) = lines($big, "print");
ok $printed eq $big && $status == 0, "much goes through unchanged";

is_deeply [lines("a\nb\n", 'print; exit 3')], ["a\n", 3, 0], "the worker's status";
is_deeply [lines("a\n", 'kill KILL => $$')], ["", 128 + 9, 0], "the signal that killed it";
open my $stderr, ">&", \*STDERR or die $!;
open STDERR, ">", "/dev/null" or die $!;
is_deeply [lines("a\n", '}')], ["", 255, 0], "code that does not compile";
{
    local $ENV{AFORK_PERL} = "/bin/true";
    is_deeply [lines("a\n")], ["", 1, 0], "a perl that is none";
}
is system("echo hi | doc/examples/lines print >/dev/full") >> 8, 1, "output that cannot be written";
open STDERR, ">&", $stderr or die $!;

# Ends although its input does not.
sub ends {
    my ($what, $status, $pid) = @_;
    alarm TIME_LIMIT;
    waitpid $pid, 0;
    alarm 0;
    is $? >> 8, $status, $what;
}

{
    my $pid = open2(my $output, my $input, "doc/examples/lines", 'print; exit 4');
    syswrite $input, "a\n";
    is readline $output, "a\n", "an answer before the input ends";
    ends("it ends with the worker", 4, $pid);
}

{
    my $pid = open2(my $output, my $input, "doc/examples/lines", 'print');
    fcntl $input, F_SETFL, O_NONBLOCK or die $!;
    my ($given, $chunk, $select) = (0, "x" x 4095 . "\n", "");
    vec($select, fileno $input, 1) = 1;
    while ($given < PIPED_UP) {
        select undef, my $ready = $select, undef, STALLED or last;
        $given += syswrite($input, $chunk) // ($!{EAGAIN} ? 0 : last);
    }
    cmp_ok $given, "<", PIPED_UP, "who does not read is not read from";
    close $output;
    alarm TIME_LIMIT;
    1 while defined syswrite $input, $chunk or $!{EAGAIN};
    ok $!{EPIPE}, "nor when it has closed";
    waitpid $pid, 0;
    alarm 0;
    ok WIFEXITED($?), "and that is an end";
}

done_testing;
