"""Writes strings and the ids that tiktoken gives them under Kimi's split pattern, as JSON lines.

Usage: tiktoken_cases.py FOLDER COUNT SEED > CASES.jsonl
FOLDER holds a tiktoken.model and a tokenizer_config.json. With `--make TOKENIZER.json SIZE`, it is
made first, of the first tokens of a byte-level vocabulary.
"""
import base64
import json
import os
import random
import sys

import tiktoken
from tokenizer_cases import strings

UPPER, LOWER = (r"[\p{%s}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]" % name for name in (r"Lu}\p{Lt", "Ll"))
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERN = "|".join([
    r"[\p{Han}]+", r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + ENDING,
    r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*" + ENDING, r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
NAMED = {0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 4: "<|im_assistant|>"}


def alphabet():
    """The byte that each character of a byte-level vocabulary stands for."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


def tokens(source, size):
    """The first tokens of a byte-level vocabulary, in the order of their ranks."""
    letters = alphabet()
    model = json.load(open(source, encoding="utf-8"))["model"]
    found = {bytes([byte]): None for byte in range(256)}
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        token = bytes(letters[letter] for letter in left + right)
        if len(found) < size:
            found.setdefault(token)
    return list(found)


def make(folder, source, size):
    ranked = tokens(source, size)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tiktoken.model"), "w", encoding="utf-8") as file:
        for rank, token in enumerate(ranked):
            file.write(f"{base64.b64encode(token).decode()} {rank}\n")
    added = {str(len(ranked) + at): {"content": name, "special": at != 3} for at, name in NAMED.items()}
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]",
                   "eos_token": "[EOS]", "added_tokens_decoder": added}, file, indent=1)


def read(folder):
    """The folder's encoding, tokens that texts may hold, and the ids that decoding leaves out."""
    with open(os.path.join(folder, "tiktoken.model"), "rb") as file:
        ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, file)}
    config = json.load(open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8"))
    named = {int(key): value for key, value in config["added_tokens_decoder"].items()}
    ids = range(len(ranks), len(ranks) + 256)
    special = {named[id]["content"] if id in named else f"<|reserved_token_{id}|>": id for id in ids}
    skipped = {id for id in ids if id not in named or named[id]["special"]}
    tokenizer = tiktoken.Encoding(
        "kimi", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)
    return tokenizer, [*list(special)[:8], "<|reserved_token_%d|>" % ids[-1]], skipped


def main():
    folder, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if "--make" in sys.argv:
        make(folder, sys.argv[5], int(sys.argv[6]))
    tokenizer, added, skipped = read(folder)
    for text in strings(random.Random(seed), count, added):
        plain = tokenizer.encode(text, allowed_special="all")
        shuffled = list(plain)
        random.Random(len(text)).shuffle(shuffled)
        print(json.dumps({
            "text": text, "ids": plain, "plain": plain, "shuffled": shuffled,
            "decoded": tokenizer.decode([id for id in shuffled if id not in skipped], errors="replace"),
            "verbatim": tokenizer.decode(plain, errors="replace")}))


if __name__ == "__main__":
    main()
