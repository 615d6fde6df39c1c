"""Talks to an Apus server through the `openai` library.

Usage: client.py URL, as http://127.0.0.1:8080/v1
"""
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none")
model = client.models.list().data[0].id
print("model:", model)

question = [{"role": "user", "content": "Tell me a story about dog and ball."}]

# The same seed gives the same text, whatever else the server does meanwhile.
answer = client.chat.completions.create(
    model=model, messages=question, max_tokens=60, temperature=0.7, seed=1)
print("story:", answer.choices[0].message.content)

print("stream:", end=" ")
for chunk in client.chat.completions.create(
        model=model, messages=question, max_tokens=60, temperature=0.7, seed=1, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()

# The text cannot leave the schema.
schema = {
    "type": "object",
    "properties": {"happy": {"type": "boolean"}},
    "required": ["happy"],
    "additionalProperties": False,
}
answer = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "Is Lily happy?"}], max_tokens=60,
    response_format={"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}})
print("mood:", answer.choices[0].message.content)

# An error names the field, the value and the limit.
try:
    client.chat.completions.create(model=model, messages=question, temperature=2, top_p=7)
except openai.BadRequestError as error:
    print(f"error {error.status_code}:", error.body["message"])
