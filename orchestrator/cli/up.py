"""The commands `up` and `down`: a federation on this machine that stays, and its end."""

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.errors import Fault
from orchestrator.cli.folder import DEFAULT, command, data_option, of_demos

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil
    from rich.console import Console

    from orchestrator.embedded.federation import Federation

_STOP_SECONDS = 60.0
_GONE_SECONDS = 45.0
_POLL_SECONDS = 0.05


@click.command()
@click.option("--orgs", type=click.IntRange(1, 50), default=3, show_default=True, metavar="N", help="Hospitals.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_000),
    metavar="N",
    help="First of a range: N for gRPC, then HTTP, Flower, and new asset stores. By default those of the last time.",
)
@click.option(
    "--executions",
    is_flag=True,
    help="Serve executions of stored schemas too: the hospitals are data partners, the aggregator is the central node.",
)
@click.option(
    "--problems",
    is_flag=True,
    help="Serve problems too, which modules solve: they are the aggregator's.",
)
@click.option(
    "--problems-port",
    type=click.IntRange(1, 65_535),
    default=5001,
    show_default=True,
    metavar="N",
    help="With --problems: where its HTTP is; front ends that exist look for it at 5001.",
)
@data_option
def up(orgs: int, port: int | None, executions: bool, problems: bool, problems_port: int, data: Path) -> None:
    """Run a federation of N hospitals and an aggregator on this machine, until Ctrl-C or `orchestrator down`.

    What `orchestrator demo` starts, for you to play with; a part that dies is started again. Its data stay in the
    folder for the next time, and so do its ports; `orchestrator down --destroy` removes them.
    """
    from orchestrator.embedded.interruption import ENDING, ending_with, exit_on

    exit_on(*ENDING)
    with ending_with(partial(click.echo, "Everything has ended")):
        _stay(orgs, port, executions, problems_port if problems else None, data)


def _stay(orgs: int, port: int | None, executions: bool, problems_port: int | None, data: Path) -> None:
    from rich.console import Console

    from orchestrator.client import CallError, StoreError
    from orchestrator.embedded.executions import of_environment
    from orchestrator.embedded.federation import Federation
    from orchestrator.embedded.ports import free_port
    from orchestrator.embedded.postgres import forget_variables
    from orchestrator.embedded.problems import Served
    from orchestrator.embedded.problems import of_environment as of_problems
    from orchestrator.embedded.processes import ProcessError

    forget_variables()
    console = Console(highlight=False)
    organizations = [*(f"hospital-{number + 1}" for number in range(orgs)), "aggregator"]
    if problems_port and free_port(problems_port) != problems_port:
        raise Fault(f"port {problems_port} is taken by another program: end that, or give another --problems-port")
    tell = partial(console.print, soft_wrap=True)
    try:
        with Federation(
            data,
            organizations,
            port=port,
            executions=organizations[-1] if executions else None,
            runtime_settings=of_environment(os.environ),
            problems=Served(organizations[-1], port=problems_port, own=of_problems(os.environ))
            if problems_port
            else None,
            tell=tell,
        ) as federation:
            for name, store_url in federation.running.stores.items():
                with federation.running.client(name) as client:
                    client.register_organization(store_url)
            _describe(console, federation, data, executions)
            federation.stay()
    except (ProcessError, CallError, StoreError, OSError) as error:
        raise Fault(str(error)) from error


@click.command()
@click.option("--destroy", is_flag=True, help="Remove the folder too, with all data in it.")
@data_option
def down(destroy: bool, data: Path) -> None:
    """End the federation that `orchestrator up` or `orchestrator demo` runs on this machine.

    Exits with 1 if none runs; with --destroy that is no fault.
    """
    from orchestrator.embedded.lock import holder_of

    try:
        holder = holder_of(data)
        if holder is not None:
            _end(holder)
            click.echo(f"the federation in {data} has ended")
        elif not destroy:
            raise Fault(f"no federation runs in {data}")
        if destroy and data.exists():
            _destroy(data)
            click.echo(f"{data} is removed")
    except OSError as error:
        raise Fault(f"the folder {data} cannot be used: {error}") from error


