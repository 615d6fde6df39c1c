#!/usr/bin/env python3
"""A linear layer's products in emulated FP8, by PyTorch's float8_e4m3fn (torch 2.13.0, CPU).

Usage: float8.py DIRECTORY SEED ROWS INPUTS OUTPUTS
Writes model.safetensors: x, w and dy; each rounded, activations with a scale per 1x128 and weights
per 128x128 (max / 448); and y, dx, dw, products of the rounded matrices in float64.
Source: DeepSeek-V3 report, 3.3.2. Called by Float8Tests.
"""
import os
import sys

import torch
from safetensors.torch import save_file

LARGEST = 448.0


def rounded(matrix, tall):
    result = torch.empty_like(matrix)
    for row in range(0, matrix.shape[0], tall):
        for column in range(0, matrix.shape[1], 128):
            block = matrix[row : row + tall, column : column + 128]
            scale = block.abs().max() / LARGEST
            if scale == 0:
                scale = torch.tensor(1.0)
            codes = (block / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
            result[row : row + tall, column : column + 128] = codes.float() * scale
    return result


def main():
    directory, (seed, rows, inputs, outputs) = sys.argv[1], map(int, sys.argv[2:6])
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        spread = torch.randn(shape, generator=generator).exp()
        return torch.randn(shape, generator=generator) * spread

    x, w, dy = random(rows, inputs), random(outputs, inputs), random(rows, outputs)
    tensors = {"x": x, "w": w, "dy": dy}
    tensors |= {"rounded.x": rounded(x, 1), "rounded.w": rounded(w, 128)}
    tensors["rounded.dy"] = rounded(dy, 1)
    a, b, c = (tensors["rounded." + name].double() for name in ("x", "w", "dy"))
    tensors |= {"y": (a @ b.T).float(), "dx": (c @ b).float(), "dw": (c.T @ a).float()}
    tensors |= {
        "magnitude.y": (a.abs() @ b.abs().T).float(), "magnitude.dx": (c.abs() @ b.abs()).float(),
        "magnitude.dw": (c.abs().T @ a.abs()).float(),
    }
    os.makedirs(directory, exist_ok=True)
    save_file(tensors, os.path.join(directory, "model.safetensors"))


main()
