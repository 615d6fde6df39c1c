"""Writes logits, sampling parameters and the distribution that Transformers' logits processors
leave of them, JSON lines.

Usage: sampling_cases.py COUNT SEED > CASES.jsonl
"""
import json
import random
import sys

import torch
from transformers import (
    LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    generator = random.Random(seed)
    torch.manual_seed(seed)
    for _ in range(count):
        size = generator.choice([2, 17, 300])
        logits = torch.randn(size) * generator.choice([0.1, 1, 4, 20])
        parameters = {
            "temperature": generator.choice([0.2, 0.7, 1.0, 1.6]),
            "topK": generator.choice([0, 0, 1, 5, 40]),
            "topP": generator.choice([1.0, 1.0, 0.95, 0.5, 0.1]),
            "minP": generator.choice([0.0, 0.0, 0.05, 0.3]),
            "repetitionPenalty": generator.choice([1.0, 1.0, 1.3, 0.8]),
        }
        prompt = [generator.randrange(size) for _ in range(generator.randrange(1, 6))]
        steps = LogitsProcessorList()
        if parameters["repetitionPenalty"] != 1:
            steps.append(RepetitionPenaltyLogitsProcessor(parameters["repetitionPenalty"]))
        steps.append(TemperatureLogitsWarper(parameters["temperature"]))
        if parameters["topK"]:
            steps.append(TopKLogitsWarper(parameters["topK"]))
        if parameters["topP"] < 1:
            steps.append(TopPLogitsWarper(parameters["topP"]))
        if parameters["minP"]:
            steps.append(MinPLogitsWarper(parameters["minP"]))
        # In float64: whether a token is just inside top-p must not hang on rounding.
        scores = steps(torch.tensor([prompt]), logits.double()[None])
        probabilities = torch.softmax(scores, -1)[0]
        logprobs = torch.log_softmax(logits.double(), -1)
        print(json.dumps({
            "logits": logits.tolist(), "prompt": prompt, **parameters,
            "probabilities": probabilities.tolist(), "logprobs": logprobs.tolist()}))


main()
