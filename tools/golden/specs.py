# SPDX-License-Identifier: MIT
"""The tiny checkpoints: one row per model, with its config.json, storage type and seed.

The shapes are the published ones in small: every dimension that a reader could mix up with another is given
its own value, and rows are multiples of 32 so that the 32-wide quantised formats apply.
Seeds are the first ones (found by `make_logits.py --find-seeds`) for which every greedy step has a clear winner
and no router choice is close to a tie.
"""

VOCAB = 256
N_PROMPT = 64
N_GREEDY = 48

_COMMON = {
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": VOCAB,
}

_LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_scaling": None,
}

_MLA = {
    "attention_bias": False,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 24,
    "moe_intermediate_size": 32,
    "moe_layer_freq": 1,
    "first_k_dense_replace": 1,
    "aux_loss_alpha": 0.001,
    "seq_aux": True,
    "ep_size": 1,
    "pretraining_tp": 1,
}


def _yarn(factor, original, mscale):
    return {
        "type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": original,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": mscale,
        "mscale_all_dim": mscale,
    }


_V3 = {
    **_MLA,
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "num_hidden_layers": 2,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 64,
    "n_routed_experts": 12,
    "n_shared_experts": 1,
    "num_experts_per_tok": 3,
    "n_group": 4,
    "topk_group": 2,
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "rope_scaling": _yarn(40, 32, 1.0),
}

# name -> (config.json without the common part, storage dtype, number of shards, seed)
MODELS = {
    "llama-plain": (_LLAMA, "float32", 2, 0),
    "llama-linear": (
        {**_LLAMA, "rope_theta": 100000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
        "float16", 1, 2),
    "llama-llama3": (
        {**_LLAMA, "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": True,
         "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                          "original_max_position_embeddings": 256}},
        "bfloat16", 1, 1),
    "qwen2": (
        {**_LLAMA, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "num_attention_heads": 8,
         "use_sliding_window": False, "sliding_window": 32, "max_window_layers": 1},
        "float32", 1, 2),
    "qwen3": (
        {**_LLAMA, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 24,
         "rope_theta": 1000000.0, "use_sliding_window": False, "sliding_window": None, "max_window_layers": 2},
        "bfloat16", 1, 0),
    "deepseek": (
        {**_LLAMA, "architectures": ["DeepseekForCausalLM"], "model_type": "deepseek", "num_hidden_layers": 3,
         "num_key_value_heads": 4, "moe_intermediate_size": 32, "n_routed_experts": 8, "n_shared_experts": 2,
         "num_experts_per_tok": 3, "first_k_dense_replace": 1, "moe_layer_freq": 1, "scoring_func": "softmax",
         "norm_topk_prob": False, "aux_loss_alpha": 0.001, "seq_aux": True, "pretraining_tp": 1},
        "bfloat16", 1, 5),
    "v2-lite": (
        {**_MLA, "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "num_hidden_layers": 2,
         "q_lora_rank": None, "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 3, "n_group": 1,
         "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": False,
         "routed_scaling_factor": 1.0, "rope_scaling": _yarn(40, 4096, 0.707)},
        "bfloat16", 1, 1),
    "v2": (
        {**_MLA, "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "num_hidden_layers": 2,
         "q_lora_rank": 64, "n_routed_experts": 12, "n_shared_experts": 2, "num_experts_per_tok": 3, "n_group": 4,
         "topk_group": 2, "topk_method": "group_limited_greedy", "scoring_func": "softmax", "norm_topk_prob": False,
         "routed_scaling_factor": 16.0, "rope_scaling": _yarn(40, 256, 1.0)},
        "bfloat16", 1, 6),
    "v3": (_V3, "bfloat16", 1, 1),
    "v3-fp8": (
        {**_V3, "hidden_size": 192, "intermediate_size": 160, "q_lora_rank": 144, "kv_lora_rank": 128,
         "v_head_dim": 32, "n_routed_experts": 8, "num_nextn_predict_layers": 0,
         "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                 "weight_block_size": [128, 128]}},
        "float8_e4m3fn", 1, 0),
}


def config(name):
    """The whole config.json of a model as a dict."""
    own, dtype, _, _ = MODELS[name]
    torch_dtype = "bfloat16" if dtype == "float8_e4m3fn" else dtype
    return {**_COMMON, **own, "torch_dtype": torch_dtype}
