# SPDX-License-Identifier: MIT
"""Schemas that clients send: what pydantic makes of common types, plain and in the form of OpenAI's strict mode, and what zod (3 and 4), OpenAPI's
tools and agents write (client_schemas.json). Each is honoured, and random texts of it are valid; what is refused is listed here."""
import datetime
import decimal
import enum
import ipaddress
import json
import os
import pathlib
import uuid
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar, Union

import jsonschema
import pydantic
import pytest
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, ConfigDict, Field

from test_json_schema_samples import draw, unique


class Colour(str, enum.Enum):
    red = "red"
    green = "green"


class Level(int, enum.Enum):
    low = 1
    high = 3


class Address(BaseModel):
    """Where someone lives."""
    street: str
    zip: Annotated[str, Field(pattern=r"^\d{5}(-\d{4})?$", examples=["12345"])]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool = True


class Tree(BaseModel):
    value: int
    children: "list[Tree]" = []


class Linked(BaseModel):
    next: "Optional[Linked]" = None


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: pydantic.NonNegativeInt


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", title="closed", json_schema_extra={"examples": [{"a": 1}]})
    a: int


class Place(NamedTuple):
    x: int
    y: float


TYPES = {
    "str": str, "int": int, "float": float, "bool": bool, "none": None, "any": Any, "object": object, "bytes": bytes,
    "date": datetime.date, "datetime": datetime.datetime, "time": datetime.time, "timedelta": datetime.timedelta,
    "uuid": uuid.UUID, "uuid4": pydantic.UUID4, "decimal": decimal.Decimal, "path": pathlib.Path, "file": pydantic.FilePath,
    "ipv4": ipaddress.IPv4Address, "ipv6": ipaddress.IPv6Address, "ip": pydantic.IPvAnyAddress, "network": ipaddress.IPv4Network,
    "url": pydantic.HttpUrl, "any url": pydantic.AnyUrl, "secret": pydantic.SecretStr, "json": pydantic.Json,
    "base64": pydantic.Base64Str, "enum": Colour, "int enum": Level, "literal": Literal["a", "b", 3, None],
    "list": list[int], "optional list": Optional[list[str]], "tuple": tuple[int, str], "long tuple": tuple[int, ...],
    "named tuple": Place, "dict": dict[str, int], "dict of literals": dict[Literal["a", "b"], int], "dict of ints": dict[int, str],
    "dict of enum": dict[Colour, float], "dict of pattern": dict[Annotated[str, Field(pattern="^[a-z]+$")], int],
    "set": set[str], "set of enum": set[Colour], "frozenset": frozenset[Literal["a", "b"]],
    "optional": Optional[int], "union": Union[int, str], "nested union": Union[int, list[Union[str, bool]]],
    "discriminated": Annotated[Union[Cat, Dog], Field(discriminator="kind")], "undiscriminated": Union[Cat, Dog],
    "tree": Tree, "linked": Linked, "generic": Page[Address], "open": Open, "closed": Closed,
    "bounded": Annotated[int, Field(ge=0, le=100, multiple_of=5)], "share": Annotated[float, Field(gt=0, lt=1)],
    "short": Annotated[str, Field(min_length=1, max_length=40)], "long": Annotated[str, Field(min_length=1, max_length=5000)],
    "few": Annotated[list[str], Field(min_length=1, max_length=3)], "positive": pydantic.PositiveInt,
    "negative": pydantic.NegativeFloat, "past": pydantic.PastDate, "aware": pydantic.AwareDatetime, "size": pydantic.ByteSize,
    "email": Annotated[str, Field(json_schema_extra={"format": "email"})],
    "described": Annotated[Optional[str], Field(default="x", examples=["y"], description="old", title="Old", deprecated=True)],
    "price": Annotated[decimal.Decimal, Field(max_digits=5, decimal_places=2)],
}
REFUSED = {"set[int]": (set[int], "uniqueItems"), "regex": ({"type": "string", "format": "regex"}, "regex"),
           "contains": ({"type": "array", "contains": {"const": 1}}, "contains"),
           "if": ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, "if"),
           "emoji": ({"type": "string", "pattern": "^\\p{Emoji}+$"}, "Unicode")}


def schemas():
    for name, kind in TYPES.items():
        model = pydantic.create_model("Model", field=(kind, ...))
        yield "pydantic: " + name, model.model_json_schema()
        yield "strict: " + name, to_strict_json_schema(model)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "client_schemas.json"), encoding="utf-8") as file:
        yield from json.load(file).items()


def validator(schema):
    if isinstance(schema.get("items"), list) or isinstance(schema.get("exclusiveMinimum"), bool):  # of older drafts, though it does not say so
        kind = jsonschema.Draft4Validator
    else:
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


def test_all_are_honoured():
    named = list(schemas())
    drawn = 0
    for (name, schema), answer in zip(named, draw([schema for _, schema in named]), strict=True):
        assert answer["status"] == "SP_OK", (name, answer["error"])
        judge = validator(schema)
        for text in answer["samples"]:
            judge.validate(json.loads(text, object_pairs_hook=unique))
        drawn += len(answer["samples"])
    assert drawn > 50 * len(named)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    schema, word = REFUSED[name]
    if not isinstance(schema, dict):
        schema = pydantic.create_model("Model", field=(schema, ...)).model_json_schema()
    answer, = draw([schema])
    assert answer["status"] == "SP_E_UNSUPPORTED" and word in answer["error"], answer
