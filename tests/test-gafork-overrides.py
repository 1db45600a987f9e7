# SPDX-License-Identifier: MIT
#
# What Python adds to the typelib: calls to await, octets as bytes, keywords, and `with`. TAP.

import asyncio
import contextlib
import gc
import io
import os
import subprocess
import sys
import tempfile
import weakref

PYTHON_DIR = os.environ["AFORK_TEST_SRCDIR"] + "/glib/python"
sys.path.insert(0, PYTHON_DIR)

import gi

gi.require_version("Afork", "1.0")
from gi.repository import Afork, Gio, GLib

from gafork_lib import main, wait

PERL = os.environ["AFORK_PERL"]
CODE = r"""
sub echo { @_ } sub bad { die "$_[0]\n" } sub object { die { reason => $_[0] } }
sub leave { exit $_[0] } sub answer { syswrite $_[0], "<@_[1 .. $#_]>" }
sub nap {
    AFork::RPC::event("awake", $_[0]);
    AFork::RPC::flush();
    select undef, undef, undef, $_[0] / 1000;
    $_[0]
}
"""


def context(**options):
    return Afork.Context(perl=PERL, **options)


def fails(kind, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError("it did not fail")


def code_of(error, code):
    assert error.matches(Gio.io_error_quark(), code), error


def test_values():
    with context() as held, Afork.Rpc(Afork.Process(held, eval=CODE), "echo") as rpc:
        assert rpc.call("one", "", b"two", "zwölf").wait() == ["one", "", "two", "zwölf"]
        assert rpc.call().wait() == []
        every = bytes(range(256))
        assert rpc.call_octets(every, "ö", bytearray(b"x")).wait() == [every, b"\xc3\xb6", b"x"]
        large = b"\0" * (1 << 20)
        assert rpc.call_octets(large).wait() == [large]
        fails(UnicodeDecodeError, rpc.call(b"\xff").wait)
        fails(TypeError, rpc.call, 5)
        fails(TypeError, rpc.call, None)
        assert rpc.get_pending() == 0 and rpc.call("still").wait() == ["still"]


def test_json():
    with context() as held:
        process = Afork.Process(held, eval=CODE)
        with Afork.Rpc(process.fork(), "echo", serialiser=Afork.Serialiser.JSON) as rpc:
            values = [1, 2.5, "zwölf", None, ["a", {"b": []}], True]
            assert rpc.call_json(*values).wait() == values
            fails(ValueError, rpc.call_json, float("nan"))
        with Afork.Rpc(process, "object", serialiser=Afork.Serialiser.JSON) as rpc:
            error = fails(Afork.Failure, rpc.call_json("x").wait)
            assert error.matches(Afork.error_quark(), Afork.Error.DIED)
            assert error.exception == b'[{"reason":"x"}]', error.exception


def test_failures():
    with context() as held:
        process = Afork.Process(held, eval=CODE)
        with Afork.Rpc(process.fork(), "bad") as rpc:
            error = fails(GLib.Error, rpc.call("über").wait)
            assert type(error) is Afork.Failure and str(error) == error.message == "über"
            assert error.matches(Afork.error_quark(), Afork.Error.DIED) and error.exception is None
        with Afork.Pool(process.fork(), "leave", max=1) as pool:
            error = fails(Afork.Failure, pool.call("3").wait)
            assert error.matches(Afork.error_quark(), Afork.Error.EXITED) and "3" in str(error)
            assert error.exit.get_status() == 3 and error.exception is None
        with Afork.Pool(process, "nowhere", max=1, max_failures=1) as pool:
            assert "nowhere" in str(fails(Afork.Failure, pool.call().wait))
            pool.close()
        code_of(fails(Afork.Failure, pool.call().wait), Gio.IOErrorEnum.CLOSED)


def test_process():
    with context() as held:
        template = Afork.Process(held, require=["Digest::MD5"], eval=b"our $x = q{\xff};")
        template.eval("our @y = map length, @_, Digest::MD5::md5('');", ["ö", b"\0"])
        template.eval("sub answer { syswrite $_[0], qq{$x @y @_[1 .. $#_]} }")
        process = template.fork()
        process.send_arg("ä")
        process.send_arg(b"\0\1")
        told = []

        async def talk():
            connection = await process.run("answer")
            told.append((await process.wait()).get_status())
            told.append(connection.get_input_stream().read_bytes(100, None).get_data())

        Afork.spawn(talk()).wait()
        assert told == [0, b"\xff 2 1 16 \xc3\xa4 \0\1"], told
        with Afork.Process(held, eval="die qq{so\\n}") as process:
            assert str(fails(Afork.Failure, process.run("answer").wait)) == "so"
        code_of(fails(GLib.Error, process.send_arg, "x"), Gio.IOErrorEnum.CLOSED)
        assert isinstance(Afork.Process.new_exec(held), Afork.Process)


def test_keywords():
    with context() as held:
        process = Afork.Process(held, eval=CODE)
        rpc = Afork.RpcOptions(serialiser=Afork.Serialiser.JSON)
        with Afork.Pool(process, "echo", max=3, load=1, idle=1, rpc=rpc) as pool:
            assert (pool.props.max, pool.props.load, pool.props.idle) == (3, 1, 1)
            assert pool.call_json([1]).wait() == [[1]]
        options = Afork.PoolOptions(max=2)
        with Afork.Pool(process, "nap", options) as pool:
            assert pool.props.max == 2
            events = []
            call = pool.call("1", on_event=lambda *values: events.append(values), priority=1,
                             on_begin=lambda: events.append("begun"))
            assert call.wait() == ["1"] and events == ["begun", ("awake", "1")]
            code_of(fails(Afork.Failure, pool.call("5000", run_timeout=1000).wait),
                    Gio.IOErrorEnum.TIMED_OUT)
            cancellable = Gio.Cancellable()
            call = pool.call("5000", cancellable=cancellable)
            cancellable.cancel()
            code_of(fails(Afork.Failure, call.wait), Gio.IOErrorEnum.CANCELLED)
            pool.close()
        fails(TypeError, Afork.Pool, process, "echo", nothing=1)
        fails(TypeError, pool.call, "x", nothing=1)


def test_with():
    with context() as held:
        process = Afork.Process(held, eval=CODE)
        for kind in Afork.Rpc, Afork.Pool:
            with kind(process.fork(), "nap") as target:
                calls = [target.call("1") for _ in range(5)]
            assert [call.wait() for call in calls] == [["1"]] * 5
            code_of(fails(Afork.Failure, target.call("1").wait), Gio.IOErrorEnum.BROKEN_PIPE)
            with contextlib.suppress(KeyError), kind(process.fork(), "nap") as target:
                call = target.call("5000")
                raise KeyError
            code_of(fails(Afork.Failure, call.wait), Gio.IOErrorEnum.CLOSED)
    code_of(fails(GLib.Error, Afork.Process, held), Gio.IOErrorEnum.CLOSED)


def test_future():
    with context() as held, Afork.Rpc(Afork.Process(held, eval=CODE), "echo") as rpc:
        call, told = rpc.call("x"), []
        assert not call.done()
        fails(asyncio.InvalidStateError, call.result)
        call.add_done_callback(lambda found: told.append(found))
        assert call.wait() == ["x"] and told == [call] and call.done() and call.result() == ["x"]
        call.add_done_callback(lambda found: told.append(found))
        assert told == [call, call]
        call.cancel()
        assert call.result() == ["x"]


def test_asyncio():
    async def both(pool):
        assert await asyncio.gather(pool.call("1"), pool.call("2")) == [["1"], ["2"]]
        call = pool.call("5000", cancel_mode=Afork.CancelMode.KILL)
        try:
            await asyncio.wait_for(call, 0.05)
            raise AssertionError("it was not late")
        except asyncio.TimeoutError:
            pass
        while not call.done():
            await asyncio.sleep(0.001)
        code_of(fails(Afork.Failure, call.result), Gio.IOErrorEnum.CANCELLED)
        # The descriptors of asyncio, and sources of GLib.
        ours, theirs = os.pipe()
        heard = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(ours, lambda: heard.set_result(os.read(ours, 9)))
        GLib.timeout_add(1, lambda: os.write(theirs, b"x") and False)
        assert await heard == b"x"
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)
        os.close(theirs)
        assert await asyncio.to_thread(lambda: 3) == 3
        # A coroutine that a source of GLib started may await what asyncio makes, too.
        done = []

        async def later():
            await asyncio.sleep(0.001)
            done.append(await pool.call("3"))
        GLib.idle_add(lambda: Afork.spawn(later()) and False)
        while not done:
            await asyncio.sleep(0.001)
        assert done == [["3"]]
        return "end"

    with context() as held, Afork.Pool(Afork.Process(held, eval=CODE), "nap", max=2) as pool:
        assert Afork.run(both(pool)) == "end"

        async def alone():
            return await pool.call("1")
        assert "Afork.run" in str(fails(RuntimeError, asyncio.run, alone()))
        pool.close()


