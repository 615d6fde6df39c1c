#!/usr/bin/env python3
"""Trains runs that differ in one thing and compares their losses over the last fifth.

Usage: training_pairs.py JOB.yaml RUNS [--apus PROGRAM] [--seeds 1,2,3] [--side-by-side 1]
                         [--only bf16,fp8] [--report] [--held-out 128] [--svg FILE]

Per seed, all with the weights and the order of data of the first:
  bf16     the job
  again    half the sequences, twice the micro-batches: sums in another order, as rounding differs
  rate     a learning rate 1% higher: a change that should mean nothing
  fp8      in FP8 from the first step
  fork     in FP8 from the first checkpoint of the bf16 run
  no-bias  without bias updates
Runs that are complete in RUNS are not repeated; --report compares those that are there.
--held-out exports the last checkpoints of bf16 and fp8 and compares their losses on the first
tokens of every validation document, in fp32.
"""
import argparse
import concurrent.futures
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import tempfile

PATHS = ("model", "tokenizer", "train", "validation")
NAMES = {
    "fp8": "FP8", "fork": "FP8 from the first checkpoint", "no-bias": "no bias updates",
    "again": "sums in another order", "rate": "rate 1% higher"}


def keys(path):
    """The values of a job file by key, with absolute paths."""
    folder = os.path.dirname(os.path.abspath(path))
    found = {}
    for line in open(path):
        match = re.match(r"(\w+):\s*(.*)", line)
        if not match:
            continue
        key, value = match.groups()
        if key in PATHS:
            names = [name.strip() for name in value.strip("[]").split(",")]
            names = [os.path.join(folder, name) for name in names]
            value = json.dumps(names if value.startswith("[") else names[0])
        found[key] = value
    return found


