"""How protobuf writes a field of bytes (its Encoding page), for messages that are serialized already.

Python's library takes no message in the form that it is stored in: it would be parsed, only to be written again.
"""

from collections.abc import Iterator
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


_LONGEST_VARINT = 10


def cut(message: bytes, number: int, size: int) -> Iterator[bytes]:
    """Cut a message that holds a list, so that each part is one of the same type: together they say what it says.

    Whatever is not of the list, and all that comes after it, is in the last part, for whoever parses that to judge.

    Args:
        message: serialized.
        number: of the field that is the list, of messages, texts or bytes.
        size: bytes of a part, at least, but for the last.
    """
    tag = _varint(number << 3 | 2)
    begin = end = 0
    while begin + size < len(message) and message.startswith(tag, end):
        end = _after(message, end + len(tag))
        if begin + size <= end < len(message):
            yield message[begin:end]
            begin = end
    if begin < len(message):
        yield message[begin:]


def _after(message: bytes, place: int) -> int:
    """Return the end of what begins at a place with its length; beyond the message where it is cut off."""
    length = shift = 0
    for byte in message[place : place + _LONGEST_VARINT]:
        length |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            return place + length
    return len(message)
