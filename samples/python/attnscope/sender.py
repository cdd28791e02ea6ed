"""Where frames go: a file, the standard output, a socket that viewers come to, or a viewer that is started here.

The model never waits. Frames that somebody may want who comes late (hello, prefill, step, findings) wait in a ring; the
oldest go when it is full, and a viewer sees from `seq` how many. Of moments only the newest waits. A file alone gets all.
"""
import collections
import contextlib
import os
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

from . import wire

RING = 256 << 20
JOIN_WAIT = 10  # seconds for a viewer's first line
SEND_WAIT = 30  # seconds for a viewer that takes nothing, at the end


class Ring:
    """Frames in the order of their `seq`, the newest `most` bytes of them."""

    def __init__(self, most):
        self.frames, self.most, self.bytes, self.first, self.hello = collections.deque(), most, 0, 1, None

    def add(self, data):
        """`data` has the number `next`."""
        self.frames.append(data)
        self.bytes += len(data)
        while self.bytes > self.most and len(self.frames) > 1:
            self.bytes -= len(self.frames.popleft())
            self.first += 1

    @property
    def next(self):
        return self.first + len(self.frames)


class Link:
    """One viewer: a thread writes what is new for it, another reads what it says."""

    def __init__(self, sender, write, read=None, close=None, seq=0, keeps_all=False):
        self.sender, self.write, self.read, self.close_it = sender, write, read, close
        self.at, self.answers, self.moment, self.lost = max(seq, 1), collections.deque(), None, 0
        self.is_open, self.keeps_all, self.said_hello, self.progress = True, keeps_all, False, time.monotonic()
        self.threads = [threading.Thread(target=self.writes, daemon=True, name="attnscope-writes")]
        if read:
            self.threads.append(threading.Thread(target=self.reads, daemon=True, name="attnscope-reads"))
        for thread in self.threads:
            thread.start()

    def due(self):
        """The next bytes for this viewer, or None; called with the sender's lock."""
        ring = self.sender.ring
        if not self.said_hello:
            if ring.hello is None:
                return None
            self.said_hello = True
            return ring.hello
        if self.answers:
            return self.answers.popleft()
        if self.at < ring.first:
            self.lost += ring.first - self.at
            self.at = ring.first
        if self.at < ring.next:
            self.at += 1
            if self.keeps_all:
                self.sender.changed.notify_all()  # a push may wait for room
            return ring.frames[self.at - 1 - ring.first]
        if self.moment is not None:
            data, self.moment = self.moment, None
            return data
        return None

    def writes(self):
        sender = self.sender
        while True:
            with sender.changed:
                data = self.due()
                while data is None and not sender.is_over and self.is_open:
                    sender.changed.wait()
                    data = self.due()
                if data is None:
                    data, last = sender.bye if self.is_open else None, True
                else:
                    last = False
            try:
                if data:
                    self.write(data)
                self.progress = time.monotonic()
            except OSError:
                last = True
            if last:
                break
        self.drop()

    def reads(self):
        lines = wire.Lines()
        try:
            while self.is_open and (data := self.read()):
                for line in lines.feed(data):
                    self.sender.told(self, line)
        except (OSError, wire.Malformed):
            pass
        self.drop()

    def answer(self, data):
        with self.sender.changed:
            self.answers.append(data)
            self.sender.changed.notify_all()

    def drop(self):
        with self.sender.changed:
            was, self.is_open = self.is_open, False
            with contextlib.suppress(ValueError):
                self.sender.links.remove(self)
            self.sender.changed.notify_all()
        if was and self.close_it:
            with contextlib.suppress(OSError):
                self.close_it()
        if was:
            self.sender.left()


