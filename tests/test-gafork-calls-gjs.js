// SPDX-License-Identifier: MIT
//
// Every call, property and signal of GAforkRpc and GAforkPool, from GJS by the typelib. TAP.

imports.gi.versions.Afork = '1.0';
const {Afork, Gio, GLib} = imports.gi;
const System = imports.system;
imports.searchPath.unshift(GLib.getenv('AFORK_TEST_SRCDIR') + '/tests');
const {assert, equal, main, record, wait} = imports.gafork_lib;

record();

const PERL = GLib.getenv('AFORK_PERL');
const SYSTEM_PERL = GLib.getenv('PERL') || 'perl';
const CODE = `
sub echo { @_ } sub sum { my $n = 0; $n += $_ for @_; $n }
sub bad { die "$_[0]\\n" } sub object { die { reason => $_[0] } }
sub leave { syswrite STDERR, "leaving\\n"; exit $_[0] }
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
    seek $fh, 0, 0;
    AFork::RPC::event('file', $fh);
    ()
}
my @args; sub begin { @args = @_ } sub args { @args }`;

const FORMS = {
    bytes: ['call_bytes_async', 'call_bytes_finish'],
    fds: ['call_fds_async', 'call_fds_finish'],
    strv: ['call_strv_async', 'call_strv_finish'],
    variant: ['call_variant_async', 'call_variant_finish'],
};

// A call of one of the forms, under way.
class Call {
    constructor(target, form, args, options = null, cancellable = null) {
        this.target = target;
        this.form = form;
        this.result = null;
        target[FORMS[form][0]](args, options, cancellable, (source, result) => {
            assert(source === target && this.result === null, 'one result');
            this.result = result;
        });
    }

    finish() {
        wait(() => this.result);
        return this.target[FORMS[this.form][1]](this.result);
    }
}

const call = (...args) => new Call(...args).finish();

function fails(domain, code, body) {
    try {
        body();
    } catch (error) {
        assert(error instanceof GLib.Error && error.matches(domain, code), String(error));
        return error.message;
    }
    throw new Error('it did not fail');
}

const failsIo = (code, body) => fails(Gio.IOErrorEnum, Gio.IOErrorEnum[code], body);

function newProcess(context) {
    const process = Afork.Process.new(context);
    process.eval(CODE, null);
    return process;
}

const newContext = () => new Afork.Context({perl: PERL, standard_error: Afork.Stdio.TAIL});
const text = bytes => Afork.bytes_to_strv(bytes).join();

