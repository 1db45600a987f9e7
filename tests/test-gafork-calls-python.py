# SPDX-License-Identifier: MIT
#
# Every call, property and signal of GAforkRpc and GAforkPool, from Python by the typelib. TAP.

import gc
import os
import socket
import subprocess
import sys
import weakref

import gi

gi.require_version("Afork", "1.0")
from gi.repository import Afork, Gio, GLib, GObject

from gafork_lib import main, record, wait

record()

PERL = os.environ["AFORK_PERL"]
SYSTEM_PERL = os.environ.get("PERL") or "perl"
CODE = r"""
sub echo { @_ } sub sum { my $n = 0; $n += $_ for @_; $n } sub pid { $$ }
sub bad { die "$_[0]\n" } sub object { die { reason => $_[0] } }
sub leave { syswrite STDERR, "leaving\n"; exit $_[0] }
sub nap {
    AFork::RPC::event($_[0]);
    AFork::RPC::flush();
    select undef, undef, undef, $_[0] / 1000;
    $_[0]
}
sub slurp { my $fh = pop; local $/; scalar <$fh> }
sub open_file { open my $fh, '+>', undef or die $!; syswrite $fh, $_[0]; ('here', $fh) }
sub tell_file {
    open my $fh, '+>', undef or die $!;
    syswrite $fh, $_[0];
    AFork::RPC::event('file', $fh);
    ()
}
my @args; sub begin { @args = @_ } sub args { @args }
"""


FORMS = {
    "bytes": ("call_bytes_async", "call_bytes_finish"),
    "fds": ("call_fds_async", "call_fds_finish"),
    "strv": ("call_strv_async", "call_strv_finish"),
    "variant": ("call_variant_async", "call_variant_finish"),
}


class Call:
    """A call of one of the forms, under way."""

    def __init__(self, target, form, arguments, options=None, cancellable=None):
        self.target, self.form, self.result = target, form, None
        getattr(target, FORMS[form][0])(arguments, options, cancellable, self.note)

    def note(self, source, result):
        assert source == self.target and self.result is None
        self.result = result

    def finish(self):
        wait(lambda: self.result)
        return getattr(self.target, FORMS[self.form][1])(self.result)


def call(*arguments, **named):
    return Call(*arguments, **named).finish()


def fails(domain, code, function, *arguments):
    try:
        function(*arguments)
    except GLib.Error as error:
        assert error.matches(domain, code), error
        return error.message
    raise AssertionError("it did not fail")


def fails_io(code, function, *arguments):
    return fails(Gio.io_error_quark(), code, function, *arguments)


def process(context):
    made = Afork.Process.new(context)
    made.eval(CODE, None)
    return made


def new_context():
    return Afork.Context(perl=PERL, standard_error=Afork.Stdio.TAIL)


def test_strings():
    context = new_context()
    rpc = Afork.Rpc.new(process(context), "echo", None)
    assert isinstance(rpc, Afork.Callable)
    assert call(rpc, "strv", ["one", "", "zwölf"]) == ["one", "", "zwölf"]
    assert call(rpc, "strv", []) == []
    assert rpc.get_function() == rpc.props.function == "echo"
    assert rpc.get_process() == rpc.props.process
    under_way = [Call(rpc, "strv", [str(i)]) for i in range(50)]
    assert rpc.get_pending() == 50
    assert [c.finish() for c in under_way] == [[str(i)] for i in range(50)]
    context.close()


def test_octets():
    context = new_context()
    rpc = Afork.Rpc.new(process(context), "echo", None)
    octets = Afork.strv_to_bytes(["one", "zwölf"])
    result = call(rpc, "bytes", octets)
    assert result.get_data() == octets.get_data() == b"\3one\6zw\xc3\xb6lf"
    assert Afork.bytes_to_strv(result) == ["one", "zwölf"]
    raw = GLib.Variant("aay", [b"\0\xff", b""])
    found = call(rpc, "variant", raw)
    assert found.get_type_string() == "aay"
    assert [bytes(found.get_child_value(i).unpack()) for i in range(2)] == [b"\0\xff", b""]
    packed = Afork.variant_to_bytes(raw, Afork.Serialiser.OCTETS)
    fails_io(Gio.IOErrorEnum.INVALID_DATA, Afork.bytes_to_strv, packed)
    assert Afork.bytes_to_variant(packed, Afork.Serialiser.OCTETS, None).equal(found)
    context.close()