class Sender:
    """Numbers frames and hands them to whoever is there.

    `to` is a path, "-", "unix:PATH", "tcp:HOST:PORT" (port 0: any) or "viewer" (starts `program`, which takes the
    terminal). `on_line` gets each line of a viewer with the link it came by. `token` is what a TCP door asks for; one
    that is open to other machines makes its own.
    """

    def __init__(self, to, on_line=None, ring=RING, token=None, program="attnscope"):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.ring, self.links, self.is_over, self.bye = Ring(ring), [], False, None
        self.on_line, self.token, self.to, self.door, self.viewer = on_line, token, to, None, None
        self.ends = []  # what is undone at the end
        self.address = to
        if to == "-":
            self.to_stdout()
        elif to == "viewer":
            self.to_viewer(program)
        elif to.startswith("unix:"):
            self.at_path(to[5:])
        elif to.startswith("tcp:"):
            self.at_port(*to[4:].rpartition(":")[::2])
        else:
            file = open(to, "wb")  # noqa: SIM115, closed by its link
            with self.changed:
                self.links.append(Link(self, lambda data: written(file, data), None, file.close, keeps_all=True))

    # ---- sinks ----

    def to_stdout(self):
        """The pipe behind the standard output; what the program prints goes to standard error from now on.

        A pipe has no way back, so hello names a socket for it (`upstream`), in a folder of this user's.
        """
        out = os.dup(1)
        os.dup2(2, 1)
        with self.changed:
            self.links.append(link := Link(self, lambda data: all_of(out, data), None, lambda: os.close(out)))
        self.back = self.private("upstream.sock")
        self.listen(socket.AF_UNIX, self.back, lambda peer: self.hears(peer, link))

    def to_viewer(self, program):
        path = self.private("run.sock")
        self.at_path(path)
        self.viewer = subprocess.Popen([program, "open", "unix:" + path])

    def private(self, name):
        folder = tempfile.mkdtemp(prefix="attnscope-")
        path = os.path.join(folder, name)

        def clear():
            with contextlib.suppress(OSError):
                os.unlink(path)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        self.ends.append(clear)
        return path

    def at_path(self, path):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.lstat(path).st_mode) and not answers(path):
                os.unlink(path)  # left by a run that is over
        self.listen(socket.AF_UNIX, path, self.welcome)

        def clear():
            with contextlib.suppress(OSError):
                os.unlink(path)
        self.ends.append(clear)

    def at_port(self, host, port):
        if self.token is None and host not in ("127.0.0.1", "localhost", "::1"):
            self.token = secrets.token_hex(16)
        door = self.listen(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, int(port)), self.welcome)
        self.address = f"tcp:{host}:{door.getsockname()[1]}"

    def listen(self, family, address, greet):
        door = socket.socket(family, socket.SOCK_STREAM)
        if family != socket.AF_UNIX:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(address)
        else:
            before = os.umask(0o177)
            try:
                door.bind(address)
            finally:
                os.umask(before)
        door.listen(8)

        def accepts():
            while True:
                try:
                    peer, _ = door.accept()
                except OSError:
                    return
                threading.Thread(target=greet, args=(peer,), daemon=True).start()
        threading.Thread(target=accepts, daemon=True, name="attnscope-door").start()
        self.ends.append(lambda: shut(door))
        return door

    def welcome(self, peer):
        """A viewer: its first line says from which frame on it wants to hear, and the token."""
        lines, first, more = wire.Lines(), None, []
        peer.settimeout(JOIN_WAIT)
        try:
            while first is None and (data := peer.recv(1 << 16)):
                first, *more = lines.feed(data) or [None]
        except (OSError, wire.Malformed):
            first = None
        if first is None or first.get("do") != "join" or not self.admits(first.get("token")):
            with contextlib.suppress(OSError):
                if first is not None:
                    peer.sendall(wire.frame("error", message="this door asks for a token (--token)"))
            peer.close()
            return
        peer.settimeout(None)
        seq = first.get("seq")
        with self.changed:  # its threads begin when it is among the links
            self.links.append(link := Link(self, peer.sendall, lambda: peer.recv(1 << 16), lambda: shut(peer),
                                           seq if type(seq) is int else 0))
        for line in more:
            self.told(link, line)

    def admits(self, token):
        return self.token is None or (isinstance(token, str) and secrets.compare_digest(token.encode(), self.token.encode()))

    def hears(self, peer, link):
        """What the viewer of a pipe says comes by a socket of its own."""
        lines = wire.Lines()
        try:
            while data := peer.recv(1 << 16):
                for line in lines.feed(data):
                    self.told(link, line)
        except (OSError, wire.Malformed):
            pass
        peer.close()
        self.left()

    # ---- frames ----

    @property
    def is_watched(self):
        return bool(self.links)

    @property
    def is_ready(self):
        """Hello was said."""
        return self.ring.hello is not None

    def hello(self, arrays=None, **metadata):
        if getattr(self, "back", None):
            metadata["upstream"] = "unix:" + self.back
        with self.changed:
            self.ring.hello = wire.frame("hello", arrays, seq=0, **metadata)
            self.changed.notify_all()

    def push(self, kind, arrays=None, **metadata):
        """A frame with a `seq`: prefill, step or findings."""
        with self.changed:
            data = wire.frame(kind, arrays, seq=self.ring.next, **metadata)
            if any(link.keeps_all for link in self.links):
                while self.ring.bytes + len(data) > self.ring.most and any(
                        link.keeps_all and link.at < self.ring.next for link in self.links):
                    self.changed.wait(1)
            self.ring.add(data)
            self.changed.notify_all()

    def moment(self, **metadata):
        """Where the run stands; the newest alone waits."""
        with self.changed:
            for link in self.links:
                if link.keeps_all:
                    continue  # a recording is without moments
                lost = {"lost": link.lost} if link.lost else {}
                link.moment = wire.frame("moment", **metadata, **lost)
            self.changed.notify_all()

    def told(self, link, line):
        if self.on_line:
            self.on_line(link, line)

    def left(self):
        if self.on_line and not self.is_watched:
            self.on_line(None, {"do": "run"})  # nobody is there who could go on

    def close(self, why="the run is over"):
        """Says why, waits until what there is has gone (as long as it goes), and lets go."""
        with self.changed:
            if self.is_over:
                return
            self.is_over, self.bye = True, wire.frame("bye", why=why)
            links = list(self.links)
            self.changed.notify_all()
        for link in links:
            while link.threads[0].is_alive() and time.monotonic() - link.progress < SEND_WAIT:
                link.threads[0].join(0.1)
        if self.viewer:
            self.viewer.wait()
        for end in reversed(self.ends):
            end()


def written(file, data):
    file.write(data)
    file.flush()


def all_of(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def answers(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def shut(peer):
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)
    peer.close()


def note(sentence):
    """For whoever started the run."""
    print(f"attnscope: {sentence}", file=sys.stderr)


def reply(link, number, what, arrays=None, **metadata):
    link.answer(wire.frame("answer", arrays, to=number, what=what, **metadata))
