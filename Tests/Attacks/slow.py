"""Slow headers, slow bodies, slow readers and ranges, 900 connections each, beside a client whose
requests must all be answered. Afterwards no connection is left, and memory kept within a bound."""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/Page"))
import servers  # noqa: E402

CONNECTIONS = 900
SECONDS = 20
# As `api.limits` of the job says.
IDLE_SECONDS = 10
# Of the process that serves: a connection may hold its header fields (`headerBytes`, 32 KiB) and as
# much of an answer that nobody reads.
BYTES_OF_A_CONNECTION = 64 << 10
ATTACKS = {
    "slow headers": ["-H", "-i", "2", "-x", "24"],
    "slow bodies": ["-B", "-i", "2", "-s", "65536", "-x", "10",
                    "-f", "application/json", "-t", "POST"],
    "slow readers": ["-X", "-w", "16", "-y", "64", "-n", "2", "-z", "8", "-k", "3"],
    "ranges": ["-R", "-a", "1", "-b", "4000", "-t", "HEAD"],
}
PATHS = {
    "slow bodies": "/v1/completions", "slow readers": "/openapi.json", "ranges": "/openapi.json"}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(work):
    (work / "job.yaml").write_text(
        f"name: attacked\nmodel: {servers.MODEL}\nranks: 2\nthreads: 1\n"
        f"http: {{address: 127.0.0.1, port: {free_port()}}}\n"
        f"api: {{limits: {{idleSeconds: {IDLE_SECONDS}}}}}\n")
    return servers.Process(
        work / "job.log", "launch", str(work / "job.yaml"),
        environment={"APUS_JOBS": str(work / "jobs")})


def processes(job):
    """The launcher and all that it started: the API is served by one of them."""
    found, open_ = [], [job.process.pid]
    while open_:
        pid = open_.pop()
        found.append(pid)
        for file in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            open_ += [int(word) for word in file.read_text().split()]
    return found


def resident(pids):
    pages = [int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * 4096


class Peak:
    """The most memory that processes held while it was open."""

    def __init__(self, pids):
        self.pids = pids
        self.most = resident(pids)
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while not self.is_over.wait(0.2):
            self.most = max(self.most, resident(self.pids))

    def close(self):
        self.is_over.set()
        self.thread.join()
        return self.most


def metric(url, name):
    text = servers.read(url + "/metrics")
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])


class Client:
    """Asks for the health and for a text, again and again."""

    def __init__(self, url):
        self.url = url
        self.times = []
        self.failures = []
        self.is_over = False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        body = json.dumps({"prompt": "Once", "max_tokens": 8, "ignore_eos": True}).encode()
        while not self.is_over:
            for path, data in [("/health", None), ("/v1/completions", body)]:
                request = urllib.request.Request(
                    self.url + path, data, {"Content-Type": "application/json"})
                began = time.monotonic()
                try:
                    with urllib.request.urlopen(request, timeout=30) as answer:
                        answer.read()
                except Exception as error:
                    self.failures.append(f"{path} after {time.monotonic() - began:.1f} s: {error}")
                self.times.append(time.monotonic() - began)
            time.sleep(0.05)

    def close(self):
        self.is_over = True
        self.thread.join()


def attack(job, work, name, words, pids):
    before = resident(pids)
    client = Client(job.url)
    peak = Peak(pids)
    try:
        output = subprocess.run(
            ["slowhttptest", "-c", str(CONNECTIONS), "-r", "300", "-l", str(SECONDS), "-p", "5",
             "-u", job.url + PATHS.get(name, "/"), *words],
            capture_output=True, text=True, timeout=SECONDS + 60, cwd=work).stdout
    finally:
        most = peak.close()
        client.close()
    # The program colours its words.
    output = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output)
    available = re.findall(r"service available:\s*(\w+)", output)
    assert available and set(available) == {"YES"}, f"{name}: {available}\n{output[-2000:]}"
    assert not client.failures, f"{name}: {client.failures[:5]}"
    assert len(client.times) > 10, f"{name}: {len(client.times)} requests beside it"
    limit = time.monotonic() + IDLE_SECONDS + 30
    while metric(job.url, "apus:http_connections") > 2:
        assert time.monotonic() < limit, f"{name}: connections are left after it"
        time.sleep(0.5)
    grown = most - before
    bound = CONNECTIONS * BYTES_OF_A_CONNECTION
    assert grown < bound, f"{name}: {grown} bytes more, the bound is {bound}"
    times = sorted(client.times)
    print(f"  {name:14} {CONNECTIONS} connections; beside them {len(times)} requests, all answered,"
          f" p50 {times[len(times) // 2] * 1e3:.0f} ms, longest {times[-1] * 1e3:.0f} ms;"
          f" {grown / 1e6:.1f} MB more", flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        job = start(work)
        try:
            pids = processes(job)
            servers.post(job.url + "/v1/completions", {"prompt": "Once", "max_tokens": 8})
            for name, words in ATTACKS.items():
                attack(job, work, name, words, pids)
            assert processes(job) == pids, "a process of the job ended meanwhile"
        finally:
            job.close()
    print("attacks: passed")


if __name__ == "__main__":
    main()
