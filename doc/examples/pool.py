# pool.py FILE...: MD5 sums of files, made by Perl workers. Each is printed when it comes.

import sys

import gi
gi.require_version("Afork", "1.0")
from gi.repository import Afork, GLib

paths = sys.argv[1:]
left = len(paths)
status = 0
loop = GLib.MainLoop()

def on_sum(pool, result, path):
    global left, status
    try:
        print(pool.call_strv_finish(result)[0], path, sep="  ", flush=True)
    except GLib.Error as error:
        print("pool: %s: %s" % (path, error.message), file=sys.stderr)
        status = 1
    except OSError as error:
        sys.exit("pool: %s" % error.strerror)
    left -= 1
    if not left:
        loop.quit()

template = Afork.Process.new(None)
template.require(["Digest::MD5"])
template.eval("sub sum { open my $file, '<', $_[0] or die qq($!\\n);"
              "  Digest::MD5->new->addfile($file)->hexdigest }", None)
pool = Afork.Pool.new(template, "sum", None)
for path in paths:
    pool.call_strv_async([path], None, None, on_sum, path)
if left:
    loop.run()
sys.exit(status)
