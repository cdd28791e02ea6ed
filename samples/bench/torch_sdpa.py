"""PyTorch's scaled_dot_product_attention on the CPU, as a baseline for `attnscope bench`.

Install with `pip install torch`, then:

    attnscope bench attention --against "python3 samples/bench/torch_sdpa.py"

It serves the dense cases of the suites attention and decode: float32, batch 1, one head. The first line out names the
baseline; then every line in is a request and every line out its answer: {"seconds": s} for one run, warmed up before
when the shape is new, or {"unsupported": "why"}.
"""
import json
import os
import sys
import time

try:
    import torch
    from torch.nn.functional import scaled_dot_product_attention
except ImportError as error:
    sys.exit(f"torch_sdpa.py needs PyTorch: pip install torch ({error})")

MOST_BYTES = 1 << 30
kept = {}  # (shape, threads): Q, K, V; the oldest go when all together are over MOST_BYTES


class Unsupported(Exception):
    pass


def size(request, name, most=1 << 30):
    value = request.get(name)
    if type(value) is not int or not 1 <= value <= most:
        raise Unsupported(f"{name} must be a whole number from 1 to {most}.")
    return value


def seconds(request):
    suite = request.get("suite")
    if suite not in ("attention", "decode") or request.get("case") != "dense":
        raise Unsupported("Only the dense cases of the suites attention and decode are served.")
    queries, keys, dim, value_dim = (size(request, name) for name in ("queries", "keys", "dim", "value_dim"))
    threads = size(request, "threads", 256)
    causal = suite == "attention" and request.get("causal") is True
    if causal and queries != keys:
        raise Unsupported("PyTorch aligns a causal mask with the first key, so queries and keys must be as many.")
    inputs = 4 * (queries * dim + keys * dim + keys * value_dim)
    scores = 4 * queries * keys if dim != value_dim else 0  # only PyTorch's plain path takes two widths: it stores them
    if inputs + 4 * queries * value_dim + scores > MOST_BYTES:
        raise Unsupported("The shape needs more than 1 GiB.")

    torch.set_num_threads(threads)
    key = (queries, keys, dim, value_dim, causal, threads)
    if key not in kept:
        while kept and sum(t.nbytes for qkv in kept.values() for t in qkv) + inputs > MOST_BYTES:
            del kept[next(iter(kept))]
        random = torch.Generator().manual_seed(1)
        q, k, v = (torch.randn(1, 1, rows, width, generator=random)
                   for rows, width in ((queries, dim), (keys, dim), (keys, value_dim)))
        scaled_dot_product_attention(q, k, v, is_causal=causal)
        kept[key] = q, k, v
    q, k, v = kept[key]
    start = time.perf_counter()
    scaled_dot_product_attention(q, k, v, is_causal=causal)
    return time.perf_counter() - start


def answer(line):
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise Unsupported("A request is a JSON object.")
        return {"seconds": seconds(request)}
    except Unsupported as error:
        return {"unsupported": str(error)}
    except Exception as error:  # whatever a request brings about, the next one is served
        return {"unsupported": f"The request failed: {str(error) or type(error).__name__}."}


def serve(name):
    """Answers go to standard output; all that libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps({"name": name}), file=out)
    for line in sys.stdin.buffer:
        print(json.dumps(answer(line)), file=out)


with torch.inference_mode():
    serve(f"PyTorch {torch.__version__.split('+')[0]} CPU scaled_dot_product_attention")
