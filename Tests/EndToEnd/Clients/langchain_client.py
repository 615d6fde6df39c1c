"""What `langchain-openai` does with a chat model: invoke, stream, structured output, tools."""

import os

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

model = ChatOpenAI(
    model="stories-fp8", base_url=os.environ["APUS_URL"], max_tokens=60, temperature=0,
    stream_usage=True)


class Animal(BaseModel):
    """An animal of a story."""

    name: str
    legs: int
    color: str | None = None


@tool
def feed(animal: str, times: int) -> str:
    """Feeds an animal."""
    return animal * times


answer = model.invoke("Tell me a story about dog and ball.")
assert len(answer.content.split()) > 10
assert answer.usage_metadata["output_tokens"] > 0
print("ok invoke")

streamed = None
for chunk in model.stream("Tell me a story about dog and ball."):
    streamed = chunk if streamed is None else streamed + chunk
assert streamed.content == answer.content
assert streamed.usage_metadata["output_tokens"] > 0
print("ok stream")

animal = model.with_structured_output(Animal, method="json_schema").invoke("A dog.")
assert isinstance(animal, Animal)
animal = model.with_structured_output(Animal, method="function_calling").invoke("A dog.")
assert isinstance(animal, Animal)
print("ok structured output")

called = model.bind_tools([feed], tool_choice="any").invoke("Feed the cat.")
assert called.tool_calls[0]["name"] == "feed"
assert isinstance(called.tool_calls[0]["args"]["times"], int)
print("ok tools")
