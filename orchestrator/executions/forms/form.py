"""Forms: what an object that a client sends must look like, and the texts that its clients know for what is wrong.

A reader takes a value as JSON has it and returns what it means, or raises `InvalidError` with what is wrong with it. Of
an object all fields' problems are found at once; its own rule is asked only where all fields are right.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Problem: TypeAlias = "Sequence[Any] | Mapping[str, Any]"
"""What is wrong: a list of texts, those of a field by its name, or of each item of a list in its order."""

Reader: TypeAlias = Callable[[Any], Any]

REQUIRED = "This field is required."
NON_FIELD = "non_field_errors"
_NULL = "This field may not be null."
_TRUE = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE = frozenset({"f", "false", "n", "no", "off", "0"})
_LONGEST_NUMBER = 40
_NUL = "Null characters are not allowed."


class InvalidError(Exception):
    """A value is not what it should be.

    Args:
        problem: what is wrong with it.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class Unset:
    """The value of a field that was not given."""


UNSET = Unset()


@dataclass(frozen=True)
class Field:
    """A field of an object.

    Args:
        read: its value.
        required: whether it must be given.
        default: what it is where it is not given.
    """

    read: Reader
    required: bool = True
    default: Any = UNSET


def rule(text: str) -> InvalidError:
    """Return what is wrong with an object as a whole."""
    return InvalidError({NON_FIELD: [text]})


def text(most: int | None = None) -> Reader:
    """Return a reader of a text of at most so many characters, that is not blank; a number becomes text."""

    def read(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidError(["Not a valid string."])
        given = str(value).strip()
        if not given:
            raise InvalidError(["This field may not be blank."])
        if "\0" in given:
            raise InvalidError([_NUL])
        if most is not None and len(given) > most:
            raise InvalidError([f"Ensure this field has no more than {most} characters."])
        return given

    return read


def integer(least: int, most: int) -> Reader:
    """Return a reader of a whole number from `least` to `most`: `3`, `"3"` or `2.0`."""

    def read(value: Any) -> int:
        number = _whole(value)
        if number is None:
            raise InvalidError(["A valid integer is required."])
        if number < least:
            raise InvalidError([f"Ensure this value is greater than or equal to {least}."])
        if number > most:
            raise InvalidError([f"Ensure this value is less than or equal to {most}."])
        return number

    return read


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        number = value.strip()
        digits = number.removeprefix("-").removeprefix("+") if number[:2] != "+-" else ""
        if digits.isascii() and digits.isdigit() and len(number) - len(digits) <= 1:
            return int(number)
    return None


def boolean(value: Any) -> bool:
    """Read a boolean: itself, 1 or 0, or one of their words in lower, upper or title case."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value in (value.lower(), value.upper(), value.title()):
        word = value.lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
    raise InvalidError(["Must be a valid boolean."])


def choice(choices: Sequence[str]) -> Reader:
    """Return a reader of one of some texts."""

    def read(value: Any) -> str:
        given = str(value)
        if given not in choices:
            raise InvalidError([f'"{given}" is not a valid choice.'])
        return given

    return read


def values(item: Reader) -> Reader:
    """Return a reader of a list that is not empty; problems of its items stand by their index as text."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise InvalidError([_no_list(value)])
        if not value:
            raise InvalidError(["This list may not be empty."])
        found, problems = _each(value, item)
        wrong = {str(index): problem for index, problem in enumerate(problems) if problem}
        if wrong:
            raise InvalidError(wrong)
        return found

    return read


def objects(item: Reader) -> Reader:
    """Return a reader of a list of objects; problems of its items stand in a list, `{}` where one is right."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise rule(_no_list(value))
        found, problems = _each(value, item)
        if any(problems):
            raise InvalidError(problems)
        return found

    return read


def _each(value: list[Any], item: Reader) -> tuple[list[Any], list[Problem]]:
    found: list[Any] = []
    problems: list[Problem] = []
    for each in value:
        try:
            if each is None:
                raise InvalidError([_NULL])
            found.append(item(each))
            problems.append({})
        except InvalidError as invalid:
            problems.append(invalid.problem)
    return found, problems


def _no_list(value: Any) -> str:
    return f'Expected a list of items but got type "{type(value).__name__}".'


def mapping(value: Any) -> dict[str, Any]:
    """Read an object of any names that is not empty."""
    if not isinstance(value, dict):
        raise InvalidError([f'Expected a dictionary of items but got type "{type(value).__name__}".'])
    if not value:
        raise InvalidError(["This dictionary may not be empty."])
    return value


def form(fields: Mapping[str, Field]) -> Reader:
    """Return a reader of an object with some fields; others are ignored."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise rule(f"Invalid data. Expected a dictionary, but got {type(value).__name__}.")
        found: dict[str, Any] = {}
        problems: dict[str, Problem] = {}
        for name, field in fields.items():
            try:
                found[name] = _read(field, value.get(name, UNSET))
            except InvalidError as invalid:
                problems[name] = invalid.problem
        if problems:
            raise InvalidError(problems)
        return found

    return read


def _read(field: Field, value: Any) -> Any:
    if value is UNSET:
        if field.required:
            raise InvalidError([REQUIRED])
        return field.default
    if value is None:
        raise InvalidError([_NULL])
    return field.read(value)
