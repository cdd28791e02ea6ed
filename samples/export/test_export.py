"""Checks the exporters of this folder against transformers itself, with tiny random models; nothing is downloaded.

    python3 samples/export/test_export.py
    python3 samples/export/test_export.py attnscope    (also lets that program read every dump)

For each kind of model, softmax(Q K^T * scale) under a causal mask, from the dump, must be what the model gives as its
attentions, within 1e-4 (f32) or 2e-2 (f16), and with V its attention output. Where torch or transformers is missing it
says that it skipped, and exits with 0.
"""
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import torch
    from safetensors import safe_open
    import torch_sdpa_hook
    import transformers_qkv
except (ImportError, SystemExit) as error:
    print(f"skipped: {error}")
    sys.exit(0)

TEXT = "The keeper copied the log: \"Rain all night\" – and the cistern was full.\n" * 3
LAYERS = [0, 2]
KINDS = ("llama", "qwen2", "qwen3", "mistral")
checks = 0


def check(holds, sentence):
    global checks
    checks += 1
    if not holds:
        sys.exit(f"failed: {sentence}")


def read(path):
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def patterns(tensors, metadata, layer):
    """[Hq, n, n] from the dump alone, in float64."""
    q, k = (tensors[f"layers.{layer}.{name}"].astype(np.float64) for name in "qk")
    scores = q @ np.repeat(k, len(q) // len(k), axis=0).transpose(0, 2, 1) * float(metadata["scale"])
    scores[:, ~np.tri(*scores.shape[1:], dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def truth(kind):
    """The model's own attentions and the inputs of its output projections, with eager attention."""
    model, outputs = transformers_qkv.tiny(kind, "eager"), {}
    for index, layer in enumerate(model.base_model.layers):
        layer.self_attn.o_proj.register_forward_pre_hook(
            lambda module, inputs, index=index: outputs.update({index: inputs[0][0].detach().numpy()}))
    with torch.no_grad():
        attentions = model(input_ids(), output_attentions=True).attentions
    return {layer: attentions[layer][0].numpy() for layer in LAYERS}, outputs


def input_ids():
    return torch.tensor([[ord(letter) % 256 for letter in TEXT]])


def export(*words):
    """Runs the script as a user would; returns what it said when it refused, or None."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            transformers_qkv.main(list(words))
        except SystemExit as refusal:
            return str(refusal)


def compare(path, kind, tolerance, program):
    tensors, metadata = read(path)
    attentions, outputs = truth(kind)
    check(json.loads(metadata.get("tokens", "[]")) == list(TEXT), f"{path}: the token texts are another text")
    check(metadata["causal"] == "true" and metadata["rope_applied"] == "true", f"{path}: metadata {metadata}")
    for layer in LAYERS:
        pattern = patterns(tensors, metadata, layer)
        worst = np.abs(pattern - attentions[layer]).max()
        check(worst <= tolerance, f"{path}: the pattern of layer {layer} is off by {worst:.2g}, {tolerance:g} is allowed")
        check(attentions[layer][:, -1].max() > 5 / len(TEXT), f"{kind}: the patterns are too flat to tell anything")
        v = tensors[f"layers.{layer}.v"].astype(np.float64)
        output = (pattern @ np.repeat(v, len(pattern) // len(v), axis=0)).transpose(1, 0, 2).reshape(len(TEXT), -1)
        off = np.abs(output - outputs[layer]).max() / np.abs(outputs[layer]).max()
        check(off <= tolerance, f"{path}: the outputs of layer {layer} are off by {off:.2g} of the largest")
    if program:
        info = json.loads(subprocess.run([program, "info", path, "--json"], check=True, capture_output=True).stdout)
        good = info["guesses"] == [] and info["layers"] == LAYERS and info["tokens"] == len(TEXT)
        check(good, f"{program} reads {path} as {info}")
    return worst


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else None
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = os.path.join(folder, f"{kind}.safetensors")
            words = ["--random-tiny", kind, "--prompt", TEXT, "--layers", "0,2", "-o", path]
            check(export(*words) is None, f"{kind} in f16 was refused")
            compare(path, kind, 2e-2, program)
            check("--overwrite" in (export(*words) or ""), "a file that exists was not refused")
            check(export(*words, "--dtype", "f32", "--overwrite") is None, f"{kind} in f32 was refused")
            worst = max(worst, compare(path, kind, 1e-4, program))

            with torch.no_grad(), torch_sdpa_hook.record(layers=LAYERS) as calls:
                transformers_qkv.tiny(kind)(input_ids())
            check(calls.count == 3, f"{kind}: the hook saw {calls.count} calls of 3")
            calls.save(path, tokens=TEXT, model=kind)
            worst = max(worst, compare(path, kind, 1e-4, program))
        check(sorted(os.listdir(folder)) == sorted(f"{kind}.safetensors" for kind in KINDS), "something was left behind")
    print(f"ok: {checks} checks of {', '.join(KINDS)}; the largest difference of a pattern in f32 is {worst:.1g}")


if __name__ == "__main__":
    main()
