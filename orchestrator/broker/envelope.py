"""The envelope that messages have on Redis and Valkey, as Kombu's virtual transports write it: a JSON object with
`body` (base64), `headers`, `content-type`, `content-encoding` and `properties`."""

import binascii
import json
from base64 import b64decode
from typing import Any

from orchestrator.broker.unreadable import UnreadableError

_MOST_BYTES = 256 << 10
_LONGEST_NAME = 255


def read(content: bytes | str) -> dict[str, Any]:
    """Return an envelope with what its readers look at, and nothing else; all of it has the type that they expect.

    Args:
        content: what lay in a list, or came over a channel.

    Raises:
        UnreadableError: it is something else.
    """
    if len(content) > _MOST_BYTES:
        raise UnreadableError(f"longer than {_MOST_BYTES} bytes")
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"no JSON: {type(error).__name__}") from None
    if not isinstance(raw, dict):
        raise UnreadableError("no object")
    headers, properties = raw.get("headers"), raw.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        raise UnreadableError("headers or properties are no object")
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict):
        raise UnreadableError("no delivery_info")
    if headers.get("compression") is not None:
        # A reader would unpack it, however long it becomes.
        raise UnreadableError("compressed")
    return {
        "body": _body(raw.get("body"), properties.get("body_encoding")),
        "content-type": _name(raw.get("content-type"), "content-type"),
        "content-encoding": _name(raw.get("content-encoding"), "content-encoding"),
        "headers": headers,
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": _name(properties.get("delivery_tag"), "delivery_tag"),
            "delivery_info": {
                "exchange": _name(delivery.get("exchange"), "exchange"),
                "routing_key": _name(delivery.get("routing_key") or "", "routing_key"),
            },
            "correlation_id": None,
            "reply_to": None,
            "priority": 0,
        },
    }


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise UnreadableError(f"{what} is no name")
    return value


def _body(body: object, encoding: object) -> str:
    if not isinstance(body, str) or encoding != "base64":
        raise UnreadableError("the body is not in base64")
    try:
        b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError("the body is not in base64") from None
    return body
