"""What statements of all rooms are made of."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY


def any_key(keys: Collection[UUID]) -> Any:
    """Return the right side of `column == any_key(keys)`: one parameter, however many keys."""
    return any_(literal(list(keys), ARRAY(Uuid)))
