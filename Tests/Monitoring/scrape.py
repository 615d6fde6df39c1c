"""Prometheus scrapes a job of two ranks: every panel of the dashboard and every expression of the
guide has a number, series stay bounded, and alerts fire when a rank is lost and when the job ends."""

import json
import math
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/Page"))
import servers  # noqa: E402

GUIDE = ROOT / "docs/how-to/read-metrics.md"
RULES = ROOT / "cluster/monitoring/rules.yaml"
DASHBOARD = ROOT / "cluster/monitoring/dashboard.json"
KEYS = {"alice": "a" * 32, "prometheus": "p" * 32}
# What is shown only where something went wrong, or where a feature is on.
EMPTY_WHERE_ALL_IS_WELL = ["429", "certificate"]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def settings(work, target):
    """The guide's own lines, with this job's port and key."""
    lines = re.search(r"```yaml\n(scrape_configs:.*?)```", GUIDE.read_text(), re.S)[1]
    lines = lines.replace("A-KEY", KEYS["prometheus"]).replace("127.0.0.1:8080", target)
    lines = lines.replace("cluster/monitoring/rules.yaml", str(RULES))
    file = work / "prometheus.yml"
    file.write_text("global: {scrape_interval: 1s, evaluation_interval: 1s}\n" + lines)
    return file


class Prometheus:
    def __init__(self, work, target):
        port = free_port()
        file = settings(work, target)
        for words in (["check", "config", str(file)], ["check", "rules", str(RULES)]):
            subprocess.run(["promtool", *words], check=True, stdout=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}"
        with open(work / "prometheus.log", "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={work / 'series'}",
                 f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=20) as answer:
            return json.load(answer)["data"]

    def values(self, expression):
        """The numbers of an expression now; none where it is not a number."""
        found = self.get("/api/v1/query", query=expression)["result"]
        return [value for value in (float(one["value"][1]) for one in found)
                if not math.isnan(value)]

    def alerts(self):
        return {one["labels"]["alertname"]: one for one in self.get("/api/v1/alerts")["alerts"]}

    def close(self):
        self.process.terminate()
        self.process.wait(20)


def wait(fact, is_true, seconds=90):
    limit = time.monotonic() + seconds
    while True:
        try:
            if is_true():
                print(f"  {fact}", flush=True)
                return
        except urllib.error.URLError:
            pass
        if time.monotonic() > limit:
            raise SystemExit(f"not within {seconds} s: {fact}")
        time.sleep(0.5)


def expressions():
    """What the dashboard and the guide ask, over windows that a short test fills."""
    found = []

    def panels(value):
        if isinstance(value, dict):
            if "expr" in value:
                found.append(value["expr"])
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                panels(one)

    panels(json.loads(DASHBOARD.read_text()))
    guide = GUIDE.read_text()
    table = guide[guide.index("## Questions and the expressions"):guide.index("## In a terminal")]
    found += [word for word in re.findall(r"`([^`]+)`", table) if "apus:" in word and "(" in word]
    rules = re.sub(r">-\n\s+(.*)\n\s+(.*)\n", r"\1 \2\n", RULES.read_text())
    for rule in re.findall(r"expr: (.*)", rules):
        # What an alert compares.
        found += [re.sub(r" (>|<|==) .*", "", side) for side in rule.split(" and ")]
    assert len(found) > 45, found
    return [re.sub(r"\[[^\]]+\]", "[10s]", one.replace("$instance", ".*")) for one in found]


def ask(url, path="/v1/completions", key="alice", **more):
    body = {"prompt": "Once upon a time", "max_tokens": 20, "ignore_eos": True, **more}
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {KEYS[key]}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def start(work):
    keys = work / "keys.yaml"
    keys.write_text(
        f"alice: {KEYS['alice']}\nprometheus: {{key: {KEYS['prometheus']}, metrics: true}}\n")
    keys.chmod(0o600)
    (work / "job.yaml").write_text(
        f"name: watched\nmodel: {servers.MODEL}\nranks: 2\nthreads: 1\nrestart: never\n"
        f"http: {{address: 127.0.0.1, port: {free_port()}}}\napi: {{keyFile: {keys}}}\n")
    return servers.Process(
        work / "job.log", "launch", str(work / "job.yaml"),
        environment={"APUS_JOBS": str(work / "jobs")})


def check_numbers(prometheus, url):
    missing = {one for one in expressions()
               if not any(word in one for word in EMPTY_WHERE_ALL_IS_WELL)}
    print(f"  {len(missing)} expressions of the dashboard and the guide are asked", flush=True)
    limit = time.monotonic() + 120
    while missing:
        for _ in range(3):
            assert ask(url) == 200
        missing = {one for one in missing if not prometheus.values(one)}
        if time.monotonic() > limit:
            raise SystemExit("no number for:\n" + "\n".join(sorted(missing)))
    print("  each has a number", flush=True)


def check_bounds(prometheus, url):
    def series():
        return prometheus.values('scrape_samples_scraped{job="apus"}')[0]

    for path in ["/none", "/v1/files/none", "/v1/responses/none"]:
        ask(url, path)
    time.sleep(3)
    before = series()
    for number in range(200):
        ask(url, f"/none/{number}")
        ask(url, f"/v1/responses/resp_{number}")
        ask(url, model=f"none-{number}")
    time.sleep(3)
    # One pair of endpoint and status is new: an unknown model's.
    assert series() <= before + 1, f"{series()} series, before {before}"
    print(f"  {int(series())} series, whatever clients ask", flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        job = start(work)
        prometheus = Prometheus(work, job.url.removeprefix("http://"))
        try:
            wait("Prometheus scrapes the job",
                 lambda: prometheus.values('up{job="apus"}') == [1])
            check_numbers(prometheus, job.url)
            check_bounds(prometheus, job.url)
            firing = [name for name, one in prometheus.alerts().items() if one["state"] == "firing"]
            assert not firing, f"alerts of a healthy job: {firing}"
            print("  no alert fires", flush=True)
            os.kill(job.workers()[1], signal.SIGKILL)
            wait("ApusRankLost fires, and says how many",
                 lambda: prometheus.alerts().get("ApusRankLost", {}).get("state") == "firing"
                 and "without 1 of its ranks"
                 in prometheus.alerts()["ApusRankLost"]["annotations"]["summary"], 120)
            assert ask(job.url) == 200
            job.close()
            wait("ApusDown fires when the job has ended",
                 lambda: prometheus.alerts().get("ApusDown", {}).get("state") == "firing", 120)
        finally:
            prometheus.close()
            job.close()
    print("monitoring: passed")


if __name__ == "__main__":
    main()
