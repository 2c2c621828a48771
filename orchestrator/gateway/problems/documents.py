"""What a request brings: an object of JSON, and how its members are read; whoever sent a wrong one is told which."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.core.errors import BadRequestError
from orchestrator.core.fields import shown

U32 = 2**32 - 1
I32 = 2**31 - 1

_DEEPEST = 200

Document = Mapping[str, Any]
"""An object of JSON."""


class FormError(BadRequestError):
    """A member of a request is wrong.

    Args:
        member: its name, with those around it, as in `extra_data.num_outputs`; empty for the request as a whole.
        problem: what is wrong, and what is expected.
        rest: the members of the request that could be read, where one could not.
    """

    def __init__(self, member: str, problem: str, rest: "Document | None" = None) -> None:
        super().__init__(f"{member}: {problem}" if member else problem)
        self.member = member
        self.rest: Document = rest or {}


def parse(body: bytes) -> dict[str, Any]:
    """Return the object that a body is; that of no body is empty.

    Raises:
        FormError: it is none, or has a number or a text that could not be answered again.
    """
    if not body.strip():
        return {}
    try:
        found = json.loads(body.decode())
    except UnicodeDecodeError as error:
        raise FormError("", f"the body is no UTF-8: byte {error.start} is wrong; send JSON in UTF-8") from error
    except RecursionError as error:
        raise FormError("", "the body is nested too deep") from error
    except ValueError as error:
        raise FormError("", f"the body is no JSON: {error}; send an object, as in {{}}") from error
    if not isinstance(found, dict):
        raise FormError("", f"the body is {_kind(found)}, and an object of JSON is expected, as in {{}}")
    for member, problem in _odd(found, "", 0):
        readable = {name: value for name, value in found.items() if not any(_odd({name: value}, "", 0))}
        raise FormError(member, problem, readable)
    return found


def _odd(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield what JSON has not, or what cannot be kept, with its place."""
    if depth > _DEEPEST:
        yield place.partition(".")[0], f"it is nested more than {_DEEPEST} levels deep"
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _odd(name, place, depth)
            yield from _odd(each, f"{place}.{name}" if place else name, depth + 1)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _odd(each, f"{place}.{number}" if place else str(number), depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, f"{value} is no number of JSON; send a finite one, or null"
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            yield _printable(place), "half of a surrogate pair is no text"
        elif "\0" in value:
            yield _printable(place), "the NUL character cannot be kept in a text"


def _printable(place: str) -> str:
    return place.encode(errors="replace").decode().replace("\0", "")


def text(document: Document, name: str, place: str = "") -> str | None:
    """Return a text; None where it is absent or null.

    Args:
        document: whose member it is.
        name: of the member.
        place: before the name, where it is told.

    Raises:
        FormError: it is something else.
    """
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(place, name, value, "a text")
    return value


def texts(document: Document, name: str, place: str = "") -> list[str] | None:
    """Return a list of texts; see `text`."""
    value = document.get(name)
    if value is not None and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
        raise _wrong(place, name, value, "a list of texts")
    return value


def flag(document: Document, name: str, place: str = "") -> bool | None:
    """Return a boolean; see `text`."""
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(place, name, value, "true or false")
    return value


def whole(document: Document, name: str, least: int, most: int, place: str = "") -> int | None:
    """Return a whole number, which may be written as 3.0; see `text`.

    Args:
        document: whose member it is.
        name: of the member.
        least: that is allowed.
        most: that is allowed.
        place: before the name, where it is told.
    """
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(place, name, value, f"a whole number from {least} to {most}")
    return value


def number(
    document: Document, name: str, least: float = -math.inf, most: float = math.inf, place: str = ""
) -> float | None:
    """Return a number; see `whole`."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(place, name, value, "a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or not least <= found <= most:
        bounds = f" from {least:g}" if least > -math.inf else ""
        bounds += f" to {most:g}" if most < math.inf else ""
        raise _wrong(place, name, value, f"a finite number{bounds}")
    return found


def record(document: Document, name: str, place: str = "") -> dict[str, Any] | None:
    """Return an object; see `text`."""
    value = document.get(name)
    if value is not None and not isinstance(value, dict):
        raise _wrong(place, name, value, "an object")
    return value


def _wrong(place: str, name: str, value: Any, expected: str) -> FormError:
    return FormError(f"{place}.{name}" if place else name, f"{expected} is expected, {_given(value)} given")


def _given(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return shown(json.dumps(value) if abs(value) < 1e300 else "a number beyond all bounds")
    return _kind(value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
