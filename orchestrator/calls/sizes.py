"""How much memory a request takes once it is parsed, at most, told from its bytes before it is parsed.

Two bytes of an empty message inside another become a hundred. What is inside begins with a tag, and the first byte of
a tag is one of a few that the fields of the request's type have: as often as these occur, so many are inside, at most.
Text has the same bytes here and there, so an honest request is estimated at two to six times what it takes.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

# A text of a byte takes three on the wire and eight in memory; unknown fields are kept in a buffer that doubles.
_BYTES_PER_BYTE = 3
# Of each message: what upb keeps beside the fields, and for the first unknown one.
_MESSAGE = 16 + 64
_POINTER = 8
_TEXT_VIEW = 16
# The first in a list brings a header and room for four; a list that is full doubles, and keeps what it had.
_LISTED_MESSAGE = 64
_LISTED_TEXT = 96
# The first in a map brings its table.
_MAPPED = 256
# In a list of numbers a byte of the wire takes eight at most, and a list that is full doubles, and keeps what it had.
_PACKED = 24
_TEXT = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def parsed_size(request: type[Message], body: bytes) -> int:
    """Return how many bytes of memory a request takes once it is parsed, at most.

    Args:
        request: its type.
        body: as it was received, valid or not.
    """
    descriptor: Any = request.DESCRIPTOR
    each = _PACKED if _has_numbers(descriptor) else _BYTES_PER_BYTE
    return each * len(body) + sum(size * body.count(byte) for byte, size in _sizes(descriptor).items())


@cache
def _has_numbers(request: Descriptor) -> bool:
    """Say whether a list of numbers may be in a request."""
    fields = (field for message in _within(request, set()) for field in message.fields)
    return any(field.is_repeated and field.type not in _TEXT and field.message_type is None for field in fields)


@cache
def _sizes(request: Descriptor) -> dict[int, int]:
    """Return the first byte of a tag -> the bytes that what follows it takes, at most."""
    sizes: dict[int, int] = {}
    for message in _within(request, set()):
        for field in message.fields:
            size = _size(field)
            if not size:
                continue
            tag = field.number << 3 | 2
            # Any tag may be written longer than it need be: all its bytes but the last have the highest bit.
            for byte in {tag & 0x7F | 0x80} if tag > 0x7F else {tag, tag | 0x80}:
                sizes[byte] = max(size, sizes.get(byte, 0))
    return sizes


def _within(message: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    """Yield the types of messages that may be in a message, with its own."""
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    yield message
    for field in message.fields:
        if field.message_type:
            yield from _within(field.message_type, seen)


def _size(field: FieldDescriptor) -> int:
    message = field.message_type
    if message is None:
        return _LISTED_TEXT if field.is_repeated and field.type in _TEXT else 0
    if message.GetOptions().map_entry:
        return _MAPPED
    own = _MESSAGE + sum(_POINTER if _is_apart(inner) else _TEXT_VIEW for inner in message.fields)
    return own + _LISTED_MESSAGE if field.is_repeated else own


def _is_apart(field: FieldDescriptor) -> bool:
    return field.is_repeated or field.type not in _TEXT


# An empty list or object, and what each further entry brings: its slot, its key, its value.
_BRACKET, _ENTRY = 512, 256


def document_size(body: bytes) -> int:
    """Return how many bytes of memory a JSON document takes once it is read, at most; it may be no JSON."""
    brackets = body.count(b"[") + body.count(b"{")
    return _BYTES_PER_BYTE * len(body) + _BRACKET * brackets + _ENTRY * (body.count(b",") + body.count(b":"))
