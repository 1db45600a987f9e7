# SPDX-License-Identifier: MIT
#
# Every call, property and signal of the GObject layer, from Python by the typelib. TAP.

import json
import os
import signal
import tempfile
import time

import gi

gi.require_version("Afork", "1.0")
from gi.repository import Afork, Gio, GLib

from gafork_lib import main, record, wait

record()

BUILD = os.environ["AFORK_TEST_BUILDDIR"]
FAKE = BUILD + "/tests/fake-server"
PERL = os.environ["AFORK_PERL"]


def outcome(start, finish, *arguments):
    """What an asynchronous call returns, or raises."""
    results = []
    start(*arguments, lambda source, result: results.append(result))
    wait(lambda: results)
    return finish(results[0])


def run(process, function, cancellable=None):
    return outcome(process.run_async, process.run_finish, function, cancellable)


def wait_exit(process, cancellable=None):
    return outcome(process.wait_async, process.wait_finish, cancellable)


def read(connection):
    stream = connection.get_input_stream()
    data = b""
    while chunk := outcome(stream.read_bytes_async, stream.read_bytes_finish, 65536,
                           GLib.PRIORITY_DEFAULT, None).get_data():
        data += chunk
    return data


def fails(domain, code, function, *arguments):
    try:
        function(*arguments)
    except GLib.Error as error:
        assert error.matches(domain, code), error
        return error.message
    raise AssertionError("it did not fail")


def fake(**options):
    return Afork.Context(perl=FAKE, **options)


def test_options():
    main_context = GLib.MainContext.default()
    with open("/dev/null", "rb") as null, open("/dev/null", "wb") as other:
        context = fake(include_dirs=["/first"], environment=["ONE=1"],
                       environment_changes=["TWO=2"], working_directory="/",
                       standard_input=Afork.Stdio.INHERIT, standard_output=Afork.Stdio.NULL,
                       standard_error=Afork.Stdio.DEFAULT, new_session=True,
                       threads=Afork.Threads.REFUSE, priority=GLib.PRIORITY_LOW,
                       main_context=main_context)
        with_fds = fake(standard_input_fd=null.fileno(), standard_output_fd=other.fileno(),
                        standard_error_fd=other.fileno())
    p = context.props
    assert p.include_dirs == ["/first"]
    assert p.environment == ["ONE=1"]
    assert p.environment_changes == ["TWO=2"]
    assert p.working_directory == "/"
    assert p.standard_input == Afork.Stdio.INHERIT
    assert p.standard_output == Afork.Stdio.NULL
    assert p.standard_error == Afork.Stdio.DEFAULT
    assert p.new_session and p.threads == Afork.Threads.REFUSE
    assert p.priority == context.get_priority() == GLib.PRIORITY_LOW
    assert p.main_context == context.get_main_context() == main_context
    assert p.peer == Afork.Peer.OWN and p.serve_module is None
    assert p.perl == context.get_perl() == FAKE
    text = read(run(Afork.Process.new_exec(context), "surroundings"))
    for line in b"argv -I", b"argv /first", b"env ONE=1", b"env TWO=2", b"cwd /", b"session 1":
        assert line in text.split(b"\n"), line
    assert with_fds.props.standard_input == Afork.Stdio.FD
    assert b"\n2 /dev/null\n" in read(run(Afork.Process.new(with_fds), "descriptors"))
    with_fds.close()
    context.close()


def test_perl_property():
    context = Afork.Context.new()
    names = []
    for name in "perl", "peer", "serve-module":
        context.connect("notify::" + name, lambda context, pspec: names.append(pspec.name))
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_ARGUMENT, context.set_perl, "/nowhere",
          Afork.Peer.OWN, "Module")
    assert context.set_perl("/nowhere", Afork.Peer.ORIGINAL, "Module")
    assert sorted(names) == ["peer", "perl", "serve-module"]
    assert context.props.peer == Afork.Peer.ORIGINAL and context.props.serve_module == "Module"
    text = fails(Gio.io_error_quark(), Gio.IOErrorEnum.NOT_FOUND, Afork.Process.new_exec, context)
    assert "/nowhere" in text
    context.close()


def test_peer():
    context = Afork.Context(perl=FAKE, peer=Afork.Peer.ORIGINAL, serve_module="Some::Serve")
    assert context.props.peer == Afork.Peer.ORIGINAL
    assert context.props.serve_module == "Some::Serve"
    context.close()


def test_default():
    os.environ["AFORK_PERL"] = FAKE
    context = Afork.Context.get_default()
    process = Afork.Process.new(None)
    os.environ["AFORK_PERL"] = PERL
    assert process.get_context() == process.props.context == context
    context.close()
    assert Afork.Context.get_default() != context
    Afork.Context.get_default().close()