def variants(job):
    rate, sequences = float(job["learningRate"]), int(job["sequences"])
    return {
        "bf16": {},
        "again": {"sequences": sequences // 2, "microBatches": 2},
        "rate": {"learningRate": 1.01 * rate},
        "fp8": {"precision": "float8"},
        "fork": {"precision": "float8"},
        "no-bias": {"biasStep": 0},
    }


def first_checkpoint(job):
    return f"step-{int(job['checkpointEvery']):08d}"


def train(program, job, folder, name, seed):
    run = f"{folder}/{name}-{seed}"
    if os.path.exists(run + "/loss.svg"):
        return
    shutil.rmtree(run, ignore_errors=True)
    if name == "fork":
        source, step = f"{folder}/bf16-{seed}", first_checkpoint(job)
        shutil.copytree(f"{source}/checkpoints/{step}", f"{run}/checkpoints/{step}")
        for file in ("metrics.jsonl", "train.tokens"):
            shutil.copy(f"{source}/{file}", run)
    with open(run + ".yaml", "w") as file:
        for key, value in {**job, "seed": seed, "output": json.dumps(run)}.items():
            file.write(f"{key}: {value}\n")
    command = [program, "train", run + ".yaml"] + (["--resume"] if name == "fork" else [])
    with open(run + ".log", "w") as log:
        subprocess.run(command, stdout=log, stderr=log, check=True)


def read(folder, name, seed):
    """The steps of a complete run; nothing of another."""
    run = f"{folder}/{name}-{seed}"
    if not os.path.exists(run + "/loss.svg"):
        return None
    with open(run + "/metrics.jsonl") as file:
        return [json.loads(line) for line in file]


def mean(values):
    return sum(values) / len(values)


def spread(values):
    """Mean and standard error."""
    if len(values) < 2:
        return f"{mean(values):+.3f}"
    return f"{mean(values):+.3f} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}"


def difference(own, base, low, high):
    """In percent of the base, over steps low + 1 to high."""
    sums = [sum(line["loss"] for line in lines[low:high]) for lines in (own, base)]
    return 100 * (sums[0] / sums[1] - 1)


def table(runs, seeds):
    steps = len(runs["bf16", seeds[0]])
    first = steps - steps // 5
    print(f"Steps {first + 1} to {steps}; loss against bf16 of the same seed in percent.\n")
    print("| | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean | violation |")
    print("|---" * (len(seeds) + 3) + "|")
    for name in ["bf16", "again", "rate", "fp8", "fork", "no-bias"]:
        cells, apart, violations = [], [], []
        for seed in seeds:
            own, base = runs.get((name, seed)), runs["bf16", seed]
            if not own:
                cells.append("")
                continue
            violations.append(mean([line["expertViolation"] for line in own[first:]]))
            if name == "bf16":
                cells.append(f"{mean([line['loss'] for line in own[first:]]):.4f}")
            else:
                apart.append(difference(own, base, first, steps))
                cells.append(f"{apart[-1]:+.3f}")
        if violations:
            total = spread(apart) if apart else ""
            print(f"| {name} | " + " | ".join(cells) + f" | {total} | {mean(violations):.2f} |")


def documents(path, length):
    """The first tokens of every document of a token file (its layout: TokenFile.swift)."""
    with open(path, "rb") as file:
        data = file.read()
    _, _, count, tokens, _ = struct.unpack_from("<5Q", data)
    bounds = struct.unpack_from(f"<{count + 1}Q", data, 40)
    tokens = struct.unpack_from(f"<{tokens}i", data, 40 + 8 * (count + 1))
    return [tokens[low:min(high, low + length)] for low, high in zip(bounds, bounds[1:])]


def held_out_loss(program, job, run, length):
    last = max(os.listdir(run + "/checkpoints"))
    total = count = 0
    with tempfile.TemporaryDirectory() as folder:
        model, ids = folder + "/model", folder + "/ids"
        subprocess.run(
            [program, "train", "export", f"{run}/checkpoints/{last}", "--to", model,
             "--tokenizer", json.loads(job["tokenizer"])], check=True)
        for document in documents(run + "/validation.tokens", length):
            with open(ids, "w") as file:
                file.write(" ".join(map(str, document)))
            said = subprocess.run(
                [program, "evaluate", "--model", model, "--tokens", ids, "--compute", "fp32",
                 "--json"], check=True, capture_output=True).stdout
            total += json.loads(said)["loss"] * (len(document) - 1)
            count += len(document) - 1
    return total / count


def held_out(program, job, folder, runs, seeds, length):
    both = [seed for seed in seeds if ("fp8", seed) in runs]
    apart = []
    for seed in both:
        base, own = (
            held_out_loss(program, job, f"{folder}/{name}-{seed}", length)
            for name in ("bf16", "fp8"))
        apart.append(100 * (own / base - 1))
        print(f"seed {seed}: held-out loss bf16 {base:.4f}, fp8 {own:.4f} ({apart[-1]:+.3f}%)")
    if apart:
        print(f"held-out loss of fp8 against bf16: {spread(apart)}%")


def picture(program, path, runs, seeds, window=40):
    """Every run's loss against bf16's of the same seed, means over a window of steps."""
    steps = len(runs["bf16", seeds[0]])
    lines = [
        {"name": NAMES[name], "points": [
            [k, difference(own, runs["bf16", seed], k - window, k)]
            for k in range(window, steps + 1, 10)]}
        for name in NAMES for (variant, seed), own in runs.items() if variant == name]
    plot = {
        "title": "Training loss against bf16 of the same seed",
        "subtitle": f"{len(seeds)} seeds, means over {window} steps",
        "horizontal": {"title": "training step", "wholeNumbers": True},
        "vertical": {"title": "difference, %"}, "lines": lines}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(plot, file)
        file.flush()
        subprocess.run([program, "plot", file.name, "--svg", path], check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("job")
    parser.add_argument("runs")
    parser.add_argument("--apus", default=".build/release/apus")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--side-by-side", type=int, default=1)
    parser.add_argument("--only", help="these variants of every seed")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--held-out", type=int)
    parser.add_argument("--svg")
    options = parser.parse_args()
    job = keys(options.job)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    folder = os.path.abspath(options.runs)
    os.makedirs(folder, exist_ok=True)
    changes = variants(job)
    if options.only:
        changes = {name: changes[name] for name in options.only.split(",")}
    if not options.report:
        # Forks begin with a checkpoint of the others.
        for names in (
                [name for name in changes if name != "fork"],
                [name for name in changes if name == "fork"]):
            with concurrent.futures.ThreadPoolExecutor(options.side_by_side) as pool:
                waiting = [
                    pool.submit(train, options.apus, {**job, **changes[name]}, folder, name, seed)
                    for seed in seeds for name in names]
                for run in waiting:
                    run.result()
    found = {(name, seed): read(folder, name, seed) for name in changes for seed in seeds}
    runs = {key: lines for key, lines in found.items() if lines}
    seeds = [seed for seed in seeds if ("bf16", seed) in runs]
    if not seeds:
        raise SystemExit(f"{folder} holds no complete bf16 run")
    runs = {key: lines for key, lines in runs.items() if key[1] in seeds}
    table(runs, seeds)
    if options.held_out:
        held_out(options.apus, job, folder, runs, seeds, options.held_out)
    if options.svg:
        picture(options.apus, options.svg, runs, seeds)


main()
