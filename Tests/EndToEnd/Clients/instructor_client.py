"""What `instructor` does: typed answers by tools, by JSON schema, and by JSON mode."""

import datetime
import os
from enum import Enum

import instructor
import openai
from pydantic import BaseModel, Field


class Mood(str, Enum):
    """How somebody is."""

    GLAD = "glad"
    SAD = "sad"


class Person(BaseModel):
    """Somebody in a story."""

    name: str = Field(max_length=12)
    age: int = Field(ge=1, le=99)
    mood: Mood
    born: datetime.date


client = openai.OpenAI(base_url=os.environ["APUS_URL"])
chat = [{"role": "user", "content": "Tell me a story about Lily."}]
for mode in [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA]:
    person = instructor.from_openai(client, mode=mode).chat.completions.create(
        model="stories-fp8", messages=chat, response_model=Person, max_tokens=200,
        temperature=0, max_retries=1)
    assert isinstance(person, Person)
    print("ok", mode.name)
