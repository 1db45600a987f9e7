// SPDX-License-Identifier: MIT
//
// Every call, property and signal of GAforkRpc and GAforkPool, from Vala by the VAPI. TAP.

const int SECONDS = 60;
const string CODE = """
sub echo { @_ } sub sum { my $n = 0; $n += $_ for @_; $n }
sub bad { die "$_[0]\n" } sub object { die { reason => $_[0] } }
sub leave { syswrite STDERR, "leaving\n"; exit $_[0] }
sub nap {
    AFork::RPC::event($_[0]);
    AFork::RPC::flush();
    select undef, undef, undef, $_[0] / 1000;
    $_[0]
}
sub slurp { my $fh = pop; local $/; scalar <$fh> }
sub open_file {
    open my $fh, '+>', undef or die $!;
    syswrite $fh, $_[0];
    seek $fh, 0, 0;
    ('here', $fh)
}
sub tell_file {
    open my $fh, '+>', undef or die $!;
    syswrite $fh, $_[0];
    AFork::RPC::event('file', $fh);
    ()
}
my @args; sub begin { @args = @_ } sub args { @args }
""";
string PERL;

delegate bool Condition ();

// Turns the main context until the condition holds.
void wait_for (Condition condition)
{
    bool late = false;
    var timer = Timeout.add_seconds (SECONDS, () => {
        late = true;
        return Source.CONTINUE;
    });
    while (!condition ()) {
        assert (!late);
        MainContext.default ().iteration (true);
    }
    Source.remove (timer);
}

Afork.Context new_context ()
{
    return (Afork.Context) Object.new (typeof (Afork.Context), perl: PERL,
        standard_error: Afork.Stdio.TAIL);
}

Afork.Process new_process (Afork.Context context) throws Error
{
    var process = new Afork.Process (context);
    process.eval (CODE, null);
    return process;
}

string[] call (Afork.Callable target, string[] arguments, Afork.CallOptions? options = null,
    Cancellable? cancellable = null) throws Error
{
    AsyncResult? result = null;
    target.call_strv_async.begin (arguments, options, cancellable,
        (source, res) => { result = res; });
    wait_for (() => result != null);
    return target.call_strv_async.end (result);
}

Variant call_variant (Afork.Callable target, Variant arguments, Afork.CallOptions? options = null)
    throws Error
{
    AsyncResult? result = null;
    target.call_variant_async.begin (arguments, options, null, (source, res) => { result = res; });
    wait_for (() => result != null);
    return target.call_variant_async.end (result);
}

string text (Bytes octets) throws Error
{
    return string.joinv (",", Afork.bytes_to_strv (octets));
}

async string call_later (Afork.Callable target, string argument) throws Error
{
    var octets = yield target.call_bytes_async (Afork.strv_to_bytes ({argument}), null, null);
    return text (octets);
}

void test_forms () throws Error
{
    var context = new_context ();
    var rpc = new Afork.Rpc (new_process (context), "echo", null);
    assert (string.joinv (",", call (rpc, {"one", "", "zwölf"})) == "one,,zwölf");
    assert (rpc.get_function () == "echo" && rpc.function == "echo");
    assert (rpc.get_process () == rpc.process);
    AsyncResult? result = null;
    call_later.begin (rpc, "later", (source, res) => { result = res; });
    assert (rpc.get_pending () == 1);
    wait_for (() => result != null);
    assert (call_later.end (result) == "later");
    AsyncResult? bytes = null;
    rpc.call_bytes_async.begin (Afork.strv_to_bytes ({"a"}), null, null,
        (source, res) => { bytes = res; });
    wait_for (() => bytes != null);
    assert (text (rpc.call_bytes_async.end (bytes)) == "a");
    var raw = new Variant.parsed ("[b'ab', b'']");
    var packed = Afork.variant_to_bytes (raw, Afork.Serialiser.OCTETS);
    assert (Afork.bytes_to_variant (packed, Afork.Serialiser.OCTETS, null).equal (raw));
    assert (call_variant (rpc, raw).equal (raw));
    context.close ();
}

