// SPDX-License-Identifier: MIT
//
// Every call, property and signal of the GObject layer, from GJS by the typelib. TAP.

imports.gi.versions.Afork = '1.0';
const {Afork, Gio, GLib} = imports.gi;
const System = imports.system;
imports.searchPath.unshift(GLib.getenv('AFORK_TEST_SRCDIR') + '/tests');
const {assert, equal, main, record, wait} = imports.gafork_lib;

record();

const FAKE = GLib.getenv('AFORK_TEST_BUILDDIR') + '/tests/fake-server';
const PERL = GLib.getenv('AFORK_PERL');
const SIGKILL = 9;

// What an asynchronous call returns, or throws.
function outcome(object, start, finish, ...args) {
    let result = null;
    object[start](...args, (source, res) => { result = res; });
    wait(() => result);
    return object[finish](result);
}

const run = (process, name, cancellable = null) =>
    outcome(process, 'run_async', 'run_finish', name, cancellable);
const waitExit = (process, cancellable = null) =>
    outcome(process, 'wait_async', 'wait_finish', cancellable);

// One character an octet.
function read(connection) {
    const stream = connection.get_input_stream();
    let text = '';
    for (;;) {
        const bytes = outcome(stream, 'read_bytes_async', 'read_bytes_finish', 65536,
            GLib.PRIORITY_DEFAULT, null);
        if (bytes.get_size() === 0)
            return text;
        text += String.fromCharCode(...bytes.toArray());
    }
}

function fails(domain, code, call) {
    try {
        call();
    } catch (error) {
        assert(error instanceof GLib.Error && error.matches(domain, code), String(error));
        return error.message;
    }
    throw new Error('it did not fail');
}

const fake = (options = {}) => new Afork.Context({perl: FAKE, ...options});

