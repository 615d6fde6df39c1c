"""Writes float8.txt: what PyTorch's float8_e4m3fn casts give, for FormatTests.

Run: python make_float8.py > float8.txt   (torch 2.13.0, CPU)
Lines: `decode BYTE BITS`, `encode BITS BYTE`, then `block ROWS COLUMNS` followed by one line each of
input bits, e4m3 bytes and scale bits of a matrix quantised in 128x128 blocks.
"""

import random
import struct

import torch


def bits(value):
    return struct.pack(">f", value).hex()


def cast(values):
    tensor = torch.tensor(values, dtype=torch.float32).clamp(-448, 448)
    return tensor.to(torch.float8_e4m3fn).view(torch.uint8).tolist()


def encode_lines():
    random.seed(3)
    exact = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float().tolist()
    exact = sorted(set(x for x in exact if x == x))
    values = list(exact)
    values += [(a + b) / 2 for a, b in zip(exact, exact[1:])]  # ties
    for a, b in zip(exact, exact[1:]):
        middle = torch.tensor([(a + b) / 2])
        values += torch.nextafter(middle, torch.tensor([1e9])).tolist()
        values += torch.nextafter(middle, torch.tensor([-1e9])).tolist()
    values += [-0.0, 1e-30, -1e-42, 448.1, 464.0, 1e9, -1e9, float("inf"), float("-inf")]
    values += [random.gauss(0, 1) * 2 ** random.randint(-12, 9) for _ in range(300)]
    values = torch.tensor(values, dtype=torch.float32).tolist()
    return [f"encode {bits(v)} {b:02x}" for v, b in zip(values, cast(values))]


def block_lines(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    # bf16 values keep the file small: the upper half of the bits says all.
    matrix = torch.randn(rows, columns, generator=generator).to(torch.bfloat16).float()
    matrix[: rows // 2] *= 2.0**-9
    scales, codes = [], torch.zeros(rows, columns, dtype=torch.uint8)
    for top in range(0, rows, 128):
        for left in range(0, columns, 128):
            block = matrix[top : top + 128, left : left + 128]
            scale = block.abs().max() / 448
            scales.append(scale.item())
            code = (block / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
            codes[top : top + 128, left : left + 128] = code.view(torch.uint8)
    return [
        f"block {rows} {columns}",
        "".join(bits(v)[:4] for v in matrix.flatten().tolist()),
        bytes(codes.flatten().tolist()).hex(),
        "".join(bits(s) for s in scales),
    ]


def main():
    codes = torch.arange(256, dtype=torch.uint8)
    values = codes.view(torch.float8_e4m3fn).float().tolist()
    lines = [f"decode {c:02x} {bits(v)}" for c, v in enumerate(values) if v == v]
    lines += encode_lines()
    lines += block_lines(130, 37, 1) + block_lines(16, 260, 2)
    print("\n".join(lines))


main()
