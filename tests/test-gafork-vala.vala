// SPDX-License-Identifier: MIT
//
// Every call, property and signal of the GObject layer, from Vala by the VAPI. TAP.

const int SECONDS = 60;
string FAKE;
string PERL;

// Turns the main context until the condition holds.
delegate bool Condition ();

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

Afork.Context fake ()
{
    return (Afork.Context) Object.new (typeof (Afork.Context), perl: FAKE);
}

SocketConnection run (Afork.Process process, string name, Cancellable? cancellable = null) throws Error
{
    AsyncResult? result = null;
    process.run_async.begin (name, cancellable, (source, res) => { result = res; });
    wait_for (() => result != null);
    return process.run_async.end (result);
}

Afork.Exit wait_exit (Afork.Process process, Cancellable? cancellable = null) throws Error
{
    AsyncResult? result = null;
    process.wait_async.begin (cancellable, (source, res) => { result = res; });
    wait_for (() => result != null);
    return process.wait_async.end (result);
}

// Reads to the end; what is there already may be read without turning.
string slurp (SocketConnection connection) throws Error
{
    var text = new StringBuilder ();
    var buffer = new uint8[4096];
    ssize_t got;
    while ((got = connection.input_stream.read (buffer)) > 0)
        text.append_len ((string) buffer, got);
    return text.str;
}

async string slurp_later (Afork.Process process, string name) throws Error
{
    var connection = yield process.run_async (name, null);
    return slurp (connection);
}

void test_options () throws Error
{
    var directories = new string[] {"/first"};
    var environment = new string[] {"ONE=1"};
    var changes = new string[] {"TWO=2"};
    var main_context = MainContext.default ();
    var context = (Afork.Context) Object.new (typeof (Afork.Context),
        perl: FAKE, include_dirs: directories, environment: environment,
        environment_changes: changes, working_directory: "/",
        standard_input: Afork.Stdio.INHERIT, standard_output: Afork.Stdio.NULL,
        standard_error: Afork.Stdio.DEFAULT, new_session: true, threads: Afork.Threads.REFUSE,
        priority: Priority.LOW, main_context: main_context);
    assert (context.include_dirs[0] == "/first");
    assert (context.environment[0] == "ONE=1");
    assert (context.environment_changes[0] == "TWO=2");
    assert (context.working_directory == "/");
    assert (context.standard_input == Afork.Stdio.INHERIT);
    assert (context.standard_output == Afork.Stdio.NULL);
    assert (context.standard_error == Afork.Stdio.DEFAULT);
    assert (context.new_session && context.threads == Afork.Threads.REFUSE);
    assert (context.priority == Priority.LOW && context.get_priority () == Priority.LOW);
    assert (context.main_context == main_context && context.get_main_context () == main_context);
    assert (context.peer == Afork.Peer.OWN && context.serve_module == null);
    assert (context.perl == FAKE && context.get_perl () == FAKE);
    var lines = slurp (run (new Afork.Process.exec (context), "surroundings")).split ("\n");
    foreach (var line in new string[] {"argv -I", "argv /first", "env ONE=1", "env TWO=2", "cwd /"})
        assert (line in lines);
    var with_fds = (Afork.Context) Object.new (typeof (Afork.Context),
        perl: FAKE, standard_input_fd: 0, standard_output_fd: 2, standard_error_fd: 2);
    assert (with_fds.standard_input == Afork.Stdio.FD);
    with_fds.close ();
    context.close ();
}

void test_perl_property () throws Error
{
    var context = new Afork.Context ();
    var told = "";
    context.notify["perl"].connect (() => told += "perl ");
    context.notify["peer"].connect (() => told += "peer ");
    context.notify["serve-module"].connect (() => told += "serve-module ");
    try {
        context.set_perl ("/nowhere", Afork.Peer.OWN, "Module");
        assert_not_reached ();
    } catch (IOError.INVALID_ARGUMENT error) {
    }
    assert (context.set_perl ("/nowhere", Afork.Peer.ORIGINAL, "Module"));
    assert ("perl " in told && "peer " in told && "serve-module " in told);
    assert (context.peer == Afork.Peer.ORIGINAL && context.serve_module == "Module");
    try {
        new Afork.Process.exec (context);
        assert_not_reached ();
    } catch (IOError.NOT_FOUND error) {
        assert ("/nowhere" in error.message);
    }
    context.close ();
}

void test_peer () throws Error
{
    var context = (Afork.Context) Object.new (typeof (Afork.Context), perl: FAKE,
        peer: Afork.Peer.ORIGINAL, serve_module: "Some::Serve");
    assert (context.peer == Afork.Peer.ORIGINAL && context.serve_module == "Some::Serve");
    context.close ();
}

void test_default () throws Error
{
    Environment.set_variable ("AFORK_PERL", FAKE, true);
    var context = Afork.Context.get_default ();
    var process = new Afork.Process (null);
    Environment.set_variable ("AFORK_PERL", PERL, true);
    assert (process.get_context () == context && process.context == context);
    Afork.Context held = context;
    context.close ();
    assert (Afork.Context.get_default () != held);
    Afork.Context.get_default ().close ();
}

