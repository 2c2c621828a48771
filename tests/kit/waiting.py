"""The one place of the tests that waits: for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 10.0, message: str = "", interval: float = 0.02) -> T:
    """Return the condition's value as soon as it is true.

    Args:
        condition: asked again and again.
        timeout: seconds until the test fails.
        message: what was waited for.
        interval: seconds between two questions.

    Raises:
        AssertionError: it was still false when the time was over.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout:g} s still not: {message or condition} (last: {value!r})")
        time.sleep(interval)
    return value
