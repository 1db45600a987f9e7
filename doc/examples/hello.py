import sys

import gi
gi.require_version("Afork", "1.0")
from gi.repository import Afork, GLib

loop = GLib.MainLoop()

def on_answer(stream, result):
    print(stream.read_bytes_finish(result).get_data().decode())
    loop.quit()

def on_entered(worker, result):
    try:
        worker.connection = worker.run_finish(result)  # who lets go of it closes it
    except GLib.Error as error:
        sys.exit(error.message)
    stream = worker.connection.get_input_stream()
    stream.read_bytes_async(256, GLib.PRIORITY_DEFAULT, None, on_answer)

worker = Afork.Process.new(None)
worker.require(["Digest::SHA"])
worker.eval("sub digest { syswrite $_[0], Digest::SHA::sha1_hex($_[1]) }", None)
worker.send_arg("hello")
worker.run_async("digest", None, on_entered)
loop.run()
