#!/usr/bin/env python3
"""Measures serving beside llama.cpp, on the same weights: its RPC backend and its server.

Usage: bench_serving.py APUS MODEL GGUF TOOLS [--rounds 5] [--processes 2] [--part rpc|server]

MODEL is a checkpoint's folder with a tokenizer, GGUF the same weights, TOOLS the folder of
llama.cpp's programs (built with GGML_RPC). Runs of both programs alternate; figures are medians
over the rounds, with their range.

rpc: `llama-batched-bench --rpc` on ggml-rpc-server processes of one thread beside `apus launch`
with as many ranks of one thread: 1 and 32 sequences of 16 tokens, 64 decoded. decode is tokens per
second after the prompts (1000 n / mean time per output token; llama.cpp's S_TG), whole includes the
prompts (and HTTP, in ours). server: 32 streams on `apus serve -t 2` and `llama-server -t 2`.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time
import urllib.request

PROMPT, WRITTEN, STREAMS = 16, 64, (1, 32)


def start(*words, log):
    return subprocess.Popen([str(word) for word in words], stdout=log, stderr=subprocess.STDOUT)


def stop(*processes):
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(60)


def wait_for(port, process, path="/health"):
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"a server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing answers at port {port} within a minute")


def load(apus, port, streams, prompts, seed):
    """What `apus bench serve` found."""
    words = [apus, "bench", "serve", "--port", port, "--num-prompts", prompts, "--max-concurrency",
             streams, "--random-input-len", PROMPT, "--random-output-len", WRITTEN, "--seed", seed,
             "--json"]
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def theirs_rpc(options, log):
    ports = [options.port + 1 + index for index in range(options.processes)]
    ranks = [start(options.tools / "ggml-rpc-server", "-t", 1, "-p", port, log=log)
             for port in ports]
    time.sleep(1)
    try:
        places = ",".join(f"127.0.0.1:{port}" for port in ports)
        words = [options.tools / "llama-batched-bench", "-m", options.gguf, "--rpc", places, "-ngl",
                 99, "-t", 1, "-c", 3072, "-b", 512, "-npp", PROMPT, "-ntg", WRITTEN, "-npl",
                 ",".join(map(str, STREAMS))]
        done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=log,
                              text=True, check=True)
    finally:
        stop(*ranks)
    figures = {}
    for line in done.stdout.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 10 and cells[1] == str(PROMPT):
            figures[f"decode x{cells[3]}"] = float(cells[8])
            figures[f"whole x{cells[3]}"] = int(cells[3]) * WRITTEN / float(cells[9])
    return figures


def ours_rpc(options, log, seed):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as job:
        job.write(f"name: bench\nmodel: {options.model.resolve()}\nranks: {options.processes}\n"
                  f"threads: 1\nhttp: {{port: {options.port}}}\nlimits: {{cacheTokens: 16384}}\n")
        job.flush()
        launch = start(options.apus, "launch", job.name, log=log)
        try:
            wait_for(options.port, launch)
            figures = {}
            for streams in STREAMS:
                load(options.apus, options.port, streams, streams, 1000 + seed)
                found = load(options.apus, options.port, streams, 4 * streams, seed)
                figures[f"decode x{streams}"] = 1000 * streams / found["mean_tpot_ms"]
                figures[f"whole x{streams}"] = found["output_throughput"]
            return figures
        finally:
            stop(launch)


def served(options, words, port, log, seed):
    server = start(*words, log=log)
    try:
        wait_for(port, server)
        load(options.apus, port, 32, 32, 1000 + seed)
        found = load(options.apus, port, 32, 64, seed)
        return {"whole x32": found["output_throughput"]}
    finally:
        stop(server)


def report(rounds):
    for name in rounds[0][0]:
        ours = [own[name] for own, _ in rounds]
        others = [other[name] for _, other in rounds]
        ratios = sorted(own / other for own, other in zip(ours, others))
        print(f"  {name:11s} apus {statistics.median(ours):7.0f} tokens/s, llama.cpp "
              f"{statistics.median(others):6.0f}: {statistics.median(ratios):.2f} times "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)


def main():
    parser = argparse.ArgumentParser()
    for name in ("apus", "model", "gguf", "tools"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--port", type=int, default=18200)
    parser.add_argument("--part", choices=("rpc", "server"))
    options = parser.parse_args()
    with tempfile.TemporaryFile() as log:
        if options.part != "server":
            print(f"{options.processes} processes of one thread, {options.rounds} rounds")
            report([(ours_rpc(options, log, seed), theirs_rpc(options, log))
                    for seed in range(options.rounds)])
        if options.part != "rpc":
            print(f"a server of 2 threads, 32 streams, {options.rounds} rounds")
            own = [options.apus, "serve", "--model", options.model, "-t", 2, "--port", options.port,
                   "--cache-tokens", 16384]
            other = [options.tools / "llama-server", "-m", options.gguf, "-t", 2, "-np", 32, "-c",
                     8192, "--port", options.port, "--no-warmup"]
            report([(served(options, own, options.port, log, seed),
                     served(options, other, options.port, log, seed))
                    for seed in range(options.rounds)])


if __name__ == "__main__":
    main()