void test_variants () throws Error
{
    var context = new_context ();
    var options = new Afork.RpcOptions ();
    options.serialiser = Afork.Serialiser.JSON;
    var rpc = new Afork.Rpc (new_process (context), "echo", options);
    assert (call_variant (rpc, new Variant ("(isd)", 1, "x", 2.5)).print (false) ==
        "[<int64 1>, <'x'>, <2.5>]");
    var how = new Afork.CallOptions ();
    how.result_type = new VariantType ("(us)");
    assert (how.result_type.dup_string () == "(us)");
    assert (call_variant (rpc, new Variant ("(is)", 1, "x"), how).get_type_string () == "(us)");
    context.close ();
}

void test_options () throws Error
{
    var rpc = new Afork.RpcOptions ();
    assert (rpc.init == null && rpc.done == null && rpc.serialiser_code == null);
    rpc.asynchronous = rpc.exceptions_end = true;
    rpc.reply_max = 5;
    rpc.frames = Afork.Frames.ORIGINAL;
    rpc.serialiser_code = "x";
    rpc.init = "a";
    rpc.done = "b";
    assert (rpc.asynchronous && rpc.exceptions_end && rpc.reply_max == 5);
    assert (rpc.frames == Afork.Frames.ORIGINAL && rpc.serialiser == Afork.Serialiser.OCTETS);
    assert (rpc.serialiser_code + rpc.init + rpc.done == "xab");

    var pool = new Afork.PoolOptions ();
    assert (pool.rpc == null && pool.limits == null && pool.start == 100000);
    pool.rpc = rpc;
    pool.limits = new Afork.Limits ();
    pool.max = 4;
    pool.idle = 1;
    pool.load = 3;
    pool.start = 1000;
    pool.stop = 2000;
    pool.single_call = true;
    pool.queue_max = 9;
    pool.retire_calls = 10;
    pool.retire_age = 11;
    pool.retire_memory = 12;
    pool.crash = Afork.Crash.RETRY_ONCE;
    pool.max_failures = 2;
    pool.spares = 1;
    assert (pool.rpc == rpc && pool.limits != null && pool.max == 4 && pool.idle == 1);
    assert (pool.load == 3 && pool.start == 1000 && pool.stop == 2000 && pool.single_call);
    assert (pool.queue_max == 9 && pool.retire_calls == 10 && pool.retire_age == 11);
    assert (pool.retire_memory == 12 && pool.crash == Afork.Crash.RETRY_ONCE);
    assert (pool.max_failures == 2 && pool.spares == 1);

    var how = new Afork.CallOptions ();
    assert (how.fd_list == null && how.result_type == null);
    how.timeout = 5;
    how.run_timeout = 6;
    how.priority = -7;
    assert (how.cancel_mode == Afork.CancelMode.ABANDON);
    how.cancel_mode = Afork.CancelMode.KILL;
    assert (how.timeout == 5 && how.run_timeout == 6 && how.priority == -7);
    assert (how.cancel_mode == Afork.CancelMode.KILL);
}

void test_descriptors () throws Error
{
    var context = new_context ();
    var opener = new Afork.Rpc (new_process (context), "open_file", null);
    AsyncResult? result = null;
    opener.call_fds_async.begin (Afork.strv_to_bytes ({"some text"}), null, null,
        (source, res) => { result = res; });
    wait_for (() => result != null);
    UnixFDList? list;
    assert (text (opener.call_fds_async.end (result, out list)) == "here");
    assert (list.get_length () == 1);
    var reader = new Afork.Rpc (new_process (context), "slurp", null);
    var how = new Afork.CallOptions ();
    how.fd_list = list;
    assert (call (reader, {}, how)[0] == "some text");
    context.close ();
}

