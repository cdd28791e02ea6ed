"""Processes of one model, each with some of its heads and a stream of its own: `attnscope open` merges them.

    python3 ranks.py --world 2 --to "unix:/tmp/run.{rank}.sock" --tokens 200
    attnscope open unix:/tmp/run.0.sock unix:/tmp/run.1.sock

Tensor parallelism in plain code: a rank keeps its rows of q_proj, k_proj and v_proj and its columns of o_proj, whose
outputs are summed over the ranks. The model is a tiny random llama, on the CPU, with gloo.
"""
import argparse
import datetime
import os
import subprocess
import sys
import tempfile

import torch
import torch.distributed as dist
import transformers

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import attnscope  # noqa: E402


class Summed(torch.nn.Module):
    """A linear map of some of its inputs; the ranks' parts are summed."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, x):
        part = torch.nn.functional.linear(x, self.weight)
        dist.all_reduce(part)
        return part


def some_rows(linear, rank, world):
    """The linear map with the rows of one rank alone."""
    linear.weight = torch.nn.Parameter(linear.weight.detach().chunk(world)[rank].clone(), requires_grad=False)


def model_of(rank, world):
    """The rank's share of the model; every rank has the same random numbers."""
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=8,
        num_key_value_heads=4, head_dim=16, max_position_embeddings=4096, bos_token_id=1, eos_token_id=None,
        pad_token_id=0)
    if config.num_key_value_heads % world:
        raise SystemExit(f"--world {world}: {config.num_key_value_heads} KV heads cannot be shared out evenly")
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for layer in model.model.layers:
        attention = layer.self_attn
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
            linear.weight.data *= 4  # scores that differ
            some_rows(linear, rank, world)
        if world > 1:
            attention.o_proj = Summed(attention.o_proj.weight.detach().chunk(world, 1)[rank].clone())
    return model


def run(rank, world, rendezvous, to, tokens):
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world,
                                timeout=datetime.timedelta(seconds=60))
    torch.set_num_threads(1)
    model, prompt = model_of(rank, world), torch.arange(3, 43)[None]
    with torch.no_grad(), attnscope.attach(model, to, carry=True):
        model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, do_sample=False)
    if world > 1:
        dist.destroy_process_group()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--world", type=int, default=2)
    arguments.add_argument("--rank", type=int, help="this process alone; else all of them are started")
    arguments.add_argument("--rendezvous", help="a file that does not exist yet, the same for all ranks")
    arguments.add_argument("--to", default="unix:/tmp/run.{rank}.sock")
    arguments.add_argument("--tokens", type=int, default=100)
    chosen = arguments.parse_args()
    if chosen.rank is not None:
        return run(chosen.rank, chosen.world, chosen.rendezvous, chosen.to, chosen.tokens)
    with tempfile.TemporaryDirectory() as folder:
        started = [subprocess.Popen([
            sys.executable, os.path.abspath(__file__), "--rank", str(rank), "--world", str(chosen.world),
            "--rendezvous", os.path.join(folder, "ranks"), "--to", chosen.to, "--tokens", str(chosen.tokens)])
            for rank in range(chosen.world)]
        return max(abs(one.wait()) for one in started)


if __name__ == "__main__":
    sys.exit(main())
