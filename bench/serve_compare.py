#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speed of two servers of OpenAI's API on the same model file, in turns.

Both must be running already, with the same threads and as many slots as the most clients; an idle server takes no
processor time. Every client asks --requests questions one after the other, each with a text of its own, so that no cache
of prefixes helps, and reads the stream. Per number of clients and round: reply tokens per second of all clients
together and the median time to the first token; printed are medians over rounds and their ratio.

    serve_compare.py 8080 8081 --clients 1,4,8 --prompt 200 --tokens 64
"""
import argparse
import http.client
import json
import random
import statistics
import threading
import time


def ask(port, model, text, n_tokens):
    """Seconds to the first token, and tokens of the reply."""
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 1,
        "seed": 1,
        "max_tokens": n_tokens,
        "messages": [{"role": "user", "content": text}],
    }
    start = time.perf_counter()
    first, tokens = None, None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"port {port}: {answer.status} {answer.read()[:300]!r}")
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        delta = chunk["choices"][0]["delta"] if chunk.get("choices") else {}
        if first is None and (delta.get("content") or delta.get("reasoning_content")):
            first = time.perf_counter() - start
        if chunk.get("usage"):
            tokens = chunk["usage"]["completion_tokens"]
    connection.close()
    return first if first is not None else time.perf_counter() - start, tokens


def measure(port, model, n_clients, args, draw):
    texts = [["".join(draw.choices("abcdefgh ", k=args.prompt)) for _ in range(args.requests)] for _ in range(n_clients)]
    results = []

    def run(mine):
        for text in mine:
            results.append(ask(port, model, text, args.tokens))

    threads = [threading.Thread(target=run, args=(mine,)) for mine in texts]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    return sum(tokens for _, tokens in results) / seconds, statistics.median(first for first, _ in results)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("peer", type=int)
    parser.add_argument("--clients", default="1,4,8")
    parser.add_argument("--prompt", type=int, default=200, help="characters of a question")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--requests", type=int, default=2, help="per client and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="", help="names of the model at both, with a comma; default: the first listed")
    args = parser.parse_args()
    draw = random.Random(1)
    ports = (args.port, args.peer)
    models = args.models.split(",") if args.models else [None, None]
    for i, port in enumerate(ports):
        if models[i] is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/v1/models")
            models[i] = json.loads(connection.getresponse().read())["data"][0]["id"]
    print("clients  tokens/s  peer's  ratio (each)          first token, s  peer's  ratio")
    for n in map(int, args.clients.split(",")):
        rounds = []
        for _ in range(args.rounds):
            rounds.append([measure(port, model, n, args, draw) for port, model in zip(ports, models)])
        rate = [statistics.median(r[i][0] for r in rounds) for i in (0, 1)]
        first = [statistics.median(r[i][1] for r in rounds) for i in (0, 1)]
        each = " ".join(f"{r[0][0] / r[1][0]:.2f}" for r in rounds)
        print(f"{n:7}  {rate[0]:8.1f}  {rate[1]:6.1f}  {rate[0] / rate[1]:5.2f} ({each})  {first[0]:14.3f}  {first[1]:6.3f}  {first[0] / first[1]:5.2f}", flush=True)


if __name__ == "__main__":
    main()
