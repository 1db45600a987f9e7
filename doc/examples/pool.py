# pool.py FILE...: MD5 sums of files, made by four Perl workers, and printed as they come.

import asyncio
import sys

import gi
gi.require_version("Afork", "1.0")
from gi.repository import Afork

CODE = """sub sum { open my $file, '<', $_[0] or die qq($!\\n);
                    Digest::MD5->new->addfile($file)->hexdigest }"""

async def print_sum(pool, path):
    try:
        print(*await pool.call(path), path, sep="  ", flush=True)
        return 0
    except (Afork.Failure, OSError) as error:
        print("pool:", path + ":", error, file=sys.stderr)
        return 1

async def main(paths):
    template = Afork.Process(require=["Digest::MD5"], eval=CODE)
    with Afork.Pool(template, "sum", max=4) as pool:
        return max(await asyncio.gather(*[print_sum(pool, path) for path in paths]), default=0)

sys.stdout.reconfigure(errors="surrogateescape")  # names are octets
sys.exit(Afork.run(main(sys.argv[1:])))
