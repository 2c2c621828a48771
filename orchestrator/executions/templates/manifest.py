"""The manifest of a workflow: a template that was told of an execution."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.executions.templates.template import TemplateError


def make(template: Mapping[str, Any], parameters: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
    """Return a template with parameters; nothing else of it changes, and it is left as it is.

    Args:
        template: as `template.load` returned it.
        parameters: names and values; of those that the template has itself, these names are left out.

    Raises:
        TemplateError: the template's own parameters are no list of objects with names.
    """
    ours = {name for name, _ in parameters}
    spec = template["spec"]
    arguments = spec.get("arguments") or {}
    if not isinstance(arguments, Mapping):
        raise TemplateError("spec.arguments is no mapping")
    theirs = [each for each in _own(arguments) if each["name"] not in ours]
    given = [{"name": name, "value": value} for name, value in parameters]
    return {**template, "spec": {**spec, "arguments": {**arguments, "parameters": [*given, *theirs]}}}


def _own(arguments: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    own = arguments.get("parameters") or []
    if not isinstance(own, list):
        raise TemplateError("spec.arguments.parameters is no list")
    for place, each in enumerate(own):
        if not isinstance(each, Mapping) or not isinstance(each.get("name"), str):
            raise TemplateError(f"spec.arguments.parameters[{place}] is no mapping with a name")
    return own
