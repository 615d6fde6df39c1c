#!/usr/bin/env python3
"""Tokens per second of training with PyTorch and Transformers on random tokens.

Usage: train_speed.py CONFIG SEQUENCE_LENGTH SEQUENCES THREADS STEPS
Prints the median. Called by `apus train speed --reference`.
"""
import json
import statistics
import sys
import time

import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM


def main():
    path, length, sequences, threads, steps = sys.argv[1], *map(int, sys.argv[2:6])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with open(path) as file:
        config = DeepseekV3Config(**json.load(file))
    model = DeepseekV3ForCausalLM(config).float().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    speeds = []
    for step in range(steps + 1):
        tokens = torch.randint(config.vocab_size, (sequences, length))
        begin = time.perf_counter()
        model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step:
            speeds.append(sequences * length / (time.perf_counter() - begin))
    print(statistics.median(speeds))


main()
