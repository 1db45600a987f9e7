#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The pages that make-html writes: each link between them leads to a page, and to a place in it; each
# page can be reached from the first; functions and manual pages are linked. With the reference of the
# GObject layer where that was built. TAP.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use File::Find;
use File::Temp;

my $src = $ENV{AFORK_TEST_SRCDIR} // '.';
my $build = $ENV{AFORK_TEST_BUILDDIR} // '.';
for (qw(lowdown mandoc)) {
    next if system("command -v $_ >/dev/null") == 0;
    print "1..0 # SKIP $_ is not installed\n";
    exit;
}

my $count = 0;

sub result {
    my ($name, @faults) = @_;
    $count++;
    print @faults ? 'not ok' : 'ok', " $count - $name\n";
    print map "#   $_\n", @faults > 20 ? (@faults[0 .. 19], '...') : @faults;
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

my $top = File::Temp->newdir;
my $reference = "$build/doc/reference/Afork-1.0";
my @command = ($ENV{PERL} // 'perl', "$src/doc/make-html", $src, "$top/html", -e $reference ? $reference : ());
my $said = do {
    open my $pipe, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @command or die "sh: $!\n";
    local $/;
    my $text = <$pipe>;
    close $pipe;
    $text // '';
};
result('the pages are made, in silence', $? ? "status $?" : (), split /\n/, $said);

my %html;
find({ no_chdir => 1, wanted => sub { $html{ substr $_, length "$top/html/" } = slurp($_) if /\.html$/ } }, "$top/html");
my %ids = map { my $page = $_; $page => { map { $_ => 1 } $html{$page} =~ /\bid="([^"]*)"/g } } keys %html;

# Pages of ours: those of gi-docgen are its own business.
my @ours = grep !/^Afork-1\.0/, sort keys %html;
result('as many as there are texts', @ours < 40 ? scalar @ours : ());
my (@dead, %leads_to);
for my $page (@ours) {
    for ($html{$page} =~ /\b(?:href|src)="([^"]*)"/g) {
        next if m{^https?://};
        my ($path, $fragment) = /^([^#]*)#?(.*)/;
        my $target = $path eq '' ? $page : abs_path("$top/html/" . dirname($page) . "/$path");
        $target =~ s{^\Q@{[abs_path($top)]}\E/html/}{} if defined $target;
        if (!defined $target || !-f "$top/html/$target") {
            push @dead, "$page: $_";
            next;
        }
        $leads_to{$page}{$target} = 1;
        push @dead, "$page: $_" if $fragment ne '' && $ids{$target} && !$ids{$target}{$fragment};
    }
}
result('no link is dead', @dead);

my %reached;
my @next = 'index.html';
while (defined(my $page = shift @next)) {
    push @next, sort keys %{ $leads_to{$page} // {} } unless $reached{$page}++;
}
result('each page can be reached from the first', grep !$reached{$_}, @ours);

result('functions are linked', map "$_->[0] to $_->[1]", grep !$leads_to{ $_->[0] }{ $_->[1] },
    ['guide/first-worker.html', 'man/afork-context.3.html'],
    ['man/afork-pool.3.html', 'man/afork-rpc.3.html'],
    ['from-anyevent-fork.html', 'man/afork-handover.3.html']);

# Code: what is typed, words, strings and comments stand out, functions are linked, nothing is escaped twice.
my ($first) = map s/<[^>]*>//gr, $html{'guide/first-worker.html'} =~ m{(<pre><code class="language-c">.*?</pre>)}s;
result('code is all there', ($first // '') =~ /#include &lt;afork\/afork\.h&gt;\n.*afork_poll_new\(&amp;poll\)/s ? () : $first // 'none');
result('code is coloured', grep $html{'guide/first-worker.html'} !~ m{<span class="$_">}, qw(comment string word prompt typed));
result('functions in code are linked', grep !/>afork_rpc_new</, join '', $html{'guide/first-worker.html'} =~ m{<a href="[^"]*">\w+</a>}g);
result('nothing is escaped twice', map { my $page = $_; map "$page: $_", $html{$page} =~ /&amp;(?:#\d+|lt|gt|amp|quot);/g } grep m{^guide/}, @ours);

if (-e $reference) {
    result('so are those of the reference', grep !$leads_to{'guide/porting-gsubprocess.html'}{$_},
        'Afork-1.0/method.Process.wait_async.html', 'Afork-1.0/method.Callable.call_strv_async.html');
}
print "1..$count\n";
