"""The commands about problems: submit, iterate, start, list, show, watch, stop and the like, delete."""

import json
import time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from orchestrator import protos as pb
from orchestrator.cli import problem_progress
from orchestrator.cli.connected import Connected
from orchestrator.cli.errors import Fault, UsageFault
from orchestrator.cli.module import give
from orchestrator.cli.problem_service import JSON, ProblemService

_PATH = "/api/problems"
_WAIT_SECONDS = 30.0
_MEMBERS = [field.name for field in pb.UserInput.DESCRIPTOR.fields]
_ALIKE = 0.8
"""From here on, 1 for the same, another name is taken for a slip."""
_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


class _Task(click.ParamType):  # type: ignore[type-arg]
    """A task: PROBLEM/ITERATION, or PROBLEM alone for its latest iteration."""

    name = "task"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int | None]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split("/")
        if len(parts) > 2 or not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is no task: PROBLEM/ITERATION is expected, as in 3/1, or PROBLEM alone", param, ctx)
        numbers = [int(part) for part in parts]
        return numbers[0], numbers[1] if len(numbers) > 1 else None


_TASK = click.argument("task", type=_Task(), metavar="PROBLEM[/ITERATION]")
_PROBLEM = click.argument("number", metavar="PROBLEM", type=click.IntRange(min=1))
_PREPARE = click.option("--prepare", is_flag=True, help="Store it, and do not start it yet.")
_PRIORITY = click.option("--priority", type=click.IntRange(-100, 100), default=0, show_default=True)
_WAIT = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=_WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until it is applied; 0 only gives the command.",
)


@click.group(cls=Connected)
@ProblemService.options
@click.pass_context
def problem(context: click.Context, /, **options: Any) -> None:
    """Submit problems that modules solve, and follow their iterations."""
    context.obj = ProblemService(**options)


@problem.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="The newest N; 0 for all.")
@JSON
@click.pass_obj
def list_problems(service: ProblemService, limit: int, as_json: bool) -> None:
    """List problems, the newest last."""
    from orchestrator.cli import reading, tables

    found = [*service.pages(_PATH, "problems", limit)][::-1]
    if as_json:
        reading.print_json({"problems": found})
        return
    rows = [
        (
            str(each["problem_id"]),
            each["status"],
            str(each["iterations"]),
            each["created_at"][:16].replace("T", " "),
            each["problem_short_description"],
        )
        for each in found
    ]
    columns = ("problem", "state", "iterations", "created", "what")
    tables.console().print(tables.table(*columns, rows=rows, whole=columns[:4]))


@problem.command()
@_TASK
@JSON
@click.pass_obj
def show(service: ProblemService, task: tuple[int, int | None], as_json: bool) -> None:
    """Show a problem with its iterations, or an iteration with its stages."""
    from orchestrator.cli import reading, tables

    number, iteration = task
    if iteration is not None:
        shown = service.send("GET", _path(number, iteration))
        if as_json:
            reading.print_json(shown)
        else:
            problem_progress.show(service, shown)
        return
    shown = service.send("GET", f"{_PATH}/{number}")
    if as_json:
        reading.print_json(shown)
        return
    rows = [
        (
            f"{number}/{each['task_id']['iteration_id']}",
            each["status"],
            str(each["parent"] or ""),
            each["created_at"][:16].replace("T", " "),
            (each["error"] or {}).get("message", ""),
        )
        for each in shown["iterations"]
    ]
    tables.console().print(tables.table("task", "state", "made from", "created", "error", rows=rows, whole=("task",)))


@problem.command()
@click.argument("description", type=_FILE)
@_PREPARE
@_PRIORITY
@click.option("--idempotency-key", metavar="TEXT", help="The same key, the same task, however often it is sent.")
@JSON
@click.pass_obj
def submit(
    service: ProblemService, description: Path, prepare: bool, priority: int, idempotency_key: str | None, as_json: bool
) -> None:
    """Submit a problem: DESCRIPTION in JSON, as docs/problems-http.md says; `-` reads it from the standard input."""
    document = {**_read(description), "start": not prepare, "priority": priority}
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    _tell(service, service.send("POST", _PATH, document, headers), as_json)


@problem.command()
@_PROBLEM
@click.argument("changes", type=_FILE, required=False)
@click.option(
    "--from", "parent", type=click.IntRange(min=1), help="The iteration to begin with; the latest by default."
)
@_PREPARE
@_PRIORITY
@JSON
@click.pass_obj
def iterate(
    service: ProblemService,
    number: int,
    changes: Path | None,
    parent: int | None,
    prepare: bool,
    priority: int,
    as_json: bool,
) -> None:
    """Make another iteration of PROBLEM: CHANGES in JSON has the members that change."""
    document = {**(_read(changes) if changes else {}), "start": not prepare, "priority": priority, "from": parent}
    _tell(service, service.send("POST", f"{_PATH}/{number}/iterations", document), as_json)


