# SPDX-License-Identifier: MIT
"""Prefixes are evaluated once: within a conversation, across restarts, between the many requests of an agent; and replies are the same."""
import json
import os
import subprocess
import tempfile
import unittest

from serving import BUILD, NAME, Server

UNIT = 64
RULES = " ".join(f"Rule {i}: field {i * 7919 % 100} is blue." for i in range(24))
FIRST = [{"role": "user", "content": RULES + " What is 47 * 36?"}]


def hit(answer):
    return answer["usage"]["prompt_cache_hit_tokens"]


class CacheTest(unittest.TestCase):
    def second(self, first):
        message = first["choices"][0]["message"]
        return FIRST + [{"role": "assistant", "content": message["content"]},
                        {"role": "user", "content": "What is 12 + 30?"}]

    def test_second_turn(self):
        with Server("--prefix-memory", "0") as server:
            expected = [server.chat(FIRST)]
        with Server("--prefix-memory", "0") as server:  # a new one, since a slot also keeps its last timeline
            expected.append(server.chat(self.second(expected[0])))
        self.assertEqual([hit(answer) for answer in expected], [0, 0])
        with Server() as server:
            first = server.chat(FIRST)
            self.assertEqual(hit(first), 0)
            second = server.chat(self.second(first))
            n_shared = first["usage"]["prompt_tokens"] - 4  # but for the marks that begin the reply
            self.assertGreaterEqual(hit(second), n_shared // UNIT * UNIT)
            self.assertEqual(hit(second) % UNIT, 0)
            again = server.chat(FIRST)
            self.assertGreaterEqual(hit(again), (again["usage"]["prompt_tokens"] - 1) // UNIT * UNIT)
            for got, wanted in zip((first, second, again), expected + [expected[0]]):
                self.assertEqual(got["choices"], wanted["choices"])
            self.assertGreater(server.metric("sputnik_cached_tokens_total"), 0)

    def test_restart(self):
        with tempfile.TemporaryDirectory() as folder:
            with Server("--prefix-dir", folder) as server:
                first = server.chat(FIRST)
                self.assertEqual(server.stop(), 0)
            self.assertGreater(len(os.listdir(folder)), 0)
            with Server("--prefix-dir", folder) as server:
                second = server.chat(self.second(first))
                self.assertGreaterEqual(hit(second), (first["usage"]["prompt_tokens"] - 4) // UNIT * UNIT)
                self.assertEqual(server.chat(FIRST)["choices"], first["choices"])
            with Server("--prefix-memory", "0") as server:
                self.assertEqual(server.chat(self.second(first))["choices"], second["choices"])

    def test_agent(self):
        """Many requests that share a long prefix: all but the first find it."""
        with Server() as server:
            done = subprocess.run([os.path.join(BUILD, "serve_load"), str(server.port), "--model", NAME, "--prefix", "1100",
                                   "--requests", "100", "--clients", "8", "--leave", "0", "--max-tokens", "8"],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads(done.stdout)
            self.assertEqual(result["whole"], 100)
            self.assertGreater(result["hit_tokens"] / result["prompt_tokens"], 0.8, result)


if __name__ == "__main__":
    unittest.main()