void test_exceptions () throws Error
{
    var context = new_context ();
    var options = new Afork.RpcOptions ();
    options.serialiser = Afork.Serialiser.JSON;
    var rpc = new Afork.Rpc (new_process (context), "object", options);
    AsyncResult? result = null;
    rpc.call_variant_async.begin (new Variant ("(s)", "x"), null, null,
        (source, res) => { result = res; });
    wait_for (() => result != null);
    try {
        rpc.call_variant_async.end (result);
        assert_not_reached ();
    } catch (Afork.Error.DIED error) {
        var exception = Afork.bytes_to_variant (Afork.call_get_exception (result),
            Afork.Serialiser.JSON, null);
        assert (exception.print (false) == "[<{'reason': <'x'>}>]");
        assert (Afork.call_get_exit (result) == null);
    }
    rpc = new Afork.Rpc (new_process (context), "bad", null);
    for (int i = 0; i < 2; i++)
        try {
            call (rpc, {"über"});
            assert_not_reached ();
        } catch (Afork.Error.DIED error) {
            assert (error.message == "über");
        }
    context.close ();
}

void test_end () throws Error
{
    var context = new_context ();
    var process = new_process (context);
    process.send_arg ("one");
    var options = new Afork.RpcOptions ();
    options.init = "begin";
    var rpc = new Afork.Rpc (process, "args", options);
    assert (call (rpc, {})[0] == "one");
    int told = 0;
    rpc.ended.connect ((error, end) => {
        assert (error == null && end.get_status () == 0);
        told++;
    });
    rpc.finish ();
    wait_for (() => told == 1);
    rpc = new Afork.Rpc (new_process (context), "leave", null);
    rpc.ended.connect ((error, end) => {
        assert (error is Afork.Error.EXITED && end.get_stderr_tail () == "leaving");
        told++;
    });
    try {
        call (rpc, {"3"});
        assert_not_reached ();
    } catch (Afork.Error.EXITED error) {
    }
    wait_for (() => told == 2);
    context.close ();
}

void test_events () throws Error
{
    var context = new_context ();
    var rpc = new Afork.Rpc (new_process (context), "nap", null);
    string of_rpc = "", of_call = "";
    rpc.event.connect ((octets, list) => {
        try {
            of_rpc += text (octets);
        } catch (Error error) {
            assert_not_reached ();
        }
    });
    var how = new Afork.CallOptions ();
    how.event.connect ((octets, list) => {
        try {
            of_call += text (octets);
        } catch (Error error) {
            assert_not_reached ();
        }
    });
    how.begun.connect (() => { of_call += "begun "; });
    call (rpc, {"1"}, how);
    call (rpc, {"2"});
    assert (of_call == "begun 1" && of_rpc == "2");
    rpc.timeout = 1000;
    assert (rpc.timeout == 1000);
    try {
        call (rpc, {"100"});
        assert_not_reached ();
    } catch (IOError.TIMED_OUT error) {
    }
    context.close ();
}

void test_event_descriptors () throws Error
{
    var context = new_context ();
    var rpc = new Afork.Rpc (new_process (context), "tell_file", null);
    string told = "";
    rpc.event.connect ((octets, list) => {
        try {
            var stream = FileStream.fdopen (list.get (0), "r");
            stream.seek (0, FileSeek.SET);
            told = text (octets) + " " + stream.read_line ();
        } catch (Error error) {
            told = error.message;
        }
    });
    assert (call (rpc, {"some text"}).length == 0);
    assert (told == "file some text");
    context.close ();
}

class Held : Object {
    public static int left = 0;
    public Held () { left++; }
    ~Held () { left--; }
    public Socket? connection () { return null; }
}

