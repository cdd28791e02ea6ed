"""What deployed kernels count, and what they do: probes ModelOpt's Triton kernel and our own, on real Q and K.

    python3 probe_kernels.py samples/smollm2-log-832.safetensors --out FOLDER [--modelopt FOLDER_OF_THE_UNPACKED_WHEEL]

Prints a line a kernel and threshold, and writes a dump of each that `attnscope open` shows. Needs a GPU for the Triton
kernels; without one the plain kernel of the package is probed alone.
"""
import argparse
import importlib.util
import json
import os
import sys
import types

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from attnscope import Rules, Tile, kernels, probe, wire  # noqa: E402


def modelopt(folder):
    """`attention` of ModelOpt's Triton kernel without the rest of the package, which wants much more."""
    if folder and importlib.util.find_spec("modelopt") is None:
        sys.path.insert(0, folder)
    root = os.path.join(folder or os.path.dirname(importlib.util.find_spec("modelopt").origin), "")
    root = os.path.join(root, "modelopt") if os.path.isdir(os.path.join(root, "modelopt")) else root
    for name in ("", ".torch", ".torch.kernels", ".torch.kernels.common", ".torch.kernels.common.attention",
                 ".torch.kernels.sparsity", ".torch.kernels.sparsity.attention", ".torch.kernels.quantization",
                 ".torch.kernels.quantization.attention", ".torch.kernels.quantization.common"):
        package = types.ModuleType("modelopt" + name)
        package.__path__ = [os.path.join(root, *name.split(".")[1:])]
        sys.modules["modelopt" + name] = package
    from modelopt.torch.kernels.common.attention.triton_fa import attention
    return attention


def of_modelopt(attention, lambda_, scale, measure=False):
    """The kernel as the probe calls one; with `measure` what it counts."""
    def run(q, k, v):
        n, m = q.shape[2], k.shape[2]
        flat = [x[0].transpose(0, 1).contiguous() for x in (q, k, v)]
        starts, lengths = torch.zeros(1, dtype=torch.int32, device=q.device), torch.full((1,), n, dtype=torch.int32,
                                                                                         device=q.device)
        more = {} if n == m else {"b_start_loc_k": starts, "b_seq_len_k": torch.full_like(lengths, m), "max_input_len_k": m}
        out = attention(*flat, starts, lengths, n, True, scale, skip_softmax_threshold=lambda_, measure_sparsity=measure,
                        **more)
        run.counted = (getattr(out, "_sparsity_skipped", 0), getattr(out, "_sparsity_total", 0))
        return out.transpose(0, 1)[None]
    return run


def report(found, rows, out, name):
    best = [one.json() for one in found.agreement[:1]]
    print(found, best, flush=True)
    rows.append({"name": name, "threshold": found.threshold, "phase": found.phase, "found": found.json()})
    if out:
        print("   ", found.save(os.path.join(out, f"probe-{name}-{found.threshold}.safetensors".replace(" ", "-"))))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("dump")
    arguments.add_argument("--layer", type=int, default=12)
    arguments.add_argument("--repeat", type=int, default=1, help="so many times the text, for a longer one")
    arguments.add_argument("--out")
    arguments.add_argument("--modelopt", help="the unpacked wheel of nvidia-modelopt")
    chosen = arguments.parse_args()
    metadata, arrays = wire.load(chosen.dump)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    q, k = (arrays[f"layers.{chosen.layer}.{one}"].to(device)[None].repeat(1, 1, chosen.repeat, 1) for one in "qk")
    scale, rows = float(metadata.get("scale", q.shape[-1] ** -0.5)), []
    if chosen.out:
        os.makedirs(chosen.out, exist_ok=True)
    attention = modelopt(chosen.modelopt) if chosen.modelopt and device == "cuda" else None
    for lambda_ in (0.01, 0.1, 0.5):
        plain = kernels.Torch()
        tile = Tile(64, 32)
        rules = Rules(scale)
        found = probe(lambda q, k, v: plain(q[0], k[0], v[0], rules, lambda_, tile)[0][None], q, k, threshold=lambda_,
                      scale=scale, kernel=plain.name)
        report(found, rows, None, "torch")
        if device == "cpu":
            continue
        from attnscope import triton as ours
        for tile in (Tile(128, 64), Tile(64, 32), Tile(128, 128, order="descending")):
            found = probe(lambda q, k, v: ours.prefill(q, k, v, scale=scale, lambda_=lambda_, tile=tile, order=tile.order)[0],
                          q, k, threshold=lambda_, scale=scale, kernel="attnscope triton prefill")
            report(found, rows, None, "triton prefill")
        for splits, exact in ((1, False), (4, True), (4, False)):
            found = probe(lambda q, k, v: ours.decode(q, k, v, scale=scale, lambda_=lambda_, tile=Tile(1, 64, "group"),
                                                      splits=splits, exact=exact)[0],
                          q[:, :, -1:], k, threshold=lambda_, scale=scale,
                          kernel=f"attnscope triton decode, {splits} splits{' exact' * exact}")
            report(found, rows, None, "triton decode")
        if attention:
            counter = of_modelopt(attention, lambda_, scale, True)
            counter(q, k, torch.ones_like(k))
            skipped, total = counter.counted
            found = probe(of_modelopt(attention, lambda_, scale), q, k, threshold=lambda_, scale=scale,
                          kernel="modelopt triton attention", counted={"sparsity": skipped / total, "tile": "128x128"})
            report(found, rows, chosen.out, "modelopt prefill")
            one = of_modelopt(attention, lambda_, scale, True)
            one(q[:, :, -1:], k, torch.ones_like(k))
            skipped, total = one.counted
            found = probe(of_modelopt(attention, lambda_, scale), q[:, :, -1:], k, threshold=lambda_, scale=scale,
                          kernel="modelopt triton attention", counted={"sparsity": skipped / total, "tile": "128x128"})
            report(found, rows, None, "modelopt decode")
    if chosen.out:
        with open(os.path.join(chosen.out, "probes.json"), "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
