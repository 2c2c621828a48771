"""The containers of a run: a workflow with all its calls made, and all its placeholders replaced."""

import json
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.executions.graph import fields, placeholders, retrying
from orchestrator.executions.graph.errors import OutsideError
from orchestrator.executions.graph.workflow import Call, ContainerTemplate, Workflow

ON_EXIT = "onExit"
"""What the names of the containers begin with that run after all others."""

_MOST = 1000
_MOST_EDGES = 20_000
_MOST_CALLS = 10_000
_DEEPEST = 30
_LARGEST = 4 * 1024 * 1024
_LONGEST_NAME = 1000
_LONGEST_DEADLINE = 10**8


@dataclass(frozen=True)
class Container:
    """A container that is to run.

    Args:
        name: in its run, as people and logs name it: the calls that lead to it.
        parents: the names of those that must be done before.
        image: what it runs.
        command: of the image, empty for the image's own.
        args: of the command.
        env: variable -> value.
        node_selector: where it runs.
        retries: when it is tried again, in the words of the engine's metadata.
        time_limit: of one run of it, in seconds; 0 without.
    """

    name: str
    parents: tuple[str, ...]
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    retries: Mapping[str, str] = field(default_factory=dict)
    time_limit: float = 0.0


def of(workflow: Workflow, name: str) -> list[Container]:
    """Return the containers of a workflow but for those of its exit handler, parents before children.

    Args:
        workflow: with all its parameters.
        name: of the run, for `{{workflow.name}}`.

    Raises:
        OutsideError: it cannot be run here.
    """
    found = _Calls(workflow, {"workflow.name": name}).all(workflow.entrypoint, "")
    if not found:
        raise OutsideError("spec", "it has no container to run")
    if clash := next((each.name for each in found if each.name.partition(".")[0] == ON_EXIT), None):
        raise OutsideError(f'"{clash}"', f"`{ON_EXIT}` is what the containers of the exit handler are called")
    return found


def on_exit(workflow: Workflow, name: str, status: str) -> list[Container]:
    """Return the containers of a workflow's exit handler, if it has one; see `of`.

    Args:
        workflow: with all its parameters.
        name: of the run.
        status: for `{{workflow.status}}`.
    """
    if workflow.on_exit is None:
        return []
    return _Calls(workflow, {"workflow.name": name, "workflow.status": status}).all(workflow.on_exit, ON_EXIT)


