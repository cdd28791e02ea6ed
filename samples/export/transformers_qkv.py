"""Q, K (after RoPE and norms) and V of chosen layers of a Hugging Face causal language model, as a dump for attnscope.

    python3 transformers_qkv.py --model Qwen/Qwen3-0.6B --prompt-file text.txt --layers 0,12 -o dump.safetensors
    python3 transformers_qkv.py --random-tiny qwen3 --prompt "hello" --layers all -o tiny.safetensors

Install with `pip install torch transformers` (transformers 4.56 or later). The prompt is read once, in one pass. Q, K, V
are caught where the model hands them to its attention function, so all that it does to them before is in them; models
that keep their attention to themselves are refused (torch_sdpa_hook.py may serve those).
"""
import argparse
import json
import os
import sys

try:
    import torch
    from safetensors.torch import save
    from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask
except ImportError as error:
    sys.exit(f"transformers_qkv.py needs PyTorch and transformers: pip install torch transformers ({error})")

NAME = "attnscope_capture"  # of the attention implementation registered below
BESIDE = ("softcap", "s_aux", "position_bias")  # what some models add to Q, K, V, mask and scale


def capture(model, ids, layers):
    """Runs `ids` [n] once. Returns {layer: (q [Hq, n, d], k, v [Hkv, n, d])} and the factor of Q K^T."""
    found, scales, seen = {}, set(), set()

    def attend(module, query, key, value, attention_mask, **options):
        layer = getattr(module, "layer_idx", None)
        seen.add(layer)
        if layer in layers:
            beside = [name for name in BESIDE if options.get(name) is not None]
            if False in (options.get("is_causal"), getattr(module, "is_causal", True)):
                beside.append("no causal mask")
            if beside or layer in found:
                sys.exit(f"layer {layer} has {', '.join(beside) or 'more than one attention'}; a dump of Q, K and V "
                         "cannot say that, and attnscope would show another pattern than the model's")
            if attention_mask is not None and not is_causal(attention_mask[0]):
                print(f"note: layer {layer} hides more keys (a window?); the dump cannot say which", file=sys.stderr)
            found[layer] = [tensor[0].cpu() for tensor in (query, key, value)]
            scales.add(float(options.get("scaling") or query.shape[-1] ** -0.5))
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    try:
        model.set_attn_implementation(NAME)
    except ValueError as error:
        sys.exit(f"{type(model).__name__} takes no other attention function; try torch_sdpa_hook.py ({error})")
    with torch.no_grad():  # the base model: nobody asks for logits here
        model.base_model(input_ids=ids[None].to(model.device), use_cache=False)
    if layers - set(found):
        sys.exit(f"layers {sorted(layers - set(found))} showed no attention, layers {sorted(seen - {None})} did; "
                 "choose among those, or try torch_sdpa_hook.py")
    if len(scales) > 1:
        sys.exit(f"the layers have different scales ({sorted(scales)}) and a dump has one: write one dump for each")
    return found, scales.pop()


def is_causal(mask):
    visible = mask if mask.dtype == torch.bool else mask == 0
    return torch.equal(visible, torch.ones_like(visible).tril())


def tokenize(tokenizer, prompt):
    """Ids, and texts that are slices of the prompt and fit together, where the tokenizer knows its offsets."""
    coded = tokenizer(prompt, return_offsets_mapping=tokenizer.is_fast)
    ids, texts, end = coded["input_ids"], [], 0
    for token, (_, stop) in zip(ids, coded.get("offset_mapping", [(0, 0)] * len(ids))):
        texts.append(prompt[end:stop] or tokenizer.decode([token]))  # special tokens, parts of a character
        end = max(end, stop)
    return ids, texts


def tiny(kind, attention="sdpa"):
    """A small random model, the same each time. Its tokens are characters (modulo 256)."""
    config = AutoConfig.for_model(
        kind, vocab_size=256, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=4096, initializer_range=0.3)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # biases and norms, which begin as 0 and 1
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", help="a name on the Hugging Face hub, or a folder")
    model.add_argument("--random-tiny", nargs="?", const="llama", metavar="KIND",
                       choices=("llama", "mistral", "qwen2", "qwen3"), help="for tests: a tiny random %(choices)s")
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", help="the text to read, given to the model as it is")
    prompt.add_argument("--prompt-file", help="a UTF-8 file with the text")
    parser.add_argument("--layers", required=True, help="such as 0,12 (the first is 0), or all")
    parser.add_argument("--max-tokens", type=int, default=4096, help="the prompt is cut off there (default 4096)")
    parser.add_argument("--dtype", choices=("f16", "f32"), default="f16", help="of the dump (default f16)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("-o", "--out", required=True, help="the .safetensors file to write")
    options = parser.parse_args(words)
    if os.path.exists(options.out) and not options.overwrite:
        sys.exit(f"{options.out} exists; --overwrite replaces it")
    try:
        prompt = options.prompt if options.prompt is not None else open(options.prompt_file, encoding="utf-8").read()
        if options.model:
            model = AutoModelForCausalLM.from_pretrained(options.model, dtype="auto").eval()
            model.to("cuda" if torch.cuda.is_available() else "cpu")
            ids, texts = tokenize(AutoTokenizer.from_pretrained(options.model), prompt)
        else:
            model, ids, texts = tiny(options.random_tiny), [ord(c) % 256 for c in prompt], list(prompt)
    except (OSError, ValueError) as error:
        sys.exit(f"the prompt or the model cannot be read: {error}")
    if not ids or options.max_tokens < 1:
        parser.error("a prompt needs a token at least, and --max-tokens must be 1 or more")
    if len(ids) > options.max_tokens:
        print(f"note: of the prompt's {len(ids)} tokens {options.max_tokens} are read (--max-tokens)", file=sys.stderr)
    ids, texts = torch.tensor(ids[:options.max_tokens]), texts[:options.max_tokens]
    count = model.config.get_text_config().num_hidden_layers
    words = map(str, range(count)) if options.layers == "all" else options.layers.split(",")
    layers = {int(word) if word.isdecimal() else -1 for word in words}
    if not layers <= set(range(count)):
        parser.error(f"--layers {options.layers}: this model has 0 to {count - 1}; give them as 0,{count - 1} or all")
    found, scale = capture(model, ids, layers)
    tensors = {"token_ids": ids.to(torch.int32)}
    for layer, heads in found.items():
        for name, tensor in zip("qkv", heads):
            stored = tensor.to({"f16": torch.float16, "f32": torch.float32}[options.dtype]).contiguous()
            if stored.isinf().any() and not tensor.isinf().any():
                sys.exit(f"layer {layer}: {name} has numbers too large for f16; use --dtype f32")
            tensors[f"layers.{layer}.{name}"] = stored
    name = os.path.basename(os.path.abspath(options.model)) if options.model else f"random tiny {options.random_tiny}"
    metadata = {"model": name, "tokens": json.dumps(texts), "scale": repr(scale), "causal": "true", "rope_applied": "true"}
    try:
        with open(options.out + ".part", "wb") as file:  # so that OUT is whole or not there
            file.write(save(tensors, metadata))
        os.replace(file.name, options.out)
    except OSError as error:
        sys.exit(f"{options.out} cannot be written: {error}")
    print(f"{options.out}: {len(ids)} tokens, layers {', '.join(map(str, sorted(found)))}, {options.dtype}")


if __name__ == "__main__":
    main()
