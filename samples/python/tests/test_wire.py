"""Frames and lines: cut anywhere, lying, and byte for byte as WIRE.md has them."""
import json
import os
import re
import struct

import pytest
import torch
from attnscope import wire

WIRE = os.path.join(os.path.dirname(__file__), "..", "WIRE.md")


def documented():
    """The frames that WIRE.md shows in hexadecimal."""
    blocks = re.findall(r"((?:^    (?:[0-9a-f]{2} ?){2,16}\n)+)", open(WIRE).read(), re.M)
    return [bytes.fromhex(block.replace("\n", " ")) for block in blocks]


def header_blob(header, data=b""):
    words = json.dumps(header).encode()
    return struct.pack("<Q", len(words)) + words + data


def test_the_frames_of_the_document_are_read():
    hello, step = documented()
    (first, nothing), (second, _) = wire.Frames().feed(hello + step)
    assert first == {"kind": "hello", "head_dim": "2", "heads": "1", "kv_heads": "1", "layers": "1", "seq": "0"}
    assert second == {"kind": "step", "position": "0", "seq": "1", "token": "5"}
    assert nothing == {}


def test_the_package_makes_the_frames_of_the_document():
    hello, step = documented()
    assert wire.blob({}, {"head_dim": 2, "heads": 1, "kind": "hello", "kv_heads": 1, "layers": 1, "seq": 0}) == hello
    assert wire.frame("step", position=0, seq=1, token=5) == step


def everything():
    return {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in wire.TYPES} | {
        "none": torch.empty(0, 4), "number": torch.tensor(2.5), "turned": torch.arange(6.0).reshape(2, 3).T}


def test_every_type_comes_back():
    made = wire.frame("step", everything() | {"left": None}, step={"ms": 1.5}, out=None)
    (metadata, arrays), = wire.Frames().feed(made)
    assert metadata == {"kind": "step", "step": '{"ms": 1.5}'}
    assert set(arrays) == set(everything())
    for name, tensor in everything().items():
        assert arrays[name].dtype == tensor.dtype and torch.equal(arrays[name], tensor), name


def test_safetensors_reads_it():
    safetensors = pytest.importorskip("safetensors.torch")
    made = safetensors.load(wire.frame("step", everything()))
    for name, tensor in everything().items():
        assert torch.equal(made[name], tensor), name


def test_cut_at_every_byte():
    whole = b"".join(documented()) + wire.frame("answer", {"row": torch.rand(3)}, to=7)
    for cut in range(len(whole) + 1):
        frames = wire.Frames()
        made = frames.feed(whole[:cut]) + frames.feed(whole[cut:])
        assert [one[0]["kind"] for one in made] == ["hello", "step", "answer"], cut
        assert not frames.waiting
    frames = wire.Frames()
    assert sum(len(frames.feed(whole[at:at + 1])) for at in range(len(whole))) == 3


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
LIES = {
    "a header of 2^63 bytes": struct.pack("<Q", 1 << 63),
    "a header one byte too long": struct.pack("<Q", wire.LONGEST_HEADER + 1),
    "no JSON": struct.pack("<Q", 4) + b"{{{{",
    "no UTF-8": struct.pack("<Q", 4) + b"\xff\xff\xff\xff",
    "nesting without end": struct.pack("<Q", 100000) + b"[" * 100000,
    "no object": header_blob([1]),
    "no text": header_blob({"__metadata__": {"kind": 5}}),
    "metadata that is no object": header_blob({"__metadata__": [1]}),
    "an entry that is no object": header_blob({"a": 5}),
    "an unknown type": header_blob({"a": GOOD | {"dtype": "F3"}}, bytes(8)),
    "a type that is no text": header_blob({"a": GOOD | {"dtype": [1]}}, bytes(8)),
    "a gap": header_blob({"a": GOOD | {"data_offsets": [4, 12]}}, bytes(12)),
    "sizes that do not fit": header_blob({"a": GOOD | {"shape": [3]}}, bytes(8)),
    "negative sides": header_blob({"a": GOOD | {"shape": [-1, -2]}}, bytes(8)),
    "sides that are no numbers": header_blob({"a": GOOD | {"shape": ["2"]}}, bytes(8)),
    "sides that are fractions": header_blob({"a": GOOD | {"shape": [2.0]}}, bytes(8)),
    "offsets that are fractions": header_blob({"a": GOOD | {"data_offsets": [0.0, 8.0]}}, bytes(8)),
    "a side that is true": header_blob({"a": GOOD | {"shape": [2, True]}}, bytes(8)),
    "offsets that end first": header_blob({"a": GOOD | {"data_offsets": [8, 0]}}, bytes(8)),
    "more than a frame holds": header_blob({"a": {"dtype": "U8", "shape": [(1 << 30) + 1],
                                                  "data_offsets": [0, (1 << 30) + 1]}}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies(lie):
    with pytest.raises(wire.Malformed):
        wire.Frames().feed(LIES[lie])


def test_a_frame_too_large_is_not_made(monkeypatch):
    monkeypatch.setattr(wire, "LONGEST_DATA", 15)
    with pytest.raises(wire.Malformed, match="parts"):
        wire.blob({"a": torch.zeros(4)}, {})


def test_load_wants_one_frame(tmp_path):
    for name, data in {"two": b"".join(documented()), "cut": documented()[0][:-1], "none": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(wire.Malformed, match=name):
            wire.load(tmp_path / name)


def test_lines_in_pieces():
    said = b'{"do":"pause"}\nrubbish\n[1]\n\xff\xfe\n5\n\n{"ask":7}\n{"do":"r'
    for cut in range(len(said)):
        lines = wire.Lines()
        assert lines.feed(said[:cut]) + lines.feed(said[cut:]) == [{"do": "pause"}, {"ask": 7}], cut
        assert lines.feed(b'un"}\n') == [{"do": "run"}]


def test_nested_lines_are_passed_over():
    assert wire.Lines().feed(b"[" * 60000 + b"\n" + b'{"do":"run"}\n') == [{"do": "run"}]


def test_lines_are_bounded():
    longest = b'{"do":"' + b"x" * (wire.LONGEST_LINE - 9) + b'"}'
    assert len(longest) == wire.LONGEST_LINE
    assert len(wire.Lines().feed(longest + b"\n")) == 1
    assert wire.Lines().feed(longest + b" \n" + b'{"do":"run"}\n') == [{"do": "run"}]
    with pytest.raises(wire.Malformed):
        wire.Lines().feed(b"x" * (wire.LONGEST_LINE + 1))
