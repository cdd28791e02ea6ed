"""What `attach` costs a model that decodes: `python3 bench_attach.py [--device cuda]`.

A random model of 30 layers (the shape of SmolLM2-135M), one token at a time. Ways take turns, round by round; printed are
medians of milliseconds a token and each way's ratio to the model alone.
"""
import argparse
import os
import socket
import statistics
import tempfile
import threading
import time

import torch
import transformers

import attnscope


def model(device, dtype):
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=4096, eos_token_id=None)
    return transformers.LlamaForCausalLM(config).to(device, dtype).eval()


class Silent:
    """A viewer that listens and asks nothing."""

    def __init__(self, path):
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.connect(path)
        self.peer.sendall(b'{"do":"join","seq":0}\n')
        self.bytes = 0
        threading.Thread(target=self.reads, daemon=True).start()

    def reads(self):
        while data := self.peer.recv(1 << 20):
            self.bytes += len(data)


def decode(one, ids, count):
    """Milliseconds of each token after the first two."""
    found = []
    with torch.no_grad():
        out = one(input_ids=ids, use_cache=True)
        for _ in range(count):
            token = out.logits[:, -1:].argmax(-1)
            if token.is_cuda:
                torch.cuda.synchronize()
            begin = time.perf_counter()
            out = one(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
            if token.is_cuda:
                torch.cuda.synchronize()
            found.append((time.perf_counter() - begin) * 1e3)
    return found[2:]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--rounds", type=int, default=6)
    arguments.add_argument("--tokens", type=int, default=48)
    arguments.add_argument("--prompt", type=int, default=256)
    chosen = arguments.parse_args()
    dtype = torch.float32 if chosen.device == "cpu" else torch.bfloat16
    one = model(chosen.device, dtype)
    ids = torch.randint(3, 40000, (1, chosen.prompt), device=chosen.device)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.sock")
        for turn in range(chosen.rounds + 1):
            for way in ("alone", "attached, nobody there", "a viewer that asks nothing", "and blocks are not counted"):
                if way == "alone":
                    times = decode(one, ids, chosen.tokens)
                else:
                    with attnscope.attach(one, to="unix:" + path, counts="counted" not in way, lambda_=None) as run:
                        viewer = Silent(path) if "there" not in way else None
                        while viewer and not run.sender.is_watched:
                            time.sleep(0.01)
                        times = decode(one, ids, chosen.tokens)
                if turn:  # the first one warms up
                    found.setdefault(way, []).extend(times)
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads, "
          f"30 layers, {chosen.prompt} + {chosen.tokens} tokens, {chosen.rounds} rounds")
    alone = statistics.median(found["alone"])
    for way, times in found.items():
        print(f"    {way:32} {statistics.median(times):8.3f} ms a token, {statistics.median(times) / alone:6.4f} of the model alone")


if __name__ == "__main__":
    main()
