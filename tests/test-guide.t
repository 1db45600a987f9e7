#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# README and guide are true: each of their blocks of code is run, compiled, or found in the file that
# it is from. The first word behind the fence is the language, what follows says how:
#
#   console          lines that start with "$ " are run (one that ends in a backslash goes on with
#                    "> "), the others are what has to come; "..." stands for anything, a line of it
#                    for any lines
#   console tty      the same on a terminal: what stands behind "DB<n> " is typed, and other lines have
#                    to come in this order, among others
#   sh               run, and has to succeed
#   json             is JSON
#   file=NAME        is saved as NAME; a later block has to use that
#   part-of=PATH     is a part of this file of the tree, perhaps indented; with file=, it is all of it
#   needs=NAME,...   is skipped where a program or a module of Perl is missing; "limits" stands for what
#                    these take, "attach" for the right to debug what runs
#   nix              needs Nix, and is run by tests/nix/check
#   norun            only parsed: installs something, or goes to another machine; the programs of the
#                    tree that it names exist
#
# Everything runs in an empty directory that has `doc` of the tree in it, with what is not installed
# yet put before what is; with AFORK_GUIDE_INSTALLED set, with what is installed. TAP.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use File::Path qw(make_path);
use File::Temp;
use IO::Handle;
use JSON::PP;
use POSIX ();

