"""Placeholders: what stands for a parameter in the texts of a workflow. They are replaced once, and values never."""

import json
import re
from collections.abc import Mapping
from typing import Any

from orchestrator.executions.graph.errors import OutsideError

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_AS_JSON = re.compile(
    r"=\s*toJson\(\s*(workflow|inputs)\.parameters(?:\.(\w+)|\['([^']+)'\]|\[\"([^\"]+)\"\])\s*\)", re.ASCII
)


class Budget:
    """How much may still be put in the place of placeholders, so that no text grows without end.

    Args:
        left: characters.
    """

    def __init__(self, left: int = 64 * 1024 * 1024) -> None:
        self._left = left

    def take(self, text: str, where: str) -> str:
        """Return a text that has room.

        Args:
            text: what is put in.
            where: it is.

        Raises:
            OutsideError: it has none.
        """
        self._left -= len(text)
        if self._left < 0:
            raise OutsideError(where, "what stands for placeholders is too long, in all that comes of the workflow")
        return text


def fill(value: Any, scope: Mapping[str, str], where: str, budget: Budget) -> Any:
    """Return a value whose texts have values in place of placeholders, in lists and mappings and their keys, too.

    Args:
        value: of the workflow.
        scope: what stands for which text.
        where: it stands.
        budget: of the run.

    Raises:
        OutsideError: a placeholder stands for nothing here, or for more than there is room for.
    """
    if isinstance(value, str):
        return _filled(value, scope, where, budget)
    if isinstance(value, list):
        return [fill(each, scope, where, budget) for each in value]
    if isinstance(value, Mapping):
        return {_filled(key, scope, where, budget): fill(each, scope, where, budget) for key, each in value.items()}
    return value


def _filled(text: str, scope: Mapping[str, str], where: str, budget: Budget) -> str:
    parts, end = [], 0
    for found in _PLACEHOLDER.finditer(text):
        parts += [text[end : found.start()], budget.take(_value(found[1].strip(), scope, where), where)]
        end = found.end()
    rest = text[end:]
    if "{{" in rest:
        raise OutsideError(where, "a `{{` is not closed by `}}`")
    return "".join([*parts, budget.take(rest, where)])


def _value(name: str, scope: Mapping[str, str], where: str) -> str:
    if as_json := _AS_JSON.fullmatch(name):
        inner = f"{as_json[1]}.parameters.{as_json[2] or as_json[3] or as_json[4]}"
        return json.dumps(_value(inner, scope, where), ensure_ascii=False)
    if name not in scope:
        raise OutsideError(where, f"`{{{{{name[:200]}}}}}` stands for nothing here")
    return scope[name]


def parameters(of: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return the scope of parameters.

    Args:
        of: `workflow` or `inputs`.
        values: name -> value.
    """
    return {f"{of}.parameters.{name}": value for name, value in values.items()}


def item(value: Any) -> dict[str, str]:
    """Return the scope of one thing of a list that is run over."""
    scope = {"item": _text(value)}
    if isinstance(value, Mapping):
        scope |= {f"item.{key}": _text(each) for key, each in value.items()}
    return scope


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
