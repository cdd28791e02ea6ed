"""The door, the ring, and viewers that are slow, late, gone or rude."""
import os
import socket
import stat
import subprocess
import sys
import threading

import pytest
import torch
from attnscope import sender as senders
from attnscope import wire
from attnscope.sender import Ring, Sender
from conftest import LONG, wait_for


@pytest.fixture
def sends(path):
    made = []

    def make(to=path, **options):
        made.append(Sender(to, **options))
        return made[-1]
    yield make
    for one in made:
        one.close()


def steps(sender, count, size=0, first=0):
    for position in range(first, first + count):
        sender.push("step", {"layers.0.k": torch.zeros(1, 1, size)} if size else None, position=position, token=5)


def seqs(viewer):
    return [int(one[0]["seq"]) for one in viewer.frames if "seq" in one[0]]


def test_the_ring_drops_the_oldest():
    ring = Ring(100)
    for _ in range(10):
        ring.add(bytes(30))
    assert (len(ring.frames), ring.bytes, ring.first, ring.next) == (3, 90, 8, 11)
    ring.add(bytes(500))  # the newest stays, however large
    assert (len(ring.frames), ring.first, ring.next) == (1, 11, 12)


def test_a_late_joiner_gets_hello_and_the_ring(sends, viewers, path):
    sender = sends()
    steps(sender, 2)
    sender.hello(layers=1)
    steps(sender, 3, first=2)
    late = viewers(path)
    late.until(lambda one: one[0].get("seq") == "5")
    assert seqs(late) == [0, 1, 2, 3, 4, 5] and late.kinds[0] == "hello"
    back = viewers(path, seq=4)
    back.until(lambda one: one[0].get("seq") == "5")
    assert seqs(back) == [0, 4, 5]


def test_what_left_the_ring_is_counted(sends, viewers, path):
    sender = sends(ring=4000)
    sender.hello(layers=1)
    steps(sender, 10, size=250)
    late = viewers(path)
    late.until(lambda one: one[0].get("seq") == "10")
    first = seqs(late)[1]
    assert first > 1 and seqs(late) == [0, *range(first, 11)]
    sender.moment(phase="running")
    assert late.kind("moment")[0]["lost"] == str(first - 1)


def test_only_the_newest_moment_waits(sends, viewers, path):
    sender = sends()
    viewer = viewers(path)
    wait_for(lambda: sender.is_watched)
    for number in range(50):  # before hello nothing is written
        sender.moment(note=str(number))
    sender.hello(layers=1)
    steps(sender, 1)
    assert viewer.kind("moment")[0]["note"] == "49"
    sender.close()
    viewer.ended()
    assert viewer.kinds == ["hello", "step", "moment", "bye"]


def test_bye_is_last(sends, viewers, path):
    sender = sends()
    sender.hello(layers=1)
    viewer = viewers(path)
    viewer.kind("hello")
    steps(sender, 200)
    sender.close("enough")
    viewer.ended()
    assert viewer.frames[-1][0] == {"kind": "bye", "why": "enough"} and seqs(viewer) == list(range(201))
    sender.close()  # twice is once


def test_a_port_that_asks_for_a_token(sends, viewers):
    sender = sends("tcp:127.0.0.1:0", token="sesame")
    sender.hello(layers=1)
    for wrong in ("sesam", "sesame ", "é", None):
        stranger = viewers(sender.address, token=wrong)
        stranger.ended()
        assert "hello" not in stranger.kinds
    guest = viewers(sender.address, token="sesame")
    assert guest.kind("hello")
    number = viewers(sender.address, join=False)
    number.say({"do": "join", "seq": 0, "token": 5})
    number.ended()
    assert "hello" not in number.kinds


def test_a_port_for_other_machines_makes_a_token(sends):
    assert len(sends("tcp:0.0.0.0:0").token) == 32
    assert sends("tcp:127.0.0.1:0").token is None


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b'{"do":"run"}\n', b"\xff\x00\n", b"x" * 70000,
                                   b'{"do":"join","seq":"a"}\n', b'{"do":"join","seq":-5}\n',
                                   b'{"do":"join","seq":1e999}\n',
                                   b"[" * 50000 + b"\n", b'{"do":"join","seq":true}\n'])
def test_a_rude_first_line_harms_nobody(sends, viewers, path, first, monkeypatch):
    monkeypatch.setattr(senders, "JOIN_WAIT", 0.5)
    sender = sends()
    sender.hello(layers=1)
    rude = viewers(path, join=False)
    try:
        rude.say(first)
    except OSError:
        pass
    steps(sender, 1)
    polite = viewers(path)
    assert polite.kind("step")
    sender.close()
    rude.ended()


