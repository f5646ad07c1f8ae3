# SPDX-License-Identifier: MIT
"""A plain forward pass of every architecture of the family, written from the published descriptions.

It exists to check transformers (whose classes depart from the vendor's rules in places) and to stand in where
transformers has no class: DeepSeekMoE-16B and the multi-token-prediction layer. Attention over the latents is
written in the naive form (keys and values decompressed per head), on purpose: the engine uses the absorbed form.
One sequence at a time, no cache, any torch dtype; start at `Reference.forward`.
"""
import math

import torch
import torch.nn.functional as F


def yarn_mscale(factor, k):
    return 1.0 if factor <= 1 else 0.1 * k * math.log(factor) + 1.0


def rope_frequencies(cfg, d):
    """Rotation speed of each of the d/2 pairs, float64, with linear, llama3 or YaRN scaling."""
    base = cfg.get("rope_theta", 10000.0)
    w = base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    rs = cfg.get("rope_scaling")
    if not rs:
        return w
    kind, s = rs.get("rope_type", rs.get("type")), rs["factor"]
    if kind == "linear":
        return w / s
    if kind == "llama3":
        orig, low, high = rs["original_max_position_embeddings"], rs["low_freq_factor"], rs["high_freq_factor"]
        wavelength = 2 * math.pi / w
        t = ((orig / wavelength - low) / (high - low)).clamp(0, 1)
        return (1 - t) * w / s + t * w
    assert kind == "yarn", kind
    orig = rs["original_max_position_embeddings"]

    def dim_of(turns):
        return d * math.log(orig / (2 * math.pi * turns)) / (2 * math.log(base))

    low = max(0, math.floor(dim_of(rs.get("beta_fast", 32))))
    high = min(d - 1, math.ceil(dim_of(rs.get("beta_slow", 1))))
    ramp = ((torch.arange(d // 2, dtype=torch.float64) - low) / ((high - low) or 0.001)).clamp(0, 1)
    return (1 - ramp) * w + ramp * w / s


class Reference:
    """weights: name -> tensor as in the checkpoint (already dequantised); cfg: config.json as a dict."""

    def __init__(self, cfg, weights, dtype=torch.float64):
        self.cfg = cfg
        self.w = {k: v.to(dtype) for k, v in weights.items()}
        self.dtype = dtype
        self.eps = cfg["rms_norm_eps"]
        self.nh = cfg["num_attention_heads"]
        self.mla = "kv_lora_rank" in cfg
        self.min_router_gap = math.inf  # smallest distance between a chosen and a refused expert (or group)

    def norm(self, x, name, eps=None):
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + (self.eps if eps is None else eps))
        return x * self.w[name + ".weight"]

    def linear(self, x, name):
        y = x @ self.w[name + ".weight"].T
        return y + self.w[name + ".bias"] if name + ".bias" in self.w else y

    def rotate(self, x, interleaved):
        """x (T, heads, d) -> rotated by position."""
        d = x.shape[-1]
        angle = torch.arange(x.shape[0], dtype=torch.float64)[:, None] * rope_frequencies(self.cfg, d)
        cos, sin = angle.cos().to(self.dtype)[:, None, :], angle.sin().to(self.dtype)[:, None, :]
        if interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        a, b = x[..., : d // 2], x[..., d // 2:]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def attend(self, q, k, v, scale):
        """q (T, nh, dk), k (T, nh, dk), v (T, nh, dv) -> (T, nh*dv), causal."""
        t = q.shape[0]
        s = torch.einsum("thd,shd->hts", q, k) * scale
        s = s.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf)
        return torch.einsum("hts,shd->thd", s.softmax(-1), v).reshape(t, -1)

    def attention_dense(self, x, p):
        t = x.shape[0]
        nkv = self.cfg["num_key_value_heads"]
        hd = self.cfg.get("head_dim") or self.cfg["hidden_size"] // self.nh
        q = self.linear(x, p + "q_proj").view(t, self.nh, hd)
        k = self.linear(x, p + "k_proj").view(t, nkv, hd)
        v = self.linear(x, p + "v_proj").view(t, nkv, hd)
        if p + "q_norm.weight" in self.w:
            q, k = self.norm(q, p + "q_norm"), self.norm(k, p + "k_norm")
        q, k = self.rotate(q, False), self.rotate(k, False)
        k, v = (y.repeat_interleave(self.nh // nkv, 1) for y in (k, v))
        return self.linear(self.attend(q, k, v, hd ** -0.5), p + "o_proj")

    def attention_mla(self, x, p):
        c, t = self.cfg, x.shape[0]
        n, r, vd, rank = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"]
        if c["q_lora_rank"] is None:
            q = self.linear(x, p + "q_proj")
        else:
            q = self.linear(self.norm(self.linear(x, p + "q_a_proj"), p + "q_a_layernorm", 1e-6), p + "q_b_proj")
        q_nope, q_pe = q.view(t, self.nh, n + r).split([n, r], -1)
        ckv, k_pe = self.linear(x, p + "kv_a_proj_with_mqa").split([rank, r], -1)
        kv = self.linear(self.norm(ckv, p + "kv_a_layernorm", 1e-6), p + "kv_b_proj").view(t, self.nh, n + vd)
        k_nope, v = kv.split([n, vd], -1)
        q_pe, k_pe = self.rotate(q_pe, True), self.rotate(k_pe[:, None, :], True)
        q = torch.cat((q_nope, q_pe), -1)
        k = torch.cat((k_nope, k_pe.expand(t, self.nh, r)), -1)
        scale = (n + r) ** -0.5
        rs = c.get("rope_scaling")
        if rs and rs.get("mscale_all_dim"):
            scale *= yarn_mscale(rs["factor"], rs["mscale_all_dim"]) ** 2
        return self.linear(self.attend(q, k, v, scale), p + "o_proj")

    def mlp(self, x, p):
        return self.linear(F.silu(self.linear(x, p + "gate_proj")) * self.linear(x, p + "up_proj"), p + "down_proj")

    def pick(self, scores, k):
        """Indices of the k largest, lowest index first on a tie; notes how close the decision was."""
        order = scores.sort(dim=-1, descending=True, stable=True)
        if k < scores.shape[-1]:
            edge = order.values[..., k - 1] - order.values[..., k]
            self.min_router_gap = min(self.min_router_gap, edge.min().item())
        return order.indices[..., :k]

    def route(self, x, p):
        """x (T, h) -> expert ids and weights, both (T, k)."""
        c = self.cfg
        z = x @ self.w[p + "gate.weight"].T
        k, groups = c["num_experts_per_tok"], c.get("n_group") or 1
        sigmoid = c.get("scoring_func", "softmax") == "sigmoid"
        prob = z.sigmoid() if sigmoid else z.softmax(-1)
        choice = prob + self.w[p + "gate.e_score_correction_bias"] if sigmoid else prob
        if groups > 1 and c.get("topk_method") in ("group_limited_greedy", "noaux_tc"):
            split = choice.view(x.shape[0], groups, -1)
            score = split.topk(2, -1).values.sum(-1) if sigmoid else split.max(-1).values
            keep = torch.zeros_like(score, dtype=torch.bool).scatter(1, self.pick(score, c["topk_group"]), True)
            choice = split.masked_fill(~keep[..., None], -math.inf).flatten(1)
        ids = self.pick(choice, k)
        weight = prob.gather(1, ids)
        if c.get("norm_topk_prob"):
            weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
        return ids, weight * c.get("routed_scaling_factor", 1.0)

    def moe(self, x, p):
        ids, weight = self.route(x, p)
        y = self.mlp(x, p + "shared_experts.")
        for e in range(self.cfg["n_routed_experts"]):
            rows, slot = torch.where(ids == e)
            if len(rows):
                y.index_add_(0, rows, self.mlp(x[rows], f"{p}experts.{e}.") * weight[rows, slot, None])
        return y

    def layer(self, x, i):
        p = f"model.layers.{i}."
        a = self.norm(x, p + "input_layernorm")
        x = x + (self.attention_mla(a, p + "self_attn.") if self.mla else self.attention_dense(a, p + "self_attn."))
        f = self.norm(x, p + "post_attention_layernorm")
        sparse = self.cfg.get("n_routed_experts") and i >= self.cfg["first_k_dense_replace"]
        return x + (self.moe(f, p + "mlp.") if sparse else self.mlp(f, p + "mlp."))

    def hidden(self, tokens):
        """tokens (T) -> hidden states after the final norm (T, h)."""
        x = self.w["model.embed_tokens.weight"][tokens]
        for i in range(self.cfg["num_hidden_layers"]):
            x = self.layer(x, i)
        return self.norm(x, "model.norm")

    def forward(self, tokens):
        """tokens (T) -> logits (T, vocab)."""
        head = "model.embed_tokens.weight" if self.cfg["tie_word_embeddings"] else "lm_head.weight"
        return self.hidden(tokens) @ self.w[head].T

    def mtp(self, tokens):
        """tokens (T) -> logits (T-1, vocab) of the multi-token-prediction layer; row i predicts token i+2.

        Input row i joins the embedding of token i+1 (first half) and the normed hidden state of position i
        (second half). Row i is rotated with position i. The embedding of row 0 is not zeroed.
        """
        i = self.cfg["num_hidden_layers"]
        p = f"model.layers.{i}."
        e = self.norm(self.w[p + "embed_tokens.weight"][tokens[1:]], p + "enorm")
        h = self.norm(self.hidden(tokens)[:-1], p + "hnorm")
        x = self.layer(self.linear(torch.cat((e, h), -1), p + "eh_proj"), i)
        return self.norm(x, p + "shared_head.norm") @ self.w[p + "shared_head.head.weight"].T