def test_commands():
    context = fake()
    template = Afork.Process.new(context)
    template.eval("code", None)
    template.eval("list", ["one", "zwölf"])
    template.eval_bytes(GLib.Bytes.new(b"bytes"), GLib.Variant("aay", [b"\x01\xff", b"x"]))
    template.eval_bytes(GLib.Bytes.new(b"alone"), None)
    template.require(["Some::Module"])
    template.set_exit_mode(Afork.ExitMode.QUICK)
    template.end_with_host()
    process = template.fork()
    process.send_arg("text")
    process.send_bytes(GLib.Bytes.new(b"\xfe"))
    with open("/dev/null") as null:
        process.send_fd(null.fileno())
    connection = run(process, "dump")
    assert isinstance(connection, Gio.UnixConnection)
    text = read(connection)
    assert text.startswith(b"code code\ncode list\nwith one\nwith zw\xc3\xb6lf\n"
                           b"code bytes\nwith \x01\xff\nwith x\ncode alone\n"), text
    assert b"with Some/Module\nexit-mode 1\nlifeline pipe\narg text\narg \xfe\nfd " in text, text
    context.close()


def test_spares():
    context = fake(spares=2)
    template = Afork.Process.new(context)
    assert context.props.spares == 2
    wait(lambda: context.get_spare_stats().ready == 2)
    Afork.Process.new(context)
    stats = context.get_spare_stats()
    assert (stats.hits, stats.misses, stats.lost) == (1, 1, 0)
    assert template.set_spares(1)
    wait(lambda: template.get_spare_stats().ready == 1)
    template.eval("code", None)
    assert template.get_spare_stats().renewals == 1
    assert read(run(template.fork(), "dump")) == b"code code\n"
    dump = json.loads(context.dump())
    assert dump["host"] == os.getpid() and dump["spares"]["hits"] == 1
    context.close()
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.CLOSED, context.dump)


def test_limits():
    limits = Afork.Limits.new()
    assert limits.props.read_paths == [] == limits.props.write_paths  # of NULL, too
    limits = Afork.Limits(memory=1 << 40, cpu_seconds=2, file_size=3, open_files=20, nice=4,
                          no_new_privileges=True, no_network=True, no_new_processes=True, no_signals=True,
                          read_paths=["/usr", "/etc"], write_paths=[],
                          unsupported=Afork.Unsupported.WARN, forks_only=True)
    p = limits.props
    assert (p.memory, p.cpu_seconds, p.file_size, p.open_files, p.nice) == (1 << 40, 2, 3, 20, 4)
    assert p.no_new_privileges and p.no_network and p.no_new_processes and p.no_signals and p.forks_only
    assert p.read_paths == ["/usr", "/etc"] and p.write_paths == []
    assert p.unsupported == Afork.Unsupported.WARN
    context = fake()
    process = Afork.Process.new(context)
    assert process.set_limits(limits)
    p.forks_only, p.nice, p.read_paths = False, 0, ["relative"]
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_ARGUMENT, process.set_limits, limits)
    assert read(run(process, "dump")) == (
        b"limits flags ff nice 4 1099511627776 2 3 20 r/usr r/etc\n")
    process = Afork.Process.new(context)
    process.eval("error 6 limits: nice: no", None)
    assert fails(Afork.error_quark(), Afork.Error.LIMITS, run, process, "dump") == "limits: nice: no"
    context.close()


def test_errors():
    context = fake()
    domain = Afork.error_quark()
    assert domain == Afork.Error.quark()
    process = Afork.Process.new(context)
    process.eval("die for a reason", None)
    assert fails(domain, Afork.Error.EVAL, run, process, "dump") == "for a reason"
    process = Afork.Process.new(context)
    process.require(["Missing"])
    assert "Missing.pm" in fails(domain, Afork.Error.REQUIRE, run, process, "dump")
    text = fails(domain, Afork.Error.FUNCTION, run, Afork.Process.new(context), "nothing")
    assert "nothing" in text
    process = Afork.Process.new(context)
    connection = run(process, "hold")
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_ARGUMENT, process.eval, "1", None)
    context.close()


def test_end():
    context = fake()
    process = Afork.Process.new(context)
    told = []
    process.connect("exited", lambda process, end: told.append(end))
    process.connect("notify::exit", lambda process, pspec: told.append(pspec.name))
    process.send_arg("7")
    assert process.get_exit() is None and process.props.exit is None
    connection = run(process, "exit")
    end = wait_exit(process)
    assert told[0] == "exit" and told[1].get_status() == 7
    assert end.get_cause() == Afork.Cause.EXITED and end.get_status() == 7
    assert os.WEXITSTATUS(end.get_wait_status()) == 7
    assert end.get_message() == "exited with status 7"
    assert end.get_user_time() >= 0 and end.get_system_time() >= 0
    assert end.get_max_rss() > 100000
    assert end.get_stderr_tail() == ""
    assert process.get_exit().get_status() == process.props.exit.get_status() == 7
    context.close()


