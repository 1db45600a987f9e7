# SPDX-License-Identifier: MIT
#
# The example of a plugin, in a gedit that nobody sees: opened with throw-away settings on a display
# and a bus of its own, driven over D-Bus, and looked at with what reads screens aloud. TAP.

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCES = os.path.join(os.environ["AFORK_TEST_SRCDIR"], "doc/examples/plugin")
BUILD = os.environ["AFORK_TEST_BUILDDIR"]
SECONDS = 60  # for anything that is waited for
SLOW = 120000  # lines of a document whose review takes a while


def skip(reason):
    print("1..0 # SKIP", reason)
    sys.exit(0)


if os.environ.get("AFORK_TEST_SANITIZERS"):
    skip("gedit has no sanitizers in it")
for program in "gedit", "Xvfb", "dbus-daemon":
    if not shutil.which(program):
        skip("no " + program)

# --- A desktop. What is started here ends with it. ---

home = tempfile.TemporaryDirectory(prefix="afork-plugin-")
started = []


@atexit.register
def end():
    for process in reversed(started):
        process.kill()
        process.wait()
    home.cleanup()


def start(command, prints):
    """Starts a program that prints a line to a descriptor once it is there; returns that."""
    read, write = os.pipe()
    started.append(subprocess.Popen(command + [prints % write], pass_fds=[write],
                                    stderr=subprocess.DEVNULL))
    os.close(write)
    with open(read) as pipe:
        return pipe.readline().strip()


