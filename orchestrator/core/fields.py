"""Checks of single fields of a request; a violation is an InvalidAssetError that names the field."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit
from uuid import UUID

from orchestrator.core.errors import InvalidAssetError

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CHECKSUM = re.compile(r"[0-9a-fA-F]{64}")
_LENGTH = 100

LARGEST_MESSAGE = 64 * 1024 * 1024
"""Bytes of one message of a call, either way."""

LARGEST_ASSET = LARGEST_MESSAGE // 2
"""Bytes of one asset's message: it is a row of lists and a part of events, which are read in messages of calls."""


def parse_key(key: str, field: str = "key") -> UUID:
    """Return a client's key as a UUID.

    Raises:
        InvalidAssetError: it is none.
    """
    check_key(key, field)
    return UUID(key)


def check_key(key: str, field: str = "key") -> None:
    """Check a client's key; see `parse_key`."""
    if not _UUID.fullmatch(key):
        raise InvalidAssetError(f"{field}: {shown(key)} is not a UUID")


def parse_keys(keys: Iterable[str], field: str) -> list[UUID]:
    """Return several keys as UUIDs; see `parse_key`."""
    return [parse_key(key, field) for key in keys]


def check_text(value: str, field: str, least: int = 0, most: int = _LENGTH) -> None:
    """Check a text's length, in characters, and that Postgres can keep it (no NUL)."""
    if not least <= len(value) <= most:
        raise InvalidAssetError(f"{field}: {least} to {most} characters are allowed, {len(value)} given")
    if "\0" in value:
        raise InvalidAssetError(f"{field}: the NUL character is not allowed")


def check_size(size: int, what: str) -> None:
    """Check how many bytes the message of an asset takes, which `what` names."""
    if size > LARGEST_ASSET:
        raise InvalidAssetError(f"{what}: its message takes {size} bytes, and at most {LARGEST_ASSET} are kept")


def check_checksum(checksum: str, field: str) -> None:
    """Check that a text looks like a SHA-256."""
    if not _CHECKSUM.fullmatch(checksum):
        raise InvalidAssetError(f"{field}: {shown(checksum)} is not 64 hex digits")


def check_url(url: str, field: str) -> None:
    """Check that a text is an absolute URL with a host."""
    try:
        parts = urlsplit(url)
        complete = bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete or any(character.isspace() or character == "\0" for character in url):
        raise InvalidAssetError(f"{field}: {shown(url)} is not a URL")


def shown(value: str) -> str:
    """Return a text of a request as a message shows it: quoted, and cut where it is long."""
    return repr(value if len(value) <= _LENGTH else value[:_LENGTH] + "…")
