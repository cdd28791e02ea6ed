"""A model of transformers that generates text while attnscope watches.

    python3 generate.py --model tiny --to - | attnscope open -
    python3 generate.py --model HuggingFaceTB/SmolLM2-135M-Instruct --to viewer --prompt "The lamp was lit at"
    python3 generate.py --model model.gguf --lambda 0.1 --kernel triton --device cuda --to unix:run.sock

`--model` is `tiny` (random, made here), a name or a folder of Hugging Face, or a GGUF file (needs `pip install gguf`).
"""
import argparse
import os
import sys
import time

import torch
import transformers

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import attnscope  # noqa: E402


class Letters:
    """A tokenizer for models that have none: a token is a byte."""
    eos_token_id = None

    def __call__(self, text, return_tensors=None):
        return {"input_ids": torch.tensor([list(text.encode()[:4096])])}

    def decode(self, ids):
        return bytes(int(one) % 256 for one in ids).decode("latin-1")


def tiny(layers=4):
    """A random model whose heads differ: enough to see everything move."""
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=layers, num_attention_heads=8,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=8192, eos_token_id=None, bos_token_id=None)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.mul_(6)
    return model, Letters()


def load(name, device, dtype):
    """(model, tokenizer)."""
    if name == "tiny":
        model, tokenizer = tiny()
        return model.to(device, dtype).eval(), tokenizer
    more, said = {}, name
    if name.endswith(".gguf"):
        name, more["gguf_file"] = os.path.dirname(os.path.abspath(name)), os.path.basename(name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, **more)
    model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **more)
    if "gguf_file" in more:
        model.config.name_or_path = os.path.basename(said).removesuffix(".gguf")
    return model.to(device).eval(), tokenizer


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", default="tiny")
    arguments.add_argument("--to", default="viewer", help="viewer, unix:PATH, tcp:HOST:PORT, a file, or -")
    arguments.add_argument("--prompt", default="The lamp was lit at dusk, and the keeper wrote in the log as on every day: ")
    arguments.add_argument("--prompt-file")
    arguments.add_argument("--prompt-tokens", type=int, help="only the first ones")
    arguments.add_argument("--max-new-tokens", type=int, default=64)
    arguments.add_argument("--lambda", dest="lambda_", type=float, help="computes with skip softmax")
    arguments.add_argument("--kernel", default="torch", help="torch or triton")
    arguments.add_argument("--tile", default="128x64")
    arguments.add_argument("--decode-tile", default="1x64")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--dtype", default="float32")
    arguments.add_argument("--layers", help="which to look at, such as 0,12,18")
    arguments.add_argument("--carry", action="store_true", help="Q, K and V travel with the frames")
    arguments.add_argument("--slow", type=float, default=0, help="seconds to wait after each token")
    arguments.add_argument("--wait", action="store_true", help="begin when a viewer is there")
    chosen = arguments.parse_args()
    model, tokenizer = load(chosen.model, chosen.device, getattr(torch, chosen.dtype))
    text = open(chosen.prompt_file).read() if chosen.prompt_file else chosen.prompt
    inputs = {name: value[:, :chosen.prompt_tokens].to(chosen.device) for name, value in tokenizer(text, return_tensors="pt").items()}
    with torch.no_grad(), attnscope.attach(
            model, to=chosen.to, tokenizer=tokenizer, lambda_=chosen.lambda_, kernel=chosen.kernel, tile=chosen.tile,
            decode_tile=chosen.decode_tile, carry=chosen.carry or None,
            layers=None if chosen.layers is None else [int(one) for one in chosen.layers.split(",")]) as run:
        if chosen.to.startswith(("unix:", "tcp:")):
            print(f"attnscope open {run.address}" + (f" --token {run.sender.token}" * bool(run.sender.token)),
                  file=sys.stderr, flush=True)
        while chosen.wait and not run.sender.is_watched:
            time.sleep(0.05)
        pace = transformers.LogitsProcessorList()
        if chosen.slow:
            pace.append(lambda ids, scores: time.sleep(chosen.slow) or scores)
        try:
            made = model.generate(**inputs, max_new_tokens=chosen.max_new_tokens, do_sample=False, logits_processor=pace)
        except attnscope.Stopped:
            return
    print(tokenizer.decode(made[0]), file=sys.stderr)


if __name__ == "__main__":
    main()
