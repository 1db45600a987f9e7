#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What afork-perl says on the status socket, and how it looks after its children.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Host;
use Config;
use POSIX ();
use Socket;
use Test::More;

plan skip_all => 'needs IO::FDPass' if !Host::can_send_handles();

# All records about a process, up to its exit.
sub story {
    my ($server, $child) = @_;
    my @story;
    do { push @story, $server->next_about($child->{identity}) } while $story[-1]{type} ne 'exited';
    return \@story;
}

sub types { join ' ', map $_->{type}, @{ $_[0] } }

sub children_of {
    my ($pid) = @_;
    open my $list, '<', "/proc/$pid/task/$pid/children" or return;
    return split ' ', <$list> // '';
}

sub state_of {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or return '';
    return <$stat> =~ /\) (\S)/ ? $1 : '';
}

open my $null, '>', '/dev/null' or die $!;

subtest 'records' => sub {
    my $server = Host->start(stderr => $null);
    my %pid;

    my $child = $server->fork;
    my $pid = Host::slurp($child->run_code('print $fd $$; exit 3'));
    my $story = story($server, $child);
    is types($story), 'forked entered exited', 'of a worker that evaluated code';
    is_deeply [map $_->{pid}, @$story], [($pid) x 3], 'pid';
    is $story->[-1]{value}, 3 << 8, 'status';
    cmp_ok $story->[-1]{usage}[4], '>', 1000, 'resource usage';

    $child = $server->fork;
    my $fd = $child->run('CORE::exit');
    like types(story($server, $child)), qr/^(forked )?entered exited$/, 'of one that ran at once';

    $child = $server->fork;
    Host::slurp($child->run_code('kill KILL => $$'));
    is story($server, $child)->[-1]{value}, 9, 'a signal';

    my %errors = (
        eval     => ['e', pack('(w/a*)*', "die qq(told\\n)"), qr/^told\n$/],
        require  => ['e', pack('(w/a*)*', 'require "$_.pm" for @_', 'No/Such'), qr/^Can't locate No/],
        function => ['r', 'nothing', qr/^Undefined subroutine &main::nothing called/],
        protocol => ['Z', '', qr/unknown request/],
    );
    for my $phase (sort keys %errors) {
        my ($letter, $payload, $text) = @{ $errors{$phase} };
        $child = $server->fork;
        $child->command($letter, $payload);
        my $story = story($server, $child);
        is types($story), 'forked error exited', $phase;
        is $story->[1]{phase}, $phase, 'its phase';
        like $story->[1]{text}, $text, 'its text';
        isnt $story->[2]{value}, 0, 'its status';
    }
    is $server->end, 0, 'the template is well';
};

subtest 'text of an exception is cut' => sub {
    my $server = Host->start(stderr => $null);
    $server->eval('die "x" x 100_000');
    is length $server->expect('error')->{text}, 16384, 'at the limit of a record';
};

subtest 'many quick children' => sub {
    my $server = Host->start;
    my @children = map $server->fork, 1 .. 200;
    my @fds = map $_->run('CORE::exit'), @children;
    my %exited;
    $exited{ $server->expect('exited')->{identity} }++ for @children;
    is keys %exited, 200, 'each end is told once';
    ok Host::eventually(sub { !children_of($server->{pid}) }), 'no zombies';
    is $server->end, 0, 'status';
};

subtest 'a host that does not read' => sub {
    my $server = Host->start;
    my @children = map $server->fork, 1 .. 1000;
    for my $child (@children) {
        $child->eval('1');
        $child->run('CORE::exit');
    }
    my %seen;
    while (keys %{ $seen{exited} } < 1000) {
        my $record = $server->record or last;
        push @{ $seen{ $record->{type} }{ $record->{identity} } }, $record;
    }
    is keys %{ $seen{$_} }, 1000, "all $_" for qw(forked entered exited);
    is_deeply [grep @$_ != 1, map values %$_, values %seen], [], 'each once';
    is $server->end, 0, 'status';
};

subtest 'orphans' => sub {
    my $root = Host->start;
    my $template = $root->fork;
    my $worker = $template->fork;
    my $channel = $worker->run_code('print $fd "$$\n"; $fd->flush; <$fd>; exit 4');
    chomp(my $pid = Host::line($channel));
    my $template_pid = $root->expect('forked', $template->{identity})->{pid};
    kill KILL => $template_pid;
    is $root->expect('exited', $template->{identity})->{value}, 9, 'the template is killed';
    Host::write_all($channel, "\n");
    my $end = $root->expect('exited', 0);
    is $end->{pid}, $pid, 'its worker is known by its pid';
    is $end->{value}, 4 << 8, 'and its status told by the root';
    is $root->end, 0, 'status';
};

subtest 'a host that leaves and one that comes' => sub {
    my $server = Host->start(stderr => $null);
    my $old = $server->fork;
    my $old_channel = $old->run_code('print $fd "$$\n"; $fd->flush; <$fd>; exit 4');
    chomp(my $pid = Host::line($old_channel));
    $server->command(D => pack 'C', 0);
    is $server->expect('entered', $server->{identity})->{pid}, $server->{pid},
        'it says that it leaves';
    delete $server->{status};    # nobody reads: it does not care
    undef $old;

    socketpair my $status, my $end, AF_UNIX, Host::SOCK_SEQPACKET, 0 or die $!;
    my $adopted = bless { %$server, identity => 77, status => $status, kept => [] }, 'Host';
    delete $server->{fd};
    $adopted->handle($end);
    close $end;
    $adopted->command(A => pack 'QLC', 77, $$, 0);
    my $hello = $adopted->expect('hello');
    is_deeply [@$hello{qw(identity pid value)}], [77, $server->{pid}, 1], 'it introduces itself';
    Host::write_all($old_channel, "\n");
    ok Host::eventually(sub { !-e "/proc/$pid" }), 'it reaps what it had';
    my $worker = $adopted->fork;
    Host::slurp($worker->run_code('exit 5'));
    is $adopted->expect('exited')->{value}, 5 << 8, 'but tells only of the new';
    is $adopted->end, 0, 'status';
};

for my $wrong ('D before A', 'A twice', 'D of another length', 'A without a handle') {
    subtest "out of place: $wrong" => sub {
        my $server = Host->start(stderr => $null, original => $wrong =~ /before|without/);
        my ($status, $end);
        socketpair $status, $end, AF_UNIX, Host::SOCK_SEQPACKET, 0 or die $!;
        $server->handle($end) if $wrong eq 'A twice';
        close $end;
        $server->command(D => pack 'C', 0) if $wrong eq 'D before A';
        $server->command(A => pack 'QLC', 9, $$, 0) if $wrong =~ /^A/;
        $server->command(D => '') if $wrong =~ /length/;
        is $server->expect('error')->{phase}, 'protocol', 'told' if $server->{status};
        my $stranger = bless { status => $status }, 'Host';
        my ($record) = $wrong eq 'A twice' ? $stranger->record : ();
        is $record && "$record->{phase} $record->{identity}", 'protocol 9', 'also to the stranger'
            if $wrong eq 'A twice';
        is $server->wait, 255 << 8, 'and it ends';
    };
}

subtest 'a root stays for its children' => sub {
    my $root = Host->start;
    my $worker = $root->fork;
    my $channel = $worker->run_code('print $fd "$$\n"; $fd->flush; <$fd>; exit 5');
    Host::line($channel);
    delete $root->{fd};
    Host::write_all($channel, "\n");
    is $root->expect('exited', $worker->{identity})->{value}, 5 << 8, 'their ends are told';
    is $root->wait, 0, 'then it leaves';

    $root = Host->start;
    $worker = $root->fork;
    $channel = $worker->run_code('print $fd "$$\n"; $fd->flush; <$fd>');
    Host::line($channel);
    delete $worker->{status};
    is $root->end, 0, 'or when nobody is there to be told';
};

subtest 'a template does not stay' => sub {
    my $root = Host->start;
    my $template = $root->fork;
    my $channel = $template->fork->run_code('print $fd "$$\n"; $fd->flush; <$fd>');
    Host::line($channel);
    delete $template->{fd};
    is $root->expect('exited', $template->{identity})->{value}, 0, 'its end';
    close $channel;
    is $root->expect('exited', 0)->{value}, 0, 'that of its worker';
};

subtest 'a host that is gone' => sub {
    my $root = Host->start;
    my $template = $root->fork;
    my $pid = $root->expect('forked', $template->{identity})->{pid};
    delete $root->{status};
    delete $template->{status};
    is $root->wait, 0, 'the root leaves, its command socket still open';
    ok Host::eventually(sub { state_of($pid) =~ /^[ZX]?$/ }), 'and so does an idle template';
};

subtest 'children of user code' => sub {
    my $root = Host->start;
    $root->eval('our $child = fork // die; if (!$child) { sleep 1 while 1 }');
    $root->eval('our $quick = fork // die; exit 7 if !$quick; 1 while !-e "/proc/$quick/stat"');
    $root->eval('our $pipe_pid = open our $pipe, "-|", "echo piped; exit 8;" or die');
    my $worker = $root->fork;
    Host::slurp($worker->run('CORE::exit'));
    is $root->expect('exited', $worker->{identity})->{value}, 0, 'ours is reaped past them';
    my $answer = Host::slurp($root->run_code('kill TERM => $main::child; my @s;'
        . ' push @s, waitpid($main::child, 0) == $main::child, $?;'
        . ' push @s, waitpid($main::quick, 0) == $main::quick, $? >> 8;'
        . ' push @s, scalar <$main::pipe>; chomp $s[-1]; close $main::pipe; push @s, $? >> 8; print $fd "@s"'));
    is $answer, '1 15 1 7 piped 8', 'theirs are left to it';
};

subtest 'SIGCHLD of user code' => sub {
    my $root = Host->start;
    $root->eval('$SIG{CHLD} = "IGNORE"');
    my $worker = $root->fork;
    Host::slurp($worker->run_code('print $fd $SIG{CHLD}; exit 9'));
    is $root->expect('exited', $worker->{identity})->{value}, 9 << 8,
        'ignored: the status is known';
    $worker = $root->fork;
    is Host::slurp($worker->run_code('print $fd $SIG{CHLD}')), 'IGNORE', 'and the setting kept';
    $root->expect('exited', $worker->{identity}); # or the handler below might get it

    $root->eval('our $n = 0; $SIG{CHLD} = sub { while ((my $p = waitpid -1, 1) > 0) { $n++ } };'
        . ' our $own = fork // die; if (!$own) { sleep 1 while 1 }');
    $worker = $root->fork;
    Host::slurp($worker->run_code('exit 9'));
    is $root->expect('exited', $worker->{identity})->{value}, 9 << 8, 'handled: the same';
    $root->eval('kill KILL => $own');
    my $count = Host::slurp($root->run_code(
        'my $end = time + 20; select undef, undef, undef, 0.01 while !$main::n && time < $end; print $fd $main::n'));
    is $count, 1, 'and the handler had its own child';
};

subtest 'a process that evaluated code made' => sub {
    my $root = Host->start;
    my $worker = $root->fork;
    $worker->eval('fork');
    is Host::slurp($worker->run_code('print $fd "once"')), 'once', 'is not a second server';
};

subtest 'signals that come when a server is about to sleep' => sub {
    my $root = Host->start;
    my $file = File::Temp->new;
    my $handled = 0;
    $root->eval('our $file = $_[0]; $SIG{USR1} = sub { open my $f, ">>", $file; syswrite $f, "x" }', "$file");
    for my $round (1 .. 20) {
        my $worker = $root->fork;
        $worker->run('CORE::exit');
        $root->expect('exited', $worker->{identity}); # it is awake
        kill USR1 => $root->{pid};
        Host::eventually(sub { -s "$file" == $round }) or last;
        $handled++;
    }
    is $handled, 20, 'are handled';
};

subtest 'forks of signal handlers' => sub {
    my $root = Host->start;
    my $others = sub { grep state_of($_) !~ /^[ZX]?$/, children_of($root->{pid}) };
    my $settle = sub {
        my $worker = $root->fork;
        $worker->run('CORE::exit');
        $root->expect('exited', $worker->{identity});
    };

    $root->eval('$SIG{USR1} = sub { our $handled = fork // die; while (!$handled) { sleep 1 } }');
    $settle->();
    kill USR1 => $root->{pid};
    my ($pid) = Host::eventually($others) ? $others->() : ();
    kill KILL => $pid if $pid;
    ok Host::eventually(sub { !$others->() }), 'it ends';
    $settle->();
    is Host::slurp($root->run_code('print $fd waitpid($main::handled, 0) == $main::handled')), 1,
        'is left to user code';

    $root = Host->start;
    $root->eval('$SIG{USR1} = sub { our $n++; fork // die }');
    $settle->();
    kill USR1 => $root->{pid};
    $settle->();
    ok Host::eventually(sub { !$others->() }), 'one that returns ends';
    kill KILL => $_ for $others->();
    is Host::slurp($root->run_code('print $fd "$main::n once"')), '1 once',
        'and is not a second server';
};

subtest 'standard streams' => sub {
    my $root = Host->start(before_exec => sub { POSIX::close($_) for 0 .. 2 });
    is Host::slurp($root->run_code('open my $f, "<", "/"; print $fd join " ", (map readlink "/proc/self/fd/$_", 0..2), fileno $f > 2')),
        '/dev/null /dev/null /dev/null 1', 'are open';
};

subtest 'warnings of threads' => sub {
    plan skip_all => 'this perl has no threads' if !$Config::Config{usethreads};
    # Asleep it holds no lock that a forked child would wait for.
    my $code = 'use threads; pipe my $up, my $in;'
        . ' threads->create(sub { syswrite $in, 1; sleep 60 })->detach; sysread $up, my $octet, 1;';
    my $root = Host->start;
    $root->eval("# a comment\n1");
    $root->load('POSIX');
    my $quiet = $root->fork;
    Host::slurp($quiet->run('CORE::exit'));
    $root->eval($code);
    my $child = $root->fork;
    my $warning = $root->expect('warning');
    is $warning->{identity}, $root->{identity}, 'who';
    like $warning->{text}, qr/^2 threads .*'use threads; pipe/, 'what, and which command';
    is Host::slurp($child->run_code('print $fd "works"')), 'works', 'the fork is made';
    Host::slurp($root->fork->run('CORE::exit'));
    is_deeply [grep $_->{type} eq 'warning', @{ $root->kept }], [], 'told once';
    kill KILL => $root->{pid};

    $root = Host->start(flags => 'refuse-threads');
    Host::slurp($root->fork->run('CORE::exit'));
    $root->eval($code);
    $child = $root->fork;
    my $error = $root->expect('error', $child->{identity});
    is $error->{phase}, 'fork', 'refused';
    like $error->{text}, qr/^2 threads/, 'with the reason';
    is Host::slurp($root->run_code('print $fd "on"')), 'on', 'the template goes on';
};

# A library that calls exit(), as perl does where a module was built for another interpreter.
subtest 'an end that perl knows nothing of' => sub {
    my $dir = File::Temp->newdir;
    open my $source, '>', "$dir/end.c" or die $!;
    print $source '#include <stdlib.h>', "\n__attribute__((constructor)) static void end(void) { exit(1); }\n";
    close $source or die $!;
    system($ENV{CC} // 'cc', split(' ', $ENV{AFORK_TEST_SANITIZERS} // ''), '-shared', '-fPIC', '-o',
        "$dir/end.so", "$dir/end.c") == 0
        or plan skip_all => 'no compiler';
    open my $module, '>', "$dir/Foreign.pm" or die $!;
    print $module "package Foreign; require DynaLoader; DynaLoader::dl_load_file('$dir/end.so'); 1;\n";
    close $module or die $!;

    my $server = Host->start(switches => ["-I$dir"], stderr => $null);
    my %ends = (
        require => [pack('(w/a*)*', 'require "$_.pm" for @_', 'Foreign'), qr/^require Foreign: .*another perl$/],
        eval    => [pack('(w/a*)*', 'require Foreign'), qr/^eval: .*another perl$/],
    );
    for my $phase (sort keys %ends) {
        my ($payload, $text) = @{ $ends{$phase} };
        my $child = $server->fork;
        $child->command(e => $payload);
        my $story = story($server, $child);
        is types($story), 'forked error exited', $phase;
        is $story->[1]{phase}, $phase, 'its phase';
        like $story->[1]{text}, $text, 'its text';
        is $story->[2]{value}, 1 << 8, 'its status';
    }
    for my $code ('exit 1', 'require POSIX; POSIX::_exit(1)', 'exit 1 if !CORE::fork; wait; exit 1') {
        my $child = $server->fork;
        $child->eval($code);
        is types(story($server, $child)), 'forked exited', "nothing is told of $code";
    }
    is $server->end, 0, 'the template is well';
};

# Both start threads when they first work on a picture, and hang in a process forked after that.
my %decoders = (
    'Graphics::Magick' => 'my $picture = Graphics::Magick->new(size => "800x800");'
        . ' $picture->Read("gradient:"); $picture->Resize(geometry => "64x64")',
    'Glib::Object::Introspection' => 'Glib::Object::Introspection->setup(basename => "Vips",'
        . ' version => "8.0", package => "Vips"); Vips::init("test");'
        . ' my $noise = Vips::Operation->new("gaussnoise"); $noise->set(width => 800, height => 800);'
        . ' my $built = Vips::cache_operation_build($noise); $noise = $built if ref $built;'
        . ' my $save = Vips::Operation->new("pngsave");'
        . ' $save->set(in => $noise->get("out"), filename => "/dev/null");'
        . ' Vips::cache_operation_build($save)',
);
for my $module (sort keys %decoders) {
    subtest "threads of pictures: $module" => sub {
        my $code = $decoders{$module};
        system($^X, "-M$module", '-e', "open STDERR, '>', '/dev/null'; $code") == 0
            or plan skip_all => "$module or its library is not installed";
        my $root = Host->start(switches => ["-M$module"]);
        Host::slurp($root->fork->run('CORE::exit'));
        $root->eval($code);
        my $child = $root->fork;
        $root->expect('forked', $child->{identity});
        is_deeply [map $_->{type}, grep $_->{type} eq 'warning', @{ $root->kept }], ['warning'],
            'told once, and before the fork';
        like $root->expect('warning')->{text}, qr/\Q@{[ substr $code, 0, 50 ]}\E/,
            'with the command';
        kill KILL => $root->{pid}, children_of($root->{pid});
    };
}

done_testing;
