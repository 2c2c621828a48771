"""Keys as people give them: what is none is found before anything is sent."""

from typing import Any

from orchestrator.core import fields
from orchestrator.core.errors import InvalidAssetError


def checked(key: str, what: str) -> str:
    """Return a key as the orchestrator spells it.

    Args:
        key: as given.
        what: whose, as in `a function`.

    Raises:
        ValueError: it is no UUID.
    """
    try:
        fields.check_key(key)
    except (InvalidAssetError, TypeError):
        shown = fields.shown(key) if isinstance(key, str) else f"a value of type {type(key).__name__}"
        raise ValueError(f"the key of {what} is a UUID, not {shown}") from None
    return key.lower()


def checked_address(address: str) -> str:
    """Return the address of an orchestrator.

    Raises:
        ValueError: it is empty, or a URL of something else.
    """
    if not address or address.startswith(("http://", "https://")):
        raise ValueError(f"the address of an orchestrator is host:port of its gRPC, not {address!r}")
    return address


def key_of(given: Any, what: str, *kinds: Any) -> str:
    """Return the key of an asset that is given itself or by its key.

    Args:
        given: the asset, or its key.
        what: it is, as in `a function`.
        kinds: the classes of its kind.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(given, kinds):
        return str(given.key)
    if not isinstance(given, str):
        raise ValueError(f"{what} is given itself or by its key, not as a value of type {type(given).__name__}")
    return checked(given, what)
