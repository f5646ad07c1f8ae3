# SPDX-License-Identifier: MIT
"""Ten optimizer steps of the tiny checkpoints, and single updates of AdamW and Muon, for the trainer's tests.

    python make_training.py MODELS_DIR OUT_DIR [NAME ...]

OUT_DIR/NAME.json holds a run: the configuration that `sputnik train` reads, the model's config.json, the documents of its only
shard, and per step the rows, learning rate, losses, gradient norm and expert counts. Everything around the model is written here a
second time, from its description: the order of rows (six-round Feistel network), cuts and masks, schedules, decay groups, clipping, the
sequence-wise balance loss, the update of the experts' biases; AdamW is torch.optim's. Models are transformers' in float64 (deepseek_v3 in
float32) with the corrections of make_logits.py; reference_model.py takes the same ten steps in float64, and losses must agree.
What transformers lacks runs through reference_model.py alone: `deepseek`, and the prediction layer of the v3-mtp runs, whose embedding
and head are the model's. Runs named -muon update hidden matrices by Muon, written here in float64.

OUT_DIR/optimizer.json holds three updates of a few small tensors: values, gradients, and the values after each step.
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import make_checkpoints
from make_logits import load
from reference_model import Reference

T, ROWS, N_ROWS, STEPS, WARMUP = 24, 4, 20, 10, 3
LR, END, DECAY, BETAS, EPS, MOMENTUM = 3e-3, 0.1, 0.5, (0.9, 0.95), 1e-8, 0.95
EMBED_LR = 0.5
MTP, MTP_LATER, MTP_FROM = 0.3, 0.1, 0.5
BIAS_RATE, BIAS_UNTIL, BALANCE = 0.01, 0.75, 0.02
MIN_ROUTER_GAP = 2e-5
# name -> (checkpoint, attention, optimizer, limit of the gradient's norm: some steps are above it and some below, since AdamW
# forgets a factor that all steps share)
RUNS = {"llama-plain": ("llama-plain", "row", "adamw", 4.0), "qwen2": ("qwen2", "document", "adamw", 3.2),
        "qwen3": ("qwen3", "row", "adamw", 3.2), "deepseek": ("deepseek", "row", "adamw", 5.0),
        "v2-lite": ("v2-lite", "row", "adamw", 5.0), "v2": ("v2", "row", "adamw", 7.8), "v3": ("v3", "row", "adamw", 5.5),
        "v3-mtp": ("v3", "document", "adamw", 5.5), "llama-plain-muon": ("llama-plain", "row", "muon", 4.4),
        "v3-mtp-muon": ("v3", "row", "muon", 6.0)}
MASK64 = (1 << 64) - 1


# --- rows ------------------------------------------------------------------------------------------------------------------

def finalize(x):
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK64
    return x ^ x >> 31


def mix(a, b, c):
    golden = 0x9E3779B97F4A7C15
    x = finalize(a + golden & MASK64)
    x = finalize((x ^ b) + golden & MASK64)
    return finalize((x ^ c) + golden & MASK64)


def permuted(i, n, seed, epoch):
    """Sequence number i of an epoch: a Feistel network, walked until it lands below n."""
    key = mix(seed, mix(0, epoch, 0), n)
    bits = 1
    while (n - 1) >> 2 * bits:
        bits += 1
    low = (1 << bits) - 1
    while True:
        left, right = i >> bits, i & low
        for r in range(6):
            left, right = right, left ^ finalize(key + r * 0x9E3779B97F4A7C15 + right & MASK64) & low
        i = left << bits | right
        if i < n:
            return i


def documents(rng):
    """Skewed tokens, so that there is something to learn; about a tenth are not learnt."""
    out, n = [], 0
    while n < N_ROWS * T + 1:
        size = int(rng.integers(5, 41))
        ids = 2 + np.floor(254 * rng.random(size) ** 3).astype(int)
        out.append({"ids": ids.tolist(), "learnt": (rng.random(size) < 0.9).astype(int).tolist()})
        n += size
    return out


def rows_of(docs, attention):
    """All rows of an epoch: tokens, next tokens, targets (-1: not learnt), second targets, stretches."""
    ids = np.concatenate([d["ids"] for d in docs])
    number = np.concatenate([[k] * len(d["ids"]) for k, d in enumerate(docs)])
    learnt = np.concatenate([[0] + d["learnt"][1:] for d in docs])  # a document's first token never is
    assert (len(ids) - 1) // T == N_ROWS
    rows = []
    for r in range(N_ROWS):
        at = np.arange(r * T, (r + 1) * T)
        cuts = [0] + [i for i in range(1, T) if attention == "document" and number[at[i]] != number[at[i] - 1]] + [T]
        targets = np.where(learnt[at + 1], ids[at + 1], -1)
        seconds = np.full(T, -1)
        for a, b in zip(cuts, cuts[1:]):
            seconds[a:b - 1] = targets[a + 1:b]
        rows.append({"tokens": torch.tensor(ids[at]), "next": torch.tensor(ids[at + 1]), "targets": torch.tensor(targets),
                     "seconds": torch.tensor(seconds), "stretches": list(zip(cuts, cuts[1:]))})
    return rows


# --- models ----------------------------------------------------------------------------------------------------------------

class ReferenceNet(Reference):
    """reference_model.py with leaves, and a memory of what its routers said."""

    def __init__(self, cfg, weights, mtp):
        super().__init__(cfg, weights)
        self.routes = {}
        p = f"model.layers.{cfg['num_hidden_layers']}."
        if not mtp:
            self.w = {k: w for k, w in self.w.items() if not k.startswith(p)}
        self.params = {k: w.requires_grad_() for k, w in self.w.items() if not k.endswith("correction_bias")
                       and not (k.startswith(p) and ("embed_tokens" in k or "shared_head.head" in k))}
        self.biases = {k.removesuffix("gate.e_score_correction_bias"): w for k, w in self.w.items()
                       if k.endswith("correction_bias")}
        if mtp:
            self.w[p + "embed_tokens.weight"] = self.w["model.embed_tokens.weight"]
            self.w[p + "shared_head.head.weight"] = self.w["lm_head.weight"]

    def route(self, x, p):
        ids, weight = super().route(x, p)
        self.routes.setdefault(p, []).append((x @ self.w[p + "gate.weight"].T, ids))
        return ids, weight

    def predict(self, hidden, tokens):
        """hidden (n, h), the next tokens (n) -> logits (n, V) for the second-next."""
        i = self.cfg["num_hidden_layers"]
        p = f"model.layers.{i}."
        e = self.norm(self.w[p + "embed_tokens.weight"][tokens], p + "enorm")
        x = self.layer(self.linear(torch.cat((e, self.norm(hidden, p + "hnorm")), -1), p + "eh_proj"), i)
        return self.norm(x, p + "shared_head.norm") @ self.w[p + "shared_head.head.weight"].T

    def run(self, tokens, following, mtp):
        hidden = self.hidden(tokens)
        return hidden @ self.w["lm_head.weight"].T, self.predict(hidden, following) if mtp else None


class TransformersNet:
    def __init__(self, cfg, weights):
        self.model = load(cfg, weights)
        if cfg["model_type"] != "deepseek_v3":  # whose experts accept float32 alone
            self.model = self.model.double()
        self.params = dict(self.model.named_parameters())
        self.routes, self.biases, self.min_router_gap = {}, {}, math.inf
        if cfg["model_type"] == "deepseek_v3":
            for i, layer in enumerate(self.model.model.layers):
                if hasattr(layer.mlp, "gate"):
                    self.watch(f"model.layers.{i}.mlp.", layer.mlp.gate)

    def watch(self, p, gate):
        self.biases[p] = gate.e_score_correction_bias
        gate.register_forward_hook(lambda g, given, out: self.routes.setdefault(p, []).append(
            (F.linear(given[0].view(-1, g.weight.shape[1]), g.weight), out[0])))

    def run(self, tokens, following, mtp):
        return self.model(tokens[None], use_cache=False).logits[0], None


# --- optimizers ------------------------------------------------------------------------------------------------------------

def orthogonalise(u):
    """Five quintic Newton-Schulz steps (Jordan 2024) on the smaller side."""
    x = u / max(float((u * u).sum()) ** 0.5, 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


class Muon:
    """Nesterov momentum as a running mean; the update has the root mean square of AdamW's (Liu et al. 2025)."""

    def __init__(self, params, decay):
        self.params, self.decay = params, decay
        self.m = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, lr):
        for p, m in zip(self.params, self.m):
            m.mul_(MOMENTUM).add_(p.grad, alpha=1 - MOMENTUM)
            update = orthogonalise((1 - MOMENTUM) * p.grad + MOMENTUM * m)
            p.sub_(lr * (0.2 * max(p.shape) ** 0.5 * update + self.decay * p))


