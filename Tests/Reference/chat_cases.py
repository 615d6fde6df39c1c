"""Writes conversations and the text that a published chat template makes of them, JSON lines.

Usage: chat_cases.py TEMPLATE COUNT SEED > CASES.jsonl
TEMPLATE is a name of chat_templates.py, a directory with a tokenizer_config.json or a
chat_template.jinja, or a file of Jinja. With `--plain`, no tools, no thoughts and one leading
system turn. With `--agents`, tools that the template declares, thoughts as members of their own,
names of speakers, and arguments as objects, as the templates of Kimi, GLM, DeepSeek-V3.2, Qwen3,
MiniMax and gpt-oss read them; Tests/Golden/chat has cases of those publishers' files, which are not in this
repository. With `--keep`, also a template's switch for the thoughts of earlier answers. `--declare FILE` names
Kimi-K2.5's `tool_declaration_ts.py`, which writes tools for its template.
"""
import importlib.util
import json
import logging
import os
import random
import sys

from jinja2.sandbox import SandboxedEnvironment

from chat_templates import environment, texts

TEXTS = [
    "Hello!", "", "Tell me a story about dog and ball.", "  spaces \n and\nlines\n\n", "你好，世界",
    "I think</think>\n\nThe answer is 4.", "<think>hm</think>a</think>b", "{\"a\": [1, 2]}", "`code`",
]
NAMES = ["get_weather", "add", "search-web"]
ARGUMENTS = ["{}", '{"x": 1}', '{"city": "Zürich", "days": [1, 2]}', '{"code": "```py\\nx\\n```"}']


def template(name):
    known = texts()
    if name in known:
        return known[name]
    if os.path.isdir(name):
        file = os.path.join(name, "chat_template.jinja")
        if os.path.exists(file):
            return open(file, encoding="utf-8").read()
        with open(os.path.join(name, "tokenizer_config.json"), encoding="utf-8") as file:
            return json.load(file)["chat_template"]
    return open(name, encoding="utf-8").read()


def call(random, more=()):
    return {"type": "function", "function": {
        "name": random.choice(NAMES), "arguments": random.choice(ARGUMENTS + list(more))}}


def conversation(random, plain, tools, prefix, cut_all):
    messages = []
    words = [text for text in TEXTS if "think>" not in text] if plain else TEXTS
    for _ in range(1 if plain else random.choice([0, 1, 1, 2])):
        messages.append({"role": "system", "content": random.choice(words)})
    for turn in range(random.randrange(1, 5)):
        # A conversation may begin with an answer, as after a greeting.
        if turn or plain or not messages or random.random() < 0.9:
            messages.append({"role": "user", "content": random.choice(words)})
        while tools and random.random() < 0.4:
            # A template that searches every answer for a thought takes no answer without words.
            content = random.choice(TEXTS + ([] if cut_all else [None]))
            calls = [call(random) for _ in range(random.randrange(1, 4))]
            messages.append({"role": "assistant", "content": content, "tool_calls": calls})
            for _ in calls if random.random() < 0.9 else []:
                messages.append({"role": "tool", "content": random.choice(words)})
        if random.random() < 0.8:
            messages.append({"role": "assistant", "content": random.choice(words)})
            if prefix and random.random() < 0.3:
                messages[-1]["prefix"] = True
        if not plain and random.random() < 0.1:
            messages.append({"role": "system", "content": random.choice(words)})
    if plain and random.random() < 0.5 and messages[-1]["role"] == "assistant":
        messages.pop()
    return messages


