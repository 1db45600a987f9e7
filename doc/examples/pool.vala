// pool FILE...: MD5 sums of files, made by four Perl workers, and printed as they come.
// valac -X -w --pkg afork-glib-1.0 pool.vala

const string CODE = """sub sum { open my $file, '<', $_[0] or die qq($!\n);
                                 Digest::MD5->new->addfile($file)->hexdigest }""";
int status = 0;

async void print_sum (Afork.Pool pool, string path)
{
    try {
        var results = yield pool.call_strv_async ({path}, null, null);
        stdout.printf ("%s  %s\n", results[0], path);
        if (stdout.flush () != 0 || stdout.error () != 0)
            throw new IOError.FAILED ("%s", strerror (errno));
    } catch (Error error) {
        printerr ("pool: %s: %s\n", path, error.message);
        status = 1;
    }
}

int main (string[] args)
{
    try {
        var template = new Afork.Process (null);
        template.require ({"Digest::MD5"});
        template.eval (CODE, null);
        var pool = new Afork.Pool (template, "sum", new Afork.PoolOptions () { max = 4 });
        var loop = new MainLoop ();
        pool.destroyed.connect (loop.quit);
        foreach (var path in args[1:args.length])
            print_sum.begin (pool, path);
        pool.finish (); // it completes the calls it has, and ends
        loop.run ();
    } catch (Error error) {
        printerr ("pool: %s\n", error.message);
        status = 1;
    }
    return status;
}
