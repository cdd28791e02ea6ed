"""llama.cpp on the wire: Q, K and V of every layer as its graph computes them, by llama-cpp-python's `cb_eval`.

    python3 llama_cpp.py model.gguf --prompt "Once upon a time" --to unix:/tmp/run.sock

llama.cpp calls back with every node of its graph. `Qcur-N`, `Kcur-N` and `Vcur-N` come several times, before and after
rotation: the last before `kq_soft_max-N` is what is multiplied. That node is there with flash attention off alone, and
says what the newest row gives key 0. Layers run on the CPU, so that a node's data can be read where they lie.
"""
import argparse
import collections
import ctypes
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [one for one in sys.path if os.path.abspath(one or ".") != HERE]  # this file has the library's name
import llama_cpp  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, os.path.dirname(HERE))
from attnscope.sender import Sender  # noqa: E402

WANTED = re.compile(rb"(Qcur|Kcur|Vcur|kq_soft_max)-(\d+)$")


class Node(ctypes.Structure):
    """`struct ggml_tensor` as ggml.h has it."""
    _fields_ = [("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4),
                ("nb", ctypes.c_size_t * 4), ("op", ctypes.c_int), ("op_params", ctypes.c_int32 * 16),
                ("flags", ctypes.c_int32), ("src", ctypes.c_void_p * 10), ("view_src", ctypes.c_void_p),
                ("view_offs", ctypes.c_size_t), ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64)]

    def tensor(self):
        """A copy, the slowest side first: [ne3, ne2, ne1, ne0] of float32."""
        if self.type != 0 or not self.data:
            raise ValueError(f"{self.name.decode()} is no float32 in memory")
        sides, strides = list(self.ne)[::-1], [one // 4 for one in list(self.nb)[::-1]]
        count = 1 + sum((side - 1) * stride for side, stride in zip(sides, strides))
        flat = torch.frombuffer((ctypes.c_float * count).from_address(self.data), dtype=torch.float32)
        return torch.as_strided(flat, sides, strides).clone()


class Listener:
    """A model of llama.cpp that tells `to` (as `attnscope.attach` has it) what its attention does."""

    def __init__(self, path, to, context=2048):
        self.current, self.parts, self.failure = {}, collections.defaultdict(list), None
        self.rows = {}  # weights of the newest pass [heads, n, keys], a layer
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self.node)  # lives as long as the context
        library = llama_cpp.llama_cpp
        default = library.llama_context_default_params

        def listening():
            made = default()
            made.cb_eval = self.callback
            return made
        library.llama_context_default_params = listening  # Llama() has no argument for it
        try:
            self.llama = llama_cpp.Llama(path, n_ctx=context, n_gpu_layers=0, flash_attn=False, verbose=False,
                                         n_threads=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
        finally:
            library.llama_context_default_params = default
        self.model, self.tokens = os.path.basename(path), 0
        self.sender = Sender(to)

    def node(self, address, asks, _):
        """Asked: whether a node is wanted. Else it is there; True goes on."""
        node = Node.from_address(address)
        found = WANTED.match(node.name)
        if asks or not found:
            return bool(found) if asks else True
        try:
            name, layer = found[1].decode(), int(found[2])
            if name != "kq_soft_max":
                self.current[name, layer] = node.tensor()
                return True
            self.rows[layer] = node.tensor()[0]
            self.parts[layer].append(tuple(self.current.pop((one, layer)) for one in ("Qcur", "Kcur", "Vcur")))
        except Exception as error:  # an exception cannot pass through C
            self.failure = error
        return True

    def arrays(self):
        """layers.N.q [heads, n, d], .k and .v [kv heads, n, d] of the tokens that were just evaluated."""
        out = {}
        for layer, parts in sorted(self.parts.items()):
            q, k = (torch.cat([part[at][0] for part in parts]).transpose(0, 1) for at in (0, 1))
            values = [part[2].reshape(part[1].shape[1], k.shape[0], -1) for part in parts]
            v = torch.cat(values).transpose(0, 1)
            out |= {f"layers.{layer}.q": q, f"layers.{layer}.k": k, f"layers.{layer}.v": v}
        return out

    def evaluate(self, tokens):
        """Some tokens: a prompt, or one that was chosen."""
        self.parts.clear()
        begun = time.perf_counter()
        self.llama.eval(tokens)
        if self.failure or not self.parts:
            raise RuntimeError(f"nothing was seen of attention: {self.failure or 'no node kq_soft_max-N in the graph'}")
        arrays, texts = self.arrays(), [self.llama.detokenize([one], special=True).decode(errors="replace")
                                        for one in tokens]
        if self.sender.is_ready and len(tokens) == 1:
            arrays["sinks"] = torch.stack([rows[:, -1, 0] for _, rows in sorted(self.rows.items())])
            self.sender.push("step", arrays, position=self.tokens, token=tokens[0], step={
                "ms": round((time.perf_counter() - begun) * 1e3, 3), "text": texts[0]})
        else:
            if not self.sender.is_ready:
                self.hello(arrays, len(tokens))
            self.sender.push("prefill", arrays | {"token_ids": torch.tensor(tokens, dtype=torch.int32)},
                             position=self.tokens, tokens=texts)
        self.tokens += len(tokens)

    def hello(self, arrays, prompt):
        numbers = sorted(self.parts)
        q, k, v = (arrays[f"layers.{numbers[0]}.{name}"] for name in "qkv")
        self.sender.hello(wire=1, model=self.model, kernel=f"llama.cpp by llama-cpp-python {llama_cpp.__version__}",
                          layers=len(numbers), heads=q.shape[0], kv_heads=k.shape[0], head_dim=q.shape[2],
                          value_dim=v.shape[2], layer_numbers=numbers, prompt_tokens=prompt, carries=["q", "k", "v"])

    def generate(self, prompt, count):
        """Yields `count` tokens at most, the likeliest each time."""
        self.evaluate(self.llama.tokenize(prompt.encode(), special=True))
        for _ in range(count):
            token = self.llama.sample(temp=0)
            if token == self.llama.token_eos():
                return
            yield token
            self.evaluate([token])

    def close(self):
        self.sender.close()
        self.llama.close()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", help="a .gguf file")
    arguments.add_argument("--prompt", default="Once upon a time")
    arguments.add_argument("--to", default="viewer", help="viewer, unix:PATH, tcp:HOST:PORT, a file or -")
    arguments.add_argument("--count", type=int, default=32)
    chosen = arguments.parse_args()
    run = Listener(chosen.model, chosen.to)
    tokens = list(run.generate(chosen.prompt, chosen.count))
    run.close()
    print(json.dumps(run.llama.metadata.get("general.name", run.model)), len(tokens), "tokens", file=sys.stderr)


if __name__ == "__main__":
    main()
