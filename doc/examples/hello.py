import gi
gi.require_version("Afork", "1.0")
from gi.repository import Afork

async def main():
    worker = Afork.Process(require=["Digest::SHA"])
    with Afork.Rpc(worker, "Digest::SHA::sha1_hex") as rpc:
        print(*await rpc.call("hello"))

Afork.run(main())
