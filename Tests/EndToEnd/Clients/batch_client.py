"""Files and batches of the `openai` library, against a running server."""

import io
import json
import os
import time

import openai

client = openai.OpenAI(base_url=os.environ["APUS_URL"], max_retries=0)
ended = ("completed", "failed", "expired", "cancelled")


def lines(requests, endpoint):
    return "\n".join(
        json.dumps({"custom_id": name, "method": "POST", "url": endpoint, "body": body})
        for name, body in requests.items()
    ).encode()


def send(requests, endpoint="/v1/chat/completions"):
    file = client.files.create(
        file=("in.jsonl", io.BytesIO(lines(requests, endpoint))), purpose="batch"
    )
    assert client.files.retrieve(file.id).filename == "in.jsonl"
    return client.batches.create(
        input_file_id=file.id,
        endpoint=endpoint,
        completion_window="24h",
        metadata={"from": "a test"},
    )


def wait(batch):
    deadline = time.monotonic() + 120
    while batch.status not in ended:
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    return batch


def results(file):
    text = client.files.content(file).text if file else ""
    return {line["custom_id"]: line for line in map(json.loads, text.splitlines())}


def chat(text, **options):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 12, **options}


def test_answers_are_those_of_the_endpoint():
    requests = {f"n{i}": chat("Tell me a story.", seed=i) for i in range(50)}
    batch = wait(send({**requests, "bad": chat("x", top_p=7)}))
    assert batch.status == "completed" and batch.metadata == {"from": "a test"}, batch
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (51, 50, 1), counts
    answers = results(batch.output_file_id)
    assert answers.keys() == requests.keys()
    for name in ("n0", "n49"):
        body = answers[name]["response"]["body"]
        text = body["choices"][0]["message"]["content"]
        alone = client.chat.completions.create(model="stories-fp8", **requests[name])
        assert text == alone.choices[0].message.content
    bad = results(batch.error_file_id)["bad"]["response"]
    assert bad["status_code"] == 400 and "top_p" in bad["body"]["error"]["message"], bad


def test_a_bad_line_is_named():
    batch = wait(send({"a": chat("x"), "": chat("y")}))
    assert batch.status == "failed" and batch.errors.data[0].line == 2, batch
    assert "custom_id" in batch.errors.data[0].message


def test_lists_have_pages():
    made = {wait(send({"a": chat("x")})).id for _ in range(3)}
    page = client.batches.list(limit=2)
    assert len(page.data) == 2 and page.has_more
    assert made <= {batch.id for batch in client.batches.list(limit=2)}
    assert any(file.purpose == "batch_output" for file in client.files.list())


def test_cancel_and_delete():
    body = {**chat("x"), "max_tokens": 200, "ignore_eos": True}
    batch = send({f"n{i}": body for i in range(400)})
    client.batches.cancel(batch.id)
    batch = wait(batch)
    assert batch.status == "cancelled", batch
    assert client.files.delete(batch.input_file_id).deleted
    try:
        client.files.retrieve(batch.input_file_id)
        raise AssertionError("a deleted file is there")
    except openai.NotFoundError:
        pass


for name, check in list(globals().items()):
    if name.startswith("test_"):
        check()
        print("ok", name)
