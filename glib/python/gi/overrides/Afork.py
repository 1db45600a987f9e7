# SPDX-License-Identifier: MIT
"""What Python adds to Afork: calls to await, octets as bytes, options as keywords, and `with`.
Everything else is there as the typelib has it. afork-glib(3) has an introduction."""

import asyncio
import json
import selectors
import traceback

from gi.module import get_introspection_module
from gi.overrides import override
from gi.repository import Gio, GLib

Afork = get_introspection_module("Afork")
__all__ = ["Context", "Failure", "Pool", "Process", "Rpc", "run", "spawn"]


class Failure(GLib.Error):
    """What an awaited call raises. Its text is that of the error alone: Perl's, where Perl died."""

    exception = None  # what was thrown, as the serialiser packed it, where that was no string
    exit = None  # the Exit of the worker, if that is why a call failed

    def __str__(self):
        return self.message


class Future:
    """Something that comes later: `await` it, `wait()` for it, or be called back."""

    def __init__(self):
        self._callbacks, self._value, self._error = [], None, None

    def done(self):
        return self._callbacks is None

    def result(self):
        """What came, returned or raised."""
        if not self.done():
            raise asyncio.InvalidStateError("there is no result yet")
        if self._error:
            raise self._error
        return self._value

    def add_done_callback(self, callback):
        """Calls `callback(self)` when there is a result, now if there is one."""
        callback(self) if self.done() else self._callbacks.append(callback)

    def wait(self):
        """Turns the main context until there is a result: for simple scripts."""
        self.add_done_callback(lambda _: None)
        while not self.done():
            GLib.MainContext.default().iteration(True)
        return self.result()

    def _settle(self, value=None, error=None):
        callbacks, self._callbacks, self._value, self._error = self._callbacks, None, value, error
        return [callback(self) for callback in callbacks]

    def __await__(self):
        if not self.done():
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                yield self  # to spawn
                return self.result()
            if type(loop) is asyncio.SelectorEventLoop and type(loop._selector) is not Selector:
                raise RuntimeError("nobody turns GLib's main context: call Afork.run()")
            future = loop.create_future()
            self.add_done_callback(lambda _: future.done() or future.set_result(None))
            try:
                yield from future
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()


class Call(Future):
    """An asynchronous call of the library. cancel() makes it fail: Gio.IOErrorEnum.CANCELLED."""

    def __init__(self, start, finish, *arguments, cancellable=None, convert=lambda value: value):
        super().__init__()
        cancellable = cancellable or Gio.Cancellable()
        self.cancel, self._finish, self._convert = cancellable.cancel, finish, convert
        start(*arguments, cancellable, self._note)

    def _note(self, source, result):
        value = error = None
        try:
            value = self._convert(self._finish(result))
        except GLib.Error as found:
            error = Failure(found.message, found.domain, found.code)
            if isinstance(source, Calling):
                thrown, error.exit = Afork.call_get_exception(result), Afork.call_get_exit(result)
                error.exception = thrown and thrown.get_data()
        except ValueError as found:  # no text, no JSON
            error = found
        self._settle(value, error)


class spawn(Future):
    """Runs a coroutine in a program that turns GLib's main loop, with GTK for instance. It is
    entered at once, and awaits what Afork makes, also this; cancel() cancels what it waits for."""

    def __init__(self, coroutine):
        super().__init__()
        self._coroutine = coroutine
        self._step()

    def _step(self, _=None):
        try:
            waits = self._coroutine.send(None)
            if not (isinstance(waits, Future) or
                    asyncio.isfuture(waits) and waits.get_loop().is_running()):
                raise TypeError("spawn() awaits what Afork makes; run() does everything")
        except StopIteration as end:
            self._settle(end.value)
        except Exception as error:
            self._coroutine.close()
            if not self._settle(error=error):
                traceback.print_exc()  # nobody waits
        else:
            self.cancel = waits.cancel
            waits.add_done_callback(self._step)


