// gjs pool.js FILE...: MD5 sums of files, made by four Perl workers, and printed as they come.

imports.gi.versions.Afork = '1.0';
const {Afork, Gio, GLib} = imports.gi;
Gio._promisify(Afork.Pool.prototype, 'call_strv_async', 'call_strv_finish');

const CODE = `sub sum { open my $file, '<', $_[0] or die qq($!\\n);
                        Digest::MD5->new->addfile($file)->hexdigest }`;
const output = Gio.UnixOutputStream.new(1, false); // print() does not tell of errors
let status = 0;

async function printSum(pool, path) {
    try {
        const [sum] = await pool.call_strv_async([path], null, null);
        output.write_all(`${sum}  ${path}\n`, null);
    } catch (error) {
        printerr(`pool: ${path}: ${error.message}`);
        status = 1;
    }
}

const template = Afork.Process.new(null);
template.require(['Digest::MD5']);
template.eval(CODE, null);
const pool = Afork.Pool.new(template, 'sum', new Afork.PoolOptions({max: 4}));
const loop = GLib.MainLoop.new(null, false);
pool.connect('destroyed', () => loop.quit());
ARGV.forEach(path => printSum(pool, path));
pool.finish(); // it completes the calls it has, and ends
loop.run();
imports.system.exit(status);
