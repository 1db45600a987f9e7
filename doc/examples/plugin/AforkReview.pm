# SPDX-License-Identifier: MIT
#
# What the workers of the plugin do: no file is read and nothing is kept from one text to the next.
# Modules that come with perl are enough.

package AforkReview;

use strict;
use utf8;
use warnings;

use JSON::PP ();
use Pod::Checker ();

use constant MAX_FINDINGS => 200;

my $json = JSON::PP->new->allow_nonref->max_depth(512);
my %checks = (json => [\&json], perl => [\&pod]);

# The text of a document and what language the editor takes it for. Returns a summary, then the
# findings: line, a tab, text.
sub review
{
    my ($text, $language) = @_;
    utf8::decode($_) for $text, $language; # what comes are octets

    my @findings = map { $_->($text) } @{$checks{$language} || [\&prose]}, \&lines;
    @findings = sort { $a->[0] <=> $b->[0] } @findings;
    my @result = (summary($text, scalar @findings), map { "$_->[0]\t$_->[1]" } @findings);
    splice @result, 1 + MAX_FINDINGS;
    utf8::encode($_) for @result;
    @result
}

sub summary
{
    my ($text, $findings) = @_;
    my $words = () = $text =~ /\S+/g;
    my $lines = ($text =~ tr/\n//) + ($text =~ /[^\n]\z/ ? 1 : 0);
    my $shown = $findings > MAX_FINDINGS ? ', the first ' . MAX_FINDINGS . ' shown' : '';

    count($lines, 'line') . ', ' . count($words, 'word') . ', ' . count(length $text, 'character')
        . '; ' . count($findings, 'finding') . $shown
}

sub count
{
    my ($n, $what) = @_;
    $what .= 's' if $n != 1;
    1 while $n =~ s/^(\d+)(\d{3})/$1,$2/;
    "$n $what"
}

sub line_of
{
    my ($text, $offset) = @_;
    1 + (substr($text, 0, $offset) =~ tr/\n//)
}

# --- What is looked for; each returns pairs of line and text. ---

sub json
{
    my ($text) = @_;
    return if eval { $json->decode($text); 1 } || $text !~ /\S/;
    my $why = $@ =~ s/ at \S+ line \d+\.?\n\z//r;
    my $offset = $why =~ s/,? at character offset (\d+).*//s ? $1 : length $text;
    [line_of($text, $offset), "JSON: $why"]
}

sub pod
{
    my ($text) = @_;
    return if $text !~ /^=[a-z]/mi;
    my $checker = AforkReview::Pod->new(-warnings => 1);
    $checker->{findings} = [];
    $checker->output_string(\my $unused);
    $checker->parse_string_document($text);
    (@{$checker->{findings}}, prose(paragraphs($text)))
}

# What is written to be read, in its lines: no code, and no commands.
sub paragraphs
{
    my $inside = 0;
    my $text = '';

    for (split /^/, $_[0]) {
        $inside = !/^=cut\b/ if /^=[a-z]/i;
        $text .= $inside && /^[^=\s]/ ? $_ : "\n";
    }
    $text
}

sub prose
{
    my ($text) = @_;
    my ($line, $counted, @findings) = (1, 0);

    while ($text =~ /\b(\pL+)\s+(?=(\1)\b)/gi) {
        $line += substr($text, $counted, $-[2] - $counted) =~ tr/\n//;
        $counted = $-[2];
        push @findings, [$line, "“$2” twice"];
    }
    @findings
}

sub lines
{
    my $n = 0;
    my @findings;

    for (split /\n/, $_[0]) {
        $n++;
        push @findings, [$n, 'space at the end of the line'] if /\S[^\S\r]+\r?\z/;
    }
    @findings
}

# Notes what is found instead of printing it.
package AforkReview::Pod;

our @ISA = 'Pod::Checker';

sub poderror
{
    my ($self, @arguments) = @_;
    my %about = ref $arguments[0] ? (%{shift @arguments}) : ();

    push @{$self->{findings}},
        [$about{-line} =~ /^(\d+)/ ? $1 : 1, 'POD: ' . ($about{-msg} // "@arguments")];
}

1;