def test_spawn():
    with context() as held, Afork.Pool(Afork.Process(held, eval=CODE), "nap", max=2) as pool:
        async def inner(value):
            return await pool.call(value, cancel_mode=Afork.CancelMode.KILL)

        async def outer():
            first, second = Afork.spawn(inner("2")), Afork.spawn(inner("1"))
            return await first + await second

        loop, told = GLib.MainLoop(), []
        Afork.spawn(outer()).add_done_callback(
            lambda task: (told.append(task.result()), loop.quit()))
        loop.run()
        assert told == [["2", "1"]]

        task = Afork.spawn(inner("5000"))
        task.cancel()
        code_of(fails(Afork.Failure, task.wait), Gio.IOErrorEnum.CANCELLED)

        other = asyncio.new_event_loop()

        async def wrong():
            await other.create_future()
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            assert "run()" in str(fails(TypeError, Afork.spawn(wrong()).result))
        assert "run()" in printed.getvalue()
        other.close()

        async def lost():
            await pool.call("1")
            raise KeyError("nobody looks")
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            task = Afork.spawn(lost())
            wait(task.done)
        assert "nobody looks" in printed.getvalue()
        pool.close()


def test_released():
    """Neither results nor callbacks are kept, and a pool goes with the last who knows it."""
    class Note(list):
        pass

    held = context()
    pool = Afork.Pool(Afork.Process(held, eval=CODE), "nap", max=1)
    note = Note()
    call = pool.call("1", on_event=lambda *values: note.append(values))
    call.add_done_callback(lambda _, note=note: note.append("done"))
    assert call.wait() == ["1"] and note == [("awake", "1"), "done"]
    seen = weakref.ref(note), weakref.ref(call), weakref.ref(pool)
    del note, call, pool
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3
    held.close()


def test_typelib():
    """What the typelib has is as it was: its tests pass."""
    path = PYTHON_DIR + ":" + os.environ.get("PYTHONPATH", "")
    for name in "test-gafork-python.py", "test-gafork-calls-python.py":
        with tempfile.TemporaryFile("w+") as output:  # no pipe: a worker may have it a while longer
            ran = subprocess.run([sys.executable, os.path.dirname(__file__) + "/" + name],
                                 env={**os.environ, "PYTHONPATH": path, "AFORK_TEST_UNNOTED": "1"},
                                 timeout=60, check=False, stdin=subprocess.DEVNULL, stdout=output)
            output.seek(0)
            text = output.read()
        assert ran.returncode == 0 and "ok 1" in text, text


if not os.path.exists(PERL):
    print("1..0 # SKIP afork-perl was not built")
    sys.exit(0)
main(globals())
