"""What is told of an exception that a callback has raised, whatever that exception is like."""

import sys
import traceback
from contextlib import suppress

_LONGEST = 1000


def told(error: BaseException) -> str:
    """Return an exception in one line that can be sent and kept; its traceback goes to stderr.

    Args:
        error: the exception; its text may be of any length, be no Unicode, or raise another exception.
    """
    # A script may have closed its stderr, or have put something else in its place.
    with suppress(Exception):
        traceback.print_exception(error)
        sys.stderr.flush()
    try:
        text = str(error)
    except Exception as second:
        text = f"its text cannot be had: {type(second).__name__}"
    line = f"{type(error).__name__}: {text[:_LONGEST]}"
    return line.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