def test_variants():
    context = new_context()
    options = Afork.RpcOptions(serialiser=Afork.Serialiser.JSON)
    rpc = Afork.Rpc.new(process(context), "echo", options)
    values = GLib.Variant("(isda{sv})", (1, "zwölf", 2.5, {"a": GLib.Variant("as", ["b"])}))
    assert call(rpc, "variant", values).unpack() == [1, "zwölf", 2.5, {"a": ["b"]}]
    how = Afork.CallOptions(result_type=GLib.VariantType("(us)"))
    assert how.props.result_type.dup_string() == "(us)"
    assert call(rpc, "variant", GLib.Variant("(is)", (1, "x")), how).get_type_string() == "(us)"
    fails_io(Gio.IOErrorEnum.NOT_SUPPORTED, call, rpc, "strv", ["x"])
    context.close()


def test_options():
    options = Afork.RpcOptions.new()
    p = options.props
    assert p.init is None and p.done is None and p.serialiser_code is None
    p.asynchronous, p.exceptions_end, p.reply_max = True, True, 5
    p.frames, p.serialiser, p.serialiser_code = Afork.Frames.ORIGINAL, Afork.Serialiser.JSON, "x"
    p.init, p.done = "a", "b"
    assert p.asynchronous and p.exceptions_end and p.reply_max == 5
    assert p.frames == Afork.Frames.ORIGINAL and p.serialiser == Afork.Serialiser.JSON
    assert (p.serialiser_code, p.init, p.done) == ("x", "a", "b")

    limits = Afork.Limits(nice=1)
    options = Afork.PoolOptions(rpc=options, max=4, idle=1, load=3, start=1000, stop=2000,
                                single_call=True, queue_max=9, spares=1, retire_calls=10,
                                retire_age=11, retire_memory=12, limits=limits, crash=Afork.Crash.RETRY_ONCE,
                                max_failures=2)
    p = options.props
    assert p.rpc.props.init == "a" and p.limits == limits and p.single_call
    assert (p.max, p.idle, p.load, p.start, p.stop, p.queue_max) == (4, 1, 3, 1000, 2000, 9)
    assert (p.retire_calls, p.retire_age, p.retire_memory, p.max_failures) == (10, 11, 12, 2)
    assert p.crash == Afork.Crash.RETRY_ONCE and p.spares == 1
    p = Afork.PoolOptions.new().props
    assert (p.load, p.start, p.stop, p.max_failures) == (2, 100000, 10000000, 5)

    how = Afork.CallOptions.new()
    p = how.props
    assert p.cancel_mode == Afork.CancelMode.ABANDON
    p.timeout, p.run_timeout, p.priority, p.cancel_mode = 5, 6, -7, Afork.CancelMode.KILL
    assert (p.timeout, p.run_timeout, p.priority) == (5, 6, -7)
    assert p.cancel_mode == Afork.CancelMode.KILL
    assert p.fd_list is None


def test_init():
    context = new_context()
    made = process(context)
    made.send_arg("one")
    rpc = Afork.Rpc.new(made, "args", Afork.RpcOptions(init="begin"))
    assert call(rpc, "strv", []) == ["one"]
    fails_io(Gio.IOErrorEnum.INVALID_ARGUMENT, made.eval, "1", None)
    context.close()


def test_descriptors():
    context = new_context()
    opener = Afork.Rpc.new(process(context), "open_file", None)
    octets, fds = call(opener, "fds", Afork.strv_to_bytes(["some text"]))
    assert Afork.bytes_to_strv(octets) == ["here"] and fds.get_length() == 1
    os.lseek(fds.peek_fds()[0], 0, os.SEEK_SET)
    reader = Afork.Rpc.new(process(context), "slurp", None)
    how = Afork.CallOptions(fd_list=fds)
    assert call(reader, "strv", [], how) == ["some text"]
    octets, fds = call(reader, "fds", Afork.strv_to_bytes([]), how)
    assert fds is None
    context.close()


