"""Secrets in what users and modules write: a placeholder stands for each wherever it is kept, shown or told.

Two are known: the operator's, from the settings, and a user's own, which comes with an iteration and is kept encrypted
until that has ended. Only what is handed to a module has them.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from google.protobuf.message import Message

from orchestrator.core.errors import BadRequestError
from orchestrator.problems import settings

_SHORTEST = 4
"""What is shorter is no secret, and would be found everywhere."""

Secrets = Mapping[str, str]
"""Name -> value."""


def placeholder(name: str) -> str:
    """Return what stands for the value of a secret."""
    return f"***{name}***"


def of_operator() -> Secrets:
    """Return the secrets of the settings."""
    token = settings.current().hf_token
    return {"hf_token": token.get_secret_value()} if token is not None else {}


def given(extra_data: Mapping[str, Any]) -> Secrets:
    """Return the secrets that a user's own `extra_data` has.

    Raises:
        BadRequestError: one is no text.
    """
    found = {}
    for name in settings.current().problems_secret_names:
        value = extra_data.get(name)
        if value in (None, "", placeholder(name)):
            continue
        if not isinstance(value, str) or len(value) < _SHORTEST:
            raise BadRequestError(f"extra_data.{name}: a text of {_SHORTEST} or more characters is expected, or null")
        found[name] = value
    return found


def encrypt(secrets: Secrets) -> bytes | None:
    """Return secrets as they are kept, None where there are none.

    Raises:
        BadRequestError: the operator has set no key.
    """
    if not secrets:
        return None
    key = settings.current().problems_secret_key
    if key is None:
        raise BadRequestError(
            f"extra_data.{next(iter(secrets))}: this server keeps no secrets of users; leave it out, or have the "
            "operator set ORCHESTRATOR_PROBLEMS_SECRET_KEY"
        )
    return Fernet(key.get_secret_value()).encrypt(json.dumps(secrets).encode())


def decrypt(kept: bytes | None) -> Secrets:
    """Return kept secrets; none where they were kept by another key."""
    key = settings.current().problems_secret_key
    if kept is None or key is None:
        return {}
    try:
        found: Secrets = json.loads(Fernet(key.get_secret_value()).decrypt(kept))
    except InvalidToken:
        return {}
    return found


def hide(message: Message, own: Secrets) -> None:
    """Put placeholders for secrets into a message, wherever they occur in its texts and its `extra_data`."""
    extra: bytes = getattr(message, "extra_data", b"")
    _replace(message, _stands(own, extra))


def hide_in(text: str, own: Secrets | None = None) -> str:
    """Return a text with placeholders for secrets, those of JSON objects in it too."""
    for value, stand in _stands(own or {}, text.encode(errors="replace")).items():
        text = _without(text, value, stand)
    return text


def put_back(message: Message, own: Secrets) -> None:
    """Put the secrets back into a message that is handed to a module; one that nobody knows becomes null."""
    known = {**of_operator(), **own}
    for name in settings.current().problems_secret_names:
        value = known.get(name)
        extra: bytes = getattr(message, "extra_data", b"")
        if extra:
            kept = placeholder(name).encode()
            whole = json.dumps(value).encode()
            extra = extra.replace(b'"' + kept + b'"', whole)
            message.extra_data = extra.replace(kept, (value or "").encode())  # type: ignore[attr-defined]
        _replace(message, {placeholder(name): value or ""}, extra=False)


def _stands(own: Secrets, said: bytes) -> Mapping[str, str]:
    """Return what stands for each secret: a user's own, the operator's, and those that a JSON text has by name.

    An own secret has the name of the operator's, and a module may know both. The longest come first: one may be the
    beginning of another.
    """
    known = [*own.items(), *of_operator().items(), *_named(_object(said))]
    stands = {value: placeholder(name) for name, value in known if len(value) >= _SHORTEST}
    return dict(sorted(stands.items(), key=lambda each: -len(each[0])))


def _object(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the secrets that stand under their names, at whatever depth."""
    names = settings.current().problems_secret_names
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            for name, inner in each.items():
                if name in names and isinstance(inner, str) and len(inner) >= _SHORTEST and inner != placeholder(name):
                    yield name, inner
                else:
                    waiting.append(inner)


def _without(text: str, value: str, stands: str) -> str:
    for written in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
        text = text.replace(written, stands)
    return text


def _replace(message: Message, stands: Mapping[str, str], *, extra: bool = True) -> None:
    for field, value in message.ListFields():
        if field.name == "extra_data":
            if extra:
                for secret, stand in stands.items():
                    for written in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
                        value = value.replace(written.encode(), stand.encode())
                message.extra_data = value  # type: ignore[attr-defined]
        elif field.type == field.TYPE_STRING and field.is_repeated:
            for number, each in enumerate(value):
                for secret, stand in stands.items():
                    if secret in each:
                        value[number] = value[number].replace(secret, stand)
        elif field.type == field.TYPE_STRING:
            for secret, stand in stands.items():
                value = _without(value, secret, stand)
            setattr(message, field.name, value)
