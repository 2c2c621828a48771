"""What `orchestrator executions import` connects: the other service, and the database and the files of this one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.configuration import configure
from orchestrator.cli.connection import Target
from orchestrator.cli.database import opened
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault

if TYPE_CHECKING:
    from orchestrator.engine.transaction import Database
    from orchestrator.executions.files.storage import Files
    from orchestrator.executions.moving.move import Moved
    from orchestrator.executions.moving.source import Source

_TOLD_EACH = 100


def caller(target: Target) -> tuple[str, str]:
    """Return the organization and the channel to which all belongs.

    Raises:
        UsageFault: one is not said.
    """
    organization = target.org or os.environ.get("ORCHESTRATOR_API_ORGANIZATION")
    channel = target.channel or os.environ.get("ORCHESTRATOR_API_CHANNEL")
    if not organization or not channel:
        missing = "--channel (ORCHESTRATOR_API_CHANNEL)" if organization else "--org (ORCHESTRATOR_API_ORGANIZATION)"
        raise UsageFault(f"{missing} is missing: what is imported belongs to an organization, in a channel")
    return organization, channel.partition(",")[0].strip()


@contextmanager
def here() -> "Iterator[tuple[Database, Files]]":
    """Open the database and the files of this service.

    Raises:
        UsageFault: a setting is missing or wrong.
        Fault: one of them cannot be used.
    """
    from orchestrator.executions.files.storage import Files
    from orchestrator.executions.settings import ExecutionSettings

    root = configure(ExecutionSettings).media_root
    if root is None:
        raise UsageFault("MEDIA_ROOT is missing: expected where the files of schemas and executions are kept")
    with opened() as database:
        try:
            files = Files(root)
        except (OSError, ValueError, ImportError) as error:
            raise Fault(f"MEDIA_ROOT {root} cannot be used: {error}") from error
        yield database, files


@contextmanager
def elsewhere(url: str, token: str | None, authorities: Path | None) -> "Iterator[Source]":
    """Open the other service.

    Raises:
        UsageFault: its URL or the file cannot be used.
    """
    from orchestrator.executions.moving.source import Source

    if not url.startswith(("http://", "https://")):
        raise UsageFault(f"{url} is no URL, as in http://host:8000")
    try:
        source = Source(url, token, authorities)
    except OSError as error:
        raise UsageFault(f"{authorities} cannot be used: {error}") from error
    try:
        yield source
    finally:
        source.close()


def run(
    source: "Source", database: "Database", files: "Files", organization: str, channel: str, *, incomplete: bool
) -> "Moved":
    """Import all, and tell how far it is.

    Raises:
        RemoteFault: the other service does not answer; what came stays.
        Fault: a file cannot be kept.
    """
    from orchestrator.executions.moving.move import Move
    from orchestrator.executions.moving.source import EXECUTIONS, SCHEMAS, AwayError

    total = 0

    def tell(moved: "Moved") -> None:
        done = moved.schemas + moved.executions + moved.updated + moved.there
        if done and done % _TOLD_EACH == 0:
            click.echo(f"{done} of {total or 'some'} schemas and executions, {moved.files} files", err=True)

    move = Move(source, database, files, organization, channel, incomplete=incomplete, tell=tell)
    try:
        counts = [source.count(path) for path in (SCHEMAS, EXECUTIONS)]
        total = sum(count or 0 for count in counts)
        said = [str(count) if count is not None else "some" for count in counts]
        click.echo(f"{said[0]} schemas and {said[1]} executions are there", err=True)
        return move.run()
    except AwayError as error:
        came = f"{move.moved.schemas} schemas and {move.moved.executions} executions came before"
        raise RemoteFault(f"{error}; {came}, run it again for the rest") from error
    except OSError as error:
        raise Fault(f"a file cannot be kept: {error}") from error
