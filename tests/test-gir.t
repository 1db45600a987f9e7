#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What the GIR offers is what the tests use: those in another language name every method, property and
# signal. And everything is documented, and says since when it is there. TAP.
use strict;
use warnings;

my ($source, $build) = @ENV{qw(AFORK_TEST_SRCDIR AFORK_TEST_BUILDDIR)};

sub slurp
{
    my ($file) = @_;
    open my $handle, '<', $file or die "$file: $!\n";
    local $/;
    return <$handle>;
}

# The names that a program writes, as [kind, name, class]; found in the order of the file.
sub names
{
    my ($gir) = @_;
    my ($class, @names) = ('');
    while ($gir =~ m{<(/?)(class|interface|record|method|constructor|function|property|glib:signal)\b([^>]*)>}g) {
        my ($end, $kind, $attributes) = ($1, $2, $3);
        my ($name) = $attributes =~ /\bname="([^"]+)"/;
        next if $attributes =~ /\bintrospectable="0"|glib:is-gtype-struct-for/;
        if ($kind =~ /^(?:class|interface|record)$/) {
            $class = $end ? '' : $name;
        } elsif (!$end && $class) {
            push @names, [$kind, $name, $class];
        }
    }
    return @names;
}

# How each language writes a name; several ways are joined by |.
sub written
{
    my ($language, $kind, $name, $class) = @_;
    (my $word = $name) =~ tr/-/_/;
    # References and copies are the business of the language.
    return if $kind eq 'method' && $name =~ /^(?:(?:un)?ref|copy|free)$/;
    return qr/["'.:]\Q$name\E\b/ if $kind eq 'glib:signal' && $language ne 'vala';
    return qr/\.$word\.connect\b/ if $kind eq 'glib:signal';
    return qr/\.$word\b(?!\s*\()|\b$word[:=]/ if $kind eq 'property'; # read, or given at construction
    return qr/[.'"]$word\b/ if $language ne 'vala';
    return if $word =~ /_finish$/; # the end of an asynchronous method
    if ($kind eq 'constructor') {
        $word =~ s/^new_?//;
        return $word ? qr/new Afork\.$class\.$word \(/ : qr/new Afork\.$class \(/;
    }
    return qr/\.$word\.begin \(/ if $word =~ /_async$/;
    return qr/\.$word \(/;
}

my @names = names(my $gir = slurp("$build/glib/Afork-1.0.gir"));
my %tests = (
    python => ['test-gafork-python.py', 'test-gafork-calls-python.py'],
    gjs => ['test-gafork-gjs.js', 'test-gafork-calls-gjs.js'],
    vala => ['test-gafork-vala.vala', 'test-gafork-calls-vala.vala'],
);
print '1..', keys(%tests) + 2, "\n";
my $n = 0;

sub result
{
    my ($what, @missing) = @_;
    print @missing ? 'not ' : '', 'ok ', ++$n, " - $what\n";
    print "# not there: $_\n" for @missing;
}

result('the list is plausible', @names > 40 ? () : 'only ' . @names);
for my $language (sort keys %tests) {
    my $text = join '', map slurp("$source/tests/$_"), @{$tests{$language}};
    my @missing;
    for (@names) {
        my $pattern = written($language, @$_);
        push @missing, "@$_[0, 1] of $_->[2]" if defined $pattern && $text !~ $pattern;
    }
    result("@{$tests{$language}} use everything", @missing);
}

my @bare;
while ($gir =~ m{<(class|interface|record|enumeration|method|constructor|function|property|glib:signal)\b
                 ([^>]*[^/])>(.*?)</\1>}gsx) {
    my ($kind, $attributes, $inside) = ($1, $2, $3);
    next if $attributes =~ /glib:is-gtype-struct-for|moved-to/;
    my ($name) = $attributes =~ /\bname="([^"]+)"/;
    push @bare, "$kind $name" unless $attributes =~ /\bversion="0\.\d+"/ && $inside =~ /<doc /;
}
result('everything is documented, with a version', @bare);