// What a callback has is let go of: of a call, of a signal, of a process that is connected to.
void test_released () throws Error
{
    {
        var context = new_context ();
        var rpc = new Afork.Rpc (new_process (context), "nap", null);
        var of_call = new Held ();
        var of_signal = new Held ();
        bool done = false;
        rpc.event.connect (() => { assert (of_signal != null); });
        rpc.call_strv_async.begin ({"1"}, null, null, (source, res) => {
            assert (of_call != null);
            done = true;
        });
        wait_for (() => done);
        var of_process = new Held ();
        new Afork.Process.connected (context, () => of_process.connection (), null).close ();
        assert (Held.left == 3);
        rpc.close ();
        context.close ();
    }
    wait_for (() => !MainContext.default ().iteration (false));
    assert (Held.left == 0);
}

void test_cancel_and_close () throws Error
{
    var context = new_context ();
    Afork.Callable[] targets = {
        new Afork.Rpc (new_process (context), "nap", null),
        new Afork.Pool (new_process (context), "nap", null)
    };
    foreach (var target in targets) {
        var cancellable = new Cancellable ();
        Idle.add (() => {
            cancellable.cancel ();
            return Source.REMOVE;
        });
        try {
            call (target, {"60000"}, null, cancellable);
            assert_not_reached ();
        } catch (IOError.CANCELLED error) {
        }
        int closed = 0;
        for (int i = 0; i < 1000; i++)
            target.call_strv_async.begin ({"60000"}, null, null, (source, res) => {
                try {
                    target.call_strv_async.end (res);
                } catch (IOError.CLOSED error) {
                    closed++;
                } catch (Error error) {
                    assert_not_reached ();
                }
            });
        target.close ();
        wait_for (() => closed == 1000);
    }
    context.close ();
}

void test_pool () throws Error
{
    var context = new_context ();
    var options = new Afork.PoolOptions ();
    options.max = 2;
    options.start = 0;
    options.load = 1;
    var pool = new Afork.Pool (new_process (context), "nap", options);
    int started = 0, events = 0, notified = 0, done = 0, items = 0;
    var workers = pool.get_workers ();
    assert (workers.get_n_items () == 0 && workers.get_item (0) == null);
    assert (workers.get_item_type () == typeof (Afork.Worker));
    workers.items_changed.connect ((position, removed, added) => {
        items += (int) added - (int) removed;
    });
    pool.worker_started.connect ((worker) => {
        assert (worker.get_pid () > 0 && worker.pid == worker.get_pid ());
        started++;
    });
    pool.event.connect ((pid, octets, list) => {
        assert (pid > 0);
        events++;
    });
    pool.notify["n-busy"].connect (() => { notified++; });
    for (int i = 0; i < 20; i++)
        pool.call_strv_async.begin ({"1"}, null, null, (source, res) => {
            try {
                assert (pool.call_strv_async.end (res)[0] == "1");
                done++;
            } catch (Error error) {
                assert_not_reached ();
            }
        });
    wait_for (() => pool.get_n_busy () == 2);
    assert (pool.n_busy == 2 && pool.get_n_workers () == 2 && pool.n_workers == 2);
    assert (pool.get_n_running () == 2 && pool.n_running == 2);
    assert (pool.get_n_queued () > 0 && pool.n_queued == pool.get_n_queued ());
    assert (workers == pool.get_workers () && workers == pool.workers && workers.get_n_items () == 2);
    var worker = (Afork.Worker) workers.get_item (0);
    assert (worker.get_calls () <= 1 && worker.calls == worker.get_calls ());
    wait_for (() => done == 20 && pool.n_running == 0);
    var s = pool.get_stats ();
    assert (s.workers == 2 && s.busy == 0 && s.queued == 0 && s.running == 0);
    assert (s.completed == 20 && s.failed == 0 && s.timed_out == 0 && s.cancelled == 0);
    assert (s.retried == 0 && s.started == 2 && s.crashed == 0 && s.retired == 0);
    assert (started == 2 && events == 20 && notified >= 2);
    assert (pool.get_function () == "nap" && pool.function == "nap");
    assert (pool.get_max () == 2 && pool.max == 2 && pool.get_idle () == 0 && pool.idle == 0);
    assert (pool.get_load () == 1 && pool.load == 1);
    assert (pool.set_size (3, 1, 2) && pool.max == 3);
    pool.max = 5;
    pool.idle = 2;
    pool.load = 4;
    assert (pool.get_max () == 5 && pool.get_idle () == 2 && pool.get_load () == 4);
    wait_for (() => workers.get_n_items () == 2);
    assert (items == 2);
    assert (pool.retire () && !pool.get_broken () && !pool.broken);
    assert (Afork.cpu_count () >= 1);
    context.close ();
}

