"""Ranges: which part of a file is asked for (RFC 9110, 14.1.2)."""

import re

_RANGE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.IGNORECASE)
_LONGEST = 18


class UnsatisfiableError(Exception):
    """The part begins after the end of the file."""


def read(header: str | None, size: int) -> tuple[int, int] | None:
    """Return where the part begins and where it ends; None where all is asked for, or nothing that is understood.

    Args:
        header: the value of `Range`.
        size: of the file, in bytes.

    Raises:
        UnsatisfiableError: it begins after the end.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None:
        return None
    first, last = found.groups()
    if len(first) > _LONGEST:
        raise UnsatisfiableError
    if not first:
        if not last:
            return None
        length = size if len(last) > _LONGEST else min(int(last), size)
        if not length:
            raise UnsatisfiableError
        return size - length, size
    begin = int(first)
    end = size if not last or len(last) > _LONGEST else min(int(last) + 1, size)
    if last and len(last) <= _LONGEST and int(last) < begin:
        return None
    if begin >= size:
        raise UnsatisfiableError
    return begin, end