void test_commands () throws Error
{
    var context = fake ();
    var template = new Afork.Process (context);
    template.eval ("code", null);
    template.eval ("list", new string[] {"one", "zwölf"});
    template.eval_bytes (new Bytes ("bytes".data), new Variant.bytestring_array ({"x"}));
    template.eval_bytes (new Bytes ("alone".data), null);
    template.require (new string[] {"Some::Module"});
    template.set_exit_mode (Afork.ExitMode.QUICK);
    template.end_with_host ();
    var process = template.fork ();
    process.send_arg ("text");
    process.send_bytes (new Bytes ("octets".data));
    process.send_fd (0);
    var text = slurp (run (process, "dump"));
    assert (text.has_prefix ("code code\ncode list\nwith one\nwith zwölf\ncode bytes\nwith x\n"
                             + "code alone\n"));
    assert ("with Some/Module\nexit-mode 1\nlifeline pipe\narg text\narg octets\nfd " in text);
    context.close ();
}

void test_spares () throws Error
{
    var context = (Afork.Context) Object.new (typeof (Afork.Context), perl: FAKE, spares: 1);
    var template = new Afork.Process (context);
    assert (context.spares == 1);
    template.set_spares (1);
    template.eval ("code", null);
    assert (slurp (run (template.fork (), "dump")) == "code code\n");
    Afork.SpareStats stats = template.get_spare_stats ();
    assert (stats.hits + stats.misses == 1 && stats.lost == 0);
    assert (stats.ready <= 1 && stats.renewals <= 1);
    assert (context.get_spare_stats ().misses == 1);
    assert ("\"host\"" in context.dump ());
    context.close ();
}

void test_limits () throws Error
{
    var limits = new Afork.Limits ();
    assert (limits.read_paths == null && limits.write_paths == null);
    limits.memory = 1ULL << 40;
    limits.cpu_seconds = 2;
    limits.file_size = 3;
    limits.open_files = 20;
    limits.nice = 4;
    limits.no_new_privileges = limits.no_network = limits.no_new_processes = true;
    limits.no_signals = true;
    limits.read_paths = new string[] {"/usr", "/etc"};
    limits.write_paths = new string[] {};
    limits.unsupported = Afork.Unsupported.WARN;
    limits.forks_only = true;
    assert (limits.memory == 1ULL << 40 && limits.cpu_seconds == 2 && limits.file_size == 3);
    assert (limits.open_files == 20 && limits.nice == 4 && limits.forks_only);
    assert (limits.no_new_privileges && limits.no_network && limits.no_new_processes);
    assert (limits.no_signals);
    assert (limits.read_paths[1] == "/etc" && limits.unsupported == Afork.Unsupported.WARN);
    var context = fake ();
    var process = new Afork.Process (context);
    assert (process.set_limits (limits));
    limits.read_paths = new string[] {"relative"};
    try {
        process.set_limits (limits);
        assert_not_reached ();
    } catch (IOError.INVALID_ARGUMENT error) {
    }
    assert (slurp (run (process, "dump")) ==
        "limits flags ff nice 4 1099511627776 2 3 20 r/usr r/etc\n");
    process = new Afork.Process (context);
    process.eval ("error 6 limits: nice: no", null);
    try {
        run (process, "dump");
        assert_not_reached ();
    } catch (Afork.Error.LIMITS error) {
        assert (error.message == "limits: nice: no");
    }
    context.close ();
}

void test_errors () throws Error
{
    var context = fake ();
    assert (Afork.Error.quark ().to_string () == "gafork-error-quark");
    var process = new Afork.Process (context);
    process.eval ("die for a reason", null);
    try {
        run (process, "dump");
        assert_not_reached ();
    } catch (Afork.Error.EVAL error) {
        assert (error.message == "for a reason");
    }
    process = new Afork.Process (context);
    process.require (new string[] {"Missing"});
    try {
        run (process, "dump");
        assert_not_reached ();
    } catch (Afork.Error.REQUIRE error) {
        assert ("Missing.pm" in error.message);
    }
    try {
        run (new Afork.Process (context), "nothing");
        assert_not_reached ();
    } catch (Afork.Error.FUNCTION error) {
        assert ("nothing" in error.message);
    }
    context.close ();
}

void test_end () throws Error
{
    var context = fake ();
    var process = new Afork.Process (context);
    var told = "";
    process.exited.connect ((end) => told += "exited %d".printf (end.get_status ()));
    process.notify["exit"].connect (() => told += "exit ");
    process.send_arg ("7");
    assert (process.get_exit () == null && process.exit == null);
    var connection = run (process, "exit");
    var end = wait_exit (process);
    assert (told == "exit exited 7");
    assert (end.get_cause () == Afork.Cause.EXITED && end.get_status () == 7);
    assert (end.get_wait_status () == 7 << 8);
    assert (end.get_message () == "exited with status 7");
    assert (end.get_user_time () >= 0 && end.get_system_time () >= 0);
    assert (end.get_max_rss () > 100000);
    assert (end.get_stderr_tail () == "");
    assert (process.get_exit ().get_status () == 7 && process.exit.get_status () == 7);
    connection.close ();
    context.close ();
}

