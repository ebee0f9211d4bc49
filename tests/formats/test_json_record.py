"""Dataclasses as JSON objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, ClassVar

import pytest

from layer2.errors import FormatError
from layer2.formats.json_object import JsonObject
from layer2.formats.json_record import Amount, Bytes20, Text8, enumeration, integer, read_record, write_record


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Parcel:
    kind: ClassVar[str] = "parcel"
    origin: str = field(default="here", init=False)

    owner: Bytes20
    label: Text8
    worth: Amount
    count: int
    small: Annotated[int, integer(36)]
    colour: Colour
    lid: Annotated[Colour, enumeration(Colour).named("lid_colour")]


PARCEL = Parcel(b"\xab" * 20, "books", 2**60, 7, 36, Colour.RED, Colour.BLUE)
WRITTEN = {
    "owner": "ab" * 20,
    "label": "books",
    "worth": str(2**60),
    "count": 7,
    "small": 36,
    "colour": "red",
    "lid_colour": "blue",
}


def test_each_field_is_written_in_the_form_of_its_annotation_or_of_its_type() -> None:
    assert write_record(PARCEL) == WRITTEN


def test_what_is_written_is_read_to_an_equal_record_and_nothing_is_left() -> None:
    given = JsonObject(WRITTEN, "parcel")
    assert read_record(Parcel, given) == PARCEL
    given.end()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("owner", "AB" * 20),
        ("owner", "ab" * 19),
        ("label", "nine signs"),
        ("worth", 5),
        ("worth", "05"),
        ("count", "7"),
        ("count", True),
        ("small", 37),
        ("colour", "green"),
        ("lid_colour", 1),
    ],
)
def test_a_field_of_another_form_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(FormatError, match=name):
        read_record(Parcel, JsonObject({**WRITTEN, name: value}, "parcel"))


@pytest.mark.parametrize("name", WRITTEN)
def test_a_missing_field_is_refused_by_name(name: str) -> None:
    given = {key: value for key, value in WRITTEN.items() if key != name}
    with pytest.raises(FormatError, match=name):
        read_record(Parcel, JsonObject(given, "parcel"))
