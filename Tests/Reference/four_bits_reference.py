"""Rounds a checkpoint to 4 bits with numpy, and compares with what apus wrote.

Usage: four_bits_reference.py int4|mxfp4 SOURCE OURS ERRORS
ERRORS has the lines that apus printed: the relative error of each matrix and its name.
Prints how many matrices are equal bit for bit; exit 1 if one is not, or if an error is not numpy's.
"""
import os
import sys

import numpy as np
import torch
from safetensors import safe_open

# OCP Microscaling Formats 1.0, table 5: the magnitudes of e2m1.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def read(folder):
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def bf16(values):
    return torch.from_numpy(values).bfloat16().float().numpy()


def int4(groups):
    """compressed-tensors: calculate_qparams of a symmetric range, then quantize."""
    largest = np.abs(groups).max(-1)
    scale = np.where(largest == 0, np.float32(1), bf16(largest / np.float32(7.5)))
    codes = np.clip(np.rint(groups / scale[..., None]), -8, 7)
    return codes, scale, codes * scale[..., None]


def mxfp4(groups):
    largest = np.abs(groups).max(-1)
    exponent = np.where(largest == 0, 0, np.floor(np.log2(np.maximum(largest, 1e-30))) - 2)
    scale = np.exp2(exponent).astype(np.float32)
    units = np.abs(groups / scale[..., None])
    # The nearest; of two, the even code.
    distance = np.abs(units[..., None] - E2M1)
    nearest = distance.argmin(-1)
    tie = np.take_along_axis(distance, np.minimum(nearest + 1, 7)[..., None], -1)[..., 0] == distance.min(-1)
    code = np.where(tie & (nearest % 2 == 1) & (nearest < 7), nearest + 1, nearest)
    values = E2M1[code] * np.sign(groups) * scale[..., None]
    return code + 8 * np.signbit(groups), scale, values


def stored_codes(kind, tensor):
    if kind == "int4":
        words = tensor.numpy().view(np.uint32)
        nibbles = (words[..., None] >> np.arange(0, 32, 4, dtype=np.uint32)) & 15
        return nibbles.reshape(words.shape[0], -1).astype(np.int64) - 8
    bytes_ = tensor.numpy()
    return np.stack([bytes_ & 15, bytes_ >> 4], -1).reshape(bytes_.shape[0], -1)


def main():
    kind, source, ours, errors = sys.argv[1:]
    before, after = read(source), read(ours)
    printed = {name: float(error) for error, name in (line.split() for line in open(errors))}
    equal = wrong = 0
    for name, tensor in before.items():
        packed = after.get(name + "_packed")
        if packed is None:
            wrong += not torch.equal(after[name], tensor)
            continue
        values = tensor.float().numpy()
        codes, scale, wide = (int4 if kind == "int4" else mxfp4)(values.reshape(values.shape[0], -1, 32))
        scales = after[name + "_scale"]
        found = scales.float().numpy() if kind == "int4" else np.exp2(scales.numpy().astype(np.float32) - 127)
        same = np.array_equal(stored_codes(kind, packed), codes.reshape(values.shape)) and np.array_equal(found, scale)
        if kind == "int4":
            same &= after[name + "_shape"].tolist() == list(values.shape)
        difference = wide.reshape(values.shape).astype(np.float64) - values
        error = np.sqrt((difference**2).sum() / (values.astype(np.float64) ** 2).sum())
        same &= abs(error - printed.get(name, -1)) < 1e-5
        if not same:
            print(f"{name} differs")
        equal += same
        wrong += not same
    print(f"{equal} matrices are equal")
    sys.exit(1 if wrong or not equal else 0)


main()
