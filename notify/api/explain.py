"""What is wrong with the body of a configuration call, in the caller's terms."""

import re
from typing import Any, Final

from notify.api.shapes import PATTERN, PATTERN_CHARS

_SHOWN_CHARS_MAX: Final = 100
_KINDS: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "null": "null",
    "object": "an object",
    "array": "an array",
}
# How msgspec 0.20 to 0.22 word it; what they word otherwise is passed on as it is.
_PLACE: Final = re.compile(r"(.*) - at `(?:key in `)?\$\.?([^`]*)`", re.DOTALL)
_TYPE: Final = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_BOUND: Final = re.compile(r"Expected `([^`]*)` (of length )?(>=|<=) (\S+)")
_REGEX: Final = f"Expected `str` matching regex {PATTERN!r}"
_ENUM: Final = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `([^`]*)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def explain(text: str, shape: Any) -> str:
    """The sentence for what msgspec says of a body that should have been a `shape`."""
    found = _PLACE.fullmatch(text)
    text, place = found.groups() if found else (text, "")
    subject = _subject(place)
    if found := _TYPE.fullmatch(text):
        expected, got = found.groups()
        return f"{subject} must be {_kinds(expected)}, not {_kinds(got)}"
    if found := _BOUND.fullmatch(text):
        kind, length, sign, number = found.groups()
        bound = f"{'at least' if sign == '>=' else 'at most'} {number}"
        if length:
            things = "character" if kind.startswith("str") else "item"
            return f"{subject} must have {bound} {things}{'' if number == '1' else 's'}"
        return f"{subject} must be {bound}"
    if text == _REGEX:
        return f"{subject} may only have the characters {PATTERN_CHARS}"
    if found := _ENUM.fullmatch(text):
        return f"{subject} cannot be {found[1][:_SHOWN_CHARS_MAX]}; /openapi.json lists what it can"
    inside = f"{place}." if place else ""
    if found := _MISSING.fullmatch(text):
        return f"{inside}{found[1]} is missing"
    if found := _UNKNOWN.fullmatch(text):
        known = "" if place else f" (known: {', '.join(shape.__struct_fields__)})"
        return f'unknown field "{inside}{found[1][:_SHOWN_CHARS_MAX]}"{known}'
    return f"{subject}: {text}"


def _subject(place: str) -> str:
    if place.endswith("[...]"):
        return f"a value in {place.removesuffix('[...]')}"
    return place or "the body"


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))
