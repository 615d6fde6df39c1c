"""What `pydantic-ai` does: text, a stream, tools, and output types beside each other."""

import datetime
import os

from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

model = OpenAIChatModel(
    "stories-fp8",
    provider=OpenAIProvider(base_url=os.environ["APUS_URL"], api_key="none"))
settings = {"max_tokens": 200, "temperature": 0, "seed": 1}
prompt = "Tell me a story about dog and ball."


class Animal(BaseModel):
    """An animal of a story."""

    name: str = Field(max_length=12)
    legs: int = Field(ge=0, le=8)


class Day(BaseModel):
    """A day of a story."""

    date: datetime.date


class Tree(BaseModel):
    """A recursive value: its schema has references."""

    value: int = Field(ge=0, le=9)
    next: "Tree | None" = None


answer = Agent(model, model_settings=settings).run_sync(prompt)
assert len(answer.output.split()) > 10 and answer.usage.output_tokens > 0
print("ok text")

native = Agent(model, output_type=NativeOutput(Animal), model_settings=settings)
assert isinstance(native.run_sync(prompt).output, Animal)
print("ok native output")

# An answer may be cut at its limit: what matters is that the request is taken, and that what is
# whole is of the type.
several = Agent(
    model, output_type=[ToolOutput(Animal), ToolOutput(Day)], model_settings=settings)
assert isinstance(several.run_sync(prompt).output, (Animal, Day))
print("ok two output types")

tree = Agent(model, output_type=NativeOutput(Tree), retries=3, model_settings=settings)
assert isinstance(tree.run_sync(prompt).output, Tree)
print("ok recursive output")
