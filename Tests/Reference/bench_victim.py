#!/usr/bin/env python3
"""Measures what hostile clients do to a stream of another client.

Usage: bench_victim.py APUS MODEL [--seconds 8] [--json FILE]

Starts `apus serve` on one rank of one thread, so that a machine of two cores has one for the attack, and reads
streams of one client: undisturbed, then beside each attack, then undisturbed again. An attack goes on as long as the
reading. Printed are the gaps between two pieces of a stream (p50, p99, largest), the ratio of the p99 to that of the
undisturbed run, the longest wait for a first piece, what the attackers were answered, and the server's resident
memory. A p99 may be twice the undisturbed one, no gap and no wait for a first piece may be a second. Exit 1 where a
limit is passed, or the server ended.

The attackers share the machine with the server: where there are two cores, part of what is measured is theirs.
"""
import argparse
import collections
import json
import pathlib
import socket
import subprocess
import tempfile
import threading
import time

RATIO_LIMIT, GAP_LIMIT = 2.0, 1.0
# A connection, a request and a prompt come before a first piece: seconds.
FIRST_LIMIT = 1.0


class Server:
    def __init__(self, apus, model, log):
        self.process = subprocess.Popen(
            [apus, "serve", "--model", model, "--ranks", "1", "--threads", "1", "--port", "0"],
            stdout=log, stderr=subprocess.STDOUT)
        for _ in range(600):
            for line in pathlib.Path(log.name).read_text().splitlines():
                # A line that is half written has a port, too.
                if line.startswith("serving ") and line.endswith("/v1"):
                    self.port = int(line.rsplit(":", 1)[1].split("/")[0])
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"no server: {pathlib.Path(log.name).read_text()}")

    def resident(self):
        """Bytes of the process in memory, in MiB."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def connect(self, timeout=60):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def end(self):
        self.process.terminate()
        self.process.wait(60)


def request(path, body, method="POST"):
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode() + body


def pieces(connection, end):
    """Times at which pieces of a stream come, until it ends or the time is over."""
    rest = b""
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            return
        if not piece:
            return
        rest += piece
        if b"data: {" in rest:
            yield time.monotonic()
        rest = rest[-6:]


def waits(server, seconds):
    """Seconds between pieces of streams that are read one after the other, and the longest until a first piece.

    A wait that the end of the reading cuts off counts as it is; an answer without a piece ends none.
    """
    body = json.dumps(dict(prompt="Once upon a time", max_tokens=1500, ignore_eos=True, stream=True, temperature=0))
    gaps, firsts, last = [], [], None
    begun = time.monotonic()
    end = begun + seconds
    while (left := end - time.monotonic()) > 0:
        last = None
        try:
            with server.connect(left) as connection:
                connection.sendall(request("/v1/completions", body.encode()))
                for now in pieces(connection, end):
                    if last is None:
                        firsts.append(now - begun)
                    else:
                        gaps.append(now - last)
                    last = now
        except TimeoutError:
            # No connection until the end of the reading.
            break
        if last is not None:
            begun = time.monotonic()
    if last is None:
        firsts.append(time.monotonic() - begun)
    else:
        gaps.append(time.monotonic() - last)
    return sorted(gaps), max(firsts)


class Attack:
    """Clients that send the same bytes again and again, each on a connection of its own."""

    def __init__(self, server, payload, clients):
        self.server, self.payload, self.over = server, payload, threading.Event()
        self.answers = collections.Counter()
        self.threads = [threading.Thread(target=self.send, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while not self.over.is_set():
            try:
                with self.server.connect() as connection:
                    connection.sendall(self.payload)
                    head = b""
                    # "HTTP/1.1 200": a piece may end within it.
                    while len(head) < 12 and (piece := connection.recv(64)):
                        head += piece
                    self.answers[head[9:12].decode("latin1") or "closed"] += 1
                    while not self.over.is_set() and connection.recv(65536):
                        pass
            except OSError as error:
                self.answers[type(error).__name__] += 1
                self.over.wait(0.01)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(70)
        return ", ".join(f"{count} x {name}" for name, count in sorted(self.answers.items()))


class Idle:
    """Connections that say nothing, or a piece of a head."""

    def __init__(self, server, count):
        self.held = []
        for index in range(count):
            try:
                connection = server.connect()
                if index % 2:
                    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n")
                self.held.append(connection)
            except OSError:
                break

    def end(self):
        for connection in self.held:
            connection.close()
        return f"{len(self.held)} connections"


def attacks(server):
    def schema(value, texts="a", **more):
        return request("/v1/completions", json.dumps(dict(
            prompt=texts, max_tokens=4, structured_outputs=dict(json=value), **more)).encode())

    wide = dict(allOf=[dict(enum=[number] * 13999 + [7]) for number in (1, 2)])
    nested = dict(type="string", pattern="(a{1,900}b{1,900}){1,900}")
    patterns = dict(allOf=[dict(type="string", pattern=f"^(?:.{{{n}}}a)*[ab]{{{n}}}") for n in range(3, 40)])
    large = request("/v1/completions", json.dumps(dict(prompt=["x" * 131000] * 60, max_tokens=1)).encode())
    deep = request("/v1/completions", b'{"prompt":' + b"[" * 4_000_000)
    chats = request("/v1/chat/completions", json.dumps(dict(
        messages=[dict(role="user", content="a b " * 1000)] * 200, max_tokens=1)).encode())
    return {
        "schema of 56 KB (allOf of long enums)": lambda: Attack(server, schema(wide), 4),
        "pattern that multiplies": lambda: Attack(server, schema(nested), 4),
        "patterns that must all hold": lambda: Attack(server, schema(patterns), 4),
        "60 prompts under one schema": lambda: Attack(server, schema(wide, ["ab " * 1300] * 60), 2),
        "prompts of 8 MB": lambda: Attack(server, large, 4),
        "JSON 4 million deep": lambda: Attack(server, deep, 4),
        "chats of 800 KB": lambda: Attack(server, chats, 4),
        "900 idle connections": lambda: Idle(server, 900),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("apus")
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--json")
    options = parser.parse_args()
    rows, failures = [], []
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        server = Server(options.apus, options.model, log)
        try:
            waits(server, 1)
            print(f"{'beside':40} {'p50 ms':>8} {'p99 ms':>8} {'largest':>8} {'p99 ratio':>9} {'first':>8} {'MiB':>7}"
                  "  answers", flush=True)
            base = None
            plan = [("nothing", None), *attacks(server).items(), ("nothing, again", None)]
            for name, start in plan:
                attack = start() if start else None
                found, first = waits(server, options.seconds)
                resident = server.resident()
                answers = attack.end() if attack else ""
                if first > FIRST_LIMIT:
                    failures.append(f"{name}: a first piece took {first:.2f} s, limit {FIRST_LIMIT} s")
                if len(found) < 2:
                    failures.append(f"{name}: the stream stood still")
                    continue
                p50, p99 = found[len(found) // 2], found[min(len(found) - 1, int(len(found) * 0.99))]
                base = base or p99
                rows.append(dict(beside=name, p50=p50, p99=p99, largest=found[-1], ratio=p99 / base, first=first,
                                 mib=resident, answers=answers))
                print(f"{name:40} {p50 * 1e3:8.2f} {p99 * 1e3:8.2f} {found[-1] * 1e3:8.1f} {p99 / base:9.2f} "
                      f"{first * 1e3:8.1f} {resident:7.0f}  {answers}", flush=True)
                if p99 > RATIO_LIMIT * base:
                    failures.append(f"{name}: p99 is {p99 / base:.2f} of the undisturbed one, limit {RATIO_LIMIT}")
                if found[-1] > GAP_LIMIT:
                    failures.append(f"{name}: the stream stood still for {found[-1]:.2f} s, limit {GAP_LIMIT} s")
        finally:
            if server.process.poll() is not None:
                failures.append(f"the server ended with {server.process.returncode}")
            else:
                server.end()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=2) + "\n")
    for failure in failures:
        print(failure)
    raise SystemExit(1 if failures else 0)


main()
