"""The one place of the tests that waits: for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SHARE = 0.05
_LONGEST_SECONDS = 0.25


def wait_until(condition: Callable[[], T], timeout: float = 60.0, message: str = "", interval: float = 0.02) -> T:
    """Return the condition's value as soon as it is true.

    The longer it was waited for, the seldomer it is asked: many conditions are calls of servers, and what they take is
    missed where the thing that is waited for comes about.

    Args:
        condition: asked again and again.
        timeout: seconds until the test fails; a machine that is busy with other tests may take most of them.
        message: what was waited for.
        interval: seconds between the first two questions, and the least between any.

    Raises:
        AssertionError: it was still false when the time was over.
    """
    begin = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begin
        if waited > timeout:
            raise AssertionError(f"after {timeout:g} s still not: {message or condition} (last: {value!r})")
        time.sleep(max(interval, min(_SHARE * waited, _LONGEST_SECONDS)))
    return value
