#!/usr/bin/env python3
"""Measures `apus bench model` beside llama.cpp, on the same random weights, in one run.

Usage: bench_llama.py APUS FOLDER [--shapes M,L] [--rounds 3] [--threads 2] [--level avx2]
                      [--prepare]

FOLDER (33 GB free) keeps llama.cpp, built with GGML_NATIVE from the sdist of llama-cpp-python, the
models, and what was measured. With --level avx2 neither side uses more than AVX2, FMA and F16C, as
on a CPU without AVX-512: llama.cpp is built once more for it, and APUS_CPU is avx2. Runs of both
programs alternate; a figure is the median over the rounds, shown after each. Interrupted, it goes
on with what is missing: steps of the preparation, then rounds, which are kept whole as long as APUS
and --threads stay the same. With --again the rounds begin anew, with --prepare nothing is measured.
The interpreter needs torch, transformers and safetensors (`.ci/python`).
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

SDIST = "llama-cpp-python==0.3.36"
TOOLS = ["llama-bench", "llama-batched-bench", "llama-quantize"]
LEVELS = {
    "native": {"folder": "build", "options": ["GGML_NATIVE=ON"], "environment": {}},
    "avx2": {
        "folder": "build-avx2",
        "options": ["GGML_NATIVE=OFF", "GGML_AVX2=ON", "GGML_FMA=ON", "GGML_F16C=ON"],
        "environment": {"APUS_CPU": "avx2"},
    },
}
HERE = pathlib.Path(__file__).resolve().parent
PROMPT, WRITTEN, MANY = 512, 32, 32  # tokens of a prompt, tokens decoded, sequences at once


def tell(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*words, **options):
    words = [str(word) for word in words]
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}")
    return done.stdout


def build(folder, level):
    """The folder with llama.cpp's programs and the one with its source."""
    unpacked = folder / SDIST.replace("==", "-").replace("-", "_", 2)
    source, built = unpacked / "vendor" / "llama.cpp", folder / LEVELS[level]["folder"]
    binaries = built / "bin"
    if all((binaries / tool).exists() for tool in TOOLS):
        return binaries, source
    tell("building llama.cpp: some 10 minutes on two cores")
    if not source.exists():
        run(sys.executable, "-m", "venv", folder / "venv")
        pip = folder / "venv" / "bin" / "pip"
        run(pip, "install", "--quiet", "cmake", "ninja")
        run(pip, "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python", SDIST,
            "--dest", folder)
        run("tar", "xf", f"{unpacked}.tar.gz", "-C", folder)
        for left in unpacked.rglob(".git"):  # a dangling file, over which ninja loops
            left.unlink() if left.is_file() or left.is_symlink() else shutil.rmtree(left)
    path = {**os.environ, "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}"}
    options = ["CMAKE_BUILD_TYPE=Release", *LEVELS[level]["options"]]
    options += [f"LLAMA_{part}=OFF" for part in
                ["CURL", "OPENSSL", "BUILD_TESTS", "BUILD_EXAMPLES", "BUILD_SERVER"]]
    run("cmake", "-G", "Ninja", "-S", source, "-B", built,
        *[f"-D{option}" for option in options], env=path)
    run("ninja", "-C", built, *TOOLS, env=path)
    return binaries, source


def prepare(apus, folder, shape, tools, source):
    """The models of a shape: bf16, fp8 and int4 as checkpoints, bf16, Q8_0 and Q4_0 as GGUF."""
    models = {
        "apus bf16": folder / f"{shape}-bf16", "apus fp8": folder / f"{shape}-fp8",
        "apus int4": folder / f"{shape}-int4",
        "llama bf16": folder / f"{shape}-bf16.gguf", "llama Q8_0": folder / f"{shape}-q8_0.gguf",
        "llama Q4_0": folder / f"{shape}-q4_0.gguf",
    }

    def make(name, command):
        """Runs a command that makes a model, which gets its name when it is complete."""
        if models[name].exists():
            return
        tell(f"making {models[name].name}")
        part = models[name].with_name("part-" + models[name].name)
        part.unlink(missing_ok=True)
        run(*command(part), stderr=subprocess.DEVNULL)
        part.rename(models[name])

    for dtype in ["bf16", "fp8"]:
        make(f"apus {dtype}", lambda part: [
            apus, "make-model", "--config", HERE / "shapes" / f"{shape}.json", "--seed", 1,
            "--dtype", dtype, "--out", part])
    # Every projection but the head, which llama-quantize keeps at six bits.
    make("apus int4", lambda part: [
        apus, "convert", models["apus bf16"], part, "--to", "int4",
        "--only", "re:.*(mlp|self_attn).*"])
    make("llama bf16", lambda part: [
        sys.executable, HERE / "llama_cpp_convert.py", source, models["apus bf16"],
        "--outtype", "bf16", "--outfile", part])
    for kind in ["Q8_0", "Q4_0"]:
        make(f"llama {kind}", lambda part: [
            tools / "llama-quantize", models["llama bf16"], part, kind])
    return models


