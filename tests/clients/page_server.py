# SPDX-License-Identifier: MIT
"""A proxy before a real server: it slows streams down to where a person could press a button, or answers in the model's place with what no
model should say."""

import json
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chunk(delta=None, finish=None, usage=None):
    choices = [] if usage else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"object": "chat.completion.chunk", "choices": choices, "usage": usage}


def script(content, reasoning="", size=7):
    """A reply as a list of chunks of `size` characters."""
    def cut(text):
        return [text[i:i + size] for i in range(0, len(text), size)]

    usage = {"prompt_tokens": 70, "prompt_cache_hit_tokens": 64, "completion_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 8}}
    chunks = [chunk({"reasoning_content": part, "content": None}) for part in cut(reasoning)]
    chunks += [chunk({"content": part, "reasoning_content": None}) for part in cut(content)]
    return chunks + [chunk(finish="stop"), chunk(usage=usage)]


class Proxy:
    """`delay`: seconds before each event. `answers`: what the next requests for replies get instead of the model's: a list of chunks, or
    (status, headers, body). `is_cut`: such a stream ends without [DONE]. `requests`: (path, headers, body) of those that came."""

    def __init__(self, upstream):
        self.upstream, self.delay, self.answers, self.is_cut, self.requests = upstream, 0.0, [], False, []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                proxy.forward(self, None)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                proxy.requests.append((self.path, dict(self.headers), json.loads(body)))
                if proxy.answers:
                    proxy.answer(self, proxy.answers.pop(0))
                else:
                    proxy.forward(self, body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a browser that goes away is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()

    def reset(self):
        self.delay, self.answers, self.is_cut, self.requests = 0.0, [], False, []

    def forward(self, handler, body):
        names = ("Content-Type", "Authorization", "Accept-Encoding", "If-None-Match")
        headers = {name: handler.headers[name] for name in names if handler.headers[name]}
        request = urllib.request.Request(self.upstream + handler.path, data=body, headers=headers)
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            handler.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "date", "content-length"):
                    handler.send_header(name, value)
            handler.end_headers()
            if "event-stream" not in answer.headers.get("Content-Type", ""):
                handler.wfile.write(answer.read())
                return
            for line in answer:
                if line.startswith(b"data:"):
                    time.sleep(self.delay)
                handler.wfile.write(line)

    def answer(self, handler, what):
        if isinstance(what, tuple):
            status, headers, body = what
            handler.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(json.dumps(body).encode())
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        for part in what:
            time.sleep(self.delay)
            handler.wfile.write(b"data: " + json.dumps(part).encode() + b"\n\n")
        if not self.is_cut:
            handler.wfile.write(b"data: [DONE]\n\n")
