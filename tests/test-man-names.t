#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The manual is complete and true: each function that a library exports has a page with its name and its
# prototype; each struct with its members, each enumeration with its values, each type of callback and
# each macro of the core has a word; and what pages name is there. The GObject layer has a reference of
# its own, so of that only the latter is looked at. TAP.
use strict;
use warnings;

my $src = $ENV{AFORK_TEST_SRCDIR} // '.';
my $count = 0;

sub result {
    my ($name, @faults) = @_;
    $count++;
    print @faults ? 'not ok' : 'ok', " $count - $name\n";
    print map "#   $_\n", @faults;
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

sub without_comments {
    my ($text) = @_;
    $text =~ s{/\*.*?\*/}{}gs;
    return $text;
}

# Names of functions between "global:" and "local:".
sub exported {
    my ($map) = slurp("$src/$_[0]") =~ /global:(.*?)local:/s;
    return $map =~ /(\w+);/g;
}

# Members of the body of a struct, several of a type and pointers to functions among them.
sub members {
    my ($body) = @_;
    my @names;
    for my $statement (split /;/, $body) {
        if ($statement =~ /\(\*(\w+)\)/) {
            push @names, $1;
            next;
        }
        push @names, map /(\w+)(?:\[\w*\])?\s*$/, split /,/, $statement;
    }
    return @names;
}

my %pages = map { m{([^/]+)$}; $1 => slurp($_) } glob "$src/doc/*.[1-9]";
my $manual = join '', values %pages;
my %headers = map { $_ => slurp($_) } map glob("$src/$_"),
  'src/*.h', 'glib/*.h', 'ev-adapter/*.h', 'uv-adapter/*.h', 'src/perl/afork-perl.h';
my @public = map slurp($_), grep m{/src/afork-[a-z]+\.h$}, keys %headers;
my $core = without_comments(join '', @public);

# Functions.
for (['src/libafork.map', ''], ['ev-adapter/libafork-ev.map', ''], ['uv-adapter/libafork-uv.map', ''],
    ['src/perl/libafork-perl.map', ''], ['glib/libafork-glib.map', 'afork_glib']) {
    my ($map, $prefix) = @$_;
    my @functions = grep /^$prefix/, exported($map);
    result("$map: functions have a name in a page", "nothing is exported") unless @functions;
    result("$map: functions have a name in a page", grep $manual !~ /^\.Nm $_(?: ,)?$/m, @functions);
    result("$map: functions have a prototype", grep {
        my ($names, $synopsis) = ("\\.F[no] $_\\b", 0);
        $synopsis |= /^\.Sh SYNOPSIS\n(.*?)^\.Sh /ms && $1 =~ /^$names/m for values %pages;
        !$synopsis;
    } @functions);
}

# Types of the core.
my %structs = $core =~ /^struct (\w+) \{\n(.*?)^\};/gms;
result('the core has structs', %structs < 10 ? 'fewer than are known' : ());
for my $name (sort keys %structs) {
    my @about = grep /struct $name\b/, values %pages;
    my @missing = grep {
        my $member = $_;
        !grep /^\.(?:It )?(?:F|V)a [^\n]*\b$member\b|^\.F[no] $member\b|^struct $name .*?\b$member\b.*?^\}/ms, @about;
    } grep $_ ne 'memory' || $name ne 'afork_reply', members($structs{$name});
    result("struct $name", @about ? map("no $_", @missing) : 'is in no page');
}
my %enums = $core =~ /^enum (\w*) ?\{\n(.*?)^\};/gms;
for my $name (sort keys %enums) {
    my @values = $enums{$name} =~ /^\s*(AFORK_\w+)/gm;
    result("enum $name", @values ? () : 'has no values',
        $name eq '' || $manual =~ /enum $name\b/ ? () : 'is in no page',
        map "no $_", grep $manual !~ /\b$_\b/, @values);
}
my @callbacks = $core =~ /^typedef [\w ]+?\*?(\w+_cb)\(/gm;
result('types of callbacks', @callbacks ? () : 'none found', grep $manual !~ /\b$_\b/, @callbacks);
my @macros = grep !/_H$|_DECLS$|_EXPORT$|_SENTINEL$|_NODISCARD$/, $core =~ /^#define (AFORK_\w+)/gm;
result('macros', grep $manual !~ /\b$_\b/, @macros);

# What pages name. Headers of GObject make some names: those of types, and of what casts to them.
my $known = join '', values %headers;
$known =~ s/(G_DECLARE_\w+\(\w+, (\w+),\s*(\w+),\s*(\w+),)/$1 $2_get_type $3_$4 $3_IS_$4 /g;
for my $page (sort keys %pages) {
    my %seen;
    my $text = $pages{$page};
    result("$page names what there is", grep !$seen{$_}++ && $known !~ /\b$_\b/,
        $text =~ /\b(g?afork_[a-z]\w+|GAFORK_[A-Z]\w+|GAfork\w+)/g);
    my @references = $text =~ /^\.Xr (afork[\w-]*) (\d)/gm;
    my @dead;
    while (my ($name, $section) = splice @references, 0, 2) {
        push @dead, "$name($section)" unless $pages{"$name.$section"};
    }
    result("$page refers to pages that are there", @dead);
}
print "1..$count\n";
