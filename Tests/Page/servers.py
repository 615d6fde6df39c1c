"""What the page is tried against: `apus serve`, a job, and answers no real model gives."""

import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "cluster/models/stories-fp8"
APUS = ROOT / ".build/release/apus"
# For a process to serve: it loads a model of 8 MB, and two cores may be busy.
PATIENCE = 90


class Process:
    """A program that says where it serves; its own process group, which ends with it."""

    def __init__(self, log, *arguments, environment=None):
        self.log = pathlib.Path(log)
        with open(log, "wb") as file:
            self.process = subprocess.Popen(
                [APUS, *arguments], stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})}, start_new_session=True)
        limit = time.monotonic() + PATIENCE
        while True:
            found = re.search(r"^serving .*?(http://\S+)/v1$", self.log.read_text(), re.M)
            if found:
                break
            if self.process.poll() is not None or time.monotonic() > limit:
                self.close()
                raise RuntimeError(f"apus {arguments}: does not serve: {self.log.read_text()}")
            time.sleep(0.1)
        self.url = found[1]

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(20)

    def workers(self):
        """Ids of the ranks' processes."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children")
        ids = [int(word) for file in children for word in file.read_text().split()]
        return sorted(pid for pid in ids
                      if pathlib.Path(f"/proc/{pid}/comm").read_text() == "apus-worker\n")


def serve(work, name, *arguments, model=MODEL):
    return Process(work / f"{name}.log", "serve", "--model", str(model), "--threads", "1",
                   "--port", "0", *arguments)


def job(work, port):
    """A job of three ranks that goes on without one, and does not start it again."""
    (work / "job.yaml").write_text(
        f"name: page\nmodel: {MODEL}\nranks: 3\nthreads: 1\nrestart: never\n"
        f"http: {{address: 127.0.0.1, port: {port}}}\n")
    return Process(work / "job.log", "launch", str(work / "job.yaml"),
                   environment={"APUS_JOBS": str(work / "jobs")})


def model_without_chats(work):
    """The small model, whose tokenizer names no form of chats."""
    folder = work / "stories-plain"
    folder.mkdir()
    for file in MODEL.iterdir():
        (folder / file.name).symlink_to(file)
    settings = folder / "tokenizer_config.json"
    settings.unlink()
    values = json.loads((MODEL / "tokenizer_config.json").read_text())
    del values["chat_template"]
    settings.write_text(json.dumps(values))
    return folder


def read(url, key=None):
    """The text of an answer, whatever its status."""
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def post(url, body):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


class Load:
    """Texts under way, one after the other, until it is closed."""

    def __init__(self, url, streams=3):
        self.is_over = False
        self.threads = [threading.Thread(target=self.work, args=(url, number))
                        for number in range(streams)]
        for thread in self.threads:
            thread.start()

    def work(self, url, number):
        while not self.is_over:
            post(url + "/v1/completions", {
                "prompt": f"Once upon a time {number}", "max_tokens": 200, "ignore_eos": True})

    def close(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()


class Front:
    """A server before a real one: chosen paths are answered by functions, all others by it."""

    def __init__(self, behind):
        front = self
        self.behind = behind
        self.answers = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(None)

            def do_POST(self):
                self.answer(self.rfile.read(int(self.headers["Content-Length"])))

            def answer(self, body):
                path = self.path.split("?")[0]
                if path in front.answers:
                    front.answers[path](self, body)
                    return
                request = urllib.request.Request(behind + self.path, body)
                for name in ("Content-Type", "Authorization"):
                    if name in self.headers:
                        request.add_header(name, self.headers[name])
                try:
                    answer = urllib.request.urlopen(request, timeout=60)
                except urllib.error.HTTPError as error:
                    answer = error
                with answer:
                    front.send(self, answer.status, answer.read(), dict(answer.headers))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def send(handler, status, body, headers=None):
        handler.send_response(status)
        for name, value in (headers or {}).items():
            if name.lower() not in ("date", "server", "content-length", "transfer-encoding",
                                    "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    @staticmethod
    def stream(handler, events):
        """Server-sent events; a number among them is a pause in seconds."""
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        for event in events:
            if isinstance(event, float):
                time.sleep(event)
            else:
                text = event if isinstance(event, str) else json.dumps(event)
                handler.wfile.write(f"data: {text}\n\n".encode())
                handler.wfile.flush()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
