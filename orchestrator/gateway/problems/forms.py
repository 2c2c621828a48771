"""What the bodies and the queries of calls ask for, other than the user input."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.gateway.problems import documents
from orchestrator.gateway.problems.documents import I32, U32, Document, FormError

PAGE, LARGEST_PAGE = 50, 500
_MOST_DIGITS = 10
_COMMANDS: Mapping[str, Any] = {"cmd_node": pb.NodeCommand, "cmd_task": pb.TaskCommand}


def task(document: Document, name: str = "task_id") -> pb.TaskId | None:
    """Return the task that a member names; None where it is absent or null.

    Raises:
        FormError: it is no task id.
        NotFoundError: it is {0, 0}, or half of it is 0, which no task is.
    """
    given = documents.record(document, name)
    return None if given is None else task_of(given, name)


def task_of(document: Document, place: str = "") -> pb.TaskId:
    """Return the task that an object is; see `task`."""
    numbers = {}
    for part in ("problem_id", "iteration_id"):
        number = documents.whole(document, part, 0, U32, place)
        if number is None:
            raise FormError(
                f"{place}.{part}" if place else part, f"it is missing; a number from 0 to {U32} is expected"
            )
        numbers[part] = number
    return _existing(**numbers)


def task_in(path: Mapping[str, str]) -> pb.TaskId:
    """Return the task that a path names; see `task`."""
    return _existing(problem_in(path), _number(path["iteration"], "iteration"))


def problem_in(path: Mapping[str, str]) -> int:
    """Return the problem that a path names; see `task`."""
    found = _number(path["problem"], "problem")
    if not found:
        raise NotFoundError("problem 0 is none: they begin at 1")
    return found


def _existing(problem_id: int, iteration_id: int) -> pb.TaskId:
    if not problem_id or not iteration_id:
        raise NotFoundError(f"task {{{problem_id}, {iteration_id}}} is none: problems and iterations begin at 1")
    return pb.TaskId(problem_id=problem_id, iteration_id=iteration_id)


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) <= U32):
        raise NotFoundError(f"there is no {what} {text[:100]!r}: its number is expected")
    return int(text)


def seconds(document: Document, name: str, most: float, default: float) -> float:
    """Return for how many seconds something may last.

    Raises:
        FormError: it is no number from 0 on.
    """
    found = documents.number(document, name, least=0)
    return default if found is None else min(found, most)


def command(document: Document) -> tuple[pb.Command, str | None]:
    """Return a control command, and the id that its sender chose for it.

    Raises:
        FormError: a member is wrong.
        NotFoundError: the task is none.
    """
    asked = pb.Command(
        target_node=_target(document) or "",
        source_node=documents.text(document, "source_node") or "",
        task_id=task(document),
    )
    for name, names in _COMMANDS.items():
        setattr(asked, name, _enumerated(document, name, names))
    return asked, _uuid(document, "command_id")


def command_in(path: Mapping[str, str]) -> str:
    """Return the id of the command that a path names.

    Raises:
        NotFoundError: it is none.
    """
    try:
        return str(UUID(path["command"]))
    except ValueError as error:
        raise NotFoundError(f"there is no command {path['command'][:100]!r}; GET /api/control lists them") from error


def _target(document: Document) -> str | None:
    given = document.get("target_node")
    if isinstance(given, int) and not isinstance(given, bool):
        number = documents.whole(document, "target_node", 0, 9)
        return "ALL" if number == 9 else str(number)
    return documents.text(document, "target_node")


def _enumerated(document: Document, name: str, names: Any) -> int:
    given = document.get(name)
    if given is None:
        return 0
    if isinstance(given, str) and given in [*names.keys()]:
        return names.Value(given)  # type: ignore[no-any-return]
    if isinstance(given, int) and not isinstance(given, bool) and given in names.values():
        return given
    known = ", ".join(f"{each} ({number})" for each, number in names.items())
    raise FormError(name, f"a command by name or number is expected: {known}")


def _uuid(document: Document, name: str) -> str | None:
    given = documents.text(document, name)
    if given is None:
        return None
    try:
        return str(UUID(given))
    except ValueError as error:
        raise FormError(name, "a UUID is expected, as in 0c1f7a52-5a4e-4c7e-9a53-0f0d8f3f3a11") from error


def wait(query: Mapping[str, str], most: float) -> float:
    """Return the seconds that a query says in `wait`, 0 where it says none.

    Raises:
        FormError: it is no number from 0 on.
    """
    given = query.get("wait")
    if given is None:
        return 0.0
    try:
        document = {"wait": float(given)}
    except ValueError as error:
        raise FormError("wait", f"a number of seconds is expected, {given[:100]!r} given") from error
    return seconds(document, "wait", most, 0.0)


def limit(query: Mapping[str, str]) -> int:
    """Return how many rows a query asks for.

    Raises:
        FormError: it is no number from 1 on.
    """
    given = query.get("limit")
    if given is None:
        return PAGE
    if not (given.isascii() and given.isdecimal() and len(given) <= _MOST_DIGITS and int(given)):
        raise FormError("limit", f"a whole number from 1 to {LARGEST_PAGE} is expected, {given[:100]!r} given")
    return min(int(given), LARGEST_PAGE)


def after(query: Mapping[str, str], *kinds: type) -> list[Any] | None:
    """Return from where on a query asks for a list, None for its beginning.

    Args:
        query: of the request.
        kinds: of the values that `mark` was given.

    Raises:
        FormError: it is not what a list said in `next`.
    """
    given = query.get("after")
    if given is None:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(given.encode() + b"=="))
        if [type(each) for each in values] == [*kinds]:
            return list(values)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise FormError("after", "what a list said in `next` is expected, and this is not; leave it out to begin anew")


def mark(*values: Any) -> str:
    """Return what says from where on a list goes on; clients must not read it."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def positive(query: Mapping[str, str], name: str) -> int | None:
    """Return a number that a query filters by, None where it does not.

    Raises:
        FormError: it is none.
    """
    given = query.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= _MOST_DIGITS and 0 < int(given) <= U32):
        raise FormError(name, f"a whole number from 1 to {U32} is expected, {given[:100]!r} given")
    return int(given)


def configuration(document: Document, longest: float, default: float) -> tuple[str, float]:
    """Return the text of a configuration request, and the seconds that its answer may take.

    Raises:
        FormError: a member is wrong.
    """
    given = documents.text(document, "configuration")
    if given is None:
        raise FormError("configuration", "it is missing; a text is expected, as in 'modality'")
    timeout = documents.number(document, "timeout", 0, longest)
    return given, default if timeout is None else timeout


def priority(document: Document) -> int:
    """Return the priority that a body asks for.

    Raises:
        FormError: it is none.
    """
    return documents.whole(document, "priority", -100, 100) or 0


def parent(document: Document) -> int:
    """Return the iteration that a body iterates, 0 for the latest.

    Raises:
        FormError: it is none.
    """
    return documents.whole(document, "from", 1, I32) or 0
