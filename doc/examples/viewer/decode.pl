# SPDX-License-Identifier: MIT
#
# What the viewer's workers do. A template evaluates this after it has loaded AFork::Thumbnail, which
# afork-thumbnails uses, too. Pixels go to the viewer in memory that is shared, not in answers.
package Viewer;

use strict;
use warnings;

my ($directory, $max_pixels, $temporary);

sub init {
    ($directory, my $box, $max_pixels, my $token) = @_;
    AFork::Thumbnail::init($directory, $box, $max_pixels);
    # A worker makes one thumbnail at a time: the viewer knows what one leaves that is killed.
    $temporary = "$token-$$.tmp";
    return;
}

# What the viewer calls: `show` or `thumbnail`, with the arguments of that. It takes nothing but UTF-8;
# names of files, and what libraries say in some locales, are other octets.
sub work {
    my ($what, @arguments) = @_;

    my @answer = $what eq 'show' ? show(@arguments) : thumbnail(@arguments);
    utf8::encode($answer[0]) unless utf8::decode(my $copy = $answer[0]);
    return @answer;
}

# Makes a thumbnail in the cache, as AFork::Thumbnail::thumbnail(), and also returns its pixels, reduced
# to $box. It gets its name here: one whose viewer does not want it any more is not lost.
sub thumbnail {
    my ($uri, $type, $mtime, $size, $name, $box) = @_;

    my ($answer, $pixbuf) = AFork::Thumbnail::answer($uri, $type, $mtime, $size, $temporary);
    if ($answer =~ /^made / && !rename "$directory/$temporary", "$directory/$name") {
        $answer = "error cannot name the thumbnail: $!";
    }
    unlink "$directory/$temporary" unless $answer =~ /^made /;
    $answer =~ s/\Q$temporary\E/$name/g;
    return ($answer, pixels($pixbuf && fit($pixbuf, $box)));
}

# The viewer does not even scale, and takes nothing larger: a file may hold more than it says at its
# beginning.
sub fit {
    my ($pixbuf, $box) = @_;

    my ($width, $height) = ($pixbuf->get_width, $pixbuf->get_height);
    my $larger = $width > $height ? $width : $height;
    return $pixbuf if $larger <= $box;
    my @reduced = map { int($_ * $box / $larger + 0.5) || 1 } $width, $height;
    return $pixbuf->scale_simple(@reduced, 'bilinear');
}

# Returns the pixels of a picture, reduced where it is wider or higher than $box; what is not there
# or no picture is told as AFork::Thumbnail::thumbnail() does.
sub show {
    my ($uri, $box) = @_;

    my ($pixbuf, $width, $height, $type) = AFork::Thumbnail::reduce($uri, $box, $max_pixels);
    return AFork::Thumbnail::octets($pixbuf) unless ref $pixbuf;
    return ("made $width $height $type", pixels(fit($pixbuf, $box)));
}

# Width, height, octets from one row to the next, channels, and a handle on the pixels.
sub pixels {
    my ($pixbuf) = @_;

    return unless $pixbuf;
    return ($pixbuf->get_width, $pixbuf->get_height, $pixbuf->get_rowstride, $pixbuf->get_n_channels,
        AFork::memfd($pixbuf->read_pixel_bytes->get_data));
}

1;