def test_a_file_gets_everything(sends, tmp_path):
    sender = sends(str(tmp_path / "run"), ring=2000)
    sender.hello(layers=1)
    steps(sender, 100, size=250)  # many times the ring
    sender.moment(phase="running")
    sender.close()
    frames = wire.Frames().feed((tmp_path / "run").read_bytes())
    assert [int(one[0]["seq"]) for one in frames if "seq" in one[0]] == list(range(101))
    assert frames[-1][0]["kind"] == "bye"
    assert "moment" not in [one[0]["kind"] for one in frames], "a recording is without moments"


def test_the_socket_is_the_users_and_goes(sends, path):
    sender = sends()
    assert stat.S_IMODE(os.stat(path[5:]).st_mode) == 0o600
    sender.close()
    assert not os.path.exists(path[5:])


def test_a_socket_left_behind_is_taken_and_one_in_use_is_not(sends, path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path[5:])
    dead.close()
    sends()
    with pytest.raises(OSError):
        Sender(path)
    assert os.path.exists(path[5:]), "the one in use stays"


def test_a_file_in_the_way_stays(path):
    with open(path[5:], "w") as file:
        file.write("mine")
    with pytest.raises(OSError):
        Sender(path)
    assert open(path[5:]).read() == "mine"


def test_a_slow_reader_does_not_slow_the_model(sends, path):
    sender = sends(ring=1 << 20)
    sender.hello(layers=1)
    slow = socket.socket(socket.AF_UNIX)
    slow.connect(path[5:])
    slow.sendall(b'{"do":"join","seq":0}\n')
    wait_for(lambda: sender.is_watched)
    done = threading.Event()
    threading.Thread(target=lambda: (steps(sender, 300, size=10000), done.set()), daemon=True).start()
    assert done.wait(LONG), "pushing waits for a viewer that reads nothing"
    assert sender.ring.bytes <= 1 << 20
    slow.close()


def test_a_viewer_that_dies(sends, viewers, path):
    told = []
    sender = sends(on_line=lambda link, line: told.append((link, line)))
    sender.hello(layers=1)
    other = viewers(path)
    other.kind("hello")
    dead = viewers(path)
    dead.kind("hello")
    dead.close()
    wait_for(lambda: len(sender.links) == 1)
    steps(sender, 2)
    other.until(lambda one: one[0].get("seq") == "2")
    assert (None, {"do": "run"}) not in told, "somebody is there who can go on"
    other.close()
    wait_for(lambda: (None, {"do": "run"}) in told, "a run that is paused goes on when the last one left")


def test_garbage_upstream(sends, viewers, path):
    told = []
    sender = sends(on_line=lambda link, line: told.append(line))
    sender.hello(layers=1)
    viewer = viewers(path)
    viewer.kind("hello")
    viewer.say(b'\xff\xfe\n{"do":\nnull\n[1]\n' + b"[" * 50000 + b"\n" + b'{"do":"pause"}\n')
    wait_for(lambda: told == [{"do": "pause"}])
    viewer.say(b"x" * (wire.LONGEST_LINE + 2))
    viewer.ended()
    wait_for(lambda: not sender.is_watched)


def test_a_peer_that_never_joins_is_shown_out(sends, viewers, path, monkeypatch):
    monkeypatch.setattr(senders, "JOIN_WAIT", 0.2)
    sends().hello(layers=1)
    silent = viewers(path, join=False)
    silent.ended()
    assert "hello" not in silent.kinds


PIPE = """
import sys; sys.path.insert(0, sys.argv[1])
from attnscope.sender import Sender
sender = Sender("-")
print("for people")
sender.hello(layers=1)
sender.push("step", position=0, token=5)
sender.close()
"""


def test_the_pipe_carries_frames_alone():
    folder = os.path.dirname(os.path.dirname(os.path.abspath(senders.__file__)))
    made = subprocess.run([sys.executable, "-c", PIPE, folder], capture_output=True, timeout=4 * LONG)
    frames = wire.Frames().feed(made.stdout)
    assert [one[0]["kind"] for one in frames] == ["hello", "step", "bye"], made.stderr
    assert b"for people" in made.stderr
    assert frames[0][0]["upstream"].startswith("unix:") and not os.path.exists(frames[0][0]["upstream"][5:])
