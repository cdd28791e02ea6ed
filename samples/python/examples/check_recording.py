"""Holds what a kernel counted against double precision, from the Q and K that a recording carries.

    python3 check_recording.py ../../gpu/gpu-run.safetensors

Prints how many decisions differ, and how many margins lie within 1e-3 nats of ln lambda, where either is right.
"""
import json
import math
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from attnscope import Rules, Tile, wire  # noqa: E402
from attnscope import rules as definitions  # noqa: E402


def main():
    if len(sys.argv) != 2:
        sys.exit("check_recording.py FILE: a recording with Q and K, as --carry makes it")
    with open(sys.argv[1], "rb") as file:
        frames = wire.Frames().feed(file.read())
    hello, layers, q, k = frames[0][0], [], {}, {}
    layers = json.loads(hello.get("layer_numbers") or json.dumps(list(range(int(hello["layers"])))))
    heads, wrong, counted, close, steps = int(hello["heads"]), 0, 0, 0, 0
    for metadata, arrays in frames[1:]:
        if metadata["kind"] not in ("prefill", "step"):
            continue
        for layer in layers:
            for name, kept in (("q", q), ("k", k)):
                part = arrays[f"layers.{layer}.{name}"].double()
                kept[layer] = torch.cat([kept[layer], part], 1) if layer in kept else part
        if "skipped" not in arrays:
            continue
        facts, steps = json.loads(metadata["step"]), steps + 1
        tile = Tile(facts["rows"], facts["keys"], facts["vote"], facts["order"])
        for place, layer in enumerate(layers):
            at = torch.tensor([k[layer].shape[1] - 1])
            scores = Rules(float(hello["scale"])).scores(q[layer][:, -1:], k[layer], at, exact=torch.float64)
            margin = definitions.margins(scores, tile, k[layer].shape[0])
            share = heads // margin.shape[0]
            skipped = definitions.skips(margin, facts["lambda"]).sum((1, 2)).repeat_interleave(share)
            near = ((margin - math.log(max(facts["lambda"], 1e-300))).abs() < 1e-3).sum((1, 2)).repeat_interleave(share)
            off = (arrays["skipped"][place] - skipped).abs()
            wrong += int((off - near).clamp(min=0).sum())
            close += int(near.sum())
            counted += int(arrays["visible"][place].sum())
    print(f"{steps} steps, {counted} decisions of {len(layers)} layers: {wrong} differ outside ties ({close} are ties)")


if __name__ == "__main__":
    main()
