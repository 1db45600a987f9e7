// SPDX-License-Identifier: MIT
//
// What the tests in GJS share: checks, turning the main context, TAP, and a record of what was
// used.

/* exported assert, equal, main, record, wait */

const {Afork, GLib, GObject} = imports.gi;
const System = imports.system;

const SECONDS = 60;
const BUILD = GLib.getenv('AFORK_TEST_BUILDDIR');
const used = new Set();

function assert(value, what) {
    if (!value)
        throw new Error('not true: ' + what);
}

function equal(found, expected) {
    if (found !== expected)
        throw new Error(`found ${found}, expected ${expected}`);
}

// Turns the main context until the condition holds.
function wait(condition) {
    let late = false;
    const timer = GLib.timeout_add_seconds(GLib.PRIORITY_DEFAULT, SECONDS, () => {
        late = true;
        return GLib.SOURCE_CONTINUE;
    });
    while (!condition()) {
        assert(!late, 'in time');
        GLib.MainContext.default().iteration(true);
    }
    GLib.source_remove(timer);
}

// The function, whose return is noted.
function noting(word, call) {
    const called = function (...args) {
        const result = call.apply(this, args);
        used.add(word);
        return result;
    };
    // By which Gio._promisify() knows whether a callback was given.
    Object.defineProperty(called, 'length', {value: call.length});
    return called;
}

function findProperty(prototype, name) {
    for (let object = prototype; object; object = Object.getPrototypeOf(object)) {
        const found = Object.getOwnPropertyDescriptor(object, name);
        if (found)
            return found;
    }
    throw new Error(`no property ${name}`);
}

// Notes what becomes of a member in those who have it.
function recordMember(kind, name, member, prototypes) {
    const word = member.replaceAll('-', '_');
    const known = `${kind} ${name}.${member}`;
    if (kind === 'constructor' || kind === 'function')
        Afork[name][member] = noting(known, Afork[name][member]);
    for (const prototype of prototypes) {
        if (kind === 'method' && prototype[word]) { // not copy(), ref()
            prototype[word] = noting(known, prototype[word]);
        } else if (kind === 'property') {
            const {get, set} = findProperty(prototype, word);
            Object.defineProperty(prototype, word, {
                get: noting(`read ${name}.${member}`, get),
                set: noting(`write ${name}.${member}`, set ?? (() => {})),
            });
        }
    }
}

// Signals that arrive, and properties that are given to the constructor.
function recordObject(name, prototype) {
    const {connect, _init} = prototype;
    prototype.connect = function (signal, handler) {
        return connect.call(this, signal, noting(`signal ${name}.${signal}`, handler));
    };
    prototype._init = function (properties = {}, ...more) {
        _init.call(this, properties, ...more);
        Object.keys(properties).forEach(key => used.add(`write ${name}.${key}`));
    };
}

// Notes from now on which calls returned, which signals arrived, and which properties were set and
// read: `kind Class.name`, as the GIR has them.
function record() {
    const gir = new TextDecoder().decode(GLib.file_get_contents(`${BUILD}/glib/Afork-1.0.gir`)[1]);
    const tags = /<(\/?)(class|interface|record|method|constructor|function|property)\b([^>]*)>/g;
    const classes = [...gir.matchAll(/<class name="([^"]+)"/g)].map(([, found]) => Afork[found]);
    let name = '', prototypes = [];
    for (const [, end, kind, attributes] of gir.matchAll(tags)) {
        const member = attributes.match(/\bname="([^"]+)"/)?.[1];
        if (attributes.includes('glib:is-gtype-struct-for'))
            continue;
        if (['class', 'interface', 'record'].includes(kind)) {
            name = end ? '' : member;
            if (name)
                prototypes = [Afork[name].prototype];
            if (name && kind === 'interface')
                prototypes = classes.filter(k => GObject.type_is_a(k.$gtype, Afork[name].$gtype))
                    .map(k => k.prototype);
            if (name && kind === 'class')
                recordObject(name, Afork[name].prototype);
        } else if (!end && name) {
            recordMember(kind, name, member, prototypes);
        } else if (!end && kind === 'function' && !attributes.includes('error_quark')) {
            Afork[member] = noting(`function ${member}`, Afork[member]);
        }
    }
}

function writeUsed() {
    const name = GLib.path_get_basename(System.programInvocationName).replace(/\.js$/, '');
    const lines = [...used].sort().map(line => line.replaceAll('_', '-') + '\n');
    if (used.size)
        GLib.file_set_contents(`${BUILD}/tests/${name}.used`, lines.join(''));
}

// Runs the tests, which may return why they were skipped.
function main(tests) {
    const names = Object.keys(tests);
    let failed = 0;
    print(`1..${names.length}`);
    names.forEach((name, i) => {
        try {
            const reason = tests[name]();
            print(`ok ${i + 1} - ${name}${reason ? ` # SKIP ${reason}` : ''}`);
        } catch (error) {
            failed++;
            print(`# ${error}\n${error.stack ?? ''}`.trim().replaceAll('\n', '\n# '));
            print(`not ok ${i + 1} - ${name}`);
        }
    });
    writeUsed();
    System.exit(failed ? 1 : 0);
}