const tests = {
    forms() {
        const context = newContext();
        const rpc = Afork.Rpc.new(newProcess(context), 'echo', null);
        equal(call(rpc, 'strv', ['one', '', 'zwölf']).join(), 'one,,zwölf');
        equal(call(rpc, 'strv', []).length, 0);
        equal(rpc.get_function(), 'echo');
        equal(rpc.function, 'echo');
        equal(rpc.get_process(), rpc.process);
        const octets = Afork.strv_to_bytes(['a', 'b']);
        const result = call(rpc, 'bytes', octets);
        assert(result.equal(octets), 'bytes');
        equal(text(result), 'a,b');
        const raw = new GLib.Variant('aay', [[0, 255], []]);
        assert(call(rpc, 'variant', raw).equal(raw), 'raw');
        const packed = Afork.variant_to_bytes(raw, Afork.Serialiser.OCTETS);
        failsIo('INVALID_DATA', () => Afork.bytes_to_strv(packed));
        assert(Afork.bytes_to_variant(packed, Afork.Serialiser.OCTETS, null).equal(raw), 'packed');
        const many = [...Array(50).keys()].map(i => new Call(rpc, 'strv', [`${i}`]));
        equal(rpc.get_pending(), 50);
        many.forEach((c, i) => equal(c.finish()[0], `${i}`));
        context.close();
    },

    variants() {
        const context = newContext();
        const options = new Afork.RpcOptions({serialiser: Afork.Serialiser.JSON});
        const rpc = Afork.Rpc.new(newProcess(context), 'echo', options);
        const found = call(rpc, 'variant', new GLib.Variant('(isd)', [1, 'zwölf', 2.5]));
        equal(JSON.stringify(found.recursiveUnpack()), '[1,"zwölf",2.5]');
        const how = new Afork.CallOptions({result_type: new GLib.VariantType('(us)')});
        equal(how.result_type.dup_string(), '(us)');
        const typed = call(rpc, 'variant', new GLib.Variant('(is)', [1, 'x']), how);
        equal(typed.get_type_string(), '(us)');
        failsIo('NOT_SUPPORTED', () => call(rpc, 'strv', ['x']));
        context.close();
    },

    options() {
        const rpc = Afork.RpcOptions.new();
        equal(rpc.init ?? rpc.done ?? rpc.serialiser_code, null);
        Object.assign(rpc, {
            asynchronous: true, exceptions_end: true, reply_max: 5, frames: Afork.Frames.ORIGINAL,
            serialiser: Afork.Serialiser.JSON, serialiser_code: 'x', init: 'a', done: 'b',
        });
        assert(rpc.asynchronous && rpc.exceptions_end, 'flags');
        equal(rpc.reply_max, 5);
        equal(rpc.frames, Afork.Frames.ORIGINAL);
        equal(rpc.serialiser, Afork.Serialiser.JSON);
        equal(rpc.serialiser_code + rpc.init + rpc.done, 'xab');

        const limits = new Afork.Limits({nice: 1});
        const values = {
            max: 4, idle: 1, load: 3, start: 1000, stop: 2000, single_call: true, queue_max: 9,
            spares: 1, retire_calls: 10, retire_age: 11, retire_memory: 12, crash: Afork.Crash.RETRY_ONCE,
            max_failures: 2,
        };
        const pool = new Afork.PoolOptions({rpc, limits, ...values});
        equal(pool.rpc, rpc);
        equal(pool.limits, limits);
        for (const [name, value] of Object.entries(values))
            equal(pool[name], value);
        equal(Afork.PoolOptions.new().max_failures, 5);

        const how = Afork.CallOptions.new();
        equal(how.cancel_mode, Afork.CancelMode.ABANDON);
        const ways = {timeout: 5, run_timeout: 6, priority: -7, cancel_mode: Afork.CancelMode.KILL};
        Object.assign(how, ways);
        for (const [name, value] of Object.entries(ways))
            equal(how[name], value);
        equal(how.fd_list, null);
    },

    descriptors() {
        const context = newContext();
        const opener = Afork.Rpc.new(newProcess(context), 'open_file', null);
        const [octets, fdList] = call(opener, 'fds', Afork.strv_to_bytes(['some text']));
        equal(text(octets), 'here');
        equal(fdList.get_length(), 1);
        const reader = Afork.Rpc.new(newProcess(context), 'slurp', null);
        const how = new Afork.CallOptions({fd_list: fdList});
        equal(call(reader, 'strv', [], how)[0], 'some text');
        equal(call(reader, 'fds', Afork.strv_to_bytes([]), how)[1], null);
        context.close();
    },

    exceptions() {
        const context = newContext();
        let rpc = Afork.Rpc.new(newProcess(context), 'bad', null);
        for (let i = 0; i < 2; i++) {
            const made = new Call(rpc, 'strv', ['über']);
            equal(fails(Afork.Error, Afork.Error.DIED, () => made.finish()), 'über');
            equal(Afork.call_get_exception(made.result), null);
            equal(Afork.call_get_exit(made.result), null);
        }
        rpc = Afork.Rpc.new(newProcess(context), 'object',
            new Afork.RpcOptions({serialiser: Afork.Serialiser.JSON}));
        const made = new Call(rpc, 'variant', new GLib.Variant('(s)', ['x']));
        fails(Afork.Error, Afork.Error.DIED, () => made.finish());
        const exception = Afork.bytes_to_variant(Afork.call_get_exception(made.result),
            Afork.Serialiser.JSON, null);
        equal(exception.recursiveUnpack()[0].reason, 'x');
        context.close();
    },

    end() {
        const context = newContext();
        const process = newProcess(context);
        process.send_arg('one');
        let rpc = Afork.Rpc.new(process, 'args', new Afork.RpcOptions({init: 'begin'}));
        equal(call(rpc, 'strv', [])[0], 'one');
        const told = [];
        const note = (object, error, end) => told.push([error, end]);
        rpc.connect('ended', note);
        rpc.finish();
        wait(() => told.length === 1);
        equal(told[0][0], null);
        equal(told[0][1].get_status(), 0);
        rpc = Afork.Rpc.new(newProcess(context), 'leave', null);
        rpc.connect('ended', note);
        const message = fails(Afork.Error, Afork.Error.EXITED, () => call(rpc, 'strv', ['3']));
        assert(message.includes('status 3'), message);
        wait(() => told.length === 2);
        assert(told[1][0].matches(Afork.Error, Afork.Error.EXITED), 'error of the end');
        equal(told[1][1].get_stderr_tail(), 'leaving');
        failsIo('BROKEN_PIPE', () => call(rpc, 'strv', ['3']));
        context.close();
    },

    events() {
        const context = newContext();
        const rpc = Afork.Rpc.new(newProcess(context), 'nap', null);
        const ofRpc = [], ofCall = [];
        rpc.connect('event', (object, octets) => ofRpc.push(text(octets)));
        const how = new Afork.CallOptions();
        how.connect('event', (object, octets) => ofCall.push(text(octets)));
        how.connect('begun', () => ofCall.push('begun'));
        equal(call(rpc, 'strv', ['1'], how)[0], '1');
        equal(call(rpc, 'strv', ['2'])[0], '2');
        equal(`${ofCall} ${ofRpc}`, 'begun,1 2');
        rpc.timeout = 1000;
        equal(rpc.timeout, 1000);
        failsIo('TIMED_OUT', () => call(rpc, 'strv', ['100']));
        context.close();
    },

    eventDescriptors() {
        const context = newContext();
        const rpc = Afork.Rpc.new(newProcess(context), 'tell_file', null);
        const told = [];
        rpc.connect('event', (object, octets, fdList) => told.push(text(octets), fdList));
        equal(call(rpc, 'strv', ['some text']).length, 0);
        equal(told[0], 'file');
        equal(told[1].get_length(), 1);
        const stream = Gio.UnixInputStream.new(told[1].get(0), true);
        equal(new TextDecoder().decode(stream.read_bytes(99, null).toArray()), 'some text');
        stream.close(null);
        context.close();
    },

    cancelAndClose() {
        const context = newContext();
        for (const target of [Afork.Rpc.new(newProcess(context), 'nap', null),
            Afork.Pool.new(newProcess(context), 'nap', null)]) {
            const cancellable = new Gio.Cancellable();
            const cancelled = new Call(target, 'strv', ['60000'], null, cancellable);
            cancellable.cancel();
            failsIo('CANCELLED', () => cancelled.finish());
            const many = [...Array(1000)].map(() => new Call(target, 'strv', ['60000']));
            target.close();
            many.forEach(c => failsIo('CLOSED', () => c.finish()));
        }
        context.close();
    },

    pool() {
        const context = newContext();
        const pool = Afork.Pool.new(newProcess(context), 'nap',
            new Afork.PoolOptions({max: 2, start: 0, load: 1}));
        const names = new Set(), pids = [], events = [];
        for (const name of ['n-workers', 'n-busy', 'n-queued', 'n-running'])
            pool.connect(`notify::${name}`, (object, pspec) => names.add(pspec.get_name()));
        pool.connect('worker-started', (object, worker) => pids.push(worker.get_pid()));
        pool.connect('event', (object, pid, octets) => events.push([pid, text(octets)]));
        const workers = pool.get_workers();
        let items = 0;
        equal(workers.get_n_items(), 0);
        equal(workers.get_item(0), null);
        equal(workers.get_item_type(), Afork.Worker.$gtype);
        workers.connect('items-changed', (object, position, removed, added) => {
            items += added - removed;
        });
        const many = [...Array(20)].map(() => new Call(pool, 'strv', ['1']));
        wait(() => pool.get_n_busy() === 2);
        equal(pool.n_busy, 2);
        equal(pool.get_n_workers() + pool.n_workers, 4);
        equal(pool.get_n_running() + pool.n_running, 4);
        assert(pool.get_n_queued() === pool.n_queued && pool.n_queued > 0, 'queued');
        equal(workers, pool.get_workers());
        equal(workers, pool.workers);
        equal(workers.get_n_items(), 2);
        for (let i = 0; i < 2; i++) {
            const worker = workers.get_item(i);
            assert(worker.get_pid() === worker.pid && worker.pid > 0, 'pid');
            assert(worker.get_calls() === worker.calls && worker.calls <= 1, 'calls');
        }
        many.forEach(c => equal(c.finish()[0], '1'));
        wait(() => pool.n_running === 0);
        equal(names.size, 4);
        const s = pool.get_stats();
        equal([s.workers, s.busy, s.queued, s.running, s.completed, s.failed, s.timed_out,
            s.cancelled, s.retried, s.started, s.crashed, s.retired].join(), '2,0,0,0,20,0,0,0,0,2,0,0');
        assert(pids.length === 2 && events.length === 20 && pids.includes(events[0][0]), 'told');
        equal(pool.get_function(), pool.function);
        equal(pool.get_max() + pool.max, 4);
        equal(pool.get_idle() + pool.idle, 0);
        equal(pool.get_load() + pool.load, 2);
        assert(pool.set_size(3, 1, 2) && pool.max === 3, 'sizes');
        Object.assign(pool, {max: 5, idle: 2, load: 4});
        equal([pool.get_max(), pool.get_idle(), pool.get_load()].join(), '5,2,4');
        wait(() => workers.get_n_items() === 2);
        equal(items, 2);
        assert(pool.retire() && !pool.get_broken() && !pool.broken, 'retire');
        assert(Afork.cpu_count() >= 1, 'processors');
        context.close();
    },

    poolEnds() {
        const context = newContext();
        let pool = Afork.Pool.new(newProcess(context), 'leave',
            new Afork.PoolOptions({max: 1, queue_max: 2, load: 1}));
        const exits = [], told = [];
        pool.connect('worker-exited', (object, worker, end) =>
            exits.push(`${worker.pid > 0} ${end.get_status()} ${end.get_stderr_tail()}`));
        pool.connect('drain', () => told.push('drain'));
        pool.connect('destroyed', () => told.push('destroyed'));
        const many = [...Array(3)].map(() => new Call(pool, 'strv', ['7']));
        fails(Afork.Error, Afork.Error.EXITED, () => many[0].finish());
        equal(Afork.call_get_exit(many[0].result).get_status(), 7);
        wait(() => exits.length);
        equal(exits[0], 'true 7 leaving');
        failsIo('NO_SPACE', () => many[2].finish());
        wait(() => told.includes('drain'));
        pool.cancel();
        wait(() => told.includes('destroyed'));
        pool = Afork.Pool.new(newProcess(context), 'not::there',
            new Afork.PoolOptions({max: 1, max_failures: 1}));
        fails(Afork.Error, Afork.Error.BROKEN, () => call(pool, 'strv', []));
        assert(pool.broken && pool.failure.includes('not::there'), 'broken');
        equal(pool.get_failure(), pool.failure);
        fails(Afork.Error, Afork.Error.BROKEN, () => call(pool, 'strv', []));
        assert(pool.reset(), 'reset');
        context.close();
    },

    remote() {
        const context = newContext();
        const options = new Afork.RemoteOptions({
            start_timeout: 20000000, noise_max: 9, strict: true,
        });
        equal([options.start_timeout, options.noise_max, options.strict].join(), '20000000,9,true');
        equal(Afork.RemoteOptions.new().noise_max, 65536);
        let process = Afork.Process.new_remote(context, [SYSTEM_PERL], options);
        process.eval('sub twice { 2 * $_[0] }', null);
        equal(call(Afork.Rpc.new(process, 'twice', null), 'strv', ['21'])[0], '42');
        let calls = 0;
        process = Afork.Process.new_connected(context, () => {
            calls++;
            return null;
        }, null);
        const rpc = Afork.Rpc.new(process, 'twice', null);
        fails(Afork.Error, Afork.Error.START, () => call(rpc, 'strv', ['21']));
        equal(calls, 1);
        context.close();
    },

    // What was asked for happens, although nobody holds what was asked.
    dropped() {
        const context = newContext();
        const results = [];
        (() => {
            for (const type of [Afork.Rpc, Afork.Pool]) {
                const target = type.new(newProcess(context), 'sum', null);
                for (let i = 0; i < 20; i++)
                    target.call_strv_async([`${i}`, '1'], null, null,
                        (object, result) => results.push(object.call_strv_finish(result)[0]));
            }
        })();
        System.gc();
        wait(() => results.length === 40);
        context.close();
    },
};

if (!GLib.file_test(PERL, GLib.FileTest.EXISTS)) {
    print('1..0 # SKIP afork-perl was not built');
    System.exit(0);
}
main(tests);
