"""Values of the domain as JSON has them: numbers that it lacks are null, and bytes that are no object are none."""

import json
import math
from datetime import UTC, datetime
from typing import Any

JSON = "application/json"


def body(document: Any) -> bytes:
    """Return a document as JSON."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def number(value: float) -> float | None:
    """Return a number, None for what JSON lacks."""
    return value if math.isfinite(value) else None


def parsed(content: bytes) -> Any:
    """Return what some bytes of others are in JSON, None where they are none."""
    try:
        found = cleaned(json.loads(content.decode()))
        # What is nested too deep cannot be written again.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found


def record(content: bytes) -> dict[str, Any] | None:
    """Return the object that some bytes are, by convention in UTF-8 and JSON; None where they are none."""
    found = parsed(content)
    return found if isinstance(found, dict) else None


def cleaned(value: Any) -> Any:
    """Return what JSON has of a value: numbers that it lacks become None, halves of surrogate pairs their stand-in."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return {cleaned(name): cleaned(each) for name, each in value.items()}
    if isinstance(value, list):
        return [cleaned(each) for each in value]
    return value


def time(value: datetime | None) -> str | None:
    """Return a time as RFC 3339 writes it, in UTC; None for none."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
