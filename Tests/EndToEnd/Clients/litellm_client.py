"""What `litellm` does: chats, streams, and the errors that start its fallbacks."""

import os

import litellm

litellm.suppress_debug_info = True
options = {
    "model": "openai/stories-fp8", "api_base": os.environ["APUS_URL"], "api_key": "none",
    "temperature": 0,
}
chat = [{"role": "user", "content": "Tell me a story about rain."}]

answer = litellm.completion(messages=chat, max_tokens=20, **options)
assert len(answer.choices[0].message.content.split()) > 5
assert answer.usage.completion_tokens == 20
print("ok chat")

chunks = list(litellm.completion(
    messages=chat, max_tokens=20, stream=True, stream_options={"include_usage": True}, **options))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == answer.choices[0].message.content, (text, answer)
print("ok stream")

# A chat that is sent back holds litellm's own members.
again = [*chat, answer.choices[0].message.model_dump(), {"role": "user", "content": "And then?"}]
assert litellm.completion(messages=again, max_tokens=5, **options).choices
print("ok a chat sent back")

try:
    litellm.completion(
        messages=[{"role": "user", "content": "word " * 9000}], max_tokens=5, **options)
except litellm.ContextWindowExceededError:
    print("ok a prompt that is too long")
else:
    raise AssertionError("a prompt beyond the context was taken")
