# SPDX-License-Identifier: MIT
#
# afork-thumbnails from the outside: pictures in, thumbnails and reports out, nothing left behind.
use strict;
use warnings;

use Compress::Zlib qw(compress crc32);
use Cwd qw(abs_path);
use Digest::MD5 qw(md5_hex);
use File::Temp qw(tempdir);
use JSON::PP qw(decode_json);
use POSIX qw(:sys_wait_h dup2 setuid);
use Test::More;
use Time::HiRes qw(sleep time);

my $lib  = "$ENV{AFORK_TEST_SRCDIR}/glib/tools/perl";
my $tool = "$ENV{AFORK_TEST_BUILDDIR}/afork-thumbnails";

eval { unshift @INC, $lib; require AFork::Thumbnail; 1 }
    or plan skip_all => "GdkPixbuf cannot be used from Perl: $@";

# Everything happens below one directory; processes are known by it, too, being in their environment.
my $top = abs_path(tempdir('afork-thumbnails-XXXXXX', TMPDIR => 1, CLEANUP => 1));
chmod 0755, $top;
%ENV = (%ENV, LC_ALL => 'C.UTF-8', AFORK_THUMBNAILS_LIB => $lib, AFORK_TEST_MARK => $top);
$SIG{PIPE} = 'IGNORE';
my $home = new_cache('first');
umask 022;

# --- Helpers. ---

sub new_cache { return $ENV{XDG_CACHE_HOME} = "$top/cache-$_[0]" }

sub slurp { open my $file, '<:raw', $_[0] or return; local $/; return scalar readline $file }
sub spew { my ($name, $data) = @_; open my $file, '>:raw', $name or die "$name: $!"; print $file $data }

