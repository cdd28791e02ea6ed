"""Frames of the wire and lines that come back (WIRE.md): bytes in, bytes out, nothing that waits.

A frame is a safetensors blob, so `blob` also writes dumps. Only torch is needed.
"""
import ctypes
import json
import struct

import torch

WIRE = 1
LONGEST_HEADER = 32 << 20
LONGEST_DATA = 1 << 30
LONGEST_LINE = 64 << 10

TYPES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64",
    torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
}
NAMED = {name: kind for kind, name in TYPES.items()}


class Malformed(ValueError):
    """What is no frame, or no line: a sentence that says where it goes wrong."""


def raw(tensor):
    """The bytes of a tensor, row by row."""
    tensor = tensor.detach().to("cpu").contiguous()
    return ctypes.string_at(tensor.data_ptr(), tensor.nbytes) if tensor.nbytes else b""


def text(value):
    """A value of metadata: texts as they are, all else as JSON (numbers are texts, too)."""
    return value if isinstance(value, str) else json.dumps(value)


def blob(arrays, metadata):
    """A safetensors file: `arrays` by name (tensors), `metadata` whose values become texts; None is left out."""
    header, parts, at = {"__metadata__": {k: text(v) for k, v in metadata.items() if v is not None}}, [], 0
    for name, tensor in arrays.items():
        if tensor is None:
            continue
        data = raw(tensor)
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    if at > LONGEST_DATA:
        raise Malformed(f"a frame of {at} bytes: {LONGEST_DATA} are the most; send it in parts")
    words = json.dumps(header, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    return b"".join([struct.pack("<Q", len(words)), words, *parts])


def frame(kind, arrays=None, **metadata):
    """A frame of the wire; `seq` is among the metadata where the kind has one."""
    return blob(arrays or {}, {"kind": kind, **metadata})


class Frames:
    """Bytes in pieces to frames `(metadata, arrays)`, each `arrays` {name: tensor}."""

    def __init__(self):
        self.waiting = bytearray()

    def feed(self, data):
        """The frames that are whole now. Raises `Malformed` for a header that lies."""
        self.waiting += data
        out = []
        while len(self.waiting) >= 8:
            length, = struct.unpack_from("<Q", self.waiting)
            if length > LONGEST_HEADER:
                raise Malformed(f"a header of {length} bytes")
            if len(self.waiting) < 8 + length:
                break
            header = header_of(bytes(self.waiting[8:8 + length]))
            size = max([entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"] or [0])
            if len(self.waiting) < 8 + length + size:
                break
            data = bytes(self.waiting[8 + length:8 + length + size])
            del self.waiting[:8 + length + size]
            out.append((header.pop("__metadata__", {}), {name: array(entry, data) for name, entry in header.items()}))
        return out


def header_of(words):
    """The JSON of a header, checked as far as sizes go."""
    try:
        header = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"a header that is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise Malformed("a header that is no object")
    texts = header.get("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        raise Malformed("metadata that are no texts")
    ends = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            begin, end = entry["data_offsets"]
            size = torch.empty(0, dtype=NAMED[entry["dtype"]]).element_size()
            for side in entry["shape"]:
                size *= side
            whole = all(type(number) is int and number >= 0 for number in (begin, end, *entry["shape"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Malformed(f"{name} is not described ({error})") from None
        if not whole:
            raise Malformed(f"{name} has sides or offsets that are no whole numbers")
        if begin != ends or end - begin != size or end > LONGEST_DATA:
            raise Malformed(f"{name} is said to lie at {begin} to {end}")
        ends = end
    return header


def array(entry, data):
    begin, end = entry["data_offsets"]
    if begin == end:
        return torch.empty(entry["shape"], dtype=NAMED[entry["dtype"]])
    return torch.frombuffer(bytearray(data[begin:end]), dtype=NAMED[entry["dtype"]]).reshape(entry["shape"])


def load(path):
    """`(metadata, arrays)` of a safetensors file."""
    with open(path, "rb") as file:
        frames = Frames()
        found = frames.feed(file.read())
    if len(found) != 1 or frames.waiting:
        raise Malformed(f"{path} is no single safetensors blob")
    return found[0]


class Lines:
    """Bytes in pieces to the lines of a viewer, each a JSON object; what is none is passed over."""

    def __init__(self):
        self.waiting = b""

    def feed(self, data):
        """Raises `Malformed` for a line that never ends."""
        *lines, self.waiting = (self.waiting + data).split(b"\n")
        if len(self.waiting) > LONGEST_LINE:
            raise Malformed("a line that does not end")
        out = []
        for line in lines:
            try:
                made = json.loads(line) if len(line) <= LONGEST_LINE else None
            except (ValueError, RecursionError):
                continue
            if isinstance(made, dict):
                out.append(made)
        return out
