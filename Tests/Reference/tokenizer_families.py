"""Trains a small vocabulary under the split pattern of a published family, writes it as that family's
files are written, and prints strings with the ids that the family's own library gives them, JSON lines.

Usage: tokenizer_families.py deepseek|glm|qwen|kimi|o200k FOLDER COUNT SEED > CASES.jsonl
Kimi's is a tiktoken.model, whose ids are tiktoken's; the others are a tokenizer.json, whose ids are those of
Hugging Face's tokenizers. Of o200k both libraries must agree. The vocabulary is trained on the texts of this
repository and on drawn strings of seed 1, the strings are drawn from SEED alone.
"""
import glob
import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from golden_tokenizer import PATTERN as DEEPSEEK
from tokenizer_cases import strings

SIZE = 4000
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SIGNS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = ENDING + r"|[^\r\n\p{L}\p{N}]?\p{L}+|%s" + SIGNS
UPPER, LOWER = (r"[\p{%s}\p{Lm}\p{Lo}\p{M}]" % name for name in (r"Lu}\p{Lt", "Ll"))
CASED = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDING}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDING}?"
    r"|\p{N}{1,3}" + SIGNS)
O200K = CASED.replace(r"[\r\n]*", r"[\r\n/]*")
KIMI = r"[\p{Han}]+|" + CASED.replace(r"\p{M}]", r"\p{M}&&[^\p{Han}]]")
PATTERNS = {
    "deepseek": [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK],
    "glm": [LLAMA % r"\p{N}{1,3}"], "qwen": [LLAMA % r"\p{N}"], "kimi": [KIMI], "o200k": [O200K],
}
# Some of each family's tokens, and whether decoding leaves them out.
ADDED = {
    "deepseek": {"<｜begin▁of▁sentence｜>": True, "<｜User｜>": False, "<think>": False},
    "glm": {"[gMASK]": True, "<sop>": True, "<|user|>": True, "<think>": False, "</arg_value>": False},
    "qwen": {"<|im_start|>": True, "<|im_end|>": True, "<tool_call>": False, "</think>": False},
    "o200k": {"<|start|>": True, "<|channel|>": True, "<|reserved_200000|>": True},
}


def corpus():
    here = os.path.dirname(os.path.abspath(__file__))
    for name in sorted(glob.glob(os.path.join(here, "*.py")) + glob.glob(os.path.join(here, "../../docs/*/*.md"))):
        with open(name, encoding="utf-8") as file:
            yield file.read()
    yield from list(strings(random.Random(1), 4000, []))[150:]


def train(family):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PATTERNS[family]]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    if family == "qwen":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.train_from_iterator(corpus(), BpeTrainer(
        vocab_size=SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    for name, special in ADDED.get(family, {}).items():
        tokenizer.add_tokens([AddedToken(name, special=special, normalized=False)])
    return tokenizer


def encoder(family, folder, tokenizer):
    """The tokens that may stand in texts, and a function from texts to their ids."""
    file = os.path.join(folder, "tokenizer.json")
    tokenizer.save(file)
    if family == "kimi":
        import tiktoken_cases
        tiktoken_cases.make(folder, file, SIZE)
        os.remove(file)
        encoding, names, _ = tiktoken_cases.read(folder)
        return names, lambda texts: [encoding.encode(text, allowed_special="all") for text in texts]
    if family == "o200k":
        import tiktoken
        import tiktoken_cases
        ranks = tiktoken_cases.tokens(file, SIZE)
        # Hugging Face's vocabulary begins with the bytes in the order of their letters.
        encoding = tiktoken.Encoding("o200k", pat_str=O200K, mergeable_ranks={
            token: rank for rank, token in enumerate(ranks)}, special_tokens={})
        model = json.load(open(file, encoding="utf-8"))["model"]["vocab"]
        letters = tiktoken_cases.alphabet()
        known = {bytes(letters[letter] for letter in text): id for text, id in model.items()}

        def agreed(texts):
            ids = [encoding_.ids for encoding_ in tokenizer.encode_batch(texts)]
            for text, found in zip(texts, ids):
                if not any(name in text for name in ADDED[family]):
                    other = [known[ranks[id]] for id in encoding.encode_ordinary(text)]
                    assert found == other, (text, found, other)
            return ids
        return list(ADDED[family]), agreed
    return list(ADDED[family]), lambda texts: [one.ids for one in tokenizer.encode_batch(texts)]


def main():
    family, folder, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.makedirs(folder, exist_ok=True)
    added, encode = encoder(family, folder, train(family))
    # Those of a letter 50,000 times are tokenizer_cases.py's.
    texts = [text for text in strings(random.Random(seed), count, added) if len(text) < 5000]
    for text, ids in zip(texts, encode(texts)):
        print(json.dumps({"text": text, "ids": ids}))


if __name__ == "__main__":
    main()