void test_pool_ends () throws Error
{
    var context = new_context ();
    var options = new Afork.PoolOptions ();
    options.max = 1;
    options.load = 1;
    options.queue_max = 2;
    var pool = new Afork.Pool (new_process (context), "leave", options);
    int exits = 0, drains = 0, destroyed = 0, failed = 0, full = 0;
    pool.worker_exited.connect ((worker, end) => {
        assert (end.get_status () == 7 && end.get_stderr_tail () == "leaving");
        exits++;
    });
    pool.drain.connect (() => { drains++; });
    pool.destroyed.connect (() => { destroyed++; });
    for (int i = 0; i < 3; i++)
        pool.call_strv_async.begin ({"7"}, null, null, (source, res) => {
            try {
                pool.call_strv_async.end (res);
                assert_not_reached ();
            } catch (IOError.NO_SPACE error) {
                full++;
            } catch (Afork.Error error) {
                failed++;
            } catch (Error error) {
                assert_not_reached ();
            }
        });
    wait_for (() => exits > 0 && drains == 1 && failed + full == 3);
    assert (full == 1);
    pool.cancel ();
    wait_for (() => destroyed == 1);

    options = new Afork.PoolOptions ();
    options.max_failures = 1;
    pool = new Afork.Pool (new_process (context), "not::there", options);
    try {
        call (pool, {});
        assert_not_reached ();
    } catch (Afork.Error.BROKEN error) {
    }
    assert (pool.broken && "not::there" in pool.failure && pool.get_failure () == pool.failure);
    assert (pool.reset ());
    context.close ();
}

void test_remote () throws Error
{
    var context = new_context ();
    var options = new Afork.RemoteOptions ();
    options.start_timeout = 20000000;
    options.noise_max = 9;
    options.strict = true;
    assert (options.start_timeout == 20000000 && options.noise_max == 9 && options.strict);
    var process = new Afork.Process.remote (context, {Environment.get_variable ("PERL") ?? "perl"},
        options);
    process.eval ("sub twice { 2 * $_[0] }", null);
    assert (call (new Afork.Rpc (process, "twice", null), {"21"})[0] == "42");
    int calls = 0;
    process = new Afork.Process.connected (context, () => {
        calls++;
        return null;
    }, null);
    try {
        call (new Afork.Rpc (process, "twice", null), {"21"});
        assert_not_reached ();
    } catch (Afork.Error.START error) {
        assert (calls == 1);
    }
    context.close ();
}

delegate void Body () throws Error;

void add (string name, owned Body body)
{
    Test.add_data_func ("/gafork/vala/calls/" + name, () => {
        if (!FileUtils.test (PERL, FileTest.IS_EXECUTABLE)) {
            Test.skip ("afork-perl was not built");
            return;
        }
        try {
            body ();
        } catch (Error error) {
            Test.message ("%s", error.message);
            Test.fail ();
        }
    });
}

int main (string[] args)
{
    PERL = Environment.get_variable ("AFORK_PERL");
    Test.init (ref args);
    add ("forms", test_forms);
    add ("variants", test_variants);
    add ("options", test_options);
    add ("descriptors", test_descriptors);
    add ("exceptions", test_exceptions);
    add ("end", test_end);
    add ("events", test_events);
    add ("event-descriptors", test_event_descriptors);
    add ("released", test_released);
    add ("cancel-and-close", test_cancel_and_close);
    add ("pool", test_pool);
    add ("pool-ends", test_pool_ends);
    add ("remote", test_remote);
    return Test.run ();
}