def file_of(path, text):
    path = os.path.join(home.name, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        out.write(text)
    return path


for name, folder in ("CACHE_HOME", "cache"), ("CONFIG_HOME", "config"), ("DATA_HOME", "data"), \
        ("RUNTIME_DIR", "run"):
    os.environ["XDG_" + name] = os.path.join(home.name, folder)
os.mkdir(os.environ["XDG_RUNTIME_DIR"], 0o700)
os.environ.update(HOME=home.name, GSETTINGS_BACKEND="keyfile", GDK_BACKEND="x11", LC_ALL="C.UTF-8",
                  NO_AT_BRIDGE="0", GTK_THEME="Adwaita", GVFS_DISABLE_FUSE="1", TMPDIR=home.name)
file_of("config/glib-2.0/settings/keyfile",
        "[org/gnome/gedit/plugins]\nactive-plugins=['afork-review']\n"
        "[org/gnome/gedit/preferences/editor]\nsyntax-highlighting=false\n"  # slow documents
        "[org/gnome/gedit/preferences/ui]\nbottom-panel-visible=true\nside-panel-visible=false\n")
file_of("config/gtk-3.0/settings.ini",
        "[Settings]\ngtk-enable-animations=0\ngtk-cursor-blink=0\n")
plugins = os.path.join(home.name, "data/gedit/plugins")
os.makedirs(plugins + "/afork-review")
shutil.copy(SOURCES + "/afork-review.plugin", plugins)
shutil.copy(SOURCES + "/AforkReview.pm", plugins + "/afork-review")
shutil.copy(BUILD + "/.libs/libafork-review.so", plugins)

# One that no other test runs.
PERL = shutil.copy(os.environ["AFORK_PERL"], home.name)
os.environ["AFORK_PERL"] = PERL

display = start(["Xvfb", "-screen", "0", "1000x800x24", "-nolisten", "tcp", "-displayfd"], "%d")
if not display:
    skip("Xvfb does not start")
os.environ["DISPLAY"] = ":" + display
os.environ["DBUS_SESSION_BUS_ADDRESS"] = start(["dbus-daemon", "--session", "--nofork"],
                                               "--print-address=%d")

import gi

try:
    for name, version in ("Atspi", "2.0"), ("Gdk", "3.0"):
        gi.require_version(name, version)
except ValueError as error:
    skip(str(error))
from gi.repository import Atspi, Gdk, Gio, GLib

from gafork_lib import main

bus = Gio.bus_get_sync(Gio.BusType.SESSION)
names = bus.call_sync("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ListActivatableNames",
                      None, None, Gio.DBusCallFlags.NONE, -1)
if "org.a11y.Bus" not in names.unpack()[0]:
    skip("no at-spi2-core")


def wait(condition, what="it", seconds=SECONDS):
    """Turns the main context until the condition holds, and returns what that is then."""
    late = time.monotonic() + seconds
    timer = GLib.timeout_add(30, lambda: True)
    try:
        while not (value := condition()):
            assert time.monotonic() < late, "not in time: %s; %s" % (what, shown())
            GLib.MainContext.default().iteration(True)
        return value
    finally:
        GLib.source_remove(timer)


# --- Processes ---

def stat(pid):
    """State, parent, at [11] the processor time, as proc(5) has them from the third on; nothing if
    there is no such process."""
    try:
        with open("/proc/%d/stat" % pid) as text:
            return text.read().rsplit(")", 1)[1].split()
    except OSError:
        return None


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(pid):
    """A list for each generation, children first."""
    parents = {child: (stat(child) or [None, 0])[1] for child in all_pids()}
    generations = [[pid]]
    while generations[-1]:
        generations.append([child for child, parent in parents.items()
                            if int(parent) in generations[-1]])
    return generations[1:]


def children(pid):
    return descendants(pid)[0]


def worker():
    """The pid of a worker, below the server and its template, that is at work on what is slow."""
    return next((pid for generation in descendants(editor.pid)[2:] for pid in generation
                 if int((stat(pid) or [0] * 12)[11]) >= 10), None)


def executable(pid):
    try:
        return os.readlink("/proc/%d/exe" % pid)
    except OSError:
        return None


def perls():
    """All servers and workers of this test, whoever is their parent now."""
    return [pid for pid in all_pids() if executable(pid) == PERL]


# --- The editor ---

def activate(path, action):
    bus.call_sync("org.gnome.gedit", path, "org.gtk.Actions", "Activate",
                  GLib.Variant("(sava{sv})", (action, [], {})), None, Gio.DBusCallFlags.NO_AUTO_START, -1)


class Editor:
    def __init__(self, files, trace=None, **environment):
        command = ["gedit"] + files
        if trace:
            command = TRACER + ["-o", trace] + command
        with open(complaints, "a") as errors:
            self.process = subprocess.Popen(command, env={**os.environ, **environment},
                                            stdin=subprocess.DEVNULL, stderr=errors)
        started.append(self.process)
        self.pid = self.process.pid
        if trace:
            self.pid = wait(lambda: [pid for pid in children(self.process.pid)
                                     if (executable(pid) or "").endswith("/gedit")], "gedit")[0]

    def open(self, *files):
        bus.call_sync("org.gnome.gedit", "/org/gnome/gedit", "org.gtk.Application", "Open",
                      GLib.Variant("(assa{sv})", ([Gio.File.new_for_path(path).get_uri()
                                                   for path in files], "", {})),
                      None, Gio.DBusCallFlags.NO_AUTO_START, -1)

    def quit(self):
        activate("/org/gnome/gedit", "quit")
        wait(lambda: self.process.poll() is not None, "the end of gedit")
        return self.process.returncode


def accessibles(role, node):
    """What is of that role, depth first. The text itself is nothing to go through."""
    if node.get_role() == role:
        yield node
    elif node.get_role() == Atspi.Role.TEXT:
        return
    for i in range(node.get_child_count()):
        child = node.get_child_at_index(i)
        if child:
            yield from accessibles(role, child)


def on_screen(role):
    desktop = Atspi.get_desktop(0)
    for i in range(desktop.get_child_count()):
        application = desktop.get_child_at_index(i)
        if application and application.get_name() == "gedit":
            yield from accessibles(role, application)


def panels():
    return [node for node in on_screen(Atspi.Role.FILLER) if node.get_name() == "Document review"]


def shown():
    """The lines in the panel, which is what a user sees of the plugin; the first is the summary."""
    global panel
    try:
        if not panel or panel.get_state_set().contains(Atspi.StateType.DEFUNCT):
            panel = (panels() or [None])[0]
        return panel and [label.get_name() for label in accessibles(Atspi.Role.LABEL, panel)] or []
    except GLib.Error as error:
        panel = None
        return [error.message]  # it changes under our eyes


def shows(*expected):
    """Waits until the panel shows lines that begin so, and no others."""
    wait(lambda: (lambda lines: len(lines) == len(expected) and
                  all(map(str.startswith, lines, expected)))(shown()), expected)


def active(yes):
    """Switches the plugin on or off. The editor writes the same setting, when it has done what it was
    told; so what was set may not last."""
    plugins = ["afork-review"] if yes else []

    def is_so():
        if settings.get_strv("active-plugins") != plugins:
            settings.set_strv("active-plugins", plugins)
        return bool(shown()) == yes and (yes or not perls())
    wait(is_so, "the plugin, or the end of all perls")


settings = Gio.Settings.new("org.gnome.gedit.plugins")
trace, complaints = (os.path.join(home.name, name) for name in ("trace", "complaints"))
TRACER = ["strace", "-f", "-qqq", "--seccomp-bpf", "-e", "trace=fork,vfork,clone,clone3,execve",
          "-e", "signal=none"]
traces = shutil.which("strace") and \
    subprocess.run(TRACER + ["-o", trace, "true"], stderr=subprocess.DEVNULL).returncode == 0
prose = file_of("letter.txt", "Paris in the\nthe spring \nis fine.\n")
good = file_of("good.json", '{"a": [1, 2, 3]}\n')
bad = file_of("bad.json", '{\n  "a": 1,\n  "b" 2\n}\n')
pod = file_of("script.pl", "print 1;\n\n=head1 NAME\n\nB<bold of of it\n\n=cut\n")
slow = file_of("slow.json", "[\n" + "[1, 2],\n" * SLOW + "0]\n")
PROSE = "3 lines, 7 words, 33 characters; 2 findings", "Line 2: “the” twice", \
    "Line 2: space at the end"
GOOD = "1 line, 4 words, 16 characters; 0 findings",
editor = panel = None


def test_first_document():
    global editor
    editor = Editor([prose], trace if traces else None)
    shows(*PROSE)
    window = Gdk.get_default_root_window()
    picture = Gdk.pixbuf_get_from_window(window, 0, 0, window.get_width(), window.get_height())
    picture.savev(BUILD + "/tests/test-plugin.png", "png", [], [])
    assert len(set(picture.get_pixels()[::997])) > 2, "the screen is blank"


def test_next_documents():
    editor.open(bad)
    shows("4 lines, 6 words", "Line 3: JSON: ':' expected")
    editor.open(pod)
    shows("7 lines, 9 words", "Line 5: POD: ", "Line 5: “of” twice")
    editor.open(good)
    shows(*GOOD)
    editor.open(prose)
    shows(*PROSE)


def text_in_front():
    return next(node for node in on_screen(Atspi.Role.TEXT)
                if node.get_state_set().contains(Atspi.StateType.SHOWING)
                and node.get_state_set().contains(Atspi.StateType.MULTI_LINE))


def test_click_goes_to_the_line():
    text = text_in_front()
    assert Atspi.Text.get_caret_offset(text) == 0
    place = Atspi.Component.get_extents(next(accessibles(Atspi.Role.LIST_ITEM, panel)),
                                        Atspi.CoordType.SCREEN)
    Atspi.generate_mouse_event(place.x + 20, place.y + place.height // 2, "b1c")
    wait(lambda: Atspi.Text.get_caret_offset(text) == len("Paris in the\n"), "the cursor")


def test_edited():
    text = text_in_front()
    Atspi.EditableText.insert_text(text, 0, "all all\n", 8)
    shows("4 lines, 9 words, 41 characters; 3 findings", "Line 1: “all” twice",
          "Line 3: “the” twice", "Line 3: space")
    Atspi.EditableText.delete_text(text, 0, 8)
    shows(*PROSE)
    activate("/org/gnome/gedit/window/1", "save")


def test_worker_killed_at_work():
    editor.open(slow)
    os.kill(wait(worker, "a worker at work"), signal.SIGKILL)
    wait(lambda: any("signal 9" in line for line in shown()), "the reason")
    editor.open(good)
    shows(*GOOD)


def test_cancelled_by_the_next_document():
    editor.open(slow)
    pid = wait(worker, "a worker at work")
    editor.open(prose)
    shows(*PROSE)
    # One that had nothing to do would end later.
    wait(lambda: not stat(pid), "the end of a worker that nobody waits for", 8)


def test_everything_killed():
    for pid in sum(descendants(editor.pid), []):
        os.kill(pid, signal.SIGKILL)
    wait(lambda: not children(editor.pid), "the end of all children")
    editor.open(good)
    shows(*GOOD)
    editor.open(prose)
    shows(*PROSE)


def test_no_document():
    activate("/org/gnome/gedit/window/1", "close-all")
    shows("No document")
    editor.open(prose)
    shows(*PROSE)


def test_nothing_is_left_when_inactive():
    def descriptors():
        return len(os.listdir("/proc/%d/fd" % editor.pid))

    def off():
        active(False)
        return descriptors()

    before = off()
    for _ in range(4):
        active(True)
        shows(*PROSE)
        after = off()
    assert after <= before, (before, after)
    active(True)
    active(False)  # with a review under way
    active(True)
    shows(*PROSE)


def test_second_window():
    activate("/org/gnome/gedit", "new-window")
    wait(lambda: len(panels()) == 2, "a second window")
    assert len(children(editor.pid)) == 1, children(editor.pid)
    activate("/org/gnome/gedit/window/2", "close")  # its document
    activate("/org/gnome/gedit/window/2", "close")
    wait(lambda: len(panels()) == 1, "its end")
    editor.open(good)
    shows(*GOOD)


def test_children_are_perls():
    generations = descendants(editor.pid)
    assert len(generations[0]) == 1, generations
    others = [executable(pid) for pid in sum(generations, []) if executable(pid) != PERL]
    assert not others, others


def test_quits():
    status = editor.quit()
    assert status == 0, status
    wait(lambda: not perls(), "the end of all perls")


def test_never_forked():
    """Threads are made by the editor, and servers by vfork and exec; nothing is forked."""
    if not traces:
        return "no strace, or it must not trace"
    host, unfinished, servers = {str(editor.pid)}, {}, []
    executed = {}
    with open(trace, errors="replace") as lines:
        for line in lines:
            pid, text = line.split(None, 1)
            if "<unfinished ...>" in text:
                unfinished[pid] = text.split("<unfinished", 1)[0]
                continue
            text = re.sub(r"^<\.\.\. \w+ resumed>", lambda _: unfinished.pop(pid), text)
            made = re.search(r"= (\d+)$", text)
            if text.startswith("execve("):
                if made:
                    executed.setdefault(pid, text.split('"')[1])
            elif pid in host and made:
                if "CLONE_THREAD" in text:
                    host.add(made[1])
                else:
                    servers.append((made[1], text))
    print("# %d threads, %d servers" % (len(host) - 1, len(servers)))
    assert servers
    for pid, text in servers:
        assert text.startswith("vfork(") or "CLONE_VM|CLONE_VFORK" in text, text
        assert os.path.realpath(executed[pid]) == PERL, executed[pid]


def test_no_perl():
    global editor
    editor = Editor([prose], AFORK_PERL="/nonexistent/perl")
    wait(lambda: "No such file" in " ".join(shown()), "why there is none")
    assert editor.quit() == 0


def test_no_complaints():
    with open(complaints) as lines:
        # GTK says that itself for each page of a notebook that goes while somebody reads aloud.
        unexpected = [line for line in lines.read().splitlines()
                      if line and "gtk_notebook_get_tab_label" not in line]
    assert not unexpected, unexpected


main(globals())
