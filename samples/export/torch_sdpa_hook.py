"""Records the Q, K and V that any PyTorch model gives to torch.nn.functional.scaled_dot_product_attention.

    from torch_sdpa_hook import record
    with record(layers=[0, 12]) as calls: model(input_ids)
    calls.save("dump.safetensors", tokens=[tokenizer.decode(i) for i in input_ids[0]], model="my model")

Calls are counted from 0 in the order they come, so one forward pass of a decoder gives layer numbers. Q [Hq, q, d] and
K, V [Hkv, k, d] are those of one sequence of the batch. What a model computes without that function (compiled graphs,
other kernels, output_attentions) is not seen; look at `calls.count` when something is missing.
"""
import json

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

original = functional.scaled_dot_product_attention


class record(TorchFunctionMode):
    """A mode sees every call but those inside other functions of PyTorch; for these the name in the module is replaced."""

    def __init__(self, layers=None, sequence=0):
        super().__init__()
        self.layers, self.sequence, self.count, self.found, self.facts = layers, sequence, 0, {}, {}

    def __enter__(self):
        self.inside = False
        self.fast_path = torch.backends.mha.get_fastpath_enabled()  # nn.MultiheadAttention's own way around the function
        torch.backends.mha.set_fastpath_enabled(False)
        functional.scaled_dot_product_attention = self.attend
        return super().__enter__()

    def __exit__(self, *failure):
        functional.scaled_dot_product_attention = original
        torch.backends.mha.set_fastpath_enabled(self.fast_path)
        return super().__exit__(*failure)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        call = self.attend if function is original and not self.inside else function
        return call(*args, **(kwargs or {}))

    def attend(self, *args, **kwargs):
        if self.layers is None or self.count in self.layers:
            self.keep(*args, **kwargs)
        self.count, self.inside = self.count + 1, True
        output, self.inside = original(*args, **kwargs), False
        return output

    def keep(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        queries, keys = query.shape[-2], key.shape[-2]
        offset = 0 if is_causal else keys - queries  # is_causal aligns with the first key, a decoder's mask with the last
        causal = is_causal
        if attn_mask is not None:
            mask = attn_mask.detach()
            shown = (mask if mask.dtype == torch.bool else mask == 0).expand(*query.shape[:-2], queries, keys)
            shown = shown[self.sequence] if query.ndim == 4 else shown
            causal = torch.equal(shown, torch.ones_like(shown).tril(offset))
            if not causal and not shown.all():
                raise ValueError(f"call {self.count} has a mask that is not causal, which a dump cannot say")
        self.found[self.count] = tuple(
            (tensor[self.sequence] if tensor.ndim == 4 else tensor).detach().cpu().contiguous().clone()
            for tensor in (query, key, value))
        self.facts[self.count] = {"scale": repr(float(scale or query.shape[-1] ** -0.5)),
                                  "causal": str(bool(causal)).lower(), "query_offset": str(offset if causal else 0)}

    def save(self, path, tokens=None, model="PyTorch model", rope_applied=True):
        """Writes attnscope's safetensors layout; `rope_applied` says that Q and K are as attention sees them."""
        from safetensors.torch import save_file
        if not self.found:
            raise ValueError(f"{self.count} calls were seen, none kept: is scaled_dot_product_attention what runs here?")
        facts = list(self.facts.values())
        if any(other != facts[0] for other in facts):
            raise ValueError(f"the calls differ in scale or mask, and a dump has one of each: {self.facts}")
        metadata = {"model": model, "rope_applied": str(rope_applied).lower(), **facts[0]}
        if tokens is not None:
            metadata["tokens"] = json.dumps(list(tokens))
        save_file({f"layers.{layer}.{name}": tensor for layer, heads in self.found.items()
                   for name, tensor in zip("qkv", heads)}, path, metadata=metadata)
