"""A small imitation of a ComfyUI server: it 'generates' one clip for each prompt, and can be told to misbehave."""

import contextlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeComfy:
    """``answers`` replaces the JSON of a path's first word; ``dies_after`` closes the server when it has finished so many clips."""

    def __init__(self, clip, *, answers=None, dies_after=None):
        self.clip, self.answers, self.dies_after = clip, answers or {}, dies_after
        self.seeds, self.jobs, self.cancelled, self.served = [], {}, [], 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                fake.get(self)

            def do_POST(self):
                fake.post(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.httpd.server_port}"

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self.httpd.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.httpd.shutdown()
            self.httpd.server_close()
            thread.join()

    @property
    def dead(self):
        return self.dies_after is not None and self.served >= self.dies_after

    def reply(self, request, body, *, status=200, headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
            request.send_header(name, value)
        request.end_headers()
        with contextlib.suppress(ConnectionError):
            request.wfile.write(body)

    def get(self, request):
        path, _, query = request.path.partition("?")
        word = path.split("/")[1]
        if self.dead:
            request.close_connection = True
        elif word in self.answers:
            self.answers[word](self, request)
        elif word == "system_stats":
            self.reply(request, {"system": {"comfyui_version": "0.33.0"}})
        elif word == "queue":
            self.reply(request, {"queue_running": [], "queue_pending": []})
        elif word == "history":
            job = path.split("/")[2]
            self.reply(request, {job: self.entry(self.jobs[job])} if job in self.jobs else {})
        elif word == "view":
            asked = dict(urllib.parse.parse_qsl(query))
            assert (asked["subfolder"], asked["type"]) == ("video", "output")
            self.served += 1
            self.reply(request, self.clip)
        else:
            self.reply(request, {}, status=404)

    def post(self, request, body):
        word = request.path.split("/")[1]
        if self.dead:
            request.close_connection = True
        elif word == "prompt" and word in self.answers:
            self.answers[word](self, request)
        elif word == "prompt":
            self.jobs[body["prompt_id"]] = body["prompt"]
            self.seeds.append(body["prompt"]["2"]["inputs"]["noise_seed"])
            self.reply(request, {"prompt_id": body["prompt_id"], "number": 0, "node_errors": {}})
        else:
            self.cancelled.append((word, body))
            self.reply(request, b"")

    def entry(self, graph, name="clip_00001_.mp4"):
        file = {"filename": name, "subfolder": "video", "type": "output"}
        outputs = {"3": {"images": [file], "animated": [True]}, "4": {"text": ["measured"]}}
        return {"outputs": outputs, "status": {"status_str": "success", "completed": True, "messages": []}}
