"""Settings that are lists, written with commas between, as in `a, b`."""

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode


def split(value: object) -> object:
    """Return the parts of a text, without those that are empty; what is no text comes back as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]
"""A setting of any number of texts."""
