# perl pool.pl FILE...: the same with AnyEvent::Fork and AnyEvent::Fork::Pool.
use strict;
use warnings;
use AnyEvent;
use AnyEvent::Fork;
use AnyEvent::Fork::Pool;

my $code = q{sub sum { open my $file, '<', $_[0] or return (undef, "$!");
                       Digest::MD5->new->addfile($file)->hexdigest }};
my ($status, $end) = (0, AE::cv);
my $pool = AnyEvent::Fork->new->require('Digest::MD5')->eval($code)
    ->AnyEvent::Fork::Pool::run('main::sum', max => 4, on_destroy => $end);
for my $path (@ARGV) {
    $pool->($path, sub {
        my ($sum, $error) = @_;
        return print "$sum  $path\n" if !defined $error;
        warn "pool: $path: $error\n";
        $status = 1;
    });
}
undef $pool; # it completes the calls it has, and ends
$end->recv;
exit $status;
