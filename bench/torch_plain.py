# SPDX-License-Identifier: MIT
"""The two models of torch_step.py in plain torch, for versions of torch that no transformers of today supports.

Parameters are those of transformers' LlamaForCausalLM and DeepseekV3ForCausalLM, one for one; the forward pass is written
for speed: one table of angles, one mask, tokens sorted by expert so that each expert's rows are one slice.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F


class Config:
    def __init__(self, keys):
        self.__dict__.update(keys)


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def linear(n_in, n_out):
    return nn.Linear(n_in, n_out, bias=False)


def angles(dim, n_tokens, theta):
    omega = 1.0 / theta ** (torch.arange(0, dim, 2).float() / dim)
    table = torch.outer(torch.arange(n_tokens).float(), omega)
    return torch.cat((table, table), -1).cos(), torch.cat((table, table), -1).sin()


def rotate(x, table):
    cos, sin = table
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def attend(q, k, v, mask, scale):
    """q, k, v: (rows, heads, tokens, dim), causal."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    rows, heads, n, dim = q.shape
    scores = torch.baddbmm(mask, q.reshape(-1, n, dim), k.reshape(-1, n, dim).transpose(1, 2), alpha=scale)
    return torch.bmm(scores.softmax(-1), v.reshape(rows * heads, n, -1)).view(rows, heads, n, -1)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.dim = c.num_attention_heads, c.hidden_size // c.num_attention_heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, linear(c.hidden_size, c.hidden_size))

    def forward(self, x, table, mask):
        rows, n, width = x.shape
        q, k, v = (p(x).view(rows, n, self.heads, self.dim).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        y = attend(rotate(q, table), rotate(k, table), v, mask, self.dim**-0.5)
        return self.o_proj(y.transpose(1, 2).reshape(rows, n, width))


class LatentAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        width = c.qk_nope_head_dim + c.qk_rope_head_dim
        self.q_a_proj = linear(c.hidden_size, c.q_lora_rank)
        self.q_a_layernorm = Norm(c.q_lora_rank, c.rms_norm_eps)
        self.q_b_proj = linear(c.q_lora_rank, c.num_attention_heads * width)
        self.kv_a_proj_with_mqa = linear(c.hidden_size, c.kv_lora_rank + c.qk_rope_head_dim)
        self.kv_a_layernorm = Norm(c.kv_lora_rank, c.rms_norm_eps)
        self.kv_b_proj = linear(c.kv_lora_rank, c.num_attention_heads * (c.qk_nope_head_dim + c.v_head_dim))
        self.o_proj = linear(c.num_attention_heads * c.v_head_dim, c.hidden_size)

    def forward(self, x, table, mask):
        c, (rows, n, _) = self.c, x.shape
        heads, nope, rope = c.num_attention_heads, c.qk_nope_head_dim, c.qk_rope_head_dim
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))).view(rows, n, heads, nope + rope).transpose(1, 2)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split((c.kv_lora_rank, rope), -1)
        kv = self.kv_b_proj(self.kv_a_layernorm(latent)).view(rows, n, heads, nope + c.v_head_dim).transpose(1, 2)
        k_nope, v = kv.split((nope, c.v_head_dim), -1)
        k_rope = rotate(k_rope.unsqueeze(1), table).expand(-1, heads, -1, -1)
        q = torch.cat((q[..., :nope], rotate(q[..., nope:], table)), -1)
        y = attend(q, torch.cat((k_nope, k_rope), -1), v, mask, (nope + rope) ** -0.5)
        return self.o_proj(y.transpose(1, 2).reshape(rows, n, -1))


class Gated(nn.Module):
    def __init__(self, n_in, n_inner):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = linear(n_in, n_inner), linear(n_in, n_inner), linear(n_inner, n_in)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Mixture(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.gate = linear(c.hidden_size, c.n_routed_experts)
        self.register_buffer("bias", torch.zeros(c.n_routed_experts))
        self.experts = nn.ModuleList(Gated(c.hidden_size, c.moe_intermediate_size) for _ in range(c.n_routed_experts))
        self.shared_experts = Gated(c.hidden_size, c.moe_intermediate_size * c.n_shared_experts)

    def forward(self, x):
        c, flat = self.c, x.reshape(-1, x.shape[-1])
        scores = self.gate(flat).sigmoid()
        chosen = (scores.detach() + self.bias).topk(c.num_experts_per_tok, -1, sorted=False)[1]
        weights = scores.gather(1, chosen)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) * c.routed_scaling_factor
        order = chosen.flatten().argsort()
        tokens = order // c.num_experts_per_tok
        counts = chosen.flatten().bincount(minlength=c.n_routed_experts).tolist()
        parts = flat.index_select(0, tokens).split(counts)
        rows = torch.cat([expert(part) for expert, part in zip(self.experts, parts)])
        rows = rows * weights.flatten().index_select(0, order).unsqueeze(1)
        return (self.shared_experts(flat).index_add(0, tokens, rows)).view_as(x)


class Layer(nn.Module):
    def __init__(self, c, i):
        super().__init__()
        latent = c.model_type == "deepseek_v3"
        self.input_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = LatentAttention(c) if latent else Attention(c)
        self.post_attention_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.mlp = Mixture(c) if latent and i >= c.first_k_dense_replace else Gated(c.hidden_size, c.intermediate_size)

    def forward(self, x, table, mask):
        x = x + self.self_attn(self.input_layernorm(x), table, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Result:
    def __init__(self, loss):
        self.loss = loss


class Model(nn.Module):
    def __init__(self, keys, n_tokens):
        super().__init__()
        c = self.config = Config(keys)
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c, i) for i in range(c.num_hidden_layers))
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)
        self.lm_head = linear(c.hidden_size, c.vocab_size)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        dim = c.qk_rope_head_dim if c.model_type == "deepseek_v3" else c.hidden_size // c.num_attention_heads
        self.table = angles(dim, n_tokens, c.rope_theta)
        self.mask = torch.full((n_tokens, n_tokens), -math.inf).triu(1)

    def forward(self, input_ids, labels):
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x, self.table, self.mask)
        logits = self.lm_head(self.norm(x))
        return Result(F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1)))