class Optimizer:
    def __init__(self, kind, params, embed_lr):
        outer = ("embed_tokens.weight", "lm_head.weight")
        matrices = [k for k, p in params.items() if p.dim() == 2 and not k.endswith(outer) and not k.endswith("mlp.gate.weight")]
        own = set(matrices if kind == "muon" else ())
        self.muon = Muon([params[k] for k in matrices if k in own], DECAY)
        self.groups = [([k for k, p in params.items() if p.dim() == 1], 0.0, 1.0),
                       ([k for k in params if k.endswith(outer)], DECAY, embed_lr),
                       ([k for k, p in params.items() if p.dim() == 2 and not k.endswith(outer) and k not in own], DECAY, 1.0)]
        self.groups = [g for g in self.groups if g[0]]
        self.adamw = torch.optim.AdamW([{"params": [params[k] for k in names], "weight_decay": decay}
                                        for names, decay, _ in self.groups], betas=BETAS, eps=EPS, foreach=False)

    def step(self, lr):
        for group, (_, _, factor) in zip(self.adamw.param_groups, self.groups):
            group["lr"] = lr * factor
        self.adamw.step()
        self.muon.step(lr)


def lr_at(step):
    """Linear warm-up that ends at its last step with LR, half a cosine to END * LR at the last step of all."""
    if step < WARMUP:
        return LR * (step + 1) / WARMUP
    x = (step - (WARMUP - 1)) / (STEPS - 1 - (WARMUP - 1))
    return LR * (END + (1 - END) * (1 + math.cos(math.pi * x)) / 2)


