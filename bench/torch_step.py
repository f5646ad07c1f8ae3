#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Time whole training steps (forward, backward, AdamW) of a model in PyTorch, for comparison with `sputnik train`.

The model is built by transformers from a config.json (llama-10m.json and v3-12m.json beside this file) with random
float32 weights and trained on random tokens, or with --plain by torch_plain.py, which old versions of torch run too.
Prints the median and the fastest step, tokens per second, processor time and the peak of resident memory. Needs torch and
transformers; nothing else in the project does.

    torch_step.py v3-12m.json --steps 5 --threads 2
"""
import argparse
import json
import resource
import statistics
import time

import torch


def build(path, attention, plain, n_tokens):
    with open(path, encoding="utf-8") as f:
        keys = json.load(f)
    if plain:
        import torch_plain

        return torch_plain.Model(keys, n_tokens)
    import transformers

    config = transformers.CONFIG_MAPPING[keys.pop("model_type")](**keys)
    config.use_cache = False
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention, torch_dtype=torch.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--plain", action="store_true", help="the model of torch_plain.py instead of transformers'")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = build(args.config, args.attention, args.plain, args.tokens)
    model.train()
    run = torch.compile(model) if args.compile else model
    settings = {"fused": True} if torch.__version__ >= "2" else {"foreach": True}  # fused on processors came with 2.4
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, **settings)
    ids = torch.randint(model.config.vocab_size, (args.rows, args.tokens))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = run(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    step()  # memory and threads are there from now on
    times, work = [], []
    for _ in range(args.steps):
        start, cpu = time.perf_counter(), time.process_time()
        loss = step()
        times.append(time.perf_counter() - start)
        work.append(time.process_time() - cpu)
    n = sum(p.numel() for p in model.parameters())
    median = statistics.median(times)
    print(f"torch {torch.__version__}, {args.config.rsplit('/', 1)[-1]}, {n / 1e6:.2f} M parameters, {args.threads} threads, "
          f"{'plain' if args.plain else args.attention}{', compiled' if args.compile else ''}: median {median * 1e3:.0f} ms, fastest {min(times) * 1e3:.0f} ms, "
          f"{args.rows * args.tokens / median:.0f} tokens/s, {statistics.median(work) * 1e3:.0f} ms of processor time, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB, "
          f"loss {loss:.3f}")


if __name__ == "__main__":
    main()