def _describe(console: "Console", federation: "Federation", data: Path, executions: bool) -> None:
    from rich.table import Table

    running = federation.running
    table = Table.grid(padding=(0, 2))
    table.add_row("orchestrator", f"{running.address} (gRPC, mutual TLS), http://{running.http_address}/health")
    table.add_row("metrics", f"http://{running.http_address}/metrics")
    table.add_row("channel", running.channel)
    for organization, address in running.stores.items():
        table.add_row(organization, f"asset store {address}")
    if executions:
        table.add_row("executions", f"export ORCHESTRATOR_EXECUTIONS_URL=http://{running.http_address}")
        images = federation.data / "images"
        table.add_row("maps of images", f"{images}: which commands stand for images, one for each organization")
        for implementation, where in _runtimes(federation):
            table.add_row(implementation, where)
    if running.problems:
        table.add_row("problems", f"{running.problems['address']}; modules that are started in this folder find it")
        url = "" if data == Path(DEFAULT) else f" --url {running.problems['address']}"
        table.add_row("modules", f"orchestrator module{url} list")
    table.add_row("consent", f"each organization's consent policy admits all members: {running.consent_folder}")
    table.add_row("certificates", str(running.certificate_folder))
    table.add_row("logs", str(running.logs))
    table.add_row("Flower", running.flower)
    console.print(table, soft_wrap=True)
    console.print(
        f"\nTry in another terminal, in this folder: {command('plan list', data)}\n"
        f"End it with Ctrl-C here, or there: {command('down', data)}",
        soft_wrap=True,
    )


def _runtimes(federation: "Federation") -> "Iterator[tuple[str, str]]":
    """Yield what runs executions, by what a schema calls it, and where."""
    from orchestrator.embedded.executions import ARGO, BROKERS, of_environment
    from orchestrator.embedded.ports import HOST

    named = of_environment(os.environ)
    yield "tasks", "the workers of these organizations"
    yield "argo_workflows", named.get(ARGO) or f"nowhere: set {ARGO}, and what else it needs, before"
    light = f"{HOST}:{federation.places.kafka_port}, a light broker that forgets all when it ends"
    yield "Kafka", named.get(BROKERS) or light


def _end(holder: tuple[int, float]) -> None:
    """End a federation by its process, and wait until all its processes are gone."""
    import psutil

    from orchestrator.embedded.running import is_alive

    pid, started = holder
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        if not is_alive(pid, started):
            return
        process.terminate()
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        raise Fault(f"process {pid}, which runs the federation, is another user's; let that user end it") from None
    if _left([process], _STOP_SECONDS):
        click.echo(f"process {pid} has not ended within {_STOP_SECONDS:g} s and is killed", err=True)
        process.kill()
    # What a killed one leaves is ended by its reaper.
    if left := _left(family, _GONE_SECONDS):
        raise Fault(f"processes {', '.join(str(process.pid) for process in left)} of the federation do not end")


def _left(processes: "list[psutil.Process]", seconds: float) -> "list[psutil.Process]":
    """Return those that have not ended after a time."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return left


def _runs(process: "psutil.Process") -> bool:
    import psutil

    # In a container without an init process the dead stay unburied.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _destroy(data: Path) -> None:
    from orchestrator.embedded.federation import remove_data
    from orchestrator.embedded.lock import FILE, locked
    from orchestrator.embedded.processes import ProcessError

    if not (data / FILE).exists():
        raise Fault(f"{data} is no folder of a federation: it stays as it is")
    try:
        with locked(data):
            for folder in of_demos(data):
                remove_data(folder)
            remove_data(data)
    except ProcessError as error:
        raise Fault(str(error)) from error