class Selector(selectors.EpollSelector):
    """Waits in the default main context, for what asyncio waits for and all there is besides."""

    def select(self, timeout=None):
        sources = [GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, self.fileno(), GLib.IOCondition.IN,
                                         lambda *_: True)]
        if timeout is not None and timeout > 0:
            sources.append(GLib.timeout_add(int(timeout * 1000) + 1, lambda: True))
        GLib.MainContext.default().iteration(timeout is None or timeout > 0)
        for source in sources:
            GLib.source_remove(source)
        return super().select(0)


def run(coroutine):
    """As asyncio.run(), and GLib's default main context is turned: all of both works."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(Selector())) as runner:
        return runner.run(coroutine)


def octets(value):
    value = value.encode(errors="surrogateescape") if isinstance(value, str) else memoryview(value)
    return GLib.Bytes.new(bytes(value))


def variant(values):
    kind = GLib.VariantType("ay")
    return GLib.Variant.new_array(kind, [GLib.Variant.new_from_bytes(kind, octets(value), True)
                                         for value in values])


def to_octets(packed):
    found = Afork.bytes_to_variant(packed, Afork.Serialiser.OCTETS, None)
    return [found.get_child_value(i).get_data_as_bytes().get_data() or b""
            for i in range(found.n_children())]


class Closing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@override
class Context(Closing, Afork.Context):
    pass


@override
class Process(Closing, Afork.Process):
    """Code and arguments are str or bytes; from run() comes a connection, from wait() an Exit."""

    def __new__(cls, context=None, require=(), eval=None):
        self = cls.new(context)
        if require:
            self.require(require)
        if eval:
            self.eval(eval)
        return self

    __init__ = lambda self, *_, **__: None  # new() did it

    def eval(self, code, arguments=None):
        return self.eval_bytes(octets(code), variant(arguments or ()))

    def send_arg(self, argument):
        return self.send_bytes(octets(argument))

    def run(self, function, cancellable=None):
        return Call(self.run_async, self.run_finish, function, cancellable=cancellable)

    def wait(self, cancellable=None):
        return Call(self.wait_async, self.wait_finish, cancellable=cancellable)


class Calling(Closing):
    """Calls are to be awaited. Their keywords are the properties of Afork.CallOptions,
    `cancellable`, and the functions `on_event`, for the values of each event, and `on_begin`. At
    the end of a `with` no more calls are taken; if an exception leaves it, those under way are
    given up."""

    def __new__(cls, process, function, options=None, **keywords):
        return cls.new(process, function, cls.OPTIONS(**keywords) if keywords else options)

    __init__ = lambda self, *_, **__: None  # new() did it

    def call(self, *arguments, **how):
        """Arguments are str or bytes, the result is a list of str."""
        return self._call(arguments, lambda packed: [value.decode() for value in to_octets(packed)],
                          **how)

    def call_octets(self, *arguments, **how):
        """Arguments are str or bytes, the result is a list of bytes."""
        return self._call(arguments, to_octets, **how)

    def call_json(self, *arguments, **how):
        """With Afork.Serialiser.JSON: arguments and the list of results are what json knows."""
        return self._call(json.dumps(arguments, allow_nan=False),
                          lambda packed: json.loads(packed.get_data()), **how)

    def _call(self, arguments, convert, cancellable=None, on_event=None, on_begin=None,
              **how):
        packed = (octets(arguments) if isinstance(arguments, str) else
                  Afork.variant_to_bytes(variant(arguments), Afork.Serialiser.OCTETS))
        options = Afork.CallOptions(**how)
        if on_event:
            options.connect("event", lambda _, values, fd_list: on_event(*convert(values)))
        if on_begin:
            options.connect("begun", lambda _: on_begin())
        return Call(self.call_bytes_async, self.call_bytes_finish, packed, options,
                    cancellable=cancellable, convert=convert)

    def __exit__(self, kind, *_):
        self.finish() if kind is None else self.close()


@override
class Rpc(Calling, Afork.Rpc):
    OPTIONS = Afork.RpcOptions  # whose properties are keywords


@override
class Pool(Calling, Afork.Pool):
    OPTIONS = Afork.PoolOptions
