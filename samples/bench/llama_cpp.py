"""llama.cpp on the CPU, through llama-cpp-python, as a baseline for `attnscope bench`.

Install with `CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python` (it compiles, for some minutes), then:

    attnscope bench engine --against "python3 samples/bench/llama_cpp.py MODEL.gguf"

It serves the suite engine: prefill reads a prompt, decode evaluates tokens one at a time after a context. The first line
out names the baseline; then every line in is a request and every line out its answer: {"seconds": s} for one run, warmed
up before when the case is new, or {"unsupported": "why"}.
"""
import json
import os
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))  # left out of the search, for this file has the package's name
sys.path = [folder for folder in sys.path if os.path.abspath(folder) != here]
try:
    import llama_cpp
except ImportError as error:
    sys.exit(f"llama_cpp.py needs llama-cpp-python: pip install llama-cpp-python ({error})")

CONTEXT = 4096  # room for context and tokens together
warm = set()


class Unsupported(Exception):
    pass


def size(request, name, least=1, most=CONTEXT):
    value = request.get(name)
    if type(value) is not int or not least <= value <= most:
        raise Unsupported(f"{name} must be a whole number from {least} to {most}.")
    return value


def run(llm, context, tokens, at_once):
    """Seconds for `tokens` tokens after `context` of them, as one prompt or one at a time."""
    ids = [(1000 + i * 7919) % (llm.n_vocab() // 2) for i in range(context + tokens)]
    llm.reset()
    if context:
        llm.eval(ids[:context])
    steps = [ids[context:]] if at_once else [[token] for token in ids[context:]]
    llama_cpp.llama_synchronize(llm.ctx)
    start = time.perf_counter()
    for step in steps:
        llm.eval(step)  # the last token's logits only
    llama_cpp.llama_synchronize(llm.ctx)
    return time.perf_counter() - start


def seconds(llm, request):
    case = request.get("case")
    if request.get("suite") != "engine" or case not in ("prefill", "decode"):
        raise Unsupported("Only prefill and decode of the suite engine are served.")
    context = size(request, "context", least=0) if case == "decode" else 0
    tokens, threads = size(request, "tokens"), size(request, "threads", most=256)
    if context + tokens > CONTEXT:
        raise Unsupported(f"The context has room for {CONTEXT} tokens.")
    llama_cpp.llama_set_n_threads(llm.ctx, threads, threads)
    key = (case, context, tokens, threads)
    if key not in warm:
        run(llm, context, tokens, case == "prefill")
        warm.add(key)
    return run(llm, context, tokens, case == "prefill")


def answer(llm, line):
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise Unsupported("A request is a JSON object.")
        return {"seconds": seconds(llm, request)}
    except Unsupported as error:
        return {"unsupported": str(error)}
    except Exception as error:  # whatever a request brings about, the next one is served
        return {"unsupported": f"The request failed: {str(error) or type(error).__name__}."}


if len(sys.argv) != 2 or not os.path.isfile(sys.argv[1]):
    sys.exit("usage: llama_cpp.py MODEL.gguf")
out = os.fdopen(os.dup(1), "w", buffering=1)  # answers go here; all that libraries print goes to standard error
os.dup2(2, 1)
model = llama_cpp.Llama(sys.argv[1], n_ctx=CONTEXT, n_batch=512, n_ubatch=512, flash_attn=True, verbose=False)
print(json.dumps({"name": f"llama.cpp CPU (llama-cpp-python {llama_cpp.__version__})"}), file=out)
for line in sys.stdin.buffer:
    print(json.dumps(answer(model, line)), file=out)
model.close()
