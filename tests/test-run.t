# SPDX-License-Identifier: MIT
#
# afork-run from the outside: lines in, results and messages out, nothing left behind.
use strict;
use warnings;

use Errno qw(EAGAIN);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use File::Temp qw(tempdir);
use IO::Handle;
use JSON::PP;
use POSIX qw(:sys_wait_h);
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Test::More;
use Time::HiRes qw(sleep time);

use constant DEADLINE => 40;    # seconds for anything

my $tool = "$ENV{AFORK_TEST_BUILDDIR}/afork-run";
my $top  = tempdir('afork-run-XXXXXX', TMPDIR => 1, CLEANUP => 1);

# All processes of a run are known by their working directory.
mkdir "$top/here";
$ENV{LC_ALL} = 'C';
$SIG{PIPE}   = 'IGNORE';

# --- Helpers. ---

sub slurp { open my $file, '<:raw', $_[0] or return ''; local $/; return scalar readline($file) // '' }
sub spew { my ($name, $data) = @_; open my $file, '>:raw', $name or die "$name: $!"; print $file $data; return $name }
sub lines { return map { "$_\n" } @_ }

# Waits for a condition, with a deadline.
sub until_true {
    my ($what, $condition) = @_;
    my $end = time + DEADLINE;
    until ($condition->()) {
        return fail("$what: in time") if time > $end;
        sleep 0.01;
    }
    return 1;
}

# A program under way: { pid, in, out, err }; `in` and `out` are our ends of pipes.
sub start {
    my @command = @_;
    pipe my $in_read,  my $in  or die $!;
    pipe my $out, my $out_write or die $!;
    my $err = "$top/err";
    my $pid = fork // die $!;
    if (!$pid) {
        open STDIN,  '<&', $in_read   or POSIX::_exit(99);
        open STDOUT, '>&', $out_write or POSIX::_exit(99);
        open STDERR, '>', $err        or POSIX::_exit(99);
        close $_ for $in_read, $in, $out, $out_write;
        chdir "$top/here";
        { no warnings; exec @command }
        POSIX::_exit(99);
    }
    binmode $_ for $in, $out;
    $in->autoflush;
    return { pid => $pid, in => $in, out => $out, err => $err };
}

# Its status as a shell has it, and what it wrote.
sub finish {
    my ($run) = @_;
    close delete $run->{in} if $run->{in};
    local $SIG{ALRM} = sub { kill KILL => $run->{pid} };
    alarm DEADLINE;
    my $out = delete $run->{out};
    my $rest = $out ? do { local $/; readline $out } : undef;
    waitpid $run->{pid}, 0;
    alarm 0;
    return { status => $? & 127 ? 128 + ($? & 127) : $? >> 8, out => ($run->{so_far} // '') . ($rest // ''),
        err => slurp($run->{err}) };
}

# Runs the tool over an input.
sub run {
    my ($input, @arguments) = @_;
    my $run = start($tool, @arguments);
    if (length $input > 60_000) {
        my $writer = fork // die $!;
        if (!$writer) { print { $run->{in} } $input; close $run->{in}; POSIX::_exit(0) }
        close delete $run->{in};
        my $result = finish($run);
        waitpid $writer, 0;
        return $result;
    }
    print { $run->{in} } $input;
    return finish($run);
}

sub read_line { my ($run) = @_; local $SIG{ALRM} = sub { kill KILL => $run->{pid} }; alarm DEADLINE; my $line = readline $run->{out}; alarm 0; return $line }

sub memory { my ($run) = @_; return slurp("/proc/$run->{pid}/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0 }
sub ticks  { my ($run) = @_; my @stat = split ' ', slurp("/proc/$run->{pid}/stat") =~ s/.*\) //sr; return $stat[11] + $stat[12] }

sub parent { return slurp("/proc/$_[0]/stat") =~ /.*\) \S (\d+)/ ? $1 : 0 }

# Pids of what runs have started, and of a run itself.
sub left { return grep { (readlink "/proc/$_/cwd" // '') eq "$top/here" } map { m{(\d+)} } glob '/proc/[0-9]*' }

# Pids of workers, which have the function's name as their title.
sub workers { return grep { slurp("/proc/$_/cmdline") =~ /^\d+ AFork::Run::code/ } left() }

# Pids below a run that wait for their parent.
sub zombies {
    my ($run) = @_;
    my %below = ($run->{pid} => 1);
    my @pids  = sort { $a <=> $b } map { m{(\d+)} } glob '/proc/[0-9]*';
    $below{$_} = 1 for grep { $below{ parent($_) } } @pids;
    return grep { slurp("/proc/$_/stat") =~ /.*\) Z/ } keys %below;
}

# One call of the test functions for a run that is to be good.
sub gives {
    my ($name, $input, $arguments, $output) = @_;
    my $run = run($input, @$arguments);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($run->{out}, $output, "$name: output") or diag($run->{err});
    is($run->{status}, 0, "$name: status");
    is($run->{err}, '', "$name: no message");
    return;
}

# --- Lines and results. ---

gives('a function', join('', lines(1 .. 50)), [qw(-M Digest::MD5 -j2 Digest::MD5::md5_hex)],
    do { require Digest::MD5; join '', lines(map { Digest::MD5::md5_hex($_) } 1 .. 50) });
gives('options behind the function', "a\n", [qw(-M Digest::MD5=md5_hex md5_hex -j4)], Digest::MD5::md5_hex('a') . "\n");
gives('arguments before the line', "c\nd\n", ['-e', 'join "-", @_', 'a', 'b'], "a-b-c\na-b-d\n");
gives('the line in $_', "1\n2\n", ['-e', '$_ * 2', 'a'], "2\n4\n");
gives('no list', '', ['-e', '1'], '');
gives('empty lines', "a\n\nb", ['-e', '"<$_>"'], "<a>\n<>\n<b>\n");
gives('empty lines left out', "\na\n\nb", ['--skip-empty', '-e', '"<$_>"'], "<a>\n<b>\n");
gives('NUL', "a\nb\0\0c", ['-0', '-e', 'length'], "3\n0\n1\n");
gives('results that end with NUL', "a\nb\n", ['--print0', '-e', '$_, "x"'], "a\0x\0b\0x\0");
gives('lists', "0\n1\n3\n", ['-e', '(1) x $_'], "1\n1\n1\n1\n");
gives('tags', "a\nb\n", ['--tag', '-e', 'uc, 1'], "a\tA\na\t1\nb\tB\nb\t1\n");
gives('quiet', "a\nb\n", ['-q', '-e', '$_'], '');

my $octets = join '', map { chr } grep { $_ != 10 } 0 .. 255;
gives('octets', "$octets\n$octets", ['-e', '$_'], "$octets\n$octets\n");
my $long = 'x' x 3_000_000;
gives('long lines', "$long\na\n$long", ['-j2', '-e', '"$_$_"'], "$long$long\naa\n$long$long\n");

spew("$top/list", "a\nb\n");
gives('a file', '', ['-a', "$top/list", '-e', 'uc'], "A\nB\n");

{
    my @expected = lines(1 .. 2000);
    my $code = 'select undef, undef, undef, 0.02 if $_ % 500 == 1; $_';
    gives('in order', join('', @expected), ['-j3', '-e', $code], join '', @expected);
    my $run = run(join('', @expected), '-u', '-j3', '-e', $code);
    is(join('', sort split /(?<=\n)/, $run->{out}), join('', sort @expected), 'as they come: the same');
    isnt($run->{out}, join('', @expected), 'as they come: in another order');
}

{
    my $run = run(join('', lines(1 .. 300)), '-u', '-j4', '-e', 'join "\n", ($_) x 2000');
    my @runs = $run->{out} =~ /^((\d+)\n(?:\2\n){1999})/mg;
    is(@runs / 2, 300, 'results of different calls are not mixed');
}

# --- JSON. ---

{
    gives('JSON', qq([1, 2]\n 3 \n"x"\n{"a":[null]}\n\n[]\n), ['--json', '-e', 'scalar @_, @_'],
        qq([2,1,2]\n[1,3]\n[1,"x"]\n[1,{"a":[null]}]\n[0]\n));
    gives('JSON, with arguments', "[1]\n", ['--json', '-e', '"$_", @_', 'a', 'b'], qq(["1","a","b",1]\n));
    gives('JSON, what is no array', qq("x"\nnull\ntrue\n1.5\n), ['--json', '-e', 'scalar @_, $_'],
        qq([1,"x"]\n[1,null]\n[1,true]\n[1,1.5]\n));
    gives('JSON, other characters', qq(["\\u263a"]\n["\xe2\x98\xba"]\n), ['--json', '-e', 'length, $_'],
        qq([1,"\xe2\x98\xba"]\n) x 2);
    my $run = run(qq([1]\n[1\n{"a":}\n] , [\n\xff\n[2]\n1, 2\n{"a":1},2\n), '--json', '-e', '@_');
    is($run->{out}, "[1]\n[2]\n", 'bad JSON: the others');
    is($run->{status}, 6, 'bad JSON: status');
    like($run->{err}, qr/^afork-run: line 2 \(\[1\): .*JSON|^afork-run: line 2 \(\[1\): .*(?:,|array|end)/m, 'bad JSON: message');
    is(() = $run->{err} =~ /^afork-run: line/mg, 6, 'bad JSON: a message for each');
}

# --- Calls that fail. ---

{
    my $run = run("1\n2\n3\n", '-e', 'die "no $_\n" if $_ == 2; $_');
    is($run->{out}, "1\n3\n", 'die: the others');
    is($run->{err}, "afork-run: line 2 (2): no 2\n", 'die: message');
    is($run->{status}, 1, 'die: status');
}
is(run(join('', lines(1 .. 100)), '-e', 'die')->{status}, 100, 'a hundred failed');
is(run(join('', lines(1 .. 102)), '-e', 'die')->{status}, 101, 'more failed');
is(run("\e[1m\t" . 'x' x 300 . "\n", '-e', 'die "a\e[1m\nb\n"')->{err},
    'afork-run: line 1 (\x1b[1m\t' . 'x' x 195 . "...): a\\x1b[1m\nb\n", 'messages do not drive a terminal');

is(run("\xc2\x9b1m\xc2\xa9\n", '-e', 'die "\xc2\x851m\xc3\x9b\n"')->{err},
    "afork-run: line 1 (\\xc2\\x9b1m\xc2\xa9): \\xc2\\x851m\xc3\x9b\n", 'nor by characters beyond ASCII');

for (['exits', 'exit 3', 'exited with status 3'], ['exits well', 'exit', 'exited with status 0'],
    ['is killed', 'kill KILL => $$; sleep 9', 'killed by signal 9']) {
    my ($name, $code, $message) = @$_;
    my $run = run(join('', lines(1 .. 20)), '-j2', '-e', "if (\$_ % 5 == 0) { $code } \$_");
    is($run->{out}, join('', lines(grep { $_ % 5 } 1 .. 20)), "a function that $name: the others");
    is($run->{status}, 4, "a function that $name: status");
    is(() = $run->{err} =~ /^afork-run: line \d+ \(\d*[05]\): .*\Q$message\E/mg, 4, "a function that $name: messages")
        or diag($run->{err});
}
{
    my $run = run(join('', lines(1 .. 30)), '-j2', '-e', 'exit 3');
    is($run->{status}, 30, 'all calls end their worker');
}
{
    my $begin = time;
    my $run = run(join('', lines(1 .. 9)), '-j2', '-t', '0.3', '-e', '1 while $_ == 4; $_');
    is($run->{out}, join('', lines(1 .. 3, 5 .. 9)), 'timeout: the others');
    like($run->{err}, qr/^afork-run: line 4 \(4\): .*time.*\n\z/, 'timeout: message');
    is($run->{status}, 1, 'timeout: status');
}
if (!$ENV{AFORK_TEST_SANITIZERS}) {    # which need much address space
    my $run = run("1\n2\n3\n", '--memory', '200M', '-e', 'my $n = 1e9; my $x = "x" x $n if $_ == 2; $_');
    is($run->{out}, "1\n3\n", 'memory: the others');
    is($run->{status}, 1, 'memory: status');
}
{
    my $run = run("1\n2\n", '-e', 'print "out $_\n"; system "echo", "child"; warn "err\n"; "result $_"');
    is($run->{out}, "result 1\nresult 2\n", 'what functions print: not in the output');
    is(join('', sort split /(?<=\n)/, $run->{err}), "child\nchild\nerr\nerr\nout 1\nout 2\n",
        'what functions print: on standard error');
}

# --- What is done about failures. ---

{
    my $file = "$top/retries";
    my $code = 'open my $f, ">>", "' . $file . '"; syswrite $f, "$_\n"; close $f; die if $_ == 2; exit 1 if $_ == 3 && !-e "'
        . $file . '.3"  && open my $g, ">", "' . $file . '.3"; $_';
    my $run = run("1\n2\n3\n4\n", '-j1', '--retries', 2, '-e', $code);
    is($run->{out}, "1\n3\n4\n", 'retries: output');
    is($run->{status}, 1, 'retries: status');
    is(() = slurp($file) =~ /^2$/mg, 3, 'retries: that failed each time');
    is(() = slurp($file) =~ /^3$/mg, 2, 'retries: that failed once');
    is(() = $run->{err} =~ /^afork-run/mg, 1, 'retries: one message');
}
{
    my $run = run(join('', lines(1 .. 5000)), '-j1', '--halt', 'soon', '-e', 'die if $_ == 20; $_');
    is($run->{status}, 1, 'halt soon: status');
    my @done = split ' ', $run->{out};
    ok(@done >= 19 && @done < 1000, 'halt soon: ends') or diag(scalar @done);
    $run = run(join('', lines(1 .. 5000)), '-j2', '--halt', 'now,fail=2', '-e', 'die if $_ % 20 == 0; sleep 100 if $_ == 45; $_');
    is($run->{status}, 2, 'halt now: status');
    $run = run(join('', lines(1 .. 9)), '-j2', '--halt', 'now', '-e', 'sleep 100 if $_ == 1; die "x\n"');
    is($run->{status}, 1, 'halt now: a call that would take long is killed');
}
{
    my $run = run(join('', lines(1 .. 5)), '--joblog', "$top/joblog", '-e',
        'die "x\n" if $_ == 2; exit 4 if $_ == 3; kill 9, $$ if $_ == 4; $_', "a\tb");
    my ($head, @rows) = map { chomp; [split /\t/, $_, -1] } split /^/, slurp("$top/joblog");
    is("@$head", 'Seq Host Starttime JobRuntime Send Receive Exitval Signal Command', 'log: columns');
    @rows = sort { $a->[0] <=> $b->[0] } @rows;
    is_deeply([map { "@$_[0, 1, 4, 6, 7]" } @rows], ['1 : 1 0 0', '2 : 1 255 0', '3 : 1 4 0', '4 : 1 0 9', '5 : 1 0 0'], 'log: calls');
    is($rows[0][8], '-e a\tb 1', 'log: command');
    ok((grep { abs($_->[2] - time) < DEADLINE && $_->[3] >= 0 && $_->[3] < DEADLINE } @rows) == 5, 'log: times');
}

# --- What cannot be started, and what is wrong. ---

for (['a missing module', ["-M", "No::Such", "f"], qr/Can't locate No\/Such\.pm/],
    ['a missing function', ["No::f"], qr/there is no function No::f; is -M No missing\?/],
    ['a missing function of main', ["f"], qr/there is no function f$/],
    ['a syntax error', ["-e", "foo("], qr/syntax error at -e line/],
    ['code that dies at the beginning', ["--begin", 'die "so\n"', "-e", "1"], qr/so$/],
    ['code that exits at the beginning', ["--begin", 'exit 0', "-e", "1"],
        qr/the perl ended while modules and --begin were loaded: exited with status 0$/],
    ['code that dies in each worker', ["--init", 'die "thus\n"', "-e", "1"], qr/thus$/],
    ['less memory than there is', ["--memory", "1K", "-e", "1"], qr/limits: memory: 1024 asked for/]) {
    my ($name, $arguments, $message) = @$_;
    my $run = run(join('', lines(1 .. 200)), @$arguments);
    is($run->{status}, 125, "$name: status");
    is($run->{out}, '', "$name: no output");
    is(() = $run->{err} =~ /^/mg, 1, "$name: told once") or diag($run->{err});
    like($run->{err}, qr/^afork-run: cannot start workers: .*$message/, "$name: message");
}
{
    local $ENV{AFORK_PERL} = "$top/no-perl";
    my $run = run("1\n", '-e', '1');
    is($run->{status}, 125, 'no perl: status');
    is($run->{err}, "afork-run: $top/no-perl: No such file or directory\n", 'no perl: message');
}
{
    # The perl has ended before it has been told all.
    my $run = run("1\n", qw(-m No::Such), (qw(-m strict)) x 5000, '-e', '1');
    is($run->{status}, 125, 'an early end: status');
    like($run->{err}, qr/\Aafork-run: cannot start workers: Can't locate.*\n\z/, 'an early end: message');
}
for ([], ['-j', '0', 'f'], ['-j', 'x', 'f'], ['-t', '-1', 'f'], ['--frob', 'f'], ['--memory', '1Q', 'f'], ['--halt', 'later', 'f'],
    ['--halt', 'now,fail=0', 'f'], ['--json', '--tag', 'f'], ['--json', '-0', 'f'], ['--ssh', 'h', '--memory', '1G', 'f'],
    ['--ssh', '-oX', 'f'], ['--hold', '', 'f'], ['-M', 'a b', 'f'], ['-M', 'a::', 'f'], ['-M', '-x', 'f'], ['--joblog', "$top/l", '--pool-load', 2, 'f'], ['']) {
    my $run = run("1\n", @$_);
    is($run->{status}, 125, "wrong usage (@$_): status");
    like($run->{err}, qr/^afork-run: .+\nTry .*\n\z/, "wrong usage (@$_): message");
}
for (['-a', "$top/none"], ['-a', $top], ['--joblog', "$top/none/log"], ['--read', "$top/none"]) {
    my $run = run('', @$_, '-e', '1');
    is($run->{status}, 125, "@$_: status");
    like($run->{err}, qr/^afork-run: \Q$_->[1]\E: (?:No such file or|Is a) directory\n\z/, "@$_: message");
}
for my $number (0, 1) {
    my $redirection = $number ? '>&-' : '<&-';
    my $run = finish(start('/bin/sh', '-c', "exec \"\$0\" \"\$@\" $redirection", $tool, '-e', '1'));
    is($run->{status}, 125, "closed descriptor $number: status");
    like($run->{err}, qr/^afork-run: standard \w+: Bad file descriptor\n\z/, "closed descriptor $number: message");
}
{
    my $run = finish(start('/bin/sh', '-c', 'exec "$0" "$@" </dev/null 2>&-', $tool, '-e', '1'));
    is($run->{status}, 0, 'without standard error');
    $run = finish(start('/bin/sh', '-c', 'exec "$0" "$@" >/dev/full', $tool, '-a', "$top/list", '-e', '1'));
    is($run->{status}, 125, 'a full disk: status');
    is($run->{err}, "afork-run: standard output: No space left on device\n", 'a full disk: message');
}
{
    my $run = run('', '--help');
    is($run->{status}, 0, 'help: status');
    like($run->{out}, qr/^Usage: afork-run .*\n.*-e CODE/, 'help: text');
    ok(!(grep { length > 80 } split /\n/, $run->{out}), 'help: lines fit');
    like(run('', '--version')->{out}, qr/^afork-run \d+\.\d+/, 'version');
}

# --- Workers. ---

{
    my $run = run(join('', lines(1 .. 12)), '-j2', '--single', '-e', '$$');
    my %pids = map { $_ => 1 } split ' ', $run->{out};
    is(keys %pids, 12, 'single: a process for each call');
    $run = run("1\n2\n", '--single', '--begin', 'my $x = 7', '-e', '$x++');
    is($run->{out}, "7\n7\n", 'single: nothing is left of a call');
    $run = run(join('', lines(1 .. 8)), '--single', '-j2', '-e', 'exit 1 if $_ % 2; $_');
    is($run->{out}, "2\n4\n6\n8\n", 'single: calls that fail');
}
gives('init', "1\n2\n", ['-j1', '--init', 'our $x = 40', '-e', '$x + $_'], "41\n42\n");
gives('a directory of modules', "x\n", do {
    spew("$top/Own.pm", 'package Own; sub import { *{caller() . "::own"} = \&own } sub own { "own $_[0]" } END { open my $f, ">", "' . $top . '/end" } 1');
    ['-I', $top, '-M', 'Own', 'own'];
}, "own x\n");
ok(-e "$top/end", 'END blocks have run when it ends');
gives('imports left out', "x\n", ['-I', $top, '-m', 'Own', '-e', 'defined &own ? 1 : 0'], "0\n");
{
    my $run = run("/etc/passwd\n$top/list\n", '--read', $top, '-e', 'open my $f, "<", $_ or die "$!\n"; scalar <$f>');
    is($run->{out}, "a\n\n", 'confined: what may be read');
    is($run->{status}, 1, 'confined: what may not');
}
{
    # A worker is killed while it has a call.
    my $run = start($tool, '-j2', '-e', 'my $n = $_; if ($n == 3) { open my $f, ">", "' . $top . '/pid"; print $f $$; close $f;'
        . ' rename "' . $top . '/pid", "' . $top . '/pid.done"; sleep 100 } $n');
    print { $run->{in} } lines(1 .. 6);
    until_true('the pid of a worker', sub { -e "$top/pid.done" });
    kill KILL => slurp("$top/pid.done");
    $run = finish($run);
    is($run->{out}, join('', lines(1, 2, 4 .. 6)), 'a killed worker: the others');
    is($run->{status}, 1, 'a killed worker: status');
    like($run->{err}, qr/^afork-run: line 3 \(3\): .*killed by signal 9.*\n\z/, 'a killed worker: message');
}

{
    # Calls that end when all of them have begun.
    mkdir "$top/begun";
    my $code = 'open my $f, ">", "' . $top . '/begun/$_"; my $end = time + 20;'
        . ' until ((() = glob "' . $top . '/begun/*") == 3) { die "alone\n" if time > $end; select undef, undef, undef, 0.01 } $_';
    gives('at a time', "1\n2\n3\n", ['-j3', '-e', $code], "1\n2\n3\n");
}

{
    # Workers are killed at random. Each line has its result, once.
    my $run = start($tool, '-j3', '--retries', 1000, '-e', 'select undef, undef, undef, 0.002 if $_ % 7 == 0; $_');
    my $writer = fork // die $!;
    if (!$writer) { print { $run->{in} } lines(1 .. 3000); POSIX::_exit(0) }
    my ($wrong, $killed) = (0, 0);
    for my $n (1 .. 3000) {
        $wrong++ if (read_line($run) // last) ne "$n\n";
        next if $n % 100;
        my @workers = workers() or next;
        $killed += kill KILL => $workers[rand @workers];
    }
    is($wrong, 0, 'workers are killed: each line has its result');
    cmp_ok($killed, '>', 5, 'workers are killed: some were');
    waitpid $writer, 0;
    until_true('no zombies', sub { !zombies($run) });
    is(finish($run)->{status}, 0, 'workers are killed: status');
}

# --- Time, memory, and readers. ---

{
    # Results come when they are there, not when the list ends.
    my $run = start($tool, '-e', 'uc');
    for ('a', 'b') {
        print { $run->{in} } "$_\n";
        is(read_line($run), uc . "\n", "an answer before the list ends: $_");
    }
    is(finish($run)->{status}, 0, 'an answer before the list ends: status');
}
if (!$ENV{AFORK_TEST_SANITIZERS}) {    # which need much memory
    my $run = start($tool, '-j2', '--hold', '4M', '-e', '"$_ " . "x" x 200');
    my $writer = fork // die $!;
    if (!$writer) { print { $run->{in} } lines(1 .. 100_000); POSIX::_exit(0) }
    my $wrong = 0;
    for my $n (1 .. 100_000) { my $line = read_line($run) // last; $wrong++ if $line !~ /^$n x{200}$/ }
    is($wrong, 0, 'a hundred thousand lines: results');
    waitpid $writer, 0;
    cmp_ok(memory($run), '<', 20_000, 'a hundred thousand lines: kB of memory');
    is(finish($run)->{status}, 0, 'a hundred thousand lines: status');
}
{
    # Somebody who does not read, of a list without end.
    my $run = start('/bin/sh', '-c', 'yes | exec "$0" "$@"', $tool, '-j2', '--hold', '4M', '-e', '"x" x 1000');
    my ($pid) = ();
    until_true('the tool', sub { ($pid) = grep { slurp("/proc/$_/cmdline") =~ /^\S*afork-run\0-j2\0/ } left() });
    my $tool_run = { pid => $pid };
    my $last = -1;
    until_true('rest', sub { my $now = ticks($tool_run); my $same = $now == $last; $last = $now; sleep 0.3; return $same });
    cmp_ok(memory($tool_run), '<', 20_000, 'nobody reads: kB of memory') unless $ENV{AFORK_TEST_SANITIZERS};
    is(length read_line($run), 1001, 'nobody reads: somebody does');
    close delete $run->{out};
    is(finish($run)->{status}, 141, 'nobody reads any more: status');
    is(slurp("$top/err") =~ s/^yes: .*\n//mr, '', 'nobody reads any more: no message');
}
{
    # One call at a time, whose result is more than may wait, to somebody who takes it at once.
    my $run = run(join('', lines(1 .. 3)), '-j1', '--joblog', "$top/large", '-e', '$_ x 2_000_000');
    is($run->{status}, 0, 'large results: status');
    is($run->{out}, join('', map { $_ x 2_000_000 . "\n" } 1 .. 3), 'large results: output');
    my $file = start('/bin/sh', '-c', 'exec "$0" "$@" >large', $tool, '-j1', '--joblog', "$top/large", '-e', '$_ x 2_000_000');
    print { $file->{in} } lines(1 .. 3);
    is(finish($file)->{status}, 0, 'large results, a file: status');
    is(-s "$top/here/large", 6_000_003, 'large results, a file: output');
}
for my $code ('"x" x 524_288', '$_ < 3000 ? $_ : "x" x 524_288') {
    # Nor of large results, be they so from the start or not; then somebody reads them all.
    my $run = start($tool, '-u', '-j2', '-e', $code);
    my $writer = fork // die $!;
    if (!$writer) { print { $run->{in} } lines(1 .. 3200); close $run->{in}; POSIX::_exit(0) }
    close delete $run->{in};
    my $last = -1;
    until_true('rest', sub { my $now = ticks($run); my $same = $now == $last; $last = $now; sleep 0.3; return $same });
    cmp_ok(memory($run), '<', 30_000, "nobody reads $code: kB of memory") unless $ENV{AFORK_TEST_SANITIZERS};
    my ($octets, $n) = (0);
    $octets += $n while $n = sysread $run->{out}, my $piece, 1 << 16;
    cmp_ok($octets, '>', 200 * 524_288, "nobody reads $code: until somebody does");
    waitpid $writer, 0;
    close delete $run->{out};
    is(finish($run)->{status}, 0, "nobody reads $code: status");
}
{
    # The first call takes long. No more is read than may be held.
    my $run = start($tool, '-j2', '--hold', '64K', '-e',
        'if ($_ == 1) { 1 until -e "' . $top . '/go" or !select undef, undef, undef, 0.01 } 1 until $_ > 1 or -e "' . $top
        . '/go"; "$_ " . "x" x 1000');
    my $writer = fork // die $!;
    if (!$writer) { print { $run->{in} } lines(1 .. 20_000); POSIX::_exit(0) }
    my $last = -1;
    until_true('rest', sub { my $now = ticks($run); my $same = $now == $last; $last = $now; sleep 0.2; return $same });
    cmp_ok(memory($run), '<', 20_000, 'results are held back: kB of memory') unless $ENV{AFORK_TEST_SANITIZERS};
    spew("$top/go", '');
    my $wrong = 0;
    for my $n (1 .. 20_000) { $wrong++ if (read_line($run) // last) !~ /^$n x{1000}$/ }
    is($wrong, 0, 'results are held back: all come in order');
    waitpid $writer, 0;
    is(finish($run)->{status}, 0, 'results are held back: status');
}
{
    # A socket, and a reader that is slow.
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;
    my $pid = fork // die $!;
    if (!$pid) {
        open STDIN, '<', spew("$top/numbers", join '', lines(1 .. 5000)) or POSIX::_exit(99);
        open STDOUT, '>&', $theirs or POSIX::_exit(99);
        close $ours;
        exec $tool, '-e', '$_ x 100' or POSIX::_exit(99);
    }
    close $theirs;
    my $all = '';
    while (sysread $ours, my $piece, 10_000) { $all .= $piece; sleep 0.001 }
    waitpid $pid, 0;
    is($?, 0, 'a socket: status');
    is($all, join('', lines(map { $_ x 100 } 1 .. 5000)), 'a socket: results');
}

SKIP: {
    # A pipe that the tool may not open once more.
    skip 'only root can become somebody else', 1 if $>;
    my @nobody = ($^X, '-e', '$< = $> = 65534; exec @ARGV', $tool);
    skip 'nobody cannot execute it', 1 if finish(start(@nobody, '--version'))->{status};
    my $run = start(@nobody, '-e', '"$_ " . "x" x 300');
    my $writer = fork // die $!;
    if (!$writer) { print { $run->{in} } lines(1 .. 3000); POSIX::_exit(0) }
    close delete $run->{in};
    my $wrong = 0;
    for my $n (1 .. 3000) { $wrong++ if (read_line($run) // last) !~ /^$n x{300}$/ }
    is($wrong, 0, 'the pipe of somebody else: results');
    waitpid $writer, 0;
    is(finish($run)->{status}, 0, 'the pipe of somebody else: status');
}

# --- Signals. ---

{
    my $go = "$top/interrupt";
    my $run = start($tool, '-j1', '-e', 'syswrite STDERR, "begun\n" if $_ == 1; 1 until $_ != 1 or -e "' . $go . '" or !select undef, undef, undef, 0.01;'
        . ' 1 until -e "' . $go . '"; $_');
    print { $run->{in} } lines(1 .. 500);
    until_true('a call', sub { slurp($run->{err}) =~ /begun/ });
    kill INT => $run->{pid};
    until_true('a word', sub { slurp($run->{err}) =~ /waiting for calls/ });
    spew($go, '');
    my $in = delete $run->{in};    # stays open: it is not read any more
    $run = finish($run);
    close $in;
    is($run->{status}, 130, 'interrupted: status');
    my @done = split ' ', $run->{out};
    ok(@done >= 1 && @done < 100, 'interrupted: what had begun is finished') or diag("@done");
    is("@done", join(' ', 1 .. @done), 'interrupted: in order');
}
for my $option ('-a', '--joblog') {
    # A pipe that nobody opens at its other end.
    POSIX::mkfifo("$top/pipe$option", 0600) or die $!;
    my $run = start($tool, $option, "$top/pipe$option", '-e', '1');
    until_true("it waits for the pipe", sub { slurp("/proc/$run->{pid}/wchan") =~ /wait_for_partner/ || slurp("/proc/$run->{pid}/syscall") =~ /^(?:257|56) / });
    kill INT => $run->{pid};
    is(finish($run)->{status}, 130, "interrupted while $option waits for a pipe: status");
}
for my $signal (qw(INT TERM HUP)) {
    my $run = start($tool, '-j2', '-e', 'syswrite STDERR, "begun\n"; sleep 100');
    print { $run->{in} } "1\n2\n3\n";
    until_true('calls', sub { 2 == (() = slurp($run->{err}) =~ /begun/g) });
    kill $signal => $run->{pid};
    until_true('a word', sub { slurp($run->{err}) =~ /waiting for calls/ });
    kill $signal => $run->{pid};
    my $number = { INT => 2, TERM => 15, HUP => 1 }->{$signal};
    is(finish($run)->{status}, 128 + $number, "SIG$signal twice: status");
}
{
    my $run = start($tool, '-j2', '-e', 'syswrite STDERR, "begun\n"; sleep 100');
    print { $run->{in} } "1\n2\n3\n";
    until_true('calls', sub { 2 == (() = slurp($run->{err}) =~ /begun/g) });
    kill KILL => $run->{pid};
    finish($run);
    until_true('nothing is left of a run that was killed', sub { !left() });
}

# --- What is shown. ---

{
    my $run = run(join('', lines(1 .. 3)), '--progress', '-j1', '-e', 'select undef, undef, undef, 0.15; die "x\n" if $_ == 2; $_');
    like($run->{err}, qr/\[#+\.+\]\s+\d+% \d done, \d under way/, 'progress: a bar');
    like($run->{err}, qr/\r\e\[Kafork-run: line 2 \(2\): x\n/, 'progress: messages have a line of their own');
    like($run->{err}, qr/\r\e\[K\z/, 'progress: nothing is left of it');
    $run = run("1\n2\n", '-v', '-j1', '-e', 'exit 2 if $_ == 1; $_');
    like($run->{err}, qr/^afork-run: worker \d+ started\n/, 'verbose: a start');
    like($run->{err}, qr/^afork-run: a worker ended: exited with status 2\n/m, 'verbose: an end');
    like($run->{err}, qr/^afork-run: 2 calls in .* 1 failed; 2 workers, 1 of them crashed\n\z/m, 'verbose: a summary');
}

SKIP: {
    # A bar fits its terminal.
    skip 'no script(1), or no pseudo-terminals', 3 if system 'script -qec true /dev/null </dev/null >/dev/null 2>&1';
    for my $columns (12, 30, 80) {
        my $code = 'select undef, undef, undef, 0.15';
        my $all = `script -qec 'stty cols $columns; $tool -a $top/list -q -j1 -e "$code"' /dev/null </dev/null 2>&1`;
        my @shown = grep length, map { s/\s+\z//r } split /\r\e\[K/, $all;
        ok(@shown && !(grep { length >= $columns } @shown), "$columns columns") or diag($all);
    }
}

# --- On other hosts. ---

SKIP: {
    my $rsh = spew("$top/rsh", <<'END');
#!/bin/sh
test "$1" = down && { echo "no route to $1" >&2; exit 255; }
export HOST_OF_TEST="$1"; shift
exec "$@"
END
    chmod 0755, $rsh;
    my $run = run("1\n", '--rsh', $rsh, '--ssh', 'one', '-e', '1');
    skip 'a perl without afork has no back end', 1 if $run->{err} =~ /Can't locate AFork/;
    $run = run(join('', lines(1 .. 200)), '--rsh', $rsh, '--ssh', 'one', '--ssh', 'two', '-j1', '-e', '"$ENV{HOST_OF_TEST} $_"');
    is($run->{out} =~ s/^(?:one|two) //mgr, join('', lines(1 .. 200)), 'hosts: results') or diag($run->{err});
    is($run->{status}, 0, 'hosts: status');
    like($run->{out}, qr/^one/m, 'hosts: the first works');
    like($run->{out}, qr/^two/m, 'hosts: the second works');
    $run = run(join('', lines(1 .. 50)), '--rsh', $rsh, '--ssh', 'down', '--ssh', ':', '-e', '$_');
    is($run->{out}, join('', lines(1 .. 50)), 'a host that is down: the other does it all');
    is($run->{status}, 0, 'a host that is down: status');
    is(() = $run->{err} =~ /^afork-run: down: cannot start workers: /mg, 1, 'a host that is down: told once') or diag($run->{err});
    $run = run("1\n", '--rsh', $rsh, '--ssh', 'one', '-M', 'No::Such', '-e', '$_');
    is($run->{status}, 125, 'hosts: a missing module: status');
    like($run->{err}, qr/\Aafork-run: one: cannot start workers: Can't locate No.*\n\z/, 'hosts: a missing module: told once');
    $run = run("1\n", '--rsh', $rsh, '--ssh', 'down', '-e', '$_');
    is($run->{status}, 125, 'no host: status');
    $run = run("1\n2\n", '--rsh', $rsh, '--ssh', 'one', '-e', 'print "printed\n"; $_');
    is($run->{out}, "1\n2\n", 'hosts: what functions print is not in the output');
    is($run->{status}, 0, 'hosts: what functions print does no harm');
    $run = run(join('', lines(1 .. 9)), '--rsh', $rsh, '--ssh', 'one', '-j2', '-t', '0.5', '--retries', 1, '-e',
        '1 while $_ == 2; exit 3 if $_ == 3; die "so\n" if $_ == 4; $_');
    is($run->{out}, join('', lines(1, 5 .. 9)), 'hosts: calls that fail: the others');
    is($run->{status}, 3, 'hosts: calls that fail: status') or diag($run->{err});
    $run = run("1\n2\n", '--rsh', $rsh, '--ssh', 'one', '-I', $top, '-M', 'Own', 'own');
    is($run->{out}, "own 1\nown 2\n", 'hosts: directories and modules');
}

until_true('nothing is left', sub { !left() });
done_testing;
