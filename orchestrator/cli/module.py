"""The commands about modules: which there are, what they do, and what they are told to do."""

from typing import Any

import click

from orchestrator.cli.connected import Connected
from orchestrator.cli.errors import Fault
from orchestrator.cli.problem_service import JSON, ProblemService

_WAIT_SECONDS = 75.0
_MORE_SECONDS = 15.0
_TARGET = click.argument("target", metavar="TARGET")
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
def module(context: click.Context, /, **options: Any) -> None:
    """See and steer the modules that solve problems.

    TARGET is a kind (`ML_MODEL`: all its replicas), one replica (`ML_MODEL/gpu-7`), or `ALL`.
    """
    context.obj = ProblemService(**options)


@module.command("list")
@click.option("--all", "gone_too", is_flag=True, help="Those that are gone too.")
@JSON
@click.pass_obj
def list_modules(service: ProblemService, gone_too: bool, as_json: bool) -> None:
    """List the kinds of modules, and their replicas that are there."""
    from orchestrator.cli import reading, tables

    found = service.send("GET", "/api/nodes")
    if as_json:
        reading.print_json(found)
        return
    rows, gone = [], 0
    for kind in found["nodes"]:
        rows.append((kind["kind"], kind["status"], str(kind["waiting"]), str(kind["running"]), kind["reason"] or ""))
        for replica in kind["replicas"]:
            if not replica["present"] and not gone_too:
                gone += 1
                continue
            words = [
                *(["slow"] if replica["slow"] else []),
                *([] if replica["accepting"] else ["takes no work"]),
                *([replica["reason"]] if replica["reason"] else []),
                *(["its last stage failed"] if replica["status"] == "ERROR" and not replica["reason"] else []),
            ]
            name = f"  {kind['kind']}/{replica['name']}"
            rows.append((name, replica["status"], "", str(len(replica["running"])), ", ".join(words)))
    columns = ("module", "state", "waiting", "running", "why")
    tables.console().print(tables.table(*columns, rows=rows, whole=("module", "state"), folded=("why",)))
    if gone:
        click.echo(f"gone, or not heard any more: {gone}; --all lists them too")


@module.command()
@_TARGET
@_WAIT
@JSON
@click.pass_obj
def start(service: ProblemService, target: str, wait: float, as_json: bool) -> None:
    """Have modules take work again, after a stop or where they are set aside."""
    give(service, {"cmd_node": "START_NODE", "target_node": target}, wait, as_json)


@module.command()
@_TARGET
@_WAIT
@JSON
@click.pass_obj
def stop(service: ProblemService, target: str, wait: float, as_json: bool) -> None:
    """Have modules take nothing more; they finish what they run, and stay."""
    give(service, {"cmd_node": "STOP_NODE", "target_node": target}, wait, as_json)


@module.command()
@_TARGET
@_WAIT
@JSON
@click.pass_obj
def reset(service: ProblemService, target: str, wait: float, as_json: bool) -> None:
    """Have modules start afresh; what they run waits again, and does not count as failed."""
    give(service, {"cmd_node": "RESET_NODE", "target_node": target}, wait, as_json)


@module.command()
@_TARGET
@_WAIT
@JSON
@click.pass_obj
def terminate(service: ProblemService, target: str, wait: float, as_json: bool) -> None:
    """Have modules end: they finish what they run, for a minute at most, and their processes end."""
    give(service, {"cmd_node": "TERMINATE_NODE", "target_node": target}, wait, as_json)


@module.command()
@click.argument("kind")
@click.argument("text")
@click.option("--all", "all_", is_flag=True, help="Ask every replica, not one of them.")
@click.option("--timeout", type=click.FloatRange(0, 600), default=60.0, show_default=True, metavar="SECONDS")
@JSON
@click.pass_obj
def ask(service: ProblemService, kind: str, text: str, all_: bool, timeout: float, as_json: bool) -> None:
    """Ask a module of KIND a TEXT, as in `ML_MODEL_METADATA modality`, and print its answer.

    Exits with 1 if one of the answers says that it is no success.
    """
    from orchestrator.cli import reading
    from orchestrator.client.printing import printable

    asked = {"configuration": text, "timeout": timeout, "replicas": "all" if all_ else "one"}
    path = f"/api/nodes/{_quoted(kind)}/configuration"
    found = service.send("POST", path, asked, seconds=timeout + _MORE_SECONDS)
    if as_json:
        reading.print_json(found)
    else:
        for each in found["answers"]:
            click.echo(f"{printable(each['replica'])}: {printable(each['configuration'])}")
    failed = [each["replica"] for each in found["answers"] if not each["success"]]
    if failed:
        raise Fault(f"{printable(', '.join(failed))} could not do it")


def give(service: ProblemService, command: dict[str, Any], wait: float, as_json: bool) -> None:
    """Give a command, wait until it is applied, and tell what became of it.

    Args:
        service: that takes it.
        command: its members.
        wait: seconds; 0 waits for nothing.
        as_json: whether a machine reads it.

    Raises:
        Fault: it has failed, or is not applied yet.
    """
    import getpass

    from orchestrator.cli import reading

    given = service.send("POST", "/api/control", {**command, "source_node": getpass.getuser()})
    if wait and given["state"] == "ACCEPTED":
        path = f"/api/control/{given['command_id']}"
        given = service.send("GET", path, wait=wait, seconds=wait + _MORE_SECONDS)
    if as_json:
        reading.print_json(given)
    else:
        for target in given["targets"]:
            why = f": {target['error']}" if target["error"] else ""
            click.echo(f"{target['node']}: {target['state'].lower()}{why}")
    if given["state"] == "FAILED":
        raise Fault(f"command {given['command_id']} has failed; see which are there: {service.command('module list')}")
    if given["state"] == "ACCEPTED" and wait:
        raise Fault(f"command {given['command_id']} is not applied after {wait:g} s; it stays in force")


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