# What templates that write values without quotes, or schemas in marks, read besides.
RICH_ARGUMENTS = [
    '{"on": true, "off": false, "none": null, "n": -3, "x": 1.5, "list": [true, null, "é"]}',
    '{"text": "two\\nlines <b>", "map": {"a": {"b": "ü \\"c\\""}}, "empty": "", "l": []}',
]
RICH_TOOLS = [
    {"name": "set", "description": "  Sets\n all. ", "strict": True, "parameters": {
        "type": "object", "$defs": {"n": {"type": "integer"}}, "properties": {
            "on": {"type": "boolean", "default": False, "description": " Whether. "},
            "word": {"type": ["string", "null"], "enum": ["a", "ü", None]},
            "list": {"type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 3},
            "any": {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Any"}},
        "required": ["on"], "additionalProperties": False}},
]

TOOLS = [
    {"name": "get_weather", "description": "Das Wetter in Zürich & Umgebung.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
    {"name": "add", "parameters": {"type": "object", "properties": {}}},
    {"name": "search-web", "description": "Finds.\nAll."},
]


# What gpt-oss's template writes as types.
TYPED_TOOLS = [
    {"name": "now", "description": "Says\n// what \"time\" it is."},
    {"name": "nothing", "description": "", "parameters": {"type": "object", "properties": {}}},
    {"name": "types", "description": "Takes all kinds.", "parameters": {
        "type": "object", "required": ["a", "map"], "properties": {
            "a": {"type": "string", "description": "A word, é <b>."},
            "b": {"type": "string", "enum": ["x", "ü", "z"], "default": "x"},
            "c": {"type": "integer", "default": 3}, "d": {"type": "number", "default": 1.50},
            "e": {"type": "boolean", "default": False, "description": ""},
            "f": {"type": ["string", "null"], "default": None}, "g": {"type": ["integer"]},
            "h": {"type": "array", "items": {"type": "string"}, "default": ["é", 1]},
            "i": {"type": "array", "items": {"type": "integer"}, "nullable": True},
            "j": {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}},
            "k": {"type": "array", "nullable": True}, "l": {"type": "array", "items": {}},
            "m": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}},
            "n": {"type": "array", "items": {"type": "object", "properties": {
                "first": {"type": "string"}, "second": {"type": "string"}}}},
            "o": {"oneOf": [{"type": "string", "description": "a word", "default": "w"},
                            {"type": "object"}, {"type": "integer", "default": {"a": [1]}}]},
            "p": {"oneOf": [{"type": "string"}], "default": "q"}, "q": {"anyOf": [{"type": "string"}]},
            "r": {"type": "string", "nullable": True}, "s": {"$ref": "#/$defs/s"}, "t": {},
            "map": {"type": "object", "required": ["y"], "description": "Both.", "properties": {
                "x": {"type": "string"}, "y": {"type": "object", "properties": {
                    "z": {"type": "array", "items": {"type": "number"}}}}}},
            "u": {"type": "object"}, "v": {"type": "null"}, "w": {"enum": ["a"], "default": "a"}}}},
]


# What Kimi-K2.5's tokenizer writes as types.
DECLARED_TOOLS = [
    {"name": "limits", "description": "Two\n\nlines.", "parameters": {
        "type": "object", "description": "Not written.", "required": ["z", "list", "gone"], "properties": {
            "z": {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^é\\d+$", "default": "ü \"q\""},
            "a": {"type": "integer", "minimum": 0, "maximum": 1.50, "description": "A\nnumber.", "default": 3},
            "list": {"type": "array", "minItems": 1, "description": "All.", "items": {
                "type": "string", "description": "One.", "maxLength": 3}, "default": ["é", 1.0, None]},
            "plain": {"type": "array", "items": {"type": "number"}}, "any": {}, "bare": {"type": "array"},
            "grid": {"type": "array", "items": {"type": "array", "items": {"type": "object", "properties": {
                "x": {"type": "number", "description": "X."}, "y": {"type": "boolean", "default": True}}}}},
            "kind": {"type": ["string", "null"], "enum": ["a", None, "ü"]}, "n": {"enum": [1, 2.5, True, "x"]},
            "either": {"anyOf": [{"type": "string", "description": "lost"}, {"type": "null"}], "default": {"a": 1}},
            "union": {"type": ["integer", "object", "array"], "description": ""}, "odd": {"type": "date"},
            "open": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
            "shut": {"type": "object", "additionalProperties": False, "properties": {"b": True, "a": False}},
            "free": {"type": "object", "additionalProperties": True}, "null": {"type": "null", "default": 1e20}},
        "additionalProperties": False}},
    {"name": "tree", "parameters": {
        "type": "object", "$defs": {
            "leaf": {"type": "object", "description": "A leaf.\nGreen.", "required": ["v"], "properties": {
                "v": {"$ref": "#/$defs/size"}, "up": {"$ref": "#/$defs/leaf"}}},
            "size": {"type": "integer", "minimum": -1}, "all": {"anyOf": [{"$ref": "#/$defs/leaf"}, {}]}},
        "required": ["next"], "properties": {
            "next": {"$ref": "#", "description": "Itself."}, "leaf": {"$ref": "#/$defs/leaf"}}}},
    {"name": "empty", "description": "", "parameters": {}},
]
# Its tokenizer cannot write these, each for another reason: all tools are JSON then.
UNDECLARED_TOOLS = [
    {"name": "u", "parameters": {"type": "object", "properties": {"a": schema}}}
    for schema in ({"oneOf": [{"type": "string"}]}, {"$ref": "#/$defs/none"}, {"type": ["string", "date"]},
                   {"enum": ["a"], "type": "integer"}, {"enum": ["a"], "type": ["string", "integer"]},
                   {"title": "A"}, {"type": "array", "items": [{}]}, {"type": "string", "description": 1})
]


def in_order(value):
    """A value as Kimi's tokenizer hands it to a template: keys sorted."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


def declare(tools, file):
    """What the file's own function writes for tools; nothing where it fails, as the tokenizer takes it."""
    spec = importlib.util.spec_from_file_location("declaration", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["declaration"] = module
    spec.loader.exec_module(module)
    logging.disable()
    try:
        return module.encode_tools_to_typescript_style(tools)
    except Exception:
        return None


def number_calls(messages):
    """Gives calls and results the ids that Kimi's models write."""
    ids = []
    count = 0
    for message in messages:
        for one in message.get("tool_calls", []):
            one["id"] = f"functions.{one['function']['name']}:{count}"
            ids.append(one["id"])
            count += 1
        if message["role"] == "tool":
            message["tool_call_id"] = ids.pop(0)


def in_channels(random, messages):
    """A conversation as gpt-oss's template takes it: one call per turn, with a thought or words."""
    result = []
    for index, message in enumerate(messages):
        if message["role"] == "system" and index:
            continue
        if "tool_calls" not in message:
            if message["role"] != "tool":
                result.append(message)
            continue
        words = random.choice(["content", "reasoning_content", ""])
        for one in message["tool_calls"]:
            result.append({
                "role": "assistant", "content": message["content"] if words == "content" else "",
                "tool_calls": [one]})
            if words == "reasoning_content":
                result[-1][words] = "Hm, <|end|>"
            result.append({"role": "tool", "content": random.choice(TEXTS)})
    return result or [{"role": "user", "content": "Hi"}]


def is_rich(text):
    """Whether a template is read with all kinds of values and schemas; older cases have fewer."""
    marks = ("im_start", "minimax", "/nothink", "defer_loading", "strftime_now", "tool_call['id']")
    return any(mark in text for mark in marks)


def agents(random, text):
    """A conversation of an agent: the results of a turn's calls follow it, all of them."""
    more = RICH_ARGUMENTS if is_rich(text) else []
    takes_none = "visible_text" not in text and "in message.content %}" not in text
    messages = conversation(random, False, False, False, False)
    result = []
    for message in messages:
        if message["role"] == "assistant":
            while random.random() < 0.5:
                calls = [call(random, more) for _ in range(random.randrange(1, 4))]
                content = random.choice(TEXTS + [None] if takes_none else TEXTS)
                result.append({"role": "assistant", "content": content, "tool_calls": calls})
                result += [{"role": "tool", "content": random.choice(TEXTS)} for _ in calls]
        result.append(message)
    for message in result:
        if message["role"] == "assistant" and random.random() < 0.5:
            message["reasoning_content"] = random.choice(["Hm.", " two\nlines\n", "", "你好"])
        if message["role"] in ("user", "tool") and random.random() < 0.2:
            message["name"] = random.choice(["Anna", "add"])
    if result[-1]["role"] == "assistant" and random.random() < 0.7:
        result.pop()
    return result or [{"role": "user", "content": "Hi"}]


def main_agents(text, count, seed, declaration):
    # Kimi's templates append to lists, which the immutable sandbox forbids.
    environment_ = SandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    tool_sets = [[], TOOLS[:1], TOOLS] + ([RICH_TOOLS, TOOLS + RICH_TOOLS] if is_rich(text) else [])
    if "tools_ts_str" in text:
        tool_sets += [DECLARED_TOOLS, TOOLS + DECLARED_TOOLS] + [[tool] for tool in UNDECLARED_TOOLS]
    environment_.filters["tojson"] = lambda value, ensure_ascii=False, separators=None: json.dumps(
        value, ensure_ascii=ensure_ascii, separators=separators)  # as Transformers has it
    environment_.globals["strftime_now"] = lambda form: "2025-06-28"
    compiled = environment_.from_string(text)
    generator = random.Random(seed)
    channels = "strftime_now" in text
    keeping = "--keep" in sys.argv and ("clear_thinking" in text or "preserve_thinking" in text)
    if channels:
        described = [{"description": "Does."} | tool for tool in TOOLS]
        tool_sets = [[], described, TYPED_TOOLS, described + TYPED_TOOLS]
    for _ in range(count):
        messages = agents(generator, text)
        if channels:
            messages = in_channels(generator, messages)
        tools = generator.choice(tool_sets)
        generation = generator.random() < 0.7
        switches = "enable_thinking" in text or "thinking is defined" in text
        thinking = generator.choice([None, False, True]) if switches else None
        effort = (generator.choice([None, "high", "medium" if channels else "max", "low"])
                  if "reasoning_effort" in text else None)
        keeps = generator.choice([None, False, True]) if keeping else None
        read = json.loads(json.dumps(messages))
        for message in read if channels else []:
            if "reasoning_content" in message:
                message["thinking"] = message.pop("reasoning_content")
        if "items()" in text or "arguments|items" in text:
            for message in read:
                for one in message.get("tool_calls", []):
                    one["function"]["arguments"] = json.loads(one["function"]["arguments"])
        values = {
            "messages": read, "add_generation_prompt": generation,
            "tools": [{"type": "function", "function": tool} for tool in tools],
            "bos_token": "<｜begin▁of▁sentence｜>"}
        if "tool_call['id']" in text:
            number_calls(read)
            values["tools"] = in_order(values["tools"])
        if "tools_ts_str" in text:
            values["tools_ts_str"] = declare(values["tools"], declaration)
        if thinking is not None:
            values["thinking" if "tools_ts_str" in text else "enable_thinking"] = thinking
        if effort is not None:
            values["reasoning_effort"] = effort
        if keeps is not None:
            values["clear_thinking" if "clear_thinking" in text else "preserve_thinking"] = (
                keeps != ("clear_thinking" in text))
        print(json.dumps({
            **({} if effort is None else {"effort": effort}), **({} if keeps is None else {"keeps": keeps}),
            "messages": messages, "tools": [json.dumps(tool, ensure_ascii=False) for tool in tools],
            "generation": generation, "thinking": thinking,
            "text": compiled.render(**values)}, ensure_ascii=False, separators=(",", ":")))


def main():
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if "--agents" in sys.argv:
        declaration = arguments[3] if "--declare" in sys.argv else None
        return main_agents(template(arguments[0]), int(arguments[1]), int(arguments[2]), declaration)
    plain = "--plain" in sys.argv
    text, count, seed = template(arguments[0]), int(arguments[1]), int(arguments[2])
    compiled = environment().from_string(text)
    generator = random.Random(seed)
    tools = not plain and "tool_calls" in text
    switches = "not thinking" in text
    prefix = "message['prefix']" in text
    cut_all = "{% set content = message['content'] %}{%- if" in text
    for _ in range(count):
        messages = conversation(generator, plain, tools, prefix, cut_all)
        generation = generator.random() < 0.7
        # An open answer ends the text; the template closes it, so it is tried without.
        if messages[-1].get("prefix"):
            generation = False
        thinking = generator.choice([None, False, True]) if switches else None
        values = {
            "messages": messages, "add_generation_prompt": generation,
            "bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}
        if thinking is not None:
            values["thinking"] = thinking
        print(json.dumps({
            "messages": messages, "generation": generation, "thinking": thinking,
            "text": compiled.render(**values)}, ensure_ascii=False, separators=(",", ":")))


main()
