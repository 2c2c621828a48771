"""How protobuf writes a field of bytes (its Encoding page), for messages that are serialized already.

Python's library takes no message in the form that it is stored in: it would be parsed, only to be written again.
"""

from functools import lru_cache

# The lengths of most messages, and all tags, come again and again.
_KEPT = 16 * 1024


def field(number: int, value: bytes) -> bytes:
    """Return a field that bears a message, a text or bytes ("Message Structure", wire type 2).

    Args:
        number: of the field.
        value: serialized.
    """
    return _varint(number << 3 | 2) + _varint(len(value)) + value


@lru_cache(_KEPT)
def _varint(number: int) -> bytes:
    """Return a number as it is written ("Base 128 Varints")."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
