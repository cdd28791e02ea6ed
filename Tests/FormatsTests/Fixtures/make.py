"""Writes the small fixtures beside it, as numpy writes them: run once with numpy 2, results are checked in."""
import os
import numpy as np

os.chdir(os.path.dirname(os.path.abspath(__file__)))
x = np.arange(24).reshape(2, 3, 4)
for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
    np.save(f"c_{name}.npy", x.astype("<" + name))
np.save("fortran_f4.npy", np.asfortranarray(x.astype("<f4")))
np.save("bool.npy", x % 2 == 0)
bits = (x.astype("<f4").view("<u4") >> 16).astype("<u2")
np.save("bf16_void.npy", bits.view("V2"))
np.save("bf16_uint16.npy", bits)
np.save("object.npy", np.array([{"a": 1}, None], dtype=object))
np.save("big_endian.npy", x.astype(">f4"))
with open("version2.npy", "wb") as f:
    np.lib.format.write_array(f, x.astype("<f4"), version=(2, 0))
with open("version3.npy", "wb") as f:
    np.lib.format.write_array(f, x.astype("<f4"), version=(3, 0))
rng = np.random.default_rng(0)
scores = np.where(np.tri(6, dtype=bool), rng.normal(size=(2, 3, 6, 6)), -np.inf)
pattern = np.exp(scores - scores.max(-1, keepdims=True))
pattern = (pattern / pattern.sum(-1, keepdims=True)).astype("<f4")
np.savez("attention_stored.npz", attention=pattern, tokens_list=np.arange(6))
np.savez_compressed("attention_deflated.npz", attention=pattern)
np.savez("layers.npz", layer_0=pattern[0], layer_1=pattern[1])
np.savez("scores.npz", attn_scores=scores.astype("<f4"))
np.savez("object.npz", attention=np.array([pattern, None], dtype=object))
np.savez("qkv.npz", q=rng.normal(size=(4, 5, 8)).astype("<f2"), k=rng.normal(size=(2, 5, 8)).astype("<f2"),
         v=rng.normal(size=(2, 5, 8)).astype("<f2"))
np.savez_compressed("bomb.npz", attention=np.zeros((1, 1, 6000, 6000), "<f4"))

# Needs the `gguf` package: blocks of every quantised type and what they stand for.
import gguf
blocks = {}
for name in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "F16", "BF16"):
    kind = gguf.GGMLQuantizationType[name]
    size, width = gguf.GGML_QUANT_SIZES[kind]
    count = 512 // size
    raw = rng.integers(0, 256, (count, width), dtype=np.uint8)
    # Scales that are numbers: the high byte of each half keeps its sign and two mantissa bits.
    scales = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2],
              "Q6_K": [208], "F16": [0], "BF16": [0]}[name]
    for at in scales:
        raw[:, at + 1] = (raw[:, at + 1] & 0x83) | (0x3C if name == "BF16" else 0x28)
    blocks[name + "_raw"] = raw.reshape(-1)
    blocks[name + "_values"] = gguf.dequantize(raw, kind).reshape(-1).astype("<f4")
np.savez_compressed("quantised.npz", **blocks)
