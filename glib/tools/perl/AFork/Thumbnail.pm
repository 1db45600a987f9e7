# SPDX-License-Identifier: MIT
#
# The Perl side of afork-thumbnails: decodes one picture after the other with GdkPixbuf.
#
# A template loads this module; workers forked from it call thumbnail(). Nothing is decoded before the
# fork: newer versions of GdkPixbuf may decode in threads, which do not survive one.
package AFork::Thumbnail;

use strict;
use warnings;

use Fcntl qw(O_CREAT O_NOFOLLOW O_NONBLOCK O_RDONLY O_TRUNC O_WRONLY);

BEGIN {
    # Its INIT block serves Perl subclasses, of which there are none here; a template that is told
    # to load this module has passed that phase, and perl says so.
    local $SIG{__WARN__} = sub { warn @_ unless $_[0] =~ /^Too late to run INIT block/ };
    require Glib::Object::Introspection;
    Glib::Object::Introspection->setup(
        basename => 'GdkPixbuf', version => '2.0', package => 'GdkPixbuf');
}

my %supported = map { $_ => 1 } map { @{ $_->get_mime_types } } @{ GdkPixbuf::Pixbuf::get_formats() };

my ($directory, $box, $max_pixels);

# The last is where temporary files may be, if that is not the usual place: some decoders make one.
sub init {
    ($directory, $box, $max_pixels, my $temporary) = @_;
    $ENV{TMPDIR} = $temporary if defined $temporary;
}

# Called for each picture: with its URI, its type as its name suggests ("-" to try it whatever it is),
# what goes into the thumbnail, and the name of the file to make.
# The answer is one of
#     made WIDTH HEIGHT MIME-TYPE   of the picture
#     unsupported                   no picture of this type can be decoded
#     failed TEXT                   the picture's fault
#     error TEXT                    somebody else's fault: it may go well another time
sub thumbnail {
    my ($uri, $type, $mtime, $size, $name) = @_;

    return 'unsupported' if !$supported{$type} && $type ne '-';
    my $answer = make($uri, $mtime, $size, "$directory/$name", $box, $max_pixels);
    utf8::encode($answer) if utf8::is_utf8($answer);
    return $answer =~ tr/\n/ /r;
}

# Descriptors instead of names: GdkPixbuf takes names for characters, files have octets, and a file
# that is replaced meanwhile is still the same one.
sub fd_name { return '/proc/self/fd/' . fileno $_[0] }

sub make {
    my ($uri, $mtime, $size, $target, $box, $max_pixels) = @_;

    my $path = $uri =~ s{^file://}{}r =~ s/%(..)/chr hex $1/ger;
    sysopen my $in, $path, O_RDONLY | O_NONBLOCK or return "error $!";

    my ($pixbuf, @info) = eval { decode(fd_name($in), $box, $max_pixels) };
    return 'failed ' . reason($@, fd_name($in), $path) unless $pixbuf;
    my ($width, $height, $type) = @info;

    # The fastest compression: a sixth larger than the best, in a quarter of the time.
    my %options = (
        'compression'                => 1,
        'tEXt::Software'             => 'afork-thumbnails',
        'tEXt::Thumb::URI'           => $uri,
        'tEXt::Thumb::MTime'         => $mtime,
        'tEXt::Thumb::Size'          => $size,
        'tEXt::Thumb::Mimetype'      => $type,
        'tEXt::Thumb::Image::Width'  => $width,
        'tEXt::Thumb::Image::Height' => $height,
    );
    # It exists if a worker was killed over the picture before this one, having begun with both.
    sysopen my $out, $target, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600
        or return "error cannot write the thumbnail: $!";
    eval { $pixbuf->savev(fd_name($out), 'png', [keys %options], [values %options]); 1 }
        or return 'error cannot write the thumbnail: ' . reason($@, fd_name($out), $target);
    return "made $width $height $type";
}

# Returns the reduced picture, upright, and the full one's width, height and type.
sub decode {
    my ($file, $box, $max_pixels) = @_;

    my ($format, $width, $height) = GdkPixbuf::Pixbuf::get_file_info($file);
    die "$width x $height pixels are too many\n" if $width * $height > $max_pixels;

    # Without a format this call dies, with the reason.
    my $pixbuf = $width <= $box && $height <= $box
        ? GdkPixbuf::Pixbuf->new_from_file($file)
        : GdkPixbuf::Pixbuf->new_from_file_at_size($file, $box, $box);
    return ($pixbuf->apply_embedded_orientation, $width, $height, $format->get_mime_types->[0]);
}

# The text of an exception, with the file's base name where it holds a descriptor's name.
sub reason {
    my ($error, $name, $path) = @_;

    my $text = ref $error && $error->isa('Glib::Error') ? $error->message : "$error";
    my ($base) = $path =~ m{([^/]*)\z};
    utf8::decode($base);
    chomp $text;
    return $text =~ s/\Q$name\E/$base/gr;
}

1;