class _Calls:
    """The calls of a workflow, and the containers that they have come to so far."""

    def __init__(self, workflow: Workflow, scope: Mapping[str, str]) -> None:
        self._workflow = workflow
        self._scope = ChainMap({**scope, **placeholders.parameters("workflow", workflow.parameters)})
        self._found: list[Container] = []
        self._calls = self._edges = 0
        self._budget = placeholders.Budget()

    def all(self, template: str, name: str) -> list[Container]:
        self._run(template, name, self._workflow.parameters, (), ())
        return self._found

    def _run(
        self,
        called: str,
        name: str,
        arguments: Mapping[str, str],
        parents: Sequence[str],
        callers: tuple[str, ...],
    ) -> Sequence[str]:
        """Call a template; return the names of the containers at which it ends: its parents, where it has none."""
        template = self._workflow.templates[called]
        where = f'template "{template.name}"'
        self._calls += 1
        if self._calls > _MOST_CALLS:
            raise OutsideError(where, f"the workflow makes more than {_MOST_CALLS} calls")
        if called in callers:
            raise OutsideError(where, "it calls itself")
        if len(callers) >= _DEEPEST:
            raise OutsideError(where, f"its call is deeper than {_DEEPEST} levels")
        # Not a copy: a workflow may have very many parameters, and make very many calls.
        scope = self._scope.new_child(self._inputs(template.inputs, arguments, where))
        if isinstance(template, ContainerTemplate):
            return [self._add(template, name or template.name, parents, scope, where)]
        ends: dict[str, Sequence[str]] = {}
        for call in template.calls:
            before = _joined([ends[each] for each in call.after], where) if call.after else parents
            ends[call.name] = self._call(call, name, scope, before, (*callers, called), where)
        inner = {each for call in template.calls for each in call.after}
        return _joined([each for call, each in ends.items() if call not in inner], where) if ends else parents

    def _inputs(self, inputs: Mapping[str, Any], arguments: Mapping[str, str], where: str) -> dict[str, str]:
        values = {}
        for name, default in inputs.items():
            if name in arguments:
                values[name] = arguments[name]
            else:
                its = f'{where}, input "{name}"'
                values[name] = placeholders.fill(fields.text_of(default, its), self._scope, its, self._budget)
        return placeholders.parameters("inputs", values)

    def _call(
        self,
        call: Call,
        caller: str,
        scope: ChainMap[str, str],
        parents: Sequence[str],
        callers: tuple[str, ...],
        where: str,
    ) -> Sequence[str]:
        where = f'"{call.name}" of {where}'
        name = f"{caller}.{call.name}" if caller else call.name
        if len(name) > _LONGEST_NAME:
            raise OutsideError(where, f"its name is longer than {_LONGEST_NAME} characters: {name[:100]}…")
        if call.over is None:
            return self._run(call.template, name, self._arguments(call, scope, where), parents, callers)
        ends = [
            self._run(
                call.template,
                f"{name}({place})",
                self._arguments(call, scope.new_child(placeholders.item(each)), where),
                parents,
                callers,
            )
            for place, each in enumerate(_over(placeholders.fill(call.over, scope, where, self._budget), where))
        ]
        return _joined(ends, where) if ends else parents

    def _arguments(self, call: Call, scope: Mapping[str, str], where: str) -> dict[str, str]:
        return {
            name: placeholders.fill(fields.text_of(value, f'{where}, argument "{name}"'), scope, where, self._budget)
            for name, value in call.arguments.items()
        }

    def _add(
        self, template: ContainerTemplate, name: str, parents: Sequence[str], scope: Mapping[str, str], where: str
    ) -> str:
        def filled(value: Any, part: str) -> Any:
            return placeholders.fill(value, scope, f"{where}, {part}", self._budget)

        selector = {**self._workflow.node_selector, **template.node_selector}
        given = {part: filled(value, part) for part, value in template.container.items()}
        retry, deadline = template.retry_strategy, template.deadline
        container = Container(
            name,
            tuple(parents),
            _text(given["image"], f"{where}, image"),
            _texts(given.get("command", []), f"{where}, command"),
            _texts(given.get("args", []), f"{where}, args"),
            _env(given.get("env", []), f"{where}, env"),
            {key: _text(value, f"{where}, nodeSelector") for key, value in filled(selector, "nodeSelector").items()},
            retrying.words(filled(retry, "retryStrategy"), f"{where}, retryStrategy") if retry else {},
            _deadline(filled(deadline, "activeDeadlineSeconds"), where),
        )
        self._count(container, where)
        self._found.append(container)
        return name

    def _count(self, container: Container, where: str) -> None:
        texts = (container.image, *container.command, *container.args, *container.env, *container.env.values())
        size = sum(map(len, texts))
        self._edges += len(container.parents)
        if len(self._found) >= _MOST or self._edges > _MOST_EDGES:
            raise OutsideError(where, f"the run has more than {_MOST} containers, or {_MOST_EDGES} ties between them")
        if size > _LARGEST:
            raise OutsideError(where, f"what its container is told is longer than {_LARGEST} characters")


def _over(filled: list[Any] | str, where: str) -> list[Any]:
    if isinstance(filled, str):
        try:
            filled = json.loads(filled)
        except (ValueError, RecursionError) as error:
            raise OutsideError(where, "`withParam` comes to no JSON") from error
    if not isinstance(filled, list):
        raise OutsideError(where, "`withParam` comes to no list")
    if len(filled) > _MOST:
        raise OutsideError(where, f"it runs over {len(filled)} things, and {_MOST} are the most")
    return filled


def _joined(several: Sequence[Sequence[str]], where: str) -> list[str]:
    if sum(map(len, several)) > _MOST_EDGES:
        raise OutsideError(where, f"the run has more than {_MOST_EDGES} ties between its containers")
    return list(dict.fromkeys(name for names in several for name in names))


def _text(value: Any, where: str) -> str:
    text = fields.text_of(value, where)
    if "\0" in text:
        raise OutsideError(where, "a text that a program is given has no NUL")
    return text


def _texts(value: Any, where: str) -> tuple[str, ...]:
    return tuple(_text(each, where) for each in fields.listed(value, where))


def _env(value: Any, where: str) -> dict[str, str]:
    found = {}
    for each in fields.listed(value, where):
        given = fields.known(each, where, ("name", "value"))
        name = fields.name_of(given.get("name"), where)
        if "=" in name or "\0" in name:
            raise OutsideError(where, "the name of a variable has no `=` and no NUL")
        found[name] = _text(given.get("value", ""), where)
    return found


def _deadline(value: Any, where: str) -> float:
    if value is None:
        return 0.0
    return float(retrying.whole(value, 1, _LONGEST_DEADLINE, f"{where}, activeDeadlineSeconds"))