def test_exceptions():
    context = new_context()
    rpc = Afork.Rpc.new(process(context), "bad", None)
    for _ in range(2):
        made = Call(rpc, "strv", ["über"])
        assert fails(Afork.error_quark(), Afork.Error.DIED, made.finish) == "über"
        assert Afork.call_get_exception(made.result) is None
        assert Afork.call_get_exit(made.result) is None
    options = Afork.RpcOptions(serialiser=Afork.Serialiser.JSON)
    rpc = Afork.Rpc.new(process(context), "object", options)
    made = Call(rpc, "variant", GLib.Variant("(s)", ("x",)))
    fails(Afork.error_quark(), Afork.Error.DIED, made.finish)
    exception = Afork.call_get_exception(made.result)
    found = Afork.bytes_to_variant(exception, Afork.Serialiser.JSON, None)
    assert found.unpack() == [{"reason": "x"}]
    context.close()


def test_end():
    context = new_context()
    rpc = Afork.Rpc.new(process(context), "leave", None)
    told, exits = [], []
    rpc.connect("ended", lambda rpc, error, end: told.append((error, end)))
    rpc.get_process().connect("exited", lambda process, end: exits.append(end.get_status()))
    assert "status 3" in fails(Afork.error_quark(), Afork.Error.EXITED, call, rpc, "strv", ["3"])
    wait(lambda: told)
    error, end = told[0]
    assert error.matches(Afork.error_quark(), Afork.Error.EXITED)
    assert end.get_status() == 3 and end.get_stderr_tail() == "leaving" and exits == [3]
    fails_io(Gio.IOErrorEnum.BROKEN_PIPE, call, rpc, "strv", ["3"])
    rpc = Afork.Rpc.new(process(context), "echo", None)
    rpc.connect("ended", lambda rpc, error, end: told.append((error, end)))
    made = Call(rpc, "strv", ["last"])
    rpc.finish()
    assert made.finish() == ["last"]
    wait(lambda: len(told) == 2)
    assert told[1][0] is None and told[1][1].get_status() == 0
    context.close()


def test_events_and_timeout():
    context = new_context()
    rpc = Afork.Rpc.new(process(context), "nap", None)
    of_rpc, of_call = [], []
    rpc.connect("event", lambda rpc, octets, fds: of_rpc.append((Afork.bytes_to_strv(octets), fds)))
    how = Afork.CallOptions()
    how.connect("event", lambda how, octets, fds: of_call.append(Afork.bytes_to_strv(octets)))
    begun = []
    how.connect("begun", lambda how: begun.append(len(of_call)))
    assert call(rpc, "strv", ["1"], how) == ["1"] and of_call == [["1"]] and begun == [0]
    assert call(rpc, "strv", ["2"]) == ["2"] and of_rpc == [(["2"], None)]
    rpc.props.timeout = 1000
    assert rpc.props.timeout == 1000
    fails_io(Gio.IOErrorEnum.TIMED_OUT, call, rpc, "strv", ["100"])
    how.props.timeout = -1
    assert call(rpc, "strv", ["1"], how) == ["1"]
    context.close()


def test_cancel_and_close():
    context = new_context()
    for target in (Afork.Rpc.new(process(context), "nap", None),
                   Afork.Pool.new(process(context), "nap", None)):
        cancellable = Gio.Cancellable()
        made = Call(target, "strv", ["60000"], None, cancellable)
        cancellable.cancel()
        fails_io(Gio.IOErrorEnum.CANCELLED, made.finish)
        under_way = [Call(target, "strv", ["60000"]) for i in range(1000)]
        target.close()
        for made in under_way:
            fails_io(Gio.IOErrorEnum.CLOSED, made.finish)
        fails_io(Gio.IOErrorEnum.CLOSED, call, target, "strv", ["1"])
    context.close()