@problem.command()
@_TASK
@JSON
@click.pass_obj
def start(service: ProblemService, task: tuple[int, int | None], as_json: bool) -> None:
    """Start a prepared task; one that was started goes on."""
    _tell(service, service.send("POST", f"{_path(*_whole(service, task))}/start", {}), as_json)


@problem.command()
@_TASK
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after this long.")
@click.pass_obj
def watch(service: ProblemService, task: tuple[int, int | None], timeout: float | None) -> None:
    """Follow an iteration until it ends: exit code 0 when it has succeeded, 1 when it has not."""
    number, iteration = _whole(service, task)
    deadline = None if timeout is None else time.monotonic() + timeout
    ended = problem_progress.follow(service, _path(number, iteration), deadline)
    if ended is None:
        raise Fault(f"after {timeout:g} s task {number}/{iteration} has not ended; it goes on")
    if ended["status"] != "SUCCEEDED":
        raise Fault("\n".join(problem_progress.advice(service, ended)))
    if following := ended["next_task_id"]:
        after = f"{following['problem_id']}/{following['iteration_id']}"
        click.echo(f"it goes on with {after}: {service.command(f'problem watch {after}')}")


@problem.command()
@_TASK
@_WAIT
@JSON
@click.pass_obj
def stop(service: ProblemService, task: tuple[int, int | None], wait: float, as_json: bool) -> None:
    """Stop a task: nothing more begins, and what runs is told to end."""
    _give(service, "STOP_TASK", task, wait, as_json)


@problem.command()
@_TASK
@click.option("--stage", metavar="KIND", help="Run only this stage again, and all that need it.")
@_WAIT
@JSON
@click.pass_obj
def reset(service: ProblemService, task: tuple[int, int | None], stage: str | None, wait: float, as_json: bool) -> None:
    """Run a task again under its number, whatever state it is in."""
    _give(service, "RESET_TASK", task, wait, as_json, stage)


@problem.command()
@_TASK
@_WAIT
@JSON
@click.pass_obj
def preempt(service: ProblemService, task: tuple[int, int | None], wait: float, as_json: bool) -> None:
    """Put a task behind all that wait now; it goes on by itself."""
    _give(service, "PREEMPT_TASK", task, wait, as_json)


@problem.command()
@_TASK
@_WAIT
@JSON
@click.pass_obj
def terminate(service: ProblemService, task: tuple[int, int | None], wait: float, as_json: bool) -> None:
    """Stop a task at once and for good: it cannot be reset."""
    _give(service, "TERMINATE_TASK", task, wait, as_json)


@problem.command()
@_TASK
@click.pass_obj
def delete(service: ProblemService, task: tuple[int, int | None]) -> None:
    """Delete a problem with all its iterations, or one iteration, that has ended; the number stays used."""
    number, iteration = task
    service.send("DELETE", f"{_PATH}/{number}" if iteration is None else _path(number, iteration))
    click.echo(f"{_name(number, iteration)} is deleted")


def _give(
    service: ProblemService,
    command: str,
    task: tuple[int, int | None],
    wait: float,
    as_json: bool,
    stage: str | None = None,
) -> None:
    number, iteration = _whole(service, task)
    named = {"problem_id": number, "iteration_id": iteration}
    give(service, {"cmd_task": command, "task_id": named, "target_node": stage}, wait, as_json)


def _whole(service: ProblemService, task: tuple[int, int | None]) -> tuple[int, int]:
    """Return a task whose iteration is said, the latest of its problem where none is."""
    number, iteration = task
    if iteration is not None:
        return number, iteration
    made = service.send("GET", f"{_PATH}/{number}")["iterations"]
    if not made:
        raise Fault(f"problem {number} has no iteration any more; `{service.command(f'problem iterate {number}')}`")
    return number, made[-1]["task_id"]["iteration_id"]


def _path(number: int, iteration: int) -> str:
    return f"{_PATH}/{number}/iterations/{iteration}"


def _name(number: int, iteration: int | None) -> str:
    return f"problem {number}" if iteration is None else f"task {number}/{iteration}"


def _tell(service: ProblemService, stored: dict[str, Any], as_json: bool) -> None:
    from orchestrator.cli import reading

    if as_json:
        reading.print_json(stored)
        return
    name = f"{stored['task_id']['problem_id']}/{stored['task_id']['iteration_id']}"
    click.echo(f"task {name} is {stored['status']}; follow it: {service.command(f'problem watch {name}')}")


def _read(file: Path) -> dict[str, Any]:
    with click.open_file(str(file), encoding="utf-8") as opened:
        text = opened.read()
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageFault(f"{file} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageFault(f"{file} holds no object of JSON, as in {{}}")
    for name in found:
        if name not in _MEMBERS and (meant := get_close_matches(name, _MEMBERS, 1, _ALIKE)):
            click.echo(f"{file}: {name} is kept in extra_data, for modules; did you mean {meant[0]}?", err=True)
    return found