def measure_apus(apus, model, threads):
    report = json.loads(run(
        apus, "bench", "model", "--model", model, "-p", PROMPT, "-n", WRITTEN, "-b", f"1,{MANY}",
        "-t", threads, "--json", stderr=subprocess.DEVNULL))
    prompt, one, many = report["prefill"][0], *report["decode"]
    return {
        "prefill": prompt["tokensPerSecond"], "decode": one["tokensPerSecond"],
        "batch": many["tokensPerSecond"], "share": one["bandwidthFraction"],
        "read": one["limit"]["readBytesPerSecond"] / 1e9,
        "peak": prompt["limit"]["peakOperationsPerSecond"] / 1e9,
        "prompt share": prompt["peakFraction"],
        "prompt products": prompt["inside"]["productPeakFraction"],
    }


def measure_llama(tools, model, threads):
    common = ["-m", model, "-t", threads, "-fa", "1"]
    figures = json.loads(run(
        tools / "llama-bench", *common, "-p", PROMPT, "-n", WRITTEN, "-r", 3, "-o", "json",
        stderr=subprocess.DEVNULL))
    lines = run(
        tools / "llama-batched-bench", *common, "-c", 4096, "-npp", 16, "-ntg", WRITTEN,
        "-npl", f"1,{MANY}", "--output-format", "jsonl", stderr=subprocess.DEVNULL).splitlines()
    batched = [json.loads(line) for line in lines if line.startswith("{")]
    rates = {("prefill" if figure["n_prompt"] else "decode"): figure["avg_ts"]
             for figure in figures}
    alone, many = [row["speed_tg"] for row in batched]
    # One sequence is measured by both programs; theirs is the better figure.
    return {"prefill": rates["prefill"], "decode": max(rates["decode"], alone), "batch": many}


def median(rounds, name, what):
    return statistics.median(figures[name][what] for figures in rounds)


def report(shape, rounds):
    print(f"\n{shape}, median of {len(rounds)} rounds: tokens/s")
    print(f"{'':12}{f'prefill {PROMPT}':>14}{'decode x1':>12}{f'decode x{MANY}':>12}")
    for name in rounds[0]:
        columns = [median(rounds, name, what) for what in ["prefill", "decode", "batch"]]
        print(f"{name:12}{columns[0]:14.1f}{columns[1]:12.2f}{columns[2]:12.1f}")
    for name in [name for name in rounds[0] if "apus" in name]:
        print(f"{name}: decode x1 reads {median(rounds, name, 'share'):.0%} of "
              f"{median(rounds, name, 'read'):.1f} GB/s, prefill computes "
              f"{median(rounds, name, 'prompt share'):.0%} of "
              f"{median(rounds, name, 'peak'):.0f} GFLOP/s "
              f"({median(rounds, name, 'prompt products'):.0%} inside the products)")

    def ratio(ours, theirs, what):
        value = statistics.median(f[ours][what] / f[theirs][what] for f in rounds)
        print(f"{what:8} {ours:9} / {theirs:10} {value:6.2f}")

    ratio("apus bf16", "llama bf16", "decode")
    ratio("apus fp8", "llama bf16", "decode")
    ratio("apus fp8", "llama Q8_0", "decode")
    ratio("apus int4", "llama Q4_0", "decode")
    ratio("apus int4", "apus fp8", "decode")
    for ours in ["apus bf16", "apus fp8"]:
        for theirs in ["llama bf16", "llama Q8_0"]:
            ratio(ours, theirs, "batch")
    ratio("apus int4", "llama Q4_0", "batch")
    ratio("apus bf16", "llama bf16", "prefill")
    ratio("apus fp8", "llama Q8_0", "prefill")
    ratio("apus int4", "llama Q4_0", "prefill")
    ratio("apus int4", "apus fp8", "prefill")
    print(flush=True)


def measure(shape, models, apus, tools, options, kept):
    """Measures what is missing of the rounds, keeping each in the file `kept`."""
    stamp = [apus.stat().st_mtime_ns, apus.stat().st_size, options.threads]
    rounds = []
    if kept.exists() and not options.again:
        before = json.loads(kept.read_text())
        rounds = before["rounds"][:options.rounds] if before["stamp"] == stamp else []
    if rounds:
        tell(f"{shape}: {len(rounds)} rounds were measured before")
        report(shape, rounds)
    for number in range(len(rounds) + 1, options.rounds + 1):
        figures = {}
        for name, model in models.items():
            tell(f"{shape}, round {number} of {options.rounds}: {name}")
            program, first = (measure_llama, tools) if "llama" in name else (measure_apus, apus)
            figures[name] = program(first, model, options.threads)
            shown = ", ".join(f"{what} {value:.4g}" for what, value in figures[name].items())
            print(f"         {shown}", flush=True)
        rounds.append(figures)
        kept.write_text(json.dumps({"stamp": stamp, "rounds": rounds}))
        report(shape, rounds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("apus", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shapes", default="M,L")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--level", choices=LEVELS, default="native")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(LEVELS[options.level]["environment"])
    tools, source = build(folder, options.level)
    for shape in options.shapes.split(","):
        models = prepare(options.apus.resolve(), folder, shape, tools, source)
        if not options.prepare:
            measure(shape, models, options.apus.resolve(), tools, options,
                    folder / f"{shape}-{options.level}-figures.json")


main()
