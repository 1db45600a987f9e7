# SPDX-License-Identifier: MIT
#
# Prints Perl modules as C strings: `embed.pl FOLDER Module.pm...`, each from FOLDER or from perl's @INC.
use strict;
use warnings;

my ($folder, @modules) = @ARGV;
print "const char *const modules[] = {\n";
for my $module (@modules) {
    my ($path) = grep -e, map "$_/$module", $folder, @INC;
    open my $file, '<', $path or die "$module: $!\n";
    print qq(    "$module",\n);
    while (my $line = <$file>) {
        last if $line =~ /^__END__/; # what follows is documentation
        $line =~ s/([\\"])/\\$1/g;
        $line =~ s/\n//;
        print qq(    "$line\\n"\n);
    }
    print "    ,\n";
}
print "    0};\n";
