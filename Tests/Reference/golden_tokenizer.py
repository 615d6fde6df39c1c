"""Writes Tests/Golden/tokenizer: a byte-level BPE tokenizer of 700 tokens with DeepSeek-V3's
pre-tokenizers, trained on the words and code of tokenizer_cases.py, and cases with their ids.

Usage: golden_tokenizer.py OUTPUT_DIRECTORY   (tokenizers 0.23.3)
"""
import json
import os
import random
import subprocess
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

PATTERN = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def corpus(here):
    source = open(os.path.join(here, "tokenizer_cases.py"), encoding="utf-8").read()
    scope = {"__name__": "cases"}
    exec(compile(source.replace("\nmain()\n", "\n"), "cases", "exec"), scope)
    texts = list(scope["strings"](random.Random(1), 3000, []))
    return [source] * 5 + texts


def main():
    here, out = os.path.dirname(os.path.abspath(__file__)), sys.argv[1]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
        pre_tokenizers.Split(Regex("[一-龥\u3040-ゟ゠-ヿ]+"), "isolated"),
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
    trainer = BpeTrainer(
        vocab_size=680, special_tokens=[AddedToken(name, special=True) for name in names],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(here), trainer)
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=True) for name in [
        "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>",
        "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>",
        "<｜tool▁output▁end｜>", "<｜tool▁sep｜>", "<thinking>"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[names[0], "$A"], special_tokens=[(names[0], 0)])
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, "tokenizer.json")
    tokenizer.save(path, pretty=False)
    with open(os.path.join(out, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"add_bos_token": True, "bos_token": names[0], "eos_token": {
            "__type": "AddedToken", "content": names[1]}}, file, ensure_ascii=False, indent=1)
        file.write("\n")
    cases = subprocess.run(
        [sys.executable, os.path.join(here, "tokenizer_cases.py"), path, "250", "7"],
        check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    cases = [case for case in cases if len(case) < 700]
    kept = random.Random(3).sample(cases[:1600], 100) + cases[-200:]
    with open(os.path.join(out, "cases.jsonl"), "w", encoding="utf-8") as file:
        file.write("\n".join(kept) + "\n")


if __name__ == "__main__":
    main()
