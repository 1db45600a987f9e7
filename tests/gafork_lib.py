# SPDX-License-Identifier: MIT
#
# What the tests in Python share: turning the main context, and TAP.

import sys
import traceback

from gi.repository import GLib

SECONDS = 20


def wait(condition):
    """Turns the main context until the condition holds."""
    late = []
    timer = GLib.timeout_add_seconds(SECONDS, lambda: late.append(True) or True)
    while not condition():
        assert not late, "not in time"
        GLib.MainContext.default().iteration(True)
    GLib.source_remove(timer)


def main(names):
    """Runs the functions test_*, which return None or why they were skipped."""
    tests = [value for name, value in list(names.items()) if name.startswith("test_")]
    print("1..%d" % len(tests))
    failed = 0
    for number, test in enumerate(tests, 1):
        name = test.__name__[5:]
        try:
            reason = test()
            print("ok %d - %s%s" % (number, name, " # SKIP " + reason if reason else ""),
                  flush=True)
        except Exception:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print("#", line)
            print("not ok %d - %s" % (number, name), flush=True)
    sys.exit(failed != 0)
