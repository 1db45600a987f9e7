// SPDX-License-Identifier: MIT
//
// What the tests in GJS share: checks, turning the main context, and TAP.

/* exported assert, equal, wait, main */

const {GLib} = imports.gi;
const System = imports.system;

const SECONDS = 20;

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
    System.exit(failed ? 1 : 0);
}
