"""Prints the runs of Sources/Language/Tokenizer/CharacterTable.swift, by asking Hugging Face's
tokenizers (Oniguruma) for the category of every code point.

Usage: character_table.py            the runs, in lines
       character_table.py FILE       compares them with the Swift file; exit 1 if they differ
"""
import re
import sys
import textwrap

from tokenizers import Regex, pre_tokenizers

POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def matching(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    found = set()
    for start in range(0, len(POINTS), 20000):
        points = POINTS[start:start + 20000]
        kept = set()
        for piece, _ in split.pre_tokenize_str("".join(map(chr, points))):
            kept.update(map(ord, piece))
        found.update(point for point in points if point not in kept)
    return found


def base36(number):
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
    return text


def runs():
    letter = {}
    for name in "LMNPS":
        for point in matching(r"\p{%s}" % name):
            letter[point] = name
    for name, pattern in [("U", r"[\p{Lu}\p{Lt}]"), ("D", r"\p{Ll}")]:
        for point in matching(pattern):
            letter[point] = name
    words, point, end = [], 0, 0
    while point < 0x110000:
        start, name = point, letter.get(point)
        while point < 0x110000 and letter.get(point) == name:
            point += 1
        if name:
            length = point - start
            words.append(base36(start - end) + name + (base36(length) if length > 1 else ""))
            end = point
    return words


def ranges(pattern):
    words, end = [], 0
    points = sorted(matching(pattern))
    for point, before in zip(points, [-2] + points):
        if point != before + 1:
            words.append([point, point])
        words[-1][1] = point
    result = []
    for low, high in words:
        result.append(base36(low - end) + "H" + (base36(high - low + 1) if high > low else ""))
        end = high + 1
    return result


def main():
    words, han = runs(), ranges(r"\p{Han}")
    if len(sys.argv) < 2:
        for table in words, han:
            print("\n".join(textwrap.wrap(" ".join(table), 92, break_on_hyphens=False)) + "\n")
        return
    text = open(sys.argv[1], encoding="utf-8").read()
    committed, ideographs = (part.split() for part in re.findall(r'"""(.*?)"""', text, re.S))
    spaces = set()
    for low, high in re.findall(r"0x(\w+) ?\.\.\. ?0x(\w+)", text):
        spaces.update(range(int(low, 16), int(high, 16) + 1))
    same = committed == words and ideographs == han and spaces == matching(r"\s")
    print("same" if same else "differs")
    sys.exit(0 if same else 1)


main()
