"""What the `openai` library does all day, against a running server."""

import asyncio
import json
import os

import openai

client = openai.OpenAI(base_url=os.environ["APUS_URL"])
chat = [{"role": "user", "content": "Tell me a story about dog and ball."}]
schema = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
tool = {"type": "function", "function": {"name": "register", "parameters": schema}}


def ask(**options):
    return client.chat.completions.create(model="stories-fp8", messages=chat, **options)


def test_models():
    assert [model.id for model in client.models.list()] == ["stories-fp8"]
    assert client.models.retrieve("stories-fp8").id == "stories-fp8"


def test_chat():
    answer = ask(max_tokens=30, temperature=0)
    assert len(answer.choices[0].message.content.split()) > 10
    assert answer.usage.completion_tokens == 30
    assert answer.choices[0].finish_reason == "length"


def test_stream_equals_whole():
    whole = ask(max_tokens=40, temperature=0.7, seed=3).choices[0].message.content
    stream = ask(
        max_tokens=40, temperature=0.7, seed=3, stream=True,
        stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(
        chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole, (text, whole)
    assert chunks[-1].usage.completion_tokens == 40


def test_choices_and_stop():
    answer = ask(max_tokens=40, n=3, stop=["was"], seed=1)
    assert len({choice.index for choice in answer.choices}) == 3
    assert all("was" not in choice.message.content for choice in answer.choices)


def test_logprobs():
    answer = ask(max_tokens=5, logprobs=True, top_logprobs=3, temperature=0)
    for token in answer.choices[0].logprobs.content:
        assert len(token.top_logprobs) == 3
        assert abs(token.top_logprobs[0].logprob - token.logprob) < 1e-5


def test_json():
    answer = ask(
        max_tokens=60, response_format={
            "type": "json_schema", "json_schema": {"name": "person", "schema": schema}})
    person = json.loads(answer.choices[0].message.content)
    assert set(person) == {"name", "age"} and isinstance(person["age"], int)
    answer = ask(max_tokens=40, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_tools():
    for choice in ["required", {"type": "function", "function": {"name": "register"}}]:
        answer = ask(max_tokens=60, tools=[tool], tool_choice=choice).choices[0]
        assert answer.finish_reason == "tool_calls"
        call = answer.message.tool_calls[0]
        assert call.function.name == "register"
        assert set(json.loads(call.function.arguments)) == {"name", "age"}
    stream = ask(max_tokens=60, tools=[tool], tool_choice="required", stream=True)
    text = ""
    for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or []:
            text += call.function.arguments or ""
    assert set(json.loads(text)) == {"name", "age"}


def test_completions():
    answer = client.completions.create(
        model="stories-fp8", prompt=["Once upon a time", "One day"], max_tokens=8, echo=True,
        logprobs=2, temperature=0)
    assert [choice.text.startswith(("Once", "One")) for choice in answer.choices] == [True, True]
    assert answer.choices[0].logprobs.token_logprobs[0] is None


def test_errors():
    for error, options in [
        (openai.BadRequestError, {"temperature": 9}),
        (openai.BadRequestError, {"max_tokens": 10**7}),
        (openai.NotFoundError, {"extra_body": {"model": "gpt-9"}}),
    ]:
        try:
            ask(**options)
        except error as caught:
            assert caught.body["message"]
        else:
            raise AssertionError(options)


def test_async_and_cancel():
    async def run():
        many = openai.AsyncOpenAI(base_url=os.environ["APUS_URL"])
        answers = await asyncio.gather(*[
            many.completions.create(
                model="stories-fp8", prompt="Once", max_tokens=20, seed=seed,
                extra_body={"ignore_eos": True})
            for seed in range(32)])
        assert all(answer.usage.completion_tokens == 20 for answer in answers)
        stream = await many.completions.create(
            model="stories-fp8", prompt="Once", max_tokens=1000, stream=True,
            extra_body={"ignore_eos": True})
        async for _ in stream:
            break
        await stream.close()

    asyncio.run(run())


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print("ok", name)
