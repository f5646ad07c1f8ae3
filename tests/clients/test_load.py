# SPDX-License-Identifier: MIT
"""64 streaming clients, a fifth of whom leave in the middle: no error, no growth, every reply as alone. SECONDS sets how long."""
import json
import os
import socket
import subprocess
import threading
import time
import unittest

from serving import BUILD, NAME, Server

SECONDS = os.environ.get("SECONDS_OF_LOAD", "10")


class LoadTest(unittest.TestCase):
    def test_load(self):
        with Server() as server:
            done = subprocess.run([os.path.join(BUILD, "serve_load"), str(server.port), "--model", NAME, "--clients", "64",
                                   "--seconds", SECONDS, "--leave", "0.2", "--pid", str(server.process.pid)],
                                  capture_output=True, text=True)
            print(done.stdout.strip())
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads(done.stdout)
            self.assertGreater(result["whole"], 64)
            self.assertGreater(result["left"], 0)
            rss = result["rss_kib"]
            self.assertLess(rss["end"], rss["warm"] * 1.05 + 16384)  # a short run is hardly warm after a fifth of it
            self.assertLess(server.wait_idle(), 5)
            self.assertEqual(server.stop(), 0)
            self.assertFalse([entry for entry in server.log() if entry["status"] >= 500])

    def endless(self, port):
        """A socket on which a reply streams that does not end by itself."""
        body = json.dumps({"model": NAME, "prompt": "1 + 1", "stream": True, "max_tokens": 900, "temperature": 2,
                           "logit_bias": {str(i): -100 for i in range(16)}})
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        self.assertIn(b"200", sock.recv(100))
        return sock

    def test_leaving(self):
        """A client that goes away frees its slot at once, and takes nobody else along."""
        with Server("--slots", "2", "--no-loop-guard") as server:
            alone = server.chat("What is 47 * 36?")
            for _ in range(20):
                sock = self.endless(server.port)
                sock.close()
                self.assertEqual(server.chat("What is 47 * 36?")["choices"], alone["choices"])
            self.assertLess(server.wait_idle(), 1)
            self.assertGreater(server.metric("sputnik_jobs_cancelled_total"), 0)

    def test_stop(self):
        """SIGTERM: what runs is finished, then the server ends well."""
        with Server("--slots", "1") as server:
            answers = []

            def ask():
                answers.append(server.chat("What is 47 * 36?", max_tokens=100))
            threads = [threading.Thread(target=ask) for _ in range(6)]
            for thread in threads:
                thread.start()
            time.sleep(0.1)
            status = server.stop()
            for thread in threads:
                thread.join()
            self.assertEqual(status, 0)
            self.assertEqual(len(answers), 6)


if __name__ == "__main__":
    unittest.main()
