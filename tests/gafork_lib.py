# SPDX-License-Identifier: MIT
#
# What the tests in Python share: turning the main context, TAP, and a record of what was used.

import os
import sys
import traceback
from xml.etree import ElementTree

from gi.repository import Afork, GLib

SECONDS = 60
GIR = os.environ["AFORK_TEST_BUILDDIR"] + "/glib/Afork-1.0.gir"
CORE = "{http://www.gtk.org/introspection/core/1.0}"
GTYPE_STRUCT = "{http://www.gtk.org/introspection/glib/1.0}is-gtype-struct-for"
used = set()


def wait(condition):
    """Turns the main context until the condition holds."""
    late = []
    timer = GLib.timeout_add_seconds(SECONDS, lambda: late.append(True) or True)
    while not condition():
        assert not late, "not in time"
        GLib.MainContext.default().iteration(True)
    GLib.source_remove(timer)


def noting(word, function):
    """The function, whose return is noted."""
    def called(*arguments, **named):
        result = function(*arguments, **named)
        used.add(word)
        return result
    return called


class Props:
    """The properties of an object, of which is noted which are read and set."""

    def __init__(self, props, name):
        self.__dict__.update(props=props, name=name)

    def __getattr__(self, name):
        used.add("read %s.%s" % (self.name, name))
        return getattr(self.props, name)

    def __setattr__(self, name, value):
        setattr(self.props, name, value)
        used.add("write %s.%s" % (self.name, name))


def record_object(kind, name):
    """Notes properties that are set and read, and signals that arrive."""
    props = next(base.__dict__["props"] for base in kind.__mro__ if "props" in base.__dict__)
    connect, init = kind.connect, kind.__init__

    def made(self, *arguments, **named):
        init(self, *arguments, **named)
        used.update("write %s.%s" % (name, key) for key in named)

    kind.__init__ = made
    kind.props = property(lambda self: Props(props.__get__(self, type(self)), name))
    kind.connect = lambda self, signal, handler: connect(
        self, signal, noting("signal %s.%s" % (name, signal), handler))


def record():
    """Notes from now on which calls returned, which signals arrived, which properties were set and
    read, and which fields read: `kind Class.name`, as the GIR has them."""
    for part in ElementTree.parse(GIR).getroot().find(CORE + "namespace"):
        name = part.get("name")
        if part.tag == CORE + "function":
            setattr(Afork, name, noting("function " + name, getattr(Afork, name)))
        if part.tag not in (CORE + "class", CORE + "interface", CORE + "record") or \
                part.get(GTYPE_STRUCT):
            continue
        kind = getattr(Afork, name)
        for member in part:
            what, word = member.tag.replace(CORE, ""), member.get("name")
            known = "%s %s.%s" % (what, name, word)
            if what == "method" and word in kind.__dict__:  # not copy(), ref()
                setattr(kind, word, noting(known, kind.__dict__[word]))
            elif what in ("constructor", "function"):
                setattr(kind, word, staticmethod(noting(known, getattr(kind, word))))
            elif what == "field" and part.tag == CORE + "record" and word in kind.__dict__:
                setattr(kind, word, property(noting(known, kind.__dict__[word].__get__)))
        if part.tag == CORE + "class":
            record_object(kind, name)


def write_used():
    name = os.path.basename(sys.argv[0]).rsplit(".", 1)[0]
    if used and "AFORK_TEST_UNNOTED" not in os.environ:
        with open("%s/tests/%s.used" % (os.environ["AFORK_TEST_BUILDDIR"], name), "w") as file:
            file.writelines(line.replace("_", "-") + "\n" for line in sorted(used))


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
    write_used()
    sys.exit(failed != 0)