sub uri {
    my ($path) = @_;
    return 'file://' . $path =~ s{([^A-Za-z0-9/_.!~*'()&=:@+\$,-])}{sprintf '%%%02X', ord $1}ger;
}

sub thumbnail { my ($path, $size) = @_; return "$home/thumbnails/" . ($size // 'large') . '/' . md5_hex(uri($path)) . '.png' }
sub record { return (glob "$home/thumbnails/fail/afork-thumbnails-*")[0] . '/' . md5_hex(uri($_[0])) . '.png' }

# The text chunks of a PNG.
sub text {
    my $png = slurp($_[0]) // return {};
    my %text;
    for (my $pos = 8; $pos < length $png;) {
        my ($length, $type) = unpack "x$pos N a4", $png;
        my $data = substr $png, $pos + 8, $length;
        $text{$1} = $2 if $type eq 'tEXt' && $data =~ /^([^\0]*)\0(.*)/s;
        $pos += 12 + $length;
    }
    return \%text;
}

sub load { return GdkPixbuf::Pixbuf->new_from_file($_[0]) }

sub pixel {
    my ($pixbuf, $x, $y) = @_;
    my $bytes = $pixbuf->get_pixels;
    my $pos = $y * $pixbuf->get_rowstride + $x * $pixbuf->get_n_channels;
    return ref $bytes ? @$bytes[$pos .. $pos + $pixbuf->get_n_channels - 1]
        : unpack "x$pos C" . $pixbuf->get_n_channels, $bytes;
}

# A red picture with a white top left corner.
sub picture {
    my ($name, $width, $height, $alpha) = @_;
    my $pixbuf = GdkPixbuf::Pixbuf->new('rgb', $alpha ? 1 : 0, 8, $width, $height);
    $pixbuf->fill($alpha ? 0xff000000 : 0xff0000ff);
    my $corner = $pixbuf->new_subpixbuf(0, 0, int(($width + 2) / 3), int(($height + 2) / 3));
    $corner->fill(0xffffffff);
    my $type = $name =~ /jpe?g$/ ? 'jpeg' : 'png';
    $pixbuf->savev("$top/new", $type, [], []);
    rename "$top/new", $name or die "$name: $!";
    return $name;
}

# Puts the EXIF orientation into a JPEG file.
sub orient {
    my ($name, $orientation) = @_;
    my $exif = "Exif\0\0II*\0" . pack 'V v vvVvv V', 8, 1, 0x112, 3, 1, $orientation, 0, 0;
    my $jpeg = slurp($name);
    substr $jpeg, 2, 0, "\xff\xe1" . pack('n', 2 + length $exif) . $exif;
    spew($name, $jpeg);
}

sub png_of_size {
    my ($width, $height) = @_;
    my $chunk = sub { pack('N', length $_[1]) . $_[0] . $_[1] . pack 'N', crc32($_[0] . $_[1]) };
    return "\x89PNG\r\n\x1a\n" . $chunk->('IHDR', pack 'NNCCCCC', $width, $height, 8, 2, 0, 0, 0)
        . $chunk->('IDAT', compress("\0" x 1000)) . $chunk->('IEND', '');
}

# Of two colours, in a format whose decoder makes a temporary file.
sub xpm {
    my ($size) = @_;
    my $rows = join ",\n", map { '"' . 'ab' x ($size / 2) . '"' } 1 .. $size;
    return "/* XPM */\nstatic char *picture[] = {\"$size $size 2 1\", \"a c #ff0000\", \"b c #00ff00\",\n$rows};\n";
}

# Whether the kernel has Landlock: landlock_create_ruleset, which has one number everywhere.
sub confines_files { return syscall(444, 0, 0, 1) > 0 }

# Starts the tool; its output goes to files. `in` is standard input, `before` runs in the child.
sub start {
    my ($options, @arguments) = @_;
    spew("$top/in", $options->{in} // '');
    my $pid = fork // die $!;
    return $pid if $pid;
    open STDIN, '<', "$top/in" or die $!;
    open STDOUT, '>', "$top/out" or die $!;
    open STDERR, '>', "$top/err" or die $!;
    $options->{before}->() if $options->{before};
    exec $tool, @arguments or POSIX::_exit(126);
}

# Waits for it, not for ever; returns status, standard output, standard error.
sub finish {
    my ($pid) = @_;
    my $deadline = time + 60;
    while (waitpid($pid, WNOHANG) == 0) {
        kill 'KILL', $pid if time > $deadline;
        sleep 0.005;
    }
    my $status = $? & 127 ? "signal $?" : $? >> 8;
    is_deeply([left_behind()], [], 'no process is left');
    return ($status, slurp("$top/out"), slurp("$top/err"));
}

sub run { return finish(start(ref $_[0] ? @_ : ({}, @_))) }

# Runs with --json; returns the status, the reports by URI, and the summary.
sub run_json {
    my ($options, @arguments) = ref $_[0] ? @_ : ({}, @_);
    my ($status, $out, $err) = run($options, '--json', @arguments);
    my @lines = map { decode_json($_) } split /\n/, $out;
    diag $err if $err;
    my $summary = pop(@lines)->{summary};
    return ($status, { map { $_->{uri} => $_ } @lines }, $summary);
}

# Whether a process is of this test, or a perl, which has overwritten its environment with its title,
# whose host is gone.
sub is_of_this_test {
    my ($pid) = @_;
    return 1 if (slurp("/proc/$pid/environ") // '') =~ /AFORK_TEST_MARK=\Q$top\E/;
    my ($host) = (slurp("/proc/$pid/cmdline") // '') =~ /^(\d+) (?:AnyEvent::Fork|AFork::)/;
    return $host && !kill 0, $host;
}

# What something else had left before this test is none of its business.
my %earlier = map { $_ => 1 } grep { is_of_this_test($_) } map { m{(\d+)} } glob '/proc/[0-9]*';

# Processes of this test that are not its own; they get a moment to go.
sub left_behind {
    my ($deadline, @left) = time + 5;
    do {
        @left = grep { $_ != $$ && !$earlier{$_} && is_of_this_test($_) } map { m{(\d+)} } glob '/proc/[0-9]*';
    } while (@left && time < $deadline && sleep 0.01);
    return map { slurp("/proc/$_/cmdline") } @left;
}

sub temporaries { my @files = glob "$home/thumbnails/*/*.tmp"; return @files }

# --- Cases. ---

my $photos = "$top/photos";
mkdir $photos or die $!;

subtest 'thumbnails' => sub {
    picture("$photos/wide.jpg", 800, 400);
    picture("$photos/small.png", 20, 10);
    picture("$photos/clear.png", 300, 600, 'alpha');
    picture("$photos/thin.png", 3000, 2);
    orient(picture("$photos/turned.jpg", 600, 300), 6);
    spew("$photos/notes.txt", 'not a picture');
    spew("$photos/layers.xcf", 'not for us');
    picture("$photos/.hidden.png", 10, 10);
    mkdir "$photos/below" or die $!;
    picture("$photos/below/deep.png", 50, 50);

    my ($status, $reports, $summary) = run_json('-j2', $photos);
    is $status, 0, 'status';
    is "$summary->{made} $summary->{failed} $summary->{skipped}", '5 0 1', 'summary';
    is $reports->{uri("$photos/wide.jpg")}{status}, 'made', 'a report';
    is $reports->{uri("$photos/layers.xcf")}{status}, 'skipped', 'a type that cannot be read';
    is $reports->{uri("$photos/wide.jpg")}{thumbnail}, thumbnail("$photos/wide.jpg"), 'its path';

    my @info = stat "$photos/wide.jpg";
    is_deeply text(thumbnail("$photos/wide.jpg")), {
        'Software'             => 'afork-thumbnails',
        'Thumb::URI'           => uri("$photos/wide.jpg"),
        'Thumb::MTime'         => $info[9],
        'Thumb::Size'          => $info[7],
        'Thumb::Mimetype'      => 'image/jpeg',
        'Thumb::Image::Width'  => 800,
        'Thumb::Image::Height' => 400,
    }, 'text';
    is((stat $_)[2] & 07777, 0700, "mode of $_") for glob "$home/thumbnails $home/thumbnails/large";
    is((stat thumbnail("$photos/wide.jpg"))[2] & 07777, 0600, 'mode of a thumbnail');

    my %size = ('wide.jpg' => '256x128', 'small.png' => '20x10', 'clear.png' => '128x256',
                'thin.png' => '256x1', 'turned.jpg' => '128x256');
    for my $name (sort keys %size) {
        my $pixbuf = load(thumbnail("$photos/$name"));
        is $pixbuf->get_width . 'x' . $pixbuf->get_height, $size{$name}, "size of $name";
    }
    my $clear = load(thumbnail("$photos/clear.png"));
    is_deeply [(pixel($clear, 2, 2))[3], (pixel($clear, 120, 250))[3]], [255, 0], 'alpha is kept';
    my $turned = load(thumbnail("$photos/turned.jpg"));
    cmp_ok((pixel($turned, 120, 5))[1], '>', 200, 'turned: white is at the top right');
    cmp_ok((pixel($turned, 5, 5))[1], '<', 60, 'turned: and not at the top left');

    ($status, $reports, $summary) = run_json('-r', '--size=normal', $photos);
    is $summary->{made}, 6, 'recursive, another size';
    ok -e thumbnail("$photos/below/deep.png", 'normal'), 'deep';
};

subtest 'not again' => sub {
    my $file = thumbnail("$photos/wide.jpg");
    my $inode = (stat $file)[1];
    my ($status, $reports, $summary) = run_json($photos);
    is "$status $summary->{made} $summary->{valid}", '0 0 5', 'all valid';
    is((stat $file)[1], $inode, 'the same file');

    my $then = (stat "$photos/wide.jpg")[9] - 1000; # older is also other
    utime $then, $then, "$photos/wide.jpg";
    ($status, $reports, $summary) = run_json($photos);
    is "$summary->{made} $summary->{valid}", '1 4', 'one older than it was';
    is text($file)->{'Thumb::MTime'}, $then, 'its time';

    ($status, $reports, $summary) = run_json('-f', $photos);
    is "$summary->{made} $summary->{valid}", '5 0', 'by force';
};

subtest 'names' => sub {
    my $odd = "$top/odd names%20\n#?;";
    mkdir $odd or die $!;
    my @names = ("new\nline.png", "per%cent.png", "per%20cent.png", "\xc3\xa9\xe2\x82\xac.png",
                 "\xff\xfe.png", 'a b  c.png', "tab\tquote'\".png", '-dash.png', "cr\r.png");
    picture("$odd/$_", 30, 20) for @names;

    my ($status, $reports, $summary) = run_json($odd);
    is "$status $summary->{made}", '0 ' . @names, 'from a directory';
    is text(thumbnail("$odd/$_"))->{'Thumb::URI'}, uri("$odd/$_"), uri($_) for @names;

    my $list = join '', map { "$odd/$_\0" } @names;
    ($status, $reports, $summary) = run_json({ in => $list }, '-0', '-');
    is "$status $summary->{valid}", '0 ' . @names, 'from a list with NUL';
    $list = join "\n", map { uri("$odd/$_") } @names;
    ($status, $reports, $summary) = run_json({ in => $list }, '--files-from=-');
    is "$status $summary->{valid}", '0 ' . @names, 'from a list of URIs';
    spew("$top/list", join "\n", grep { !/\n/ } @names);
    chdir $odd or die $!;
    ($status, $reports, $summary) = run_json('-T', "$top/list", '--', '-dash.png', './../photos/./small.png');
    is "$status $summary->{valid}", '0 ' . (@names - 1 + 2), 'from a list of lines, and arguments';
    chdir '/';
};

subtest 'failures' => sub {
    my $bad = "$top/bad";
    mkdir $bad or die $!;
    spew("$bad/text.png", 'this is text');
    spew("$bad/empty.jpg", '');
    picture("$bad/cut.jpg", 500, 500);
    truncate "$bad/cut.jpg", 100;
    spew("$bad/huge.png", png_of_size(30000, 30000));
    picture("$bad/good.png", 10, 10);
    symlink '/nowhere', "$bad/dangling.png";

    my ($status, $reports, $summary) = run_json($bad, "$bad/vanished.png", '/dev/null', "$bad/dangling.png");
    is "$status $summary->{made} $summary->{failed}", '1 1 7', 'one is good';
    like $reports->{uri("$bad/huge.png")}{reason}, qr/30000 x 30000 pixels/, 'huge: why';
    like $reports->{uri("$bad/vanished.png")}{reason}, qr/No such file/, 'vanished: why';
    like $reports->{uri("$bad/text.png")}{reason}, qr/text\.png/, 'text: why';

    my $mtime = (stat "$bad/cut.jpg")[9];
    my $text = text(record("$bad/cut.jpg"));
    is $text->{'Thumb::URI'}, uri("$bad/cut.jpg"), 'record: URI';
    is $text->{'Thumb::MTime'}, $mtime, 'record: time';
    is((stat record("$bad/cut.jpg"))[2] & 07777, 0600, 'record: mode');
    ok load(record("$bad/cut.jpg")), 'record: a picture';
    ok !-e record("$bad/vanished.png"), 'no record of what is not there';

    picture("$bad/cut.jpg", 50, 50);
    spew("$bad/text.png", 'THIS IS TEXT');
    ($status, $reports, $summary) = run_json($bad);
    is $reports->{uri("$bad/cut.jpg")}{status}, 'made', 'changed: tried again';
    like $reports->{uri("$bad/empty.jpg")}{reason}, qr/failed before/, 'not changed: not tried';
    ($status, $reports, $summary) = run_json('-f', $bad);
    like $reports->{uri("$bad/empty.jpg")}{reason}, qr/no data/, 'tried by force';
};

subtest 'the cache itself' => sub {
    my ($status, $reports, $summary) = run_json('-r', "$home/thumbnails");
    is "$status $summary->{made} $summary->{failed}", '0 0 0', 'is skipped';
    cmp_ok $summary->{skipped}, '>', 10, 'all of it';
    ($status) = run('-q', thumbnail("$photos/wide.jpg"));
    is $status, 1, 'is refused when named';
};

# --- Workers that go wrong. ---

my $wrapped = "$top/lib/AFork";
mkdir "$top/lib";
mkdir $wrapped;
spew("$wrapped/Thumbnail.pm", <<"END" . <<'END');
package AFork::Thumbnail;
BEGIN { require '$lib/AFork/Thumbnail.pm'; \$top = '$top' }
END
no warnings 'redefine';
my $make = \&make;
*make = sub {
    my ($uri, $target) = @_[0, 3];
    my $begin = sub { open my $file, '>', $target or die $!; print {$file} 'partial'; close $file };
    if ($uri =~ /kill/) {
        # The descriptors of the host, whose child is a template's template.
        my $host = getppid;
        for (1 .. 2) {
            open my $stat, '<', "/proc/$host/stat";
            $host = (split / /, readline($stat) =~ s/\(.*\)/x/r)[3];
        }
        open my $log, '>>', "$top/fds";
        syswrite $log, scalar(my @fds = glob "/proc/$host/fd/*") . "\n";
        kill 'KILL', $$;
    }
    if ($uri =~ /slow/)    { $begin->(); select undef, undef, undef, 100 }
    if ($uri =~ /segv/)    { $begin->(); kill 'SEGV', $$ }
    if ($uri =~ /exit/)    { CORE::exit(0) }
    if ($uri =~ /die/)     { die "no reason\n" }
    if ($uri =~ /deaf/)    { close $_[0] for 1; POSIX::close($_) for 3 .. 20; sleep 100 }
    if ($uri =~ /garbage/) { return 'made of garbage' }
    if ($uri =~ /flood/)   { return 'x' x 1_000_000 }
    if ($uri =~ /huge/)    { my $n = 2_000_000_000; my $octets = 'x' x $n }
    if ($uri =~ /again/)   { return 'failed not the first' if $seen++ }
    if ($uri =~ m{/net})     { socket my $socket, 2, 1, 0 and return 'failed there is a network' }
    if ($uri =~ m{/write})   { open my $file, '>', "$top/written" and return 'failed files can be written' }
    if ($uri =~ m{/twin})  { defined(my $pid = fork) or return $make->(@_); $pid or POSIX::_exit(0);
                             waitpid $pid, 0; return 'failed there are processes' }
    return $make->(@_);
};
require POSIX;
our $seen;
1;
END
$ENV{AFORK_THUMBNAILS_LIB} = "$top/lib";

subtest 'workers that end, hang or talk nonsense' => sub {
    my $mix = "$top/mix";
    mkdir $mix or die $!;
    my $template = slurp(picture("$top/one.png", 30, 30));
    my %bad = (10 => 'slow', 20 => 'segv', 30 => 'exit', 40 => 'garbage', 50 => 'kill', 60 => 'die',
               70 => 'deaf', 80 => 'flood');
    spew("$mix/$_" . ($bad{$_} // 'good') . '.png', $template) for 1 .. 100;
    $home = new_cache('mix');

    my ($status, $reports, $summary) = run_json(qw(-j3 -t1), $mix);
    is "$status $summary->{made} $summary->{failed}", '1 92 8', '92 of 100';
    is keys %$reports, 100, 'each once';
    my %reason = (slow => qr/longer than 1 s/, segv => qr/signal 11/, exit => qr/exited with status 0/,
                  garbage => qr/senseless/, kill => qr/signal 9/, die => qr/no reason/,
                  deaf => qr/longer than 1 s|ended before it answered/, flood => qr/senseless/);
    like $reports->{uri("$mix/$_$bad{$_}.png")}{reason}, $reason{$bad{$_}}, $bad{$_} for sort keys %bad;
    is_deeply [temporaries()], [], 'no temporary file';
};

subtest 'many deaths' => sub {
    my $killers = "$top/killers";
    mkdir $killers or die $!;
    spew("$killers/kill$_.png", 'x') for 1 .. 40;
    unlink "$top/fds";
    my ($status, $reports, $summary) = run_json('-j1', $killers);
    is "$summary->{made} $summary->{failed}", '0 40', 'each is one failure';
    my @fds = split /\n/, slurp("$top/fds");
    is @fds, 40, 'each was tried once';
    cmp_ok $fds[-1], '<=', $fds[1] + 2, "no descriptor leaks in the host ($fds[1], $fds[-1])";
};

subtest 'pictures that are not trusted' => sub {
    my $folder = "$top/untrusted";
    mkdir $folder or die $!;
    my $template = slurp("$top/one.png");
    my @names = qw(again1 again2 again3 net twin good);
    push @names, 'write' if confines_files();
    spew("$folder/$_.png", $template) for @names;
    $home = new_cache('trusted');
    my ($status, $reports, $summary) = run_json('-j1', $folder);
    is "$summary->{made} $summary->{failed}", '2 ' . (@names - 2), 'workers are what they are';
    # A decoder that wants a temporary file.
    spew("$folder/temporary.xpm", xpm(300));
    push @names, 'temporary';
    $home = new_cache('untrusted');
    mkdir "$top/tmp";
    local $ENV{TMPDIR} = "$top/tmp";
    ($status, $reports, $summary) = run_json(qw(-j2 --untrusted), $folder);
    SKIP: {
        skip 'processes cannot be confined here', 1 if $status == 2;
        is "$status $summary->{made} $summary->{failed}", '0 ' . @names . ' 0',
            'one process for each, without network and other processes';
        spew("$folder/$_.png", $template) for qw(kill1 kill2 kill3 kill4 slow);
        ($status, $reports, $summary) = run_json(qw(-f -j2 -t1 --untrusted), $folder);
        is "$status $summary->{made} $summary->{failed}", '1 ' . @names . ' 5', 'failures are those of the picture';
        is_deeply [temporaries()], [], 'no temporary file';
        is_deeply [glob "$top/tmp/*"], [], 'nor directory';
    }
};

subtest 'memory' => sub {
    my $folder = "$top/memory";
    mkdir $folder or die $!;
    my $template = slurp("$top/one.png");
    spew("$folder/$_.png", $template) for qw(a huge z);
    $home = new_cache('memory');
    my ($status, $reports, $summary) = run_json(qw(-j1 --memory=900), $folder);
    is "$status $summary->{made} $summary->{failed}", '1 2 1', 'one fails, the others do not';
    like $reports->{uri("$folder/huge.png")}{reason}, qr/exited with status 1|memory/i, 'the reason';
} unless $ENV{AFORK_TEST_SANITIZERS};    # which need much address space

for my $signal (qw(INT TERM HUP)) {
    subtest "stopped by SIG$signal" => sub {
        my $slow = "$top/slow-$signal";
        mkdir $slow or die $!;
        spew("$slow/slow$_.png", 'x') for 1 .. 20;
        $home = new_cache($signal);
        my $pid = start({}, '-j2', $slow);
        my $deadline = time + 30;
        sleep 0.01 while temporaries() < 2 && time < $deadline;
        is scalar(temporaries()), 2, 'two are being made';
        my $start = time;
        kill $signal, $pid;
        my ($status, $out, $err) = finish($pid);
        is $status, 128 + { INT => 2, TERM => 15, HUP => 1 }->{$signal}, 'status';
        cmp_ok time - $start, '<', 1, 'at once';
        like $out, qr/interrupted/, 'it says so';
        is_deeply [glob "$home/thumbnails/large/*"], [], 'no file is left';
        is_deeply [glob "$home/thumbnails/fail/*/*"], [], 'nor a record';
    };
}

subtest 'stopped before it began' => sub {
    mkdir "$top/lib-slow";
    mkdir "$top/lib-slow/AFork";
    spew("$top/lib-slow/AFork/Thumbnail.pm", 'open my $f, ">", "' . $top . '/loading"; sleep 100; 1');
    local $ENV{AFORK_THUMBNAILS_LIB} = "$top/lib-slow";
    my $pid = start({}, "$top/slow-INT");
    my $deadline = time + 30;
    sleep 0.01 until -e "$top/loading" || time > $deadline;
    my $start = time;
    kill 'INT', $pid;
    my ($status) = finish($pid);
    is $status, 130, 'status';
    cmp_ok time - $start, '<', 1, 'at once';
};

# --- The command line and its output. ---

subtest 'cannot start' => sub {
    local $ENV{AFORK_THUMBNAILS_LIB} = "$top/nowhere";
    my ($status, $out, $err) = run("$top/slow-INT");
    is $status, 2, 'module missing: status';
    is $out, '', 'no summary';
    like $err, qr/\A[^\n]*Can't locate AFork\/Thumbnail\.pm[^\n]*\n\z/, 'one line with the text of Perl';

    local $ENV{AFORK_PERL} = '/nowhere/perl';
    ($status, $out, $err) = run("$top/slow-INT");
    is $status, 2, 'perl missing: status';
    like $err, qr/\A[^\n]*No such file[^\n]*\n\z/, 'one line';

    for (['-j0', '.'], ['-x'], [], ['-s', 'tiny', '.'], ['-s', '128x', '.'], ['-j', 'two', '.'], ['-T', '/nowhere'],
        [''], ['-T', $tool, '-'], ['-T', $tool, '-T', "$top/one.png"]) {
        ($status, $out, $err) = run(@$_);
        is $status, 2, "usage: @$_";
        isnt $err, '', 'a message';
    }
    local $ENV{XDG_CACHE_HOME} = '/dev/null';
    ($status, $out, $err) = run('.');
    is $status, 2, 'no cache: status';
    like $err, qr/cannot make/, 'a message';
};

subtest 'output' => sub {
    $ENV{AFORK_THUMBNAILS_LIB} = $lib;
    $home = new_cache('output');
    my ($status, $out, $err) = run('--version');
    like $out, qr/^afork-thumbnails \d/, 'version';
    ($status, $out, $err) = run('--help');
    like $out, qr/--files-from/, 'help';

    ($status, $out, $err) = run($photos, "$top/no\e[31m.png");
    like $out, qr/^5 made, 0 valid already, 1 failed, in /, 'plain';
    is $err, "$top/no\x{ef}\x{bf}\x{bd}[31m.png: No such file or directory\n",
        'a failure, without what drives a terminal';
    ($status, $out, $err) = run('-q', $photos);
    is "$status $out$err", '0 ', 'quiet';

    my $full = sub { open STDOUT, '>', '/dev/full' or die $! };
    ($status, $out, $err) = run({ before => $full }, '--json', $photos);
    is $status, 2, 'output cannot be written';
    for (['--help'], ['--version'], [$photos]) {
        ($status) = run({ before => $full }, @$_);
        is $status, 2, "output cannot be written: @$_";
    }
    for my $fd (0 .. 2) {
        ($status, $out) = run({ before => sub { POSIX::close($fd) } }, $photos);
        is $status, $fd == 1 ? 2 : 0, "without descriptor $fd";
    }
    ($status, $out, $err) = run({ before => sub { POSIX::close(0) } }, '-');
    is $status, 1, 'a list that is not there';
    like $err, qr/Bad file descriptor/, 'says so';

  SKIP: {
        skip 'no script(1), or no pseudo-terminals', 3
            if system 'script -qec true /dev/null </dev/null >/dev/null 2>&1';
        $out = `script -qec '$tool -f $photos' /dev/null </dev/null 2>&1`;
        like $out, qr{5 made}, 'on a terminal';
        spew("$top/slow-bar.png", 'x');
        local $ENV{AFORK_THUMBNAILS_LIB} = "$top/lib";
        $out = `script -qec '$tool -t1 $top/slow-bar.png $photos/small.png' /dev/null </dev/null 2>&1`;
        like $out, qr{\[#{20}\.{20}\] 1/2  0/s}, 'a bar';
        $out = `script -qec 'stty cols 8; $tool -f -t1 $top/slow-bar.png >/dev/null' /dev/null </dev/null 2>&1`;
        my @shown = $out =~ /\r\e\[K([^\r\n]+)/g;
        ok @shown && !(grep { length > 7 && !m{^/} } @shown), 'a bar that fits' or diag $out;
    }
    is_deeply [left_behind()], [], 'no process is left';
};

subtest 'unreadable' => sub {
    $home = new_cache('unreadable');
    my $secret = picture("$top/secret.png", 20, 20);
    my ($status, $out, $err) = run($secret);
    is $status, 0, 'readable';
    chmod 0, $secret;
    chown 65534, 65534, $home, glob("$home/* $home/*/* $home/*/*/*") if $> == 0;
    my $drop = sub { setuid(65534) if $> == 0 };
    mkdir "$top/closed";
    mkdir "$top/closed/in", 0;
    {
        local $ENV{LC_ALL} = 'C';
        my ($status, $out, $err) = run({ before => $drop }, '-r', "$top/closed");
        like $err, qr{^\Q$top\E/closed/in: Permission denied$}m, 'a directory' if $status != 126;
    }
    ($status, $out, $err) = run({ before => $drop }, '--json', $secret);
    plan skip_all => 'the tool cannot be run by others' if $status == 126;
    like $out, qr/"status":"failed".*Permission denied/, 'not valid, though there is a thumbnail';
    ok !-e record($secret), 'no record';
};

done_testing;
