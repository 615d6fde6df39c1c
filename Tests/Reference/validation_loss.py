#!/usr/bin/env python3
"""Next-token loss of an exported model on JSONL text, by Transformers in float32.

Usage: validation_loss.py MODEL TEXT.jsonl [DOCUMENTS [TOKENS [APUS]]]
The first DOCUMENTS (64) lines, the first TOKENS (512) tokens of each; the mean over all predicted
tokens. With APUS, the program, `apus evaluate --compute fp32` reads the same ids beside it.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
from tokenizers import Tokenizer
from transformers import DeepseekV3ForCausalLM


def apus_loss(program, model, ids):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        file.write(" ".join(map(str, ids)))
    try:
        command = [program, "evaluate", "--model", model, "--tokens", file.name]
        output = subprocess.run(
            command + ["--compute", "fp32", "--json"], check=True, capture_output=True)
    finally:
        os.unlink(file.name)
    return json.loads(output.stdout)["loss"]


def main():
    folder, path = sys.argv[1:3]
    documents, length = (int(x) for x in (sys.argv[3:5] + ["64", "512"][len(sys.argv) - 3 :])[:2])
    program = sys.argv[5] if len(sys.argv) > 5 else None
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    model = DeepseekV3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    total, own, count = 0.0, 0.0, 0
    with open(path) as file:
        lines = [json.loads(line)["text"] for line in file][:documents]
    for text in lines:
        ids = tokenizer.encode(text, add_special_tokens=False).ids[:length]
        batch = torch.tensor([ids])
        with torch.no_grad():
            logits = model(input_ids=batch, use_cache=False).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, batch[0, 1:], reduction="sum").item()
        if program:
            own += apus_loss(program, folder, ids) * (len(ids) - 1)
        count += len(ids) - 1
    print(f"transformers {total / count:.4f} over {count} tokens of {len(lines)} documents")
    if program:
        print(f"apus         {own / count:.4f}")


main()
