"""Fields of a workflow: which of them a run heeds, passes over, or does not know."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from orchestrator.executions.graph.errors import OutsideError

_LONGEST = 253
_SHOWN = 10


def known(value: Any, where: str, heeded: Collection[str], passed_over: Collection[str] = ()) -> Mapping[str, Any]:
    """Return a mapping without what is null or empty in it, all of which is known.

    Args:
        value: of the workflow.
        where: it stands there.
        heeded: fields that a run heeds.
        passed_over: those that a cluster alone needs.

    Raises:
        OutsideError: it is no mapping, or has another field.
    """
    if not isinstance(value, Mapping):
        raise OutsideError(where, "a mapping is expected")
    given = {name: each for name, each in value.items() if each is not None and each not in ({}, [])}
    unknown = sorted(given.keys() - {*heeded, *passed_over})
    if unknown:
        raise OutsideError(where, f"{_listed(unknown)} cannot be used; there is {_listed(sorted(heeded))}")
    return {name: each for name, each in given.items() if name in heeded}


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name[:_LONGEST]}`" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def listed(value: Any, where: str) -> list[Any]:
    """Return a list.

    Raises:
        OutsideError: it is none.
    """
    if not isinstance(value, list):
        raise OutsideError(where, "a list is expected")
    return value


def name_of(value: Any, where: str) -> str:
    """Return what is a name: a text that is neither empty nor longer than those of a cluster.

    Raises:
        OutsideError: it is none.
    """
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise OutsideError(where, f"a name of at most {_LONGEST} characters is expected")
    return value


def text_of(value: Any, where: str) -> str:
    """Return a value as the text that takes the place of what stands for it.

    Raises:
        OutsideError: it is null.
    """
    if value is None:
        raise OutsideError(where, "it has no value")
    return value if isinstance(value, str) else json.dumps(value)