def test_pids_and_signals():
    context = fake()
    executed = Afork.Process.new_exec(context)
    names = []
    for name in "pid", "peer-pid":
        executed.connect("notify::" + name, lambda process, pspec: names.append(pspec.name))
    assert executed.props.pid == executed.get_pid() > 0
    assert executed.props.peer_pid == executed.get_peer_pid() == executed.get_pid()
    assert executed.kill(signal.SIGKILL)
    end = wait_exit(executed)
    assert end.get_cause() in (Afork.Cause.SIGNALLED, Afork.Cause.START)
    assert end.get_status() == signal.SIGKILL
    assert executed.get_pid() == 0 and sorted(names) == ["peer-pid", "pid"]
    context.close()


def test_cancel():
    context = fake()
    process = Afork.Process.new(context)
    cancellable = Gio.Cancellable()
    cancellable.cancel()
    domain, code = Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED
    fails(domain, code, run, process, "hold", cancellable)
    fails(domain, code, wait_exit, process, cancellable)
    cancellable.reset()
    results = []
    process.run_async("hold", cancellable, lambda source, result: results.append(result))
    cancellable.cancel()
    wait(lambda: results)
    fails(domain, code, process.run_finish, results[0])
    assert wait_exit(process).get_status() == 0
    context.close()


def test_cancel_late():
    """The connection has come, but nobody is to have it: the function meets its end of file."""
    if not os.path.exists(PERL):
        return "afork-perl was not built"
    context = Afork.Context(perl=PERL)
    process = Afork.Process.new(context)
    cancellable = Gio.Cancellable()
    results = []
    with tempfile.TemporaryDirectory() as top:
        process.eval("sub hold { open my $f, '>', $_[1]; sysread $_[0], my $octet, 1; exit 7 }", None)
        process.send_arg(top + "/entered")
        process.run_async("hold", cancellable, lambda source, result: results.append(result))
        deadline = time.monotonic() + 60
        while not os.path.exists(top + "/entered"):  # what tells it waits for the loop
            assert time.monotonic() < deadline
            time.sleep(0.001)
        cancellable.cancel()
        wait(lambda: results)
        fails(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED, process.run_finish, results[0])
        assert wait_exit(process).get_status() == 7
    context.close()


def test_close():
    context = fake()
    process = Afork.Process.new(context)
    results = []
    process.run_async("hold", None, lambda source, result: results.append(result))
    process.close()
    assert not results
    wait(lambda: results)
    domain, code = Gio.io_error_quark(), Gio.IOErrorEnum.CLOSED
    fails(domain, code, process.run_finish, results[0])
    fails(domain, code, process.send_arg, "x")
    context.close()
    fails(domain, code, Afork.Process.new, context)


def test_warning():
    context = fake()
    told = []
    context.connect("warning", lambda context, process, text: told.append((process, text)))
    process = Afork.Process.new(context)
    process.eval("warn beware", None)
    wait(lambda: told)
    assert told == [(process, "beware")]
    context.close()


def test_dropped_early():
    """What was asked for happens, although nobody holds the processes."""
    context = fake()
    results = []

    def start():
        template = Afork.Process.new(context)
        for i in range(20):
            process = template.fork()
            process.send_arg(str(i))
            process.run_async("dump", None, lambda process, result:
                              results.append(process.run_finish(result)))
    start()
    wait(lambda: len(results) == 20)
    texts = sorted(int(read(connection)[4:]) for connection in results)
    assert texts == list(range(20)), texts
    context.close()


def test_handover():
    context, other = fake(), fake()
    process = Afork.Process.new(context)
    process.eval("code", None)
    fd = outcome(process.to_fd_async, process.to_fd_finish, None)
    assert wait_exit(process).get_cause() == Afork.Cause.UNKNOWN
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_ARGUMENT, process.eval, "late", None)
    process = Afork.Process.new_from_fd(other, fd, Afork.Peer.OWN)
    assert read(run(process, "dump")) == b"code code\n"
    with open("/dev/null", "rb") as null:
        text = fails(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_ARGUMENT,
                     Afork.Process.new_from_fd, other, null.fileno(), Afork.Peer.OWN)
    assert "no server can be adopted here" in text
    context.close()
    other.close()


def test_perl():
    if not os.path.exists(PERL):
        return "afork-perl was not built"
    context = Afork.Context(perl=PERL)
    process = Afork.Process.new(context)
    process.eval("sub double { syswrite $_[0], 2 * $_[1] } die qq{$_[0]\\n}",
                 ["it's über"])
    assert fails(Afork.Error.quark(), Afork.Error.EVAL, run, process, "double") == "it's über"
    process = Afork.Process.new(context)
    process.eval("sub double { syswrite $_[0], 2 * $_[1] }", None)
    process.send_arg("21")
    assert read(run(process, "double")) == b"42"
    assert wait_exit(process).get_status() == 0
    context.close()


main(globals())
