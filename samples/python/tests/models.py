"""Tiny random models of several families, for tests."""
import torch
import transformers


def make(family="llama", implementation="sdpa", **more):
    """A random model of two to four layers; the same one every time."""
    torch.manual_seed(1)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "head_dim": 16,
             "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None}
    kinds = {
        "llama": (transformers.LlamaConfig, {}),
        "qwen3": (transformers.Qwen3Config, {}),
        "mistral": (transformers.MistralConfig, {"sliding_window": 24}),
        "gemma2": (transformers.Gemma2Config, {"sliding_window": 16, "attn_logit_softcapping": 5.0,
                                               "num_hidden_layers": 4, "query_pre_attn_scalar": 16}),
        "gemma3": (transformers.Gemma3TextConfig, {"sliding_window": 16, "num_hidden_layers": 4,
                                                   "query_pre_attn_scalar": 16}),
        "gpt_oss": (transformers.GptOssConfig, {"sliding_window": 16, "num_local_experts": 2, "num_experts_per_tok": 1,
                                                "num_hidden_layers": 4}),
        "gpt2": (transformers.GPT2Config, {"n_embd": 32, "n_head": 4, "n_layer": 3, "n_positions": 512}),
    }
    config, own = kinds[family]
    config = config(**sizes | own | more)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.mul_(8)  # scores that differ
            if name.endswith("sinks"):
                weight.copy_(torch.linspace(-1, 2, weight.numel()))
    return model


def prompt(count=40, batch=1, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 60, (batch, count), generator=generator)
