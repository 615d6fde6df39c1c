"""The Responses API of the `openai` library, against a running server."""

import os
import time

import openai

client = openai.OpenAI(base_url=os.environ["APUS_URL"], max_retries=0)
story = "Tell me a story about dog and ball."
schema = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
tool = {"type": "function", "name": "register", "parameters": schema, "strict": True}


def ask(**options):
    options = {"input": story, "max_output_tokens": 40, "extra_body": {"seed": 3}, **options}
    return client.responses.create(model="stories-fp8", **options)


def test_text():
    answer = ask()
    assert answer.status == "incomplete", answer
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage.output_tokens == 40
    assert answer.usage.output_tokens_details.reasoning_tokens == 0
    assert len(answer.output_text.split()) > 10
    assert ask().output_text == answer.output_text


def test_stream_equals_whole():
    whole = ask().output_text
    events = list(ask(stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == whole, (text, whole)
    assert events[0].type == "response.created"
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == whole
    with client.responses.stream(
        model="stories-fp8", input=story, max_output_tokens=40,
        extra_body={"seed": 3}) as stream:
        for event in stream:
            last = event
    assert last.response.output_text == whole


def test_conversation():
    first = ask(instructions="You tell stories.")
    second = ask(input="Go on.", previous_response_id=first.id)
    by_hand = ask(input=[
        {"role": "user", "content": story},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": [{"type": "input_text", "text": "Go on."}]}])
    assert second.output_text == by_hand.output_text
    as_items = ask(input=[
        {"role": "user", "content": story}, *first.output,
        {"role": "user", "content": "Go on."}])
    assert second.output_text == as_items.output_text
    assert client.responses.retrieve(first.id).output_text == first.output_text
    client.responses.delete(first.id)
    for use in (lambda: client.responses.retrieve(first.id),
                lambda: ask(previous_response_id=first.id),
                lambda: ask(previous_response_id=ask(store=False).id)):
        try:
            use()
            raise AssertionError("a response that is not stored was found")
        except openai.NotFoundError as error:
            assert "storedResponseBytes" in str(error), error


def test_calls():
    options = {"tools": [tool], "max_output_tokens": 200}
    answer = ask(tool_choice="required", **options)
    assert answer.status == "completed", answer
    call = answer.output[-1]
    assert call.type == "function_call" and call.name == "register"
    events = list(ask(tool_choice={"type": "function", "name": "register"}, stream=True, **options))
    text = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
    assert text == call.arguments
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
    again = ask(input=[result], previous_response_id=answer.id, tools=[tool])
    by_hand = ask(
        input=[{"role": "user", "content": story}, call, result], tools=[tool])
    assert again.output_text == by_hand.output_text


def test_format():
    answer = ask(max_output_tokens=200, text={
        "format": {"type": "json_schema", "name": "dog", "schema": schema, "strict": True}})
    assert '"name"' in answer.output_text and '"age"' in answer.output_text


def test_background():
    answer = ask(background=True)
    assert answer.status == "in_progress" and not answer.output
    deadline = time.monotonic() + 30
    while client.responses.retrieve(answer.id).status == "in_progress":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.responses.retrieve(answer.id).output_text == ask().output_text
    long = ask(background=True, max_output_tokens=1900)
    assert client.responses.cancel(long.id).status == "cancelled"
    assert client.responses.retrieve(long.id).status == "cancelled"


def test_errors():
    for wrong, word in (
        ({"temperature": -1}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": []}, "input"),
        ({"max_output_tokens": 5000}, "max_output_tokens is 5000"),
        ({"truncation": "auto"}, "a prompt is read whole"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"background": True, "stream": True}, "background and stream"),
    ):
        try:
            ask(**wrong)
            raise AssertionError(f"{wrong} was taken")
        except openai.BadRequestError as error:
            assert word in str(error), (wrong, error)


for name, check in list(globals().items()):
    if name.startswith("test_"):
        check()
        print("ok", name)