void test_pids_and_signals () throws Error
{
    var context = fake ();
    var process = new Afork.Process.exec (context);
    var told = 0;
    process.notify["pid"].connect (() => told += 1);
    process.notify["peer-pid"].connect (() => told += 10);
    assert (process.pid > 0 && process.get_pid () == process.pid);
    assert (process.peer_pid == process.pid && process.get_peer_pid () == process.pid);
    assert (process.kill (9));
    assert (wait_exit (process).get_status () == 9);
    assert (process.get_pid () == 0 && told == 11);
    context.close ();
}

void test_cancel () throws Error
{
    var context = fake ();
    var process = new Afork.Process (context);
    var cancellable = new Cancellable ();
    cancellable.cancel ();
    try {
        run (process, "hold", cancellable);
        assert_not_reached ();
    } catch (IOError.CANCELLED error) {
    }
    try {
        wait_exit (process, cancellable);
        assert_not_reached ();
    } catch (IOError.CANCELLED error) {
    }
    run (process, "hold").close ();
    assert (wait_exit (process).get_status () == 0);
    context.close ();
}

void test_close () throws Error
{
    var context = fake ();
    var process = new Afork.Process (context);
    AsyncResult? result = null;
    process.run_async.begin ("hold", null, (source, res) => { result = res; });
    process.close ();
    assert (result == null);
    wait_for (() => result != null);
    try {
        process.run_async.end (result);
        assert_not_reached ();
    } catch (IOError.CLOSED error) {
    }
    context.close ();
    try {
        new Afork.Process (context);
        assert_not_reached ();
    } catch (IOError.CLOSED error) {
    }
}

void test_warning () throws Error
{
    var context = fake ();
    Afork.Process? about = null;
    string? told = null;
    context.warning.connect ((process, text) => {
        about = process;
        told = text;
    });
    var process = new Afork.Process (context);
    process.eval ("warn beware", null);
    wait_for (() => told != null);
    assert (about == process && told == "beware");
    context.close ();
}

void test_perl () throws Error
{
    if (!FileUtils.test (PERL, FileTest.EXISTS)) {
        Test.skip ("afork-perl was not built");
        return;
    }
    var context = (Afork.Context) Object.new (typeof (Afork.Context), perl: PERL);
    var process = new Afork.Process (context);
    process.eval ("die qq{$_[0]\\n}", new string[] {"it's über"});
    try {
        run (process, "double");
        assert_not_reached ();
    } catch (Afork.Error.EVAL error) {
        assert (error.message == "it's über");
    }
    process = new Afork.Process (context);
    process.eval ("sub double { syswrite $_[0], 2 * $_[1] }", null);
    process.send_arg ("21");
    string? text = null;
    slurp_later.begin (process, "double", (source, result) => {
        try {
            text = slurp_later.end (result);
        } catch (Error error) {
            text = error.message;
        }
    });
    wait_for (() => text != null);
    assert (text == "42");
    context.close ();
}

void test_handover () throws Error
{
    var context = fake ();
    var other = fake ();
    var process = new Afork.Process (context);
    process.eval ("code", null);
    AsyncResult? result = null;
    process.to_fd_async.begin (null, (source, res) => { result = res; });
    wait_for (() => result != null);
    var fd = process.to_fd_async.end (result);
    assert (wait_exit (process).get_cause () == Afork.Cause.UNKNOWN);
    process = new Afork.Process.from_fd (other, fd, Afork.Peer.OWN);
    assert (slurp (run (process, "dump")) == "code code\n");
    try {
        new Afork.Process.from_fd (other, -1, Afork.Peer.OWN);
        assert_not_reached ();
    } catch (IOError error) {
    }
    context.close ();
    other.close ();
}

delegate void Body () throws Error;

// One function for each case: GLib's test framework takes none that throws.
void add (string name, owned Body body)
{
    Test.add_data_func ("/gafork/vala/" + name, () => {
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
    FAKE = Environment.get_variable ("AFORK_TEST_BUILDDIR") + "/tests/fake-server";
    PERL = Environment.get_variable ("AFORK_PERL");
    Test.init (ref args);
    add ("options", test_options);
    add ("perl-property", test_perl_property);
    add ("peer", test_peer);
    add ("default", test_default);
    add ("commands", test_commands);
    add ("spares", test_spares);
    add ("limits", test_limits);
    add ("errors", test_errors);
    add ("end", test_end);
    add ("pids-and-signals", test_pids_and_signals);
    add ("cancel", test_cancel);
    add ("close", test_close);
    add ("warning", test_warning);
    add ("handover", test_handover);
    add ("perl", test_perl);
    return Test.run ();
}
