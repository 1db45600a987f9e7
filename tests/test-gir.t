#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What the GIR offers is what is meant, and what the tests use. Those in Python and GJS note which
# calls returned, which signals arrived, which properties were set and read (record() in gafork_lib);
# the C that valac makes of those in Vala names it all. And everything is documented, and says since
# when it is there. TAP.
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

# The names that a program writes, in the order of the file.
sub names
{
    my ($gir) = @_;
    my %class;
    my @names;
    while ($gir =~ m{<(/?)(class|interface|record|enumeration|callback|method|constructor|function|property
                          |glib:signal|field)\b([^>]*?)(/?)>}gx) {
        my ($end, $kind, $attributes, $empty) = ($1, $2, $3, $4);
        my %is = $attributes =~ /([\w:-]+)="([^"]*)"/g;
        if ($kind =~ /^(?:class|interface|record|enumeration)$/) {
            %class = $end || $empty ? () : (%is, kind => $kind);
        } elsif (!$end && $kind ne 'callback') {
            next if ($is{introspectable} // 1) eq '0' || $class{'glib:is-gtype-struct-for'};
            next if $kind eq 'field' && $class{kind} ne 'record' || !%class && $kind ne 'function';
            push @names, {%is, kind => $kind =~ s/glib://r, class => $class{name},
                          prefix => $class{'c:symbol-prefix'},
                          id => join '.', grep defined, $class{name}, $is{name}};
        }
    }
    return @names;
}

# What has to be noted of a name; kinds of several words are several.
sub uses
{
    my ($name) = @_;
    my ($kind, $id) = @$name{qw(kind id)};
    # References and copies are the business of the language; a domain is used with each error.
    return if $kind =~ /^(?:method|function)$/ && $id =~ /\b(?:(?:un)?ref|copy|free|(?:error_)?quark)$/;
    return "$kind $id" if $kind ne 'property';
    return (($name->{readable} // 1) ? "read $id" : (), $name->{writable} ? "write $id" : ());
}

# Whether C that valac made has a use.
sub in_c
{
    my ($c, $name, $use) = @_;
    (my $word = $name->{name}) =~ tr/-/_/;
    return $c =~ /\b$name->{'c:identifier'} \(/ if $name->{'c:identifier'};
    return $c =~ /"$name->{name}", \(GCallback\) \w+?_gafork_$name->{prefix}_$word\b/
        if $name->{kind} eq 'signal';
    return $c =~ /(?:->|\.)$word\b/ if $name->{kind} eq 'field';
    return $c =~ /\bg_object_get \([^;]*"$name->{name}"|\bgafork_$name->{prefix}_get_$word \(/
        if $use =~ /^read/;
    return $c =~ /\bg_object_(?:set|new) \([^;]*"$name->{name}"|\bgafork_$name->{prefix}_set_$word \(/;
}

my $n = 0;

sub result
{
    my ($what, @missing) = @_;
    print @missing ? 'not ' : '', 'ok ', ++$n, " - $what\n";
    print "# $_\n" for @missing;
}

my @names = names(my $gir = slurp("$build/glib/Afork-1.0.gir"));
print "1..7\n";
result('the list is plausible', @names > 200 ? () : 'only ' . @names);

my %meant = map { $_ => 1 } split /\n/, slurp("$source/tests/gir-names");
my %found = map { ("$_->{kind} $_->{id}" => 1) } @names;
result('what other languages see is listed in gir-names',
    map({ "not listed: $_" } sort grep !$meant{$_}, keys %found),
    map({ "not there: $_" } sort grep !$found{$_}, keys %meant));

# A launcher is a function of C that is given a struct of C.
my %only_c = map { $_ => 1 } qw(gafork_context_set_launcher gafork_process_new_launched);
my %introspected = map { ($_->{'c:identifier'} // '' => 1) } @names;
my $headers = join '', map slurp($_), glob("$source/glib/gafork-*.h");
my @exported = $headers =~ /AFORK_EXPORT\s[^;]*?\b(gafork_[a-z]\w+)\s*\(/g;
result('what is for C alone is known',
    map({ "hidden: $_" } grep !$introspected{$_} && !$only_c{$_} && !/_(?:get_type|copy|free)$/, @exported),
    map({ "not hidden: $_" } grep $introspected{$_}, keys %only_c));

for my $language (qw(python gjs)) {
    my @files = map "$build/tests/test-gafork$_-$language.used", '', '-calls';
    if (grep !-e, @files) {
        print 'ok ', ++$n, " - $language # SKIP tests in this language were not run\n";
        next;
    }
    my %used = map { $_ => 1 } map { split /\n/, slurp($_) } @files;
    my @missing;
    for my $name (@names) {
        for my $use (uses($name)) {
            (my $noted = $use) =~ tr/_/-/;
            # What an interface has is used of those who implement it. GJS does not let fields be seen.
            push @missing, "not used: $use"
                unless grep $used{$_}, $noted, map $noted =~ s/ Callable\./ $_./r, qw(Rpc Pool)
                or $language eq 'gjs' && $name->{kind} eq 'field';
        }
    }
    result("tests in $language use everything", @missing);
}

my @c = map "$build/tests/test-gafork$_-vala.c", '', '-calls';
if (grep !-e, @c) {
    print 'ok ', ++$n, " - vala # SKIP tests in this language were not made\n";
} else {
    my $c = join '', map slurp($_), @c;
    my @missing;
    for my $name (@names) {
        push @missing, map "not used: $_", grep !in_c($c, $name, $_), uses($name);
    }
    result('tests in vala use everything', @missing);
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
