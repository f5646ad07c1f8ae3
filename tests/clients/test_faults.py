# SPDX-License-Identifier: MIT
"""A server that is killed, whose cache files are damaged, whose disk is full: nothing that was answered is lost, nothing wrong is said."""
import json
import os
import resource
import sqlite3
import subprocess
import tempfile
import time
import unittest

from serving import BUILD, NAME, Server, keys, usage

RULES = " ".join(f"Rule {i}: field {i * 7919 % 100} is blue." for i in range(24))
QUESTION = RULES + " What is 47 * 36?"


class FaultsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.store = os.path.join(self.folder.name, "keys.db")
        self.prefixes = os.path.join(self.folder.name, "prefixes")
        self.key = keys(self.store, "add")
        self.bearer = {"Authorization": "Bearer " + self.key}
        with Server("--prefix-memory", "0") as server:
            self.alone = server.chat(QUESTION)["choices"]

    def tearDown(self):
        self.folder.cleanup()

    def check_ledger(self, at_least):
        total = usage(self.store)["total"]
        self.assertGreaterEqual(total["requests"], at_least)
        database = sqlite3.connect(self.store)
        self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        rows, cost = database.execute("SELECT count(*), sum(cost) FROM ledger").fetchone()
        spent = database.execute("SELECT spent FROM keys").fetchone()[0]
        database.close()
        self.assertEqual((rows, cost), (total["requests"], spent))

    def ask(self, server, text=QUESTION):
        return server.ask("/v1/chat/completions", {"model": NAME, "temperature": 0, "messages": [
            {"role": "user", "content": text}]}, self.bearer)

    def test_kill(self):
        answered = 0
        for round_ in range(3):
            server = Server("--keys", self.store, "--prefix-dir", self.prefixes, "--prefix-memory", "200K")
            load = subprocess.Popen([os.path.join(BUILD, "serve_load"), str(server.port), "--model", NAME, "--clients", "16",
                                     "--seconds", "60", "--leave", "0.2", "--key", self.key, "--seed", str(round_)],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.addCleanup(load.kill)
            self.addCleanup(server.process.kill)
            began = time.monotonic()
            while server.metric("sputnik_jobs_total", self.bearer) < 100 and time.monotonic() - began < 60:
                time.sleep(0.1)
            server.kill()
            result = json.loads(load.communicate()[0])
            self.assertGreater(result["errors"], 0)  # those whose stream broke off
            answered += 32 + result["whole"]
            self.check_ledger(answered)
        with Server("--keys", self.store, "--prefix-dir", self.prefixes) as server:
            for _ in range(2):
                status, _, answer = self.ask(server)
                self.assertEqual((status, answer["choices"]), (200, self.alone))

    def test_damaged_cache(self):
        with Server("--keys", self.store, "--prefix-dir", self.prefixes) as server:
            self.assertEqual(self.ask(server)[2]["choices"], self.alone)
        files = [os.path.join(where, name) for where, _, names in os.walk(self.prefixes) for name in names]
        self.assertGreater(len(files), 2)
        for i, path in enumerate(sorted(files)):
            size = os.path.getsize(path)
            with open(path, "r+b") as file:
                if i % 4 == 0:
                    file.seek(size // 2)
                    byte = file.read(1)
                    file.seek(size // 2)
                    file.write(bytes([byte[0] ^ 1]))
                elif i % 4 == 1:
                    file.truncate(size - 1)
                elif i % 4 == 2:
                    file.truncate(0)
                else:
                    file.write(os.urandom(min(size, 4096)))
        with open(os.path.join(self.prefixes, "not-a-unit"), "w") as file:
            file.write("hello")
        with Server("--keys", self.store, "--prefix-dir", self.prefixes) as server:
            status, _, answer = self.ask(server)
            self.assertEqual((status, answer["choices"]), (200, self.alone))
            self.assertEqual(answer["usage"]["prompt_cache_hit_tokens"], 0)
            _, _, answer = self.ask(server)  # and the cache works again
            self.assertGreater(answer["usage"]["prompt_cache_hit_tokens"], 0)
            self.assertEqual(answer["choices"], self.alone)

    def test_unusable_folder(self):
        path = os.path.join(self.folder.name, "a-file")
        open(path, "w").close()
        server = Server("--prefix-dir", path, wait=False)
        self.assertNotEqual(server.process.wait(30), 0)
        server.reader.join(5)
        self.assertIn("a-file", "".join(server.lines))
        server.process.stderr.close()

    def test_full_disk(self):
        """Files end at 160 KiB, as if the disk were full: what cannot be booked is an error, not a gift."""
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (160 << 10, 160 << 10))
        server = Server("--keys", self.store, "--prefix-dir", self.prefixes, preexec_fn=limit, restore_signals=False)
        answers = [self.ask(server, f"What is {i} + 2?") for i in range(60)]
        good = sum(status == 200 for status, _, _ in answers)
        bad = [answer for status, _, answer in answers if status != 200]
        self.assertTrue(0 < good < 60, good)
        self.assertEqual({status for status, _, _ in answers}, {200, 503})
        for answer in bad:
            self.assertEqual(answer["error"]["code"], "meter_error")
        self.assertEqual(server.ask("/health")[0], 200)
        server.stop()
        self.check_ledger(good)
        self.assertEqual(usage(self.store)["total"]["requests"], good)
        with Server("--keys", self.store) as server:
            self.assertEqual(self.ask(server)[0], 200)


if __name__ == "__main__":
    unittest.main()