# --- runs ------------------------------------------------------------------------------------------------------------------

def balance_of(cfg, routes):
    """Of one row: the sum over layers of sum_i f_i P_i; f counts the K best by score alone."""
    total, k = 0.0, cfg.get("num_experts_per_tok", 1)
    for parts in routes.values():
        z = torch.cat([logits for logits, _ in parts])
        if cfg.get("scoring_func") == "sigmoid":
            s = z.sigmoid()
            s = s / s.sum(-1, keepdim=True)
        else:
            s = z.softmax(-1)
        chosen = torch.zeros_like(s).scatter(1, s.topk(k, -1).indices, 1.0)
        total = total + (chosen.mean(0) * s.shape[1] / k * s.mean(0)).sum()
    return total


def train_step(net, cfg, batch, mtp, mtp_weight, balance):
    """Gradients of one step, and what it measured."""
    n_targets = sum(int((r["targets"] >= 0).sum()) for r in batch)
    n_seconds = sum(int((r["seconds"] >= 0).sum()) for r in batch)
    loss, second, uneven, counts = 0.0, 0.0, 0.0, {}
    for p in net.params.values():
        p.grad = None
    for r in batch:
        net.routes = {}
        for a, b in r["stretches"]:
            logits, predicted = net.run(r["tokens"][a:b], r["next"][a:b], mtp)
            loss = loss + F.cross_entropy(logits.double(), r["targets"][a:b], reduction="sum", ignore_index=-1) / n_targets
            if mtp:
                second = second + F.cross_entropy(predicted, r["seconds"][a:b], reduction="sum", ignore_index=-1) / n_seconds
        if balance:
            uneven = uneven + balance * balance_of(cfg, net.routes) / len(batch)
        for p, parts in net.routes.items():
            counts[p] = counts.get(p, 0) + torch.cat([ids for _, ids in parts]).flatten().bincount(minlength=cfg["n_routed_experts"])
    (loss + mtp_weight * second + uneven).backward()
    for p in net.params.values():
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in net.params.values()))
    return {"loss": float(loss), "mtp_loss": float(second), "balance_loss": float(uneven), "grad_norm": norm}, counts


