# SPDX-License-Identifier: MIT
#
# Puts thumbnails on one picture: afork-thumbnails --json DIRECTORY | perl demo-sheet.pl FILE.png
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/perl";
use AFork::Thumbnail; # brings in GdkPixbuf
use JSON::PP qw(decode_json);

my ($target) = @ARGV;
my ($columns, $cell, $max) = (10, 140, 200);

my @reports = grep { $_->{thumbnail} } map { decode_json($_) } <STDIN>;
@reports = sort { $a->{uri} cmp $b->{uri} } @reports;
splice @reports, $max if @reports > $max;
die "there is no thumbnail\n" unless @reports;

my $lines = int((@reports + $columns - 1) / $columns);
my $sheet = GdkPixbuf::Pixbuf->new('rgb', 0, 8, $columns * $cell, $lines * $cell);
$sheet->fill(0x303438ff);

for my $n (0 .. $#reports) {
    my $picture = GdkPixbuf::Pixbuf->new_from_file_at_size($reports[$n]{thumbnail}, $cell - 8, $cell - 8);
    my ($width, $height) = ($picture->get_width, $picture->get_height);
    my $x = $n % $columns * $cell + int(($cell - $width) / 2);
    my $y = int($n / $columns) * $cell + int(($cell - $height) / 2);
    $picture->composite($sheet, $x, $y, $width, $height, $x, $y, 1, 1, 'nearest', 255);
}
$sheet->savev($target, 'png', [], []);
