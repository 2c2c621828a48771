"""What people are shown of an iteration: its stages, how they go on, and what to do where one failed."""

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from orchestrator.cli.errors import RemoteFault
from orchestrator.cli.problem_service import ProblemService
from orchestrator.client.printing import printable

_ENDED = ("SUCCEEDED", "ERROR", "STOPPED")
_QUIET_SECONDS = 40.0
_PAUSE_SECONDS = 1.0


def show(service: ProblemService, iteration: dict[str, Any]) -> None:
    """Print an iteration as a table of its stages."""
    from orchestrator.cli import tables

    click.echo(f"task {name_of(iteration)} is {iteration['status']}, run {iteration['run']}")
    rows = [
        (
            stage["kind"],
            stage["status"],
            str(stage["attempt"] or ""),
            stage["replica"] or "",
            "slow" if stage["slow"] else "",
            said(stage),
        )
        for stage in iteration["stages"]
    ]
    columns = ("stage", "state", "attempt", "module", "slow", "what")
    tables.console().print(tables.table(*columns, rows=rows, whole=("stage", "state"), folded=("what",)))
    for line in advice(service, iteration)[1:]:
        click.echo(line)


def said(stage: dict[str, Any]) -> str:
    """Return what there is to say of a stage: why it waits or failed, or what it has made."""
    if stage["error"]:
        return f"{stage['error']['code']}: {stage['error']['message']}"
    if stage["waiting_for"]:
        return str(stage["waiting_for"])
    if stage["warning"]:
        return f"warning: {stage['warning']}"
    output = {name: value for name, value in (stage["output"] or {}).items() if name != "extra_data"}
    return ", ".join(f"{name} {_short(value)}" for name, value in output.items() if value not in ("", [], 0, None))


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return printable(text if len(text) <= 60 else f"{text[:59]}…")


def follow(service: ProblemService, path: str, deadline: float | None) -> dict[str, Any] | None:
    """Print how an iteration goes on, and return it when it has ended; None when the time is over before.

    Args:
        service: that has it.
        path: of the iteration.
        deadline: on the monotonic clock; None for none.
    """
    told: dict[str, str] = {}
    while True:
        try:
            found = _once(service, path, deadline, told)
        except RemoteFault:
            # A service that starts again is found again, for a while.
            if not told or (deadline is not None and time.monotonic() > deadline):
                raise
            time.sleep(_PAUSE_SECONDS)
            continue
        if found["status"] in _ENDED:
            return found
        if deadline is not None and time.monotonic() > deadline:
            return None


def _once(service: ProblemService, path: str, deadline: float | None, told: dict[str, str]) -> dict[str, Any]:
    """Tell what is new, and wait for the next event; return how the iteration was before it."""
    found: dict[str, Any] = service.send("GET", path)
    filters = {"problem_id": found["task_id"]["problem_id"], "iteration_id": found["task_id"]["iteration_id"]}
    left = _QUIET_SECONDS if deadline is None else max(0.1, min(_QUIET_SECONDS, deadline - time.monotonic()))
    try:
        for _, type_, data in service.events(None, left, **filters):
            # Now that it listens nothing is missed; it says a first word at once.
            if not type_ or _ends(type_, data):
                found = service.send("GET", path)
                _tell(found, told)
                if found["status"] in _ENDED:
                    return found
            elif type_ == "stage.status":
                _tell(service.send("GET", path), told)
            if deadline is not None and time.monotonic() > deadline:
                return found
    except RemoteFault:
        if deadline is None or time.monotonic() < deadline:
            raise
    return found


def _ends(type_: str, data: str) -> bool:
    return type_ == "task.status" and json.loads(data)["status"] in _ENDED


def _tell(iteration: dict[str, Any], told: dict[str, str]) -> None:
    """Print the stages that are not as they were told."""
    for stage in iteration["stages"]:
        line = f"{stage['kind']:18} {stage['status'].lower()}"
        words = said(stage)
        line = f"{line}: {words}" if words else line
        if told.get(stage["kind"]) != line:
            told[stage["kind"]] = line
            click.echo(line)
    line = f"task {name_of(iteration)} is {iteration['status']}"
    if told.get("") != line:
        told[""] = line
        click.echo(line)


def name_of(iteration: dict[str, Any]) -> str:
    """Return the name of a task, as commands take it."""
    return f"{iteration['task_id']['problem_id']}/{iteration['task_id']['iteration_id']}"


def advice(service: ProblemService, iteration: dict[str, Any]) -> list[str]:
    """Return what failed, and what to do next; one line at least."""
    return [*_advice(service, iteration)]


def _advice(service: ProblemService, iteration: dict[str, Any]) -> Iterator[str]:
    name, failed, error = name_of(iteration), iteration["failed_stage"], iteration["error"]
    if failed:
        why = f": {error['code']}: {error['message']}" if error else ""
        yield f"task {name}: {failed} failed{printable(why)}"
        yield f"run that stage and what needs it again: {service.command(f'problem reset {name} --stage {failed}')}"
        yield f"see which modules are there: {service.command('module list')}"
        return
    yield f"task {name} is {iteration['status']}"
    if iteration["status"] == "STOPPED":
        yield f"run it again: {service.command(f'problem reset {name}')}"
    elif iteration["status"] in ("WAITING", "RUNNING"):
        if iteration["started_at"] is None:
            yield f"it is prepared only: {service.command(f'problem start {name}')}"
        elif any("no " in (stage["waiting_for"] or "") for stage in iteration["stages"]):
            yield f"see which modules are there: {service.command('module list')}"
