# SPDX-License-Identifier: MIT
"""A server for the tests of real clients: started on a free port, stopped with the test. SPUTNIK names the program."""
import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

PROGRAM = os.environ.get("SPUTNIK", "build/default/sputnik")
BUILD = os.path.dirname(os.path.abspath(PROGRAM))
NAME = "nano"


class Server:
    """`sputnik serve nano` with more options; use as a context manager."""

    def __init__(self, *options, model="nano", wait=True, **popen):
        self.folder = tempfile.TemporaryDirectory()
        command = [PROGRAM, "serve", model, "--port", "0", "--api-name", NAME, *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", **popen)
        self.lines = []
        self.is_up = threading.Event()
        self.port = None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait and not self.is_up.wait(60):
            self.process.kill()
            raise RuntimeError("the server does not come up: " + "".join(self.lines))
        if wait and self.port is None:
            raise RuntimeError("the server ended: " + "".join(self.lines))

    def _read(self):
        for line in self.process.stderr:
            found = re.search(r"answers at \S+?:(\d+)/", line)
            if found:
                self.port = int(found.group(1))
                self.is_up.set()
            self.lines.append(line)
        self.is_up.set()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.stop()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.reader.join(5)
        self.process.stderr.close()
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(5)
        self.process.stderr.close()

    def log(self, event="request"):
        """Log lines of one kind, as dictionaries."""
        found = []
        for line in list(self.lines):
            if line.startswith("{"):
                entry = json.loads(line)
                if entry.get("event") == event:
                    found.append(entry)
        return found

    def ask(self, path, body=None, headers=None):
        """Status, headers and JSON (or text) of a plain request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        data = None if body is None else body if isinstance(body, (bytes, str)) else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, data,
                           {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        try:
            return answer.status, answer.headers, json.loads(text)
        except ValueError:
            return answer.status, answer.headers, text

    def chat(self, text, **more):
        messages = text if isinstance(text, list) else [{"role": "user", "content": text}]
        status, _, answer = self.ask("/v1/chat/completions",
                                     {"model": NAME, "messages": messages, "temperature": 0, **more})
        assert status == 200, answer
        return answer

    def metric(self, name, headers=None):
        _, _, text = self.ask("/metrics", headers=headers)
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if re.match(re.escape(name) + r"(\{| )", line))

    def wait_idle(self, seconds=10):
        """Until nothing runs or waits; how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            health = json.load(urllib.request.urlopen(self.url + "/health"))
            if health["running"] == 0 and health["waiting"] == 0:
                return time.monotonic() - began
            time.sleep(0.01)
        raise AssertionError("still busy")


def keys(store, action, *options):
    done = subprocess.run([PROGRAM, "keys", action, "--store", store, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def usage(store, *options):
    done = subprocess.run([PROGRAM, "usage", "--store", store, "--json", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
