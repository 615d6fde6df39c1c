"""What the `anthropic` library does all day, against a running server."""

import os

import anthropic

client = anthropic.Anthropic(
    base_url=os.environ["APUS_URL"].removesuffix("/v1"), api_key="none", max_retries=0)
story = [{"role": "user", "content": "Tell me a story about dog and ball."}]
schema = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
tool = {"name": "register", "description": "Registers a dog.", "input_schema": schema}
tools = [tool, {"name": "other", "input_schema": {"type": "object", "maxProperties": 0}}]


def ask(messages=story, **options):
    options = {"max_tokens": 40, "extra_body": {"seed": 3}, **options}
    return client.messages.create(model="stories-fp8", messages=messages, **options)


def test_models():
    assert [model.id for model in client.models.list()] == ["stories-fp8"]
    assert client.models.retrieve("stories-fp8").display_name == "stories-fp8"


def test_text():
    answer = ask()
    assert answer.stop_reason == "max_tokens" and answer.usage.output_tokens == 40
    assert len(answer.content[0].text.split()) > 10
    assert ask().content[0].text == answer.content[0].text


def test_stream_equals_whole():
    whole = ask().content[0].text
    with client.messages.stream(
        model="stories-fp8", messages=story, max_tokens=40, extra_body={"seed": 3}) as stream:
        assert "".join(stream.text_stream) == whole
        final = stream.get_final_message()
    assert final.content[0].text == whole and final.usage.output_tokens == 40
    assert final.stop_reason == "max_tokens"


def test_stop_and_system():
    answer = ask(stop_sequences=["was"], system=[{"type": "text", "text": "You tell stories."}])
    assert answer.stop_reason in ("stop_sequence", "max_tokens")
    if answer.stop_reason == "stop_sequence":
        assert answer.stop_sequence == "was" and "was" not in answer.content[0].text


def test_prefill():
    start = "Once upon a time, a cat"
    answer = ask(story + [{"role": "assistant", "content": start}])
    assert not answer.content[0].text.startswith(start)


def test_count():
    count = client.messages.count_tokens(model="stories-fp8", messages=story).input_tokens
    usage = ask().usage
    assert count == usage.input_tokens + usage.cache_read_input_tokens


def test_forced_call_and_its_result():
    for choice in ({"type": "tool", "name": "register"}, {"type": "any"}):
        given = tools if choice["type"] == "tool" else tools[:1]
        answer = ask(tools=given, tool_choice=choice, max_tokens=200)
        assert answer.stop_reason == "tool_use", answer
        call = answer.content[-1]
        assert call.type == "tool_use" and set(call.input) == {"name", "age"}
        with client.messages.stream(
            model="stories-fp8", messages=story, max_tokens=200, tools=given,
            tool_choice=choice, extra_body={"seed": 3}) as stream:
            final = stream.get_final_message()
        assert final.content[-1].input == call.input, (final, call)
        turns = story + [
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": call.id, "content": "done"},
                {"type": "text", "text": "Go on."}]}]
        again = ask(turns, tools=given)
        assert again.usage.output_tokens > 0
    assert ask(tools=tools, tool_choice={"type": "none"}).content[0].type == "text"


def test_output_format():
    answer = ask(
        max_tokens=200,
        output_config={"format": {"type": "json_schema", "schema": schema}})
    assert '"name"' in answer.content[0].text and '"age"' in answer.content[0].text


def test_errors():
    for fault, wrong in (
        (anthropic.BadRequestError, {"temperature": -1}),
        (anthropic.BadRequestError, {"thinking": {"type": "enabled", "budget_tokens": 5}}),
        (anthropic.BadRequestError, {"tools": [{"type": "web_search_20250305", "name": "w"}]}),
        (anthropic.BadRequestError, {"max_tokens": 5000}),
    ):
        try:
            extra = {k: v for k, v in wrong.items() if k == "temperature"}
            rest = {k: v for k, v in wrong.items() if k != "temperature"}
            ask(extra_body=extra, **rest)
            raise AssertionError(f"{wrong} was taken")
        except fault as error:
            assert error.body["type"] == "error" and error.body["error"]["message"], error
    try:
        client.messages.create(model="other", messages=story, max_tokens=1)
        raise AssertionError("another model was taken")
    except anthropic.NotFoundError:
        pass


for name, check in list(globals().items()):
    if name.startswith("test_"):
        check()
        print("ok", name)