const tests = {
    options() {
        const mainContext = GLib.MainContext.default();
        const fd = Gio.File.new_for_path('/dev/null').read(null).get_fd();
        const context = fake({
            include_dirs: ['/first'], environment: ['ONE=1'], environment_changes: ['TWO=2'],
            working_directory: '/', standard_input: Afork.Stdio.INHERIT,
            standard_output: Afork.Stdio.NULL, standard_error: Afork.Stdio.DEFAULT,
            new_session: true, threads: Afork.Threads.REFUSE, priority: GLib.PRIORITY_LOW,
            main_context: mainContext,
        });
        equal(context.include_dirs.join(), '/first');
        equal(context.environment.join(), 'ONE=1');
        equal(context.environment_changes.join(), 'TWO=2');
        equal(context.working_directory, '/');
        equal(context.standard_input, Afork.Stdio.INHERIT);
        equal(context.standard_output, Afork.Stdio.NULL);
        equal(context.standard_error, Afork.Stdio.DEFAULT);
        equal(context.new_session, true);
        equal(context.threads, Afork.Threads.REFUSE);
        equal(context.priority, GLib.PRIORITY_LOW);
        equal(context.get_priority(), GLib.PRIORITY_LOW);
        assert(context.main_context instanceof GLib.MainContext, 'main_context');
        assert(context.get_main_context() instanceof GLib.MainContext, 'get_main_context');
        equal(context.peer, Afork.Peer.OWN);
        equal(context.serve_module, null);
        equal(context.perl, FAKE);
        equal(context.get_perl(), FAKE);
        const lines = read(run(Afork.Process.new_exec(context), 'surroundings')).split('\n');
        for (const line of ['argv -I', 'argv /first', 'env ONE=1', 'env TWO=2', 'cwd /',
            'session 1'])
            assert(lines.includes(line), line);
        const withFds = fake({
            standard_input_fd: fd, standard_output_fd: fd, standard_error_fd: fd,
        });
        equal(withFds.standard_input, Afork.Stdio.FD);
        assert(read(run(Afork.Process.new(withFds), 'descriptors')).includes('\n2 /dev/null\n'),
            'descriptors');
        withFds.close();
        context.close();
    },

    perlProperty() {
        const context = Afork.Context.new();
        const names = [];
        for (const name of ['perl', 'peer', 'serve-module'])
            context.connect(`notify::${name}`, (object, pspec) => names.push(pspec.get_name()));
        fails(Gio.IOErrorEnum, Gio.IOErrorEnum.INVALID_ARGUMENT,
            () => context.set_perl('/nowhere', Afork.Peer.OWN, 'Module'));
        assert(context.set_perl('/nowhere', Afork.Peer.ORIGINAL, 'Module'), 'set_perl');
        equal(names.sort().join(), 'peer,perl,serve-module');
        equal(context.peer, Afork.Peer.ORIGINAL);
        equal(context.serve_module, 'Module');
        const text = fails(Gio.IOErrorEnum, Gio.IOErrorEnum.NOT_FOUND,
            () => Afork.Process.new_exec(context));
        assert(text.includes('/nowhere'), text);
        context.close();
    },

    peer() {
        const context = fake({peer: Afork.Peer.ORIGINAL, serve_module: 'Some::Serve'});
        equal(context.peer, Afork.Peer.ORIGINAL);
        equal(context.serve_module, 'Some::Serve');
        context.close();
    },

    theDefault() {
        GLib.setenv('AFORK_PERL', FAKE, true);
        const context = Afork.Context.get_default();
        const process = Afork.Process.new(null);
        GLib.setenv('AFORK_PERL', PERL, true);
        equal(process.get_context(), context);
        equal(process.context, context);
        context.close();
        assert(Afork.Context.get_default() !== context, 'another default');
        Afork.Context.get_default().close();
    },

    commands() {
        const context = fake();
        const template = Afork.Process.new(context);
        template.eval('code', null);
        template.eval('list', ['one', 'zwölf']);
        template.eval_bytes(new GLib.Bytes([98, 121, 116, 101, 115]),
            new GLib.Variant('aay', [new Uint8Array([1, 255]), new Uint8Array([120])]));
        template.eval_bytes(new GLib.Bytes([120]), null);
        template.require(['Some::Module']);
        template.set_exit_mode(Afork.ExitMode.QUICK);
        template.end_with_host();
        const process = template.fork();
        process.send_arg('text');
        process.send_bytes(new GLib.Bytes([254]));
        process.send_fd(0);
        const connection = run(process, 'dump');
        assert(connection instanceof Gio.UnixConnection, 'a connection');
        const text = read(connection);
        assert(text.startsWith('code code\ncode list\nwith one\nwith zw\xc3\xb6lf\n' +
            'code bytes\nwith \x01\xff\nwith x\ncode x\n'), text);
        assert(text.includes('with Some/Module\nexit-mode 1\nlifeline pipe\narg text\narg \xfe\nfd '), text);
        context.close();
    },

    spares() {
        const context = fake({spares: 2});
        const template = Afork.Process.new(context);
        equal(context.spares, 2);
        wait(() => context.get_spare_stats().ready === 2);
        Afork.Process.new(context);
        equal(context.get_spare_stats().hits, 1);
        template.set_spares(1);
        wait(() => template.get_spare_stats().ready === 1);
        template.eval('code', null);
        equal(template.get_spare_stats().renewals, 1);
        equal(read(run(template.fork(), 'dump')), 'code code\n');
        equal(JSON.parse(context.dump()).spares.hits, 1);
        context.close();
    },

    limits() {
        let limits = Afork.Limits.new();
        equal(limits.read_paths.length, 0); // of NULL, too
        limits = new Afork.Limits({
            memory: 2 ** 40, cpu_seconds: 2, file_size: 3, open_files: 20, nice: 4,
            no_new_privileges: true, no_network: true, no_new_processes: true, no_signals: true,
            read_paths: ['/usr', '/etc'], write_paths: [],
            unsupported: Afork.Unsupported.WARN, forks_only: true,
        });
        equal([limits.memory, limits.cpu_seconds, limits.file_size, limits.open_files,
            limits.nice].join(), '1099511627776,2,3,20,4');
        assert(limits.no_new_privileges && limits.no_network && limits.no_new_processes && limits.no_signals &&
            limits.forks_only, 'flags');
        equal(limits.read_paths.join(), '/usr,/etc');
        equal(limits.write_paths.length, 0);
        equal(limits.unsupported, Afork.Unsupported.WARN);
        const context = fake();
        let process = Afork.Process.new(context);
        assert(process.set_limits(limits), 'sent');
        limits.read_paths = ['relative'];
        fails(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_ARGUMENT, () => process.set_limits(limits));
        equal(read(run(process, 'dump')),
            'limits flags ff nice 4 1099511627776 2 3 20 r/usr r/etc\n');
        process = Afork.Process.new(context);
        process.eval('error 6 limits: nice: no', null);
        equal(fails(Afork.Error, Afork.Error.LIMITS, () => run(process, 'dump')), 'limits: nice: no');
        context.close();
    },

    errors() {
        const context = fake();
        equal(Afork.error_quark(), Afork.Error.quark());
        let process = Afork.Process.new(context);
        process.eval('die for a reason', null);
        equal(fails(Afork.Error, Afork.Error.EVAL, () => run(process, 'dump')), 'for a reason');
        process = Afork.Process.new(context);
        process.require(['Missing']);
        assert(fails(Afork.Error, Afork.Error.REQUIRE, () => run(process, 'dump'))
            .includes('Missing.pm'), 'the module');
        process = Afork.Process.new(context);
        assert(fails(Afork.Error, Afork.Error.FUNCTION, () => run(process, 'nothing'))
            .includes('nothing'), 'the function');
        context.close();
    },

    end() {
        const context = fake();
        const process = Afork.Process.new(context);
        const told = [];
        process.connect('exited', (source, end) => told.push(end.get_status()));
        process.connect('notify::exit', (source, pspec) => told.push(pspec.get_name()));
        process.send_arg('7');
        equal(process.get_exit(), null);
        equal(process.exit, null);
        run(process, 'exit');
        const end = waitExit(process);
        equal(told.join(), 'exit,7');
        equal(end.get_cause(), Afork.Cause.EXITED);
        equal(end.get_status(), 7);
        equal(end.get_wait_status(), 7 << 8);
        equal(end.get_message(), 'exited with status 7');
        assert(end.get_user_time() >= 0, 'user time');
        assert(end.get_system_time() >= 0, 'system time');
        assert(end.get_max_rss() > 100000, 'memory');
        equal(end.get_stderr_tail(), '');
        equal(process.get_exit().get_status(), 7);
        equal(process.exit.get_status(), 7);
        context.close();
    },

    pidsAndSignals() {
        const context = fake();
        const process = Afork.Process.new_exec(context);
        const names = [];
        for (const name of ['pid', 'peer-pid'])
            process.connect(`notify::${name}`, (object, pspec) => names.push(pspec.get_name()));
        assert(process.pid > 0, 'a pid');
        equal(process.get_pid(), process.pid);
        equal(process.peer_pid, process.pid);
        equal(process.get_peer_pid(), process.pid);
        assert(process.kill(SIGKILL), 'kill');
        equal(waitExit(process).get_status(), SIGKILL);
        equal(process.get_pid(), 0);
        equal(names.sort().join(), 'peer-pid,pid');
        context.close();
    },

    cancel() {
        const context = fake();
        const process = Afork.Process.new(context);
        const cancellable = new Gio.Cancellable();
        const cancelled = call => fails(Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED, call);
        cancellable.cancel();
        cancelled(() => run(process, 'hold', cancellable));
        cancelled(() => waitExit(process, cancellable));
        cancellable.reset();
        let result = null;
        process.run_async('hold', cancellable, (source, res) => { result = res; });
        cancellable.cancel();
        wait(() => result);
        cancelled(() => process.run_finish(result));
        equal(waitExit(process).get_status(), 0);
        context.close();
    },

    close() {
        const context = fake();
        const process = Afork.Process.new(context);
        const closed = call => fails(Gio.IOErrorEnum, Gio.IOErrorEnum.CLOSED, call);
        let result = null;
        process.run_async('hold', null, (source, res) => { result = res; });
        process.close();
        equal(result, null);
        wait(() => result);
        closed(() => process.run_finish(result));
        closed(() => process.send_arg('x'));
        context.close();
        closed(() => Afork.Process.new(context));
    },

    warning() {
        const context = fake();
        const told = [];
        context.connect('warning', (source, process, text) => told.push(process, text));
        const process = Afork.Process.new(context);
        process.eval('warn beware', null);
        wait(() => told.length);
        equal(told[0], process);
        equal(told[1], 'beware');
        context.close();
    },

    // What was asked for happens, although nobody holds the processes.
    droppedEarly() {
        const context = fake();
        const connections = [];
        (() => {
            const template = Afork.Process.new(context);
            for (let i = 0; i < 20; i++) {
                const process = template.fork();
                process.send_arg(String(i));
                process.run_async('dump', null, (source, result) =>
                    connections.push(source.run_finish(result)));
            }
        })();
        System.gc();
        wait(() => connections.length === 20);
        System.gc();
        const numbers = connections.map(connection => Number(read(connection).slice(4)));
        equal(numbers.sort((a, b) => a - b).join(), [...Array(20).keys()].join());
        context.close();
    },

    promises() {
        Gio._promisify(Afork.Process.prototype, 'run_async', 'run_finish');
        Gio._promisify(Afork.Process.prototype, 'wait_async', 'wait_finish');
        const context = fake();
        const told = [];
        (async () => {
            const process = Afork.Process.new(context);
            try {
                await Afork.Process.new(context).run_async('nothing', null);
            } catch (error) {
                told.push(error.matches(Afork.Error, Afork.Error.FUNCTION));
            }
            const connection = await process.run_async('hold', null);
            connection.close(null);
            told.push((await process.wait_async(null)).get_status());
        })().catch(error => told.push(error, error));
        wait(() => told.length === 2);
        equal(told.join(), 'true,0');
        context.close();
    },

    handover() {
        const context = fake(), other = fake();
        let process = Afork.Process.new(context);
        process.eval('code', null);
        const fd = outcome(process, 'to_fd_async', 'to_fd_finish', null);
        equal(waitExit(process).get_cause(), Afork.Cause.UNKNOWN);
        fails(Gio.IOErrorEnum, Gio.IOErrorEnum.INVALID_ARGUMENT, () => process.eval('late', null));
        process = Afork.Process.new_from_fd(other, fd, Afork.Peer.OWN);
        equal(read(run(process, 'dump')), 'code code\n');
        fails(Gio.IOErrorEnum, Gio.IOErrorEnum.FAILED,
            () => Afork.Process.new_from_fd(other, -1, Afork.Peer.OWN));
        context.close();
        other.close();
    },

    perl() {
        if (!GLib.file_test(PERL, GLib.FileTest.EXISTS))
            return 'afork-perl was not built';
        const context = new Afork.Context({perl: PERL});
        let process = Afork.Process.new(context);
        process.eval('die qq{$_[0]\\n}', ["it's über"]);
        equal(fails(Afork.Error, Afork.Error.EVAL, () => run(process, 'double')), "it's über");
        process = Afork.Process.new(context);
        process.eval('sub double { syswrite $_[0], 2 * $_[1] }', null);
        process.send_arg('21');
        equal(read(run(process, 'double')), '42');
        equal(waitExit(process).get_status(), 0);
        context.close();
        return null;
    },
};

main(tests);
