"""What several tests share: the package on the path, and a viewer that writes down what it is told."""
import json
import os
import socket
import sys
import threading
import time

import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
for folder in (os.path.dirname(HERE), HERE):
    sys.path.insert(0, folder)

from attnscope import wire  # noqa: E402

LONG = 20  # seconds that a wait may last


class Viewer:
    """Connects, joins, and keeps every frame; `until` waits for one that satisfies a condition."""

    def __init__(self, address, join=True, seq=0, token=None):
        if address.startswith("unix:"):
            self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.peer.connect(address[5:])
        else:
            host, port = address[4:].rsplit(":", 1)
            self.peer = socket.create_connection((host, int(port)), LONG)
        self.frames, self.changed, self.is_over, self.failure = [], threading.Condition(), False, None
        if join:
            self.say({"do": "join", "seq": seq} | ({"token": token} if token else {}))
        self.thread = threading.Thread(target=self.reads, daemon=True)
        self.thread.start()

    def say(self, line):
        self.peer.sendall(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")

    def reads(self):
        frames = wire.Frames()
        try:
            while data := self.peer.recv(1 << 16):
                made = frames.feed(data)
                with self.changed:
                    self.frames += made
                    self.changed.notify_all()
        except (OSError, wire.Malformed) as error:
            self.failure = error
        with self.changed:
            self.is_over = True
            self.changed.notify_all()

    def until(self, condition, what="a frame"):
        with self.changed:
            found = []

            def there():
                found[:] = [one for one in self.frames if condition(one)]
                return found or self.is_over
            assert self.changed.wait_for(there, LONG) and found, f"{what} did not come: {self.kinds}"
            return found[0]

    def kind(self, kind):
        return self.until(lambda one: one[0]["kind"] == kind, kind)

    def ask(self, number, what, **more):
        self.say({"ask": number, "what": what} | more)
        return self.until(lambda one: one[0].get("to") == str(number), f"the answer to {number}")

    def ended(self):
        with self.changed:
            assert self.changed.wait_for(lambda: self.is_over, LONG), "the connection did not end"

    @property
    def kinds(self):
        return [one[0]["kind"] for one in self.frames]

    def of(self, kind):
        return [one for one in self.frames if one[0]["kind"] == kind]

    def close(self):
        try:
            self.peer.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.peer.close()


def wait_for(condition, what="it"):
    """Looks often, for a bounded time, at what has no marker of its own."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {LONG} s"
        time.sleep(0.005)


@pytest.fixture
def viewers():
    """`viewers(address)` connects; all are closed at the end."""
    made = []

    def connect(address, **options):
        made.append(Viewer(address, **options))
        return made[-1]
    yield connect
    for one in made:
        one.close()


@pytest.fixture
def path(tmp_path):
    return f"unix:{tmp_path}/run.sock"