def test_pool():
    context = new_context()
    pool = Afork.Pool.new(process(context), "nap",
                          Afork.PoolOptions(max=2, start=0, load=1))
    names, told = [], []
    for name in "n-workers", "n-busy", "n-queued", "n-running":
        pool.connect("notify::" + name, lambda pool, pspec: names.append(pspec.name))
    pool.connect("worker-started", lambda pool, worker: told.append(worker.get_pid()))
    workers, changes = pool.get_workers(), []
    assert isinstance(workers, Gio.ListModel) and len(workers) == 0
    assert workers.get_item_type() == Afork.Worker.__gtype__ and workers.get_item(0) is None
    workers.connect("items-changed", lambda workers, position, removed, added: changes.append(
        (added, removed)))
    pool.connect("event", lambda pool, pid, octets, fds: told.append(
        (pid, Afork.bytes_to_strv(octets))))
    under_way = [Call(pool, "strv", ["1"]) for i in range(20)]
    assert pool.get_pending() == 20
    wait(lambda: pool.get_n_busy() == 2)
    assert pool.get_n_workers() == pool.props.n_workers == 2 == pool.props.n_busy
    assert pool.get_n_queued() == pool.props.n_queued > 0
    assert pool.get_n_running() == pool.props.n_running == 2
    assert workers == pool.get_workers() == pool.props.workers and len(workers) == 2
    assert workers[0] != workers[1]
    for worker in workers:
        assert worker.get_pid() == worker.props.pid > 0
        assert worker.get_calls() == worker.props.calls <= 1
    assert [c.finish() for c in under_way] == [["1"]] * 20
    wait(lambda: pool.get_n_running() == 0)
    assert set(names) == {"n-workers", "n-busy", "n-queued", "n-running"}
    stats = pool.get_stats()
    assert (stats.workers, stats.busy, stats.queued, stats.running) == (2, 0, 0, 0)
    assert stats.completed == 20
    assert (stats.failed, stats.timed_out, stats.cancelled, stats.retried) == (0, 0, 0, 0)
    assert (stats.started, stats.crashed, stats.retired) == (2, 0, 0)
    assert sum(isinstance(item, tuple) for item in told) == 20
    assert pool.get_function() == pool.props.function == "nap"
    assert pool.props.max == pool.get_max() == 2
    assert pool.props.idle == pool.get_idle() == 0
    assert pool.props.load == pool.get_load() == 1
    assert pool.set_size(3, 1, 2) and pool.props.max == 3
    pool.props.max, pool.props.idle, pool.props.load = 5, 2, 4
    assert (pool.get_max(), pool.get_idle(), pool.get_load()) == (5, 2, 4)
    wait(lambda: len(workers) == 2)
    assert changes and sum(added - removed for added, removed in changes) == 2, changes
    pool.props.timeout = 5
    assert pool.props.timeout == 5
    assert pool.retire() and not pool.get_broken() and not pool.props.broken
    assert Afork.cpu_count() >= 1
    context.close()


def test_pool_ends():
    context = new_context()
    pool = Afork.Pool.new(process(context), "leave", Afork.PoolOptions(max=1, queue_max=2, load=1))
    exits, told = [], []
    pool.connect("worker-exited", lambda pool, worker, end: exits.append(
        (worker.get_pid() > 0, end.get_status(), end.get_stderr_tail())))
    pool.connect("drain", lambda pool: told.append("drain"))
    pool.connect("destroyed", lambda pool: told.append("destroyed"))
    under_way = [Call(pool, "strv", ["7"]) for i in range(3)]
    fails(Afork.error_quark(), Afork.Error.EXITED, under_way[0].finish)
    assert Afork.call_get_exit(under_way[0].result).get_status() == 7
    wait(lambda: exits)
    assert exits[0] == (True, 7, "leaving")
    fails_io(Gio.IOErrorEnum.NO_SPACE, under_way[2].finish)
    fails(Afork.error_quark(), Afork.Error.EXITED, under_way[1].finish)
    wait(lambda: "drain" in told)
    pool.cancel()
    wait(lambda: "destroyed" in told)
    fails_io(Gio.IOErrorEnum.BROKEN_PIPE, call, pool, "strv", [])

    pool = Afork.Pool.new(process(context), "not::there", Afork.PoolOptions(max=1, max_failures=1))
    notified = []
    pool.connect("notify::broken", lambda pool, pspec: notified.append(pool.props.broken))
    assert "not::there" in fails(Afork.error_quark(), Afork.Error.BROKEN, call, pool, "strv", [])
    assert notified == [True] and "not::there" in pool.get_failure() == pool.props.failure
    fails(Afork.error_quark(), Afork.Error.BROKEN, call, pool, "strv", [])
    assert pool.reset()
    context.close()


