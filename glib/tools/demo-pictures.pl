# SPDX-License-Identifier: MIT
#
# Makes sample pictures for the demo: perl demo-pictures.pl DIRECTORY
#
# Each is computed small and enlarged: about 60 landscapes and patterns of all sizes, as JPEG, some
# lying on their side with an EXIF orientation, and as PNG, some transparent; and one that is corrupt.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/perl";
use AFork::Thumbnail; # brings in GdkPixbuf

my ($directory) = @ARGV;
my ($columns, $rows) = (96, 72);
srand 2;

# A colour for hue and brightness, both from 0 to 1.
sub colour {
    my ($hue, $value) = @_;
    return map { $value * (0.6 + 0.4 * cos(6.2832 * ($hue + $_ / 3))) * 255 } 0 .. 2;
}

# Functions of a position, 0 to 1 each, that give red, green, blue and opacity.
sub landscape {
    my ($hue, $phase, $sun) = map { rand } 1 .. 3;
    return sub {
        my ($x, $y) = @_;
        for my $ridge (1 .. 4) {
            my $height = 0.9 - 0.12 * $ridge + 0.05 * sin($x * 5 * $ridge + 9 * $phase)
                + 0.02 * sin($x * 17 + $ridge);
            return (colour($hue + 0.4, 0.25 + 0.12 * $ridge), 255)
                if $y > $height && ($ridge == 4 || $y > $height + 0.06 * $ridge - 0.05);
        }
        return (255, 240, 190, 255) if ($x - 0.2 - 0.6 * $sun)**2 + (0.56 * ($y - 0.2))**2 < 0.004;
        return (colour($hue, 0.65 + 0.35 * $y), 255);
    };
}

sub waves {
    my ($hue, $a, $b, $c) = map { rand } 1 .. 4;
    return sub {
        my ($x, $y) = @_;
        my $v = sin(9 * $a * $x + 7 * $y) + sin(11 * $b * $y - 5 * $x) + sin(8 * $c * ($x + $y) + 3);
        return (colour($hue + 0.15 * $v, 0.7 + 0.1 * $v), 255);
    };
}

sub rings {
    my ($hue, $cx, $cy, $n) = (rand, 0.3 + rand(0.4), 0.3 + rand(0.4), 4 + rand 8);
    return sub {
        my ($x, $y) = @_;
        my $distance = sqrt(($x - $cx)**2 + (0.75 * ($y - $cy))**2);
        return (colour($hue + $distance, 0.6 + 0.4 * cos(6.2832 * $n * $distance)), 255);
    };
}

sub badge {
    my $hue = rand;
    return sub {
        my ($x, $y) = @_;
        my $distance = sqrt(($x - 0.5)**2 + ($y - 0.5)**2);
        return (colour($hue, 1 - $distance), $distance < 0.33 ? 255 : $distance < 0.37 ? 120 : 0);
    };
}

sub render {
    my ($function, $width, $height) = @_;
    my $data = '';
    for my $row (0 .. $rows - 1) {
        for my $column (0 .. $columns - 1) {
            $data .= pack 'C4', $function->($column / $columns, $row / $rows);
        }
    }
    my $small = GdkPixbuf::Pixbuf->new_from_bytes(
        Glib::Bytes->new($data), 'rgb', 1, 8, $columns, $rows, 4 * $columns);
    return $small->scale_simple($width, $height, 'bilinear');
}

# Stores a picture as a camera held sideways does.
sub save_turned {
    my ($pixbuf, $name, $orientation) = @_;
    my %turn = (3 => 'upsidedown', 6 => 'counterclockwise', 8 => 'clockwise');
    $pixbuf->rotate_simple($turn{$orientation})->savev($name, 'jpeg', ['quality'], ['88']);

    open my $file, '+<:raw', $name or die "$name: $!\n";
    my $jpeg = do { local $/; readline $file };
    my $exif = "Exif\0\0II*\0" . pack 'V v vvVvv V', 8, 1, 0x112, 3, 1, $orientation, 0, 0;
    substr $jpeg, 2, 0, "\xff\xe1" . pack('n', 2 + length $exif) . $exif;
    seek $file, 0, 0;
    print {$file} $jpeg;
    close $file or die "$name: $!\n";
}

my @sizes = ([1600, 1200], [2000, 1500], [3000, 2250], [4000, 3000], [800, 600], [1200, 1600],
             [3000, 1000], [640, 480], [120, 90], [1500, 1500]);
for my $n (1 .. 59) {
    my ($width, $height) = @{ $sizes[$n % @sizes] };
    my $name = sprintf '%s/picture-%02d', $directory, $n;

    if ($n % 10 == 9) {
        render(badge(), $width, $height)->savev("$name.png", 'png', ['compression'], ['1']);
    } elsif ($n % 6 == 5) {
        save_turned(render(landscape(), $width, $height), "$name.jpg", (3, 6, 8)[$n / 6 % 3]);
    } else {
        my $function = $n % 2 ? landscape() : $n % 4 ? waves() : rings();
        render($function, $width, $height)->savev("$name.jpg", 'jpeg', ['quality'], ['88']);
    }
}

open my $corrupt, '>:raw', "$directory/corrupt.jpg" or die "$directory/corrupt.jpg: $!\n";
print {$corrupt} "\xff\xd8\xff\xe0 this is no picture";
close $corrupt or die "$directory/corrupt.jpg: $!\n";
