"""Keys as people give them: whole, or as much of the beginning as no other has; what is none is found at once."""

import re
from typing import Any

from orchestrator import protos as pb
from orchestrator.client.steps import Steps
from orchestrator.core import fields
from orchestrator.core.errors import InvalidAssetError

WORDS: "dict[pb.AssetKind.ValueType, str]" = {
    pb.ASSET_COMPUTE_PLAN: "compute plan",
    pb.ASSET_COMPUTE_TASK: "task",
    pb.ASSET_FUNCTION: "function",
    pb.ASSET_DATA_MANAGER: "data set",
    pb.ASSET_DATA_SAMPLE: "data sample",
    pb.ASSET_MODEL: "model",
}
"""What people call the kinds of assets that have keys."""

_LENGTH = 36
_SHOWN = 3
_BEGINNING = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]*")


def checked(key: str, what: str) -> str:
    """Return a whole key as the orchestrator spells it.

    Args:
        key: as given.
        what: whose, as in `a function`.

    Raises:
        ValueError: it is no UUID.
    """
    if not is_whole(key):
        shown = fields.shown(key) if isinstance(key, str) else f"a value of type {type(key).__name__}"
        raise ValueError(f"the key of {what} is a UUID, not {shown}")
    return key.lower()


def is_whole(key: str) -> bool:
    """Say whether a key is all of one."""
    try:
        fields.check_key(key)
    except (InvalidAssetError, TypeError):
        return False
    return True


def spelled(key: str, what: str) -> str:
    """Return a key, or the beginning of one, as the orchestrator spells it; the arguments and errors of `checked`."""
    if isinstance(key, str) and len(key) < _LENGTH and _BEGINNING.fullmatch(key):
        return key.lower()
    return checked(key, what)


def checked_address(address: str) -> str:
    """Return the address of an orchestrator.

    Raises:
        ValueError: it is empty, or a URL of something else.
    """
    if not address or address.startswith(("http://", "https://")):
        raise ValueError(f"the address of an orchestrator is host:port of its gRPC, not {address!r}")
    return address


def key_of(given: Any, what: str, *classes: Any) -> str:
    """Return the key, or the beginning of one, of an asset that is given itself or by that.

    Args:
        given: the asset, or its key.
        what: it is, as in `a function`.
        classes: those of its kind.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(given, classes):
        return str(given.key)
    if not isinstance(given, str):
        raise ValueError(f"{what} is given itself or by its key, not as a value of type {type(given).__name__}")
    return spelled(given, what)


class UnknownKeyError(ValueError):
    """No asset has such a key."""


class AmbiguousKeyError(ValueError):
    """The keys of several assets begin so."""


def meant(found: pb.FindKeysResponse, asked: pb.FindKeysParam, channel: str = "this channel") -> pb.FoundKey:
    """Return the key that a beginning of it stands for.

    Args:
        found: the keys that begin so.
        asked: the beginning, and what it may be the key of.
        channel: where, for people.

    Raises:
        UnknownKeyError: none begins so.
        AmbiguousKeyError: more than one does.
    """
    words = " or ".join(WORDS[kind] for kind in asked.kinds)
    if not found.found:
        raise UnknownKeyError(f"no {words} of {channel} has a key that begins with {asked.beginning!r}")
    if len(found.found) > 1:
        shown = ", ".join([*(each.key for each in found.found[:_SHOWN]), *(["…"] if len(found.found) > _SHOWN else [])])
        raise AmbiguousKeyError(
            f"several {words}s have keys that begin with {asked.beginning!r} ({shown}): give more of it"
        )
    return found.found[0]


def whole(key: str, *kinds: "pb.AssetKind.ValueType") -> Steps[str]:
    """Return the key that a beginning of it stands for.

    Args:
        key: as `spelled` returns it; a whole one is not asked for.
        kinds: what it may be the key of.

    Raises:
        ValueError: no key, or more than one, begins so.
        CallError: the orchestrator does not answer.
    """
    if is_whole(key):
        return key
    asked = pb.FindKeysParam(beginning=key, kinds=kinds)
    answer = yield lambda client: client.inspection.FindKeys(asked)
    return meant(answer, asked).key


def find(given: Any, kind: "pb.AssetKind.ValueType", *classes: Any) -> Steps[str]:
    """Return the key of an asset that is given itself, by its key, or by the beginning of it.

    Args:
        given: the asset, or its key.
        kind: of the asset.
        classes: those of its kind.

    Raises:
        ValueError: it is none of these, or no key, or more than one, begins so.
        CallError: the orchestrator does not answer.
    """
    return (yield from whole(key_of(given, f"a {WORDS[kind]}", *classes), kind))
