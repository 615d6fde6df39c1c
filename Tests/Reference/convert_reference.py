"""Converts a checkpoint with PyTorch and safetensors, and compares with what apus wrote.

Usage: convert_reference.py fp8-to-bf16|bf16-to-fp8 SOURCE OURS
Prints how many shards are equal byte for byte; exit 1 if a shard, the index or config.json is not.
"""
import filecmp
import json
import os
import sys
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import save_file

SUFFIX = "_scale_inv"
PROJECTIONS = {
    "q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "gate_proj",
    "up_proj", "down_proj"}


def read(source):
    index = os.path.join(source, "model.safetensors.index.json")
    if os.path.exists(index):
        places = json.load(open(index))["weight_map"]
    else:
        with safe_open(os.path.join(source, "model.safetensors"), "pt") as file:
            places = {name: "model.safetensors" for name in file.keys()}
    tensors = {}
    for shard in sorted(set(places.values())):
        with safe_open(os.path.join(source, shard), "pt") as file:
            for name in file.keys():
                tensors[name] = file.get_tensor(name)
    return places, tensors


def spread(scale, shape):
    """One scale per value from one per block of 128 by 128, cut at the edges."""
    wide = scale.repeat_interleave(128, 0)[: shape[0]]
    return wide.repeat_interleave(128, 1)[:, : shape[1]]


def to_bf16(places, tensors):
    for name, tensor in tensors.items():
        if name.endswith(SUFFIX):
            continue
        if tensor.dtype == torch.float8_e4m3fn:
            tensor = (tensor.float() * spread(tensors[name + SUFFIX], tensor.shape)).bfloat16()
        yield places[name], name, tensor


def to_fp8(places, tensors):
    for name, tensor in tensors.items():
        parts = name.split(".")
        if len(parts) < 3 or parts[-1] != "weight" or parts[-2] not in PROJECTIONS:
            yield places[name], name, tensor
            continue
        values = tensor.float()
        rows, columns = values.shape
        padded = torch.zeros(-(-rows // 128) * 128, -(-columns // 128) * 128)
        padded[:rows, :columns] = values
        blocks = padded.view(padded.shape[0] // 128, 128, padded.shape[1] // 128, 128)
        peak = blocks.abs().amax((1, 3))
        scale = torch.where(peak == 0, torch.ones(()), peak / 448)
        quantised = (values / spread(scale, values.shape)).to(torch.float8_e4m3fn)
        yield places[name], name, quantised
        yield places[name], name + SUFFIX, scale


def main():
    kind, source, output = sys.argv[1:]
    places, tensors = read(source)
    convert = {"fp8-to-bf16": to_bf16, "bf16-to-fp8": to_fp8}[kind]
    shards, weight_map = {}, {}
    for shard, name, tensor in convert(places, tensors):
        shards.setdefault(shard, {})[name] = tensor.contiguous()
        weight_map[name] = shard
    wrong = 0
    for shard, contents in sorted(shards.items()):
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            save_file(contents, file.name, metadata={"format": "pt"})
            if not filecmp.cmp(file.name, os.path.join(output, shard), shallow=False):
                print(f"{shard} differs")
                wrong += 1
    if os.path.exists(os.path.join(source, "model.safetensors.index.json")):
        index = json.load(open(os.path.join(output, "model.safetensors.index.json")))
        total = sum(t.numel() * t.element_size() for s in shards.values() for t in s.values())
        if index["weight_map"] != weight_map or index["metadata"]["total_size"] != total:
            print("the index differs")
            wrong += 1
    before = json.load(open(os.path.join(source, "config.json")))
    after = json.load(open(os.path.join(output, "config.json")))
    before.pop("quantization_config", None)
    quantised = after.pop("quantization_config", None)
    if before != after or (quantised is not None) != (kind == "bf16-to-fp8"):
        print("config.json differs")
        wrong += 1
    print(f"{len(shards) - wrong} of {len(shards)} shards are equal")
    sys.exit(1 if wrong else 0)


main()
