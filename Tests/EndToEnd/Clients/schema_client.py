"""Schemas that pydantic writes for the types people use; pydantic itself judges the answers."""

import datetime
import ipaddress
import os
import uuid
from enum import Enum
from typing import Annotated, Literal, Optional, Union

import openai
from pydantic import (
    AnyUrl, BaseModel, ConfigDict, EmailStr, Field, NonNegativeFloat, PositiveInt,
    create_model)

client = openai.OpenAI(base_url=os.environ["APUS_URL"], api_key="none")
chat = [{"role": "user", "content": "Tell me a story about Lily."}]


class Mood(str, Enum):
    """How somebody is."""

    GLAD = "glad"
    SAD = "sad"


class Cat(BaseModel):
    """One of two kinds."""

    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    """The other kind."""

    kind: Literal["dog"]
    model_config = ConfigDict(extra="forbid")


class Chain(BaseModel):
    """A value that holds one of its own kind."""

    link: int = Field(ge=0, le=9)
    rest: Optional["Chain"] = None


Short = Annotated[str, Field(max_length=8)]
types = {
    "email": EmailStr,
    "any url": AnyUrl,
    "short email": Annotated[EmailStr, Field(max_length=20)],
    "uuid": uuid.UUID,
    "date": datetime.date,
    "time": datetime.time,
    "moment": datetime.datetime,
    "duration": datetime.timedelta,
    "address": ipaddress.IPv4Address,
    "long address": ipaddress.IPv6Address,
    "price": Annotated[float, Field(ge=0, le=50, multiple_of=0.5)],
    "count": PositiveInt,
    "weight": Annotated[NonNegativeFloat, Field(le=100)],
    "multiple": Annotated[int, Field(multiple_of=5, ge=0, le=100)],
    "code": Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{3}$")],
    "words": Annotated[list[Short], Field(min_length=1, max_length=3)],
    "pair": tuple[int, Short],
    "moods": Annotated[set[Mood], Field(max_length=2)],
    "labels": Annotated[set[Short], Field(max_length=2)],
    "dice": Annotated[set[Annotated[int, Field(ge=1, le=6)]], Field(max_length=3)],
    "counts": Annotated[dict[Short, int], Field(max_length=2)],
    "either": Union[int, Short, None],
    "animal": Annotated[Union[Cat, Dog], Field(discriminator="kind")],
    "chain": Chain,
    "flag": bool,
    "nothing": None,
}
for name, kind in types.items():
    Model = create_model("Model", value=(kind, ...))
    schema = {"name": "model", "schema": Model.model_json_schema()}
    form = {"type": "json_schema", "json_schema": schema}
    for seed, temperature in [(1, 0), (2, 1), (3, 1)]:
        answer = client.chat.completions.create(
            model="stories-fp8", messages=chat, response_format=form, seed=seed,
            max_tokens=300, temperature=temperature).choices[0]
        if answer.finish_reason == "stop":
            Model.model_validate_json(answer.message.content)
        else:
            # A number or a chain without a limit in its schema may go on.
            assert name in {"count", "chain", "either", "counts", "pair"}, (name, answer)
    print("ok", name)