def test_remote():
    context = new_context()
    options = Afork.RemoteOptions(start_timeout=20000000, noise_max=9, strict=True)
    p = options.props
    assert (p.start_timeout, p.noise_max, p.strict) == (20000000, 9, True)
    assert Afork.RemoteOptions.new().props.noise_max == 65536
    made = Afork.Process.new_remote(context, [SYSTEM_PERL], options)
    made.eval("sub twice { 2 * $_[0] }", None)
    assert call(Afork.Rpc.new(made, "twice", None), "strv", ["21"]) == ["42"]
    fails_io(Gio.IOErrorEnum.INVALID_ARGUMENT, Afork.Process.new_remote, context, [], None)
    ours, theirs = socket.socketpair()
    perl = subprocess.Popen([SYSTEM_PERL], stdin=theirs, stdout=theirs)
    theirs.close()
    data = []

    def connect(*user_data):
        data.append(user_data)
        return Gio.Socket.new_from_fd(os.dup(ours.fileno()))

    made = Afork.Process.new_connected(context, connect, None, None)
    made.eval("sub twice { 2 * $_[0] }", None)
    assert call(Afork.Rpc.new(made, "twice", None), "strv", ["21"]) == ["42"]
    assert len(data) == 1
    context.close()
    ours.close()
    perl.wait()


def test_event_descriptors():
    """An event brings a descriptor, and the handler owns it."""
    context = new_context()
    rpc = Afork.Rpc.new(process(context), "tell_file", None)
    told = []
    rpc.connect("event", lambda rpc, octets, fds: told.append((Afork.bytes_to_strv(octets), fds)))
    assert call(rpc, "strv", ["some text"]) == []
    strings, fds = told[0]
    assert strings == ["file"] and fds.get_length() == 1
    fd = fds.get(0)
    assert os.pread(fd, 99, 0) == b"some text"
    os.close(fd)
    context.close()


def test_released():
    """What was passed as a callback is let go of: after its only call, with the object it belongs
    to, or when it cannot be called any more."""
    class Held:
        pass

    def keep(found):
        held.append(weakref.ref(found))
        return lambda *arguments: (found, None)[1]

    held = []
    context = new_context()
    rpc = Afork.Rpc.new(process(context), "echo", None)
    rpc.connect("ended", keep(Held()))
    options = Afork.CallOptions()
    options.connect("event", keep(Held()))
    done = []
    for i in range(3):
        cancellable = Gio.Cancellable()
        rpc.call_strv_async(["x"], options, cancellable,
                            lambda source, result, note=keep(Held()): done.append(result))
        if i == 1:
            cancellable.cancel()
        if i == 2:
            rpc.close()
    wait(lambda: len(done) == 3)
    made = Afork.Process.new_connected(context, keep(Held()), None, None)
    made.close()
    assert len(held) == 6
    del made
    wait(lambda: held[-1]() is None)  # while the context is there
    del rpc, options, done
    context.close()
    del context
    wait(lambda: gc.collect() is None or not GLib.MainContext.default().iteration(False))
    assert [ref() for ref in held] == [None] * 6, held


def test_dropped():
    """What was asked for happens, although nobody holds what was asked."""
    context = new_context()
    results = []

    def start():
        rpc = Afork.Rpc.new(process(context), "sum", None)
        pool = Afork.Pool.new(process(context), "sum", None)
        for target in rpc, pool:
            for i in range(20):
                target.call_strv_async([str(i), "1"], None, None, lambda target, result:
                                       results.append(target.call_strv_finish(result)))
    start()
    wait(lambda: len(results) == 40)
    assert sorted(int(r[0]) for r in results) == sorted(list(range(1, 21)) * 2)
    context.close()


if not os.path.exists(PERL):
    print("1..0 # SKIP afork-perl was not built")
    sys.exit(0)
main(globals())