my $src = abs_path($ENV{AFORK_TEST_SRCDIR} // '.');
my $build = abs_path($ENV{AFORK_TEST_BUILDDIR} // '.');
my $top = File::Temp->newdir;
my $python = $ENV{PYTHON_GI} || '/usr/bin/python3';
my $gjs = $ENV{GJS};
my $scratch; # a directory for files of the test itself

sub result {
    my ($name, $fault) = @_;
    print $fault ? 'not ok' : 'ok', " - $name\n";
    print map "# $_\n", split /\n/, $fault // '', -1;
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

sub save {
    my ($path, $text, $mode) = @_;
    make_path(dirname $path);
    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
    chmod $mode, $path if $mode;
}

# Programs of the tree, and what leads compilers to its headers and libraries.
sub make_programs {
    my ($dir) = @_;
    make_path($dir);
    for (qw(afork-perl afork-run afork-thumbnails)) {
        symlink "$build/$_", "$dir/$_" if -e "$build/$_";
    }
    my $cc = $ENV{CC} // 'cc';
    my $flags = "-Wall -Werror $ENV{AFORK_TEST_SANITIZERS}";
    save("$dir/cc", qq(#!/bin/sh\nexec $cc $flags "\$@"\n), 0755);
    save("$dir/pkg-config", <<"END", 0755);
#!/bin/sh
for last; do :; done
case \$last in
afork-perl-embed-1.0) sed -n "s|^Libs:.*-lafork-perl-embed|-I$build/include $build/libafork-perl-embed.a|p" \\
    "$build/src/perl/afork-perl-embed-1.0.pc" ;;
afork*)
    echo "-I$build/include -L$build/.libs -Wl,-rpath,$build/.libs -l\${last%-1.0} -lafork"
    [ "\$last" != afork-glib-1.0 ] || pkg-config-real --cflags --libs gio-2.0
    [ "\$last" != afork-uv-1.0 ] || pkg-config-real --cflags --libs libuv ;;
*) exec pkg-config-real "\$@" ;;
esac
END
    for my $name (qw(pkg-config valac)) {
        my ($real) = grep -x, map "$_/$name", split /:/, $ENV{PATH};
        symlink $real, "$dir/$name-real" if $real;
    }
    save("$dir/afork-glib-1.0.pc", <<"END");
Name: afork-glib
Description: that of the build
Version: 0.1
Requires: gio-2.0
Cflags: -I$build/include
Libs: -L$build/.libs -Wl,-rpath,$build/.libs -lafork-glib -lafork
END
    save("$dir/valac", <<"END", 0755);
#!/bin/sh
PKG_CONFIG_PATH='$dir' exec valac-real --vapidir='$build/glib' --pkg-config=pkg-config-real "\$@"
END
}

# The Python that has PyGObject, which another one may hide, and GJS.
sub make_interpreters {
    my ($dir, $environment) = @_;
    make_path($dir);
    for ([python3 => $python], [gjs => $gjs]) {
        my ($name, $program) = @$_;
        save("$dir/$name", <<"END", 0755) if $program;
#!/bin/sh
$environment PYTHONDONTWRITEBYTECODE=1 exec '$program' "\$@"
END
    }
}

# Landlock of version 3, libseccomp, and no sanitizers, which take more memory than limits leave.
sub has_limits {
    my ($create_ruleset, $ask_version) = (444, 1);
    my $makefile = $ENV{AFORK_GUIDE_INSTALLED} ? '' : slurp("$build/Makefile");
    return syscall($create_ruleset, 0, 0, $ask_version) >= 3
      && $makefile !~ /^ENABLE_SECCOMP_TRUE = #/m
      && !$ENV{AFORK_TEST_SANITIZERS};
}

# Whether a debugger may attach to a process that it did not start.
sub may_attach {
    my $scope = '/proc/sys/kernel/yama/ptrace_scope';
    return 0 if $ENV{AFORK_TEST_SANITIZERS}; # they attach themselves
    return $> == 0 || !-e $scope || slurp($scope) == 0;
}

# What keeps a block from being run here; empty if nothing does.
sub missing {
    my ($block) = @_;
    my $text = $block->{text};
    return $ENV{AFORK_GUIDE_NIX} ? '' : 'tests/nix/check does' if $block->{nix};
    return 'no script' if $block->{tty} && system('command -v script >/dev/null') != 0;
    for ($text =~ /\b(afork(?:-\w+)*-1\.0)\b/g) {
        (my $name = $_) =~ s/-1\.0//;
        return "no lib$name" unless -e "$build/lib$name.la" || -e "$build/lib$name.a";
    }
    for (split /,/, $block->{needs} // '') {
        if ($_ eq 'limits') {
            return 'no limits' unless has_limits();
            next;
        }
        if ($_ eq 'attach') {
            return 'debuggers may not attach' unless may_attach();
            next;
        }
        next if /::/ && system($ENV{PERL} // 'perl', "-M$_", '-e1') == 0;
        return "no $_" if /::/ || system("command -v $_ >/dev/null") != 0;
    }
    for ([python3 => $ENV{PYTHON_GI}], [gjs => $gjs]) {
        my ($name, $program) = @$_;
        next unless $text =~ /^\$ .*\b$name\b/m;
        return "no $name" unless $program;
        return 'no typelib, or sanitizers'
          unless -e "$build/glib/Afork-1.0.typelib" && !$ENV{AFORK_TEST_SANITIZERS};
    }
    if ($text =~ /^\$ valac\b/m) {
        return 'no VAPI, or sanitizers' unless -e "$build/glib/afork-glib-1.0.vapi" && !$ENV{AFORK_TEST_SANITIZERS};
    }
    return 'no afork-thumbnails' if $text =~ /afork-thumbnails/ && !-e "$build/afork-thumbnails";
    return '';
}

# Runs shell code; its output and status.
sub shell {
    my ($code) = @_;
    save("$scratch/command", $code);
    my $output = `timeout 60 sh '$scratch/command' 2>&1 </dev/null`;
    return ($output, $?);
}

# Lines as a pattern.
sub pattern {
    my $pattern = join '', map { $_ eq '...' ? '(?:.*\n)*?' : quotemeta($_) . '\n' } @_;
    $pattern =~ s/\\\.\\\.\\\./.*?/g;
    return qr/\A$pattern\z/;
}

# The first line that did not come from a command on a terminal, where that is typed what it asks for.
sub terminal_fault {
    my ($code, @lines) = @_;
    save("$scratch/on-terminal", $code);
    save("$scratch/typed", join '', map /DB<\d+> (.*)/ ? "$1\n" : (), @lines);
    my ($output) = shell("script -qec 'sh $scratch/on-terminal' /dev/null <'$scratch/typed'");
    $output =~ s/\e\[[0-9;]*[mK]|\r//g;
    my $from = 0;
    for (grep !/DB<\d+> /, @lines) {
        my $at = index $output, $_, $from;
        return "not printed: $_\n$output" if $at < 0;
        $from = $at + length;
    }
    return '';
}

sub run_console {
    my ($block) = @_;
    my (@steps);
    for ($block->{text} =~ /(.*)\n/g) {
        if (/^\$ (.*)/) { push @steps, { code => "$1\n", expected => [] } }
        elsif (!@steps) { return 'the first line is no command' }
        elsif (/^> (.*)/ && !@{ $steps[-1]{expected} }) { $steps[-1]{code} .= "$1\n" }
        else { push @{ $steps[-1]{expected} }, $_ }
    }
    for (@steps) {
        if ($block->{tty}) {
            my $fault = terminal_fault($_->{code}, @{ $_->{expected} });
            return "\$ $_->{code}$fault" if $fault;
            next;
        }
        my ($output) = shell($_->{code});
        $output .= "\n" unless $output eq '' || $output =~ /\n\z/;
        next if $output =~ pattern(@{ $_->{expected} });
        return "\$ $_->{code}$output";
    }
    return '';
}

# Whether lines stand in a file, all of them with the same indentation more or less.
sub part_fault {
    my ($text, $path) = @_;
    return "no file $path" unless -e "$src/$path";
    my $whole = "\n" . slurp("$src/$path");
    my ($least) = sort { length $a <=> length $b } $text =~ /^( *)\S/mg;
    $text =~ s/^$least//mg;
    for my $indent ('', map ' ' x (4 * $_), 1 .. 3) {
        (my $shifted = $text) =~ s/^(?=.)/$indent/mg;
        return '' if index($whole, "\n$shifted") >= 0;
    }
    return "this is not in $path:\n$text";
}

sub parsed {
    my ($text) = @_;
    save("$scratch/command", $text);
    my $fault = `sh -n '$scratch/command' 2>&1`;
    for ($text =~ m{(?<![\w./-])((?:\./)?(?:bootstrap|autogen\.sh|(?:doc|packaging|tests)/[\w/.-]+))}g) {
        $fault .= "no $_\n" unless -e "$src/$_";
    }
    return $fault;
}

sub check {
    my ($block, $later) = @_;
    my ($language, $text) = @$block{qw(language text)};
    if ($block->{'part-of'}) {
        my $fault = part_fault($text, $block->{'part-of'});
        return $fault if $fault || !$block->{file};
        return "$block->{'part-of'} has more" if $text ne slurp("$src/$block->{'part-of'}");
    }
    if (my $name = $block->{file}) {
        save($name, $text);
        (my $module = $name) =~ s{^lib/|\.pm$}{}g;
        $module =~ s{/}{::}g;
        my ($dir) = $name =~ m{^([^/]+)/};
        my $used = grep index($later, $_) >= 0, $name, $module, $dir ? "./$dir" : ();
        return $used ? '' : "nothing uses $name";
    }
    return '' if $block->{'part-of'};
    return parsed($text) if $block->{norun} && $language eq 'sh';
    return run_console($block) if $language eq 'console';
    if ($language eq 'sh') {
        my ($output, $status) = shell("set -e\n$text");
        return $status ? "status $status\n$output" : '';
    }
    return eval { decode_json($text); 1 } ? '' : "$@" if $language eq 'json';
    return 'no rule covers this block';
}

# The blocks of a text in Markdown.
sub blocks_of {
    my ($text) = @_;
    my (@blocks, $block);
    my ($number, $blank, $list) = (0, 1, 0);
    for (split /\n/, $text) {
        $number++;
        if (/^```(.*)/) {
            if ($block) {
                push @blocks, $block;
                undef $block;
                next;
            }
            my ($language, @words) = split ' ', $1;
            $block = { line => $number, language => $language // '', text => '' };
            /^(.*?)(?:=(.*))?$/ and $block->{$1} = $2 // 1 for @words;
        }
        elsif ($block) { $block->{text} .= "$_\n" }
        elsif (/^ {4}/ && $blank && !$list) {
            push @blocks, { line => $number, language => 'indented', text => '' };
        }
        $list = 1 if /^(?:[-*]|\d+\.) /;
        $list = 0 if /^\S/ && !/^(?:[-*]|\d+\.) /;
        $blank = /^\s*$/;
    }
    push @blocks, { line => $number, language => 'no end of a block', text => '' } if $block;
    return @blocks;
}

# What a text names, and nothing in the tree is called.
sub unknown_names {
    my ($name, $text, $known) = @_;
    my %faults;
    for ($text =~ /\b(g?afork_\w+|G?AFORK_[A-Z_]+|GAfork\w+)/g) {
        $faults{"no $_"} = 1 unless $known =~ /\b$_\b/;
    }
    for ($text =~ /`(afork(?:-\w+)?\(\d\))`/g) {
        my ($page, $section) = /(.*)\((.)\)/;
        $faults{"no page $_"} = 1 unless -e "$src/doc/$page.$section";
    }
    for ($text =~ /\]\(([^)#:]+)(?:#[^)]*)?\)/g) {
        $faults{"no file $_"} = 1 unless -e dirname("$src/$name") . "/$_";
    }
    return join "\n", sort keys %faults;
}

# Headers, and the manual for variables of the environment.
sub known_names {
    my @files = map glob("$src/$_"), 'src/*.h', 'glib/*.h', '{ev,uv}-adapter/*.h', 'src/perl/afork-perl.h',
      'doc/*.[1-9]';
    my $known = join '', map slurp($_), @files;
    $known =~ s/(G_DECLARE_\w+\(\w+, \w+,\s*(\w+),\s*(\w+),)/$1 $2_$3 /g;
    return $known;
}

my @names = @ARGV ? @ARGV : ('README.md', map "doc/guide/" . basename($_), sort glob "$src/doc/guide/*.md");
$ENV{AFORK_TEST_SANITIZERS} //= '';
if ($ENV{AFORK_GUIDE_INSTALLED}) {
    make_interpreters("$top/bin", '');
}
else {
    make_programs("$top/bin");
    make_interpreters("$top/bin",
        "GI_TYPELIB_PATH='$build/glib' LD_LIBRARY_PATH='$build/.libs' PYTHONPATH='$src/glib/python'");
    $ENV{AFORK_PERL} ||= "$build/afork-perl";
}
$ENV{PATH} = "$top/bin:$ENV{PATH}";
$ENV{LC_ALL} = 'C.UTF-8';
my $known = known_names();

# All blocks of one text, in a directory of its own.
sub check_text {
    my ($name, $dir) = @_;
    make_path($dir);
    chdir $dir or die "$dir: $!\n";
    symlink "$src/doc", 'doc';
    my $text = slurp("$src/$name");
    my @blocks = blocks_of($text);
    result("$name: what it names is there", unknown_names($name, $text, $known));
    for my $i (0 .. $#blocks) {
        my $block = $blocks[$i];
        my $title = "$name:$block->{line}: $block->{language}";
        if (!$block->{file} && !$block->{norun} && (my $why = missing($block))) {
            print "ok - $title # SKIP $why\n";
            next;
        }
        result($title, check($block, join '', map $_->{text}, @blocks[$i + 1 .. $#blocks]));
    }
}

# Each text in a process, some at a time; what they print comes in order.
my $AT_A_TIME = 3;
my ($count, $running) = (0, 0);
for my $i (0 .. $#names) {
    wait if $running++ >= $AT_A_TIME;
    my $pid = fork // die "fork: $!\n";
    next if $pid;
    open STDOUT, '>', "$top/printed-$i" or die "$!\n";
    $scratch = "$top/scratch-$i";
    make_path($scratch);
    eval { check_text($names[$i], "$top/text-$i"); 1 } or print "not ok - $names[$i]: $@";
    STDOUT->flush;
    POSIX::_exit(0);
}
1 while wait > 0;
for (map slurp("$top/printed-$_"), 0 .. $#names) {
    print;
    $count += () = /^(?:not )?ok /gm;
}
print "1..$count\n";
