#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The examples of doc/hooks.md do what it says: connections and directories of a template survive its
# children. Each is also tried without what the example adds, so that it is seen to matter.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp;
use Host;
use IO::Select;
use Socket;
use Test::More;

plan skip_all => 'needs IO::FDPass' if !Host::can_send_handles();

my $dir = File::Temp->newdir;
my %kinds = Host::kinds();

# The code blocks, by package.
my %example = do {
    open my $in, '<', "$FindBin::Bin/../../doc/hooks.md" or die $!;
    my $text = do { local $/; <$in> };
    map { /^package (\w+);/ ? ($1 => $_) : () } $text =~ /^```perl\n(.*?)^```$/gms;
};
is_deeply [sort keys %example], [qw(Line Notice Store Workspace)], 'the examples are there';

my $no_hook = 'BEGIN { no warnings; *AFork::Serve::after_fork = sub {} }';

# Whether the perl that serves has a module.
sub has {
    my ($kind, $module) = @_;
    my $perl = $kind->{perl} || $Host::PERL;
    return system("$perl -M$module -e 1 >/dev/null 2>&1") == 0;
}

sub capture {
    my $file = File::Temp->new;
    return ($file, sub { open my $in, '<', $file or die $!; local $/; scalar <$in> // '' });
}

# Runs code in a child, to the end of that: its destructors run after it has closed the channel.
sub in_child {
    my ($server, $code) = @_;
    my $text = Host::slurp($server->fork->run_code("syswrite \$fd, qq(\$\$\\n); $code"));
    $text =~ s/^(\d+)\n// or return $text;
    my $pid = $1;
    Host::eventually(sub {
        open my $in, '<', "/proc/$pid/stat" or return 1;
        return (<$in> // ') Z') =~ /\) [ZX]/;
    }) or die 'a child does not end';
    return $text;
}

for my $kind (sort keys %kinds) {
    my %option = %{ $kinds{$kind} };

    subtest "a module for both kinds of server ($kind)" => sub {
        my $server = Host->start(%option);
        $server->eval($example{Notice});
        is in_child($server, 'print $fd $Notice::forks'), 1, 'the hook runs';
        is $server->end, 0, 'status';
    };

    # A connection whose destructor says good-bye.
    for my $way ('hook', 'quick', 'neither') {
        next if $way eq 'quick' && $kind ne 'own';
        subtest "a connection that says bye: $way ($kind)" => sub {
            socketpair my $near, my $far, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;
            my $server = Host->start(%option);
            $server->handle($far);
            close $far;
            $server->eval('package Wire; our $wire = bless { fd => $AFork::Serve::arg[0] };'
                . 'sub say { syswrite $_[0]{fd}, "$_[1]\n" } sub DESTROY { $_[0]->say("bye") if $_[0]{fd} }'
                . '$wire->say("hello")');
            $server->eval('AFork::Serve::after_fork(sub { close delete $Wire::wire->{fd} })') if $way eq 'hook';
            $server->command('X', "\1") if $way eq 'quick';
            is in_child($server, 'print $fd "done"'), 'done', 'a child' for 1 .. 3;
            $server->eval('$wire = $Wire::wire; $wire->say("still here")');
            $server->eval('delete $wire->{fd}');
            my $text = Host::line($near) . Host::line($near);
            if ($way eq 'neither') {
                is $text, "hello\nbye\n", 'it is cut off by the first child';
            } else {
                is $text, "hello\nstill here\n", 'it is the template\'s';
            }
            is $server->end, 0, 'status';
        };
    }

    subtest "database ($kind)" => sub {
        plan skip_all => 'needs DBD::SQLite' if !has(\%option, 'DBD::SQLite');
        my ($file, $told) = capture();
        my $server = Host->start(%option, stderr => $file);
        $server->eval($example{Store});
        $server->eval('Store::open($_[0]); Store::db()->do("create table t (pid)");'
            . 'Store::db()->begin_work; Store::db()->do("insert into t values (?)", undef, $$)',
            "dbi:SQLite:dbname=$dir/db-$kind");
        my $count = 'print $fd Store::db()->selectrow_array("select count(*) from t")';
        is in_child($server, $count), 0, 'a child has a connection of its own';
        $server->eval('Store::db()->commit');
        is in_child($server, $count), 1, 'the transaction of the template';
        is $server->end, 0, 'status';
        is $told->(), '', 'nothing is complained of';
    };

    subtest "who takes leave of a database ($kind)" => sub {
        plan skip_all => 'needs DBI' if !has(\%option, 'DBI');
        for my $careful (1, 0) {
            my ($file, $told) = capture();
            my $server = Host->start(%option, stdout => $file);
            $server->eval($careful ? $example{Store}
                : $no_hook . $example{Store} =~ s/, AutoInactiveDestroy => 1//r);
            $server->eval('require DBD::DBM; my $old = DBD::DBM::db->can("disconnect"); no warnings;'
                . '*DBD::DBM::db::disconnect = sub { syswrite STDOUT, "$$\n"; $old->(@_) };'
                . 'Store::open("dbi:DBM:f_dir=$_[0]"); Store::db()', "$dir");
            in_child($server, '1') for 1 .. 3;
            is $server->end, 0, 'status';
            is join(' ', grep $_ == $server->{pid}, split /\n/, $told->()), $server->{pid},
                'the template';
            is +(grep $_ != $server->{pid}, split /\n/, $told->()), $careful ? 0 : 3,
                $careful ? 'nobody else' : 'without the example its children, too';
        }
    };

    subtest "TLS ($kind)" => sub {
        plan skip_all => 'needs IO::Socket::SSL'
            if !has(\%option, 'IO::Socket::SSL') || !eval { require IO::Socket::SSL };
        tls($_, %option) for 1, 0;
    };

    subtest "directories ($kind)" => sub {
        my $server = Host->start(%option);
        $server->eval($example{Workspace});
        $server->eval('use File::Temp qw(tempdir); our @kept = (File::Temp->newdir, File::Temp->new);'
            . 'our @paths = ("$kept[0]", "$kept[1]", tempdir(CLEANUP => 1), @_);'
            . 'push @kept, Workspace->new($_[0]); sub paths { print { $_[0] } join "\n", @paths }', "$dir/work-$kind");
        my @paths = split /\n/, Host::slurp($server->fork->run('paths'));
        is_deeply [grep -e, @paths], \@paths, 'survive a child';
        in_child($server, 'our $mine = File::Temp->newdir; exit');
        $server->eval('1');
        is $server->end, 0, 'status';
        is_deeply [grep -e, @paths], [], 'and go with the template';

        $server = Host->start(%option);
        $server->eval($example{Workspace} =~ s/ if \$self->\{owner\} == \$\$//r);
        $server->eval('our $work = Workspace->new($_[0])', "$dir/careless-$kind");
        in_child($server, '1');
        ok Host::eventually(sub { !-e "$dir/careless-$kind" }),
            'without the comparison they go with the child';
        $server->end;
    };
}

# A peer that tells what it is told, and, at the end of the connection, how that came.
sub tls {
    my ($careful, %option) = @_;
    require IO::Socket::SSL::Utils;
    my ($cert, $key) = IO::Socket::SSL::Utils::CERT_create(subject => { commonName => 'localhost' });
    IO::Socket::SSL::Utils::PEM_cert2file($cert, "$dir/cert");
    IO::Socket::SSL::Utils::PEM_key2file($key, "$dir/key");
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
    pipe my $in, my $out or die $!;
    my $pid = fork // die;
    if (!$pid) {
        alarm $Host::DEADLINE;
        my $peer = IO::Socket::SSL->start_SSL(scalar $listener->accept, SSL_server => 1,
            SSL_cert_file => "$dir/cert", SSL_key_file => "$dir/key") or CORE::exit 1;
        while (my $line = <$peer>) { syswrite $out, $line }
        syswrite $out, "end\n";
        kill KILL => $$;
    }
    close $out;
    my $server = Host->start(%option);
    $server->eval(($careful ? '' : $no_hook) . $example{Line});
    $server->eval('Line::connect(PeerAddr => "127.0.0.1", PeerPort => $_[0], SSL_verify_mode => 0);'
        . 'print { $Line::tls } "hello\n"', $listener->sockport);
    is Host::line($in), "hello\n", 'connected';
    in_child($server, $careful ? '1' : '$Line::tls->close') for 1 .. 3;
    $server->eval('$SIG{PIPE} = "IGNORE"; print { $Line::tls } "still here\n"');
    is Host::line($in), $careful ? "still here\n" : "end\n",
        $careful ? 'and still so after three children' : 'without the hook, a child can end it';
    is $server->end, 0, 'status';
    waitpid $pid, 0;
}

done_testing;
