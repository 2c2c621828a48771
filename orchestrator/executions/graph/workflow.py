"""Workflows as they are written: templates that run a container or call others, and nothing that is not run here."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from orchestrator.executions.graph import fields
from orchestrator.executions.graph.errors import OutsideError

_OF_SPEC = ("entrypoint", "templates", "arguments", "onExit", "nodeSelector")
_OF_TEMPLATE = (
    *("name", "inputs", "container", "dag", "steps", "nodeSelector", "retryStrategy", "activeDeadlineSeconds"),
)
_OF_CONTAINER = ("image", "command", "args", "env")
_OF_CALL = ("name", "template", "arguments", "withItems", "withParam")

# They say how a cluster makes a pod, and nothing of what its container does.
_OF_PODS = (
    *("serviceAccountName", "automountServiceAccountToken", "executor", "hostAliases", "priorityClassName"),
    *("podSpecPatch", "schedulerName", "securityContext", "tolerations", "affinity", "volumes", "archiveLocation"),
)
_OF_CLUSTER = (
    *_OF_PODS,
    *("hostNetwork", "dnsPolicy", "dnsConfig", "imagePullSecrets", "ttlStrategy", "podGC", "podMetadata"),
    *("podPriorityClassName", "podPriority", "podDisruptionBudget", "priority", "archiveLogs", "workflowMetadata"),
)
_OF_IMAGES = ("name", "imagePullPolicy", "resources", "volumeMounts", "ports", "securityContext")

_MOST_CALLS = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True)
class Call:
    """A template that another calls, once or for each thing of a list.

    Args:
        name: of the task or the step.
        template: that is called.
        arguments: parameter -> value, with placeholders.
        over: the list, or the text that stands for it; None to call it once.
        after: the names of the calls that come before.
    """

    name: str
    template: str
    arguments: Mapping[str, Any]
    over: list[Any] | str | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerTemplate:
    """A template that runs a container; all of it may have placeholders.

    Args:
        name: of the template.
        inputs: parameter -> its value where it is given none, None without.
        container: image, command, args and env.
        node_selector: where it runs.
        retry_strategy: when it is tried again; empty where nothing says so.
        deadline: of one run, in seconds; None without.
    """

    name: str
    inputs: Mapping[str, Any]
    container: Mapping[str, Any]
    node_selector: Mapping[str, Any] = field(default_factory=dict)
    retry_strategy: Mapping[str, Any] = field(default_factory=dict)
    deadline: Any = None


@dataclass(frozen=True)
class CallingTemplate:
    """A template that calls others.

    Args:
        name: of the template.
        inputs: as those of a container's.
        calls: in an order in which each comes after those that come before it.
    """

    name: str
    inputs: Mapping[str, Any]
    calls: Sequence[Call]


Template: TypeAlias = ContainerTemplate | CallingTemplate


@dataclass(frozen=True)
class Workflow:
    """A workflow.

    Args:
        name: what its names begin with.
        entrypoint: the template that it runs.
        on_exit: the one that it runs after all, None without.
        templates: by their names.
        node_selector: where containers run whose templates say nothing.
        parameters: name -> value.
    """

    name: str
    entrypoint: str
    on_exit: str | None
    templates: Mapping[str, Template]
    node_selector: Mapping[str, Any]
    parameters: Mapping[str, str]


def read(manifest: Mapping[str, Any]) -> Workflow:
    """Return a manifest as a workflow.

    Args:
        manifest: as `template.load` or `manifest.make` returns it.

    Raises:
        OutsideError: it has, or lacks, something so that it cannot be run here.
    """
    spec = fields.known(manifest["spec"], "spec", _OF_SPEC, _OF_CLUSTER)
    templates: dict[str, Template] = {}
    for place, each in enumerate(fields.listed(spec.get("templates", []), "spec.templates")):
        template = _template(each, f"spec.templates[{place}]")
        if template.name in templates:
            raise OutsideError("spec.templates", f'two are called "{template.name}"')
        templates[template.name] = template
    for template in templates.values():
        for call in template.calls if isinstance(template, CallingTemplate) else ():
            _check_there(call.template, templates, f'"{call.name}" of template "{template.name}"')
    if "entrypoint" not in spec:
        raise OutsideError("spec", "`entrypoint` is missing")
    _check_there(spec["entrypoint"], templates, "spec.entrypoint")
    if "onExit" in spec:
        _check_there(spec["onExit"], templates, "spec.onExit")
    arguments = _arguments(spec.get("arguments", {}), "spec.arguments")
    return Workflow(
        name=_name(manifest.get("metadata")),
        entrypoint=spec["entrypoint"],
        on_exit=spec.get("onExit"),
        templates=templates,
        node_selector=_selector(spec, "spec"),
        parameters={
            name: fields.text_of(value, f'parameter "{name}" of spec.arguments') for name, value in arguments.items()
        },
    )


def _name(metadata: Any) -> str:
    given = metadata if isinstance(metadata, Mapping) else {}
    return fields.text_of(given.get("generateName") or given.get("name") or "execution-", "metadata")


def _check_there(name: Any, templates: Mapping[str, Template], where: str) -> None:
    if not isinstance(name, str) or name not in templates:
        raise OutsideError(where, f'there is no template "{name}"')


def _template(value: Any, where: str) -> Template:
    name = fields.name_of(value.get("name") if isinstance(value, Mapping) else None, f"{where}.name")
    where = f'template "{name}"'
    given = fields.known(value, where, _OF_TEMPLATE, (*_OF_PODS, "metadata"))
    inputs = fields.known(given.get("inputs", {}), f"{where}, inputs", ("parameters",))
    defaults = _parameters(inputs.get("parameters", []), f"{where}, inputs", ("value", "default"))
    does = [what for what in ("container", "dag", "steps") if what in given]
    if len(does) != 1:
        raise OutsideError(where, "it needs one of `container`, `dag` and `steps`")
    if does == ["container"]:
        container = fields.known(given["container"], f"{where}, container", _OF_CONTAINER, _OF_IMAGES)
        if "image" not in container:
            raise OutsideError(where, "its container has no `image`")
        retry = given.get("retryStrategy", {})
        selector = _selector(given, where)
        return ContainerTemplate(name, defaults, container, selector, retry, given.get("activeDeadlineSeconds"))
    for alone in ("nodeSelector", "retryStrategy", "activeDeadlineSeconds"):
        if alone in given:
            raise OutsideError(where, f"`{alone}` belongs to a template with a `container`")
    calls = _dag(given["dag"], where) if does == ["dag"] else _steps(given["steps"], where)
    return CallingTemplate(name, defaults, calls)


def _selector(given: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    selector = given.get("nodeSelector", {})
    if not isinstance(selector, Mapping):
        raise OutsideError(f"{where}, nodeSelector", "a mapping is expected")
    return selector


def _dag(value: Any, where: str) -> list[Call]:
    tasks = fields.listed(fields.known(value, f"{where}, dag", ("tasks",)).get("tasks", []), f"{where}, dag.tasks")
    calls = [_call(each, where, ("dependencies", "depends")) for each in tasks]
    return _sorted(_distinct(calls, where), where)


def _steps(value: Any, where: str) -> list[Call]:
    calls: list[Call] = []
    before: tuple[str, ...] = ()
    for group in fields.listed(value, f"{where}, steps"):
        several = [_call(each, where, (), before) for each in fields.listed(group, f"{where}, steps")]
        before = tuple(call.name for call in several) or before
        calls += several
    return _distinct(calls, where)


def _call(value: Any, where: str, waits: tuple[str, ...], after: tuple[str, ...] = ()) -> Call:
    name = fields.name_of(value.get("name") if isinstance(value, Mapping) else None, where)
    if not _NAME.fullmatch(name):
        raise OutsideError(where, f'"{name[:130]}" is no name: letters, digits, `-` and `_`, 128 at most')
    where = f'"{name}" of {where}'
    given = fields.known(value, where, (*_OF_CALL, *waits))
    if "withItems" in given and "withParam" in given:
        raise OutsideError(where, "it has `withItems` and `withParam`")
    over = given.get("withItems", given.get("withParam"))
    if value.get("withItems") == []:
        over = []
    if ("withItems" in given and not isinstance(over, list)) or ("withParam" in given and not isinstance(over, str)):
        raise OutsideError(where, "`withItems` is a list, and `withParam` a text")
    if "dependencies" in given and "depends" in given:
        raise OutsideError(where, "it has `dependencies` and `depends`")
    if "dependencies" in given:
        listed = fields.listed(given["dependencies"], f"{where}, dependencies")
        after = tuple(fields.name_of(each, f"{where}, dependencies") for each in listed)
    if "depends" in given:
        after = _depends(given["depends"], f"{where}, depends")
    template = fields.name_of(given.get("template"), f"{where}, template")
    return Call(name, template, _arguments(given.get("arguments", {}), where), over, tuple(dict.fromkeys(after)))


def _depends(value: Any, where: str) -> tuple[str, ...]:
    parts = [part.strip().removesuffix(".Succeeded") for part in fields.name_of(value, where).split("&&")]
    if not all(_NAME.fullmatch(part) for part in parts):
        raise OutsideError(where, "names joined by `&&` are expected: all must have succeeded")
    return tuple(parts)


def _distinct(calls: list[Call], where: str) -> list[Call]:
    if len(calls) > _MOST_CALLS:
        raise OutsideError(where, f"it calls {len(calls)} templates, and {_MOST_CALLS} are the most")
    counts = Counter(call.name for call in calls)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise OutsideError(where, f'two are called "{twice}"')
    return calls


def _sorted(calls: list[Call], where: str) -> list[Call]:
    """Return calls in an order in which each comes after those that come before it."""
    left = {call.name: call for call in calls}
    for call in calls:
        if unknown := next((name for name in call.after if name not in left), None):
            raise OutsideError(where, f'"{call.name}" comes after "{unknown}", which is not there')
    found: dict[str, Call] = {}
    while left:
        ready = [call for call in left.values() if all(name in found for name in call.after)]
        if not ready:
            raise OutsideError(where, f"each of {', '.join(sorted(left))} would have to come after another of them")
        for call in ready:
            found[call.name] = left.pop(call.name)
    return list(found.values())


def _arguments(value: Any, where: str) -> dict[str, Any]:
    given = fields.known(value, f"{where}, arguments", ("parameters",))
    return _parameters(given.get("parameters", []), f"{where}, arguments", ("value",))


def _parameters(value: Any, where: str, values: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in fields.listed(value, f"{where}.parameters"):
        given = fields.known(each, f"{where}.parameters", ("name", *values), ("description", "enum"))
        name = fields.name_of(given.get("name"), f"{where}.parameters")
        found[name] = next((each[key] for key in values if each.get(key) is not None), None)
    return found