def train(net, cfg, docs, run, mtp, balance):
    _, attention, kind, clip = run
    rows = rows_of(docs, attention)
    optimizer = Optimizer(kind, net.params, EMBED_LR)
    steps = []
    for step in range(STEPS):
        numbers = [permuted(g % N_ROWS, N_ROWS, 1, g // N_ROWS) for g in range(step * ROWS, (step + 1) * ROWS)]
        mtp_weight = MTP_LATER if step / STEPS >= MTP_FROM else MTP
        report, counts = train_step(net, cfg, [rows[n] for n in numbers], mtp, mtp_weight, balance)
        if report["grad_norm"] > clip:
            for p in net.params.values():
                p.grad *= clip / report["grad_norm"]
        lr = lr_at(step)
        optimizer.step(lr)
        rate = BIAS_RATE if step / STEPS < BIAS_UNTIL else 0.0
        for p, bias in net.biases.items():
            c = counts[p].double()
            bias += rate * torch.sign(c.mean() - c).to(bias.dtype)
        report |= {"rows": numbers, "lr": lr, "counts": [counts[p].tolist() for p in sorted(counts)]}
        steps.append(report)
    return steps


def configuration(run, balance):
    _, attention, kind, clip = run
    optimizer = {"kind": kind, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS, "weight_decay": DECAY, "clip": clip,
                 "embed_lr_factor": EMBED_LR}
    if kind == "muon":
        optimizer["momentum"] = MOMENTUM
    return {"model": {"config": "model.json"},
            "data": {"train": [{"path": "train.shard"}], "sequence": T, "cut": "stream", "attention": attention},
            "optimizer": optimizer,
            "schedule": {"kind": "cosine", "steps": STEPS, "warmup": WARMUP, "lr": LR, "end_factor": END, "rows": ROWS},
            "mtp": {"weight": MTP, "later_weight": MTP_LATER, "later_from": MTP_FROM},
            "moe": {"bias_rate": BIAS_RATE, "bias_rate_until": BIAS_UNTIL, "balance_factor": balance},
            "run": {"out": "out", "seed": 1, "micro_rows": 2, "checkpoint_every": 0}}


def largest_difference(a, b):
    return max(abs(x["loss"] - y["loss"]) / abs(y["loss"]) for x, y in zip(a, b))


def make_run(name, models_dir, out_dir):
    base = RUNS[name][0]
    path = pathlib.Path(models_dir) / base
    cfg = json.loads((path / "config.json").read_text())
    stored = {}
    for file in sorted(path.glob("*.safetensors")):
        stored.update(load_file(file))
    weights = make_checkpoints.dequantise(stored)
    mtp = "mtp" in name
    if not mtp and "num_nextn_predict_layers" in cfg:
        cfg["num_nextn_predict_layers"] = 0
    balance = BALANCE if cfg["model_type"] in ("deepseek", "deepseek_v3") else 0.0
    for seed in range(100):  # the first whose router choices are all clear of ties
        docs = documents(np.random.default_rng([64, seed]))
        net = ReferenceNet(cfg, {k: w.clone() for k, w in weights.items()}, mtp)
        steps = train(net, cfg, docs, RUNS[name], mtp, balance)
        if net.min_router_gap > MIN_ROUTER_GAP:
            break
    else:
        raise SystemExit(f"{name}: no seed found")
    source, error = "reference_model.py, float64", 0.0
    if not mtp and cfg["model_type"] != "deepseek":
        mine = steps
        steps = train(TransformersNet(cfg, {k: w.clone() for k, w in weights.items()}), cfg, docs, RUNS[name], mtp, balance)
        error = largest_difference(steps, mine)
        assert error < 1e-5, (name, error)
        source = "transformers, float32" if cfg["model_type"] == "deepseek_v3" else "transformers, float64"
    report = {"model": base, "source": source, "config": configuration(RUNS[name], balance), "model_config": cfg,
              "documents": docs, "steps": steps}
    (pathlib.Path(out_dir) / f"{name}.json").write_text(json.dumps(report) + "\n")
    print(f"{name}: seed {seed}, loss {steps[0]['loss']:.4f} -> {steps[-1]['loss']:.4f}, "
          f"{sum(s['grad_norm'] > RUNS[name][3] for s in steps)} steps clipped, "
          f"router gap {net.min_router_gap:.1e}, |transformers - reference| {error:.1e}", flush=True)


# --- single updates --------------------------------------------------------------------------------------------------------

UPDATES = [("model.embed_tokens.weight", (7, 5)), ("model.layers.0.mlp.up_proj.weight", (12, 20)),
           ("model.layers.0.mlp.down_proj.weight", (20, 12)), ("model.layers.0.self_attn.q_proj.weight", (16, 16)),
           ("model.layers.0.mlp.gate.weight", (4, 6)), ("model.layers.0.input_layernorm.weight", (9,)),
           ("model.layers.0.self_attn.q_proj.bias", (11,)), ("lm_head.weight", (7, 5))]


def short(tensors, digits):
    return [[float(f"{x:.{digits}g}") for x in np.asarray(t, dtype=np.float64).ravel()] for t in tensors]


def make_updates(out_dir):
    """Values and gradients are multiples of powers of two, so that few digits are exact."""
    rng = np.random.default_rng(64)
    start = {k: np.round(rng.standard_normal(s) * 64) / 64 for k, s in UPDATES}
    grads = [{k: np.round(rng.standard_normal(s) * 64) / 64 * 2.0 ** -int(rng.integers(0, 8)) for k, s in UPDATES} for _ in range(3)]
    scales, rates = [1.0, 0.25, 0.5], [1e-2, 5e-3, 2e-3]
    report = {"beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS, "momentum": MOMENTUM, "weight_decay": DECAY,
              "embed_lr_factor": EMBED_LR, "lr": rates, "grad_scale": scales, "names": [k for k, _ in UPDATES],
              "shapes": [list(s) if len(s) > 1 else [1, *s] for _, s in UPDATES],
              "start": short(start.values(), 17), "grads": [short(g.values(), 17) for g in grads]}
    for kind in ("adamw", "muon"):
        params = {k: torch.tensor(v, requires_grad=True) for k, v in start.items()}
        optimizer = Optimizer(kind, params, EMBED_LR)
        report[kind] = []
        for g, scale, lr in zip(grads, scales, rates):
            for k, p in params.items():
                p.grad = torch.tensor(g[k]) * scale
            optimizer.step(lr)
            report[kind].append(short((p.detach() for p in params.values()), 10))
    (pathlib.Path(out_dir) / "optimizer.json").write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    pathlib.Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    if not sys.argv[3:]:
        make_updates(sys.argv[2])
    for run in sys.argv[3:] or RUNS:
        make_run(run, sys.argv[1], sys.argv[2])
